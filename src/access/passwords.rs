//! Passwords: how they are kept, and how one is verified.
//!
//! Each verification waits for its turn, since it takes memory and a core. Those of one user and password at the same
//! moment are made once, and what was right is remembered for a while.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Access, AccessError, Proven, Role, actor, can_be_a_name, random};
use crate::clock;
use crate::store::seal::hex;
use crate::store::tables::UserRecord;

/// The shortest password that a new user may have, in characters.
pub const MIN_PASSWORD: usize = 8;

/// How long a verified password is remembered, so that a thousand clients of one account can log in at once.
const REMEMBER: Duration = Duration::from_mins(5);

/// Verified passwords remembered at most.
pub(super) const REMEMBERED: usize = 10_000;

/// Password verifications at once; each takes 19 MiB and some 20 ms of a core.
pub(super) const VERIFYING: usize = 2;

/// A password as its lower-case MD5 hex.
pub struct PasswordMd5(String);

impl PasswordMd5 {
    /// Of a password in clear.
    pub fn of(password: &str) -> Self {
        Self(hex(&Md5::digest(password.as_bytes())))
    }

    /// As a client of the panel API sends it, in either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_md5 = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_md5.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The hex digits, in lower case.
    pub fn into_hex(self) -> String {
        self.0
    }
}

/// A verification that others wait for, until it is dropped.
struct UnderWay<'a> {
    access: &'a Access,
    seen: [u8; 32],
    _ends: watch::Sender<()>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.access.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.seen);
    }
}

impl Access {
    /// A new user's record; takes some 20 ms of another thread.
    pub async fn user_record(&self, password: PasswordMd5, role: Role) -> Result<UserRecord, AccessError> {
        let turn = self.turn().await?;
        let verifier = tokio::task::spawn_blocking(move || {
            let verifier = verifier(&password);
            drop(turn);
            verifier
        });
        let verifier = verifier.await.map_err(|_| AccessError::Hashing)??;
        Ok(UserRecord { role: role.as_str().to_owned(), verifier, created_at_ms: clock::now_ms() })
    }

    /// The verifier of a user's new password, which waits for its turn in the queue of the logins: nobody who changes his
    /// own again and again keeps them out.
    pub async fn new_verifier(
        &self,
        name: &str,
        password: PasswordMd5,
        address: &str,
    ) -> Result<String, AccessError> {
        let _place = self.queue.enter(name, address, true).ok_or(AccessError::Crowded)?;
        Ok(self.user_record(password, Role::Viewer).await?.verifier)
    }

    /// Leave to hash one password, which goes with the work: whoever asked may leave before that is done.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, AccessError> {
        Arc::clone(&self.verifying).acquire_owned().await.map_err(|_| AccessError::Hashing)
    }

    /// The user when the password is right. An unknown user takes as long as a wrong password. Failures slow
    /// down what is tried next on the account from the address, and, far less, on the account and from the address; each
    /// attempt is counted as one before it waits for its turn.
    pub async fn verify(
        &self,
        name: &str,
        password: PasswordMd5,
        address: &str,
    ) -> Result<Option<Proven>, AccessError> {
        if !can_be_a_name(name) {
            return Ok(None); // nothing of it is kept, nor counted
        }
        let user = self.store.read()?.user(name)?;
        let stored = user.as_ref().map_or(NOBODY, |user| user.verifier.as_str()).to_owned();
        let seen = self.seen_before(name, &password, &stored);
        let proven = user
            .and_then(|user| Some(Proven { name: name.to_owned(), role: Role::parse(&user.role)?, user }));
        let _others_wait = match proven.is_some().then(|| self.begin_or_join(seen)) {
            Some(Ok(begun)) => Some(begun),
            Some(Err(mut ended)) => {
                let _ = ended.changed().await; // it never changes; it ends
                None
            }
            None => None,
        };
        if proven.is_some() && self.remembers(&seen) {
            return Ok(proven);
        }
        if let Err(wait) = self.throttle.begin(name, address, Instant::now()) {
            return Err(AccessError::TooMany(wait));
        }
        let known = self.throttle.knows(name, address, Instant::now());
        let Some(_place) = self.queue.enter(name, address, known) else {
            self.throttle.take_back(name, address);
            return Err(AccessError::Crowded);
        };
        let turn = self.turn().await?;
        if proven.is_some() && self.remembers(&seen) {
            self.throttle.right(name, address, Instant::now());
            return Ok(proven); // one of those who logged in at the same moment was verified meanwhile
        }
        let right = tokio::task::spawn_blocking(move || {
            let right = verifies(&password, &stored);
            drop(turn);
            right
        });
        if !right.await.map_err(|_| AccessError::Hashing)? {
            tracing::warn!(user = actor::shown(name), client.address = address, "a login was refused");
            return Ok(None);
        }
        self.throttle.right(name, address, Instant::now());
        self.remember(seen);
        Ok(proven)
    }

    /// The first of those who have the same to verify at the same time goes on; the others wait for its end.
    fn begin_or_join(&self, seen: [u8; 32]) -> Result<UnderWay<'_>, watch::Receiver<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = under_way.get(&seen) {
            return Err(end.clone());
        }
        let (ends, end) = watch::channel(());
        under_way.insert(seen, end);
        Ok(UnderWay { access: self, seen, _ends: ends })
    }

    /// What stands for this very verification, under a key that never leaves the process. A changed password
    /// has another verifier, so nothing of the old one is remembered.
    fn seen_before(&self, name: &str, password: &PasswordMd5, verifier: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for part in [&self.key[..], name.as_bytes(), password.0.as_bytes(), verifier.as_bytes()] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn remembers(&self, seen: &[u8; 32]) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(seen).is_some_and(|at| at.elapsed() < REMEMBER)
    }

    fn remember(&self, seen: [u8; 32]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(seen, Instant::now());
    }
}

/// A verifier that no password fits, for users who are not there.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmUhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn verifier(password: &PasswordMd5) -> Result<String, AccessError> {
    let salt = random::<16>()?;
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.0.as_bytes(), &salt)
        .map_err(|_| AccessError::Hashing)?;
    Ok(hash.to_string())
}

fn verifies(password: &PasswordMd5, verifier: &str) -> bool {
    PasswordHash::new(verifier)
        .is_ok_and(|hash| Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::store::Store;
    use crate::telemetry::Metrics;

    #[actix_web::test]
    async fn new_passwords_wait_in_the_queue_of_the_logins() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        let access = Access::new(store.handle()).expect("made");
        let change = |n: u32| access.new_verifier("olena", PasswordMd5::of(&n.to_string()), "10.0.0.1");
        let changed = join_all((0..10).map(change)).await;
        let crowded = changed.iter().filter(|result| matches!(result, Err(AccessError::Crowded))).count();
        assert_eq!(crowded, 6, "four at once");
        assert!(changed.iter().filter(|result| result.is_ok()).count() == 4);
    }

    #[test]
    fn the_documented_md5_verifies_in_either_case() {
        let stored = verifier(&PasswordMd5::of("123456")).expect("hashes");
        for sent in ["E10ADC3949BA59ABBE56E057F20F883E", "e10adc3949ba59abbe56e057f20f883e"] {
            assert!(verifies(&PasswordMd5::from_hex(sent).expect("an MD5"), &stored));
        }
        assert!(!verifies(&PasswordMd5::of("1234567"), &stored));
        assert!(!verifies(&PasswordMd5::of(""), NOBODY));
        assert!(PasswordHash::new(NOBODY).is_ok(), "an unknown user must cost a verification");
        assert!(PasswordMd5::from_hex("123456").is_none());
    }
}
