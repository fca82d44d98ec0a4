//! Bodies: each text is kept once, with the number of rows that name it.

use std::rc::Rc;
use std::sync::Arc;

use redb::ReadableTable;
use rustc_hash::{FxHashMap, FxHashSet};

use super::StoreError;
use super::memory::REMEMBERED;
use super::row;
use super::tables::Tables;
use crate::batch::Body;

/// Bodies, and by how many rows each is named more or less.
pub(super) type Users = [(u64, i64)];

/// Changes to bodies within this transaction, written once at its end: a body that thousands of rows begin or
/// cease to name is written once.
#[derive(Default)]
pub(super) struct BodyChanges {
    pub(super) users: FxHashMap<u64, i64>,
    new: FxHashMap<u64, NewText>,
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
    /// How many rows named it before this transaction.
    had_users: u64,
}

impl BodyChanges {
    /// Whether one row named this body before this transaction, and none has begun or ceased to since.
    fn of_one_row(&self, body: u64) -> bool {
        self.had_users.get(&body) == Some(&1)
            && !self.named.contains(&body)
            && self.users.get(&body).is_none_or(|delta| *delta == 0)
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
            if users == 0 {
                self.bodies.remove(body)?;
                self.memory.forget(body);
            } else if let Some(NewText { json, .. }) = new {
                let mut value = self.bodies.insert_reserve(body, 8 + json.len())?;
                value.as_mut()[..8].copy_from_slice(&users.to_be_bytes());
                value.as_mut()[8..].copy_from_slice(json.as_bytes());
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
        let number = match self.memory.next_body {
            Some(number) => number,
            None => self.meta.get("next_body")?.map_or(1, |number| number.value()),
        };
        self.memory.next_body = Some(number + 1);
        self.body_changes.new.insert(number, NewText { json: body.shared_json(), had_users: 0 });
        self.body_changes.named.insert(number);
        self.memory.remember(body.digest(), number);
        Ok(number)
    }

    /// Gives the body of one row another text, where no other row names it and none has the text already. Says
    /// whether it did.
    pub(super) fn replace_body(&mut self, number: u64, body: &Body) -> bool {
        if !self.body_changes.of_one_row(number) || self.memory.by_digest.contains_key(&body.digest()) {
            return false;
        }
        self.memory.forget(number);
        self.memory.remember(body.digest(), number);
        self.body_changes.new.insert(number, NewText { json: body.shared_json(), had_users: 1 });
        self.body_changes.users.entry(number).or_default();
        true
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
                let (users, json) = split_body(stored.value())?;
                self.body_changes.had_users.insert(number, users);
                json == body.json().as_bytes()
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
        Ok(split_body(stored.value())?.1.into())
    }
}

/// A body's number of users and its JSON.
pub(super) fn split_body(value: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let (users, json) = value.split_at_checked(8).ok_or(StoreError::Corrupt("body"))?;
    Ok((row::be_u64(users), json))
}

/// A body's JSON.
pub(super) fn body_text(value: &[u8]) -> Result<Box<str>, StoreError> {
    let (_, json) = split_body(value)?;
    std::str::from_utf8(json).map(Into::into).map_err(|_| StoreError::Corrupt("body"))
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
