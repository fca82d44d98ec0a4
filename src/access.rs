//! Who may do what: roles, users, tokens and the sessions of the panel API.
//!
//! A login goes through [`throttle`] and [`queue`], where [`proxy`] says from whom it comes; [`sessions`] are what comes of it on
//! the panel API. [`actor`] is how the audit names who does something, and [`refusals`] what it says of what was refused.
//!
//! Clients of the panel API send the MD5 of a password and never the password, so the one verifier kept per
//! user is Argon2id over the lower-case MD5 hex. Tokens are random, sent once, and kept as SHA-256. Nothing
//! in this room prints a secret; the types that hold one have no `Debug`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use uuid::Uuid;

use crate::clock;
use crate::store::tables::{AuditRecord, Tables, TokenRecord, UserRecord};
use crate::store::{StoreError, StoreHandle};

pub mod actor;
pub mod proxy;
pub mod queue;
pub mod refusals;
pub mod sessions;
pub mod throttle;

use actor::Actor;
use queue::Queue;
use refusals::Refusals;
use sessions::{Scope, Session, Sessions};
use throttle::Throttle;

/// The name of the first user.
pub const FIRST_ADMIN: &str = "admin";

/// How a token begins; then follow its id and its secret.
const PREFIX: &str = "pst_";

/// How long a login of the fleet API lasts.
pub const SESSION: Duration = Duration::from_hours(12);

/// The shortest password that a new user may have, in characters.
pub const MIN_PASSWORD: usize = 8;

/// The longest name of a user, in characters.
pub const MAX_NAME: usize = 63;

/// How long a verified password is remembered, so that a thousand clients of one account can log in at once.
const REMEMBER: Duration = Duration::from_mins(5);

/// Verified passwords remembered at most.
const REMEMBERED: usize = 10_000;

/// A token's last use is kept to this, in milliseconds.
const USED_WITHIN_MS: i64 = 60_000;

/// Password verifications at once; each takes 19 MiB and some 20 ms of a core.
const VERIFYING: usize = 2;

/// What a user or token may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
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

    /// From that word.
    pub fn parse(text: &str) -> Option<Self> {
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
    /// Whether that is a user's session.
    pub session: bool,
    /// The user: the one who is logged in, or who made the token, be it through other tokens.
    owner: Option<String>,
}

impl Principal {
    /// As the audit names it.
    pub fn actor(&self) -> Actor {
        if self.session {
            Actor::User(self.name.clone())
        } else {
            Actor::Token(self.token, self.name.clone())
        }
    }
}

impl TokenRecord {
    /// As the audit names who bears it.
    pub fn actor(&self) -> Actor {
        if self.session { Actor::User(self.name.clone()) } else { Actor::Token(self.id, self.name.clone()) }
    }
}

/// A user whose password was right, as the user was then.
#[derive(Clone)]
pub struct Proven {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    verifier: String,
}

impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proven({}, {})", self.name, self.role.as_str())
    }
}

impl Proven {
    /// Whether the user is still there with the same password and role.
    pub fn is(&self, stored: Option<&UserRecord>) -> bool {
        stored.is_some_and(|user| user.verifier == self.verifier && user.role == self.role.as_str())
    }
}

/// Whether a user can have this name at all.
pub fn can_be_a_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
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
    /// Too many are waiting to be looked at; this one was not.
    #[error("too many logins at once; try again in a moment")]
    Crowded,
}

/// Users and tokens, over the store.
pub struct Access {
    store: StoreHandle,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    key: [u8; 32],
    verifying: Arc<Semaphore>,
    queue: Queue,
    /// Passwords that are being verified: who has the same one waits for what comes of it.
    under_way: Mutex<HashMap<[u8; 32], watch::Receiver<()>>>,
    throttle: Throttle,
    refusals: Refusals,
    /// Counts up with every change of a user.
    users: Arc<AtomicU64>,
    /// When tokens were used, as far as it was stored, in Unix milliseconds.
    used: Mutex<HashMap<Uuid, i64>>,
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
    /// Access over this store.
    pub fn new(store: StoreHandle) -> Result<Self, AccessError> {
        Ok(Self {
            remembered: Mutex::default(),
            key: random()?,
            verifying: Arc::new(Semaphore::new(VERIFYING)),
            queue: Queue::default(),
            under_way: Mutex::default(),
            throttle: Throttle::default(),
            refusals: Refusals::new(store.clone()),
            users: Arc::default(),
            used: Mutex::default(),
            store,
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
        let turn = self.turn().await?;
        let verifier = actix_web::web::block(move || {
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
        let role = user.and_then(|user| Role::parse(&user.role));
        let verifier = stored.clone();
        let proven = role.map(|role| Proven { name: name.to_owned(), role, verifier });
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
        let right = actix_web::web::block(move || {
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

    /// Keeps in the audit that something was refused. What was not looked at is only counted with what was: anybody can
    /// send any number of that.
    pub fn refused(&self, entry: AuditRecord, looked_at: bool) {
        self.refusals.note(entry, looked_at);
    }

    /// A token for a user whose password was right, and when it ends; nothing where the user has been removed or
    /// changed meanwhile. The entry goes into the audit with it.
    pub async fn open_session(
        &self,
        proven: Proven,
        audit: AuditRecord,
    ) -> Result<Option<(String, i64)>, AccessError> {
        let now = clock::now_ms();
        let ends = now + SESSION.as_millis() as i64;
        let token = NewToken { name: proven.name.clone(), role: proven.role, expires_at_ms: Some(ends) };
        let NewTokenRecord { text, mut record } = token.record()?;
        record.session = true;
        let opened = self.store.change(move |tables| {
            if !proven.is(tables.user(&proven.name)?.as_ref()) {
                return Ok(false);
            }
            tables.add_token(&record, now)?;
            tables.audit(&audit)?;
            Ok(true)
        });
        Ok(opened.await?.then_some((text, ends)))
    }

    /// A token of the panel API for a user whose password was right; nothing where the user has been removed or
    /// changed meanwhile. The entry goes into the audit before anybody has the token.
    pub async fn open_panel_session(
        &self,
        sessions: &Sessions,
        scope: Scope,
        proven: Proven,
        audit: AuditRecord,
    ) -> Result<Option<String>, AccessError> {
        let users = self.users.load(Ordering::Acquire);
        let opened = self.store.change(move |tables| {
            if !proven.is(tables.user(&proven.name)?.as_ref()) {
                return Ok(None);
            }
            tables.audit(&audit)?;
            Ok(Some(proven.clone()))
        });
        Ok(opened.await?.map(|proven| sessions.open(scope, proven, users)))
    }

    /// The session of the panel API with this token, while its user is what the user was at its login. The store is asked
    /// only after some user has changed.
    pub fn session(
        &self,
        sessions: &Sessions,
        scope: Scope,
        token: &str,
    ) -> Result<Option<Session>, StoreError> {
        let Some(session) = sessions.find(scope, token) else { return Ok(None) };
        let users = self.users.load(Ordering::Acquire);
        if session.seen_at(users) {
            return Ok(Some(session));
        }
        if !session.proven.is(self.store.read()?.user(&session.name)?.as_ref()) {
            sessions.close(token);
            return Ok(None);
        }
        session.seen.store(users, Ordering::Release);
        Ok(Some(session))
    }

    /// A change of users: sessions of the panel API are looked at again before its answer is out.
    pub async fn change_users<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let users = Arc::clone(&self.users);
        let (done, committed) = oneshot::channel();
        self.store.submit_change(change, move |result| {
            users.fetch_add(1, Ordering::AcqRel);
            let _ = done.send(result); // whoever asked may have left
        });
        committed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// A new token, made by this one; its text is returned here and nowhere else. The entry goes into the audit with it.
    /// Nothing where the one that makes it has been revoked meanwhile.
    pub async fn add_token(
        &self,
        token: NewToken,
        maker: &Principal,
        audit: impl FnOnce(&Actor) -> AuditRecord,
    ) -> Result<Option<(String, TokenRecord)>, AccessError> {
        let NewTokenRecord { text, mut record } = token.record()?;
        record.made_by = Some(maker.actor().to_string());
        record.owner.clone_from(&maker.owner);
        let audit = audit(&Actor::Token(record.id, record.name.clone()));
        let (kept, maker) = (record.clone(), maker.token);
        let made = self.store.change(move |tables| {
            if !tables.has_token(maker)? {
                return Ok(false);
            }
            tables.add_token(&kept, kept.created_at_ms)?;
            tables.audit(&audit)?;
            Ok(true)
        });
        Ok(made.await?.then_some((text, record)))
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
        let Some(role) = Role::parse(&record.role) else { return Ok(None) };
        let TokenRecord { id: token, name, session, owner, .. } = record;
        let owner = if session { Some(name.clone()) } else { owner };
        Ok(Some(Principal { name, role, token, session, owner }))
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

/// A token that is to be made.
pub struct NewToken {
    /// What people call it; for a session, the user's name.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: Option<i64>,
}

struct NewTokenRecord {
    text: String,
    record: TokenRecord,
}

impl NewToken {
    fn record(self) -> Result<NewTokenRecord, AccessError> {
        let id = Uuid::new_v4();
        let secret = readable(&random::<32>()?);
        let record = TokenRecord {
            id,
            hash: hex(&hash(&secret)),
            name: self.name,
            role: self.role.as_str().to_owned(),
            session: false,
            created_at_ms: clock::now_ms(),
            expires_at_ms: self.expires_at_ms,
            last_used_ms: None,
            made_by: None,
            owner: None,
        };
        Ok(NewTokenRecord { text: format!("{PREFIX}{}_{secret}", id.as_simple()), record })
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
