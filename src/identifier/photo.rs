//! The photo of a face: a JPEG that travels as Base64, and is known by its digest.

use std::fmt;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a photo's JPEG.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaceDigest([u8; 32]);

impl FaceDigest {
    /// Of no photo.
    pub const NONE: Self = Self([0; 32]);

    /// From the bytes of a digest.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 hex digits, as [`FaceDigest::hex`] writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 64 || !lower {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// 64 hex digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for FaceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaceDigest(…)")
    }
}

/// A photo: a JPEG of at most [`Photo::MAX_BYTES`].
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    digest: FaceDigest,
    jpeg: Arc<[u8]>,
}

/// Why a text is no photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhotoFault {
    /// With `data:image/jpeg;base64,` before it.
    #[error("the photo is a data URL; send the bare Base64 behind its comma")]
    DataUrl,
    /// Something else.
    #[error("the photo is no Base64")]
    NotBase64,
    /// Another picture, or none, of this many bytes.
    #[error("the photo of {0} bytes is no JPEG")]
    NotJpeg(usize),
    /// Of this many bytes.
    #[error("the photo of {0} bytes is too large; at most {max} bytes are taken", max = Photo::MAX_BYTES)]
    TooLarge(usize),
}

impl Photo {
    /// The largest, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;

    /// From bare Base64 with padding.
    pub fn from_base64(text: &str) -> Result<Self, PhotoFault> {
        if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) {
            return Err(PhotoFault::DataUrl);
        }
        // Looked at before it is unfolded, so that no more than a photo is.
        let padding = text.bytes().rev().take(2).filter(|byte| *byte == b'=').count();
        let bytes = (text.len() / 4 * 3).saturating_sub(padding);
        if bytes > Self::MAX_BYTES {
            return Err(PhotoFault::TooLarge(bytes));
        }
        Self::from_jpeg(BASE64_STANDARD.decode(text).map_err(|_| PhotoFault::NotBase64)?)
    }

    /// From the bytes of a JPEG file.
    pub fn from_jpeg(bytes: Vec<u8>) -> Result<Self, PhotoFault> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(PhotoFault::TooLarge(bytes.len()));
        }
        // The start of an image, and of its first segment.
        if !bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            return Err(PhotoFault::NotJpeg(bytes.len()));
        }
        Ok(Self { digest: FaceDigest(Sha256::digest(&bytes).into()), jpeg: bytes.into() })
    }

    /// What it is known by.
    pub fn digest(&self) -> FaceDigest {
        self.digest
    }

    /// The JPEG.
    pub fn jpeg(&self) -> &[u8] {
        &self.jpeg
    }

    /// As it travels.
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(&self.jpeg)
    }
}

impl fmt::Debug for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Photo({} bytes)", self.jpeg.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(bytes: usize) -> Vec<u8> {
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0];
        jpeg.resize(bytes, 7);
        jpeg
    }

    #[test]
    fn a_photo_is_known_by_its_bytes() {
        let photo = Photo::from_jpeg(jpeg(300)).expect("a photo");
        assert_eq!(Photo::from_base64(&photo.base64()), Ok(photo.clone()));
        assert_ne!(photo.digest(), Photo::from_jpeg(jpeg(301)).expect("a photo").digest());
        assert_eq!(FaceDigest::parse(&photo.digest().hex()), Some(photo.digest()));
        assert_eq!(FaceDigest::parse(&photo.digest().hex().to_uppercase()), None, "one spelling only");
        assert_eq!(FaceDigest::parse(&"é".repeat(32)), None);
        assert_eq!(format!("{photo:?} {:?}", photo.digest()), "Photo(300 bytes) FaceDigest(…)");
    }

    #[test]
    fn what_is_no_photo_is_refused_with_its_size() {
        let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let largest = jpeg(Photo::MAX_BYTES);
        assert!(Photo::from_base64(&base64(&largest)).is_ok());
        let large = jpeg(Photo::MAX_BYTES + 1);
        for (text, fault) in [
            (base64(&large), PhotoFault::TooLarge(Photo::MAX_BYTES + 1)),
            (base64(b"\x89PNG\r\n\x1a\n"), PhotoFault::NotJpeg(8)),
            (String::new(), PhotoFault::NotJpeg(0)),
            (base64(&[0xff, 0xd8]), PhotoFault::NotJpeg(2)),
            ("not base64!".to_owned(), PhotoFault::NotBase64),
            ("éé".to_owned(), PhotoFault::NotBase64),
            ("/9j/4".to_owned(), PhotoFault::NotBase64),
            (format!("data:image/jpeg;base64,{}", base64(&jpeg(9))), PhotoFault::DataUrl),
        ] {
            assert_eq!(Photo::from_base64(&text).err(), Some(fault));
        }
    }
}
