//! The calls on identifiers by link_id, as a link management server uses them.
//!
//! What the panel answers of an item by the item alone ([`Given::Refused`]) and what it decides by what stands there go back
//! together, in request order. Reads show whole numbers and codes, as a panel's do, so only administrators read here.

use std::collections::{HashMap, HashSet};

use actix_web::{HttpMessage, HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ErrorBody, PanelError};
use super::filter::Field;
use super::link::{LinkIds, LinkResults, answer, ask, read_link_ids};
use super::list::{self, Wanted};
use super::{Administrator, SeesNoFace};
use crate::batch::item::ItemId;
use crate::batch::{ItemOutcome, ItemResult, Operations};
use crate::coordinator::register::Entry;
use crate::http::fleet_api::types::IdentifierBody;
use crate::http::{Here, Shared, body};
use crate::identifier::LinkedIdentifier;
use crate::identifier::number::Credential;
use crate::identifier::parse::{self, Given};
use crate::identifier::rule::Kind;
use crate::profile::rule::Family;

pub mod apartment;
pub mod by_uid;
pub mod face;
pub mod qr;
pub mod shown;

/// Many identifiers, each with its link_id.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierLinkItems {
    /// The identifiers.
    pub list_items: Vec<IdentifierBody>,
}

/// Creates or updates many identifiers by link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_upsert_identifiers", params(("panel" = String, Path)), request_body = IdentifierLinkItems,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/identifier/items/link")]
pub async fn upsert(
    Administrator { panel, session }: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let api = panel.settings.identifier_api().ok_or(PanelError::NotFound)?;
    let body = body::read_of_panel(&request, payload, shared.body_limit).await?;
    let most = shared.max_items;
    let given = shared.turns.parse(body, move |body| parse::link_body_within(body, api, most)).await??;
    let master = master_code(&shared, &panel).await?;
    let (asked, known) = sort_out(given, master.as_ref(), sees_no_face(&request));
    let operations = Operations::of_identifiers(asked, Vec::new(), false);
    let mut decided =
        ask(&panel, &session, &request, operations, "panel.identifiers.upsert").await?.into_iter();
    let results = known.into_iter().filter_map(|known| known.or_else(|| decided.next()));
    Ok(answer(&panel, results, true))
}

/// What the panel is asked, and in request order what is known already; nothing where the panel decides. As it is with
/// profiles, the first item of a link_id wins, also where it is refused. The master code is taken.
pub fn sort_out(
    given: Vec<Given>,
    master: Option<&Credential>,
    sees_no_face: bool,
) -> (Vec<LinkedIdentifier>, Vec<Option<ItemResult>>) {
    let mut seen = HashSet::new();
    let (mut asked, mut known) = (Vec::new(), Vec::with_capacity(given.len()));
    for given in given {
        let (link_id, outcome) = match given {
            Given::Identifier(linked) if seen.contains(&linked.link_id) => {
                (linked.link_id, ItemOutcome::Repeated)
            }
            Given::Identifier(linked) if Some(&linked.identifier.credential) == master => {
                seen.insert(linked.link_id);
                (linked.link_id, ItemOutcome::NumberTaken)
            }
            Given::Identifier(linked) if sees_no_face && linked.photo.is_some() => {
                seen.insert(linked.link_id);
                (linked.link_id, ItemOutcome::NotRecognized)
            }
            Given::Identifier(linked) => {
                seen.insert(linked.link_id);
                asked.push(linked);
                known.push(None);
                continue;
            }
            Given::Refused(link_id, refusal) if seen.insert(link_id) => (link_id, refusal.into()),
            Given::Refused(link_id, _) => (link_id, ItemOutcome::Repeated),
        };
        known.push(Some(ItemResult { item: ItemId::identifier(link_id), outcome, name_taken: false }));
    }
    (asked, known)
}

/// Whether the panel recognises no face on any photo.
fn sees_no_face(request: &HttpRequest) -> bool {
    request.extensions().get::<SeesNoFace>().is_some()
}

/// The setting of the code that opens without an identifier.
#[derive(Deserialize)]
struct MasterCode {
    input_code_enable: bool,
    input_code_number: serde_json::Value,
}

/// The code that opens without an identifier, where one is set.
async fn master_code(shared: &Shared, panel: &Entry) -> Result<Option<Credential>, PanelError> {
    let (store, number) = (shared.fleet.store.clone(), panel.number);
    let setting = web::block(move || store.read()?.panel_setting(number, "access/general/unlock/input/code"));
    let setting = setting.await.map_err(|_| PanelError::Busy)??;
    let code = setting.and_then(|json| serde_json::from_str::<MasterCode>(&json).ok());
    Ok(code.filter(|code| code.input_code_enable).and_then(|code| match code.input_code_number {
        serde_json::Value::String(text) => Credential::new(Kind::Code, &text),
        other => Credential::new(Kind::Code, &other.to_string()),
    }))
}

/// Deletes many identifiers by link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_identifiers", params(("panel" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[delete("/v1/access/identifier/items/link")]
pub async fn delete(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_deletes(who, request, payload, shared).await
}

/// The same by `POST`.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_identifiers_by_post", params(("panel" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/identifiers/link/delete")]
pub async fn delete_by_post(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_deletes(who, request, payload, shared).await
}

async fn apply_deletes(
    Administrator { panel, session }: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let deletes = read_link_ids(&request, payload, &shared).await?;
    let operations = Operations::of_identifiers(Vec::new(), deletes, false);
    let results = ask(&panel, &session, &request, operations, "panel.identifiers.delete").await?;
    Ok(answer(&panel, results.into_iter(), false))
}

/// All identifiers in the form of the link calls, in the list form; those that were made by uid have no link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_list_linked_identifiers", params(("panel" = String, Path), list::ListParameters),
    responses((status = 200, body = shown::LinkedIdentifierList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/identifier/items/link")]
pub async fn read(
    who: Administrator,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let dialect = who.panel.settings.dialect;
    if matches!(dialect.family, Family::Camdroid | Family::IngenicMips) {
        list::require_page(&query, dialect)?;
    }
    let wanted = Wanted::parse(&query, dialect, Field::OF_IDENTIFIERS)?;
    let identifiers = shown::identifiers(&shared, &who.panel).await?;
    list::answer(identifiers.into_iter().map(shown::InLinkForm), wanted, dialect)
}
