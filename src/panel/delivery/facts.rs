//! What comes into a delivery: what is the case, and what a step came to.

use std::time::Instant;

use super::call::Call;
use crate::panel::device::ask::{Clock, Said};
use crate::panel::device::{Held, Trouble};

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For measuring.
    pub at: Instant,
    /// For showing, in Unix milliseconds.
    pub unix_ms: i64,
}

/// What is the case beside the delivery. It is asked only where an answer matters, since most come from the store;
/// `None` is that the store cannot be read.
pub trait Facts {
    /// How many batches wait for the device.
    fn waiting(&self) -> usize;
    /// How many wait for the device to be read.
    fn readers(&self) -> usize;
    /// Whether a call of a panel that was removed is still under way to the same device.
    fn another_leaves(&self) -> bool;
    /// Whether a batch or a person wants the device to be read.
    fn reconcile(&self) -> Option<bool>;
    /// Whether anything is to be delivered.
    fn has_unknown(&self) -> Option<bool>;
    /// Whether deletes are among that.
    fn deletes_wait(&self) -> Option<bool>;
}

/// Why everything is sent to a device again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It holds nothing of what it had confirmed.
    Emptied,
    /// It has another serial number.
    Replaced,
}

/// What a device said, or what was found without asking it.
#[derive(Debug)]
pub enum Answer {
    /// It answers.
    Checked,
    /// It holds nothing of what had been confirmed.
    Lost(Loss),
    /// There was nothing to send.
    Nothing,
    /// It has answered; perhaps not to every item.
    Sent(Call, Vec<Option<Said>>),
    /// It refuses the call as a whole, in these words.
    Refused(Call, Box<str>),
    /// All that it holds, and what it says of its clock, where that is known.
    Read(Held, Option<Clock>),
}

/// What a step has seen of the device beside its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// It says something new of itself.
    pub is_news: bool,
    /// It holds something.
    pub holds: bool,
}

/// How a step ended.
#[derive(Debug)]
pub enum Ended {
    /// Well.
    Well {
        /// With this.
        answer: Answer,
        /// By the way.
        seen: Seen,
    },
    /// In vain.
    Failed(Trouble),
    /// The device answers well to this call, and says in these words that it failed.
    SaidError {
        /// The call.
        call: Call,
        /// The words.
        words: Box<str>,
        /// By the way.
        seen: Seen,
    },
    /// The store could not be read.
    StoreFailed,
    /// It was the last one, and was cut off.
    Cut,
}
