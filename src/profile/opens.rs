//! Whether a door can ever open under a profile, decided exactly for a zone.

use jiff::Timestamp;
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
    #[error("a date lies outside the years -9999 to 9999")]
    OutOfCalendar,
}

/// Says whether the profile's rules ever open a door in this zone, by the rules of the panel API's
/// `invalid_time_rules_settings`. Bounded work whatever the rules say.
pub fn check(profile: &TimeProfile, zone: &TimeZone) -> Result<(), NeverOpens> {
    let start = local_date(profile.from, zone)?;
    let end = local_date(profile.to, zone)?;
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

/// Whether the occurrence on `date` begins after `until`.
fn starts_after(profile: &TimeProfile, date: CivilDate, until: i64, zone: &TimeZone) -> bool {
    let Ok(until) = Timestamp::from_second(until) else {
        return false; // later than any calendar reaches: it cuts nothing off
    };
    let Some(start) = local_start(profile, date, zone) else {
        return true; // beyond the year 9999, where `until` is not
    };
    start > until
}

fn local_start(profile: &TimeProfile, date: CivilDate, zone: &TimeZone) -> Option<Timestamp> {
    let first = Timestamp::from_second(profile.from).ok()?;
    let time = if profile.all_day { jiff::civil::Time::midnight() } else { zone.to_datetime(first).time() };
    let year = i16::try_from(date.year).ok()?;
    let date =
        jiff::civil::Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()?;
    zone.to_timestamp(date.to_datetime(time)).ok()
}

fn local_date(unix: i64, zone: &TimeZone) -> Result<CivilDate, NeverOpens> {
    let (day, _) = local_parts(unix, zone).ok_or(NeverOpens::OutOfCalendar)?;
    Ok(CivilDate::from_days(day))
}

/// Seconds in a civil day.
pub(super) const DAY: i64 = 86_400;

/// The local day of an instant ([`CivilDate::days`]) and the seconds into it; `None` outside of the calendar.
pub(super) fn local_parts(unix: i64, zone: &TimeZone) -> Option<(i64, i64)> {
    let instant = Timestamp::from_second(unix).ok()?;
    let local = unix + i64::from(zone.to_offset(instant).seconds());
    Some((local.div_euclid(DAY), local.rem_euclid(DAY)))
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
        assert_eq!(verdict("UTC", &far, ONCE), Err(NeverOpens::OutOfCalendar));
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
