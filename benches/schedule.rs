//! What it costs to say opening hours to panels. `cargo bench --bench schedule`; `-- --test` compiles a few.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::time::Instant;

use jiff::tz::TimeZone;
use panelsync::profile::LinkId;
use panelsync::profile::windows::Openings;
use panelsync::schedule::compile::Plan;
use panelsync::schedule::days::Resolved;
use panelsync::schedule::{DAY, Day, Schedule, parse, windows};
use serde_json::json;

const ZONES: [&str; 8] = [
    "Europe/Kyiv",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Australia/Sydney",
    "Africa/Cairo",
];

/// 1 January 2026.
const FROM: Day = Day(20_454);
const HORIZON: Day = Day(FROM.0 + 730);
const LINK: LinkId = LinkId::from_bytes([7; 16]);

/// The goal, in seconds on one core.
const GOAL: f64 = 1.0;

/// Office hours with a break, not on fifteen dates of each year, which are spread differently in each.
fn office_hours(n: usize) -> Schedule {
    let mut random = fastrand::Rng::with_seed(n as u64);
    let except: Vec<_> =
        (0..30).map(|place| Day(FROM.0 + place / 15 * 365 + random.i64(0..365)).to_string()).collect();
    let value = json!({
        "link_id": "91c615e3-1040-4815-8ecb-039a18b756b5",
        "name": format!("Office hours {n}"),
        "hours": { "mon-fri": "09:00-12:30, 13:30-18:00" },
        "instead": { "12-31 on mon-fri": "09:00-12:00" },
        "except": except,
    });
    parse::schedule(&value, "", &mut Vec::new()).expect("well-formed").schedule
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let count = if test { 20 } else { 1_000 };
    let schedules: Vec<_> = (0..count).map(office_hours).collect();
    let zones: Vec<_> = ZONES.map(|name| TimeZone::get(name).expect("a zone")).into();
    let begun = Instant::now();
    let mut profiles = 0;
    for schedule in &schedules {
        let resolved = Resolved::new(schedule, []).expect("it names no calendar");
        let plan = Plan::new(&resolved, &zones[0], FROM, HORIZON).expect("a range");
        for zone in &zones {
            let parts = plan.parts(LINK, zone, FROM).expect("not too many");
            profiles += black_box(parts).len();
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{count} schedules with 15 exceptions a year, 8 zones, 2 years: {took:.2} s, {:.2} of the goal of {:.2} s",
        took / (GOAL * count as f64 / 1_000.0),
        GOAL * count as f64 / 1_000.0
    );
    println!(
        "{:.1} profiles each, where splitting at each exception takes 2 × 31 and one for 31 December",
        profiles as f64 / (count * zones.len()) as f64
    );

    // Looking when it opens, by itself and through what was compiled.
    let (from, to) = (FROM.0 * DAY, HORIZON.0 * DAY);
    let resolved = Resolved::new(&schedules[0], []).expect("it names no calendar");
    let plan = Plan::new(&resolved, &zones[0], FROM, HORIZON).expect("a range");
    let parts = plan.parts(LINK, &zones[0], FROM).expect("not too many");
    let rounds = if test { 2 } else { 200 };
    let begun = Instant::now();
    for _ in 0..rounds {
        black_box(windows::windows(&resolved, &zones[0], from, to).expect("a range"));
    }
    let by_itself = begun.elapsed();
    let begun = Instant::now();
    for _ in 0..rounds {
        for part in &parts {
            black_box(Openings::new(&part.profile, &zones[0]).windows(from, to).expect("a range"));
        }
    }
    println!(
        "two years of windows of one: {} µs; of its {} profiles: {} µs",
        by_itself.as_micros() / rounds,
        parts.len(),
        begun.elapsed().as_micros() / rounds
    );
}
