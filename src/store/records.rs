//! What is kept of users, tokens, devices, connections, the audit and idempotency keys.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::row;

/// A user. The verifier is Argon2id over the lower-case MD5 hex of the password, since that MD5 is all that
/// clients of the panel API send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRecord {
    /// What the user may do.
    pub role: String,
    /// The verifier, a PHC string.
    pub verifier: String,
    /// When the user was added, in Unix milliseconds.
    pub created_at_ms: i64,
}

impl UserRecord {
    /// Whether a login of this user holds for that one: the password and the role are the same.
    pub fn logs_in_as(&self, other: &Self) -> bool {
        self.verifier == other.verifier && self.role == other.role
    }
}

/// A token; the secret itself is kept nowhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRecord {
    /// By what it is found, listed and revoked.
    pub id: Uuid,
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// What people call it; for a session, the user's name.
    pub name: String,
    /// What its bearer may do.
    pub role: String,
    /// Whether it came from a login, rather than from `token create`.
    pub session: bool,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// When it was last used, to the minute, in Unix milliseconds.
    #[serde(default)]
    pub last_used_ms: Option<i64>,
    /// Who made it, as the audit names it; nobody for a session.
    #[serde(default)]
    pub made_by: Option<String>,
    /// The user who made it, be it through other tokens.
    #[serde(default)]
    pub owner: Option<String>,
}

/// What a remote panel's device said of itself, and when it was last read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its serial number: another one means another device.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// The API version that it says it speaks.
    pub api_version: String,
    /// When it last answered, in Unix milliseconds. Written only when something else is.
    pub last_seen_ms: i64,
    /// When all that it holds was last read, in Unix milliseconds.
    pub last_read_ms: Option<i64>,
    /// How far its clock was ahead of ours then, in seconds.
    pub clock_ahead_s: Option<i64>,
    /// Its zone, as it said it then: an IANA name, or `UTC+03:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Box<str>>,
    /// Profiles without link_id that it held then.
    pub unlinked: u32,
    /// To be read and put right as soon as it can be reached.
    pub reconcile: bool,
    /// Whether identifiers were ever asked of the device from here: only then is it asked which it holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub identifiers: bool,
    /// Whether the device has ever told which identifiers it holds: then it is not believed that it knows none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_identifiers: bool,
    /// It took another one's place, and was not read since: nothing is sent to it before it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}

/// A remote panel went offline, or came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// `online` or `offline`.
    pub connection: String,
    /// What it failed with.
    pub error: Option<Box<str>>,
}

/// Something happened at an embedded panel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// `access`, `info`, `system` or `emergency`.
    pub category: String,
    /// What happened, in the panel API's word.
    pub key: String,
    /// At which of the panel's locks.
    pub lock: Option<u8>,
    /// The number of the event that has what was presented, which is a secret and stands there alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
}

/// Who did what, when, from where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// The user or token.
    pub actor: String,
    /// The client's address.
    pub address: String,
    /// What was done, such as `batch.submit`.
    pub action: String,
    /// To what.
    pub target: String,
}

/// What an idempotency key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// SHA-256 of the request's body.
    pub digest: [u8; 32],
    /// The batch that was accepted under it. It may have been pushed out since.
    pub batch: Uuid,
    /// When that was, in Unix milliseconds.
    pub at_ms: i64,
}

impl IdempotencyKey {
    pub(super) fn encode(&self) -> [u8; 56] {
        let mut value = [0; 56];
        value[..32].copy_from_slice(&self.digest);
        value[32..48].copy_from_slice(self.batch.as_bytes());
        value[48..].copy_from_slice(&key_time(self.at_ms).to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8; 56]) -> Self {
        let (mut digest, mut batch) = ([0; 32], [0; 16]);
        digest.copy_from_slice(&value[..32]);
        batch.copy_from_slice(&value[32..48]);
        let at_ms = i64::try_from(row::be_u64(&value[48..])).unwrap_or(i64::MAX);
        Self { digest, batch: Uuid::from_bytes(batch), at_ms }
    }
}

/// A moment as `key_times` has it.
pub(super) fn key_time(at_ms: i64) -> u64 {
    at_ms.max(0).unsigned_abs()
}
