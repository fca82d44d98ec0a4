//! Taking a batch back: first what that would do, then, asked once more, the undo.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use maud::{Markup, html};
use uuid::Uuid;

use super::layout::{self, Place, moment};
use super::posted::{ByOperator, Posted};
use super::problem::PageProblem;
use super::push::{panel_by_panel, sums};
use super::visitor::{Fields, Visitor};
use crate::access::{Role, actor};
use crate::batch::BatchRecord;
use crate::batch::selector::Selector;
use crate::fleet::FleetError;
use crate::fleet::batches::{IdempotencyKey, Plan};
use crate::http::{Here, auth};

/// The selector that a form has, if any.
fn selector(fields: &Fields) -> Result<Option<Selector>, FleetError> {
    let text = fields.one("selector").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong =
        |error: crate::batch::selector::SelectorError| FleetError::invalid("/selector", error.to_string());
    Selector::parse(text).map(Some).map_err(wrong)
}

/// What the undo would do, and the button for it.
#[get("/batches/{id}/undo")]
pub async fn undo_form(
    visitor: Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let query = Fields::parse(request.query_string().as_bytes())?;
    let plan = shared.fleet.plan_undo(&id, selector(&query)?).await?;
    let batch = shared.fleet.report(shared.fleet.batch(&id)?).await?;
    let main = html! {
        nav class="crumbs" aria-label="Where this is" {
            a href="/batches" { "Batches" } " / " a href={ "/batches/" (batch.id) } { "Batch" }
        }
        h1 { "Undo a batch" }
        p {
            "Sent " (moment(batch.created_at_ms)) " by " (actor::short(&batch.created_by))
            ". On each panel what stood before it is put back, and what it created is deleted. What something newer has changed since is left as it is."
        }
        form class="row" method="get" action={ "/batches/" (batch.id) "/undo" } {
            label { "Only panels with" input name="selector" value=(query.one("selector")) placeholder="site=north" autocapitalize="none"; }
            button { "Show" }
        }
        (planned(&visitor, &batch, &plan, query.one("selector")))
    };
    Ok(layout::page(&visitor, Place::Batches, "Undo", main))
}

fn planned(visitor: &Visitor, batch: &BatchRecord, plan: &Plan, selector: &str) -> Markup {
    let items = plan.report.items;
    html! {
        section class="card" id="plan" aria-label="Dry run" {
            (sums(plan))
            (panel_by_panel(plan))
            form method="post" action={ "/batches/" (batch.id) "/undo" } {
                (layout::token(visitor))
                input type="hidden" name="key" value=(Uuid::new_v4());
                input type="hidden" name="selector" value=(selector);
                button class="danger" id="undo" {
                    "Undo on " (layout::count(plan.report.panels.total, "panel"))
                    @if items.deleted > 0 { ", deleting " (layout::count(items.deleted, "item")) }
                }
            }
        }
    }
}

/// Takes it back.
#[post("/batches/{id}/undo")]
pub async fn undo(
    Posted { visitor, fields, .. }: Posted<ByOperator>,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let selected = selector(&fields)?;
    let key = Some(fields.one("key").to_owned()).filter(|key| !key.is_empty());
    let asked = format!("undo {} {}", id.as_str(), fields.one("selector"));
    let key = key.map(|name| IdempotencyKey::new(name, asked.as_bytes()));
    let origin = auth::origin(&request, &visitor.who.actor());
    let undo = shared.fleet.undo(&id, selected, key, origin).await?;
    Ok(layout::see(&format!("/batches/{}", undo.id)))
}
