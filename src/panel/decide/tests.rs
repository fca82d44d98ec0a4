use std::sync::Arc;

use super::*;
use crate::batch::ItemOutcome::{
    Bound, Created, Deleted, NeverOpens, NoProfile, NumberTaken, Unchanged, Updated,
};
use crate::batch::Operations;
use crate::identifier::parse::Given;
use crate::identifier::{self, LinkedIdentifier};
use crate::profile::parse;
use crate::profile::parse::LinkedProfile;
use crate::profile::rule::Family;

/// Rows in memory; the body's number is the index of its name.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<ItemId, (Row, Body, String)>,
    identifiers: BTreeMap<u64, Identifier>,
}

impl Rows {
    fn with(names: &[(u8, &str)]) -> Self {
        let mut rows = Self::default();
        for (n, name) in names {
            let zoned = upserts(&[(*n, name, OPENS)]);
            let upsert = &zoned.operations().upserts[0];
            let row = Row { body: u64::from(*n), uid: u32::from(*n), revision: 1 };
            rows.rows.insert(upsert.item, (row, upsert.body.clone(), (*name).to_owned()));
        }
        rows
    }
}

impl Standing for Rows {
    fn count(&mut self, kind: Kind) -> Result<u32, StoreError> {
        Ok(self.rows.keys().filter(|item| item.kind == kind).count() as u32)
    }
    fn row(&mut self, item: ItemId) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(&item).map(|(row, _, _)| *row))
    }
    fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        Ok(self.rows.values().any(|(r, b, _)| r == row && b == body))
    }
    fn all(&mut self) -> Result<Vec<(RowName, Row)>, StoreError> {
        Ok(self.rows.iter().map(|(link, (row, _, _))| (RowName::Link(*link), *row)).collect())
    }
    fn name(&mut self, _: Kind, row: &Row) -> Result<Box<str>, StoreError> {
        let found = self.rows.values().find(|(r, _, _)| r == row);
        Ok(found.map(|(_, _, name)| name.as_str().into()).unwrap_or_default())
    }
    fn text(&mut self, body: u64) -> Result<Box<[u8]>, StoreError> {
        let found = self.rows.values().find(|(row, _, _)| row.body == body);
        Ok(found.map(|(_, body, _)| body.json().as_bytes().into()).unwrap_or_default())
    }
    fn bodies_with(&mut self, credential: &Credential) -> Result<Vec<u64>, StoreError> {
        let same = self.identifiers.iter().filter(|(_, identifier)| identifier.credential == *credential);
        Ok(same.map(|(body, _)| *body).collect())
    }
    fn bound_to(&mut self, row: &Row) -> Result<Arc<[LinkId]>, StoreError> {
        Ok(self.identifiers[&row.body].profiles.as_slice().into())
    }
    fn is_face(&mut self, row: &Row) -> Result<bool, StoreError> {
        Ok(self.identifiers[&row.body].credential.kind() == Face)
    }
}

impl Rows {
    /// With this identifier too, under the body of this number.
    fn and(mut self, n: u8, code: &str, profiles: &[u8]) -> Self {
        let operations = Operations::of_identifiers(vec![identifier(n, code, profiles)], Vec::new(), false);
        let upsert = &operations.upserts[0];
        let body = 100 + u64::from(n);
        let row = Row { body, uid: u32::from(n), revision: 1 };
        self.rows.insert(upsert.item, (row, upsert.body.clone(), String::new()));
        self.identifiers.insert(body, identifier(n, code, profiles).identifier);
        self
    }
}

fn identifier(n: u8, code: &str, profiles: &[u8]) -> LinkedIdentifier {
    let ids: Vec<_> = profiles.iter().map(|n| format!("\"{}\"", link(*n))).collect();
    let json = format!(
        r#"{{"list_items":[{{"link_id":"{}","identifier_owner":{{"name":"a","type":"owner"}},"identifier_type":"inputCode",
        "identifier_number":"{code}","lock":"all","time_profiles":{{"link_ids":[{}]}}}}]}}"#,
        link(n),
        ids.join(",")
    );
    let mut given = identifier::parse::link_body(json.as_bytes(), Api::ANY).expect("well-formed");
    match given.pop() {
        Some(Given::Identifier(linked)) => linked,
        other => panic!("{other:?}"),
    }
}

/// What comes of profiles to upsert and to delete, and identifiers likewise.
fn outcomes_of(
    rows: &mut Rows,
    (profiles, gone): (&[(u8, &str, i64)], &[u8]),
    (identifiers, undone): (Vec<LinkedIdentifier>, &[u8]),
) -> Vec<ItemOutcome> {
    let links = |of: &[u8]| of.iter().map(|n| link(*n)).collect();
    let operations = Operations::of_profiles(parsed(profiles), links(gone), false)
        .and(Operations::of_identifiers(identifiers, links(undone), false));
    outcomes(
        rows,
        &Zoned::new(Arc::new(operations), &jiff::tz::TimeZone::UTC),
        Limits { identifiers: Some(Api::ANY), ..Limits::default() },
    )
}

const OPENS: i64 = 60;
const NEVER: i64 = 0;

fn link(n: u8) -> LinkId {
    LinkId::from_bytes([n; 16])
}

fn upserts(items: &[(u8, &str, i64)]) -> Zoned {
    zoned(items, &[], false)
}

fn parsed(items: &[(u8, &str, i64)]) -> Vec<LinkedProfile> {
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
    parse::link_body(body.as_bytes(), Family::Android).expect("well-formed")
}

fn zoned(items: &[(u8, &str, i64)], deletes: &[u8], prune: bool) -> Zoned {
    let profiles = parsed(items);
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
    let limits = Limits { capacity: [Some(2), None], ..Limits::default() };
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

#[test]
fn an_identifier_names_profiles_that_are_there_after_the_batch() {
    let mut rows = Rows::with(&[(1, "a"), (2, "b")]);
    let asked = vec![
        identifier(1, "1", &[1]),
        identifier(2, "2", &[3]), // comes with the batch
        identifier(3, "3", &[9]), // nowhere
        identifier(4, "4", &[2]), // goes with the batch
        identifier(5, "5", &[4]), // comes and is refused
        identifier(6, "6", &[]),
    ];
    let came = outcomes_of(&mut rows, (&[(3, "c", OPENS), (4, "d", NEVER)], &[2]), (asked, &[]));
    let expected = [Created, NeverOpens, Created, Created, NoProfile, NoProfile, NoProfile, Created, Deleted];
    assert_eq!(came, expected);
}

#[test]
fn a_number_is_one_identifiers_after_the_batch() {
    let standing = || Rows::default().and(1, "11", &[]).and(2, "22", &[]);
    let ask = |asked: &[(u8, &str)], undone: &[u8]| {
        let asked = asked.iter().map(|(n, code)| identifier(*n, code, &[])).collect();
        outcomes_of(&mut standing(), (&[], &[]), (asked, undone))
    };
    assert_eq!(
        ask(&[(1, "11"), (3, "22"), (4, "33"), (5, "33")], &[]),
        [Unchanged, NumberTaken, Created, NumberTaken]
    );
    assert_eq!(ask(&[(3, "22")], &[2]), [Created, Deleted], "its holder goes");
    assert_eq!(ask(&[(1, "22"), (2, "11")], &[]), [Updated, Updated], "they change places");
    // 2 does not give its number up, since that of 1 stays with 1, whose profile is not there.
    let asked = vec![identifier(1, "33", &[9]), identifier(2, "11", &[]), identifier(3, "22", &[])];
    let came = outcomes_of(&mut standing(), (&[], &[]), (asked, &[]));
    assert_eq!(came, [NoProfile, NumberTaken, NumberTaken]);
}

#[test]
fn a_profile_does_not_go_from_under_an_identifier() {
    let standing = || Rows::with(&[(1, "a"), (2, "b")]).and(1, "11", &[1]).and(2, "22", &[2]);
    let came = |asked: Vec<LinkedIdentifier>, undone: &[u8]| {
        outcomes_of(&mut standing(), (&[], &[1]), (asked, undone))
    };
    assert_eq!(came(Vec::new(), &[]), [Bound]);
    assert_eq!(came(Vec::new(), &[1]), [Deleted, Deleted], "which goes too");
    assert_eq!(
        came(vec![identifier(1, "11", &[2])], &[]),
        [Updated, Deleted],
        "which names another one then"
    );
    assert_eq!(came(vec![identifier(1, "22", &[2])], &[]), [NumberTaken, Bound], "which stays as it is");
    let mut rows = standing();
    let decision =
        decide(&mut rows, &zoned(&[], &[], true), Limits::default()).expect("memory does not fail");
    assert_eq!(decision.pruned, [], "nor is it pruned");
}
