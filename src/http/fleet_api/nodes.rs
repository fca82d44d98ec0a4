//! The nodes of a fleet that has several.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Page;
use crate::clock;
use crate::cluster::log::LogError;
use crate::cluster::nodes::{NodeState, Nodes, Removal};
use crate::fleet::FleetError;
use crate::http::auth::{self, Admin, Viewer};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, Shared};

/// A node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeBody {
    /// Its name.
    #[schema(example = "north")]
    pub name: String,
    /// `leader` and `follower` are heard of; `away` was not for a while.
    #[schema(example = "follower", pattern = "^(leader|follower|away)$")]
    pub role: String,
    /// Where the other nodes reach it.
    #[schema(example = "https://10.0.0.5:8443")]
    pub url: String,
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The last entry of the log that it has applied.
    pub applied: u64,
    /// Entries of the log that it has not applied.
    pub behind: u64,
    /// When it was heard of last.
    #[schema(format = DateTime)]
    pub seen: String,
    /// Whether what it has is what the log says, by the last entry that it has applied; null where the log does not keep that
    /// entry any more.
    #[schema(required = true)]
    pub same: Option<bool>,
}

impl From<NodeState> for NodeBody {
    fn from(node: NodeState) -> Self {
        let seen = clock::now_ms() - node.unseen.as_millis() as i64;
        Self {
            name: node.name,
            role: node.role.as_str().to_owned(),
            url: node.url,
            version: node.version,
            applied: node.applied,
            behind: node.behind,
            seen: clock::rfc3339(seen),
            same: node.same,
        }
    }
}

/// All nodes, by name; none where the server runs alone.
#[utoipa::path(tag = "nodes", operation_id = "list_nodes",
    responses((status = 200, body = Page<NodeBody>), (status = 401, body = ProblemBody)))]
#[get("/nodes")]
pub async fn list_nodes(_who: Viewer, shared: Here) -> HttpResponse {
    let nodes = shared.nodes.as_ref().map_or_else(Vec::new, |nodes| nodes.list());
    let items = nodes.into_iter().map(NodeBody::from).collect();
    HttpResponse::Ok().json(Page::<NodeBody> { items, next_cursor: None })
}

fn several(shared: &Shared) -> Result<&Arc<Nodes>, Problem> {
    let alone = || FleetError::Conflict("this server runs alone: it was started without --cluster".into());
    Ok(shared.nodes.as_ref().ok_or_else(alone)?)
}

/// The node that leads gives the lead to another, as before work on its machine.
#[utoipa::path(tag = "nodes", operation_id = "release_lead",
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/nodes:release")]
pub async fn release(Admin(who): Admin, request: HttpRequest, shared: Here) -> Result<HttpResponse, Problem> {
    let nodes = several(&shared)?;
    if !nodes.has_others() {
        return Err(FleetError::Conflict("no other node is heard of that could take the lead".into()).into());
    }
    let audit = auth::origin(&request, &who.actor()).audit("node.release", "");
    shared.fleet.store.change(move |tables| tables.audit(&audit)).await?;
    nodes.release();
    Ok(HttpResponse::NoContent().finish())
}

/// Forgets a node that is away for good: the log is kept for a day for one that may come back.
#[utoipa::path(tag = "nodes", operation_id = "remove_node",
    params(("name" = String, Path, description = "The node's name")),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody, description = "It lives")))]
#[delete("/nodes/{name}")]
pub async fn remove(
    Admin(who): Admin,
    request: HttpRequest,
    name: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let nodes = several(&shared)?;
    match nodes.remove(&name).await {
        Ok(Removal::Removed) => {}
        Ok(Removal::NoSuchNode) => return Err(FleetError::NotFound("such node".into()).into()),
        Ok(Removal::Alive) => {
            return Err(FleetError::Conflict("this node lives; stop it before it is removed".into()).into());
        }
        Err(error) => return Err(unreachable(error)),
    }
    let audit = auth::origin(&request, &who.actor()).audit("node.remove", name.as_str());
    shared.fleet.store.change(move |tables| tables.audit(&audit)).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn unreachable(error: LogError) -> Problem {
    tracing::warn!(%error, "a node was not removed");
    FleetError::Busy.into()
}
