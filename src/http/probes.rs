//! For those who watch the server: is it alive, is it ready, what has it done.

use std::time::Duration;

use actix_web::http::header::{Accept, ContentType, Header, Quality};
use actix_web::{HttpRequest, HttpResponse, get, web};

use super::problem::{Problem, ProblemBody};
use super::{Here, Shared, auth};
use crate::access::Role;
use crate::coordinator::Subscribe;
use crate::telemetry::{Metrics, MetricsAccess};

/// The process runs.
#[utoipa::path(tag = "probes", operation_id = "healthz", security(()),
    responses((status = 200, body = String, content_type = "text/plain", description = "The process runs", example = json!("ok"))))]
#[get("/healthz")]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")
}

/// How long the writer and the coordinator may take to say that they are there.
const ANSWER: Duration = Duration::from_secs(2);

/// The store can be read and written, and the coordinator answers.
#[utoipa::path(tag = "probes", operation_id = "readyz", security(()), responses(
    (status = 200, body = String, content_type = "text/plain", description = "Ready"),
    (status = 503, body = String, content_type = "text/plain", description = "Not ready"),
))]
#[get("/readyz")]
pub async fn readyz(shared: Here) -> HttpResponse {
    readiness(is_ready(&shared).await)
}

/// Whether the store can be read and written, and the coordinator answers.
pub async fn is_ready(shared: &Shared) -> bool {
    let store = shared.fleet.store.read().is_ok();
    let writer = tokio::time::timeout(ANSWER, shared.fleet.store.writer_answers()).await.unwrap_or(false);
    let coordinator = tokio::time::timeout(ANSWER, shared.fleet.coordinator.send(Subscribe)).await;
    store && writer && matches!(coordinator, Ok(Ok(_)))
}

/// The answer that says so.
pub fn readiness(ready: bool) -> HttpResponse {
    if ready {
        HttpResponse::Ok().content_type(ContentType::plaintext()).body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().content_type(ContentType::plaintext()).body("not ready\n")
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_VERSION: &str = "1.0.0";

/// Counters, gauges and histograms for Prometheus: in its text format, or in that of OpenMetrics where `Accept` asks for it.
/// Who may read them is a setting; from this machine, or with any token, unless it says something else.
#[utoipa::path(tag = "probes", operation_id = "metrics", security((), ("bearer" = [])),
    responses((status = 200, content((String = "text/plain"), (String = "application/openmetrics-text")), description = "All metrics as text"),
        (status = 401, body = ProblemBody)))]
#[get("/metrics")]
pub async fn metrics(request: HttpRequest, shared: Here) -> Result<HttpResponse, Problem> {
    let open = match shared.metrics_access {
        MetricsAccess::Open => true,
        MetricsAccess::Local => is_local(&request),
        MetricsAccess::Token => false,
    };
    if !open {
        auth::at_least(Role::Viewer, &request)?;
    }
    let connections = shared.fleet.register.now().connections();
    let store = shared.fleet.store.clone();
    let counts = web::block(move || store.read()?.all_reported_counts()).await??;
    shared.metrics.devices.set(connections, counts.pending, counts.drifted, counts.refused);
    Ok(numbers_of(&request, &shared.metrics))
}

/// The metrics, in the format that is asked for.
pub fn numbers_of(request: &HttpRequest, numbers: &Metrics) -> HttpResponse {
    if asks_for_open_metrics(request) {
        HttpResponse::Ok()
            .content_type(format!("{OPEN_METRICS}; version={OPEN_METRICS_VERSION}; charset=utf-8"))
            .body(numbers.open_metrics())
    } else {
        HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(numbers.prometheus())
    }
}

/// Whether OpenMetrics, in the version that is written here, is named and wanted no less than plain text.
fn asks_for_open_metrics(request: &HttpRequest) -> bool {
    let Ok(Accept(accepted)) = Accept::parse(request) else { return false };
    let wanted = |kind: &str| {
        let of_kind = accepted.iter().filter(|one| one.item.essence_str() == kind);
        let written = of_kind.filter(|one| {
            let version = one.item.get_param("version");
            kind != OPEN_METRICS || version.is_none_or(|version| version == OPEN_METRICS_VERSION)
        });
        written.map(|one| one.quality).max().unwrap_or(Quality::ZERO)
    };
    let open = wanted(OPEN_METRICS);
    open > Quality::ZERO && open >= wanted("text/plain")
}

/// Whether the request comes from this machine, and not through a proxy on it.
pub fn is_local(request: &HttpRequest) -> bool {
    let passed_on = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let direct = passed_on.iter().all(|name| !request.headers().contains_key(*name));
    direct && request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}
