//! Changes to users and tokens.

use redb::ReadableTable;
use uuid::Uuid;

use super::audit::SWEPT_AT_ONCE;
use crate::store::StoreError;
use crate::store::json::{decode, encode};
use crate::store::records::{AuditRecord, TokenRecord, UserRecord};
use crate::store::tables::Tables;

/// When a token ends, and its id.
pub(in crate::store) type EndKey = [u8; 24];

/// The key of a token that ends then.
pub(in crate::store) fn end_key(ends_ms: i64, id: Uuid) -> EndKey {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&ends_ms.max(0).to_be_bytes());
    key[8..].copy_from_slice(id.as_bytes());
    key
}

/// The token of such a key.
pub(in crate::store) fn token_of(key: &EndKey) -> Uuid {
    let mut id = [0; 16];
    id.copy_from_slice(&key[8..]);
    Uuid::from_bytes(id)
}

/// Sessions of one user at most; beyond, the oldest goes.
pub const KEPT_SESSIONS: usize = 100;

/// Why a change of users was not made. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserUnchanged {
    /// The token of whoever asked has been revoked meanwhile.
    Revoked,
    /// There is no such user.
    Unknown,
    /// There is a user of this name already.
    Taken,
    /// Nobody else has the user's role, which somebody must have.
    LastOfRole,
    /// The user has been changed since the password of now was right.
    Overtaken,
}

/// A user to be removed.
pub struct UserRemoval {
    /// The user's name.
    pub name: String,
    /// The token of whoever asks.
    pub asker: Uuid,
    /// The role whose last user stays.
    pub kept_role: &'static str,
    /// Whether the tokens that the user made end too.
    pub revoke_tokens: bool,
}

/// A password to be changed.
pub struct PasswordChange {
    /// The user's name.
    pub name: String,
    /// What the new password is verified with.
    pub verifier: String,
    /// The token of whoever asks, which stays even where it is a session of the user.
    pub asker: Uuid,
    /// The user as the password of now was right, where that was asked for.
    pub proven: Option<UserRecord>,
}

impl Tables<'_> {
    /// A user's record.
    fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        self.users.get(name)?.map(|record| decode(record.value(), "user")).transpose()
    }

    /// Whether a user is there, and as it was then.
    fn is_still(&self, name: &str, then: &UserRecord) -> Result<bool, StoreError> {
        Ok(self.user(name)?.is_some_and(|user| user.logs_in_as(then)))
    }

    /// Keeps the token of a user who has logged in. Says whether it did: not where the user is no longer as at the login.
    pub fn open_session(
        &mut self,
        user: &UserRecord,
        token: &TokenRecord,
        audit: &AuditRecord,
    ) -> Result<bool, StoreError> {
        if !self.is_still(&token.name, user)? {
            return Ok(false);
        }
        self.add_token(token, token.created_at_ms)?;
        self.audit(audit)?;
        Ok(true)
    }

    /// Keeps in the audit that a user has logged in for a session that is not kept here. Says whether it did: not where
    /// the user is no longer as at the login.
    pub fn open_panel_session(
        &mut self,
        name: &str,
        user: &UserRecord,
        audit: &AuditRecord,
    ) -> Result<bool, StoreError> {
        let still = self.is_still(name, user)?;
        if still {
            self.audit(audit)?;
        }
        Ok(still)
    }

    /// Keeps a new token. Says whether it did: not where the token of whoever makes it has been revoked.
    pub fn make_token(
        &mut self,
        maker: Uuid,
        token: &TokenRecord,
        audit: &AuditRecord,
    ) -> Result<bool, StoreError> {
        if !self.has_token(maker)? {
            return Ok(false);
        }
        self.add_token(token, token.created_at_ms)?;
        self.audit(audit)?;
        Ok(true)
    }

    /// Ends a session, or revokes a token, for whoever bears it.
    pub fn close_session(&mut self, token: Uuid, audit: &AuditRecord) -> Result<(), StoreError> {
        self.remove_token(token)?;
        self.audit(audit)
    }

    /// Revokes a token or ends a session; the entry is made of what it was. Says whether there was one.
    pub fn revoke_token(
        &mut self,
        token: Uuid,
        audit: impl FnOnce(&TokenRecord) -> AuditRecord,
    ) -> Result<bool, StoreError> {
        let removed = self.remove_token(token)?;
        if let Some(removed) = &removed {
            self.audit(&audit(removed))?;
        }
        Ok(removed.is_some())
    }

    /// Adds a user, unless the token of whoever asks has been revoked.
    pub fn add_user(
        &mut self,
        asker: Uuid,
        name: &str,
        record: &UserRecord,
        audit: &AuditRecord,
    ) -> Result<Result<(), UserUnchanged>, StoreError> {
        if !self.has_token(asker)? {
            return Ok(Err(UserUnchanged::Revoked));
        }
        if self.user(name)?.is_some() {
            return Ok(Err(UserUnchanged::Taken));
        }
        self.set_user(name, record)?;
        self.audit(audit)?;
        Ok(Ok(()))
    }

    /// Removes a user with the sessions, and gives the tokens that the user made, be it through other tokens, and that
    /// have not ended by now. `removed` makes the entry from the number of those that live on, `revoked` that of each
    /// other one.
    pub fn remove_user(
        &mut self,
        removal: &UserRemoval,
        now_ms: i64,
        removed: impl FnOnce(usize) -> AuditRecord,
        revoked: impl Fn(&TokenRecord) -> AuditRecord,
    ) -> Result<Result<Vec<TokenRecord>, UserUnchanged>, StoreError> {
        let UserRemoval { name, asker, kept_role, revoke_tokens } = removal;
        if !self.has_token(*asker)? {
            return Ok(Err(UserUnchanged::Revoked));
        }
        let Some(user) = self.user(name)? else { return Ok(Err(UserUnchanged::Unknown)) };
        if user.role == *kept_role && self.users_with_role(kept_role)? == 1 {
            return Ok(Err(UserUnchanged::LastOfRole));
        }
        self.users.remove(name.as_str())?;
        self.end_sessions(name, None)?;
        let made = self.tokens_made_by(name, now_ms)?;
        self.audit(&removed(if *revoke_tokens { 0 } else { made.len() }))?;
        if *revoke_tokens {
            for token in &made {
                self.remove_token(token.id)?;
                self.audit(&revoked(token))?;
            }
        }
        Ok(Ok(made))
    }

    /// Gives a user another verifier, and ends the user's other sessions.
    pub fn change_password(
        &mut self,
        change: &PasswordChange,
        audit: &AuditRecord,
    ) -> Result<Result<(), UserUnchanged>, StoreError> {
        let PasswordChange { name, verifier, asker, proven } = change;
        if !self.has_token(*asker)? {
            return Ok(Err(UserUnchanged::Revoked));
        }
        let Some(user) = self.user(name)? else { return Ok(Err(UserUnchanged::Unknown)) };
        if proven.as_ref().is_some_and(|proven| !user.logs_in_as(proven)) {
            return Ok(Err(UserUnchanged::Overtaken));
        }
        self.set_user(name, &UserRecord { verifier: verifier.clone(), ..user })?;
        self.end_sessions(name, Some(*asker))?;
        self.audit(audit)?;
        Ok(Ok(()))
    }

    /// Replaces a user, whose password is another one, and ends the user's sessions: where nobody asks through a server.
    pub fn replace_user(
        &mut self,
        name: &str,
        record: &UserRecord,
        audit: &AuditRecord,
    ) -> Result<(), StoreError> {
        self.set_user(name, record)?;
        self.end_sessions(name, None)?;
        self.audit(audit)
    }

    /// Adds or replaces a user.
    pub(crate) fn set_user(&mut self, name: &str, record: &UserRecord) -> Result<(), StoreError> {
        self.users.insert(name, encode(record).as_slice())?;
        Ok(())
    }

    /// How many users have this role.
    fn users_with_role(&self, role: &str) -> Result<usize, StoreError> {
        let mut count = 0;
        for entry in self.users.iter()? {
            let user: UserRecord = decode(entry?.1.value(), "user")?;
            count += usize::from(user.role == role);
        }
        Ok(count)
    }

    /// Ends a user's sessions, but for the one of this token.
    fn end_sessions(&mut self, name: &str, but: Option<Uuid>) -> Result<(), StoreError> {
        for id in self.sessions_of(name)? {
            if Some(id) != but {
                self.remove_token(id)?;
            }
        }
        Ok(())
    }

    /// A user's sessions, the oldest first.
    fn sessions_of(&self, name: &str) -> Result<Vec<Uuid>, StoreError> {
        let (first, last) = ([0; 24], [u8::MAX; 24]);
        let own = self.user_sessions.range::<(&str, &EndKey)>((name, &first)..=(name, &last))?;
        own.map(|entry| Ok(token_of(entry?.0.value().1))).collect()
    }

    /// Keeps a token, and drops some of those that have ended by now, and a user's oldest sessions beyond
    /// [`KEPT_SESSIONS`].
    fn add_token(&mut self, record: &TokenRecord, now_ms: i64) -> Result<(), StoreError> {
        self.drop_ended_tokens(now_ms)?;
        if record.session {
            let sessions = self.sessions_of(&record.name)?;
            for oldest in sessions.iter().take((sessions.len() + 1).saturating_sub(KEPT_SESSIONS)) {
                self.remove_token(*oldest)?;
            }
        }
        self.tokens.insert(record.id.as_bytes(), encode(record).as_slice())?;
        self.name_token(record)
    }

    /// Keeps under which other keys a token is found.
    pub(in crate::store) fn name_token(&mut self, record: &TokenRecord) -> Result<(), StoreError> {
        let Some(ends) = record.expires_at_ms else { return Ok(()) };
        let key = end_key(ends, record.id);
        self.token_ends.insert(&key, ())?;
        if record.session {
            self.user_sessions.insert((record.name.as_str(), &key), ())?;
        }
        Ok(())
    }

    /// Drops tokens that have ended by now; says how many.
    pub(super) fn drop_ended_tokens(&mut self, now_ms: i64) -> Result<usize, StoreError> {
        let until = end_key(now_ms, Uuid::max());
        let ended = self.token_ends.range::<&EndKey>(..=&until)?.take(SWEPT_AT_ONCE);
        let ended: Vec<_> = ended.map(|entry| Ok(*entry?.0.value())).collect::<Result<_, StoreError>>()?;
        for key in &ended {
            self.remove_token(token_of(key))?;
            self.token_ends.remove(key)?; // also where its token is not there
        }
        Ok(ended.len())
    }

    /// Whether there is this token, revoked neither by itself nor with its user.
    fn has_token(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.tokens.get(id.as_bytes())?.is_some())
    }

    /// Removes a token, and gives what it was; nothing where there is none.
    fn remove_token(&mut self, id: Uuid) -> Result<Option<TokenRecord>, StoreError> {
        let removed = self.tokens.remove(id.as_bytes())?;
        let removed: Option<TokenRecord> =
            removed.map(|record| decode(record.value(), "token")).transpose()?;
        if let Some(TokenRecord { name, session, expires_at_ms: Some(ends), .. }) = &removed {
            let key = end_key(*ends, id);
            self.token_ends.remove(&key)?;
            if *session {
                self.user_sessions.remove((name.as_str(), &key))?;
            }
        }
        Ok(removed)
    }

    /// The tokens that a user made, be it through other tokens, and that have not ended by now.
    fn tokens_made_by(&self, user: &str, now_ms: i64) -> Result<Vec<TokenRecord>, StoreError> {
        let mut made = Vec::new();
        for entry in self.tokens.iter()? {
            let token: TokenRecord = decode(entry?.1.value(), "token")?;
            if token.owner.as_deref() == Some(user) && token.expires_at_ms.is_none_or(|end| end > now_ms) {
                made.push(token);
            }
        }
        Ok(made)
    }

    /// A token, if it is still there, was used at this time.
    pub fn token_was_used(&mut self, id: Uuid, at_ms: i64) -> Result<(), StoreError> {
        let stored = self.tokens.get(id.as_bytes())?.map(|record| decode(record.value(), "token"));
        if let Some(record) = stored.transpose()? {
            let record = TokenRecord { last_used_ms: Some(at_ms), ..record };
            self.tokens.insert(id.as_bytes(), encode(&record).as_slice())?;
        }
        Ok(())
    }
}
