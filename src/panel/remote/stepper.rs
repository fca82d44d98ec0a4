//! One step at a device: one call, with a new session before it where there is none.
//!
//! A new session begins with `/api/info` and, where the device has confirmed something, with how many items
//! it holds. Another serial number, or none left, means that it was replaced or reset: then everything is sent
//! again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::devices::Devices;
use super::pull::pull;
use super::{facts, known};
use crate::batch::ItemOutcome;
use crate::batch::item::{ItemId, Kind};
use crate::panel::delivery::call::{Call, says_gone, says_no_profile};
use crate::panel::delivery::effect::{Step, Task};
use crate::panel::delivery::facts::{Answer, Ended, Loss, Seen};
use crate::panel::device::ask::{Info, Said};
use crate::panel::device::{Device, Habits, Named, Trouble};
use crate::panel::settings::Settings;
use crate::profile::LinkId;
use crate::store::tables::DeviceRecord;
use crate::store::{PanelNo, StoreError, StoreHandle};

/// How long the step under way is given when it is to be the last one.
const LAST_STEP: Duration = Duration::from_secs(1);

/// One step at a device.
pub(super) struct Stepper {
    pub store: StoreHandle,
    pub panel: PanelNo,
    pub devices: Rc<Devices>,
    pub settings: Arc<Settings>,
    pub step: Step,
    pub habits: Habits,
    /// Of the newest request that waits for the device.
    pub request_id: Option<Arc<str>>,
}

/// What is left of a step.
pub(super) struct StepEnd {
    /// The session, if there was any.
    pub session: Option<Device>,
    pub ended: Ended,
    pub met: Met,
}

/// What a device says of itself.
#[derive(Default)]
pub(super) struct Met {
    pub record: DeviceRecord,
    /// Whether it says other things than before.
    pub is_news: bool,
}

enum StepError {
    Device(Trouble),
    /// It answers well to this call, and says that it failed.
    Said(Call, String),
    Store(StoreError),
    /// It was the last one.
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

impl Stepper {
    /// Does the step, in this session if there is one. After `last` it is given a moment to end, and then cut off.
    pub(super) async fn run(self, session: Option<Device>, last: &Notify) -> StepEnd {
        let (mut session, mut visit) = (session, Visit { stepper: &self, met: Met::default(), holds: false });
        let cut = async {
            last.notified().await;
            tokio::time::sleep(LAST_STEP).await;
        };
        let result = tokio::select! {
            result = visit.begin(&mut session) => result,
            () = cut => Err(StepError::Cut),
        };
        let (met, seen) = (visit.met, Seen { is_news: false, holds: visit.holds });
        let seen = Seen { is_news: met.is_news, ..seen };
        let ended = match result {
            Ok(answer) => Ended::Well { answer, seen },
            Err(StepError::Said(call, words)) => Ended::SaidError { call, words: words.into(), seen },
            Err(StepError::Device(trouble)) => Ended::Failed(trouble),
            Err(StepError::Store(error)) => {
                // The store has said so once, for all panels.
                tracing::debug!(panel.id = %self.settings.id, %error, "a delivery cannot use the store");
                Ended::StoreFailed
            }
            Err(StepError::Cut) => Ended::Cut,
        };
        StepEnd { session, ended, met }
    }

    fn device(&self) -> Result<Device, StepError> {
        let remote = self.settings.remote.clone().ok_or(StoreError::Corrupt("remote panel"))?;
        let password = self.store.read()?.credential(self.panel)?;
        // Without one there is nothing to log in with, and a wrong try may lock the account.
        let password = password.ok_or_else(|| Trouble::WrongPassword(self.settings.id.to_string()))?;
        let lines = Rc::clone(&self.devices.lines);
        let device = Device::new(self.settings.id.as_str(), self.settings.dialect, remote, password, lines);
        Ok(device.behind(Rc::clone(&self.devices.gate), self.devices.settings.read_limits, self.habits))
    }

    fn confirmed_any(&self) -> Result<bool, StoreError> {
        facts::confirmed_any(&self.store.read()?, self.panel)
    }
}

/// A step, and what it has seen of the device so far.
struct Visit<'s> {
    stepper: &'s Stepper,
    met: Met,
    holds: bool,
}

impl Visit<'_> {
    async fn begin(&mut self, session: &mut Option<Device>) -> Result<Answer, StepError> {
        self.met.record = self.stepper.store.read()?.device(self.stepper.panel)?.unwrap_or_default();
        let device = match session {
            Some(device) => device,
            None => session.insert(self.stepper.device()?),
        };
        device.on_behalf_of(self.stepper.request_id.clone(), self.stepper.step.away);
        device.travel(self.stepper.devices.via(self.stepper.panel, &self.stepper.settings));
        let task = self.stepper.step.task;
        if device.logged_in() {
            if task != Task::Check {
                return self.work(task, device).await;
            }
            return self.look(task, device).await;
        }
        let info = device.info().await?;
        let replaced = self.meet(&info);
        device.log_in().await?;
        let worked = async {
            if replaced {
                return Ok(Answer::Lost(Loss::Replaced));
            }
            if self.stepper.confirmed_any()? {
                return self.look(task, device).await;
            }
            self.work(task, device).await
        };
        match worked.await {
            // A token that was not good for one call is none to ask for again at once.
            Err(StepError::Device(Trouble::LoggedOut)) => {
                Err(Trouble::AccountMayNot(self.stepper.settings.id.to_string()).into())
            }
            worked => worked,
        }
    }

    /// Sees whether the device still holds what it has confirmed before it goes on. One that holds nothing gets everything
    /// again; one that holds nothing of one kind is read, so that this is said.
    async fn look(&mut self, task: Task, device: &mut Device) -> Result<Answer, StepError> {
        let may_lack = self.may_lack_identifiers()?;
        let mut lacking = Vec::new();
        for kind in self.kinds() {
            if device.is_empty(*kind, may_lack).await? {
                lacking.push(*kind);
            }
        }
        let empty = lacking.len() == self.kinds().len();
        self.holds |= !empty;
        let Stepper { store, panel, .. } = self.stepper;
        if empty && self.stepper.confirmed_any()? {
            return self.start_over(device).await;
        }
        let task = match known::confirmed_kinds(&store.read()?, *panel)? {
            kinds if kinds.iter().any(|kind| lacking.contains(kind)) => Task::Read,
            _ => task,
        };
        self.work(task, device).await
    }

    fn may_lack_identifiers(&self) -> Result<bool, StoreError> {
        let Stepper { store, panel, .. } = self.stepper;
        known::may_lack_identifiers(&store.read()?, *panel, &self.met.record)
    }

    /// A device that has lost its profiles gets everything again, once: one that then holds nothing again confirms what
    /// it does not keep, and is read, so that this is said.
    async fn start_over(&self, device: &mut Device) -> Result<Answer, StepError> {
        if self.stepper.step.emptied {
            return self.work(Task::Read, device).await;
        }
        Ok(Answer::Lost(Loss::Emptied))
    }

    /// Keeps what the device says of itself; says whether it is another one than before.
    fn meet(&mut self, info: &Info) -> bool {
        let before = self.met.record.clone();
        let known = !before.serial.is_empty() && !info.device_serial_number.is_empty();
        info.put_into(&mut self.met.record);
        let replaced = known && before.serial != info.device_serial_number;
        if replaced {
            // What was read of the one before is not what this one holds.
            let record = &mut self.met.record;
            (record.last_read_ms, record.clock_ahead_s, record.unlinked) = (None, None, 0);
            record.zone = None;
            (record.told_identifiers, record.unread) = (false, true);
        }
        self.met.is_news = self.met.record != before;
        replaced
    }

    /// Of which kinds the device is asked what it holds.
    fn kinds(&self) -> &'static [Kind] {
        if self.met.record.identifiers { &Kind::ALL } else { &[Kind::Profile] }
    }

    async fn work(&self, task: Task, device: &mut Device) -> Result<Answer, StepError> {
        let task = if task == Task::Deliver && self.met.record.unread { Task::Read } else { task };
        match task {
            Task::Check => {
                self.pull(device).await;
                Ok(Answer::Checked)
            }
            Task::Read => {
                let clock = device.clock().await?;
                let held = device.held(self.kinds(), self.may_lack_identifiers()?).await?;
                let Stepper { store, panel, .. } = self.stepper;
                if let Some((said, listed)) = held.short
                    && known::lacks_confirmed(&store.read()?, *panel, &held)?
                {
                    let why = format!("it says that it holds {said} items and lists {listed}");
                    return Err(Trouble::Garbled(why).into());
                }
                Ok(Answer::Read(held, clock))
            }
            Task::Deliver => self.deliver(device).await,
        }
    }

    /// Reads what happened at the door, where that is wanted. What goes wrong there is nothing that deliveries wait for: it
    /// is asked again at the next look.
    async fn pull(&self, device: &mut Device) {
        let Stepper { store, panel, devices, settings, .. } = self.stepper;
        if devices.settings.pull_events
            && let Err(error) = pull(store, *panel, device).await
        {
            tracing::debug!(panel.id = %settings.id, %error, "the device's log was not read");
        }
    }

    async fn deliver(&self, device: &mut Device) -> Result<Answer, StepError> {
        let Stepper { store, panel, devices, step, settings, .. } = self.stepper;
        let api = settings.identifier_api();
        let next =
            facts::next_call(&store.read()?, *panel, api, step.limit, &step.held_back, &devices.rights)?;
        let Some((call, outgoing)) = next else { return Ok(Answer::Nothing) };
        let items = call.items();
        let Some(kind) = items.first().map(|item| item.kind) else { return Ok(Answer::Nothing) };
        let said = match &call {
            Call::Upsert(_) => match device.upsert(kind, &outgoing).await {
                Ok(said) if kind == Kind::Identifier => take_down_unbound(device, &items, said).await,
                said => said,
            },
            Call::Delete(items) => {
                let links: Vec<_> = items.iter().map(|(item, _)| item.link_id).collect();
                match kind {
                    Kind::Profile => self.delete_profiles(device, &links).await,
                    Kind::Identifier => device.delete(kind, &links).await,
                }
            }
            Call::Refuse(_, word) => Ok(refused(&items, word)),
        };
        let said = match said {
            // Just after its login it knows no such call: it is a device without identifiers, unless it has had some.
            Err(Trouble::UnknownCall(..)) if kind == Kind::Identifier && self.may_lack_identifiers()? => {
                match &call {
                    Call::Delete(_) => Ok(refused(&items, ItemOutcome::NotFound.extended_info())),
                    Call::Upsert(_) | Call::Refuse(..) => Ok(refused(&items, "identifiers_not_supported")),
                }
            }
            said => said,
        };
        match said {
            Ok(said) => Ok(Answer::Sent(call, said)),
            Err(Trouble::Refused(_, words)) => Ok(Answer::Refused(call, words.into())),
            Err(Trouble::Said(words)) => Err(StepError::Said(call, words)),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Deletes profiles, but for those that an identifier names on the device, whoever made it: the device may let it open at
    /// any time then. Those made from here that named them are gone or changed by now, unless somebody changed them back.
    async fn delete_profiles(
        &self,
        device: &mut Device,
        links: &[LinkId],
    ) -> Result<Vec<Option<Said>>, Trouble> {
        let named = match self.stepper.settings.identifier_api() {
            Some(_) => device.held(&[Kind::Identifier], true).await?.named,
            None => Named::default(),
        };
        let free: Vec<_> = links.iter().filter(|link| !named.has(link)).copied().collect();
        let said = if free.is_empty() { Vec::new() } else { device.delete(Kind::Profile, &free).await? };
        let mut said = said.into_iter();
        let of_each = links.iter().map(|link| {
            if named.has(link) {
                Some(refusal(&format!("{} ({})", ItemOutcome::Bound.extended_info(), named.by(link))))
            } else {
                said.next().flatten()
            }
        });
        Ok(of_each.collect())
    }
}

/// All of these are refused in this word.
fn refused(items: &[ItemId], word: &str) -> Vec<Option<Said>> {
    items.iter().map(|_| Some(refusal(word))).collect()
}

fn refusal(word: &str) -> Said {
    Said { success: false, word: word.into() }
}

/// Some devices take an identifier though a profile that it names is not there, and it may open at any time then. It is
/// taken down at once, and whoever records what the device said of it knows that. Where that fails, nothing is known of
/// all of them.
async fn take_down_unbound(
    device: &mut Device,
    items: &[ItemId],
    said: Vec<Option<Said>>,
) -> Result<Vec<Option<Said>>, Trouble> {
    let took_unbound =
        |said: &Option<Said>| said.as_ref().is_some_and(|said| said.success && says_no_profile(&said.word));
    let unbound: Vec<_> = items
        .iter()
        .zip(&said)
        .filter(|(_, said)| took_unbound(said))
        .map(|(item, _)| item.link_id)
        .collect();
    if unbound.is_empty() {
        return Ok(said);
    }
    let taken_down = device.delete(Kind::Identifier, &unbound).await.map_err(|trouble| match trouble {
        Trouble::Refused(_, words) | Trouble::Said(words) => Trouble::Garbled(words),
        trouble => trouble,
    })?;
    if taken_down.iter().all(|said| said.as_ref().is_some_and(|said| said.success || says_gone(&said.word))) {
        return Ok(said);
    }
    Err(Trouble::Garbled("it does not let go of an identifier whose profile it lacks".into()))
}
