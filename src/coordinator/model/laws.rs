//! What must hold whatever happens in whatever order: the model beside a store that commits in order, fails, and is there
//! again, and beside devices that confirm when they like.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::*;
use crate::batch::{BatchRecord, ItemOutcome};
use crate::coordinator::running::tests::{applied, batch};

mod steps;

use steps::{Step, report_of};

const PANELS: PanelNo = 6;

/// Panels from here on have devices, which confirm later.
const DEVICES: PanelNo = 4;

/// What the store is asked for.
#[derive(Debug, Clone)]
enum Job {
    Accept(Vec<PanelNo>),
    Part(BatchSeq, PanelNo),
    Confirm(BatchSeq, PanelNo, bool),
    Settle(Arc<Settling>, Option<Waiter>),
    End(BatchSeq, Box<BatchRecord>),
    Cancel(BatchSeq),
    Retry(BatchSeq),
    Again(BatchSeq),
    Remove(PanelNo),
}

/// What it answers; the jobs are as they were asked for.
type Letter = (Job, Result<Answer, Refused>);

#[derive(Debug, Clone)]
enum Answer {
    Done,
    /// Not in a state for that.
    No,
    Accepted(BatchSeq),
    Came(Outcome),
    Outcomes(Vec<(PanelNo, Outcome)>),
}

#[derive(Debug, Clone)]
struct Stored {
    record: BatchRecord,
    outcomes: BTreeMap<PanelNo, Outcome>,
}

/// The model and what is around it.
struct World {
    batches: Batches,
    now: Moment,
    stored: BTreeMap<BatchSeq, Stored>,
    panels: BTreeSet<PanelNo>,
    /// All outcomes that were ever durable.
    committed: BTreeSet<(BatchSeq, PanelNo, PanelState)>,
    /// The batches that wait for a panel's device.
    waiting: BTreeSet<(BatchSeq, PanelNo)>,
    jobs: VecDeque<Job>,
    letters: VecDeque<Letter>,
    down: bool,
    /// What listeners know: who has an outcome since the batch was last sent to it, and which batches have ended.
    heard: BTreeSet<(BatchSeq, PanelNo)>,
    ended: BTreeSet<BatchSeq>,
    /// For what each one waits who was not told yet.
    awaited: BTreeMap<Waiter, (BatchSeq, bool)>,
    next_waiter: Waiter,
}

impl World {
    fn new() -> Self {
        Self {
            batches: Batches::default(),
            now: Moment { at: Instant::now(), ms: 0 },
            stored: BTreeMap::new(),
            panels: (1..=PANELS).collect(),
            committed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            jobs: VecDeque::new(),
            letters: VecDeque::new(),
            down: false,
            heard: BTreeSet::new(),
            ended: BTreeSet::new(),
            awaited: BTreeMap::new(),
            next_waiter: 0,
        }
    }

    fn waiter(&mut self, seq: BatchSeq, for_end: bool) -> Waiter {
        self.next_waiter += 1;
        self.awaited.insert(self.next_waiter, (seq, for_end));
        self.next_waiter
    }

    /// Has the model told, and carries out what follows.
    fn tell<T>(&mut self, tell: impl FnOnce(&mut Batches, Moment, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let told = tell(&mut self.batches, self.now, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
        self.check_counts();
        told
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Panel { seq, panel, outcome, .. } => {
                assert!(self.committed.contains(&(seq, panel, outcome)), "nothing is told before its commit");
                assert!(self.heard.insert((seq, panel)), "each panel's outcome is told once");
                assert!(!self.ended.contains(&seq), "the end comes after all panels");
            }
            Effect::Progress(seq, report) => {
                assert!(!self.ended.contains(&seq));
                assert_eq!(report.panels.total as usize, self.stored[&seq].outcomes.len());
            }
            Effect::End(end) => {
                let stored = &self.stored[&end.seq];
                assert!(self.ended.insert(end.seq), "the end is told once");
                assert!(end.report.complete());
                // A retry that was refused, and is there all the same, may have begun in the store by now.
                let report = report_of(stored);
                assert!(report == end.report || !report.complete(), "each panel's outcome is counted once");
                // A cancellation that was refused, and is there all the same, may come after all outcomes.
                assert!(end.state == BatchState::Done || stored.record.cancelled);
            }
            Effect::Tell(waiter) => {
                let (seq, for_end) = self.awaited.remove(&waiter).expect("each one is told once");
                let stored = &self.stored[&seq];
                let ended = self.ended.contains(&seq) || report_of(stored).complete();
                assert!(if for_end { ended } else { stored.record.cancelled });
            }
            Effect::Settle(settling, waiter) => self.ask(Job::Settle(settling, waiter)),
            Effect::RecordEnd(seq, record) => self.ask(Job::End(seq, record)),
            Effect::Forget(seq, panel) => _ = self.waiting.remove(&(seq, panel)),
            Effect::Touch(_) | Effect::TryNow(_) => {}
        }
    }

    /// What is derived from the parts is what they say.
    fn check_counts(&self) {
        let in_flight: usize = self.batches.all().map(|running| running.panels(Part::Sent).len()).sum();
        assert_eq!(self.batches.in_flight(), in_flight);
        let queued = self.batches.all().filter(|running| !running.panels(Part::Queued).is_empty());
        assert_eq!(self.batches.queued(), queued.map(|running| running.seq).collect::<Vec<_>>());
        for running in self.batches.all() {
            assert_eq!(running.complete(), running.record.report.complete());
        }
    }

    fn ask(&mut self, job: Job) {
        if self.down {
            self.letters.push_back((job, Err(Refused::Down)));
        } else {
            self.jobs.push_back(job);
        }
    }

    /// Commits what was asked for first.
    fn commit_one(&mut self) {
        let Some(job) = self.jobs.pop_front() else { return };
        let answer = self.commit(&job);
        self.letters.push_back((job, answer));
    }

    fn commit(&mut self, job: &Job) -> Result<Answer, Refused> {
        match job {
            Job::Accept(targets) => {
                let seq = self.stored.len() as BatchSeq + 1;
                let outcomes = targets.iter().map(|panel| (*panel, Outcome::pending(0))).collect();
                let record = batch(seq, targets.clone()).record;
                self.stored.insert(seq, Stored { record, outcomes });
                return Ok(Answer::Accepted(seq));
            }
            Job::Part(_, panel) if !self.panels.contains(panel) => return Err(Refused::PanelGone),
            Job::Part(seq, panel) => {
                let outcome = match panel {
                    1 => Outcome::decided(vec![ItemOutcome::Full], Vec::new(), Vec::new(), 1),
                    panel if *panel >= DEVICES => Outcome { taken: true, ..Outcome::pending(0) },
                    _ => applied(),
                };
                if outcome.taken && outcome.state == PanelState::Pending {
                    self.waiting.insert((*seq, *panel));
                }
                self.set_outcome(*seq, *panel, &outcome);
                return Ok(Answer::Came(outcome));
            }
            Job::Confirm(seq, panel, well) => {
                let stands = &self.stored[seq].outcomes[panel];
                if stands.state != PanelState::Pending || !stands.taken || !self.panels.contains(panel) {
                    return Ok(Answer::No);
                }
                let came = if *well { ItemOutcome::Deleted } else { ItemOutcome::Refused };
                let outcome = Outcome::decided(vec![came], Vec::new(), Vec::new(), 1);
                self.set_outcome(*seq, *panel, &outcome);
                return Ok(Answer::Came(outcome));
            }
            Job::Settle(settling, _) => {
                let mut outcomes = Vec::new();
                for (panel, attempts) in &settling.panels {
                    if self.stored[&settling.seq].outcomes[panel].state == PanelState::Pending {
                        self.set_outcome(settling.seq, *panel, &Outcome::failed("settled", *attempts));
                    }
                    outcomes.push((*panel, self.stored[&settling.seq].outcomes[panel].clone()));
                }
                return Ok(Answer::Outcomes(outcomes));
            }
            Job::End(seq, record) => self.record(*seq).clone_from(record),
            Job::Cancel(seq) if self.record(*seq).state != BatchState::Running => return Ok(Answer::No),
            Job::Cancel(seq) => self.record(*seq).cancelled = true,
            Job::Retry(seq) => {
                let record = self.record(*seq);
                if record.state != BatchState::Running || record.cancelled {
                    return Ok(Answer::No);
                }
                let again =
                    |outcome: &Outcome| !matches!(outcome.state, PanelState::Applied | PanelState::Pending);
                return Ok(Answer::Outcomes(self.take_back(*seq, again)));
            }
            Job::Again(seq) => {
                if self.record(*seq).state == BatchState::Running {
                    return Ok(Answer::No);
                }
                if self.take_back(*seq, |outcome| outcome.state != PanelState::Applied).is_empty() {
                    return Ok(Answer::No);
                }
                let record = self.record(*seq);
                (record.state, record.cancelled) = (BatchState::Running, false);
            }
            Job::Remove(panel) => _ = self.panels.remove(panel),
        }
        Ok(Answer::Done)
    }

    fn record(&mut self, seq: BatchSeq) -> &mut BatchRecord {
        &mut self.stored.get_mut(&seq).expect("it is there").record
    }

    fn set_outcome(&mut self, seq: BatchSeq, panel: PanelNo, outcome: &Outcome) {
        let stored = self.stored.get_mut(&seq).expect("it is there");
        stored.outcomes.insert(panel, outcome.clone());
        self.committed.insert((seq, panel, outcome.state));
    }

    /// Makes the outcomes pending that are to be sent again; gives them as they were.
    fn take_back(&mut self, seq: BatchSeq, again: impl Fn(&Outcome) -> bool) -> Vec<(PanelNo, Outcome)> {
        let stored = self.stored.get_mut(&seq).expect("it is there");
        let mut taken = Vec::new();
        for (panel, outcome) in stored.outcomes.iter_mut().filter(|(_, outcome)| again(outcome)) {
            let before = std::mem::replace(outcome, Outcome::pending(outcome.attempts));
            taken.push((*panel, before));
        }
        taken
    }

    /// The store fails: what was asked for is refused, and perhaps some of it is there all the same.
    fn fail(&mut self, there: usize) {
        self.down = true;
        for (n, job) in std::mem::take(&mut self.jobs).into_iter().enumerate() {
            let waiting = self.waiting.clone();
            if n < there {
                _ = self.commit(&job);
            }
            self.waiting = waiting; // a panel that is told that its part was refused waits for nothing
            self.letters.push_back((job, Err(Refused::Down)));
        }
    }

    /// The coordinator reads what it was answered first, and has the store looked at once everything is back.
    fn read_one(&mut self) {
        if let Some((job, answer)) = self.letters.pop_front() {
            self.read(job, answer);
        } else if self.down && self.batches.in_flight() == 0 {
            self.recover();
        }
    }

    fn read(&mut self, job: Job, answer: Result<Answer, Refused>) {
        match (job, answer) {
            (Job::Accept(targets), Ok(Answer::Accepted(seq))) => {
                let running = batch(seq, targets);
                self.tell(|batches, now, effects| batches.accepted(running, now, effects));
                let waiter = self.waiter(seq, true);
                self.tell(|batches, _, effects| batches.await_end(seq, waiter, effects));
            }
            (Job::Part(seq, panel), answer) => self.land(seq, panel, true, answer),
            (Job::Confirm(seq, panel, _), answer @ Ok(Answer::Came(_))) => {
                self.waiting.remove(&(seq, panel));
                self.land(seq, panel, false, answer);
            }
            (Job::Settle(settling, waiter), answer) => {
                let result = answer.map(|answer| match answer {
                    Answer::Outcomes(outcomes) => outcomes,
                    other => panic!("{other:?}"),
                });
                self.tell(|batches, now, effects| {
                    batches.settled(&settling, waiter, result, now, effects);
                });
            }
            (Job::End(seq, _), answer) => {
                let result = answer.map(|_| ());
                self.tell(|batches, now, effects| batches.end_recorded(seq, result, now, effects));
            }
            (Job::Cancel(seq), answer) => {
                let waiter = matches!(answer, Ok(Answer::Done)).then(|| self.waiter(seq, false));
                self.tell(|batches, now, effects| batches.cancelled(seq, waiter, now, effects));
            }
            (Job::Retry(seq), answer) => {
                let outcomes = match answer {
                    Ok(Answer::Outcomes(outcomes)) => Some(outcomes),
                    _ => None,
                };
                for (panel, _) in outcomes.iter().flatten() {
                    self.heard.remove(&(seq, *panel));
                }
                let waiter = if outcomes.is_some() { self.waiter(seq, true) } else { 0 };
                let again = outcomes.as_deref().map(|outcomes| (outcomes, waiter));
                self.tell(|batches, now, effects| batches.retried(seq, again, now, effects));
            }
            (Job::Again(seq), answer) => {
                self.batches.begun_again(seq);
                if matches!(answer, Ok(Answer::Done)) {
                    self.take_up(seq);
                }
            }
            (Job::Remove(panel), Ok(_)) => {
                self.waiting.retain(|(_, of)| *of != panel);
                self.tell(|batches, _, effects| batches.panel_removed(panel, effects));
            }
            (Job::Confirm(seq, panel, _), Ok(_)) => _ = self.waiting.remove(&(seq, panel)),
            (Job::Accept(_) | Job::Confirm(..) | Job::Remove(_), _) => {}
        }
    }

    fn land(&mut self, seq: BatchSeq, panel: PanelNo, first: bool, answer: Result<Answer, Refused>) {
        let outcome = match &answer {
            Ok(Answer::Came(outcome)) => Ok(outcome),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused.clone()),
        };
        let landing = Landing { seq, panel, first, noted: false, result: outcome };
        self.tell(|batches, now, effects| batches.landed(landing, now, effects));
    }

    /// Takes up a batch as the store has it.
    fn take_up(&mut self, seq: BatchSeq) {
        let Stored { record, outcomes } = self.stored[&seq].clone();
        self.runs_again(seq);
        let mut running = batch(seq, outcomes.keys().copied().collect());
        running.record = record;
        running.take_stored(outcomes, |_, _| false);
        self.tell(|batches, now, effects| batches.accepted(running, now, effects));
    }

    /// What is pending in the store is heard of again, and so is the end of its batch.
    fn runs_again(&mut self, seq: BatchSeq) {
        for (panel, outcome) in &self.stored[&seq].outcomes {
            if outcome.state == PanelState::Pending {
                self.heard.remove(&(seq, *panel));
                self.ended.remove(&seq);
            }
        }
    }

    fn recover(&mut self) {
        self.down = false;
        for seq in self.batches.numbers() {
            let Stored { record, outcomes } = self.stored[&seq].clone();
            if record.state == BatchState::Running {
                let (outcomes, panels) = (outcomes.into_iter().collect(), self.panels.clone());
                self.tell(|batches, _, _| {
                    batches.stored(seq, &record, outcomes, |panel| panels.contains(&panel))
                });
                self.runs_again(seq);
            } else {
                self.tell(|batches, now, effects| batches.ended(seq, record, now, effects));
            }
        }
        let unknown: Vec<_> = self
            .stored
            .iter()
            .filter(|(seq, stored)| {
                stored.record.state == BatchState::Running
                    && !self.batches.contains(**seq)
                    && !self.batches.is_retried(**seq)
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in unknown {
            self.take_up(seq);
        }
        self.tell(Batches::recovered);
        for running in self.batches.all() {
            assert!(running.panels(Part::Lost).is_empty(), "what was lost is sent again");
            assert!(!running.record.cancelled || running.panels(Part::Queued).is_empty());
        }
    }

    /// Sends what is to be sent next for one of the batches. Says whether there was anything.
    fn send_one(&mut self, turn: usize) -> bool {
        let queued = self.batches.queued();
        let next =
            (0..queued.len()).find_map(|n| self.batches.next_to_send(queued[(turn + n) % queued.len()]));
        let Some((seq, panel)) = next else { return false };
        let earlier = self.batches.all().take_while(|running| running.seq != seq);
        for earlier in earlier {
            assert_ne!(earlier.part(panel), Some(Part::Queued), "parts are sent in the order of acceptance");
        }
        let running = self.batches.get(seq).expect("it runs");
        assert!(!running.record.cancelled, "a cancelled batch sends nothing more");
        assert_eq!(running.part(panel), Some(Part::Queued));
        if self.panels.contains(&panel) {
            self.batches.send_part(seq, panel, |_| Ok::<_, ()>(())).expect("it is sent");
            self.ask(Job::Part(seq, panel));
        } else {
            self.tell(|batches, _, effects| batches.panel_gone(seq, panel, effects));
        }
        true
    }

    fn confirm_one(&mut self, n: usize, well: bool) -> bool {
        let Some((seq, panel)) = self.waiting.iter().nth(n % self.waiting.len().max(1)).copied() else {
            return false;
        };
        if self.down {
            return false;
        }
        // A device confirms until that is durable.
        let asked =
            self.jobs.iter().any(|job| matches!(job, Job::Confirm(s, p, _) if (*s, *p) == (seq, panel)));
        if !asked {
            self.ask(Job::Confirm(seq, panel, well));
        }
        true
    }

    fn any_batch(&self, n: usize) -> Option<BatchSeq> {
        self.stored.keys().copied().nth(n % self.stored.len().max(1))
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(targets) => self.ask(Job::Accept(targets.into_iter().collect())),
            Step::Send(turn) => _ = self.send_one(turn),
            Step::Commit => self.commit_one(),
            Step::Read => self.read_one(),
            Step::Confirm(n, well) => _ = self.confirm_one(n, well),
            Step::Cancel(n) => {
                if let Some(seq) = self.any_batch(n)
                    && self.batches.begin_cancel(seq).is_some()
                {
                    self.ask(Job::Cancel(seq));
                }
            }
            Step::Retry(n) => {
                let Some(seq) = self.any_batch(n) else { return };
                match self.tell(|batches, _, effects| batches.begin_retry(seq, effects)) {
                    Ok(Some(_)) => self.ask(Job::Retry(seq)),
                    Ok(None) => {
                        self.batches.begin_again(seq);
                        self.ask(Job::Again(seq));
                    }
                    Err(StillSent) => {}
                }
            }
            Step::Remove(panel) => self.ask(Job::Remove(panel)),
            Step::Fail(there) => self.fail(there),
            Step::Pass(ms) => self.now.at += Duration::from_millis(ms),
        }
    }

    /// Goes on until nothing is under way. Nothing more is asked for, and nothing fails.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.down || !self.letters.is_empty() {
                self.read_one();
            } else if !self.jobs.is_empty() {
                self.commit_one();
            } else if !self.send_one(0) && !self.confirm_one(0, true) {
                return;
            }
        }
        panic!("it does not come to its end");
    }
}
