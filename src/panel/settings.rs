//! A panel's record: who it is and how it behaves.
//!
//! [`PanelRecord`] is the form in the store and in the fleet API; [`Settings`] is what it means, and cannot
//! hold a zone or a version that is not one.

use std::fmt;
use std::sync::Arc;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::batch::selector::{Selector, is_key, is_value};
use crate::profile::rule::Family;

/// A panel's id: 1 to 63 letters, digits and `-_.`; unique in the fleet, chosen by people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PanelId(Arc<str>);

impl PanelId {
    /// `None` when the text is no id.
    pub fn new(text: &str) -> Option<Self> {
        (is_key(text) && !text.contains('/')).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PanelId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PanelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A panel's record as it is stored and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PanelRecord {
    /// 1 to 63 letters, digits and `-_.`.
    #[schema(example = "north-01")]
    pub id: String,
    /// `embedded`: this server is the panel.
    #[serde(default = "embedded")]
    pub driver: String,
    /// What selectors look at.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// IANA name of the zone in which the panel's rules run.
    #[serde(default = "utc")]
    #[schema(example = "Europe/Kyiv")]
    pub zone: String,
    /// `android` or `camdroid`.
    #[serde(default = "android")]
    pub api: String,
    /// The version that the panel says it speaks.
    #[serde(default = "seed_version")]
    #[schema(example = "2.9.0")]
    pub api_version: String,
    /// How many profiles it holds at most; none is no limit.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// Where a remote panel is reached; always null for an embedded one.
    #[serde(default)]
    pub url: Option<String>,
    /// The account on a remote panel; always null for an embedded one.
    #[serde(default)]
    pub username: Option<String>,
}

fn embedded() -> String {
    "embedded".into()
}

fn utc() -> String {
    "UTC".into()
}

fn android() -> String {
    Family::Android.as_str().into()
}

fn seed_version() -> String {
    "2.9.0".into()
}

impl PanelRecord {
    /// A record with every default.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            driver: embedded(),
            labels: BTreeMap::new(),
            zone: utc(),
            api: android(),
            api_version: seed_version(),
            capacity: None,
            url: None,
            username: None,
        }
    }
}

/// What is wrong with one field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// JSON pointer to the field.
    pub path: String,
    /// What it takes.
    pub message: String,
}

/// What a panel's record means.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id.
    pub id: PanelId,
    /// Its labels, by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Its zone.
    pub zone: Zone,
    /// Its family.
    pub family: Family,
    /// The version it says it speaks.
    pub api_version: ApiVersion,
    /// How many profiles it holds at most.
    pub capacity: Option<u32>,
}

impl Settings {
    /// Reads a record and gathers everything that is wrong with it.
    pub fn parse(record: &PanelRecord) -> Result<Self, Vec<SettingProblem>> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message: &str| {
            problems.push(SettingProblem { path: path.to_owned(), message: message.to_owned() });
        };
        let id = PanelId::new(&record.id);
        if id.is_none() {
            wrong("/id", "an id is 1 to 63 letters, digits and -_.");
        }
        if record.driver != "embedded" {
            wrong("/driver", "this version knows the driver embedded");
        }
        for (key, value) in &record.labels {
            let path = format!("/labels/{}", key.replace('~', "~0").replace('/', "~1"));
            if key == "id" || key == "driver" {
                wrong(&path, "id and driver are built in and cannot be labels");
            } else if !is_key(key) {
                wrong(&path, "a label's key is 1 to 63 letters, digits and -_./");
            }
            if !is_value(value) {
                wrong(&path, "a label's value is up to 63 letters, digits and -_./");
            }
        }
        let zone = Zone::new(&record.zone);
        if zone.is_none() {
            wrong("/zone", "an IANA time zone such as Europe/Kyiv");
        }
        let family = Family::parse(&record.api).filter(|family| *family != Family::DoorController);
        if family.is_none() {
            wrong("/api", "an embedded panel speaks android or camdroid");
        }
        let api_version = ApiVersion::new(&record.api_version);
        if api_version.is_none() {
            wrong("/api_version", "three numbers such as 2.9.0");
        }
        if record.capacity == Some(0) {
            wrong("/capacity", "at least 1, or null for no limit");
        }
        if record.url.is_some() {
            wrong("/url", "an embedded panel has no url");
        }
        if record.username.is_some() {
            wrong("/username", "an embedded panel has no account of its own");
        }
        let labels = record.labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
        match (id, zone, family, api_version) {
            (Some(id), Some(zone), Some(family), Some(api_version)) if problems.is_empty() => {
                Ok(Self { id, labels, zone, family, api_version, capacity: record.capacity })
            }
            _ => Err(problems),
        }
    }

    /// The record of these settings.
    pub fn record(&self) -> PanelRecord {
        PanelRecord {
            labels: self.labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            zone: self.zone.name().to_owned(),
            api: self.family.as_str().to_owned(),
            api_version: self.api_version.to_string(),
            capacity: self.capacity,
            ..PanelRecord::new(self.id.as_str())
        }
    }

    /// Whether the selector picks this panel.
    pub fn matches(&self, selector: &Selector) -> bool {
        selector.matches(|key| match key {
            "id" => Some(self.id.as_str()),
            "driver" => Some("embedded"),
            key => self.labels.iter().find(|(k, _)| **k == *key).map(|(_, v)| &**v),
        })
    }

    /// Whether results carry `has_dublicates`: panels from 2.10.0 on do.
    pub fn tells_taken_names(&self) -> bool {
        self.family == Family::Android && self.api_version >= ApiVersion { numbers: [2, 10, 0] }
    }
}

/// An IANA time zone from the compiled-in database.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// `None` when there is no such zone.
    pub fn new(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        zone.iana_name().is_some().then_some(Self(zone))
    }

    /// The IANA name, in its own spelling.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC") // new() lets only named zones in
    }

    /// For computing with it.
    pub fn rules(&self) -> &TimeZone {
        &self.0
    }
}

/// A panel API version such as 2.9.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    numbers: [u16; 3],
}

impl ApiVersion {
    /// `None` when the text is not three numbers with dots between them.
    pub fn new(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = || -> Option<u16> {
            let part = parts.next()?;
            // parse() would also take a sign
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let numbers = [number()?, number()?, number()?];
        parts.next().is_none().then_some(Self { numbers })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")
    }
}
