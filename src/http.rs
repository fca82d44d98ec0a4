//! HTTP: the route table, what surrounds every request, and what all handlers share.
//!
//! | path | what | where |
//! | --- | --- | --- |
//! | `/panels/{panel}/api/…` | the panel API of an embedded panel | [`panel_api`] |
//! | `/fleet/v1/as-panel/{selector}/api/…` | the panel API of a whole selection | [`fleet_api::as_panel`] |
//! | `/fleet/v1/…` | the fleet API | [`fleet_api`] |
//! | `/api/v0/devices/…` | what devices say to this server as to their Link server | [`link_api`] |
//! | `/cluster/v1/copy` | a copy of everything, for a node that joins | [`fleet_api::backup`] |
//! | `/healthz`, `/readyz`, `/metrics` | for those who watch | [`probes`] |
//! | `/` and all else | the web page, which is handed in | [`crate::web`] |
//! | `/openapi.json`, `/docs/` | the document, made from the handlers, and a page to read it | [`openapi`] |
//!
//! Handlers parse, ask who it is, ask the [`crate::fleet`] (those of the panel API: the panel), and turn the answer into
//! JSON; they hold no state. A request that is dropped takes nothing back: what it sent on belongs to the
//! coordinator or to a panel.

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::FutureExt;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_actix_web::AppExt;
use utoipa_swagger_ui::SwaggerUi;

use crate::access::proxy::Proxies;
use crate::access::sessions::Sessions;
use crate::cluster::nodes::Nodes;
use crate::fleet::{Fleet, FleetError};
use crate::telemetry::{Metrics, MetricsAccess};

pub mod access_stream;
pub mod auth;
pub mod body;
pub mod events;
pub mod fleet_api;
pub mod front;
pub mod link_api;
pub mod listeners;
mod methods;
pub mod openapi;
pub mod panel_api;
pub mod probes;
pub mod problem;

use fleet_api::backup::Backups;
use front::Front;
use methods::Methods;
use problem::Problem;

/// What of a path is logged, in characters: anybody may send a long one.
const LOGGED_PATH: usize = 256;

/// What all handlers share.
pub struct Shared {
    /// What is asked of the fleet.
    pub fleet: Fleet,
    /// Sessions of the panel API.
    pub sessions: Sessions,
    /// Numbers.
    pub metrics: Metrics,
    /// Where the store is, for copies of it.
    pub data_dir: std::path::PathBuf,
    /// The copy that is being made.
    pub backups: Backups,
    /// Whose word is taken for where a request comes from.
    pub proxies: Proxies,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Items that one call may name.
    pub max_items: usize,
    /// Whose turn it is to parse a large body.
    pub turns: body::Turns,
    /// Who listens to events.
    pub listeners: Arc<listeners::Listeners>,
    /// Who may read the metrics.
    pub metrics_access: MetricsAccess,
    /// With several nodes: which there are.
    pub nodes: Option<Arc<Nodes>>,
}

/// What is shared, as an argument of a handler.
pub type Here = web::ReqData<Arc<Shared>>;

impl Shared {
    /// What this request was let in to: [`front`] lets nothing in without.
    pub fn of(request: &HttpRequest) -> Arc<Self> {
        match request.extensions().get::<Arc<Self>>() {
            Some(shared) => Arc::clone(shared),
            None => unreachable!("the front lets requests in with Shared"),
        }
    }
}

/// The whole server's routes; `pages` adds those of the web page.
pub fn app(
    front: Arc<Front>,
    pages: fn(&mut web::ServiceConfig),
) -> actix_web::App<
    impl actix_web::dev::ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let (app, document) =
        actix_web::App::new()
            .into_utoipa_app()
            .openapi(openapi::Document::openapi())
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                Problem::bad_request(format!("the query is wrong: {error}")).into()
            }))
            .service(probes::healthz)
            .service(probes::readyz)
            .service(probes::metrics)
            .service(
                utoipa_actix_web::scope("/api/v0/devices")
                    .configure(link_api::routes)
                    .default_service(web::to(not_found)),
            )
            .service(
                utoipa_actix_web::scope("/panels/{panel}/api")
                    .configure(panel_api::routes)
                    .default_service(web::to(panel_api::not_found)),
            )
            .service(
                utoipa_actix_web::scope("/fleet/v1/as-panel/{selector}/api")
                    .configure(fleet_api::as_panel::routes)
                    .default_service(web::to(panel_api::not_found)),
            )
            .service(
                utoipa_actix_web::scope("/fleet/v1")
                    .configure(fleet_api::routes)
                    .default_service(web::to(not_found)),
            )
            .split_for_parts();
    app.app_data(methods_of(&document))
        .service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", openapi::finish(document)))
        .route("/docs", web::get().to(to_docs))
        .route("/cluster/v1/copy", web::get().to(fleet_api::backup::download_for_node))
        .configure(pages)
        .default_service(web::to(not_found))
        .wrap(actix_web::middleware::from_fn(around))
        .wrap(actix_web::middleware::from_fn(move |request, next| {
            front::receive(Arc::clone(&front), request, next)
        }))
}

/// The routes of one panel at the root of an address of its own.
pub fn panel_app(
    front: Arc<Front>,
    panel: panel_api::OnlyPanel,
) -> actix_web::App<
    impl actix_web::dev::ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let (app, document) = actix_web::App::new()
        .into_utoipa_app()
        .app_data(panel)
        .service(utoipa_actix_web::scope("/api").configure(panel_api::routes))
        .split_for_parts();
    app.app_data(methods_of(&document))
        .default_service(web::to(panel_api::not_found))
        .wrap(actix_web::middleware::from_fn(around))
        .wrap(actix_web::middleware::from_fn(move |request, next| {
            front::receive(Arc::clone(&front), request, next)
        }))
}

async fn to_docs() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, "/docs/")).finish()
}

/// Which methods the paths of an app take.
pub(crate) fn methods_of(document: &utoipa::openapi::OpenApi) -> web::Data<Methods> {
    let settings = panel_api::own::paths();
    let controllers =
        panel_api::controller::PATHS.iter().map(|(path, methods)| ((*path).to_owned(), *methods));
    web::Data::new(Methods::of(document, &settings.chain(controllers).collect::<Vec<_>>()))
}

async fn not_found(request: HttpRequest, methods: web::Data<Methods>) -> Result<HttpResponse, Problem> {
    if let Some(allowed) = methods.allowed(request.path()) {
        return Err(Problem::MethodNotAllowed(allowed));
    }
    Err(FleetError::NotFound(format!("{} {}; see /docs", request.method(), request.path())).into())
}

/// The span of a request, which all that follows from it belongs to.
#[derive(Clone)]
struct RequestSpan(tracing::Span, Arc<str>);

impl RequestSpan {
    /// The span and the request's id.
    fn of(request: &HttpRequest) -> (tracing::Span, Arc<str>) {
        let extensions = request.extensions();
        let known = extensions.get::<Self>().map(|Self(span, id)| (span.clone(), Arc::clone(id)));
        known.unwrap_or_else(|| (tracing::Span::none(), "".into()))
    }
}

/// The page of the API's document has its script and style beside it, and some style within.
const DOCS_POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Around every request: its id, its span, its numbers, and headers that keep answers out of caches and frames.
pub(crate) async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let is_head = method == Method::HEAD;
    if is_head {
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(panel_api::AsGet);
    }
    panel_api::paths::take_older_path(&mut request);
    let api = if path.starts_with("/fleet/") {
        "fleet"
    } else if path.starts_with(link_api::BASE) {
        "link"
    } else if path.starts_with("/panels/") || path.starts_with("/api/") {
        "panel"
    } else {
        "other"
    };
    let secure = request.app_config().secure();
    let metrics = request.extensions().get::<Arc<Shared>>().map(|shared| shared.metrics.http.clone());
    // The path only: a query may hold a password's MD5.
    let span = tracing::info_span!("request", request.id = %id, http.method = %method, http.path = %path.chars().take(LOGGED_PATH).collect::<String>());
    request.extensions_mut().insert(RequestSpan(span.clone(), id.as_str().into()));
    let answered = AssertUnwindSafe(next.call(request).instrument(span.clone())).catch_unwind().await;
    let response = match answered {
        Ok(response) => response?,
        Err(_) => {
            // Reading a damaged page ends so; what it says is in the log already.
            let inside = std::io::Error::other("a handler gave up in the middle");
            return Err(Problem::from(inside).into());
        }
    };
    let of_controller = response.response().error().and_then(|error| {
        let body = panel_api::controller::error_body(response.request(), error.as_error()?)?;
        Some(body.to_string())
    });
    let response = match of_controller {
        Some(body) => response.map_body(|_, _| EitherBody::right(body)),
        None => response.map_into_left_body(),
    };
    let mut response = if is_head {
        response.map_body(|_, body| EitherBody::right(HeadOnly(body.size())))
    } else {
        response.map_into_left_body()
    };
    let status = response.status().as_u16();
    if let Some(metrics) = metrics {
        metrics.answered(api, method.as_str(), status, started.elapsed());
    }
    tracing::debug!(parent: &span, http.status = status, duration_us = started.elapsed().as_micros() as u64, "answered");
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let docs = path.starts_with("/docs");
    let mut unless_given = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    if !docs {
        unless_given(header::CACHE_CONTROL, "no-store");
    }
    if api != "panel" {
        // A panel sends none of these, and is no place for a browser.
        let policy = if docs { DOCS_POLICY } else { "default-src 'none'; frame-ancestors 'none'" };
        unless_given(header::CONTENT_SECURITY_POLICY, policy);
        unless_given(header::X_FRAME_OPTIONS, "DENY");
        unless_given(header::REFERRER_POLICY, "no-referrer");
        if secure {
            let year = HeaderValue::from_static("max-age=31536000");
            headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
        }
    }
    Ok(response)
}

/// The body that an answer to `HEAD` would have, and has not.
struct HeadOnly(BodySize);

impl MessageBody for HeadOnly {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// The sender's id where it is a short plain word, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id) if crate::batch::selector::is_key(id) => id.to_owned(),
        _ => uuid::Uuid::new_v4().to_string(),
    }
}

/// A text as part of a URL.
pub fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // writing to a String cannot fail
        }
    }
    out
}
