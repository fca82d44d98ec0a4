//! All running batches: what happens to them, and what follows from it. A pure model: nothing here sends, stores, waits or
//! looks at a clock. Whoever tells it what happened is given [`Effect`]s, and has them carried out in their order.
//!
//! A command asks the store for a change first; the model is told when that is committed, in the order of the commits.
//! What it decides itself (outcomes of cancelled parts, ends) is an effect that asks for a commit, and counts when that is
//! told. So nobody is told anything before it is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

use super::running::{Part, Running};
use crate::batch::{BatchState, Outcome, PanelState};
use crate::store::{BatchSeq, PanelNo};

#[cfg(test)]
mod derived;
pub mod effect;
#[cfg(test)]
mod laws;
mod recovery;

pub use effect::{Effect, End, Landing, Moment, Refused, Settling, StillSent, Waiter, Why};

/// At most ten progress events a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Parts of batches on their way at once. Enough to fill several commits, also on a disk whose syncs take long; beyond,
/// a fan-out only queues.
pub const WINDOW: usize = 32_768;

/// A batch for at most so many panels does not wait for the window, so that it passes a large one.
const SMALL_BATCH: usize = 64;

/// What a panel's part comes to that is not there any more.
const WAS_REMOVED: &str = "the panel was removed; add it again and send the batch anew";

/// What it comes to when its device was waited for.
const REMOVED_WHILE_WAITING: &str = "the panel was removed before its device had confirmed everything";

/// All running batches, in the order of acceptance.
#[derive(Default)]
pub struct Batches {
    running: BTreeMap<u64, Running>,
    orders: FxHashMap<BatchSeq, u64>,
    next_order: u64,
    /// Those with parts to send.
    queued: BTreeSet<u64>,
    /// Parts on their way.
    in_flight: usize,
    /// Batches whose record is being changed by so many commands: they do not end meanwhile.
    changing: FxHashMap<BatchSeq, usize>,
    /// Ended batches whose retry is on its way to the store.
    retrying: FxHashSet<BatchSeq>,
}

/// What is asked.
impl Batches {
    /// Whether it runs.
    pub fn contains(&self, seq: BatchSeq) -> bool {
        self.orders.contains_key(&seq)
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// A batch that runs.
    pub fn get(&self, seq: BatchSeq) -> Option<&Running> {
        self.running.get(self.orders.get(&seq)?)
    }

    /// All, in the order of acceptance.
    pub fn all(&self) -> impl Iterator<Item = &Running> {
        self.running.values()
    }

    /// Their numbers, in the order of acceptance.
    pub fn numbers(&self) -> Vec<BatchSeq> {
        self.all().map(|running| running.seq).collect()
    }

    /// Parts on their way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Those with parts to send, in the order of acceptance.
    pub fn queued(&self) -> Vec<BatchSeq> {
        self.queued.iter().filter_map(|order| Some(self.running.get(order)?.seq)).collect()
    }

    /// Whether nothing is under way but what devices have to confirm.
    pub fn only_wait(&self) -> bool {
        self.all().all(Running::only_waits)
    }

    /// Whether a retry of this batch is on its way to the store.
    pub fn is_retried(&self, seq: BatchSeq) -> bool {
        self.retrying.contains(&seq)
    }
}

/// Sending.
impl Batches {
    /// The part that is to be sent next for this batch, where the window lets it: the batch's own next one, or that of an
    /// earlier batch for the same panel, which comes before it.
    pub fn next_to_send(&mut self, seq: BatchSeq) -> Option<(BatchSeq, PanelNo)> {
        let window_full = self.in_flight >= WINDOW;
        let order = *self.orders.get(&seq)?;
        let running = self.running.get_mut(&order)?;
        if window_full && running.targets() > SMALL_BATCH {
            return None;
        }
        let panel = running.next_queued()?;
        let mut earlier = self.queued.range(..order).filter_map(|order| self.running.get(order));
        let earlier = earlier.find(|running| running.part(panel) == Some(Part::Queued));
        Some((earlier.map_or(seq, |running| running.seq), panel))
    }

    /// Sends a part that [`Batches::next_to_send`] gave. It is on its way where that went well.
    pub fn send_part<E>(
        &mut self,
        seq: BatchSeq,
        panel: PanelNo,
        send: impl FnOnce(&mut Running) -> Result<(), E>,
    ) -> Result<(), E> {
        let sent = self.change(seq, |running| {
            let sent = send(running);
            if sent.is_ok() {
                running.now(panel, Part::Sent);
            }
            sent
        });
        sent.unwrap_or(Ok(()))
    }

    /// The panel of a part to send is not there any more.
    pub fn panel_gone(&mut self, seq: BatchSeq, panel: PanelNo, effects: &mut Vec<Effect>) {
        self.fail_part(seq, panel, WAS_REMOVED, 1, effects);
    }
}

/// What happens.
impl Batches {
    /// A batch that is durable runs from now on, behind all others; be it accepted, retried, or taken up.
    pub fn accepted(&mut self, running: Running, now: Moment, effects: &mut Vec<Effect>) {
        let (seq, cancelled) = (running.seq, running.record.cancelled);
        self.begin(running);
        if cancelled {
            self.settle_cancelled(seq, None, effects);
        }
        self.end_if_complete(seq, now, effects);
    }

    /// Somebody waits for the last outcome of a batch.
    pub fn await_end(&mut self, seq: BatchSeq, waiter: Waiter, effects: &mut Vec<Effect>) {
        let runs = self.get(seq).is_some_and(|running| !running.complete());
        if runs {
            self.change(seq, |running| running.waiters.push(waiter));
        } else {
            effects.push(Effect::Tell(waiter));
        }
    }

    /// A part is through the store. Says whether it has come to its outcome.
    pub fn landed(&mut self, landing: Landing<'_>, now: Moment, effects: &mut Vec<Effect>) -> bool {
        let Landing { seq, panel, first, noted, result } = landing;
        // What a device confirms is told after the panel's own answer, and may come after the batch was cancelled, or
        // sent again: then the store has been asked for the outcome that counts.
        let expected = if first { Part::Sent } else { Part::Waits };
        if self.get(seq).and_then(|running| running.part(panel)) != Some(expected) {
            return false;
        }
        match result {
            Ok(outcome) if outcome.state == PanelState::Pending => {
                effects.push(Effect::Touch(panel));
                let cancelled = self.change(seq, |running| {
                    running.now(panel, Part::Waits);
                    running.record.cancelled
                });
                if cancelled == Some(true) {
                    self.settle_cancelled(seq, None, effects); // it was on its way when the batch was cancelled
                }
            }
            Ok(outcome) => {
                if !first || noted {
                    effects.push(Effect::Touch(panel)); // its device has confirmed, or what it refuses has changed
                }
                self.count_outcome(seq, panel, outcome, now, effects);
                return true;
            }
            Err(Refused::PanelGone) => self.fail_part(seq, panel, WAS_REMOVED, 1, effects),
            Err(Refused::OfOnePlace(why)) => self.fail_part(seq, panel, why, 1, effects),
            // It is sent again when the store has recovered, or at the next start.
            Err(Refused::InPassing | Refused::Down) => {
                self.change(seq, |running| running.now(panel, Part::Lost));
            }
        }
        false
    }

    /// Outcomes that were decided here are durable as they came out, or not.
    pub fn settled(
        &mut self,
        settling: &Arc<Settling>,
        waiter: Option<Waiter>,
        result: Result<Vec<(PanelNo, Outcome)>, Refused>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let outcomes = match result {
            Ok(outcomes) => outcomes,
            Err(Refused::InPassing) => {
                return effects.push(Effect::Settle(Arc::clone(settling), waiter));
            }
            // The batch ends all the same; the next start tries to write this down again.
            Err(Refused::OfOnePlace(why)) => {
                let panels = settling.panels.iter();
                panels.map(|(panel, attempts)| (*panel, Outcome::failed(why.clone(), *attempts))).collect()
            }
            // They are settled again when the store has recovered, or at the next start.
            Err(Refused::PanelGone | Refused::Down) => Vec::new(),
        };
        for (panel, outcome) in &outcomes {
            self.count_outcome(settling.seq, *panel, outcome, now, effects);
            effects.push(Effect::Forget(settling.seq, *panel));
        }
        effects.extend(waiter.map(Effect::Tell)); // what was asked for is durable, and this follows from it
    }

    /// A cancellation is on its way to the store: gives the id of the batch, which does not end before
    /// [`Batches::cancelled`]. Nothing where it has ended.
    pub fn begin_cancel(&mut self, seq: BatchSeq) -> Option<Uuid> {
        let id = self.get(seq).filter(|running| !running.complete())?.record.id;
        self.hold(seq);
        Some(id)
    }

    /// A batch is cancelled, which somebody waits for; or it is not, and nobody does. What it has not sent, and what waits
    /// for a device, comes to a failure.
    pub fn cancelled(
        &mut self,
        seq: BatchSeq,
        waiter: Option<Waiter>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if waiter.is_some() {
            self.settle_cancelled(seq, waiter, effects);
        }
        self.release(seq, now, effects);
    }

    /// A retry is asked for. Of a batch that only waits for devices, has them tried now and gives its id: it does not end
    /// before [`Batches::retried`]. Gives nothing for a batch that has ended.
    pub fn begin_retry(
        &mut self,
        seq: BatchSeq,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<Uuid>, StillSent> {
        if self.retrying.contains(&seq) {
            return Err(StillSent);
        }
        let Some(running) = self.get(seq).filter(|running| !running.complete()) else { return Ok(None) };
        if !running.only_waits() || running.record.cancelled || self.changing.contains_key(&seq) {
            return Err(StillSent);
        }
        let id = running.record.id;
        effects.extend(running.panels(Part::Waits).into_iter().map(Effect::TryNow));
        self.hold(seq);
        Ok(Some(id))
    }

    /// The retry of a batch that waits for devices is durable: panels that had these outcomes are to be sent their part
    /// again, and somebody waits for the end. Or it is not. Gives the id of the batch, if it runs.
    pub fn retried(
        &mut self,
        seq: BatchSeq,
        again: Option<(&[(PanelNo, Outcome)], Waiter)>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Option<Uuid> {
        let id = self.change(seq, |running| {
            for (panel, outcome) in again.map_or(&[][..], |(outcomes, _)| outcomes) {
                running.again(*panel, outcome);
            }
            running.record.id
        });
        if let Some((_, waiter)) = again {
            self.await_end(seq, waiter, effects);
        }
        self.release(seq, now, effects);
        id
    }

    /// The retry of a batch that has ended is on its way to the store.
    pub fn begin_again(&mut self, seq: BatchSeq) {
        self.retrying.insert(seq);
    }

    /// It is through; where it is durable, the batch is told to have been [`Batches::accepted`] next.
    pub fn begun_again(&mut self, seq: BatchSeq) {
        self.retrying.remove(&seq);
    }

    /// A panel is gone: batches that waited for its device wait no longer.
    pub fn panel_removed(&mut self, panel: PanelNo, effects: &mut Vec<Effect>) {
        let waiting = self.all().filter(|running| running.part(panel) == Some(Part::Waits));
        for seq in waiting.map(|running| running.seq).collect::<Vec<_>>() {
            self.fail_part(seq, panel, REMOVED_WHILE_WAITING, 0, effects);
        }
    }

    /// A batch's end is durable, or not.
    pub fn end_recorded(
        &mut self,
        seq: BatchSeq,
        result: Result<(), Refused>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            Ok(()) | Err(Refused::OfOnePlace(_)) => _ = self.drop_batch(seq),
            Err(Refused::InPassing) => {
                self.change(seq, |running| running.ending = false);
                self.end_if_complete(seq, now, effects);
            }
            // The outcomes are durable; its end is recorded when the store has recovered, or at the next start.
            Err(Refused::PanelGone | Refused::Down) => {}
        }
    }
}

impl Batches {
    fn begin(&mut self, running: Running) {
        let (order, seq) = (self.next_order, running.seq);
        self.next_order += 1;
        self.orders.insert(seq, order);
        self.in_flight += running.count(Part::Sent);
        if running.count(Part::Queued) > 0 {
            self.queued.insert(order);
        }
        self.running.insert(order, running);
    }

    /// Changes a batch, if it runs. Everything changes it through here, which keeps what is derived from all batches.
    fn change<T>(&mut self, seq: BatchSeq, change: impl FnOnce(&mut Running) -> T) -> Option<T> {
        let order = *self.orders.get(&seq)?;
        let running = self.running.get_mut(&order)?;
        let (sent, queued) = (running.count(Part::Sent), running.count(Part::Queued) > 0);
        let result = change(running);
        self.in_flight = self.in_flight + running.count(Part::Sent) - sent;
        match (queued, running.count(Part::Queued) > 0) {
            (false, true) => _ = self.queued.insert(order),
            (true, false) => _ = self.queued.remove(&order),
            (true, true) | (false, false) => {}
        }
        Some(result)
    }

    fn drop_batch(&mut self, seq: BatchSeq) -> Option<Running> {
        let order = self.orders.remove(&seq)?;
        self.queued.remove(&order);
        let running = self.running.remove(&order)?;
        self.in_flight -= running.count(Part::Sent);
        Some(running)
    }

    /// A panel's outcome is durable: counts it, unless it was counted before.
    fn count_outcome(
        &mut self,
        seq: BatchSeq,
        panel: PanelNo,
        outcome: &Outcome,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let complete = self.change(seq, |running| {
            if !running.done(panel, outcome) {
                return false;
            }
            let (state, attempts, error) = (outcome.state, outcome.attempts, outcome.error.clone());
            effects.push(Effect::Panel { seq, panel, outcome: state, attempts, error });
            if now.at.saturating_duration_since(running.last_progress) >= PROGRESS_EVERY {
                running.last_progress = now.at;
                effects.push(Effect::Progress(seq, Box::new(running.record.report)));
            }
            running.complete()
        });
        if complete == Some(true) {
            self.end_if_complete(seq, now, effects);
        }
    }

    /// A panel comes to a failure in this batch, after so many attempts more than before.
    fn fail_part(
        &mut self,
        seq: BatchSeq,
        panel: PanelNo,
        why: impl Into<Box<str>>,
        attempts: u16,
        effects: &mut Vec<Effect>,
    ) {
        let attempts = self.change(seq, |running| {
            running.now(panel, Part::Settling);
            running.attempts(panel).saturating_add(attempts)
        });
        if let Some(attempts) = attempts {
            let why = Why::Failed(why.into());
            effects
                .push(Effect::Settle(Arc::new(Settling { seq, panels: vec![(panel, attempts)], why }), None));
        }
    }

    /// Of a batch that is cancelled: settles what was not sent, and what waits for a device.
    fn settle_cancelled(&mut self, seq: BatchSeq, waiter: Option<Waiter>, effects: &mut Vec<Effect>) {
        let panels = self.change(seq, |running| {
            let panels = running.cancel();
            panels.into_iter().map(|panel| (panel, running.attempts(panel))).collect::<Vec<_>>()
        });
        let panels = panels.unwrap_or_default();
        if panels.is_empty() {
            effects.extend(waiter.map(Effect::Tell));
        } else {
            effects.push(Effect::Settle(Arc::new(Settling { seq, panels, why: Why::Cancelled }), waiter));
        }
    }

    /// Ends a batch whose last outcome is durable: tells everybody, and has its end recorded.
    fn end_if_complete(&mut self, seq: BatchSeq, now: Moment, effects: &mut Vec<Effect>) {
        if self.changing.contains_key(&seq) {
            return;
        }
        let ended = self.change(seq, |running| {
            if running.ending || !running.complete() {
                return None;
            }
            running.ending = true;
            let news = running.record.state == BatchState::Running;
            if news {
                let took = (now.ms - running.record.created_at_ms).max(0);
                running.record.state =
                    if running.record.cancelled { BatchState::Cancelled } else { BatchState::Done };
                running.record.duration_ms = Some(took.unsigned_abs());
            }
            Some((Box::new(running.record.clone()), news))
        });
        let Some(Some((record, news))) = ended else { return };
        if news {
            self.tell_end(seq, now, effects);
        }
        effects.push(Effect::RecordEnd(seq, record));
    }

    /// Every panel of a batch has a durable outcome: tells everybody.
    fn tell_end(&mut self, seq: BatchSeq, now: Moment, effects: &mut Vec<Effect>) {
        self.change(seq, |running| {
            effects.push(Effect::End(Box::new(End {
                seq,
                state: running.record.state,
                report: running.record.report,
                took: now.at.saturating_duration_since(running.started),
                origin: Arc::clone(&running.origin),
            })));
            effects.extend(running.waiters.drain(..).map(Effect::Tell));
        });
    }

    /// A command begins to change a batch's record.
    fn hold(&mut self, seq: BatchSeq) {
        *self.changing.entry(seq).or_default() += 1;
    }

    /// It is through.
    fn release(&mut self, seq: BatchSeq, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(count) = self.changing.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.changing.remove(&seq);
            }
        }
        self.end_if_complete(seq, now, effects);
    }
}
