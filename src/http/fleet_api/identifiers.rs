//! Who may open: the identifiers of a panel, and over all panels by link_id.
//!
//! No list tells a number whole. One identifier's is told to an operator who asks for it, and that stands in the audit.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::profiles::{RefusingPanel, StateCounts};
use super::types::{IdentifierPassesBody, IdentifierTimeBody, IdentifierValidBody};
use super::{Page, Paging, cursor_of_item};
use crate::access::Role;
use crate::batch::item::Kind;
use crate::batch::selector::Selector;
use crate::fleet::{self, identifiers as held};
use crate::http::Here;
use crate::http::auth::{self, Operator, Viewer};
use crate::http::problem::{Problem, ProblemBody};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::photo::Photo;
use crate::identifier::rule::{Passes, ValidTime};
use crate::profile::LinkId;

/// An identifier as it is shown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ShownIdentifier {
    /// What its owner is called.
    #[schema(example = "Flat 12, first")]
    pub name: String,
    /// `owner` or `guest`.
    #[schema(example = "owner")]
    pub owner: String,
    /// `card`, `ukey`, `inputCode`, `qr`, `license_plate` or `face_id`.
    #[schema(example = "card")]
    pub r#type: String,
    /// Its last three characters behind an ellipsis; null for codes and faces. Whole with `reveal=number`.
    #[schema(example = "…567", required = true)]
    pub number: Option<String>,
    /// `first`, `second` or `all`.
    #[schema(example = "first")]
    pub lock: String,
    /// The apartment's link_id.
    #[schema(value_type = Option<uuid::Uuid>, required = true)]
    pub apartment_link_id: Option<LinkId>,
    /// When and how often.
    pub valid: IdentifierValidBody,
    /// The link_ids of the time profiles that bind it; without one it opens at any time.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub profiles: Vec<LinkId>,
    /// By what a face is known: the SHA-256 of its photo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub face_sha256: Option<String>,
}

impl ShownIdentifier {
    /// With no more of its number than may be shown.
    pub(super) fn masked(identifier: &Identifier) -> Self {
        Self::with(identifier, identifier.credential.masked())
    }

    /// With its number whole; a face has none.
    fn whole(identifier: &Identifier) -> Self {
        Self::with(identifier, identifier.credential.whole())
    }

    fn with(identifier: &Identifier, number: Option<String>) -> Self {
        let (from, to) = match identifier.time {
            ValidTime::Permanent => (None, None),
            ValidTime::Between { from, to } => (Some(from), Some(to)),
        };
        let max_passes = match identifier.passes {
            Passes::Permanent => None,
            Passes::AtMost(most) => Some(most.get()),
        };
        let valid = IdentifierValidBody {
            time: Some(IdentifierTimeBody { is_permanent: from.is_none(), from, to }),
            passes: Some(IdentifierPassesBody { is_permanent: max_passes.is_none(), max_passes }),
        };
        Self {
            name: identifier.name.as_str().to_owned(),
            owner: identifier.owner.as_str().to_owned(),
            r#type: identifier.credential.kind().as_str().to_owned(),
            number,
            lock: identifier.lock.as_str().to_owned(),
            apartment_link_id: identifier.apartment,
            valid,
            profiles: identifier.profiles.as_slice().to_vec(),
            face_sha256: match &identifier.credential {
                Credential::Face(digest) => Some(digest.hex()),
                _ => None,
            },
        }
    }
}

/// An identifier on one panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PanelIdentifier {
    /// Null for an identifier that was made by uid.
    #[schema(value_type = Option<uuid::Uuid>, required = true)]
    pub link_id: Option<LinkId>,
    /// The panel's own number for it.
    pub uid: u32,
    /// `applied`, `pending`, `rejected`, `drifted` or `kept_otherwise`, as of a profile.
    #[schema(example = "applied")]
    pub state: String,
    /// Why it is rejected, in the panel's words.
    #[schema(required = true)]
    pub extended_info: Option<String>,
    /// 1 when created, one more at each change.
    pub revision: u32,
    /// What it is, in words and in the panel's zone.
    #[schema(example = "card …567 of \"Flat 12, first\", first lock, when \"Work week\" is open")]
    pub sentence: String,
    /// What it says.
    pub identifier: ShownIdentifier,
}

impl From<held::PanelIdentifier> for PanelIdentifier {
    fn from(of: held::PanelIdentifier) -> Self {
        Self {
            link_id: of.link_id,
            uid: of.uid,
            state: of.state.as_str().to_owned(),
            extended_info: of.extended_info,
            revision: of.revision,
            sentence: of.sentence,
            identifier: ShownIdentifier::masked(&of.identifier),
        }
    }
}

/// The identifiers that a panel should hold: those with a link_id in its order, then those made by uid.
#[utoipa::path(tag = "identifiers", operation_id = "list_panel_identifiers", params(("id" = String, Path), Paging),
    responses((status = 200, body = Page<PanelIdentifier>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/identifiers")]
pub async fn of_panel(
    _who: Viewer,
    id: web::Path<String>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let after = paging.item(Kind::Identifier)?;
    let panel = shared.fleet.panel(&id)?;
    let fleet::Page { items, next } = shared.fleet.identifiers_of(panel, after, limit).await?;
    let items = items.into_iter().map(PanelIdentifier::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: next.map(cursor_of_item) }))
}

/// Identifiers of which panels.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Among {
    /// Panels by their labels; all without.
    #[param(example = "site=north")]
    selector: Option<String>,
}

/// An identifier over the fleet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FleetIdentifier {
    /// Which identifier.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: LinkId,
    /// As most panels hold it; null where none does, since all refuse it.
    #[schema(required = true)]
    pub identifier: Option<ShownIdentifier>,
    /// How many panels hold it.
    pub panels: u64,
    /// How many different things they hold.
    pub versions: usize,
    /// In which states.
    pub states: StateCounts,
}

impl From<held::FleetIdentifier> for FleetIdentifier {
    fn from(of: held::FleetIdentifier) -> Self {
        let held::FleetIdentifier { link_id, identifier, panels, versions, states } = of;
        let identifier = identifier.as_ref().map(ShownIdentifier::masked);
        Self { link_id, identifier, panels, versions, states: states.into() }
    }
}

/// The identifiers over the fleet, or over some panels, by link_id.
#[utoipa::path(tag = "identifiers", operation_id = "list_identifiers", params(Among, Paging),
    responses((status = 200, body = Page<FleetIdentifier>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
#[get("/identifiers")]
pub async fn list_identifiers(
    _who: Viewer,
    among: web::Query<Among>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let after: Option<LinkId> =
        paging.cursor.as_ref().map(|_| paging.number(LinkId::from_bytes([0; 16]))).transpose()?;
    let selector = among.selector.as_deref().map(Selector::parse).transpose();
    let selector = selector.map_err(|error| Problem::bad_request(format!("selector: {error}")))?;
    let page = shared.fleet.page_of_identifiers(selector, after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::of(page, FleetIdentifier::from)))
}

/// What of an identifier is shown whole.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Reveal {
    /// `number` shows its number whole, to operators; it stands in the audit then.
    #[param(example = "number")]
    reveal: Option<String>,
}

/// An identifier over the fleet, version by version.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FleetIdentifierVersions {
    /// Which identifier.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: LinkId,
    /// How many panels hold it.
    pub panels: u64,
    /// In which states.
    pub states: StateCounts,
    /// What they hold, the most frequent first; more than one means that panels differ.
    pub versions: Vec<IdentifierVersion>,
    /// Which panels refuse it, and why; the first thousand. An embedded one that holds it has refused a change to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusingPanel>,
}

/// One of the things that panels hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierVersion {
    /// What it says.
    pub identifier: ShownIdentifier,
    /// What it is, in words and in the zone of the first panel.
    pub sentence: String,
    /// How many panels hold it.
    pub count: usize,
    /// Which ones; the first thousand.
    pub panels: Vec<HoldingPanel>,
}

/// A panel that holds an identifier.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HoldingPanel {
    /// Which panel.
    pub panel: String,
    /// How it stands there.
    #[schema(example = "applied")]
    pub state: String,
}

impl FleetIdentifierVersions {
    fn of(found: held::FleetIdentifierVersions, shown: fn(&Identifier) -> ShownIdentifier) -> Self {
        let held::FleetIdentifierVersions { link_id, panels, states, versions, refused } = found;
        let holding = |held::Door { panel, state }| HoldingPanel { panel, state: state.as_str().to_owned() };
        let version = |of: held::IdentifierVersion| IdentifierVersion {
            identifier: shown(&of.identifier),
            sentence: of.sentence,
            count: of.count,
            panels: of.doors.into_iter().map(holding).collect(),
        };
        Self {
            link_id,
            panels,
            states: states.into(),
            versions: versions.into_iter().map(version).collect(),
            refused: refused.into_iter().map(RefusingPanel::from).collect(),
        }
    }
}

/// One identifier over the fleet: on how many panels, in which states, and which panels differ.
#[utoipa::path(tag = "identifiers", operation_id = "show_identifier", params(("link_id" = uuid::Uuid, Path), Reveal),
    responses((status = 200, body = FleetIdentifierVersions), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/identifiers/{link_id}")]
pub async fn show(
    _who: Viewer,
    link_id: web::Path<String>,
    reveal: web::Query<Reveal>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    match reveal.reveal.as_deref() {
        None => {
            let found = shared.fleet.identifier(&link_id).await?;
            Ok(HttpResponse::Ok().json(FleetIdentifierVersions::of(found, ShownIdentifier::masked)))
        }
        Some("number") => {
            let who = auth::at_least(Role::Operator, &request)?;
            let origin = auth::origin(&request, &who.actor());
            let found = shared.fleet.reveal_identifier(&link_id, &origin).await?;
            let found = FleetIdentifierVersions::of(found, ShownIdentifier::whole);
            // What keeps answers for others is not to keep this one.
            Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(found))
        }
        Some(_) => Err(Problem::bad_request("reveal takes number")),
    }
}

/// A photo.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the document")]
struct Jpeg(Vec<u8>);

/// The photo of a face, as most panels hold it. That it was asked for stands in the audit.
#[utoipa::path(tag = "identifiers", operation_id = "show_identifier_photo", params(("link_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Jpeg, content_type = "image/jpeg", description = "A JPEG"), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/identifiers/{link_id}/photo")]
pub async fn show_photo(
    Operator(who): Operator,
    link_id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let photo = shared.fleet.photo_of_identifier(&link_id, &auth::origin(&request, &who.actor())).await?;
    Ok(picture(&photo))
}

/// The answer that is this photo, and is kept nowhere.
pub fn picture(photo: &Photo) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("image/jpeg")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(photo.jpeg().to_vec())
}
