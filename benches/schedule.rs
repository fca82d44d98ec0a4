//! When the door opens: windows of a year, the verdict on hostile rules, a whole file through the command line, and who
//! may open in a week at a thousand panels. `cargo bench --bench schedule`
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use std::sync::{Arc, mpsc};

use jiff::tz::TimeZone;
use panelsync::batch::Body;
use panelsync::batch::item::ItemId;
use panelsync::fleet::who::answers::Answers;
use panelsync::fleet::who::held::Held;
use panelsync::identifier::Identifier;
use panelsync::identifier::number::Credential;
use panelsync::identifier::opens::When;
use panelsync::identifier::rule::{Kind, Lock, OwnerKind, Passes, ProfileIds, ValidTime};
use panelsync::panel::settings::{PanelRecord, Settings};
use panelsync::profile::rule::{Family, Name};
use panelsync::profile::windows::Schedule;
use panelsync::profile::{LinkId, TimeProfile, opens, parse};
use panelsync::store::row::RowName;
use panelsync::store::tables::PanelRows;
use panelsync::store::writer::PanelWork;
use panelsync::store::{PanelNo, Store, StoreError};
use panelsync::telemetry::Metrics;

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

/// Identifiers of each panel.
const IDENTIFIERS: u32 = 10_000;

/// Panels that are asked who may open.
const PANELS: usize = 1_000;

/// Seconds in which all of them have to answer for a week.
const LIMIT: f64 = 1.0;

/// The panel whose rows all that are asked have: they are read again for each.
const STORED: PanelNo = 1;

/// Twelve profiles and the identifiers, each bound to two of them.
struct Filled(mpsc::Sender<Result<(), StoreError>>);

impl PanelWork for Filled {
    fn panel(&self) -> PanelNo {
        STORED
    }

    fn items(&self) -> usize {
        IDENTIFIERS as usize
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let link = |kind: u8, n: u32| {
            let mut bytes = [kind; 16];
            bytes[12..].copy_from_slice(&n.to_be_bytes());
            LinkId::from_bytes(bytes)
        };
        for n in 0..12 {
            let mut profile = parsed(&custom(1, "week", n % 3 + 1, WORK_WEEK));
            profile.to += i64::from(n) * 600;
            rows.put(RowName::Link(ItemId::profile(link(1, n))), None, &Body::of(&profile))?;
        }
        for n in 0..IDENTIFIERS {
            let identifier = Identifier {
                apartment: None,
                apartment_uid: None,
                name: Name::new(&format!("Flat {n}")).expect("a name"),
                owner: OwnerKind::Owner,
                credential: Credential::new(Kind::Card, &format!("{}", 1_000_000 + n)).expect("a number"),
                lock: Lock::First,
                time: ValidTime::Permanent,
                passes: Passes::Permanent,
                profiles: ProfileIds::new([link(1, n % 12), link(1, (n + 5) % 12)]).expect("few"),
                passes_left: None,
            };
            let name = RowName::Link(ItemId::identifier(link(2, n)));
            rows.put(name, None, &Body::of_identifier(&identifier))?;
        }
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let _ = self.0.send(result);
    }
}

/// Seconds in which it is answered who opens which of the panels' doors when in a week.
fn who_may_open() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
    let (done, committed) = mpsc::channel();
    store.handle().submit(Box::new(Filled(done)));
    committed.recv().expect("the writer tells").expect("it is committed");
    let zones = ["UTC", "Europe/Kyiv", "America/New_York", "Australia/Sydney"];
    let panels: Vec<_> = (0..PANELS)
        .map(|n| {
            let mut record = PanelRecord::new(format!("p{n:04}"));
            record.zone = zones[n % zones.len()].into();
            Arc::new(Settings::stored(&record).expect("good settings"))
        })
        .collect();
    let snapshot = store.handle().read().expect("a snapshot");
    let monday = 1_795_392_000;
    let week = When::within(monday, monday + 7 * 86_400).expect("a range");
    let started = Instant::now();
    let mut answers = Answers::new(&snapshot, week);
    let mut opening = 0;
    for panel in &panels {
        let (held, identifiers) = Held::all(&snapshot, STORED, panel, &mut answers).expect("readable");
        for (name, body) in identifiers {
            let answer = answers.opening(panel, &held, name, body).expect("readable");
            opening += usize::from(answer.opens());
        }
    }
    let took = started.elapsed().as_secs_f64();
    assert_eq!(opening, PANELS * IDENTIFIERS as usize, "each opens in a week");
    took
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
    let who = (0..3).map(|_| who_may_open()).fold(f64::INFINITY, f64::min);
    println!(
        "who of {IDENTIFIERS} identifiers opens which of {PANELS} doors when in a week: {who:.2} s on one core, {:.2} of the limit of {LIMIT} s",
        who / LIMIT
    );
}
