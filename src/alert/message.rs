//! What goes out: one shape for all, as a webhook's body and as the source of a mail.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a message is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Panels cannot be reached for longer than is said.
    #[serde(rename = "panel.offline")]
    Offline,
    /// Panels of which that was told are back.
    #[serde(rename = "panel.online")]
    Online,
    /// Panels refuse items.
    #[serde(rename = "item.refused")]
    Refused,
    /// Devices hold something other than they had confirmed.
    #[serde(rename = "drift.found")]
    Drift,
    /// Batches ended with failures.
    #[serde(rename = "batch.failed")]
    BatchFailed,
    /// No node leads.
    #[serde(rename = "cluster.no_leader")]
    NoLeader,
    /// A node leads again.
    #[serde(rename = "cluster.leader")]
    Leader,
    /// What was held back is counted.
    #[serde(rename = "digest")]
    Digest,
    /// Somebody tries the alert.
    #[serde(rename = "test")]
    Test,
}

impl Kind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "panel.offline",
            Self::Online => "panel.online",
            Self::Refused => "item.refused",
            Self::Drift => "drift.found",
            Self::BatchFailed => "batch.failed",
            Self::NoLeader => "cluster.no_leader",
            Self::Leader => "cluster.leader",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }
}

/// One thing that a message is about. What does not belong to its kind is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Which panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel: Option<String>,
    /// Since when, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The same in the panel's zone, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_local: Option<String>,
    /// How long that was, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasted_s: Option<u64>,
    /// The kind of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_kind: Option<String>,
    /// Which item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_id: Option<String>,
    /// Which batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Uuid>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How much of a kind was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Of what.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Messages that did not go out.
    pub messages: u64,
    /// What they would have been about.
    pub count: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Of what.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// By this it is known again where it comes twice.
    pub id: Uuid,
    /// When it was made, RFC 3339 in UTC.
    pub at: String,
    /// The alert's name.
    pub alert: String,
    /// One line.
    pub title: String,
    /// All of it in sentences.
    pub text: String,
    /// How many things it is about.
    pub count: u64,
    /// The first of them.
    pub about: Vec<About>,
    /// In a digest, what was held back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<Held>,
}

/// A message that is to go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// It.
    pub message: Message,
    /// When it was made, in Unix milliseconds.
    pub made_ms: i64,
    /// How often it was tried.
    pub tries: u32,
}

/// What is new, before it is a message or is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Of what.
    pub kind: Kind,
    /// About how many things.
    pub count: u64,
    /// The first of them, at most [`LISTED`].
    pub about: Vec<About>,
    /// Of batches, sentences that say more than a list does.
    pub sentences: Vec<String>,
}

/// Things that one message names.
pub const LISTED: usize = 20;
