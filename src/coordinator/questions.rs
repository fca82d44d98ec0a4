//! What the coordinator is asked about batches, events and devices.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Coordinator;
use super::events::Feed;
use super::fleet::tell_panel;
use super::running::Running;
use crate::batch::BatchRecord;
use crate::panel::Attend;
use crate::store::BatchSeq;

/// The current record of a batch that runs, or whose end is not recorded yet; `None` of any other.
#[derive(Message)]
#[rtype(result = "Option<BatchRecord>")]
pub struct Progress(pub BatchSeq);

impl Handler<Progress> for Coordinator {
    type Result = Option<BatchRecord>;

    fn handle(&mut self, Progress(seq): Progress, _: &mut Self::Context) -> Self::Result {
        self.batches.get(seq).map(Running::record_now)
    }
}

/// Where events are found. Whoever has it finds all that happened before this was asked.
#[derive(Message)]
#[rtype(result = "Arc<Feed>")]
pub struct Subscribe;

impl Handler<Subscribe> for Coordinator {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, _: Subscribe, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.events.feed())
    }
}

/// End the sessions on all devices. Each gives a sign when its own is ended.
#[derive(Message)]
#[rtype(result = "Vec<oneshot::Receiver<()>>")]
pub struct CloseDevices;

impl Handler<CloseDevices> for Coordinator {
    type Result = Vec<oneshot::Receiver<()>>;

    fn handle(&mut self, _: CloseDevices, _: &mut Self::Context) -> Self::Result {
        let panels = self.register.select(None, None);
        panels
            .filter(|panel| panel.settings.is_device())
            .map(|panel| {
                let (done, closed) = oneshot::channel();
                tell_panel(panel, Attend::Close(done));
                closed
            })
            .collect()
    }
}

/// Resolves when nothing is under way but what devices have to confirm.
#[derive(Message)]
#[rtype(result = "oneshot::Receiver<()>")]
pub struct Drain;

impl Handler<Drain> for Coordinator {
    type Result = MessageResult<Drain>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let (drained, wait) = oneshot::channel();
        self.draining.push(drained);
        self.tell_drained();
        MessageResult(wait)
    }
}
