//! Whether a door can ever open under a profile, decided exactly for a zone.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::TimeProfile;
use super::recurrence::{self, CivilDate};

/// Why well-formed rules never open a door. The panel API's word for all of them is
/// `invalid_time_rules_settings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NeverOpens {
    /// A first window without length.
    #[error("the first window ends before it begins or at the same moment (date_to must be after date_from)")]
    EmptyWindow,
    /// Whole days that end before they begin.
    #[error("the last day of the first window is before its first day in the panel's zone")]
    DaysReversed,
    /// The repetition is over before the first window.
    #[error("the repetition ends (repeat_end.date) before the first window begins")]
    EndsBeforeStart,
    /// No date fits, such as 31 February.
    #[error("no date ever fits the rule")]
    NoDate,
    /// The first fitting date comes after the end of the repetition.
    #[error("the repetition ends (repeat_end.date) before the first date that fits the rule")]
    EndsBeforeFirstDate,
    /// A moment that no calendar here reaches (years −9999 to 9999).
    #[error("{} lies outside the years -9999 to 9999, whose last second is {LAST}", .0.as_str())]
    OutOfCalendar(End),
}

/// One of the two ends of the first window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `date_from`.
    From,
    /// `date_to`.
    To,
}

impl End {
    /// The name of its field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::From => "date_from",
            Self::To => "date_to",
        }
    }
}

impl NeverOpens {
    /// The place within the profile that can be put right: a JSON pointer, empty for the whole.
    pub fn path(self) -> &'static str {
        match self {
            Self::EmptyWindow | Self::DaysReversed | Self::OutOfCalendar(End::To) => "/time_options/date_to",
            Self::OutOfCalendar(End::From) => "/time_options/date_from",
            Self::EndsBeforeStart | Self::EndsBeforeFirstDate => {
                "/repeat_options/repeat_format/repeat_end/date"
            }
            Self::NoDate => "/repeat_options",
        }
    }
}

/// Says whether the profile's rules ever open a door in this zone, by the rules of the panel API's
/// `invalid_time_rules_settings`. Bounded work whatever the rules say.
pub fn check(profile: &TimeProfile, zone: &TimeZone) -> Result<(), NeverOpens> {
    let start = local_date(profile.from, zone).ok_or(NeverOpens::OutOfCalendar(End::From))?;
    let end = local_date(profile.to, zone).ok_or(NeverOpens::OutOfCalendar(End::To))?;
    if profile.all_day {
        if end < start {
            return Err(NeverOpens::DaysReversed);
        }
    } else if profile.to <= profile.from {
        return Err(NeverOpens::EmptyWindow);
    }
    let Some(repeat) = &profile.repeat else {
        return Ok(());
    };
    if repeat.until.is_some_and(|until| until < profile.from) {
        return Err(NeverOpens::EndsBeforeStart);
    }
    let first = recurrence::first_date(&repeat.rule, start).ok_or(NeverOpens::NoDate)?;
    match repeat.until {
        Some(until) if first != start && starts_after(profile, first, until, zone) => {
            Err(NeverOpens::EndsBeforeFirstDate)
        }
        _ => Ok(()),
    }
}

/// Which end of the first window no calendar here reaches, whatever the zone.
pub fn out_of_calendar(profile: &TimeProfile) -> Option<NeverOpens> {
    let beyond = |unix| local_parts(unix, &TimeZone::UTC).is_none();
    let end = if beyond(profile.from) {
        End::From
    } else if beyond(profile.to) {
        End::To
    } else {
        return None;
    };
    Some(NeverOpens::OutOfCalendar(end))
}

/// Whether the occurrence on `date` begins after `until`.
fn starts_after(profile: &TimeProfile, date: CivilDate, until: i64, zone: &TimeZone) -> bool {
    let time = if profile.all_day { 0 } else { local_parts(profile.from, zone).map_or(0, |(_, time)| time) };
    instant(date.days().saturating_mul(DAY).saturating_add(time), zone) > until
}

fn local_date(unix: i64, zone: &TimeZone) -> Option<CivilDate> {
    local_parts(unix, zone).map(|(day, _)| CivilDate::from_days(day))
}

/// Seconds in a civil day.
pub const DAY: i64 = 86_400;

/// The last second of the year 9999 in UTC. No calendar here reaches further.
pub const LAST: i64 = 253_402_300_799;

/// The local day of an instant ([`CivilDate::days`]) and the seconds into it; `None` outside of the calendar.
pub(super) fn local_parts(unix: i64, zone: &TimeZone) -> Option<(i64, i64)> {
    if unix > LAST {
        return None;
    }
    // The calendar of the zones ends some hours before the year does; no zone changes in between.
    let instant = Timestamp::from_second(unix.min(Timestamp::MAX.as_second())).ok()?;
    let local = unix + i64::from(zone.to_offset(instant).seconds());
    Some((local.div_euclid(DAY), local.rem_euclid(DAY)))
}

/// What a clock in the zone shows at an instant; at the very end of the calendar its last second.
pub fn local(unix: i64, zone: &TimeZone) -> Option<DateTime> {
    local_parts(unix, zone).map(|(day, seconds)| civil(day, seconds).unwrap_or(DateTime::MAX))
}

/// The instant at which a clock in the zone shows this, given as seconds since the local 1970-01-01. A time that does
/// not exist moves forward by the gap, one that exists twice is the earlier.
pub(super) fn instant(local: i64, zone: &TimeZone) -> i64 {
    let civil = civil(local.div_euclid(DAY), local.rem_euclid(DAY));
    let found = civil.and_then(|civil| zone.to_timestamp(civil).ok()).map(Timestamp::as_second);
    let end = if local < 0 { Timestamp::MIN } else { Timestamp::MAX };
    found.unwrap_or_else(|| local.saturating_sub(i64::from(zone.to_offset(end).seconds())))
}

/// The same of a date and time.
pub fn instant_of(local: DateTime, zone: &TimeZone) -> i64 {
    instant(seconds_of(local), zone)
}

/// A moment as RFC 3339 writes it, up to the last second of the year 9999.
pub fn moment(text: &str) -> Option<i64> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_second());
    }
    text.strip_suffix(['Z', 'z'])?.parse().ok().map(seconds_of)
}

/// Seconds since the local 1970-01-01.
fn seconds_of(at: DateTime) -> i64 {
    let day = CivilDate { year: at.year().into(), month: at.month().into(), day: at.day().into() }.days();
    day * DAY + i64::from(at.hour()) * 3600 + i64::from(at.minute()) * 60 + i64::from(at.second())
}

fn civil(day: i64, seconds: i64) -> Option<DateTime> {
    let CivilDate { year, month, day } = CivilDate::from_days(day);
    let date =
        Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let [hour, minute, second] =
        [seconds / 3600, seconds / 60 % 60, seconds % 60].map(|n| i8::try_from(n).ok());
    Some(date.to_datetime(Time::new(hour?, minute?, second?, 0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::parse;
    use crate::profile::rule::Family;

    fn verdict(zone: &str, time: &str, repeat: &str) -> Result<(), NeverOpens> {
        let body = format!(r#"{{"name":"n","time_options":{time},"repeat_options":{repeat}}}"#);
        let profile = parse::profile_body(body.as_bytes(), Family::Android).expect("well-formed");
        check(&profile, &TimeZone::get(zone).expect("a zone"))
    }

    const ONCE: &str = r#"{"repeat_enable":false}"#;

    #[test]
    fn whole_days_are_compared_as_local_dates() {
        // 2025-01-02 23:00 UTC and an hour and a half later: two dates in UTC, one in New York.
        let backwards = r#"{"is_all_day":true,"date_from":1735864200,"date_to":1735858800}"#;
        assert_eq!(verdict("UTC", backwards, ONCE), Err(NeverOpens::DaysReversed));
        assert_eq!(verdict("America/New_York", backwards, ONCE), Ok(()));
    }

    #[test]
    fn a_window_needs_a_length_and_a_date_of_this_calendar() {
        let empty = r#"{"is_all_day":false,"date_from":1735804800,"date_to":1735804800}"#;
        assert_eq!(verdict("UTC", empty, ONCE), Err(NeverOpens::EmptyWindow));
        let far = format!(r#"{{"is_all_day":true,"date_from":0,"date_to":{}}}"#, i64::MAX);
        assert_eq!(verdict("UTC", &far, ONCE), Err(NeverOpens::OutOfCalendar(End::To)));
    }

    #[test]
    fn the_last_second_of_the_year_9999_is_a_date_as_any_other() {
        let repeat = |until: i64| {
            format!(
                r#"{{"repeat_enable":true,"repeat_format":{{"repeat_type":"day","repeat_end":{{"format":"date","date":{until}}}}}}}"#
            )
        };
        for zone in ["UTC", "Europe/Kyiv", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
            for all_day in [true, false] {
                let last = format!(r#"{{"is_all_day":{all_day},"date_from":1735804800,"date_to":{LAST}}}"#);
                assert_eq!(verdict(zone, &last, ONCE), Ok(()), "{zone}");
                assert_eq!(verdict(zone, &last, &repeat(LAST)), Ok(()), "{zone}");
                let whole =
                    format!(r#"{{"is_all_day":{all_day},"date_from":{},"date_to":{LAST}}}"#, LAST - 1);
                assert_eq!(verdict(zone, &whole, &repeat(LAST)), Ok(()), "{zone}");
                let beyond = format!(r#"{{"is_all_day":{all_day},"date_from":0,"date_to":{}}}"#, LAST + 1);
                assert_eq!(verdict(zone, &beyond, ONCE), Err(NeverOpens::OutOfCalendar(End::To)), "{zone}");
            }
        }
        let said = NeverOpens::OutOfCalendar(End::To);
        assert!(
            said.to_string().starts_with("date_to lies outside the years")
                && said.path().ends_with("date_to")
        );
        assert_eq!(moment("9999-12-31T23:59:59Z"), Some(LAST));
        assert_eq!(moment("2026-11-23T00:00:00+02:00"), Some(1_795_384_800));
        assert_eq!(moment("yesterday"), None);
    }

    #[test]
    fn an_end_before_the_first_fitting_date_never_opens() {
        // The first window is Thursday 2 January 2025, 08:00–17:00 UTC; the rule names Mondays.
        let repeat = |until: i64| {
            format!(
                r#"{{"repeat_enable":true,"repeat_format":{{"repeat_type":"custom",
                    "repeat_end":{{"format":"date","date":{until}}},
                    "repeat_custom":{{"repeat_point_type":"week","repeat_looper":1,"repeat_options":["MON"]}}}}}}"#
            )
        };
        let time = r#"{"is_all_day":false,"date_from":1735804800,"date_to":1735837200}"#;
        let monday = 1_736_150_400; // 6 January 2025, 08:00 UTC
        assert_eq!(verdict("UTC", time, &repeat(monday)), Ok(()));
        assert_eq!(verdict("UTC", time, &repeat(monday - 1)), Err(NeverOpens::EndsBeforeFirstDate));
        assert_eq!(verdict("UTC", time, &repeat(1_735_804_799)), Err(NeverOpens::EndsBeforeStart));
        assert_eq!(verdict("UTC", time, &repeat(i64::MAX)), Ok(()));
    }
}
