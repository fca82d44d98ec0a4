//! When the door opens, against a slow and obviously right implementation: walk every date from the first
//! window on, ask whether the rule names it, and let the calendar library turn local times into instants.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use panelsync::profile::rule::{
    CustomDates, DayType, DaysOfMonth, Every, Months, Name, NthDay, Repeat, Rule, WeekOrder, Weekdays,
};
use panelsync::profile::windows::{Openings, Standing, Window};
use panelsync::profile::{TimeProfile, opens};
use proptest::prelude::*;

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Kyiv",
    "America/New_York",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Beirut",
    "Pacific/Apia",
];

/// Whether the rule names a date, asked of that date alone.
fn names(rule: &Rule, start: Date, date: Date) -> bool {
    let days = (date - start).get_days() + 7 * (date - start).get_weeks();
    assert!(days >= 0);
    let days = i64::from(days);
    let months = i64::from(date.year() - start.year()) * 12 + i64::from(date.month() - start.month());
    let years = i64::from(date.year() - start.year());
    let monday = |date: Date| i64::from(date.weekday().to_monday_zero_offset());
    let weeks = (days + monday(start)) / 7;
    match rule {
        Rule::Day => true,
        Rule::Week => days % 7 == 0,
        Rule::TwoWeeks => days % 14 == 0,
        Rule::Month => date.day() == start.day(),
        Rule::Year => (date.month(), date.day()) == (start.month(), start.day()),
        Rule::Custom { every, on } => {
            let every = every.get();
            match on {
                CustomDates::Day => days % every == 0,
                CustomDates::Week(set) => weeks % every == 0 && set.contains(monday(date)),
                CustomDates::MonthDays(set) => months % every == 0 && set.contains(i64::from(date.day())),
                CustomDates::MonthNth(nth) => months % every == 0 && is_nth(*nth, date),
                CustomDates::Year(set, None) => {
                    years % every == 0 && set.contains(i64::from(date.month())) && date.day() == start.day()
                }
                CustomDates::Year(set, Some(nth)) => {
                    years % every == 0 && set.contains(i64::from(date.month())) && is_nth(*nth, date)
                }
            }
        }
    }
}

fn is_nth(nth: NthDay, date: Date) -> bool {
    let matches = |date: &Date| {
        let weekday = date.weekday().to_monday_zero_offset();
        match nth.day {
            DayType::Weekday(day) => weekday == day as i8,
            DayType::WorkingDay => weekday < 5,
            DayType::DayOff => weekday >= 5,
            DayType::AnyDay => true,
        }
    };
    let month = date.first_of_month().series(Span::new().days(1)).take(date.days_in_month() as usize);
    let matching: Vec<_> = month.filter(matches).collect();
    match nth.order {
        WeekOrder::Nth(n) => matching.get(usize::from(n) - 1) == Some(&date),
        WeekOrder::Last => matching.last() == Some(&date),
    }
}

fn instant(zone: &TimeZone, local: DateTime) -> i64 {
    zone.to_timestamp(local).expect("in the calendar").as_second()
}

/// The windows within a range, by walking.
fn walked(profile: &TimeProfile, zone: &TimeZone, from: i64, to: i64) -> Vec<Window> {
    if opens::check(profile, zone).is_err() {
        return Vec::new();
    }
    let local = |unix: i64| zone.to_datetime(Timestamp::from_second(unix).expect("in the calendar"));
    let (start, end) = (local(profile.from), local(profile.to));
    let (start, end) = if profile.all_day {
        (start.date().at(0, 0, 0, 0), end.date().tomorrow().expect("in the calendar").at(0, 0, 0, 0))
    } else {
        (start, end)
    };
    let length = start.date().until((jiff::Unit::Day, end.date())).expect("a span").get_days();
    let first = if profile.all_day {
        Window { from: instant(zone, start), to: instant(zone, end) }
    } else {
        Window { from: profile.from, to: profile.to }
    };
    let mut windows = Vec::new();
    match &profile.repeat {
        None => windows.push(first),
        Some(repeat) => {
            let last = local(to).date().tomorrow().expect("in the calendar");
            for date in start.date().series(Span::new().days(1)).take_while(|date| *date <= last) {
                if !names(&repeat.rule, start.date(), date) {
                    continue;
                }
                let window = if date == start.date() {
                    first
                } else {
                    let ends = date.checked_add(Span::new().days(length)).expect("in the calendar");
                    Window {
                        from: instant(zone, date.to_datetime(start.time())),
                        to: instant(zone, ends.to_datetime(end.time())),
                    }
                };
                if repeat.until.is_none_or(|until| window.from <= until) {
                    windows.push(window);
                }
            }
        }
    }
    let cut = windows.into_iter().map(|w| Window { from: w.from.max(from), to: w.to.min(to) });
    let mut merged: Vec<Window> = Vec::new();
    for window in cut.filter(|w| w.from < w.to) {
        match merged.last_mut() {
            Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
            _ => merged.push(window),
        }
    }
    merged
}

fn nth_day() -> impl Strategy<Value = NthDay> {
    let order = prop_oneof![(1u8..=5).prop_map(WeekOrder::Nth), Just(WeekOrder::Last)];
    let day = prop_oneof![
        (0u8..7).prop_map(DayType::Weekday),
        Just(DayType::WorkingDay),
        Just(DayType::DayOff),
        Just(DayType::AnyDay)
    ];
    (order, day).prop_map(|(order, day)| NthDay { order, day })
}

fn rule() -> impl Strategy<Value = Rule> {
    let every = prop_oneof![4 => 1i64..=4, 1 => 5i64..=60, 1 => 100i64..=1000];
    let set = |low: i64, high: i64| prop::collection::vec(low..=high, 1..4);
    let on = prop_oneof![
        Just(CustomDates::Day),
        set(0, 6).prop_map(|days| CustomDates::Week(Weekdays::new(days).expect("in range"))),
        set(1, 31).prop_map(|days| CustomDates::MonthDays(DaysOfMonth::new(days).expect("in range"))),
        nth_day().prop_map(CustomDates::MonthNth),
        (set(1, 12), prop::option::of(nth_day()))
            .prop_map(|(months, nth)| CustomDates::Year(Months::new(months).expect("in range"), nth)),
    ];
    prop_oneof![
        Just(Rule::Day),
        Just(Rule::Week),
        Just(Rule::TwoWeeks),
        Just(Rule::Month),
        Just(Rule::Year),
        (every, on).prop_map(|(every, on)| Rule::Custom { every: Every::new(every).expect("in range"), on }),
    ]
}

const HALF_HOUR: i64 = 1800;

fn profile() -> impl Strategy<Value = TimeProfile> {
    // From 2018 to 2026, on half hours, so that daylight-saving changes are hit.
    let from = (0i64..9 * 365 * 48).prop_map(|n| 1_514_764_800 + n * HALF_HOUR);
    let length = prop_oneof![
        6 => (1i64..48).prop_map(|n| n * HALF_HOUR),
        2 => (48i64..400).prop_map(|n| n * HALF_HOUR),
        1 => (400i64..100_000).prop_map(|n| n * HALF_HOUR),
    ];
    let repeat = prop::option::weighted(0.9, (rule(), prop::option::of(-5i64..4000)));
    (from, length, any::<bool>(), repeat).prop_map(|(from, length, all_day, repeat)| TimeProfile {
        name: Name::new("x").expect("a name"),
        all_day,
        from,
        to: from + length,
        repeat: repeat
            .map(|(rule, days)| Repeat { rule, until: days.map(|days| from + days * 86_400 + 1800) }),
        wording: None,
    })
}

/// How the door stands, by the walked windows of a year to either side.
fn standing(profile: &TimeProfile, zone: &TimeZone, at: i64) -> Standing {
    let (from, to) = (at - 366 * 86_400, at + 366 * 86_400);
    let windows = walked(profile, zone, from, to);
    let Some(window) = windows.into_iter().find(|window| window.to > at) else {
        return Standing::Shut { next: None };
    };
    if window.from > at {
        return Standing::Shut { next: Some(window.from) };
    }
    Standing::Open(Window {
        from: if window.from > from { window.from } else { i64::MIN },
        to: if window.to < to { window.to } else { i64::MAX },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_are_those_of_the_walk(
        profile in profile(),
        zone in 0..ZONES.len(),
        begin in 0i64..3000,
        days in 1i64..700,
        // 2018, 1970, 2090 and 2190.
        years in prop_oneof![Just(0), Just(-48), Just(72), Just(172)],
    ) {
        let zone = TimeZone::get(ZONES[zone]).expect("a zone");
        let shift = years * 365 * 86_400 + years / 4 * 86_400;
        let mut profile = profile;
        profile.from += shift;
        profile.to += shift;
        if let Some(Repeat { until: Some(until), .. }) = &mut profile.repeat {
            *until += shift;
        }
        let from = 1_514_764_800 + shift + begin * 86_400 + 5 * HALF_HOUR;
        let to = from + days * 86_400;
        let openings = Openings::new(&profile, &zone);
        let windows = openings.windows(from, to).expect("within the limits");
        prop_assert_eq!(&windows, &walked(&profile, &zone, from, to));
        // What the others say follows from the windows.
        for at in [from, from + (to - from) / 3, to - 1] {
            let open = windows.iter().any(|window| (window.from..window.to).contains(&at));
            prop_assert_eq!(openings.is_open(at), open);
            let edges = windows.iter().flat_map(|window| [window.from, window.to]);
            if let Some(next) = edges.filter(|edge| *edge > at && *edge < to).min() {
                prop_assert_eq!(openings.next_change(at), Some(next));
            }
            prop_assert_eq!(openings.standing(at), standing(&profile, &zone, at));
        }
    }

    #[test]
    fn what_never_opens_has_no_window_and_what_opens_has_one(profile in profile(), zone in 0..ZONES.len()) {
        let zone = TimeZone::get(ZONES[zone]).expect("a zone");
        let opens = opens::check(&profile, &zone).is_ok();
        let openings = Openings::new(&profile, &zone);
        let soon = openings.next_change(profile.from - 2 * 86_400);
        prop_assert!(opens || soon.is_none());
        // Within 50 years every rule of an interval up to 4 that opens at all does so, but a leap day needs 100.
        let short = |every: &Every| every.get() <= 4;
        let frequent = match profile.repeat.as_ref().map(|repeat| &repeat.rule) {
            Some(Rule::Custom { every, on }) => short(every) && !matches!(on, CustomDates::Year(..)),
            _ => true,
        };
        prop_assert!(!frequent || opens == (soon.is_some() || openings.is_open(profile.from - 2 * 86_400)));
    }
}

fn daily(zone: &TimeZone, from: DateTime, to: DateTime) -> TimeProfile {
    TimeProfile {
        name: Name::new("x").expect("a name"),
        all_day: false,
        from: instant(zone, from),
        to: instant(zone, to),
        repeat: Some(Repeat { rule: Rule::Day, until: None }),
        wording: None,
    }
}

/// Every daylight-saving change of 2024–2027 in five zones of both hemispheres: what a daily window that begins
/// or ends in the hour of the change does on that day, and that the days around it keep their local times.
#[test]
fn around_each_daylight_saving_change_local_times_stay() {
    let mut changes = 0;
    for name in
        ["Europe/Kyiv", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "America/Santiago"]
    {
        let zone = TimeZone::get(name).expect("a zone");
        let begin: Timestamp = "2024-01-01T00:00:00Z".parse().expect("a moment");
        let end: Timestamp = "2028-01-01T00:00:00Z".parse().expect("a moment");
        for change in zone.following(begin).take_while(|change| change.timestamp() < end) {
            changes += 1;
            let at = change.timestamp().as_second();
            let before =
                i64::from(zone.to_offset(Timestamp::from_second(at - 1).expect("a moment")).seconds());
            let after = i64::from(change.offset().seconds());
            let jump = after - before; // forward in a gap, back in a fold
            // The local time at which the change begins, as the old clock shows it.
            let local = TimeZone::UTC.to_datetime(Timestamp::from_second(at + before).expect("a moment"));
            let earliest = if jump > 0 { local } else { local.saturating_add(Span::new().seconds(jump)) };
            // From 15 minutes into the gap (or the hour that comes twice) to three hours later.
            let starts = earliest.saturating_add(Span::new().minutes(15));
            let ends = starts.saturating_add(Span::new().hours(3));
            let early = |at: DateTime| at.saturating_sub(Span::new().days(3));
            let schedule_of = daily(&zone, early(starts), early(ends));
            let openings = Openings::new(&schedule_of, &zone);
            let day = openings.windows(at - 12 * 3600, at + 12 * 3600).expect("within the limits");
            let window = day[0];
            if jump > 0 {
                // 15 minutes into the gap do not exist: the start moves forward by the gap.
                assert_eq!(window.from, at + 15 * 60, "{name} {local}");
                assert_eq!(
                    window.to - window.from,
                    3 * 3600 - jump,
                    "{name} {local}: the end is at its local time"
                );
            } else {
                // They exist twice: the earlier one counts, and the window is longer by the hour.
                assert_eq!(window.from, at + jump + 15 * 60, "{name} {local}");
                assert_eq!(
                    window.to - window.from,
                    3 * 3600 - jump,
                    "{name} {local}: the end is at its local time"
                );
            }
            // The days before and after are as long as the first one.
            for other in [-1i64, 1] {
                let time =
                    |unix: i64| zone.to_datetime(Timestamp::from_second(unix).expect("a moment")).time();
                let then = at + other * 86_400;
                let around = openings.windows(then - 12 * 3600, then + 12 * 3600).expect("within the limits");
                let whole = around.iter().find(|w| w.to - w.from == 3 * 3600).expect("a usual window");
                assert_eq!(
                    (time(whole.from), time(whole.to)),
                    (starts.time(), ends.time()),
                    "{name} {other}"
                );
            }
        }
    }
    assert!(changes >= 5 * 4 * 2 - 2, "only {changes} changes");
}

#[test]
fn questions_beyond_the_limits_are_refused() {
    use panelsync::profile::windows::RangeError;
    let zone = TimeZone::UTC;
    let profile = daily(
        &zone,
        "2024-01-01T08:00:00".parse().expect("a time"),
        "2024-01-01T09:00:00".parse().expect("a time"),
    );
    let openings = Openings::new(&profile, &zone);
    let year = 366 * 86_400;
    assert_eq!(openings.windows(1, 0), Err(RangeError::Backwards));
    assert_eq!(openings.windows(0, 50 * year + 1), Err(RangeError::TooLong));
    assert_eq!(openings.windows(i64::MIN, i64::MAX), Err(RangeError::TooLong));
    assert_eq!(openings.windows(i64::MAX - 9, i64::MAX), Err(RangeError::OutOfCalendar));
    assert_eq!(openings.windows(5, 5), Ok(Vec::new()));
    let far = 100 * year;
    assert_eq!(openings.windows(far, far + 50 * year).map(|windows| windows.len()), Ok(50 * 366));
    assert!(!openings.is_open(i64::MAX) && !openings.is_open(i64::MIN));
    assert_eq!(openings.next_change(i64::MAX), None);
}

#[test]
fn windows_longer_than_their_period_are_one() {
    let zone = TimeZone::get("Europe/Kyiv").expect("a zone");
    let profile = daily(
        &zone,
        "2024-01-01T08:00:00".parse().expect("a time"),
        "2024-01-02T08:00:00".parse().expect("a time"),
    );
    let openings = Openings::new(&profile, &zone);
    let (from, to) = (1_750_000_000, 1_800_000_000);
    assert_eq!(openings.windows(from, to), Ok(vec![Window { from, to }]), "touching ones merge");
    assert_eq!(openings.next_change(from), None, "it never shuts");
    // A window of 300 years every day, asked for long after.
    let mut long = profile.clone();
    long.to = long.from + 300 * 366 * 86_400;
    long.repeat = Some(Repeat { rule: Rule::Day, until: Some(long.from + 10 * 86_400) });
    assert_eq!(Openings::new(&long, &zone).windows(from, to), Ok(vec![Window { from, to }]));
}

#[test]
fn at_the_ends_of_the_calendar_there_is_an_answer_and_no_panic() {
    let ends = [Timestamp::MIN.as_second(), Timestamp::MAX.as_second(), i64::MIN, i64::MAX, 0];
    let nth = NthDay { order: WeekOrder::Nth(5), day: DayType::Weekday(0) };
    let rules = [
        Rule::Day,
        Rule::Year,
        Rule::Custom {
            every: Every::new(999).expect("in range"),
            on: CustomDates::Year(Months::new([2]).expect("in range"), Some(nth)),
        },
    ];
    for name in ["UTC", "Australia/Lord_Howe", "America/Santiago"] {
        let zone = TimeZone::get(name).expect("a zone");
        for (from, until) in ends.iter().flat_map(|from| ends.iter().map(move |until| (*from, *until))) {
            for (rule, offset) in rules.iter().flat_map(|rule| [0, 5, 90_000, -90_000].map(|o| (rule, o))) {
                for until in [None, Some(until)] {
                    let profile = TimeProfile {
                        name: Name::new("x").expect("a name"),
                        all_day: offset % 2 == 0,
                        from: from.saturating_add(offset),
                        to: from.saturating_add(offset).saturating_add(3600),
                        repeat: Some(Repeat { rule: rule.clone(), until }),
                        wording: None,
                    };
                    let openings = Openings::new(&profile, &zone);
                    for at in ends {
                        let _ = openings.windows(at, at.saturating_add(200_000));
                        let _ = openings.windows(at.saturating_sub(200_000), at);
                        let _ = (openings.is_open(at), openings.next_change(at));
                    }
                    let _ = panelsync::profile::lint::warnings(&profile, &zone, 0);
                    let _ = panelsync::profile::sentence::sentence(&profile, &zone);
                    let entry = panelsync::profile::ical::Entry { uid: "x".into(), profile: &profile };
                    let text = panelsync::profile::ical::calendar("x", name, &zone, 0, &[entry]);
                    let dates = text.lines().filter_map(|line| line.strip_prefix("DTSTART;VALUE=DATE:"));
                    assert!(dates.map(str::len).all(|len| len == 8), "{text}");
                }
            }
        }
    }
}
