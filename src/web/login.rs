//! Logging in and out with a browser.

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, get, post};
use maud::{Markup, html};

use super::layout;
use super::posted::{self, ByViewer, Posted};
use super::problem::{PageProblem, capital};
use super::visitor::{self, Fields, Visitor};
use crate::access::actor::Actor;
use crate::access::can_be_a_name;
use crate::fleet::FleetError;
use crate::fleet::accounts::Login;
use crate::http::body::SMALL;
use crate::http::problem::Problem;
use crate::http::{Here, auth};

/// The form.
#[get("/login")]
pub async fn login_form(request: HttpRequest) -> Result<HttpResponse, PageProblem> {
    let query = Fields::parse(request.query_string().as_bytes())?;
    let to = ours(query.one("to"));
    if Visitor::of(&request)?.is_some() {
        return Ok(layout::see(to));
    }
    let user = Some(query.one("user")).filter(|user| can_be_a_name(user)).unwrap_or_default();
    Ok(show(StatusCode::OK, user, to, None))
}

/// A body that is read by whoever takes it.
pub struct Body(Payload);

impl FromRequest for Body {
    type Error = PageProblem;
    type Future = std::future::Ready<Result<Self, PageProblem>>;

    fn from_request(_: &HttpRequest, payload: &mut Payload) -> Self::Future {
        std::future::ready(Ok(Self(payload.take())))
    }
}

/// Logs in, and goes on to where the visitor wanted to go.
#[post("/login")]
pub async fn log_in(
    Body(payload): Body,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let fields = posted::read(&request, payload, SMALL).await.map_err(small)?;
    let (user, to) = (fields.one("username"), ours(fields.one("to")));
    // A password may begin or end with a space, which Fields::one() would take away.
    let login = Login { name: user.to_owned(), password: fields.exactly("password") };
    let origin = auth::origin(&request, &Actor::Claimed(user.to_owned()));
    match shared.fleet.log_in(login, &origin).await {
        Ok(session) => {
            let mut response = HttpResponse::SeeOther();
            response.insert_header(visitor::set_cookie(&request, Some(&session.token)));
            Ok(response.insert_header((header::LOCATION, to)).finish())
        }
        Err(error @ (FleetError::WrongPassword | FleetError::TooManyLogins(_) | FleetError::Crowded)) => {
            Ok(show_with(error.into(), user, to))
        }
        Err(error @ FleetError::Invalid(_)) => Ok(show_with(error.into(), "", to)),
        Err(error) => Err(error.into()),
    }
}

/// Ends the session.
#[post("/logout")]
pub async fn log_out(
    Posted { visitor, .. }: Posted<ByViewer>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let origin = auth::origin(&request, &visitor.who.actor());
    shared.fleet.log_out(&visitor.who, &origin).await?;
    let mut response = HttpResponse::SeeOther();
    response.insert_header(visitor::set_cookie(&request, None));
    Ok(response.insert_header((header::LOCATION, "/login")).finish())
}

/// The path, where it is one of ours: a login must not lead to another site. Browsers pass over tabs and line feeds in
/// addresses and take a backslash for a slash, so what they or a proxy could read differently is not gone to.
fn ours(path: &str) -> &str {
    let decoded = decoded(path.as_bytes());
    let plain = |path: &[u8]| {
        let within = path.first() == Some(&b'/') && !path.starts_with(b"//");
        within && !path.contains(&b'\\') && !path.iter().any(u8::is_ascii_control)
    };
    let before_query = |path: &[u8]| {
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
        path[..end].windows(2).any(|pair| pair == b"//")
    };
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    let good = visible && plain(path.as_bytes()) && plain(&decoded) && !before_query(&decoded);
    if good { path } else { "/" }
}

/// With each `%XX` as the byte that it stands for.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    out
}

/// A form that is larger than this one's can be.
fn small(problem: PageProblem) -> PageProblem {
    match problem {
        PageProblem::Problem(Problem::TooLarge(limit)) => Problem::TooLargeHere(limit).into(),
        problem => problem,
    }
}

/// The form again, with what was wrong.
fn show_with(problem: Problem, user: &str, to: &str) -> HttpResponse {
    let answer = actix_web::ResponseError::error_response(&problem);
    let mut form = show(answer.status(), user, to, Some(&problem.to_string()));
    if let Some(wait) = answer.headers().get(header::RETRY_AFTER) {
        form.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    form
}

fn show(status: StatusCode, user: &str, to: &str, wrong: Option<&str>) -> HttpResponse {
    layout::bare(status, "Log in", html! {}, fields(user, to, wrong))
}

fn fields(user: &str, to: &str, wrong: Option<&str>) -> Markup {
    html! {
        form class="card login" method="post" action="/login" {
            h1 { "Log in" }
            @if let Some(wrong) = wrong {
                p class="wrong" role="alert" { (capital(wrong)) "." }
            }
            input type="hidden" name="to" value=(to);
            label { "User"
                input name="username" value=(user) autocomplete="username" autocapitalize="none" required autofocus[user.is_empty()];
            }
            label { "Password"
                input name="password" type="password" autocomplete="current-password" required autofocus[!user.is_empty()];
            }
            button class="main" { "Log in" }
            p class="hint" { "The first start of the server printed the password of the user " code { "admin" } "; it adds others with " code { "panelsync user add" } "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_path_of_ours_and_nowhere_else() {
        for path in [
            "/",
            "/panel/p1?week=2026-W01",
            "/?selector=site%3Dnorth%2Cfloor%20in%20(1%2C2)",
            "/profiles?to=http://x/",
        ] {
            assert_eq!(ours(path), path);
        }
        for path in [
            "",
            "x",
            "//host",
            "/\t/host",
            "\t//host",
            "/\\host",
            "/%09/host",
            "/%0d%0aset-cookie:x",
            "/%5chost",
            "/%2fhost",
            "/%2F/host",
            "/a//host",
            "/a%2f/host",
            "/\u{7f}",
            "/\u{e9}",
            "/ /host",
            "https://host/",
            "/\u{0}",
            "/%00",
        ] {
            assert_eq!(ours(path), "/", "{path:?}");
        }
    }
}
