//! Time zones, and which one was surely meant.

use jiff::tz::TimeZone;

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
