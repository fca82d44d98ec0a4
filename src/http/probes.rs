//! For those who watch the server: is it alive, is it ready, what has it done.

use std::time::Duration;

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, get, web};

use super::problem::{Problem, ProblemBody};
use super::{Shared, auth};
use crate::access::Role;
use crate::coordinator::Subscribe;
use crate::telemetry::MetricsAccess;

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
pub async fn readyz(shared: web::Data<Shared>) -> HttpResponse {
    let store = shared.fleet.store.read().is_ok();
    let writer = tokio::time::timeout(ANSWER, shared.fleet.store.writer_answers()).await.unwrap_or(false);
    let coordinator = tokio::time::timeout(ANSWER, shared.fleet.coordinator.send(Subscribe)).await;
    if store && writer && matches!(coordinator, Ok(Ok(_))) {
        HttpResponse::Ok().content_type(ContentType::plaintext()).body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().content_type(ContentType::plaintext()).body("not ready\n")
    }
}

/// Counters and histograms in the OpenMetrics text format, which Prometheus reads. Who may read them is a setting; from
/// this machine, or with any token, unless it says something else.
#[utoipa::path(tag = "probes", operation_id = "metrics", responses((status = 200, body = String, content_type = "application/openmetrics-text"), (status = 401, body = ProblemBody)))]
#[get("/metrics")]
pub async fn metrics(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
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
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(shared.metrics.text()))
}

/// Whether the request comes from this machine, and not through a proxy on it.
fn is_local(request: &HttpRequest) -> bool {
    let passed_on = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let direct = passed_on.iter().all(|name| !request.headers().contains_key(*name));
    direct && request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}
