//! A worker: it dials in to the node that leads, takes calls to devices, makes them, and tells what came of them.
//!
//! It keeps nothing: what is asked of which device is decided by the leader, one call a panel at a time
//! ([`crate::panel::device::relay`]). A node that follows is one by itself; `panelsync worker` is one at a site that the leader does not
//! reach.
//!
//! A call that is under way when its time is over is broken off here, by this machine's own clock: the leader counts on that.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::lead::Moment;
use super::peers::{NODE, Peers};
use crate::clock;
use crate::panel::device::Trouble;
use crate::panel::device::line::connection::{Address, Afterwards, Connection};
use crate::panel::device::line::trust::Configs;
use crate::panel::device::line::{Lines, Timeouts};
use crate::panel::device::relay::{Hello, RelayedAnswer, RelayedCall, WAIT};
use crate::panel::settings::Trust;

/// Where workers dial in.
pub const PATH: &str = "/cluster/v1/worker";

/// How long a connection to the leader may take, and an answer beyond the time that was asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries to reach the leader.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Answers that are told at once, in number and in bytes.
const TOLD_AT_ONCE: usize = 512;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// No call takes longer.
const LONGEST_CALL: Duration = Duration::from_mins(10);

/// The longest list of calls, in bytes.
const LONGEST: usize = 1 << 30;

/// What a worker says to the leader.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// Who it is.
    pub worker: Hello,
    /// How long it waits for calls.
    pub wait_ms: u64,
    /// What came of calls.
    pub answers: Vec<RelayedAnswer>,
}

/// What the leader says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Calls {
    /// What is to be asked of devices.
    pub calls: Vec<RelayedCall>,
}

/// How a worker shows who it is.
#[derive(Clone)]
pub enum Shows {
    /// As a node of the fleet.
    Node(Arc<Peers>),
    /// By a token.
    Token(Arc<str>),
}

/// A worker.
pub struct Worker {
    /// Who it is.
    pub hello: Hello,
    /// How it shows that.
    pub shows: Shows,
    /// What it trusts where the leader speaks TLS.
    pub trust: Trust,
    /// Where the leader is, while that is known.
    pub hub: watch::Receiver<Option<String>>,
}

impl Worker {
    /// Works until it is dropped. One that shows a token ends where that, or what it is for, is not taken: with the HTTP
    /// status, and what was said.
    pub async fn run(self) -> (u16, String) {
        let worker = Rc::new(self);
        let (tell, told) = mpsc::unbounded_channel(); // the leader gives no more calls than it says at its gate
        // Each call says how long it may take.
        let timeouts = Timeouts { request: LONGEST_CALL, slow: LONGEST_CALL, ..Timeouts::default() };
        let lines = Rc::new(Lines::new(timeouts));
        let calls = TakesCalls { lines, tell };
        tokio::select! {
            refused = take(&worker, &calls) => refused,
            refused = answer(&worker, &calls, told) => refused,
        }
    }

    /// The leader's place, once it is known.
    async fn url(&self) -> String {
        let mut hub = self.hub.clone();
        loop {
            if let Some(url) = hub.borrow_and_update().clone() {
                return url;
            }
            if hub.changed().await.is_err() {
                std::future::pending::<()>().await; // whoever knows it has gone
            }
        }
    }
}

/// Asks for calls, again and again.
async fn take(worker: &Worker, calls: &TakesCalls) -> (u16, String) {
    let mut line = Line::default();
    let mut said = false;
    loop {
        let url = worker.url().await;
        let mut hub = worker.hub.clone();
        let elsewhere = async {
            if hub.wait_for(|now| now.as_deref() != Some(url.as_str())).await.is_err() {
                std::future::pending::<()>().await; // whoever knows it has gone
            }
        };
        let sent = Moment::now();
        let given = tokio::select! {
            given = line.exchange(worker, &url, Vec::new(), WAIT) => given,
            () = elsewhere => continue, // who does not lead any more has no calls
        };
        match given {
            Ok(given) => {
                if said {
                    tracing::info!(url, "the leader is reached again");
                }
                said = false;
                calls.make(given, sent);
            }
            Err(Missed::Refused(status, why))
                if matches!((&worker.shows, status), (Shows::Token(_), 401 | 403 | 422)) =>
            {
                return (status, why);
            }
            Err(why) => {
                if !said {
                    tracing::warn!(url, "no calls to devices are taken: {why}; trying again");
                }
                said = true;
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}

/// Tells what came of calls, as soon as something has.
async fn answer(
    worker: &Worker,
    calls: &TakesCalls,
    mut told: mpsc::UnboundedReceiver<RelayedAnswer>,
) -> (u16, String) {
    let mut line = Line::default();
    while let Some(first) = told.recv().await {
        let mut bytes = first.length();
        let mut answers = vec![first];
        while answers.len() < TOLD_AT_ONCE
            && bytes < BYTES_AT_ONCE
            && let Ok(more) = told.try_recv()
        {
            bytes += more.length();
            answers.push(more);
        }
        let url = worker.url().await;
        let sent = Moment::now();
        match line.exchange(worker, &url, answers, Duration::ZERO).await {
            Ok(given) => calls.make(given, sent),
            // The leader takes what it is not told for perhaps done, and asks again.
            Err(why) => tracing::debug!(url, "what came of calls to devices was not told: {why}"),
        }
    }
    std::future::pending().await // the calls have gone
}

/// Makes calls, each by itself.
struct TakesCalls {
    lines: Rc<Lines>,
    tell: mpsc::UnboundedSender<RelayedAnswer>,
}

impl TakesCalls {
    /// Makes these, which were asked for then.
    fn make(&self, calls: Vec<RelayedCall>, asked: Moment) {
        for call in calls {
            let (lines, tell) = (Rc::clone(&self.lines), self.tell.clone());
            actix_rt::spawn(async move {
                let id = call.id;
                let result = make(&lines, call, asked).await;
                let _ = tell.send(RelayedAnswer::of(id, result)); // the worker has ended
            });
        }
    }
}

async fn make(
    lines: &Lines,
    call: RelayedCall,
    asked: Moment,
) -> Result<crate::panel::device::ask::Answer, Trouble> {
    let until = Duration::from_millis(call.since_ms) + Duration::from_millis(call.within_ms);
    let left = until.saturating_sub(asked.elapsed());
    let request_id = call.request_id.clone();
    let unsent = |why: &str| Trouble::Unreachable(why.to_owned());
    let (device, request) = call.parts().ok_or_else(|| unsent("its worker cannot read the call"))?;
    if left.is_zero() {
        return Err(unsent("its worker got the call too late"));
    }
    let over = || Trouble::NoAnswer(format!("no whole answer came within {until:?}"));
    let mut sending = pin!(lines.send(&device, &request, request_id.as_deref()));
    // After a pause of this machine the time is over, though no timer has said so: nothing is written then.
    let guarded =
        poll_fn(
            |cx| {
                if asked.elapsed() >= until { Poll::Ready(Err(over())) } else { sending.as_mut().poll(cx) }
            },
        );
    tokio::time::timeout(left, guarded).await.unwrap_or_else(|_| Err(over()))
}

/// Why there was no exchange.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error("{0}")]
    Silent(String),
    #[error("HTTP {0}: {1}")]
    Refused(u16, String),
}

impl From<String> for Missed {
    fn from(why: String) -> Self {
        Self::Silent(why)
    }
}

/// A connection to the leader, kept from one request to the next.
#[derive(Default)]
struct Line {
    configs: Configs,
    kept: Option<(String, Connection)>,
}

impl Line {
    async fn exchange(
        &mut self,
        worker: &Worker,
        url: &str,
        answers: Vec<RelayedAnswer>,
        wait: Duration,
    ) -> Result<Vec<RelayedCall>, Missed> {
        let said = Exchange { worker: worker.hello.clone(), wait_ms: wait.as_millis() as u64, answers };
        let said = serde_json::to_vec(&said).map_err(|error| error.to_string())?;
        let said = bytes::Bytes::from(said);
        let exchange = async {
            let was_kept = self.kept.is_some();
            match self.send(worker, url, said.clone()).await {
                // One that was kept is perhaps closed by now. What is told twice is taken once.
                Err(_) if was_kept => self.send(worker, url, said).await,
                answered => answered,
            }
        };
        let calls: Calls = match tokio::time::timeout(wait + PATIENCE * 2, exchange).await {
            Ok(answer) => serde_json::from_slice(&answer?).map_err(|error| error.to_string())?,
            Err(_) => return Err("no answer in time".to_owned().into()),
        };
        Ok(calls.calls)
    }

    async fn send(&mut self, worker: &Worker, url: &str, said: bytes::Bytes) -> Result<bytes::Bytes, Missed> {
        let address = Address::parse(url)?;
        let mut line = match self.kept.take() {
            Some((kept, line)) if kept == url => line,
            _ => Connection::open(&address, &worker.trust, &self.configs, PATIENCE)
                .await
                .map_err(|error| format!("{error:?}"))?,
        };
        let mut request = address.request(hyper::Method::POST, PATH, said)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (name, value) = match &worker.shows {
            Shows::Node(peers) => {
                (HeaderName::from_static(NODE), peers.show(&worker.hello.name, clock::now_ms()))
            }
            Shows::Token(token) => (AUTHORIZATION, format!("Bearer {token}")),
        };
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| "the token cannot stand in a header".to_owned())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        let head = line.send(request).await.map_err(|broken| broken.why)?;
        let body = line.whole(LONGEST).await.map_err(|broken| broken.why)?;
        if !head.status.is_success() {
            let said = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
            return Err(Missed::Refused(head.status.as_u16(), said));
        }
        if line.afterwards().await == Afterwards::Kept {
            self.kept = Some((url.to_owned(), line));
        }
        Ok(body)
    }
}
