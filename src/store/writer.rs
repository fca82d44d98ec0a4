//! The one writer: a thread that drains its queue, does all that work in one transaction, commits with fsync,
//! and then tells every waiter.
//!
//! While one commit runs, work gathers for the next; nobody waits for more, unless syncs take long. Small work takes a lane of its
//! own past a flood, but never past work of the same panel. A commit costs its syncs, whatever is in it, and then
//! something for each row. A flood by itself is committed in groups as large as can be written in a few
//! milliseconds, or in the time of the syncs where the disk takes longer for those; while small work keeps coming, in
//! groups so small that it does not wait long for the one under way. What goes along with a flood, as events of doors do,
//! is gathered for a moment first.
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
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redb::Database;

use super::follower;
use super::kept::Noting;
use super::memory::Memory;
use super::rows::PanelRows;
use super::shipped::{Ledger, Position, Refused};
use super::tables::Tables;
use super::{OpenFile, PanelNo, StoreError};
use crate::telemetry::StoreMetrics;

mod pace;
mod queue;

use queue::Next;
pub(super) use queue::{Job, Queue};
pub use queue::{MAX_QUEUED, Telling};

/// How long a database that has failed and was opened again is only read: at first hardly at all, and longer each
/// time that nothing was committed in between.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// With nothing to do, the file is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

/// The writer's life: until the queue is closed and empty.
pub(super) fn run(file: &OpenFile, queue: &Queue, metrics: &StoreMetrics, ledger: Option<Box<dyn Ledger>>) {
    let mut memory = Memory::new(Arc::clone(&file.seal));
    memory.events = Arc::clone(&file.events);
    let mut writer = Writer { file, queue, metrics, memory, ledger, pause: PAUSE };
    if let Err(error) = writer.catch_up() {
        writer.fail(Vec::new(), error);
    }
    loop {
        match queue.take_work(LOOK_EVERY) {
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
    ledger: Option<Box<dyn Ledger>>,
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
                    self.tell_jobs(jobs, &Ok(()), &gone);
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
                self.tell_jobs(jobs, &Err(error), &[]);
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
        let (memory, file, ledger) = (&mut self.memory, self.file, &mut self.ledger);
        let worked = file.with(|db| work_through(db, memory, jobs, ledger.as_deref_mut(), || file.stands()));
        let (gone, appending) = worked?;
        if !file.stands() {
            return Err(StoreError::Gone); // it went at this very moment: done, in a file that perhaps comes back
        }
        self.memory.keep_transaction();
        self.file.events.committed(self.memory.next_event);
        // The log's answer is waited for as the disk's is, whatever is in the commit.
        let syncs = self.file.sync_time().saturating_sub(syncs) + appending;
        let took = started.elapsed();
        if !jobs.iter().any(|job| matches!(job, Job::Along(..))) {
            self.queue.took(items, took, syncs); // what goes along costs more for each item, and comes seldom
        }
        self.metrics.committed(items, took);
        self.pause = PAUSE;
        Ok(gone)
    }

    fn tell_jobs(&self, jobs: Vec<Job>, result: &Result<(), StoreError>, gone: &[usize]) {
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
        let no_room = error.no_room();
        let behind = self.ledger.is_some() && !matches!(error, StoreError::Ledger(_));
        let error = match (&self.ledger, error) {
            // The log has perhaps taken what this disk has not.
            (Some(_), error) if !matches!(error, StoreError::Ledger(_) | StoreError::Gone) => {
                StoreError::Ledger(Refused::Gone)
            }
            (_, error) => error,
        };
        if !matches!(error, StoreError::Gone) {
            self.file.behind.store(behind, Ordering::Release);
            self.file.close_failed(no_room);
        }
        self.tell_jobs(jobs, &Err(error), &[]);
        self.recover();
    }

    /// Puts what the log has and the database does not: what was appended by a node that did not live to commit it, or whose
    /// answer was lost.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let Some(ledger) = self.ledger.as_deref_mut() else { return Ok(()) };
        let mut position = self.file.with(follower::position)?;
        while let Some((changes, tag)) = ledger.entry(position)? {
            let memory = &mut self.memory;
            self.file.with(|db| follower::put(db, memory, &[(changes, tag)]))?;
            self.memory.forget_transaction();
            position = Position { number: position.number + 1, tag };
        }
        Ok(())
    }

    /// Opens the database again, however long that takes, so that it can be read; and lets work come in again after a
    /// pause, since it would fail again at once where the disk is full.
    fn recover(&mut self) {
        let mut said = false;
        while !self.queue.is_closed() {
            let opened = self.file.open().and_then(|()| self.catch_up());
            if let Err(error) = &opened
                && !matches!(error, StoreError::Gone | StoreError::Ledger(_))
            {
                self.file.close_failed(error.no_room()); // it refuses all that comes after a write that failed
            }
            std::thread::sleep(self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MOST);
            match opened {
                Ok(()) => {
                    self.file.behind.store(false, Ordering::Release);
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
    ledger: Option<&mut (dyn Ledger + 'static)>,
    file_stands: impl Fn() -> bool,
) -> Result<(Vec<usize>, Duration), StoreError> {
    let noting: Noting = ledger.as_ref().map(|_| Rc::default());
    memory.noting.clone_from(&noting);
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    let (mut gone, mut appending) = (Vec::new(), Duration::ZERO);
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
                Job::Change(work) | Job::Along(_, work) => work.run(&mut tables)?,
                Job::Ask(_) => {}
            }
        }
        tables.finish()?;
        if !file_stands() {
            drop(tables);
            transaction.abort()?; // in a file that nobody finds, nothing is to be done that was refused
            return Err(StoreError::Gone);
        }
        if let (Some(ledger), Some(noted)) = (ledger, noting) {
            let began = Instant::now();
            let tag = ledger.append(tables.position()?, &noted.borrow())?;
            appending = began.elapsed();
            tables.keep_position(tag)?;
        }
    }
    transaction.commit()?;
    Ok((gone, appending))
}
