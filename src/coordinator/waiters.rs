//! Who waits for what the model tells. The model knows them by number.

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::batches::CancelReply;
use super::model::Waiter;

/// For what somebody waits.
enum Waits {
    /// That every panel of a batch has an outcome.
    ForEnd(oneshot::Sender<()>),
    /// That a batch is cancelled.
    ForCancel(CancelReply),
}

/// Those who wait.
#[derive(Default)]
pub struct Waiters {
    waiting: FxHashMap<Waiter, Waits>,
    next: Waiter,
}

impl Waiters {
    /// Somebody new who waits for a batch's end, and where that is heard.
    pub fn for_end(&mut self) -> (Waiter, oneshot::Receiver<()>) {
        let (ended, end) = oneshot::channel();
        (self.add(Waits::ForEnd(ended)), end)
    }

    /// This one waits for a batch to be cancelled.
    pub fn for_cancel(&mut self, reply: CancelReply) -> Waiter {
        self.add(Waits::ForCancel(reply))
    }

    fn add(&mut self, waits: Waits) -> Waiter {
        let waiter = self.next;
        self.next += 1;
        self.waiting.insert(waiter, waits);
        waiter
    }

    /// Tells one who waits, who may have left.
    pub fn tell_waiter(&mut self, waiter: Waiter) {
        match self.waiting.remove(&waiter) {
            Some(Waits::ForEnd(end)) => _ = end.send(()),
            Some(Waits::ForCancel(reply)) => _ = reply.send(Ok(())),
            None => {}
        }
    }
}

impl Drop for Waiters {
    /// The server stops. Who waits for a cancellation is told of it all the same: it is durable, and what it settles
    /// follows from it.
    fn drop(&mut self) {
        for (_, waits) in self.waiting.drain() {
            if let Waits::ForCancel(reply) = waits {
                let _ = reply.send(Ok(())); // whoever asked may have left
            }
        }
    }
}
