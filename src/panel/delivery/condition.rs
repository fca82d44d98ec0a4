//! How a device is, as pages and answers show it.

/// Whether a panel can be reached, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connection {
    /// Not asked since the server's start.
    #[default]
    Unknown,
    /// It has answered.
    Online,
    /// It has failed several times in a row.
    Offline,
}

impl Connection {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// How a remote panel is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it can be reached.
    pub connection: Connection,
    /// When it last answered, in Unix milliseconds.
    pub last_seen_ms: Option<i64>,
    /// What it failed with, and what to do; nothing once it has answered well.
    pub last_error: Option<Box<str>>,
    /// Failures in a row.
    pub failures: u32,
    /// When it is tried again, in Unix milliseconds; only after a failure.
    pub next_attempt_ms: Option<i64>,
}
