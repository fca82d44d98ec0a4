//! The one writer: a thread that drains its queue, does all that work in one transaction, commits with fsync,
//! and then tells every waiter.
//!
//! There is no timed wait: while one commit runs, work gathers for the next. Small work takes a lane of its
//! own past a flood, but never past work of the same panel. A flood by itself is committed in groups as large as can be
//! written in a few milliseconds; while small work keeps coming, in groups so small that it does not wait long for the one
//! under way.
//!
//! When a commit fails, all that waits is told so: it comes after what has failed, and must not be done before it. The
//! database is opened again, and [`Telling::Recovered`] says so to whoever sends work in order; it gathers what came
//! back, lets work in again, and sends it anew.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use redb::Database;
use rustc_hash::FxHashMap;

use super::tables::{Memory, PanelRows, Tables};
use super::{OpenFile, PanelNo, StoreError};
use crate::telemetry::StoreMetrics;

/// Items in one commit at most, unless a single piece of work has more.
const MAX_ITEMS: usize = 32_768;

/// The same while small work keeps coming, and when a flood begins.
const MAX_ITEMS_SHARED: usize = 1024;

/// How long a commit of a flood should take: what comes first after its begin waits so long.
const COMMIT_TIME: Duration = Duration::from_millis(6);

/// How long after small work the next is expected.
const SHARED_FOR: Duration = Duration::from_millis(100);

/// How long a database that has failed and was opened again is only read: at first hardly at all, and longer each
/// time that nothing was committed in between.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// Jobs waiting at most; beyond, [`StoreError::Busy`].
pub const MAX_QUEUED: usize = 65_536;

/// Work of at most so many items may take the lane past a flood.
const SMALL: usize = 1;

/// Work on one panel's rows, done within the transaction that commits it.
pub trait PanelWork: Send {
    /// Which panel's rows.
    fn panel(&self) -> PanelNo;

    /// About how many rows it touches.
    fn items(&self) -> usize;

    /// Does the work. An error undoes the whole transaction, so it is for a failing database only.
    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError>;

    /// Told after the commit, on the writer's thread; must not block.
    fn committed(self: Box<Self>, result: Result<(), StoreError>);
}

/// A change beside the panels' rows.
pub(super) trait ChangeWork: Send {
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError>;
    fn committed(self: Box<Self>, result: Result<(), StoreError>);
}

/// A closure and whom to tell, as [`ChangeWork`].
pub(super) struct Change<T, F, D> {
    ask: Option<F>,
    value: Option<T>,
    done: D,
}

impl<T, F, D> Change<T, F, D> {
    pub(super) fn new(change: F, done: D) -> Self {
        Self { ask: Some(change), value: None, done }
    }
}

impl<T, F, D> ChangeWork for Change<T, F, D>
where
    T: Send,
    F: FnOnce(&mut Tables<'_>) -> Result<T, StoreError> + Send,
    D: FnOnce(Result<T, StoreError>) + Send,
{
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let change = self.ask.take().ok_or(StoreError::Closed)?;
        self.value = Some(change(tables)?);
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let value = self.value;
        (self.done)(result.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

pub(super) enum Job {
    Panel(Box<dyn PanelWork>),
    Change(Box<dyn ChangeWork>),
}

impl Job {
    fn items(&self) -> usize {
        match self {
            Self::Panel(work) => work.items(),
            Self::Change(_) => 1,
        }
    }

    fn committed(self, result: Result<(), StoreError>) {
        match self {
            Self::Panel(work) => work.committed(result),
            Self::Change(work) => work.committed(result),
        }
    }
}

/// The queue in front of the writer: a lane for small work and a line for the rest.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<Waiting>,
    wake: Condvar,
    listener: OnceLock<Listener>,
}

/// Who wants to know when the writer begins to tell what was committed, and when it has told all.
pub(super) type Listener = Box<dyn Fn(Telling) + Send + Sync>;

/// Where the writer is in telling what a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// The first is told next.
    Begins,
    /// All were told.
    Ends,
    /// After a failed commit all work was told that it was not done, and the database is open again. No work is
    /// taken before [`super::StoreHandle::resume`].
    Recovered,
}

#[derive(Default)]
struct Waiting {
    lane: VecDeque<Job>,
    line: VecDeque<Job>,
    /// How many jobs of a panel stand in the line: while there is one, the lane is closed to that panel.
    in_line: FxHashMap<PanelNo, u32>,
    /// Items in the next commit at most. A flood begins with small groups, so that its first panels do not wait
    /// for a large one; each may be four times the one before, and as large as it can be written in time.
    group: usize,
    /// When small work last came while a flood was under way.
    small_at: Option<Instant>,
    closed: bool,
    /// A commit has failed; no work is taken.
    failed: bool,
    /// The writer waits for work, so it is to be woken; waking one that works is a system call for nothing.
    idle: bool,
}

impl Queue {
    /// Takes the job, or tells it why not. Only what may be refused is refused for want of room.
    pub(super) fn push_or_tell(&self, job: Job, may_be_refused: bool) {
        let mut waiting = self.lock();
        let refusal = if waiting.closed {
            Some(StoreError::Closed)
        } else if waiting.failed {
            Some(StoreError::Failed)
        } else if may_be_refused && waiting.lane.len() + waiting.line.len() >= MAX_QUEUED {
            Some(StoreError::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            drop(waiting);
            return job.committed(Err(refusal));
        }
        match &job {
            Job::Panel(work) if work.items() > SMALL || waiting.in_line.contains_key(&work.panel()) => {
                *waiting.in_line.entry(work.panel()).or_default() += 1;
                waiting.line.push_back(job);
            }
            Job::Panel(_) | Job::Change(_) => {
                if !waiting.line.is_empty() {
                    waiting.small_at = Some(Instant::now());
                }
                waiting.lane.push_back(job);
            }
        }
        let idle = std::mem::take(&mut waiting.idle);
        drop(waiting);
        if idle {
            self.wake.notify_one();
        }
    }

    /// No work is taken from now on. Gives all that waited.
    fn fail(&self) -> Vec<Job> {
        let mut waiting = self.lock();
        waiting.failed = true;
        waiting.in_line.clear();
        let Waiting { lane, line, .. } = &mut *waiting;
        lane.drain(..).chain(line.drain(..)).collect()
    }

    /// Work is taken again.
    pub(super) fn resume(&self) {
        self.lock().failed = false;
    }

    pub(super) fn takes_work(&self) -> bool {
        let waiting = self.lock();
        !waiting.failed && !waiting.closed
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether there is somebody who will resume.
    fn has_listener(&self) -> bool {
        self.listener.get().is_some()
    }

    /// Takes the one listener.
    pub(super) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener); // a store has one coordinator
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.lane.len() + waiting.line.len()
    }

    /// Waits for work and takes a commit's worth of it; nothing once the queue is closed and empty.
    fn take(&self) -> Vec<Job> {
        let mut waiting = self.lock();
        if waiting.lane.is_empty() && waiting.line.is_empty() {
            waiting.group = 0;
        }
        while waiting.lane.is_empty() && waiting.line.is_empty() && !waiting.closed {
            waiting.idle = true;
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.idle = false;
        let mut jobs = Vec::new();
        let mut items = 0;
        let shared = waiting.small_at.is_some_and(|at| at.elapsed() < SHARED_FOR);
        let most = if shared { MAX_ITEMS_SHARED } else { waiting.group.clamp(MAX_ITEMS_SHARED, MAX_ITEMS) };
        while items < most {
            let job = match waiting.lane.pop_front() {
                Some(job) => job,
                None => match waiting.line.pop_front() {
                    Some(job) => {
                        if let Job::Panel(work) = &job {
                            waiting.left_line(work.panel());
                        }
                        job
                    }
                    None => break,
                },
            };
            items += job.items().max(1);
            jobs.push(job);
        }
        jobs
    }

    /// So many items took so long to commit: says how many the next commit may have.
    fn took(&self, items: usize, time: Duration) {
        let in_time = items as f64 * COMMIT_TIME.as_secs_f64() / time.as_secs_f64().max(1e-6);
        self.lock().group = (in_time as usize).min(4 * items);
    }

    /// Tells those who listen that the writer begins to tell what was committed, or has done so.
    fn telling(&self, telling: Telling) {
        if let Some(listener) = self.listener.get() {
            listener(telling);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock; if it did, the queue would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn left_line(&mut self, panel: PanelNo) {
        if let Some(count) = self.in_line.get_mut(&panel) {
            *count -= 1;
            if *count == 0 {
                self.in_line.remove(&panel);
            }
        }
    }
}

/// The writer's life: until the queue is closed and empty.
pub(super) fn run(file: &OpenFile, queue: &Queue, metrics: &StoreMetrics) {
    let mut memory = Memory::new(Arc::clone(&file.seal));
    let mut pause = PAUSE;
    loop {
        let mut jobs = queue.take();
        if jobs.is_empty() {
            return;
        }
        let started = Instant::now();
        let items: usize = jobs.iter().map(Job::items).sum();
        let result = file.with(|db| commit(db, &mut memory, &mut jobs));
        let took = started.elapsed();
        match &result {
            Ok(()) => {
                pause = PAUSE;
                queue.took(items, took);
                metrics.committed(items, took);
            }
            Err(error) => {
                memory.clear();
                metrics.failed();
                tracing::error!(error = %error, jobs = jobs.len(), "a commit failed; nothing of it was acknowledged");
                if lost(&result) {
                    // What waits comes after what has failed, and must not be done before it.
                    jobs.extend(queue.fail());
                    file.close();
                }
            }
        }
        queue.telling(Telling::Begins);
        for job in jobs {
            job.committed(result.clone());
        }
        queue.telling(Telling::Ends);
        if lost(&result) {
            recover(file, queue, &mut pause);
        }
    }
}

/// Whether the database must be opened again. What it holds and this program cannot read is no reason to.
fn lost(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Database(_) | StoreError::Damaged))
}

/// Opens the database again, however long that takes, so that it can be read; and lets work come in again after a
/// pause, since it would fail again at once where the disk is full.
fn recover(file: &OpenFile, queue: &Queue, pause: &mut Duration) {
    while !queue.is_closed() {
        let opened = file.open();
        std::thread::sleep(*pause);
        *pause = (*pause * 2).min(PAUSE_MOST);
        match opened {
            Ok(()) => {
                tracing::info!("the database is open again");
                if queue.has_listener() {
                    queue.telling(Telling::Recovered);
                } else {
                    queue.resume();
                }
                return;
            }
            Err(error) => tracing::error!(%error, "the database cannot be opened again yet"),
        }
    }
}

fn commit(db: &Database, memory: &mut Memory, jobs: &mut [Job]) -> Result<(), StoreError> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut tables = Tables::open(&transaction, memory)?;
        for job in jobs {
            match job {
                Job::Panel(work) => {
                    let mut rows = tables.panel(work.panel());
                    work.run(&mut rows)?;
                    rows.finish()?;
                }
                Job::Change(work) => work.run(&mut tables)?,
            }
        }
        tables.finish()?;
    }
    transaction.commit()?;
    Ok(())
}
