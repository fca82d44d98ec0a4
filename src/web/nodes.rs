//! The nodes of a fleet that has several: who leads, and how far the others are.

use actix_web::{HttpRequest, HttpResponse, ResponseError, get, post};
use maud::{Markup, html};

use super::layout::{self, Place, moment};
use super::posted::{ByAdmin, Posted};
use super::problem::PageProblem;
use super::visitor::Visitor;
use crate::access::Role;
use crate::clock;
use crate::cluster::nodes::{NodeState, Role as NodeRole};
use crate::http::problem::Problem;
use crate::http::{Here, auth};

/// The list.
#[get("/nodes")]
pub async fn show(visitor: Visitor, shared: Here) -> HttpResponse {
    let nodes = shared.nodes.as_ref().map(|nodes| nodes.list());
    let main = html! {
        h1 { "Nodes" }
        @match nodes {
            None => {
                p class="empty" { "This server runs alone. Several that share a log in PostgreSQL take over from each other: see " code { "--cluster" } " in the README." }
            }
            Some(nodes) => {
                (table(&nodes))
                @if visitor.may(Role::Admin) && nodes.iter().filter(|node| node.role != NodeRole::Away).count() > 1 {
                    form method="post" action="/nodes/release" {
                        (layout::token(&visitor))
                        button { "Give the lead to another node" }
                        p class="hint" { "Requests wait for a moment meanwhile; nothing is lost." }
                    }
                }
            }
        }
    };
    layout::page(&visitor, Place::Nodes, "Nodes", main)
}

fn table(nodes: &[NodeState]) -> Markup {
    let now = clock::now_ms();
    html! {
        div class="scroll" {
            table {
                thead { tr { th { "Node" } th { "Role" } th { "Where" } th { "Version" } th { "Applied" } th { "Behind" } th { "Heard of" } th { "As the log" } } }
                tbody {
                    @for node in nodes {
                        tr {
                            td { (node.name) }
                            td { (node.role.as_str()) }
                            td { (node.url) }
                            td { (node.version) }
                            td { (node.applied) }
                            td { (node.behind) }
                            td { (moment(now - node.unseen.as_millis() as i64)) }
                            td {
                                @match node.same {
                                    Some(true) => { "yes" }
                                    Some(false) => { strong { "no: stop this node, and look at its log" } }
                                    None => { "not known: the log has dropped its last entry" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The node that leads gives the lead to another.
#[post("/nodes/release")]
pub async fn release(
    Posted { visitor, .. }: Posted<ByAdmin>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    if let Some(nodes) = &shared.nodes {
        let audit = auth::origin(&request, &visitor.who.actor()).audit("node.release", "");
        shared.fleet.store.change(move |tables| tables.audit(&audit)).await?;
        nodes.release();
    }
    Ok(layout::see("/nodes"))
}

/// The page of a node that has nobody to ask. What was asked for is asked again by itself; what was sent is not.
pub fn nobody_leads(problem: &Problem, asks_again: bool) -> HttpResponse {
    let head = html! { @if asks_again { meta http-equiv="refresh" content="3"; } };
    let main = html! {
        h1 { "No answer from the node that leads" }
        p role="alert" { (problem.to_string()) }
        p {
            "Doors keep what they hold. "
            @if asks_again { "This page asks again every three seconds." } @else { a href="/batches" { "See what was sent" } }
        }
    };
    layout::bare(problem.status_code(), "No leader", head, main)
}
