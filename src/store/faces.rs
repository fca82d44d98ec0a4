//! Photos of faces: each is kept once, sealed, as long as a body or a batch has that face.

use redb::{ReadableTable, ReadableTableMetadata};
use rustc_hash::FxHashMap;

use super::seal::NumberTag;
use super::tables::Tables;
use super::{BatchSeq, StoreError};
use crate::identifier::number::Credential;
use crate::identifier::photo::Photo;

/// Changes to photos within this transaction, written once at its end.
#[derive(Default)]
pub(super) struct FaceChanges {
    /// How many more or fewer bodies and batches have a face. Of identifiers that are none too, which have no row then.
    users: FxHashMap<NumberTag, i64>,
    photos: FxHashMap<NumberTag, Photo>,
}

impl Tables<'_> {
    /// Keeps a photo, if anything that this transaction writes has that face.
    pub fn keep_photo(&mut self, photo: &Photo) {
        let tag = self.memory.seal.tag(&Credential::Face(photo.digest()));
        self.face_changes.photos.insert(tag, photo.clone());
    }

    /// So many more bodies or batches have what is found by this tag.
    pub(super) fn count_face(&mut self, tag: NumberTag, more: i64) {
        *self.face_changes.users.entry(tag).or_default() += more;
    }

    /// A batch's faces, so that it can be sent again.
    pub(super) fn keep_faces_of_batch(&mut self, seq: BatchSeq, photos: &[Photo]) -> Result<(), StoreError> {
        for photo in photos {
            self.keep_photo(photo);
            let tag = self.memory.seal.tag(&Credential::Face(photo.digest()));
            if self.batch_faces.insert((seq, &tag), ())?.is_none() {
                self.count_face(tag, 1);
            }
        }
        Ok(())
    }

    /// A batch goes, and its faces with it where nothing else has them.
    pub(super) fn forget_faces_of_batch(&mut self, seq: BatchSeq) -> Result<(), StoreError> {
        if self.batch_faces.is_empty()? {
            return Ok(());
        }
        let (first, last) = ((seq, &[0; 16]), (seq, &[0xff; 16]));
        let mut tags = Vec::new();
        for entry in self.batch_faces.extract_all(first..=last)? {
            tags.push(*entry?.0.value().1);
        }
        for tag in tags {
            self.count_face(tag, -1);
        }
        Ok(())
    }

    /// Writes what changed of photos.
    pub(super) fn write_faces(&mut self) -> Result<(), StoreError> {
        let FaceChanges { users, photos } = std::mem::take(&mut self.face_changes);
        let nobody = self.face_users.is_empty()?;
        let mut users: Vec<_> = users.into_iter().filter(|(_, more)| *more > 0 || !nobody).collect();
        users.sort_unstable();
        for (tag, more) in users {
            let Some(had) = self.face_users.get(&tag)?.map(|users| users.value()).or((more > 0).then_some(0))
            else {
                continue; // of a card, or the like
            };
            let has = had.checked_add_signed(more).ok_or(StoreError::Corrupt("number of a face's users"))?;
            if has == 0 {
                self.face_users.remove(&tag)?;
                self.faces.remove(&tag)?;
            } else {
                self.face_users.insert(&tag, has)?;
            }
        }
        for (tag, photo) in photos {
            if self.face_users.get(&tag)?.is_some() && self.faces.get(&tag)?.is_none() {
                let sealed = self.memory.seal.seal_in("faces", &tag, photo.jpeg())?;
                self.faces.insert(&tag, sealed.as_slice())?;
            }
        }
        Ok(())
    }
}
