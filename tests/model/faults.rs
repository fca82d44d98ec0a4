//! Coordinator, panels and store on a disk that fails and forgets: whatever was accepted is there in the end, in its
//! order, and nothing contradicts itself.
//!
//! Each schedule is a seed: batches, failing writes, crashes that lose any part of what was not synced, restarts.
//! `PANELSYNC_SCHEDULES` says how many (`PANELSYNC_SEED` where they begin); a failure names its seed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_web::rt::System;
use panelsync::batch::{Operations, PanelState};
use panelsync::config::Settings;
use panelsync::coordinator::fleet::{AddPanels, NewPanel};
use panelsync::coordinator::{Submit, SubmitError, Target, work};
use panelsync::panel::Origin;
use panelsync::panel::settings::{PanelRecord, Settings as PanelSettings};
use panelsync::profile::rule::Family;
use panelsync::profile::{LinkId, parse};
use panelsync::server::Engine;
use panelsync::store::disk::SyncTime;
use panelsync::store::read::Snapshot;
use panelsync::store::seal::Seal;
use panelsync::store::{Store, render};
use panelsync::telemetry::Metrics;
use redb::{Builder, StorageBackend};
use uuid::Uuid;

const PANELS: usize = 5;

/// Nothing takes so long here unless it never ends.
const LONG: Duration = Duration::from_secs(20);

/// A disk in memory.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    file: Vec<u8>,
    /// What a crash leaves at least.
    synced: Vec<u8>,
    /// Written since, in order.
    unsynced: Vec<Write>,
    /// After so many writes more, all fail until the disk is healed.
    fails_after: Option<u32>,
    failing: bool,
    /// How often it has crashed: whoever had opened the file before has lost it.
    crashes: u32,
}

#[derive(Debug, Clone)]
enum Write {
    At(u64, Vec<u8>),
    Length(u64),
}

impl Write {
    fn reach(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length as usize, 0),
            Self::At(offset, bytes) => {
                let end = *offset as usize + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset as usize..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// Power is lost: of what was not synced, any part is there.
    fn crash(&self, random: &mut fastrand::Rng) {
        let mut state = self.state();
        state.crashes += 1;
        let State { file, synced, unsynced, .. } = &mut *state;
        for write in std::mem::take(unsynced) {
            if random.bool() {
                write.reach(synced);
            }
        }
        file.clone_from(synced);
    }

    fn fail_after(&self, writes: u32) {
        self.state().fails_after = Some(writes);
    }

    fn heal(&self) {
        let mut state = self.state();
        state.failing = false;
        state.fails_after = None;
    }

    fn store(&self) -> Store {
        let disk = self.clone();
        let open = move |_: &SyncTime| {
            let crashes = disk.state().crashes;
            Builder::new().create_with_backend(Opened { disk: disk.clone(), crashes })
        };
        Store::on(Path::new("a disk in memory"), Seal::new([7; 32]), &Metrics::default(), open)
            .expect("it opens")
    }
}

/// The disk's file, opened after so many crashes.
#[derive(Debug)]
struct Opened {
    disk: Disk,
    crashes: u32,
}

impl Opened {
    fn state(&self) -> Result<MutexGuard<'_, State>, io::Error> {
        let state = self.disk.state();
        if state.crashes == self.crashes { Ok(state) } else { Err(broken("the power is gone")) }
    }

    fn write(&self, write: Write) -> Result<(), io::Error> {
        let mut state = self.state()?;
        match &mut state.fails_after {
            Some(0) => state.failing = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if state.failing {
            return Err(broken("the disk is full"));
        }
        write.reach(&mut state.file);
        state.unsynced.push(write);
        Ok(())
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

impl StorageBackend for Opened {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state()?.file.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state()?;
        let from = offset as usize;
        out.copy_from_slice(state.file.get(from..from + out.len()).ok_or_else(|| broken("beyond the end"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.write(Write::Length(len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.state()?;
        if state.failing {
            return Err(broken("the disk is full"));
        }
        let State { synced, unsynced, .. } = &mut *state;
        for write in std::mem::take(unsynced) {
            write.reach(synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        Self::write(self, Write::At(offset, data.to_vec()))
    }
}

async fn start(disk: &Disk) -> Engine {
    let settings = Settings::new("", ([127, 0, 0, 1], 0).into());
    Engine::on(disk.store(), &settings, &Metrics::default()).await.expect("it starts")
}

fn origin() -> Origin {
    Origin {
        actor: "model".into(),
        address: String::new(),
        request_id: "".into(),
        span: tracing::Span::none(),
    }
}

fn link(n: u8) -> String {
    format!("91c615e3-1040-4815-8ecb-0000000000{n:02x}")
}

/// Profiles of random texts under random link_ids, and random deletions.
fn operations(random: &mut fastrand::Rng, marker: u32) -> Operations {
    let mut links: Vec<u8> = (0..8).collect();
    random.shuffle(&mut links);
    let (upserts, deletes) = (random.usize(1..5), random.usize(0..3));
    let items: Vec<_> = links[..upserts]
        .iter()
        .map(|n| {
            format!(
                r#"{{"link_id":"{}","name":"{marker} {n}","repeat_options":{{"repeat_enable":false}},
                "time_options":{{"is_all_day":false,"date_from":0,"date_to":60}}}}"#,
                link(*n)
            )
        })
        .collect();
    let body = format!(r#"{{"list_items":[{}]}}"#, items.join(","));
    let profiles = parse::link_body(body.as_bytes(), Family::Android).expect("well-formed");
    let deletes = links[upserts..upserts + deletes].iter().map(|n| link(*n).parse().expect("a link_id"));
    Operations::new(profiles, deletes.collect(), false)
}

/// What every panel must hold after these batches, each with its panels, in the order of acceptance.
type Held = BTreeMap<u32, BTreeMap<LinkId, String>>;

fn expected(snapshot: &Snapshot) -> Held {
    let mut held = Held::new();
    let mut batches = snapshot.batches(u64::MAX, usize::MAX).expect("readable");
    batches.reverse();
    for (seq, _) in batches {
        let operations =
            work::decode(&snapshot.batch_work(seq).expect("readable").expect("work")).expect("work");
        for panel in snapshot.batch_targets(seq).expect("readable") {
            let panel = held.entry(panel).or_default();
            for upsert in &operations.upserts {
                panel.insert(upsert.link_id, upsert.body.json().to_owned());
            }
            for deleted in &operations.deletes {
                panel.remove(deleted);
            }
        }
    }
    held
}

fn check(snapshot: &Snapshot, accepted: &[Uuid]) {
    assert_eq!(render::contradictions(snapshot).expect("readable"), Vec::<String>::new());
    for id in accepted {
        assert!(snapshot.batch_seq(*id).expect("readable").is_some(), "batch {id} was accepted and is gone");
    }
    for (seq, _) in snapshot.batches(u64::MAX, usize::MAX).expect("readable") {
        let outcomes: BTreeMap<_, _> =
            snapshot.outcomes(seq, 0).expect("readable").collect::<Result<_, _>>().expect("readable");
        for panel in snapshot.batch_targets(seq).expect("readable") {
            let outcome = outcomes.get(&panel).unwrap_or_else(|| panic!("no outcome of {panel} in {seq}"));
            assert_eq!(outcome.state, PanelState::Applied, "{panel} in {seq}");
        }
    }
    for (panel, expected) in expected(snapshot) {
        let profiles = snapshot.profiles(panel).expect("readable");
        let held: BTreeMap<_, _> = profiles
            .iter()
            .map(|stored| (stored.link_id().expect("a link_id"), stored.json.to_string()))
            .collect();
        assert_eq!(held, expected, "panel {panel}");
    }
}

/// Waits until no batch is running.
async fn quiet(engine: &Engine) {
    let until = std::time::Instant::now() + LONG;
    loop {
        let running = engine.store().read().and_then(|snapshot| snapshot.running_batches());
        if running.is_ok_and(|running| running.is_empty()) {
            return;
        }
        assert!(std::time::Instant::now() < until, "a batch does not come to its end");
        actix_web::rt::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn schedule(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = Disk::default();
    let mut engine = start(&disk).await;
    let panels = (0..PANELS)
        .map(|n| NewPanel::new(PanelSettings::parse(&PanelRecord::new(format!("p{n}"))).expect("valid")));
    let added = engine.coordinator().send(AddPanels(panels.collect(), origin())).await.expect("it runs");
    added.expect("new ids").await.expect("it runs").expect("stored");
    let mut accepted = Vec::new();
    let mut answers = Vec::new();
    for step in 0..random.u32(5..25) {
        match random.u8(0..10) {
            0..=5 => {
                let id = Uuid::new_v4();
                let target = match random.usize(0..=PANELS) {
                    0 => Target::All,
                    some => Target::Panels((0..some).map(|n| format!("p{n}")).collect()),
                };
                let operations = Arc::new(operations(&mut random, step));
                let submit = Submit { id, target, operations, idempotency: None, origin: origin() };
                if let Ok(answer) = engine.coordinator().send(submit).await.expect("it runs") {
                    answers.push((id, answer));
                }
            }
            6 => disk.fail_after(random.u32(0..40)),
            7 => {
                // Whoever had an answer by now keeps it.
                for (id, answer) in &mut answers {
                    if let Ok(Ok(_)) = answer.try_recv() {
                        accepted.push(*id);
                    }
                }
                answers.clear();
                disk.crash(&mut random); // what the engine does from now on reaches the disk no more
                drop(engine);
                disk.heal();
                engine = start(&disk).await;
            }
            8 => {
                disk.heal();
                quiet(&engine).await;
            }
            _ => actix_web::rt::time::sleep(Duration::from_micros(random.u64(0..2000))).await,
        }
    }
    disk.heal();
    for (id, answer) in answers {
        match answer.await.expect("it runs") {
            Ok(_) => accepted.push(id),
            Err(SubmitError::Store(_)) => {} // perhaps there all the same
            Err(other) => panic!("{other}"),
        }
    }
    quiet(&engine).await;
    engine.stop().await;
    let store = disk.store();
    check(&store.handle().read().expect("a snapshot"), &accepted);
    store.close();
}

#[test]
fn what_was_accepted_survives_failing_writes_and_crashes() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first = from_environment("PANELSYNC_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let schedules = from_environment("PANELSYNC_SCHEDULES").unwrap_or(100);
    println!("seeds {first} to {}", first + schedules - 1);
    for seed in first..first + schedules {
        println!("seed {seed}");
        System::new().block_on(schedule(seed));
    }
}
