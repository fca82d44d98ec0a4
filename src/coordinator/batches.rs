//! Submitting, cancelling and retrying a batch.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::inbox::FromStore;
use super::model::StillSent;
use super::register::Entry;
use super::running::Running;
use super::{Coordinator, work};
use crate::batch::item::Kind;
use crate::batch::report::Report;
use crate::batch::selector::Selector;
use crate::batch::{BatchRecord, BatchState, Operations};
use crate::clock;
use crate::identifier::rule::NoIdentifiers;
use crate::panel::Origin;
use crate::panel::settings::PanelId;
use crate::profile::Unknown;
use crate::store::changes::batches::{Acceptance, Cancelled, NewBatch, Retried};
use crate::store::tables::{AuditRecord, IdempotencyKey};
use crate::store::{BatchSeq, PanelNo, StoreError};

/// Whoever waits for a batch to be accepted.
type SubmittedReply = oneshot::Sender<Result<Submitted, SubmitError>>;

/// Whoever waits for a running batch to be sent again.
pub type AgainReply = SubmittedReply;

/// Whoever waits for a batch to be cancelled.
pub type CancelReply = oneshot::Sender<Result<(), SubmitError>>;

/// A batch that was made durable, or was sent before under the same key.
pub struct Accepted {
    /// The batch, where it had ended before.
    retried: Option<BatchSeq>,
    /// The digest of the request's body, where it came under a key.
    digest: Option<[u8; 32]>,
    result: Result<Acceptance, StoreError>,
    operations: Arc<Operations>,
    targets: Vec<PanelNo>,
    origin: Arc<Origin>,
    reply: SubmittedReply,
}

const STILL_SENT: &str = "is still being sent out; wait for it or cancel it";
const HAS_ENDED: &str = "has ended already";
const IS_APPLIED: &str = "was applied on every panel; there is nothing to retry";
const IS_CANCELLED: &str = "is cancelled; retry it once it has ended";

/// Which panels a batch is for.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every panel.
    All,
    /// Those that the selector picks.
    Selector(Selector),
    /// These.
    Panels(Vec<String>),
    /// Of the panels of this batch, which is taken back, those that the selector picks, by number and ascending.
    Undo(Uuid, Option<Selector>, Vec<PanelNo>),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Selector(selector) => write!(f, "{selector}"),
            Self::Panels(ids) => f.write_str(&ids.join(" ")),
            Self::Undo(batch, None, _) => write!(f, "undo of {batch}"),
            Self::Undo(batch, Some(selector), _) => write!(f, "undo of {batch} on {selector}"),
        }
    }
}

/// Accept a batch. Answered when it is durable.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>")]
pub struct Submit {
    /// Its public id.
    pub id: Uuid,
    /// For which panels.
    pub target: Target,
    /// What to do on each.
    pub operations: Arc<Operations>,
    /// The user's key with the digest of the request's body.
    pub idempotency: Option<(String, [u8; 32])>,
    /// Who asked.
    pub origin: Origin,
}

/// An accepted batch.
#[derive(Debug)]
pub struct Submitted {
    /// Its number.
    pub seq: BatchSeq,
    /// Its public id.
    pub id: Uuid,
    /// False when the same key had been sent before.
    pub fresh: bool,
    /// Resolves when every panel has an outcome.
    pub done: oneshot::Receiver<()>,
}

fn no_panels(target: &Target) -> String {
    let hint = "see `panelsync panel ls`";
    match target {
        Target::All => format!("there is no panel yet; {hint}"),
        Target::Selector(selector) => format!("no panel matches \"{selector}\"; {hint}"),
        Target::Panels(_) => format!("the list names no panel; {hint}"),
        Target::Undo(_, None, _) => {
            format!("none of the panels that the batch changed is there any more; {hint}")
        }
        Target::Undo(_, Some(selector), _) => {
            format!("no panel that the batch changed matches \"{selector}\"; {hint}")
        }
    }
}

/// Why a batch was not accepted. Nothing changed anywhere.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The target picks nothing.
    #[error("{}", no_panels(.0))]
    NoPanels(Target),
    /// Ids without a panel, each with its index in the list.
    #[error("there is no such panel")]
    UnknownPanels(Vec<(usize, String)>),
    /// Upserts of which some of the panels' families cannot say something, by their index.
    #[error("the batch is for panels that do not know all of what it says")]
    UnknownToFamily(Vec<(usize, Unknown)>),
    /// Identifiers are asked of a panel whose family has other ones.
    #[error("panel {0}: {NoIdentifiers}; nothing was done")]
    NoIdentifiers(PanelId),
    /// The idempotency key was sent before with another body.
    #[error("this Idempotency-Key was used with another body; choose a new key")]
    KeyReused,
    /// The key stands for a batch whose report is not kept any more.
    #[error(
        "the batch {0} was accepted under this Idempotency-Key before, and its report is not kept any more; nothing was done now"
    )]
    ReportGone(Uuid),
    /// The batch is not in a state to do that.
    #[error("the batch {0}")]
    WrongState(&'static str),
    /// There is no such batch.
    #[error("there is no such batch")]
    NoSuchBatch,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coordinator {
    /// What comes of a key that stands for something.
    fn known(&mut self, key: IdempotencyKey, digest: &[u8; 32]) -> Result<Submitted, SubmitError> {
        if key.digest != *digest {
            return Err(SubmitError::KeyReused);
        }
        let id = key.batch;
        let seq = self.store.read()?.batch_seq(id)?.ok_or(SubmitError::ReportGone(id))?;
        Ok(Submitted { seq, id, fresh: false, done: self.wait_for(seq) })
    }

    /// Whether what came of the key's acceptance was told here already: else it is asked again behind it.
    fn has_told(&self, key: &IdempotencyKey) -> Result<bool, StoreError> {
        let snapshot = self.store.read()?;
        let Some(seq) = snapshot.batch_seq(key.batch)? else { return Ok(true) };
        let ended = snapshot.batch(seq)?.is_none_or(|record| record.state != BatchState::Running);
        Ok(ended || self.batches.contains(seq))
    }

    /// Resolves when every panel of the batch has an outcome.
    fn wait_for(&mut self, seq: BatchSeq) -> oneshot::Receiver<()> {
        let (waiter, end) = self.waiters.for_end();
        self.batches.await_end(seq, waiter, &mut self.effects);
        end
    }

    pub(super) fn accepted(&mut self, accepted: Accepted) {
        let Accepted { retried, digest, result, operations, targets, origin, reply } = accepted;
        if let Some(seq) = retried {
            self.batches.begun_again(seq);
        }
        let (seq, record, outcomes) = match result {
            Ok(Acceptance::New(seq, record)) => (seq, record, Vec::new()),
            Ok(Acceptance::Again(seq, record, outcomes)) => (seq, record, outcomes),
            Ok(Acceptance::Known(key)) => {
                let known = self.known(key, &digest.unwrap_or_default());
                return drop(reply.send(known)); // whoever asked may have left
            }
            Ok(Acceptance::Gone) => return drop(reply.send(Err(SubmitError::NoSuchBatch))),
            Ok(Acceptance::Running) => return drop(reply.send(Err(SubmitError::WrongState(STILL_SENT)))),
            Ok(Acceptance::Applied) => return drop(reply.send(Err(SubmitError::WrongState(IS_APPLIED)))),
            Err(error) => return drop(reply.send(Err(error.into()))),
        };
        if retried.is_none() {
            self.metrics.accepted.inc();
            origin.span.in_scope(|| {
                tracing::info!(panels = targets.len(), items = operations.len(), "batch accepted");
            });
        }
        let id = record.id;
        let mut running = Running::new(seq, *record, operations, targets, origin, self.now.at);
        running.take_stored(outcomes, |_, _| false);
        self.batches.accepted(running, self.now, &mut self.effects);
        let submitted = Submitted { seq, id, fresh: true, done: self.wait_for(seq) };
        let _ = reply.send(Ok(submitted)); // whoever asked may have left; the batch stays
    }
}

/// Refuses what some of these panels' families do not know.
pub fn refuse_unknown<'e>(
    operations: &Operations,
    panels: impl Iterator<Item = &'e Entry> + Clone,
) -> Result<(), SubmitError> {
    let unknown = operations.unknown_to(panels.clone().map(|panel| panel.settings.family()));
    if !unknown.is_empty() {
        return Err(SubmitError::UnknownToFamily(unknown));
    }
    if operations.concerns(Kind::Identifier)
        && let Some(panel) = panels.into_iter().find(|panel| panel.settings.identifier_api().is_none())
    {
        return Err(SubmitError::NoIdentifiers(panel.settings.id.clone()));
    }
    Ok(())
}

impl Handler<Submit> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>;

    fn handle(&mut self, submit: Submit, _: &mut Self::Context) -> Self::Result {
        let Submit { id, target, operations, idempotency, origin } = submit;
        let now_ms = clock::now_ms();
        let since_ms = now_ms - i64::try_from(self.kept.keys.as_millis()).unwrap_or(i64::MAX);
        let (reply, answer) = oneshot::channel();
        // What was done before under this key is answered as it was, whatever the fleet is by now.
        if let Some((name, digest)) = &idempotency
            && let Some(key) = self.store.read()?.key(name)?.filter(|key| key.at_ms >= since_ms)
            && self.has_told(&key)?
        {
            let _ = reply.send(self.known(key, digest)); // the receiver is right here
            self.carry_out_effects();
            return Ok(answer);
        }
        let targets = self.register.targets(&target)?;
        let entries = targets.iter().filter_map(|number| self.register.by_number(*number));
        refuse_unknown(&operations, entries)?;
        let record = BatchRecord {
            id,
            created_at_ms: now_ms,
            created_by: origin.actor.clone(),
            target: target.to_string(),
            state: BatchState::Running,
            cancelled: false,
            report: Report::of_pending(targets.len(), &operations),
            duration_ms: None,
            undoes: operations.undoes,
        };
        let undoes = match operations.undoes {
            Some(undone) => Some(self.store.read()?.batch_seq(undone)?.ok_or(SubmitError::NoSuchBatch)?),
            None => None,
        };
        let action = if undoes.is_some() { "batch.undo" } else { "batch.submit" };
        let audit = origin.audit(action, id);
        let digest = idempotency.as_ref().map(|(_, digest)| *digest);
        let batch = NewBatch {
            record,
            work: work::encode(&operations),
            secret: operations.concerns(Kind::Identifier),
            photos: work::photos(&operations),
            targets: targets.clone(),
            idempotency,
            keys_since_ms: since_ms,
            keep: self.kept.batches,
            undoes,
        };
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| tables.accept_batch(&batch, &audit),
            move |result| {
                let origin = Arc::new(origin);
                let accepted = Accepted { retried: None, digest, result, operations, targets, origin, reply };
                inbox.put(FromStore::Accepted(Box::new(accepted)));
            },
        );
        Ok(answer)
    }
}

/// Cancel a running batch: panels that were not sent their part yet are failed, and panels whose device has not
/// confirmed everything are waited for no longer. What they have taken stays desired. Answered when their outcomes are
/// durable.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<(), SubmitError>>, SubmitError>")]
pub struct Cancel(pub BatchSeq, pub Origin);

impl Handler<Cancel> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<(), SubmitError>>, SubmitError>;

    fn handle(&mut self, Cancel(seq, origin): Cancel, _: &mut Self::Context) -> Self::Result {
        let Some(id) = self.batches.begin_cancel(seq) else {
            return Err(SubmitError::WrongState(HAS_ENDED));
        };
        let audit = origin.audit("batch.cancel", id);
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_accepted_change(
            move |tables| tables.cancel_batch(seq, &audit),
            move |result| inbox.put(FromStore::Cancelled(seq, reply, result)),
        );
        Ok(answer)
    }
}

impl Coordinator {
    pub(super) fn cancelled(
        &mut self,
        seq: BatchSeq,
        reply: CancelReply,
        result: Result<Cancelled, StoreError>,
    ) {
        let waiter = match result {
            Ok(Cancelled::Now | Cancelled::Before) => Some(self.waiters.for_cancel(reply)),
            Ok(Cancelled::Ended) => {
                let _ = reply.send(Err(SubmitError::WrongState(HAS_ENDED))); // whoever asked may have left
                None
            }
            Err(error) => {
                let _ = reply.send(Err(error.into())); // whoever asked may have left
                None
            }
        };
        self.batches.cancelled(seq, waiter, self.now, &mut self.effects);
    }
}

/// Send a batch again to the panels where it was not applied; of one that only waits for devices, these are tried now.
/// That is a request of now: it comes after all batches accepted before it.
#[derive(Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>")]
pub struct Retry(pub BatchSeq, pub Origin);

impl Handler<Retry> for Coordinator {
    type Result = Result<oneshot::Receiver<Result<Submitted, SubmitError>>, SubmitError>;

    fn handle(&mut self, Retry(seq, origin): Retry, _: &mut Self::Context) -> Self::Result {
        let running = self.batches.begin_retry(seq, &mut self.effects);
        self.carry_out_effects();
        if let Some(id) = running.map_err(|StillSent| SubmitError::WrongState(STILL_SENT))? {
            return Ok(self.retry_running(seq, origin.audit("batch.retry", id)));
        }
        let snapshot = self.store.read()?;
        let work = snapshot.batch_work(seq)?.ok_or(SubmitError::NoSuchBatch)?;
        let operations = Arc::new(work::decode(&work)?);
        let id = snapshot.batch(seq)?.ok_or(SubmitError::NoSuchBatch)?.id;
        let targets = snapshot.batch_targets(seq)?;
        let origin = Arc::new(origin);
        let audit = origin.audit("batch.retry", id);
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        let named = Arc::clone(&operations);
        self.batches.begin_again(seq);
        self.store.submit_change(
            move |tables| tables.retry_ended_batch(seq, &named, &audit),
            move |result| {
                let accepted =
                    Accepted { retried: Some(seq), digest: None, result, operations, targets, origin, reply };
                inbox.put(FromStore::Accepted(Box::new(accepted)));
            },
        );
        Ok(answer)
    }
}

impl Coordinator {
    /// Sends a batch that only waits for devices again to the panels that have come to another outcome than applied.
    fn retry_running(
        &self,
        seq: BatchSeq,
        audit: AuditRecord,
    ) -> oneshot::Receiver<Result<Submitted, SubmitError>> {
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.store.submit_change(
            move |tables| tables.retry_running_batch(seq, &audit),
            move |result| inbox.put(FromStore::Retried(seq, reply, result)),
        );
        answer
    }

    pub(super) fn retried(&mut self, seq: BatchSeq, reply: AgainReply, result: Result<Retried, StoreError>) {
        let outcomes = match result {
            Ok(Retried::Again(outcomes)) => Ok(outcomes),
            Ok(Retried::Gone) => Err(SubmitError::WrongState(HAS_ENDED)),
            Ok(Retried::Cancelled) => Err(SubmitError::WrongState(IS_CANCELLED)),
            Err(error) => Err(error.into()),
        };
        let answer = match outcomes {
            Ok(outcomes) => {
                let (waiter, done) = self.waiters.for_end();
                let again = Some((outcomes.as_slice(), waiter));
                let id = self.batches.retried(seq, again, self.now, &mut self.effects);
                id.map(|id| Submitted { seq, id, fresh: true, done })
                    .ok_or(SubmitError::WrongState(HAS_ENDED))
            }
            Err(error) => {
                self.batches.retried(seq, None, self.now, &mut self.effects);
                Err(error)
            }
        };
        let _ = reply.send(answer); // whoever asked may have left
    }
}
