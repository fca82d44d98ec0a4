//! What all pages have around them, and the small pieces that many of them are made of.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};

use super::files;
use super::visitor::{TOKEN_FIELD, Visitor};
use crate::access::Role;
use crate::http::percent;
use crate::profile::text;

/// What a page may load and do: its own files, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The parts of the page that have a place in its navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/`
    Fleet,
    /// `/profiles`
    Profiles,
    /// `/identifiers`
    Identifiers,
    /// `/push`
    Push,
    /// `/batches`
    Batches,
    /// `/alerts`
    Alerts,
    /// `/audit`
    Audit,
    /// `/nodes`, where there are several.
    Nodes,
    /// `/password`, which is in no navigation.
    Password,
}

const PLACES: [(Place, &str, &str, Role); 8] = [
    (Place::Fleet, "/", "Fleet", Role::Viewer),
    (Place::Profiles, "/profiles", "Profiles", Role::Viewer),
    (Place::Identifiers, "/identifiers", "Identifiers", Role::Viewer),
    (Place::Push, "/push", "Push", Role::Operator),
    (Place::Batches, "/batches", "Batches", Role::Viewer),
    (Place::Alerts, "/alerts", "Alerts", Role::Admin),
    (Place::Audit, "/audit", "Audit", Role::Admin),
    (Place::Nodes, "/nodes", "Nodes", Role::Viewer),
];

/// A whole page for a visitor.
pub fn page(visitor: &Visitor, place: Place, title: &str, main: Markup) -> HttpResponse {
    page_with(HttpResponse::Ok(), visitor, place, title, main)
}

/// The same with another status.
pub fn page_with(
    response: HttpResponseBuilder,
    visitor: &Visitor,
    place: Place,
    title: &str,
    main: Markup,
) -> HttpResponse {
    let navigation = html! {
        nav aria-label="Main" {
            @for (at, path, name, _) in PLACES.into_iter().filter(|(at, .., role)| {
                visitor.may(*role) && (*at != Place::Nodes || visitor.has_several_nodes())
            }) {
                a href=(path) aria-current=[(at == place).then_some("page")] { (name) }
            }
        }
        form class="who" method="post" action="/logout" {
            (token(visitor))
            a href="/password" title={ "Role: " (visitor.who.role.as_str()) "; change the password" } { (visitor.who.name) }
            button class="quiet" { "Log out" }
        }
    };
    as_page(response, document(title, html! {}, navigation, main))
}

/// A page for nobody in particular, with something of its own in its head.
pub fn bare(status: StatusCode, title: &str, head: Markup, main: Markup) -> HttpResponse {
    as_page(HttpResponse::build(status), plain(title, head, main))
}

/// The text of a page for nobody in particular.
pub fn plain(title: &str, head: Markup, main: Markup) -> Markup {
    document(title, head, html! {}, main)
}

fn document(title: &str, head: Markup, navigation: Markup, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · panelsync" }
                link rel="stylesheet" href=(files::path("page.css"));
                link rel="icon" href=(files::path("icon.svg"));
                script type="module" src=(files::path("page.js")) {}
                (head)
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header {
                    a class="brand" href="/" { "panelsync" }
                    (navigation)
                }
                main id="main" tabindex="-1" { (main) }
                footer { a href="/docs/" { "The API behind this page" } }
            }
        }
    }
}

/// The answer that is this page.
pub fn as_page(mut response: HttpResponseBuilder, text: Markup) -> HttpResponse {
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        // Forms say where they come from; other sites are told nothing.
        .insert_header((header::REFERRER_POLICY, HeaderValue::from_static("same-origin")))
        .body(text.into_string())
}

/// Part of a page, which its script puts in.
pub fn fragment(text: Markup) -> HttpResponse {
    as_page(HttpResponse::Ok(), text)
}

/// On to another page, which is asked for with GET.
pub fn see(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

/// The hidden field that shows that a form is ours.
pub fn token(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(visitor.form_token); }
}

/// A moment, which the page's script writes as its reader does; until then, and without script, in UTC.
pub fn moment(ms: i64) -> Markup {
    in_zone(ms, &TimeZone::UTC, None)
}

/// A moment in a panel's zone, whatever the reader's is.
pub fn moment_in(seconds: i64, zone: &TimeZone) -> Markup {
    in_zone(seconds.saturating_mul(1000), zone, zone.iana_name())
}

fn in_zone(ms: i64, zone: &TimeZone, name: Option<&str>) -> Markup {
    let Ok(at) = Timestamp::from_millisecond(ms) else {
        return html! { (ms) };
    };
    let local = zone.to_datetime(at);
    html! {
        time datetime={ (format!("{at:.3}")) } data-zone=[name] {
            (local.strftime("%Y-%m-%d %H:%M"))
            @if name.is_none() { " UTC" }
        }
    }
}

/// A state with its mark, which tells it apart without colour.
pub fn state(word: &str) -> Markup {
    html! { span class={ "state " (word) } { (word.replace('_', " ")) } }
}

/// A panel's word for a refusal, with what it means.
pub fn refusal(word: &str) -> Markup {
    // A number that is taken is told with its holder.
    let plain = word.split_once(" (").map_or(word, |(word, _)| word);
    let meaning = match plain {
        "number_of_identifiers_exceeded" => Some("the panel is full"),
        "invalid_time_rules_settings" => Some("its rules never open a door there"),
        "bound_time_profile_doesnt_exist" => Some("a time profile that binds it is not there"),
        "number_taken_by_another_identifier" => Some("another one has its number there"),
        "bound_by_identifiers" => Some("identifiers there are bound by it"),
        "face_id_not_supported" => Some("the panel knows no faces"),
        "license_plate_not_supported" => Some("the panel's version knows no plates"),
        "bad_base_64_image_file" => Some("the photo is none"),
        "face_has_not_recognized" => Some("there is no face on the photo"),
        "changed_since" => Some("something newer has changed it"),
        "has_dublicates" => Some("its link_id stood twice in one batch, and the first one holds"),
        _ => None,
    };
    html! {
        (word)
        @if let Some(meaning) = meaning { ": " (meaning) }
    }
}

/// The path of a panel's page.
pub fn panel_path(id: &str) -> String {
    format!("/panel/{}", percent(id))
}

/// A name that came from anyone: what would steer is written out, and its direction is its own.
pub fn name(name: &str) -> Markup {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    html! { @if plain { (name) } @else { bdi { (text::shown(name)) } } }
}

/// A link to a panel's page.
pub fn panel_link(id: &str) -> Markup {
    html! { a href=(panel_path(id)) { (id) } }
}

/// `1 panel`, `2 panels`.
pub fn count(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}
