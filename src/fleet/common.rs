//! What several panels have in common: what is true of each of them, and so can be said of all as if they were one.
//!
//! A panel's profiles are those that it should hold: of an embedded one that is what it holds; of a device also what it
//! has not confirmed yet, since that is durable here and will be delivered. What a device is known to have refused, or
//! to hold otherwise, is not among them.

use std::collections::{BTreeMap, BTreeSet};

use super::Fleet;
use crate::batch::item::Kind;
use crate::batch::selector::Selector;
use crate::coordinator::register::Entry;
use crate::coordinator::{SubmitError, Target};
use crate::profile::{LinkId, parse};
use crate::store::StoreError;
use crate::store::read::Snapshot;
use crate::store::row::{Reported, Row, RowName};

/// A profile that each of several panels holds alike.
#[derive(Debug)]
pub struct CommonProfile {
    /// None where it was made by uid, on each of the panels.
    pub link_id: Option<LinkId>,
    /// The panels' own number for it, where all of them have the same. Devices number their profiles themselves, and
    /// nobody here knows how.
    pub uid: Option<u32>,
    /// Its JSON, without link_id, in the words of the first panel by id.
    pub json: Box<str>,
}

impl Fleet {
    /// The profiles that every panel which a selector picks holds alike: under the same link_id, or without one under
    /// the same uid, with the same meaning. First those with a link_id, in its order. Looks at every panel until nothing
    /// is left, so it is for a thread that may take its time; what it keeps is no more than the first panel's profiles.
    pub fn common_profiles(&self, selector: Selector) -> Result<Vec<CommonProfile>, SubmitError> {
        let panels = self.targets(&Target::Selector(selector))?;
        let snapshot = self.store.read()?;
        let mut common: Option<BTreeMap<RowName, Candidate>> = None;
        for panel in &panels {
            let rows = standing(&snapshot, panel)?;
            let left = match common.take() {
                None => rows.map(|(name, row)| (name, Candidate::of(panel, row))).collect(),
                Some(mut before) => {
                    let mut left = BTreeMap::new();
                    for (name, row) in rows {
                        let Some(mut candidate) = before.remove(&name) else { continue };
                        if candidate.stays(&snapshot, panel, row)? {
                            left.insert(name, candidate);
                        }
                    }
                    left
                }
            };
            if left.is_empty() {
                return Ok(Vec::new());
            }
            common = Some(left);
        }
        let with_text = |(name, candidate): (RowName, Candidate)| {
            let link_id = name.link_id();
            let json = candidate.text.map_or_else(|| snapshot.body(candidate.body), Ok)?;
            Ok(CommonProfile { link_id, uid: candidate.uid, json })
        };
        common.into_iter().flatten().map(with_text).collect()
    }

    /// The IANA name of the time zone of the panels that a selector picks; none where they are in different ones.
    pub fn common_zone(&self, selector: Selector) -> Result<Option<String>, SubmitError> {
        let panels = self.targets(&Target::Selector(selector))?;
        let mut zones = panels.iter().map(|panel| panel.settings.zone.name());
        let first = zones.next();
        Ok(first.filter(|first| zones.all(|zone| zone == *first)).map(str::to_owned))
    }
}

/// The rows of a panel's profiles, without those of which its device is known not to hold what is desired.
fn standing(
    snapshot: &Snapshot,
    panel: &Entry,
) -> Result<impl Iterator<Item = (RowName, Row)> + use<>, StoreError> {
    let mut otherwise = BTreeSet::new();
    if panel.settings.is_device() {
        let counts = snapshot.reported_counts(panel.number)?;
        if counts.refused + counts.drifted > 0 {
            snapshot.each_reported(panel.number, |item, known| {
                if !matches!(known, Reported::Unknown | Reported::Held(_)) {
                    otherwise.insert(RowName::Link(item));
                }
                Ok(true)
            })?;
        }
    }
    let rows = snapshot.rows(panel.number)?;
    let stands = move |name: &RowName| name.kind() == Kind::Profile && !otherwise.contains(name);
    Ok(rows.into_iter().filter(move |(name, _)| stands(name)))
}

/// A profile that all panels hold which were looked at so far.
struct Candidate {
    /// The first panel's body.
    body: u64,
    /// Its text, once it was needed.
    text: Option<Box<str>>,
    /// Other bodies that say the same.
    same: Vec<u64>,
    uid: Option<u32>,
}

impl Candidate {
    /// Bodies remembered to say the same: a fleet has few wordings of one profile, and the others are read again.
    const REMEMBERED: usize = 8;

    fn of(panel: &Entry, row: Row) -> Self {
        Self { body: row.body, text: None, same: Vec::new(), uid: own_uid(panel, row) }
    }

    /// Whether this panel's row says the same. Equal numbers mean equal texts, so texts are read only where these differ.
    fn stays(&mut self, snapshot: &Snapshot, panel: &Entry, row: Row) -> Result<bool, StoreError> {
        self.uid = self.uid.filter(|uid| own_uid(panel, row) == Some(*uid));
        if row.body == self.body || self.same.contains(&row.body) {
            return Ok(true);
        }
        let text = match self.text.take() {
            Some(text) => text,
            None => snapshot.body(self.body)?,
        };
        let other = snapshot.body(row.body)?;
        let same = parse::say_the_same(self.text.insert(text).as_bytes(), other.as_bytes())
            .map_err(|_| StoreError::Corrupt("body"))?;
        if same && self.same.len() < Self::REMEMBERED {
            self.same.push(row.body);
        }
        Ok(same)
    }
}

/// The uid under which a panel itself knows a profile.
fn own_uid(panel: &Entry, row: Row) -> Option<u32> {
    (!panel.settings.is_device()).then_some(row.uid)
}
