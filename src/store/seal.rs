//! What is secret at rest: passwords of accounts on devices, and what opens doors, sealed with a key that is not in the
//! database.
//!
//! A sealed value is version (1), nonce (12), then the text and its tag under ChaCha20-Poly1305. It is bound to the
//! number of its panel, or to its table and its key there, so that values cannot change places. Users' passwords and
//! tokens need no sealing: only verifiers of them are kept.
//!
//! What is sealed cannot be looked for. So numbers of identifiers are found by a [`NumberTag`], which only who has the key
//! can make: a card has so few possible numbers that a plain digest would tell which it is.

use std::io::Write;
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use super::{PanelNo, StoreError};
use crate::identifier::number::Credential;

/// The key file in a data folder, where no other is named.
pub const KEY_FILE: &str = "panelsync.key";

/// The environment variable that gives the key.
pub const KEY_VARIABLE: &str = "PANELSYNC_KEY";

const VERSION: u8 = 1;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read, or made.
    #[error("the key file {0} cannot be used: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// It is no key.
    #[error("{0} holds no key: it takes 64 hex digits, such as `openssl rand -hex 32` prints")]
    NoKey(String),
    /// There is no randomness to make one.
    #[error("no key could be made: the system gives no random bytes")]
    NoRandomness,
}

impl KeyError {
    /// Whether there is no key where one should be, rather than one that cannot be reached.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::File(_, error) => error.kind() == std::io::ErrorKind::NotFound,
            Self::NoKey(_) => true,
            Self::NoRandomness => false,
        }
    }
}

/// A key that was made and is in no file yet.
pub struct NewKey([u8; 32]);

impl NewKey {
    /// Writes it into a file for its owner's eyes only, over what stands there.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let unusable = |error| KeyError::File(path.into(), error);
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let _ = std::fs::remove_file(&partial); // of an attempt that was interrupted
        write_key(&partial, &self.0).and_then(|()| std::fs::rename(&partial, path)).map_err(unusable)
    }
}

/// By this an identifier's type and number are found: the first half of an HMAC-SHA-256 of them.
pub type NumberTag = [u8; 16];

/// The key, and what is done with it.
pub struct Seal {
    key: LessSafeKey,
    /// For [`NumberTag`]s: made of the same key, and used for nothing else.
    tags: hmac::Key,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(secret)")
    }
}

impl Seal {
    /// With this key.
    pub fn new(key: [u8; 32]) -> Self {
        let tags = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"numbers of identifiers");
        let tags = hmac::Key::new(hmac::HMAC_SHA256, tags.as_ref());
        match UnboundKey::new(&CHACHA20_POLY1305, &key) {
            Ok(key) => Self { key: LessSafeKey::new(key), tags },
            Err(_) => unreachable!("the algorithm takes keys of 32 bytes"),
        }
    }

    /// With the key that the text spells in hex digits; `source` is for the message.
    pub fn from_hex(text: &str, source: &str) -> Result<Self, KeyError> {
        let no_key = || KeyError::NoKey(source.to_owned());
        let key = unhex(text.trim()).and_then(|key| key.try_into().ok());
        key.map(Self::new).ok_or_else(no_key)
    }

    /// With the key in this file.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|error| KeyError::File(path.into(), error))?;
        Self::from_hex(&text, &path.display().to_string())
    }

    /// With a key that is made here.
    pub fn made() -> Result<(Self, NewKey), KeyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| KeyError::NoRandomness)?;
        Ok((Self::new(key), NewKey(key)))
    }

    /// With the key in this file, which is made, for its owner's eyes only, where it is not there.
    pub fn from_file_or_new(path: &Path) -> Result<Self, KeyError> {
        if !path.exists() {
            Self::made()?.1.write(path)?;
        }
        Self::from_file(path)
    }

    /// Seals a text for a panel.
    pub(super) fn seal(&self, panel: PanelNo, text: &str) -> Result<Vec<u8>, StoreError> {
        self.seal_bound(&panel.to_be_bytes(), text.as_bytes())
    }

    /// The text of what was sealed for this panel with this key.
    pub(super) fn open(&self, panel: PanelNo, sealed: &[u8]) -> Result<String, StoreError> {
        let failed = || StoreError::Corrupt("sealed password");
        let text = self.open_bound(&panel.to_be_bytes(), sealed).ok_or_else(failed)?;
        String::from_utf8(text).map_err(|_| failed())
    }

    /// Seals what stands in this table under this key.
    pub fn seal_in(&self, table: &str, key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.seal_bound(&place(table, key), bytes)
    }

    /// What was sealed in this table under this key, with this key.
    pub fn open_in(&self, table: &str, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.open_bound(&place(table, key), sealed).ok_or(StoreError::Corrupt("sealed value"))
    }

    fn seal_bound(&self, bound_to: &[u8], bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        let failed = StoreError::Corrupt("random bytes");
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed.clone())?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + bytes.len() + CHACHA20_POLY1305.tag_len());
        sealed.push(VERSION);
        sealed.extend(nonce);
        sealed.extend(bytes);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = &mut sealed[1 + NONCE_LEN..];
        let tag =
            self.key.seal_in_place_separate_tag(nonce, Aad::from(bound_to), text).map_err(|_| failed)?;
        sealed.extend(tag.as_ref());
        Ok(sealed)
    }

    fn open_bound(&self, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if *version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = sealed.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(bound_to), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    /// A key for another purpose, made of this one.
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut derived = [0; 32];
        derived.copy_from_slice(hmac::sign(&self.tags, &[b"key ", purpose].concat()).as_ref());
        derived
    }

    /// A digest of what a secret is a part of, by which nobody without the key can try which secret it is.
    pub(super) fn keyed(&self, digest: &[u8; 32]) -> [u8; 32] {
        let mut keyed = *digest;
        keyed.copy_from_slice(hmac::sign(&self.tags, &[b"digest ", &digest[..]].concat()).as_ref());
        keyed
    }

    /// By what a type and number are found. Equal where [`Credential`]s are.
    pub fn tag(&self, credential: &Credential) -> NumberTag {
        self.half_tag(credential.kept_form().as_bytes())
    }

    /// By what an event is known that was told before.
    pub(super) fn event_tag(&self, told: &[u8]) -> NumberTag {
        self.half_tag(&place(EVENTS, told))
    }

    fn half_tag(&self, text: &[u8]) -> NumberTag {
        let tag = hmac::sign(&self.tags, text);
        let mut half = NumberTag::default();
        half.copy_from_slice(&tag.as_ref()[..16]);
        half
    }
}

/// What is told apart by tags beside numbers; it holds no zero, and no type of an identifier is called so.
const EVENTS: &str = "event";

/// A table's name, which holds no zero, and a key in it.
fn place(table: &str, key: &[u8]) -> Vec<u8> {
    [table.as_bytes(), &[0], key].concat()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hex digits spell.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?)).collect()
}

fn write_key(path: &Path, key: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(format!("{}\n", hex(key)).as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::rule::Kind;

    #[test]
    fn what_was_sealed_opens_for_its_panel_and_key_alone() {
        let seal = Seal::new([7; 32]);
        let sealed = seal.seal(3, "e10adc39").expect("sealed");
        assert_eq!(seal.open(3, &sealed).expect("opened"), "e10adc39");
        assert!(seal.open(4, &sealed).is_err(), "another panel");
        assert!(Seal::new([8; 32]).open(3, &sealed).is_err(), "another key");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(3, &changed).is_err(), "changed at {at}");
            assert!(seal.open(3, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(sealed, seal.seal(3, "e10adc39").expect("sealed"), "a nonce is used once");
    }

    #[test]
    fn what_was_sealed_in_a_place_opens_there_alone() {
        let seal = Seal::new([7; 32]);
        let sealed = seal.seal_in("bodies", &[1], b"0A-1B").expect("sealed");
        assert_eq!(seal.open_in("bodies", &[1], &sealed).expect("opened"), b"0A-1B");
        for (table, key) in [("bodies", [2]), ("faces", [1])] {
            assert!(seal.open_in(table, &key, &sealed).is_err(), "{table} {key:?}");
        }
    }

    #[test]
    fn a_tag_tells_types_numbers_and_keys_apart_and_no_more() {
        let tag =
            |key, kind, number| Seal::new([key; 32]).tag(&Credential::new(kind, number).expect("a number"));
        let tags = [
            tag(1, Kind::Card, "12"),
            tag(1, Kind::Card, "13"),
            tag(1, Kind::Ukey, "12"),
            tag(1, Kind::Code, "12"),
            tag(2, Kind::Card, "12"),
        ];
        assert_eq!(tags[0], tag(1, Kind::Card, "0012"));
        assert_eq!(std::collections::HashSet::from(tags).len(), tags.len());
    }

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEY_FILE);
        let sealed = Seal::from_file_or_new(&path).expect("made").seal(1, "text").expect("sealed");
        assert_eq!(Seal::from_file_or_new(&path).expect("read").open(1, &sealed).expect("opened"), "text");
        std::fs::write(&path, "no key").expect("written");
        assert!(matches!(Seal::from_file(&path), Err(KeyError::NoKey(_))));
    }
}
