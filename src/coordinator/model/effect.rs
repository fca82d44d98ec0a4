//! What the model is told, and what it says follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::report::Report;
use crate::batch::{BatchRecord, BatchState, Outcome, PanelState};
use crate::panel::Origin;
use crate::store::{BatchSeq, PanelNo};

/// Somebody who waits. The model knows a number.
pub type Waiter = u64;

/// A moment, for durations and for records.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the clock that only goes forward.
    pub at: Instant,
    /// In Unix milliseconds.
    pub ms: i64,
}

/// What follows.
#[derive(Debug)]
pub enum Effect {
    /// Tell listeners that a panel has an outcome.
    Panel {
        /// In which batch.
        seq: BatchSeq,
        /// Which panel.
        panel: PanelNo,
        /// Its state in the batch.
        outcome: PanelState,
        /// How often it was tried.
        attempts: u16,
        /// Why it failed.
        error: Option<Box<str>>,
    },
    /// Tell listeners how far a batch is.
    Progress(BatchSeq, Box<Report>),
    /// Tell listeners that every panel of a batch has a durable outcome.
    End(Box<End>),
    /// Tell this one that what it waits for is durable.
    Tell(Waiter),
    /// Commit these outcomes, and tell [`super::Batches::settled`] what came of it.
    Settle(Arc<Settling>, Option<Waiter>),
    /// Commit a batch's record at its end, and tell [`super::Batches::end_recorded`] what came of it.
    RecordEnd(BatchSeq, Box<BatchRecord>),
    /// What is known of a panel's device has changed.
    Touch(PanelNo),
    /// Have a panel's device tried now.
    TryNow(PanelNo),
    /// Have a panel not wait for its device any more on behalf of a batch.
    Forget(BatchSeq, PanelNo),
}

/// A batch of which every panel has a durable outcome.
#[derive(Debug)]
pub struct End {
    /// Which batch.
    pub seq: BatchSeq,
    /// Done or cancelled.
    pub state: BatchState,
    /// What it came to.
    pub report: Report,
    /// Since it was accepted, or taken up.
    pub took: Duration,
    /// Who asked for it.
    pub origin: Arc<Origin>,
}

/// Outcomes that are decided here rather than by panels.
#[derive(Debug)]
pub struct Settling {
    /// Of which batch.
    pub seq: BatchSeq,
    /// Ascending, each with its attempts by then.
    pub panels: Vec<(PanelNo, u16)>,
    /// What they are.
    pub why: Why,
}

/// Why an outcome is decided here.
#[derive(Debug)]
pub enum Why {
    /// The batch was cancelled. What a panel has taken by then, its device gets all the same.
    Cancelled,
    /// A failure, with what to do.
    Failed(Box<str>),
}

impl Why {
    /// As an outcome says it. `taken` says whether the panel has taken its part.
    pub fn words(&self, taken: bool) -> &str {
        match self {
            Self::Cancelled if taken => {
                "cancelled before its device had confirmed it; what was asked for stays desired and will be delivered: send another batch to change that"
            }
            Self::Cancelled => "cancelled before it was sent; retry the batch to send it",
            Self::Failed(why) => why,
        }
    }
}

/// Why something was not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The panel is not there any more.
    PanelGone,
    /// Something in the database cannot be read, in these words; other work is not concerned.
    OfOnePlace(Box<str>),
    /// The store had failed, and takes work again by now: nobody will come back to what it refused.
    InPassing,
    /// The store has failed. What it holds is looked at when it is there again ([`super::Batches::stored`]).
    Down,
}

/// A panel's part is through the store.
#[derive(Debug)]
pub struct Landing<'l> {
    /// Of which batch.
    pub seq: BatchSeq,
    /// On which panel.
    pub panel: PanelNo,
    /// Whether this is the answer to the part itself; what a device confirms later is a second one.
    pub first: bool,
    /// Whether what the panel refuses is other than before.
    pub noted: bool,
    /// What came of it.
    pub result: Result<&'l Outcome, Refused>,
}

/// The batch is not in a state to be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StillSent;
