//! The rows of one panel within a transaction, and what is known of its device.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata};

use super::bodies::Users;
use super::pack::{self, MAX_ROWS, Pack};
use super::row::{self, Head, ItemKey, Pending, Reported, Row, RowKey, RowName};
use super::tables::Tables;
use super::{BatchSeq, Changed, PanelNo, StoreError};
use crate::batch::Body;
use crate::batch::item::{ItemId, Kind};
use crate::identifier::number::Credential;
use crate::profile::LinkId;

/// One panel's rows within a transaction. What is changed here is seen by every later question.
pub struct PanelRows<'a, 't> {
    tables: &'a mut Tables<'t>,
    panel: PanelNo,
    /// The packs that were looked at, by their keys; the panel's first one among them wherever there is any.
    packs: Vec<Loaded>,
    /// Bodies that rows here begin and cease to name.
    users: Vec<(u64, i64)>,
    /// Items that wait for the panel's device from now on, or no longer.
    pending: BTreeMap<ItemId, Option<Pending>>,
    /// What was changed of items with a link_id.
    changed: Vec<Changed>,
}

/// All that a panel's rows are, where they fit into one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole(Pack);

/// What work made of a panel's rows, for doing the same to another panel with the same rows in the same
/// transaction.
#[derive(Debug, Clone)]
pub struct Made {
    whole: Whole,
    users: Rc<Users>,
    changed: Rc<[Changed]>,
}

/// A pack in memory. It has the names from its key on up to `until`, or up to the panel's last one.
struct Loaded {
    key: RowKey,
    until: Option<RowKey>,
    pack: Pack,
    changed: bool,
}

impl<'a, 't> PanelRows<'a, 't> {
    pub(super) fn of(tables: &'a mut Tables<'t>, panel: PanelNo) -> Self {
        Self {
            tables,
            panel,
            packs: Vec::new(),
            users: Vec::new(),
            pending: BTreeMap::new(),
            changed: Vec::new(),
        }
    }

    /// Notes what became of an item: every change of a row passes here.
    fn note_change(&mut self, name: RowName, before: u64, after: u64) {
        if let RowName::Link(item) = name {
            let at_ms = self.tables.at_ms();
            self.changed.push(Changed { item, before, after, at_ms });
        }
    }

    /// Keeps what was changed here as what a batch has changed.
    pub fn keep_before(&mut self, batch: BatchSeq) -> Result<(), StoreError> {
        let changed = std::mem::take(&mut self.changed).into();
        self.tables.keep_before(batch, self.panel, &changed)
    }

    /// Keeps that this was changed by a call of the panel API.
    pub fn keep_call(&mut self, actor: &str) -> Result<(), StoreError> {
        self.tables.keep_call(self.panel, actor, &std::mem::take(&mut self.changed))
    }

    /// Keeps what was made of other rows that were the same as what a batch has changed here.
    pub fn keep_before_as_made(&mut self, batch: BatchSeq, made: &Made) -> Result<(), StoreError> {
        self.tables.keep_before(batch, self.panel, &made.changed)
    }

    /// The text of a body that rows name, or named.
    pub fn body_text(&self, body: u64) -> Result<Box<[u8]>, StoreError> {
        self.tables.body_json(body)
    }

    /// A body is known to have this text, which is its own.
    pub fn body_has(&mut self, number: u64, body: &Body) {
        self.tables.body_has(number, body);
    }

    /// The tables, for what goes into the same transaction beside the rows.
    pub fn tables(&mut self) -> &mut Tables<'t> {
        self.tables
    }

    /// Which panel.
    pub fn number(&self) -> PanelNo {
        self.panel
    }

    /// How many items of this kind the panel holds.
    pub fn count(&mut self, kind: Kind) -> Result<u32, StoreError> {
        Ok(self.first()?.pack.head().count(kind))
    }

    /// The panel's first pack, which stands first in `packs`.
    fn first(&mut self) -> Result<&mut Loaded, StoreError> {
        if self.packs.is_empty() {
            let key = row::panel_range(self.panel).0;
            let pack = match self.tables.packs.get(&key)? {
                Some(value) => Pack::read(value.value())?,
                None => Pack::empty(),
            };
            // Where there are others, up to which name it goes is looked up with the name that asks for it.
            let until = pack.has_others().then_some(key);
            self.packs.push(Loaded { key, until, pack, changed: false });
        }
        Ok(&mut self.packs[0])
    }

    /// Sets next uid and number of rows.
    pub(super) fn set_head(&mut self, head: Head) -> Result<(), StoreError> {
        let first = self.first()?;
        first.pack.set_head(head);
        first.changed = true;
        Ok(())
    }

    /// Where in `packs` the pack with this name is, which is read where it was not looked at before.
    fn pack(&mut self, key: &RowKey) -> Result<usize, StoreError> {
        self.first()?;
        let place = self.packs.partition_point(|loaded| loaded.key <= *key);
        let at = place - 1; // the first one's key is below every name's
        if self.packs[at].until.is_none_or(|until| *key < until) {
            return Ok(at);
        }
        let mut gap = self.tables.packs.upper_bound(Bound::Included(key))?;
        let (from, value) = gap.peek_prev()?.ok_or(StoreError::Corrupt("first pack"))?;
        let next = gap.peek_next()?.map(|(next, _)| *next.value());
        let (from, until) = (*from.value(), next.filter(|next| next[..4] == key[..4]));
        if from == self.packs[at].key {
            self.packs[at].until = until;
            return Ok(at);
        }
        let pack = Pack::read(value.value())?;
        self.packs.insert(place, Loaded { key: from, until, pack, changed: false });
        Ok(place)
    }

    /// The row of this name.
    pub fn get(&mut self, name: RowName) -> Result<Option<Row>, StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        Ok(self.packs[at].pack.get(&key))
    }

    /// Writes a row, and leaves the head as it is.
    pub(super) fn set(&mut self, name: RowName, row: Row) -> Result<(), StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        let loaded = &mut self.packs[at];
        loaded.pack.put(&key, row);
        loaded.changed = true;
        if loaded.pack.count() > MAX_ROWS {
            if at == 0 {
                loaded.pack.set_others(); // a pack beyond the first one has seen to that before
            }
            let (from, upper) = loaded.pack.split(self.panel);
            let until = loaded.until.replace(from);
            self.packs.insert(at + 1, Loaded { key: from, until, pack: upper, changed: true });
        }
        Ok(())
    }

    /// All rows, in the order of their names.
    pub fn all(&self) -> Result<Vec<(RowName, Row)>, StoreError> {
        let (first, last) = row::panel_range(self.panel);
        let mut rows = Vec::new();
        for loaded in &self.packs {
            rows.extend(loaded.pack.rows().collect::<Result<Vec<_>, _>>()?);
        }
        for entry in self.tables.packs.range::<&RowKey>(&first..=&last)? {
            let (key, value) = entry?;
            if !self.packs.iter().any(|loaded| loaded.key == *key.value()) {
                rows.extend(pack::rows(value.value()).collect::<Result<Vec<_>, _>>()?);
            }
        }
        rows.sort_unstable_by_key(|(name, _)| *name);
        Ok(rows)
    }

    /// Whether the row's body is this one, word for word: what differs in its words alone is written, since it is to be
    /// read back as it was sent.
    pub fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        self.tables.body_is(row.body, body)
    }

    /// Whether the row's body says what this one says, in whatever words: whether something was done is judged by that.
    pub fn says_the_same(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        Ok(self.holds(row, body)? || body.says_the_same(&self.json(row)?))
    }

    /// The JSON of a row's body.
    pub fn json(&self, row: &Row) -> Result<Box<[u8]>, StoreError> {
        self.tables.body_json(row.body)
    }

    /// The numbers of the bodies with this type and number, on whatever panels; among them perhaps some that no row names
    /// any more.
    pub fn bodies_with(&self, credential: &Credential) -> Result<Vec<u64>, StoreError> {
        self.tables.bodies_with(credential)
    }

    /// Which identifier of the panel has this type and number.
    pub fn holder(&mut self, credential: &Credential) -> Result<Option<(RowName, Row)>, StoreError> {
        let bodies = self.bodies_with(credential)?;
        if bodies.is_empty() {
            return Ok(None);
        }
        Ok(self.all()?.into_iter().find(|(_, row)| bodies.contains(&row.body)))
    }

    /// The time profiles that the identifier in this row names.
    pub fn bound_to(&mut self, row: &Row) -> Result<Arc<[LinkId]>, StoreError> {
        self.tables.bound_to(row.body)
    }

    /// Writes an item under a name; a new one gets the next uid. `standing` is the row that stands there.
    pub fn put(&mut self, name: RowName, standing: Option<Row>, body: &Body) -> Result<Row, StoreError> {
        let number = self.tables.body_number(body)?;
        let row = match standing {
            Some(old) => {
                self.users.push((old.body, -1));
                Row { body: number, uid: old.uid, revision: old.revision.saturating_add(1) }
            }
            None => {
                let Head { next_uid: uid, mut counts } = self.first()?.pack.head();
                let next_uid = uid.checked_add(1).ok_or(StoreError::Corrupt("uid"))?;
                counts[name.kind() as usize] += 1;
                self.set_head(Head { next_uid, counts })?;
                Row { body: number, uid, revision: 1 }
            }
        };
        self.users.push((number, 1));
        self.set(name, row)?;
        self.note_change(name, standing.map_or(0, |old| old.body), number);
        Ok(row)
    }

    /// As [`PanelRows::put`], and where no other row names the body that stands there, the new text takes its place
    /// under its number. Not for a batch, before which the old one stood, nor for a remote panel: what its device holds is
    /// known by numbers of bodies.
    pub fn put_in_place(
        &mut self,
        name: RowName,
        standing: Option<Row>,
        body: &Body,
    ) -> Result<Row, StoreError> {
        let Some(old) = standing.filter(|old| self.tables.replace_body(old.body, body)) else {
            return self.put(name, standing, body);
        };
        let row = Row { revision: old.revision.saturating_add(1), ..old };
        self.set(name, row)?;
        self.note_change(name, old.body, row.body);
        Ok(row)
    }

    /// Writes a new item that has no link_id, and returns its uid.
    pub fn put_by_uid(&mut self, kind: Kind, body: &Body) -> Result<u32, StoreError> {
        let uid = self.first()?.pack.head().next_uid;
        self.put(RowName::Uid(kind, uid), None, body)?;
        Ok(uid)
    }

    /// Deletes the row that stands under this name.
    pub fn remove(&mut self, name: RowName, standing: Row) -> Result<(), StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        self.packs[at].pack.remove(&key);
        self.packs[at].changed = true;
        self.users.push((standing.body, -1));
        self.note_change(name, standing.body, 0);
        let Head { next_uid, mut counts } = self.first()?.pack.head();
        let count = &mut counts[name.kind() as usize];
        *count = count.saturating_sub(1);
        self.set_head(Head { next_uid, counts })
    }

    /// All that the rows are now; nothing where they do not fit into one pack.
    pub fn whole(&mut self) -> Result<Option<Whole>, StoreError> {
        let pack = &self.first()?.pack;
        Ok((!pack.has_others()).then(|| Whole(pack.clone())))
    }

    /// What was made of the rows since they were looked at first.
    pub fn made(&mut self) -> Result<Option<Made>, StoreError> {
        let (users, changed) = (self.users.as_slice().into(), self.changed.as_slice().into());
        Ok(self.whole()?.map(|whole| Made { whole, users, changed }))
    }

    /// Of rows that nobody has looked at in this work: where they are just these, makes the same of them where they
    /// stand, and says so.
    pub fn make_where(&mut self, before: &Whole, made: &Made) -> Result<bool, StoreError> {
        let key = row::panel_range(self.panel).0;
        let packs = &mut self.tables.packs;
        let (before, after) = (before.0.bytes(), made.whole.0.bytes());
        let same = if before == after {
            packs.get(&key)?.map(|standing| standing.value() == before)
        } else {
            match packs.get_mut(&key)? {
                Some(mut standing) if standing.value() == before => {
                    standing.insert(after)?;
                    Some(true)
                }
                Some(_) => Some(false),
                None => None,
            }
        };
        if !same.unwrap_or_else(|| before == Pack::empty().bytes()) {
            return Ok(false);
        }
        if same.is_none() && before != after {
            packs.insert(&key, after)?;
        }
        self.tables.body_changes.repeat(&made.users);
        Ok(true)
    }

    /// What is known of an item on the panel's device.
    pub fn reported(&self, item: ItemId) -> Result<Option<Reported>, StoreError> {
        let stored = self.tables.reported.get(&row::item_key(self.panel, item))?;
        stored.map(|value| Reported::decode(value.value())).transpose()
    }

    /// Whether anything is known of the panel's device, or of what an embedded panel refused.
    pub fn has_reported(&self) -> Result<bool, StoreError> {
        let reported = &self.tables.reported;
        if reported.is_empty()? {
            return Ok(false); // as on most fleets of embedded panels, and then nothing is looked up
        }
        let (first, last) = row::item_range(self.panel);
        Ok(reported.range::<&ItemKey>(&first..=&last)?.next().is_some())
    }

    /// All that is known of the panel's device, in the order of the items.
    pub fn all_reported(&self) -> Result<Vec<(ItemId, Reported)>, StoreError> {
        let (first, last) = row::item_range(self.panel);
        let mut all = Vec::new();
        for entry in self.tables.reported.range::<&ItemKey>(&first..=&last)? {
            let (key, value) = entry?;
            all.push((row::item_name(key.value())?.1, Reported::decode(value.value())?));
        }
        Ok(all)
    }

    /// Writes what is known of an item on the device; nothing where it is known to be gone. It comes after the change of
    /// what is desired of the item, if there is one.
    pub fn set_reported(&mut self, item: ItemId, reported: Option<&Reported>) -> Result<(), StoreError> {
        let key = row::item_key(self.panel, item);
        if reported == Some(&Reported::Unknown) {
            let pending = Pending::of(self.get(RowName::Link(item))?.is_some());
            self.pending.insert(item, Some(pending));
        }
        let now = reported.map(Reported::encode);
        let before = match &now {
            Some(now) => self.tables.reported.insert(&key, now.as_slice())?,
            None => self.tables.reported.remove(&key)?,
        };
        let before = before.map(|before| before.value().to_vec());
        let change = self.tables.counted.entry(self.panel).or_default();
        if let Some(before) = &before {
            change.count(before, -1);
            if Reported::is_unknown(before) && reported != Some(&Reported::Unknown) {
                self.pending.insert(item, None);
            }
        }
        if let Some(now) = &now {
            change.count(now, 1);
        }
        self.tables.follow_reported(&key, before.as_deref(), reported)
    }

    /// Whether it is known of anything of an item that the panel's device holds it, or perhaps does.
    pub fn holds_perhaps(&self, item: ItemId) -> Result<bool, StoreError> {
        self.tables.has_last_held(&row::item_key(self.panel, item))
    }

    /// The panel's device was found to hold this of an item of which something else, or nothing, is desired.
    pub fn is_found_to_hold(&mut self, item: ItemId, body: &Body) -> Result<(), StoreError> {
        let number = self.tables.body_number(body)?;
        self.tables.is_found_to_hold(&row::item_key(self.panel, item), number)
    }

    /// An item that was to be deleted, and perhaps was, is desired again.
    pub fn perhaps_lacks(&mut self, item: ItemId) -> Result<(), StoreError> {
        self.tables.perhaps_lacks(&row::item_key(self.panel, item))
    }

    /// Something else is desired of an item of which this body was to be sent to the panel's device, and perhaps was.
    pub fn perhaps_holds(&mut self, item: ItemId, body: u64) -> Result<(), StoreError> {
        self.tables.perhaps_holds(&row::item_key(self.panel, item), body)
    }

    /// The device does not hold the item any more, whatever is reported of it.
    pub fn forget_last_held(&mut self, item: ItemId) -> Result<(), StoreError> {
        self.tables.forget_last_held(&row::item_key(self.panel, item))
    }

    /// Writes what changed of the panel's rows and head. The writer calls it after the work.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        for (body, delta) in self.users {
            *self.tables.body_changes.users.entry(body).or_default() += delta;
        }
        let first = row::panel_range(self.panel).0;
        for Loaded { key, pack, .. } in self.packs.iter().filter(|loaded| loaded.changed) {
            if pack.count() > 0 || *key == first {
                self.tables.packs.insert(key, pack.bytes())?;
            } else {
                self.tables.packs.remove(key)?;
            }
        }
        if !self.pending.is_empty() {
            let mut waits = match self.tables.pending.get(self.panel)? {
                Some(stored) => row::decode_pending(stored.value()).collect::<Result<BTreeMap<_, _>, _>>()?,
                None => BTreeMap::new(),
            };
            for (item, pending) in self.pending {
                match pending {
                    Some(pending) => _ = waits.insert(item, pending),
                    None => _ = waits.remove(&item),
                }
            }
            if waits.is_empty() {
                self.tables.pending.remove(self.panel)?;
            } else {
                self.tables.pending.insert(self.panel, row::encode_pending(&waits).as_slice())?;
            }
        }
        Ok(())
    }
}
