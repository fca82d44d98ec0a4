//! What is written of refusals: one entry a minute for each who, where and what, with how often it was; so that nobody
//! fills the audit, or the disk, by being refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::StoreHandle;
use crate::store::tables::AuditRecord;

/// What comes within this time is one entry.
const TOGETHER: Duration = Duration::from_mins(1);

/// Entries that may still be counted up at most.
const KEPT: usize = 10_000;

/// Up to here every count is written; beyond only each that is twice the one before.
const EACH: u64 = 16;

#[derive(Debug)]
struct Refusal {
    since: Instant,
    count: u64,
    written: u64,
    /// Under which number it stands in the audit, once that is known.
    number: Option<u64>,
    record: AuditRecord,
}

type Key = [Box<str>; 4];

/// The refusals of the last minute.
#[derive(Clone)]
pub struct Refusals {
    store: StoreHandle,
    open: Arc<Mutex<HashMap<Key, Refusal>>>,
}

impl Refusals {
    /// None yet.
    pub fn new(store: StoreHandle) -> Self {
        Self { store, open: Arc::default() }
    }

    /// Something was refused. It may have no entry of its own where it was not even looked at.
    pub fn note(&self, record: AuditRecord, looked_at: bool) {
        let key =
            [&record.actor, &record.address, &record.action, &record.target].map(|text| text.as_str().into());
        let mut open = self.lock();
        if let Some(refusal) = open.get_mut(&key)
            && refusal.since.elapsed() < TOGETHER
        {
            refusal.count += 1;
            if refusal.count <= EACH || refusal.count.is_power_of_two() {
                self.write(&key, refusal);
            }
            return;
        }
        if !looked_at {
            return;
        }
        if let Some(mut over) = open.remove(&key)
            && over.written < over.count
        {
            self.write(&key, &mut over);
        }
        if open.len() >= KEPT {
            open.retain(|_, refusal| refusal.since.elapsed() < TOGETHER);
        }
        if open.len() >= KEPT {
            return; // it is in the log
        }
        let mut refusal = Refusal { since: Instant::now(), count: 1, written: 0, number: None, record };
        self.write(&key, &mut refusal);
        open.insert(key, refusal);
    }

    /// Writes the entry, or its new count over what stands there.
    fn write(&self, key: &Key, refusal: &mut Refusal) {
        if refusal.written > 0 && refusal.number.is_none() {
            return; // its first writing is under way, and looks again when it is done
        }
        refusal.written = refusal.count;
        let mut record = refusal.record.clone();
        if refusal.count > 1 {
            let more = if refusal.count > EACH { " or more" } else { "" };
            let counted = format!("{} ({}{more} times)", record.target, refusal.count);
            counted.trim_start().clone_into(&mut record.target);
        }
        let (standing, key, refusals) = (refusal.number, key.clone(), self.clone());
        self.store.submit_change(
            move |tables| tables.audit_over(standing, &record),
            move |written| match written {
                Ok(number) => refusals.stands(&key, number),
                Err(error) => tracing::warn!(%error, "a refusal was not kept in the audit"),
            },
        );
    }

    /// An entry stands under this number.
    fn stands(&self, key: &Key, number: u64) {
        let mut open = self.lock();
        if let Some(refusal) = open.get_mut(key)
            && refusal.number.is_none()
        {
            refusal.number = Some(number);
            if refusal.written < refusal.count.min(EACH) {
                self.write(key, refusal);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Refusal>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
