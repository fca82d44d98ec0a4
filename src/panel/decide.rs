//! What operations do to the rows that stand on a panel: a pure function, so that a dry run asks the same one.
//!
//! What the rules between a panel's items refuse ([`rules`]) is refused of embedded and of remote panels alike.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::batch::item::{ItemId, Kind};
use crate::batch::{Body, Content, ItemOutcome, Operations, Outcome, Upsert, Zoned};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::rule::{Api, Kind::Face};
use crate::profile::LinkId;
use crate::schedule::compile::{is_derived, is_part_of};
use crate::store::StoreError;
use crate::store::row::{Row, RowName};

pub mod rules;

use rules::Rules;

/// The rows that stand on one panel, as far as a decision asks for them.
pub trait Standing {
    /// How many items of a kind the panel holds.
    fn count(&mut self, kind: Kind) -> Result<u32, StoreError>;
    /// The row of an item.
    fn row(&mut self, item: ItemId) -> Result<Option<Row>, StoreError>;
    /// Whether a row's body is this one, word for word.
    fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError>;
    /// All rows; asked only for pruning, for names and for the rules.
    fn all(&mut self) -> Result<Vec<(RowName, Row)>, StoreError>;
    /// The name in a row's body, of an identifier its owner's; asked only where panels tell taken names.
    fn name(&mut self, kind: Kind, row: &Row) -> Result<Box<str>, StoreError>;
    /// The text of a body; asked only for an undo.
    fn text(&mut self, body: u64) -> Result<Box<[u8]>, StoreError>;
    /// The numbers of the bodies with this type and number, on whatever panels.
    fn bodies_with(&mut self, credential: &Credential) -> Result<Vec<u64>, StoreError>;
    /// The time profiles that the identifier in a row names.
    fn bound_to(&mut self, row: &Row) -> Result<Arc<[LinkId]>, StoreError>;
    /// Whether the identifier in a row is a face; asked only where there is a capacity for these.
    fn is_face(&mut self, row: &Row) -> Result<bool, StoreError>;
}

/// The settings that a decision depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many items of each kind the panel holds at most, by the kinds' numbers.
    pub capacity: [Option<u32>; Kind::ALL.len()],
    /// How many of the identifiers may be faces.
    pub faces: Option<u32>,
    /// What identifiers the panel takes; without it none.
    pub identifiers: Option<Api>,
    /// Whether to look for other items of the same name.
    pub look_for_names: bool,
}

/// One change to a panel's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Write the upsert of this index where this row stands, or as a new one.
    Put(usize, Option<Row>),
    /// Delete the row of this item.
    Remove(ItemId, Row),
}

/// What is to change and what each item comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// One outcome per named item, in item order.
    pub items: Vec<ItemOutcome>,
    /// What pruning deletes beyond the named items.
    pub pruned: Vec<ItemId>,
    /// What it leaves there, since identifiers name it.
    pub left: Vec<ItemId>,
    /// For each upsert, whether another item of its kind bears its name; empty unless looked for.
    pub names_taken: Vec<bool>,
}

impl Decision {
    /// What comes of the batch on the panel.
    pub fn into_outcome(self, attempts: u16) -> Outcome {
        Outcome::decided(self.items, self.pruned, bound(self.left), attempts)
    }
}

/// What pruning leaves, with why: identifiers name it.
pub fn bound(left: Vec<ItemId>) -> Vec<(ItemId, ItemOutcome)> {
    left.into_iter().map(|item| (item, ItemOutcome::Bound)).collect()
}

/// Decides on the operations, in their order: upserts, deletes, pruning.
pub fn decide(standing: &mut impl Standing, zoned: &Zoned, limits: Limits) -> Result<Decision, StoreError> {
    let operations = zoned.operations();
    let mut decision = Decision { items: Vec::with_capacity(operations.len()), ..Decision::default() };
    let mut names = if limits.look_for_names { Some(Names::of(standing, operations)?) } else { None };
    let mut room = Room::of(standing, operations, limits)?;
    let unfit: Vec<_> = operations.upserts.iter().map(|upsert| unfit(upsert, limits)).collect();
    let mut rules = Rules::of(standing, operations, |i| zoned.never_opens(i) || unfit[i].is_some())?;
    let mut refusals = Vec::with_capacity(operations.upserts.len());
    for (i, upsert) in operations.upserts.iter().enumerate() {
        let refusal = if upsert.repeated {
            Some(ItemOutcome::Repeated)
        } else if unfit[i].is_some() {
            unfit[i]
        } else if zoned.never_opens(i) {
            Some(ItemOutcome::NeverOpens)
        } else if let Some(refusal) = rules.refuses_upsert(i) {
            Some(refusal)
        } else {
            room.refuses(standing, upsert)?
        };
        if refusal.is_some() {
            rules.upsert_was_refused(standing, i)?;
        }
        refusals.push(refusal);
    }
    for (i, (upsert, refusal)) in operations.upserts.iter().zip(refusals).enumerate() {
        // What a later refusal leaves as it is may be why an earlier one is refused.
        let outcome = match (refusal.or_else(|| rules.refuses_upsert(i)), standing.row(upsert.item)?) {
            (Some(refusal), _) => refusal,
            (None, None) => {
                decision.changes.push(Change::Put(i, None));
                ItemOutcome::Created
            }
            (None, Some(row)) if standing.holds(&row, &upsert.body)? => ItemOutcome::Unchanged,
            // Also where it says the same in other words: it is read back in those in which it was sent last.
            (None, Some(row)) => {
                decision.changes.push(Change::Put(i, Some(row)));
                ItemOutcome::Updated
            }
        };
        if let Some(names) = &mut names {
            let name = match &upsert.content {
                Content::Profile(profile) => &profile.name,
                Content::ByTheClock(part) => &part.name,
                Content::Identifier(identifier, _) => &identifier.name,
            };
            let taken = !outcome.refused() && names.name_item(upsert.item, name.as_str());
            decision.names_taken.push(taken);
        }
        decision.items.push(outcome);
    }
    decide_deletes(standing, &operations.deletes, &mut rules, &mut decision)?;
    for (item, row) in replaced_parts(standing, operations, &decision.items)? {
        if rules.refuses_delete(standing, item)? {
            decision.left.push(item);
            continue;
        }
        decision.changes.push(Change::Remove(item, row));
        decision.pruned.push(item);
    }
    if operations.prune() {
        let named: HashSet<_> = operations.items().collect();
        for (name, row) in standing.all()? {
            if let RowName::Link(item) = name
                && operations.pruned_kinds.contains(&item.kind)
                && !named.contains(&item)
            {
                if rules.refuses_delete(standing, item)? {
                    decision.left.push(item);
                    continue;
                }
                decision.changes.push(Change::Remove(item, row));
                decision.pruned.push(item);
            }
        }
    }
    Ok(decision)
}

/// What a panel of this kind does not take at all.
pub fn unfit(upsert: &Upsert, limits: Limits) -> Option<ItemOutcome> {
    match &upsert.content {
        Content::Identifier(identifier, _) => match limits.identifiers {
            Some(api) => identifier.refused_by(api).map(ItemOutcome::from),
            None => Some(ItemOutcome::Refused),
        },
        Content::Profile(_) | Content::ByTheClock(_) => None,
    }
}

/// Parts of the batch's schedules that the panel holds and the batch does not name: they go by themselves. Where what comes of
/// the items refuses any part there are none, since of a schedule that cannot be said whole, what stands is better than a
/// part of what is new.
pub fn replaced_parts(
    standing: &mut impl Standing,
    operations: &Operations,
    items: &[ItemOutcome],
) -> Result<Vec<(ItemId, Row)>, StoreError> {
    let mut replaced = Vec::new();
    if operations.schedules.is_empty() || !operations.parts_are_whole(items) {
        return Ok(replaced);
    }
    for (name, row) in standing.all()? {
        if let RowName::Link(item) = name
            && item.kind == Kind::Profile
            && operations.upsert_of(item).is_none()
            && !operations.deletes_item(item)
            && is_derived(item.link_id)
            && is_part_of(&operations.schedules, item.link_id, &standing.name(Kind::Profile, &row)?)
        {
            replaced.push((item, row));
        }
    }
    Ok(replaced)
}

/// How many of the panel's identifiers are faces.
pub fn faces(standing: &mut impl Standing) -> Result<u32, StoreError> {
    let mut faces = 0;
    for (name, row) in standing.all()? {
        if name.kind() == Kind::Identifier && standing.is_face(&row)? {
            faces += 1;
        }
    }
    Ok(faces)
}

/// How much room is left on a panel.
struct Room {
    items: [u32; Kind::ALL.len()],
    faces: Option<u32>,
}

impl Room {
    fn of(standing: &mut impl Standing, operations: &Operations, limits: Limits) -> Result<Self, StoreError> {
        let mut items = [u32::MAX; Kind::ALL.len()];
        for kind in Kind::ALL {
            if let Some(capacity) = limits.capacity[kind as usize] {
                items[kind as usize] = capacity.saturating_sub(standing.count(kind)?);
            }
        }
        let is_face = |identifier: &Identifier| identifier.credential.kind() == Face;
        let mut room = limits.faces;
        if let Some(room) = &mut room
            && operations.identifiers().any(|(_, _, identifier)| is_face(identifier))
        {
            *room = room.saturating_sub(faces(standing)?);
        }
        Ok(Self { items, faces: room })
    }

    /// Takes the room that an upsert needs, or says that there is none.
    fn refuses(
        &mut self,
        standing: &mut impl Standing,
        upsert: &Upsert,
    ) -> Result<Option<ItemOutcome>, StoreError> {
        let is_face = upsert.body.credential().is_some_and(|credential| credential.kind() == Face);
        let room = &mut self.items[upsert.item.kind as usize];
        if *room == u32::MAX && !(is_face && self.faces.is_some()) {
            return Ok(None); // there is no end of it
        }
        let row = standing.row(upsert.item)?;
        if row.is_none() && *room == 0 {
            return Ok(Some(ItemOutcome::Full));
        }
        if let (true, Some(faces)) = (is_face, &mut self.faces) {
            let was_face = match &row {
                Some(row) => standing.is_face(row)?,
                None => false,
            };
            match (was_face, &mut *faces) {
                (true, _) => {}
                (false, 0) => return Ok(Some(ItemOutcome::FacesFull)),
                (false, faces) => *faces -= 1,
            }
        }
        if row.is_none() {
            *room = room.saturating_sub(1);
        }
        Ok(None)
    }
}

fn decide_deletes(
    standing: &mut impl Standing,
    deletes: &[ItemId],
    rules: &mut Rules<'_>,
    decision: &mut Decision,
) -> Result<(), StoreError> {
    let mut gone = HashSet::new();
    for item in deletes {
        let outcome = match standing.row(*item)? {
            Some(_) if rules.refuses_delete(standing, *item)? => ItemOutcome::Bound,
            Some(row) if gone.insert(*item) => {
                decision.changes.push(Change::Remove(*item, row));
                ItemOutcome::Deleted
            }
            Some(_) | None => ItemOutcome::NotFound,
        };
        decision.items.push(outcome);
    }
    Ok(())
}

/// Which names the panel's items of the named kinds bear, kept up to date while items are decided on.
struct Names {
    of_item: BTreeMap<ItemId, Box<str>>,
    bearers: HashMap<(Kind, Box<str>), u32>,
}

impl Names {
    fn of(standing: &mut impl Standing, operations: &Operations) -> Result<Self, StoreError> {
        let mut names = Self { of_item: BTreeMap::new(), bearers: HashMap::new() };
        for (row_name, row) in standing.all()? {
            let kind = row_name.kind();
            if !operations.concerns(kind) {
                continue;
            }
            let name = standing.name(kind, &row)?;
            *names.bearers.entry((kind, name.clone())).or_default() += 1;
            if let RowName::Link(item) = row_name {
                names.of_item.insert(item, name);
            }
        }
        Ok(names)
    }

    /// This item bears this name now; says whether another one of its kind does too.
    fn name_item(&mut self, item: ItemId, name: &str) -> bool {
        if let Some(old) = self.of_item.insert(item, name.into())
            && let Some(bearers) = self.bearers.get_mut(&(item.kind, old))
        {
            *bearers -= 1;
        }
        let bearers = self.bearers.entry((item.kind, name.into())).or_default();
        *bearers += 1;
        *bearers > 1
    }
}

#[cfg(test)]
mod tests;
