//! The rules between a panel's items: an identifier names profiles that are there, one number belongs to one identifier, and
//! a profile that identifiers name does not go. They are asked of what stands after the batch.
//!
//! A real panel may only detach a profile that goes, and then its identifiers open at any time. So none goes from under one.

use std::collections::{HashMap, HashSet};

use super::Standing;
use crate::batch::item::{ItemId, Kind};
use crate::batch::{Content, ItemOutcome, Operations};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::profile::LinkId;
use crate::store::StoreError;
use crate::store::row::{Row, RowName};

/// What the rules refuse of a batch's operations on one panel.
pub struct Rules<'o> {
    operations: &'o Operations,
    /// Whether the batch and the panel have anything between which there are rules.
    apply: bool,
    /// The upserts of identifiers that are refused, by their indexes.
    refused: HashMap<usize, ItemOutcome>,
    /// The upserts that were refused for other reasons.
    refused_otherwise: HashSet<usize>,
    /// The panel's identifiers as they stand, once they are asked for.
    identifiers: Option<Vec<(RowName, Row)>>,
    /// The profiles that identifiers name after the batch, once that is asked.
    bound: Option<HashSet<LinkId>>,
}

impl<'o> Rules<'o> {
    /// Asks the rules of identifiers, each of which refuses the later one of two. `is_refused` are upserts of which that is
    /// known before.
    pub fn of(
        standing: &mut impl Standing,
        operations: &'o Operations,
        is_refused: impl Fn(usize) -> bool,
    ) -> Result<Self, StoreError> {
        let upserts = operations.identifiers().next().is_some();
        let deletes = operations.prune()
            || !operations.schedules.is_empty()
            || operations.deletes.iter().any(|item| item.kind == Kind::Profile);
        let apply = upserts || (deletes && standing.count(Kind::Identifier)? > 0);
        let mut rules = Self {
            operations,
            apply,
            refused: HashMap::new(),
            refused_otherwise: HashSet::new(),
            identifiers: None,
            bound: None,
        };
        if upserts {
            let known = operations.upserts.iter().enumerate();
            rules.refused_otherwise =
                known.filter(|(i, upsert)| upsert.repeated || is_refused(*i)).map(|(i, _)| i).collect();
            rules.ask_until_settled(standing)?;
        }
        Ok(rules)
    }

    /// Why the upsert at this index is refused, if it is.
    pub fn refuses_upsert(&self, index: usize) -> Option<ItemOutcome> {
        self.refused.get(&index).copied()
    }

    /// The upsert at this index is refused, and what it would have changed stays.
    pub fn upsert_was_refused(
        &mut self,
        standing: &mut impl Standing,
        index: usize,
    ) -> Result<(), StoreError> {
        if !self.apply || self.refused.contains_key(&index) || !self.refused_otherwise.insert(index) {
            return Ok(());
        }
        self.bound = None;
        let Some(item) = self.operations.upserts.get(index).map(|upsert| upsert.item) else { return Ok(()) };
        if item.kind == Kind::Identifier && standing.row(item)?.is_none() {
            return Ok(()); // it would have been new, and leaves nothing to anybody
        }
        self.ask_until_settled(standing)
    }

    /// What is refused stays as it is, which may be why another one is refused.
    fn ask_until_settled(&mut self, standing: &mut impl Standing) -> Result<(), StoreError> {
        loop {
            let before = self.refused.len();
            for (i, link_id, identifier) in self.operations.identifiers() {
                if !self.is_refused(i)
                    && let Some(refusal) = self.ask(standing, i, link_id, identifier)?
                {
                    self.refused.insert(i, refusal);
                }
            }
            if self.refused.len() == before {
                return Ok(());
            }
        }
    }

    fn is_refused(&self, index: usize) -> bool {
        self.refused.contains_key(&index) || self.refused_otherwise.contains(&index)
    }

    fn ask(
        &mut self,
        standing: &mut impl Standing,
        index: usize,
        link_id: LinkId,
        identifier: &Identifier,
    ) -> Result<Option<ItemOutcome>, StoreError> {
        for profile in identifier.profiles.as_slice() {
            if !self.is_there(standing, *profile)? {
                return Ok(Some(ItemOutcome::NoProfile));
            }
        }
        let taken = self.is_taken(standing, index, link_id, &identifier.credential)?;
        Ok(taken.then_some(ItemOutcome::NumberTaken))
    }

    /// Whether a profile is on the panel after the batch, if it may go.
    fn is_there(&self, standing: &mut impl Standing, profile: LinkId) -> Result<bool, StoreError> {
        let item = ItemId::profile(profile);
        let upserted = self.operations.upsert_of(item).is_some_and(|i| !self.is_refused(i));
        Ok(upserted || (standing.row(item)?.is_some() && !self.operations.deletes_item(item)))
    }

    /// What another identifier is changed to.
    fn changed_to(&self, item: ItemId) -> Option<&'o Identifier> {
        let i = self.operations.upsert_of(item).filter(|i| !self.is_refused(*i))?;
        match &self.operations.upserts.get(i)?.content {
            Content::Identifier(identifier, _) => Some(identifier),
            Content::Profile(_) | Content::ByTheClock(_) => None,
        }
    }

    fn is_taken(
        &mut self,
        standing: &mut impl Standing,
        index: usize,
        link_id: LinkId,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        if self.operations.first_with(credential).is_some_and(|first| first < index) {
            let mut earlier = self.operations.identifiers().take_while(|(i, ..)| *i < index);
            if earlier.any(|(i, other, identifier)| {
                other != link_id && identifier.credential == *credential && !self.is_refused(i)
            }) {
                return Ok(true);
            }
        }
        let mut bodies = standing.bodies_with(credential)?;
        // Nobody else on the panel has the body that is mine.
        if let Some(row) = standing.row(ItemId::identifier(link_id))? {
            bodies.retain(|body| *body != row.body);
        }
        if bodies.is_empty() {
            return Ok(false);
        }
        self.read_identifiers(standing)?;
        let me = RowName::Link(ItemId::identifier(link_id));
        let mut holders = self.identifiers.iter().flatten();
        Ok(holders.any(|(name, row)| {
            *name != me
                && bodies.contains(&row.body)
                && match name {
                    RowName::Uid(..) => true,
                    RowName::Link(item) => {
                        let gives_up =
                            self.changed_to(*item).is_some_and(|other| other.credential != *credential);
                        !self.operations.deletes_item(*item) && !gives_up
                    }
                }
        }))
    }

    fn read_identifiers(&mut self, standing: &mut impl Standing) -> Result<(), StoreError> {
        if self.identifiers.is_none() {
            let mut all = standing.all()?;
            all.retain(|(name, _)| name.kind() == Kind::Identifier);
            self.identifiers = Some(all);
        }
        Ok(())
    }

    /// Whether an item does not go, though the batch deletes it: a profile that an identifier names after the batch.
    pub fn refuses_delete(&mut self, standing: &mut impl Standing, item: ItemId) -> Result<bool, StoreError> {
        if !self.apply || item.kind != Kind::Profile {
            return Ok(false);
        }
        if self.bound.is_none() {
            self.read_identifiers(standing)?;
            let mut bound = HashSet::new();
            for (name, row) in self.identifiers.iter().flatten() {
                let changed = match name {
                    RowName::Link(item) if self.operations.deletes_item(*item) => continue,
                    RowName::Link(item) => self.changed_to(*item),
                    RowName::Uid(..) => None,
                };
                if changed.is_none() {
                    bound.extend(standing.bound_to(row)?.iter());
                }
            }
            for (i, upsert) in self.operations.upserts.iter().enumerate() {
                if let Content::Identifier(identifier, _) = &upsert.content
                    && !self.is_refused(i)
                {
                    bound.extend(identifier.profiles.as_slice());
                }
            }
            self.bound = Some(bound);
        }
        Ok(self.bound.as_ref().is_some_and(|bound| bound.contains(&item.link_id)))
    }
}
