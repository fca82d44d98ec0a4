//! Alerts: who is told what is wrong, and what came of the last message of each.

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post};
use maud::{Markup, html};

use super::layout::{self, Place, moment};
use super::posted::{ByAdmin, Posted};
use super::problem::PageProblem;
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::alert::{PER_HOUR, Topic};
use crate::fleet::alerts::{ShownAlert, Tested, WantedAlert};
use crate::fleet::{FieldError, FleetError};
use crate::http::{Here, Shared, auth};
use crate::profile::text;

/// What is said above the list.
enum News {
    Nothing,
    Made { name: String, secret: Option<String> },
    Tested { name: String, tested: Tested },
}

/// The list, and the form for another one.
#[get("/alerts")]
pub async fn show(visitor: Visitor, shared: Here) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Admin)?;
    let fields = Fields::default();
    page(HttpResponse::Ok(), &visitor, &shared, &News::Nothing, &fields, &[]).await
}

/// Makes an alert.
#[post("/alerts")]
pub async fn add(
    Posted { visitor, fields, .. }: Posted<ByAdmin>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let name = fields.one("name").to_owned();
    let origin = auth::origin(&request, &visitor.who.actor());
    let set = match wanted(&fields) {
        Ok(wanted) => shared.fleet.set_alert(&name, wanted, true, &origin).await,
        Err(error) => Err(error),
    };
    match set {
        Ok(set) => {
            let news = News::Made { name, secret: set.secret };
            page(HttpResponse::Ok(), &visitor, &shared, &news, &Fields::default(), &[]).await
        }
        Err(FleetError::Invalid(errors)) => {
            let response = HttpResponse::UnprocessableEntity();
            page(response, &visitor, &shared, &News::Nothing, &fields, &errors).await
        }
        Err(FleetError::Conflict(why)) => {
            let errors = [FieldError::at("", why)];
            page(HttpResponse::Conflict(), &visitor, &shared, &News::Nothing, &fields, &errors).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends a message now, and says what came of it.
#[post("/alerts/test")]
pub async fn test(
    Posted { visitor, fields, .. }: Posted<ByAdmin>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let name = fields.one("name").to_owned();
    let tested = shared.fleet.test_alert(&name, &auth::origin(&request, &visitor.who.actor())).await?;
    let news = News::Tested { name, tested };
    page(HttpResponse::Ok(), &visitor, &shared, &news, &Fields::default(), &[]).await
}

/// Removes one.
#[post("/alerts/remove")]
pub async fn remove(
    Posted { visitor, fields, .. }: Posted<ByAdmin>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let origin = auth::origin(&request, &visitor.who.actor());
    shared.fleet.remove_alert(fields.one("name"), &origin).await?;
    Ok(layout::see("/alerts"))
}

/// What the form asks for.
fn wanted(fields: &Fields) -> Result<WantedAlert, FleetError> {
    let text = |name: &str| Some(fields.one(name).to_owned()).filter(|text| !text.is_empty());
    let number = |name: &str| {
        let wrong = || FleetError::invalid(format!("/{name}"), "a number");
        text(name).map(|text| text.parse::<u64>().map_err(|_| wrong())).transpose()
    };
    let to = fields.one("to");
    let is_url = to.contains("://");
    let addresses = to.split([',', ';', ' ']).filter(|address| !address.is_empty() && !is_url);
    if fields.one("on").is_empty() {
        return Err(FleetError::invalid("/on", "tick at least one thing that it is for"));
    }
    let per_hour = number("per_hour")?.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(WantedAlert {
        webhook: is_url.then(|| to.to_owned()),
        mail: addresses.map(str::to_owned).collect(),
        on: fields.all("on").map(str::to_owned).collect(),
        after_s: number("after_m")?.map(|minutes| minutes.saturating_mul(60)),
        selector: text("selector"),
        per_hour,
        ..WantedAlert::default()
    })
}

async fn page(
    response: HttpResponseBuilder,
    visitor: &Visitor,
    shared: &Shared,
    news: &News,
    fields: &Fields,
    errors: &[FieldError],
) -> Result<HttpResponse, PageProblem> {
    let alerts = shared.fleet.alerts().await?;
    let has_mail = shared.fleet.alert_sending.smtp.is_some();
    let main = html! {
        h1 { "Alerts" }
        (said(news))
        @if alerts.is_empty() {
            p class="empty" { "Nobody is told by itself when something is wrong." }
        } @else {
            (table(visitor, &alerts))
        }
        (form(visitor, has_mail, fields, errors))
    };
    Ok(layout::page_with(response, visitor, Place::Alerts, "Alerts", main))
}

fn said(news: &News) -> Markup {
    html! {
        @match news {
            News::Nothing => {}
            News::Made { name, secret } => {
                div class="card" role="status" {
                    p { "The alert " strong { (name) } " is there. Try it with its button." }
                    @if let Some(secret) = secret {
                        p { "Its messages are signed with this secret, which is shown this once:" }
                        p { code { (secret) } }
                    }
                }
            }
            News::Tested { name, tested: Tested { sent: true, said, .. } } => {
                p class="card" role="status" { "The test of " strong { (name) } " went out: " (text::shown(said)) }
            }
            News::Tested { name, tested: Tested { said, .. } } => {
                p class="wrong" role="alert" { "The test of " strong { (name) } " did not go out: " (text::shown(said)) }
            }
        }
    }
}

fn table(visitor: &Visitor, alerts: &[ShownAlert]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { th { "Alert" } th { "To" } th { "When" } th { "Panels" } th { "An hour" } th { "Sent" } th { "Waiting" } th { "Given up" } th { "Held back" } th { "Last" } th { "Test, remove" } } }
                tbody {
                    @for ShownAlert { name, alert, webhook, progress, unsent } in alerts {
                        tr {
                            td { (name) }
                            td {
                                @match webhook {
                                    Some(webhook) => { (webhook.url) }
                                    None => { (alert.mail.join(", ")) }
                                }
                            }
                            td { (alert.on.iter().map(|topic| topic.as_str()).collect::<Vec<_>>().join(", ")) }
                            td { (alert.selector.as_deref().unwrap_or("all")) }
                            td class="number" { (alert.per_hour) }
                            td class="number" { (progress.sent) }
                            td class="number" { (unsent) }
                            td class="number" { (progress.failed) }
                            td class="number" { (progress.held_back) }
                            td {
                                @match &progress.last {
                                    None => { "nothing yet" }
                                    Some(last) => {
                                        (moment(last.at_ms)) " "
                                        @if last.sent { "sent " } @else { strong { "not sent " } }
                                        (last.kind.as_str()) ": " (text::shown(&last.said))
                                        @if let Some(since) = progress.failing_since_ms { " (failing since " (moment(since)) ")" }
                                    }
                                }
                            }
                            td {
                                form class="row" method="post" action="/alerts/test" {
                                    (layout::token(visitor))
                                    input type="hidden" name="name" value=(name);
                                    button { "Test" }
                                }
                                form class="row" method="post" action="/alerts/remove" {
                                    (layout::token(visitor))
                                    input type="hidden" name="name" value=(name);
                                    button class="quiet" aria-label={ "Remove " (name) } { "Remove" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn form(visitor: &Visitor, has_mail: bool, fields: &Fields, errors: &[FieldError]) -> Markup {
    let fresh = fields.one("name").is_empty();
    html! {
        h2 { "Another one" }
        @if !errors.is_empty() {
            div class="wrong" role="alert" {
                p { "Nothing was added. Put this right:" }
                ul { @for FieldError { path, message } in errors { li { @if !path.is_empty() { code { (path) } " " } (text::shown(message)) } } }
            }
        }
        form class="card" method="post" action="/alerts" autocomplete="off" {
            (layout::token(visitor))
            label { "Name" input name="name" required value=(fields.one("name")) autocapitalize="none" spellcheck="false" maxlength="63"; }
            label { "To"
                input name="to" required value=(fields.one("to")) autocapitalize="none" spellcheck="false" placeholder="https://hooks.example/panelsync";
            }
            p class="hint" {
                "A URL is a webhook, signed as Standard Webhooks has it. "
                @if has_mail { "Addresses get mail." } @else { "For mail the server is started with " code { "--smtp" } "." }
            }
            fieldset {
                legend { "When" }
                @for (topic, words) in TOPICS {
                    label class="tick" {
                        input type="checkbox" name="on" value=(topic.as_str()) checked[fresh || fields.has("on", topic.as_str())];
                        (words)
                    }
                }
            }
            label { "Offline for how many minutes"
                input type="number" name="after_m" min="1" max="43200" value=(if fresh { "10" } else { fields.one("after_m") });
            }
            label { "Only of panels (selector)" input name="selector" value=(fields.one("selector")) autocapitalize="none" spellcheck="false" placeholder="site=north"; }
            label { "Messages an hour at most"
                input type="number" name="per_hour" min="1" max="1000" value=(if fresh { PER_HOUR.to_string() } else { fields.one("per_hour").to_owned() });
            }
            button class="main" { "Add" }
        }
    }
}

const TOPICS: [(Topic, &str); 5] = [
    (Topic::Offline, "a panel is offline, and back"),
    (Topic::Refused, "a panel refuses an item"),
    (Topic::Drift, "a device holds something other than it should"),
    (Topic::BatchFailed, "a batch ended with failures"),
    (Topic::NoLeader, "no node leads, of several"),
];
