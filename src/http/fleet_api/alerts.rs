//! Alerts: who is told what is wrong.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Page;
use super::session::read_json;
use crate::alert::Topic;
use crate::alert::pace::Tried;
use crate::clock;
use crate::fleet::alerts::{ShownAlert, Tested, WantedAlert};
use crate::http::Here;
use crate::http::auth::{self, Admin};
use crate::http::problem::{Problem, ProblemBody};

/// An alert, and how it fares.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertBody {
    /// Its name.
    #[schema(example = "ops")]
    pub name: String,
    /// Where a webhook goes; null of a mail.
    #[schema(required = true, example = "https://hooks.example/panelsync")]
    pub webhook: Option<String>,
    /// Whom a mail goes to; empty of a webhook.
    pub mail: Vec<String>,
    /// What it is for: `offline`, `refused`, `drift`, `batch-failed`, `no-leader`.
    pub on: Vec<String>,
    /// How long a panel is offline before it is told, in seconds.
    pub after_s: u64,
    /// Which panels it is for; all where it is null.
    #[schema(required = true)]
    pub selector: Option<String>,
    /// Messages an hour at most; what is beyond is counted in a digest.
    pub per_hour: u32,
    /// When it was made, or changed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// Messages that went out.
    pub sent: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Messages that were held back, since there were enough within the hour.
    pub held_back: u64,
    /// Messages that are to go out.
    pub waiting: u64,
    /// Since when no try succeeds; null where the last one did.
    #[schema(required = true, format = DateTime)]
    pub failing_since: Option<String>,
    /// What came of the last try.
    #[schema(required = true)]
    pub last: Option<LastTry>,
}

/// What came of the last try to send a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LastTry {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Of what the message was.
    #[serde(rename = "type")]
    #[schema(example = "panel.offline")]
    pub kind: String,
    /// Whether it went out.
    pub sent: bool,
    /// What was said to it.
    pub said: String,
}

impl From<Tried> for LastTry {
    fn from(Tried { at_ms, kind, sent, said }: Tried) -> Self {
        Self { at: clock::rfc3339(at_ms), kind: kind.as_str().to_owned(), sent, said }
    }
}

impl From<ShownAlert> for AlertBody {
    fn from(ShownAlert { name, alert, webhook, progress, unsent }: ShownAlert) -> Self {
        Self {
            name,
            webhook: webhook.map(|webhook| webhook.url),
            mail: alert.mail,
            on: alert.on.into_iter().map(Topic::as_str).map(str::to_owned).collect(),
            after_s: alert.after_ms / 1000,
            selector: alert.selector,
            per_hour: alert.per_hour,
            created_at: clock::rfc3339(alert.created_at_ms),
            created_by: alert.created_by,
            sent: progress.sent,
            failed: progress.failed,
            held_back: progress.held_back,
            waiting: unsent as u64,
            failing_since: progress.failing_since_ms.map(clock::rfc3339),
            last: progress.last.map(LastTry::from),
        }
    }
}

/// An alert that was set, with the secret that was made for it, which is not shown again.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AlertSetBody {
    /// It.
    #[serde(flatten)]
    pub alert: AlertBody,
    /// What its messages are signed with (Standard Webhooks), where that was made just now; null where it was given, or is
    /// as it was, or it is a mail.
    #[schema(required = true, example = "whsec_…")]
    pub secret: Option<String>,
}

/// What came of trying an alert.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertTestBody {
    /// Whether the message went out.
    pub sent: bool,
    /// What was said to it, or why it did not go out.
    pub said: String,
    /// How long that took, in milliseconds.
    pub took_ms: u64,
}

/// The alerts, by name, each with how it fares.
#[utoipa::path(tag = "alerts", operation_id = "list_alerts",
    responses((status = 200, body = Page<AlertBody>), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/alerts")]
pub async fn list_alerts(_who: Admin, shared: Here) -> Result<HttpResponse, Problem> {
    let items = shared.fleet.alerts().await?.into_iter().map(AlertBody::from).collect();
    Ok(HttpResponse::Ok().json(Page::<AlertBody> { items, next_cursor: None }))
}

/// Makes an alert, or changes the one of this name.
///
/// With `If-None-Match: *` it only makes one. A webhook that goes to the same URL as before keeps its secret.
#[utoipa::path(tag = "alerts", operation_id = "set_alert",
    params(("name" = String, Path, description = "1 to 63 letters, digits and `-_.`"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only where there is none of this name")),
    request_body = WantedAlert,
    responses((status = 200, description = "It was changed", body = AlertSetBody), (status = 201, description = "It was made", body = AlertSetBody),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody, description = "There is one of this name already, or there are too many"),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[put("/alerts/{name}")]
pub async fn set(
    Admin(who): Admin,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let wanted: WantedAlert = read_json(&request, payload, &shared).await?;
    let only_new = request.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == b"*");
    let origin = auth::origin(&request, &who.actor());
    let set = shared.fleet.set_alert(&name, wanted, only_new, &origin).await?;
    let mut response = if set.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.json(AlertSetBody { alert: set.shown.into(), secret: set.secret }))
}

/// Removes an alert with what waits to go out.
#[utoipa::path(tag = "alerts", operation_id = "remove_alert", params(("name" = String, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[delete("/alerts/{name}")]
pub async fn remove(
    Admin(who): Admin,
    name: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    shared.fleet.remove_alert(&name, &auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sends a message of an alert now, once, and says what came of it.
#[utoipa::path(tag = "alerts", operation_id = "test_alert", params(("name" = String, Path)),
    responses((status = 200, body = AlertTestBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[post("/alerts/{name}:test")]
pub async fn test(
    Admin(who): Admin,
    name: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let Tested { sent, said, took_ms } =
        shared.fleet.test_alert(&name, &auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::Ok().json(AlertTestBody { sent, said, took_ms }))
}
