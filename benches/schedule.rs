//! When the door opens: windows of a year, the verdict on hostile rules, and a whole file through the command
//! line. `cargo bench --bench schedule`
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use jiff::tz::TimeZone;
use panelsync::profile::rule::Family;
use panelsync::profile::windows::Schedule;
use panelsync::profile::{TimeProfile, opens, parse};

const PROFILES: usize = 4_000;
const HOSTILE: usize = 10_000;
const YEAR: i64 = 365 * 86_400;

/// A custom rule as JSON, from 2 January 2025 on, 09:00–18:00 in UTC.
fn custom(n: usize, point: &str, looper: u32, options: &str) -> String {
    format!(
        r#"{{"link_id":"91c615e3-1040-4815-8ecb-{n:012x}","name":"Profile {n}",
        "time_options":{{"is_all_day":false,"date_from":1735808400,"date_to":1735840800}},
        "repeat_options":{{"repeat_enable":true,"repeat_format":{{"repeat_type":"custom","repeat_end":{{"format":"never"}},
        "repeat_custom":{{"repeat_point_type":"{point}","repeat_looper":{looper},"repeat_options":{options}}}}}}}}}"#
    )
}

const WORK_WEEK: &str = r#"["MON","TUE","WED","THU","FRI"]"#;

fn parsed(json: &str) -> TimeProfile {
    parse::profile_body(json.as_bytes(), Family::Android).expect("well-formed")
}

/// Rules that name no date or hardly any, each at another interval, so that a search would be long.
fn hostile(n: usize) -> TimeProfile {
    let looper = (n % 1000 + 1) as u32;
    // The first window on 30 January 2025; day 30 in February never comes.
    let shapes = [
        ("year", r#"{"months":[2]}"#),
        ("month", r#"{"format":"dayNumbers","range":[31]}"#),
        ("year", r#"{"months":[2],"range":{"week_order":"fifth","day_type":"MON"}}"#),
        ("month", r#"{"format":"parameterizedDay","range":{"week_order":"fifth","day_type":"SUN"}}"#),
    ];
    let (point, options) = shapes[n % shapes.len()];
    let mut profile = parsed(&custom(n, point, looper, options));
    profile.from += 28 * 86_400;
    profile.to += 28 * 86_400;
    profile
}

fn main() {
    let zone = TimeZone::get("Europe/Kyiv").expect("a zone");
    let work_week = parsed(&custom(1, "week", 1, WORK_WEEK));
    let from = 1_767_225_600; // 2026
    let hostile: Vec<_> = (0..HOSTILE).map(hostile).collect();
    let median = |mut work: Box<dyn FnMut() + '_>, rounds: usize| {
        let mut seconds: Vec<_> = (0..rounds)
            .map(|_| {
                let started = Instant::now();
                work();
                started.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds[rounds / 2]
    };
    let one = median(
        Box::new(|| {
            for _ in 0..1000 {
                black_box(Schedule::new(black_box(&work_week), &zone).windows(from, from + YEAR))
                    .expect("within the limits");
            }
        }),
        11,
    );
    let never = hostile.iter().filter(|profile| opens::check(profile, &zone).is_err()).count();
    let verdicts = median(
        Box::new(|| {
            black_box(hostile.iter().filter(|profile| opens::check(profile, &zone).is_err()).count());
        }),
        5,
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profiles.json");
    let items: Vec<_> = (0..PROFILES).map(|n| custom(n, "week", (n % 4 + 1) as u32, WORK_WEEK)).collect();
    std::fs::write(&file, format!("[{}]", items.join(","))).expect("written");
    let command = median(
        Box::new(|| {
            let ran = Command::new(env!("CARGO_BIN_EXE_panelsync"))
                .args(["profile", "windows", "--zone", "Europe/Kyiv", "--output", "json", "-f"])
                .arg(&file)
                .args(["--from", "2024-01-01T00:00:00Z", "--to", "2030-01-01T00:00:00Z"])
                .stdout(Stdio::null())
                .status();
            assert!(ran.expect("it runs").success());
        }),
        3,
    );
    println!("\nwindows of a work week over one year: {:.1} µs", one * 1000.0);
    println!(
        "verdict on {HOSTILE} hostile profiles ({never} never open): {:.0} ms on one core",
        verdicts * 1000.0
    );
    println!("{PROFILES} profiles over six years through the command line: {command:.2} s");
}
