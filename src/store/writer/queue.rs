//! The queue in front of the writer: a lane for small work and a line for the rest.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::pace::Pace;
use super::{ChangeWork, PanelWork};
use crate::store::{PanelNo, StoreError};

/// How long after small work the next is expected.
const SHARED_FOR: Duration = Duration::from_millis(100);

/// While a flood is under way, changes that go along with it are gathered for so long, and committed together: each touches
/// pages all over the file, and many together touch hardly more of them than one does.
const GATHERED_FOR: Duration = Duration::from_millis(150);

/// Fewer jobs than this are little for a commit on a disk with slow syncs.
const FEW_JOBS: usize = 64;

/// Jobs waiting at most; beyond, [`StoreError::Busy`].
pub const MAX_QUEUED: usize = 65_536;

/// Work of at most so many items may take the lane past a flood.
const SMALL: usize = 1;

pub(in crate::store) enum Job {
    Panel(Box<dyn PanelWork>),
    Change(Box<dyn ChangeWork>),
    /// A change of so many items that goes along with what there is.
    Along(usize, Box<dyn ChangeWork>),
    /// Somebody wants to know whether work is done.
    Ask(oneshot::Sender<()>),
}

impl Job {
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Panel(work) => work.items(),
            Self::Along(items, _) => *items,
            Self::Change(_) | Self::Ask(_) => 1,
        }
    }

    pub(super) fn committed(self, result: Result<(), StoreError>) {
        match self {
            Self::Panel(work) => work.committed(result),
            Self::Change(work) | Self::Along(_, work) => work.committed(result),
            Self::Ask(asker) => {
                if result.is_ok() {
                    let _ = asker.send(()); // whoever asked may have left
                }
            }
        }
    }
}

/// The queue in front of the writer: a lane for small work and a line for the rest.
#[derive(Default)]
pub(in crate::store) struct Queue {
    state: Mutex<Waiting>,
    wake: Condvar,
    listener: OnceLock<Listener>,
}

/// Who wants to know when the writer begins to tell what was committed, and when it has told all.
pub(in crate::store) type Listener = Box<dyn Fn(Telling) + Send + Sync>;

/// Where the writer is in telling what a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// The first is told next.
    Begins,
    /// All were told.
    Ends,
    /// After a failed commit all work was told that it was not done, and the database is open again. No work is
    /// taken before [`crate::store::StoreHandle::resume`].
    Recovered,
}

#[derive(Default)]
struct Waiting {
    lane: VecDeque<Job>,
    line: VecDeque<Job>,
    /// Changes that go along with what there is.
    along: VecDeque<Job>,
    /// When some of these were last taken.
    along_at: Option<Instant>,
    /// When work stood in the line last.
    flood_at: Option<Instant>,
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
pub(super) enum Next {
    /// A commit's worth of work.
    Jobs(Vec<Job>),
    /// Nothing came for a while.
    Nothing,
    /// The queue is closed and empty.
    End,
}

impl Queue {
    /// Takes the job, or tells it why not. Only what may be refused is refused for want of room.
    pub(in crate::store) fn push_or_tell(&self, job: Job, may_be_refused: bool) {
        let mut waiting = self.lock();
        let refusal = if waiting.closed {
            Some(StoreError::Closed)
        } else if may_be_refused && waiting.len() >= MAX_QUEUED {
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
            Job::Along(..) => waiting.along.push_back(job),
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
    pub(super) fn fail(&self, why: StoreError) -> Vec<Job> {
        let mut waiting = self.lock();
        waiting.failed = Some(why);
        waiting.in_line.clear();
        let Waiting { lane, line, along, .. } = &mut *waiting;
        lane.drain(..).chain(line.drain(..)).chain(along.drain(..)).collect()
    }

    /// Work is taken again.
    pub(in crate::store) fn resume(&self) {
        self.lock().failed = None;
    }

    pub(in crate::store) fn takes_work(&self) -> bool {
        let waiting = self.lock();
        waiting.failed.is_none() && !waiting.closed
    }

    pub(in crate::store) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether there is somebody who will resume.
    pub(super) fn has_listener(&self) -> bool {
        self.listener.get().is_some()
    }

    /// Takes the one listener.
    pub(in crate::store) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener); // a store has one coordinator
    }

    pub(in crate::store) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(in crate::store) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Waits for work, but no longer than this, and takes a commit's worth of it.
    pub(super) fn take_work(&self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        if waiting.len() == 0 {
            waiting.pace.rest();
        }
        while !waiting.has_work() {
            let left = until.saturating_duration_since(Instant::now());
            if waiting.closed {
                return Next::End;
            }
            if left.is_zero() {
                waiting.idle = false;
                return Next::Nothing;
            }
            waiting.idle = true;
            let left = waiting.gathers_for().unwrap_or(left).min(left);
            (waiting, _) = self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.idle = false;
        let linger = waiting.pace.linger();
        if !linger.is_zero() && waiting.len() < FEW_JOBS && !waiting.closed {
            drop(waiting);
            std::thread::sleep(linger);
            waiting = self.lock();
        }
        let mut jobs = Vec::new();
        let mut items = 0;
        let shared = waiting.small_at.is_some_and(|at| at.elapsed() < SHARED_FOR);
        let most = if shared { waiting.pace.shared() } else { waiting.pace.of_flood() };
        let with_along = waiting.takes_along();
        while items < most {
            let next = waiting.lane.pop_front();
            let next = if with_along { next.or_else(|| waiting.along.pop_front()) } else { next };
            let job = match next {
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
    pub(super) fn took(&self, items: usize, time: Duration, syncs: Duration) {
        self.lock().pace.took(items, time, syncs);
    }

    /// Tells those who listen that the writer begins to tell what was committed, or has done so.
    pub(super) fn telling(&self, telling: Telling) {
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
    fn len(&self) -> usize {
        self.lane.len() + self.line.len() + self.along.len()
    }

    /// Whether there is anything to do now.
    fn has_work(&self) -> bool {
        let along = !self.along.is_empty() && self.gathers_for().is_none();
        along || !self.lane.is_empty() || !self.line.is_empty()
    }

    /// How long changes that go along with a flood are gathered yet.
    fn gathers_for(&self) -> Option<Duration> {
        let flood = self.flood_at.is_some_and(|at| at.elapsed() < SHARED_FOR);
        let left = GATHERED_FOR.checked_sub(self.along_at?.elapsed())?;
        (flood && !self.closed).then_some(left)
    }

    /// Whether changes that go along do so now.
    fn takes_along(&mut self) -> bool {
        if !self.line.is_empty() {
            self.flood_at = Some(Instant::now());
        }
        if self.along.is_empty() || self.gathers_for().is_some() {
            return false;
        }
        self.along_at = Some(Instant::now());
        true
    }

    fn left_line(&mut self, panel: PanelNo) {
        if let Some(count) = self.in_line.get_mut(&panel) {
            *count -= 1;
            if *count == 0 {
                self.in_line.remove(&panel);
            }
        }
    }
}
