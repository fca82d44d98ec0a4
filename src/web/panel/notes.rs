//! What stands beside the verdict on a panel's door: who opens it besides or without its profiles, and what its device has
//! not confirmed.

use std::collections::BTreeSet;

use crate::batch::item::{ItemId, Kind};
use crate::coordinator::register::Entry;
use crate::identifier::rule::ValidTime;
use crate::profile::LinkId;
use crate::store::read::Snapshot;
use crate::store::row::{Drift, Reported, RowName};
use crate::store::{StoreError, identifier_in};
use crate::web::layout;

/// Profiles that a note names.
const NAMED: usize = 5;

/// Identifiers of a panel that are looked at, which are opened one by one for that.
const LOOKED_THROUGH: usize = 2000;

/// What a panel's identifiers make of its profiles.
pub(super) struct Binding {
    /// How many open the door at any time within their validity, since no profile binds them.
    pub(super) at_any_time: u64,
    /// Those of them that the device has not confirmed.
    unconfirmed: u64,
    /// The profiles that some identifier names.
    named: BTreeSet<LinkId>,
    /// Whether these are all of the panel's identifiers.
    all: bool,
}

impl Binding {
    /// Of a panel at a moment, in Unix seconds.
    pub(super) fn of(snapshot: &Snapshot, panel: &Entry, now: i64) -> Result<Self, StoreError> {
        let mut stored = snapshot.items(panel.number, Kind::Identifier, None, LOOKED_THROUGH + 1)?;
        let all = stored.len() <= LOOKED_THROUGH;
        stored.truncate(LOOKED_THROUGH);
        let mut binding = Self { at_any_time: 0, unconfirmed: 0, named: BTreeSet::new(), all };
        for item in stored {
            let identifier = identifier_in(item.json.as_bytes())?;
            let over = matches!(identifier.time, ValidTime::Between { to, .. } if to <= now);
            if identifier.profiles.as_slice().is_empty() && !over && !identifier.time.never() {
                binding.at_any_time += 1;
                if panel.settings.is_device()
                    && let Some(link) = item.link_id()
                {
                    let known = snapshot.reported(panel.number, ItemId::identifier(link))?;
                    binding.unconfirmed += u64::from(known.and_then(unsure).is_some());
                }
            }
            binding.named.extend(identifier.profiles.as_slice());
        }
        Ok(binding)
    }

    /// Who opens the door without a profile, and which of these open profiles let nobody in.
    pub(super) fn notes(&self, open: &[(String, Option<LinkId>)]) -> Vec<String> {
        let mut notes = Vec::new();
        if self.at_any_time > 0 {
            let least = if self.all { "" } else { "At least " };
            let one = self.at_any_time == 1 && self.all;
            let (are, open) = if one { ("is", "opens") } else { ("are", "open") };
            let identifiers = layout::count(self.at_any_time, "identifier");
            let theirs = if one { "its" } else { "their" };
            let unconfirmed = match self.unconfirmed {
                0 => String::new(),
                some => format!("; the device has not confirmed {some} of them"),
            };
            notes.push(format!(
                "{least}{identifiers} {are} bound to no profile and {open} it at any time within {theirs} validity{unconfirmed}."
            ));
        }
        let unbound = open.iter().filter(|(_, link)| link.is_some_and(|link| !self.named.contains(&link)));
        let unbound: Vec<_> = unbound.take(NAMED).map(|(name, _)| name.as_str()).collect();
        if self.all && !unbound.is_empty() {
            notes.push(format!(
                "No identifier kept here is bound to {}: nobody opens by that.",
                unbound.join(", ")
            ));
        }
        notes
    }
}

/// Why a door may not open by an item that its device should hold; nothing where the device has confirmed it.
pub(super) fn unsure(known: Reported) -> Option<&'static str> {
    match known {
        Reported::Held(_) => None,
        Reported::Unknown => Some("pending"),
        Reported::Refused(_) => Some("rejected"),
        Reported::Drifted(Drift::Missing) => Some("missing on the device"),
        Reported::Drifted(Drift::Changed | Drift::Extra) | Reported::KeptOtherwise(_) => {
            Some("another on the device")
        }
    }
}

/// What the device has not confirmed and may change whether its door is open now.
pub(super) fn unconfirmed(
    snapshot: &Snapshot,
    panel: &Entry,
    shut: bool,
    unsure_open: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut notes = Vec::new();
    if shut && !unsure_open.is_empty() {
        let named = unsure_open.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        notes.push(format!("It would be open now by {named}, which the device has not confirmed."));
    }
    let mut leaving = [0_u64; 2];
    if panel.settings.is_device() {
        snapshot.each_reported(panel.number, |item, known| {
            let held = matches!(known, Reported::Held(_));
            if !held && snapshot.row(panel.number, RowName::Link(item))?.is_none() {
                match item.kind {
                    Kind::Profile => leaving[0] += 1,
                    Kind::Identifier => leaving[1] += 1,
                }
            }
            Ok(true)
        })?;
    }
    for (n, kind) in leaving.into_iter().zip([Kind::Profile, Kind::Identifier]).filter(|(n, _)| *n > 0) {
        let items = layout::count(n, kind.as_str());
        notes.push(format!(
            "Its device may still hold {items} that nobody wants there; by those its door may open too."
        ));
    }
    Ok(notes)
}
