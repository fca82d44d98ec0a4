//! Entries of the audit.

use redb::{ReadableTable, ReadableTableMetadata};

use crate::store::StoreError;
use crate::store::json::{decode, encode};
use crate::store::records::{AuditRecord, TokenRecord};
use crate::store::tables::Tables;

/// How many audit entries are kept.
pub const KEPT_AUDIT: u64 = 100_000;

/// How many more are kept of sessions and of what was refused, which anybody causes as often as he likes.
pub const KEPT_AUDIT_SESSIONS: u64 = 20_000;

/// How the actions begin that are counted to these.
const OF_SESSIONS: &str = "session.";

/// What has ended, or is too old, is removed by so many at once.
pub const SWEPT_AT_ONCE: usize = 1000;

impl Tables<'_> {
    /// Writes an audit entry, and pushes out what is older than the last [`KEPT_AUDIT`]; entries of sessions are counted
    /// by themselves, so that logging in and out pushes out nothing else.
    pub fn audit(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        self.audit_over(None, record).map(|_| ())
    }

    /// [`Tables::audit`] in place of the entry with this number, where that still stands. Gives the entry's number.
    pub(crate) fn audit_over(
        &mut self,
        standing: Option<u64>,
        record: &AuditRecord,
    ) -> Result<u64, StoreError> {
        let next = match self.memory.next_audit {
            Some(number) => number,
            None => self.meta.get("next_audit")?.map_or(1, |number| number.value()),
        };
        let (table, kept) = if record.action.starts_with(OF_SESSIONS) {
            (&mut self.audit_sessions, KEPT_AUDIT_SESSIONS)
        } else {
            (&mut self.audit, KEPT_AUDIT)
        };
        let standing = match standing {
            Some(number) => table.get(number)?.map(|_| number),
            None => None,
        };
        let number = standing.unwrap_or(next);
        if standing.is_none() {
            self.memory.next_audit = Some(next + 1);
        }
        table.insert(number, encode(record).as_slice())?;
        while table.len()? > kept {
            table.pop_first()?;
        }
        Ok(number)
    }

    /// Drops tokens that have ended by now, and entries of the audit from before a moment; says how many. There may be
    /// more.
    pub fn drop_outdated(&mut self, now_ms: i64, audit_before_ms: i64) -> Result<usize, StoreError> {
        Ok(self.drop_ended_tokens(now_ms)? + self.drop_old_audit(audit_before_ms)?)
    }

    /// Drops entries of the audit from before this moment; says how many.
    fn drop_old_audit(&mut self, before_ms: i64) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for table in [&mut self.audit, &mut self.audit_sessions] {
            while dropped < SWEPT_AT_ONCE {
                let oldest = match table.first()? {
                    Some((number, record)) => {
                        let entry: AuditRecord = decode(record.value(), "audit entry")?;
                        (entry.at_ms < before_ms).then(|| number.value())
                    }
                    None => None,
                };
                let Some(oldest) = oldest else { break };
                table.remove(oldest)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Moves entries of sessions to where they are counted by themselves, and names tokens by their ends: for the step to
    /// format 6.
    pub(in crate::store) fn set_sessions_apart(&mut self) -> Result<(), StoreError> {
        let mut moved = Vec::new();
        for entry in self.audit.iter()? {
            let (number, record) = entry?;
            if decode::<AuditRecord>(record.value(), "audit entry")?.action.starts_with(OF_SESSIONS) {
                moved.push((number.value(), record.value().to_vec()));
            }
        }
        let beyond = moved.len().saturating_sub(KEPT_AUDIT_SESSIONS as usize);
        for (at, (number, record)) in moved.iter().enumerate() {
            self.audit.remove(number)?;
            if at >= beyond {
                self.audit_sessions.insert(number, record.as_slice())?;
            }
        }
        let mut tokens: Vec<TokenRecord> = Vec::new();
        for entry in self.tokens.iter()? {
            tokens.push(decode(entry?.1.value(), "token")?);
        }
        tokens.iter().try_for_each(|token| self.name_token(token))
    }
}
