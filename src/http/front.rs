//! The front: where a request is answered. With one server that is here. With several nodes it is where the leader is: here, or
//! there, and then the request is passed on (`passing.rs`), answer and all; and while nobody leads it is held for a while.
//!
//! What is answered here always is what tells of this node alone: whether it lives, whether it is ready, its metrics.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use super::problem::Problem;
use super::{Shared, probes};
use crate::access::proxy::Proxies;
use crate::cluster::lead::{Lead, Moment};
use crate::cluster::peers::{NOT_LEADING, PASSED, Passed, Peers};
use crate::config::Settings;
use crate::panel::settings::Trust;
use crate::telemetry::{Metrics, MetricsAccess};

mod passing;

/// How long a request is held while nobody leads.
const HELD: Duration = Duration::from_secs(10);

/// Between two looks whether somebody leads.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A node that follows is ready while it has caught up within this time.
const READY: Duration = Duration::from_secs(10);

/// Bytes of bodies of requests that are passed on at once, and in what steps.
const ROOM: usize = 256 * 1024 * 1024;
const STEP: usize = 64 * 1024;

/// Where requests are answered now.
#[derive(Clone)]
pub enum Place {
    /// Here; with several nodes while this lead holds.
    Here(Arc<Shared>, Option<Arc<Lead>>),
    /// By the leader, which has this name and is at this URL.
    There(Leader),
    /// Nowhere: nobody leads.
    Nowhere,
}

/// The node that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub node: String,
    /// Where it is.
    pub url: String,
}

/// What a node needs to pass requests on, and to say how it is.
pub struct NodeFront {
    /// Its name.
    pub node: String,
    /// Signs what it passes on.
    pub peers: Arc<Peers>,
    /// What it trusts where the leader speaks TLS.
    pub trust: Trust,
    /// Whose word is taken for where a request comes from.
    pub proxies: Proxies,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Who may read the metrics.
    pub metrics_access: MetricsAccess,
    /// Its numbers.
    pub metrics: Metrics,
    /// The page that says so to people where there is no answer, and whether it asks again by itself.
    pub page: fn(&Problem, bool) -> HttpResponse,
    /// When it had last applied all that the log had.
    pub caught_up: ArcSwap<Option<Moment>>,
    room: Arc<Semaphore>,
}

impl NodeFront {
    /// Of a node that has caught up with nothing yet.
    pub fn new(
        node: String,
        peers: Arc<Peers>,
        trust: Trust,
        metrics: Metrics,
        settings: &Settings,
        page: fn(&Problem, bool) -> HttpResponse,
    ) -> Self {
        Self {
            node,
            peers,
            trust,
            proxies: Proxies::new(settings.trust_proxy.clone()),
            body_limit: settings.body_limit,
            metrics_access: settings.metrics_access,
            metrics,
            page,
            caught_up: ArcSwap::default(),
            room: Arc::new(Semaphore::new(ROOM / STEP)),
        }
    }
}

/// Where requests come in.
pub struct Front {
    place: ArcSwap<Place>,
    changed: watch::Sender<()>,
    /// Whether this node has the lead, to the moment at which another may take it.
    leads: watch::Sender<bool>,
    node: Option<NodeFront>,
}

impl Front {
    /// Of one server.
    pub fn alone(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            place: ArcSwap::from_pointee(Place::Here(shared, None)),
            changed: watch::Sender::new(()),
            leads: watch::Sender::new(true),
            node: None,
        })
    }

    /// Of one of several nodes, of which none is known to lead.
    pub fn of_node(node: NodeFront) -> Arc<Self> {
        Arc::new(Self {
            place: ArcSwap::from_pointee(Place::Nowhere),
            changed: watch::Sender::new(()),
            leads: watch::Sender::new(false),
            node: Some(node),
        })
    }

    /// Requests are answered there from now on.
    pub fn set(&self, place: Place) {
        let same = match (&**self.place.load(), &place) {
            (Place::Nowhere, Place::Nowhere) => true,
            (Place::There(one), Place::There(other)) => one == other,
            _ => false,
        };
        if !same {
            self.place.store(Arc::new(place));
            self.changed.send_replace(());
        }
    }

    /// This node has the lead from now on, or not any more.
    pub fn set_leads(&self, leads: bool) {
        self.leads.send_replace(leads);
    }

    /// Resolves when this node has given its lead away, and another one has it perhaps, or after this time.
    pub async fn until_given_away(&self, most: Duration, to_another: Duration) {
        let (mut leads, mut changed) = (self.leads.subscribe(), self.changed.subscribe());
        let led = *leads.borrow_and_update();
        let _ = tokio::time::timeout(most, leads.wait_for(|leads| !leads)).await;
        let taken = async {
            while !matches!(&**self.place.load(), Place::There(_)) {
                let _ = changed.changed().await; // the other end is here
            }
        };
        if led {
            let _ = tokio::time::timeout(to_another, taken).await;
        }
    }

    /// Whether it is known who answers: this node, or another that leads.
    pub fn has_leader(&self) -> bool {
        match &**self.place.load() {
            Place::Here(_, lead) => lead.as_ref().is_none_or(|lead| lead.holds()),
            Place::There(_) => true,
            Place::Nowhere => false,
        }
    }

    /// With several nodes, what this one says of itself.
    pub fn node(&self) -> Option<&NodeFront> {
        self.node.as_ref()
    }
}

/// For whom a request was passed on by another node.
pub(crate) fn passed(request: &HttpRequest) -> Option<Passed> {
    request.extensions().get::<Passed>().cloned()
}

/// Receives a request, and has it answered where that is done now.
pub(crate) async fn receive<B: MessageBody + 'static>(
    front: Arc<Front>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, actix_web::Error> {
    let Some(node) = &front.node else {
        if let Place::Here(shared, _) = &**front.place.load() {
            request.extensions_mut().insert(Arc::clone(shared));
        }
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let method = request.method().clone();
    if request.path().starts_with("/assets/") {
        return Ok(next.call(request).await?.map_into_left_body()); // they are of this build, whoever leads
    }
    if let Some(answer) = answer_of_node(&front, node, &request).await {
        return Ok(request.into_response(answer).map_into_right_body());
    }
    let passed_value = request.headers().get(PASSED).and_then(|value| value.to_str().ok());
    let passed =
        passed_value.and_then(|value| node.peers.passed(value, method.as_str(), &path_and_query(&request)));
    let was_passed = passed.is_some();
    if let Some(passed) = passed {
        request.extensions_mut().insert(passed);
    }
    let until = Instant::now() + HELD;
    let mut body = None;
    loop {
        let mut changed = front.changed.subscribe();
        let place = front.place.load_full();
        match &*place {
            Place::Here(shared, lead) if lead.as_ref().is_none_or(|lead| lead.holds()) => {
                if let Some(body) = body {
                    request.set_payload(passing::as_payload(body));
                }
                request.extensions_mut().insert(Arc::clone(shared));
                return answer_here(node, request, next, lead.as_ref()).await;
            }
            // Whoever passed it on looks for the leader by itself.
            Place::Here(..) | Place::There(_) | Place::Nowhere if was_passed => {
                return Ok(request.into_response(not_leading(node)).map_into_right_body());
            }
            Place::There(leader) => {
                let held = match body.take() {
                    Some(body) => body,
                    None => {
                        let payload = request.take_payload();
                        match passing::read_body(node, request.request(), payload, until).await {
                            Ok(read) => read,
                            Err(problem) => return Ok(refuse(node, request, problem)),
                        }
                    }
                };
                let errand = passing::Errand { node, request: request.request(), body: &held };
                match errand.pass(leader, &mut changed).await {
                    passing::Passing::Answered(answer) => {
                        node.metrics.cluster.passed.inc();
                        return Ok(request.into_response(answer).map_into_right_body());
                    }
                    passing::Passing::Lost => return Ok(refuse(node, request, Problem::AnswerLost)),
                    passing::Passing::NotDone if Instant::now() >= until => {
                        let leader = format!("{} at {}", leader.node, leader.url);
                        return Ok(refuse(node, request, Problem::LeaderAway(leader)));
                    }
                    passing::Passing::NotDone => body = Some(held),
                }
            }
            Place::Here(..) | Place::Nowhere => {
                if Instant::now() >= until {
                    return Ok(refuse(node, request, Problem::NoLeader));
                }
            }
        }
        // A lead that holds again is told to nobody.
        let _ = tokio::time::timeout(LOOK_AGAIN, changed.changed()).await;
    }
}

/// Has it answered by the handlers of this node. Where the lead is over by the time they have, nobody learns what they say:
/// it is perhaps not true any more.
async fn answer_here<B: MessageBody + 'static>(
    node: &NodeFront,
    request: ServiceRequest,
    next: Next<B>,
    lead: Option<&Arc<Lead>>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, actix_web::Error> {
    let Some(lead) = lead.cloned() else { return Ok(next.call(request).await?.map_into_left_body()) };
    let response = next.call(request).await?;
    if !lead.holds() {
        let (request, _) = response.into_parts();
        let asked = *request.method() == Method::GET;
        let answer = refusal(node, &request, if asked { Problem::NoLeader } else { Problem::AnswerLost });
        return Ok(ServiceResponse::new(request, answer).map_into_right_body());
    }
    if response.response().body().size() == BodySize::Stream {
        return Ok(response.map_body(|_, body| {
            EitherBody::right(BoxBody::new(WhileLeading { body: Box::pin(body), lead }))
        }));
    }
    Ok(response.map_into_left_body())
}

/// A body that breaks off when the lead is over.
struct WhileLeading<B> {
    body: std::pin::Pin<Box<B>>,
    lead: Arc<Lead>,
}

impl<B: MessageBody> MessageBody for WhileLeading<B> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Self::Error>>> {
        if !self.lead.holds() {
            return std::task::Poll::Ready(Some(Err("this node leads no more".into())));
        }
        self.body.as_mut().poll_next(cx).map_err(Into::into)
    }
}

fn refuse<B>(
    node: &NodeFront,
    request: ServiceRequest,
    problem: Problem,
) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let answer = refusal(node, request.request(), problem);
    request.into_response(answer).map_into_right_body()
}

/// What says no: a page for people, else a problem.
fn refusal(node: &NodeFront, request: &HttpRequest, problem: Problem) -> HttpResponse {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        (node.page)(&problem, *request.method() == Method::GET)
    } else {
        HttpResponse::from_error(actix_web::Error::from(problem))
    }
}

fn not_leading(node: &NodeFront) -> HttpResponse {
    let mut answer = HttpResponse::from_error(actix_web::Error::from(Problem::NoLeader));
    if let Ok(name) = HeaderValue::from_str(&node.node) {
        answer.headers_mut().insert(HeaderName::from_static(NOT_LEADING), name);
    }
    answer
}

fn path_and_query(request: &ServiceRequest) -> String {
    request.uri().path_and_query().map_or_else(|| request.path().to_owned(), |path| path.as_str().to_owned())
}

/// What tells of this node alone.
async fn answer_of_node(front: &Front, node: &NodeFront, request: &ServiceRequest) -> Option<HttpResponse> {
    let plain = "text/plain; charset=utf-8";
    match request.path() {
        "/healthz" => Some(HttpResponse::Ok().content_type(plain).body("ok\n")),
        "/readyz" => {
            let leads = match &**front.place.load() {
                Place::Here(shared, lead) => {
                    lead.as_ref().is_none_or(|lead| lead.holds()).then(|| Arc::clone(shared))
                }
                Place::There(_) => {
                    let caught_up = **node.caught_up.load();
                    let ready = caught_up.is_some_and(|at| at.elapsed() < READY);
                    return Some(probes::readiness(ready));
                }
                Place::Nowhere => None,
            };
            Some(match leads {
                Some(shared) => probes::readiness(probes::is_ready(&shared).await),
                None => probes::readiness(false),
            })
        }
        "/metrics" => {
            let open = match node.metrics_access {
                MetricsAccess::Open => true,
                MetricsAccess::Local => probes::is_local(request.request()),
                MetricsAccess::Token => false,
            };
            match &**front.place.load() {
                // Whoever has no token is told so, and the numbers of panels are those of now.
                Place::Here(..) => None,
                Place::There(_) | Place::Nowhere if open => {
                    Some(probes::numbers_of(request.request(), &node.metrics))
                }
                Place::There(_) | Place::Nowhere => {
                    Some(HttpResponse::from_error(actix_web::Error::from(Problem::OnlyHere)))
                }
            }
        }
        _ => None,
    }
}

/// The client's address: of the one for whom another node passed the request on, else the connection's other end, or where
/// that is a trusted proxy, the client of which it tells.
pub(crate) fn client(request: &HttpRequest, proxies: &Proxies) -> Option<IpAddr> {
    if let Some(passed) = passed(request) {
        return Some(passed.client);
    }
    let peer = request.peer_addr()?;
    let lines = |name: &'static str| request.headers().get_all(name).filter_map(|line| line.to_str().ok());
    Some(proxies.client(peer.ip(), lines("x-forwarded-for"), lines("forwarded")))
}

/// Whether the client speaks TLS: to this server, to the node that passed its request on, or to a trusted proxy that says so.
pub(crate) fn is_secure(request: &HttpRequest, proxies: &Proxies) -> bool {
    if let Some(passed) = passed(request) {
        return passed.secure;
    }
    let trusted = request.peer_addr().is_some_and(|peer| proxies.has(peer.ip()));
    request.app_config().secure() || (trusted && request.connection_info().scheme() == "https")
}

thread_local! {
    /// Connections to the leader that are kept by this thread.
    static LINES: RefCell<passing::Lines> = RefCell::default();
}
