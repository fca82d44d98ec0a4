//! The coordinator: the one actor that owns what was accepted.
//!
//! 1. It keeps the fleet's [`register`] and starts and stops the panels' actors.
//! 2. It takes a batch ([`Submit`]), picks its panels, and has it made durable. Only then is it accepted:
//!    whoever sent it may go away, the batch stays.
//! 3. It sends each panel its part ([`fan_out`]), gathers the outcomes, and tells waiters and [`events`].
//! 4. At its start it takes up every batch that has panels without an outcome. When the store has failed and is there
//!    again, it sends what was on its way once more.
//!
//! **Order.** The store tells of accepted batches in the order of their commits, and a batch's parts are sent
//! in panel order, a slice at a time in turn with other batches. Before a panel is sent its part of a batch it
//! is sent its parts of all batches accepted earlier, so per panel batches apply in the order of acceptance
//! while a small batch does not wait for a large one to be sent out.
//!
//! **Bounds.** At most [`WINDOW`] parts are on their way at once; the rest waits in the batch itself, where it
//! costs four bytes a panel. Everything the writer tells comes through one channel whose length the window
//! bounds.
//!
//! Nothing here waits: handlers send and return, and the store's answers come back as [`FromStore`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::stream;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::batch::report::Report;
use crate::batch::selector::Selector;
use crate::batch::{BatchRecord, BatchState, Operations, Outcome, PanelState, Zoned};
use crate::clock;
use crate::panel::remote::{Condition, Connection, DeviceSettings, Devices, Waiting};
use crate::panel::settings::{PanelId, PanelRecord, Settings, Zone};
use crate::panel::{self, Attend, Configure, Landed, Origin, Panel};
use crate::store::tables::{ConnectionRecord, Tables};
use crate::store::{BatchSeq, PanelNo, StoreError, StoreHandle};
use crate::telemetry::BatchMetrics;

pub mod events;
pub mod fan_out;
pub mod fleet;
pub mod inbox;
pub mod register;
pub mod work;

use events::{Events, Feed, What};
use fan_out::FanOut;
use inbox::Inbox;
use register::{Entry, Register};

/// Parts of batches on their way at once. Enough to fill several commits; beyond, a fan-out only queues.
pub const WINDOW: usize = 8192;

/// A batch for at most so many panels does not wait for the window, so that it passes a large one.
const SMALL_BATCH: usize = 64;

/// Parts sent before other tasks of the thread get their turn.
const SLICE: usize = 256;

/// Parts of one batch sent before the next batch gets its turn within a slice.
const TURN: usize = 64;

/// Messages that wait at most. Senders await their answers and connections are bounded, so this is not
/// reached in order; beyond it a request is told to come back.
const MAILBOX: usize = 1024;

/// At most ten progress events a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The actor.
pub struct Coordinator {
    store: StoreHandle,
    keep_batches: u64,
    devices: Rc<Devices>,
    register: Register,
    /// Ids of panels that are being added.
    reserved: HashSet<PanelId>,
    /// Ended batches whose retry is on its way to the store.
    retrying: HashSet<BatchSeq>,
    /// In the order of acceptance.
    running: BTreeMap<u64, Running>,
    orders: FxHashMap<BatchSeq, u64>,
    next_order: u64,
    in_flight: usize,
    /// The store waits until everything that was on its way has come back.
    recovering: bool,
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

/// A batch with panels that have no outcome yet.
struct Running {
    seq: BatchSeq,
    record: BatchRecord,
    operations: Arc<Operations>,
    /// The operations by zone, made as zones come up.
    zoned: FxHashMap<String, Arc<Zoned>>,
    fan_out: FanOut,
    /// Panels that have taken their part and wait for their device.
    waiting: FxHashSet<PanelNo>,
    /// Panels whose part the store could not take; they are sent it again when it can.
    lost: Vec<PanelNo>,
    /// Outcomes decided here that the store could not take.
    unsettled: Vec<(PanelNo, Outcome)>,
    /// The store could not take the batch's end; it is given again when the store has recovered, and not before.
    end_lost: bool,
    small: bool,
    /// Tries before this one, where there were any.
    attempts: HashMap<PanelNo, u16>,
    origin: Arc<Origin>,
    started: Instant,
    last_progress: Instant,
    finishing: bool,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Running {
    /// The operations in a zone.
    fn zoned(&mut self, zone: &Zone) -> Arc<Zoned> {
        match self.zoned.get(zone.name()) {
            Some(zoned) => Arc::clone(zoned),
            None => {
                let zoned = Arc::new(Zoned::new(Arc::clone(&self.operations), zone.rules()));
                self.zoned.insert(zone.name().to_owned(), Arc::clone(&zoned));
                zoned
            }
        }
    }

    /// What a panel whose device has not confirmed its part comes to when the batch is cancelled.
    fn unconfirmed(&self, panel: PanelNo) -> (PanelNo, Outcome) {
        let why = "cancelled before its device had confirmed it; what was asked for stays desired and will be delivered: send other profiles to change that";
        (panel, Outcome::failed(why, self.attempts.get(&panel).copied().unwrap_or(0)))
    }

    /// Whether nothing is missing but what devices have to confirm.
    fn only_waits(&mut self) -> bool {
        self.fan_out.is_done() && self.record.report.panels.pending == self.waiting.len() as u64
    }
}

/// What the store tells, in the order of its commits; and what panels tell.
pub enum FromStore {
    /// A batch is durable.
    Accepted(Box<Accepted>),
    /// A panel's part is through.
    Landed(Landed),
    /// Outcomes that the coordinator itself decided on are durable, or not.
    Settled(BatchSeq, Vec<(PanelNo, Outcome)>, Result<(), StoreError>),
    /// Panels of a running batch that had an outcome are to be sent their part again.
    Again(BatchSeq, Vec<(PanelNo, Outcome)>, SubmittedReply, Result<(), StoreError>),
    /// A remote panel's condition has changed.
    Condition(PanelNo, Condition),
    /// A batch's end is durable, or not.
    Finished(BatchSeq, Result<(), StoreError>),
    /// Panels are in the register's table.
    Added(
        Vec<(PanelNo, Arc<Settings>, Condition)>,
        Vec<PanelId>,
        oneshot::Sender<Result<(), StoreError>>,
        Result<(), StoreError>,
    ),
    /// A panel's new record is there.
    Changed(PanelNo, Arc<Settings>, oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>),
    /// The database has failed and is open again; nothing is taken before [`StoreHandle::resume`].
    Recovered,
    /// A panel is gone.
    Removed(PanelNo, oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>),
}

/// Whoever waits for a batch to be accepted.
type SubmittedReply = oneshot::Sender<Result<Submitted, SubmitError>>;

/// A batch that was made durable, or was sent before under the same key.
pub struct Accepted {
    /// The batch, where it had ended before.
    retried: Option<BatchSeq>,
    result: Result<Taken, StoreError>,
    operations: Arc<Operations>,
    targets: Vec<PanelNo>,
    attempts: HashMap<PanelNo, u16>,
    origin: Arc<Origin>,
    reply: SubmittedReply,
}

/// What the transaction of an acceptance came to.
enum Taken {
    /// The batch is there and to be sent out.
    New(BatchSeq, Box<BatchRecord>),
    /// The key stands for this batch.
    Known(BatchSeq),
    /// The key stands for another body.
    OtherBody,
    /// The batch to retry was pushed out by newer ones.
    Gone,
}

/// Panels that are not started yet: their settings, and the batches that wait for their devices.
type NewPanels = BTreeMap<PanelNo, (Arc<Settings>, BTreeMap<BatchSeq, Waiting>)>;

impl Coordinator {
    /// A coordinator for what the store holds, on the thread on which it is to live; start it with
    /// [`Coordinator::start`]. `first` is the first number of this start ([`Tables::first_of_start`]).
    pub fn new(
        store: StoreHandle,
        keep_batches: u64,
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
        Self {
            store,
            keep_batches,
            devices: Rc::new(devices),
            register: Register::new(first),
            reserved: HashSet::new(),
            retrying: HashSet::new(),
            running: BTreeMap::new(),
            orders: FxHashMap::default(),
            next_order: 0,
            in_flight: 0,
            recovering: false,
            sending: false,
            now: Instant::now(),
            events: Events::new(first),
            inbox,
            tell_landed,
            draining: Vec::new(),
            metrics,
        }
    }

    /// Starts every registered panel's actor on the current thread and takes up the batches that a stop
    /// interrupted. To be called before the actor is started.
    pub fn take_up(&mut self) -> Result<(), StoreError> {
        let snapshot = self.store.read()?;
        let mut panels = NewPanels::new();
        snapshot.each_panel(|number, record| {
            let record: PanelRecord =
                serde_json::from_slice(record).map_err(|_| StoreError::Corrupt("panel record"))?;
            let settings = Settings::parse(&record).map_err(|_| StoreError::Corrupt("panel record"))?;
            panels.insert(number, (Arc::new(settings), BTreeMap::new()));
            Ok::<_, StoreError>(())
        })?;
        self.take_up_batches(&mut panels)?;
        for (number, (settings, waiting)) in panels {
            self.start_panel(number, settings, waiting, Condition::default());
        }
        Ok(())
    }

    /// Goes on with the batches that have no end in the store and are not known here. `panels` are those that are
    /// not started yet, with the batches that wait for their devices.
    fn take_up_batches(&mut self, panels: &mut NewPanels) -> Result<(), StoreError> {
        let snapshot = self.store.read()?;
        for (seq, record) in snapshot.running_batches()? {
            if self.orders.contains_key(&seq) || self.retrying.contains(&seq) {
                continue;
            }
            let work = snapshot.batch_work(seq)?.ok_or(StoreError::Corrupt("batch without work"))?;
            let operations = Arc::new(work::decode(&work)?);
            let mut waiting = snapshot.batch_targets(seq)?;
            let mut report = Report::of_pending(waiting.len(), &operations);
            let mut attempts = HashMap::new();
            let mut decided = HashSet::new();
            let mut taken = Vec::new();
            for outcome in snapshot.outcomes(seq, 0)? {
                let (panel, outcome) = outcome?;
                if outcome.state == PanelState::Pending {
                    attempts.insert(panel, outcome.attempts);
                    if outcome.taken && panels.contains_key(&panel) {
                        taken.push(panel);
                        decided.insert(panel);
                    }
                } else {
                    report.add(&outcome, operations.len());
                    decided.insert(panel);
                }
            }
            waiting.retain(|panel| !decided.contains(panel));
            tracing::info!(batch.id = %record.id, panels = waiting.len(), "taking up a batch that was interrupted");
            let origin = Arc::new(Origin {
                actor: record.created_by.clone(),
                address: String::new(),
                request_id: record.id.to_string().into(),
                span: tracing::info_span!("batch", batch.id = %record.id, resumed = true),
            });
            self.begin(seq, BatchRecord { report, ..record }, operations, waiting, attempts, origin);
            let tell = Arc::clone(&self.tell_landed);
            let Some(running) = self.running_mut(seq) else { continue };
            for panel in taken {
                running.waiting.insert(panel);
                let attempts = running.attempts.get(&panel).copied().unwrap_or(0);
                if let Some((settings, batches)) = panels.get_mut(&panel) {
                    let zoned = running.zoned(&settings.zone);
                    let (tell, sent) = (Arc::clone(&tell), Instant::now());
                    let request_id = Arc::clone(&running.origin.request_id);
                    batches.insert(seq, Waiting { zoned, attempts, tell, sent, request_id });
                }
            }
        }
        Ok(())
    }

    fn start_panel(
        &mut self,
        number: PanelNo,
        settings: Arc<Settings>,
        waiting: BTreeMap<BatchSeq, Waiting>,
        condition: Condition,
    ) {
        let (store, kept) = (self.store.clone(), condition.clone());
        let panel = Panel::new(number, Arc::clone(&settings), store, &self.devices, waiting, condition);
        self.register.set(Entry { number, settings, address: panel.start(), condition: kept, changed: 0 });
        self.metrics.panels.set(self.register.count() as i64);
    }

    fn begin(
        &mut self,
        seq: BatchSeq,
        record: BatchRecord,
        operations: Arc<Operations>,
        panels: Vec<PanelNo>,
        attempts: HashMap<PanelNo, u16>,
        origin: Arc<Origin>,
    ) {
        let order = self.next_order;
        self.next_order += 1;
        self.orders.insert(seq, order);
        let now = Instant::now();
        let running = Running {
            seq,
            record,
            operations,
            zoned: FxHashMap::default(),
            small: panels.len() <= SMALL_BATCH,
            fan_out: FanOut::new(panels),
            waiting: FxHashSet::default(),
            lost: Vec::new(),
            unsettled: Vec::new(),
            end_lost: false,
            attempts,
            origin,
            started: now,
            last_progress: now,
            finishing: false,
            waiters: Vec::new(),
        };
        self.running.insert(order, running);
        self.metrics.running.set(self.running.len() as i64);
    }

    fn running_mut(&mut self, seq: BatchSeq) -> Option<&mut Running> {
        self.running.get_mut(self.orders.get(&seq)?)
    }

    /// Sends parts until all are sent or the window is full, a slice at a time.
    fn send_parts(&mut self, ctx: &mut Context<Self>) {
        if self.sending || self.recovering {
            return; // a task that goes on is there already, or the store takes nothing
        }
        if self.send_slice() {
            self.sending = true;
            let pause = tokio::task::yield_now().into_actor(self);
            ctx.spawn(pause.map(|(), this, ctx| {
                this.sending = false;
                this.send_parts(ctx);
            }));
        }
    }

    /// Sends at most [`SLICE`] parts; says whether there is more that can be sent now.
    fn send_slice(&mut self) -> bool {
        let mut budget = SLICE;
        loop {
            let mut sent_any = false;
            let orders: Vec<_> = self.running.keys().copied().collect();
            for order in orders {
                for _ in 0..TURN {
                    if budget == 0 {
                        return true;
                    }
                    let window_full = self.in_flight >= WINDOW;
                    let Some(running) = self.running.get_mut(&order) else { break };
                    if window_full && !running.small {
                        break;
                    }
                    let Some(panel) = running.fan_out.peek() else { break };
                    if !self.send_panel(order, panel) {
                        return true; // its mailbox is full: let it have its turn
                    }
                    budget -= 1;
                    sent_any = true;
                }
                self.finish_if_complete(order);
            }
            if !sent_any {
                return false;
            }
        }
    }

    /// Sends a panel that waits for its part of this batch its parts of all batches up to it, in the order of
    /// acceptance. False when the panel's mailbox is full.
    fn send_panel(&mut self, order: u64, panel: PanelNo) -> bool {
        let earlier: Vec<_> = self
            .running
            .range(..order)
            .filter(|(_, running)| running.fan_out.waits(panel))
            .map(|(order, _)| *order)
            .collect();
        earlier.into_iter().all(|order| self.send_part(order, panel)) && self.send_part(order, panel)
    }

    /// Sends a panel its part of this batch, for which it waits. False when the panel's mailbox is full.
    fn send_part(&mut self, order: u64, panel: PanelNo) -> bool {
        let Some(running) = self.running.get_mut(&order) else { return true };
        let seq = running.seq;
        let attempt = running.attempts.get(&panel).copied().unwrap_or(0).saturating_add(1);
        let why = match self.register.by_number(panel) {
            None => "the panel was removed; add it again and send the batch anew",
            Some(entry) => {
                let part = panel::Apply {
                    work: panel::Work::Batch(seq, attempt, running.zoned(&entry.settings.zone)),
                    origin: Arc::clone(&running.origin),
                    reply: panel::Reply::Batch(Arc::clone(&self.tell_landed)),
                };
                match entry.address.try_send(part) {
                    Ok(()) => {
                        running.fan_out.sent(panel);
                        self.in_flight += 1;
                        return true;
                    }
                    Err(SendError::Full(_)) => return false,
                    Err(SendError::Closed(_)) => {
                        "the panel's actor has stopped; start the server anew and retry the batch"
                    }
                }
            }
        };
        running.fan_out.sent(panel);
        self.settle(seq, vec![(panel, Outcome::failed(why, attempt))]);
        true
    }

    /// Makes outcomes durable that no panel decides on.
    fn settle(&mut self, seq: BatchSeq, outcomes: Vec<(PanelNo, Outcome)>) {
        let inbox = self.inbox.clone();
        let kept = outcomes.clone();
        self.store.submit_accepted_change(
            move |tables| {
                for (panel, outcome) in &kept {
                    tables.set_outcome(seq, *panel, outcome)?;
                }
                Ok(())
            },
            move |result| {
                inbox.tell(FromStore::Settled(seq, outcomes, result));
            },
        );
    }

    fn landed(&mut self, seq: BatchSeq, panel: PanelNo, outcome: &Outcome) {
        let Some(order) = self.orders.get(&seq).copied() else { return };
        let Some(running) = self.running.get_mut(&order) else { return };
        running.waiting.remove(&panel);
        running.record.report.add(outcome, running.operations.len());
        let seq = Some(seq);
        let (outcome, attempts, error) = (outcome.state, outcome.attempts, outcome.error.clone());
        self.events.push(seq, What::Panel { panel, outcome, attempts, error });
        if self.now.saturating_duration_since(running.last_progress) >= PROGRESS_EVERY {
            running.last_progress = self.now;
            self.events.push(seq, What::Progress(running.record.report));
        }
        self.finish_if_complete(order);
    }

    /// Of a cancelled batch: a panel's device is not waited for any longer.
    fn wait_no_longer(&mut self, seq: BatchSeq, panel: PanelNo) {
        let Some(running) = self.running_mut(seq) else { return };
        let (panel, outcome) = running.unconfirmed(panel);
        self.attend(panel, Attend::Forget(seq));
        let inbox = self.inbox.clone();
        self.store.submit_accepted_change(
            move |tables| {
                let settled = settle_pending(tables, seq, panel, &outcome)?;
                Ok(settled.then_some((panel, outcome)))
            },
            move |result| {
                let (outcomes, result) = match result {
                    Ok(settled) => (settled.into_iter().collect(), Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                inbox.tell(FromStore::Settled(seq, outcomes, result));
            },
        );
    }

    fn finish_if_complete(&mut self, order: u64) {
        let Some(running) = self.running.get_mut(&order) else { return };
        if running.finishing || running.end_lost || !running.record.report.complete() {
            return;
        }
        running.finishing = true;
        let took = (clock::now_ms() - running.record.created_at_ms).max(0);
        running.record.state =
            if running.record.cancelled { BatchState::Cancelled } else { BatchState::Done };
        running.record.duration_ms = Some(took.unsigned_abs());
        let (seq, record) = (running.seq, running.record.clone());
        let inbox = self.inbox.clone();
        self.store.submit_accepted_change(
            move |tables| tables.set_batch(seq, &record),
            move |result| {
                inbox.tell(FromStore::Finished(seq, result));
            },
        );
    }

    fn finished(&mut self, seq: BatchSeq, result: Result<(), StoreError>) {
        if let Err(error) = result {
            // The outcomes are durable; it is ended when the store has recovered, or at the next start.
            tracing::error!(batch.number = seq, error = %error, "a batch's end could not be recorded");
            let again = self.refused_in_passing(&error);
            if let Some(running) = self.running_mut(seq) {
                running.finishing = false;
                running.end_lost = !again;
            }
            if let Some(order) = self.orders.get(&seq).copied() {
                self.finish_if_complete(order);
            }
            return;
        }
        let Some(running) = self.orders.remove(&seq).and_then(|order| self.running.remove(&order)) else {
            return;
        };
        let BatchRecord { state, report, .. } = running.record;
        self.metrics.batch_done(running.started.elapsed());
        self.metrics.running.set(self.running.len() as i64);
        self.events.push(Some(seq), What::Progress(report));
        self.events.push(Some(seq), What::Done(state, report));
        running.origin.span.in_scope(|| {
            tracing::info!(
                panels.total = report.panels.total,
                panels.applied = report.panels.applied,
                duration_ms = running.started.elapsed().as_millis() as u64,
                "every panel of the batch has an outcome"
            );
        });
        for waiter in running.waiters {
            let _ = waiter.send(()); // whoever waited may have left
        }
    }

    /// Tells those who wait for it that nothing is under way any more.
    fn tell_drained(&mut self) {
        if !self.draining.is_empty() && self.running.values_mut().all(Running::only_waits) {
            for drained in self.draining.drain(..) {
                let _ = drained.send(()); // the server is stopping either way
            }
        }
    }

    /// Whether the store refused something because it had failed, and takes work again by now: then nobody will come back
    /// to what it refused.
    fn refused_in_passing(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Failed) && self.store.takes_work()
    }

    /// Nothing is on its way and the store is there again: lets it take work, and sends again what it could not take,
    /// each panel's earlier batches first as ever.
    fn recover(&mut self) {
        self.recovering = false;
        self.store.resume();
        // A commit that was said to have failed is perhaps there all the same, and with it a batch nobody knows of.
        if let Err(error) = self.take_up_batches(&mut BTreeMap::new()) {
            tracing::error!(%error, "interrupted batches could not be taken up; the next start does");
        }
        let orders: Vec<_> = self.running.keys().copied().collect();
        for order in orders {
            let Some(running) = self.running.get_mut(&order) else { continue };
            let lost = std::mem::take(&mut running.lost);
            let unsettled = std::mem::take(&mut running.unsettled);
            running.end_lost = false;
            let seq = running.seq;
            if !lost.is_empty() {
                let mut panels = running.fan_out.take_rest();
                panels.extend(lost);
                panels.sort_unstable();
                panels.dedup();
                running.fan_out = FanOut::new(panels);
            }
            if !unsettled.is_empty() {
                self.settle(seq, unsettled);
            }
            self.finish_if_complete(order);
        }
    }

    fn condition_changed(&mut self, number: PanelNo, condition: Condition) {
        let (now, error) = (condition.connection, condition.last_error.clone());
        let before = self.register.set_condition(number, condition).map(|before| before.connection);
        if before.is_some_and(|before| before != now) && now != Connection::Unknown {
            self.keep_connection(number, now, error.clone());
        }
        if matches!(
            (before, now),
            (Some(Connection::Offline), Connection::Online)
                | (Some(Connection::Online | Connection::Unknown), Connection::Offline)
        ) {
            self.events.push(None, What::Connection { panel: number, connection: now, error });
        }
    }

    fn keep_connection(&self, panel: PanelNo, connection: Connection, error: Option<Box<str>>) {
        let connection = connection.as_str().to_owned();
        let change = ConnectionRecord { at_ms: clock::now_ms(), connection, error };
        self.store.submit_accepted_change(
            move |tables| tables.connection_changed(panel, change),
            move |result| {
                if let Err(error) = result {
                    tracing::warn!(panel.number = panel, %error, "a change of a panel's connection was not kept");
                }
            },
        );
    }

    /// Sends a panel's actor what it must not miss, waiting for room in its mailbox.
    fn attend(&self, panel: PanelNo, attend: Attend) {
        if let Some(entry) = self.register.by_number(panel) {
            let told = entry.address.send(attend);
            actix_rt::spawn(async move {
                let _ = told.await; // a panel that has stopped attends to nothing
            });
        }
    }

    fn send_again(
        &mut self,
        seq: BatchSeq,
        outcomes: &[(PanelNo, Outcome)],
        reply: SubmittedReply,
        result: Result<(), StoreError>,
    ) {
        self.retrying.remove(&seq);
        let answer = match (result, self.running_mut(seq)) {
            (Ok(()), Some(running)) => {
                let named = running.operations.len();
                for (panel, outcome) in outcomes {
                    running.record.report.take_back(outcome, named);
                    running.attempts.insert(*panel, outcome.attempts);
                }
                running.fan_out = FanOut::new(outcomes.iter().map(|(panel, _)| *panel).collect());
                let id = running.record.id;
                Ok(Submitted { seq, id, fresh: true, done: self.wait_for(seq) })
            }
            (Ok(()), None) => Err(SubmitError::WrongState("has ended in between; retry it again")),
            (Err(error), _) => Err(error.into()),
        };
        let _ = reply.send(answer); // whoever asked may have left
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Accepted { retried, result, operations, targets, attempts, origin, reply } = accepted;
        if let Some(seq) = retried {
            self.retrying.remove(&seq);
        }
        let answer = match result {
            Ok(Taken::New(seq, record)) => {
                self.metrics.accepted.inc();
                origin.span.in_scope(|| {
                    tracing::info!(panels = targets.len(), items = operations.len(), "batch accepted");
                });
                let id = record.id;
                self.begin(seq, *record, operations, targets, attempts, origin);
                Ok(Submitted { seq, id, fresh: true, done: self.wait_for(seq) })
            }
            Ok(Taken::Known(seq)) => match self.batch_id(seq) {
                Ok(id) => Ok(Submitted { seq, id, fresh: false, done: self.wait_for(seq) }),
                Err(error) => Err(error.into()),
            },
            Ok(Taken::OtherBody) => Err(SubmitError::KeyReused),
            Ok(Taken::Gone) => Err(SubmitError::NoSuchBatch),
            Err(error) => Err(error.into()),
        };
        let _ = reply.send(answer); // whoever asked may have left; the batch stays
    }

    fn batch_id(&self, seq: BatchSeq) -> Result<Uuid, StoreError> {
        let record = self.store.read()?.batch(seq)?;
        record.map(|record| record.id).ok_or(StoreError::Corrupt("idempotency key"))
    }

    /// Resolves when the batch has ended; at once when it is not running.
    fn wait_for(&mut self, seq: BatchSeq) -> oneshot::Receiver<()> {
        let (done, waiter) = oneshot::channel();
        match self.running_mut(seq) {
            Some(running) => running.waiters.push(done),
            None => {
                let _ = done.send(()); // the receiver is right here
            }
        }
        waiter
    }

    fn take(&mut self, told: FromStore) {
        match told {
            FromStore::Accepted(accepted) => self.accepted(*accepted),
            FromStore::Landed(Landed { batch, panel, outcome, result, sent, first }) => {
                if first {
                    self.in_flight = self.in_flight.saturating_sub(1);
                }
                match result {
                    Ok(()) if outcome.state == PanelState::Pending => {
                        self.register.touch(panel);
                        if let Some(running) = self.running_mut(batch) {
                            running.waiting.insert(panel);
                            if running.record.cancelled {
                                self.wait_no_longer(batch, panel); // it was under way when the batch was cancelled
                            }
                        }
                    }
                    Ok(()) => {
                        if !first {
                            self.register.touch(panel); // its device has confirmed
                        }
                        self.metrics.panel_done(outcome.state, self.now.saturating_duration_since(sent));
                        self.landed(batch, panel, &outcome);
                    }
                    // It stays pending, and is sent again when the store has recovered, or at the next start.
                    Err(error) => {
                        tracing::error!(panel.number = panel, error = %error, "a panel's part was not stored");
                        if let Some(running) = self.running_mut(batch) {
                            running.lost.push(panel);
                        }
                    }
                }
            }
            FromStore::Recovered => self.recovering = true,
            FromStore::Again(seq, outcomes, reply, result) => self.send_again(seq, &outcomes, reply, result),
            FromStore::Condition(number, condition) => self.condition_changed(number, condition),
            FromStore::Settled(seq, outcomes, Ok(())) => {
                for (panel, outcome) in outcomes {
                    self.landed(seq, panel, &outcome);
                }
            }
            FromStore::Settled(seq, outcomes, Err(error)) => {
                tracing::error!(error = %error, "outcomes could not be recorded");
                if self.refused_in_passing(&error) {
                    self.settle(seq, outcomes);
                } else if let Some(running) = self.running_mut(seq) {
                    running.unsettled.extend(outcomes);
                }
            }
            FromStore::Finished(seq, result) => self.finished(seq, result),
            FromStore::Added(panels, reserved, reply, result) => {
                for id in reserved {
                    self.reserved.remove(&id);
                }
                if result.is_ok() {
                    for (number, settings, condition) in panels {
                        self.start_panel(number, settings, BTreeMap::new(), condition);
                    }
                }
                let _ = reply.send(result); // whoever asked may have left
            }
            FromStore::Changed(number, settings, reply, result) => {
                if result.is_ok()
                    && let Some(entry) = self.register.by_number(number).cloned()
                {
                    // Behind what the panel was told before; waits where its mailbox is full just now.
                    let told = entry.address.send(Configure(Arc::clone(&settings)));
                    actix_rt::spawn(async move {
                        let _ = told.await; // a panel that has stopped needs no settings
                    });
                    self.register.set(Entry { settings, ..entry });
                }
                let _ = reply.send(result); // whoever asked may have left
            }
            FromStore::Removed(number, reply, result) => {
                match &result {
                    Ok(()) => {
                        self.register.remove(number);
                        self.no_longer_waits(number);
                    }
                    Err(_) => self.register.stay(number),
                }
                self.metrics.panels.set(self.register.count() as i64);
                let _ = reply.send(result); // whoever asked may have left
            }
        }
    }

    /// A panel is gone: batches that waited for its device wait no longer.
    fn no_longer_waits(&mut self, panel: PanelNo) {
        let waited: Vec<_> = self
            .running
            .values_mut()
            .filter(|running| running.waiting.contains(&panel))
            .map(|running| (running.seq, running.attempts.get(&panel).copied().unwrap_or(0)))
            .collect();
        for (seq, attempts) in waited {
            let why = "the panel was removed before its device had confirmed everything";
            self.settle(seq, vec![(panel, Outcome::failed(why, attempts))]);
        }
    }

    /// The numbers of the panels that the target picks, ascending.
    fn targets(&self, target: &Target) -> Result<Vec<PanelNo>, SubmitError> {
        let numbers = match target {
            Target::All => self.register.all(),
            Target::Selector(selector) => self.register.pick(selector).map(|entry| entry.number).collect(),
            Target::Panels(ids) => {
                let unknown: Vec<_> =
                    ids.iter().enumerate().filter(|(_, id)| self.register.find(id).is_none()).collect();
                if !unknown.is_empty() {
                    return Err(SubmitError::UnknownPanels(
                        unknown.iter().map(|(i, id)| (*i, (*id).clone())).collect(),
                    ));
                }
                let found = ids.iter().filter_map(|id| self.register.find(id));
                let mut numbers: Vec<_> = found.map(|entry| entry.number).collect();
                numbers.sort_unstable();
                numbers.dedup();
                numbers
            }
        };
        if numbers.is_empty() { Err(SubmitError::NoPanels(target.clone())) } else { Ok(numbers) }
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
        self.send_parts(ctx);
    }
}

impl StreamHandler<Vec<FromStore>> for Coordinator {
    fn handle(&mut self, told: Vec<FromStore>, ctx: &mut Self::Context) {
        self.now = Instant::now();
        for told in told {
            self.take(told);
        }
        if self.recovering && self.in_flight == 0 {
            self.recover();
        }
        self.events.wake();
        self.send_parts(ctx);
        self.tell_drained();
    }
}

/// Which panels a batch is for.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every panel.
    All,
    /// Those that the selector picks.
    Selector(Selector),
    /// These.
    Panels(Vec<String>),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Selector(selector) => write!(f, "{selector}"),
            Self::Panels(ids) => f.write_str(&ids.join(" ")),
        }
    }
}

/// Accept a batch. Answered when it is durable.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>")]
pub struct Submit {
    /// Its public id.
    pub id: Uuid,
    /// For which panels.
    pub target: Target,
    /// What to do on each.
    pub operations: Arc<Operations>,
    /// The user's key with the digest of the request's body.
    pub idempotency: Option<(String, [u8; 32])>,
    /// Who asked.
    pub origin: Origin,
}

/// An accepted batch.
#[derive(Debug)]
pub struct Submitted {
    /// Its number.
    pub seq: BatchSeq,
    /// Its public id.
    pub id: Uuid,
    /// False when the same key had been sent before.
    pub fresh: bool,
    /// Resolves when every panel has an outcome.
    pub done: oneshot::Receiver<()>,
}

fn no_panels(target: &Target) -> String {
    let hint = "see `panelsync panel ls`";
    match target {
        Target::All => format!("there is no panel yet; {hint}"),
        Target::Selector(selector) => format!("no panel matches \"{selector}\"; {hint}"),
        Target::Panels(_) => format!("the list names no panel; {hint}"),
    }
}

/// Why a batch was not accepted. Nothing changed anywhere.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The target picks nothing.
    #[error("{}", no_panels(.0))]
    NoPanels(Target),
    /// Ids without a panel, each with its index in the list.
    #[error("there is no such panel")]
    UnknownPanels(Vec<(usize, String)>),
    /// Upserts that some of the panels' families cannot say, by their index.
    #[error("the day type DAY is known to door controllers only, and the batch is for other panels too")]
    UnknownToFamily(Vec<usize>),
    /// The idempotency key was sent before with another body.
    #[error("this Idempotency-Key was used with another body; choose a new key")]
    KeyReused,
    /// The batch is not in a state to do that.
    #[error("the batch {0}")]
    WrongState(&'static str),
    /// There is no such batch.
    #[error("there is no such batch")]
    NoSuchBatch,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Handler<Submit> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>;

    fn handle(&mut self, submit: Submit, _: &mut Self::Context) -> Self::Result {
        let Submit { id, target, operations, idempotency, origin } = submit;
        let targets = self.targets(&target)?;
        let entries = targets.iter().filter_map(|number| self.register.by_number(*number));
        let unknown = operations.unknown_to(entries.map(|entry| entry.settings.family));
        if !unknown.is_empty() {
            return Err(SubmitError::UnknownToFamily(unknown));
        }
        let record = BatchRecord {
            id,
            created_at_ms: clock::now_ms(),
            created_by: origin.actor.clone(),
            target: target.to_string(),
            state: BatchState::Running,
            cancelled: false,
            report: Report::of_pending(targets.len(), &operations),
            duration_ms: None,
        };
        let work = work::encode(&operations);
        let audit = origin.audit("batch.submit", id);
        let (reply, answer) = oneshot::channel();
        let (inbox, keep) = (self.inbox.clone(), self.keep_batches);
        let numbers = targets.clone();
        self.store.submit_change(
            move |tables| {
                if let Some((key, digest)) = &idempotency
                    && let Some((known, seq)) = tables.idempotent(key)?
                {
                    return Ok(if known == *digest { Taken::Known(seq) } else { Taken::OtherBody });
                }
                let key = idempotency.as_ref().map(|(key, digest)| (key.as_str(), *digest));
                let seq = tables.add_batch(&record, &work, &numbers, key, keep)?;
                tables.audit(&audit)?;
                Ok(Taken::New(seq, Box::new(record)))
            },
            move |result| {
                let origin = Arc::new(origin);
                let attempts = HashMap::new();
                let accepted =
                    Accepted { retried: None, result, operations, targets, attempts, origin, reply };
                inbox.tell(FromStore::Accepted(Box::new(accepted)));
            },
        );
        Ok(answer)
    }
}

/// Sets a panel's outcome where it still waits for its device, and says whether it did.
fn settle_pending(
    tables: &mut Tables<'_>,
    seq: BatchSeq,
    panel: PanelNo,
    outcome: &Outcome,
) -> Result<bool, StoreError> {
    let pending = tables.outcome(seq, panel)?.is_some_and(|stored| stored.state == PanelState::Pending);
    if pending {
        tables.set_outcome(seq, panel, outcome)?;
    }
    Ok(pending)
}

/// Cancel a running batch: panels that were not sent their part yet are failed, and panels whose device has not
/// confirmed everything are waited for no longer. What they have taken stays desired.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<(), StoreError>>, SubmitError>")]
pub struct Cancel(pub BatchSeq, pub Origin);

impl Handler<Cancel> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<(), StoreError>>, SubmitError>;

    fn handle(&mut self, Cancel(seq, origin): Cancel, _: &mut Self::Context) -> Self::Result {
        let inbox = self.inbox.clone();
        let store = self.store.clone();
        let running = self.running_mut(seq).ok_or(SubmitError::WrongState("has ended already"))?;
        if running.finishing {
            return Err(SubmitError::WrongState("has ended already"));
        }
        running.record.cancelled = true;
        let record = running.record.clone();
        let audit = origin.audit("batch.cancel", record.id);
        let why = "cancelled before it was sent; retry the batch to send it";
        let outcomes: Vec<_> = running
            .fan_out
            .take_rest()
            .into_iter()
            .map(|panel| {
                let attempts = running.attempts.get(&panel).copied().unwrap_or(0);
                (panel, Outcome::failed(why, attempts))
            })
            .collect();
        let waiting: Vec<_> = running.waiting.iter().map(|panel| running.unconfirmed(*panel)).collect();
        for (panel, _) in &waiting {
            self.attend(*panel, Attend::Forget(seq));
        }
        let (reply, answer) = oneshot::channel();
        store.submit_accepted_change(
            move |tables| {
                tables.set_batch(seq, &record)?;
                let mut cancelled = outcomes;
                for (panel, outcome) in &cancelled {
                    tables.set_outcome(seq, *panel, outcome)?;
                }
                for (panel, outcome) in waiting {
                    if settle_pending(tables, seq, panel, &outcome)? {
                        cancelled.push((panel, outcome));
                    }
                }
                tables.audit(&audit)?;
                Ok(cancelled)
            },
            move |result| {
                let (cancelled, result) = match result {
                    Ok(cancelled) => (cancelled, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let _ = reply.send(result.clone()); // whoever asked may have left
                inbox.tell(FromStore::Settled(seq, cancelled, result));
            },
        );
        Ok(answer)
    }
}

/// Send an ended batch again to the panels where it was not applied. That is a request of now: it comes after
/// all batches accepted before it.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>")]
pub struct Retry(pub BatchSeq, pub Origin);

impl Handler<Retry> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>;

    fn handle(&mut self, Retry(seq, origin): Retry, _: &mut Self::Context) -> Self::Result {
        if self.orders.contains_key(&seq) || self.retrying.contains(&seq) {
            return self.retry_running(seq, &origin);
        }
        let snapshot = self.store.read()?;
        let work = snapshot.batch_work(seq)?.ok_or(SubmitError::NoSuchBatch)?;
        let operations = Arc::new(work::decode(&work)?);
        let mut record = snapshot.batch(seq)?.ok_or(SubmitError::NoSuchBatch)?;
        let mut attempts = HashMap::new();
        for outcome in snapshot.outcomes(seq, 0)? {
            let (panel, outcome) = outcome?;
            if outcome.state != PanelState::Applied {
                record.report.take_back(&outcome, operations.len());
                attempts.insert(panel, outcome.attempts);
            }
        }
        if attempts.is_empty() {
            return Err(SubmitError::WrongState("was applied on every panel; there is nothing to retry"));
        }
        record.state = BatchState::Running;
        record.cancelled = false;
        record.duration_ms = None;
        let mut targets: Vec<_> = attempts.keys().copied().collect();
        targets.sort_unstable();
        let origin = Arc::new(origin);
        let audit = origin.audit("batch.retry", record.id);
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        let tried = attempts.clone();
        self.retrying.insert(seq);
        self.store.submit_change(
            move |tables| {
                if tables.batch(seq)?.is_none() {
                    return Ok(Taken::Gone);
                }
                for (panel, attempts) in tried {
                    tables.set_outcome(seq, panel, &Outcome::pending(attempts))?;
                }
                tables.set_batch(seq, &record)?;
                tables.audit(&audit)?;
                Ok(Taken::New(seq, Box::new(record)))
            },
            move |result| {
                let accepted =
                    Accepted { retried: Some(seq), result, operations, targets, attempts, origin, reply };
                inbox.tell(FromStore::Accepted(Box::new(accepted)));
            },
        );
        Ok(answer)
    }
}

impl Coordinator {
    /// Of a batch that only waits for devices: has them tried now, and sends it again to the panels that have come
    /// to another outcome than applied.
    fn retry_running(
        &mut self,
        seq: BatchSeq,
        origin: &Origin,
    ) -> Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError> {
        let still = SubmitError::WrongState("is still being sent out; wait for it or cancel it");
        let retrying = self.retrying.contains(&seq);
        let Some(running) = self.running_mut(seq).filter(|_| !retrying) else { return Err(still) };
        if running.finishing || !running.only_waits() {
            return Err(still);
        }
        let id = running.record.id;
        let waiting: Vec<_> = running.waiting.iter().copied().collect();
        for panel in waiting {
            self.attend(panel, Attend::TryNow);
        }
        let mut again = Vec::new();
        for outcome in self.store.read()?.outcomes(seq, 0)? {
            let (panel, outcome) = outcome?;
            if !matches!(outcome.state, PanelState::Applied | PanelState::Pending) {
                again.push((panel, outcome));
            }
        }
        self.retrying.insert(seq);
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        let audit = origin.audit("batch.retry", id);
        let pending: Vec<_> =
            again.iter().map(|(panel, outcome)| (*panel, Outcome::pending(outcome.attempts))).collect();
        self.store.submit_change(
            move |tables| {
                for (panel, outcome) in &pending {
                    tables.set_outcome(seq, *panel, outcome)?;
                }
                tables.audit(&audit)
            },
            move |result| {
                inbox.tell(FromStore::Again(seq, again, reply, result));
            },
        );
        Ok(answer)
    }
}

/// The current record of a running batch; `None` when it is not running.
#[derive(Message)]
#[rtype(result = "Option<BatchRecord>")]
pub struct Progress(pub BatchSeq);

impl Handler<Progress> for Coordinator {
    type Result = Option<BatchRecord>;

    fn handle(&mut self, Progress(seq): Progress, _: &mut Self::Context) -> Self::Result {
        let record = self.running_mut(seq).map(|running| running.record.clone())?;
        Some(BatchRecord { state: BatchState::Running, duration_ms: None, ..record })
    }
}

/// Where events are found. Whoever has it finds all that happened before this was asked.
#[derive(Message)]
#[rtype(result = "Arc<Feed>")]
pub struct Subscribe;

impl Handler<Subscribe> for Coordinator {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, _: Subscribe, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.events.feed())
    }
}

/// How many panels there are, by connection: online, offline, unknown.
#[derive(Message)]
#[rtype(result = "[u64; 3]")]
pub struct Connections;

impl Handler<Connections> for Coordinator {
    type Result = MessageResult<Connections>;

    fn handle(&mut self, _: Connections, _: &mut Self::Context) -> Self::Result {
        let mut counts = [0; 3];
        for entry in self.register.select(None, None) {
            counts[match entry.connection() {
                Connection::Online => 0,
                Connection::Offline => 1,
                Connection::Unknown => 2,
            }] += 1;
        }
        MessageResult(counts)
    }
}

/// End the sessions on all devices. Each gives a sign when its own is ended.
#[derive(Message)]
#[rtype(result = "Vec<oneshot::Receiver<()>>")]
pub struct CloseDevices;

impl Handler<CloseDevices> for Coordinator {
    type Result = Vec<oneshot::Receiver<()>>;

    fn handle(&mut self, _: CloseDevices, _: &mut Self::Context) -> Self::Result {
        let remote: Vec<_> = self
            .register
            .select(None, None)
            .filter(|entry| entry.settings.remote.is_some())
            .map(|entry| entry.number)
            .collect();
        remote
            .into_iter()
            .map(|panel| {
                let (done, closed) = oneshot::channel();
                self.attend(panel, Attend::Close(done));
                closed
            })
            .collect()
    }
}

/// Resolves when nothing is under way but what devices have to confirm.
#[derive(Message)]
#[rtype(result = "oneshot::Receiver<()>")]
pub struct Drain;

impl Handler<Drain> for Coordinator {
    type Result = MessageResult<Drain>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let (drained, wait) = oneshot::channel();
        self.draining.push(drained);
        self.tell_drained();
        MessageResult(wait)
    }
}
