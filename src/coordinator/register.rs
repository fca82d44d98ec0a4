//! The fleet's register in memory: the panels by number and by id. The coordinator changes it; everybody else reads it
//! as it was published last, without asking the coordinator ([`RegisterReader`]).

use std::sync::Arc;

use actix::Addr;
use arc_swap::ArcSwap;

use super::chunks::Chunks;
use crate::batch::selector::Selector;
use crate::panel::Panel;
use crate::panel::remote::{Condition, Connection};
use crate::panel::settings::{PanelId, Settings};
use crate::store::PanelNo;

/// A registered panel, as it was when it was looked up.
pub type Entry = Arc<Registered>;

/// What is known of a registered panel.
#[derive(Clone)]
pub struct Registered {
    /// Its key everywhere but in what people write.
    pub number: PanelNo,
    /// What people have set.
    pub settings: Arc<Settings>,
    /// Its actor.
    pub address: Addr<Panel>,
    /// How its device is; as it begins for an embedded panel.
    pub condition: Condition,
    /// At which of the register's versions something about the panel last changed.
    pub changed: u64,
}

impl Registered {
    /// Whether the panel can be reached; an embedded one always can.
    pub fn connection(&self) -> Connection {
        if self.settings.is_device() { self.condition.connection } else { Connection::Online }
    }
}

/// All panels at one moment. Cheap to clone: clones share what has not changed between them.
#[derive(Clone, Default)]
pub struct Register {
    entries: Chunks<PanelNo, Entry>,
    numbers: Chunks<PanelId, PanelNo>,
    /// Counts changes of any panel, and ascends over restarts.
    version: u64,
    /// At which version a panel last came, went, or got other settings.
    shape: u64,
    /// How many panels there are, by connection.
    connections: [u64; 3],
}

impl Register {
    /// An empty register whose versions begin here.
    pub fn new(first: u64) -> Self {
        Self { version: first, ..Self::default() }
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.entries.count()
    }

    /// Adds or replaces a panel. The id of a number stays.
    pub fn set(&mut self, mut panel: Registered) {
        panel.changed = self.reshaped();
        match self.by_number(panel.number).map(|before| place_of(before.connection())) {
            Some(before) => self.connections[before] -= 1,
            None => self.numbers.insert(panel.settings.id.clone(), panel.number),
        }
        self.connections[place_of(panel.connection())] += 1;
        self.entries.insert(panel.number, Arc::new(panel));
    }

    /// A panel's condition is this now; gives what its connection was.
    pub fn set_condition(&mut self, number: PanelNo, condition: Condition) -> Option<Connection> {
        let panel = self.touched(number)?;
        let (before, shown_before) = (panel.condition.connection, panel.connection());
        panel.condition = condition;
        let shown = panel.connection();
        self.connections[place_of(shown_before)] -= 1;
        self.connections[place_of(shown)] += 1;
        Some(before)
    }

    /// What is known of a panel's device has changed.
    pub fn touch(&mut self, number: PanelNo) {
        self.touched(number);
    }

    fn touched(&mut self, number: PanelNo) -> Option<&mut Registered> {
        let panel = Arc::make_mut(self.entries.get_mut(&number)?);
        self.version += 1;
        panel.changed = self.version;
        Some(panel)
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
        let entries = any.then(|| self.entries.iter()).into_iter().flatten();
        entries.map(|(_, entry)| entry).filter(move |entry| entry.changed > version)
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
        self.connections[place_of(entry.connection())] -= 1;
        self.numbers.remove(&entry.settings.id);
        Some(entry)
    }

    /// The panel of this id.
    pub fn find(&self, id: &str) -> Option<&Entry> {
        self.by_number(*self.numbers.get(id)?)
    }

    /// Whether the id is taken.
    pub fn taken(&self, id: &str) -> bool {
        self.numbers.get(id).is_some()
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
        self.numbers
            .after(after)
            .filter_map(|(_, number)| self.by_number(*number))
            .filter(move |entry| selector.is_none_or(|selector| entry.settings.matches(selector)))
    }

    /// The numbers of all panels, ascending. They are read without looking at the panels themselves.
    pub fn all(&self) -> Vec<PanelNo> {
        self.entries.iter().map(|(number, _)| *number).collect()
    }

    /// The panels that a selector picks, by number.
    pub fn pick<'r>(&'r self, selector: &'r Selector) -> impl Iterator<Item = &'r Entry> + 'r {
        self.entries.iter().map(|(_, entry)| entry).filter(move |entry| entry.settings.matches(selector))
    }

    /// How many panels there are, by connection: online, offline, unknown.
    pub fn connections(&self) -> [u64; 3] {
        self.connections
    }
}

/// Where the counts by connection have this one.
fn place_of(connection: Connection) -> usize {
    match connection {
        Connection::Online => 0,
        Connection::Offline => 1,
        Connection::Unknown => 2,
    }
}

/// Where the register is read by everybody but the coordinator. Who was answered, told, or woken by the coordinator
/// finds here what that followed from: it is published before.
#[derive(Clone)]
pub struct RegisterReader(Arc<ArcSwap<Register>>);

impl RegisterReader {
    pub(super) fn new(register: &Register) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(register.clone())))
    }

    /// Publishes the register, if anything in it has changed.
    pub(super) fn publish(&self, register: &Register) {
        if self.0.load().version != register.version {
            self.0.store(Arc::new(register.clone()));
        }
    }

    /// The register as it is now. Whoever keeps it keeps a moment that passes.
    pub fn now(&self) -> Arc<Register> {
        self.0.load_full()
    }

    /// The panel of this id.
    pub fn find(&self, id: &str) -> Option<Entry> {
        self.0.load().find(id).cloned()
    }
}
