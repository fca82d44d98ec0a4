//! Why a call to a device came to nothing, in words for people.

use super::words;

/// Why a call to a device came to nothing. Its text says what to do about it, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection: certainly not done.
    #[error("it cannot be reached: {0}; check that it is switched on, and its url")]
    Unreachable(String),
    /// Its certificate is not one to trust: certainly not done.
    #[error("its certificate cannot be trusted: {0}")]
    Certificate(String),
    /// Nothing came back after the request was sent: perhaps done.
    #[error("it did not answer: {0}")]
    NoAnswer(String),
    /// What came back cannot be read: perhaps done.
    #[error("its answer cannot be read: {0}")]
    Garbled(String),
    /// It says that it cannot just now: perhaps done.
    #[error("it answers with HTTP {0}{1}")]
    Failing(u16, String),
    /// What answers there is no panel.
    #[error("what answers there is no panel: {0}; check its url")]
    NotAPanel(String),
    /// It does not know the call.
    #[error("it does not know the call {0}; check its api, which is {1} here")]
    UnknownCall(String, &'static str),
    /// It does not know the token (any more): certainly not done. One new login is worth a try.
    #[error("it does not know its own token any more")]
    LoggedOut,
    /// Wrong user name or password.
    #[error(
        "it refuses the user name or the password; set them with `panelsync panel set {0} --username NAME --password-stdin`"
    )]
    WrongPassword(String),
    /// The account may not change profiles.
    #[error(
        "the account may not change profiles; set an administrator's with `panelsync panel set {0} --username NAME --password-stdin`"
    )]
    NotAdministrator(String),
    /// It takes the account, and then says to its every call that nobody is logged in.
    #[error(
        "it lets the account log in and then refuses its every call (HTTP 401); set an administrator's with `panelsync panel set {0} --username NAME --password-stdin`"
    )]
    AccountMayNot(String),
    /// It refuses the call as a whole, in these words: certainly not done.
    #[error("it refuses: {1} (HTTP {0})")]
    Refused(u16, String),
    /// It answers well, and says in the answer that it could not, in these words: perhaps done.
    #[error("it answers with an error: {0}")]
    Said(String),
    /// It holds more than is read of a device.
    #[error("it cannot be read whole: {0}; see on the device what fills it")]
    TooMuch(String),
    /// An encrypted connection to it does not come about: certainly not done.
    #[error("no encrypted connection to it comes about: {0}")]
    NoTls(String),
}

impl Trouble {
    /// Whether only a person can put it right, if it is said again and again: a device that starts says much.
    pub fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::WrongPassword(_)
                | Self::NotAdministrator(_)
                | Self::AccountMayNot(_)
                | Self::UnknownCall(..)
        )
    }

    /// Whether the device said this itself, so that it can be reached.
    pub fn is_an_answer(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Certificate(_) | Self::NoTls(_) | Self::NoAnswer(_))
    }

    /// The same with what the device said changed so.
    pub(super) fn with_words(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Garbled(why) => Self::Garbled(change(&why)),
            Self::Failing(status, why) => Self::Failing(status, change(&why)),
            Self::Refused(status, why) => Self::Refused(status, change(&why)),
            Self::Said(why) => Self::Said(change(&why)),
            other => other,
        }
    }

    /// The same in words that can be shown anywhere: what the connection ended with may quote the device.
    pub(super) fn in_clean_words(self) -> Self {
        let clean = |text: String| words::cut(&text, 2 * words::LONGEST);
        match self {
            Self::Unreachable(why) => Self::Unreachable(clean(why)),
            Self::Certificate(why) => Self::Certificate(clean(why)),
            Self::NoTls(why) => Self::NoTls(clean(why)),
            Self::NoAnswer(why) => Self::NoAnswer(clean(why)),
            Self::Garbled(why) => Self::Garbled(clean(why)),
            other => other,
        }
    }
}
