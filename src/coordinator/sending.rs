//! Sending batches' parts to their panels: in panel order, a slice at a time in turn with other batches, and never
//! past an earlier batch for the same panel.

use std::sync::Arc;

use actix::prelude::*;

use super::{Coordinator, SLICE};
use crate::panel;
use crate::store::{BatchSeq, PanelNo};

/// Parts of one batch sent before the next batch gets its turn within a slice.
const TURN: usize = 64;

/// The panel's mailbox is full: let it have its turn.
struct Full;

impl Coordinator {
    /// Sends parts until all are sent or the window is full, a slice at a time.
    pub(super) fn send_parts(&mut self, ctx: &mut Context<Self>) {
        if self.sending || self.recovering {
            return; // a task that goes on is there already, or the store takes nothing
        }
        let more = self.send_slice();
        self.carry_out_effects();
        if more {
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
                    // Of this batch, or of an earlier one for the same panel.
                    let Some((seq, panel)) = self.batches.next_to_send(seq) else { break };
                    if self.send_part(seq, panel).is_err() {
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

    /// Sends a panel its part of this batch, for which it waits.
    fn send_part(&mut self, seq: BatchSeq, panel: PanelNo) -> Result<(), Full> {
        let Some(entry) = self.register.by_number(panel) else {
            self.batches.panel_gone(seq, panel, &mut self.effects);
            return Ok(());
        };
        let tell = Arc::clone(&self.tell_landed);
        let sent = self.batches.send_part(seq, panel, |running| {
            let attempt = running.attempts(panel).saturating_add(1);
            entry.address.try_send(panel::Apply {
                work: panel::Work::Batch(seq, attempt, running.zoned(&entry.settings.zone)),
                origin: Arc::clone(&running.origin),
                reply: panel::Reply::Batch(tell),
            })
        });
        match sent {
            Ok(()) => Ok(()),
            Err(SendError::Full(_)) => Err(Full),
            // Its actor stops when it was removed, and for no other reason.
            Err(SendError::Closed(_)) => {
                self.batches.panel_gone(seq, panel, &mut self.effects);
                Ok(())
            }
        }
    }
}
