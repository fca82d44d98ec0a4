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
