//! The fleet API under `/fleet/v1`: the register, batches and their events, what the fleet holds, access.
//!
//! Who may call a handler stands in its arguments ([`super::auth`]); errors are [`super::problem::Problem`]s.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::problem::Problem;
use crate::batch::item::{ItemId, Kind};
use crate::fleet;
use crate::store::row::RowName;

pub mod access;
pub mod access_events;
pub mod alerts;
pub mod as_panel;
pub mod backup;
pub mod batches;
pub mod drift;
pub mod events;
pub mod history;
pub mod identifiers;
pub mod nodes;
pub mod opening;
pub mod panels;
pub mod profiles;
pub mod schedules;
pub mod session;
pub mod types;
pub mod undo;
pub mod who;
pub mod windows;

/// The routes, below `/fleet/v1`.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(session::open)
        .service(session::close)
        .service(panels::import)
        .service(panels::list_panels)
        .service(panels::add)
        .service(panels::show)
        .service(panels::list_connections)
        .service(panels::change)
        .service(panels::remove)
        .service(panels::resync)
        .service(history::show_history)
        .service(drift::show_diff)
        .service(drift::reconcile)
        .service(profiles::calendar_of_panel)
        .service(profiles::of_panel)
        .service(windows::show_windows)
        .service(who::show_access)
        .service(profiles::list_profiles)
        .service(profiles::show)
        .service(identifiers::of_panel)
        .service(identifiers::list_identifiers)
        .service(identifiers::show)
        .service(identifiers::show_photo)
        .service(batches::submit)
        .service(batches::list_batches)
        .service(batches::cancel)
        .service(batches::retry)
        .service(undo::undo)
        .service(batches::show)
        .service(batches::list_panels)
        .service(events::of_batch)
        .service(events::all)
        .service(access_events::stream)
        .service(access_events::list_events)
        .service(access_events::present)
        .service(access::list_users)
        .service(access::add_user)
        .service(access::remove_user)
        .service(access::set_password)
        .service(access::list_tokens)
        .service(access::add_token)
        .service(access::revoke_token)
        .service(access::list_audit)
        .service(alerts::list_alerts)
        .service(alerts::test)
        .service(alerts::set)
        .service(alerts::remove)
        .service(nodes::list_nodes)
        .service(nodes::release)
        .service(nodes::remove)
        .service(backup::download);
}

/// A page of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; null on the last.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page as the fleet gives it, with each item as it is answered.
    fn of<A, C: ToString>(page: fleet::Page<A, C>, each: impl FnMut(A) -> T) -> Self {
        let fleet::Page { items, next } = page.map(each);
        Self { items, next_cursor: next.map(|cursor| cursor.to_string()) }
    }
}

/// Where in a list, and how much of it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// How many at most; 100 without.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// From the page before.
    cursor: Option<String>,
}

impl Paging {
    fn limit(&self) -> Result<usize, Problem> {
        match &self.limit {
            None => Ok(100),
            Some(text) => match text.parse() {
                Ok(limit @ 1..=1000) => Ok(limit),
                _ => Err(Problem::bad_request("limit takes a number from 1 to 1000")),
            },
        }
    }

    /// The cursor as a place in the order of a panel's items of a kind.
    fn item(&self, kind: Kind) -> Result<Option<RowName>, Problem> {
        let place = |text: &str| place_of_item(kind, text).ok_or_else(not_a_cursor);
        self.cursor.as_deref().map(place).transpose()
    }

    /// The cursor as a number; `first` without one.
    fn number<N: std::str::FromStr>(&self, first: N) -> Result<N, Problem> {
        match &self.cursor {
            None => Ok(first),
            Some(text) => text.parse().map_err(|_| not_a_cursor()),
        }
    }
}

/// How the cursor of an item begins that was made by uid.
const BY_UID: &str = "uid-";

/// Where in the order of a panel's items of a kind a cursor stands.
pub fn place_of_item(kind: Kind, cursor: &str) -> Option<RowName> {
    match cursor.strip_prefix(BY_UID) {
        Some(uid) => uid.parse().ok().map(|uid| RowName::Uid(kind, uid)),
        None => cursor.parse().ok().map(|link_id| RowName::Link(ItemId { kind, link_id })),
    }
}

/// The cursor of such a place.
pub fn cursor_of_item(name: RowName) -> String {
    match name {
        RowName::Link(item) => item.link_id.to_string(),
        RowName::Uid(_, uid) => format!("{BY_UID}{uid}"),
    }
}

fn not_a_cursor() -> Problem {
    Problem::bad_request("cursor takes a next_cursor of the page before")
}
