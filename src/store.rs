//! The store: everything that must survive, in one redb database per data folder.
//!
//! It is responsible for
//!
//! 1. the tables ([`tables`]), what stands in them ([`records`], [`rows`], [`row`]), the changes that are made to them
//!    ([`changes`]), and the format's version ([`migrate`]);
//! 2. one writer thread ([`writer`]) that commits the work of many panels in one transaction and then tells
//!    every waiter: whoever is told, is told after the fsync;
//! 3. reads over a snapshot ([`read`]) that never wait for the writer;
//! 4. opening the database again after a failed write, since redb refuses all others then ([`writer`]);
//! 5. noticing that the file is no longer the one that was opened ([`disk`]);
//! 6. what is secret in it ([`seal`]), and copies of it ([`backup`]);
//! 7. the whole durable state as text ([`render`]) and the invariants between tables.
//!
//! It knows nothing of actors, HTTP or what a batch means: work on a panel's rows comes as a
//! [`writer::PanelWork`]. redb's own lock on the file keeps a second server out of the folder.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::Database;

use crate::parts;
use crate::telemetry::Metrics;

pub mod backup;
mod before;
mod bodies;
mod calls;
mod carried;
pub mod changes;
mod contradictions;
pub mod damage;
pub mod disk;
pub mod entry;
pub mod error;
pub mod event;
mod faces;
pub mod follower;
mod held_before;
pub mod json;
mod kept;
mod last_held;
mod memory;
pub mod migrate;
mod outcomes;
pub mod pack;
mod passes;
pub(crate) mod private;
pub mod read;
pub mod records;
pub mod render;
mod reported;
pub mod row;
pub mod rows;
pub mod seal;
pub mod shipped;
pub mod tables;
pub mod writer;

pub use before::{Changed, ToUndo};
pub use bodies::identifier_in;
pub use calls::CallRecord;

use disk::{Identity, Syncs};
pub use error::{OpenError, StoreError};
use migrate::{Forgotten, Migrated};
use read::Snapshot;
use seal::Seal;
use shipped::Ledger;
use tables::Tables;
use writer::{Job, PanelWork, Queue};

/// The database's file name within a data folder.
pub const FILE_NAME: &str = "panelsync.redb";

/// How long a close waits for the threads of the rooms above to end and drop their handles.
const HANDLES_GO: Duration = Duration::from_secs(5);

/// A panel's number: given once, in ascending order, never reused. Keys of rows begin with it.
pub type PanelNo = u32;

/// A batch's number: given once, in the order of acceptance.
pub type BatchSeq = u64;

/// The open store. Dropping it without [`Store::close`] loses nothing that was answered.
pub struct Store {
    handle: StoreHandle,
    writer: Option<JoinHandle<()>>,
}

/// What becomes of commits beside this store.
pub enum Shipping {
    /// Nothing: it is the only one, and of no fleet of several nodes.
    Alone,
    /// Nothing: it is that of a node which does not lead, and is only looked at.
    Node,
    /// Each goes to a log before it counts.
    Leading(Box<dyn Ledger>),
}

/// What the rooms hold: reads and submits work. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    file: Arc<OpenFile>,
    queue: Arc<Queue>,
}

/// The open database. After a failed write redb refuses all others, so it is then closed and opened again.
pub(crate) struct OpenFile {
    db: RwLock<Option<Database>>,
    seal: Arc<Seal>,
    /// Who waits for events, and how many are kept.
    events: Arc<event::EventFeed>,
    /// Which file it is, once it is open; nothing where it is no file.
    identity: OnceLock<Identity>,
    /// Whether it was last closed since the disk was full.
    no_room: AtomicBool,
    /// With several nodes: whether the log has perhaps more than it, which is read by nobody then.
    behind: AtomicBool,
    syncs: Syncs,
    open: Box<dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync>,
}

impl OpenFile {
    /// Does this with the database, unless it is being opened again.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // Nothing is left half done by a panic: what is behind the lock is replaced as a whole.
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| self.why_closed())?;
        damage::guarded(|| work(db))?
    }

    /// What whoever needs the database is told while it is being opened again.
    fn why_closed(&self) -> StoreError {
        if self.no_room.load(Ordering::Relaxed) { StoreError::NoRoom } else { StoreError::Failed }
    }

    fn is_open(&self) -> bool {
        self.db.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set(&self, db: Option<Database>) {
        let mut place = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, db);
        drop(place);
        // Closing it may take a moment, for which nobody need wait. What is damaged may not even close.
        if damage::guarded(|| drop(old)).is_err() {
            tracing::error!("the damaged database was given up rather than closed");
        }
    }

    /// Closes the database after a failure, which was for want of room or not.
    fn close_failed(&self, no_room: bool) {
        self.no_room.store(no_room, Ordering::Relaxed);
        self.close();
    }

    /// Closes the database. It is closed in truth when the last reader has gone.
    fn close(&self) {
        self.set(None);
    }

    /// Opens it again; it may be open still.
    fn reopen(&self) -> Result<(), StoreError> {
        self.close();
        self.open()
    }

    /// Whether the file is where it was opened.
    fn stands(&self) -> bool {
        self.identity.get().is_none_or(Identity::stands)
    }

    /// How long the file's syncs have taken together.
    fn sync_time(&self) -> Duration {
        self.syncs.total()
    }

    /// Opens it again.
    fn open(&self) -> Result<(), StoreError> {
        if !self.stands() {
            return Err(StoreError::Gone);
        }
        if self.is_open() {
            return Ok(()); // it was not closed when its file went, and now that is back
        }
        let db = damage::guarded(|| (self.open)())?
            .map_err(|error| StoreError::Database(Arc::new(error.into())))?;
        self.set(Some(db));
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes a data folder where there is none.
pub(crate) fn make_folder(folder: &Path) -> Result<(), OpenError> {
    private::make_folder(folder).map_err(|error| OpenError::Folder(folder.into(), error))
}

/// Drops all passwords of devices from a folder that no server uses, whatever key they were sealed with, and takes this
/// one. Gives the ids of the panels that had one.
pub fn forget_passwords(folder: &Path, seal: Seal) -> Result<Forgotten, OpenError> {
    let unreadable = |error| OpenError::Store(folder.into(), error);
    let db = open_as_it_is(folder)?;
    if damage::guarded(|| follower::log_of(&db)).and_then(|log| log).map_err(unreadable)?.is_some() {
        return Err(OpenError::OfSeveral(folder.into()));
    }
    let forgotten = damage::guarded(|| migrate::forget_passwords(&db)).and_then(|forgotten| forgotten);
    let forgotten = forgotten.map_err(unreadable)?;
    drop(db);
    Store::open_with(folder, seal, &Metrics::default())?.close();
    Ok(forgotten)
}

/// Whether anything in a folder, whose server does not run, is sealed, and with this key.
pub fn is_sealed_with(folder: &Path, seal: &Seal) -> Result<bool, OpenError> {
    let db = open_as_it_is(folder)?;
    let sealed = damage::guarded(|| migrate::is_sealed_with(&db, seal)).and_then(|sealed| sealed);
    sealed.map_err(|error| OpenError::Store(folder.into(), error))
}

fn open_as_it_is(folder: &Path) -> Result<Database, OpenError> {
    let opened = damage::guarded(|| Database::open(folder.join(FILE_NAME)));
    let opened = opened.map_err(|error| OpenError::Store(folder.into(), error))?;
    opened.map_err(|error| not_opened(folder, error))
}

fn not_opened(folder: &Path, error: redb::DatabaseError) -> OpenError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(folder.into()),
        error => OpenError::Database(folder.into(), Box::new(error.into())),
    }
}

impl Store {
    /// Opens the folder's database, makes it where there is none, brings its format up to date and starts the
    /// writer.
    ///
    /// What is secret is sealed with the key in the folder, which is made with it.
    pub fn open(folder: &Path, metrics: &Metrics) -> Result<Self, OpenError> {
        make_folder(folder)?;
        let seal = Seal::from_file_or_new(&folder.join(seal::KEY_FILE))?;
        Self::open_with(folder, seal, metrics)
    }

    /// [`Store::open`] with a key from somewhere else.
    pub fn open_with(
        folder: &Path,
        seal: impl Into<Arc<Seal>>,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        Self::open_file(folder, seal, metrics, Shipping::Alone)
    }

    /// [`Store::open_with`], for a node that does not lead, or a look at what it has: nothing may be changed.
    pub fn open_of_node(
        folder: &Path,
        seal: impl Into<Arc<Seal>>,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        Self::open_file(folder, seal, metrics, Shipping::Node)
    }

    /// [`Store::open_with`], with a log to which each commit goes before it counts, and from which it takes first what is
    /// not applied here.
    pub fn open_leading(
        folder: &Path,
        seal: Arc<Seal>,
        metrics: &Metrics,
        ledger: Box<dyn Ledger>,
    ) -> Result<Self, OpenError> {
        Self::open_file(folder, seal, metrics, Shipping::Leading(ledger))
    }

    fn open_file(
        folder: &Path,
        seal: impl Into<Arc<Seal>>,
        metrics: &Metrics,
        shipping: Shipping,
    ) -> Result<Self, OpenError> {
        make_folder(folder)?;
        let file = folder.join(FILE_NAME);
        let private = private::close_folder(folder).and_then(|()| private::file(&file));
        private.map_err(|error| OpenError::Folder(folder.into(), error))?;
        let path = file.clone();
        let opened_before = AtomicBool::new(false);
        // A file that is missing later is not made anew: that would be another fleet.
        let open =
            move |syncs: &Syncs| disk::open_file(&path, !opened_before.swap(true, Ordering::Relaxed), syncs);
        let store = Self::shipping(folder, seal, metrics, open, shipping)?;
        let _ = store.handle.file.identity.set(Identity::of(&file)); // set here only
        Ok(store)
    }

    /// [`Store::open`] on whatever `open` opens, which is asked again when the database has failed. It is given where
    /// the time of syncs is counted ([`disk::Synced`]). The folder is for messages.
    pub fn on(
        folder: &Path,
        seal: Seal,
        metrics: &Metrics,
        open: impl Fn(&Syncs) -> Result<Database, redb::DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        Self::shipping(folder, seal, metrics, open, Shipping::Alone)
    }

    /// [`Store::on`], with several nodes perhaps.
    pub fn shipping(
        folder: &Path,
        seal: impl Into<Arc<Seal>>,
        metrics: &Metrics,
        open: impl Fn(&Syncs) -> Result<Database, redb::DatabaseError> + Send + Sync + 'static,
        shipping: Shipping,
    ) -> Result<Self, OpenError> {
        let syncs = Syncs::default();
        let counted = syncs.clone();
        let open = Box::new(move || open(&counted));
        let (db, identity) = (RwLock::default(), OnceLock::new());
        let (no_room, behind) = (AtomicBool::new(false), AtomicBool::new(false));
        let (seal, events) = (seal.into(), Arc::default());
        let file = OpenFile { db, seal, events, identity, no_room, behind, syncs, open };
        let unreadable = |error| OpenError::Store(folder.into(), error);
        let opened = damage::guarded(|| (file.open)()).map_err(unreadable)?;
        let db = opened.map_err(|error| not_opened(folder, error))?;
        file.set(Some(db));
        if matches!(shipping, Shipping::Alone) && file.with(follower::log_of).map_err(unreadable)?.is_some() {
            return Err(OpenError::OfSeveral(folder.into()));
        }
        let ledger = match shipping {
            Shipping::Leading(ledger) => Some(ledger),
            Shipping::Alone | Shipping::Node => None,
        };
        match file.with(|db| migrate::run(db, &file.seal)).map_err(unreadable)? {
            Migrated::Current => {}
            Migrated::Newer(found) => {
                return Err(OpenError::Newer { path: folder.into(), found, known: migrate::FORMAT });
            }
            Migrated::WrongKey => return Err(OpenError::WrongKey(folder.into())),
        }
        let handle = StoreHandle { file: Arc::new(file), queue: Arc::new(Queue::default()) };
        let (metrics, of_writer) = (metrics.store.clone(), handle.clone());
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _part = parts::begin("the store's writer", {
                    let queue = Arc::clone(&of_writer.queue);
                    move || queue.is_closed()
                });
                writer::run(&of_writer.file, &of_writer.queue, &metrics, ledger);
            })
            .map_err(|error| OpenError::Folder(folder.into(), error))?;
        Ok(Self { handle, writer: Some(writer) })
    }

    /// A handle for the rooms above.
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Commits what is queued, refuses what comes later, and waits a bounded time for the other handles to go,
    /// so that the file is closed when this returns.
    pub fn close(mut self) {
        self.stop();
        let until = Instant::now() + HANDLES_GO;
        while Arc::strong_count(&self.handle.file) > 1 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.handle.file.close();
    }

    fn stop(&mut self) {
        self.handle.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer thread ended by a panic");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

impl StoreHandle {
    /// A consistent view of all that is committed now.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        if self.file.behind.load(Ordering::Acquire) {
            return Err(self.file.why_closed());
        }
        self.file.with(|db| Snapshot::new(db, &self.file.seal))
    }

    /// After a commit has failed, the writer takes no work until this is called: whoever sends work in order can
    /// first gather what failed, and then send it again in that order ([`writer::Telling::Recovered`]).
    pub fn resume(&self) {
        self.queue.resume();
    }

    /// Queues work on one panel's rows, or tells it at once that it is not taken ([`StoreError::Busy`],
    /// [`StoreError::Closed`]). Work on the same panel is committed in the order of the calls.
    pub fn submit(&self, work: Box<dyn PanelWork>) {
        self.queue.push_or_tell(Job::Panel(work), true);
    }

    /// [`StoreHandle::submit`] for work that was accepted already and whose number its sender bounds: it is
    /// never refused as [`StoreError::Busy`].
    pub fn submit_accepted(&self, work: Box<dyn PanelWork>) {
        self.queue.push_or_tell(Job::Panel(work), false);
    }

    /// Queues a change whose result is told to `done`: on the writer's thread, after the commit, or at once
    /// where it is not taken. Changes are committed, and told, in the order of the calls.
    ///
    /// The change must return an error only when the database failed, since that undoes the whole
    /// transaction; a refusal is part of `T`, decided before anything is written. It is perhaps made more than once, and
    /// what counts is the last time.
    pub fn submit_change<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
        done: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) {
        self.queue.push_or_tell(Job::Change(Box::new(writer::Change::new(change, done))), true);
    }

    /// [`StoreHandle::submit_change`] for what follows from work that was accepted already: it is never refused
    /// as [`StoreError::Busy`].
    pub fn submit_accepted_change<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
        done: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) {
        self.queue.push_or_tell(Job::Change(Box::new(writer::Change::new(change, done))), false);
    }

    /// [`StoreHandle::submit_change`], awaited.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the change back.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, committed) = tokio::sync::oneshot::channel();
        self.submit_change(change, move |result| {
            let _ = done.send(result); // whoever asked may have left
        });
        committed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// [`StoreHandle::change`] of many rows that goes with the next commit, whatever that is for, and is no reason to keep
    /// commits small: for what comes in quantity beside the work of people.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the change back.
    pub async fn change_along<T: Send + 'static>(
        &self,
        items: usize,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, committed) = tokio::sync::oneshot::channel();
        let change = writer::Change::new(change, move |result| {
            let _ = done.send(result); // whoever asked may have left
        });
        self.queue.push_or_tell(Job::Along(items, Box::new(change)), true);
        committed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The events of doors: how many are kept, and the number of the last one.
    pub fn events(&self) -> &event::EventFeed {
        &self.file.events
    }

    /// Whether work is taken: not while a failed database is opened again, nor once the store is shut.
    pub fn takes_work(&self) -> bool {
        self.queue.takes_work()
    }

    /// From now on, lets `listener` know when the writer begins to tell what a commit came to, and when it has told
    /// all: whoever is told thousands of things at once may want to look at them together. On the writer's thread;
    /// must not block. The first listener stays.
    pub fn listen(&self, listener: impl Fn(writer::Telling) + Send + Sync + 'static) {
        self.queue.listen(Box::new(listener));
    }

    /// Resolves to true once the writer has come to this question: it lives, and its disk takes work. To false where no
    /// work is taken.
    pub async fn writer_answers(&self) -> bool {
        let (asker, answer) = tokio::sync::oneshot::channel();
        self.queue.push_or_tell(Job::Ask(asker), true);
        answer.await.is_ok()
    }

    /// How many jobs wait for the writer.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
}
