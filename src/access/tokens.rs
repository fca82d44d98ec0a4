//! Tokens: made, shown, used, and what a login of the fleet API gets.

use std::sync::PoisonError;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::actor::Actor;
use super::passwords::REMEMBERED;
use super::{Access, AccessError, Principal, Proven, Role, random, readable};
use crate::clock;
use crate::store::StoreError;
use crate::store::seal::hex;
use crate::store::tables::{AuditRecord, TokenRecord};

/// How a token begins; then follow its id and its secret.
const PREFIX: &str = "pst_";

/// How long a login of the fleet API lasts.
pub const SESSION: Duration = Duration::from_hours(12);

/// A token's last use is kept to this, in milliseconds.
const USED_WITHIN_MS: i64 = 60_000;

impl TokenRecord {
    /// As the audit names who bears it.
    pub fn actor(&self) -> Actor {
        if self.session { Actor::User(self.name.clone()) } else { Actor::Token(self.id, self.name.clone()) }
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

impl Access {
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
        let opened = self.store.change(move |tables| tables.open_session(&proven.user, &record, &audit));
        Ok(opened.await?.then_some((text, ends)))
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
        let made = self.store.change(move |tables| tables.make_token(maker, &kept, &audit));
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
}

/// What is kept of a secret.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
