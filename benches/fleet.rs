//! A durable fan-out of 10 profiles to 100, 1,000 and 10,000 embedded panels, each beside its limits in the
//! same run: the same store code without actors, raw redb with full bodies, and one redb file per panel.
//! Then start-up and memory of 10,000 panels with 10 profiles each.
//!
//! `cargo bench --bench fleet` prints criterion's figures and, at the end, one table with ratios. Every round
//! sends other bodies than the one before, so every item is an update that is written and synced.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;
use criterion::{BenchmarkId, Criterion, Throughput};
use panelsync::batch::{BatchRecord, BatchState, Operations, Zoned};
use panelsync::config::Settings;
use panelsync::coordinator::fleet::{AddPanels, ListPanels, NewPanel};
use panelsync::coordinator::{Coordinator, Submit, Target};
use panelsync::panel::decide::{Decision, Limits};
use panelsync::panel::settings::{PanelRecord, Settings as PanelSettings};
use panelsync::panel::{Configure, Landed, Origin, Reply, embedded};
use panelsync::profile::parse;
use panelsync::profile::rule::Family;
use panelsync::server::Engine;
use panelsync::store::{PanelNo, Store};
use panelsync::telemetry::Metrics;
use redb::{Database, TableDefinition};
use tempfile::TempDir;
use uuid::Uuid;

const ITEMS: usize = 10;
const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// One redb file per panel is so slow that fewer panels say the same.
const FILES: usize = 1_000;

/// Items per commit of the raw contender, as the store's writer has it.
const GROUP: usize = 4096;

/// Ten profiles of about 400 bytes; every round has other ones.
fn operations(round: u64) -> Operations {
    let items: Vec<_> = (0..ITEMS)
        .map(|n| {
            format!(
                r#"{{"link_id":"91c615e3-1040-4815-8ecb-{n:012x}","name":"Profile {n} of round {round}, with a name of a usual length",
                "time_options":{{"is_all_day":false,"date_from":1735804800,"date_to":{}}},
                "repeat_options":{{"repeat_enable":true,"repeat_format":{{"repeat_type":"custom","repeat_end":{{"format":"date","date":1893456000}},
                "repeat_custom":{{"repeat_point_type":"week","repeat_looper":1,"repeat_options":["MON","TUE","WED","THU","FRI"]}}}}}}}}"#,
                1_735_804_900 + round
            )
        })
        .collect();
    let body = format!(r#"{{"list_items":[{}]}}"#, items.join(","));
    Operations::new(
        parse::link_body(body.as_bytes(), Family::Android).expect("well-formed"),
        Vec::new(),
        false,
    )
}

fn origin() -> Origin {
    Origin { actor: "bench".into(), address: String::new(), span: tracing::Span::none() }
}

/// Something that can bring ten profiles to its panels, durably.
trait Contender {
    fn fan_out(&mut self, operations: Operations);
}

/// The whole road below HTTP: coordinator, panels, store.
struct Actors {
    system: actix_web::rt::SystemRunner,
    engine: Option<Engine>,
    coordinator: Addr<Coordinator>,
    folder: TempDir,
}

impl Actors {
    fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let system = actix_web::rt::System::new();
        let engine = system.block_on(start(folder.path()));
        let coordinator = engine.coordinator();
        let records = (0..panels).map(|n| PanelRecord::new(format!("panel-{n:05}")));
        let settings =
            records.map(|record| NewPanel::new(PanelSettings::parse(&record).expect("valid"))).collect();
        system.block_on(async {
            let added =
                coordinator.send(AddPanels(settings, origin())).await.expect("it runs").expect("new ids");
            added.await.expect("it runs").expect("stored");
        });
        Self { system, engine: Some(engine), coordinator, folder }
    }
}

async fn start(folder: &std::path::Path) -> Engine {
    let settings = Settings::new(folder, ([127, 0, 0, 1], 0).into());
    Engine::start(&settings, &Metrics::default()).await.expect("it starts")
}

impl Contender for Actors {
    fn fan_out(&mut self, operations: Operations) {
        let submit = Submit {
            id: Uuid::new_v4(),
            target: Target::All,
            operations: Arc::new(operations),
            idempotency: None,
            origin: origin(),
        };
        self.system.block_on(async {
            let submitted = self.coordinator.send(submit).await.expect("it runs").expect("panels");
            submitted.await.expect("it runs").expect("stored").done.await.expect("it ends");
        });
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.system.block_on(engine.stop());
        }
    }
}

/// The same work given straight to the store's writer, panel by panel.
struct StoreAlone {
    store: Store,
    panels: Vec<PanelNo>,
    _folder: TempDir,
}

impl StoreAlone {
    fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
        let numbers = change(&store, move |tables| {
            (0..panels).map(|n| tables.add_panel(&format!("panel-{n:05}"), b"{}")).collect()
        });
        Self { store, panels: numbers, _folder: folder }
    }
}

fn change<T: Send + 'static>(
    store: &Store,
    change: impl FnOnce(&mut panelsync::store::tables::Tables<'_>) -> Result<T, panelsync::store::StoreError>
    + Send
    + 'static,
) -> T {
    let (done, committed) = tokio::sync::oneshot::channel();
    store.handle().submit_change(change, move |result| {
        let _ = done.send(result);
    });
    committed.blocking_recv().expect("the writer tells").expect("it is committed")
}

impl Contender for StoreAlone {
    fn fan_out(&mut self, operations: Operations) {
        let record = BatchRecord {
            id: Uuid::new_v4(),
            created_at_ms: 0,
            created_by: "bench".into(),
            target: "all".into(),
            state: BatchState::Done, // so that it gives way to later ones, as in the other contender
            cancelled: false,
            report: panelsync::batch::report::Report::default(),
            duration_ms: None,
        };
        let work = panelsync::coordinator::work::encode(&operations);
        let targets = self.panels.clone();
        let batch = change(&self.store, move |tables| tables.add_batch(&record, &work, &targets, None, 1000));
        let zoned = Arc::new(Zoned::new(Arc::new(operations), &jiff::tz::TimeZone::UTC));
        let origin = Arc::new(origin());
        let (landed, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let tell: Arc<dyn Fn(Landed) + Send + Sync> = Arc::new(move |part| {
            let _ = landed.send(part);
        });
        let handle = self.store.handle();
        for panel in &self.panels {
            handle.submit_accepted(Box::new(embedded::Apply {
                panel: *panel,
                zoned: Arc::clone(&zoned),
                limits: Limits::default(),
                batch: Some(batch),
                attempts: 1,
                origin: Arc::clone(&origin),
                audit: None,
                reply: Reply::Batch(Arc::clone(&tell)),
                sent: Instant::now(),
                decision: Decision::default(),
            }));
        }
        for _ in &self.panels {
            let landed = inbox.blocking_recv().expect("the writer tells");
            landed.result.expect("it is committed");
        }
    }
}

const FULL: TableDefinition<'_, (u32, u128), &str> = TableDefinition::new("full");

/// redb by itself, the whole body in every row, many panels in one commit.
struct RawRedb {
    db: Database,
    panels: usize,
    _folder: TempDir,
}

impl RawRedb {
    fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::create(folder.path().join("db")).expect("a database");
        Self { db, panels, _folder: folder }
    }
}

fn put_all(db: &Database, panels: impl Iterator<Item = u32>, rows: &[(u128, &str)]) {
    let mut write = db.begin_write().expect("a transaction");
    write.set_quick_repair(true);
    {
        let mut table = write.open_table(FULL).expect("a table");
        for panel in panels {
            for (link, body) in rows {
                table.insert((panel, *link), *body).expect("written");
            }
        }
    }
    write.commit().expect("committed");
}

fn rows(operations: &Operations) -> Vec<(u128, &str)> {
    let upserts = operations.upserts.iter();
    upserts.map(|upsert| (u128::from_be_bytes(*upsert.link_id.as_bytes()), upsert.body.json())).collect()
}

impl Contender for RawRedb {
    fn fan_out(&mut self, operations: Operations) {
        let rows = rows(&operations);
        let per_commit = GROUP / ITEMS;
        for first in (0..self.panels).step_by(per_commit) {
            let last = (first + per_commit).min(self.panels);
            put_all(&self.db, first as u32..last as u32, &rows);
        }
    }
}

/// A redb file and a commit for each panel.
struct FilePerPanel {
    dbs: Vec<Database>,
    _folder: TempDir,
}

impl FilePerPanel {
    fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let create = |n| {
            let mut builder = Database::builder();
            builder.set_cache_size(1 << 20);
            builder.create(folder.path().join(format!("{n}"))).expect("a database")
        };
        Self { dbs: (0..panels).map(create).collect(), _folder: folder }
    }
}

impl Contender for FilePerPanel {
    fn fan_out(&mut self, operations: Operations) {
        let rows = rows(&operations);
        for db in &self.dbs {
            put_all(db, std::iter::once(0), &rows);
        }
    }
}

/// Seconds of every round, by contender and number of panels.
type Rounds = BTreeMap<(&'static str, usize), Vec<f64>>;

fn measure(
    criterion: &mut Criterion,
    rounds: &mut Rounds,
    name: &'static str,
    panels: usize,
    make: impl Fn(usize) -> Box<dyn Contender>,
) {
    let mut group = criterion.benchmark_group("fan_out");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements((panels * ITEMS) as u64));
    let mut contender = make(panels);
    let mut round = 0;
    contender.fan_out(operations(round)); // creates; what is measured are updates
    let seconds = rounds.entry((name, panels)).or_default();
    group.bench_function(BenchmarkId::new(name, panels), |bencher| {
        bencher.iter_custom(|count| {
            let mut total = Duration::ZERO;
            for _ in 0..count {
                round += 1;
                let operations = operations(round);
                let started = Instant::now();
                contender.fan_out(operations);
                let took = started.elapsed();
                seconds.push(took.as_secs_f64());
                total += took;
            }
            total
        });
    });
    group.finish();
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Resident memory of this process, in bytes; none where the system does not tell it.
fn resident() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096.0)
}

/// Where the child process finds the folder to start on.
const FOLDER: &str = "PANELSYNC_BENCH_FOLDER";

/// Start-up in milliseconds and resident bytes with panels that hold ten profiles each, in a process of its
/// own, since memory that this one has used before would hide what the panels take.
fn start_up(panels: usize) -> (f64, f64) {
    let mut filled = Actors::new(panels);
    filled.fan_out(operations(0));
    let folder = std::mem::replace(&mut filled.folder, tempfile::tempdir().expect("a folder"));
    drop(filled);
    let this = std::env::current_exe().expect("a path");
    let output = std::process::Command::new(this).env(FOLDER, folder.path()).output().expect("it runs");
    let told = String::from_utf8(output.stdout).expect("a text");
    let mut numbers = told.split_whitespace().filter_map(|number| number.parse().ok());
    (numbers.next().unwrap_or(f64::NAN), numbers.next().unwrap_or(f64::NAN))
}

/// What the child does.
fn start_on(folder: &std::path::Path) {
    let system = actix_web::rt::System::new();
    let started = Instant::now();
    let engine = system.block_on(start(folder));
    system.block_on(async {
        let all = ListPanels { selector: None, after: None, limit: usize::MAX };
        let panels = engine.coordinator().send(all).await.expect("it runs");
        for some in panels.chunks(256) {
            let asked = some.iter().map(|panel| panel.address.send(Configure(Arc::clone(&panel.settings))));
            for answered in futures_util::future::join_all(asked).await {
                answered.expect("it answers");
            }
        }
    });
    let ready = started.elapsed().as_secs_f64() * 1000.0;
    println!("{ready} {}", resident().unwrap_or(f64::NAN));
    system.block_on(engine.stop());
}

fn main() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return start_on(folder.as_ref());
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut rounds = Rounds::new();
    let (_, few) = start_up(10);
    let (ready, many) = start_up(10_000);
    for panels in SIZES {
        measure(&mut criterion, &mut rounds, "actors", panels, |n| Box::new(Actors::new(n)));
        measure(&mut criterion, &mut rounds, "store_alone", panels, |n| Box::new(StoreAlone::new(n)));
        measure(&mut criterion, &mut rounds, "raw_redb_full_bodies", panels, |n| Box::new(RawRedb::new(n)));
    }
    measure(&mut criterion, &mut rounds, "file_per_panel", FILES, |n| Box::new(FilePerPanel::new(n)));
    criterion.final_summary();

    let rate = |name, panels: usize| {
        let seconds = rounds.get(&(name, panels)).map_or(f64::NAN, |seconds| median(seconds));
        (panels * ITEMS) as f64 / seconds
    };
    let files = rate("file_per_panel", FILES);
    println!(
        "\n{ITEMS} profiles to each panel, durable; items a second (median), and ratios in the same run\n"
    );
    println!(
        "{:>7}  {:>10}  {:>11}  {:>10}  {:>9}  {:>7}  {:>15}",
        "panels", "actors", "store alone", "full redb", "÷ store", "÷ full", "÷ file a panel"
    );
    for panels in SIZES {
        let (actors, alone, full) =
            (rate("actors", panels), rate("store_alone", panels), rate("raw_redb_full_bodies", panels));
        println!(
            "{panels:>7}  {actors:>10.0}  {alone:>11.0}  {full:>10.0}  {:>9.2}  {:>7.2}  {:>15.0}",
            actors / alone,
            actors / full,
            actors / files
        );
    }
    println!("\none redb file and commit per panel ({FILES} panels): {files:.0} items/s");
    println!("10,000 panels of {ITEMS} profiles: every actor has answered {ready:.0} ms after the start");
    println!("memory: {:.0} bytes a panel, {:.1} MB in all", (many - few) / 9_990.0, many / 1e6);
}
