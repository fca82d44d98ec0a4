//! What must hold of compiling, whatever the schedule.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::json;

use super::compile::{Part, Plan};
use super::cover::{Days, Names, Rule, cover};
use super::days::Resolved;
use super::windows::windows;
use super::{Calendar, DAY, Day, Schedule, parse};
use crate::profile::recurrence::CivilDate;
use crate::profile::windows::{Openings, Window, merged};
use crate::profile::{LinkId, opens};

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Kyiv",
    "America/New_York",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Jerusalem",
    "Africa/Casablanca",
];

/// 1 January 2026.
const FROM: Day = Day(20_454);
const LINK: LinkId = LinkId::from_bytes([7; 16]);

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone of the bundled database")
}

fn union(parts: &[Part], zone: &TimeZone, from: i64, to: i64) -> Vec<Window> {
    let of = |part: &Part| {
        assert_eq!(opens::check(&part.profile, zone), Ok(()), "{part:?}");
        Openings::new(&part.profile, zone).windows(from, to).expect("a range")
    };
    merged(parts.iter().flat_map(of).collect())
}

/// Hours of a day as people write them.
fn hours() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "09:00-12:30, 13:30-18:00",
        "08:00-16:00",
        "22:00-05:00",
        "all day",
        "closed",
        "01:30-02:30",
        "02:15-02:45",
        "00:00-00:30, 23:30-24:00",
        "06:15-21:45:30",
        "09:00-12:00",
    ])
}

fn dates() -> impl Strategy<Value = String> {
    let date = |days: i64| Day(FROM.0 + days).to_string();
    let month_day = |days: i64| Day(FROM.0 + days).to_string()[5..].to_owned();
    prop_oneof![
        4 => (0..800_i64).prop_map(date),
        1 => (0..800_i64, 1..20_i64).prop_map(move |(day, more)| format!("{}..{}", date(day), date(day + more))),
        2 => (0..365_i64).prop_map(month_day),
        1 => (0..365_i64, 1..20_i64).prop_map(move |(day, more)| format!("{}..{}", month_day(day), month_day(day + more))),
        1 => (0..800_i64).prop_map(move |day| format!("{} on mon-fri", date(day))),
        1 => (0..365_i64).prop_map(move |day| format!("{} on mon-fri", month_day(day))),
        1 => Just("calendar holidays".to_owned()),
        1 => Just("calendar holidays on tue,sun".to_owned()),
    ]
}

fn schedule() -> impl Strategy<Value = Option<Schedule>> {
    let week = prop_oneof![
        2 => hours().prop_map(|hours| json!({ "mon-fri": hours })),
        1 => (hours(), hours()).prop_map(|(one, other)| json!({ "mon-thu": one, "fri": other, "sun": one })),
        1 => hours().prop_map(|hours| json!({ "daily": hours })),
        1 => Just(json!({})),
    ];
    let instead = prop::collection::btree_map(dates(), hours(), 0..4);
    let except = prop::collection::vec(dates(), 0..12);
    let ends = prop::option::of(-40..500_i64);
    let fixed = prop::option::weighted(0.3, prop::sample::select(&ZONES[..]));
    (week, instead, except, ends, fixed).prop_map(|(week, instead, except, until, zone)| {
        let mut value = json!({
            "link_id": "91c615e3-1040-4815-8ecb-039a18b756b5", "name": "Some hours",
            "hours": week, "instead": instead, "except": except,
        });
        if let Some(until) = until {
            value["until"] = Day(FROM.0 + 60 + until).to_string().into();
        }
        if let Some(zone) = zone {
            value["zone"] = zone.into();
        }
        // One that never opens or overlaps itself is refused, and not looked at here.
        parse::schedule(&value, "", &mut Vec::new()).map(|linked| linked.schedule)
    })
}

fn holidays() -> Calendar {
    let days = json!({ "name": "holidays", "days": ["2026-01-06", "2026-03-09..2026-03-10", "12-25", "2027-05-03"] });
    parse::calendar(&days, "", &mut Vec::new()).expect("well-formed")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_was_compiled_opens_a_door_exactly_when_the_schedule_does(
        schedule in schedule(),
        place in 0..ZONES.len(),
        days in 20..760_i64,
    ) {
        let Some(schedule) = schedule else { return Ok(()) };
        let (zone, holidays) = (zone(ZONES[place]), holidays());
        let resolved = Resolved::new(&schedule, [&holidays]).expect("there is one calendar");
        let horizon = Day(FROM.0 + days);
        let plan = Plan::new(&resolved, &zone, FROM, horizon).expect("a range");
        let parts = plan.parts(LINK, &zone, FROM).expect("not too many");
        let (from, to) = ((FROM.0 + 2) * DAY, (horizon.0 - 1) * DAY);
        let said = windows(&resolved, &zone, from, to).expect("a range");
        prop_assert_eq!(union(&parts, &zone, from, to), said, "{:#?}", parts);
        let mut ids: Vec<_> = parts.iter().map(|part| part.link_id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), parts.len(), "each part has a link_id of its own");
        // Behind the horizon each weekday's hours go on, by the clock on the wall.
        if schedule.until.is_none() && schedule.zone.is_none() && schedule.instead.is_empty() {
            let beyond = ((horizon.0 + 2) * DAY, (horizon.0 + 90) * DAY);
            let plain = Schedule { except: Vec::new(), ..schedule.clone() };
            let plain = Resolved::new(&plain, []).expect("it names no calendar");
            let goes_on = windows(&plain, &zone, beyond.0, beyond.1).expect("a range");
            prop_assert_eq!(union(&parts, &zone, beyond.0, beyond.1), goes_on, "{:#?}", parts);
        }
        // Without what is over, all that is to come is still said.
        let later = Day(FROM.0 + days / 2);
        let parts = plan.parts(LINK, &zone, later).expect("not too many");
        let from = (later.0 * DAY).min(to);
        prop_assert_eq!(union(&parts, &zone, from, to), windows(&resolved, &zone, from, to).expect("a range"));
    }

    #[test]
    fn the_cover_is_exact_and_hardly_longer_than_the_shortest(
        weekdays in prop::array::uniform7(prop::bool::weighted(0.7)),
        missing in prop::collection::btree_set(0..28_i64, 0..6),
        more in prop::collection::btree_set(0..28_i64, 0..2),
    ) {
        let is_in = |day: i64| {
            more.contains(&day) || (weekdays[Day(FROM.0 + day).weekday()] && !missing.contains(&day))
        };
        let days: Vec<_> = (0..28).filter(|day| is_in(*day)).map(|day| Day(FROM.0 + day)).collect();
        let all = Days {
            range: (FROM, Day(FROM.0 + 27)),
            days: days.clone(),
            go_on: [false; 7],
            yearly_goes_on: Vec::new(),
        };
        let rules = cover(&all);
        let named = rules.iter().flat_map(|rule| named(rule, Day(FROM.0 + 27)));
        let mut covered: Vec<_> = named.collect();
        covered.sort_unstable();
        covered.dedup();
        prop_assert_eq!(&covered, &days, "{:?}", rules);
        let best = shortest(&days);
        prop_assert!(rules.len() * 10 <= best * 12, "{} rules, and {best} are enough: {rules:?}", rules.len());
    }
}

/// The days of a rule up to a last one.
fn named(rule: &Rule, to: Day) -> Vec<Day> {
    let to = rule.last.map_or(to, |last| last.min(to));
    let CivilDate { month, day, .. } = rule.first.date();
    let is_named = |at: &Day| match rule.names {
        Names::Weekdays(weekdays) => weekdays[at.weekday()],
        Names::Yearly => (at.date().month, at.date().day) == (month, day),
    };
    (rule.first.0..=to.0).map(Day).filter(is_named).collect()
}

/// How many weekly rules are enough, by trying all sets of them that are as large as they can be.
fn shortest(days: &[Day]) -> usize {
    let bit = |day: Day| 1_u32 << (day.0 - FROM.0);
    let all = days.iter().fold(0, |all, day| all | bit(*day));
    let mut rules: Vec<u32> = Vec::new();
    for from in 0..28 {
        for to in from..28 {
            let range = (from..=to).map(|day| Day(FROM.0 + day));
            let whole = |weekday: usize| {
                range.clone().filter(|day| day.weekday() == weekday).all(|day| all & bit(day) != 0)
            };
            let weekdays: Vec<_> = (0..7).filter(|weekday| whole(*weekday)).collect();
            let named = range.clone().filter(|day| weekdays.contains(&day.weekday()));
            rules.push(named.fold(0, |named, day| named | bit(day)));
        }
    }
    rules.sort_unstable_by_key(|rule| std::cmp::Reverse(rule.count_ones()));
    let mut largest: Vec<u32> = Vec::new();
    for rule in rules {
        if largest.iter().all(|other| rule & !other != 0) {
            largest.push(rule);
        }
    }
    (0..=28).find(|count| are_enough(&largest, all, *count)).expect("a rule a day is enough")
}

fn are_enough(rules: &[u32], left: u32, count: usize) -> bool {
    if left == 0 {
        return true;
    }
    let first = left & left.wrapping_neg();
    let mut fitting = rules.iter().filter(|rule| **rule & first != 0);
    count > 0 && fitting.any(|rule| are_enough(rules, left & !rule, count - 1))
}

#[test]
fn office_hours_as_people_say_them() {
    let value = json!({
        "link_id": "91c615e3-1040-4815-8ecb-039a18b756b5",
        "name": "Office hours",
        "hours": { "Mon-Fri": "9:00-12:30, 13:30-18:00" },
        "instead": { "12-31 on mon-fri": "09:00-12:00" },
        "except": ["calendar holidays"],
    });
    let mut problems = Vec::new();
    let linked = parse::schedule(&value, "", &mut problems);
    assert_eq!(problems, []);
    let linked = linked.expect("well-formed");
    assert_eq!(
        super::sentence::sentence(&linked.schedule),
        "Monday to Friday 09:00–12:30 and 13:30–18:00; on 31 Dec of every year where that is a Monday to Friday 09:00–12:00 \
         instead; not on days of the calendar holidays"
    );
    let holidays = holidays();
    let resolved = Resolved::new(&linked.schedule, [&holidays]).expect("there is one calendar");
    let kyiv = zone("Europe/Kyiv");
    let plan = Plan::new(&resolved, &kyiv, FROM, Day(FROM.0 + 730)).expect("a range");
    let parts = plan.parts(linked.link_id, &kyiv, FROM).expect("not too many");
    let names: Vec<_> = parts.iter().map(|part| part.profile.name.as_str()).collect();
    check("office_hours_as_people_say_them", &names);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let wrong = |value: serde_json::Value| {
        let mut problems = Vec::new();
        assert_eq!(parse::schedule(&value, "/schedules/0", &mut problems), None);
        problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.wrong)).collect::<Vec<_>>()
    };
    let with = |key: &str, value: serde_json::Value| {
        let mut schedule = json!({ "link_id": "91c615e3-1040-4815-8ecb-039a18b756b5", "name": "N", "hours": { "mon": "9:00-10:00" } });
        schedule[key] = value;
        schedule
    };
    let all = [
        json!([]),
        json!({ "name": "", "hour": 1 }),
        with("hours", json!({ "mon-fri": "09:00-13:00, 12:00-18:00" })),
        with("hours", json!({ "mon-fri": "09:00-25:00", "someday": "closed", "wed": "closed" })),
        with("hours", json!({ "daily": "22:00-06:00", "mon": 7 })),
        with("hours", json!({ "sun": "22:00-06:00", "mon": "05:00-07:00" })),
        with("hours", json!({ "sun": "closed" })),
        with("hours", json!({})),
        with("instead", json!({ "2026-02-30": "closed", "31.12.": "closed", "12-31 on never": "all day" })),
        with("except", json!(["2026-02-02..2026-02-01", 7, "calendar ", "0001-01-01"])),
        with("except", json!(["1970-01-01..9000-12-31"])),
        with("until", json!("2026-13-01")),
        with("zone", json!("Europe/Kiev2")),
    ];
    let mut from_after_until = with("from", json!("2027-01-01"));
    from_after_until["until"] = "2026-01-01".into();
    let told = all.into_iter().chain([from_after_until]).flat_map(wrong).collect::<Vec<_>>();
    check("what_is_wrong_is_told_with_its_place", &told);
}

/// Holds lines against `snapshots/schedule/<name>.snap`.
fn check(name: &str, lines: &[impl AsRef<str>]) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/schedule"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
    settings.bind(|| insta::assert_snapshot!(name, lines.join("\n")));
}
