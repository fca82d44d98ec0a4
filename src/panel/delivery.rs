//! The delivery to one device as a state machine: what to do next, and what follows from what came of it.
//!
//! It is pure. The time comes in, what the store holds comes in as [`Facts`], and what is to be done goes out as
//! [`Effect`]s, which the panel's actor carries out ([`super::remote`]).
//!
//! ```text
//!            next                    ended                recorded
//! Idle ───────────────▶ Stepping ─────────────▶ Recording ────────▶ Idle
//!  ▲ ▲                     │  ▲                    ▲  │
//!  │ └─ nothing to record ─┤  │ next, in time      │  └─▶ back to the pause that it came from
//!  │                       ▼  │                    │
//!  └───────────────── PausedUntil, BlockedSince ───┘ batches that wait no longer
//! ```
//!
//! and from rest, once the server stops, to `Closing`.
//!
//! 1. [`Delivery::next`] says what to do now. At most one step or one record is under way, so it has nothing to say
//!    then; whoever ends one of them asks again.
//! 2. [`Delivery::ended`] takes what a step came to. What is known by it is recorded; what failed is tried again after
//!    a pause; what only a person can put right, and is said several times over a minute, is told to the batches that
//!    wait. The device is looked at all the same.
//! 3. [`Delivery::recorded`] goes on after a record.
//!
//! An item that the device refuses waits until something else is desired. From time to time an idle device is looked at,
//! and, much more rarely, all that it holds is read and compared.
//!
//! A call that fails by the device's own words is cut in halves until the items that it cannot take stand alone
//! (`sifting`). What the calls ask for is in [`call`], how long a device is waited for in [`patience`].

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::device::ask::Said;
use super::device::{DeviceSettings, Trouble};
use crate::batch::item::ItemId;
use crate::store::PanelNo;

pub mod call;
pub mod condition;
pub mod effect;
pub mod facts;
pub mod patience;
mod sifting;
mod state;

#[cfg(test)]
mod tests;

use call::Call;
use condition::{Condition, Connection};
use effect::{Effect, Record, Step, Task, Word};
use facts::{Answer, Ended, Facts, Loss, Now, Seen};
use patience::InARow;
use sifting::Sifting;
use state::{Blocked, State, Then};

/// After so many failures in a row a panel counts as offline.
pub const OFFLINE_AFTER: u32 = 3;

/// Batches that wait for one panel at most; the oldest beyond are told that they wait no longer. What they asked
/// for stays desired.
pub const MAX_WAITING: usize = 256;

/// Between looks at a store that cannot be read.
pub const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Between looks at whether the last call of a removed panel to the same device has ended.
pub const LEAVING_PAUSE: Duration = Duration::from_millis(50);

/// A device that refuses is not asked again for a reader who comes so soon after.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// After a failure, a reading that was due is due again after so long at most.
const READ_AFTER_FAILURE: Duration = Duration::from_mins(10);

/// The delivery to one device.
#[derive(Debug)]
pub struct Delivery {
    settings: Rc<DeviceSettings>,
    state: State,
    /// Whether it is to close once nothing is under way.
    closes: bool,
    condition: Condition,
    chance: fastrand::Rng,
    next_check: Instant,
    next_read: Instant,
    /// What the device said that only a person can put right.
    refusals: InARow,
    sifting: Sifting,
    /// Whether the last step ended with a token that the device did not know.
    logged_out: bool,
    /// Items of the next call at most: halved when a call is refused as a whole, doubled when one is not.
    limit: usize,
    /// Upserts that a full device refused while deletes wait, or that are perhaps those that it fails with.
    held_back: HashSet<ItemId>,
    /// Identifiers that were sent again together with the profiles that the device lacked.
    sent_with_profiles: HashSet<ItemId>,
    /// Everything was sent again since the device had lost its profiles, and it was not seen to hold any since.
    emptied: bool,
}

impl Delivery {
    /// A delivery that has not begun, to a device that was last seen so. Looks at devices are spread evenly over their
    /// interval by the panels' numbers.
    pub fn new(
        settings: Rc<DeviceSettings>,
        panel: PanelNo,
        condition: Condition,
        now: Instant,
        chance: fastrand::Rng,
    ) -> Self {
        // Multiples of the golden ratio's fraction lie evenly, however many panels there are.
        let phase = (f64::from(panel) * 0.618_033_988_749_895).fract();
        Self {
            next_check: now + settings.check_every.mul_f64(phase),
            next_read: now + settings.read_every.mul_f64(phase),
            limit: settings.chunk,
            settings,
            state: State::Idle,
            closes: false,
            condition,
            chance,
            refusals: InARow::default(),
            sifting: Sifting::default(),
            logged_out: false,
            held_back: HashSet::new(),
            sent_with_profiles: HashSet::new(),
            emptied: false,
        }
    }

    /// How the device is.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Whether a step is under way.
    pub fn is_stepping(&self) -> bool {
        matches!(self.state, State::Stepping { .. })
    }

    /// What to do now; nothing while a step or a record is under way, nor after the close.
    pub fn next(&mut self, now: Instant, facts: &impl Facts) -> Option<Effect> {
        let not_before = match &self.state {
            State::Stepping { .. } | State::Recording(_) | State::Closing => return None,
            State::Idle => None,
            State::PausedUntil(until) | State::BlockedSince(Blocked { until, .. }) => {
                Some(*until).filter(|until| now < *until)
            }
        };
        if let Some(record) = self.give_up_surplus(facts.waiting()) {
            return Some(record);
        }
        if self.closes {
            self.state = State::Closing;
            return Some(Effect::Close);
        }
        if let Some(until) = not_before {
            return Some(match self.state.blocked() {
                Some(_) if facts.waiting() > 0 => self.give_up_blocked(facts.waiting()),
                _ => Effect::Wait(until),
            });
        }
        Some(match self.task(now, facts) {
            None => Effect::Wait(now + STORE_PAUSE),
            Some(Some(_)) if facts.another_leaves() => Effect::Wait(now + LEAVING_PAUSE),
            Some(Some(task)) => self.begin_step(task),
            Some(None) => {
                self.state = State::Idle;
                self.held_back.clear();
                self.sent_with_profiles.clear();
                self.sifting.over();
                Effect::Wait(self.next_check.min(self.next_read))
            }
        })
    }

    fn task(&self, now: Instant, facts: &impl Facts) -> Option<Option<Task>> {
        Some(if facts.readers() > 0 || now >= self.next_read || facts.reconcile()? {
            Some(Task::Read)
        } else if facts.has_unknown()? {
            Some(Task::Deliver)
        } else if now >= self.next_check || self.condition.failures > 0 {
            Some(Task::Check)
        } else {
            None
        })
    }

    fn begin_step(&mut self, task: Task) -> Effect {
        let blocked = match std::mem::replace(&mut self.state, State::Idle) {
            State::BlockedSince(blocked) => Some(blocked),
            _ => None,
        };
        self.state = State::Stepping { blocked, outdated: false };
        Effect::Step(Step {
            task,
            limit: self.limit,
            held_back: self.held_back.clone(),
            emptied: self.emptied,
            away: self.condition.connection == Connection::Offline,
        })
    }

    /// Goes on after a step.
    pub fn ended(&mut self, ended: Ended, now: Now, facts: &impl Facts) -> Vec<Effect> {
        let State::Stepping { blocked, outdated } = std::mem::replace(&mut self.state, State::Idle) else {
            return vec![Effect::LookAgain]; // there is no other way to get here
        };
        let mut effects = Vec::new();
        if outdated {
            effects.push(Effect::HangUp);
        }
        match ended {
            Ended::Well { answer, seen } => {
                self.take_answer(answer, seen, blocked, now, facts, &mut effects);
            }
            Ended::SaidError { call, words, seen } => match self.sift(call, &words, now.at) {
                Some(answer) => {
                    self.take_answer(answer, seen, blocked, now, facts, &mut effects);
                }
                None => self.fail(Trouble::Said(words.into()), blocked, now, facts, &mut effects),
            },
            Ended::Failed(Trouble::LoggedOut) if !self.logged_out => {
                self.logged_out = true;
                self.state = State::at_rest(blocked);
                effects.push(Effect::LookAgain);
            }
            Ended::Failed(trouble) => self.fail(trouble, blocked, now, facts, &mut effects),
            Ended::StoreFailed => {
                self.state = State::at_rest(blocked);
                effects.push(Effect::Wait(now.at + STORE_PAUSE));
            }
            Ended::Cut => {
                self.state = State::at_rest(blocked);
                effects.push(Effect::LookAgain);
            }
        }
        effects
    }

    fn sift(&mut self, call: Call, words: &str, now: Instant) -> Option<Answer> {
        let long = self.settings.person_after;
        self.sifting.take_failed(call, words, &mut self.held_back, now, long)
    }

    fn take_answer(
        &mut self,
        answer: Answer,
        seen: Seen,
        blocked: Option<Blocked>,
        now: Now,
        facts: &impl Facts,
        effects: &mut Vec<Effect>,
    ) {
        if let Answer::Sent(call, said) = &answer
            && let Some((item, _)) = call.items().into_iter().zip(said).find(|(_, said)| said.is_none())
        {
            // What it says of the others holds; of this one nothing is known, so it is asked again after a pause.
            let trouble = Trouble::Garbled(format!("it says nothing of {item}"));
            let Answer::Sent(call, said) = answer else { return };
            effects.push(self.confirm(call, said, Then::Fail(trouble, blocked), facts));
            return;
        }
        self.come_online(now, effects);
        if matches!(answer, Answer::Sent(..)) {
            self.sifting.take_sent();
        }
        self.next_check = now.at + self.settings.check_every;
        self.emptied &= !seen.holds;
        let effect = match answer {
            Answer::Checked | Answer::Nothing => self.meet(seen),
            Answer::Lost(loss) => {
                self.emptied = loss == Loss::Emptied;
                if loss == Loss::Replaced {
                    self.next_read = now.at; // what else it holds is read before anything is sent
                }
                effects.push(Effect::Say(Word::StartsOver(loss)));
                self.record(Record::StartedOver, Then::Idle)
            }
            Answer::Sent(call, said) => {
                self.limit = self.limit.saturating_mul(2).min(self.settings.chunk);
                self.confirm(call, said, Then::Idle, facts)
            }
            Answer::Refused(call, _) if call.count() > 1 => {
                self.limit = call.count() / 2;
                self.meet(seen)
            }
            Answer::Refused(call, word) => {
                self.confirm(call, vec![Some(Said { success: false, word })], Then::Idle, facts)
            }
            Answer::Read(held, clock) => {
                if held.items.iter().any(|item| item.link_id.is_some()) {
                    self.emptied = false;
                }
                self.next_read = now.at + self.settings.read_every;
                let emptied = self.emptied;
                self.record(Record::Compared { held, clock, emptied }, Then::Idle)
            }
        };
        effects.push(effect);
    }

    fn record(&mut self, record: Record, then: Then) -> Effect {
        self.state = State::Recording(then);
        Effect::Record(record)
    }

    fn meet(&mut self, seen: Seen) -> Effect {
        if seen.is_news { self.record(Record::Met, Then::Idle) } else { Effect::LookAgain }
    }

    fn confirm(&mut self, call: Call, said: Vec<Option<Said>>, then: Then, facts: &impl Facts) -> Effect {
        let ignored = self.hold_back(&call, &said, facts);
        self.record(Record::Confirmed { call, said, ignored }, then)
    }

    /// The upserts that the device is too full for while deletes wait: they are sent again after those. And identifiers
    /// whose profiles it lacks, once: they are sent again with these.
    fn hold_back(&mut self, call: &Call, said: &[Option<Said>], facts: &impl Facts) -> HashSet<ItemId> {
        let Call::Upsert(items) = call else { return HashSet::new() };
        let too_full = |said: &Option<Said>| {
            // A number is perhaps taken by one that is to go.
            said.as_ref().is_some_and(|said| {
                let taken = call::says(&said.word, "number_taken_by_another_identifier");
                !said.success && (taken || call::says_full(&said.word))
            })
        };
        let full: HashSet<_> = items
            .iter()
            .zip(said)
            .filter(|((item, _), said)| too_full(said) && !self.held_back.contains(item))
            .map(|((item, _), _)| *item)
            .collect();
        let unbound =
            |said: &Option<Said>| said.as_ref().is_some_and(|said| call::says_no_profile(&said.word));
        let mut again: HashSet<_> =
            items.iter().zip(said).filter(|(_, said)| unbound(said)).map(|((item, _), _)| *item).collect();
        again.retain(|item| self.sent_with_profiles.insert(*item));
        if full.is_empty() || !facts.deletes_wait().unwrap_or(false) {
            return again;
        }
        self.held_back.extend(&full);
        again.extend(full);
        again
    }

    fn come_online(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let before = std::mem::take(&mut self.condition);
        self.condition.connection = Connection::Online;
        self.condition.last_seen_ms = Some(now.unix_ms);
        self.refusals.over();
        self.logged_out = false;
        if before.failures >= OFFLINE_AFTER {
            effects.push(Effect::Say(Word::Back { failures: before.failures }));
        }
        effects.push(Effect::TellCondition);
    }

    fn fail(
        &mut self,
        trouble: Trouble,
        blocked_before: Option<Blocked>,
        now: Now,
        facts: &impl Facts,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::CountAttempt);
        self.logged_out = false;
        let asks_for_a_person = trouble.needs_a_person();
        if !asks_for_a_person && trouble.is_an_answer() {
            self.refusals.over();
        }
        let is_blocked = asks_for_a_person && self.refusals.again(now.at, self.settings.person_after);
        self.condition.failures = self.condition.failures.saturating_add(1);
        let failures = self.condition.failures;
        if asks_for_a_person {
            self.condition.connection = Connection::Online; // it answers, if only to say no
            self.condition.last_seen_ms = Some(now.unix_ms);
        } else if failures >= OFFLINE_AFTER {
            self.condition.connection = Connection::Offline;
            effects.push(Effect::HangUp); // whatever comes back is asked first what it is
        }
        let pause = if is_blocked {
            self.settings.person_pause
        } else {
            let work_waits = facts.waiting() > 0 || facts.has_unknown().unwrap_or(true);
            patience::pause(failures, work_waits, &mut self.chance)
        };
        self.condition.next_attempt_ms = Some(now.unix_ms + pause.as_millis() as i64);
        self.condition.last_error = Some(trouble.to_string().into());
        effects.push(Effect::Say(if is_blocked && blocked_before.is_none() {
            Word::NeedsPerson(trouble.clone())
        } else if failures == OFFLINE_AFTER && !asks_for_a_person {
            Word::Offline(trouble.clone())
        } else {
            Word::Failed(trouble.clone(), pause)
        }));
        // Whoever asked to read it is told now; a wish to reconcile is kept in the store.
        effects.push(Effect::TellReaders(trouble.clone()));
        if self.next_read <= now.at {
            self.next_read = now.at + self.settings.read_every.min(READ_AFTER_FAILURE);
        }
        let until = now.at + pause;
        self.state = if is_blocked {
            State::BlockedSince(Blocked { trouble, since: now.at, until })
        } else {
            State::PausedUntil(until)
        };
        effects.extend([Effect::TellCondition, Effect::LookAgain]);
    }

    /// Goes on after a record. `reset` is that the device was found to hold nothing of what it had confirmed.
    pub fn recorded(&mut self, reset: bool, now: Now, facts: &impl Facts) -> Vec<Effect> {
        self.emptied |= reset;
        let mut effects = Vec::new();
        match self.end_record() {
            Some(Then::Fail(trouble, blocked)) => self.fail(trouble, blocked, now, facts, &mut effects),
            then => {
                self.state = State::after(then.unwrap_or(Then::Idle));
                effects.push(Effect::LookAgain);
            }
        }
        effects
    }

    /// The store could not take a record: what was to be in it is asked of the device again.
    pub fn not_recorded(&mut self, now: Instant) -> Effect {
        let until = now + STORE_PAUSE;
        self.state = match self.end_record() {
            Some(Then::BlockedSince(blocked) | Then::Fail(_, Some(blocked))) => {
                State::BlockedSince(Blocked { until, ..blocked })
            }
            _ => State::PausedUntil(until),
        };
        Effect::Wait(until)
    }

    fn end_record(&mut self) -> Option<Then> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Recording(then) => Some(then),
            _ => None, // there is no other way to get here
        }
    }

    /// Of more than [`MAX_WAITING`] batches the oldest are told that they wait no longer, unless something is under
    /// way: then that comes first.
    pub fn give_up_surplus(&mut self, waiting: usize) -> Option<Effect> {
        let batches = waiting.saturating_sub(MAX_WAITING);
        if batches == 0 {
            return None;
        }
        let then = self.state.to_come_back_to()?;
        let why = format!(
            "more than {MAX_WAITING} later batches wait for the panel; what was asked for stays desired and is delivered when it is back"
        );
        Some(self.record(Record::GivenUp { why: why.into(), batches }, then))
    }

    /// Batches that wait for what only a person can put right are told so.
    fn give_up_blocked(&mut self, waiting: usize) -> Effect {
        let error = self.condition.last_error.clone().unwrap_or_default();
        let why =
            format!("{error}; what was asked for stays desired and is delivered once that is put right");
        let then = self.state.to_come_back_to().unwrap_or(Then::Idle);
        self.record(Record::GivenUp { why: why.into(), batches: waiting }, then)
    }

    /// Someone wants the next attempt now, or as soon as what is under way has ended.
    pub fn try_now(&mut self) {
        self.state.end_pause();
    }

    /// Why the device is not read for someone who comes now: it has refused just before.
    pub fn refuses_readers(&self, now: Instant) -> Option<&Trouble> {
        let just_before = |blocked: &&Blocked| now.saturating_duration_since(blocked.since) < READ_AGAIN;
        self.state.blocked().filter(just_before).map(|blocked| &blocked.trouble)
    }

    /// The settings have changed: a session with the old ones is not used again, and whatever device they lead to
    /// is looked at now.
    pub fn change_settings(&mut self, now: Instant) {
        if let State::Stepping { outdated, .. } = &mut self.state {
            *outdated = true;
        }
        self.next_check = now;
        self.refusals.over();
        self.sifting.over();
        self.condition = Condition::default();
        self.try_now();
    }

    /// Closes once what is under way has ended.
    pub fn close(&mut self) {
        self.closes = true;
    }
}
