//! What the remote panels of one thread share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::facts::KnownRights;
use crate::panel::delivery::condition::Condition;
use crate::panel::device::DeviceSettings;
use crate::panel::device::gate::Gate;
use crate::panel::device::line::Lines;
use crate::panel::settings::{Remote, Settings};
use crate::store::PanelNo;

/// What the remote panels of one thread share.
pub struct Devices {
    pub(super) settings: Rc<DeviceSettings>,
    pub(super) lines: Rc<Lines>,
    pub(super) gate: Rc<Gate>,
    /// What identifiers give, which most panels share.
    pub(super) rights: KnownRights,
    tell: Box<dyn Fn(PanelNo, Condition)>,
    /// By address, how many removed panels end a call there.
    leaving: Rc<RefCell<HashMap<String, usize>>>,
}

impl Devices {
    /// `tell` is told of every panel whose condition changes.
    pub fn new(settings: DeviceSettings, tell: impl Fn(PanelNo, Condition) + 'static) -> Self {
        Self {
            lines: Rc::new(Lines::new(settings.timeouts)),
            gate: Rc::new(Gate::new(
                settings.concurrency,
                settings.read_limits.bytes,
                settings.may_call.clone(),
            )),
            settings: Rc::new(settings),
            rights: KnownRights::default(),
            tell: Box::new(tell),
            leaving: Rc::default(),
        }
    }

    pub(super) fn tell_condition(&self, panel: PanelNo, condition: &Condition) {
        (self.tell)(panel, condition.clone());
    }

    /// Whether a removed panel ends a call at this address: what is sent there meanwhile could be overtaken by it.
    pub(super) fn another_leaves(&self, settings: &Settings) -> bool {
        let leaving = self.leaving.borrow();
        !leaving.is_empty() && leaving.contains_key(&place_of(settings))
    }

    /// A removed panel ends a call at this address, until the answer to this is dropped.
    pub(super) fn leave(&self, settings: &Settings) -> Leaving {
        let place = place_of(settings);
        *self.leaving.borrow_mut().entry(place.clone()).or_default() += 1;
        Leaving { place, leaving: Rc::clone(&self.leaving) }
    }
}

fn place_of(settings: &Settings) -> String {
    settings.remote.as_ref().map(Remote::place).unwrap_or_default()
}

/// A removed panel ends a call.
pub(super) struct Leaving {
    place: String,
    leaving: Rc<RefCell<HashMap<String, usize>>>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut leaving = self.leaving.borrow_mut();
        if let Some(count) = leaving.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                leaving.remove(&self.place);
            }
        }
    }
}
