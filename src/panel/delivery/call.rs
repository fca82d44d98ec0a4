//! What the next call to a device asks for.
//!
//! Work is the difference between what is desired and what the device has confirmed, read anew for every call.
//! So the first send, a retry, a restart, a device that is back and a repair are all the same, only the latest
//! desired state of an item is ever sent, and nothing beside the state can disagree with it.
//!
//! **Nobody is locked out.** Upserts come before deletes, and a device is never cleared: a right that holds before
//! and after is there in between. Where a device is too full for an upsert while deletes wait, the upsert waits
//! for them.
//!
//! **Nobody is let in.** An identifier is never on a device with rights that it has neither before nor after. New profiles
//! come first, since identifiers name them, and profiles go last, when nothing names them. Where a profile changes under
//! an identifier that changes which ones it names, the order of the two decides what opens in between: so one that leaves
//! it goes before it changes, and one that comes to it goes after; one that becomes less, by its lock, validity or passes,
//! goes before, and one that becomes more goes after. Where neither is right, it is taken down for that moment, for less is
//! better than more. And where a device refused such an identifier, a profile that was to change after it does not.
//!
//! A number that moves from one identifier to another is taken from the first in a call of its own; so is an identifier
//! that becomes one of another type.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::batch::ItemOutcome;
use crate::batch::item::{ItemId, Kind};
use crate::identifier::number::Credential;
use crate::identifier::rule::{Lock, Passes, ValidTime};
use crate::profile::LinkId;
use crate::store::row::Row;

/// The next call to a device. Its items are of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Create or update these, each as it is desired by its row.
    Upsert(Vec<(ItemId, Row)>),
    /// Delete these. One that is desired is taken down to be made anew.
    Delete(Vec<(ItemId, Option<Row>)>),
    /// Not to be called: the device would take these, or lose them, and somebody could open a door who should not. They are
    /// refused here, in this word, as they are desired.
    Refuse(Vec<(ItemId, Option<Row>)>, &'static str),
}

impl Call {
    /// How many items it has.
    pub fn count(&self) -> usize {
        match self {
            Self::Upsert(items) => items.len(),
            Self::Delete(items) | Self::Refuse(items, _) => items.len(),
        }
    }

    /// Its items, in order.
    pub fn items(&self) -> Vec<ItemId> {
        match self {
            Self::Upsert(items) => items.iter().map(|(item, _)| *item).collect(),
            Self::Delete(items) | Self::Refuse(items, _) => items.iter().map(|(item, _)| *item).collect(),
        }
    }
}

/// An identifier, as far as the order of calls depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Its type and number.
    pub credential: Credential,
    /// Which lock it opens.
    pub lock: Lock,
    /// When it is valid at all.
    pub time: ValidTime,
    /// How often it opens.
    pub passes: Passes,
    /// The profiles that it names.
    pub profiles: Arc<[LinkId]>,
}

impl Rights {
    fn names_any(&self, profiles: &HashSet<LinkId>) -> bool {
        self.profiles.iter().any(|link| profiles.contains(link))
    }

    /// Whether that one opens wherever, whenever and as often as this one, if their profiles were the same.
    fn is_within(&self, that: &Self) -> bool {
        self.lock.is_within(that.lock) && self.time.is_within(that.time) && self.passes.is_within(that.passes)
    }

    /// When what is this becomes that, while these profiles change; nothing where it does not matter.
    ///
    /// In between it opens as it is to be by the profiles as they were, or as it was by the profiles as they are to be. The
    /// one is right where it names no changing profile then, or where it becomes less and leaves none, and comes to none that
    /// changes: one that it leaves may give a moment that a changing one gives later. The other is right just the other
    /// way round. And with another number nothing is right but what names no changing profile.
    fn turn_to(&self, after: &Self, changed: &HashSet<LinkId>) -> Option<Turn> {
        let not_in = |one: &Self, other: &Self| -> Vec<LinkId> {
            one.profiles.iter().filter(|link| !other.profiles.contains(link)).copied().collect()
        };
        let (leaves, comes) = (not_in(self, after), not_in(after, self));
        let any_changes = |links: &[LinkId]| links.iter().any(|link| changed.contains(link));
        let same_number = self.credential == after.credential;
        let early = !after.names_any(changed)
            || (same_number && after.is_within(self) && leaves.is_empty() && !any_changes(&comes));
        let late = !self.names_any(changed)
            || (same_number && self.is_within(after) && comes.is_empty() && !any_changes(&leaves));
        match (early, late) {
            (true, true) => None,
            (true, false) => Some(Turn::Early),
            (false, true) => Some(Turn::Late),
            (false, false) => Some(Turn::DownFirst),
        }
    }
}

/// An item whose state on the device is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Which.
    pub item: ItemId,
    /// What is desired of it.
    pub desired: Option<Row>,
    /// Whether the device holds it, or perhaps does.
    pub is_held: bool,
    /// Whether it perhaps does not, though it perhaps does.
    pub perhaps_absent: bool,
    /// Of an identifier, all that the device perhaps holds.
    pub before: Vec<Rights>,
    /// Of an identifier that is desired, what it is to be; not looked at where the device holds nothing.
    pub after: Option<Rights>,
}

/// When an identifier is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Taken down before anything changes.
    DownFirst,
    /// Changed before profiles change.
    Early,
    /// Changed after them.
    Late,
    /// Taken down after all of these.
    Down,
}

impl Unsettled {
    /// When this identifier is sent, while these profiles change.
    fn turn(&self, changed: &HashSet<LinkId>) -> Turn {
        let Some(after) = &self.after else {
            let leaves = self.before.iter().any(|before| before.names_any(changed));
            return if self.desired.is_some() {
                Turn::Late
            } else if leaves {
                Turn::DownFirst
            } else {
                Turn::Down
            };
        };
        if self.before.iter().any(|before| before.credential.kind() != after.credential.kind()) {
            return Turn::DownFirst;
        }
        let mut turn = None;
        for before in &self.before {
            let Some(its) = before.turn_to(after, changed) else { continue };
            if turn.is_some_and(|turn| turn != its) {
                return Turn::DownFirst;
            }
            turn = Some(its);
        }
        // Where it is not there, it would come by profiles as they were.
        if turn == Some(Turn::Early) && self.perhaps_absent && after.names_any(changed) {
            return Turn::DownFirst;
        }
        turn.unwrap_or(Turn::Late)
    }

    fn names_any(&self, profiles: &HashSet<LinkId>) -> bool {
        self.before.iter().chain(&self.after).any(|rights| rights.names_any(profiles))
    }
}

/// What does not change on the device, though it is not as it is desired.
#[derive(Debug, Default)]
pub struct Kept {
    /// Profiles that such identifiers name: they do not go.
    pub named: HashSet<LinkId>,
    /// Identifiers of which the device refused what is desired, with what it holds of them.
    pub refused: Vec<Unsettled>,
}

/// The next call of at most `limit` items. `held_back` are upserts that wait until there is nothing left to delete.
pub fn next_call(
    unsettled: &[Unsettled],
    limit: usize,
    held_back: &HashSet<ItemId>,
    kept: &Kept,
) -> Option<Call> {
    let of_kind = |kind| unsettled.iter().filter(move |item| item.item.kind == kind);
    let is_back = |item: &&Unsettled| held_back.contains(&item.item);
    let profiles: Vec<_> = of_kind(Kind::Profile).filter(|item| item.desired.is_some()).collect();
    let (new, changed): (Vec<&Unsettled>, Vec<&Unsettled>) =
        profiles.iter().copied().filter(|item| !is_back(item)).partition(|item| !item.is_held);
    let changing: HashSet<_> =
        profiles.iter().filter(|item| item.is_held).filter_map(|item| item.item.profile_link()).collect();
    // Identifiers that name a profile which is not sent yet wait for it.
    let not_yet: HashSet<_> =
        profiles.iter().filter(|item| is_back(item)).filter_map(|item| item.item.profile_link()).collect();
    let with_turn: Vec<_> = of_kind(Kind::Identifier).map(|item| (item, item.turn(&changing))).collect();
    let at = |turn| {
        let those = with_turn.iter().filter(move |(_, its)| *its == turn).map(|(item, _)| *item);
        those.collect::<Vec<_>>()
    };
    let is_ready = |item: &&Unsettled| !is_back(item) && !item.names_any(&not_yet);
    let (late, last): (Vec<_>, Vec<_>) = at(Turn::Late).into_iter().partition(is_ready);
    let (early, not_early): (Vec<_>, Vec<_>) = at(Turn::Early).into_iter().partition(is_ready);
    // What one leaves that cannot be sent yet does not change before it.
    let left: HashSet<_> =
        not_early.iter().flat_map(|item| &item.before).flat_map(|before| before.profiles.iter()).collect();
    // What one was to leave before, or to be taken down before, and is there yet, does not change either.
    let stuck: HashSet<_> = kept
        .refused
        .iter()
        .filter(|item| matches!(item.turn(&changing), Turn::DownFirst | Turn::Early))
        .flat_map(|item| item.before.iter().flat_map(|before| before.profiles.iter()))
        .collect();
    let (stuck, profiles): (Vec<_>, Vec<_>) =
        profiles.into_iter().partition(|item| item.is_held && stuck.contains(&item.item.link_id));
    let changed: Vec<_> = changed
        .into_iter()
        .filter(|profile| !left.contains(&profile.item.link_id) && !stuck.contains(profile))
        .collect();
    let last = [not_early, late.clone(), last].concat();
    let down = at(Turn::Down);
    let displaced = displaced(&with_turn);
    let gone: Vec<_> = of_kind(Kind::Profile).filter(|item| item.desired.is_none()).collect();
    let named_yet: HashSet<LinkId> = with_turn
        .iter()
        .flat_map(|(item, _)| &item.before)
        .flat_map(|before| before.profiles.iter().copied())
        .collect();
    let is_named = |item: &&&Unsettled, by: &HashSet<LinkId>| by.contains(&item.item.link_id);
    let (spared, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(|item| is_named(&item, &kept.named));
    let gone: Vec<_> = gone.into_iter().filter(|item| !is_named(&item, &named_yet)).collect();
    let back: Vec<_> = profiles.iter().copied().filter(is_back).collect();
    upsert(&new, limit)
        .or_else(|| delete(&displaced, limit))
        .or_else(|| delete(&at(Turn::DownFirst), limit))
        .or_else(|| upsert_in_order(&early, &with_turn, limit))
        .or_else(|| upsert(&changed, limit))
        .or_else(|| upsert_in_order(&late, &with_turn, limit))
        .or_else(|| delete(&down, limit))
        .or_else(|| delete(&gone, limit))
        .or_else(|| {
            some(stuck.iter().chain(&spared).map(|item| (item.item, item.desired)).take(limit).collect())
                .map(|spared| Call::Refuse(spared, ItemOutcome::Bound.extended_info()))
        })
        .or_else(|| upsert(&back, limit))
        .or_else(|| upsert_in_order(&last, &with_turn, limit))
        .or_else(|| upsert(&profiles, limit))
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn upsert(items: &[&Unsettled], limit: usize) -> Option<Call> {
    some(items.iter().filter_map(|item| Some((item.item, item.desired?))).take(limit).collect())
        .map(Call::Upsert)
}

fn delete(items: &[&Unsettled], limit: usize) -> Option<Call> {
    some(items.iter().map(|item| (item.item, item.desired)).take(limit).collect()).map(Call::Delete)
}

/// Identifiers that are to go, and whose number another one is to have.
fn displaced<'u>(identifiers: &[(&'u Unsettled, Turn)]) -> Vec<&'u Unsettled> {
    let wanted: HashSet<_> =
        identifiers.iter().filter_map(|(item, _)| Some(&item.after.as_ref()?.credential)).collect();
    let goes = |item: &&Unsettled| {
        item.desired.is_none() && item.before.iter().any(|before| wanted.contains(&before.credential))
    };
    identifiers.iter().map(|(item, _)| *item).filter(goes).collect()
}

/// Those first whose number no other one has on the device. Where each waits for another one, one is taken down.
fn upsert_in_order(items: &[&Unsettled], all: &[(&Unsettled, Turn)], limit: usize) -> Option<Call> {
    let mut holders: HashMap<_, Vec<_>> = HashMap::new();
    for (item, before) in
        all.iter().flat_map(|(item, _)| item.before.iter().map(|before| (item.item, before)))
    {
        holders.entry(&before.credential).or_default().push(item);
    }
    let is_free = |item: &&&Unsettled| {
        let holders = item.after.as_ref().and_then(|after| holders.get(&after.credential));
        holders.is_none_or(|holders| holders.iter().all(|holder| *holder == item.item))
    };
    let free: Vec<_> = items.iter().filter(is_free).copied().collect();
    // One that the device does not hold frees nobody's number.
    let is_there = |item: &&&Unsettled| !item.before.is_empty();
    upsert(&free, limit)
        .or_else(|| items.iter().find(is_there).map(|item| Call::Delete(vec![(item.item, item.desired)])))
}

/// Whether a device refuses an upsert because it is full.
pub fn says_full(word: &str) -> bool {
    ["number_of_identifiers_exceeded", "number_of_entities_exceeded", "number_of_face_identifiers_exceeded"]
        .iter()
        .any(|full| says(word, full))
}

/// Whether a device says that it lacks a profile which an identifier names.
pub fn says_no_profile(word: &str) -> bool {
    says(word, "bound_time_profile_doesnt_exist")
}

/// Whether a device says that what it was to delete is not there.
pub fn says_gone(word: &str) -> bool {
    says(word, "entity_not_found") || says(word, "not_found")
}

/// Whether a device's word is this one, or has it among others.
pub fn says(word: &str, one: &str) -> bool {
    word.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|part| part == one)
}

#[cfg(test)]
mod tests;
