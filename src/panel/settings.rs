//! A panel's record: who it is and how it behaves.
//!
//! [`PanelRecord`] is the form in the store and in the fleet API; [`Settings`] is what it means, and cannot
//! hold a zone or a version that is not one.

use std::fmt;
use std::sync::Arc;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::item::Kind;
use crate::batch::selector::{Selector, is_key, is_value};
use crate::clock;
use crate::identifier::rule::Api;
use crate::profile::rule::Family;
use crate::store::seal::hex;

use super::decide::Limits;
use super::dialect::Dialect;

mod address;
mod zone;

pub use super::dialect::ApiVersion;
pub use address::{DeviceAddress, HttpAddress, Trust};
pub use zone::Zone;

use address::base_url;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelRecord {
    /// 1 to 63 letters, digits and `-_.`.
    pub id: String,
    /// `embedded`: this server is the panel. `http`: a device somewhere else is.
    #[serde(default = "embedded")]
    pub driver: String,
    /// What selectors look at.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// IANA name of the zone in which the panel's rules run.
    #[serde(default = "utc")]
    pub zone: String,
    /// `android`, `camdroid`, `ingenic-mips` or `door-controller`.
    #[serde(default = "android")]
    pub api: String,
    /// The version that the panel says it speaks; empty for the one that panels of the family have who say none.
    #[serde(default)]
    pub api_version: String,
    /// How many profiles it holds at most; none is no limit.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// How many identifiers it holds at most; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier_capacity: Option<u32>,
    /// How many of these may be faces; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face_capacity: Option<u32>,
    /// Where a remote panel is reached, up to what comes before `/api`; always null for an embedded one.
    #[serde(default)]
    pub url: Option<String>,
    /// The account on a remote panel; always null for an embedded one. Its password is never in a record.
    #[serde(default)]
    pub username: Option<String>,
    /// Of a remote panel, whether drift is put right as soon as it is found: `on` or `off`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
    /// Of a remote panel with `https`, the certificates that may vouch for it, PEM. Without, the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<String>,
    /// Of a remote panel with `https`, the SHA-256 of the one certificate that it may show, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_pin: Option<String>,
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

impl PanelRecord {
    /// A record with every default.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            driver: embedded(),
            labels: BTreeMap::new(),
            zone: utc(),
            api: android(),
            api_version: String::new(),
            capacity: None,
            identifier_capacity: None,
            face_capacity: None,
            url: None,
            username: None,
            repair: None,
            tls_ca: None,
            tls_pin: None,
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
    /// What its family speaks in this version.
    pub dialect: &'static Dialect,
    /// The version it says it speaks.
    pub api_version: ApiVersion,
    /// How many profiles it holds at most.
    pub capacity: Option<u32>,
    /// How many identifiers it holds at most.
    pub identifier_capacity: Option<u32>,
    /// How many of these may be faces.
    pub face_capacity: Option<u32>,
    /// Where its device is; none for an embedded panel.
    pub remote: Option<Remote>,
}

/// How the device of a remote panel is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where it is, and by which transport.
    pub address: DeviceAddress,
    /// The account.
    pub username: Box<str>,
    /// Whether drift is put right as soon as it is found.
    pub repair: bool,
}

impl Settings {
    /// What a device says of its zone, where it shows another time than the panel's zone does.
    pub fn other_zone<'z>(&self, said: Option<&'z str>) -> Option<&'z str> {
        let now = Timestamp::from_millisecond(clock::now_ms()).unwrap_or_default();
        said.filter(|said| self.zone.differs_from(said, now) == Some(true))
    }

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
            wrong("/zone", &Zone::unknown(&record.zone));
        }
        let family = Family::parse(&record.api);
        if family.is_none() {
            wrong("/api", &format!("a panel speaks {}", Dialect::families()));
        }
        let api_version = match (record.api_version.as_str(), family) {
            ("", Some(family)) => Some(Dialect::default_version(family)),
            (text, _) => ApiVersion::new(text),
        };
        let dialect = match (family, api_version) {
            (Some(family), Some(version)) => {
                let dialect = Dialect::of(family, version);
                if dialect.is_none() {
                    wrong("/api_version", &Dialect::versions(family));
                }
                dialect
            }
            (_, None) if !record.api_version.is_empty() => {
                let there_are = family.map(|family| format!("; {}", Dialect::versions(family)));
                wrong(
                    "/api_version",
                    &format!("three numbers such as 2.9.0{}", there_are.unwrap_or_default()),
                );
                None
            }
            (None, _) | (_, None) => None,
        };
        for (path, capacity) in
            [("/capacity", record.capacity), ("/identifier_capacity", record.identifier_capacity)]
        {
            if capacity == Some(0) {
                wrong(path, "at least 1, or null for no limit");
            }
        }
        let remote = match record.driver.as_str() {
            "http" => Remote::parse(record, &mut wrong),
            "embedded" => {
                for (path, given) in [
                    ("/url", &record.url),
                    ("/username", &record.username),
                    ("/repair", &record.repair),
                    ("/tls_ca", &record.tls_ca),
                    ("/tls_pin", &record.tls_pin),
                ] {
                    if given.is_some() {
                        wrong(path, "only a panel with the driver http has one");
                    }
                }
                None
            }
            _ => {
                wrong("/driver", "embedded, where this server is the panel, or http, where a device is");
                None
            }
        };
        let labels = record.labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
        match (id, zone, dialect, api_version) {
            (Some(id), Some(zone), Some(dialect), Some(api_version)) if problems.is_empty() => {
                let PanelRecord { capacity, identifier_capacity, face_capacity, .. } = *record;
                Ok(Self {
                    id,
                    labels,
                    zone,
                    dialect,
                    api_version,
                    capacity,
                    identifier_capacity,
                    face_capacity,
                    remote,
                })
            }
            _ => Err(problems),
        }
    }

    /// Reads a record of the store. Earlier versions took any version of a family; one that there is not counts as
    /// that of a panel which says none.
    pub fn stored(record: &PanelRecord) -> Result<Self, Vec<SettingProblem>> {
        Self::parse(record).or_else(|problems| {
            // A version that cannot be read at all was never taken.
            let other = ApiVersion::new(&record.api_version).is_some();
            let unsaid = PanelRecord { api_version: String::new(), ..record.clone() };
            if other { Self::parse(&unsaid) } else { Err(problems) }
        })
    }

    /// The record of these settings.
    pub fn record(&self) -> PanelRecord {
        let trust = self.remote.as_ref().map(Remote::trust);
        PanelRecord {
            driver: self.driver().to_owned(),
            url: self.remote.as_ref().map(|remote| remote.url().to_owned()),
            username: self.remote.as_ref().map(|remote| remote.username.to_string()),
            repair: self.remote.as_ref().map(|remote| if remote.repair { "on" } else { "off" }.to_owned()),
            tls_ca: trust.and_then(|trust| match trust {
                Trust::Ca(pem) => Some(pem.to_string()),
                Trust::System | Trust::Pin(_) => None,
            }),
            tls_pin: trust.and_then(|trust| match trust {
                Trust::Pin(digest) => Some(hex(digest)),
                Trust::System | Trust::Ca(_) => None,
            }),
            labels: self.labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            zone: self.zone.name().to_owned(),
            api: self.family().as_str().to_owned(),
            api_version: self.api_version.to_string(),
            capacity: self.capacity,
            identifier_capacity: self.identifier_capacity,
            face_capacity: self.face_capacity,
            ..PanelRecord::new(self.id.as_str())
        }
    }

    /// What identifiers panels of its family take in its version; nothing where they cannot be managed.
    pub fn identifier_api(&self) -> Option<Api> {
        Api::of(self.family(), Some(self.api_version.numbers())).ok()
    }

    /// What an embedded panel takes of what is asked of it. A device judges by itself what it has room for.
    pub fn limits(&self) -> Limits {
        let (mut capacity, mut faces) = ([None; Kind::ALL.len()], None);
        if !self.is_device() {
            capacity[Kind::Profile as usize] = self.capacity;
            capacity[Kind::Identifier as usize] = self.identifier_capacity;
            faces = self.face_capacity;
        }
        Limits { capacity, faces, identifiers: self.identifier_api(), look_for_names: false }
    }

    /// Whether the selector picks this panel.
    pub fn matches(&self, selector: &Selector) -> bool {
        selector.matches(|key| match key {
            "id" => Some(self.id.as_str()),
            "driver" => Some(self.driver()),
            key => self.labels.iter().find(|(k, _)| **k == *key).map(|(_, v)| &**v),
        })
    }

    /// Whether the panel is a device somewhere else, and not this server.
    pub fn is_device(&self) -> bool {
        self.remote.is_some()
    }

    /// The name of its driver.
    pub fn driver(&self) -> &'static str {
        match self.remote.as_ref().map(|remote| &remote.address) {
            Some(DeviceAddress::Http(_)) => "http",
            None => "embedded",
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.dialect.family
    }

    /// From now on it speaks as this version, where its family has that.
    pub fn set_api_version(&mut self, version: ApiVersion) {
        if let Some(dialect) = Dialect::of(self.family(), version) {
            (self.dialect, self.api_version) = (dialect, version);
        }
    }
}

impl Remote {
    /// What a record says of its address: up to what comes before `/api`, without a slash at the end.
    pub fn url(&self) -> &str {
        match &self.address {
            DeviceAddress::Http(address) => &address.url,
        }
    }

    /// Which certificates are good.
    pub fn trust(&self) -> &Trust {
        match &self.address {
            DeviceAddress::Http(address) => &address.trust,
        }
    }

    /// The scheme, host and port of its address: who is spoken to.
    pub fn origin(&self) -> Option<(String, String, u16)> {
        match &self.address {
            DeviceAddress::Http(address) => address.origin(),
        }
    }

    /// Its address in the one spelling in which it is compared.
    pub fn place(&self) -> String {
        match &self.address {
            DeviceAddress::Http(address) => address.place(),
        }
    }

    fn parse(record: &PanelRecord, wrong: &mut impl FnMut(&str, &str)) -> Option<Self> {
        let url = match record.url.as_deref().map(base_url) {
            Some(Ok(url)) => Some(url),
            Some(Err(why)) => {
                wrong("/url", why);
                None
            }
            None => {
                wrong("/url", "a panel with the driver http needs its address, such as http://10.0.3.17");
                None
            }
        };
        let username = record.username.as_deref().filter(|name| !name.is_empty());
        if username.is_none() {
            wrong(
                "/username",
                "a panel with the driver http needs the name of an administrator's account on it",
            );
        }
        let repair = match record.repair.as_deref() {
            None | Some("off") => Some(false),
            Some("on") => Some(true),
            Some(_) => {
                wrong("/repair", "on or off");
                None
            }
        };
        let trust = match (&record.tls_ca, &record.tls_pin) {
            (None, None) => Some(Trust::System),
            (Some(pem), None) => {
                let trust = Trust::from_pem(pem);
                if trust.is_none() {
                    wrong("/tls_ca", "one or more certificates in PEM");
                }
                trust
            }
            (None, Some(pin)) => {
                let trust = Trust::from_pin(pin);
                if trust.is_none() {
                    wrong("/tls_pin", "the SHA-256 of the certificate, 64 hex digits");
                }
                trust
            }
            (Some(_), Some(_)) => {
                wrong("/tls_pin", "either tls_ca or tls_pin");
                None
            }
        };
        let address = DeviceAddress::Http(HttpAddress { url: url?.into(), trust: trust? });
        Some(Self { address, username: username?.into(), repair: repair? })
    }
}
