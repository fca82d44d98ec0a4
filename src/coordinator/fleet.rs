//! Adding, changing and removing panels, and which of them a target picks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::events::What;
use super::inbox::FromStore;
use super::register::{Entry, Register, Registered};
use super::{Coordinator, SubmitError, Target};
use crate::batch::Body;
use crate::batch::item::ItemId;
use crate::clock;
use crate::panel::remote::{Condition, Connection, Waiting};
use crate::panel::settings::{PanelRecord, Settings};
use crate::panel::{Attend, Configure, Origin, Panel, Retire, Stop};
use crate::store::changes::panels::{NewPanelRecord, PanelChange, PanelChanged};
use crate::store::tables::{ConnectionRecord, DeviceRecord, encode};
use crate::store::{BatchSeq, PanelNo, StoreError};

/// What has changed in the register.
pub struct Changes {
    /// The register's version now.
    pub version: u64,
    /// The version at which a panel last came, went, or got other settings.
    pub shape: u64,
    /// The panels that changed.
    pub panels: Vec<Entry>,
}

impl Register {
    /// The panels that have changed after a version, by number; all that are there after version 0.
    pub fn changes_since(&self, version: u64) -> Changes {
        Changes {
            version: self.version(),
            shape: self.shape(),
            panels: self.changed_since(version).cloned().collect(),
        }
    }

    /// The panels that a target picks, by id, as a batch would.
    pub fn resolve(&self, target: &Target) -> Result<Vec<Entry>, SubmitError> {
        let numbers = self.targets(target)?.into_iter();
        let mut entries: Vec<_> = numbers.filter_map(|number| self.by_number(number).cloned()).collect();
        entries.sort_unstable_by(|a, b| a.settings.id.cmp(&b.settings.id));
        Ok(entries)
    }

    /// The numbers of the panels that the target picks, ascending.
    pub fn targets(&self, target: &Target) -> Result<Vec<PanelNo>, SubmitError> {
        let numbers = match target {
            Target::All => self.all(),
            Target::Selector(selector) => self.pick(selector).map(|entry| entry.number).collect(),
            Target::Panels(ids) => {
                let unknown: Vec<_> =
                    ids.iter().enumerate().filter(|(_, id)| self.find(id).is_none()).collect();
                if !unknown.is_empty() {
                    return Err(SubmitError::UnknownPanels(
                        unknown.iter().map(|(i, id)| (*i, (*id).clone())).collect(),
                    ));
                }
                let found = ids.iter().filter_map(|id| self.find(id));
                let mut numbers: Vec<_> = found.map(|entry| entry.number).collect();
                numbers.sort_unstable();
                numbers.dedup();
                numbers
            }
            Target::Undo(_, _, numbers) => {
                numbers.iter().copied().filter(|number| self.by_number(*number).is_some()).collect()
            }
        };
        if numbers.is_empty() { Err(SubmitError::NoPanels(target.clone())) } else { Ok(numbers) }
    }
}

/// A panel to add.
pub struct NewPanel {
    /// Its settings.
    pub settings: Settings,
    /// Of a remote panel, the MD5 hex of the account's password.
    pub password_md5: Option<String>,
    /// Of a remote panel that was met already, what it said of itself.
    pub device: Option<DeviceRecord>,
    /// What its device holds and is desired from now on, in link_id order.
    pub adopted: Vec<(ItemId, Body)>,
}

impl NewPanel {
    /// With nothing but its settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, password_md5: None, device: None, adopted: Vec::new() }
    }

    /// How its device is, where that was met just now.
    fn condition(&self) -> Condition {
        match &self.device {
            Some(device) => Condition {
                connection: Connection::Online,
                last_seen_ms: Some(device.last_seen_ms),
                ..Condition::default()
            },
            None => Condition::default(),
        }
    }

    /// What is stored of it.
    fn to_store<'p>(&'p self, record: &'p [u8]) -> NewPanelRecord<'p> {
        let met = self.device.as_ref().map(|device| {
            let connection = Connection::Online.as_str().to_owned();
            (device, ConnectionRecord { at_ms: device.last_seen_ms, connection, error: None })
        });
        NewPanelRecord {
            id: self.settings.id.as_str(),
            record,
            password_md5: self.password_md5.as_deref(),
            met,
            adopted: &self.adopted,
        }
    }
}

/// Why panels were not added; then none of them was.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The ids of these, by their index, are taken.
    #[error("some ids are taken")]
    Taken(Vec<usize>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Panels that were added, each with its number and how its device is.
pub type AddedPanels = Vec<(PanelNo, Arc<Settings>, Condition)>;

/// Whoever waits for panels to be added.
pub type AddReply = oneshot::Sender<Result<(), AddError>>;

/// Add panels, all or none.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<(), AddError>>, AddError>")]
pub struct AddPanels(pub Vec<NewPanel>, pub Origin);

impl Handler<AddPanels> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<(), AddError>>, AddError>;

    fn handle(&mut self, AddPanels(panels, origin): AddPanels, _: &mut Self::Context) -> Self::Result {
        let mut new = HashSet::new();
        let ids = panels.iter().map(|panel| panel.settings.id.as_str()).enumerate();
        let taken: Vec<_> =
            ids.filter(|(_, id)| self.register.taken(id) || !new.insert(*id)).map(|(i, _)| i).collect();
        if !taken.is_empty() {
            return Err(AddError::Taken(taken));
        }
        let records: Vec<_> = panels.iter().map(|panel| encode(&panel.settings.record())).collect();
        let audit = match panels.as_slice() {
            [one] => origin.audit("panel.add", one.settings.id.as_str()),
            many => origin.audit("panel.import", format!("{} panels", many.len())),
        };
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| {
                // Somebody else may have added one in between, and be told so before this is.
                let new: Vec<_> =
                    panels.iter().zip(&records).map(|(panel, record)| panel.to_store(record)).collect();
                let numbers = tables.add_panels(&new, &audit)?;
                let added = |(number, panel): (PanelNo, &NewPanel)| {
                    (number, Arc::new(panel.settings.clone()), panel.condition())
                };
                Ok(numbers.map(|numbers| numbers.into_iter().zip(&panels).map(added).collect()))
            },
            move |result| {
                inbox.put(FromStore::Added(reply, result));
            },
        );
        Ok(answer)
    }
}

/// Give a panel other settings; the id stays. `None` when there is no such panel.
#[derive(Message)]
#[rtype(result = "Option<oneshot::Receiver<Result<PanelChanged, StoreError>>>")]
pub struct ChangePanel {
    /// What holds from now on.
    pub settings: Settings,
    /// What they were made from, and what must still hold when they are committed.
    pub expected: PanelRecord,
    /// Of a remote panel, the MD5 hex of a new password.
    pub password_md5: Option<String>,
    /// Who asked.
    pub origin: Origin,
}

/// Whoever waits for a panel to be changed.
pub type ChangeReply = oneshot::Sender<Result<PanelChanged, StoreError>>;

impl Handler<ChangePanel> for Coordinator {
    type Result = Option<oneshot::Receiver<Result<PanelChanged, StoreError>>>;

    fn handle(
        &mut self,
        ChangePanel { settings, expected, password_md5, origin }: ChangePanel,
        _: &mut Self::Context,
    ) -> Self::Result {
        let number = self.register.find(settings.id.as_str())?.number;
        let settings = Arc::new(settings);
        let change = PanelChange { panel: number, record: encode(&settings.record()), password_md5 };
        let audit = origin.audit("panel.change", settings.id.as_str());
        // Earlier versions wrote fewer fields; what they mean is compared.
        let is_expected = move |stored: &[u8]| {
            let stored: Option<PanelRecord> = serde_json::from_slice(stored).ok();
            let stored = stored.and_then(|stored| Settings::stored(&stored).ok());
            stored.is_some_and(|stored| stored.record() == expected)
        };
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| tables.change_panel(&change, &is_expected, &audit),
            move |result| inbox.put(FromStore::Changed(number, settings, reply, result)),
        );
        Some(answer)
    }
}

/// Send everything to a panel's device again, from now on. `None` when there is no such panel.
#[derive(Message)]
#[rtype(result = "Option<oneshot::Receiver<Result<(), StoreError>>>")]
pub struct ResyncPanel(pub String, pub Origin);

impl Handler<ResyncPanel> for Coordinator {
    type Result = Option<oneshot::Receiver<Result<(), StoreError>>>;

    fn handle(&mut self, ResyncPanel(id, origin): ResyncPanel, _: &mut Self::Context) -> Self::Result {
        let entry = self.register.find(&id)?;
        let audit = origin.audit("panel.resync", id);
        let (reply, answer) = oneshot::channel();
        tell_panel(entry, Attend::Resync(audit, reply));
        Some(answer)
    }
}

/// Whoever waits for a panel to be removed.
pub type RemoveReply = oneshot::Sender<Result<(), StoreError>>;

/// Remove a panel with all it holds. `None` when there is no such panel.
#[derive(Message)]
#[rtype(result = "Option<oneshot::Receiver<Result<(), StoreError>>>")]
pub struct RemovePanel(pub String, pub Origin);

impl Handler<RemovePanel> for Coordinator {
    type Result = Option<oneshot::Receiver<Result<(), StoreError>>>;

    fn handle(&mut self, RemovePanel(id, origin): RemovePanel, _: &mut Self::Context) -> Self::Result {
        let entry = self.register.find(&id)?.clone();
        let number = entry.number;
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        let retire = Retire {
            audit: origin.audit("panel.remove", id),
            done: Box::new(move |result| {
                inbox.put(FromStore::Removed(number, reply, result));
            }),
        };
        tell_panel(&entry, retire);
        Some(answer)
    }
}

/// What the store and the panels tell of it.
impl Coordinator {
    pub(super) fn added(
        &mut self,
        reply: AddReply,
        result: Result<Result<AddedPanels, Vec<usize>>, StoreError>,
    ) {
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

    pub(super) fn changed(
        &mut self,
        number: PanelNo,
        settings: Arc<Settings>,
        reply: ChangeReply,
        result: Result<PanelChanged, StoreError>,
    ) {
        if matches!(result, Ok(PanelChanged::Done)) {
            self.configure(number, settings);
        }
        self.publish_register();
        let _ = reply.send(result); // whoever asked may have left
    }

    /// These are the settings of a panel now.
    pub(super) fn configure(&mut self, number: PanelNo, settings: Arc<Settings>) {
        if let Some(entry) = self.register.by_number(number).cloned() {
            tell_panel(&entry, Configure(Arc::clone(&settings))); // behind what the panel was told before
            self.register.set(Registered { settings, ..(*entry).clone() });
        }
    }

    pub(super) fn removed(&mut self, number: PanelNo, reply: RemoveReply, result: Result<(), StoreError>) {
        if result.is_ok() {
            self.stop_panel(number);
            self.batches.panel_removed(number, &mut self.effects);
        }
        self.publish_register();
        let _ = reply.send(result); // whoever asked may have left
    }

    pub(super) fn start_panel(
        &mut self,
        number: PanelNo,
        settings: Arc<Settings>,
        waiting: BTreeMap<BatchSeq, Waiting>,
        condition: Condition,
    ) {
        let (store, kept) = (self.store.clone(), condition.clone());
        let panel = Panel::new(number, Arc::clone(&settings), store, &self.devices, waiting, condition);
        self.register.set(Registered {
            number,
            settings,
            address: panel.start(),
            condition: kept,
            changed: 0,
        });
        self.metrics.panels.set(self.register.count() as i64);
    }

    /// A panel is not there any more.
    pub(super) fn stop_panel(&mut self, number: PanelNo) {
        if let Some(entry) = self.register.remove(number) {
            tell_panel(&entry, Stop);
        }
        self.metrics.panels.set(self.register.count() as i64);
    }

    pub(super) fn condition_changed(&mut self, number: PanelNo, condition: Condition) {
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
}

/// Sends a panel's actor what it must not miss, waiting for room in its mailbox.
pub(super) fn tell_panel<M>(entry: &Entry, message: M)
where
    M: Message + Send + 'static,
    M::Result: Send,
    Panel: Handler<M>,
{
    let told = entry.address.send(message);
    actix_rt::spawn(async move {
        let _ = told.await; // a panel that has stopped needs nothing
    });
}
