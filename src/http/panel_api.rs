//! The panel API of one embedded panel, under `/panels/{panel}/api` or at the root of an address of its own.
//!
//! What differs between families follows the panel's `api` and `api_version`; every error has its text from
//! [`error`]. The calls: [`session`], [`link`] (by link_id), [`by_uid`]; [`list`] is the form of all lists.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{Shared, auth};
use crate::access::Role;
use crate::access::sessions::{Scope, Session};
use crate::coordinator::fleet::FindPanel;
use crate::coordinator::register::Entry;

pub mod by_uid;
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
        .service(by_uid::delete_many);
}

/// The panel of a listener that serves only one.
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
        Box::pin(async move { find_panel(&request).await.map(Self) })
    }
}

impl FromRequest for Account {
    type Error = PanelError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let panel = find_panel(&request).await?;
            let token = auth::bearer(&request).ok_or(PanelError::LogIn)?;
            let sessions = &Shared::of(&request).sessions;
            let session = sessions.find(Scope::Panel(panel.number), token).ok_or(PanelError::LogIn)?;
            Ok(Self { panel, session })
        })
    }
}

impl FromRequest for Administrator {
    type Error = PanelError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let account = Account::from_request(request, payload);
        Box::pin(async move {
            let Account { panel, session } = account.await?;
            if session.role < Role::Admin {
                return Err(PanelError::NotAdministrator(panel.settings.family));
            }
            Ok(Self { panel, session })
        })
    }
}

async fn find_panel(request: &HttpRequest) -> Result<Entry, PanelError> {
    let id = match request.app_data::<OnlyPanel>() {
        Some(OnlyPanel(id)) => id.clone(),
        None => request.match_info().get("panel").unwrap_or_default().to_owned(),
    };
    let coordinator = &Shared::of(request).coordinator;
    coordinator.send(FindPanel(id)).await?.ok_or(PanelError::NoSuchPanel)
}

/// Any other path.
pub async fn not_found() -> Result<HttpResponse, PanelError> {
    Err(PanelError::NotFound)
}
