//! Changing one's own password with a browser.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, get, post};
use maud::{Markup, html};

use super::layout::{self, Place};
use super::posted::{ByViewer, Posted};
use super::problem::{PageProblem, capital};
use super::visitor::Visitor;
use crate::access::MIN_PASSWORD;
use crate::fleet::FleetError;
use crate::fleet::accounts::NewPassword;
use crate::http::problem::Problem;
use crate::http::{Here, auth};

/// The form.
#[get("/password")]
pub async fn password_form(visitor: Visitor) -> HttpResponse {
    show(&visitor, StatusCode::OK, form(&visitor, None))
}

/// Changes the password; this session stays, and the user's others end.
#[post("/password")]
pub async fn change(
    Posted { visitor, fields, .. }: Posted<ByViewer>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let (old, new) = (fields.exactly("old_password"), fields.exactly("password"));
    if new != fields.exactly("again") {
        let wrong = form(&visitor, Some("the new password and its repetition differ"));
        return Ok(show(&visitor, StatusCode::UNPROCESSABLE_ENTITY, wrong));
    }
    let (who, change) = (&visitor.who, NewPassword { password: new, old_password: Some(old) });
    let origin = auth::origin(&request, &who.actor());
    match shared.fleet.change_password(who, &who.name, change, &origin).await {
        Ok(()) => {
            let done = html! {
                h1 { "Password" }
                p role="status" { "The password was changed. Other sessions of " (visitor.who.name) " are over." }
                p { a href="/" { "Back to the fleet" } }
            };
            Ok(show(&visitor, StatusCode::OK, done))
        }
        Err(FleetError::WrongPassword) => {
            let wrong = form(&visitor, Some("the password of now is wrong"));
            Ok(show(&visitor, StatusCode::UNPROCESSABLE_ENTITY, wrong))
        }
        Err(error @ (FleetError::Invalid(_) | FleetError::TooManyLogins(_) | FleetError::Crowded)) => {
            let text = match &error {
                FleetError::Invalid(errors) => {
                    errors.first().map(|error| error.message.clone()).unwrap_or_default()
                }
                error => error.to_string(),
            };
            Ok(show(&visitor, Problem::from(error).status_code(), form(&visitor, Some(&text))))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(visitor: &Visitor, status: StatusCode, main: Markup) -> HttpResponse {
    layout::page_with(HttpResponse::build(status), visitor, Place::Password, "Password", main)
}

fn form(visitor: &Visitor, wrong: Option<&str>) -> Markup {
    html! {
        form class="card login" method="post" action="/password" {
            (layout::token(visitor))
            h1 { "Password of " (visitor.who.name) }
            @if let Some(wrong) = wrong {
                p class="wrong" role="alert" { (capital(wrong)) "." }
            }
            input type="hidden" name="username" value=(visitor.who.name) autocomplete="username";
            label { "Password of now"
                input name="old_password" type="password" autocomplete="current-password" required autofocus;
            }
            label { "New password"
                input name="password" type="password" autocomplete="new-password" minlength=(MIN_PASSWORD) required;
            }
            label { "New password again"
                input name="again" type="password" autocomplete="new-password" minlength=(MIN_PASSWORD) required;
            }
            button class="main" { "Change" }
            p class="hint" { "At least " (MIN_PASSWORD) " characters. Other sessions of " (visitor.who.name) " end with it." }
        }
    }
}
