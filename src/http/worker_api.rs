//! Where workers dial in: standbys of several nodes, and those at sites that the server does not reach.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};

use super::Here;
use super::auth;
use super::body;
use super::problem::Problem;
use crate::access::Role;
use crate::cluster::worker::{Calls, Exchange};
use crate::fleet::FleetError;
use crate::panel::device::relay::NotTaken;

/// Takes what came of calls, and gives others. A worker for panels of its own shows a token of an admin: passwords of devices
/// pass through it.
pub async fn exchange(
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let node = auth::node(&request, &shared);
    if node.is_none() {
        auth::at_least(Role::Admin, &request)?;
    }
    let body = body::read(&request, payload, body::JSON, shared.body_limit).await?;
    let said: Exchange = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("this is nothing that a worker says: {error}")))?;
    if node.is_none() && said.worker.selector.is_none() {
        return Err(Problem::invalid("/worker/for", "a worker that is no node says for which panels it is"));
    }
    let wait = Duration::from_millis(said.wait_ms);
    let mut stopping = shared.fleet.stopping.clone();
    let exchanged = tokio::select! {
        biased;
        exchanged = shared.relay.exchange(&said.worker, said.answers, wait) => exchanged,
        _ = stopping.wait_for(|stopping| *stopping) => Ok(Vec::new()),
    };
    match exchanged {
        Ok(calls) => Ok(HttpResponse::Ok().json(Calls { calls })),
        Err(error @ NotTaken::Selector(_)) => Err(Problem::invalid("/worker/for", error.to_string())),
        Err(error @ NotTaken::TooMany) => Err(FleetError::Conflict(error.to_string()).into()),
    }
}
