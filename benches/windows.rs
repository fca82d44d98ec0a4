//! When the door opens: windows of a year, the verdict on hostile rules, a whole file through the command line, and who
//! may open in a week at a thousand panels. `cargo bench --bench windows`; `-- --test` asks that of a few panels.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

mod served;

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use jiff::tz::TimeZone;
use panelsync::batch::{Operations, Zoned};
use panelsync::config::KeySource;
use panelsync::fleet::opening::{DAYS, Foretelling};
use panelsync::fleet::who::answers::Answers;
use panelsync::fleet::who::held::Held;
use panelsync::identifier::opens::When;
use panelsync::panel::decide::decide;
use panelsync::panel::embedded::SnapshotRows;
use panelsync::panel::settings::{PanelRecord, Settings};
use panelsync::profile::rule::Family;
use panelsync::profile::windows::Openings;
use panelsync::profile::wire::Json;
use panelsync::profile::{TimeProfile, opens, parse};
use panelsync::schedule::Day;
use panelsync::store::StoreError;
use panelsync::telemetry::Metrics;
use serde_json::{Value, json};

use served::Server;

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

/// Cards of each panel, and panels.
const CARDS: usize = 10_000;
const PANELS: usize = 1_000;

/// Seconds in which it has to be known who opens which of these panels' doors when in a week.
const LIMIT: f64 = 1.0;

/// A Monday in November 2026, in Unix seconds, and the next one.
const WEEK: (i64, i64) = (1_795_392_000, 1_795_392_000 + 7 * 86_400);

/// How long it took, in seconds.
struct Who {
    /// To ask the server which of the doors one identifier opens when; half of all took no longer.
    one_identifier: f64,
    /// To ask the server who opens one of the doors when, page after page.
    one_panel: f64,
    /// To find out all of it, of what the server has stored, on one core and on two.
    all: [f64; 2],
}

/// A server with so many panels, each with twelve profiles and so many cards, each bound to two of them.
fn guarded(panels: usize, cards: usize) -> Server {
    let server = Server::start(300, &[]);
    let zones = ["UTC", "Europe/Kyiv", "America/New_York", "Australia/Sydney"];
    let line = |n: usize| json!({ "id": format!("p{n:04}"), "zone": zones[n % zones.len()] }).to_string();
    let lines: Vec<_> = (0..panels).map(line).collect();
    server.post("/panels:import", "application/x-ndjson", lines.join("\n"));
    let profiles = (0..12).map(|n| {
        let mut profile: Value =
            serde_json::from_str(&custom(n, "week", n as u32 % 3 + 1, WORK_WEEK)).expect("JSON");
        profile["time_options"]["date_to"] = json!(1_735_840_800 + n * 600);
        profile
    });
    let mut cards = served::cards(cards);
    for (n, card) in cards.iter_mut().enumerate() {
        let bound = [n, n + 5].map(|n| format!("91c615e3-1040-4815-8ecb-{:012x}", n % 12));
        card["time_profiles"]["link_ids"] = json!(bound);
    }
    let batch =
        json!({ "all": true, "upsert": profiles.collect::<Vec<_>>(), "identifiers": { "upsert": cards } });
    server.push(&batch, panels);
    server
}

/// Seconds that all pages of an answer take; and of how many pairs they tell that they open.
fn ask(server: &Server, question: &str) -> (f64, usize) {
    let (mut opening, mut cursor, started) = (0, None, Instant::now());
    loop {
        let after = cursor.map(|cursor: String| format!("&cursor={cursor}")).unwrap_or_default();
        let page = server.get(&format!("/access?{question}&from={}&to={}&limit=1000{after}", WEEK.0, WEEK.1));
        let items = page["items"].as_array().expect("a list");
        opening += items.iter().filter(|item| item["opens"] == true).count();
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return (started.elapsed().as_secs_f64(), opening);
        }
    }
}

/// Seconds in which it is found out, of what is stored in this folder, who opens which of the panels' doors when in a
/// week, by so many threads; and how many pairs open. Panels of one zone go together, since they share their answers.
fn all_of(folder: &Path, threads: usize) -> (f64, usize) {
    let store = KeySource::DataFolder.open(folder, &Metrics::default()).expect("it opens");
    let snapshot = store.handle().read().expect("a snapshot");
    let mut panels = Vec::new();
    let each = snapshot.each_panel(|number, record| {
        let record: PanelRecord = serde_json::from_slice(record).expect("JSON");
        panels.push((number, Arc::new(Settings::stored(&record).expect("good settings"))));
        Ok::<_, StoreError>(())
    });
    each.expect("readable");
    let started = Instant::now();
    panels.sort_by(|(_, one), (_, other)| one.zone.name().cmp(other.zone.name()));
    let count = |panels: &[(u32, Arc<Settings>)]| {
        let mut answers = Answers::new(&snapshot, When::within(WEEK.0, WEEK.1).expect("a range"));
        let mut opening = 0;
        for (number, panel) in panels {
            let (held, identifiers) = Held::all(&snapshot, *number, panel, &mut answers).expect("readable");
            for (name, body) in identifiers {
                let answer = answers.opening(panel, &held, name, body).expect("readable");
                opening += usize::from(answer.opens());
            }
        }
        opening
    };
    let opening = std::thread::scope(|scope| {
        let parts = panels.chunks(panels.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(|| count(part))).collect();
        running.into_iter().map(|part| part.join().expect("no panic")).sum()
    });
    (started.elapsed().as_secs_f64(), opening)
}

fn who_may_open(panels: usize, cards: usize) -> Who {
    let mut server = guarded(panels, cards);
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    let one_identifier = (0..21).map(|n| {
        let question = format!("identifier=5d0c5e0e-6c0c-4a55-8a35-{:012x}", n * cards / 21);
        let (seconds, opening) = ask(&server, &question);
        assert_eq!(opening, panels, "it opens in a week");
        seconds
    });
    let one_identifier = median(one_identifier.collect());
    let one_panel = (0..5).map(|n| {
        let (seconds, opening) = ask(&server, &format!("panel=p{:04}", n * panels / 5));
        assert_eq!(opening, cards, "each opens in a week");
        seconds
    });
    let one_panel = median(one_panel.collect());
    server.running.stop();
    let all = [1, 2].map(|threads| {
        let seconds = (0..3).map(|_| {
            let (seconds, opening) = all_of(server.running.folder.path(), threads);
            assert_eq!(opening, panels * cards, "each opens in a week");
            seconds
        });
        seconds.fold(f64::INFINITY, f64::min)
    });
    Who { one_identifier, one_panel, all }
}

/// Seconds of a dry run of ten profiles on so many panels in five zones that hold ten others under the same link_ids: what
/// would come of the items alone, and of opening hours within four weeks too.
fn foretold(panels: usize) -> [f64; 2] {
    let mut server = Server::start(300, &[]);
    let zones = ["UTC", "Europe/Kyiv", "America/New_York", "Australia/Sydney", "Asia/Tokyo"];
    let line = |n: usize| json!({ "id": format!("p{n:05}"), "zone": zones[n % zones.len()] }).to_string();
    server.post(
        "/panels:import",
        "application/x-ndjson",
        (0..panels).map(line).collect::<Vec<_>>().join("\n"),
    );
    let profile = |n: usize, longer: usize| {
        let mut profile: Value =
            serde_json::from_str(&custom(n, "week", n as u32 % 3 + 1, WORK_WEEK)).expect("JSON");
        profile["time_options"]["date_to"] = json!(1_735_840_800 + n * 600 + longer * 1_800);
        profile
    };
    server
        .push(&json!({ "all": true, "upsert": (0..10).map(|n| profile(n, 0)).collect::<Vec<_>>() }), panels);
    server.running.stop();
    let store =
        KeySource::DataFolder.open(server.running.folder.path(), &Metrics::default()).expect("it opens");
    let snapshot = store.handle().read().expect("a snapshot");
    let mut all = Vec::new();
    let each = snapshot.each_panel(|number, record| {
        let record: PanelRecord = serde_json::from_slice(record).expect("JSON");
        all.push((number, Settings::stored(&record).expect("good settings")));
        Ok::<_, StoreError>(())
    });
    each.expect("readable");
    let list = json!((0..10).map(|n| profile(n, 1)).collect::<Vec<_>>()).to_string();
    let list = Json::read(list.as_bytes()).expect("JSON");
    let profiles = parse::linked_profiles(&list, "", Family::Android, &mut Vec::new());
    let operations = Arc::new(Operations::of_profiles(profiles, Vec::new(), false));
    let run = |foretells: bool| {
        let started = Instant::now();
        let mut zoned = std::collections::HashMap::new();
        let mut foretelling = Foretelling::new(&snapshot, Day(20_783), DAYS);
        for (number, settings) in &all {
            let zone = &settings.zone;
            let zoned = zoned
                .entry(zone.name())
                .or_insert_with(|| Arc::new(Zoned::new(Arc::clone(&operations), zone.rules())));
            let mut rows = SnapshotRows::new(&snapshot, *number);
            let decision = decide(&mut rows, zoned, settings.limits()).expect("readable");
            if foretells {
                foretelling.add(*number, zone, zoned, &decision).expect("readable");
            }
            black_box(decision);
        }
        let opening = foretelling.finish();
        assert_eq!(opening.panels_gaining, if foretells { panels as u64 } else { 0 });
        started.elapsed().as_secs_f64()
    };
    let median = |foretells| {
        let mut seconds: Vec<_> = (0..5).map(|_| run(foretells)).collect();
        seconds.sort_by(f64::total_cmp);
        seconds[2]
    };
    [median(false), median(true)]
}

fn main() {
    let test = std::env::args().any(|arg| arg == "--test");
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
                black_box(Openings::new(black_box(&work_week), &zone).windows(from, from + YEAR))
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
    let doors = if test { 100 } else { 10_000 };
    let [plain, with_hours] = foretold(doors);
    println!(
        "\nwhat ten profiles come to on {doors} panels in 5 zones: {:.0} ms; with opening hours over four weeks {:.0} ms, {:.2} of the limit \
         of 1.5 × + 100 ms",
        plain * 1000.0,
        with_hours * 1000.0,
        with_hours / (plain * 1.5 + 0.1)
    );
    let (panels, cards) = if test { (40, 500) } else { (PANELS, CARDS) };
    let Who { one_identifier, one_panel, all } = who_may_open(panels, cards);
    println!("\nwho opens which door when in a week: {cards} cards, each on {panels} panels");
    println!("the server tells it of one card at all panels: {:.0} ms, over HTTP", one_identifier * 1000.0);
    println!("… and of all cards at one panel, a thousand a page: {:.0} ms", one_panel * 1000.0);
    let [one_core, two_cores] = all;
    println!(
        "of all cards at all panels, as they are stored: {one_core:.2} s on one core, {two_cores:.2} s on two, {:.2} of the limit of {LIMIT} s (goal: at most 1)",
        two_cores / LIMIT
    );
}
