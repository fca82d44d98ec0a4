//! Telling the model what the store and the panels told, and carrying out what follows.

use std::sync::Arc;

use super::Coordinator;
use super::events::What;
use super::fleet::tell_panel;
use super::inbox::FromStore;
use super::model::{Effect, End, Landing, Refused, Settling, Waiter};
use crate::batch::{BatchRecord, Outcome};
use crate::panel::{Attend, Landed};
use crate::store::{BatchSeq, PanelNo, StoreError};

/// What is said here is of the coordinator: logs are read, and filtered, by that.
const LOGGED_AS: &str = "panelsync::coordinator";

/// Room for effects that is kept between letters; more of it is given back.
const ROOM: usize = 1024;

impl Coordinator {
    pub(super) fn landed(&mut self, landed: &Landed) {
        let Landed { batch: seq, panel, outcome, result, sent, first, noted } = landed;
        let result = match result {
            Ok(()) => Ok(&**outcome),
            Err(error) => Err(self.refused(error)),
        };
        let landing = Landing { seq: *seq, panel: *panel, first: *first, noted: *noted, result };
        if self.batches.landed(landing, self.now, &mut self.effects) {
            self.metrics.panel_done(outcome.state, self.now.at.saturating_duration_since(*sent));
        }
    }

    pub(super) fn settled(
        &mut self,
        settling: &Arc<Settling>,
        waiter: Option<Waiter>,
        result: Result<Vec<(PanelNo, Outcome)>, StoreError>,
    ) {
        let result = result.map_err(|error| self.refused(&error));
        if let Err(Refused::OfOnePlace(error)) = &result {
            tracing::error!(target: LOGGED_AS, { batch.number = settling.seq, %error }, "outcomes could not be recorded");
        }
        self.batches.settled(settling, waiter, result, self.now, &mut self.effects);
    }

    pub(super) fn end_recorded(&mut self, seq: BatchSeq, result: Result<(), StoreError>) {
        let result = result.map_err(|error| self.refused(&error));
        if let Err(Refused::OfOnePlace(error)) = &result {
            tracing::error!(target: LOGGED_AS, { batch.number = seq, %error }, "a batch's end could not be recorded");
        }
        self.batches.end_recorded(seq, result, self.now, &mut self.effects);
    }

    /// What it means that the store refused something.
    fn refused(&self, error: &StoreError) -> Refused {
        match error {
            StoreError::NoSuchPanel => Refused::PanelGone,
            error if error.is_of_one_place() => Refused::OfOnePlace(error.to_string().into()),
            StoreError::Failed | StoreError::NoRoom | StoreError::Gone
                if !self.recovering && self.store.takes_work() =>
            {
                Refused::InPassing
            }
            _ => Refused::Down,
        }
    }

    /// Carries out what follows from what the model was told.
    pub(super) fn carry_out_effects(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        effects.shrink_to(ROOM);
        self.effects = effects; // nothing was added: what is carried out comes back through the inbox
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Panel { seq, panel, outcome, attempts, error } => {
                self.push_event(Some(seq), What::Panel { panel, outcome, attempts, error });
            }
            Effect::Progress(seq, report) => self.push_event(Some(seq), What::Progress(*report)),
            Effect::End(end) => self.tell_end(&end),
            Effect::Tell(waiter) => {
                self.publish_register();
                self.waiters.tell_waiter(waiter);
            }
            Effect::Settle(settling, waiter) => self.settle(settling, waiter),
            Effect::RecordEnd(seq, record) => self.record_end(seq, record),
            Effect::Touch(panel) => self.register.touch(panel),
            Effect::TryNow(panel) => {
                if let Some(entry) = self.register.by_number(panel) {
                    tell_panel(entry, Attend::TryNow);
                }
            }
            Effect::Forget(seq, panel) => {
                let entry = self.register.by_number(panel);
                if let Some(entry) = entry.filter(|entry| entry.settings.is_device()) {
                    tell_panel(entry, Attend::Forget(seq, self.now.at));
                }
            }
        }
    }

    fn tell_end(&mut self, end: &End) {
        let panels = end.report.panels;
        end.origin.span.in_scope(|| {
            tracing::info!(
                target: LOGGED_AS,
                {
                    panels.total = panels.total,
                    panels.applied = panels.applied,
                    duration_ms = end.took.as_millis() as u64
                },
                "every panel of the batch has an outcome"
            );
        });
        self.metrics.batch_done(end.took);
        self.push_event(Some(end.seq), What::Progress(end.report));
        self.push_event(Some(end.seq), What::Done(end.state, end.report));
    }

    /// Makes outcomes durable that are decided here. Where the store has another one by then, that one counts.
    fn settle(&self, settling: Arc<Settling>, waiter: Option<Waiter>) {
        let inbox = self.inbox.clone();
        let asked = Arc::clone(&settling);
        self.store.submit_accepted_change(
            move |tables| tables.settle_outcomes(asked.seq, &asked.panels, |taken| asked.why.words(taken)),
            move |result| inbox.put(FromStore::Settled(settling, waiter, result)),
        );
    }

    fn record_end(&self, seq: BatchSeq, record: Box<BatchRecord>) {
        let inbox = self.inbox.clone();
        self.store.submit_accepted_change(
            move |tables| tables.set_batch(seq, &record),
            move |result| inbox.put(FromStore::EndRecorded(seq, result)),
        );
    }

    /// To be called before anybody is told what follows from the register.
    pub(super) fn publish_register(&self) {
        self.readers.publish(&self.register);
    }

    /// Adds an event for listeners. They find a full chunk at once, and so what it follows from.
    pub(super) fn push_event(&mut self, batch: Option<BatchSeq>, what: What) {
        if self.events.push(batch, what) {
            self.publish_register();
            self.events.publish();
        }
    }

    /// Publishes what has changed, and wakes those who listen.
    pub(super) fn wake_listeners(&mut self) {
        self.publish_register();
        self.events.wake();
    }

    /// Tells those who wait for it that nothing is under way any more.
    pub(super) fn tell_drained(&mut self) {
        if !self.draining.is_empty() && self.batches.only_wait() {
            for drained in self.draining.drain(..) {
                let _ = drained.send(()); // the server is stopping either way
            }
        }
    }
}
