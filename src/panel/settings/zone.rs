//! Time zones, and which one was surely meant.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The longest name of a zone that is compared with others.
const MAX_ZONE_NAME: usize = 64;

/// After so long a zone with summer time is on the other side of it.
const HALF_A_YEAR: SignedDuration = SignedDuration::from_hours(183 * 24);

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

    /// Whether a device that says this of its zone shows another time than this zone does, now or in half a year; `None`
    /// where what it says names no zone.
    pub fn differs_from(&self, said: &str, now: Timestamp) -> Option<bool> {
        let differs = |other: &TimeZone, at| other.to_offset(at) != self.0.to_offset(at);
        if let Ok(other) = TimeZone::get(said) {
            let in_half_a_year = now.saturating_add(HALF_A_YEAR).unwrap_or(now);
            return Some(differs(&other, now) || differs(&other, in_half_a_year));
        }
        // Only what holds now: such a device says another offset in summer.
        Some(differs(&TimeZone::fixed(offset(said)?), now))
    }

    /// For computing with it.
    pub fn rules(&self) -> &TimeZone {
        &self.0
    }
}

/// The offset that a text names: `UTC+03:00`, `GMT-3`, `+0530`.
fn offset(text: &str) -> Option<Offset> {
    let text = text.trim();
    let text =
        ["UTC", "GMT", "utc", "gmt"].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text).trim();
    if text.is_empty() {
        return Some(Offset::UTC);
    }
    let (sign, digits) =
        text.strip_prefix('+').map(|rest| (1, rest)).or_else(|| Some((-1, text.strip_prefix('-')?)))?;
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
        None => (digits, "0"),
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 14 && minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_of_its_zone_is_compared_by_the_time_that_it_shows() {
        let kyiv = Zone::new("Europe/Kyiv").expect("a zone");
        let winter: Timestamp = "2026-01-15T12:00:00Z".parse().expect("a moment");
        let summer: Timestamp = "2026-07-15T12:00:00Z".parse().expect("a moment");
        for same in ["Europe/Kyiv", "europe/kiev", "Europe/Athens"] {
            assert_eq!(kyiv.differs_from(same, winter), Some(false), "{same}");
        }
        // It shows the same in winter, and another time in summer.
        for other in ["Etc/GMT-2", "UTC", "America/New_York"] {
            assert_eq!(kyiv.differs_from(other, winter), Some(true), "{other}");
        }
        for offset in ["UTC+02:00", "GMT+2", "+0200", "+02"] {
            assert_eq!(kyiv.differs_from(offset, winter), Some(false), "{offset}");
            assert_eq!(kyiv.differs_from(offset, summer), Some(true), "{offset}");
        }
        assert_eq!(kyiv.differs_from("UTC-02:00", winter), Some(true));
        for no_zone in ["", "EET-2EEST", "UTC+2x", "+99:00", "+2:99", "+-2", "somewhere", "UTC+٢"] {
            assert_eq!(kyiv.differs_from(no_zone, winter).filter(|_| !no_zone.is_empty()), None, "{no_zone}");
        }
    }
}
