//! The laws of a delivery, and what it does in the cases that have a name. One file, however long, since all of them
//! look into one world.

use std::time::Duration;

use proptest::prelude::*;

use super::facts::{Ended, Seen};
use super::*;
use crate::batch::item::ItemId;
use crate::panel::device::Held;
use crate::profile::LinkId;
use crate::store::row::Row;

/// A delivery, the world around it, and what of its effects is under way.
struct World {
    delivery: Delivery,
    begun: Instant,
    now: Instant,
    waiting: usize,
    readers: usize,
    another_leaves: bool,
    reconcile: Option<bool>,
    has_unknown: Option<bool>,
    deletes_wait: Option<bool>,
    step: Option<Step>,
    record: Option<Record>,
    timer: Option<Instant>,
    closed: bool,
    /// Somebody wanted the next attempt at once, since the last failure.
    told_now: bool,
    said: Vec<Word>,
}

impl Facts for World {
    fn waiting(&self) -> usize {
        self.waiting
    }
    fn readers(&self) -> usize {
        self.readers
    }
    fn another_leaves(&self) -> bool {
        self.another_leaves
    }
    fn reconcile(&self) -> Option<bool> {
        self.reconcile
    }
    fn has_unknown(&self) -> Option<bool> {
        self.has_unknown
    }
    fn deletes_wait(&self) -> Option<bool> {
        self.deletes_wait
    }
}

/// The facts without the delivery, so that both can be lent.
macro_rules! with_facts {
    ($world:ident, $call:expr) => {{
        let mut delivery = std::mem::replace(&mut $world.delivery, fresh($world.now));
        let call: &dyn Fn(&mut Delivery, &World) -> _ = &$call;
        let result = call(&mut delivery, $world);
        $world.delivery = delivery;
        result
    }};
}

fn settings() -> Rc<DeviceSettings> {
    Rc::new(DeviceSettings { chunk: 8, ..DeviceSettings::default() })
}

fn fresh(now: Instant) -> Delivery {
    Delivery::new(settings(), 1, Condition::default(), now, fastrand::Rng::with_seed(16))
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            delivery: fresh(now),
            begun: now,
            now,
            waiting: 0,
            readers: 0,
            another_leaves: false,
            reconcile: Some(false),
            has_unknown: Some(false),
            deletes_wait: Some(false),
            step: None,
            record: None,
            timer: None,
            closed: false,
            told_now: false,
            said: Vec::new(),
        }
    }

    /// A delivery whose device has items to take.
    fn with_work() -> Self {
        let mut world = Self { has_unknown: Some(true), ..Self::new() };
        world.look();
        world
    }

    fn both(&self) -> Now {
        Now { at: self.now, unix_ms: (self.now - self.begun).as_millis() as i64 }
    }

    fn look(&mut self) {
        let now = self.now;
        if let Some(effect) = with_facts!(self, |delivery, world| delivery.next(now, world)) {
            self.carry_out(vec![effect]);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        assert!(!self.closed, "closing is final");
        let count = effects.len();
        for (i, effect) in effects.into_iter().enumerate() {
            let ends = matches!(
                effect,
                Effect::Step(_) | Effect::Record(_) | Effect::Wait(_) | Effect::LookAgain | Effect::Close
            );
            assert_eq!(ends, i + 1 == count, "the one thing to go on with comes last: {effect:?}");
            match effect {
                Effect::Step(step) => {
                    assert!(self.step.is_none() && self.record.is_none(), "at most one thing is under way");
                    assert!(!self.another_leaves);
                    let next = self.delivery.condition().next_attempt_ms;
                    let may = self.told_now || next.is_none_or(|at| self.both().unix_ms >= at);
                    assert!(may, "no step in a pause");
                    assert!(step.limit > 0);
                    self.step = Some(step);
                }
                Effect::Record(record) => {
                    assert!(self.step.is_none() && self.record.is_none(), "at most one thing is under way");
                    if let Record::GivenUp { batches, .. } = &record {
                        assert!(*batches > 0 && *batches <= self.waiting);
                    }
                    self.record = Some(record);
                }
                Effect::Wait(until) => self.timer = Some(until),
                Effect::LookAgain => self.look(),
                Effect::Close => self.closed = true,
                Effect::CountAttempt => self.told_now = false,
                Effect::TellReaders(_) => self.readers = 0,
                Effect::Say(word) => self.said.push(word),
                Effect::HangUp | Effect::TellCondition => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.timer.is_some_and(|timer| timer <= self.now) {
            self.timer = None;
            self.look();
        }
    }

    fn end_step(&mut self, ended: impl FnOnce(&Step) -> Ended) {
        let Some(step) = self.step.take() else { return };
        let (ended, now) = (std::cell::Cell::new(Some(ended(&step))), self.both());
        let effects = with_facts!(self, |delivery, world| {
            delivery.ended(ended.take().expect("asked once"), now, world)
        });
        assert!(!self.delivery.is_stepping(), "whatever a step ends with, it has ended");
        self.carry_out(effects);
    }

    fn end_record(&mut self, written: bool, reset: bool) {
        let Some(record) = self.record.take() else { return };
        let now = self.both();
        if written {
            match record {
                Record::GivenUp { batches, .. } => self.waiting -= batches,
                Record::Compared { .. } => self.readers = 0,
                _ => {}
            }
            let effects = with_facts!(self, |delivery, world| delivery.recorded(reset, now, world));
            self.carry_out(effects);
        } else {
            self.readers = 0;
            let effect = self.delivery.not_recorded(now.at);
            self.carry_out(vec![effect]);
        }
    }

    fn arrive(&mut self) {
        self.waiting += 1;
        if let Some(effect) = self.delivery.give_up_surplus(self.waiting) {
            self.carry_out(vec![effect]);
        }
        self.has_unknown = Some(true);
        self.look();
    }

    fn try_now(&mut self) {
        self.told_now = true;
        self.delivery.try_now();
        self.look();
    }

    fn end_well(&mut self, answer: Answer) {
        self.end_step(|_| Ended::Well { answer, seen: Seen::default() });
    }

    fn fail(&mut self, trouble: Trouble) {
        self.end_step(|_| Ended::Failed(trouble));
    }

    fn say_error(&mut self, items: u8) {
        let (call, seen) = (upserts(items), Seen::default());
        self.end_step(|_| Ended::SaidError { call, words: "locked".into(), seen });
    }

    fn limit(&self) -> Option<usize> {
        self.step.as_ref().map(|step| step.limit)
    }
}

fn item(n: u8) -> ItemId {
    ItemId::profile(LinkId::from_bytes([n; 16]))
}

fn upsert(n: u8) -> (ItemId, Row) {
    (item(n), Row { body: u64::from(n), uid: 1, revision: 1 })
}

fn upserts(items: u8) -> Call {
    Call::Upsert((1..=items).map(upsert).collect())
}

fn said(success: bool, word: &str) -> Said {
    Said { success, word: word.into() }
}

fn silent() -> Trouble {
    Trouble::NoAnswer("nothing".into())
}

fn wrong_password() -> Trouble {
    Trouble::WrongPassword("p".into())
}

/// What may come, whenever.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Step(u8, u8),
    Record(bool, bool),
    Arrive,
    Surplus,
    TryNow,
    Reader,
    ChangeSettings,
    Leaves(bool),
    Store(Option<bool>, Option<bool>, Option<bool>),
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => prop_oneof![0..100_u64, 0..100_000_u64].prop_map(Event::Pass),
        8 => (0..14_u8, 1..9_u8).prop_map(|(how, items)| Event::Step(how, items)),
        6 => (prop::bool::weighted(0.8), any::<bool>()).prop_map(|(written, reset)| Event::Record(written, reset)),
        3 => Just(Event::Arrive),
        1 => Just(Event::Surplus),
        1 => Just(Event::TryNow),
        1 => Just(Event::Reader),
        1 => Just(Event::ChangeSettings),
        1 => any::<bool>().prop_map(Event::Leaves),
        3 => (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>())
            .prop_map(|(reconcile, unknown, deletes)| Event::Store(reconcile, unknown, deletes)),
    ]
}

fn ended(how: u8, items: u8, step: &Step) -> Ended {
    let items = items.min(step.limit as u8);
    let seen = Seen { is_news: how.is_multiple_of(2), holds: how.is_multiple_of(3) };
    let answer = match how {
        0 => Answer::Checked,
        1 => Answer::Lost(if step.emptied { Loss::Replaced } else { Loss::Emptied }),
        2 => Answer::Nothing,
        3 => Answer::Sent(upserts(items), vec![Some(said(true, "created")); usize::from(items)]),
        4 => Answer::Sent(
            upserts(items),
            vec![Some(said(false, "number_of_entities_exceeded")); usize::from(items)],
        ),
        5 => Answer::Sent(upserts(items), vec![None; usize::from(items)]),
        6 => Answer::Refused(upserts(items), "no".into()),
        7 => Answer::Read(Held::default(), None),
        8 => return Ended::Failed(silent()),
        9 => return Ended::Failed(wrong_password()),
        10 => return Ended::Failed(Trouble::LoggedOut),
        11 => return Ended::StoreFailed,
        12 => return Ended::Cut,
        _ => return Ended::SaidError { call: upserts(items), words: "locked".into(), seen },
    };
    Ended::Well { answer, seen }
}

impl World {
    fn meet(&mut self, event: &Event) {
        match event {
            Event::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Event::Step(how, items) => self.end_step(|step| ended(*how, *items, step)),
            Event::Record(written, reset) => self.end_record(*written, *reset),
            Event::Arrive => self.arrive(),
            Event::Surplus => {
                self.waiting += MAX_WAITING;
                self.arrive();
            }
            Event::TryNow => self.try_now(),
            Event::Reader => {
                if self.delivery.refuses_readers(self.now).is_none() {
                    self.readers += 1;
                    self.try_now();
                }
            }
            Event::ChangeSettings => {
                self.told_now = true;
                self.delivery.change_settings(self.now);
                self.look();
            }
            Event::Leaves(leaves) => self.another_leaves = *leaves,
            Event::Store(reconcile, unknown, deletes) => {
                (self.reconcile, self.has_unknown, self.deletes_wait) = (*reconcile, *unknown, *deletes);
            }
            Event::Close => {
                self.delivery.close();
                self.look();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// At most one thing is under way, none begins in a pause, and whatever comes, something is to follow.
    #[test]
    fn whatever_comes_it_goes_on(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::new();
        world.look();
        for event in &events {
            world.meet(event);
            let goes_on = world.step.is_some() || world.record.is_some() || world.timer.is_some();
            prop_assert!(goes_on, "stuck after {event:?}");
        }
        // With a good store and a good device it is not long before what is desired is sent.
        (world.reconcile, world.has_unknown, world.another_leaves) = (Some(false), Some(true), false);
        for _ in 0..20 {
            world.end_record(true, false);
            if world.step.as_ref().is_some_and(|step| step.task == Task::Deliver) {
                return Ok(());
            }
            world.end_step(|step| ended(if step.task == Task::Read { 7 } else { 0 }, 1, step));
            world.pass(Duration::from_mins(6));
        }
        prop_assert!(false, "nothing is sent any more");
    }

    /// A close waits for what is under way, and nothing comes after it.
    #[test]
    fn closing_is_final(
        before in prop::collection::vec(event(), 0..30),
        after in prop::collection::vec(event(), 0..30),
    ) {
        let mut world = World::new();
        world.look();
        for event in &before {
            world.meet(event);
        }
        world.meet(&Event::Close);
        for _ in 0..4 {
            world.end_step(|step| ended(12, 1, step));
            world.end_record(true, false);
        }
        prop_assert!(world.closed);
        for event in &after {
            world.meet(event); // any effect would be said
            prop_assert!(world.step.is_none() && world.record.is_none());
        }
    }
}

#[test]
fn what_a_person_has_to_put_right_is_told_after_a_minute_and_looked_at_all_the_same() {
    let mut world = World::with_work();
    world.arrive();
    for _ in 0..3 {
        world.fail(wrong_password());
        assert!(world.record.is_none(), "a device that starts says much");
        world.try_now();
    }
    world.now += Duration::from_mins(1);
    world.fail(wrong_password());
    assert!(matches!(&world.record, Some(Record::GivenUp { batches: 1, why }) if why.contains("password")));
    assert!(world.delivery.refuses_readers(world.now).is_some());
    world.end_record(true, false);
    assert_eq!(world.timer, Some(world.now + settings().person_pause));
    world.pass(settings().person_pause);
    assert!(world.step.is_some());
    world.end_well(Answer::Sent(upserts(1), vec![Some(said(true, "created"))]));
    assert!(world.delivery.refuses_readers(world.now).is_none());
    assert_eq!(world.delivery.condition().failures, 0);
}

#[test]
fn a_token_that_is_not_known_any_more_is_worth_one_login() {
    let mut world = World::with_work();
    world.fail(Trouble::LoggedOut);
    assert!(world.step.is_some(), "at once");
    world.fail(Trouble::LoggedOut);
    assert!(world.step.is_none() && world.timer.is_some(), "and then after a pause");
}

#[test]
fn a_call_that_is_refused_as_a_whole_is_halved_until_one_item_stands_alone() {
    let mut world = World::with_work();
    for (items, left) in [(8, 4), (4, 2), (2, 1)] {
        world.end_well(Answer::Refused(upserts(items), "no".into()));
        assert_eq!(world.limit(), Some(left));
    }
    world.end_well(Answer::Refused(upserts(1), "no".into()));
    let refused = vec![Some(said(false, "no"))];
    assert!(matches!(&world.record, Some(Record::Confirmed { said, .. }) if *said == refused));
    world.end_record(true, false);
    for limit in [2, 4, 8, 8] {
        world.end_well(Answer::Sent(upserts(1), vec![Some(said(true, "created"))]));
        world.end_record(true, false);
        assert_eq!(world.limit(), Some(limit));
    }
}

#[test]
fn what_a_device_fails_with_is_found_out_and_the_rest_delivered() {
    let mut world = World::with_work();
    for _ in 0..2 {
        world.say_error(2);
        world.try_now();
    }
    world.now += Duration::from_mins(1);
    world.say_error(2);
    assert_eq!(world.limit(), Some(1), "it says so for a minute: halved");
    world.say_error(1);
    let held_back = |world: &World| world.step.as_ref().is_some_and(|step| step.held_back.contains(&item(1)));
    assert!(held_back(&world), "others come first");
    world.end_well(Answer::Sent(Call::Upsert(vec![upsert(2)]), vec![Some(said(true, "created"))]));
    world.end_record(true, false);
    world.say_error(1);
    assert!(
        matches!(&world.record, Some(Record::Confirmed { said, .. }) if !said[0].as_ref().unwrap().success)
    );
}

#[test]
fn what_a_full_device_refuses_is_not_final_while_deletes_wait() {
    let full = || Answer::Sent(upserts(1), vec![Some(said(false, "number_of_entities_exceeded"))]);
    let ignored = |world: &World| match &world.record {
        Some(Record::Confirmed { ignored, .. }) => ignored.len(),
        _ => panic!("not recorded"),
    };
    let mut world = World { deletes_wait: Some(true), ..World::with_work() };
    world.end_well(full());
    assert_eq!(ignored(&world), 1);
    world.end_record(true, false);
    world.end_well(full());
    assert_eq!(ignored(&world), 0, "after the deletes it is");
}

#[test]
fn an_item_of_which_nothing_is_said_is_asked_again_after_a_pause() {
    let mut world = World::with_work();
    world.end_well(Answer::Sent(upserts(2), vec![Some(said(true, "created")), None]));
    assert!(matches!(world.record, Some(Record::Confirmed { .. })), "what it says of the other holds");
    world.end_record(true, false);
    assert_eq!(world.delivery.condition().failures, 1);
    assert!(world.step.is_none() && world.timer.is_some());
}

#[test]
fn a_device_that_keeps_nothing_gets_everything_once() {
    let mut world = World::with_work();
    world.end_well(Answer::Lost(Loss::Emptied));
    assert!(matches!(world.record, Some(Record::StartedOver)));
    world.end_record(true, false);
    assert!(world.step.as_ref().is_some_and(|step| step.emptied));
    world
        .end_step(|_| Ended::Well { answer: Answer::Checked, seen: Seen { holds: true, ..Seen::default() } });
    assert!(world.step.as_ref().is_some_and(|step| !step.emptied), "it was seen to hold something");
}

#[test]
fn batches_beyond_a_bound_wait_no_longer_and_a_pause_stays_one() {
    let mut world = World::with_work();
    world.waiting = MAX_WAITING;
    world.fail(silent());
    let pause = world.timer.expect("a pause");
    world.arrive();
    assert!(matches!(world.record, Some(Record::GivenUp { batches: 1, .. })));
    world.timer = None;
    world.end_record(true, false);
    assert!(world.timer == Some(pause) || world.step.is_some(), "the same pause, unless it is over");
}

#[test]
fn a_record_that_fails_is_made_again_after_a_pause() {
    let mut world = World::with_work();
    world.end_well(Answer::Sent(upserts(1), vec![Some(said(true, "created"))]));
    world.end_record(false, false);
    assert_eq!(world.timer, Some(world.now + STORE_PAUSE));
    world.pass(STORE_PAUSE);
    assert!(world.step.is_some());
}

#[test]
fn nothing_is_sent_while_a_removed_panel_ends_its_call_to_the_same_device() {
    let mut world = World { another_leaves: true, ..World::with_work() };
    world.step = None;
    world.delivery = fresh(world.now);
    world.look();
    assert_eq!(world.timer, Some(world.now + LEAVING_PAUSE));
    world.another_leaves = false;
    world.pass(LEAVING_PAUSE);
    assert!(world.step.is_some());
}

#[test]
fn failures_in_a_row_make_a_panel_offline_and_an_answer_brings_it_back() {
    let mut world = World::with_work();
    for _ in 0..OFFLINE_AFTER {
        world.fail(silent());
        world.try_now();
    }
    assert_eq!(world.delivery.condition().connection, Connection::Offline);
    assert!(world.step.as_ref().is_some_and(|step| step.away));
    world.end_well(Answer::Checked);
    assert_eq!(world.delivery.condition().connection, Connection::Online);
    assert!(matches!(world.said.last(), Some(Word::Back { failures: OFFLINE_AFTER })));
}
