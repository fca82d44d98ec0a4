//! The one writer: a thread that drains its queue, does all that work in one transaction, commits with fsync,
//! and then tells every waiter.
//!
//! While one commit runs, work gathers for the next; nobody waits for more, unless syncs take long. Small work takes a lane of its
//! own past a flood, but never past work of the same panel. A commit costs its syncs, whatever is in it, and then
//! something for each row. A flood by itself is committed in groups as large as can be written in a few
//! milliseconds, or in the time of the syncs where the disk takes longer for those; while small work keeps coming, in
//! groups so small that it does not wait long for the one under way.
//!
//! **When a commit fails** for what one piece of work found in the database, the group is halved until that piece stands
//! alone: it is told so, and the others are committed. When the disk fails, all that waits is told so: it comes after
//! what has failed, and must not be done before it. The database is opened again, and [`Telling::Recovered`] says so to
//! whoever sends work in order; it gathers what came back, lets work in again, and sends it anew. The same holds while
//! the database's file is not where it was: nothing is acknowledged until it is back.
//!
//! **Two syncs a commit.** Every commit writes down which pages are free, so that the file opens at once after a crash;
//! redb then syncs what was written before it syncs the header that names it. With one sync for both, the model of a
//! disk that loses any part of what was not synced (`tests/model`) left files that redb 4.6 does not open again, one in
//! some four hundred schedules; with two it left none in thousands.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use redb::Database;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::memory::Memory;
use super::rows::PanelRows;
use super::tables::Tables;
use super::{OpenFile, PanelNo, StoreError};
use crate::telemetry::StoreMetrics;

/// Items in one commit at most, unless a single piece of work has more.
const MAX_ITEMS: usize = 262_144;

/// Items of a flood's first commit, and at least as many as any may have.
const MIN_ITEMS: usize = 1024;

/// How long writing the rows of a flood's commit should take, on top of its syncs: what comes first after its begin
/// waits so long.
const COMMIT_TIME: Duration = Duration::from_millis(6);

/// How long after small work the next is expected.
const SHARED_FOR: Duration = Duration::from_millis(100);

/// How long a database that has failed and was opened again is only read: at first hardly at all, and longer each
/// time that nothing was committed in between.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// With nothing to do, the file is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Syncs that take so long are slow.
const SLOW_SYNCS: Duration = Duration::from_millis(4);

/// Fewer jobs than this are little for a commit on a disk with slow syncs.
const FEW_JOBS: usize = 64;

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

    /// Does the work, perhaps again: what a transaction that is then given up has made of it counts for nothing. An
    /// error undoes the whole transaction, so it is for a failing database only.
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
    make: F,
    value: Option<T>,
    done: D,
}

impl<T, F, D> Change<T, F, D> {
    pub(super) fn new(change: F, done: D) -> Self {
        Self { make: change, value: None, done }
    }
}

impl<T, F, D> ChangeWork for Change<T, F, D>
where
    T: Send,
    F: FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send,
    D: FnOnce(Result<T, StoreError>) + Send,
{
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        self.value = Some((self.make)(tables)?);
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
    /// Somebody wants to know whether work is done.
    Ask(oneshot::Sender<()>),
}

impl Job {
    fn items(&self) -> usize {
        match self {
            Self::Panel(work) => work.items(),
            Self::Change(_) | Self::Ask(_) => 1,
        }
    }

    fn committed(self, result: Result<(), StoreError>) {
        match self {
            Self::Panel(work) => work.committed(result),
            Self::Change(work) => work.committed(result),
            Self::Ask(asker) => {
                if result.is_ok() {
                    let _ = asker.send(()); // whoever asked may have left
                }
            }
        }
    }
}

/// What a commit costs: something for its syncs, whatever is in it, and something for each item.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The syncs of the last commit.
    syncs: Duration,
    /// Of an item, on average over the last commits of many.
    item: Duration,
    /// Items of the last commit.
    last: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { syncs: Duration::ZERO, item: Duration::from_micros(5), last: 0 }
    }
}

impl Pace {
    /// A commit of so many items took so long, its syncs included.
    fn took(&mut self, items: usize, time: Duration, syncs: Duration) {
        self.last = items;
        self.syncs = syncs;
        if items >= MIN_ITEMS / 4 {
            let item = time.saturating_sub(syncs) / u32::try_from(items).unwrap_or(u32::MAX);
            self.item = (self.item + item) / 2;
        }
    }

    /// How many items the next commit of a flood may have. One that has just begun gets small groups, so that its
    /// first panels do not wait for a large one; each may be four times the one before.
    fn of_flood(&self) -> usize {
        let most = self.within(COMMIT_TIME.max(self.syncs * 3 / 2));
        most.min((4 * self.last).max(self.shared())).clamp(MIN_ITEMS, MAX_ITEMS)
    }

    /// The same while small work keeps coming, which waits for the commit under way and then for its own syncs.
    fn shared(&self) -> usize {
        self.within(self.syncs / 2).clamp(MIN_ITEMS, MAX_ITEMS)
    }

    /// How long a commit that would have little in it waits for more to come: hardly at all, beside syncs that take
    /// long, and not at all otherwise.
    fn linger(&self) -> Duration {
        if self.syncs < SLOW_SYNCS { Duration::ZERO } else { self.syncs / 16 }
    }

    fn within(&self, time: Duration) -> usize {
        (time.as_nanos() / self.item.as_nanos().max(1)) as usize
    }

    /// There is nothing to do: the next flood begins anew.
    fn rest(&mut self) {
        self.last = 0;
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
    pace: Pace,
    /// When small work last came while a flood was under way.
    small_at: Option<Instant>,
    closed: bool,
    /// A commit has failed, and no work is taken: what those who bring some are told.
    failed: Option<StoreError>,
    /// The writer waits for work, so it is to be woken; waking one that works is a system call for nothing.
    idle: bool,
}

/// What the writer does next.
enum Next {
    /// A commit's worth of work.
    Jobs(Vec<Job>),
    /// Nothing came for a while.
    Nothing,
    /// The queue is closed and empty.
    End,
}

impl Queue {
    /// Takes the job, or tells it why not. Only what may be refused is refused for want of room.
    pub(super) fn push_or_tell(&self, job: Job, may_be_refused: bool) {
        let mut waiting = self.lock();
        let refusal = if waiting.closed {
            Some(StoreError::Closed)
        } else if may_be_refused && waiting.lane.len() + waiting.line.len() >= MAX_QUEUED {
            Some(StoreError::Busy)
        } else {
            waiting.failed.clone()
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
            Job::Panel(_) | Job::Change(_) | Job::Ask(_) => {
                if !waiting.line.is_empty() && !matches!(job, Job::Ask(_)) {
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

    /// No work is taken from now on; whoever brings some is told this. Gives all that waited.
    fn fail(&self, why: StoreError) -> Vec<Job> {
        let mut waiting = self.lock();
        waiting.failed = Some(why);
        waiting.in_line.clear();
        let Waiting { lane, line, .. } = &mut *waiting;
        lane.drain(..).chain(line.drain(..)).collect()
    }

    /// Work is taken again.
    pub(super) fn resume(&self) {
        self.lock().failed = None;
    }

    pub(super) fn takes_work(&self) -> bool {
        let waiting = self.lock();
        waiting.failed.is_none() && !waiting.closed
    }

    pub(super) fn is_closed(&self) -> bool {
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

    /// Waits for work, but no longer than this, and takes a commit's worth of it.
    fn take(&self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        if waiting.lane.is_empty() && waiting.line.is_empty() {
            waiting.pace.rest();
        }
        while waiting.lane.is_empty() && waiting.line.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if waiting.closed {
                return Next::End;
            }
            if left.is_zero() {
                waiting.idle = false;
                return Next::Nothing;
            }
            waiting.idle = true;
            (waiting, _) = self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.idle = false;
        let linger = waiting.pace.linger();
        if !linger.is_zero() && waiting.lane.len() + waiting.line.len() < FEW_JOBS && !waiting.closed {
            drop(waiting);
            std::thread::sleep(linger);
            waiting = self.lock();
        }
        let mut jobs = Vec::new();
        let mut items = 0;
        let shared = waiting.small_at.is_some_and(|at| at.elapsed() < SHARED_FOR);
        let most = if shared { waiting.pace.shared() } else { waiting.pace.of_flood() };
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
        Next::Jobs(jobs)
    }

    /// A commit of so many items took so long, its syncs included.
    fn took(&self, items: usize, time: Duration, syncs: Duration) {
        self.lock().pace.took(items, time, syncs);
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
    let memory = Memory::new(Arc::clone(&file.seal));
    let mut writer = Writer { file, queue, metrics, memory, pause: PAUSE };
    loop {
        match queue.take(LOOK_EVERY) {
            Next::Jobs(jobs) => writer.commit_or_tell(jobs),
            Next::Nothing if !file.stands() => writer.fail(Vec::new(), StoreError::Gone),
            Next::Nothing => {}
            Next::End => return,
        }
    }
}

struct Writer<'w> {
    file: &'w OpenFile,
    queue: &'w Queue,
    metrics: &'w StoreMetrics,
    memory: Memory,
    /// Before work is let in again after the next failure.
    pause: Duration,
}

impl Writer<'_> {
    /// Commits this work and tells everybody what came of it. What fails for a reason of its own fails alone.
    fn commit_or_tell(&mut self, jobs: Vec<Job>) {
        let mut groups = VecDeque::from([jobs]);
        let mut unreadable = 0_u64;
        while let Some(mut jobs) = groups.pop_front() {
            let error = match self.commit(&mut jobs) {
                Ok(gone) => {
                    self.tell(jobs, &Ok(()), &gone);
                    continue;
                }
                Err(error) => error,
            };
            self.metrics.failed();
            self.memory.forget_transaction();
            let of_one = error.is_of_one_place();
            if of_one && !matches!(error, StoreError::Corrupt(_)) && self.file.reopen().is_err() {
                // Not even that goes: as when the disk fails.
            } else if of_one && jobs.len() > 1 {
                let rest = jobs.split_off(jobs.len() / 2);
                groups.push_front(rest);
                groups.push_front(jobs);
                continue;
            } else if of_one {
                unreadable += 1;
                if unreadable == 1 {
                    tracing::error!(%error, "a piece of work met something in the database that cannot be read");
                }
                self.tell(jobs, &Err(error), &[]);
                continue;
            }
            // What waits comes after what has failed, and must not be done before it.
            jobs.extend(groups.drain(..).flatten());
            return self.fail(jobs, error);
        }
        if unreadable > 1 {
            tracing::error!(
                jobs = unreadable,
                "so many pieces of work of one commit met something unreadable"
            );
        }
    }

    /// Does the work in one transaction. Gives the places of those whose panel is gone.
    fn commit(&mut self, jobs: &mut [Job]) -> Result<Vec<usize>, StoreError> {
        if jobs.iter().all(|job| matches!(job, Job::Ask(_))) {
            return if self.file.stands() { Ok(Vec::new()) } else { Err(StoreError::Gone) };
        }
        let started = Instant::now();
        let syncs = self.file.sync_time();
        let items: usize = jobs.iter().map(Job::items).sum();
        let (memory, file) = (&mut self.memory, self.file);
        let gone = file.with(|db| work_through(db, memory, jobs, || file.stands()))?;
        if !file.stands() {
            return Err(StoreError::Gone); // it went at this very moment: done, in a file that perhaps comes back
        }
        self.memory.keep_transaction();
        let (took, syncs) = (started.elapsed(), self.file.sync_time().saturating_sub(syncs));
        self.queue.took(items, took, syncs);
        self.metrics.committed(items, took);
        self.pause = PAUSE;
        Ok(gone)
    }

    fn tell(&self, jobs: Vec<Job>, result: &Result<(), StoreError>, gone: &[usize]) {
        self.queue.telling(Telling::Begins);
        let mut gone = gone.iter().copied().peekable();
        for (place, job) in jobs.into_iter().enumerate() {
            let is_gone = gone.next_if_eq(&place).is_some();
            job.committed(if is_gone { Err(StoreError::NoSuchPanel) } else { result.clone() });
        }
        self.queue.telling(Telling::Ends);
    }

    /// The disk fails: nothing of this work is done, nor of all that waits.
    fn fail(&mut self, mut jobs: Vec<Job>, error: StoreError) {
        let reason = match &error {
            StoreError::Gone => StoreError::Gone,
            error if error.no_room() => StoreError::NoRoom,
            _ => StoreError::Failed,
        };
        jobs.extend(self.queue.fail(reason));
        tracing::error!(%error, jobs = jobs.len(), "a commit failed; nothing of it was acknowledged");
        if !matches!(error, StoreError::Gone) {
            self.file.close_failed(error.no_room());
        }
        self.tell(jobs, &Err(error), &[]);
        self.recover();
    }

    /// Opens the database again, however long that takes, so that it can be read; and lets work come in again after a
    /// pause, since it would fail again at once where the disk is full.
    fn recover(&mut self) {
        let mut said = false;
        while !self.queue.is_closed() {
            let opened = self.file.open();
            std::thread::sleep(self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MOST);
            match opened {
                Ok(()) => {
                    tracing::info!("the database is open again");
                    if self.queue.has_listener() {
                        self.queue.telling(Telling::Recovered);
                    } else {
                        self.queue.resume();
                    }
                    return;
                }
                Err(error) if !said => {
                    said = true;
                    tracing::error!(%error, "the database cannot be opened again yet");
                }
                Err(_) => {}
            }
        }
    }
}

fn work_through(
    db: &Database,
    memory: &mut Memory,
    jobs: &mut [Job],
    file_stands: impl Fn() -> bool,
) -> Result<Vec<usize>, StoreError> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    let mut gone = Vec::new();
    {
        let mut tables = Tables::open(&transaction, memory)?;
        for (place, job) in jobs.iter_mut().enumerate() {
            match job {
                Job::Panel(work) if tables.is_gone(work.panel())? => gone.push(place),
                Job::Panel(work) => {
                    let mut rows = tables.panel(work.panel());
                    work.run(&mut rows)?;
                    rows.finish()?;
                }
                Job::Change(work) => work.run(&mut tables)?,
                Job::Ask(_) => {}
            }
        }
        tables.finish()?;
    }
    if !file_stands() {
        transaction.abort()?; // in a file that nobody finds, nothing is to be done that was refused
        return Err(StoreError::Gone);
    }
    transaction.commit()?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_flood_grows_to_what_can_be_written_in_the_time_of_a_slow_disks_syncs() {
        // A quarter of a microsecond an item.
        let commit = |pace: &mut Pace, syncs: Duration| {
            let items = pace.of_flood();
            pace.took(items, syncs + Duration::from_nanos(250) * items as u32, syncs);
            items
        };
        let mut quick = Pace::default();
        assert_eq!(commit(&mut quick, ms(0)), MIN_ITEMS, "a flood begins small");
        let sizes: Vec<_> = (0..30).map(|_| commit(&mut quick, ms(0))).collect();
        assert!(sizes[29] > 20_000 && sizes[29] <= 24_000, "{sizes:?}");
        let mut slow = Pace::default();
        let sizes: Vec<_> = (0..30).map(|_| commit(&mut slow, ms(25))).collect();
        assert!(sizes[29] > 140_000 && sizes[29] <= 150_000, "{sizes:?}");
        assert!(slow.shared() > 40_000, "small work waits for the syncs anyway");
        assert_eq!(quick.shared(), MIN_ITEMS);
        slow.rest();
        assert_eq!(
            slow.of_flood(),
            slow.shared(),
            "the next flood begins with what hardly adds to the syncs"
        );
    }
}
