//! The panel API of one embedded panel, under `/panels/{panel}/api` or at the root of an address of its own.
//!
//! What differs between families follows the panel's `api` and `api_version`; every error has its text from
//! [`error`]. The calls: [`session`], [`link`] (by link_id), [`by_uid`], and once more [`controller`] as door
//! controllers have them; [`list`] is the form of all lists.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{Shared, auth};
use crate::access::Role;
use crate::access::sessions::{Scope, Session};
use crate::coordinator::register::Entry;
use crate::profile::rule::Family;
use crate::store::read::StoredProfile;

pub mod by_uid;
pub mod controller;
pub mod error;
pub mod filter;
pub mod link;
pub mod list;
pub mod session;

use error::PanelError;

/// The routes, below the panel's base.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(session::info)
        .service(session::login)
        .service(session::logout)
        .service(session::logout_by_post)
        .service(session::device_time)
        .service(link::upsert)
        .service(link::upsert_at_link)
        .service(link::delete)
        .service(link::delete_by_post)
        .service(link::read)
        .service(by_uid::create)
        .service(by_uid::show)
        .service(by_uid::replace)
        .service(by_uid::delete)
        .service(by_uid::read)
        .service(by_uid::read_older)
        .service(by_uid::delete_many)
        .configure(controller::routes);
}

/// The panel of a listener that serves only one, be it of its app or, where many listeners share one, of the
/// request.
#[derive(Debug, Clone)]
pub struct OnlyPanel(pub String);

/// The panel that a request is for.
pub struct PanelRef(pub Entry);

/// Someone who is logged in on the panel.
pub struct Account {
    /// Which panel.
    pub panel: Entry,
    /// Who.
    pub session: Session,
}

/// Someone who is logged in on the panel as an administrator.
pub struct Administrator {
    /// Which panel.
    pub panel: Entry,
    /// Who.
    pub session: Session,
}

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, PanelError>>>>;

impl FromRequest for PanelRef {
    type Error = PanelError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { find_panel(&request).map(Self) })
    }
}

impl FromRequest for Account {
    type Error = PanelError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let panel = find_panel(&request)?;
            let token = auth::bearer(&request).ok_or(PanelError::LogIn)?;
            let shared = Shared::of(&request);
            let session = shared.fleet.access.session(&shared.sessions, Scope::Panel(panel.number), token)?;
            let session = session.ok_or(PanelError::LogIn)?;
            Ok(Self { panel, session })
        })
    }
}

impl FromRequest for Administrator {
    type Error = PanelError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let account = Account::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let Account { panel, session } = account.await?;
            if session.role < Role::Admin {
                auth::denied(&request, &session.actor());
                return Err(PanelError::NotAdministrator(panel.settings.family));
            }
            Ok(Self { panel, session })
        })
    }
}

fn find_panel(request: &HttpRequest) -> Result<Entry, PanelError> {
    let by_port = request.extensions().get::<OnlyPanel>().map(|OnlyPanel(id)| id.clone());
    let id = match (by_port, request.app_data::<OnlyPanel>()) {
        (Some(id), _) => id,
        (None, Some(OnlyPanel(id))) => id.clone(),
        (None, None) => request.match_info().get("panel").unwrap_or_default().to_owned(),
    };
    let panel = Shared::of(request).fleet.find_panel(&id).ok_or(PanelError::NoSuchPanel)?;
    // A remote panel speaks for itself.
    if panel.settings.is_device() {
        return Err(PanelError::NoSuchPanel);
    }
    // A family has the other's paths no more than any other unknown ones.
    let path = request.path();
    let controllers = path.contains("/v1/access/time-profiles");
    let panels = path.contains("/v1/access/timeprofile");
    if panel.settings.family == Family::DoorController {
        request.extensions_mut().insert(controller::ToController);
    }
    match panel.settings.family {
        Family::DoorController if panels => Err(PanelError::NotFound),
        Family::Android | Family::Camdroid if controllers => Err(PanelError::NotFound),
        Family::Android | Family::Camdroid | Family::DoorController => Ok(panel),
    }
}

/// The panel's profiles, read on a thread that may take its time.
async fn profiles(shared: &Shared, panel: &Entry) -> Result<Vec<StoredProfile>, PanelError> {
    let (store, number) = (shared.fleet.store.clone(), panel.number);
    let read = web::block(move || store.read()?.profiles(number));
    Ok(read.await.map_err(|_| PanelError::Busy)??)
}

/// Any other path.
pub async fn not_found(request: HttpRequest) -> Result<HttpResponse, PanelError> {
    let _ = find_panel(&request); // so that it is known in whose form to say it
    Err(PanelError::NotFound)
}
