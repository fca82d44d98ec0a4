//! Alerts: who is told what is wrong, of which panels, and how often.
//!
//! What is told is derived from what is kept anyway (connections, what devices refuse or hold otherwise, ended batches). Of
//! each alert is kept what it has told ([`told`]), so that nothing is told twice, and nothing is left out because the server
//! was killed in between. What is new becomes a [`message::Message`] in [`words`], or is held back where there were enough of
//! them within the hour ([`pace`]). Pure, like [`crate::batch`]: [`crate::courier`] looks, and sends.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub mod message;
pub mod pace;
pub mod told;
pub mod words;

/// Alerts at most.
pub const MOST: usize = 100;

/// Addresses of one alert at most.
pub const MOST_ADDRESSES: usize = 50;

/// Messages an hour where nothing else is said.
pub const PER_HOUR: u32 = 12;

/// Messages an hour at most.
pub const MOST_PER_HOUR: u32 = 1000;

/// How long a panel is offline before it is told, where nothing else is said.
pub const AFTER: Duration = Duration::from_mins(10);

/// How a webhook's secret begins, as Standard Webhooks has it.
const SECRET_PREFIX: &str = "whsec_";

/// Bytes of a webhook's secret that is made here.
pub const SECRET_BYTES: usize = 32;

/// What an alert can be for. Its number is a byte in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Topic {
    /// A panel cannot be reached for longer than a time.
    Offline = 0,
    /// A panel refuses an item.
    Refused = 1,
    /// A device holds something other than it had confirmed.
    Drift = 2,
    /// A batch ended, and not every panel did what it asked for.
    BatchFailed = 3,
    /// With several nodes: none of them leads.
    NoLeader = 4,
}

impl Topic {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Offline, Self::Refused, Self::Drift, Self::BatchFailed, Self::NoLeader];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Refused => "refused",
            Self::Drift => "drift",
            Self::BatchFailed => "batch-failed",
            Self::NoLeader => "no-leader",
        }
    }

    /// The topic of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// An alert as it is kept. Where a webhook goes, and with what it is signed, is a secret and kept apart ([`Webhook`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Whom a mail goes to; empty where it is a webhook.
    pub mail: Vec<String>,
    /// What it is for.
    pub on: BTreeSet<Topic>,
    /// How long a panel is offline before it is told, in milliseconds.
    pub after_ms: u64,
    /// Which panels it is for; all without.
    pub selector: Option<String>,
    /// Messages an hour at most.
    pub per_hour: u32,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// Another one with every change.
    pub revision: Uuid,
}

impl Alert {
    /// How it goes out.
    pub fn way(&self) -> Way {
        if self.mail.is_empty() { Way::Webhook } else { Way::Mail }
    }

    /// How long a panel that is back must stay so before that is told: one that comes and goes is told once.
    pub fn settles_ms(&self) -> u64 {
        (self.after_ms / 10).min(60_000)
    }
}

/// How a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As an HTTP request.
    Webhook,
    /// As a mail.
    Mail,
}

impl Way {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }
}

/// Where a webhook goes, and how it is signed: sealed where it is kept, since whoever knows the address can write there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The whole URL.
    pub url: String,
    /// The secret as it is shown, once.
    pub secret: String,
    /// The certificates that vouch for it, PEM; the system's without.
    pub tls_ca: Option<String>,
    /// The SHA-256 of the one certificate that it may show, in hex.
    pub tls_pin: Option<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook(secret)")
    }
}

impl Webhook {
    /// Where it goes, without what may be a secret in it: for logs and the audit.
    pub fn place(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        format!("{scheme}://{}", rest.split(['/', '?', '#']).next().unwrap_or_default())
    }

    /// What messages are signed with.
    pub fn key(&self) -> Vec<u8> {
        key_of(&self.secret).unwrap_or_default() // it was looked at when it was given
    }
}

/// The text of a secret.
pub fn secret_of(key: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(key))
}

/// The key that a secret's text spells; none where it is no such text, or too short to protect anything.
pub fn key_of(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// How alerts are looked for and sent.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Between two looks for what is new.
    pub look_every: Duration,
    /// How long what comes at the same time is gathered.
    pub gather: Duration,
    /// What is called an hour.
    pub hour: Duration,
    /// How long one try may take.
    pub patience: Duration,
    /// The pause after the first try; each is three times the one before.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// After so long, and some tries, a message is given up.
    pub give_up_after: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(2),
            gather: Duration::from_secs(30),
            hour: Duration::from_hours(1),
            patience: Duration::from_secs(20),
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_mins(30),
            give_up_after: Duration::from_hours(24),
        }
    }
}

impl Times {
    /// The pause after so many failed tries.
    pub fn pause_after(&self, tries: u32) -> Duration {
        let factor = 3_u32.saturating_pow(tries.saturating_sub(1));
        self.first_pause.saturating_mul(factor).min(self.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_was_written_and_others_are_not() {
        let key = [7; SECRET_BYTES];
        assert_eq!(key_of(&secret_of(&key)).as_deref(), Some(&key[..]));
        for wrong in ["", "whsec_", "whsec_!!", "whsec_c2hvcnQ=", &secret_of(&[1; 23]), &secret_of(&[1; 65])]
        {
            assert_eq!(key_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_logged_of_a_webhook_is_only_who_is_spoken_to() {
        let of = |url: &str| {
            let webhook = Webhook { url: url.into(), secret: String::new(), tls_ca: None, tls_pin: None };
            assert_eq!(format!("{webhook:?}"), "Webhook(secret)");
            webhook.place()
        };
        assert_eq!(of("https://hooks.example:8443/services/T0/token"), "https://hooks.example:8443");
        assert_eq!(of("http://hooks.example?token=1"), "http://hooks.example");
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let times = Times::default();
        let pauses: Vec<_> = (1..9).map(|tries| times.pause_after(tries).as_secs()).collect();
        assert_eq!(pauses, [5, 15, 45, 135, 405, 1215, 1800, 1800]);
        assert_eq!(times.pause_after(u32::MAX), times.longest_pause);
    }
}
