//! What was sent, and what came of it, live while it runs.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use maud::{Markup, html};

use super::layout::{self, Place, moment, panel_link, state};
use super::posted::{ByOperator, Posted};
use super::problem::PageProblem;
use super::visitor::{Fields, Visitor};
use crate::access::{Role, actor};
use crate::batch::{BatchRecord, BatchState, Content, Operations, PanelState};
use crate::fleet::batches::BatchPanel;
use crate::fleet::{Fleet, FleetError, Page};
use crate::http::{Here, auth, events, percent};
use crate::store::BatchSeq;

/// Batches on a page.
const PAGE: usize = 50;

/// Panels on a page of a batch.
const PANELS: usize = 200;

/// Batches that are looked through for a filter, at most.
const LOOKED_THROUGH: usize = 2000;

/// Items of a batch that are named.
const NAMED: usize = 20;

impl BatchState {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The list.
#[get("/batches")]
pub async fn list(visitor: Visitor, request: HttpRequest, shared: Here) -> Result<HttpResponse, PageProblem> {
    let query = Fields::parse(request.query_string().as_bytes())?;
    let (by, wanted) = (query.one("by").to_owned(), query.one("state").to_owned());
    let before: BatchSeq = query.one("before").parse().unwrap_or(BatchSeq::MAX);
    let (found, next) = filtered(&shared.fleet, before, |batch| {
        (by.is_empty() || actor::is(&batch.created_by, &by)) && (wanted.is_empty() || fits(batch, &wanted))
    })
    .await?;
    let main = html! {
        div class="head" {
            h1 { "Batches" }
            @if visitor.may(Role::Operator) { a class="button main" href="/push" { "Push" } }
        }
        form class="row" method="get" action="/batches" role="search" {
            label { "State"
                select name="state" {
                    @for (value, words) in [("", "any"), ("running", "running"), ("done", "done"), ("cancelled", "cancelled"), ("trouble", "with panels where it failed")] {
                        option value=(value) selected[value == wanted] { (words) }
                    }
                }
            }
            label { "Sent by" input name="by" value=(by) autocapitalize="none"; }
            button { "Show" }
        }
        div id="batches" data-refresh data-live="/batches/live" {
            @if found.is_empty() {
                p class="empty" { "No batch" @if !by.is_empty() || !wanted.is_empty() { " fits this" } "." }
            } @else { (table(&found)) }
        }
        @if let Some(next) = next {
            a class="button" href={ "/batches?before=" (next) "&by=" (percent(&by)) "&state=" (percent(&wanted)) } { "Older" }
        }
    };
    Ok(layout::page(&visitor, Place::Batches, "Batches", main))
}

fn fits(batch: &BatchRecord, wanted: &str) -> bool {
    let panels = &batch.report.panels;
    match wanted {
        "trouble" => panels.failed + panels.rejected + panels.partial > 0,
        state => batch.state.word() == state,
    }
}

/// The newest batches before one that fit, and before which the next page begins.
async fn filtered(
    fleet: &Fleet,
    mut before: BatchSeq,
    fits: impl Fn(&BatchRecord) -> bool,
) -> Result<(Vec<BatchRecord>, Option<BatchSeq>), FleetError> {
    let mut found = Vec::new();
    for _ in 0..LOOKED_THROUGH / PAGE {
        let Page { items, next } = fleet.page_of_batches(before, PAGE).await?;
        found.extend(items.into_iter().filter(&fits));
        let Some(next) = next else { return Ok((found, None)) };
        before = next;
        if found.len() >= PAGE {
            break;
        }
    }
    Ok((found, Some(before)))
}

fn table(found: &[BatchRecord]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { th { "Sent" } th { "By" } th { "For" } th { "State" } th { "Panels" } th { "Applied" } th { "Waiting" } th { "Refused or failed" } } }
                tbody {
                    @for batch in found {
                        @let panels = &batch.report.panels;
                        tr {
                            td { a href={ "/batches/" (batch.id) } { (moment(batch.created_at_ms)) } }
                            td { (actor::short(&batch.created_by)) }
                            td { (for_whom(batch)) }
                            td { (state(batch.state.word())) }
                            td class="number" { (panels.total) }
                            td class="number" { (panels.applied) }
                            td class="number" { @if panels.pending > 0 { (panels.pending) } }
                            td class="number" { @let not = panels.failed + panels.rejected + panels.partial; @if not > 0 { b class="wrong" { (not) } } }
                        }
                    }
                }
            }
        }
    }
}

/// For whom a batch is; of an undo, of which batch, as a link.
fn for_whom(batch: &BatchRecord) -> Markup {
    match batch.undoes {
        Some(undone) => html! { "undo " a href={ "/batches/" (undone) } { "a batch" } },
        None => target(&batch.target),
    }
}

/// The panels of a batch, as a link where they are a selector.
fn target(text: &str) -> Markup {
    let short: String = text.chars().take(60).collect();
    html! {
        @if text.contains(['=', '!']) || text.contains(" in (") {
            a href={ "/?selector=" (percent(text)) } { (short) }
        } @else if text.len() > short.len() { span title=(text) { (short) "…" } }
        @else { (short) }
    }
}

/// One batch.
#[get("/batches/{id}")]
pub async fn show(
    visitor: Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let seq = shared.fleet.batch(&id)?;
    let query = Fields::parse(request.query_string().as_bytes())?;
    let outcome = PanelState::ALL.into_iter().find(|state| state.as_str() == query.one("outcome"));
    let after = query.one("after").parse().unwrap_or(0);
    let batch = shared.fleet.report(seq).await?;
    let page = shared.fleet.outcomes(seq, outcome, after, PANELS).await?;
    let items = named(&shared.fleet.asked_by(seq).await?);
    let path = format!("/batches/{}", batch.id);
    let live = (batch.state == BatchState::Running).then(|| format!("{path}/live"));
    let panels = &batch.report.panels;
    let not = panels.failed + panels.rejected + panels.partial;
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/batches" { "Batches" } }
        div id="batch" data-refresh data-live=[live] data-batch=(batch.state.word()) {
            div class="head" {
                h1 { "Batch " small { (state(batch.state.word())) } }
                @if visitor.may(Role::Operator) {
                    @if batch.state == BatchState::Running {
                        (action(&visitor, &path, "retry", "Try those that wait now", panels.pending == 0))
                        (action(&visitor, &path, "cancel", "Cancel", false))
                    } @else if not > 0 {
                        (action(&visitor, &path, "retry", &format!("Retry {}", layout::count(not, "panel")), false))
                    }
                    @if batch.state != BatchState::Running && changed(&batch) {
                        a class="button" id="undo" href={ (path) "/undo" } { "Undo" }
                    }
                }
            }
            p {
                "Sent " (moment(batch.created_at_ms)) " by " (actor::short(&batch.created_by))
                @if batch.undoes.is_some() { " to " (for_whom(&batch)) } @else { " for " (for_whom(&batch)) ": " (items) }
            }
            (progress(&batch))
            (outcomes(&path, &batch, outcome))
            (panel_table(&page.items))
            @if let Some(next) = page.next {
                a class="button" href={ (path) "?after=" (next) @if let Some(outcome) = outcome { "&outcome=" (outcome.as_str()) } } { "Next panels" }
            }
        }
    };
    Ok(layout::page(&visitor, Place::Batches, "Batch", main))
}

/// Whether it has changed anything that could be put back.
fn changed(batch: &BatchRecord) -> bool {
    let items = &batch.report.items;
    items.created + items.updated + items.deleted > 0
}

/// What the batch asks for, in short.
fn named(asked: &Operations) -> Markup {
    html! {
        @for upsert in asked.upserts.iter().take(NAMED) {
            @match &upsert.content {
                Content::Profile(profile) => {
                    a href={ "/profiles/" (upsert.item.link_id) } { (layout::name(profile.name.as_str())) } " "
                }
                Content::ByTheClock(part) => {
                    a href={ "/profiles/" (upsert.item.link_id) } { (layout::name(part.name.as_str())) } " "
                }
                Content::Identifier(identifier, _) => {
                    a href={ "/identifiers/" (upsert.item.link_id) } { (layout::name(identifier.name.as_str())) } " "
                }
            }
        }
        @if asked.upserts.len() > NAMED { "and " (asked.upserts.len() - NAMED) " more " }
        @if !asked.deletes.is_empty() { (asked.deletes.len()) " to delete" }
        @if asked.prune() { " and every other link_id deleted" }
    }
}

fn action(visitor: &Visitor, path: &str, name: &str, words: &str, hidden: bool) -> Markup {
    html! {
        form method="post" action={ (path) "/" (name) } hidden[hidden] {
            (layout::token(visitor))
            button { (words) }
        }
    }
}

fn progress(batch: &BatchRecord) -> Markup {
    let panels = &batch.report.panels;
    let done = panels.total - panels.pending;
    html! {
        label class="bar" { (done) " of " (layout::count(panels.total, "panel"))
            @if let Some(ms) = batch.duration_ms { " in " (took(ms)) }
            progress max=(panels.total) value=(done) {}
        }
    }
}

fn took(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1000.0) }
}

fn outcomes(path: &str, batch: &BatchRecord, chosen: Option<PanelState>) -> Markup {
    let panels = &batch.report.panels;
    let counts = [panels.applied, panels.partial, panels.rejected, panels.pending, panels.failed];
    html! {
        ul class="counts" aria-label="Panels by outcome" {
            li { a href=(path) aria-current=[chosen.is_none().then_some("true")] { b { (panels.total) } " panels" } }
            @for (state, n) in PanelState::ALL.into_iter().zip(counts) {
                @if n > 0 || chosen == Some(state) {
                    li {
                        a class={ "state " (state.as_str()) } href={ (path) "?outcome=" (state.as_str()) } aria-current=[(chosen == Some(state)).then_some("true")] {
                            b { (n) } " " (state.as_str())
                        }
                    }
                }
            }
        }
    }
}

fn panel_table(panels: &[BatchPanel]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { th { "Panel" } th { "Outcome" } th { "Items" } th { "Tries" } th { "Why" } } }
                tbody {
                    @for panel in panels {
                        tr {
                            td { (panel_link(&panel.panel)) }
                            td { (state(panel.outcome.as_str())) }
                            td { (words(panel)) }
                            td class="number" { (panel.attempts) }
                            td {
                                (panel.error.as_deref().unwrap_or_default())
                                @if let Some(next) = panel.next_attempt_ms {
                                    " Tried again " (moment(next))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The items' words, each with how often.
fn words(panel: &BatchPanel) -> String {
    let mut words: Vec<(&str, usize)> = Vec::new();
    for item in &panel.items {
        match words.iter_mut().find(|(word, _)| *word == item.extended_info) {
            Some((_, n)) => *n += 1,
            None => words.push((&item.extended_info, 1)),
        }
    }
    let said = words.iter().map(|(word, n)| if *n == 1 { (*word).to_owned() } else { format!("{n} {word}") });
    said.collect::<Vec<_>>().join(", ")
}

/// The batch's events.
#[get("/batches/{id}/live")]
pub async fn watch_batch(
    visitor: Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let seq = shared.fleet.batch(&id)?;
    Ok(events::stream_events(shared, &visitor.who, events::last_event_id(&request), Some(seq)).await?)
}

/// The events of all batches.
#[get("/batches/live")]
pub async fn watch_list(
    visitor: Visitor,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    Ok(events::stream_events(shared, &visitor.who, events::last_event_id(&request), None).await?)
}

/// Sends it again to the panels where it was not applied.
#[post("/batches/{id}/retry")]
pub async fn retry(
    Posted { visitor, .. }: Posted<ByOperator>,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    shared.fleet.retry(&id, auth::origin(&request, &visitor.who.actor())).await?;
    Ok(layout::see(&format!("/batches/{id}")))
}

/// Cancels it.
#[post("/batches/{id}/cancel")]
pub async fn cancel(
    Posted { visitor, .. }: Posted<ByOperator>,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    shared.fleet.cancel(&id, auth::origin(&request, &visitor.who.actor())).await?;
    Ok(layout::see(&format!("/batches/{id}")))
}
