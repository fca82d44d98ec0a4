//! One panel: what it should hold and what came of it, its week, its device, and what can be done about it.

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use maud::{Markup, html};
use serde_json::json;
use sha2::{Digest, Sha256};

mod notes;

use self::notes::Binding;
use super::calendar::{self, Door, Lane, Week};
use super::door_events;
use super::identifiers;
use super::layout::{self, Place, moment, panel_path, state};
use super::live::{self, Over, Watch};
use super::posted::{ByAdmin, Posted};
use super::problem::{PageProblem, capital};
use super::visitor::{Fields, Visitor};
use crate::access::{Role, actor};
use crate::batch::item::{ItemId, Kind};
use crate::batch::{BatchRecord, PanelState};
use crate::clock;
use crate::coordinator::register::Entry;
use crate::fleet::events::EventsWanted;
use crate::fleet::identifiers::PanelIdentifier;
use crate::fleet::profiles::{self, PanelProfile};
use crate::fleet::status::PanelStatus;
use crate::fleet::{self, FleetError};
use crate::http::{Here, auth, events, percent};
use crate::profile::text;
use crate::profile::windows::{Openings, Window};
use crate::store::read::Snapshot;
use crate::store::tables::ConnectionRecord;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// Changes of the connection that are shown.
const SHOWN_CHANGES: usize = 20;

/// Batches that are shown, and among how many they are looked for.
const SHOWN_BATCHES: usize = 5;
const LOOKED_THROUGH: usize = 50;

/// How far ahead the next change of a door is looked for exactly; beyond, each profile's own is enough.
const AHEAD: i64 = 5 * 7 * 86_400;

/// What is shown of a panel.
struct Shown {
    status: PanelStatus,
    profiles: Vec<PanelProfile>,
    identifiers: Vec<PanelIdentifier>,
    changes: Vec<ConnectionRecord>,
    batches: Vec<(BatchRecord, PanelState)>,
    week: Week,
    lanes: Vec<Lane>,
    /// By what the panel has confirmed.
    open: Vec<String>,
    next: Option<i64>,
    /// Whether identifiers open the door at any time.
    at_any_time: bool,
    /// Who opens it without a profile, and what is not confirmed and may change that.
    notes: Vec<String>,
    now: i64,
}

/// A panel's page.
#[get("/panel/{id}")]
pub async fn show(
    visitor: Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let panel = shared.fleet.panel(&id)?;
    let query = Fields::parse(request.query_string().as_bytes())?;
    let week = query.one("week").to_owned();
    let entry = panel.clone();
    let shown = shared.fleet.read(move |snapshot| look(snapshot, entry, &week)).await?;
    let of_panel = EventsWanted { panel: Some(id.to_string()), ..EventsWanted::default() };
    let events = door_events::last(&shared.fleet, of_panel).await?;
    let path = panel_path(&id);
    let remote = panel.settings.is_device();
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/" { "Fleet" } }
        div id="panel" data-live={ (path) "/live" } data-refresh {
            (head(&visitor, &path, &shown.status))
            (about(&shown.status))
            section aria-label="Calendar" {
                h2 { "When the door opens" }
                @let open: Vec<_> = shown.open.iter().map(String::as_str).collect();
                @let zone = panel.settings.zone.rules();
                (calendar::door(&Door { open: &open, next: shown.next, zone, confirmed: remote, at_any_time: shown.at_any_time, notes: &shown.notes }))
                (weeks(&path, &shown.week))
                (calendar::draw(&shown.week, shown.lanes, shown.now))
            }
            section aria-label="Profiles" {
                h2 { "Profiles" }
                (refusals(&shown.status, &shown.profiles))
                (profile_table(&shown.profiles, shown.at_any_time))
            }
            (identifiers::of_panel(&visitor, &id, &shown.identifiers))
            (door_events::section(&events, false))
            (recent(&shown.batches))
            @if remote { (history(&shown.changes)) }
        }
        @if visitor.may(Role::Admin) { (removal(&visitor, &path, &id, &shown.status)) }
    };
    Ok(layout::page(&visitor, Place::Fleet, &id, main))
}

fn look(snapshot: &Snapshot, panel: Entry, week: &str) -> Result<Shown, StoreError> {
    let now = clock::now_ms() / 1000;
    let zone = panel.settings.zone.rules();
    let week = Week::parse(week, now, zone);
    let stored = snapshot.profiles(panel.number)?;
    let mut lanes = Vec::with_capacity(stored.len());
    let (mut open, mut soon, mut later, mut unsure_open) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for profile in &stored {
        let unsure = match profile.link_id() {
            Some(link) if panel.settings.is_device() => {
                snapshot.reported(panel.number, ItemId::profile(link))?.and_then(notes::unsure)
            }
            _ => None,
        };
        let link = profile.link_id();
        let profile = profiles::read(&profile.json)?;
        let openings = Openings::new(&profile, zone);
        let name = profile.name.as_str();
        let (from, to) = week.range();
        lanes.push(Lane { name: name.to_owned(), windows: windows(&openings, from, to), unsure });
        if let Some(why) = unsure {
            if openings.is_open(now) {
                unsure_open.push(format!("{name} ({why})"));
            }
            continue;
        }
        if openings.is_open(now) {
            open.push((name.to_owned(), link));
        }
        soon.extend(windows(&openings, now, now + AHEAD));
        later.extend(openings.next_change(now));
    }
    let binding = Binding::of(snapshot, &panel, now)?;
    let mut notes = binding.notes(&open);
    notes.extend(notes::unconfirmed(snapshot, &panel, open.is_empty(), &unsure_open)?);
    Ok(Shown {
        profiles: profiles::on_panel(snapshot, &panel, stored)?,
        identifiers: fleet::identifiers::on_panel(
            snapshot,
            &panel,
            snapshot.items(panel.number, Kind::Identifier, None, identifiers::SHOWN + 1)?,
        )?,
        changes: snapshot.connections(panel.number)?,
        batches: batches_of(snapshot, panel.number)?,
        week,
        lanes,
        next: next_change(soon, now, later),
        at_any_time: binding.at_any_time > 0,
        notes,
        open: open.into_iter().map(|(name, _)| name).collect(),
        now,
        status: PanelStatus::of(snapshot, panel)?,
    })
}

/// The newest batches for this panel, with what came of them here.
fn batches_of(snapshot: &Snapshot, panel: PanelNo) -> Result<Vec<(BatchRecord, PanelState)>, StoreError> {
    let mut found = Vec::new();
    for (seq, batch) in snapshot.batches(BatchSeq::MAX, LOOKED_THROUGH)? {
        if found.len() == SHOWN_BATCHES {
            break;
        }
        if snapshot.batch_targets(seq)?.binary_search(&panel).is_ok() {
            let first = snapshot.outcomes(seq, panel)?.next().transpose()?;
            let outcome = first.filter(|(number, _)| *number == panel).map(|(_, outcome)| outcome.state);
            found.push((batch, outcome.unwrap_or(PanelState::Pending)));
        }
    }
    Ok(found)
}

/// The windows of a range; none beyond the calendar.
fn windows(openings: &Openings<'_>, from: i64, to: i64) -> Vec<Window> {
    openings.windows(from, to).unwrap_or_default()
}

/// When the door, which opens by all these windows from now to [`AHEAD`], changes next. Where there is none of them, the
/// first of the profiles' own changes opens it; where it stays open for so long, nothing is said.
fn next_change(windows: Vec<Window>, now: i64, changes: Vec<i64>) -> Option<i64> {
    match calendar::union(windows).first() {
        None => changes.into_iter().min(),
        Some(first) if first.from > now => Some(first.from),
        Some(first) => Some(first.to).filter(|to| *to < now + AHEAD),
    }
}

/// The panel's id and connection, and what can be done.
fn head(visitor: &Visitor, path: &str, PanelStatus { panel, .. }: &PanelStatus) -> Markup {
    let (id, remote) = (panel.settings.id.as_str(), panel.settings.is_device());
    html! {
        div class="head" {
            h1 { (id) " " small { (state(panel.connection().as_str())) } }
            @if visitor.may(Role::Admin) { a class="button" href={ (path) "/edit" } { "Edit" } }
            @if remote { a class="button" href={ (path) "/compare" } { "Compare with the device" } }
            @if visitor.may(Role::Operator) {
                a class="button main" href={ "/push?selector=" (percent(&format!("id={id}"))) } { "Push to it" }
            }
        }
    }
}

fn about(status: &PanelStatus) -> Markup {
    let PanelStatus { panel, profiles, identifiers, counts, device, .. } = status;
    let settings = &panel.settings;
    let waiting = [(counts.pending, "pending"), (counts.refused, "rejected"), (counts.drifted, "drifted")];
    let waiting: Vec<_> =
        waiting.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    html! {
        @if let Some(error) = &panel.condition.last_error {
            p class="wrong" { (text::shown(&capital(error))) "." }
        }
        dl class="facts" {
            div { dt { "Driver" } dd { (settings.driver()) } }
            div { dt { "Zone" } dd { (settings.zone.name()) } }
            @for (key, value) in settings.labels.iter().map(|(key, value)| (&**key, &**value)) {
                div { dt { (key) } dd { a href={ "/?selector=" (percent(&format!("{key}={value}"))) } { (value) } } }
            }
            div { dt { "API" } dd { (settings.family().as_str()) " " (settings.api_version) } }
            div { dt { "Profiles" } dd {
                (profiles)
                @if let Some(capacity) = settings.capacity { " of " (capacity) }
            } }
            div { dt { "Identifiers" } dd {
                (identifiers)
                @if let Some(capacity) = settings.identifier_capacity { " of " (capacity) }
            } }
            @if !waiting.is_empty() { div { dt { "Of both" } dd { (waiting.join(", ")) } } }
            @if let Some(remote) = &settings.remote { div { dt { "Address" } dd { (remote.url()) } } }
            @if let Some(seen) = panel.condition.last_seen_ms { div { dt { "Last answered" } dd { (moment(seen)) } } }
            @if let Some(next) = panel.condition.next_attempt_ms { div { dt { "Tried again" } dd { (moment(next)) } } }
            @if let Some(device) = device.as_ref().map(|device| &device.record) {
                @if !device.serial.is_empty() {
                    div { dt { "Device" } dd { (layout::name(&device.model)) " " (layout::name(&device.serial)) ", firmware " (layout::name(&device.firmware)) } }
                }
                @if let Some(ahead) = device.clock_ahead_s.filter(|ahead| ahead.abs() >= 2) {
                    div { dt { "Its clock" } dd { (ahead.abs()) " s " @if ahead > 0 { "ahead" } @else { "behind" } } }
                }
                @if let Some(zone) = settings.other_zone(device.zone.as_deref()) {
                    div { dt { "Its zone" } dd { (layout::name(zone)) ", not " (settings.zone.name()) ": its door opens by its own" } }
                }
                @if device.unlinked > 0 {
                    div { dt { "Made on it" } dd { (layout::count(u64::from(device.unlinked), "item")) " without link_id" } }
                }
            }
        }
    }
}

fn weeks(path: &str, week: &Week) -> Markup {
    html! {
        div class="row weeks" {
            a class="button" rel="prev" href={ (path) "?week=" (week.later(-1).text()) } { "← Previous" }
            (week.heading())
            a class="button" rel="next" href={ (path) "?week=" (week.later(1).text()) } { "Next →" }
            a class="button" href=(path) { "This week" }
        }
    }
}

/// What the panel refuses and does not hold; what it holds says so in its own row.
fn refusals(status: &PanelStatus, profiles: &[PanelProfile]) -> Markup {
    let held = |link| profiles.iter().any(|profile| profile.link_id == Some(link));
    let refused: Vec<_> = status
        .refused
        .iter()
        .filter(|refused| refused.item.kind == Kind::Identifier || !held(refused.item.link_id))
        .collect();
    html! {
        @if !refused.is_empty() {
            div class="wrong" {
                p { "It refuses what somebody wants on it:" }
                ul {
                    @for refused in refused {
                        li {
                            a href={ "/" (refused.item.kind.as_str()) "s/" (refused.item.link_id) } { code { (refused.item.link_id) } }
                            " " span class="state rejected" { "rejected" } " " (layout::refusal(&refused.extended_info))
                        }
                    }
                }
            }
        }
    }
}

fn profile_table(profiles: &[PanelProfile], at_any_time: bool) -> Markup {
    html! {
        @if profiles.is_empty() {
            p class="empty" { "It holds no profile" @if !at_any_time { ": its door opens for nobody" } ". " a href="/push" { "Push some" } }
        } @else {
            div class="scroll" {
                table {
                    thead { tr { th { "Name" } th { "Opens" } th { "State" } th { "Revision" } th { "link_id" } } }
                    tbody {
                        @for profile in profiles {
                            tr {
                                td { (layout::name(&name_of(profile))) }
                                td { (profile.sentence) }
                                td { (state(profile.state.as_str())) @if let Some(info) = &profile.extended_info { " " (layout::refusal(info)) } @if let Some(kept) = &profile.device { " as " code class="json" { (kept.get()) } } }
                                td class="number" { (profile.revision) }
                                td {
                                    @if let Some(link) = profile.link_id {
                                        a href={ "/profiles/" (link) } { code { (link) } }
                                    } @else { "none; uid " (profile.uid) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn name_of(profile: &PanelProfile) -> String {
    profiles::read(profile.profile.get()).map_or_else(|_| String::new(), |read| read.name.as_str().to_owned())
}

fn recent(batches: &[(BatchRecord, PanelState)]) -> Markup {
    html! {
        section aria-label="Batches" {
            h2 { "What was sent to it" }
            @if batches.is_empty() {
                p class="empty" { "None of the last " (LOOKED_THROUGH) " batches was for it." }
            } @else {
                table {
                    thead { tr { th { "Batch" } th { "By" } th { "Came to" } } }
                    tbody {
                        @for (batch, outcome) in batches {
                            tr {
                                td { a href={ "/batches/" (batch.id) } { (moment(batch.created_at_ms)) } }
                                td { (actor::short(&batch.created_by)) }
                                td { (state(outcome.as_str())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn history(changes: &[ConnectionRecord]) -> Markup {
    html! {
        section aria-label="Connection" {
            h2 { "Connection" }
            @if changes.is_empty() {
                p class="empty" { "It has not been reached yet." }
            } @else {
                table {
                    thead { tr { th { "Since" } th { "State" } th { "Why" } } }
                    tbody {
                        @for change in changes.iter().rev().take(SHOWN_CHANGES) {
                            tr {
                                td { (moment(change.at_ms)) }
                                td { (state(&change.connection)) }
                                td { (change.error.as_deref().unwrap_or_default()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn removal(visitor: &Visitor, path: &str, id: &str, status: &PanelStatus) -> Markup {
    let goes = [(status.profiles, "profile"), (status.identifiers, "identifier")];
    let goes: Vec<_> =
        goes.iter().filter(|(n, _)| *n > 0).map(|(n, kind)| layout::count(u64::from(*n), kind)).collect();
    html! {
        details {
            summary { "Remove this panel" }
            form class="row" method="post" action={ (path) "/remove" } {
                (layout::token(visitor))
                label class="tick" { input type="checkbox" name="sure" value="yes" required; "Forget " (id) " and all that it holds here; a device keeps what it has" }
                button class="danger" {
                    "Remove it"
                    @if !goes.is_empty() { " and its " (goes.join(" and ")) }
                }
            }
        }
    }
}

/// Removes a panel.
#[post("/panel/{id}/remove")]
pub async fn remove(
    Posted { visitor, fields, .. }: Posted<ByAdmin>,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    if !fields.ticked("sure") {
        return Err(FleetError::invalid("/sure", "tick that you are sure").into());
    }
    shared.fleet.remove_panel(&id, auth::origin(&request, &visitor.who.actor())).await?;
    Ok(layout::see("/"))
}

/// Says when something about a panel has changed, its profiles included.
#[get("/panel/{id}/live")]
pub async fn watch_panel(
    visitor: Visitor,
    id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let id = id.into_inner();
    shared.fleet.panel(&id)?;
    let watched = Watched { shared: shared.clone(), id, known: None };
    Ok(live::stream(shared, &visitor, watched)?)
}

struct Watched {
    shared: Here,
    id: String,
    known: Option<[u8; 32]>,
}

impl Watch for Watched {
    async fn look(&mut self) -> Result<Option<Bytes>, Over> {
        let panel = self.shared.fleet.panel(&self.id)?;
        let now = self.shared.fleet.read(move |snapshot| signature(snapshot, &panel)).await?;
        let before = self.known.replace(now);
        let changed = before.is_some_and(|before| before != now);
        Ok(changed.then(|| events::text(None, "changed", &json!({}))))
    }
}

/// Another one whenever what the page shows of a panel is another.
fn signature(snapshot: &Snapshot, panel: &Entry) -> Result<[u8; 32], StoreError> {
    let mut digest = Sha256::new();
    digest.update(format!("{:?} {:?}", panel.settings, panel.condition));
    digest.update(format!("{:?}", snapshot.rows(panel.number)?));
    snapshot.each_reported(panel.number, |item, reported| {
        digest.update(format!("{item} {reported:?}"));
        Ok(true)
    })?;
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_change_is_that_of_all_profiles_together() {
        let window = |from, to| Window { from, to };
        let now = 100;
        // Open by one, and by another before the first is over.
        assert_eq!(
            next_change(vec![window(100, 200), window(150, 300), window(400, 500)], now, vec![]),
            Some(300)
        );
        assert_eq!(next_change(vec![window(250, 300), window(120, 130)], now, vec![]), Some(120));
        // Open for as long as is looked at; what another profile does later shuts nothing.
        assert_eq!(next_change(vec![window(100, now + AHEAD)], now, vec![now + AHEAD + 5]), None);
        // Shut for as long as is looked at: whichever opens it first.
        assert_eq!(next_change(vec![], now, vec![now + AHEAD + 9, now + AHEAD + 5]), Some(now + AHEAD + 5));
        assert_eq!(next_change(vec![], now, vec![]), None);
    }
}
