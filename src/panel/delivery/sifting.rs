//! Finding out which items a device fails with, by its own words: its calls are cut in halves until those stand alone.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::call::Call;
use super::facts::Answer;
use super::patience::InARow;
use crate::batch::item::ItemId;

#[derive(Debug, Default)]
pub(super) struct Sifting {
    /// Well answered calls that failed by the device's own words.
    errors: InARow,
    /// While it is being found out: whether the device has taken others meanwhile.
    others_taken: Option<bool>,
}

impl Sifting {
    /// What to make of a call that the device says it failed with; nothing where that is a failure like any other.
    pub(super) fn take_failed(
        &mut self,
        call: Call,
        words: &str,
        held_back: &mut HashSet<ItemId>,
        now: Instant,
        long: Duration,
    ) -> Option<Answer> {
        if self.others_taken.is_none() && self.errors.again(now, long) {
            self.others_taken = Some(false);
        }
        let others_taken = self.others_taken?;
        if call.count() > 1 {
            return Some(Answer::Refused(call, words.into()));
        }
        // Perhaps it is this one alone; that shows when it takes others, which are sent first.
        if let Call::Upsert(items) = &call
            && items.iter().any(|(item, _)| held_back.insert(*item))
        {
            return Some(Answer::Nothing);
        }
        if others_taken {
            return Some(Answer::Refused(call, words.into()));
        }
        self.others_taken = None; // it takes nothing just now
        None
    }

    /// The device has taken a call.
    pub(super) fn take_sent(&mut self) {
        match &mut self.others_taken {
            Some(others_taken) => *others_taken = true,
            None => self.errors.over(),
        }
    }

    /// There is nothing to find out any more.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }
}
