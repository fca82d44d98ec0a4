//! Reads of a panel's items, of who has a number, and of what a device perhaps holds.

use redb::{ReadOnlyTable, ReadableTable};

use super::{Snapshot, StoredItem};
use crate::batch::item::{ItemId, Kind};
use crate::identifier::number::Credential;
use crate::identifier::photo::{FaceDigest, Photo};
use crate::store::bodies::{NumberKey, body_text, number_of, numbers_of};
use crate::store::row::{self, ItemKey, ReportedCounts, Row, RowName};
use crate::store::seal::NumberTag;
use crate::store::shipped::Position;
use crate::store::{PanelNo, StoreError, damage, last_held, tables};

impl Snapshot {
    /// The last entry of the log of all nodes that is in it.
    pub fn position(&self) -> Result<Position, StoreError> {
        tables::position_in(&self.transaction.open_table(tables::META)?)
    }

    /// The panels for whose devices something waits.
    pub fn panels_with_pending(&self) -> Result<Vec<PanelNo>, StoreError> {
        damage::read(|| {
            let pending = self.transaction.open_table(tables::PENDING)?;
            pending.iter()?.map(|entry| Ok(entry?.0.value())).collect()
        })
    }

    /// The panels that hold, or once held, an item.
    pub(in crate::store) fn panels_with_rows(&self) -> Result<Vec<PanelNo>, StoreError> {
        damage::read(|| {
            let mut panels = Vec::new();
            for entry in self.transaction.open_table(tables::PACKS)?.iter()? {
                panels.push(row::be_u32(&entry?.0.value()[..4]));
            }
            panels.dedup();
            Ok(panels)
        })
    }

    /// What authenticates a body of an identifier where it stands: the same number with the same of these is the same text.
    pub fn body_print(&self, number: u64) -> Result<[u8; 16], StoreError> {
        damage::read(|| {
            let bodies = self.transaction.open_table(tables::BODIES)?;
            let stored = bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
            stored.value().last_chunk().copied().ok_or(StoreError::Corrupt("body"))
        })
    }

    /// The panel's profiles, in the order of [`Snapshot::rows`].
    pub fn profiles(&self, panel: PanelNo) -> Result<Vec<StoredItem>, StoreError> {
        self.items(panel, Kind::Profile, None, usize::MAX)
    }

    /// The panel's identifiers, in the order of [`Snapshot::rows`].
    pub fn identifiers(&self, panel: PanelNo) -> Result<Vec<StoredItem>, StoreError> {
        self.items(panel, Kind::Identifier, None, usize::MAX)
    }

    /// At most so many of the panel's items of a kind, in the order of [`Snapshot::rows`], behind a name, which may be gone by
    /// now. No others are opened.
    pub fn items(
        &self,
        panel: PanelNo,
        kind: Kind,
        after: Option<RowName>,
        most: usize,
    ) -> Result<Vec<StoredItem>, StoreError> {
        damage::read(|| {
            let bodies = self.transaction.open_table(tables::BODIES)?;
            let with_text = |(name, row): (RowName, Row)| {
                let stored = bodies.get(row.body)?.ok_or(StoreError::Corrupt("body number"))?;
                Ok(StoredItem { name, row, json: body_text(&self.seal, row.body, stored.value())? })
            };
            let wanted = |name: RowName| name.kind() == kind && after.is_none_or(|after| name > after);
            let rows = self.rows(panel)?.into_iter().filter(|(name, _)| wanted(*name));
            rows.take(most).map(with_text).collect()
        })
    }

    /// The numbers of the bodies with this type and number, on whatever panels.
    pub fn bodies_with(&self, credential: &Credential) -> Result<Vec<u64>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::NUMBERS)?;
            let (first, last) = numbers_of(&self.seal.tag(credential));
            let mut bodies = Vec::new();
            for entry in table.range::<&NumberKey>(&first..=&last)? {
                bodies.push(number_of(entry?.0.value()).1);
            }
            Ok(bodies)
        })
    }

    /// A digest of what a secret is a part of, by which nobody without the key can try which secret it is.
    pub fn keyed(&self, digest: &[u8; 32]) -> [u8; 32] {
        self.seal.keyed(digest)
    }

    /// By what a type and number are found.
    pub(in crate::store) fn tag(&self, credential: &Credential) -> NumberTag {
        self.seal.tag(credential)
    }

    /// The photo of a face, where it is kept.
    pub fn photo(&self, face: FaceDigest) -> Result<Option<Photo>, StoreError> {
        damage::read(|| {
            let tag = self.seal.tag(&Credential::Face(face));
            let table = self.transaction.open_table(tables::FACES)?;
            let Some(sealed) = table.get(&tag)? else { return Ok(None) };
            let jpeg = self.seal.open_in("faces", &tag, sealed.value())?;
            Photo::from_jpeg(jpeg).map(Some).map_err(|_| StoreError::Corrupt("photo"))
        })
    }

    /// Whether the photo of a face is kept, which is not opened for that.
    pub fn has_photo(&self, face: FaceDigest) -> Result<bool, StoreError> {
        damage::read(|| {
            let tag = self.seal.tag(&Credential::Face(face));
            Ok(self.transaction.open_table(tables::FACES)?.get(&tag)?.is_some())
        })
    }

    /// Whether anything is kept of what a panel's device perhaps holds ([`Snapshot::last_held`]).
    pub fn has_last_held(&self, panel: PanelNo) -> Result<bool, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::LAST_HELD)?;
            let (first, last) = row::item_range(panel);
            Ok(table.range::<&ItemKey>(&first..=&last)?.next().is_some())
        })
    }

    /// The bodies that a panel's device perhaps holds of an item of which it is not reported that it holds one.
    pub fn last_held(&self, panel: PanelNo, item: ItemId) -> Result<Vec<u64>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::LAST_HELD)?;
            let bodies = table.get(&row::item_key(panel, item))?;
            Ok(bodies.map(|bodies| last_held::decode(bodies.value())).unwrap_or_default())
        })
    }

    /// [`Snapshot::last_held`], and whether the device perhaps holds none of them.
    pub fn last_held_or_nothing(&self, panel: PanelNo, item: ItemId) -> Result<(Vec<u64>, bool), StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::LAST_HELD)?;
            let bodies = table.get(&row::item_key(panel, item))?;
            let both = |bodies: &[u8]| (last_held::decode(bodies), last_held::or_nothing(bodies));
            Ok(bodies.map(|bodies| both(bodies.value())).unwrap_or_default())
        })
    }
}

/// How many link_ids of devices are in which state, panel by panel.
pub struct Counts(pub(super) ReadOnlyTable<PanelNo, &'static [u8; 32]>);

impl Counts {
    /// Of this panel.
    pub fn of(&self, panel: PanelNo) -> Result<ReportedCounts, StoreError> {
        let counts = self.0.get(panel)?.map(|counts| ReportedCounts::decode(counts.value()));
        Ok(counts.unwrap_or_default())
    }
}
