//! What panels hold, of whatever kind: how an item stands on one, and over the fleet on how many and in which states.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;

use crate::batch::item::{ItemId, Kind};
use crate::profile::LinkId;
use crate::store::read::Snapshot;
use crate::store::row::{Reported, RowName};
use crate::store::{PanelNo, StoreError};

/// How an item stands on a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemState {
    /// The panel holds it.
    Applied,
    /// Its device has not confirmed it.
    Pending,
    /// It is refused. On an embedded panel the last change to it was: it stands as it stood before.
    Rejected,
    /// Its device was found to hold something else.
    Drifted,
    /// Its device confirms it and keeps something else.
    KeptOtherwise,
}

impl ItemState {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Drifted => "drifted",
            Self::KeptOtherwise => "kept_otherwise",
        }
    }

    /// By what is known of the panel's device.
    pub fn of(known: Option<&Reported>) -> Self {
        match known {
            None | Some(Reported::Held(_)) => Self::Applied,
            Some(Reported::Unknown) => Self::Pending,
            Some(Reported::Refused(_)) => Self::Rejected,
            Some(Reported::Drifted(_)) => Self::Drifted,
            Some(Reported::KeptOtherwise(_)) => Self::KeptOtherwise,
        }
    }
}

/// How many panels hold an item in which state.
#[derive(Debug, Default, Clone, Copy)]
pub struct StateCounts {
    /// Confirmed by the panel.
    pub applied: u64,
    /// On its way.
    pub pending: u64,
    /// Refused by the panel.
    pub rejected: u64,
    /// Found to be different on the device.
    pub drifted: u64,
}

impl StateCounts {
    fn count(&mut self, state: ItemState) {
        let count = match state {
            ItemState::Applied => &mut self.applied,
            ItemState::Pending => &mut self.pending,
            ItemState::Rejected => &mut self.rejected,
            ItemState::Drifted | ItemState::KeptOtherwise => &mut self.drifted,
        };
        *count += 1;
    }
}

/// A panel that refuses an item.
#[derive(Debug)]
pub struct RefusingPanel {
    /// Which panel.
    pub panel: String,
    /// Why, in its words.
    pub extended_info: String,
}

/// Panels listed of an item at most.
pub const LISTED: usize = 1000;

/// Bodies of one item that are compared by what they say; where there are more, hardly two of them say the same.
const COMPARED: usize = 64;

/// An item over the fleet.
#[derive(Debug, Default)]
pub struct OverFleet {
    /// How many panels hold each of its bodies.
    pub bodies: BTreeMap<u64, u64>,
    /// In which states.
    pub states: StateCounts,
}

impl OverFleet {
    /// How many panels hold it.
    pub fn panels(&self) -> u64 {
        self.bodies.values().sum()
    }

    /// What most of them hold; none where all refuse it.
    pub fn most(&self) -> Option<u64> {
        self.bodies.iter().max_by_key(|(_, panels)| **panels).map(|(body, _)| *body)
    }

    /// How many different things its bodies say, by what is read of each: the same may be said in other words, or twice.
    pub fn count_different<T: Hash + Eq>(
        &self,
        read: impl Fn(u64) -> Result<T, StoreError>,
    ) -> Result<usize, StoreError> {
        let all = self.bodies.len();
        if all < 2 {
            return Ok(all);
        }
        let mut different = HashSet::new();
        for body in self.bodies.keys().take(COMPARED) {
            different.insert(read(*body)?);
        }
        Ok(different.len() + all.saturating_sub(COMPARED))
    }
}

/// At most `most` items of a kind behind one, by link_id, over all panels or these.
pub fn over_fleet(
    snapshot: &Snapshot,
    kind: Kind,
    among: Option<&BTreeSet<PanelNo>>,
    after: Option<LinkId>,
    most: usize,
) -> Result<BTreeMap<LinkId, OverFleet>, StoreError> {
    let mut found: BTreeMap<LinkId, OverFleet> = BTreeMap::new();
    let wanted = |panel: PanelNo, item: ItemId| {
        item.kind == kind
            && among.is_none_or(|among| among.contains(&panel))
            && after.is_none_or(|after| item.link_id > after)
    };
    snapshot.each_linked(|panel, item, row| {
        if wanted(panel, item) {
            let item = found.entry(item.link_id).or_default();
            *item.bodies.entry(row.body).or_default() += 1;
            item.states.applied += 1;
            if found.len() > most {
                found.pop_last();
            }
        }
    })?;
    // What every panel refuses is nowhere, and somebody wanted it all the same.
    snapshot.each_reported_anywhere(|panel, item, known| {
        if matches!(known, Reported::Refused(_)) && wanted(panel, item) {
            found.entry(item.link_id).or_default();
            if found.len() > most {
                found.pop_last();
            }
        }
        Ok(())
    })?;
    snapshot.each_reported_anywhere(|panel, item, known| {
        if !wanted(panel, item) || matches!(known, Reported::Held(_)) {
            return Ok(());
        }
        let Some(OverFleet { states, .. }) = found.get_mut(&item.link_id) else { return Ok(()) };
        let held = snapshot.row(panel, RowName::Link(item))?.is_some();
        if held {
            states.applied = states.applied.saturating_sub(1);
        }
        if held || matches!(known, Reported::Refused(_)) {
            states.count(ItemState::of(Some(&known)));
        }
        Ok(())
    })?;
    Ok(found)
}

/// A panel that holds an item.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    /// Which panel.
    pub panel: PanelNo,
    /// How it stands there.
    pub state: ItemState,
}

/// An item on all panels.
#[derive(Debug, Default)]
pub struct OnPanels {
    /// Which panels hold each of its bodies.
    pub bodies: BTreeMap<u64, Vec<Holder>>,
    /// In which states.
    pub states: StateCounts,
    /// Which panels refuse it, and why, as far as they are listed.
    pub refused: Vec<RefusingPanel>,
}

/// An item on all panels; nothing where none holds or refuses it.
pub fn on_panels(snapshot: &Snapshot, item: ItemId) -> Result<Option<OnPanels>, StoreError> {
    let mut found = OnPanels::default();
    snapshot.each_panel(|panel, _| {
        let row = snapshot.row(panel, RowName::Link(item))?;
        let known = snapshot.reported(panel, item)?;
        let state = ItemState::of(known.as_ref());
        if let Some(row) = row {
            found.bodies.entry(row.body).or_default().push(Holder { panel, state });
        }
        if row.is_some() || state == ItemState::Rejected {
            found.states.count(state);
        }
        if let Some(Reported::Refused(words)) = known
            && found.refused.len() < LISTED
        {
            let panel = snapshot.panel_name(panel)?.unwrap_or_default();
            found.refused.push(RefusingPanel { panel, extended_info: words.into() });
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(if found.bodies.is_empty() && found.refused.is_empty() { None } else { Some(found) })
}
