//! What the coordinator is asked about the fleet's register: find, list, add, change, remove.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::recovery::send;
use super::register::Entry;
use super::{Coordinator, FromStore, SubmitError, Target};
use crate::batch::Body;
use crate::batch::selector::Selector;
use crate::panel::remote::{Condition, Connection};
use crate::panel::settings::Settings;
use crate::panel::{Attend, Origin, Retire};
use crate::profile::LinkId;
use crate::store::tables::{ConnectionRecord, DeviceRecord, Tables, encode};
use crate::store::{PanelNo, StoreError};

/// The panel of an id.
#[derive(Message)]
#[rtype(result = "Option<Entry>")]
pub struct FindPanel(pub String);

impl Handler<FindPanel> for Coordinator {
    type Result = Option<Entry>;

    fn handle(&mut self, FindPanel(id): FindPanel, _: &mut Self::Context) -> Self::Result {
        self.register.find(&id).cloned()
    }
}

/// The panels that a selector picks, by id.
#[derive(Message)]
#[rtype(result = "Vec<Entry>")]
pub struct ListPanels {
    /// All without one.
    pub selector: Option<Selector>,
    /// After this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Handler<ListPanels> for Coordinator {
    type Result = Vec<Entry>;

    fn handle(
        &mut self,
        ListPanels { selector, after, limit }: ListPanels,
        _: &mut Self::Context,
    ) -> Self::Result {
        self.register.select(selector.as_ref(), after.as_deref()).take(limit).cloned().collect()
    }
}

/// The panels that a target picks, by id, as a batch would.
#[derive(Message)]
#[rtype(result = "Result<Vec<Entry>, SubmitError>")]
pub struct Resolve(pub Target);

impl Handler<Resolve> for Coordinator {
    type Result = Result<Vec<Entry>, SubmitError>;

    fn handle(&mut self, Resolve(target): Resolve, _: &mut Self::Context) -> Self::Result {
        let numbers = self.targets(&target)?.into_iter();
        let mut entries: Vec<_> =
            numbers.filter_map(|number| self.register.by_number(number).cloned()).collect();
        entries.sort_unstable_by(|a, b| a.settings.id.cmp(&b.settings.id));
        Ok(entries)
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
    pub adopted: Vec<(LinkId, Body)>,
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

    fn add(&self, record: &[u8], tables: &mut Tables<'_>) -> Result<PanelNo, StoreError> {
        let number = tables.add_panel(self.settings.id.as_str(), record)?;
        if let Some(password) = &self.password_md5 {
            tables.set_credential(number, password)?;
        }
        if let Some(device) = &self.device {
            tables.set_device(number, device)?;
            let connection = Connection::Online.as_str().to_owned();
            let met = ConnectionRecord { at_ms: device.last_seen_ms, connection, error: None };
            tables.connection_changed(number, met)?;
        }
        tables.adopt(number, &self.adopted)?;
        Ok(number)
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
                let mut taken = Vec::new();
                for (i, panel) in panels.iter().enumerate() {
                    if tables.panel_number(panel.settings.id.as_str())?.is_some() {
                        taken.push(i);
                    }
                }
                if !taken.is_empty() {
                    return Ok(Err(taken));
                }
                let mut added = Vec::with_capacity(panels.len());
                for (panel, record) in panels.iter().zip(&records) {
                    let number = panel.add(record, tables)?;
                    added.push((number, Arc::new(panel.settings.clone()), panel.condition()));
                }
                tables.audit(&audit)?;
                Ok(Ok(added))
            },
            move |result| {
                inbox.tell(FromStore::Added(reply, result));
            },
        );
        Ok(answer)
    }
}

/// Give a panel other settings; the id stays. `None` when there is no such panel.
#[derive(Message)]
#[rtype(result = "Option<oneshot::Receiver<Result<(), StoreError>>>")]
pub struct ChangePanel {
    /// What holds from now on.
    pub settings: Settings,
    /// Of a remote panel, the MD5 hex of a new password.
    pub password_md5: Option<String>,
    /// Who asked.
    pub origin: Origin,
}

impl Handler<ChangePanel> for Coordinator {
    type Result = Option<oneshot::Receiver<Result<(), StoreError>>>;

    fn handle(
        &mut self,
        ChangePanel { settings, password_md5, origin }: ChangePanel,
        _: &mut Self::Context,
    ) -> Self::Result {
        let number = self.register.find(settings.id.as_str())?.number;
        let settings = Arc::new(settings);
        let record = encode(&settings.record());
        let audit = origin.audit("panel.change", settings.id.as_str());
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| {
                if tables.set_panel(number, &record)? {
                    if let Some(password) = &password_md5 {
                        tables.set_credential(number, password)?;
                    }
                    tables.audit(&audit)?;
                }
                Ok(())
            },
            move |result| {
                inbox.tell(FromStore::Changed(number, settings, reply, result));
            },
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
        send(entry, Attend::Resync(audit, reply));
        Some(answer)
    }
}

/// The conditions of these panels; `None` for those that are gone.
#[derive(Message)]
#[rtype(result = "Vec<Option<Condition>>")]
pub struct Conditions(pub Vec<PanelNo>);

impl Handler<Conditions> for Coordinator {
    type Result = Vec<Option<Condition>>;

    fn handle(&mut self, Conditions(panels): Conditions, _: &mut Self::Context) -> Self::Result {
        panels.into_iter().map(|panel| Some(self.register.by_number(panel)?.condition.clone())).collect()
    }
}

/// The panels that have changed after a version of the register, by number; all that are there after version 0.
#[derive(Message)]
#[rtype(result = "Changes")]
pub struct ChangedSince(pub u64);

/// What has changed.
pub struct Changes {
    /// The register's version now.
    pub version: u64,
    /// The version at which a panel last came, went, or got other settings.
    pub shape: u64,
    /// The panels that changed.
    pub panels: Vec<Entry>,
}

impl Handler<ChangedSince> for Coordinator {
    type Result = MessageResult<ChangedSince>;

    fn handle(&mut self, ChangedSince(version): ChangedSince, _: &mut Self::Context) -> Self::Result {
        MessageResult(Changes {
            version: self.register.version(),
            shape: self.register.shape(),
            panels: self.register.changed_since(version).cloned().collect(),
        })
    }
}

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
                inbox.tell(FromStore::Removed(number, reply, result));
            }),
        };
        send(&entry, retire);
        Some(answer)
    }
}
