//! Calls to devices that somebody else makes: another node, or a worker at a site that this server does not reach.
//!
//! A worker dials in, says which panels it is for and how many calls it makes at once, and takes calls ([`Relay::exchange`]). What is
//! asked of a device is decided here as always, one call a panel at a time; only the conversation is given away. So nothing that
//! is known of a panel is anywhere but here, and a worker needs neither the database nor the fleet's key.
//!
//! **Order.** A call has an end by the worker's own clock, which lies before the one until which its answer is awaited here. So
//! whatever becomes of a worker, its call is over before the next one to that panel begins, with whomever.
//!
//! Panels that no site's worker is for are shared between this server and the nodes that follow it, by their numbers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use super::Trouble;
use super::ask::{Answer, Method, Request};
use super::gate::Gate;
use super::line::Timeouts;
use crate::batch::selector::Selector;
use crate::panel::settings::{HttpAddress, Settings, Trust};
use crate::store::PanelNo;
use crate::store::seal::hex;

/// A worker that was not heard of for so long gets no calls any more.
const HEARD_WITHIN: Duration = Duration::from_secs(6);

/// How long a worker waits for calls at most; it is heard of as often.
pub const WAIT: Duration = Duration::from_secs(2);

/// How much longer an answer is awaited than the call may take.
pub const ON_THE_WAY: Duration = Duration::from_secs(1);

/// Workers at most.
const MAX_WORKERS: usize = 1024;

/// Calls that one exchange gives at most.
const AT_ONCE: usize = 1024;

/// Who a worker says that it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Its name, for people.
    pub name: String,
    /// This run of it.
    pub run: uuid::Uuid,
    /// How many calls it makes at once.
    pub concurrency: usize,
    /// Whose panels it is for, by their labels; without, those that it shares with all nodes.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// A call, as a worker gets it.
#[derive(Debug, Serialize, Deserialize)]
pub struct RelayedCall {
    /// Its number.
    pub id: u64,
    /// How long after the worker asked for calls this one was made.
    pub since_ms: u64,
    /// How long it may take.
    pub within_ms: u64,
    url: Box<str>,
    trust: RelayedTrust,
    method: Method,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    slow: bool,
    /// The request that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Arc<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RelayedTrust {
    System,
    Ca(Box<str>),
    Pin(String),
}

impl RelayedCall {
    /// Where it goes, and what is asked; nothing where that cannot be read.
    pub fn parts(self) -> Option<(HttpAddress, Request)> {
        let trust = match self.trust {
            RelayedTrust::System => Trust::System,
            RelayedTrust::Ca(pem) => Trust::Ca(pem),
            RelayedTrust::Pin(digest) => Trust::from_pin(&digest)?,
        };
        let Self { method, path, token, body, slow, .. } = self;
        Some((HttpAddress { url: self.url, trust }, Request { method, path, token, body, is_slow: slow }))
    }
}

/// What came of a call, as a worker tells it.
#[derive(Debug, Serialize, Deserialize)]
pub struct RelayedAnswer {
    /// The call's number.
    pub id: u64,
    #[serde(flatten)]
    what: RelayedOutcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RelayedOutcome {
    Answer {
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        location: Option<String>,
        body: String,
    },
    Unreachable(String),
    Certificate(String),
    Silent(String),
    Garbled(String),
}

impl RelayedAnswer {
    /// About how long it is, in bytes.
    pub fn length(&self) -> usize {
        match &self.what {
            RelayedOutcome::Answer { body, .. } => body.len() + 64,
            RelayedOutcome::Unreachable(why)
            | RelayedOutcome::Certificate(why)
            | RelayedOutcome::Silent(why)
            | RelayedOutcome::Garbled(why) => why.len() + 64,
        }
    }

    /// Of what the device answered, or why not.
    pub fn of(id: u64, result: Result<Answer, Trouble>) -> Self {
        let what = match result {
            Ok(Answer { status, location, body }) => {
                RelayedOutcome::Answer { status, location, body: STANDARD.encode(&body) }
            }
            Err(Trouble::Unreachable(why)) => RelayedOutcome::Unreachable(why),
            Err(Trouble::Certificate(why)) => RelayedOutcome::Certificate(why),
            Err(Trouble::Garbled(why)) => RelayedOutcome::Garbled(why),
            Err(Trouble::NoAnswer(why)) => RelayedOutcome::Silent(why),
            Err(other) => RelayedOutcome::Silent(other.to_string()),
        };
        Self { id, what }
    }

    fn result(self) -> Result<Answer, Trouble> {
        match self.what {
            RelayedOutcome::Answer { status, location, body } => match STANDARD.decode(body) {
                Ok(body) => Ok(Answer { status, location, body: body.into() }),
                Err(_) => Err(Trouble::NoAnswer("its worker's word cannot be read".into())),
            },
            RelayedOutcome::Unreachable(why) => Err(Trouble::Unreachable(why)),
            RelayedOutcome::Certificate(why) => Err(Trouble::Certificate(why)),
            RelayedOutcome::Silent(why) => Err(Trouble::NoAnswer(why)),
            RelayedOutcome::Garbled(why) => Err(Trouble::Garbled(why)),
        }
    }
}

/// Why a worker is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// There are too many.
    #[error("there are {MAX_WORKERS} workers already")]
    TooMany,
    /// It cannot say for which panels it is.
    #[error("what it is for is no selector: {0}")]
    Selector(String),
}

/// Who makes the calls of a panel, while it is heard of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    run: uuid::Uuid,
    /// How many calls it makes at once.
    pub concurrency: usize,
}

/// Somebody else who makes the calls of a device.
#[derive(Clone)]
pub struct Via {
    /// Where calls are given to workers.
    pub relay: Arc<Relay>,
    /// To whom.
    pub route: Route,
    /// What their calls pass.
    pub gate: Rc<Gate>,
}

/// A worker, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Its name.
    pub name: String,
    /// Whose panels it is for; nothing where it shares them with all nodes.
    pub selector: Option<String>,
    /// Calls that are under way.
    pub calls: usize,
}

/// The calls that workers make.
#[derive(Default)]
pub struct Relay {
    workers: Mutex<BTreeMap<uuid::Uuid, Worker>>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

struct Worker {
    name: String,
    concurrency: usize,
    selector: Option<(String, Selector)>,
    heard: Instant,
    calls: VecDeque<(RelayedCall, Instant)>,
    wake: Arc<Notify>,
    waiting: HashMap<u64, oneshot::Sender<Result<Answer, Trouble>>>,
    next: u64,
}

impl Relay {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<uuid::Uuid, Worker>> {
        // Nothing panics while it holds the lock; if it did, the map would still be whole.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who makes the calls to a panel's device; nobody: this server itself.
    pub fn route(&self, panel: PanelNo, settings: &Settings) -> Option<Route> {
        let workers = self.lock();
        if workers.is_empty() {
            return None;
        }
        let heard = || workers.iter().filter(|(_, worker)| worker.heard.elapsed() < HEARD_WITHIN);
        let of_site = |(_, worker): &(&uuid::Uuid, &Worker)| {
            worker.selector.as_ref().is_some_and(|(_, selector)| settings.matches(selector))
        };
        let found = heard().find(of_site).or_else(|| {
            let shared = || heard().filter(|(_, worker)| worker.selector.is_none());
            let place = panel as usize % (shared().count() + 1);
            place.checked_sub(1).and_then(|place| shared().nth(place))
        });
        found.map(|(run, worker)| Route { run: *run, concurrency: worker.concurrency })
    }

    /// Those that are heard of, by name.
    pub fn list(&self) -> Vec<WorkerState> {
        let workers = self.lock();
        let heard = workers.values().filter(|worker| worker.heard.elapsed() < HEARD_WITHIN);
        let mut states: Vec<_> = heard
            .map(|worker| WorkerState {
                name: worker.name.clone(),
                selector: worker.selector.as_ref().map(|(text, _)| text.clone()),
                calls: worker.waiting.len(),
            })
            .collect();
        states.sort_by(|one, other| one.name.cmp(&other.name));
        states
    }

    /// Has a worker make a call, and gives what it tells of it.
    pub async fn send(
        &self,
        route: &Route,
        device: &HttpAddress,
        request: &Request,
        request_id: Option<&Arc<str>>,
        timeouts: &Timeouts,
    ) -> Result<Answer, Trouble> {
        let within = if request.is_slow { timeouts.slow } else { timeouts.request };
        let (answered, answer) = oneshot::channel();
        let id = {
            let mut workers = self.lock();
            let gone = || Trouble::Unreachable("its worker is not heard of any more".into());
            let worker = workers.get_mut(&route.run).ok_or_else(gone)?;
            worker.next += 1;
            let call = RelayedCall {
                id: worker.next,
                since_ms: 0,
                within_ms: within.as_millis() as u64,
                url: device.url.clone(),
                trust: match &device.trust {
                    Trust::System => RelayedTrust::System,
                    Trust::Ca(pem) => RelayedTrust::Ca(pem.clone()),
                    Trust::Pin(digest) => RelayedTrust::Pin(hex(digest)),
                },
                method: request.method,
                path: request.path.clone(),
                token: request.token.clone(),
                body: request.body.clone(),
                slow: request.is_slow,
                request_id: request_id.cloned(),
            };
            worker.calls.push_back((call, Instant::now()));
            worker.waiting.insert(worker.next, answered);
            worker.wake.notify_one();
            worker.next
        };
        let _forgotten = Forget { relay: self, run: route.run, id };
        match tokio::time::timeout(within + ON_THE_WAY, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => {
                Err(Trouble::NoAnswer(format!("its worker told nothing within {within:?}")))
            }
        }
    }

    /// A worker tells what came of calls, and takes others; it waits so long for one at most.
    pub async fn exchange(
        &self,
        hello: &Hello,
        answers: Vec<RelayedAnswer>,
        wait: Duration,
    ) -> Result<Vec<RelayedCall>, NotTaken> {
        let asked = Instant::now();
        let wake = self.hear(hello, answers, asked)?;
        let until = asked + wait.min(WAIT);
        loop {
            let calls = self.take_calls(hello.run, asked);
            let left = until.saturating_duration_since(Instant::now());
            if !calls.is_empty() || left.is_zero() {
                return Ok(calls);
            }
            let _ = tokio::time::timeout(left, wake.notified()).await; // either is a reason to look
        }
    }

    fn hear(
        &self,
        hello: &Hello,
        answers: Vec<RelayedAnswer>,
        asked: Instant,
    ) -> Result<Arc<Notify>, NotTaken> {
        let selector = match &hello.selector {
            Some(text) => {
                let parsed = Selector::parse(text).map_err(|error| NotTaken::Selector(error.to_string()))?;
                Some((text.clone(), parsed))
            }
            None => None,
        };
        let mut workers = self.lock();
        // What was not heard of for long owes no answers any more.
        workers.retain(|_, worker| worker.heard.elapsed() < HEARD_WITHIN || !worker.waiting.is_empty());
        if workers.len() >= MAX_WORKERS && !workers.contains_key(&hello.run) {
            return Err(NotTaken::TooMany);
        }
        let worker = workers.entry(hello.run).or_insert_with(|| {
            tracing::info!(worker = hello.name, selector = hello.selector, "a worker talks to devices");
            Worker {
                name: hello.name.clone(),
                concurrency: hello.concurrency.clamp(1, 10_000),
                selector,
                heard: asked,
                calls: VecDeque::new(),
                wake: Arc::default(),
                waiting: HashMap::new(),
                // A worker may tell what came of another leader's call, which is none of ours.
                next: fastrand::u64(..u64::MAX / 2),
            }
        });
        worker.heard = asked;
        for answer in answers {
            if let Some(waiting) = worker.waiting.remove(&answer.id) {
                let _ = waiting.send(answer.result()); // whoever asked may have left
            }
        }
        Ok(Arc::clone(&worker.wake))
    }

    fn take_calls(&self, run: uuid::Uuid, asked: Instant) -> Vec<RelayedCall> {
        let mut workers = self.lock();
        let Some(worker) = workers.get_mut(&run) else { return Vec::new() };
        worker.heard = Instant::now();
        let some = worker.calls.len().min(AT_ONCE);
        let calls = worker.calls.drain(..some);
        let waiting = &worker.waiting;
        let wanted = calls.filter(|(call, _)| waiting.contains_key(&call.id));
        wanted
            .map(|(call, made)| RelayedCall {
                since_ms: made.saturating_duration_since(asked).as_millis() as u64,
                // What it has waited for its worker is over.
                within_ms: call
                    .within_ms
                    .saturating_sub(asked.saturating_duration_since(made).as_millis() as u64),
                ..call
            })
            .collect()
    }
}

/// A call that nobody waits for is not made any more, and its answer is of no interest.
struct Forget<'r> {
    relay: &'r Relay,
    run: uuid::Uuid,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.relay.lock().get_mut(&self.run) {
            worker.waiting.remove(&self.id);
        }
    }
}
