//! What comes out of a delivery: what is to be done.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::call::Call;
use super::facts::Loss;
use crate::batch::item::ItemId;
use crate::panel::device::ask::{Clock, Said};
use crate::panel::device::{Held, Trouble};

/// What a step is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Send the next call.
    Deliver,
    /// Read all that the device holds.
    Read,
    /// See whether it answers.
    Check,
}

/// A step to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What for.
    pub task: Task,
    /// Items of a call at most.
    pub limit: usize,
    /// Upserts that come after all else.
    pub held_back: HashSet<ItemId>,
    /// Whether all was sent to the device before, since it had lost that.
    pub emptied: bool,
    /// Whether the device counts as offline.
    pub away: bool,
}

/// What is to be written.
#[derive(Debug)]
pub enum Record {
    /// What a device answered.
    Confirmed {
        /// To what.
        call: Call,
        /// Of each item, where it said anything.
        said: Vec<Option<Said>>,
        /// Answers that are not taken as final.
        ignored: HashSet<ItemId>,
    },
    /// What it holds, to be compared with what is desired.
    Compared {
        /// All that it holds.
        held: Held,
        /// What it says of its clock, where that is known.
        clock: Option<Clock>,
        /// Whether everything was sent to it again before, since it held nothing.
        emptied: bool,
    },
    /// Everything is to be sent again.
    StartedOver,
    /// What the device says of itself.
    Met,
    /// So many batches, the oldest ones, wait no longer.
    GivenUp {
        /// What they are told.
        why: Box<str>,
        /// How many.
        batches: usize,
    },
}

/// What there is to say in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A panel that was offline answers again.
    Back {
        /// So many times it had failed.
        failures: u32,
    },
    /// A panel went offline with this.
    Offline(Trouble),
    /// From now on a person is needed.
    NeedsPerson(Trouble),
    /// A call failed and is made again after a pause.
    Failed(Trouble, Duration),
    /// Everything is sent again.
    StartsOver(Loss),
}

/// Something to be done. Of [`Effect::Step`], [`Effect::Record`], [`Effect::Wait`], [`Effect::LookAgain`] and
/// [`Effect::Close`] there is one, and it comes last.
#[derive(Debug)]
pub enum Effect {
    /// Do this step, and say how it [ended](super::Delivery::ended).
    Step(Step),
    /// Write this, and say that it is [recorded](super::Delivery::recorded), or that it [is not](super::Delivery::not_recorded).
    Record(Record),
    /// Ask for the [next](super::Delivery::next) thing at this moment, if not before.
    Wait(Instant),
    /// Ask for the [next](super::Delivery::next) thing now.
    LookAgain,
    /// End the session, and do nothing any more.
    Close,
    /// Give the session up.
    HangUp,
    /// The condition has changed.
    TellCondition,
    /// Every batch that waits has been tried once more.
    CountAttempt,
    /// Those who wait for the device to be read do so in vain.
    TellReaders(Trouble),
    /// Log this.
    Say(Word),
}
