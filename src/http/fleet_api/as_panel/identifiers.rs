//! Identifiers of the fleet as one panel, by link_id.
//!
//! As on a panel, an item that is refused by itself is answered so and goes nowhere; what is left becomes one batch, in
//! which each panel decides by what stands there. The master code of a single panel is not looked at, as it is not in
//! batches. Reads show whole numbers, as a panel's do, so only who is an administrator here reads; but this is a list of
//! the whole fleet, in which no code is told.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use utoipa_actix_web::service_config::ServiceConfig;

use super::reads::{ask, dialect};
use super::{Administrator, Selection, apply, apply_deletes};
use crate::batch::Operations;
use crate::batch::item::Kind;
use crate::fleet::common::CommonItem;
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::http::panel_api::filter::{Field, Fields};
use crate::http::panel_api::identifier::shown::{self, LinkedIdentifierItem};
use crate::http::panel_api::identifier::{IdentifierLinkItems, sort_out};
use crate::http::panel_api::link::{LinkIds, LinkResult, LinkResults};
use crate::http::panel_api::list::{self, InList, Wanted};
use crate::http::{Here, body};
use crate::identifier::rule::Api;
use crate::identifier::{Identifier, parse};
use crate::panel::dialect::Dialect;
use crate::profile::LinkId;
use crate::store::{StoreError, identifier_in};

/// The routes, below `/fleet/v1/as-panel/{selector}/api`.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config.service(upsert).service(delete).service(delete_by_post).service(read);
}

/// Creates or updates many identifiers by link_id on every selected panel.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_upsert_identifiers", params(("selector" = String, Path)), request_body = IdentifierLinkItems,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[post("/v1/access/identifier/items/link")]
pub async fn upsert(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let body = body::read_of_panel(&request, payload, shared.body_limit).await?;
    let most = shared.max_items;
    let given = shared.turns.parse(body, move |body| parse::link_body_within(body, Api::ANY, most)).await??;
    let (asked, known) = sort_out(given, None, false);
    let operations = Operations::of_identifiers(asked, Vec::new(), false);
    let mut decided = apply(&shared, &request, who, selector, operations).await?.into_iter();
    let results = known.into_iter().filter_map(|known| match known {
        Some(known) => Some(LinkResult::new(&known, dialect(), false)),
        None => decided.next(),
    });
    Ok(HttpResponse::Ok().json(LinkResults { result: results.collect() }))
}

/// Deletes many identifiers by link_id on every selected panel.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_delete_identifiers", params(("selector" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[delete("/v1/access/identifier/items/link")]
pub async fn delete(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let of_identifiers = |deletes| Operations::of_identifiers(Vec::new(), deletes, false);
    apply_deletes(selector, who, request, payload, &shared, of_identifiers).await
}

/// The same by `POST`.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_delete_identifiers_by_post", params(("selector" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[post("/v1/access/identifiers/link/delete")]
pub async fn delete_by_post(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let of_identifiers = |deletes| Operations::of_identifiers(Vec::new(), deletes, false);
    apply_deletes(selector, who, request, payload, &shared, of_identifiers).await
}

/// The identifiers that every selected panel holds alike, in the form of the link calls. How many passes are left is told
/// only of those that open any number of times, since each panel counts by itself.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_list_linked_identifiers", params(("selector" = String, Path), list::ListParameters),
    responses((status = 200, body = shown::LinkedIdentifierList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/access/identifier/items/link")]
pub async fn read(
    Selection(selector): Selection,
    _who: Administrator,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let wanted = Wanted::parse(&query, dialect(), Field::OF_IDENTIFIERS)?;
    let identifiers = ask(shared, move |fleet| {
        let common = fleet.common_items(selector, Kind::Identifier)?.into_iter();
        common.map(|item| Ok(CommonIdentifier::read(&item)?)).collect::<Result<Vec<_>, _>>()
    });
    list::answer(identifiers.await?, wanted, dialect())
}

/// An identifier that every selected panel holds alike.
struct CommonIdentifier {
    uid: Option<u32>,
    link_id: Option<LinkId>,
    identifier: Identifier,
}

impl CommonIdentifier {
    fn read(CommonItem { link_id, uid, json }: &CommonItem) -> Result<Self, StoreError> {
        Ok(Self { uid: *uid, link_id: *link_id, identifier: identifier_in(json.as_bytes())? })
    }
}

impl InList for CommonIdentifier {
    fn fields(&self) -> Result<Fields, StoreError> {
        Ok(shown::fields(&self.identifier))
    }

    fn key(&self) -> (Option<u32>, Option<LinkId>) {
        (self.uid, self.link_id)
    }

    fn json(&self, dialect: &Dialect) -> String {
        LinkedIdentifierItem::of_many(self.link_id, &self.identifier, dialect).json()
    }
}
