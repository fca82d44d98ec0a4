//! The panel API of one embedded panel, under `/panels/{panel}/api` or at the root of an address of its own.
//!
//! What differs between families follows the panel's `api` and `api_version`; every error has its text from
//! [`error`]. The calls: [`session`], [`link`] (by link_id), [`by_uid`], those on identifiers ([`identifier`]), and once more [`controller`] as door
//! controllers have them; [`list`] is the form of all lists; [`lock`] and [`own`] are what clients call beside profiles.
//! Paths of older panels are read as those of today ([`paths`]).

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use utoipa_actix_web::service_config::ServiceConfig;

use super::methods::Methods;
use super::{Shared, auth};
use crate::access::Role;
use crate::access::sessions::{Scope, Session};
use crate::batch::item::Kind;
use crate::coordinator::register::Entry;
use crate::profile::LinkId;
use crate::profile::rule::Family;
use crate::store::{StoreError, identifier_in};

pub mod by_uid;
pub mod controller;
pub mod error;
pub mod filter;
pub mod identifier;
pub mod link;
pub mod list;
pub mod lock;
pub mod own;
pub mod paths;
pub mod session;

use error::PanelError;
use list::Listed;

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
        .service(identifier::upsert)
        .service(identifier::delete)
        .service(identifier::delete_by_post)
        .service(identifier::read)
        .service(identifier::by_uid::create)
        .service(identifier::by_uid::show)
        .service(identifier::by_uid::replace)
        .service(identifier::by_uid::delete)
        .service(identifier::by_uid::read)
        .service(identifier::by_uid::delete_many)
        .service(identifier::by_uid::reset_passes)
        .service(identifier::by_uid::bind)
        .service(identifier::by_uid::unbind)
        .service(identifier::face::upload)
        .service(identifier::qr::show)
        .service(identifier::apartment::detach)
        .service(identifier::apartment::attach)
        .service(by_uid::create)
        .service(by_uid::show)
        .service(by_uid::replace)
        .service(by_uid::delete)
        .service(by_uid::read)
        .service(by_uid::read_older)
        .service(by_uid::delete_many)
        .service(lock::open)
        .service(lock::open_in_emergency)
        .service(lock::close_in_emergency)
        .service(lock::read_log)
        .configure(own::routes)
        .configure(controller::routes);
}

/// The panel of a listener that serves only one, be it of its app or, where many listeners share one, of the
/// request.
#[derive(Debug, Clone)]
pub struct OnlyPanel(pub String);

/// Marks a request to a panel that only detaches a profile which goes from the identifiers that name it: a simulated one.
pub struct Detaches;

/// Marks a request to a panel that recognises no face on any photo: a simulated one.
pub struct SeesNoFace;

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
            let session = session::who(&request, Scope::Panel(panel.number)).await?;
            let session = session.ok_or(PanelError::LogIn)?;
            if panel.settings.family() == Family::DoorController && session.role < Role::Admin {
                auth::denied(&request, &session.actor());
                return Err(PanelError::NotAdministrator(Family::DoorController)); // it has no other accounts
            }
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
                return Err(PanelError::NotAdministrator(panel.settings.family()));
            }
            Ok(Self { panel, session })
        })
    }
}

/// Marks a `HEAD`, which is handled as a `GET`.
pub struct AsGet;

/// Whether only the head of the answer is wanted, so that a `GET` which does something does nothing.
pub fn is_head(request: &HttpRequest) -> bool {
    request.extensions().get::<AsGet>().is_some()
}

fn find_panel(request: &HttpRequest) -> Result<Entry, PanelError> {
    let by_port = request.extensions().get::<OnlyPanel>().map(|OnlyPanel(id)| id.clone());
    let id = match (by_port, request.app_data::<OnlyPanel>()) {
        (Some(id), _) => id,
        (None, Some(OnlyPanel(id))) => id.clone(),
        (None, None) => request.match_info().get("panel").unwrap_or_default().to_owned(),
    };
    let panel = Shared::of(request).fleet.find_panel(&id).ok_or(PanelError::NoSuchPanel)?;
    let settings = &panel.settings;
    // A remote panel speaks for itself.
    if settings.is_device() {
        return Err(PanelError::NoSuchPanel);
    }
    if settings.family() == Family::DoorController {
        request.extensions_mut().insert(controller::ToController);
    }
    if !paths::serves(settings.dialect, settings.api_version, request) {
        return Err(PanelError::NotFound);
    }
    Ok(panel)
}

/// The panel's profiles with the identifiers that name them, read on a thread that may take its time.
pub async fn profiles(shared: &Shared, panel: &Entry) -> Result<Vec<Listed>, PanelError> {
    let (store, number) = (shared.fleet.store.clone(), panel.number);
    let read = web::block(move || -> Result<_, StoreError> {
        let snapshot = store.read()?;
        let mut bound = HashMap::<LinkId, Vec<u32>>::new();
        if snapshot.head(number)?.count(Kind::Identifier) > 0 {
            for item in snapshot.identifiers(number)? {
                for link in identifier_in(item.json.as_bytes())?.profiles.as_slice() {
                    bound.entry(*link).or_default().push(item.row.uid);
                }
            }
        }
        let listed = snapshot.profiles(number)?.into_iter().map(|profile| {
            let link_id = profile.link_id();
            let mut identifiers = link_id.and_then(|link| bound.remove(&link)).unwrap_or_default();
            identifiers.sort_unstable();
            Listed { uid: Some(profile.row.uid), link_id, json: profile.json, identifiers }
        });
        Ok(listed.collect())
    });
    Ok(read.await.map_err(|_| PanelError::Busy)??)
}

/// Any other path, or a path that is there with another method.
pub async fn not_found(
    request: HttpRequest,
    methods: web::Data<Methods>,
) -> Result<HttpResponse, PanelError> {
    // An as-panel's path names no panel; a panel's own address may have none either.
    let of_fleet = request.match_info().get("selector").is_some();
    if !of_fleet {
        let panel = find_panel(&request)?;
        if request.path().ends_with("/v1/login") {
            let is_controller = panel.settings.family() == Family::DoorController;
            let allowed = if is_controller { "POST" } else { "GET, HEAD" };
            return Err(PanelError::MethodNotAllowed(allowed.into()));
        }
    }
    Err(methods.allowed(request.path()).map_or(PanelError::NotFound, PanelError::MethodNotAllowed))
}
