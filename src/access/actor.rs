//! Who does something, as the audit names it: its kind, and what tells it apart among its kind.
//!
//! Names of users and tokens have no colon, so that no name of the one reads as the other: `user:anna`,
//! `token:1a2b3c4d:night-job`, `panel-user:anna` (on the panel API), `login:anna` (who said so and could not show it),
//! `console` (on a stopped server's folder). Entries of older formats are names alone.

use std::fmt;

use uuid::Uuid;

/// Letters of a claimed name that are shown at most.
const SHOWN: usize = 63;

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user who is logged in.
    User(String),
    /// A token; the name is what people call it.
    Token(Uuid, String),
    /// A user who is logged in on the panel API.
    PanelUser(String),
    /// Someone who said to be this user and was refused.
    Claimed(String),
    /// Who runs commands on the folder of a stopped server.
    Console,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Token(id, name) => write!(f, "token:{:08x}:{name}", id.as_fields().0),
            Self::PanelUser(name) => write!(f, "panel-user:{name}"),
            Self::Claimed(name) => write!(f, "login:{}", shown(name)),
            Self::Console => f.write_str("console"),
        }
    }
}

/// A name that somebody made up, cut and cleaned so that it can stand in a log line and in a table.
pub fn shown(name: &str) -> String {
    let clean = |c: char| if c.is_alphanumeric() || "-_./@ ".contains(c) { c } else { '?' };
    name.chars().take(SHOWN).map(clean).collect()
}

/// The name in what the audit has as an actor.
pub fn name_of(actor: &str) -> &str {
    actor.rsplit(':').next().unwrap_or(actor)
}

/// Whether the actor is the one that is asked for: by its name, by its kind and id, or by all of it.
pub fn is(actor: &str, wanted: &str) -> bool {
    name_of(actor) == wanted
        || actor.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// For where users are named far more often than tokens: a user as its name alone, which no token's reads as.
pub fn short(actor: &str) -> &str {
    actor.strip_prefix("user:").unwrap_or(actor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_a_users_name_is_told_from_the_user() {
        let token = Actor::Token(Uuid::from_u128(0x1a2b_3c4d << 96), "anna".into()).to_string();
        let user = Actor::User("anna".into()).to_string();
        assert_eq!((token.as_str(), user.as_str()), ("token:1a2b3c4d:anna", "user:anna"));
        assert_eq!((short(&token), short(&user)), (token.as_str(), "anna"));
        for wanted in ["anna", "token", "token:1a2b3c4d", "token:1a2b3c4d:anna"] {
            assert!(is(&token, wanted), "{wanted}");
        }
        for other in ["user", "user:anna", "ann", "token:1a2b3c4", ""] {
            assert!(!is(&token, other), "{other}");
        }
        assert!(is("anna", "anna"), "an entry of an older format");
    }

    #[test]
    fn a_claimed_name_is_cut_and_cleaned() {
        let long = format!("a\u{1b}[31m\u{202e}\n{}", "x".repeat(100));
        assert_eq!(Actor::Claimed(long).to_string(), format!("login:a??31m??{}", "x".repeat(55)));
    }
}
