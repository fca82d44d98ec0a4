//! Changes to batches, and to the idempotency keys that they were sent under.

use redb::{ReadableTable, ReadableTableMetadata};

use crate::batch::{BatchRecord, BatchState};
use crate::store::json::{decode, encode};
use crate::store::records::{IdempotencyKey, key_time};
use crate::store::row::{self, OutcomeKey};
use crate::store::tables::Tables;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// How many idempotency keys are kept at most, however young they are.
const KEPT_KEYS: u64 = 1_000_000;

/// Keys that have had their time and go with a new one, at most: twice as fast as they come is fast enough.
const KEYS_AT_ONCE: usize = 2;

impl Tables<'_> {
    /// Keeps a new batch with its operations and targets. Returns its number. Pushes out the oldest finished batches
    /// beyond `keep`.
    pub fn add_batch(
        &mut self,
        record: &BatchRecord,
        work: &[u8],
        targets: &[PanelNo],
        keep: u64,
    ) -> Result<BatchSeq, StoreError> {
        let seq = self.next_number("next_batch")?;
        self.set_batch(seq, record)?;
        self.batch_ids.insert(record.id.as_bytes(), seq)?;
        self.batch_work.insert(seq, work)?;
        self.batch_targets.insert(seq, row::encode_panels(targets).as_slice())?;
        self.push_out_batches(keep)?;
        Ok(seq)
    }

    /// Batches come and go in the order of their numbers, save that those that run stay: so the oldest that go are
    /// found behind no more batches than run.
    fn push_out_batches(&mut self, keep: u64) -> Result<(), StoreError> {
        let mut surplus = self.batches.len()?.saturating_sub(keep);
        let mut old = Vec::new();
        for entry in self.batches.iter()? {
            if surplus == 0 {
                break;
            }
            let (seq, record) = entry?;
            // One that cannot be read goes, too; its id stays and leads nowhere.
            match decode::<BatchRecord>(record.value(), "batch") {
                Ok(record) if record.state == BatchState::Running => {}
                Ok(record) => old.push((seq.value(), Some(record.id))),
                Err(_) => old.push((seq.value(), None)),
            }
            surplus -= 1;
        }
        for (seq, id) in old {
            self.batches.remove(seq)?;
            if let Some(id) = id {
                self.batch_ids.remove(id.as_bytes())?;
            }
            self.batch_work.remove(seq)?;
            self.batch_targets.remove(seq)?;
            let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
            self.outcomes.retain_in::<&OutcomeKey, _>(&first..=&last, |_, _| false)?;
        }
        Ok(())
    }

    /// A batch's record.
    pub fn batch(&self, seq: BatchSeq) -> Result<Option<BatchRecord>, StoreError> {
        self.batches.get(seq)?.map(|record| decode(record.value(), "batch")).transpose()
    }

    /// Replaces a batch's record.
    pub fn set_batch(&mut self, seq: BatchSeq, record: &BatchRecord) -> Result<(), StoreError> {
        self.batches.insert(seq, encode(record).as_slice())?;
        Ok(())
    }

    /// Keeps the key under which a batch was sent. Keys from before `since_ms` go, and the oldest where there are very
    /// many.
    pub fn add_key(&mut self, name: &str, key: &IdempotencyKey, since_ms: i64) -> Result<(), StoreError> {
        if let Some(before) = self.key(name)? {
            self.key_times.remove((key_time(before.at_ms), name))?;
        }
        self.keys.insert(name, &key.encode())?;
        self.key_times.insert((key_time(key.at_ms), name), ())?;
        for _ in 0..KEYS_AT_ONCE {
            let Some((oldest, _)) = self.key_times.first()? else { break };
            let (at, name) = oldest.value();
            if at >= key_time(since_ms) && self.keys.len()? <= KEPT_KEYS {
                break;
            }
            let name = name.to_owned();
            drop(oldest);
            self.key_times.remove((at, name.as_str()))?;
            self.keys.remove(name.as_str())?;
        }
        Ok(())
    }

    /// The batch that was sent under this key.
    pub fn key(&self, name: &str) -> Result<Option<IdempotencyKey>, StoreError> {
        Ok(self.keys.get(name)?.map(|value| IdempotencyKey::decode(value.value())))
    }
}
