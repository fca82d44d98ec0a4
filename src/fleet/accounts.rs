//! Users, tokens and sessions of the fleet.

use uuid::Uuid;

use super::{FieldError, Fleet, FleetError};
use crate::access::actor::Actor;
use crate::access::{
    AccessError, MAX_NAME, MIN_PASSWORD, NewToken, PasswordMd5, Principal, Proven, Role, can_be_a_name,
};
use crate::batch::selector::is_key;
use crate::clock;
use crate::panel::Origin;
use crate::store::changes::access::{PasswordChange, UserRemoval, UserUnchanged};
use crate::store::tables::{Tables, TokenRecord, UserRecord};

/// A user's name and password. Never logged: it has no `Debug`.
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// A session that was opened.
pub struct OpenedSession {
    /// The text of its token.
    pub token: String,
    /// What it may do.
    pub role: Role,
    /// When it ends, in Unix milliseconds.
    pub ends_ms: i64,
}

/// A change of a password. Never logged: it has no `Debug`.
pub struct NewPassword {
    /// The new one.
    pub password: String,
    /// The one of now: needed for one's own.
    pub old_password: Option<String>,
}

/// The error with a role that is less than is needed.
pub fn needs(needed: Role, who: &Principal) -> Result<(), FleetError> {
    if who.role < needed { Err(FleetError::Forbidden { needed, has: who.role }) } else { Ok(()) }
}

/// Whether the user is the one who asks.
pub fn is_own(who: &Principal, name: &str) -> bool {
    who.session && who.name == name
}

impl Fleet {
    /// The user of this name when the password is right. What is wrong is kept in the audit; `place` is where one wanted to
    /// log in.
    pub async fn verify(
        &self,
        name: &str,
        password: PasswordMd5,
        place: &str,
        origin: &Origin,
    ) -> Result<Option<Proven>, AccessError> {
        let result = self.access.verify(name, password, &origin.address).await;
        let refused = |looked_at| {
            let claimed = Actor::Claimed(name.to_owned()).to_string();
            let entry = Origin { actor: claimed, ..origin.clone() }.audit("session.refused", place);
            self.access.refused(entry, looked_at);
        };
        match &result {
            Ok(None) if can_be_a_name(name) => refused(true),
            Err(AccessError::TooMany(_) | AccessError::Crowded) => refused(false),
            Ok(_) | Err(AccessError::Store(_) | AccessError::Hashing) => {}
        }
        result
    }

    /// Opens a session for whoever knows the password.
    pub async fn log_in(&self, login: Login, origin: &Origin) -> Result<OpenedSession, FleetError> {
        let Login { name, password } = login;
        if !can_be_a_name(&name) {
            let wrong = format!("a user's name has 1 to {MAX_NAME} characters, and none that controls");
            return Err(FleetError::invalid("/username", wrong));
        }
        let proven = self.verify(&name, PasswordMd5::of(&password), "", origin).await?;
        let proven = proven.ok_or(FleetError::WrongPassword)?;
        let role = proven.role;
        let user = Origin { actor: Actor::User(name).to_string(), ..origin.clone() };
        let opened = self.access.open_session(proven, user.audit("session.open", "")).await?;
        let (token, ends_ms) = opened.ok_or(FleetError::WrongPassword)?;
        Ok(OpenedSession { token, role, ends_ms })
    }

    /// Ends the session, or revokes the token that was shown.
    pub async fn log_out(&self, who: &Principal, origin: &Origin) -> Result<(), FleetError> {
        let (token, audit) = (who.token, origin.audit("session.close", ""));
        Ok(self.store.change(move |tables| tables.close_session(token, &audit)).await?)
    }

    /// The users, by name.
    pub fn users(&self) -> Result<Vec<(String, UserRecord)>, FleetError> {
        Ok(self.store.read()?.users()?)
    }

    /// Adds a user.
    pub async fn add_user(
        &self,
        who: &Principal,
        login: Login,
        role: Role,
        origin: &Origin,
    ) -> Result<UserRecord, FleetError> {
        let Login { name, password } = login;
        let mut errors = Vec::new();
        if !is_key(&name) || matches!(name.as_str(), "." | "..") {
            errors.push(FieldError::at("/name", "a name is 1 to 63 letters, digits and -_./"));
        }
        if password.chars().count() < MIN_PASSWORD {
            errors.push(FieldError::at("/password", short_password()));
        }
        if !errors.is_empty() {
            return Err(FleetError::Invalid(errors));
        }
        let record = self.access.user_record(PasswordMd5::of(&password), role).await?;
        let audit = origin.audit("user.add", name.as_str());
        let (added, asker, named) = (record.clone(), who.token, name.clone());
        let change = move |tables: &mut Tables<'_>| tables.add_user(asker, &named, &added, &audit);
        self.access.change_users(change).await?.map_err(|why| unchanged(why, &name))?;
        Ok(record)
    }

    /// Removes a user and ends the user's sessions. The last administrator stays. Gives the tokens that the user made, be
    /// it through other tokens; they end too where that is wanted.
    pub async fn remove_user(
        &self,
        who: &Principal,
        name: &str,
        revoke_tokens: bool,
        origin: Origin,
    ) -> Result<Vec<TokenRecord>, FleetError> {
        let (asker, kept_role) = (who.token, Role::Admin.as_str());
        let removal = UserRemoval { name: name.to_owned(), asker, kept_role, revoke_tokens };
        let change = move |tables: &mut Tables<'_>| {
            let removed = |living: usize| {
                let target = match living {
                    0 => removal.name.clone(),
                    left => format!("{} (tokens that live on: {left})", removal.name),
                };
                origin.audit("user.remove", target)
            };
            let revoked = |token: &TokenRecord| origin.audit("token.revoke", token.actor().to_string());
            tables.remove_user(&removal, clock::now_ms(), removed, revoked)
        };
        self.access.change_users(change).await?.map_err(|why| unchanged(why, name))
    }

    /// Changes the password of who asks, or as an administrator of another user. The user's other sessions end.
    pub async fn change_password(
        &self,
        who: &Principal,
        name: &str,
        change: NewPassword,
        origin: &Origin,
    ) -> Result<(), FleetError> {
        let NewPassword { password, old_password } = change;
        if password.chars().count() < MIN_PASSWORD {
            return Err(FleetError::invalid("/password", short_password()));
        }
        let own = is_own(who, name);
        if !own {
            needs(Role::Admin, who)?;
        }
        self.store.read()?.user(name)?.ok_or_else(|| no_user(name))?;
        let proven = match (own, old_password) {
            (false, _) => None,
            (true, Some(old)) => {
                let proven = self.verify(name, PasswordMd5::of(&old), "the old password", origin).await?;
                Some(proven.ok_or(FleetError::WrongPassword)?)
            }
            (true, None) => {
                return Err(FleetError::invalid(
                    "/old_password",
                    "the password of now is needed to change one's own",
                ));
            }
        };
        let password = PasswordMd5::of(&password);
        let verifier = self.access.new_verifier(&who.name, password, &origin.address).await?;
        // One's own changes are counted with one's sessions, which push out nothing else.
        let audit = origin.audit(if own { "session.password" } else { "user.password" }, name);
        let proven = proven.map(|proven| proven.user);
        let change = PasswordChange { name: name.to_owned(), verifier, asker: who.token, proven };
        let change = move |tables: &mut Tables<'_>| tables.change_password(&change, &audit);
        self.access.change_users(change).await?.map_err(|why| unchanged(why, name))
    }

    /// The tokens and sessions that have not expired, the oldest first.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, FleetError> {
        let now = clock::now_ms();
        let mut tokens = self.store.read()?.tokens()?;
        tokens.retain(|token| token.expires_at_ms.is_none_or(|end| end > now));
        tokens.sort_by_key(|token| (token.created_at_ms, token.id));
        for token in &mut tokens {
            token.last_used_ms = self.access.last_used(token);
        }
        Ok(tokens)
    }

    /// Makes a token, which ends after so many seconds where there are any; gives its text too.
    pub async fn add_token(
        &self,
        who: &Principal,
        name: String,
        role: Role,
        expires_in: Option<u32>,
        origin: &Origin,
    ) -> Result<(String, TokenRecord), FleetError> {
        if !is_key(&name) {
            return Err(FleetError::invalid("/name", "a name is 1 to 63 letters, digits and -_./"));
        }
        if expires_in == Some(0) {
            return Err(FleetError::invalid("/expires_in", "at least one second, or null"));
        }
        let expires_at_ms = expires_in.map(|seconds| clock::now_ms() + i64::from(seconds) * 1000);
        let audit = |token: &Actor| origin.audit("token.create", token.to_string());
        let made = self.access.add_token(NewToken { name, role, expires_at_ms }, who, audit).await?;
        made.ok_or(FleetError::Unauthorized)
    }

    /// Revokes a token or ends a session.
    pub async fn revoke_token(&self, id: &str, origin: Origin) -> Result<(), FleetError> {
        let no_token = || FleetError::NotFound(format!("token {id}"));
        let token = Uuid::try_parse(id).map_err(|_| no_token())?;
        let audit = move |removed: &TokenRecord| origin.audit("token.revoke", removed.actor().to_string());
        let change = move |tables: &mut Tables<'_>| tables.revoke_token(token, &audit);
        if self.store.change(change).await? { Ok(()) } else { Err(no_token()) }
    }
}

fn short_password() -> String {
    format!("a password has at least {MIN_PASSWORD} characters")
}

/// Why a change of this user was not made.
fn unchanged(why: UserUnchanged, name: &str) -> FleetError {
    match why {
        UserUnchanged::Revoked => FleetError::Unauthorized,
        UserUnchanged::Unknown => no_user(name),
        UserUnchanged::Taken => FleetError::Conflict(format!("there is a user {name} already")),
        UserUnchanged::LastOfRole => {
            FleetError::Conflict(format!("{name} is the last administrator; add another one first"))
        }
        UserUnchanged::Overtaken => FleetError::Conflict(
            "the password was changed by somebody else meanwhile; try again with that one".into(),
        ),
    }
}

fn no_user(name: &str) -> FleetError {
    FleetError::NotFound(format!("user {name}"))
}
