//! Records as JSON.

use serde::{Deserialize, Serialize};

use super::StoreError;

/// A record as JSON.
pub fn encode(record: &impl Serialize) -> Vec<u8> {
    // Records have text keys and are written to memory, so serde_json cannot fail on them.
    serde_json::to_vec(record).unwrap_or_default()
}

/// A record from JSON.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Corrupt(what))
}
