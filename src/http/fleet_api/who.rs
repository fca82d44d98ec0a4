//! Who may open which door, when, and why.

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::windows::WindowBody;
use super::{Page, Paging, cursor_of_item, not_a_cursor};
use crate::batch::item::Kind;
use crate::clock;
use crate::fleet::who::{At, Doors, Opening};
use crate::http::Here;
use crate::http::auth::Viewer;
use crate::http::problem::{Problem, ProblemBody};
use crate::identifier::opens::{When, WhenError};
use crate::panel::settings::PanelId;
use crate::profile::{LinkId, opens};
use crate::store::row::RowName;

/// Which doors, which identifiers, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AccessQuery {
    /// Who may open this panel's door. With `identifier` also given: whether that one may.
    #[param(example = "north-01")]
    panel: Option<String>,
    /// Which doors the identifier of this link_id opens. One of `panel` and `identifier` must be given.
    #[param(value_type = Option<uuid::Uuid>)]
    identifier: Option<String>,
    /// At this moment: RFC 3339, or Unix seconds. Without it, and without a range: now.
    #[param(example = "2026-11-26T09:30:00Z")]
    at: Option<String>,
    /// Within a range from this moment on: RFC 3339, or Unix seconds. A range is at most 366 days long.
    #[param(example = "2026-11-23T00:00:00Z")]
    from: Option<String>,
    /// Up to this moment, which is not in the range any more.
    #[param(example = "2026-11-30T00:00:00Z")]
    to: Option<String>,
    /// With `true`, only what opens by what is desired, or perhaps by what a device holds.
    #[param(value_type = Option<bool>)]
    opens: Option<String>,
}

/// Whether an identifier opens a door.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessBody {
    /// Which door.
    #[schema(example = "north-01")]
    pub panel: String,
    /// The panel's time zone: IANA name.
    #[schema(example = "Europe/Kyiv")]
    pub zone: String,
    /// The identifier's link_id; null for one that was made by uid.
    #[schema(required = true, value_type = Option<uuid::Uuid>)]
    pub identifier: Option<LinkId>,
    /// The panel's own number for one that was made by uid.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// What its owner is called; null where the panel holds nothing of this link_id.
    #[schema(required = true, example = "Flat 12, first")]
    pub name: Option<String>,
    /// What opens, in the panel API's word; null as `name` is.
    #[schema(required = true, example = "card")]
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The last characters of its number; null as `name` is, and of codes and faces.
    #[schema(required = true, example = "…567")]
    pub number: Option<String>,
    /// Whether it opens at the moment, or ever within the range, by what the panel should hold.
    pub opens: bool,
    /// Why it opens, or does not.
    pub why: AccessReason,
    /// When it opens within the range: ascending, merged, cut at its ends. Empty for a moment.
    pub windows: Vec<WindowBody>,
    /// Whether the panel does so: `yes` (it is embedded, or its device has confirmed the identifier and the time profiles
    /// that it names), `unknown` (some of that is on its way, or only its device knows how
    /// many of its passes are left, or it shows the time in another zone), or `no` (its device refuses some of it, or was found to
    /// hold something else).
    #[schema(example = "yes")]
    pub confirmed: String,
    /// Whether the door perhaps opens, by anything that the device perhaps holds until it has confirmed what is desired. With
    /// `false` it surely stays shut.
    pub may_open: bool,
    /// What is not confirmed, in words.
    #[schema(required = true, example = "the device has not confirmed it")]
    pub not_confirmed: Option<String>,
}

/// Why an identifier opens a door, or does not.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessReason {
    /// It opens: `any_time` (it names no time profile), `profile_open`. It does not: `not_on_panel`, `never_valid`,
    /// `not_yet_valid`, `no_longer_valid`, `no_pass_left`, `no_profile_there` (the panel holds none of its time profiles),
    /// `no_profile_open`.
    #[schema(example = "profile_open")]
    pub code: String,
    /// The same in words, with moments in the panel's zone.
    #[schema(example = "\"Work week\" is open 26 November 2026 09:00–18:00")]
    pub text: String,
    /// The time profile that is open, or opens next; within a range the one that opens first.
    #[schema(required = true, value_type = Option<uuid::Uuid>)]
    pub profile: Option<LinkId>,
    /// Where it opens: since when, in Unix seconds. Where it does not: from when it is valid, or its profile opens. Null
    /// where that is not known, or more than a year away.
    #[schema(required = true)]
    pub from: Option<i64>,
    /// Where it opens: until when, in Unix seconds. Where it does not: until when it was valid. Null as `from` is.
    #[schema(required = true)]
    pub to: Option<i64>,
    /// The time profiles that it names and that the panel does not hold; they open nothing.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub missing: Vec<LinkId>,
}

impl From<&Opening> for AccessBody {
    fn from(opening: &Opening) -> Self {
        let settings = &opening.panel;
        let holder = opening.holder();
        let missing = opening.answer().map_or(&[][..], |answer| &answer.missing);
        Self {
            panel: settings.id.as_str().to_owned(),
            zone: settings.zone.name().to_owned(),
            identifier: opening.name.link_id(),
            uid: match opening.name {
                RowName::Link(_) => None,
                RowName::Uid(_, uid) => Some(uid),
            },
            name: holder.map(|holder| holder.name.clone()),
            kind: holder.map(|holder| holder.kind.as_str().to_owned()),
            number: holder.and_then(|holder| holder.masked.clone()),
            opens: opening.opens(),
            why: AccessReason {
                code: opening.reason().to_owned(),
                text: opening.text().into_owned(),
                profile: opening.profile(),
                from: opening.from(),
                to: opening.to(),
                missing: missing.to_vec(),
            },
            windows: opening.windows().iter().map(WindowBody::from).collect(),
            confirmed: opening.confirmed.as_str().to_owned(),
            may_open: opening.may_open,
            not_confirmed: opening.not_confirmed.clone(),
        }
    }
}

/// Who may open which door: one identifier at one panel, all identifiers of a panel (by link_id), or all panels of an
/// identifier (by id); at a moment or within a range. By what panels should hold, and beside it by what their devices have
/// confirmed. No device is asked. A page may have fewer items than its limit, even none, and a next one all the same.
#[utoipa::path(tag = "identifiers", operation_id = "show_access", params(AccessQuery, Paging),
    responses((status = 200, body = Page<AccessBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/access")]
pub async fn show_access(
    _who: Viewer,
    query: web::Query<AccessQuery>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let when = query.when()?;
    let only_open = match query.opens.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::bad_request("opens takes true or false")),
    };
    let identifier = query.identifier.as_deref().map(|text| {
        let link = text.parse::<LinkId>();
        link.map_err(|error| Problem::bad_request(format!("identifier takes a link_id: {error}")))
    });
    let identifier = identifier.transpose()?;
    let panel = query.panel.as_deref().map(|id| shared.fleet.panel(id)).transpose()?;
    let doors = match (panel, identifier) {
        (Some(panel), Some(link)) => Doors::Pair(panel, link),
        (Some(panel), None) => Doors::Panel(panel, paging.item(Kind::Identifier)?),
        (None, Some(link)) => {
            let place = |text: &str| PanelId::new(text).ok_or_else(not_a_cursor);
            let after = paging.cursor.as_deref().map(place).transpose()?;
            Doors::Identifier(link, after)
        }
        (None, None) => {
            return Err(Problem::bad_request("panel or identifier must be given, or both"));
        }
    };
    let page = shared.fleet.access(doors, when, only_open, limit).await?;
    let items = page.items.iter().map(AccessBody::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next.map(cursor_of) }))
}

impl AccessQuery {
    fn when(&self) -> Result<When, Problem> {
        let (key, when) = match (&self.at, &self.from, &self.to) {
            (Some(at), None, None) => ("at", When::at(moment("at", at)?)),
            (None, Some(from), Some(to)) => {
                let when = When::within(moment("from", from)?, moment("to", to)?);
                (if when == Err(WhenError::TooLong) { "to" } else { "from" }, when)
            }
            (None, None, None) => ("at", When::at(clock::now_ms() / 1000)),
            (None, Some(_), None) => return Err(Problem::bad_request("from takes a to beside it")),
            (None, None, Some(_)) => return Err(Problem::bad_request("to takes a from beside it")),
            (Some(_), ..) => return Err(Problem::bad_request("at takes no from or to beside it")),
        };
        when.map_err(|error| match error {
            WhenError::Backwards => Problem::bad_request(error.to_string()),
            WhenError::TooLong | WhenError::OutOfCalendar => Problem::bad_request(format!("{key}: {error}")),
        })
    }
}

fn moment(key: &str, text: &str) -> Result<i64, Problem> {
    let moment = text.parse().ok().or_else(|| opens::moment(text));
    moment.ok_or_else(|| {
        Problem::bad_request(format!("{key} takes a moment such as 2026-11-23T00:00:00Z, or Unix seconds"))
    })
}

/// The cursor of a place.
pub fn cursor_of(place: At) -> String {
    match place {
        At::Identifier(name) => cursor_of_item(name),
        At::Panel(id) => id.as_str().to_owned(),
    }
}
