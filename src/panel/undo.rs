//! What an undo asks of a panel: of each item that its batch had changed there, that what stood before is put back, unless
//! something newer has changed it.
//!
//! Something newer has if the item is not, word for word, what the batch had made of it. That is decided when the undo comes to
//! the panel, in the order of batches there, and by the rows alone: so an embedded panel, a remote one and a dry run decide
//! alike.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::decide::{Decision, Limits, Standing, decide};
use crate::batch::item::{ItemId, Kind};
use crate::batch::{Body, Content, ItemOutcome, Operations, Outcome, Upsert, Zoned};
use crate::profile::parse;
use crate::store::tables::PanelRows;
use crate::store::{BatchSeq, Changed, PanelNo, StoreError, ToUndo, identifier_in};

/// As so many items an undo counts on each panel, since which ones they are is known only there.
pub(super) const ITEMS: usize = 10;

/// Zones for which what an undo asks is kept from panel to panel, at most.
const ZONES: usize = 64;

/// What an undo asks of panels on which its batch had changed the same, in one zone.
#[derive(Debug)]
pub struct Undoing {
    /// The items: those to put back, and then those to delete.
    items: Arc<[ItemId]>,
    changed: Vec<Changed>,
    /// The texts to put back.
    texts: Vec<Box<str>>,
    /// All of it.
    zoned: Arc<Zoned>,
}

/// What of it is to be done on one panel, and what comes of the rest.
pub struct Part {
    /// What is to be done.
    pub zoned: Arc<Zoned>,
    /// Of each item what comes of it; nothing of those that are to be done, which stand in the order of the operations.
    came: Vec<Option<ItemOutcome>>,
}

impl Undoing {
    /// `text` gives bodies' texts.
    pub fn new(
        mut changed: Vec<Changed>,
        zone: &TimeZone,
        mut text: impl FnMut(u64) -> Result<Box<[u8]>, StoreError>,
    ) -> Result<Self, StoreError> {
        changed.sort_by_key(|of| of.before == 0); // as they are kept
        let to_put_back = changed.iter().take_while(|of| of.before != 0);
        let texts = to_put_back.map(|of| as_text(text(of.before)?)).collect::<Result<Vec<_>, _>>()?;
        let items = changed.iter().map(|of| of.item).collect();
        let operations = operations(&changed, &texts, |_| true)?;
        let zoned = Arc::new(Zoned::new(Arc::new(operations), zone));
        Ok(Self { items, changed, texts, zoned })
    }

    /// All of it: of each item, what is to be put back, or that it is to be deleted.
    pub fn zoned(&self) -> &Arc<Zoned> {
        &self.zoned
    }

    /// The bodies that are put back, each with its number.
    fn bodies(&self) -> impl Iterator<Item = (u64, &Body)> {
        let upserts = self.zoned.operations().upserts.iter().map(|upsert| &upsert.body);
        self.changed.iter().map(|of| of.before).zip(upserts)
    }

    /// What of it is to be done on a panel with these rows.
    pub fn part(&self, standing: &mut impl Standing) -> Result<Part, StoreError> {
        let mut came = Vec::with_capacity(self.changed.len());
        for Changed { item, before, after, .. } in &self.changed {
            let now = standing.row(*item)?.map_or(0, |row| row.body);
            came.push(if same_text(standing, now, *after)? {
                None
            } else if !same_text(standing, now, *before)? {
                Some(ItemOutcome::ChangedSince)
            } else if now == 0 {
                Some(ItemOutcome::NotFound)
            } else {
                Some(ItemOutcome::Unchanged)
            });
        }
        let zoned = if came.iter().all(Option::is_none) {
            Arc::clone(&self.zoned)
        } else {
            let operations = operations(&self.changed, &self.texts, |i| came[i].is_none())?;
            Arc::new(Zoned::new(Arc::new(operations), self.zoned.zone()))
        };
        Ok(Part { zoned, came })
    }

    /// What comes of it on a panel with these rows.
    pub fn decide(
        &self,
        standing: &mut impl Standing,
        limits: Limits,
    ) -> Result<(Part, Decision), StoreError> {
        let part = self.part(standing)?;
        let decision = decide(standing, &part.zoned, limits)?;
        Ok((part, decision))
    }

    /// The outcome of the undo on a panel, where `items` came of what was to be done there.
    pub fn outcome(&self, part: Part, items: Vec<ItemOutcome>, attempts: u16) -> Outcome {
        let mut items = items.into_iter();
        let all = part.came.into_iter().filter_map(|came| came.or_else(|| items.next())).collect();
        let outcome = Outcome::decided(all, Vec::new(), Vec::new(), attempts);
        Outcome { named: Some(Arc::clone(&self.items)), ..outcome }
    }
}

fn as_text(bytes: Box<[u8]>) -> Result<Box<str>, StoreError> {
    std::str::from_utf8(&bytes).map(Into::into).map_err(|_| StoreError::Corrupt("body"))
}

impl Changed {
    /// Whether the item is on the panel as its batch left it.
    pub fn stands(&self, standing: &mut impl Standing) -> Result<bool, StoreError> {
        let now = standing.row(self.item)?.map_or(0, |row| row.body);
        same_text(standing, now, self.after)
    }
}

/// Whether two bodies, of which 0 is none, are the same text.
fn same_text(standing: &mut impl Standing, one: u64, other: u64) -> Result<bool, StoreError> {
    if one == other || one == 0 || other == 0 {
        return Ok(one == other);
    }
    Ok(standing.text(one)? == standing.text(other)?)
}

/// The operations that put back what stood before of the items at these places.
fn operations(
    changed: &[Changed],
    texts: &[Box<str>],
    wanted: impl Fn(usize) -> bool,
) -> Result<Operations, StoreError> {
    let mut operations = Operations::default();
    for (i, Changed { item, before, .. }) in changed.iter().enumerate().filter(|(i, _)| wanted(*i)) {
        match texts.get(i).filter(|_| *before != 0) {
            Some(text) => operations.upserts.push(upsert(*item, text)?),
            None => operations.deletes.push(*item),
        }
    }
    Ok(operations)
}

/// A face comes without its photo, which the store has as long as a body has that face.
fn upsert(item: ItemId, text: &str) -> Result<Upsert, StoreError> {
    let (content, credential) = match item.kind {
        Kind::Profile => {
            let profile = parse::stored(text.as_bytes()).map_err(|_| StoreError::Corrupt("body"))?;
            (Content::Profile(profile), None)
        }
        Kind::Identifier => {
            let identifier = identifier_in(text.as_bytes())?;
            let credential = identifier.credential.clone();
            (Content::Identifier(Box::new(identifier), None), Some(credential))
        }
    };
    Ok(Upsert { item, content, body: Body::stored(text, credential), repeated: false })
}

/// What an undo asks of panels of one zone that it comes to just now.
struct Coming {
    seq: BatchSeq,
    first: PanelNo,
    panels: u32,
    undoing: Arc<Undoing>,
}

/// What the undo of this number asks of the panel, which is in this zone.
pub(super) fn undoing(
    rows: &mut PanelRows<'_, '_>,
    seq: BatchSeq,
    zone: &TimeZone,
) -> Result<Arc<Undoing>, StoreError> {
    let panel = rows.number();
    let known = rows.tables().part::<Rc<RefCell<Vec<Coming>>>>().cloned().unwrap_or_default();
    let is_it = |coming: &&Coming| {
        coming.seq == seq
            && panel.checked_sub(coming.first).is_some_and(|place| place < coming.panels)
            && coming.undoing.zoned.zone() == zone
    };
    if let Some(coming) = known.borrow().iter().find(is_it) {
        return Ok(Arc::clone(&coming.undoing));
    }
    let found = rows.tables().to_undo(seq, panel)?;
    let ToUndo { first, panels, changed } =
        found.unwrap_or(ToUndo { first: panel, panels: 1, changed: Vec::new() });
    let undoing = Arc::new(Undoing::new(changed, zone, |body| rows.body_text(body))?);
    for (number, body) in undoing.bodies() {
        rows.body_has(number, body); // so that it is not written a second time
    }
    let mut parts = known.borrow_mut();
    parts.retain(|coming| coming.undoing.zoned.zone() != zone); // neighbours come one after the other
    if parts.len() >= ZONES {
        parts.clear();
    }
    parts.push(Coming { seq, first, panels, undoing: Arc::clone(&undoing) });
    drop(parts);
    rows.tables().set_part(known);
    Ok(undoing)
}

/// The items that a batch asks for on the panel, in the order of its outcome there.
pub(super) fn asked(
    rows: &mut PanelRows<'_, '_>,
    seq: BatchSeq,
    zoned: &Arc<Zoned>,
) -> Result<Arc<Zoned>, StoreError> {
    match zoned.operations().undoes {
        Some(_) => Ok(Arc::clone(undoing(rows, seq, zoned.zone())?.zoned())),
        None => Ok(Arc::clone(zoned)),
    }
}
