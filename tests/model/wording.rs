//! A profile is read back as it was written, and judged by what counts of it alone, whatever JSON it came in.

use jiff::tz::TimeZone;
use panelsync::batch::Body;
use panelsync::profile::parse::{self, LinkedProfile};
use panelsync::profile::rule::Family;
use panelsync::profile::windows::Openings;
use panelsync::profile::{opens, wire};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

const LINK: &str = "91c615e3-1040-4815-8ecb-039a18b756b5";
const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

fn text(of: &'static [&'static str]) -> impl Strategy<Value = Value> {
    select(of).prop_map(Value::from)
}

fn nth_day() -> impl Strategy<Value = Value> {
    let order = text(&["first", "third", "last"]);
    (order, text(&["MON", "SUN", "WEEK_DAY", "DAY_OFF"]))
        .prop_map(|(order, day)| json!({ "week_order": order, "day_type": day }))
}

fn numbers(most: i64) -> impl Strategy<Value = Value> {
    vec(1..=most, 1..5).prop_map(Value::from)
}

/// The fields that are there.
fn object(fields: Vec<(&str, Option<Value>)>) -> Value {
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The options of each point type, with fields of the other types beside them.
fn custom() -> impl Strategy<Value = Value> {
    let week = vec(select(&DAYS[..]), 1..9).prop_map(|days| json!({ "point": "week", "options": days }));
    let month = (numbers(31), nth_day(), any::<bool>(), option::of(numbers(12))).prop_map(
        |(days, nth, by_number, months)| {
            let (format, range) = if by_number { ("dayNumbers", days) } else { ("parameterizedDay", nth) };
            let options =
                object(vec![("format", Some(format.into())), ("range", Some(range)), ("months", months)]);
            json!({ "point": "month", "options": options })
        },
    );
    let format = option::of(text(&["dayNumbers", "parameterizedDay", "\"years\":{"]));
    let year = (numbers(12), option::of(nth_day()), format).prop_map(|(months, range, format)| {
        let options = object(vec![("months", Some(months)), ("range", range), ("format", format)]);
        json!({ "point": "year", "options": options })
    });
    let (week, year) = (week.boxed(), year.boxed());
    let day = prop_oneof![
        Just(json!({ "point": "day" })),
        week.clone().prop_map(|week| json!({ "point": "day", "options": week["options"] })),
        year.clone().prop_map(|year| json!({ "point": "day", "options": year["options"] })),
    ];
    (1..1000_i64, prop_oneof![week, month, year, day]).prop_map(|(looper, of)| {
        let options = of.get("options").cloned();
        object(vec![
            ("repeat_point_type", Some(of["point"].clone())),
            ("repeat_looper", Some(looper.into())),
            ("repeat_options", options),
        ])
    })
}

/// Well-typed `repeat_options`, with much that does not count.
fn repeat_options() -> impl Strategy<Value = Value> {
    let end = (text(&["never", "date"]), any::<i64>()).prop_map(|(format, date)| json!([format, date]));
    let end = (end, any::<bool>()).prop_map(|(end, dated)| {
        let date = (dated || end[0] == "date").then(|| end[1].clone());
        object(vec![("format", Some(end[0].clone())), ("date", date)])
    });
    let kind = text(&["day", "week", "twoWeeks", "month", "year", "custom", "custom", "custom"]);
    let format = (kind, end, custom(), any::<bool>()).prop_map(|(kind, end, custom, there)| {
        let custom = (there || kind == "custom").then_some(custom);
        object(vec![("repeat_type", Some(kind)), ("repeat_end", Some(end)), ("repeat_custom", custom)])
    });
    (any::<bool>(), format, any::<bool>()).prop_map(|(enable, format, there)| {
        let format = (there || enable).then_some(format);
        object(vec![("repeat_enable", Some(enable.into())), ("repeat_format", format)])
    })
}

/// A well-typed profile without anything undocumented.
fn documented() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("Work week".to_owned()), "[\"\\\\a-z\u{0}:{},é]{1,20}"];
    (name, any::<bool>(), any::<i64>(), any::<i64>(), repeat_options()).prop_map(
        |(name, all_day, from, to, repeat)| {
            json!({
                "link_id": LINK,
                "name": name,
                "time_options": { "is_all_day": all_day, "date_from": from, "date_to": to },
                "repeat_options": repeat,
            })
        },
    )
}

/// Anything at all.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(0.5)),
        Just(json!(u64::MAX)),
        text(&["MON", "custom", "week", "first", "\\\"", "\"repeat_options\":{\"months\":"]),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let key = select(
            &["format", "months", "range", "repeat_options", "week_order", "repeat_custom", "more"][..],
        );
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((key, inner), 0..4)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// Somewhere in a value, something else.
fn disturb(value: &mut Value, path: &[usize], with: Value) {
    match (value, path.split_first()) {
        (Value::Object(fields), Some((step, rest))) if !fields.is_empty() => {
            let n = step % (fields.len() + 1);
            match fields.values_mut().nth(n) {
                Some(field) => disturb(field, rest, with),
                None => drop(fields.insert("more".into(), with)),
            }
        }
        (Value::Array(list), Some((step, rest))) if !list.is_empty() => {
            let n = step % list.len();
            disturb(&mut list[n], rest, with);
        }
        (value, _) => *value = with,
    }
}

/// The profile with what does not count taken out and its lists in order: by the panel API's words, and not by the
/// program's.
fn only_what_counts(item: &Value) -> Value {
    let mut item = item.clone();
    let sorted = |list: &mut Value, order: &dyn Fn(&Value) -> i64| {
        let list = list.as_array_mut().expect("a list");
        list.sort_by_key(order);
        list.dedup();
    };
    let number = |value: &Value| value.as_i64().expect("a number");
    let options = item["repeat_options"].as_object_mut().expect("an object");
    if options["repeat_enable"] == false {
        options.remove("repeat_format");
        return item;
    }
    let format = options["repeat_format"].as_object_mut().expect("an object");
    if format["repeat_end"]["format"] == "never" {
        format["repeat_end"].as_object_mut().expect("an object").remove("date");
    }
    if format["repeat_type"] != "custom" {
        format.remove("repeat_custom");
        return item;
    }
    let custom = format["repeat_custom"].as_object_mut().expect("an object");
    match custom["repeat_point_type"].as_str().expect("a text") {
        "day" => drop(custom.remove("repeat_options")),
        "week" => sorted(&mut custom["repeat_options"], &|day| {
            DAYS.iter().position(|name| day == name).expect("a day") as i64
        }),
        "month" => {
            let options = custom["repeat_options"].as_object_mut().expect("an object");
            options.remove("months");
            if options["format"] == "dayNumbers" {
                sorted(&mut options["range"], &number);
            }
        }
        _ => {
            let options = custom["repeat_options"].as_object_mut().expect("an object");
            options.remove("format");
            sorted(&mut options["months"], &number);
        }
    }
    item
}

fn read(item: &Value, family: Family) -> Option<LinkedProfile> {
    let body = json!({ parse::list_key(family): [item] }).to_string();
    parse::link_body(body.as_bytes(), family).ok().and_then(|mut profiles| profiles.pop())
}

fn without_link(mut item: Value) -> Value {
    item.as_object_mut().expect("an object").remove("link_id");
    item
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_documented_is_read_back_as_sent_and_only_what_counts_is_judged(item in documented()) {
        for family in Family::ALL {
            let LinkedProfile { profile, .. } = read(&item, family).expect("documented");
            let written: Value = serde_json::from_str(&wire::body(&profile)).expect("JSON");
            prop_assert_eq!(&written, &without_link(item.clone()));
            let counts = only_what_counts(&item);
            let meaning: Value = serde_json::from_str(&wire::meaning(&profile)).expect("JSON");
            prop_assert_eq!(&meaning, &without_link(counts.clone()));
            let plain = read(&counts, family).expect("it counts").profile;
            prop_assert!(plain.wording.is_none(), "canonical text needs no words of its own: {:?}", plain);
            prop_assert!(plain.says_the_same(&profile));
            prop_assert_eq!(profile.wording.is_some(), written != meaning);
            prop_assert!(Body::of(&plain).says_the_same(Body::of(&profile).json().as_bytes()));
        }
    }

    #[test]
    fn whatever_is_read_is_stored_read_again_and_stored_the_same(
        item in documented(),
        disturbed in vec((vec(0..20_usize, 1..7), anything()), 0..4),
    ) {
        let mut item = item;
        for (path, with) in disturbed {
            disturb(&mut item, &path, with);
        }
        for family in Family::ALL {
            let Some(LinkedProfile { profile, .. }) = read(&item, family) else { continue };
            let stored = wire::body(&profile);
            let again = parse::stored(stored.as_bytes()).expect("what is stored is read");
            prop_assert_eq!(&again, &profile);
            prop_assert_eq!(wire::body(&again), stored);
            let meaning = wire::meaning(&profile);
            let plain = parse::stored(meaning.as_bytes()).expect("what is meant is read");
            prop_assert!(plain.wording.is_none() && plain.says_the_same(&profile));
            prop_assert_eq!(wire::body(&plain), meaning);
        }
    }

    #[test]
    fn a_date_that_a_door_controller_is_not_told_stays_so_and_means_something(
        item in documented(),
        gone in subsequence(&["date_from", "date_to"][..], 1..=2),
        null in any::<bool>(),
        at in -60_000_000_000_i64..240_000_000_000,
        zone in select(&["UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/Kyiv"][..]),
    ) {
        let (mut lacking, mut nulled) = (item.clone(), item);
        for date in &gone {
            lacking["time_options"].as_object_mut().expect("an object").remove(*date);
            nulled["time_options"][date] = Value::Null;
        }
        let given = if null { &nulled } else { &lacking };
        for family in [Family::Android, Family::Camdroid] {
            prop_assert!(read(given, family).is_none());
        }
        let profile = read(given, Family::DoorController).expect("the dates are optional").profile;
        let written = wire::body(&profile);
        prop_assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), without_link(lacking.clone()));
        prop_assert_eq!(&parse::stored(written.as_bytes()).expect("stored"), &profile);
        let meaning = wire::meaning(&profile);
        let plain = parse::stored(meaning.as_bytes()).expect("what it says is read");
        prop_assert!(plain.wording.is_none() && plain.says_the_same(&profile));
        prop_assert!(profile.unknown_to(Family::Android).is_some(), "no other panel can be told that");
        prop_assert!(profile.unknown_to(Family::DoorController).is_none());
        let zone = TimeZone::get(zone).expect("a zone");
        let windows = Openings::new(&profile, &zone).windows(at, at + 40 * 86_400).expect("a range");
        if profile.repeat.is_none() {
            let open = |date: &str| lacking["time_options"][date].as_i64();
            let (from, to) = (open("date_from"), open("date_to"));
            if from.is_none_or(|from| (-60_000_000_000..at - 172_800).contains(&from)) && to.is_none() && at > 0 {
                prop_assert!(!windows.is_empty(), "it is open for ever");
            }
        } else if gone.len() == 2 {
            prop_assert!(windows.iter().all(|window| {
                let local = |at| opens::local(at, &zone).expect("within the calendar").time();
                let inside = |at: i64| at != windows[0].from && at != windows[windows.len() - 1].to;
                [window.from, window.to].into_iter().filter(|at| inside(*at)).all(|at| local(at).hour() <= 1)
            }), "whole local days: {:?}", windows);
        }
    }

    #[test]
    fn another_order_of_weekdays_says_the_same_and_another_day_does_not(
        days in subsequence(&DAYS[..], 1..7),
        turn in 0..7_usize,
    ) {
        let item = |days: &[&str]| json!({
            "link_id": LINK,
            "name": "x",
            "time_options": { "is_all_day": true, "date_from": 0, "date_to": 0 },
            "repeat_options": { "repeat_enable": true, "repeat_format": {
                "repeat_type": "custom",
                "repeat_end": { "format": "never" },
                "repeat_custom": { "repeat_point_type": "week", "repeat_looper": 1, "repeat_options": days },
            } },
        });
        let stored = |days: &[&str]| Body::of(&read(&item(days), Family::Android).expect("good").profile);
        let mut turned = days.clone();
        turned.rotate_left(turn % days.len());
        let (here, there) = (stored(&days), stored(&turned));
        prop_assert!(here.says_the_same(there.json().as_bytes()));
        prop_assert_eq!(here == there, days == turned);
        let other = DAYS.iter().find(|day| !days.contains(day)).expect("six at most");
        turned[0] = other;
        prop_assert!(!here.says_the_same(stored(&turned).json().as_bytes()));
    }
}

#[test]
fn what_is_too_long_to_keep_is_written_by_what_it_says() {
    let days: Vec<_> = DAYS.iter().rev().cycle().take(1000).collect();
    let item = |days: &[&&str]| {
        json!({
            "link_id": LINK,
            "name": "x",
            "time_options": { "is_all_day": true, "date_from": 0, "date_to": 0 },
            "repeat_options": { "repeat_enable": true, "repeat_format": {
                "repeat_type": "day",
                "repeat_end": { "format": "never" },
                "repeat_custom": { "repeat_options": days },
            } },
        })
    };
    let long = read(&item(&days), Family::Android).expect("good").profile;
    assert_eq!(wire::body(&long), wire::meaning(&long));
    let short = read(&item(&days[..100]), Family::Android).expect("good").profile;
    assert_ne!(wire::body(&short), wire::meaning(&short));
    assert!(short.says_the_same(&long));
}
