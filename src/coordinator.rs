//! The coordinator: the one actor that owns what was accepted.
//!
//! 1. It keeps the fleet's [`register`] and starts and stops the panels' actors ([`fleet`]).
//! 2. It takes a batch ([`Submit`]), picks its panels, and has it made durable. Only then is it accepted:
//!    whoever sent it may go away, the batch stays.
//! 3. What happens to batches is told to a pure [`model`], which keeps each one ([`running`]) and says what follows;
//!    that is carried out ([`effects`]). Each panel is sent its part ([`sending`]), listeners are told ([`events`]).
//! 4. At its start it takes up every batch that has panels without an outcome. When the store has failed and is there
//!    again, it looks at what that holds and goes on from there ([`recovery`]).
//!
//! Here stand its mailbox and what is done with what comes in.
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
//! **Bounds.** At most [`model::WINDOW`] parts are on their way at once; the rest waits in the batch itself, where it
//! costs five bytes a panel. Everything the writer tells comes through one channel whose length the window
//! bounds.
//!
//! **The end.** Who waits for a batch is told when its last outcome is durable. That it has ended follows from its
//! outcomes; the record that says so is written behind.
//!
//! **Reading.** Nobody asks the actor for panels: whoever reads them has a [`RegisterReader`], in which everything
//! stands by the time anybody is told of it.
//!
//! Nothing here waits: handlers send and return, and the store's answers come back as [`inbox::FromStore`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::stream;
use tokio::sync::oneshot;

use crate::clock;
use crate::panel::Landed;
use crate::panel::remote::{DeviceSettings, Devices};
use crate::store::StoreHandle;
use crate::telemetry::BatchMetrics;

pub mod batches;
pub mod chunks;
pub mod effects;
pub mod events;
pub mod fleet;
pub mod inbox;
pub mod model;
pub mod questions;
pub mod recovery;
pub mod register;
pub mod running;
pub mod sending;
pub mod waiters;
pub mod work;

pub use batches::{Cancel, Retry, Submit, SubmitError, Submitted, Target};
pub use questions::{CloseDevices, Drain, Progress, Subscribe};
pub use register::RegisterReader;

use events::Events;
use inbox::{FromStore, Inbox};
use model::{Batches, Effect, Moment};
use register::Register;
use waiters::Waiters;

/// Parts sent, or letters read, before other tasks of the thread get their turn.
const SLICE: usize = 256;

/// Messages that wait at most. Senders await their answers and connections are bounded, so this is not
/// reached in order; beyond it a request is told to come back.
const MAILBOX: usize = 1024;

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
    /// What follows from what happened to them, and is not carried out yet.
    effects: Vec<Effect>,
    waiters: Waiters,
    /// The store waits until everything that was on its way has come back.
    recovering: bool,
    /// What it holds could not be read; it is looked at again in a moment.
    looking_again: bool,
    /// That was said in the log.
    said_unreadable: bool,
    sending: bool,
    /// When what the store told last was taken: one look at the clocks for all of it.
    now: Moment,
    events: Events,
    inbox: Inbox,
    /// Puts what landed into the inbox.
    tell_landed: Arc<dyn Fn(Landed) + Send + Sync>,
    draining: Vec<oneshot::Sender<()>>,
    metrics: BatchMetrics,
}

impl Coordinator {
    /// A coordinator for what the store holds, on the thread on which it is to live; start it with
    /// [`Coordinator::start`]. `first` is the first number of this start
    /// ([`crate::store::tables::Tables::first_of_start`]).
    pub fn new(
        store: StoreHandle,
        kept: Kept,
        devices: DeviceSettings,
        metrics: BatchMetrics,
        first: u64,
    ) -> Self {
        let inbox = Inbox::default();
        let telling = inbox.clone();
        store.listen(move |where_it_is| telling.writer_is(where_it_is));
        let landed = inbox.clone();
        let conditions = inbox.clone();
        let devices = Devices::new(devices, move |panel, condition| {
            conditions.put(FromStore::Condition(panel, condition));
        });
        let tell_landed = Arc::new(move |part| {
            landed.put(FromStore::Landed(part));
        });
        let register = Register::new(first);
        Self {
            store,
            kept,
            devices: Rc::new(devices),
            readers: RegisterReader::new(&register),
            register,
            batches: Batches::default(),
            effects: Vec::new(),
            waiters: Waiters::default(),
            recovering: false,
            looking_again: false,
            said_unreadable: false,
            sending: false,
            now: moment(),
            events: Events::new(first),
            inbox,
            tell_landed,
            draining: Vec::new(),
            metrics,
        }
    }

    /// Where others read the register.
    pub fn register(&self) -> RegisterReader {
        self.readers.clone()
    }

    fn dispatch(&mut self, told: FromStore) {
        match told {
            FromStore::Accepted(accepted) => self.accepted(*accepted),
            FromStore::Landed(landed) => self.landed(&landed),
            FromStore::Settled(settling, waiter, result) => self.settled(&settling, waiter, result),
            FromStore::Cancelled(seq, reply, result) => self.cancelled(seq, reply, result),
            FromStore::Retried(seq, reply, result) => self.retried(seq, reply, result),
            FromStore::EndRecorded(seq, result) => self.end_recorded(seq, result),
            FromStore::Condition(number, condition) => self.condition_changed(number, condition),
            FromStore::Added(reply, result) => self.added(reply, result),
            FromStore::Changed(number, settings, reply, result) => {
                self.changed(number, settings, reply, result);
            }
            FromStore::Removed(number, reply, result) => self.removed(number, reply, result),
            FromStore::Recovered => self.recovering = true,
        }
        self.carry_out_effects();
    }
}

/// This moment.
fn moment() -> Moment {
    Moment { at: Instant::now(), ms: clock::now_ms() }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.add_stream(stream::unfold(self.inbox.clone(), |inbox| async move {
            let told = inbox.take_some(SLICE).await;
            Some((told, inbox))
        }));
        self.wake_listeners(); // of batches that were complete when they were taken up
        self.send_parts(ctx);
    }
}

impl StreamHandler<Vec<FromStore>> for Coordinator {
    fn handle(&mut self, told: Vec<FromStore>, ctx: &mut Self::Context) {
        self.now = moment();
        for told in told {
            self.dispatch(told);
        }
        if self.recovering && self.batches.in_flight() == 0 && !self.looking_again {
            self.recover(ctx);
        }
        self.metrics.running.set(self.batches.count() as i64);
        self.wake_listeners();
        self.send_parts(ctx);
        self.tell_drained();
    }
}
