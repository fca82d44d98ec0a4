//! Who did what.

use super::{Fleet, FleetError, Page};
use crate::access::actor;
use crate::store::tables::AuditRecord;

/// Which entries of the audit.
#[derive(Debug, Default)]
pub struct AuditFilter {
    /// From this moment on, in Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this moment, in Unix milliseconds.
    pub to_ms: Option<i64>,
    /// By this user or token: a name, `KIND:ID`, or all of what an entry says.
    pub actor: Option<String>,
}

impl AuditFilter {
    fn picks(&self, entry: &AuditRecord) -> bool {
        self.from_ms.is_none_or(|from| entry.at_ms >= from)
            && self.to_ms.is_none_or(|to| entry.at_ms < to)
            && self.actor.as_ref().is_none_or(|actor| actor::is(&entry.actor, actor))
    }
}

impl Fleet {
    /// At most `limit` entries of the audit before one, newest first.
    pub async fn page_of_audit(
        &self,
        filter: AuditFilter,
        before: u64,
        limit: usize,
    ) -> Result<Page<AuditRecord, u64>, FleetError> {
        let entries =
            self.read(move |snapshot| snapshot.audit(before, limit + 1, |entry| filter.picks(entry)));
        let page = Page::cut(entries.await?, limit, |(number, _)| *number);
        Ok(page.map(|(_, record)| record))
    }
}
