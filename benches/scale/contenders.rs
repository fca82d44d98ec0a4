//! Who brings profiles to panels, durably: panelsync, its store alone, and what else would keep them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use actix::Addr;
use actix_web::rt::SystemRunner;
use heed::types::{Bytes, U128};
use heed::{EnvFlags, EnvOpenOptions};
use panelsync::batch::item::Kind;
use panelsync::batch::report::Report;
use panelsync::batch::{BatchRecord, BatchState, Operations, Zoned};
use panelsync::config::Settings;
use panelsync::coordinator::fleet::{AddPanels, NewPanel};
use panelsync::coordinator::{Coordinator, Submit, Target, work};
use panelsync::identifier::rule::Api;
use panelsync::panel::decide::{Decision, Limits};
use panelsync::panel::settings::{PanelRecord, Settings as PanelSettings};
use panelsync::panel::{Landed, Origin, Reply, embedded};
use panelsync::profile::parse;
use panelsync::profile::rule::Family;
use panelsync::server::Engine;
use panelsync::store::tables::Tables;
use panelsync::store::{BatchSeq, PanelNo, Store, StoreError, StoreHandle};
use panelsync::telemetry::Metrics;
use redb::{Database, ReadableTable, TableDefinition};
use tempfile::TempDir;
use uuid::Uuid;

/// Items of one commit of a contender without actors, as the store's writer has it.
pub const GROUP: usize = 4096;

/// Well-formed profiles of about 400 bytes; each `variant` has other ones under the same link ids.
pub fn profiles(items: usize, variant: u64) -> String {
    let profile = |n: usize| {
        format!(
            r#"{{"link_id":"91c615e3-1040-4815-8ecb-{n:012x}","name":"Profile {n} of variant {variant}, with a name of a usual length",
            "time_options":{{"is_all_day":false,"date_from":1735804800,"date_to":{}}},
            "repeat_options":{{"repeat_enable":true,"repeat_format":{{"repeat_type":"custom","repeat_end":{{"format":"date","date":1893456000}},
            "repeat_custom":{{"repeat_point_type":"week","repeat_looper":1,"repeat_options":["MON","TUE","WED","THU","FRI"]}}}}}}}}"#,
            1_735_804_900 + variant % 10_000
        )
    };
    format!("[{}]", (0..items).map(profile).collect::<Vec<_>>().join(","))
}

/// The same as operations.
pub fn operations(items: usize, variant: u64) -> Operations {
    let body = format!(r#"{{"list_items":{}}}"#, profiles(items, variant));
    Operations::of_profiles(
        parse::link_body(body.as_bytes(), Family::Android).expect("well-formed"),
        Vec::new(),
        false,
    )
}

/// The same in a zone.
pub fn zoned(operations: Operations) -> Arc<Zoned> {
    Arc::new(Zoned::new(Arc::new(operations), &jiff::tz::TimeZone::UTC))
}

pub fn origin() -> Origin {
    Origin {
        actor: "bench".into(),
        address: String::new(),
        request_id: "".into(),
        span: tracing::Span::none(),
    }
}

pub async fn start(folder: &Path) -> Engine {
    let settings = Settings::new(folder, ([127, 0, 0, 1], 0).into());
    Engine::start(&settings, &Metrics::default()).await.expect("it starts")
}

/// Something that can bring profiles to its panels, durably.
pub trait Contender {
    fn fan_out(&mut self, operations: Operations);
}

/// The whole road below HTTP: coordinator, panels, store.
pub struct Actors {
    pub system: SystemRunner,
    engine: Option<Engine>,
    pub coordinator: Addr<Coordinator>,
    /// Kept for as long as this is.
    folder: Option<TempDir>,
}

impl Actors {
    pub fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut actors = Self::on(folder.path(), panels);
        actors.keep(folder);
        actors
    }

    pub fn on(folder: &Path, panels: usize) -> Self {
        let system = actix_web::rt::System::new();
        let engine = system.block_on(start(folder));
        Self::of(system, engine, panels)
    }

    /// So many panels more in an engine that has started.
    pub fn of(system: SystemRunner, engine: Engine, panels: usize) -> Self {
        let coordinator = engine.coordinator();
        let records = (0..panels).map(|n| PanelRecord::new(format!("panel-{n:06}")));
        let settings =
            records.map(|record| NewPanel::new(PanelSettings::parse(&record).expect("valid"))).collect();
        system.block_on(async {
            let added = coordinator.send(AddPanels(settings, origin())).await.expect("it runs");
            added.expect("new ids").await.expect("it runs").expect("stored");
        });
        Self { system, engine: Some(engine), coordinator, folder: None }
    }

    /// This folder goes when the actors have gone.
    pub fn keep(&mut self, folder: TempDir) {
        self.folder = Some(folder);
    }

    pub fn store(&self) -> StoreHandle {
        self.engine.as_ref().expect("it runs").store()
    }
}

/// Submits a batch and waits until it is told that it has ended. Gives its number.
pub async fn submit(coordinator: &Addr<Coordinator>, target: Target, operations: Operations) -> BatchSeq {
    let submit = Submit {
        id: Uuid::new_v4(),
        target,
        operations: Arc::new(operations),
        idempotency: None,
        origin: origin(),
    };
    let submitted = coordinator.send(submit).await.expect("it runs").expect("panels");
    let submitted = submitted.await.expect("it runs").expect("stored");
    submitted.done.await.expect("it ends");
    submitted.seq
}

impl Contender for Actors {
    fn fan_out(&mut self, operations: Operations) {
        self.system.block_on(submit(&self.coordinator, Target::All, operations));
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
pub struct StoreAlone {
    store: Store,
    panels: Vec<PanelNo>,
    _folder: TempDir,
}

impl StoreAlone {
    pub fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
        let panels = change(&store, move |tables| {
            (0..panels).map(|n| tables.add_panel(&format!("panel-{n:06}"), b"{}")).collect()
        });
        Self { store, panels, _folder: folder }
    }

    fn add_batch(&self, operations: &Operations) -> BatchSeq {
        let record = BatchRecord {
            id: Uuid::new_v4(),
            created_at_ms: 0,
            created_by: "bench".into(),
            target: "all".into(),
            state: BatchState::Done, // so that it gives way to later ones, as in the other contender
            cancelled: false,
            report: Report::default(),
            duration_ms: None,
            undoes: None,
        };
        let (work, targets) = (work::encode(operations), self.panels.clone());
        let secret = operations.concerns(Kind::Identifier);
        change(&self.store, move |tables| tables.add_batch(&record, &work, secret, &targets, 1000))
    }

    /// Gives each panel its part, and waits for all.
    fn apply(&self, parts: impl Iterator<Item = Arc<Zoned>>, batch: Option<BatchSeq>) {
        let origin = Arc::new(origin());
        let (landed, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let tell: Arc<dyn Fn(Landed) + Send + Sync> = Arc::new(move |part| {
            let _ = landed.send(part);
        });
        let handle = self.store.handle();
        for (panel, zoned) in self.panels.iter().zip(parts) {
            handle.submit_accepted(Box::new(embedded::ApplyToRows {
                panel: *panel,
                zoned,
                limits: Limits { identifiers: Some(Api::ANY), ..Limits::default() },
                batch,
                attempts: 1,
                origin: Arc::clone(&origin),
                audit: None,
                reply: Reply::Batch(Arc::clone(&tell)),
                sent: Instant::now(),
                decision: Decision::default(),
                outcome: None,
                noted: false,
            }));
        }
        for _ in &self.panels {
            inbox.blocking_recv().expect("the writer tells").result.expect("it is committed");
        }
    }

    /// Every panel gets profiles of its own.
    pub fn own_bodies(&self, parts: Vec<Arc<Zoned>>) {
        self.apply(parts.into_iter(), None);
    }
}

fn change<T: Send + 'static>(
    store: &Store,
    change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    let (done, committed) = tokio::sync::oneshot::channel();
    store.handle().submit_change(change, move |result| {
        let _ = done.send(result);
    });
    committed.blocking_recv().expect("the writer tells").expect("it is committed")
}

impl Contender for StoreAlone {
    fn fan_out(&mut self, operations: Operations) {
        let batch = self.add_batch(&operations);
        self.apply(std::iter::repeat(zoned(operations)), Some(batch));
    }
}

fn key(panel: usize, link: u128) -> (u32, u128) {
    (panel as u32, link)
}

/// Link id and body of each item.
pub fn rows(operations: &Operations) -> Vec<(u128, &str)> {
    let upserts = operations.upserts.iter();
    upserts.map(|upsert| (u128::from_be_bytes(*upsert.item.link_id.as_bytes()), upsert.body.json())).collect()
}

/// Panels in groups of so many that a commit has [`GROUP`] items.
fn groups(panels: usize, items: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let step = (GROUP / items).max(1);
    (0..panels).step_by(step).map(move |first| first..(first + step).min(panels))
}

const FULL: TableDefinition<'_, (u32, u128), &str> = TableDefinition::new("full");
const PLAIN: TableDefinition<'_, (u32, u128), &[u8; 16]> = TableDefinition::new("plain");

/// redb by itself, the whole body in every row, many panels in one commit.
pub struct RawRedb {
    db: Database,
    panels: usize,
    _folder: TempDir,
}

impl RawRedb {
    pub fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::create(folder.path().join("db")).expect("a database");
        Self { db, panels, _folder: folder }
    }

    /// Every panel gets bodies of its own.
    pub fn own_bodies(&self, parts: &[Operations]) {
        let items = parts.first().map_or(1, |part| part.upserts.len());
        for group in groups(self.panels, items) {
            put_all(&self.db, group.map(|panel| (panel, rows(&parts[panel]))));
        }
    }

    /// Rows of 16 bytes, a row a profile: fills every panel with `held`, then changes one in each, `rounds` times.
    /// Says how long a round takes, in seconds.
    pub fn plain_rows(&self, held: usize, rounds: u64) -> Vec<f64> {
        let write = |links: std::ops::Range<usize>, value: u64| {
            for group in groups(self.panels, links.len()) {
                let mut write = self.db.begin_write().expect("a transaction");
                write.set_quick_repair(true);
                {
                    let mut table = write.open_table(PLAIN).expect("a table");
                    for panel in group {
                        for link in links.clone() {
                            let key = key(panel, link as u128);
                            let found = table.get(key).expect("read").is_some();
                            let mut row = [u8::from(found); 16];
                            row[..8].copy_from_slice(&value.to_be_bytes());
                            table.insert(key, &row).expect("written");
                        }
                    }
                }
                write.commit().expect("committed");
            }
        };
        write(0..held, 0);
        let round = |n| {
            crate::settle();
            let started = Instant::now();
            write(held / 2..held / 2 + 1, n);
            started.elapsed().as_secs_f64()
        };
        (1..=rounds).map(round).collect()
    }
}

fn put_all<'a>(db: &Database, panels: impl Iterator<Item = (usize, Vec<(u128, &'a str)>)>) {
    let mut write = db.begin_write().expect("a transaction");
    write.set_quick_repair(true);
    {
        let mut table = write.open_table(FULL).expect("a table");
        for (panel, rows) in panels {
            for (link, body) in rows {
                table.insert(key(panel, link), body).expect("written");
            }
        }
    }
    write.commit().expect("committed");
}

impl Contender for RawRedb {
    fn fan_out(&mut self, operations: Operations) {
        let rows = rows(&operations);
        for group in groups(self.panels, rows.len()) {
            put_all(&self.db, group.map(|panel| (panel, rows.clone())));
        }
    }
}

/// A redb file and a commit for each panel.
pub struct FilePerPanel {
    dbs: Vec<Database>,
    _folder: TempDir,
}

impl FilePerPanel {
    pub fn new(panels: usize) -> Self {
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
            put_all(db, std::iter::once((0, rows.clone())));
        }
    }
}

/// `SQLite` with a write-ahead log that is synced at every commit, the whole body in every row.
pub struct Sqlite {
    connection: rusqlite::Connection,
    panels: usize,
    _folder: TempDir,
}

impl Sqlite {
    pub fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = rusqlite::Connection::open(folder.path().join("db")).expect("a database");
        connection
            .execute_batch(
                "pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -262144;
                 create table profiles (panel integer, link blob, body text, primary key (panel, link)) without rowid;",
            )
            .expect("a table");
        Self { connection, panels, _folder: folder }
    }
}

impl Contender for Sqlite {
    fn fan_out(&mut self, operations: Operations) {
        let rows = rows(&operations);
        for group in groups(self.panels, rows.len()) {
            let write = self.connection.transaction().expect("a transaction");
            {
                let mut upsert =
                    write.prepare_cached("insert or replace into profiles values (?1, ?2, ?3)").expect("SQL");
                for panel in group {
                    for (link, body) in &rows {
                        upsert.execute((panel, link.to_be_bytes(), body)).expect("written");
                    }
                }
            }
            write.commit().expect("committed");
        }
    }
}

/// LMDB with a row of 16 bytes for each profile, synced at every commit.
pub struct Lmdb {
    env: heed::Env,
    table: heed::Database<Bytes, U128<heed::byteorder::BigEndian>>,
    panels: usize,
    round: u128,
    _folder: TempDir,
}

impl Lmdb {
    #[allow(unsafe_code, reason = "LMDB maps its file; nobody else has this one")]
    pub fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = EnvOpenOptions::new();
        options.map_size(8 << 30);
        // SAFETY: the folder is new and this process's own, and the file is opened once.
        let env = unsafe { options.flags(EnvFlags::empty()).open(folder.path()) }.expect("an environment");
        let mut write = env.write_txn().expect("a transaction");
        let table = env.create_database(&mut write, None).expect("a table");
        write.commit().expect("committed");
        Self { env, table, panels, round: 0, _folder: folder }
    }
}

impl Contender for Lmdb {
    fn fan_out(&mut self, operations: Operations) {
        self.round += 1;
        let rows = rows(&operations);
        for group in groups(self.panels, rows.len()) {
            let mut write = self.env.write_txn().expect("a transaction");
            for panel in group {
                for (link, _) in &rows {
                    let mut key = [0; 20];
                    key[..4].copy_from_slice(&(panel as u32).to_be_bytes());
                    key[4..].copy_from_slice(&link.to_be_bytes());
                    self.table.put(&mut write, &key, &self.round).expect("written");
                }
            }
            write.commit().expect("committed");
        }
    }
}
