//! What a page answers with when it cannot show what was asked for.

use std::fmt;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use maud::html;

use super::layout;
use crate::http::percent;
use crate::http::problem::Problem;

/// Why there is no page.
#[derive(Debug)]
pub enum PageProblem {
    /// Nobody is logged in: that comes first, and then this path.
    LogIn(String),
    /// A link on another site was followed, and browsers keep a strict cookie back then: our own page asks again.
    AskAgain,
    /// A form that was not sent from one of our pages, or of a session that is over.
    NotOurForm,
    /// What the fleet API would say.
    Problem(Problem),
}

impl PageProblem {
    /// Nobody is logged in, as far as the request shows.
    pub fn log_in(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        if header("sec-fetch-site") == Some("cross-site") && header("sec-fetch-mode") == Some("navigate") {
            return Self::AskAgain;
        }
        if request.method() != Method::GET {
            return Self::LogIn("/".to_owned()); // what was sent is not sent again
        }
        let query = request.query_string();
        let path = request.path();
        Self::LogIn(if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") })
    }
}

impl fmt::Display for PageProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogIn(_) | Self::AskAgain => f.write_str("nobody is logged in"),
            Self::NotOurForm => {
                f.write_str("this form is not of the session that is open now; load the page again and repeat what you did")
            }
            Self::Problem(problem) => problem.fmt(f),
        }
    }
}

impl<E: Into<Problem>> From<E> for PageProblem {
    fn from(problem: E) -> Self {
        Self::Problem(problem.into())
    }
}

impl ResponseError for PageProblem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::LogIn(_) => StatusCode::SEE_OTHER,
            Self::AskAgain => StatusCode::OK,
            Self::NotOurForm => StatusCode::FORBIDDEN,
            Self::Problem(problem) => problem.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        match self {
            Self::LogIn(path) if path == "/" => layout::see("/login"),
            Self::LogIn(path) => layout::see(&format!("/login?to={}", percent(path))),
            Self::AskAgain => layout::bare(
                status,
                "One moment",
                html! { meta http-equiv="refresh" content="0"; },
                html! { p { "One moment …" } },
            ),
            Self::NotOurForm | Self::Problem(_) => {
                let mut inside = HttpResponse::build(status);
                if let Self::Problem(problem) = self {
                    // It logs what failed inside, and knows what else to say in headers.
                    let answer = problem.error_response();
                    if let Some(wait) = answer.headers().get(header::RETRY_AFTER) {
                        inside.insert_header((header::RETRY_AFTER, HeaderValue::clone(wait)));
                    }
                }
                let title = status.canonical_reason().unwrap_or("Error");
                let main = html! {
                    h1 { (title) }
                    p { (capital(&self.to_string())) "." }
                    p { a href="/" { "Back to the fleet" } }
                };
                layout::as_page(inside, layout::plain(title, html! {}, main))
            }
        }
    }
}

/// The text as a sentence begins.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
