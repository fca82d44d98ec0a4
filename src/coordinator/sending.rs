//! Sending batches' parts to their panels: in panel order, a slice at a time in turn with other batches, and never
//! past an earlier batch for the same panel.

use std::sync::Arc;

use actix::prelude::*;

use super::running::Part;
use super::{Coordinator, SLICE};
use crate::panel;
use crate::store::{BatchSeq, PanelNo};

/// Parts of batches on their way at once. Enough to fill several commits, also on a disk whose syncs take long; beyond,
/// a fan-out only queues.
pub const WINDOW: usize = 32_768;

/// A batch for at most so many panels does not wait for the window, so that it passes a large one.
const SMALL_BATCH: usize = 64;

/// Parts of one batch sent before the next batch gets its turn within a slice.
const TURN: usize = 64;

/// What a panel's part comes to that is not there any more.
pub(super) const WAS_REMOVED: &str = "the panel was removed; add it again and send the batch anew";

/// What became of sending a part.
enum Sending {
    /// It is on its way, or its panel is gone and that is being recorded.
    Gone,
    /// The panel's mailbox is full: let it have its turn.
    Full,
}

impl Coordinator {
    /// Sends parts until all are sent or the window is full, a slice at a time.
    pub(super) fn send_parts(&mut self, ctx: &mut Context<Self>) {
        if self.sending || self.recovering {
            return; // a task that goes on is there already, or the store takes nothing
        }
        if self.send_slice() {
            self.sending = true;
            let pause = tokio::task::yield_now().into_actor(self);
            ctx.spawn(pause.map(|(), this, ctx| {
                this.sending = false;
                this.send_parts(ctx);
            }));
        }
    }

    /// Sends at most [`SLICE`] parts; says whether there is more that can be sent now.
    fn send_slice(&mut self) -> bool {
        let mut budget = SLICE;
        loop {
            let mut sent_any = false;
            for seq in self.batches.queued() {
                for _ in 0..TURN {
                    if budget == 0 {
                        return true;
                    }
                    let Some(panel) = self.next_to_send(seq) else { break };
                    if matches!(self.send_in_order(seq, panel), Sending::Full) {
                        return true;
                    }
                    budget -= 1;
                    sent_any = true;
                }
            }
            if !sent_any {
                return false;
            }
        }
    }

    /// The panel that is to be sent its part of this batch next, where the window lets it.
    fn next_to_send(&mut self, seq: BatchSeq) -> Option<PanelNo> {
        let window_full = self.batches.in_flight() >= WINDOW;
        let next = self.batches.change(seq, |running| {
            let waits = window_full && running.targets() > SMALL_BATCH;
            if waits { None } else { running.next_queued() }
        });
        next.flatten()
    }

    /// Sends a panel that waits for its part of this batch its parts of all batches up to it, in the order of
    /// acceptance.
    fn send_in_order(&mut self, seq: BatchSeq, panel: PanelNo) -> Sending {
        for earlier in self.batches.queued_before(seq, panel) {
            if matches!(self.send_part(earlier, panel), Sending::Full) {
                return Sending::Full;
            }
        }
        self.send_part(seq, panel)
    }

    /// Sends a panel its part of this batch, for which it waits.
    fn send_part(&mut self, seq: BatchSeq, panel: PanelNo) -> Sending {
        let Some(entry) = self.register.by_number(panel) else {
            self.settle_failed(seq, panel, WAS_REMOVED, 1);
            return Sending::Gone;
        };
        let (zone, address) = (&entry.settings.zone, &entry.address);
        let tell = Arc::clone(&self.tell_landed);
        let sent = self.batches.change(seq, |running| {
            let attempt = running.attempts(panel).saturating_add(1);
            let part = panel::Apply {
                work: panel::Work::Batch(seq, attempt, running.zoned(zone)),
                origin: Arc::clone(&running.origin),
                reply: panel::Reply::Batch(tell),
            };
            let sent = address.try_send(part);
            if sent.is_ok() {
                running.now(panel, Part::Sent);
            }
            sent
        });
        match sent {
            Some(Err(SendError::Full(_))) => Sending::Full,
            Some(Err(SendError::Closed(_))) => {
                // Its actor stops when it was removed, and for no other reason.
                self.settle_failed(seq, panel, WAS_REMOVED, 1);
                Sending::Gone
            }
            Some(Ok(())) | None => Sending::Gone,
        }
    }
}
