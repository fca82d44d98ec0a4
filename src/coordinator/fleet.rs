//! What the coordinator is asked about the fleet's register: find, list, add, change, remove.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::register::Entry;
use super::{Coordinator, FromStore, SubmitError, Target};
use crate::batch::selector::Selector;
use crate::panel::settings::Settings;
use crate::panel::{Origin, Retire};
use crate::store::StoreError;
use crate::store::tables::encode;

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
        let mut entries: Vec<_> = self.targets(&target)?.into_iter().cloned().collect();
        entries.sort_unstable_by(|a, b| a.settings.id.cmp(&b.settings.id));
        Ok(entries)
    }
}

/// Add panels, all or none. The error lists the indexes of those whose id is taken.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<(), StoreError>>, Vec<usize>>")]
pub struct AddPanels(pub Vec<Settings>, pub Origin);

impl Handler<AddPanels> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<(), StoreError>>, Vec<usize>>;

    fn handle(&mut self, AddPanels(panels, origin): AddPanels, _: &mut Self::Context) -> Self::Result {
        let mut new = HashSet::new();
        let taken: Vec<_> = panels
            .iter()
            .enumerate()
            .filter(|(_, panel)| {
                let id = &panel.id;
                self.register.taken(id.as_str()) || self.reserved.contains(id) || !new.insert(id.clone())
            })
            .map(|(i, _)| i)
            .collect();
        if !taken.is_empty() {
            return Err(taken);
        }
        let ids: Vec<_> = new.into_iter().collect();
        self.reserved.extend(ids.iter().cloned());
        let records: Vec<_> =
            panels.iter().map(|panel| (panel.id.clone(), encode(&panel.record()))).collect();
        let audit = match panels.as_slice() {
            [one] => origin.audit("panel.add", one.id.as_str()),
            many => origin.audit("panel.import", format!("{} panels", many.len())),
        };
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| {
                let mut numbers = Vec::with_capacity(records.len());
                for (id, record) in &records {
                    numbers.push(tables.add_panel(id.as_str(), record)?);
                }
                tables.audit(&audit)?;
                Ok(numbers)
            },
            move |result| {
                let (numbers, result) = match result {
                    Ok(numbers) => (numbers, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let panels = numbers.into_iter().zip(panels.into_iter().map(Arc::new)).collect();
                let _ = inbox.send(FromStore::Added(panels, ids, reply, result)); // gone only at the end
            },
        );
        Ok(answer)
    }
}

/// Give a panel other settings; the id stays. `None` when there is no such panel.
#[derive(Message)]
#[rtype(result = "Option<oneshot::Receiver<Result<(), StoreError>>>")]
pub struct ChangePanel(pub Settings, pub Origin);

impl Handler<ChangePanel> for Coordinator {
    type Result = Option<oneshot::Receiver<Result<(), StoreError>>>;

    fn handle(&mut self, ChangePanel(settings, origin): ChangePanel, _: &mut Self::Context) -> Self::Result {
        let number = self.register.find(settings.id.as_str())?.number;
        let settings = Arc::new(settings);
        let record = encode(&settings.record());
        let audit = origin.audit("panel.change", settings.id.as_str());
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| {
                if tables.set_panel(number, &record)? {
                    tables.audit(&audit)?;
                }
                Ok(())
            },
            move |result| {
                let _ = inbox.send(FromStore::Changed(number, settings, reply, result)); // gone only at the end
            },
        );
        Some(answer)
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
                let _ = inbox.send(FromStore::Removed(number, reply, result)); // gone only at the end
            }),
        };
        self.register.leave(number);
        let told = entry.address.send(retire);
        actix_rt::spawn(async move {
            let _ = told.await; // a panel that has stopped is told nothing; its caller's answer is dropped then
        });
        Some(answer)
    }
}
