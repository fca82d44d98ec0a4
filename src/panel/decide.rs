//! What operations do to the rows that stand on a panel: a pure function, so that a dry run asks the same one.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::batch::item::{ItemId, Kind};
use crate::batch::{Body, Content, ItemOutcome, Zoned};
use crate::profile::LinkId;
use crate::store::StoreError;
use crate::store::row::{Row, RowName};

/// The rows that stand on one panel, as far as a decision asks for them.
pub trait Standing {
    /// How many profiles the panel holds; asked only where there is a capacity.
    fn count(&mut self) -> Result<u32, StoreError>;
    /// The row of an item.
    fn row(&mut self, item: ItemId) -> Result<Option<Row>, StoreError>;
    /// Whether a row's body is this one, word for word.
    fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError>;
    /// All rows; asked only for pruning and for names.
    fn all(&mut self) -> Result<Vec<(RowName, Row)>, StoreError>;
    /// The name in a row's body; asked only where panels tell taken names.
    fn name(&mut self, row: &Row) -> Result<Box<str>, StoreError>;
}

/// The settings that a decision depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many profiles the panel holds at most.
    pub capacity: Option<u32>,
    /// Whether to look for other profiles of the same name.
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
    /// For each upsert, whether another profile bears its name; empty unless looked for.
    pub names_taken: Vec<bool>,
}

/// Decides on the operations, in their order: upserts, deletes, pruning.
pub fn decide(standing: &mut impl Standing, zoned: &Zoned, limits: Limits) -> Result<Decision, StoreError> {
    let operations = zoned.operations();
    let mut decision = Decision { items: Vec::with_capacity(operations.len()), ..Decision::default() };
    let mut names = if limits.look_for_names { Some(Names::of(standing)?) } else { None };
    let mut room = match limits.capacity {
        Some(capacity) => capacity.saturating_sub(standing.count()?),
        None => u32::MAX,
    };
    for (i, upsert) in operations.upserts.iter().enumerate() {
        let outcome = if upsert.repeated {
            ItemOutcome::Repeated
        } else if zoned.never_opens(i) {
            ItemOutcome::NeverOpens
        } else {
            match standing.row(upsert.item)? {
                None if room == 0 => ItemOutcome::Full,
                None => {
                    room -= 1;
                    decision.changes.push(Change::Put(i, None));
                    ItemOutcome::Created
                }
                Some(row) if standing.holds(&row, &upsert.body)? => ItemOutcome::Unchanged,
                // Also where it says the same in other words: it is read back in those in which it was sent last.
                Some(row) => {
                    decision.changes.push(Change::Put(i, Some(row)));
                    ItemOutcome::Updated
                }
            }
        };
        if let Some(names) = &mut names {
            let Content::Profile(profile) = &upsert.content;
            let taken = !outcome.refused() && names.name_profile(upsert.item.link_id, profile.name.as_str());
            decision.names_taken.push(taken);
        }
        decision.items.push(outcome);
    }
    decide_deletes(standing, &operations.deletes, &mut decision)?;
    if operations.prune() {
        let named: HashSet<_> = operations.items().collect();
        for (name, row) in standing.all()? {
            if let RowName::Link(item) = name
                && operations.pruned_kinds.contains(&item.kind)
                && !named.contains(&item)
            {
                decision.changes.push(Change::Remove(item, row));
                decision.pruned.push(item);
            }
        }
    }
    Ok(decision)
}

fn decide_deletes(
    standing: &mut impl Standing,
    deletes: &[ItemId],
    decision: &mut Decision,
) -> Result<(), StoreError> {
    let mut gone = HashSet::new();
    for item in deletes {
        let outcome = match standing.row(*item)? {
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

/// Which names the panel's profiles bear, kept up to date while items are decided on.
struct Names {
    of_link: BTreeMap<LinkId, Box<str>>,
    bearers: HashMap<Box<str>, u32>,
}

impl Names {
    fn of(standing: &mut impl Standing) -> Result<Self, StoreError> {
        let mut names = Self { of_link: BTreeMap::new(), bearers: HashMap::new() };
        for (row_name, row) in standing.all()? {
            let name = standing.name(&row)?;
            *names.bearers.entry(name.clone()).or_default() += 1;
            if let RowName::Link(ItemId { kind: Kind::Profile, link_id: link }) = row_name {
                names.of_link.insert(link, name);
            }
        }
        Ok(names)
    }

    /// The profile of this link_id bears this name now; says whether another one does too.
    fn name_profile(&mut self, link: LinkId, name: &str) -> bool {
        if let Some(old) = self.of_link.insert(link, name.into())
            && let Some(bearers) = self.bearers.get_mut(&old)
        {
            *bearers -= 1;
        }
        let bearers = self.bearers.entry(name.into()).or_default();
        *bearers += 1;
        *bearers > 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::Operations;
    use crate::profile::parse;
    use crate::profile::rule::Family;

    /// Rows in memory; the body's number is the index of its name.
    #[derive(Default)]
    struct Rows {
        rows: BTreeMap<LinkId, (Row, Body, String)>,
    }

    impl Rows {
        fn with(names: &[(u8, &str)]) -> Self {
            let mut rows = Self::default();
            for (n, name) in names {
                let zoned = upserts(&[(*n, name, OPENS)]);
                let upsert = &zoned.operations().upserts[0];
                let row = Row { body: u64::from(*n), uid: u32::from(*n), revision: 1 };
                rows.rows.insert(upsert.item.link_id, (row, upsert.body.clone(), (*name).to_owned()));
            }
            rows
        }
    }

    impl Standing for Rows {
        fn count(&mut self) -> Result<u32, StoreError> {
            Ok(self.rows.len() as u32)
        }
        fn row(&mut self, item: ItemId) -> Result<Option<Row>, StoreError> {
            Ok(self.rows.get(&item.link_id).map(|(row, _, _)| *row))
        }
        fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
            Ok(self.rows.values().any(|(r, b, _)| r == row && b == body))
        }
        fn all(&mut self) -> Result<Vec<(RowName, Row)>, StoreError> {
            Ok(self
                .rows
                .iter()
                .map(|(link, (row, _, _))| (RowName::Link(ItemId::profile(*link)), *row))
                .collect())
        }
        fn name(&mut self, row: &Row) -> Result<Box<str>, StoreError> {
            let found = self.rows.values().find(|(r, _, _)| r == row);
            Ok(found.map(|(_, _, name)| name.as_str().into()).unwrap_or_default())
        }
    }

    const OPENS: i64 = 60;
    const NEVER: i64 = 0;

    fn link(n: u8) -> LinkId {
        LinkId::from_bytes([n; 16])
    }

    fn upserts(items: &[(u8, &str, i64)]) -> Zoned {
        zoned(items, &[], false)
    }

    fn zoned(items: &[(u8, &str, i64)], deletes: &[u8], prune: bool) -> Zoned {
        let items: Vec<_> = items
            .iter()
            .map(|(n, name, seconds)| {
                format!(
                    r#"{{"link_id":"{}","name":"{name}","repeat_options":{{"repeat_enable":false}},
                    "time_options":{{"is_all_day":false,"date_from":1000,"date_to":{}}}}}"#,
                    link(*n),
                    1000 + seconds
                )
            })
            .collect();
        let body = format!(r#"{{"list_items":[{}]}}"#, items.join(","));
        let profiles = parse::link_body(body.as_bytes(), Family::Android).expect("well-formed");
        let operations = Operations::of_profiles(profiles, deletes.iter().map(|n| link(*n)).collect(), prune);
        Zoned::new(Arc::new(operations), &jiff::tz::TimeZone::UTC)
    }

    fn outcomes(rows: &mut Rows, zoned: &Zoned, limits: Limits) -> Vec<ItemOutcome> {
        decide(rows, zoned, limits).expect("memory does not fail").items
    }

    #[test]
    fn new_changed_and_equal_profiles_are_told_apart() {
        let mut rows = Rows::with(&[(1, "a"), (2, "b")]);
        let batch = upserts(&[(1, "a", OPENS), (2, "new name", OPENS), (3, "c", OPENS)]);
        let decision = decide(&mut rows, &batch, Limits::default()).expect("memory does not fail");
        assert_eq!(decision.items, [ItemOutcome::Unchanged, ItemOutcome::Updated, ItemOutcome::Created]);
        assert_eq!(decision.changes.len(), 2, "what is equal is not written");
    }

    #[test]
    fn the_earlier_of_two_items_with_one_link_id_wins() {
        let batch = upserts(&[(1, "a", OPENS), (1, "b", OPENS)]);
        let expected = [ItemOutcome::Created, ItemOutcome::Repeated];
        assert_eq!(outcomes(&mut Rows::default(), &batch, Limits::default()), expected);
    }

    #[test]
    fn rules_that_never_open_are_refused_and_the_others_applied() {
        let batch = upserts(&[(1, "a", NEVER), (2, "b", OPENS)]);
        let expected = [ItemOutcome::NeverOpens, ItemOutcome::Created];
        assert_eq!(outcomes(&mut Rows::default(), &batch, Limits::default()), expected);
    }

    #[test]
    fn a_full_panel_takes_changes_and_no_new_profile() {
        let mut rows = Rows::with(&[(1, "a")]);
        let limits = Limits { capacity: Some(2), ..Limits::default() };
        let batch = upserts(&[(2, "b", OPENS), (3, "c", OPENS), (1, "a2", OPENS)]);
        let expected = [ItemOutcome::Created, ItemOutcome::Full, ItemOutcome::Updated];
        assert_eq!(outcomes(&mut rows, &batch, limits), expected);
    }

    #[test]
    fn a_link_id_can_be_deleted_once() {
        let batch = zoned(&[], &[1, 9, 1], false);
        let expected = [ItemOutcome::Deleted, ItemOutcome::NotFound, ItemOutcome::NotFound];
        assert_eq!(outcomes(&mut Rows::with(&[(1, "a")]), &batch, Limits::default()), expected);
    }

    #[test]
    fn pruning_deletes_what_the_batch_does_not_name() {
        let mut rows = Rows::with(&[(1, "a"), (2, "b"), (3, "c")]);
        let batch = zoned(&[(1, "a", OPENS)], &[2], true);
        let decision = decide(&mut rows, &batch, Limits::default()).expect("memory does not fail");
        assert_eq!(decision.items, [ItemOutcome::Unchanged, ItemOutcome::Deleted]);
        assert_eq!(decision.pruned, [ItemId::profile(link(3))]);
    }

    #[test]
    fn a_name_is_taken_while_another_profile_bears_it() {
        let mut rows = Rows::with(&[(1, "a"), (2, "b")]);
        let limits = Limits { look_for_names: true, ..Limits::default() };
        // 1 gives its name up for b, then 3 may bear a alone.
        let batch = upserts(&[(1, "b", OPENS), (3, "a", OPENS), (2, "b", OPENS), (4, "a", NEVER)]);
        let decision = decide(&mut rows, &batch, limits).expect("memory does not fail");
        assert_eq!(decision.names_taken, [true, false, true, false]);
    }
}
