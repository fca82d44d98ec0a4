//! The driver for panels that are devices somewhere else.
//!
//! The store holds what the device should hold and what it has confirmed ([`crate::store::row::Reported`]); work is
//! the difference. There is one delivery path, woken without a hint by whatever changes that, by a timer, or by a
//! person. What is done when is decided by [`super::delivery`]; here its effects are carried out:
//!
//! 1. A **step** is one call to the device (`stepper`). At most one is under way per panel; how many calls are under
//!    way of all panels is up to the [`super::device::gate::Gate`].
//! 2. A **record** is what came of it ([`record`]), in one transaction; `recording` gives it to the store.
//! 3. `facts` is all that the delivery reads of the store, and [`devices`] what the panels of a thread share.
//!
//! Nothing here waits: a step is a future of its own, and its end comes back to the actor.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::{Notify, oneshot};

use super::delivery::effect::{Effect, Step, Word};
use super::delivery::facts::{Loss, Now};
use super::delivery::{Delivery, OFFLINE_AFTER};
use super::device::{Device, Habits, Trouble};
use super::settings::Settings;
use super::{Landed, Panel};
use crate::batch::Zoned;
use crate::clock;
use crate::store::tables::AuditRecord;
use crate::store::{BatchSeq, PanelNo, StoreError, StoreHandle};

pub mod devices;
mod facts;
mod known;
mod pull;
pub mod record;
mod recording;
mod stepper;

pub use super::delivery::condition::{Condition, Connection};
pub use super::device::DeviceSettings;
pub use devices::Devices;

use devices::Leaving;
use facts::PanelFacts;
use record::compared::{Findings, Repairs};
use record::started_over::StartOver;
use stepper::{Met, StepEnd, Stepper};

/// How long a device is given to end its session when the server stops.
const LOGOUT: Duration = Duration::from_secs(2);

/// Whoever waits for one device to be read, at most.
const MAX_READERS: usize = 64;

/// A batch that waits for the device.
#[derive(Clone)]
pub struct Waiting {
    /// What it asks for.
    pub zoned: Arc<Zoned>,
    /// Attempts that have failed, since and before.
    pub attempts: u16,
    /// Whom to tell.
    pub tell: Arc<dyn Fn(Landed) + Send + Sync>,
    /// Since when.
    pub sent: Instant,
    /// Of the request that asked for it, or the batch's own where a restart came between.
    pub request_id: Arc<str>,
}

/// Someone who waits for a device to be read.
type Reader = oneshot::Sender<Result<Findings, ReadError>>;

/// Why a device was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The device.
    #[error("{0}")]
    Device(Trouble),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Enough others wait for it.
    #[error("too many wait for it to be read already; ask again in a moment")]
    Crowded,
}

/// What a remote panel has beside its settings.
pub(super) struct DeviceDriver {
    devices: Rc<Devices>,
    delivery: Delivery,
    /// Absent while a step has it, and until the first one.
    session: Option<Device>,
    /// What was learnt of the device.
    habits: Habits,
    /// What was put right since it was last found to be as desired.
    repairs: Repairs,
    timer: Option<SpawnHandle>,
    waiting: BTreeMap<BatchSeq, Waiting>,
    readers: Vec<Reader>,
    closing: Option<oneshot::Sender<()>>,
    /// The panel was removed, and ends with the step under way.
    leaving: Option<Leaving>,
    /// Tells the step under way that it is the last one.
    last: Rc<Notify>,
}

impl DeviceDriver {
    /// With the batches that wait already.
    pub(super) fn new(
        devices: Rc<Devices>,
        panel: PanelNo,
        waiting: BTreeMap<BatchSeq, Waiting>,
        condition: Condition,
    ) -> Self {
        let (settings, chance) = (Rc::clone(&devices.settings), fastrand::Rng::new());
        Self {
            delivery: Delivery::new(settings, panel, condition, Instant::now(), chance),
            devices,
            session: None,
            habits: Habits::default(),
            repairs: Repairs::new(),
            timer: None,
            waiting,
            readers: Vec::new(),
            closing: None,
            leaving: None,
            last: Rc::new(Notify::new()),
        }
    }

    fn facts<'s>(&self, store: &'s StoreHandle, panel: PanelNo, settings: &Settings) -> PanelFacts<'s> {
        PanelFacts {
            store,
            panel,
            waiting: self.waiting.len(),
            readers: self.readers.len(),
            another_leaves: self.devices.another_leaves(settings),
            snapshot: OnceCell::new(),
        }
    }

    fn tell_readers(&mut self, error: &ReadError) {
        for reader in self.readers.drain(..) {
            let _ = reader.send(Err(error.clone())); // whoever asked may have left
        }
    }

    /// The oldest so many batches that wait.
    fn oldest(&self, batches: usize) -> Vec<(BatchSeq, Waiting)> {
        self.waiting.iter().take(batches).map(|(seq, batch)| (*seq, batch.clone())).collect()
    }

    /// The batches that wait, with the attempt that has just succeeded.
    fn tried(&self) -> Vec<(BatchSeq, Waiting)> {
        let waiting = self.waiting.iter();
        waiting
            .map(|(seq, batch)| {
                (*seq, Waiting { attempts: batch.attempts.saturating_add(1), ..batch.clone() })
            })
            .collect()
    }
}

fn now() -> Now {
    Now { at: Instant::now(), unix_ms: clock::now_ms() }
}

impl Panel {
    /// Does what is to be done at the device now, if there is anything.
    pub(super) fn attend_to_device(&mut self, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        driver.readers.retain(|reader| !reader.is_closed()); // whoever does not wait any more
        let facts = driver.facts(&self.store, self.number, &self.settings);
        if let Some(effect) = driver.delivery.next(Instant::now(), &facts) {
            self.carry_out(vec![effect], Met::default(), ctx);
        }
    }

    /// `met` is what the device says of itself, where a step comes before.
    fn carry_out(&mut self, effects: Vec<Effect>, met: Met, ctx: &mut Context<Self>) {
        let mut met = Some(met);
        for effect in effects {
            let Some(driver) = &mut self.driver else { return };
            match effect {
                Effect::Step(step) => self.begin_step(step, ctx),
                Effect::Record(record) => self.begin_record(record, met.take().unwrap_or_default(), ctx),
                Effect::Wait(until) => self.set_timer(until, ctx),
                Effect::LookAgain => self.attend_to_device(ctx),
                Effect::Close => self.end_session(ctx),
                Effect::HangUp => driver.session = None,
                Effect::TellCondition => {
                    driver.devices.tell_condition(self.number, driver.delivery.condition());
                }
                Effect::CountAttempt => {
                    for batch in driver.waiting.values_mut() {
                        batch.attempts = batch.attempts.saturating_add(1);
                    }
                }
                Effect::TellReaders(trouble) => driver.tell_readers(&ReadError::Device(trouble)),
                Effect::Say(word) => self.log(&word),
            }
        }
    }

    fn log(&self, word: &Word) {
        let id = &self.settings.id;
        let failures = self.driver.as_ref().map_or(0, |driver| driver.delivery.condition().failures);
        match word {
            Word::Back { failures } => {
                tracing::info!(panel.id = %id, failures, "the panel is back");
            }
            Word::NeedsPerson(trouble) => {
                tracing::warn!(panel.id = %id, error = %trouble, "the panel needs somebody's attention");
            }
            Word::Offline(trouble) => {
                tracing::warn!(panel.id = %id, failures = OFFLINE_AFTER, error = %trouble, "the panel is offline");
            }
            Word::Failed(trouble, pause) => {
                let pause_ms = pause.as_millis() as u64;
                tracing::debug!(panel.id = %id, failures, pause_ms, error = %trouble, "a call to the panel failed");
            }
            Word::StartsOver(loss) => {
                let why = match loss {
                    Loss::Emptied => "the device has lost its profiles",
                    Loss::Replaced => "another device answers",
                };
                tracing::warn!(panel.id = %id, "{why}: all that it should hold is sent again");
            }
        }
    }

    fn set_timer(&mut self, until: Instant, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        if let Some(timer) = driver.timer.take() {
            ctx.cancel_future(timer);
        }
        let pause = until.saturating_duration_since(Instant::now());
        driver.timer = Some(ctx.run_later(pause, |this, ctx| {
            if let Some(driver) = &mut this.driver {
                driver.timer = None;
            }
            this.attend_to_device(ctx);
        }));
    }

    fn begin_step(&mut self, step: Step, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        let stepper = Stepper {
            store: self.store.clone(),
            panel: self.number,
            devices: Rc::clone(&driver.devices),
            settings: Arc::clone(&self.settings),
            step,
            habits: driver.habits,
            request_id: driver.waiting.values().next_back().map(|batch| Arc::clone(&batch.request_id)),
        };
        let (session, last) = (driver.session.take(), Rc::clone(&driver.last));
        let step = async move { stepper.run(session, &last).await };
        ctx.spawn(step.into_actor(self).map(|end, this, ctx| this.end_step(end, ctx)));
    }

    fn end_step(&mut self, StepEnd { session, ended, met }: StepEnd, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        if driver.leaving.is_some() {
            return ctx.stop();
        }
        if let Some(session) = &session {
            driver.habits = session.habits();
        }
        driver.session = session;
        let facts = driver.facts(&self.store, self.number, &self.settings);
        let effects = driver.delivery.ended(ended, now(), &facts);
        self.carry_out(effects, met, ctx);
    }

    /// Someone wants everything to be sent again.
    pub(super) fn resync(
        &mut self,
        audit: AuditRecord,
        reply: oneshot::Sender<Result<(), StoreError>>,
        ctx: &mut Context<Self>,
    ) {
        let (done, committed) = oneshot::channel();
        let (panel, device, audit) = (self.number, None, Some(audit));
        self.store.submit_accepted(Box::new(StartOver { panel, device, audit, done }));
        ctx.spawn(committed.into_actor(self).map(|result, this, ctx| {
            let _ = reply.send(result.unwrap_or(Err(StoreError::Closed))); // whoever asked may have left
            this.try_now(ctx);
        }));
    }

    /// A batch waits for the device now.
    pub(super) fn add_waiting(&mut self, seq: BatchSeq, batch: Waiting, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        driver.waiting.insert(seq, batch);
        if let Some(effect) = driver.delivery.give_up_surplus(driver.waiting.len()) {
            self.carry_out(vec![effect], Met::default(), ctx);
        }
    }

    /// A batch that was sent before this moment waits no longer: it had its outcome then.
    pub(super) fn forget_waiting(&mut self, seq: BatchSeq, had: Instant) {
        if let Some(driver) = &mut self.driver
            && driver.waiting.get(&seq).is_some_and(|batch| batch.sent <= had)
        {
            driver.waiting.remove(&seq);
        }
    }

    /// Someone wants the next attempt now.
    pub(super) fn try_now(&mut self, ctx: &mut Context<Self>) {
        if let Some(driver) = &mut self.driver {
            driver.delivery.try_now();
        }
        self.attend_to_device(ctx);
    }

    /// Someone wants the device to be read now. Whoever may read only can ask for this, so many can wait for one
    /// reading, and a device that refuses is not made to refuse more often.
    pub(super) fn read_now(&mut self, reader: Reader, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else {
            let _ = reader.send(Ok(Findings::default())); // whoever asked may have left
            return;
        };
        driver.readers.retain(|reader| !reader.is_closed());
        if let Some(trouble) = driver.delivery.refuses_readers(Instant::now()) {
            let _ = reader.send(Err(ReadError::Device(trouble.clone()))); // whoever asked may have left
        } else if driver.readers.len() >= MAX_READERS {
            let _ = reader.send(Err(ReadError::Crowded)); // whoever asked may have left
        } else {
            driver.readers.push(reader);
            self.try_now(ctx);
        }
    }

    /// The settings have changed, and perhaps with them the device.
    pub(super) fn reconnect(&mut self, ctx: &mut Context<Self>) {
        if let Some(driver) = &mut self.driver {
            driver.session = None;
            driver.habits = Habits::default();
            driver.delivery.change_settings(Instant::now());
            driver.devices.tell_condition(self.number, driver.delivery.condition());
        }
        self.attend_to_device(ctx);
    }

    /// Ends the session once the step under way has ended, and then resolves `done`.
    pub(super) fn close_when_idle(&mut self, done: oneshot::Sender<()>, ctx: &mut Context<Self>) {
        match &mut self.driver {
            Some(driver) => {
                driver.closing = Some(done);
                driver.delivery.close();
                driver.last.notify_one();
                self.attend_to_device(ctx);
            }
            None => {
                let _ = done.send(()); // the server stops either way
            }
        }
    }

    fn end_session(&mut self, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        let (session, done) = (driver.session.take(), driver.closing.take());
        ctx.spawn(
            async move {
                if let Some(mut session) = session {
                    let _ = tokio::time::timeout(LOGOUT, session.log_out()).await; // the token expires anyway
                }
                if let Some(done) = done {
                    let _ = done.send(()); // the server stops either way
                }
            }
            .into_actor(self),
        );
    }

    /// The panel was removed: its actor ends, after the call that is under way has ended or taken too long. A panel that is added at the same
    /// address begins when that has ended, since the device could take the old call for the newer one.
    pub(super) fn leave(&mut self, ctx: &mut Context<Self>) {
        match &mut self.driver {
            Some(driver) if driver.delivery.is_stepping() => {
                driver.leaving = Some(driver.devices.leave(&self.settings));
            }
            _ => ctx.stop(),
        }
    }
}
