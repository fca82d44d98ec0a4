//! Coordinator, panels and store on a disk that fails and forgets: whatever was accepted is there in the end, in its
//! order, and nothing contradicts itself.
//!
//! Each schedule is a seed: batches, cancellations, retries, panels that are removed, come back and are changed, devices
//! that answer at any moment or not, slow and failing syncs, failing writes, crashes that lose any part of what was not
//! synced, restarts.
//! `PANELSYNC_SCHEDULES` says how many (`PANELSYNC_SEED` where they begin); a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use actix_web::rt::System;
use panelsync::batch::report::Report;
use panelsync::batch::{BatchState, Operations, Outcome, PanelState};
use panelsync::config::Settings;
use panelsync::coordinator::fleet::{AddError, AddPanels, ChangePanel, NewPanel, RemovePanel};
use panelsync::coordinator::{Cancel, Progress, Retry, Submit, SubmitError, Submitted, Target, work};
use panelsync::panel::settings::{PanelRecord, Settings as PanelSettings};
use panelsync::panel::{Attend, Origin};
use panelsync::profile::rule::Family;
use panelsync::profile::{LinkId, parse};
use panelsync::server::Engine;
use panelsync::store::changes::panels::PanelChanged;
use panelsync::store::disk::{Synced, Syncs};
use panelsync::store::entry::EntryTag;
use panelsync::store::read::Snapshot;
use panelsync::store::seal::Seal;
use panelsync::store::shipped::{Changes, Ledger, Position, Refused};
use panelsync::store::{BatchSeq, Shipping, Store, StoreError, render};
use panelsync::telemetry::Metrics;
use redb::{Builder, StorageBackend};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::device::Devices;

/// Panels that the server itself is, and panels that are devices.
const EMBEDDED: usize = 4;
const REMOTE: usize = 2;

/// Nothing takes so long here unless it never ends.
const LONG: Duration = Duration::from_secs(20);

/// A disk in memory.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub struct State {
    file: Vec<u8>,
    /// What a crash leaves at least.
    synced: Vec<u8>,
    /// Written since, in order.
    unsynced: Vec<Write>,
    /// After so many writes more, all fail until the disk is healed.
    fails_after: Option<u32>,
    failing: bool,
    /// The next sync fails; what was to be synced is there all the same, or never comes.
    fails_sync: Option<bool>,
    /// Syncs take a moment.
    slow_syncs: bool,
    /// After so many syncs more, the next waits until it is let through.
    syncs_left: Option<u32>,
    /// How often it has crashed: whoever had opened the file before has lost it.
    crashes: u32,
    /// The entries of a log of several nodes, where there is one. They outlive a crash.
    log: Option<Vec<Vec<u8>>>,
    /// So many of a hundred calls of the log are not answered, whether they are done or not.
    log_fails: u8,
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
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// Power is lost: of what was not synced, any part is there.
    pub fn crash(&self, random: &mut fastrand::Rng) {
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

    /// The next sync fails; whether what was to be synced is there all the same is said here.
    fn fail_sync(&self, there: bool) {
        self.state().fails_sync = Some(there);
    }

    pub fn heal(&self) {
        let mut state = self.state();
        state.failing = false;
        state.fails_sync = None;
        state.fails_after = None;
        state.log_fails = 0;
    }

    /// Each commit goes to a log first, from the beginning.
    fn with_log(&self) {
        self.state().log = Some(Vec::new());
    }

    /// Another copy of the database, of what the log has.
    fn follower(&self) -> Store {
        let log = self.state().log.clone();
        let other = Self::default();
        other.state().log = log;
        other.store()
    }

    pub fn store(&self) -> Store {
        let disk = self.clone();
        let open = move |syncs: &Syncs| {
            let crashes = disk.state().crashes;
            Builder::new().create_with_backend(Synced::open(Opened { disk: disk.clone(), crashes }, syncs)?)
        };
        let crashes = self.state().crashes;
        let shipping = if self.state().log.is_some() {
            Shipping::Leading(Box::new(Log { disk: self.clone(), crashes }))
        } else {
            Shipping::Alone
        };
        Store::shipping(
            Path::new("a disk in memory"),
            Seal::new([7; 32]),
            &Metrics::default(),
            open,
            shipping,
        )
        .expect("it opens")
    }
}

/// The log, as a process sees it that began after so many crashes.
struct Log {
    disk: Disk,
    crashes: u32,
}

impl Log {
    /// Whether this call is not answered.
    fn fails(state: &State) -> bool {
        fastrand::u8(0..100) < state.log_fails
    }
}

impl Ledger for Log {
    fn append(&mut self, after: Position, changes: &Changes) -> Result<EntryTag, Refused> {
        let mut state = self.disk.state();
        if state.crashes != self.crashes {
            return Err(Refused::Gone);
        }
        let fails = Self::fails(&state);
        let log = state.log.as_mut().expect("a log");
        if log.len() as u64 != after.number {
            return Err(Refused::Taken);
        }
        if !fails || fastrand::bool() {
            log.push(changes.as_bytes().to_vec());
        }
        if fails { Err(Refused::Gone) } else { Ok(tag_of(after, changes)) }
    }

    fn entry(&mut self, after: Position) -> Result<Option<(Changes, EntryTag)>, Refused> {
        let state = self.disk.state();
        if state.crashes != self.crashes || Self::fails(&state) {
            return Err(Refused::Gone);
        }
        let log = state.log.as_ref().expect("a log");
        let changes = log.get(after.number as usize).map(|bytes| Changes::from_bytes(bytes.clone()));
        Ok(changes.map(|changes| {
            let tag = tag_of(after, &changes);
            (changes, tag)
        }))
    }
}

/// A tag of an entry and of all before it.
fn tag_of(after: Position, changes: &Changes) -> EntryTag {
    let digest = Sha256::digest([&after.tag[..], changes.as_bytes()].concat());
    *digest.first_chunk().expect("32 bytes")
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
        while self.state()?.syncs_left == Some(0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(left) = &mut self.state()?.syncs_left {
            *left -= 1;
        }
        if self.state()?.slow_syncs {
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..2000)));
        }
        let mut state = self.state()?;
        if state.failing {
            return Err(broken("the disk is full"));
        }
        let failure = state.fails_sync.take();
        let State { synced, unsynced, .. } = &mut *state;
        for write in std::mem::take(unsynced) {
            // What a failed sync did not write is taken for clean: the next sync does not write it either. The
            // length of a file is kept in the journal, which tries again.
            if failure != Some(false) || matches!(write, Write::Length(_)) {
                write.reach(synced);
            }
        }
        if failure.is_some() { Err(broken("the sync failed")) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        Self::write(self, Write::At(offset, data.to_vec()))
    }
}

/// Starts it on the disk, and gives the sign that says when its writer is there.
pub async fn start(disk: &Disk) -> Engine {
    let mut settings = Settings::new("", ([127, 0, 0, 1], 0).into());
    settings.devices.timeouts.connect = Duration::from_millis(500);
    settings.devices.timeouts.request = Duration::from_millis(500);
    Engine::on(disk.store(), &settings, &Metrics::default()).await.expect("it starts")
}

pub fn origin() -> Origin {
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
    Operations::of_profiles(profiles, deletes.collect(), false)
}

/// What every panel must hold after these batches, each with its panels, in the order of acceptance.
type Held = BTreeMap<u32, BTreeMap<LinkId, String>>;

/// Whether a panel with this outcome has taken what the batch asked for.
fn has_taken(outcome: &Outcome) -> bool {
    let stays = outcome.error.as_deref().is_some_and(|why| why.contains("stays desired"));
    outcome.state == PanelState::Applied || stays
}

fn expected(snapshot: &Snapshot) -> Held {
    let mut held = Held::new();
    let mut batches = snapshot.batches(u64::MAX, usize::MAX).expect("readable");
    batches.reverse();
    for (seq, _) in batches {
        let operations =
            work::decode(&snapshot.batch_work(seq).expect("readable").expect("work")).expect("work");
        for outcome in snapshot.outcomes(seq, 0).expect("readable") {
            let (panel, outcome) = outcome.expect("readable");
            if !has_taken(&outcome) {
                continue;
            }
            let panel = held.entry(panel).or_default();
            for upsert in &operations.upserts {
                panel.insert(upsert.item.link_id, upsert.body.json().to_owned());
            }
            for deleted in &operations.deletes {
                panel.remove(&deleted.link_id);
            }
        }
    }
    held
}

/// What must hold whatever has happened: every accepted batch is there and has ended, each panel's outcome is counted
/// once, and panels hold what the batches that they took ask for, in their order. A batch that was sent again counts
/// from then on, so what its panels hold depends on when that was, which is not known here.
fn check(snapshot: &Snapshot, accepted: &[Uuid], sent_again: &BTreeSet<BatchSeq>) {
    assert_eq!(render::contradictions(snapshot).expect("readable"), Vec::<String>::new());
    for id in accepted {
        assert!(snapshot.batch_seq(*id).expect("readable").is_some(), "batch {id} was accepted and is gone");
    }
    let mut registered = BTreeSet::new();
    snapshot
        .each_panel(|number, _| {
            registered.insert(number);
            Ok::<_, StoreError>(())
        })
        .expect("readable");
    let mut unknown_order = BTreeSet::new();
    for (seq, record) in snapshot.batches(u64::MAX, usize::MAX).expect("readable") {
        let outcomes: BTreeMap<_, _> =
            snapshot.outcomes(seq, 0).expect("readable").collect::<Result<_, _>>().expect("readable");
        let operations =
            work::decode(&snapshot.batch_work(seq).expect("readable").expect("work")).expect("work");
        let targets = snapshot.batch_targets(seq).expect("readable");
        let mut counted = Report::of_pending(targets.len(), &operations);
        for panel in &targets {
            let outcome = outcomes.get(panel).unwrap_or_else(|| panic!("no outcome of {panel} in {seq}"));
            counted.add(outcome, operations.kinds());
            let why = outcome.error.as_deref().unwrap_or("");
            let good = match outcome.state {
                PanelState::Applied => true,
                PanelState::Failed => {
                    why.contains("removed") || (why.contains("cancelled") && record.cancelled)
                }
                PanelState::Partial | PanelState::Rejected | PanelState::Pending => false,
            };
            assert!(good, "{panel} in {seq}: {outcome:?}");
        }
        assert_eq!(record.report, counted, "batch {seq}");
        assert_ne!(record.state, BatchState::Running, "batch {seq}");
        if sent_again.contains(&seq) {
            unknown_order.extend(targets);
        }
    }
    for (panel, expected) in expected(snapshot) {
        if !registered.contains(&panel) || unknown_order.contains(&panel) {
            continue;
        }
        let profiles = snapshot.profiles(panel).expect("readable");
        let held: BTreeMap<_, _> = profiles
            .iter()
            .map(|stored| (stored.link_id().expect("a link_id"), stored.json.to_string()))
            .collect();
        assert_eq!(held, expected, "panel {panel}");
    }
}

/// Devices hold just what is desired of them. Whoever removes a panel leaves its device as it is, so one whose panel came
/// back may hold more than what is desired since.
fn check_devices(snapshot: &Snapshot, devices: &Devices, removed: &BTreeSet<String>) {
    let mut remote = Vec::new();
    snapshot
        .each_panel(|number, record| {
            let record: PanelRecord = serde_json::from_slice(record).expect("a record");
            remote.extend(record.url.map(|url| (number, url)));
            Ok::<_, StoreError>(())
        })
        .expect("readable");
    for (number, url) in remote {
        let profiles = snapshot.profiles(number).expect("readable");
        let desired: BTreeMap<_, _> = profiles
            .iter()
            .map(|stored| {
                let body: serde_json::Value = serde_json::from_str(&stored.json).expect("JSON");
                let link = stored.link_id().expect("a link_id").to_string();
                (link, body["name"].as_str().expect("a name").to_owned())
            })
            .collect();
        let name = url.rsplit('/').next().expect("a name");
        let mut held = devices.held(name);
        if removed.contains(name) {
            held.retain(|link, _| desired.contains_key(link));
        }
        assert_eq!(held, desired, "device {name}");
        assert_eq!(snapshot.reported_counts(number).expect("readable").pending, 0, "device {name}");
    }
}

/// Waits until no batch is running and everything is delivered, having devices that had trouble tried at once.
pub async fn quiet(engine: &Engine) {
    let until = Instant::now() + LONG;
    loop {
        let state = engine
            .store()
            .read()
            .and_then(|snapshot| Ok((snapshot.running_batches()?, snapshot.all_reported_counts()?.pending)));
        match state {
            // What the log has more of is there once work is taken again.
            Ok((running, 0)) if running.is_empty() && engine.store().takes_work() => return,
            other => assert!(Instant::now() < until, "a batch does not come to its end: {other:?}"),
        }
        let register = engine.register().now();
        for entry in register.select(None, None) {
            if entry.settings.is_device() {
                let _ = entry.address.send(Attend::TryNow).await; // it may be removed by now
            }
        }
        actix_web::rt::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A panel's record; those with a device have one of their own in this schedule.
fn record(schedule: u64, n: usize, devices_at: SocketAddr) -> PanelRecord {
    let record = PanelRecord::new(format!("p{n}"));
    if n < EMBEDDED {
        return record;
    }
    PanelRecord {
        driver: "http".into(),
        url: Some(format!("http://{devices_at}/{}", device_name(schedule, n))),
        username: Some("admin".into()),
        ..record
    }
}

fn device_name(schedule: u64, n: usize) -> String {
    format!("{schedule}-{n}")
}

pub fn new_panel(record: &PanelRecord) -> NewPanel {
    let panel = NewPanel::new(PanelSettings::parse(record).expect("valid"));
    let password_md5 = record.url.as_ref().map(|_| "e10adc3949ba59abbe56e057f20f883e".to_owned());
    NewPanel { password_md5, ..panel }
}

/// What was asked of the coordinator and is not answered yet.
#[derive(Default)]
struct Asked {
    batches: Vec<(Uuid, oneshot::Receiver<Result<Submitted, SubmitError>>)>,
    /// Each with which panel it is about.
    added: Vec<(usize, oneshot::Receiver<Result<(), AddError>>)>,
    removed: Vec<(usize, oneshot::Receiver<Result<(), StoreError>>)>,
    changed: Vec<oneshot::Receiver<Result<PanelChanged, StoreError>>>,
    cancelled: Vec<oneshot::Receiver<Result<(), SubmitError>>>,
}

impl Asked {
    /// Everything is answered, well or with the store's failure, which perhaps is none.
    async fn all_answered(self, accepted: &mut Vec<Uuid>) {
        let store_failed = |error: &SubmitError| matches!(error, SubmitError::Store(_));
        for (id, answer) in self.batches {
            match answer.await.expect("it answers") {
                Ok(_) => accepted.push(id),
                Err(SubmitError::Store(_) | SubmitError::WrongState(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let mut not_removed = BTreeSet::new();
        for (panel, answer) in self.removed {
            if answer.await.expect("it answers").is_err() {
                not_removed.insert(panel); // perhaps done all the same
            }
        }
        let mut added = BTreeMap::<_, Vec<_>>::new();
        for (panel, answer) in self.added {
            added.entry(panel).or_default().push(answer.await.expect("it answers"));
        }
        for (panel, answers) in added {
            // Whoever asks looks first: so it was there since its removal failed, or since it was added twice meanwhile.
            if answers.len() == 1 && !not_removed.contains(&panel) {
                assert!(!matches!(answers[0], Err(AddError::Taken(_))), "a panel that was removed is there");
            }
        }
        for answer in self.changed {
            let _ = answer.await.expect("it answers"); // likewise
        }
        for answer in self.cancelled {
            if let Err(error) = answer.await.expect("it answers") {
                assert!(store_failed(&error) || matches!(error, SubmitError::WrongState(_)), "{error}");
            }
        }
    }
}

async fn schedule(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (devices, devices_at) = Devices::there();
    // Every other one has devices, too.
    let panels = if random.bool() { EMBEDDED } else { EMBEDDED + REMOTE };
    let records: Vec<_> = (0..panels).map(|n| record(seed, n, devices_at)).collect();
    for n in EMBEDDED..panels {
        devices.trouble(&device_name(seed, n), 0);
    }
    let disk = Disk::default();
    disk.state().slow_syncs = random.u8(0..4) == 0;
    if random.bool() {
        disk.with_log();
    }
    let mut engine = start(&disk).await;
    let added = AddPanels(records.iter().map(new_panel).collect(), origin());
    let added = engine.coordinator().send(added).await.expect("it runs");
    added.expect("new ids").await.expect("it runs").expect("stored");
    let mut accepted = Vec::new();
    let mut sent_again = BTreeSet::new();
    let mut removed = BTreeSet::new();
    let mut asked = Asked::default();
    for step in 0..random.u32(5..25) {
        let coordinator = engine.coordinator();
        match random.u8(0..20) {
            0..=8 => {
                let id = Uuid::new_v4();
                let target = match random.usize(0..=panels) {
                    0 => Target::All,
                    some => Target::Panels((0..some).map(|n| format!("p{n}")).collect()),
                };
                let operations = Arc::new(operations(&mut random, step));
                let submit = Submit { id, target, operations, idempotency: None, origin: origin() };
                // A panel may be away just now.
                if let Ok(answer) = coordinator.send(submit).await.expect("it runs") {
                    asked.batches.push((id, answer));
                }
            }
            9 if random.bool() => disk.state().log_fails = random.u8(0..40),
            9 => disk.fail_after(random.u32(0..40)),
            10 => disk.fail_sync(random.bool()),
            11 => {
                // Whoever had an answer by now keeps it.
                for (id, answer) in &mut asked.batches {
                    if let Ok(Ok(_)) = answer.try_recv() {
                        accepted.push(*id);
                    }
                }
                asked = Asked::default();
                disk.crash(&mut random); // what the engine does from now on reaches the disk no more
                drop(engine);
                disk.heal();
                engine = start(&disk).await;
            }
            12 => {
                disk.heal();
                for n in EMBEDDED..panels {
                    devices.trouble(&device_name(seed, n), 0);
                }
                quiet(&engine).await;
            }
            13 => {
                for n in EMBEDDED..panels {
                    devices.trouble(&device_name(seed, n), random.u8(0..100));
                }
            }
            kind @ 14..=16 => {
                let Ok(batches) = engine.store().read().and_then(|snapshot| snapshot.batches(u64::MAX, 4))
                else {
                    continue;
                };
                let Some((seq, _)) = random.choice(batches) else { continue };
                if kind == 16 {
                    if let Ok(answer) = coordinator.send(Retry(seq, origin())).await.expect("it runs") {
                        sent_again.insert(seq);
                        asked.batches.push((Uuid::nil(), answer));
                    }
                } else if let Ok(answer) = coordinator.send(Cancel(seq, origin())).await.expect("it runs") {
                    asked.cancelled.push(answer);
                }
            }
            17 => {
                let n = random.usize(0..panels);
                let removal =
                    coordinator.send(RemovePanel(format!("p{n}"), origin())).await.expect("it runs");
                asked.removed.extend(removal.map(|answer| (n, answer)));
                removed.insert(device_name(seed, n));
                if random.bool() {
                    let back = AddPanels(vec![new_panel(&records[n])], origin());
                    let added = coordinator.send(back).await.expect("it runs").ok();
                    asked.added.extend(added.map(|answer| (n, answer)));
                }
            }
            18 => {
                let n = random.usize(0..panels);
                let mut record = records[n].clone();
                record.labels.insert("step".into(), step.to_string());
                let settings = PanelSettings::parse(&record).expect("valid");
                let Some(entry) = engine.register().find(&record.id) else {
                    continue;
                };
                let expected = entry.settings.record();
                let change = ChangePanel { settings, expected, password_md5: None, origin: origin() };
                asked.changed.extend(coordinator.send(change).await.expect("it runs"));
            }
            _ => actix_web::rt::time::sleep(Duration::from_micros(random.u64(0..2000))).await,
        }
    }
    disk.heal();
    for n in EMBEDDED..panels {
        devices.trouble(&device_name(seed, n), 0);
    }
    asked.all_answered(&mut accepted).await;
    accepted.retain(|id| !id.is_nil());
    quiet(&engine).await;
    check_register(&engine).await;
    engine.stop().await;
    let store = disk.store();
    let snapshot = store.handle().read().expect("a snapshot");
    check(&snapshot, &accepted, &sent_again);
    check_devices(&snapshot, &devices, &removed);
    if disk.state().log.is_some() {
        let follower = disk.follower();
        let caught_up = Instant::now() + LONG;
        let text = render::text(&snapshot).expect("readable");
        loop {
            let followed = follower.handle().read().expect("a snapshot");
            if render::text(&followed).expect("readable") == text {
                break;
            }
            assert!(
                Instant::now() < caught_up,
                "{}\nis what another node has of\n{text}",
                render::text(&followed).expect("readable")
            );
            drop(followed);
            actix_web::rt::time::sleep(Duration::from_millis(1)).await;
        }
        follower.close();
    }
    drop(snapshot);
    store.close();
    for n in EMBEDDED..panels {
        devices.forget(&device_name(seed, n));
    }
}

/// What the coordinator knows of the panels is what the store says of them, at the latest when it has recovered.
async fn check_register(engine: &Engine) {
    let until = Instant::now() + LONG;
    loop {
        let register = engine.register().now();
        let known: BTreeMap<_, _> =
            register.select(None, None).map(|entry| (entry.number, entry.settings.record())).collect();
        let mut stored = BTreeMap::new();
        let read = engine.store().read().and_then(|snapshot| {
            snapshot.each_panel(|number, record| {
                stored.insert(number, serde_json::from_slice::<PanelRecord>(record).expect("a record"));
                Ok::<_, StoreError>(())
            })
        });
        if read.is_ok() && known == stored {
            return;
        }
        assert!(Instant::now() < until, "{known:?} is known, and {stored:?} is so");
        actix_web::rt::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A commit has two syncs: one commit makes the batch durable, one its outcome. That it has ended follows, and is written
/// down behind.
#[test]
fn whoever_sent_a_batch_is_told_when_its_outcomes_are_durable_and_waits_for_no_third_commit() {
    System::new().block_on(async {
        let disk = Disk::default();
        let engine = start(&disk).await;
        let added = AddPanels(vec![new_panel(&PanelRecord::new("p0"))], origin());
        let added = engine.coordinator().send(added).await.expect("it runs");
        added.expect("a new id").await.expect("it runs").expect("stored");
        // Two for each of two commits, and one for the file, which may grow; a third commit would need two more.
        disk.state().syncs_left = Some(5);
        let operations = Arc::new(operations(&mut fastrand::Rng::with_seed(1), 1));
        let (id, target) = (Uuid::new_v4(), Target::All);
        let submit = Submit { id, target, operations, idempotency: None, origin: origin() };
        let accepted = engine.coordinator().send(submit).await.expect("it runs").expect("panels");
        let submitted = accepted.await.expect("it answers").expect("accepted");
        let told = actix_web::rt::time::timeout(LONG, submitted.done).await;
        assert!(told.is_ok(), "it waits for a sync more");
        let now = engine.coordinator().send(Progress(submitted.seq)).await.expect("it runs");
        assert_eq!(now.expect("its end is not recorded").state, BatchState::Done);
        disk.state().syncs_left = None;
        engine.stop().await;
    });
}

/// Tells the seed of a schedule that fails.
struct Tried(u64);

impl Drop for Tried {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it was seed {}", self.0);
        }
    }
}

#[test]
fn what_was_accepted_survives_failing_writes_and_crashes() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first = from_environment("PANELSYNC_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let schedules = from_environment("PANELSYNC_SCHEDULES").unwrap_or(100);
    println!("seeds {first} to {}", first + schedules - 1);
    for seed in first..first + schedules {
        let _seed = Tried(seed);
        System::new().block_on(schedule(seed));
    }
}
