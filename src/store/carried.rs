//! Secrets that a page's form carries from one step to the next: sealed, so that nobody reads them in the page, in its
//! history or in a cache, and bound to the session that was given them.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use super::{StoreError, StoreHandle};
use crate::identifier::photo::Photo;

/// Sealed values are bound to a place; these are those of what forms carry.
const PLACE: &str = "forms";
const PHOTOS: &str = "photos in forms";

impl StoreHandle {
    /// A text for a form of this session.
    pub fn seal_for_form(&self, session: &str, text: &str) -> Result<String, StoreError> {
        let sealed = self.file.seal.seal_in(PLACE, session.as_bytes(), text.as_bytes())?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The text that a form of this session carries; nothing where it is none of this session's.
    pub fn open_of_form(&self, session: &str, carried: &str) -> Option<String> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(carried).ok()?;
        let text = self.file.seal.open_in(PLACE, session.as_bytes(), &sealed).ok()?;
        String::from_utf8(text).ok()
    }

    /// A photo for a form of this session.
    pub fn seal_photo_for_form(&self, session: &str, photo: &Photo) -> Result<String, StoreError> {
        let sealed = self.file.seal.seal_in(PHOTOS, session.as_bytes(), photo.jpeg())?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The photo that a form of this session carries; nothing where it is none of this session's.
    pub fn open_photo_of_form(&self, session: &str, carried: &str) -> Option<Photo> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(carried).ok()?;
        Photo::from_jpeg(self.file.seal.open_in(PHOTOS, session.as_bytes(), &sealed).ok()?).ok()
    }
}
