//! A panel's record: who it is and how it behaves.
//!
//! [`PanelRecord`] is the form in the store and in the fleet API; [`Settings`] is what it means, and cannot
//! hold a zone or a version that is not one.

use std::fmt;
use std::sync::Arc;

use std::collections::BTreeMap;

use hyper::Uri;
use jiff::tz::TimeZone;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};

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
    /// `android`, `camdroid` or `door-controller`.
    #[serde(default = "android")]
    pub api: String,
    /// The version that the panel says it speaks.
    #[serde(default = "seed_version")]
    pub api_version: String,
    /// How many profiles it holds at most; none is no limit.
    #[serde(default)]
    pub capacity: Option<u32>,
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
    /// Its family.
    pub family: Family,
    /// The version it says it speaks.
    pub api_version: ApiVersion,
    /// How many profiles it holds at most.
    pub capacity: Option<u32>,
    /// Where its device is; none for an embedded panel.
    pub remote: Option<Remote>,
}

/// How the device of a remote panel is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its address up to what comes before `/api`, without a slash at the end.
    pub url: Box<str>,
    /// The account.
    pub username: Box<str>,
    /// Whether drift is put right as soon as it is found.
    pub repair: bool,
    /// Which certificates are good.
    pub trust: Trust,
}

/// Which certificates of a device are good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those that the system's roots vouch for.
    System,
    /// Those that these certificates vouch for, PEM.
    Ca(Box<str>),
    /// This one, by its SHA-256.
    Pin([u8; 32]),
}

impl Trust {
    /// In one or more certificates in PEM.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let good = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        good.is_ok_and(|certificates| !certificates.is_empty()).then(|| Self::Ca(pem.into()))
    }

    /// In the certificate with this SHA-256, in hex.
    pub fn from_pin(hex: &str) -> Option<Self> {
        from_hex(hex).map(Self::Pin)
    }
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
            wrong("/api", "a panel speaks android, camdroid or door-controller");
        }
        let api_version = ApiVersion::new(&record.api_version);
        if api_version.is_none() {
            wrong("/api_version", "three numbers such as 2.9.0");
        }
        if record.capacity == Some(0) {
            wrong("/capacity", "at least 1, or null for no limit");
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
        match (id, zone, family, api_version) {
            (Some(id), Some(zone), Some(family), Some(api_version)) if problems.is_empty() => {
                Ok(Self { id, labels, zone, family, api_version, capacity: record.capacity, remote })
            }
            _ => Err(problems),
        }
    }

    /// The record of these settings.
    pub fn record(&self) -> PanelRecord {
        let trust = self.remote.as_ref().map(|remote| &remote.trust);
        PanelRecord {
            driver: self.driver().to_owned(),
            url: self.remote.as_ref().map(|remote| remote.url.to_string()),
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
            "driver" => Some(self.driver()),
            key => self.labels.iter().find(|(k, _)| **k == *key).map(|(_, v)| &**v),
        })
    }

    /// The name of its driver.
    pub fn driver(&self) -> &'static str {
        if self.remote.is_some() { "http" } else { "embedded" }
    }

    /// Whether results carry `has_dublicates`: panels from 2.10.0 on do.
    pub fn tells_taken_names(&self) -> bool {
        self.family == Family::Android && self.api_version >= ApiVersion { numbers: [2, 10, 0] }
    }
}

impl Remote {
    /// The scheme, host and port of its address: who is spoken to.
    pub fn origin(&self) -> Option<(String, String, u16)> {
        let url: Uri = self.url.parse().ok()?;
        let scheme = url.scheme_str()?.to_ascii_lowercase();
        let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, url.host()?.trim_end_matches('.').to_ascii_lowercase(), port))
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
        Some(Self { url: url?.into(), username: username?.into(), repair: repair?, trust: trust? })
    }
}

/// A device's address up to what comes before `/api`, without a slash at its end; the error is what it takes.
/// Whether something stands where a port does.
fn text_has_port(url: &Uri) -> bool {
    url.authority().is_some_and(|authority| {
        let text = authority.as_str();
        text.rfind(':').is_some_and(|colon| text.rfind(']').is_none_or(|bracket| bracket < colon))
    })
}

fn base_url(text: &str) -> Result<String, &'static str> {
    let url: Uri = text.parse().map_err(|_| "a URL such as http://10.0.3.17 or https://door.example:8443")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("a URL that begins with http:// or https://");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a URL without a user name or password; give them as username and password");
    }
    if url.port_u16().is_none() && text_has_port(&url) {
        return Err("a port from 1 to 65535");
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if ServerName::try_from(host).is_err() {
        return Err("a URL with the name or address of a host");
    }
    if url.query().is_some() || text.contains('#') {
        return Err("a URL without ? and #");
    }
    let base = text.trim_end_matches('/');
    if base.ends_with("/api") || base.contains("/api/") {
        return Err("the address up to what comes before /api");
    }
    Ok(base.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes from hex digits in either case; colons between them are passed over, as openssl prints them.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// The longest name of a zone that is compared with others.
const MAX_ZONE_NAME: usize = 64;

/// Zones whose names were changed: the new one is offered.
const RENAMED: [(&str, &str); 8] = [
    ("Europe/Kiev", "Europe/Kyiv"),
    ("Europe/Uzhgorod", "Europe/Kyiv"),
    ("Europe/Zaporozhye", "Europe/Kyiv"),
    ("Asia/Calcutta", "Asia/Kolkata"),
    ("Asia/Saigon", "Asia/Ho_Chi_Minh"),
    ("Asia/Rangoon", "Asia/Yangon"),
    ("Asia/Katmandu", "Asia/Kathmandu"),
    ("America/Godthab", "America/Nuuk"),
];

/// An IANA time zone from the compiled-in database.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// `None` when there is no such zone.
    pub fn new(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        zone.iana_name().is_some().then_some(Self(zone))
    }

    /// Says that there is no such zone, and which one was surely meant.
    pub fn unknown(name: &str) -> String {
        match Self::meant(name) {
            Some(meant) => format!("there is no time zone {name:?}; did you mean {meant}?"),
            None => format!("there is no time zone {name:?}; it takes an IANA name such as Europe/Kyiv"),
        }
    }

    /// The zone whose name, or whose city's, is nearest to this text.
    fn meant(name: &str) -> Option<String> {
        let plain = |text: &str| text.trim().to_lowercase().replace([' ', '-'], "_");
        let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_owned();
        let name = plain(&name.chars().take(MAX_ZONE_NAME).collect::<String>());
        let own_city = city(&name);
        let allowed = if own_city.chars().count() > 5 { 2 } else { 1 };
        let slips = |zone: &str| {
            let zone = plain(zone);
            let whole = strsim::osa_distance(&name, &zone);
            let of_city = strsim::osa_distance(&own_city, &city(&zone));
            let whole = Some(whole).filter(|slips| *slips <= if name.len() > 5 { 2 } else { 1 });
            let of_city = Some(of_city).filter(|slips| *slips <= allowed && zone.contains('/'));
            whole.into_iter().chain(of_city).min()
        };
        let names: Vec<_> = jiff::tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
        let near = names.iter().filter_map(|zone| Some((slips(zone)?, zone.len(), zone)));
        let (_, _, nearest) = near.min()?;
        let renamed = RENAMED.iter().find(|(old, _)| old == nearest);
        Some(renamed.map_or_else(|| nearest.clone(), |(_, new)| (*new).to_owned()))
    }

    /// UTC, which is a panel's zone where none is given.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
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

    /// As a device says it, which may leave out the last number.
    pub fn said(text: &str) -> Option<Self> {
        Self::new(text).or_else(|| Self::new(&format!("{text}.0")))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")
    }
}
