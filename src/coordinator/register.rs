//! The fleet's register in memory: number → settings and address, and id → number.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use actix::Addr;

use crate::batch::selector::Selector;
use crate::panel::Panel;
use crate::panel::remote::{Condition, Connection};
use crate::panel::settings::{PanelId, Settings};
use crate::store::PanelNo;

/// A registered panel. Cheap to clone.
#[derive(Clone)]
pub struct Entry {
    /// Its number.
    pub number: PanelNo,
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Its actor.
    pub address: Addr<Panel>,
    /// How its device is; as it begins for an embedded panel.
    pub condition: Condition,
    /// At which of the register's versions something about the panel last changed.
    pub changed: u64,
}

impl Entry {
    /// Whether the panel can be reached; an embedded one always can.
    pub fn connection(&self) -> Connection {
        if self.settings.is_device() { self.condition.connection } else { Connection::Online }
    }
}

/// All panels, by number and by id.
#[derive(Default)]
pub struct Register {
    entries: BTreeMap<PanelNo, Entry>,
    numbers: BTreeMap<PanelId, PanelNo>,
    /// Counts changes of any panel, and ascends over restarts.
    version: u64,
    /// At which version a panel last came, went, or got other settings.
    shape: u64,
}

impl Register {
    /// An empty register whose versions begin here.
    pub fn new(first: u64) -> Self {
        Self { version: first, ..Self::default() }
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Adds or replaces a panel.
    pub fn set(&mut self, mut entry: Entry) {
        entry.changed = self.reshaped();
        self.numbers.insert(entry.settings.id.clone(), entry.number);
        self.entries.insert(entry.number, entry);
    }

    /// A panel's condition is this now; gives what it was.
    pub fn set_condition(&mut self, number: PanelNo, condition: Condition) -> Option<Condition> {
        self.touch(number);
        let entry = self.entries.get_mut(&number)?;
        Some(std::mem::replace(&mut entry.condition, condition))
    }

    /// What is known of a panel's device has changed.
    pub fn touch(&mut self, number: PanelNo) {
        if let Some(entry) = self.entries.get_mut(&number) {
            self.version += 1;
            entry.changed = self.version;
        }
    }

    /// Counts changes of any panel.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version at which a panel last came, went, or got other settings.
    pub fn shape(&self) -> u64 {
        self.shape
    }

    /// The panels that changed after a version, by number.
    pub fn changed_since(&self, version: u64) -> impl Iterator<Item = &Entry> {
        let any = self.version > version;
        let entries = any.then(|| self.entries.values()).into_iter().flatten();
        entries.filter(move |entry| entry.changed > version)
    }

    fn reshaped(&mut self) -> u64 {
        self.version += 1;
        self.shape = self.version;
        self.version
    }

    /// Takes a panel out.
    pub fn remove(&mut self, number: PanelNo) -> Option<Entry> {
        self.reshaped();
        let entry = self.entries.remove(&number)?;
        self.numbers.remove(&entry.settings.id);
        Some(entry)
    }

    /// The panel of this id.
    pub fn find(&self, id: &str) -> Option<&Entry> {
        self.by_number(*self.numbers.get(id)?)
    }

    /// Whether the id is taken.
    pub fn taken(&self, id: &str) -> bool {
        self.numbers.contains_key(id)
    }

    /// The panel of this number.
    pub fn by_number(&self, number: PanelNo) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// The panels that a selector picks (all without one), by id, after the given id.
    pub fn select<'r>(
        &'r self,
        selector: Option<&'r Selector>,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'r Entry> + 'r {
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.to_owned()));
        self.numbers
            .range::<str, _>((start.as_ref().map(String::as_str), Bound::Unbounded))
            .filter_map(|(_, number)| self.by_number(*number))
            .filter(move |entry| selector.is_none_or(|selector| entry.settings.matches(selector)))
    }

    /// The numbers of all panels, ascending. They are read without looking at the panels themselves.
    pub fn all(&self) -> Vec<PanelNo> {
        self.entries.keys().copied().collect()
    }

    /// The panels that a selector picks, by number.
    pub fn pick<'r>(&'r self, selector: &'r Selector) -> impl Iterator<Item = &'r Entry> + 'r {
        self.entries.values().filter(move |entry| entry.settings.matches(selector))
    }
}
