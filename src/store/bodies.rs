//! Bodies: each text is kept once, with the number of rows (of panels, and of what stood before batches) that name it. Those of identifiers are sealed, and found by the
//! tags of their numbers.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use redb::ReadableTable;
use rustc_hash::{FxHashMap, FxHashSet};

use super::StoreError;
use super::memory::REMEMBERED;
use super::row;
use super::seal::{NumberTag, Seal};
use super::tables::Tables;
use crate::batch::Body;
use crate::identifier::number::Credential;
use crate::identifier::rule::Kind;
use crate::identifier::{Identifier, parse};
use crate::profile::LinkId;

/// Bodies with the same number that are compared with a new one, at most.
const COMPARED: usize = 16;

/// Bodies, and by how many rows each is named more or less.
pub(super) type Users = [(u64, i64)];

/// Changes to bodies within this transaction, written once at its end: a body that thousands of rows begin or
/// cease to name is written once.
#[derive(Default)]
pub(super) struct BodyChanges {
    pub(super) users: FxHashMap<u64, i64>,
    new: FxHashMap<u64, NewText>,
    /// Of identifiers' new texts, which bodies got one with this type and number; perhaps another one since.
    by_credential: FxHashMap<Arc<Credential>, Vec<u64>>,
    /// How many rows named the bodies that were read, before this transaction.
    had_users: FxHashMap<u64, u64>,
    /// Bodies that some row began to name.
    named: FxHashSet<u64>,
    /// The same change of users for so many panels, which is not in `users` yet.
    repeated: Option<(Rc<Users>, i64)>,
}

/// The text that a body gets.
struct NewText {
    json: Arc<str>,
    /// Of an identifier's.
    credential: Option<Arc<Credential>>,
    /// How many rows named it before this transaction.
    had_users: u64,
}

impl NewText {
    fn of(body: &Body, had_users: u64) -> Self {
        Self { json: body.shared_json(), credential: body.credential().cloned(), had_users }
    }
}

/// A key of the table `numbers`: a tag (16), and the number of a body with this type and number (8).
pub(super) type NumberKey = [u8; 24];

/// The key of a body that is found by this tag.
pub(super) fn number_key(tag: &NumberTag, body: u64) -> NumberKey {
    let mut key = [0; 24];
    key[..16].copy_from_slice(tag);
    key[16..].copy_from_slice(&body.to_be_bytes());
    key
}

/// The tag and the body of such a key.
pub(super) fn number_of(key: &NumberKey) -> (NumberTag, u64) {
    let mut tag = NumberTag::default();
    tag.copy_from_slice(&key[..16]);
    (tag, row::be_u64(&key[16..]))
}

impl BodyChanges {
    /// A body gets this text.
    fn give(&mut self, number: u64, body: &Body, had_users: u64) {
        if let Some(credential) = body.credential() {
            self.by_credential.entry(Arc::clone(credential)).or_default().push(number);
        }
        self.new.insert(number, NewText::of(body, had_users));
    }

    /// Whether one row named this body before this transaction, and none has begun or ceased to since.
    fn of_one_row(&self, body: u64) -> bool {
        self.had_users.get(&body) == Some(&1)
            && !self.named.contains(&body)
            && self.users.get(&body).is_none_or(|delta| *delta == 0)
    }

    /// Something other than a row begins to name these bodies.
    pub(super) fn name(&mut self, bodies: impl Iterator<Item = u64>) {
        self.named.extend(bodies);
    }

    /// So many more name each of these bodies.
    pub(super) fn count(&mut self, bodies: impl Iterator<Item = u64>, more: i64) {
        for body in bodies {
            *self.users.entry(body).or_default() += more;
        }
    }

    /// Rows begin and cease to name bodies just as those of another panel did.
    pub(super) fn repeat(&mut self, users: &Rc<Users>) {
        if let Some((repeated, times)) = &mut self.repeated
            && Rc::ptr_eq(repeated, users)
        {
            *times += 1;
            return;
        }
        self.add_repeated();
        self.repeated = Some((Rc::clone(users), 1));
    }

    fn add_repeated(&mut self) {
        if let Some((users, times)) = self.repeated.take() {
            for (body, delta) in &*users {
                *self.users.entry(*body).or_default() += delta * times;
            }
        }
    }
}

impl Tables<'_> {
    /// Writes what changed of bodies: new ones, changed numbers of users, and away with those that no row names any more.
    pub(super) fn write_bodies(&mut self) -> Result<(), StoreError> {
        self.body_changes.add_repeated();
        let mut changed: Vec<_> = self.body_changes.users.drain().collect();
        changed.sort_unstable(); // in key order, as the tree wants it
        for (body, delta) in changed {
            let new = self.body_changes.new.remove(&body);
            if new.is_none() && delta == 0 {
                continue;
            }
            let had = match &new {
                Some(new) => new.had_users,
                None => {
                    let stored = self.bodies.get(body)?.ok_or(StoreError::Corrupt("body number"))?;
                    split_body(stored.value())?.0
                }
            };
            let users =
                had.checked_add_signed(delta).ok_or(StoreError::Corrupt("number of a body's users"))?;
            let had_tag = self.bodies.get(body)?.and_then(|stored| tag_of(stored.value()));
            if let Some(tag) = had_tag.filter(|_| users == 0 || new.is_some()) {
                self.numbers.remove(&number_key(&tag, body))?;
                self.count_face(tag, -1);
            }
            if users == 0 {
                self.bodies.remove(body)?;
                self.memory.forget(body);
            } else if let Some(NewText { json, credential: Some(credential), .. }) = new {
                let tag = self.memory.seal.tag(&credential);
                let value = sealed_body(&self.memory.seal, body, users, &tag, json.as_bytes())?;
                self.bodies.insert(body, value.as_slice())?;
                self.numbers.insert(&number_key(&tag, body), ())?;
                if credential.kind() == Kind::Face {
                    self.count_face(tag, 1);
                }
            } else if let Some(NewText { json, .. }) = new {
                let value = [&users.to_be_bytes()[..], json.as_bytes()].concat();
                self.bodies.insert(body, value.as_slice())?;
            } else if let Some(mut stored) = self.bodies.get_mut(body)? {
                let value = [&users.to_be_bytes()[..], split_body(stored.value())?.1].concat();
                stored.insert(value.as_slice())?;
            }
        }
        Ok(())
    }

    /// The number of the body with this text: a known one, or a new one.
    pub(super) fn body_number(&mut self, body: &Body) -> Result<u64, StoreError> {
        if let Some(number) = self.memory.by_digest.get(&body.digest()) {
            self.body_changes.named.insert(*number);
            return Ok(*number);
        }
        if let Some(number) = self.known_identifier(body)? {
            self.body_changes.named.insert(number);
            return Ok(number);
        }
        let number = match self.memory.next_body {
            Some(number) => number,
            None => self.meta.get("next_body")?.map_or(1, |number| number.value()),
        };
        self.memory.next_body = Some(number + 1);
        self.body_changes.give(number, body, 0);
        self.body_changes.named.insert(number);
        self.memory.remember(body.digest(), number);
        Ok(number)
    }

    /// The number of the body with this text, where that is an identifier's: those with its number are few.
    fn known_identifier(&mut self, body: &Body) -> Result<Option<u64>, StoreError> {
        let Some(credential) = body.credential() else { return Ok(None) };
        for number in self.bodies_with(credential)?.into_iter().take(COMPARED) {
            if self.body_is(number, body)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Gives the body of one row another text, where no other row names it and none has the text already. Says
    /// whether it did.
    pub(super) fn replace_body(&mut self, number: u64, body: &Body) -> bool {
        if !self.body_changes.of_one_row(number) || self.memory.by_digest.contains_key(&body.digest()) {
            return false;
        }
        self.memory.forget(number);
        self.memory.remember(body.digest(), number);
        self.body_changes.give(number, body, 1);
        self.body_changes.users.entry(number).or_default();
        true
    }

    /// A body is known to have this text, which is the body's own.
    pub(super) fn body_has(&mut self, number: u64, body: &Body) {
        self.memory.remember(body.digest(), number);
    }

    /// Whether the body has this text.
    pub(super) fn body_is(&mut self, number: u64, body: &Body) -> Result<bool, StoreError> {
        if self.memory.by_digest.get(&body.digest()) == Some(&number) {
            return Ok(true);
        }
        if let Some((compared, same)) = self.memory.compared.get(&number)
            && *compared == body.digest()
        {
            return Ok(*same);
        }
        let same = match self.body_changes.new.get(&number) {
            Some(new) => *new.json == *body.json(),
            None => {
                let stored = self.bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
                let (users, _) = split_body(stored.value())?;
                self.body_changes.had_users.insert(number, users);
                *body_bytes(&self.memory.seal, number, stored.value())? == *body.json().as_bytes()
            }
        };
        if self.memory.compared.len() >= REMEMBERED {
            self.memory.compared.clear();
        }
        self.memory.compared.insert(number, (body.digest(), same));
        if same {
            self.memory.remember(body.digest(), number);
        }
        Ok(same)
    }

    /// The JSON of a body.
    pub(super) fn body_json(&self, number: u64) -> Result<Box<[u8]>, StoreError> {
        if let Some(new) = self.body_changes.new.get(&number) {
            return Ok(new.json.as_bytes().into());
        }
        let stored = self.bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
        Ok(body_bytes(&self.memory.seal, number, stored.value())?.into())
    }

    /// The numbers of the bodies with this type and number, as they are after this transaction; among them perhaps some
    /// that no row names any more.
    pub(super) fn bodies_with(&self, credential: &Credential) -> Result<Vec<u64>, StoreError> {
        let changed = &self.body_changes.new;
        let mut bodies = Vec::new();
        let (first, last) = numbers_of(&self.memory.seal.tag(credential));
        for entry in self.numbers.range::<&NumberKey>(&first..=&last)? {
            let (_, body) = number_of(entry?.0.value());
            if !changed.contains_key(&body) {
                bodies.push(body);
            }
        }
        let same =
            |body: &&u64| changed.get(*body).is_some_and(|new| new.credential.as_deref() == Some(credential));
        bodies.extend(self.body_changes.by_credential.get(credential).into_iter().flatten().filter(same));
        bodies.sort_unstable();
        bodies.dedup();
        Ok(bodies)
    }

    /// The tag of the number that a body has, where it is an identifier's and still there.
    pub(super) fn body_tag(&self, body: u64) -> Result<Option<NumberTag>, StoreError> {
        if let Some(NewText { credential, .. }) = self.body_changes.new.get(&body) {
            return Ok(credential.as_deref().map(|credential| self.memory.seal.tag(credential)));
        }
        Ok(self.bodies.get(body)?.and_then(|stored| tag_of(stored.value())))
    }

    /// The time profiles that an identifier's body names. It is remembered: a profile that goes asks this of all.
    pub(super) fn bound_to(&mut self, body: u64) -> Result<Arc<[LinkId]>, StoreError> {
        if let Some(bound) = self.memory.bound.get(&body) {
            return Ok(Arc::clone(bound));
        }
        let identifier = identifier_in(&self.body_json(body)?)?;
        let bound: Arc<[LinkId]> = identifier.profiles.as_slice().into();
        if self.memory.bound.len() >= REMEMBERED {
            self.memory.bound.clear();
        }
        self.memory.bound.insert(body, Arc::clone(&bound));
        Ok(bound)
    }
}

/// The first and the last key of a tag.
pub(super) fn numbers_of(tag: &NumberTag) -> (NumberKey, NumberKey) {
    (number_key(tag, 0), number_key(tag, u64::MAX))
}

/// The identifier in a body.
pub fn identifier_in(json: &[u8]) -> Result<Identifier, StoreError> {
    parse::kept(json).map_err(|_| StoreError::Corrupt("body of an identifier"))
}

/// Before the tag and the text of a sealed body: a JSON object begins otherwise.
const SEALED: u8 = 1;

/// A body's number of users and its text, which may be sealed.
pub(super) fn split_body(value: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let (users, text) = value.split_at_checked(8).ok_or(StoreError::Corrupt("body"))?;
    Ok((row::be_u64(users), text))
}

/// The tag of a sealed body, and what is sealed.
fn split_sealed(value: &[u8]) -> Option<(&NumberTag, &[u8])> {
    let (first, rest) = value.get(8..)?.split_first()?;
    (*first == SEALED).then(|| rest.split_first_chunk())?
}

/// The tag of a body, where it is an identifier's.
pub(super) fn tag_of(value: &[u8]) -> Option<NumberTag> {
    split_sealed(value).map(|(tag, _)| *tag)
}

/// An identifier's body as it is stored.
pub(super) fn sealed_body(
    seal: &Seal,
    number: u64,
    users: u64,
    tag: &NumberTag,
    json: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let sealed = seal.seal_in("bodies", &number.to_be_bytes(), json)?;
    Ok([&users.to_be_bytes()[..], &[SEALED], tag, &sealed].concat())
}

/// A body's JSON.
fn body_bytes<'v>(seal: &Seal, number: u64, value: &'v [u8]) -> Result<Cow<'v, [u8]>, StoreError> {
    match split_sealed(value) {
        Some((_, sealed)) => Ok(Cow::Owned(seal.open_in("bodies", &number.to_be_bytes(), sealed)?)),
        None => Ok(Cow::Borrowed(split_body(value)?.1)),
    }
}

/// The same as a text.
pub(super) fn body_text(seal: &Seal, number: u64, value: &[u8]) -> Result<Box<str>, StoreError> {
    let json = body_bytes(seal, number, value)?;
    std::str::from_utf8(&json).map(Into::into).map_err(|_| StoreError::Corrupt("body"))
}

#[cfg(test)]
mod tests {
    use redb::Database;

    use super::*;
    use crate::batch::Operations;
    use crate::batch::item::ItemId;
    use crate::profile::rule::Family;
    use crate::profile::{LinkId, parse};
    use crate::store::memory::Memory;
    use crate::store::read::Snapshot;
    use crate::store::row::{Row, RowName};
    use crate::store::seal::Seal;
    use crate::store::{PanelNo, migrate, render};

    fn body(name: &str) -> Body {
        let json = format!(
            r#"{{"list_items":[{{"link_id":"91c615e3-1040-4815-8ecb-000000000001","name":"{name}",
            "repeat_options":{{"repeat_enable":false}},
            "time_options":{{"is_all_day":false,"date_from":1000,"date_to":1060}}}}]}}"#
        );
        let profiles = parse::link_body(json.as_bytes(), Family::Android).expect("well-formed");
        Operations::of_profiles(profiles, Vec::new(), false).upserts[0].body.clone()
    }

    fn name(n: u8) -> RowName {
        RowName::Link(ItemId::profile(LinkId::from_bytes([n; 16])))
    }

    struct World {
        db: Database,
        seal: Arc<Seal>,
        memory: Memory,
        _folder: tempfile::TempDir,
    }

    impl World {
        /// With three panels.
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let db = Database::create(folder.path().join("db")).expect("a database");
            let seal = Arc::new(Seal::new([1; 32]));
            migrate::run(&db, &seal).expect("made");
            let memory = Memory::new(Arc::clone(&seal));
            let mut world = Self { db, seal, memory, _folder: folder };
            world.commit(|tables| {
                for n in 1..=3 {
                    tables.add_panel(&format!("p{n}"), br#"{"driver":"embedded"}"#).expect("added");
                }
            });
            world
        }

        fn commit(&mut self, work: impl FnOnce(&mut Tables<'_>)) {
            let write = self.db.begin_write().expect("a transaction");
            let mut tables = Tables::open(&write, &mut self.memory).expect("opened");
            work(&mut tables);
            tables.finish().expect("finished");
            drop(tables);
            write.commit().expect("committed");
            self.memory.keep_transaction();
            assert_eq!(render::contradictions(&self.read()).expect("readable"), Vec::<String>::new());
        }

        fn put(&mut self, panel: PanelNo, n: u8, text: &str) {
            self.commit(|tables| put(tables, panel, n, text));
        }

        fn read(&self) -> Snapshot {
            Snapshot::new(&self.db, &self.seal).expect("readable")
        }

        /// The row, and its text.
        fn row(&self, panel: PanelNo, n: u8) -> (Row, String) {
            let snapshot = self.read();
            let row = snapshot.row(panel, name(n)).expect("readable").expect("a row");
            (row, snapshot.body(row.body).expect("a body").into())
        }

        /// Which body the row has.
        fn names(&self, panel: PanelNo, n: u8) -> u64 {
            self.row(panel, n).0.body
        }
    }

    fn put(tables: &mut Tables<'_>, panel: PanelNo, n: u8, text: &str) {
        let mut rows = tables.panel(panel);
        let standing = rows.get(name(n)).expect("readable");
        if let Some(row) = &standing {
            assert!(!rows.holds(row, &body(text)).expect("readable"), "it is looked at before it is written");
        }
        rows.put_in_place(name(n), standing, &body(text)).expect("written");
        rows.finish().expect("written");
    }

    #[test]
    fn a_text_takes_the_place_of_one_that_no_other_row_names() {
        let mut world = World::new();
        world.put(1, 1, "a");
        world.put(2, 1, "a");
        assert_eq!((world.names(1, 1), world.names(2, 1)), (1, 1));
        world.put(2, 1, "b");
        assert_eq!((world.names(1, 1), world.names(2, 1)), (1, 2));
        assert!(world.row(1, 1).1.contains("\"a\""));
        world.memory.forget_transaction();
        world.put(2, 1, "c");
        assert_eq!(world.names(2, 1), 2, "in its place");
        world.put(3, 1, "c");
        assert_eq!((world.names(2, 1), world.names(3, 1)), (2, 2));
        assert!(world.row(3, 1).1.contains("\"c\""));
    }

    #[test]
    fn within_a_transaction_a_row_as_it_was_before_takes_no_others_text_away() {
        let mut world = World::new();
        world.put(1, 1, "a");
        world.put(1, 2, "b");
        world.commit(|tables| {
            let mut rows = tables.panel(1);
            let [one, two] = [1, 2].map(|n| rows.get(name(n)).expect("readable"));
            rows.put_in_place(name(2), two, &body("a")).expect("written");
            rows.put_in_place(name(1), one, &body("c")).expect("written");
            rows.finish().expect("written");
            put(tables, 2, 1, "c");
        });
        assert!(world.row(1, 2).1.contains("\"a\""));
        assert!(world.row(1, 1).1.contains("\"c\""));
        assert_eq!(world.names(1, 1), world.names(2, 1));
        world.commit(|tables| {
            tables.delete_panel(2).expect("removed");
            put(tables, 3, 1, "c");
            put(tables, 3, 2, "d");
            put(tables, 3, 2, "e");
        });
        assert!(world.row(3, 2).1.contains("\"e\""));
    }
}
