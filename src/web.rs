//! The page that people look at: the fleet, its panels and profiles, pushing to them, and what came of it.
//!
//! 1. Every page is rendered here ([`layout`]) from what the [`crate::fleet`] answers; nothing is decided here that a program
//!    could not have through the fleet API.
//! 2. Whoever looks is logged in with a session cookie ([`visitor`], [`posted`]), and whatever changes something is a form that
//!    carries the session's own token. Bearer tokens are of no use here, and the cookie is of none at the fleet API.
//! 3. Script makes pages live and forms quick; it is a file of its own ([`files`]), and no page has script or style
//!    within. Without it every page can still be read and every form sent.
//!
//! | path | what | where |
//! | --- | --- | --- |
//! | `/` | the fleet as tiles | [`fleet`] |
//! | `/panel/{id}` | one panel: its week, its profiles, its connection | [`panel`] |
//! | `/panel/{id}/compare` | its device, where that differs | [`device`] |
//! | `/add`, `/panel/{id}/edit` | a new panel, or other settings for one | [`panel_form`] |
//! | `/profiles`, `/profiles/{link_id}` | the profiles over the fleet | [`profiles`] |
//! | `/profiles/new`, `/profiles/{link_id}/edit` | the form of a profile, with its preview | [`profile_form`] |
//! | `/identifiers`, `/identifiers/{link_id}` | who may open, over the fleet | [`identifiers`] |
//! | `/identifiers/new`, `/identifiers/{link_id}/edit` | the form of an identifier, dry run, send | [`identifier_form`] |
//! | `/identifiers/import` | a list of people, dry run, send | [`people`] |
//! | `/access` | who may open which door, when, and why | [`who`] |
//! | `/push` | for whom, dry run, send | [`push`] |
//! | `/batches`, `/batches/{id}` | what was sent, and what came of it | [`batches`] |
//! | `/alerts` | who is told what is wrong | [`alerts`] |
//! | `/audit` | who did what | [`audit`] |
//! | `/nodes` | the nodes of a fleet that has several | [`nodes`] |
//! | `/login`, `/logout` | | [`login`] |
//! | `/password` | one's own password | [`password`] |
//! | `/assets/{file}` | style, script, icon | [`assets`] |

use actix_web::web::ServiceConfig;

pub mod alerts;
pub mod assets;
pub mod audit;
pub mod batches;
pub mod calendar;
pub mod device;
pub mod door_events;
pub mod files;
pub mod fleet;
pub mod identifier_form;
pub mod identifiers;
pub mod layout;
pub mod live;
pub mod login;
pub mod nodes;
pub mod opening;
pub mod panel;
pub mod panel_form;
pub mod password;
pub mod people;
pub mod posted;
pub mod problem;
pub mod profile_form;
pub mod profiles;
pub mod push;
pub mod undo;
pub mod visitor;
pub mod who;

/// The pages' routes.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(fleet::show)
        .service(fleet::more)
        .service(fleet::watch_fleet)
        .service(panel::show)
        .service(panel::watch_panel)
        .service(device::compare)
        .service(device::reconcile)
        .service(panel::remove)
        .service(panel_form::new_panel)
        .service(panel_form::add)
        .service(panel_form::edit)
        .service(panel_form::change)
        .service(profiles::list)
        .service(profile_form::new_profile)
        .service(profile_form::check_form)
        .service(profile_form::preview_form)
        .service(profile_form::edit_profile)
        .service(profiles::show)
        .service(identifiers::list)
        .service(identifier_form::new_identifier)
        .service(identifier_form::dry_run)
        .service(people::import_form)
        .service(people::dry_run)
        .service(identifier_form::send)
        .service(identifier_form::edit_identifier)
        .service(identifiers::reveal)
        .service(identifiers::show_photo)
        .service(identifiers::show)
        .service(who::show)
        .service(push::push_form)
        .service(push::dry_run)
        .service(push::send_batch)
        .service(batches::list)
        .service(batches::watch_list)
        .service(undo::undo_form)
        .service(undo::undo)
        .service(batches::show)
        .service(batches::watch_batch)
        .service(batches::retry)
        .service(batches::cancel)
        .service(audit::list)
        .service(alerts::show)
        .service(alerts::add)
        .service(alerts::test)
        .service(alerts::remove)
        .service(nodes::show)
        .service(nodes::release)
        .service(login::login_form)
        .service(login::log_in)
        .service(login::log_out)
        .service(password::password_form)
        .service(password::change)
        .service(assets::file);
}
