//! The coordinator: the one actor that owns what was accepted.
//!
//! 1. It keeps the fleet's [`register`] and starts and stops the panels' actors.
//! 2. It takes a batch ([`Submit`]), picks its panels, and has it made durable. Only then is it accepted:
//!    whoever sent it may go away, the batch stays.
//! 3. It sends each panel its part ([`sending`]), gathers the outcomes ([`running`]), and tells waiters and [`events`].
//! 4. At its start it takes up every batch that has panels without an outcome. When the store has failed and is there
//!    again, it looks at what that holds and goes on from there ([`recovery`]).
//!
//! **Memory follows the commit.** A command asks the store for a change, and what is kept here changes when the store
//! tells that it is committed, in the order of the commits. When the commit fails, nothing has happened. Which panels
//! owe an outcome stands in [`running`] alone.
//!
//! **Order.** The store tells of accepted batches in the order of their commits, and a batch's parts are sent
//! in panel order, a slice at a time in turn with other batches. Before a panel is sent its part of a batch it
//! is sent its parts of all batches accepted earlier, so per panel batches apply in the order of acceptance
//! while a small batch does not wait for a large one to be sent out.
//!
//! **Bounds.** At most [`sending::WINDOW`] parts are on their way at once; the rest waits in the batch itself, where it
//! costs five bytes a panel. Everything the writer tells comes through one channel whose length the window
//! bounds.
//!
//! **The end.** Who waits for a batch is told when its last outcome is durable. That it has ended follows from its
//! outcomes; the record that says so is written behind.
//!
//! Nothing here waits: handlers send and return, and the store's answers come back as [`FromStore`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::stream;
use tokio::sync::oneshot;

use crate::batch::{BatchState, Outcome, PanelState};
use crate::clock;
use crate::panel::remote::{Condition, Connection, DeviceSettings, Devices};
use crate::panel::settings::Settings;
use crate::panel::{Attend, Configure, Landed, Stop};
use crate::store::tables::{ConnectionRecord, Tables};
use crate::store::{BatchSeq, PanelNo, StoreError, StoreHandle};
use crate::telemetry::BatchMetrics;

pub mod batches;
pub mod chunks;
pub mod events;
pub mod fleet;
pub mod inbox;
pub mod questions;
pub mod recovery;
pub mod register;
pub mod running;
pub mod sending;
pub mod work;

pub use batches::{Cancel, Retry, Submit, SubmitError, Submitted, Target};
pub use questions::{CloseDevices, Drain, Progress, Subscribe};
pub use register::RegisterReader;

use batches::{Accepted, AgainReply, Cancelled, Retried};
use events::{Events, What};
use fleet::{AddError, AddReply, Change, ChangeReply};
use inbox::Inbox;
use recovery::send;
use register::{Register, Registered};
use running::{Batches, Part, Running};

/// Parts sent before other tasks of the thread get their turn.
const SLICE: usize = 256;

/// Messages that wait at most. Senders await their answers and connections are bounded, so this is not
/// reached in order; beyond it a request is told to come back.
const MAILBOX: usize = 1024;

/// At most ten progress events a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Finished batches.
    pub batches: u64,
    /// Idempotency keys, for this time.
    pub keys: Duration,
}

/// The actor.
pub struct Coordinator {
    store: StoreHandle,
    kept: Kept,
    devices: Rc<Devices>,
    register: Register,
    readers: RegisterReader,
    batches: Batches,
    /// Batches whose record is being changed by so many commands: they do not end meanwhile.
    changing: HashMap<BatchSeq, usize>,
    /// Ended batches whose retry is on its way to the store.
    retrying: HashSet<BatchSeq>,
    /// The store waits until everything that was on its way has come back.
    recovering: bool,
    /// What it holds could not be read; it is looked at again in a moment.
    looking_again: bool,
    /// That was said in the log.
    said_unreadable: bool,
    sending: bool,
    /// When what the store told last was taken: one look at the clock for all of it.
    now: Instant,
    events: Events,
    inbox: Inbox,
    /// Puts what landed into the inbox.
    tell_landed: Arc<dyn Fn(Landed) + Send + Sync>,
    draining: Vec<oneshot::Sender<()>>,
    metrics: BatchMetrics,
}

/// Whoever waits for a change.
type Reply = oneshot::Sender<Result<(), StoreError>>;

/// Panels that were added, each with its number and how its device is.
type AddedPanels = Vec<(PanelNo, Arc<Settings>, Condition)>;

/// What the store tells, in the order of its commits; and what panels tell.
pub enum FromStore {
    /// A batch is durable.
    Accepted(Box<Accepted>),
    /// A panel's part is through.
    Landed(Landed),
    /// Outcomes that were decided here are durable as they came out, or not. Someone may wait for that.
    Settled(Arc<Settling>, Option<Reply>, Result<Vec<(PanelNo, Outcome)>, StoreError>),
    /// A batch is cancelled, or not.
    Cancelled(BatchSeq, batches::CancelReply, Result<Cancelled, StoreError>),
    /// Panels of a running batch that had an outcome are to be sent their part again.
    Again(BatchSeq, AgainReply, Result<Retried, StoreError>),
    /// A remote panel's condition has changed.
    Condition(PanelNo, Condition),
    /// A batch's end is durable, or not.
    Ended(BatchSeq, Result<(), StoreError>),
    /// Panels are in the register's table, or some of their ids are taken.
    Added(AddReply, Result<Result<AddedPanels, Vec<usize>>, StoreError>),
    /// A panel's new record is there, or others came first.
    Changed(PanelNo, Arc<Settings>, ChangeReply, Result<Change, StoreError>),
    /// The database has failed and is open again; nothing is taken before [`StoreHandle::resume`].
    Recovered,
    /// A panel is gone.
    Removed(PanelNo, Reply, Result<(), StoreError>),
}

impl Coordinator {
    /// A coordinator for what the store holds, on the thread on which it is to live; start it with
    /// [`Coordinator::start`]. `first` is the first number of this start ([`Tables::first_of_start`]).
    pub fn new(
        store: StoreHandle,
        kept: Kept,
        devices: DeviceSettings,
        metrics: BatchMetrics,
        first: u64,
    ) -> Self {
        let inbox = Inbox::default();
        let telling = inbox.clone();
        store.listen(move |where_it_is| telling.writer(where_it_is));
        let landed = inbox.clone();
        let conditions = inbox.clone();
        let devices = Devices::new(devices, move |panel, condition| {
            conditions.tell(FromStore::Condition(panel, condition));
        });
        let tell_landed = Arc::new(move |part| {
            landed.tell(FromStore::Landed(part));
        });
        let register = Register::new(first);
        Self {
            store,
            kept,
            devices: Rc::new(devices),
            readers: RegisterReader::new(&register),
            register,
            batches: Batches::default(),
            changing: HashMap::new(),
            retrying: HashSet::new(),
            recovering: false,
            looking_again: false,
            said_unreadable: false,
            sending: false,
            now: Instant::now(),
            events: Events::new(first),
            inbox,
            tell_landed,
            draining: Vec::new(),
            metrics,
        }
    }

    fn take(&mut self, told: FromStore) {
        match told {
            FromStore::Accepted(accepted) => self.accepted(*accepted),
            FromStore::Landed(landed) => self.landed(landed),
            FromStore::Settled(settling, reply, result) => self.settled(&settling, reply, result),
            FromStore::Cancelled(seq, reply, result) => self.cancelled(seq, reply, result),
            FromStore::Again(seq, reply, result) => self.send_again(seq, reply, result),
            FromStore::Condition(number, condition) => self.condition_changed(number, condition),
            FromStore::Ended(seq, result) => self.end_recorded(seq, result),
            FromStore::Added(reply, result) => self.added(reply, result),
            FromStore::Changed(number, settings, reply, result) => {
                if matches!(result, Ok(Change::Done))
                    && let Some(entry) = self.register.by_number(number).cloned()
                {
                    send(&entry, Configure(Arc::clone(&settings))); // behind what the panel was told before
                    self.register.set(Registered { settings, ..(*entry).clone() });
                }
                self.publish_register();
                let _ = reply.send(result); // whoever asked may have left
            }
            FromStore::Removed(number, reply, result) => {
                if result.is_ok() {
                    self.removed(number);
                }
                self.publish_register();
                let _ = reply.send(result); // whoever asked may have left
            }
            FromStore::Recovered => self.recovering = true,
        }
    }

    /// Where others read the register.
    pub fn register(&self) -> RegisterReader {
        self.readers.clone()
    }

    /// To be called before anybody is told what follows from the register.
    fn publish_register(&self) {
        self.readers.publish(&self.register);
    }

    /// Adds an event for listeners. They find a full chunk at once, and so what it follows from.
    fn push_event(&mut self, batch: Option<BatchSeq>, what: What) {
        if self.events.push(batch, what) {
            self.publish_register();
            self.events.publish();
        }
    }

    /// Publishes what has changed, and wakes those who listen.
    fn wake_listeners(&mut self) {
        self.publish_register();
        self.events.wake();
    }

    fn begin(&mut self, running: Running) {
        self.batches.begin(running);
        self.metrics.running.set(self.batches.count() as i64);
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { batch: seq, panel, outcome, result, sent, first, noted } = landed;
        // What a device confirms is told after the panel's own answer, and may come after the batch was cancelled, or
        // sent again: then the store has been asked for the outcome that counts.
        let expected = if first { Part::Sent } else { Part::Waits };
        if self.batches.get(seq).and_then(|running| running.part(panel)) != Some(expected) {
            return;
        }
        match result {
            Ok(()) if outcome.state == PanelState::Pending => {
                self.register.touch(panel);
                let cancelled = self.batches.change(seq, |running| {
                    running.now(panel, Part::Waits);
                    running.record.cancelled
                });
                if cancelled == Some(true) {
                    self.settle_cancelled(seq, None); // it was on its way when the batch was cancelled
                }
            }
            Ok(()) => {
                if !first || noted {
                    self.register.touch(panel); // its device has confirmed, or what it refuses has changed
                }
                self.metrics.panel_done(outcome.state, self.now.saturating_duration_since(sent));
                self.count(seq, panel, &outcome);
            }
            Err(StoreError::NoSuchPanel) => {
                self.settle_failed(seq, panel, sending::WAS_REMOVED, 1);
            }
            Err(error) if error.is_of_one_place() => {
                self.settle_failed(seq, panel, error.to_string(), 1);
            }
            // It is sent again when the store has recovered, or at the next start.
            Err(_) => {
                self.batches.change(seq, |running| running.now(panel, Part::Lost));
            }
        }
    }

    /// A panel's outcome is durable: counts it, unless it was counted before.
    fn count(&mut self, seq: BatchSeq, panel: PanelNo, outcome: &Outcome) {
        let now = self.now;
        let counted = self.batches.change(seq, |running| {
            let news = running.done(panel, outcome);
            let progress = news && now.saturating_duration_since(running.last_progress) >= PROGRESS_EVERY;
            if progress {
                running.last_progress = now;
            }
            news.then_some(progress.then_some(running.record.report))
        });
        let Some(Some(progress)) = counted else { return };
        let (state, attempts, error) = (outcome.state, outcome.attempts, outcome.error.clone());
        self.push_event(Some(seq), What::Panel { panel, outcome: state, attempts, error });
        if let Some(report) = progress {
            self.push_event(Some(seq), What::Progress(report));
        }
        self.end_if_complete(seq);
    }

    /// A panel comes to a failure in this batch, after so many attempts more than before.
    fn settle_failed(&mut self, seq: BatchSeq, panel: PanelNo, why: impl Into<Box<str>>, attempts: u16) {
        let attempts = self.batches.change(seq, |running| {
            running.now(panel, Part::Settling);
            running.attempts(panel).saturating_add(attempts)
        });
        if let Some(attempts) = attempts {
            self.settle(
                Settling { seq, panels: vec![(panel, attempts)], why: Why::Failed(why.into()) },
                None,
            );
        }
    }

    /// Of a batch that is cancelled: settles what was not sent, and what waits for a device.
    fn settle_cancelled(&mut self, seq: BatchSeq, reply: Option<Reply>) {
        let panels = self.batches.change(seq, |running| {
            let panels = running.cancel();
            panels.into_iter().map(|panel| (panel, running.attempts(panel))).collect()
        });
        self.settle(Settling { seq, panels: panels.unwrap_or_default(), why: Why::Cancelled }, reply);
    }

    /// Makes outcomes durable that are decided here. Where the store has another one by then, that one counts.
    fn settle(&mut self, settling: Settling, reply: Option<Reply>) {
        if settling.panels.is_empty() {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(())); // whoever asked may have left
            }
            return;
        }
        let inbox = self.inbox.clone();
        let settling = Arc::new(settling);
        let asked = Arc::clone(&settling);
        self.store.submit_accepted_change(
            move |tables| asked.settle_in(tables),
            move |result| inbox.tell(FromStore::Settled(settling, reply, result)),
        );
    }

    fn settled(
        &mut self,
        settling: &Arc<Settling>,
        reply: Option<Reply>,
        result: Result<Vec<(PanelNo, Outcome)>, StoreError>,
    ) {
        let seq = settling.seq;
        let outcomes = match result {
            Ok(outcomes) => outcomes,
            Err(error) if self.refused_in_passing(&error) => return self.settle((**settling).clone(), reply),
            Err(error) if error.is_of_one_place() => {
                // The batch ends all the same; the next start tries to write this down again.
                tracing::error!(batch.number = seq, %error, "outcomes could not be recorded");
                let failed = settling
                    .panels
                    .iter()
                    .map(|(panel, attempts)| (*panel, Outcome::failed(error.to_string(), *attempts)));
                failed.collect()
            }
            // They are settled again when the store has recovered, or at the next start.
            Err(_) => Vec::new(),
        };
        for (panel, outcome) in &outcomes {
            self.count(seq, *panel, outcome);
            if let Some(entry) = self.register.by_number(*panel).filter(|entry| entry.settings.is_device()) {
                send(entry, Attend::Forget(seq, self.now));
            }
        }
        if let Some(reply) = reply {
            let _ = reply.send(Ok(())); // what was asked for is durable, and this follows from it
        }
    }

    /// Ends a batch whose last outcome is durable: tells everybody, and has its end recorded.
    fn end_if_complete(&mut self, seq: BatchSeq) {
        if self.changing.contains_key(&seq) {
            return;
        }
        let ended = self.batches.change(seq, |running| {
            if running.ending || !running.complete() {
                return None;
            }
            running.ending = true;
            let news = running.record.state == BatchState::Running;
            if news {
                let took = (clock::now_ms() - running.record.created_at_ms).max(0);
                running.record.state =
                    if running.record.cancelled { BatchState::Cancelled } else { BatchState::Done };
                running.record.duration_ms = Some(took.unsigned_abs());
            }
            Some((running.record.clone(), news))
        });
        let Some(Some((record, news))) = ended else { return };
        if news {
            self.tell_end(seq);
        }
        let inbox = self.inbox.clone();
        self.store.submit_accepted_change(
            move |tables| tables.set_batch(seq, &record),
            move |result| {
                inbox.tell(FromStore::Ended(seq, result));
            },
        );
    }

    fn end_recorded(&mut self, seq: BatchSeq, result: Result<(), StoreError>) {
        match result {
            Ok(()) => {}
            Err(error) if error.is_of_one_place() => {
                tracing::error!(batch.number = seq, %error, "a batch's end could not be recorded");
            }
            // The outcomes are durable; its end is recorded when the store has recovered, or at the next start.
            Err(error) => {
                let again = self.refused_in_passing(&error);
                self.batches.change(seq, |running| running.ending = !again);
                return self.end_if_complete(seq);
            }
        }
        self.batches.end(seq);
        self.metrics.running.set(self.batches.count() as i64);
    }

    /// Every panel of a batch has a durable outcome: tells everybody.
    fn tell_end(&mut self, seq: BatchSeq) {
        let ended = self.batches.change(seq, |running| {
            let record = &running.record;
            running.origin.span.in_scope(|| {
                tracing::info!(
                    panels.total = record.report.panels.total,
                    panels.applied = record.report.panels.applied,
                    duration_ms = running.started.elapsed().as_millis() as u64,
                    "every panel of the batch has an outcome"
                );
            });
            let waiters = std::mem::take(&mut running.waiters);
            (record.state, record.report, running.started.elapsed(), waiters)
        });
        let Some((state, report, took, waiters)) = ended else { return };
        self.metrics.batch_done(took);
        self.push_event(Some(seq), What::Progress(report));
        self.push_event(Some(seq), What::Done(state, report));
        self.publish_register();
        for waiter in waiters {
            let _ = waiter.send(()); // whoever waited may have left
        }
    }

    /// A command begins to change a batch's record.
    fn hold(&mut self, seq: BatchSeq) {
        *self.changing.entry(seq).or_default() += 1;
    }

    /// It is through.
    fn release(&mut self, seq: BatchSeq) {
        if let Some(count) = self.changing.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.changing.remove(&seq);
            }
        }
        self.end_if_complete(seq);
    }

    /// Tells those who wait for it that nothing is under way any more.
    fn tell_drained(&mut self) {
        if !self.draining.is_empty() && self.batches.all().all(Running::only_waits) {
            for drained in self.draining.drain(..) {
                let _ = drained.send(()); // the server is stopping either way
            }
        }
    }

    /// Whether the store refused something because it had failed, and takes work again by now: then nobody will come back
    /// to what it refused.
    fn refused_in_passing(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Failed | StoreError::NoRoom | StoreError::Gone)
            && !self.recovering
            && self.store.takes_work()
    }

    fn condition_changed(&mut self, number: PanelNo, condition: Condition) {
        let (now, error) = (condition.connection, condition.last_error.clone());
        let before = self.register.set_condition(number, condition);
        if before.is_some_and(|before| before != now) && now != Connection::Unknown {
            self.keep_connection(number, now, error.clone());
        }
        if matches!(
            (before, now),
            (Some(Connection::Offline), Connection::Online)
                | (Some(Connection::Online | Connection::Unknown), Connection::Offline)
        ) {
            self.push_event(None, What::Connection { panel: number, connection: now, error });
        }
    }

    fn keep_connection(&self, panel: PanelNo, connection: Connection, error: Option<Box<str>>) {
        let connection = connection.as_str().to_owned();
        let change = ConnectionRecord { at_ms: clock::now_ms(), connection, error };
        self.store.submit_accepted_change(
            move |tables| tables.connection_changed(panel, change.clone()),
            move |result| {
                if let Err(error) = result {
                    tracing::debug!(panel.number = panel, %error, "a change of a panel's connection was not kept");
                }
            },
        );
    }

    fn added(&mut self, reply: AddReply, result: Result<Result<AddedPanels, Vec<usize>>, StoreError>) {
        let answer = match result {
            Ok(Ok(panels)) => {
                for (number, settings, condition) in panels {
                    self.start_panel(number, settings, BTreeMap::new(), condition);
                }
                self.publish_register();
                Ok(())
            }
            Ok(Err(taken)) => Err(AddError::Taken(taken)),
            Err(error) => Err(error.into()),
        };
        let _ = reply.send(answer); // whoever asked may have left
    }

    /// A panel is gone: its actor stops, and batches that waited for its device wait no longer.
    fn removed(&mut self, panel: PanelNo) {
        if let Some(entry) = self.register.remove(panel) {
            send(&entry, Stop);
        }
        self.metrics.panels.set(self.register.count() as i64);
        for seq in self.batches.with(panel, Part::Waits) {
            let why = "the panel was removed before its device had confirmed everything";
            self.settle_failed(seq, panel, why, 0);
        }
    }

    /// Sends a panel's actor what it must not miss, waiting for room in its mailbox.
    fn attend(&self, panel: PanelNo, attend: Attend) {
        if let Some(entry) = self.register.by_number(panel) {
            send(entry, attend);
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.add_stream(stream::unfold(self.inbox.clone(), |inbox| async move {
            let told = inbox.take(SLICE).await;
            Some((told, inbox))
        }));
        self.wake_listeners(); // of batches that were complete when they were taken up
        self.send_parts(ctx);
    }
}

impl StreamHandler<Vec<FromStore>> for Coordinator {
    fn handle(&mut self, told: Vec<FromStore>, ctx: &mut Self::Context) {
        self.now = Instant::now();
        for told in told {
            self.take(told);
        }
        if self.recovering && self.batches.in_flight() == 0 && !self.looking_again {
            self.recover(ctx);
        }
        self.wake_listeners();
        self.send_parts(ctx);
        self.tell_drained();
    }
}

/// Outcomes that are decided here rather than by panels.
#[derive(Debug, Clone)]
pub struct Settling {
    seq: BatchSeq,
    /// Ascending, each with its attempts by then.
    panels: Vec<(PanelNo, u16)>,
    why: Why,
}

/// What they are.
#[derive(Debug, Clone)]
enum Why {
    /// The batch was cancelled. What a panel has taken by then, its device gets all the same.
    Cancelled,
    /// A failure, with what to do.
    Failed(Box<str>),
}

impl Settling {
    /// Sets the outcomes where the store has none yet, and gives those that it has then.
    fn settle_in(&self, tables: &mut Tables<'_>) -> Result<Vec<(PanelNo, Outcome)>, StoreError> {
        let Self { seq, panels, why } = self;
        let stored = match panels.as_slice() {
            [(panel, _)] => {
                tables.outcome(*seq, *panel)?.map(|outcome| (*panel, outcome)).into_iter().collect()
            }
            _ => tables.outcomes(*seq)?,
        };
        let mut stored = stored.into_iter().peekable();
        let mut settled = Vec::with_capacity(panels.len());
        for (panel, attempts) in panels {
            while stored.next_if(|(before, _)| before < panel).is_some() {}
            let standing = stored.next_if(|(is, _)| is == panel).map(|(_, outcome)| outcome);
            let outcome = match standing {
                Some(decided) if decided.state != PanelState::Pending => decided,
                standing => {
                    let taken = standing.is_some_and(|outcome| outcome.taken);
                    let outcome = Outcome::failed(why.words(taken), *attempts);
                    tables.set_outcome(*seq, *panel, &outcome)?;
                    outcome
                }
            };
            settled.push((*panel, outcome));
        }
        Ok(settled)
    }
}

impl Why {
    fn words(&self, taken: bool) -> &str {
        match self {
            Self::Cancelled if taken => {
                "cancelled before its device had confirmed it; what was asked for stays desired and will be delivered: send other profiles to change that"
            }
            Self::Cancelled => "cancelled before it was sent; retry the batch to send it",
            Self::Failed(why) => why,
        }
    }
}
