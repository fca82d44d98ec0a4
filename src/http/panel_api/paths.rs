//! Paths that older panels have for calls of today: such a path is read as that of today, and marked, so that whoever
//! handles it need not know. Which panel has which is seen once the panel is known ([`serves`]).
//!
//! | panels | what they have otherwise |
//! | --- | --- |
//! | android before 2.0, camdroid and others of 1.x and before | all calls under `/api/v0` too |
//! | camdroid before 1.0 | the calls on identifiers by uid at `/access/identifiers/item/…` and `/access/identifiers/items`; those by link_id at `/access/identifiers/link` too, which is a guess |

use actix_web::dev::ServiceRequest;
use actix_web::http::Uri;
use actix_web::{HttpMessage, HttpRequest};

use super::AsGet;
use crate::http::link_api;
use crate::panel::dialect::{ApiVersion, Dialect};
use crate::profile::rule::Family;

/// Marks a request whose path is read otherwise than it was sent, and keeps that.
struct SentPath(String);

/// Marks a request whose path began with `/api/v0`.
struct OlderPrefix;

/// Marks a request at one of the paths that camdroid panels before 1.0 had for identifiers.
struct OlderIdentifiers;

/// The method and the path of a request as they were sent.
pub fn as_sent(request: &ServiceRequest) -> (String, String) {
    let extensions = request.extensions();
    let method = if extensions.get::<AsGet>().is_some() { "HEAD" } else { request.method().as_str() };
    let path = extensions.get::<SentPath>().map_or(request.path(), |SentPath(path)| path);
    (method.to_owned(), path.to_owned())
}

/// Reads an older path of a panel as that of today, and marks the request.
pub fn take_older_path(request: &mut ServiceRequest) {
    const OLDER: &str = "/api/v0/";
    let sent = request.path();
    // What devices say to their Link server is no call of a panel.
    if sent.starts_with(link_api::BASE) || !(sent.starts_with("/api/") || sent.starts_with("/panels/")) {
        return;
    }
    let sent = sent.to_owned();
    let has_older_prefix = sent.contains(OLDER);
    let path = sent.replacen(OLDER, "/api/v1/", 1);
    let identifiers = of_older_identifiers(&path);
    if !has_older_prefix && identifiers.is_none() {
        return;
    }
    let is_of_identifiers = identifiers.is_some();
    let whole = request.uri().to_string().replacen(&sent, &identifiers.unwrap_or(path), 1);
    let Ok(uri) = whole.parse::<Uri>() else { return };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
    let mut extensions = request.extensions_mut();
    extensions.insert(SentPath(sent));
    if has_older_prefix {
        extensions.insert(OlderPrefix);
    }
    if is_of_identifiers {
        extensions.insert(OlderIdentifiers);
    }
}

/// Today's path of a call on identifiers, where this is one that camdroid panels before 1.0 had for it.
fn of_older_identifiers(path: &str) -> Option<String> {
    let (before, rest) = path.split_once("/api/v1/access/identifiers")?;
    let rest = match rest {
        "" | "/item" => String::new(), // one is created
        "/link" => "/items/link".to_owned(),
        "/items" | "/items/list" => "/items".to_owned(),
        _ if rest.starts_with("/item/") => rest.replacen("/timeProfile/", "/timeprofile/", 1),
        _ => return None, // `/link/delete` among them, which newer panels have too
    };
    Some(format!("{before}/api/v1/access/identifier{rest}"))
}

/// Whether a panel that speaks so has the path that was sent. A family has the other's paths no more than any other
/// unknown ones, newer panels not those of older ones, and older ones not those of newer ones.
pub fn serves(dialect: &Dialect, version: ApiVersion, request: &HttpRequest) -> bool {
    let path = request.path();
    let extensions = request.extensions();
    if extensions.get::<OlderPrefix>().is_some() && !version.has_v0() {
        return false;
    }
    let of_panels = ["access/timeprofile", "access/identifier", "apartment/item"];
    let of_panels = of_panels.iter().any(|of| path.contains(&format!("/v1/{of}")));
    if dialect.family == Family::DoorController {
        return !of_panels;
    }
    if path.contains("/v1/access/time-profiles") {
        return false;
    }
    let is_older = extensions.get::<OlderIdentifiers>().is_some();
    let by_uid = path.contains("/v1/access/identifier") && !path.contains("/link");
    if is_older { dialect.older_identifiers } else { !(dialect.older_identifiers && by_uid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_older_paths() {
        let read = |rest: &str| of_older_identifiers(&format!("/panels/p1/api/v1/access/identifiers{rest}"));
        for (rest, today) in [
            ("", ""),
            ("/item", ""),
            ("/item/7", "/item/7"),
            ("/item/7/timeProfile/2", "/item/7/timeprofile/2"),
            ("/item/7/passes/reset", "/item/7/passes/reset"),
            ("/items", "/items"),
            ("/items/list", "/items"),
            ("/link", "/items/link"),
        ] {
            let today = format!("/panels/p1/api/v1/access/identifier{today}");
            assert_eq!(read(rest).as_deref(), Some(today.as_str()), "{rest}");
        }
        for rest in ["/link/delete", "/items/link", "x", "/itemx", "/7"] {
            assert_eq!(read(rest), None, "{rest}");
        }
    }
}
