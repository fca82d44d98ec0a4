//! One panel: an actor that gives its work to the store in the order in which it was told.
//!
//! 1. [`Panel`] owns a panel's [`settings::Settings`] and is the only one to submit work on its rows. An
//!    answer comes after the commit that holds the rows, straight from the writer to whoever waits.
//! 2. [`decide`] is the pure part: the rows that stand and the operations give changes and results.
//! 3. [`embedded`] is the driver of panels that this server itself is: done means committed; [`by_uid`] has what is only
//!    asked of these.
//! 4. [`remote`] is the driver of panels that are devices somewhere else: what is asked for is made the desired
//!    state, and [`delivery`] says what to ask of the [`device`] next until it has confirmed that.
//! 5. [`undo`] says what an undo asks of one panel, which is another thing on each.
//!
//! The actor keeps no copy of its profiles: a point read of the store costs about a microsecond, and reads go
//! to a snapshot without passing here. Handlers never wait, so a mailbox holds only what has just arrived.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::batch::{ItemResult, Outcome, Zoned};
use crate::store::tables::AuditRecord;
use crate::store::{BatchSeq, PanelNo, StoreError, StoreHandle};

pub mod by_uid;
pub mod decide;
pub mod delivery;
pub mod device;
pub mod dialect;
pub mod embedded;
pub mod remote;
pub mod settings;
pub mod undo;

pub use by_uid::{ApplyByUid, ProfileName, UidAnswer, UidItem, UidOperation, UidRefusal};

use decide::{Decision, Limits};
use remote::record::accepted::Accept;
use remote::{Condition, DeviceDriver, Devices, Waiting};
use settings::Settings;

/// Messages that wait for one panel at most. Handlers do not wait, so more only pile up when the whole thread
/// is late; then a batch's part is sent a little later, and a caller of the panel API waits for room.
const MAILBOX: usize = 16;

/// The actor of one panel.
pub struct Panel {
    number: PanelNo,
    settings: Arc<Settings>,
    store: StoreHandle,
    /// What it has for its device; none for an embedded panel.
    driver: Option<Box<DeviceDriver>>,
}

impl Panel {
    /// A panel that is not started yet, with the batches that wait for its device already and how that was seen
    /// last.
    pub fn new(
        number: PanelNo,
        settings: Arc<Settings>,
        store: StoreHandle,
        devices: &Rc<Devices>,
        waiting: BTreeMap<BatchSeq, Waiting>,
        condition: Condition,
    ) -> Self {
        let driver = settings
            .is_device()
            .then(|| Box::new(DeviceDriver::new(Rc::clone(devices), number, waiting, condition)));
        Self { number, settings, store, driver }
    }

    fn limits(&self, for_caller: bool) -> Limits {
        Limits {
            // A batch's report does not show taken names, so only callers of the panel API pay for the search.
            look_for_names: for_caller && self.settings.dialect.tells_taken_names,
            ..self.settings.limits()
        }
    }
}

impl Actor for Panel {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.attend_to_device(ctx);
    }
}

/// Who asked, for the audit and the logs.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The user or token.
    pub actor: String,
    /// The client's address.
    pub address: String,
    /// The request's id, which goes on to the devices that are asked because of it; empty where there was no request.
    pub request_id: Arc<str>,
    /// The span that what follows belongs to; it carries the request's id.
    pub span: tracing::Span,
}

impl Origin {
    /// An audit entry of what this one does now.
    pub fn audit(&self, action: &str, target: impl Into<String>) -> AuditRecord {
        AuditRecord {
            at_ms: crate::clock::now_ms(),
            actor: self.actor.clone(),
            address: self.address.clone(),
            action: action.to_owned(),
            target: target.into(),
        }
    }
}

/// Apply operations by link_id.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Apply {
    /// What to do; for a caller's own operations the zone is that of the panel.
    pub work: Work,
    /// Who asked.
    pub origin: Arc<Origin>,
    /// Whom to tell after the commit.
    pub reply: Reply,
}

/// The operations of an [`Apply`].
pub enum Work {
    /// A batch's part for this panel, and how often it was tried, this time included.
    Batch(BatchSeq, u16, Arc<Zoned>),
    /// A call of the panel API: what is done is written to the audit under this name.
    Call(Arc<crate::batch::Operations>, &'static str),
}

/// Whom to tell after the commit.
pub enum Reply {
    /// Whoever gathers a batch's outcomes, on the writer's thread; must not block.
    Batch(Arc<dyn Fn(Landed) + Send + Sync>),
    /// Whoever waits for this one answer.
    Caller(oneshot::Sender<Result<Answer, StoreError>>),
}

/// What a caller of the panel API is told.
#[derive(Debug)]
pub struct Answer {
    /// One per item, in item order.
    pub results: Vec<ItemResult>,
}

/// A panel's part of a batch is through the store.
#[derive(Debug)]
pub struct Landed {
    /// Which batch.
    pub batch: BatchSeq,
    /// Which panel.
    pub panel: PanelNo,
    /// What came of it, if it was committed; much the same panels share it.
    pub outcome: Arc<Outcome>,
    /// Whether it was.
    pub result: Result<(), StoreError>,
    /// When the panel was told.
    pub sent: Instant,
    /// Whether this is the answer to the part itself; what a device confirms later is a second one.
    pub first: bool,
    /// Whether what the panel refuses is other than before, which pages show.
    pub noted: bool,
}

impl Handler<Apply> for Panel {
    type Result = ();

    fn handle(&mut self, Apply { work, origin, reply }: Apply, ctx: &mut Self::Context) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            origin.span.in_scope(|| {
                tracing::debug!(panel.id = %self.settings.id, "a panel takes its part");
            });
        }
        if self.settings.is_device() {
            return self.accept(work, origin, reply, ctx);
        }
        let for_caller = matches!(reply, Reply::Caller(_));
        let (batch, attempts, zoned, audit) = match work {
            Work::Batch(batch, attempts, zoned) => (Some(batch), attempts, zoned, None),
            Work::Call(operations, action) => {
                let zoned = Arc::new(Zoned::new(operations, self.settings.zone.rules()));
                let audit = origin.audit(action, self.settings.id.as_str());
                (None, 1, zoned, Some(audit))
            }
        };
        let work = Box::new(embedded::ApplyToRows {
            panel: self.number,
            zoned,
            limits: self.limits(for_caller),
            batch,
            attempts,
            origin,
            audit,
            reply,
            sent: Instant::now(),
            decision: Decision::default(),
            outcome: None,
            noted: false,
        });
        // A batch's part was accepted durably and its number in flight is bounded by the coordinator.
        if for_caller {
            self.store.submit(work);
        } else {
            self.store.submit_accepted(work);
        }
    }
}

impl Panel {
    /// Makes a batch's part what the device should hold. The panel API is served by embedded panels only, so
    /// nobody calls a remote one.
    fn accept(&mut self, work: Work, origin: Arc<Origin>, reply: Reply, ctx: &mut Context<Self>) {
        let (Work::Batch(batch, attempts, zoned), Reply::Batch(tell)) = (work, &reply) else { return };
        let sent = Instant::now();
        // Counted as attempts are made; the first is part of what came with the batch.
        let attempts = attempts.saturating_sub(1);
        let request_id = Arc::clone(&origin.request_id);
        let tell = Arc::clone(tell);
        let waiting = Waiting { zoned: Arc::clone(&zoned), attempts, tell, sent, request_id };
        let (done, waits) = oneshot::channel();
        let outcome = crate::batch::Outcome::pending(attempts);
        let panel = self.number;
        self.store.submit_accepted(Box::new(Accept {
            panel,
            zoned,
            limits: self.settings.limits(),
            batch,
            attempts,
            origin,
            reply,
            sent,
            outcome,
            done,
        }));
        self.add_waiting(batch, waiting, ctx);
        ctx.spawn(waits.into_actor(self).map(move |waits, this, ctx| {
            if waits.unwrap_or(false) {
                this.attend_to_device(ctx);
            } else {
                this.forget_waiting(batch, sent);
            }
        }));
    }
}

/// Attend to the device.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Attend {
    /// Make the next attempt now.
    TryNow,
    /// Read all that it holds, compare, and tell what was found.
    Read(oneshot::Sender<Result<remote::record::Findings, remote::ReadError>>),
    /// Send everything again.
    Resync(AuditRecord, oneshot::Sender<Result<(), StoreError>>),
    /// This batch had its outcome at this moment: do not wait for the device on behalf of what was sent before.
    Forget(BatchSeq, Instant),
    /// End the session after the call that is under way, and begin nothing more.
    Close(oneshot::Sender<()>),
}

impl Handler<Attend> for Panel {
    type Result = ();

    fn handle(&mut self, attend: Attend, ctx: &mut Self::Context) {
        match attend {
            Attend::TryNow => self.try_now(ctx),
            Attend::Read(reader) => self.read_now(reader, ctx),
            Attend::Resync(audit, reply) => self.resync(audit, reply, ctx),
            Attend::Forget(batch, had) => self.forget_waiting(batch, had),
            Attend::Close(done) => self.close_when_idle(done, ctx),
        }
    }
}

/// From now on, behave by these settings.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Configure(pub Arc<Settings>);

impl Handler<Configure> for Panel {
    type Result = ();

    fn handle(&mut self, Configure(settings): Configure, ctx: &mut Self::Context) {
        self.settings = settings;
        self.reconnect(ctx);
    }
}

/// Take the panel out of the store, after all work it was told before. It goes on until it is told to [`Stop`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct Retire {
    /// For the audit.
    pub audit: AuditRecord,
    /// Told on the writer's thread, after the commit.
    pub done: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

impl Handler<Retire> for Panel {
    type Result = ();

    fn handle(&mut self, Retire { audit, done }: Retire, _: &mut Self::Context) {
        self.store.submit_accepted(Box::new(embedded::Remove { panel: self.number, audit, done }));
    }
}

/// The panel is out of the store: its actor ends, after the call to its device that is under way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for Panel {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.leave(ctx);
    }
}
