use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::identifier::rule::Kind as Type;

fn link(n: u8) -> LinkId {
    LinkId::from_bytes([n; 16])
}

fn row(n: u8) -> Row {
    Row { body: u64::from(n), uid: 1, revision: 1 }
}

fn item(n: u8) -> ItemId {
    ItemId::profile(link(n))
}

fn upserted(n: u8) -> (ItemId, Row) {
    (item(n), row(n))
}

fn profile(n: u8, is_desired: bool, is_held: bool) -> Unsettled {
    Unsettled {
        item: item(n),
        desired: is_desired.then(|| row(n)),
        is_held,
        perhaps_absent: false,
        before: Vec::new(),
        after: None,
    }
}

fn desired(n: u8) -> Unsettled {
    profile(n, true, false)
}

fn undesired(n: u8) -> Unsettled {
    profile(n, false, false)
}

fn next(unsettled: &[Unsettled], limit: usize, held_back: &HashSet<ItemId>) -> Option<Call> {
    next_call(unsettled, limit, held_back, &Kept::default())
}

#[test]
fn every_upsert_comes_before_any_delete() {
    let unknown = [undesired(1), desired(2), undesired(3), desired(4), desired(5)];
    let next = |unknown: &[Unsettled], limit| next(unknown, limit, &HashSet::new());
    assert_eq!(next(&unknown, 2), Some(Call::Upsert(vec![upserted(2), upserted(4)])));
    assert_eq!(next(&unknown, 9), Some(Call::Upsert(vec![upserted(2), upserted(4), upserted(5)])));
    assert_eq!(next(&[undesired(1), undesired(3)], 1), Some(Call::Delete(vec![(item(1), None)])));
    assert_eq!(next(&[], 9), None);
}

#[test]
fn what_a_full_device_refused_waits_for_the_deletes() {
    let held_back = HashSet::from([item(2)]);
    let unknown = [desired(2), undesired(3), desired(4)];
    let next = |unknown: &[Unsettled]| next(unknown, 9, &held_back);
    assert_eq!(next(&unknown), Some(Call::Upsert(vec![upserted(4)])));
    assert_eq!(next(&unknown[..2]), Some(Call::Delete(vec![(item(3), None)])));
    assert_eq!(next(&unknown[..1]), Some(Call::Upsert(vec![upserted(2)])));
}

#[test]
fn a_profile_stays_under_an_identifier_that_the_device_did_not_let_go_of() {
    let unknown = [profile(1, false, true), profile(2, false, true)];
    let kept = Kept { named: HashSet::from([link(2)]), ..Kept::default() };
    let next = |unknown: &[Unsettled]| next_call(unknown, 9, &HashSet::new(), &kept);
    assert_eq!(next(&unknown), Some(Call::Delete(vec![(item(1), None)])));
    assert_eq!(next(&unknown[1..]), Some(Call::Refuse(vec![(item(2), None)], "bound_by_identifiers")));
}

fn code(number: u8, names: &[u8]) -> Rights {
    let credential = Credential::new(Type::Code, &number.to_string()).expect("a code");
    let profiles = names.iter().map(|n| link(*n)).collect();
    Rights { credential, lock: Lock::All, time: ValidTime::Permanent, passes: Passes::Permanent, profiles }
}

/// Of an identifier of which a device refused what is desired.
fn refused(before: Rights, after: Option<Rights>) -> Kept {
    let desired = after.is_some().then(|| row(9));
    let item = ItemId::identifier(link(9));
    let refused =
        vec![Unsettled { item, desired, is_held: true, perhaps_absent: false, before: vec![before], after }];
    Kept { refused, ..Kept::default() }
}

#[test]
fn an_identifier_that_perhaps_never_came_does_not_come_before_the_profile_that_it_names_has_changed() {
    let profile = profile(1, true, true);
    let identifier = |perhaps_absent| {
        let item = ItemId::identifier(link(9));
        let (before, after) = (vec![code(7, &[1])], Some(code(7, &[1, 2])));
        Unsettled { item, desired: Some(row(9)), is_held: true, perhaps_absent, before, after }
    };
    let first = |perhaps_absent| {
        next_call(&[profile.clone(), identifier(perhaps_absent)], 9, &HashSet::new(), &Kept::default())
    };
    let of = ItemId::identifier(link(9));
    assert_eq!(
        first(false),
        Some(Call::Upsert(vec![(of, row(9))])),
        "it is there, and opens less by what comes"
    );
    assert_eq!(first(true), Some(Call::Delete(vec![(of, Some(row(9)))])));
}

#[test]
fn a_profile_does_not_change_under_an_identifier_that_was_to_leave_it_before() {
    let changes = [profile(1, true, true), profile(2, true, true)];
    let all = |kept: &Kept| {
        let (mut unsettled, mut calls) = (changes.to_vec(), Vec::new());
        while let Some(call) = next_call(&unsettled, 9, &HashSet::new(), kept) {
            unsettled.retain(|of| !call.items().contains(&of.item));
            calls.push(call);
        }
        calls
    };
    let both = vec![Call::Upsert(vec![upserted(1), upserted(2)])];
    let second = vec![
        Call::Upsert(vec![upserted(2)]),
        Call::Refuse(vec![(item(1), Some(upserted(1).1))], "bound_by_identifiers"),
    ];
    assert_eq!(all(&refused(code(7, &[1]), None)), second, "it was to go");
    assert_eq!(all(&refused(code(7, &[1]), Some(code(7, &[3])))), second, "it was to leave it");
    assert_eq!(all(&refused(code(7, &[1]), Some(code(8, &[1])))), second, "it was to have another number");
    let less = Rights { lock: Lock::First, ..code(7, &[1]) };
    assert_eq!(all(&refused(code(7, &[1]), Some(less.clone()))), second, "it was to open less");
    assert_eq!(all(&refused(less, Some(code(7, &[1])))), both, "it was to open more");
    assert_eq!(all(&refused(code(7, &[1]), Some(code(7, &[1])))), both, "it was to be called otherwise");
    assert_eq!(all(&refused(code(7, &[3]), None)), both, "it names none of them");
}

/// What stands on a device, or is to: of profiles, in which version; of identifiers, what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    profiles: BTreeMap<u8, u8>,
    identifiers: BTreeMap<u8, Key>,
}

/// An identifier: its type and number, which lock it opens, from which moment to which, and its profiles.
type Key = (Type, u8, Lock, (u8, u8), Vec<u8>);

/// By which number, by which version of which profile, at which lock and at which moment: a version is a set of moments
/// of its own.
type Right = ((Type, u8), (u8, u8), u8, u8);

/// Moments at which identifiers may be valid.
const MOMENTS: u8 = 3;

fn rights_of((kind, number, lock, (from, to), names): &Key) -> Rights {
    let time = if (*from, *to) == (0, MOMENTS) {
        ValidTime::Permanent
    } else {
        ValidTime::Between { from: i64::from(*from), to: i64::from(*to) }
    };
    let credential = Credential::new(*kind, &number.to_string()).expect("a number");
    Rights { credential, lock: *lock, time, ..code(*number, names) }
}

impl Held {
    fn rights(&self) -> BTreeMap<u8, HashSet<Right>> {
        let of = |(kind, number, lock, (from, to), names): &Key| {
            let locks = match lock {
                Lock::First => 0..1_u8,
                Lock::Second => 1..2,
                Lock::All => 0..2,
            };
            let mut rights = HashSet::new();
            for p in names {
                for lock in locks.clone() {
                    rights
                        .extend((*from..*to).map(|at| ((*kind, *number), (*p, self.profiles[p]), lock, at)));
                }
            }
            rights
        };
        self.identifiers.iter().map(|(n, key)| (*n, of(key))).collect()
    }

    fn unsettled(&self, after: &Self) -> Vec<Unsettled> {
        let mut all = Vec::new();
        for n in self.profiles.keys().chain(after.profiles.keys()).collect::<std::collections::BTreeSet<_>>()
        {
            if self.profiles.get(n) != after.profiles.get(n) {
                all.push(profile(*n, after.profiles.contains_key(n), self.profiles.contains_key(n)));
            }
        }
        let rights = |held: &Self, n: &u8| held.identifiers.get(n).map(rights_of);
        let identifiers = self.identifiers.keys().chain(after.identifiers.keys());
        for n in identifiers.collect::<std::collections::BTreeSet<_>>() {
            if self.identifiers.get(n) != after.identifiers.get(n) {
                all.push(Unsettled {
                    item: ItemId::identifier(link(*n)),
                    desired: after.identifiers.contains_key(n).then(|| row(*n)),
                    is_held: self.identifiers.contains_key(n),
                    perhaps_absent: false,
                    before: rights(self, n).into_iter().collect(),
                    after: rights(after, n),
                });
            }
        }
        all
    }

    /// Does what a device does; nothing where it would refuse.
    fn take(&mut self, call: &Call, after: &Self) -> Result<(), TestCaseError> {
        for id in call.items() {
            let n = id.link_id.as_bytes()[0];
            match (call, id.kind) {
                (Call::Upsert(_), Kind::Profile) => _ = self.profiles.insert(n, after.profiles[&n]),
                (Call::Upsert(_), Kind::Identifier) => {
                    let key = after.identifiers[&n].clone();
                    let (kind, number, ..) = key;
                    let taken = self
                        .identifiers
                        .iter()
                        .any(|(other, (k, m, ..))| *other != n && (*k, *m) == (kind, number));
                    prop_assert!(!taken, "the number of {n} is taken");
                    prop_assert!(
                        key.4.iter().all(|p| self.profiles.contains_key(p)),
                        "{n} names what is not there"
                    );
                    prop_assert!(
                        self.identifiers.get(&n).is_none_or(|(k, ..)| *k == kind),
                        "{n} becomes another type"
                    );
                    self.identifiers.insert(n, key);
                }
                (Call::Delete(_), Kind::Identifier) => _ = self.identifiers.remove(&n),
                (Call::Delete(_), Kind::Profile) => {
                    let named = self.identifiers.values().any(|key| key.4.contains(&n));
                    prop_assert!(!named, "{n} goes from under an identifier");
                    self.profiles.remove(&n);
                }
                (Call::Refuse(..), _) => prop_assert!(false, "nothing is kept"),
            }
        }
        Ok(())
    }
}

prop_compose! {
    fn held()(
        profiles in proptest::collection::btree_map(0_u8..4, 0_u8..2, 0..4),
        identifiers in proptest::collection::btree_map(
            0_u8..4,
            (
                prop_oneof![4 => Just(Type::Code), 1 => Just(Type::Card)],
                0_u8..5,
                prop_oneof![4 => Just(Lock::All), 1 => Just(Lock::First), 1 => Just(Lock::Second)],
                prop_oneof![4 => Just((0, MOMENTS)), 1 => Just((0, 2)), 1 => Just((1, MOMENTS))],
                proptest::collection::vec(0_u8..4, 0..3),
            ),
            0..4,
        ),
    ) -> Held {
        let mut held = Held { profiles, ..Held::default() };
        let mut numbers = HashSet::new();
        for (n, (kind, number, lock, time, mut names)) in identifiers {
            names.sort_unstable();
            names.dedup();
            names.retain(|p| held.profiles.contains_key(p));
            // One without profiles opens at any time, and only where that was asked for; so its rights are no set of versions.
            if !names.is_empty() && numbers.insert((kind, number)) {
                held.identifiers.insert(n, (kind, number, lock, time, names));
            }
        }
        held
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_no_call_lets_anybody_in_nor_out(before in held(), after in held(), limit in 3_usize..9) {
        let mut device = before.clone();
        let mut calls = Vec::new();
        while let Some(call) = next(&device.unsettled(&after), limit, &HashSet::new()) {
            device.take(&call, &after)?;
            calls.push(call);
            prop_assert!(calls.len() < 50, "it comes to no end: {calls:?}");
            let (had, has, shall) = (before.rights(), device.rights(), after.rights());
            for (n, rights) in &has {
                let none = HashSet::new();
                let (had, shall) = (had.get(n).unwrap_or(&none), shall.get(n).unwrap_or(&none));
                let more: Vec<_> = rights.iter().filter(|right| !had.contains(right) && !shall.contains(right)).collect();
                prop_assert!(more.is_empty(), "{n} opens by {more:?} after {calls:?}");
            }
            for (n, shall) in &shall {
                let Some(had) = had.get(n) else { continue };
                let both: Vec<_> = had.intersection(shall).collect();
                let none = HashSet::new();
                let rights = has.get(n).unwrap_or(&none);
                let less: Vec<_> = both.into_iter().filter(|right| !rights.contains(right)).collect();
                // A number that moved is taken down in between; and where no order is right.
                let moved = |(other, key): (&u8, &Key)| {
                    *other != *n && (key.0, key.1) == (after.identifiers[n].0, after.identifiers[n].1)
                };
                let excused = before.identifiers.iter().any(moved)
                    || before.identifiers[n].0 != after.identifiers[n].0
                    || takes_down(&before, &after, *n);
                prop_assert!(less.is_empty() || excused, "{n} does not open by {less:?} after {calls:?}");
            }
        }
        prop_assert_eq!(device, after);
    }
}

/// Whether the identifier is under changes before and after, and neither becomes less and comes to nothing that changes, nor
/// becomes more and leaves nothing that does.
fn takes_down(before: &Held, after: &Held, n: u8) -> bool {
    let changes = |p: &u8| matches!((before.profiles.get(p), after.profiles.get(p)), (Some(was), Some(is)) if was != is);
    let (was, is) = (&before.identifiers[&n], &after.identifiers[&n]);
    let names = |key: &Key| key.4.iter().copied().collect::<HashSet<_>>();
    let within = |one: &Key, other: &Key| {
        (one.2 == other.2 || other.2 == Lock::All) && one.3.0 >= other.3.0 && one.3.1 <= other.3.1
    };
    let (before, after) = (names(was), names(is));
    let mut leaves = before.difference(&after).peekable();
    let mut comes = after.difference(&before).peekable();
    let in_order = match (leaves.peek(), comes.peek()) {
        (None, None) => within(is, was) || within(was, is),
        (Some(_), None) => within(was, is) && !leaves.any(changes),
        (None, Some(_)) => within(is, was) && !comes.any(changes),
        (Some(_), Some(_)) => false,
    };
    (was.1 != is.1 || !in_order) && before.iter().any(changes) && after.iter().any(changes)
}

prop_compose! {
    /// What a device perhaps holds beside, of one of the identifiers.
    fn perhaps()(n in 0_u8..4, number in 0_u8..5, names in proptest::collection::vec(0_u8..4, 0..3)) -> (u8, Rights) {
        (n, code(number, &names))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_held_back_and_perhaps_held_it_comes_to_an_end(
        before in held(),
        after in held(),
        more in proptest::collection::vec(perhaps(), 0..5),
        back in proptest::collection::hash_set(0_u8..8, 0..4),
        limit in 1_usize..5,
    ) {
        let of = |n: u8| if n < 4 { item(n) } else { ItemId::identifier(link(n - 4)) };
        let held_back: HashSet<_> = back.into_iter().map(of).collect();
        let mut unsettled = before.unsettled(&after);
        for (n, rights) in more {
            let of = unsettled.iter_mut().find(|of| of.item == ItemId::identifier(link(n)));
            if let Some(of) = of {
                of.is_held = true;
                of.before.push(rights);
            }
        }
        let mut calls = Vec::new();
        while let Some(call) = next(&unsettled, limit, &held_back) {
            let items = call.items();
            for id in &items {
                if let (Call::Delete(_), Some(of)) = (&call, unsettled.iter_mut().find(|of| of.item == *id && of.desired.is_some())) {
                    prop_assert!(of.is_held, "{id} is taken down and is not there: {calls:?}");
                    (of.is_held, of.before) = (false, Vec::new());
                } else {
                    unsettled.retain(|of| of.item != *id);
                }
            }
            calls.push(call);
            prop_assert!(calls.len() < 60, "it goes round: {calls:?}");
        }
        prop_assert!(unsettled.is_empty(), "{unsettled:?} is left after {calls:?}");
    }
}
