//! The driver for panels that are devices somewhere else.
//!
//! The store holds what the device should hold and what it has confirmed ([`crate::store::row::Reported`]); work is
//! the difference. There is one delivery path (`Remote`), woken without a hint by whatever changes that, by a
//! timer, or by a person: it looks at the state, does one step, records what came of it, and looks again.
//!
//! 1. A **step** is one call to the device, with a new session before it where there is none. At most one is under
//!    way per panel; how many calls are under way of all panels is up to the [`Gate`].
//! 2. A new session begins with `/api/info` and, where the device has confirmed something, with how many profiles
//!    it holds. Another serial number, or none left, means that it was replaced or reset: then everything is sent
//!    again. So it is where all that it holds is read, and nothing of what it had confirmed is there.
//! 3. What fails is tried again after a pause ([`super::delivery::pause`]). What only a person can put right, and is
//!    said several times over a minute, is told to the batches that wait; the device is looked at all the same. An item
//!    that the device refuses waits until something else is desired.
//! 4. From time to time an idle device is looked at, and, much more rarely, all that it holds is read and compared.
//!    What is put right and found as it was before is kept otherwise by the device, and not sent again.
//!
//! Nothing here waits: a step is a future of its own, and its end comes back to the actor.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::{Notify, oneshot};

use super::delivery::{self, Call, InARow, OFFLINE_AFTER};
use super::device::ask::{Info, Said};
use super::device::gate::Gate;
use super::device::line::{Lines, Timeouts};
use super::device::{Device, Habits, Held, ReadLimits, Trouble};
use super::settings::Settings;
use super::{Landed, Panel};
use crate::batch::Zoned;
use crate::clock;
use crate::profile::LinkId;
use crate::store::read::Snapshot;
use crate::store::row::{Pending, Reported, RowName};
use crate::store::tables::{AuditRecord, DeviceRecord};
use crate::store::{BatchSeq, PanelNo, StoreError, StoreHandle};

pub mod record;

use record::{Compare, Confirm, Findings, GiveUp, Repairs, Settled, StartOver};

/// Batches that wait for one panel at most; the oldest beyond are told that they wait no longer. What they asked
/// for stays desired.
const MAX_WAITING: usize = 256;

/// How long a device is given to end its session when the server stops, and before that the step under way.
const LOGOUT: Duration = Duration::from_secs(2);
const LAST_STEP: Duration = Duration::from_secs(1);

/// Whoever waits for one device to be read, at most.
const MAX_READERS: usize = 64;

/// A device that refuses is not asked again for a reader who comes so soon after.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Between looks at a store that cannot be read.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How devices are treated.
#[derive(Debug, Clone)]
pub struct DeviceSettings {
    /// Panels that are talked to at once.
    pub concurrency: usize,
    /// Items of one call at most.
    pub chunk: usize,
    /// How long a call may take.
    pub timeouts: Timeouts,
    /// Between two looks at an idle device.
    pub check_every: Duration,
    /// Between two readings of all that a device holds.
    pub read_every: Duration,
    /// How much of a device is read, and for how long.
    pub read_limits: ReadLimits,
    /// What only a person can put right counts as that once it has been said for so long.
    pub person_after: Duration,
    /// From then on, between two attempts.
    pub person_pause: Duration,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self {
            concurrency: 256,
            chunk: 50,
            timeouts: Timeouts::default(),
            check_every: Duration::from_mins(1),
            read_every: Duration::from_hours(6),
            read_limits: ReadLimits::default(),
            person_after: Duration::from_mins(1),
            person_pause: Duration::from_secs(30),
        }
    }
}

/// What the remote panels of one thread share.
pub struct Devices {
    settings: DeviceSettings,
    lines: Rc<Lines>,
    gate: Rc<Gate>,
    tell: Box<dyn Fn(PanelNo, Condition)>,
}

impl Devices {
    /// `tell` is told of every panel whose condition changes.
    pub fn new(settings: DeviceSettings, tell: impl Fn(PanelNo, Condition) + 'static) -> Self {
        Self {
            lines: Rc::new(Lines::new(settings.timeouts)),
            gate: Rc::new(Gate::new(settings.concurrency, settings.read_limits.bytes)),
            settings,
            tell: Box::new(tell),
        }
    }
}

/// Whether a panel can be reached, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connection {
    /// Not asked since the server's start.
    #[default]
    Unknown,
    /// It has answered.
    Online,
    /// It has failed several times in a row.
    Offline,
}

impl Connection {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// How a remote panel is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it can be reached.
    pub connection: Connection,
    /// When it last answered, in Unix milliseconds.
    pub last_seen_ms: Option<i64>,
    /// What it failed with, and what to do; nothing once it has answered well.
    pub last_error: Option<Box<str>>,
    /// Failures in a row.
    pub failures: u32,
    /// When it is tried again, in Unix milliseconds; only after a failure.
    pub next_attempt_ms: Option<i64>,
}

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

/// The delivery to one device.
pub(super) struct Remote {
    devices: Rc<Devices>,
    /// Absent while a step has it, and until the first one.
    device: Option<Device>,
    /// What was learnt of the device.
    habits: Habits,
    condition: Condition,
    /// What the device said that only a person can put right.
    refusals: InARow,
    /// Well answered calls that failed by the device's own words.
    errors: InARow,
    /// Whether it is being found out which items that is about, and whether any other was taken meanwhile.
    sifting: Option<bool>,
    /// The last failure, where it is meant and needs a person, and when it was.
    blocked: Option<(Trouble, Instant)>,
    /// Whether the last step ended with a token that the device did not know.
    logged_out: bool,
    /// Whether a step or its record is under way.
    busy: bool,
    /// Whether the settings have changed during a step, so that its session is not used again.
    outdated: bool,
    /// No step before this.
    not_before: Option<Instant>,
    next_check: Instant,
    next_read: Instant,
    timer: Option<SpawnHandle>,
    waiting: BTreeMap<BatchSeq, Waiting>,
    /// Items of the next call at most: halved when a call is refused as a whole, doubled when one is not.
    chunk: usize,
    /// Upserts that a full device refused while deletes wait.
    held_back: HashSet<LinkId>,
    /// What was put right since it was last found to be as desired.
    repairs: Repairs,
    readers: Vec<Reader>,
    /// Everything was sent again since the device had lost its profiles, and it was not seen to hold any since.
    emptied: bool,
    closing: Option<oneshot::Sender<()>>,
    /// Tells the step under way that it is the last one.
    last: Rc<Notify>,
}

/// Why everything is sent again to a device that holds nothing.
const LOST: &str = "the device has lost its profiles";

/// What a step is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Deliver,
    Read,
    Check,
}

/// What a step has done.
enum Step {
    /// The device answers.
    Checked,
    /// It holds nothing of what it had confirmed.
    StartOver(&'static str),
    /// There was nothing to send.
    Nothing,
    /// It has answered; perhaps not to every item.
    Sent(Call, Vec<Option<Said>>),
    /// It refuses the call as a whole, in these words.
    Refused(Call, Box<str>),
    /// All that it holds, and how far its clock is ahead, in seconds, where that is known.
    Read(Held, Option<i64>),
}

enum StepError {
    Device(Trouble),
    /// It answers well to this call, and says that it failed.
    Said(Call, Trouble, Box<str>),
    Store(StoreError),
    /// The server stops.
    Cut,
}

impl From<Trouble> for StepError {
    fn from(trouble: Trouble) -> Self {
        Self::Device(trouble)
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Remote {
    /// A delivery with the batches that wait already. Looks at devices are spread evenly over their interval by
    /// the panels' numbers.
    pub(super) fn new(
        devices: Rc<Devices>,
        panel: PanelNo,
        waiting: BTreeMap<BatchSeq, Waiting>,
        condition: Condition,
    ) -> Self {
        let settings = &devices.settings;
        // Multiples of the golden ratio's fraction lie evenly, however many panels there are.
        let phase = (f64::from(panel) * 0.618_033_988_749_895).fract();
        let now = Instant::now();
        Self {
            next_check: now + settings.check_every.mul_f64(phase),
            next_read: now + settings.read_every.mul_f64(phase),
            chunk: settings.chunk,
            devices,
            device: None,
            habits: Habits::default(),
            condition,
            refusals: InARow::default(),
            errors: InARow::default(),
            sifting: None,
            blocked: None,
            logged_out: false,
            busy: false,
            outdated: false,
            not_before: None,
            timer: None,
            waiting,
            held_back: HashSet::new(),
            repairs: Repairs::new(),
            readers: Vec::new(),
            emptied: false,
            closing: None,
            last: Rc::new(Notify::new()),
        }
    }

    fn tell(&self, panel: PanelNo) {
        (self.devices.tell)(panel, self.condition.clone());
    }

    fn task(&self, snapshot: &Snapshot, panel: PanelNo, now: Instant) -> Result<Option<Task>, StoreError> {
        let reconcile =
            || Ok::<_, StoreError>(snapshot.device(panel)?.is_some_and(|device| device.reconcile));
        Ok(if !self.readers.is_empty() || now >= self.next_read || reconcile()? {
            Some(Task::Read)
        } else if snapshot.has_pending(panel)? {
            Some(Task::Deliver)
        } else if now >= self.next_check || self.condition.failures > 0 {
            Some(Task::Check)
        } else {
            None
        })
    }
}

/// One step at a device.
struct Stepper {
    store: StoreHandle,
    panel: PanelNo,
    devices: Rc<Devices>,
    settings: Arc<Settings>,
    task: Task,
    offline: bool,
    habits: Habits,
    limit: usize,
    held_back: HashSet<LinkId>,
    /// Of the newest request that waits for the device.
    request_id: Option<Arc<str>>,
    /// What the device said of itself before; [`Stepper::run`] brings it up to date.
    record: DeviceRecord,
    /// Whether it changed.
    met: bool,
    /// Whether all was sent to it again before, since it had lost that.
    emptied: bool,
    /// Whether it was seen to hold something.
    holds: bool,
}

/// Profiles to send, each with its body.
type Bodies = Vec<(LinkId, Box<str>)>;

impl Stepper {
    /// Does the step; one that is under way when the server stops is cut off soon after.
    async fn run(
        &mut self,
        device: Option<Device>,
        last: &Notify,
    ) -> (Option<Device>, Result<Step, StepError>) {
        let mut device = match device.map_or_else(|| self.device(), Ok) {
            Ok(device) => device,
            Err(error) => return (None, Err(error)),
        };
        device.on_behalf_of(self.request_id.clone(), self.offline);
        let cut = async {
            last.notified().await;
            tokio::time::sleep(LAST_STEP).await;
        };
        let result = tokio::select! {
            result = self.step(&mut device) => result,
            () = cut => Err(StepError::Cut),
        };
        (Some(device), result)
    }

    fn device(&self) -> Result<Device, StepError> {
        let remote = self.settings.remote.clone().ok_or(StoreError::Corrupt("remote panel"))?;
        let password = self.store.read()?.credential(self.panel)?;
        // Without one there is nothing to log in with, and a wrong try may lock the account.
        let password = password.ok_or_else(|| Trouble::WrongPassword(self.settings.id.to_string()))?;
        let lines = Rc::clone(&self.devices.lines);
        let device = Device::new(self.settings.id.as_str(), self.settings.family, remote, password, lines);
        Ok(device.behind(Rc::clone(&self.devices.gate), self.devices.settings.read_limits, self.habits))
    }

    /// Whether the device holds nothing, though it has confirmed something.
    async fn has_lost_all(&mut self, device: &mut Device) -> Result<bool, StepError> {
        let empty = device.is_empty().await?;
        self.holds |= !empty;
        Ok(empty && self.confirmed_any()?)
    }

    /// A device that has lost its profiles gets everything again, once: one that then holds nothing again confirms what
    /// it does not keep, and is read, so that this is said.
    async fn start_over(&mut self, device: &mut Device) -> Result<Step, StepError> {
        if self.emptied {
            self.task = Task::Read;
            return self.work(device).await;
        }
        Ok(Step::StartOver(LOST))
    }

    async fn step(&mut self, device: &mut Device) -> Result<Step, StepError> {
        if device.logged_in() {
            if self.task == Task::Check && self.has_lost_all(device).await? {
                return self.start_over(device).await;
            }
            return self.work(device).await;
        }
        let info = device.info().await?;
        let replaced = self.meet(&info);
        device.log_in().await?;
        let worked = async {
            if replaced {
                return Ok(Step::StartOver("another device answers"));
            }
            if self.confirmed_any()? && self.has_lost_all(device).await? {
                return self.start_over(device).await;
            }
            self.work(device).await
        };
        match worked.await {
            // A token that was not good for one call is none to ask for again at once.
            Err(StepError::Device(Trouble::LoggedOut)) => {
                Err(Trouble::AccountMayNot(self.settings.id.to_string()).into())
            }
            worked => worked,
        }
    }

    async fn work(&self, device: &mut Device) -> Result<Step, StepError> {
        match self.task {
            Task::Check => Ok(Step::Checked),
            Task::Read => self.read(device).await,
            Task::Deliver => self.deliver(device).await,
        }
    }

    /// Keeps what the device says of itself; says whether it is another one than before.
    fn meet(&mut self, info: &Info) -> bool {
        let before = std::mem::take(&mut self.record);
        let known = !before.serial.is_empty() && !info.device_serial_number.is_empty();
        let replaced = known && before.serial != info.device_serial_number;
        self.record = before.clone();
        info.put_into(&mut self.record);
        self.met = self.record != before;
        replaced
    }

    /// Whether the device has confirmed that it holds something.
    fn confirmed_any(&self) -> Result<bool, StoreError> {
        let snapshot = self.store.read()?;
        let counts = snapshot.reported_counts(self.panel)?;
        let mut any = counts.held > 0;
        if any || counts.drifted == 0 {
            return Ok(any);
        }
        snapshot.each_reported(self.panel, |_, known| {
            any = matches!(known, Reported::KeptOtherwise(_)); // which is counted as drifted
            Ok(!any)
        })?;
        Ok(any)
    }

    async fn deliver(&self, device: &mut Device) -> Result<Step, StepError> {
        let Some((call, bodies)) = self.next_call()? else { return Ok(Step::Nothing) };
        let said = match &call {
            Call::Upsert(_) => device.upsert(&bodies).await,
            Call::Delete(links) => device.delete(links).await,
        };
        match said {
            Ok(said) => Ok(Step::Sent(call, said)),
            Err(Trouble::Refused(_, words)) => Ok(Step::Refused(call, words.into())),
            Err(Trouble::Said(words)) => {
                Err(StepError::Said(call, Trouble::Said(words.clone()), words.into()))
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// The next call as the store is now, with the bodies that it needs.
    fn next_call(&self) -> Result<Option<(Call, Bodies)>, StoreError> {
        let snapshot = self.store.read()?;
        let mut unknown = Vec::new();
        let mut upserts = 0;
        snapshot.each_pending(self.panel, |item, pending| {
            let desired = match pending {
                Pending::Upsert => snapshot.row(self.panel, RowName::Link(item))?,
                Pending::Delete => None,
            };
            upserts += usize::from(desired.is_some() && !self.held_back.contains(&item.link_id));
            unknown.push((item.link_id, desired));
            Ok(upserts < self.limit)
        })?;
        let Some(call) = delivery::next_call(unknown, self.limit, &self.held_back) else { return Ok(None) };
        let mut bodies = Vec::new();
        if let Call::Upsert(items) = &call {
            for (link, body) in items {
                bodies.push((*link, snapshot.body(*body)?));
            }
        }
        Ok(Some((call, bodies)))
    }

    async fn read(&self, device: &mut Device) -> Result<Step, StepError> {
        let clock_ahead = device.time().await?.map(|time| time.saturating_sub(clock::now_ms() / 1000));
        Ok(Step::Read(device.profiles().await?, clock_ahead))
    }
}

impl Panel {
    /// Looks at the state and does the next step, if there is one and now is its time.
    pub(super) fn go(&mut self, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        if remote.busy {
            return; // it looks again at the end of what it does
        }
        remote.readers.retain(|reader| !reader.is_closed()); // whoever does not wait any more
        if remote.closing.is_some() {
            return self.close(ctx);
        }
        let now = Instant::now();
        if let Some(at) = remote.not_before
            && now < at
        {
            self.set_timer(at, ctx);
            return self.give_up_if_blocked(ctx);
        }
        let looked = self.store.read().and_then(|snapshot| {
            let task = remote.task(&snapshot, self.number, now)?;
            let record = if task.is_some() { snapshot.device(self.number)? } else { None };
            Ok((task, record))
        });
        match looked {
            Ok((Some(task), record)) => self.begin_step(task, record.unwrap_or_default(), ctx),
            Ok((None, _)) => {
                remote.held_back.clear();
                remote.sifting = None;
                remote.errors.over();
                let at = remote.next_check.min(remote.next_read);
                self.set_timer(at, ctx);
            }
            Err(error) => self.store_failed(&error, ctx),
        }
    }

    fn set_timer(&mut self, at: Instant, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        if let Some(timer) = remote.timer.take() {
            ctx.cancel_future(timer);
        }
        let pause = at.saturating_duration_since(Instant::now());
        remote.timer = Some(ctx.run_later(pause, |this, ctx| {
            if let Some(remote) = &mut this.remote {
                remote.timer = None;
            }
            this.go(ctx);
        }));
    }

    fn store_failed(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        // The store has said so once, for all panels.
        tracing::debug!(panel.id = %self.settings.id, error = %error, "a delivery cannot use the store");
        self.set_timer(Instant::now() + STORE_PAUSE, ctx);
    }

    fn begin_step(&mut self, task: Task, record: DeviceRecord, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        remote.busy = true;
        let mut stepper = Stepper {
            store: self.store.clone(),
            panel: self.number,
            devices: Rc::clone(&remote.devices),
            settings: Arc::clone(&self.settings),
            task,
            offline: remote.condition.connection == Connection::Offline,
            habits: remote.habits,
            limit: remote.chunk,
            held_back: remote.held_back.clone(),
            request_id: remote.waiting.values().next_back().map(|waiting| Arc::clone(&waiting.request_id)),
            record,
            met: false,
            emptied: remote.emptied,
            holds: false,
        };
        let device = remote.device.take();
        let last = Rc::clone(&remote.last);
        let step = async move {
            let (device, result) = stepper.run(device, &last).await;
            (stepper, device, result)
        };
        ctx.spawn(step.into_actor(self).map(|(stepper, device, result), this, ctx| {
            this.end_step(stepper, device, result, ctx);
        }));
    }

    fn end_step(
        &mut self,
        stepper: Stepper,
        device: Option<Device>,
        result: Result<Step, StepError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(remote) = &mut self.remote else { return };
        if let Some(device) = &device {
            remote.habits = device.habits();
        }
        remote.device = if std::mem::take(&mut remote.outdated) { None } else { device };
        let step = match result {
            Ok(step) => step,
            Err(StepError::Cut) => return self.end(ctx),
            Err(StepError::Said(call, trouble, words)) => {
                let long = remote.devices.settings.person_after;
                if remote.sifting.is_none() && remote.errors.again(Instant::now(), long) {
                    remote.sifting = Some(false);
                }
                match (remote.sifting, &call) {
                    (None, _) => return self.failed(&trouble, ctx),
                    (Some(_), call_of) if call_of.items() > 1 => Step::Refused(call, words),
                    // Perhaps it is this one alone; that shows when it takes others, which are sent first.
                    (Some(_), Call::Upsert(items))
                        if items.iter().any(|(link, _)| remote.held_back.insert(*link)) =>
                    {
                        Step::Nothing
                    }
                    (Some(true), _) => Step::Refused(call, words),
                    (Some(false), _) => {
                        remote.sifting = None; // it takes nothing just now
                        return self.failed(&trouble, ctx);
                    }
                }
            }
            Err(StepError::Store(error)) => {
                remote.busy = false;
                return self.store_failed(&error, ctx);
            }
            Err(StepError::Device(Trouble::LoggedOut)) if !remote.logged_out => {
                remote.logged_out = true;
                remote.busy = false;
                return self.go(ctx);
            }
            Err(StepError::Device(trouble)) => return self.failed(&trouble, ctx),
        };
        if let Step::Sent(call, said) = &step
            && let Some((link, _)) = call.links().into_iter().zip(said).find(|(_, said)| said.is_none())
        {
            // What it says of the others holds; of this one nothing is known, so it is asked again after a pause.
            let trouble = Trouble::Garbled(format!("it says nothing of {link}"));
            let met = stepper.met.then_some(stepper.record);
            let Step::Sent(call, said) = step else { return };
            return self.confirm(call, said, met, ctx, move |this, ctx| this.failed(&trouble, ctx));
        }
        self.answered();
        let Some(remote) = &mut self.remote else { return };
        if matches!(step, Step::Sent(..)) {
            match &mut remote.sifting {
                Some(others) => *others = true,
                None => remote.errors.over(),
            }
        }
        remote.next_check = Instant::now() + remote.devices.settings.check_every;
        remote.emptied &= !stepper.holds;
        let mut record = stepper.record;
        record.last_seen_ms = clock::now_ms();
        let met = stepper.met.then(|| record.clone());
        match step {
            Step::Checked | Step::Nothing => match met {
                Some(record) => self.keep(record, ctx),
                None => self.end(ctx),
            },
            Step::StartOver(why) => {
                remote.emptied = why == LOST;
                tracing::warn!(panel.id = %self.settings.id, "{why}: all that it should hold is sent again");
                self.start_over(met, ctx);
            }
            Step::Sent(call, said) => {
                remote.chunk = (2 * remote.chunk).min(remote.devices.settings.chunk);
                self.confirm(call, said, met, ctx, Self::end);
            }
            Step::Refused(call, _) if call.items() > 1 => {
                remote.chunk = call.items() / 2;
                match met {
                    Some(record) => self.keep(record, ctx),
                    None => self.end(ctx),
                }
            }
            Step::Refused(call, word) => {
                self.confirm(call, vec![Some(Said { success: false, word })], met, ctx, Self::end);
            }
            Step::Read(held, clock_ahead) => {
                if held.profiles.iter().any(|profile| profile.link_id.is_some()) {
                    remote.emptied = false;
                }
                record.clock_ahead_s = clock_ahead;
                record.last_read_ms = Some(record.last_seen_ms);
                record.unlinked = held.unlinked;
                remote.next_read = Instant::now() + remote.devices.settings.read_every;
                self.compare(held, record, ctx);
            }
        }
    }

    /// The device has answered well.
    fn answered(&mut self) {
        let Some(remote) = &mut self.remote else { return };
        let before = std::mem::take(&mut remote.condition);
        remote.condition.connection = Connection::Online;
        remote.condition.last_seen_ms = Some(clock::now_ms());
        remote.blocked = None;
        remote.refusals.over();
        remote.logged_out = false;
        remote.not_before = None;
        if before.failures >= OFFLINE_AFTER {
            tracing::info!(panel.id = %self.settings.id, failures = before.failures, "the panel is back");
        }
        remote.tell(self.number);
    }

    fn failed(&mut self, trouble: &Trouble, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        for batch in remote.waiting.values_mut() {
            batch.attempts = batch.attempts.saturating_add(1);
        }
        remote.busy = false;
        remote.logged_out = false;
        let now = Instant::now();
        let was_blocked = remote.blocked.is_some();
        let asks_for_a_person = trouble.needs_a_person();
        if asks_for_a_person {
            let meant = remote.refusals.again(now, remote.devices.settings.person_after);
            remote.blocked = meant.then(|| (trouble.clone(), now));
        } else {
            remote.blocked = None;
            if trouble.is_an_answer() {
                remote.refusals.over();
            }
        }
        let condition = &mut remote.condition;
        condition.failures = condition.failures.saturating_add(1);
        if asks_for_a_person {
            condition.connection = Connection::Online; // it answers, if only to say no
            condition.last_seen_ms = Some(clock::now_ms());
        } else if condition.failures >= OFFLINE_AFTER {
            condition.connection = Connection::Offline;
            remote.device = None; // whatever comes back is asked first what it is
        }
        let work_waits = !remote.waiting.is_empty()
            || self.store.read().and_then(|snapshot| snapshot.has_pending(self.number)).unwrap_or(true);
        let pause = match remote.blocked {
            Some(_) => remote.devices.settings.person_pause,
            None => delivery::pause(condition.failures, work_waits),
        };
        remote.not_before = Some(now + pause);
        condition.next_attempt_ms = Some(clock::now_ms() + pause.as_millis() as i64);
        condition.last_error = Some(trouble.to_string().into());
        let (failures, id) = (condition.failures, &self.settings.id);
        if !was_blocked && remote.blocked.is_some() {
            tracing::warn!(panel.id = %id, error = %trouble, "the panel needs somebody's attention");
        } else if failures == OFFLINE_AFTER && !asks_for_a_person {
            tracing::warn!(panel.id = %id, failures, error = %trouble, "the panel is offline");
        } else {
            let pause_ms = pause.as_millis() as u64;
            tracing::debug!(panel.id = %id, failures, pause_ms, error = %trouble, "a call to the panel failed");
        }
        // Whoever asked to read it is told now; a wish to reconcile is kept in the store.
        for reader in remote.readers.drain(..) {
            let _ = reader.send(Err(ReadError::Device(trouble.clone()))); // whoever asked may have left
        }
        if remote.next_read <= Instant::now() {
            remote.next_read =
                Instant::now() + remote.devices.settings.read_every.min(Duration::from_mins(10));
        }
        remote.tell(self.number);
        self.go(ctx);
    }

    /// A step and its record are through.
    fn end(&mut self, ctx: &mut Context<Self>) {
        if let Some(remote) = &mut self.remote {
            remote.busy = false;
        }
        if !self.give_up_surplus(ctx) {
            self.go(ctx);
        }
    }

    /// The batches that wait, with the attempt that has just succeeded.
    fn waiting(&self) -> Vec<(BatchSeq, Waiting)> {
        let waiting = self.remote.iter().flat_map(|remote| &remote.waiting);
        waiting
            .map(|(seq, batch)| {
                (*seq, Waiting { attempts: batch.attempts.saturating_add(1), ..batch.clone() })
            })
            .collect()
    }

    /// Tells batches that they wait no longer, unless they were sent again in between.
    fn settled(&mut self, settled: Vec<Settled>) {
        let Some(remote) = &mut self.remote else { return };
        for Settled { batch, sent, outcome } in settled {
            if remote.waiting.get(&batch).is_none_or(|waiting| waiting.sent != sent) {
                continue;
            }
            if let Some(Waiting { tell, sent, .. }) = remote.waiting.remove(&batch) {
                let (panel, outcome) = (self.number, Arc::new(outcome));
                tell(Landed { batch, panel, outcome, result: Ok(()), sent, first: false, noted: true });
            }
        }
    }

    /// Records what the device said, and then goes on.
    fn confirm(
        &mut self,
        call: Call,
        said: Vec<Option<Said>>,
        device: Option<DeviceRecord>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        let ignored = self.hold_back(&call, &said);
        let (done, committed) = oneshot::channel();
        self.store.submit_accepted(Box::new(Confirm {
            panel: self.number,
            call,
            said,
            ignored,
            device,
            waiting: self.waiting(),
            settled: Vec::new(),
            done,
        }));
        self.after(committed, ctx, |this, settled, ctx| {
            this.settled(settled);
            then(this, ctx);
        });
    }

    /// The upserts that the device is too full for while deletes wait: they are sent again after those.
    fn hold_back(&mut self, call: &Call, said: &[Option<Said>]) -> HashSet<LinkId> {
        let Some(remote) = &mut self.remote else { return HashSet::new() };
        let full: HashSet<_> = match call {
            Call::Upsert(items) => items
                .iter()
                .zip(said)
                .filter(|(_, said)| {
                    said.as_ref().is_some_and(|said| !said.success && delivery::says_full(&said.word))
                })
                .map(|((link, _), _)| *link)
                .filter(|link| !remote.held_back.contains(link))
                .collect(),
            Call::Delete(_) => HashSet::new(),
        };
        if full.is_empty() {
            return full;
        }
        let deletes_wait = self.store.read().and_then(|snapshot| {
            let mut wait = false;
            snapshot.each_pending(self.number, |_, pending| {
                wait = pending == Pending::Delete;
                Ok(!wait)
            })?;
            Ok(wait)
        });
        if deletes_wait.unwrap_or(false) {
            remote.held_back.extend(&full);
            full
        } else {
            HashSet::new()
        }
    }

    fn compare(&mut self, held: Held, device: DeviceRecord, ctx: &mut Context<Self>) {
        let repair = self.settings.remote.as_ref().is_some_and(|remote| remote.repair);
        let repaired = self.remote.as_ref().map(|remote| remote.repairs.clone()).unwrap_or_default();
        let emptied = self.remote.as_ref().is_some_and(|remote| remote.emptied);
        let (done, committed) = oneshot::channel();
        self.store.submit_accepted(Box::new(Compare {
            panel: self.number,
            held,
            emptied,
            repair,
            repaired,
            repairs: Repairs::new(),
            device,
            waiting: self.waiting(),
            findings: Findings::default(),
            settled: Vec::new(),
            done,
        }));
        self.after(committed, ctx, |this, (findings, repairs, settled), ctx| {
            if let Some(remote) = &mut this.remote {
                remote.repairs = repairs;
                remote.emptied |= findings.reset;
            }
            this.settled(settled);
            this.read(&findings);
            this.end(ctx);
        });
    }

    fn read(&mut self, findings: &Findings) {
        let Some(remote) = &mut self.remote else { return };
        let drifted = findings.drifted;
        if findings.reset {
            tracing::warn!(panel.id = %self.settings.id, "the device has lost its profiles: all that it should hold is sent again");
        } else if drifted > 0 {
            let repairing = findings.repairing;
            tracing::warn!(panel.id = %self.settings.id, drifted, repairing, "the device holds something else than it had confirmed");
        }
        for reader in remote.readers.drain(..) {
            let _ = reader.send(Ok(findings.clone())); // whoever asked may have left
        }
        remote.tell(self.number); // for the counts
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

    fn start_over(&mut self, device: Option<DeviceRecord>, ctx: &mut Context<Self>) {
        let (done, committed) = oneshot::channel();
        let (panel, audit) = (self.number, None);
        self.store.submit_accepted(Box::new(StartOver { panel, device, audit, done }));
        self.after(committed, ctx, |this, (), ctx| this.end(ctx));
    }

    fn keep(&mut self, device: DeviceRecord, ctx: &mut Context<Self>) {
        let (done, committed) = oneshot::channel();
        let panel = self.number;
        let change = move |tables: &mut crate::store::tables::Tables<'_>| {
            let reconcile = tables.device(panel)?.is_some_and(|known| known.reconcile);
            tables.set_device(panel, &DeviceRecord { reconcile, ..device.clone() })
        };
        self.store.submit_accepted_change(change, move |result| {
            let _ = done.send(result); // gone only at the end
        });
        self.after(committed, ctx, |this, (), ctx| this.end(ctx));
    }

    /// Batches that wait for what only a person can put right are told so.
    fn give_up_if_blocked(&mut self, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        if remote.blocked.is_none() || remote.waiting.is_empty() {
            return;
        }
        let error = remote.condition.last_error.clone().unwrap_or_default();
        let why =
            format!("{error}; what was asked for stays desired and is delivered once that is put right");
        let waiting = remote.waiting.iter().map(|(seq, batch)| (*seq, batch.clone())).collect();
        self.give_up(why.into(), waiting, ctx);
    }

    fn give_up(&mut self, why: Box<str>, waiting: Vec<(BatchSeq, Waiting)>, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        remote.busy = true;
        let (done, committed) = oneshot::channel();
        let settled = Vec::new();
        self.store.submit_accepted(Box::new(GiveUp { panel: self.number, why, waiting, settled, done }));
        self.after(committed, ctx, move |this, settled, ctx| {
            this.settled(settled);
            this.end(ctx);
        });
    }

    /// Goes on once something is committed; the panel stays busy until then.
    fn after<T: 'static>(
        &mut self,
        committed: oneshot::Receiver<Result<T, StoreError>>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        ctx.spawn(committed.into_actor(self).map(move |result, this, ctx| match result {
            Ok(Ok(value)) => then(this, value, ctx),
            // The panel was removed and is told to stop, or the store is closed and the server stops.
            Ok(Err(StoreError::NoSuchPanel)) | Err(_) => {}
            // The store logs what goes wrong; what was not recorded is asked again.
            Ok(Err(error)) => {
                if let Some(remote) = &mut this.remote {
                    remote.busy = false;
                    remote.not_before = Some(Instant::now() + STORE_PAUSE);
                    for reader in remote.readers.drain(..) {
                        let _ = reader.send(Err(error.clone().into())); // whoever asked may have left
                    }
                }
                this.store_failed(&error, ctx);
            }
        }));
    }

    /// A batch waits for the device now.
    pub(super) fn wait(&mut self, seq: BatchSeq, batch: Waiting, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        remote.waiting.insert(seq, batch);
        if !remote.busy {
            self.give_up_surplus(ctx);
        }
    }

    /// Of more than [`MAX_WAITING`] batches the oldest are told that they wait no longer; says whether there were so many.
    fn give_up_surplus(&mut self, ctx: &mut Context<Self>) -> bool {
        let Some(remote) = &mut self.remote else { return false };
        let surplus = remote.waiting.len().saturating_sub(MAX_WAITING);
        if surplus == 0 {
            return false;
        }
        let why = format!(
            "more than {MAX_WAITING} later batches wait for the panel; what was asked for stays desired and is delivered when it is back"
        );
        let oldest = remote.waiting.iter().take(surplus).map(|(seq, batch)| (*seq, batch.clone())).collect();
        self.give_up(why.into(), oldest, ctx);
        true
    }

    /// A batch that was sent before this moment waits no longer: it had its outcome then.
    pub(super) fn forget(&mut self, seq: BatchSeq, had: Instant) {
        if let Some(remote) = &mut self.remote
            && remote.waiting.get(&seq).is_some_and(|batch| batch.sent <= had)
        {
            remote.waiting.remove(&seq);
        }
    }

    /// Someone wants the next attempt now.
    pub(super) fn try_now(&mut self, ctx: &mut Context<Self>) {
        if let Some(remote) = &mut self.remote {
            remote.not_before = None;
            remote.blocked = None;
        }
        self.go(ctx);
    }

    /// Someone wants the device to be read now. Whoever may read only can ask for this, so many can wait for one
    /// reading, and a device that refuses is not made to refuse more often.
    pub(super) fn read_now(&mut self, reader: Reader, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else {
            let _ = reader.send(Ok(Findings::default())); // whoever asked may have left
            return;
        };
        remote.readers.retain(|reader| !reader.is_closed());
        let refused = remote.blocked.as_ref().filter(|(_, at)| at.elapsed() < READ_AGAIN);
        if let Some((trouble, _)) = refused {
            let _ = reader.send(Err(ReadError::Device(trouble.clone()))); // whoever asked may have left
        } else if remote.readers.len() >= MAX_READERS {
            let _ = reader.send(Err(ReadError::Crowded)); // whoever asked may have left
        } else {
            remote.readers.push(reader);
            self.try_now(ctx);
        }
    }

    /// The settings have changed: a session with the old ones is not used again, and whatever device they lead to
    /// is looked at now.
    pub(super) fn reconnect(&mut self, ctx: &mut Context<Self>) {
        if let Some(remote) = &mut self.remote {
            remote.outdated = remote.busy && remote.device.is_none();
            remote.device = None;
            remote.next_check = Instant::now();
            remote.habits = Habits::default();
            remote.refusals.over();
            remote.errors.over();
            remote.sifting = None;
            remote.condition = Condition::default();
            remote.tell(self.number);
        }
        self.try_now(ctx);
    }

    /// Ends the session once the step under way has ended, and then resolves `done`.
    pub(super) fn close_when_idle(&mut self, done: oneshot::Sender<()>, ctx: &mut Context<Self>) {
        match &mut self.remote {
            Some(remote) => {
                remote.closing = Some(done);
                remote.last.notify_one();
                self.go(ctx);
            }
            None => {
                let _ = done.send(()); // the server stops either way
            }
        }
    }

    fn close(&mut self, ctx: &mut Context<Self>) {
        let Some(remote) = &mut self.remote else { return };
        let Some(done) = remote.closing.take() else { return };
        remote.busy = true; // for good: nothing more is begun
        let device = remote.device.take();
        ctx.spawn(
            async move {
                if let Some(mut device) = device {
                    let _ = tokio::time::timeout(LOGOUT, device.log_out()).await; // the token expires anyway
                }
                let _ = done.send(()); // the server stops either way
            }
            .into_actor(self),
        );
    }
}

impl record::Difference {
    /// Whether the device was changed by someone else.
    pub fn is_drift(self) -> bool {
        matches!(self, Self::Missing | Self::Changed | Self::Extra)
    }
}
