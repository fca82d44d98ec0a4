//! What real devices suffer from, in front of a simulated panel's routes.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage, HttpResponse};
use serde::{Deserialize, Serialize};

use super::content;
use super::latency::Latency;
use super::quirk::Quirks;
use crate::batch::item::ItemId;
use crate::clock;
use crate::http::Shared;
use crate::http::panel_api::{self, OnlyPanel};
use crate::store::row::RowName;

/// A call that hangs is let go after so long, if its client has not left before.
const HANG: Duration = Duration::from_mins(10);

/// Of a call's body, so many bytes are kept.
const KEPT_BODY: usize = 64 * 1024;

/// What a panel suffers from. Shares are of all calls, in percent; they add up to 100 at most.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every connection is closed without an answer.
    pub offline: bool,
    /// Before every answer.
    pub latency: Latency,
    /// Calls answered with HTTP 500, and not done.
    pub error: f64,
    /// Connections closed before the call is done.
    pub close: f64,
    /// Calls that are done, and their connection closed instead of an answer.
    pub lose_answer: f64,
    /// Calls that are never answered, nor done.
    pub hang: f64,
    /// Calls that are done, and answered with something that is no JSON.
    pub garbage: f64,
    /// Calls with a token that is suddenly unknown.
    pub unauthorized: f64,
    /// A call whose body holds this text is refused as a whole with 400.
    pub refuse: Option<String>,
    /// How far its clock is ahead, in seconds.
    pub clock_ahead_s: i64,
    /// What it says of its zone instead, such as `UTC+03:00`.
    pub timezone: Option<String>,
    /// Another serial number than its own, as after it was replaced.
    pub serial: Option<String>,
    /// What it does otherwise than the panel API says.
    #[serde(skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
}

impl Faults {
    /// These shares together, in equal parts, of errors, closed connections, lost answers, garbage and unknown
    /// tokens. None hang, since every one would take a client's whole patience.
    #[must_use]
    pub fn failing(self, percent: f64) -> Self {
        let part = percent / 5.0;
        Self { error: part, close: part, lose_answer: part, garbage: part, unauthorized: part, ..self }
    }

    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        let shares = self.shares();
        if shares.iter().any(|share| !(0.0..=100.0).contains(share)) || shares.iter().sum::<f64>() > 100.000_1
        {
            return Err("a share is 0 to 100 percent, and all together at most 100".to_owned());
        }
        Ok(())
    }

    fn has_quirks_of_the_line(&self) -> bool {
        self.quirks.iter().any(|quirk| quirk.is_of_the_line())
    }

    fn shares(&self) -> [f64; 6] {
        [self.error, self.close, self.lose_answer, self.hang, self.garbage, self.unauthorized]
    }
}

/// What befalls one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Error,
    Closed,
    AnswerLost,
    Hanging,
    Garbage,
    Unauthorized,
}

/// A call that a panel got.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Its method.
    pub method: String,
    /// Its path below the panel's base, with the query; a password's MD5 is left out.
    pub path: String,
    /// Its body.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The status of the answer, or `closed` where none was given.
    pub answer: String,
    /// The sender's id of the request that it calls because of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// All simulated panels, as far as faults go.
pub struct Panels {
    ids: Vec<String>,
    places: HashMap<String, usize>,
    first_port: Option<u16>,
    keep_calls: usize,
    /// The port behind the raw server, where there is one in front of the panels.
    behind: OnceLock<u16>,
    state: Mutex<State>,
}

struct State {
    faults: Vec<Faults>,
    calls: Vec<VecDeque<Call>>,
    counts: Vec<u64>,
    /// Panels that are off until then.
    off_until: HashMap<usize, Instant>,
    chance: fastrand::Rng,
}

impl Panels {
    /// Panels with these ids; with a first port, the n-th is at the n-th port from it.
    pub fn new(
        ids: Vec<String>,
        first_port: Option<u16>,
        mut faults: Vec<Faults>,
        seed: u64,
        keep_calls: usize,
    ) -> Self {
        faults.resize(ids.len(), Faults::default());
        let state = State {
            faults,
            calls: vec![VecDeque::new(); ids.len()],
            counts: vec![0; ids.len()],
            off_until: HashMap::new(),
            chance: fastrand::Rng::with_seed(seed),
        };
        let places = ids.iter().enumerate().map(|(place, id)| (id.clone(), place)).collect();
        Self { ids, places, first_port, keep_calls, behind: OnceLock::new(), state: Mutex::new(state) }
    }

    /// Their ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The place of an id among them.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// What a panel suffers from, and how many calls it got.
    pub fn show(&self, place: usize) -> (Faults, u64) {
        let state = self.lock();
        (state.faults.get(place).cloned().unwrap_or_default(), state.counts.get(place).copied().unwrap_or(0))
    }

    /// From now on a panel suffers from this.
    pub fn set(&self, place: usize, faults: Faults) {
        if let Some(before) = self.lock().faults.get_mut(place) {
            *before = faults;
        }
    }

    /// A panel is off for so long.
    pub fn off_for(&self, place: usize, time: Duration) {
        self.lock().off_until.insert(place, Instant::now() + time);
    }

    /// The calls kept of a panel, oldest first.
    pub fn calls(&self, place: usize) -> Vec<Call> {
        self.lock().calls.get(place).map(|calls| calls.iter().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that come to this port have come through the raw server.
    pub fn set_behind(&self, port: u16) {
        let _ = self.behind.set(port); // once
    }

    fn is_behind(&self, request: &ServiceRequest) -> bool {
        self.behind.get() == Some(&request.app_config().local_addr().port())
    }

    /// Whether any panel has a quirk that the raw server shows.
    pub fn any_quirk_of_the_line(&self) -> bool {
        self.lock().faults.iter().any(Faults::has_quirks_of_the_line)
    }

    /// The panel that a path at a port is for, and its path where all panels are at one port.
    pub fn at(&self, port: u16, path: &str) -> Option<(usize, String)> {
        let Some(first) = self.first_port else {
            let id = path.strip_prefix("/panels/")?.split('/').next()?;
            return Some((self.place(id)?, path.to_owned()));
        };
        let place = usize::from(port.checked_sub(first)?);
        Some((place, format!("/panels/{}{path}", self.ids.get(place)?)))
    }

    /// Which panel a request is for.
    fn of(&self, request: &ServiceRequest) -> Option<usize> {
        match self.first_port.filter(|_| !self.is_behind(request)) {
            Some(first) => {
                let place = usize::from(request.app_config().local_addr().port().checked_sub(first)?);
                (place < self.ids.len()).then_some(place)
            }
            None => self.place(request.path().strip_prefix("/panels/")?.split('/').next()?),
        }
    }

    /// What befalls a panel's next call, and after how long.
    fn decide(&self, place: usize) -> (Fate, Duration, Faults) {
        let mut state = self.lock();
        state.counts[place] += 1;
        let faults = state.faults[place].clone();
        let off = match state.off_until.get(&place) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                state.off_until.remove(&place);
                false
            }
            None => false,
        };
        if off || faults.offline {
            return (Fate::Closed, Duration::ZERO, faults);
        }
        let latency = match faults.latency {
            Latency::None => Duration::ZERO,
            Latency::Fixed(time) => time,
            Latency::Between(from, to) => from + to.saturating_sub(from).mul_f64(state.chance.f64()),
            Latency::Around(mean) => mean.mul_f64(-(1.0 - state.chance.f64()).ln()).min(60 * mean),
        };
        let fates =
            [Fate::Error, Fate::Closed, Fate::AnswerLost, Fate::Hanging, Fate::Garbage, Fate::Unauthorized];
        let mut left = if faults.shares().iter().all(|share| *share <= 0.0) {
            100.0
        } else {
            state.chance.f64() * 100.0
        };
        let mut fate = Fate::Answered;
        for (share, what) in faults.shares().into_iter().zip(fates) {
            if left < share {
                fate = what;
                break;
            }
            left -= share;
        }
        (fate, latency, faults)
    }

    fn keep_call(&self, place: usize, call: impl FnOnce() -> Call) {
        if self.keep_calls == 0 {
            return;
        }
        let call = call();
        let mut state = self.lock();
        let calls = &mut state.calls[place];
        if calls.len() >= self.keep_calls {
            calls.pop_front();
        }
        calls.push_back(call);
    }
}

/// Lets a request suffer from its panel's faults.
pub async fn suffer<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, AnyBody>>, actix_web::Error> {
    let panels = request.app_data::<web::Data<Panels>>().cloned();
    let Some((panels, place)) = panels.and_then(|panels| panels.of(&request).map(|place| (panels, place)))
    else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let request_id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if panels.first_port.is_some() {
        request.extensions_mut().insert(OnlyPanel(panels.ids[place].clone()));
    }
    let (mut fate, latency, faults) = panels.decide(place);
    if faults.has_quirks_of_the_line() && !panels.is_behind(&request) {
        fate = Fate::Closed; // a connection from before it had them
    }
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let at_ms = clock::now_ms();
    let (method, path) = panel_api::paths::as_sent(&request);
    let path = shown_path(&path, request.query_string());
    let looks = panels.keep_calls > 0 || faults.refuse.is_some() || content::changes_bodies(&faults.quirks);
    let body = if looks { take_body(&mut request).await } else { Bytes::new() };
    let held = request.app_data::<web::Data<Shared>>().cloned();
    let holds = |link: &str| held.as_ref().is_some_and(|shared| holds(shared, &panels.ids[place], link));
    let content::Before { instead, warned } =
        content::before(&mut request, &faults.quirks, &body, panels.show(place).1, holds);
    let call = content::Call::of(&request);
    let refused = faults.refuse.as_ref().is_some_and(|text| contains(&body, text.as_bytes()));
    let is_login = request.path().ends_with("/login") || request.path().ends_with("/info");
    let mut answered = match fate {
        Fate::Answered | Fate::AnswerLost | Fate::Garbage if instead.is_some() => {
            own(request, instead.unwrap_or_else(|| HttpResponse::Ok().finish()))
        }
        Fate::Answered | Fate::AnswerLost | Fate::Garbage if refused => {
            let body = serde_json::json!({ "error": "Wrong JSON body" });
            own(request, HttpResponse::BadRequest().json(body))
        }
        Fate::Answered | Fate::AnswerLost | Fate::Garbage => next.call(request).await?.map_into_left_body(),
        Fate::Error => {
            let body = serde_json::json!({ "error": "Internal error" });
            own(request, HttpResponse::InternalServerError().json(body))
        }
        Fate::Unauthorized if is_login => next.call(request).await?.map_into_left_body(),
        Fate::Unauthorized => {
            own(request, HttpResponse::Unauthorized().json(serde_json::json!({ "error": "Log In" })))
        }
        Fate::Hanging => {
            tokio::time::sleep(HANG).await;
            own(request, HttpResponse::Ok().finish())
        }
        Fate::Closed => own(request, HttpResponse::Ok().finish()),
    };
    let closed = matches!(fate, Fate::Closed | Fate::AnswerLost | Fate::Hanging);
    let status = answered.status();
    panels.keep_call(place, || Call {
        at_ms,
        method,
        path,
        body: String::from_utf8_lossy(&body[..body.len().min(KEPT_BODY)]).into_owned(),
        answer: if closed { "closed".to_owned() } else { status.as_u16().to_string() },
        request_id,
    });
    if closed {
        return Ok(answered.map_body(|_, _| EitherBody::right(AnyBody::Broken)));
    }
    if fate == Fate::Garbage {
        *answered.response_mut().status_mut() = StatusCode::OK;
        return Ok(
            answered.map_body(|_, _| EitherBody::right(AnyBody::Whole(Bytes::from_static(b"<html>{\"oops"))))
        );
    }
    let another = faults.timezone.is_some() || faults.serial.is_some();
    if faults.clock_ahead_s != 0 || another || !faults.quirks.is_empty() {
        return Ok(pretend(answered, &faults, call, &warned).await);
    }
    Ok(answered)
}

/// Whether a panel holds the profile of this link_id.
fn holds(shared: &Shared, panel: &str, link: &str) -> bool {
    let (Some(panel), Ok(link)) = (shared.fleet.find_panel(panel), link.parse()) else { return false };
    let row = shared
        .fleet
        .store
        .read()
        .and_then(|snapshot| snapshot.row(panel.number, RowName::Link(ItemId::profile(link))));
    row.is_ok_and(|row| row.is_some())
}

fn own<B>(request: ServiceRequest, response: HttpResponse) -> ServiceResponse<EitherBody<B, AnyBody>> {
    let whole = response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => EitherBody::right(AnyBody::Whole(bytes)),
        Err(_) => EitherBody::right(AnyBody::Broken),
    });
    request.into_response(whole)
}

/// Another clock, another serial number, and other words.
async fn pretend<B: MessageBody + 'static>(
    answered: ServiceResponse<EitherBody<B, AnyBody>>,
    faults: &Faults,
    call: content::Call,
    warned: &[String],
) -> ServiceResponse<EitherBody<B, AnyBody>> {
    let (request, response) = answered.into_parts();
    let (head, body) = response.into_parts();
    let bytes = actix_web::body::to_bytes(body).await.unwrap_or_default();
    let changed = match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) {
        Ok(mut object) => {
            if let Some(time) = object.get_mut("time_unix") {
                *time = (time.as_i64().unwrap_or_default() + faults.clock_ahead_s).into();
            }
            if let (Some(own), Some(other)) = (object.get_mut("timezone"), &faults.timezone) {
                *own = other.clone().into();
            }
            if let (Some(own), Some(other)) = (object.get_mut("device_serial_number"), &faults.serial) {
                *own = other.clone().into();
            }
            Bytes::from(content::after(object, call, &faults.quirks, warned))
        }
        Err(_) => bytes,
    };
    ServiceResponse::new(request, head.set_body(EitherBody::right(AnyBody::Whole(changed))))
}

/// Reads the body, and puts it back.
async fn take_body(request: &mut ServiceRequest) -> Bytes {
    let body = request.extract::<Bytes>().await.unwrap_or_default();
    request.set_payload(Payload::from(body.clone()));
    if !body.is_empty() {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    body
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && body.windows(text.len()).any(|window| window == text)
}

fn shown_path(path: &str, query: &str) -> String {
    let path = path.find("/api").map_or(path, |at| &path[at..]);
    match query.split("password=").next() {
        Some("") | None => path.to_owned(),
        Some(before) if before.len() < query.len() => format!("{path}?{before}password=…"),
        Some(query) => format!("{path}?{query}"),
    }
}

/// A body that is there as a whole; or one that fails at once, which closes the connection before anything was
/// sent.
pub enum AnyBody {
    /// These bytes.
    Whole(Bytes),
    /// Nothing but the end of the connection.
    Broken,
}

impl MessageBody for AnyBody {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        match self {
            Self::Whole(bytes) => BodySize::Sized(bytes.len() as u64),
            Self::Broken => BodySize::Stream,
        }
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Broken => Some(Err(std::io::Error::other("the simulated panel closes the connection"))),
        })
    }
}

impl From<Infallible> for AnyBody {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_they_say() {
        let faults = Faults { error: 20.0, hang: 30.0, ..Faults::default() };
        assert_eq!(faults.check(), Ok(()));
        let panels = Panels::new(vec!["a".into()], None, vec![faults], 7, 0);
        let fates: Vec<_> = (0..10_000).map(|_| panels.decide(0).0).collect();
        let share = |fate| fates.iter().filter(|f| **f == fate).count();
        assert!((1800..2200).contains(&share(Fate::Error)), "{}", share(Fate::Error));
        assert!((2800..3200).contains(&share(Fate::Hanging)), "{}", share(Fate::Hanging));
        assert!((4700..5300).contains(&share(Fate::Answered)), "{}", share(Fate::Answered));
        assert!(Faults { close: 60.0, hang: 60.0, ..Faults::default() }.check().is_err());
        assert!(Faults { close: -1.0, ..Faults::default() }.check().is_err());
        assert!(Faults { close: f64::NAN, ..Faults::default() }.check().is_err());
    }
}
