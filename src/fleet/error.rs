//! Why the fleet says no.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::access::{AccessError, Role};
use crate::batch::selector::SelectorError;
use crate::coordinator::{SubmitError, Target};
use crate::panel::settings::SettingProblem;
use crate::profile::wire::Unread;
use crate::profile::{self, text};
use crate::store::StoreError;

/// Wrong places that are listed at most.
pub const LISTED: usize = 100;

/// Everything that the fleet says no with.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// What was asked for cannot be read, or contradicts itself.
    #[error("{0}")]
    Unreadable(String),
    /// What was asked for is wrong, place by place.
    #[error("{}", what_is_wrong(.0, .0.len()))]
    Invalid(Vec<FieldError>),
    /// The same where there are more wrong places than are listed: the first ones, and how many there are.
    #[error("{}", what_is_wrong(.0, *.1))]
    InvalidAmong(Vec<FieldError>, usize),
    /// Nobody is known by what was shown, or not any more.
    #[error("a valid bearer token is needed; log in with `panelsync login` or POST /fleet/v1/session")]
    Unauthorized,
    /// Wrong name or password.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// Somebody who may not do this.
    #[error("the role {} is needed; this token has the role {}", .needed.as_str(), .has.as_str())]
    Forbidden {
        /// The role that may.
        needed: Role,
        /// The role of who asks.
        has: Role,
    },
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// There is one already, or its state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// Several are there already.
    #[error("{}", what_is_wrong(.0, .0.len()))]
    ConflictAt(Vec<FieldError>),
    /// It was there, and is not kept any more.
    #[error("{0}")]
    Gone(String),
    /// More items are named than this.
    #[error(
        "the request names more than {0} items, the server's limit; send them in parts or raise --max-items"
    )]
    TooManyItems(usize),
    /// Too many failed logins; seconds to wait.
    #[error("too many failed logins; try again in {0} s")]
    TooManyLogins(u64),
    /// Too many logins wait to be looked at.
    #[error("too many logins at once; try again in a moment")]
    Crowded,
    /// Too much is going on.
    #[error("the server has too much to do; try again in a moment")]
    Busy,
    /// The disk is full.
    #[error("the server's disk is full; nothing was acknowledged. Make room there, and send it again")]
    NoRoom,
    /// The database has failed a moment ago.
    #[error("the server's database has failed and is being opened again; try again in a moment")]
    StoreFailed,
    /// With several nodes: the log did not take it, or did not say so.
    #[error(
        "the log of all nodes did not say that it has taken it: this is perhaps done. Send it again, a batch with the same Idempotency-Key"
    )]
    PerhapsDone,
    /// The database's file is not where it was.
    #[error("{0}")]
    FileGone(String),
    /// Something broke inside.
    #[error("something went wrong in the server; its log says what")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One wrong place in what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer to the place.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl FieldError {
    /// At a place. What is long is cut in its middle.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        let cut = |text: String| match text::short(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(short) => short,
        };
        Self { path: cut(path.into()), message: cut(message.into()) }
    }
}

/// Wrong places as they are found: the first hundred, and how many there are.
#[derive(Debug, Default)]
pub struct Gathered {
    listed: Vec<FieldError>,
    all: usize,
}

impl Gathered {
    /// One more; it is put in words only while there is room for it.
    pub fn add(&mut self, error: impl FnOnce() -> FieldError) {
        self.all += 1;
        if self.listed.len() < LISTED {
            self.listed.push(error());
        }
    }

    /// Those of many, of which the first are in words.
    pub fn extend(&mut self, listed: impl IntoIterator<Item = FieldError>, all: usize) {
        self.all += all;
        let room = LISTED - self.listed.len();
        self.listed.extend(listed.into_iter().take(room));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The error with all of it.
    pub fn into_error(self) -> FleetError {
        if self.all > self.listed.len() {
            FleetError::InvalidAmong(self.listed, self.all)
        } else {
            FleetError::Invalid(self.listed)
        }
    }
}

fn what_is_wrong(errors: &[FieldError], all: usize) -> String {
    match errors {
        [one] if one.path.is_empty() => one.message.clone(),
        [one] => format!("{}: {}", one.path, one.message),
        _ if all > LISTED => format!("{all} places are wrong; the first {LISTED} are listed"),
        _ => format!("{all} places are wrong"),
    }
}

impl FleetError {
    /// Whether the store fails just now, and is perhaps there again in a moment.
    pub fn is_of_a_failing_store(&self) -> bool {
        matches!(self, Self::StoreFailed | Self::NoRoom | Self::PerhapsDone)
    }

    /// One wrong place.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::at(path, message)])
    }

    /// JSON is of another form than wanted.
    pub fn of_form(error: &serde_json::Error) -> Self {
        Self::invalid("", without_values(&error.to_string()))
    }

    /// No panel has this id.
    pub(super) fn no_panel(id: &str) -> Self {
        Self::NotFound(format!("panel {id}"))
    }

    /// Of several wrong settings.
    pub(super) fn of_settings(problems: Vec<SettingProblem>) -> Self {
        Self::Invalid(problems.into_iter().map(FieldError::from).collect())
    }
}

impl From<StoreError> for FleetError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Closed => Self::Busy,
            StoreError::Failed => Self::StoreFailed,
            StoreError::Ledger(_) => Self::PerhapsDone,
            StoreError::NoRoom => Self::NoRoom,
            StoreError::Database(_) if error.no_room() => Self::NoRoom,
            StoreError::Gone => Self::FileGone(error.to_string()),
            StoreError::NoSuchPanel => Self::NotFound("such panel".into()),
            StoreError::Database(_) | StoreError::Corrupt(_) | StoreError::Damaged => {
                Self::Internal(Box::new(error))
            }
        }
    }
}

impl From<AccessError> for FleetError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => error.into(),
            AccessError::Hashing => Self::Internal(Box::new(error)),
            AccessError::TooMany(wait) => Self::TooManyLogins(wait.as_secs() + 1),
            AccessError::Crowded => Self::Crowded,
        }
    }
}

/// A body that was not read to its end, by one who does not stop.
impl From<Unread<FleetError>> for FleetError {
    fn from(unread: Unread<FleetError>) -> Self {
        match unread {
            Unread::NotJson(error) => Self::Unreadable(format!("the body is not JSON: {error}")),
            Unread::NotAnObject => Self::Unreadable("the body is not a JSON object".into()),
            Unread::TooManyValues(key, at) => {
                let at = at.map_or(String::new(), |at| format!("/{at}"));
                let path = if key.is_empty() { at } else { format!("{}{at}", profile::wire::step(&key)) };
                Self::invalid(path, profile::error::WireError::TooManyValues.to_string())
            }
            Unread::Stopped(error) => error,
        }
    }
}

impl From<SubmitError> for FleetError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NoPanels(ref target) => {
                let path = match target {
                    Target::All => "/all",
                    Target::Selector(_) | Target::Undo(..) => "/selector",
                    Target::Panels(_) => "/panels",
                };
                Self::invalid(path, error.to_string())
            }
            SubmitError::UnknownPanels(ids) => {
                let mut errors = Gathered::default();
                for (i, id) in ids {
                    errors.add(|| FieldError::at(format!("/panels/{i}"), format!("there is no panel {id}")));
                }
                errors.into_error()
            }
            SubmitError::UnknownToFamily(ref upserts) => {
                let mut errors = Gathered::default();
                for (i, unknown) in upserts {
                    let path = format!("/upsert/{i}{}", unknown.path());
                    errors.add(|| FieldError::at(path, unknown.to_string()));
                }
                errors.into_error()
            }
            SubmitError::NoIdentifiers(_) => Self::invalid("/identifiers", error.to_string()),
            SubmitError::KeyReused => Self::Invalid(vec![FieldError::at("", error.to_string())]),
            SubmitError::ReportGone(_) => Self::Gone(error.to_string()),
            SubmitError::WrongState(_) => Self::Conflict(error.to_string()),
            SubmitError::NoSuchBatch => Self::NotFound("such batch".into()),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<SelectorError> for FleetError {
    fn from(error: SelectorError) -> Self {
        Self::invalid("/selector", error.to_string())
    }
}

impl From<actix::MailboxError> for FleetError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Busy
    }
}

impl From<tokio::sync::oneshot::error::RecvError> for FleetError {
    fn from(_: tokio::sync::oneshot::error::RecvError) -> Self {
        Self::Busy
    }
}

impl<E: fmt::Display> From<profile::error::Problem<E>> for FieldError {
    fn from(problem: profile::error::Problem<E>) -> Self {
        Self::at(problem.path, problem.error.to_string())
    }
}

impl From<SettingProblem> for FieldError {
    fn from(problem: SettingProblem) -> Self {
        Self::at(problem.path, problem.message)
    }
}

/// What serde says of JSON of another form, without the value that it repeats: that may be the number of a card, or a
/// password.
pub fn without_values(said: &str) -> String {
    for wrong in ["invalid type: ", "invalid value: ", "unknown variant "] {
        let Some(value) = said.find(wrong).map(|at| at + wrong.len()) else { continue };
        let Some(wanted) = said.rfind(", expected ").filter(|wanted| *wanted >= value) else { continue };
        // Its type stands before it.
        let kind = said[value..wanted].split(['`', '"']).next().unwrap_or_default();
        let kind = kind.trim_end();
        let before = if kind.is_empty() { said[..value].trim_end() } else { &said[..value] };
        return format!("{before}{kind}{}", &said[wanted..]);
    }
    said.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_form_repeats_nothing_that_was_sent() {
        for (said, shown) in [
            (
                "invalid type: integer `7654300999`, expected a string at line 1 column 3",
                "invalid type: integer, expected a string at line 1 column 3",
            ),
            (r#"invalid type: string "a, expected b", expected u16"#, "invalid type: string, expected u16"),
            (
                "invalid type: floating point `48.29`, expected a string",
                "invalid type: floating point, expected a string",
            ),
            ("invalid value: integer `70000`, expected u16", "invalid value: integer, expected u16"),
            (
                "unknown variant `4829`, expected `http` or `embedded`",
                "unknown variant, expected `http` or `embedded`",
            ),
            ("missing field `number` at line 1 column 2", "missing field `number` at line 1 column 2"),
        ] {
            assert_eq!(without_values(said), shown);
        }
    }
}
