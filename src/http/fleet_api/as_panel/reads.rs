//! What is read of the fleet as one panel, but for identifiers: nothing that is untrue of any selected panel.
//!
//! A profile is listed if every selected panel holds it alike: with the same meaning, under the same link_id, or without
//! one under the same uid. Pending counts as done, as in the answers to writes: what a device has not confirmed yet is
//! listed, since it is durable here and will be delivered; what it has refused, or was found to hold otherwise, is not.
//! A profile has the uid under which every panel knows it, and else `null`; devices have uids of their own, which are
//! not known here. The time has the zone of all panels, and is an error where they have several. Any account may read.
//!
//! All this is in the words of an android panel that says no version, whatever the panels are.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, get, web};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{Selection, who};
use crate::batch::item::Kind;
use crate::batch::selector::Selector;
use crate::coordinator::SubmitError;
use crate::fleet::Fleet;
use crate::fleet::common::CommonItem;
use crate::http::panel_api::by_uid;
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::http::panel_api::filter::Field;
use crate::http::panel_api::list::{self, Listed, Wanted};
use crate::http::panel_api::session::DeviceTime;
use crate::http::{Here, body};
use crate::panel::dialect::Dialect;
use crate::profile::error::WireError;
use crate::profile::rule::Family;

/// The routes, below `/fleet/v1/as-panel/{selector}/api`.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config.service(device_time).service(read).service(read_older).service(read_linked).service(show);
}

/// Someone with any account.
pub struct Reader;

impl FromRequest for Reader {
    type Error = PanelError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PanelError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { who(&request).await.map(|_| Self) })
    }
}

impl From<CommonItem> for Listed {
    fn from(profile: CommonItem) -> Self {
        let CommonItem { link_id, uid, json } = profile;
        // Each panel has uids of its own for its identifiers.
        Self { uid, link_id, json, identifiers: Vec::new() }
    }
}

/// What the fleet speaks as one panel.
pub(super) fn dialect() -> &'static Dialect {
    let spoken = Dialect::of(Family::Android, Dialect::default_version(Family::Android));
    spoken.unwrap_or_else(|| unreachable!("every family has its default version"))
}

/// Asks the fleet on a thread that may take its time.
pub(super) async fn ask<T: Send + 'static>(
    shared: Here,
    question: impl FnOnce(&Fleet) -> Result<T, SubmitError> + Send + 'static,
) -> Result<T, PanelError> {
    let answer = web::block(move || question(&shared.fleet)).await;
    Ok(answer.map_err(|_| PanelError::Busy)??)
}

async fn profiles(shared: Here, selector: Selector) -> Result<Vec<CommonItem>, PanelError> {
    ask(shared, move |fleet| fleet.common_items(selector, Kind::Profile)).await
}

/// The page that the query asks for of those of the common profiles that are wanted.
async fn list_common(
    shared: Here,
    selector: Selector,
    query: &HashMap<String, String>,
    is_wanted: fn(&CommonItem) -> bool,
) -> Result<HttpResponse, PanelError> {
    let wanted = Wanted::parse(query, dialect(), Field::OF_PROFILES)?;
    let mut profiles = profiles(shared, selector).await?;
    profiles.retain(is_wanted);
    list::answer(profiles.into_iter().map(Listed::from), wanted, dialect())
}

/// The time, and the zone that all selected panels have.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_device_time", params(("selector" = String, Path)),
    responses((status = 200, body = DeviceTime), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/device/time")]
pub async fn device_time(
    Selection(selector): Selection,
    _reader: Reader,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let zone = ask(shared, move |fleet| fleet.common_zone(selector)).await?;
    Ok(HttpResponse::Ok().json(DeviceTime::now(zone.ok_or(PanelError::DifferentZones)?)))
}

/// The profiles that every selected panel holds alike, in the list form.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_list_profiles", params(("selector" = String, Path), list::ListParameters),
    responses((status = 200, body = list::ListBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/access/timeprofile/items")]
pub async fn read(
    Selection(selector): Selection,
    _reader: Reader,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    list_common(shared, selector, &query, |_| true).await
}

/// The same at its older path.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_list_profiles_older", params(("selector" = String, Path), list::ListParameters),
    responses((status = 200, body = list::ListBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/access/timeprofile/items/list")]
pub async fn read_older(
    Selection(selector): Selection,
    _reader: Reader,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    list_common(shared, selector, &query, |_| true).await
}

/// Those of them with a link_id.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_list_linked_profiles", params(("selector" = String, Path), list::ListParameters),
    responses((status = 200, body = list::ListBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/access/timeprofile/items/link")]
pub async fn read_linked(
    Selection(selector): Selection,
    _reader: Reader,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    list_common(shared, selector, &query, |profile| profile.link_id.is_some()).await
}

/// The profile that every selected panel has under this uid.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_show_profile", params(("selector" = String, Path), ("uid" = u32, Path)),
    responses((status = 200, body = list::ListItem), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/access/timeprofile/item/{uid}")]
pub async fn show(
    Selection(selector): Selection,
    _reader: Reader,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let uid = by_uid::uid(&request)?;
    let mut profiles = profiles(shared, selector).await?.into_iter();
    let profile = profiles.find(|profile| profile.uid == Some(uid));
    let profile = profile.ok_or(PanelError::Body(WireError::Uid))?.into();
    Ok(HttpResponse::Ok().content_type(body::JSON).body(list::item(&profile, dialect().family, false)))
}
