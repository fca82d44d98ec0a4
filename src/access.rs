//! Who may do what: roles, users, tokens and the sessions of the panel API.
//!
//! Clients of the panel API send the MD5 of a password and never the password, so the one verifier kept per
//! user is Argon2id over the lower-case MD5 hex. Tokens are random, sent once, and kept as SHA-256. Nothing
//! in this room prints a secret; the types that hold one have no `Debug`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::clock;
use crate::store::tables::{TokenRecord, UserRecord};
use crate::store::{StoreError, StoreHandle};

pub mod sessions;
pub mod throttle;

use throttle::Throttle;

/// The name of the first user.
pub const FIRST_ADMIN: &str = "admin";

/// How a token begins; then follow its id and its secret.
const PREFIX: &str = "pst_";

/// How long a login of the fleet API lasts.
pub const SESSION: Duration = Duration::from_hours(12);

/// The shortest password that a new user may have, in characters.
pub const MIN_PASSWORD: usize = 8;

/// How long a verified password is remembered, so that a thousand clients of one account can log in at once.
const REMEMBER: Duration = Duration::from_mins(5);

/// Verified passwords remembered at most.
const REMEMBERED: usize = 10_000;

/// A token's last use is kept to this, in milliseconds.
const USED_WITHIN_MS: i64 = 60_000;

/// Password verifications at once; each takes 19 MiB and some 20 ms of a core.
const VERIFYING: usize = 2;

/// What a user or token may do; each role may do what the ones before it may.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Batches.
    Operator,
    /// Panels, users and tokens.
    Admin,
}

impl Role {
    /// The word in answers and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The user's or token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Which token it showed.
    pub token: Uuid,
}

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

/// Why a login or a change of access did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Hashing failed, for want of memory or randomness.
    #[error("a password could not be hashed")]
    Hashing,
    /// After too many failures; this one was not looked at.
    #[error("too many failed logins; try again in {} s", .0.as_secs() + 1)]
    TooMany(Duration),
}

/// Users and tokens, over the store.
pub struct Access {
    store: StoreHandle,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    key: [u8; 32],
    verifying: Semaphore,
    throttle: Throttle,
    /// When tokens were used, as far as it was stored, in Unix milliseconds.
    used: Mutex<HashMap<Uuid, i64>>,
}

impl Access {
    /// Access over this store.
    pub fn new(store: StoreHandle) -> Result<Self, AccessError> {
        Ok(Self {
            store,
            remembered: Mutex::default(),
            key: random()?,
            verifying: Semaphore::new(VERIFYING),
            throttle: Throttle::default(),
            used: Mutex::default(),
        })
    }

    /// Makes the first user where there is none. Returns the password if it was made up here.
    pub async fn first_start(&self, given: Option<String>) -> Result<Option<String>, AccessError> {
        if !self.store.read()?.users()?.is_empty() {
            return Ok(None);
        }
        let made_up = given.is_none();
        let password = match given {
            Some(password) => password,
            None => readable(&random::<20>()?),
        };
        let record = self.user_record(PasswordMd5::of(&password), Role::Admin).await?;
        self.store.change(move |tables| tables.set_user(FIRST_ADMIN, &record)).await?;
        Ok(made_up.then_some(password))
    }

    /// A new user's record; takes some 20 ms of another thread.
    pub async fn user_record(&self, password: PasswordMd5, role: Role) -> Result<UserRecord, AccessError> {
        let _turn = self.verifying.acquire().await.map_err(|_| AccessError::Hashing)?;
        let verifier =
            actix_web::web::block(move || verifier(&password)).await.map_err(|_| AccessError::Hashing)??;
        Ok(UserRecord { role: role.as_str().to_owned(), verifier, created_at_ms: clock::now_ms() })
    }

    /// The user's role when the password is right. An unknown user takes as long as a wrong password. Failures slow
    /// down what is tried next on the account, and from the address.
    pub async fn verify(
        &self,
        name: &str,
        password: PasswordMd5,
        address: &str,
    ) -> Result<Option<Role>, AccessError> {
        let user = self.store.read()?.user(name)?;
        let stored = user.as_ref().map_or(NOBODY, |user| user.verifier.as_str()).to_owned();
        let seen = self.seen_before(name, &password, &stored);
        let role = user.and_then(|user| Role::parse(&user.role));
        if role.is_some() && self.remembers(&seen) {
            return Ok(role);
        }
        if let Some(wait) = self.throttle.wait(name, address, Instant::now()) {
            return Err(AccessError::TooMany(wait));
        }
        let _turn = self.verifying.acquire().await.map_err(|_| AccessError::Hashing)?;
        if role.is_some() && self.remembers(&seen) {
            return Ok(role); // one of those who logged in at the same moment was verified meanwhile
        }
        let right = actix_web::web::block(move || verifies(&password, &stored))
            .await
            .map_err(|_| AccessError::Hashing)?;
        if !right {
            self.throttle.failed(name, address, Instant::now());
            tracing::warn!(user = name, client.address = address, "a login was refused");
            return Ok(None);
        }
        self.throttle.succeeded(name);
        self.remember(seen);
        Ok(role)
    }

    /// A token for a user who has logged in, and when it ends.
    pub async fn open_session(&self, name: &str, role: Role) -> Result<(String, i64), AccessError> {
        let ends = clock::now_ms() + SESSION.as_millis() as i64;
        let (token, _) = self.add_token(name, role, true, Some(ends)).await?;
        Ok((token, ends))
    }

    /// A new token; its text is returned here and nowhere else.
    pub async fn add_token(
        &self,
        name: &str,
        role: Role,
        session: bool,
        expires_at_ms: Option<i64>,
    ) -> Result<(String, TokenRecord), AccessError> {
        let id = Uuid::new_v4();
        let secret = readable(&random::<32>()?);
        let record = TokenRecord {
            id,
            hash: hex(&hash(&secret)),
            name: name.to_owned(),
            role: role.as_str().to_owned(),
            session,
            created_at_ms: clock::now_ms(),
            expires_at_ms,
            last_used_ms: None,
        };
        let kept = record.clone();
        self.store.change(move |tables| tables.add_token(&kept, clock::now_ms())).await?;
        Ok((format!("{PREFIX}{}_{secret}", id.as_simple()), record))
    }

    /// Who bears this token; `None` for an unknown or expired one.
    /// The comparison takes the same time wherever the secrets differ.
    pub fn bearer(&self, token: &str) -> Result<Option<Principal>, StoreError> {
        let parts = token.strip_prefix(PREFIX).and_then(|token| token.split_once('_'));
        let Some((id, secret)) = parts.and_then(|(id, secret)| Some((Uuid::try_parse(id).ok()?, secret)))
        else {
            return Ok(None);
        };
        let Some(record) = self.store.read()?.token(id)? else { return Ok(None) };
        let same: bool = hex(&hash(secret)).as_bytes().ct_eq(record.hash.as_bytes()).into();
        if !same || record.expires_at_ms.is_some_and(|end| end <= clock::now_ms()) {
            return Ok(None);
        }
        self.was_used(&record);
        let principal = |role| Principal { name: record.name, role, token: record.id };
        Ok(Role::parse(&record.role).map(principal))
    }

    /// Whether a token is good as before: neither revoked nor expired.
    pub fn lasts(&self, token: Uuid) -> Result<bool, StoreError> {
        let record = self.store.read()?.token(token)?;
        Ok(record.is_some_and(|record| record.expires_at_ms.is_none_or(|end| end > clock::now_ms())))
    }

    /// Keeps when a token was used, to the minute: a write for every request would be too many.
    fn was_used(&self, token: &TokenRecord) {
        let now = clock::now_ms();
        let known = |at: Option<i64>| at.is_some_and(|at| now - at < USED_WITHIN_MS);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if known(token.last_used_ms) || known(used.get(&token.id).copied()) {
            return;
        }
        if used.len() >= REMEMBERED {
            used.clear();
        }
        used.insert(token.id, now);
        drop(used);
        let id = token.id;
        self.store.submit_change(
            move |tables| tables.token_was_used(id, now),
            |result| {
                if let Err(error) = result {
                    tracing::warn!(%error, "the last use of a token was not kept");
                }
            },
        );
    }

    /// When a token was last used, to the minute: as it is stored, or on its way to the store.
    pub fn last_used(&self, token: &TokenRecord) -> Option<i64> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        token.last_used_ms.max(used.get(&token.id).copied())
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

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn random<const N: usize>() -> Result<[u8; N], AccessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AccessError::Hashing)?;
    Ok(bytes)
}

/// Random bytes as letters and digits that are hard to mistake for each other; five bits each.
fn readable(random: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
