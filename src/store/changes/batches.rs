//! Changes to batches, and to the idempotency keys that they were sent under.

use std::borrow::Cow;

use redb::{ReadableTable, ReadableTableMetadata};

use crate::batch::report::Report;
use crate::batch::{BatchRecord, BatchState, Operations, Outcome, PanelState};
use crate::identifier::photo::Photo;
use crate::store::json::{decode, encode};
use crate::store::records::{AuditRecord, IdempotencyKey, key_time};
use crate::store::row::{self, OutcomeKey};
use crate::store::seal::Seal;
use crate::store::tables::Tables;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// How many idempotency keys are kept at most, however young they are.
const KEPT_KEYS: u64 = 1_000_000;

/// Keys that have had their time and go with a new one, at most: twice as fast as they come is fast enough.
const KEYS_AT_ONCE: usize = 2;

/// A batch to be accepted.
pub struct NewBatch {
    /// Its record.
    pub record: BatchRecord,
    /// Its operations, as the rooms above encode them.
    pub work: Vec<u8>,
    /// Whether these are a secret.
    pub secret: bool,
    /// The photos that belong to them.
    pub photos: Vec<Photo>,
    /// The numbers of its panels, ascending.
    pub targets: Vec<PanelNo>,
    /// The key that it was sent under, and the digest of the request's body.
    pub idempotency: Option<(String, [u8; 32])>,
    /// Keys from before this moment stand for nothing any more.
    pub keys_since_ms: i64,
    /// Finished batches beyond so many in all are pushed out, the oldest first.
    pub keep: u64,
    /// The batch that it takes back.
    pub undoes: Option<BatchSeq>,
}

/// Whether a batch's operations are sealed.
pub(in crate::store) fn is_sealed(work: &[u8]) -> bool {
    !work.starts_with(b"{")
}

/// A batch's operations. What is sealed does not begin as JSON does.
pub(in crate::store) fn opened_work<'w>(
    seal: &Seal,
    seq: BatchSeq,
    work: &'w [u8],
) -> Result<Cow<'w, [u8]>, StoreError> {
    if !is_sealed(work) {
        return Ok(Cow::Borrowed(work));
    }
    seal.open_in("batch_work", &seq.to_be_bytes(), work).map(Cow::Owned)
}

/// What came of accepting a batch, or of beginning an ended one again.
pub enum Acceptance {
    /// The batch is there and to be sent out.
    New(BatchSeq, Box<BatchRecord>),
    /// The batch that had ended is running again, with these outcomes.
    Again(BatchSeq, Box<BatchRecord>, Vec<(PanelNo, Outcome)>),
    /// The key stands for something.
    Known(IdempotencyKey),
    /// The batch to begin again, or to take back, was pushed out by newer ones.
    Gone,
    /// The batch to begin again, or to take back, has not ended.
    Running,
    /// The batch to begin again was applied on every panel.
    Applied,
}

/// What came of a cancellation.
pub enum Cancelled {
    /// The batch is cancelled.
    Now,
    /// It was before.
    Before,
    /// It has ended.
    Ended,
}

/// What came of sending a running batch again.
pub enum Retried {
    /// These panels, which had these outcomes, are to be sent their part again.
    Again(Vec<(PanelNo, Outcome)>),
    /// The batch is not there any more.
    Gone,
    /// The batch is cancelled, or has ended.
    Cancelled,
}

impl Tables<'_> {
    /// Accepts a batch, unless the key stands for something.
    pub fn accept_batch(&mut self, batch: &NewBatch, audit: &AuditRecord) -> Result<Acceptance, StoreError> {
        let NewBatch { record, work, secret, photos, targets, idempotency, keys_since_ms, keep, undoes } =
            batch;
        if let Some((name, _)) = idempotency
            && let Some(known) = self.key(name)?.filter(|key| key.at_ms >= *keys_since_ms)
        {
            return Ok(Acceptance::Known(known));
        }
        if let Some(undone) = undoes {
            match self.batch(*undone)? {
                None => return Ok(Acceptance::Gone),
                Some(record) if record.state == BatchState::Running => return Ok(Acceptance::Running),
                Some(_) => {}
            }
        }
        let seq = self.put_batch(record, work, *secret, targets)?;
        if let Some(undone) = undoes {
            self.copy_to_undo(*undone, seq, targets)?; // before it may be pushed out
        }
        self.push_out_batches(*keep)?;
        self.keep_faces_of_batch(seq, photos)?;
        if let Some((name, digest)) = idempotency {
            let key = IdempotencyKey { digest: *digest, batch: record.id, at_ms: record.created_at_ms };
            self.add_key(name, &key, *keys_since_ms)?;
        }
        self.audit(audit)?;
        Ok(Acceptance::New(seq, Box::new(record.clone())))
    }

    /// Cancels a running batch. Which outcomes follow is not decided here.
    pub fn cancel_batch(&mut self, seq: BatchSeq, audit: &AuditRecord) -> Result<Cancelled, StoreError> {
        let Some(mut record) = self.batch(seq)? else { return Ok(Cancelled::Ended) };
        if record.state != BatchState::Running {
            return Ok(Cancelled::Ended);
        }
        if record.cancelled {
            return Ok(Cancelled::Before);
        }
        record.cancelled = true;
        self.set_batch(seq, &record)?;
        self.audit(audit)?;
        Ok(Cancelled::Now)
    }

    /// Begins a batch that has ended again: it runs, and has no outcome yet on panels where it was not applied.
    pub fn retry_ended_batch(
        &mut self,
        seq: BatchSeq,
        operations: &Operations,
        audit: &AuditRecord,
    ) -> Result<Acceptance, StoreError> {
        let Some(mut record) = self.batch(seq)? else { return Ok(Acceptance::Gone) };
        if record.state == BatchState::Running {
            return Ok(Acceptance::Running);
        }
        let mut outcomes = self.outcomes(seq)?;
        record.report = Report::of_pending(outcomes.len(), operations);
        let mut again = false;
        for (panel, outcome) in &mut outcomes {
            if outcome.state == PanelState::Applied {
                record.report.add(outcome, operations.kinds());
            } else {
                again = true;
                *outcome = Outcome::pending(outcome.attempts);
                self.set_outcome(seq, *panel, outcome)?;
            }
        }
        if !again {
            return Ok(Acceptance::Applied);
        }
        record.state = BatchState::Running;
        record.cancelled = false;
        record.duration_ms = None;
        self.set_batch(seq, &record)?;
        self.audit(audit)?;
        Ok(Acceptance::Again(seq, Box::new(record), outcomes))
    }

    /// Takes back a running batch's outcomes other than applied, so that these panels are sent their part again.
    pub fn retry_running_batch(&mut self, seq: BatchSeq, audit: &AuditRecord) -> Result<Retried, StoreError> {
        let Some(record) = self.batch(seq)? else { return Ok(Retried::Gone) };
        if record.state != BatchState::Running || record.cancelled {
            return Ok(Retried::Cancelled);
        }
        let mut again = self.outcomes(seq)?;
        again.retain(|(_, outcome)| !matches!(outcome.state, PanelState::Applied | PanelState::Pending));
        for (panel, outcome) in &again {
            self.set_outcome(seq, *panel, &Outcome::pending(outcome.attempts))?;
        }
        self.audit(audit)?;
        Ok(Retried::Again(again))
    }

    /// Sets a failure as the outcome of these panels, each with its attempts by then, where the store has none yet. Gives
    /// the outcomes that they have then. `why` is told whether the panel has taken its part. `panels` are ascending.
    pub fn settle_outcomes<'w>(
        &mut self,
        seq: BatchSeq,
        panels: &[(PanelNo, u16)],
        why: impl Fn(bool) -> &'w str,
    ) -> Result<Vec<(PanelNo, Outcome)>, StoreError> {
        let stored = match panels {
            [(panel, _)] => self.outcome(seq, *panel)?.map(|outcome| (*panel, outcome)).into_iter().collect(),
            _ => self.outcomes(seq)?,
        };
        let mut stored = stored.into_iter().peekable();
        let mut settled = Vec::with_capacity(panels.len());
        for (panel, attempts) in panels {
            while stored.next_if(|(before, _)| before < panel).is_some() {}
            let standing = stored.next_if(|(is, _)| is == panel).map(|(_, outcome)| outcome);
            let outcome = match standing {
                Some(decided) if decided.state != PanelState::Pending => decided,
                standing => {
                    let taken = standing.is_some_and(|outcome| outcome.taken);
                    let outcome = Outcome::failed(why(taken), *attempts);
                    self.set_outcome(seq, *panel, &outcome)?;
                    outcome
                }
            };
            settled.push((*panel, outcome));
        }
        Ok(settled)
    }

    /// Keeps a new batch with its operations and targets. Returns its number. Pushes out the oldest finished batches
    /// beyond `keep`.
    pub fn add_batch(
        &mut self,
        record: &BatchRecord,
        work: &[u8],
        secret: bool,
        targets: &[PanelNo],
        keep: u64,
    ) -> Result<BatchSeq, StoreError> {
        let seq = self.put_batch(record, work, secret, targets)?;
        self.push_out_batches(keep)?;
        Ok(seq)
    }

    fn put_batch(
        &mut self,
        record: &BatchRecord,
        work: &[u8],
        secret: bool,
        targets: &[PanelNo],
    ) -> Result<BatchSeq, StoreError> {
        let seq = self.next_number("next_batch")?;
        self.set_batch(seq, record)?;
        self.batch_ids.insert(record.id.as_bytes(), seq)?;
        if secret {
            // Before it is written at all: what a transaction replaces may stand in the file for a while.
            let sealed = self.memory.seal.seal_in("batch_work", &seq.to_be_bytes(), work)?;
            self.batch_work.insert(seq, sealed.as_slice())?;
        } else {
            self.batch_work.insert(seq, work)?;
        }
        self.batch_targets.insert(seq, row::encode_panels(targets).as_slice())?;
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
            self.forget_faces_of_batch(seq)?;
            self.forget_before(seq)?;
            let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
            self.outcomes.retain_in::<&OutcomeKey>(&first..=&last, |_, _| false)?;
        }
        Ok(())
    }

    /// A batch's record.
    pub(in crate::store) fn batch(&self, seq: BatchSeq) -> Result<Option<BatchRecord>, StoreError> {
        self.batches.get(seq)?.map(|record| decode(record.value(), "batch")).transpose()
    }

    /// Replaces a batch's record.
    pub(crate) fn set_batch(&mut self, seq: BatchSeq, record: &BatchRecord) -> Result<(), StoreError> {
        self.batches.insert(seq, encode(record).as_slice())?;
        Ok(())
    }

    /// Keeps the key under which a batch was sent. Keys from before `since_ms` go, and the oldest where there are very
    /// many.
    pub(in crate::store) fn add_key(
        &mut self,
        name: &str,
        key: &IdempotencyKey,
        since_ms: i64,
    ) -> Result<(), StoreError> {
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
    fn key(&self, name: &str) -> Result<Option<IdempotencyKey>, StoreError> {
        Ok(self.keys.get(name)?.map(|value| IdempotencyKey::decode(value.value())))
    }
}
