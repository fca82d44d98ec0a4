//! A disk whose syncs take long, and what is waited for on it.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use panelsync::batch::BatchState;
use panelsync::config::Settings;
use panelsync::coordinator::Target;
use panelsync::server::Engine;
use panelsync::store::disk::Synced;
use panelsync::store::seal::Seal;
use panelsync::store::{BatchSeq, FILE_NAME, Store};
use panelsync::telemetry::Metrics;
use redb::backends::FileBackend;
use redb::{Builder, StorageBackend};
use tempfile::TempDir;

use crate::contenders::{Actors, operations, submit};

/// How much longer a sync takes on the slow disk; a commit has two.
pub const SYNC: Duration = Duration::from_millis(25);

/// Batches that are under way at once.
const UNDER_WAY: usize = 3;

/// A file whose syncs take longer than the disk needs.
#[derive(Debug)]
struct Slow {
    file: FileBackend,
    longer: Duration,
}

impl StorageBackend for Slow {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.file.sync_data()?;
        std::thread::sleep(self.longer);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
}

fn store(folder: &Path, longer: Duration, metrics: &Metrics) -> Store {
    let path = folder.join(FILE_NAME);
    let open = move |time: &_| {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = FileBackend::new(file.map_err(|error| redb::DatabaseError::Storage(error.into()))?)?;
        Builder::new().create_with_backend(Synced::open(Slow { file, longer }, time)?)
    };
    Store::on(folder, Seal::new([7; 32]), metrics, open).expect("it opens")
}

/// So many panels, on a disk whose syncs take so much longer, and what is counted there.
fn actors(panels: usize, longer: Duration) -> (Actors, Metrics) {
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let metrics = Metrics::default();
    let store = store(folder.path(), longer, &metrics);
    let settings = Settings::new(folder.path(), ([127, 0, 0, 1], 0).into());
    let system = actix_web::rt::System::new();
    let engine = system.block_on(Engine::on(store, &settings, &metrics)).expect("it starts");
    let mut actors = Actors::of(system, engine, panels);
    actors.keep(folder);
    (actors, metrics)
}

/// What came of batches that were sent without a pause.
pub struct Sustained {
    /// Items a second.
    pub rate: f64,
    /// Items a commit, on average.
    pub commit: f64,
}

/// Sends so many batches of ten items to so many panels, [`UNDER_WAY`] at once; each changes every item.
pub fn sustained(panels: usize, batches: u64, longer: Duration) -> Sustained {
    const ITEMS: usize = 10;
    let (actors, metrics) = actors(panels, longer);
    let coordinator = actors.coordinator.clone();
    actors.system.block_on(submit(&coordinator, Target::All, operations(ITEMS, 0)));
    let mut bodies: VecDeque<_> = (1..=batches).map(|variant| operations(ITEMS, variant)).collect();
    crate::settle();
    let (commits, items) = committed(&metrics);
    let started = Instant::now();
    actors.system.block_on(async {
        let mut under_way = VecDeque::new();
        loop {
            while under_way.len() < UNDER_WAY
                && let Some(body) = bodies.pop_front()
            {
                let coordinator = coordinator.clone();
                under_way.push_back(actix_web::rt::spawn(async move {
                    submit(&coordinator, Target::All, body).await
                }));
            }
            let Some(oldest) = under_way.pop_front() else { break };
            oldest.await.expect("it ends");
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let (commits, items) = (committed(&metrics).0 - commits, committed(&metrics).1 - items);
    Sustained { rate: (panels * ITEMS) as f64 * batches as f64 / seconds, commit: items / commits }
}

/// Commits, and items of all of them, by now.
fn committed(metrics: &Metrics) -> (f64, f64) {
    let text = metrics.open_metrics();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    };
    (number("panelsync_commit_rows_count"), number("panelsync_commit_rows_sum"))
}

/// Half of all batches to one panel are told as ended within the first of these milliseconds, and recorded as ended
/// within the second.
pub fn told(batches: u64, longer: Duration) -> (f64, f64) {
    let (actors, _) = actors(1, longer);
    let (coordinator, store) = (actors.coordinator.clone(), actors.store());
    let is_recorded = |seq: BatchSeq| {
        let record = store.read().expect("readable").batch(seq).expect("readable").expect("it is kept");
        record.state != BatchState::Running
    };
    let (mut told, mut recorded) = (Vec::new(), Vec::new());
    for variant in 0..batches {
        let body = operations(1, variant);
        let started = Instant::now();
        let seq = actors.system.block_on(submit(&coordinator, Target::All, body));
        told.push(started.elapsed().as_secs_f64() * 1000.0);
        while !is_recorded(seq) {
            std::thread::sleep(Duration::from_micros(20));
        }
        recorded.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    (crate::median(told), crate::median(recorded))
}
