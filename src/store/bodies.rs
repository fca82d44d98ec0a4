//! Bodies: each text is kept once, with the number of rows that name it.

use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use redb::ReadableTable;
use rustc_hash::{FxHashMap, FxHashSet};

use super::StoreError;
use super::memory::REMEMBERED;
use super::pack::Pack;
use super::row::{self, LAST_BODY, Row, RowKey};
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

    /// The number of the body with this text, where one is remembered, for one row more that names it.
    pub(super) fn known_body(&mut self, body: &Body) -> Option<u64> {
        let number = *self.memory.by_digest.get(&body.digest())?;
        self.body_changes.named.insert(number);
        Some(number)
    }

    /// The number of a new body with this text, which this row names as its own.
    pub(super) fn new_body(&mut self, body: &Body, owner: &RowKey) -> Result<u64, StoreError> {
        let number = match self.memory.next_body {
            Some(number) => number,
            None => self.meta.get("next_body")?.map_or(1, |number| number.value()),
        };
        if number > LAST_BODY {
            return Err(StoreError::Corrupt("body number"));
        }
        self.memory.next_body = Some(number + 1);
        self.body_changes.new.insert(number, NewText { json: body.shared_json(), had_users: 0 });
        self.body_changes.named.insert(number);
        self.memory.remember(body.digest(), number, Some(owner));
        Ok(number)
    }

    /// Gives the body of a row another text, where it is the row's own and no other has the text already. Says whether
    /// it did. A body that another row ever named gets no other text: a device's answer to that number may be on its
    /// way, and would confirm a text that the device was never sent.
    pub(super) fn replace_body(&mut self, row: &Row, owner: &RowKey, body: &Body) -> bool {
        let number = row.body;
        // The row is perhaps as it was before another one began to name its body in this transaction.
        if !row.own
            || self.body_changes.named.contains(&number)
            || self.memory.by_digest.contains_key(&body.digest())
        {
            return false;
        }
        self.memory.forget(number);
        self.memory.remember(body.digest(), number, Some(owner));
        let had_users = self.body_changes.new.get(&number).map_or(1, |new| new.had_users);
        self.body_changes.new.insert(number, NewText { json: body.shared_json(), had_users });
        self.body_changes.users.entry(number).or_default();
        true
    }

    /// Takes it back that a row, of which nobody has a copy in memory, names a body as its own.
    pub(super) fn disown(&mut self, owner: &RowKey, body: u64) -> Result<(), StoreError> {
        let from =
            self.packs.upper_bound(Bound::Included(owner))?.peek_prev()?.map(|(from, _)| *from.value());
        let Some(from) = from.filter(|from| from[..4] == owner[..4]) else {
            return Ok(()); // its panel is gone
        };
        if let Some(mut stored) = self.packs.get_mut(&from)? {
            let mut pack = Pack::read(stored.value())?;
            if pack.disown(owner, body) {
                stored.insert(pack.bytes())?;
            }
        }
        Ok(())
    }

    /// Whether the row's body has this text. One that is the row's own is not offered to others.
    pub(super) fn body_is(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        let number = row.body;
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
                split_body(stored.value())?.1 == body.json().as_bytes()
            }
        };
        if self.memory.compared.len() >= REMEMBERED {
            self.memory.compared.clear();
        }
        self.memory.compared.insert(number, (body.digest(), same));
        if same && !row.own {
            self.memory.remember(body.digest(), number, None);
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
    use crate::store::row::RowName;
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

        /// Which body the row has, and whether it is its own.
        fn names(&self, panel: PanelNo, n: u8) -> (u64, bool) {
            let (row, _) = self.row(panel, n);
            (row.body, row.own)
        }
    }

    fn put(tables: &mut Tables<'_>, panel: PanelNo, n: u8, text: &str) {
        let mut rows = tables.panel(panel);
        let standing = rows.get(name(n)).expect("readable");
        rows.put_in_place(name(n), standing, &body(text)).expect("written");
        rows.finish().expect("written");
    }

    #[test]
    fn a_body_is_a_rows_own_until_another_row_names_it() {
        let mut world = World::new();
        world.put(1, 1, "a");
        assert_eq!(world.names(1, 1), (1, true));
        world.put(2, 1, "a");
        assert_eq!((world.names(1, 1), world.names(2, 1)), ((1, false), (1, false)));
        world.put(2, 1, "b");
        assert_eq!((world.names(1, 1), world.names(2, 1)), ((1, false), (2, true)));
        world.memory.forget_transaction();
        world.put(2, 1, "c");
        assert_eq!(world.names(2, 1), (2, true), "in its place, unread");
        world.put(1, 1, "d");
        let (number, own) = world.names(1, 1);
        assert!(number != 1 && own, "another one has named it, and its number stands for that text alone");
        world.put(3, 1, "c");
        assert_eq!((world.names(2, 1), world.names(3, 1)), ((2, false), (2, false)));
        assert!(world.row(3, 1).1.contains("\"c\""));
    }

    #[test]
    fn what_is_forgotten_is_not_offered_to_others() {
        let mut world = World::new();
        world.put(1, 1, "a");
        world.memory.forget_transaction();
        world.commit(|tables| {
            let mut rows = tables.panel(1);
            let row = rows.get(name(1)).expect("readable").expect("a row");
            assert!(rows.holds(&row, &body("a")).expect("readable"));
            assert!(!rows.holds(&row, &body("b")).expect("readable"));
        });
        world.put(2, 1, "a");
        assert_eq!((world.names(1, 1), world.names(2, 1)), ((1, true), (2, true)));
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
        assert_eq!(world.names(1, 1).0, world.names(2, 1).0);
        world.commit(|tables| {
            tables.delete_panel(2).expect("removed");
            put(tables, 3, 1, "c");
            put(tables, 3, 2, "d");
            put(tables, 3, 2, "e");
        });
        assert!(world.row(3, 2).1.contains("\"e\""));
    }
}
