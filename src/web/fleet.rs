//! The fleet: every panel a tile, grouped by a label, each with its state; and that live.
//!
//! The first tiles are sent with the page and the others come as one scrolls, so that the first view of a large
//! fleet is small. The counts are those of all panels that the selector picks, whatever state is looked for.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, get};
use maud::{Markup, html};
use rustc_hash::FxHashMap;
use serde_json::json;

use super::layout::{self, Place, panel_path};
use super::live::{self, Over, Watch};
use super::problem::{PageProblem, capital};
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::batch::selector::Selector;
use crate::coordinator::fleet::Changes;
use crate::coordinator::register::Entry;
use crate::fleet::{Fleet, FleetError};
use crate::http::{Here, events, percent};
use crate::panel::settings::PanelId;
use crate::store::read::Snapshot;
use crate::store::{PanelNo, StoreError};

mod marks;

use marks::{Counts, Facts, Mark};

/// Tiles in a page as it is first sent.
const FIRST: usize = 1500;

/// The head of a group takes the room of so many tiles.
const HEAD: usize = 8;

/// Tiles in each piece that follows.
const PIECE: usize = 1000;

/// The label by which panels are grouped where they have it.
const USUAL_LABEL: &str = "site";

/// What is looked at.
struct View {
    selector: Option<Selector>,
    /// As it was written.
    selector_text: String,
    /// The label by which panels are grouped; empty for not at all.
    by: Option<String>,
    state: Option<Mark>,
    from: usize,
    /// The version of the register that the page shows, for what follows it.
    since: u64,
}

impl View {
    /// From a query; a selector that is wrong is told beside what it would have picked from.
    fn parse(query: &str) -> Result<(Self, Option<String>), FleetError> {
        let fields = Fields::parse(query.as_bytes())?;
        let selector_text = fields.one("selector").to_owned();
        let (selector, wrong) = match selector_text.as_str() {
            "" => (None, None),
            text => match Selector::parse(text) {
                Ok(selector) => (Some(selector), None),
                Err(error) => (None, Some(error.to_string())),
            },
        };
        let by = fields.all("by").next().map(str::to_owned);
        let state = Mark::ALL.into_iter().find(|mark| mark.word() == fields.one("state"));
        let from = fields.one("from").parse().unwrap_or(0);
        let since = fields.one("since").parse().unwrap_or(0);
        Ok((Self { selector, selector_text, by, state, from, since }, wrong))
    }

    /// The query for this view with another state, or from another tile on.
    fn query(&self, state: Option<Mark>, from: usize) -> String {
        let mut query = String::new();
        let mut put = |name: &str, value: &str| {
            let mark = if query.is_empty() { '?' } else { '&' };
            let _ = write!(query, "{mark}{name}={}", percent(value)); // writing to a String cannot fail
        };
        if !self.selector_text.is_empty() {
            put("selector", &self.selector_text);
        }
        if let Some(by) = &self.by {
            put("by", by);
        }
        if let Some(state) = state {
            put("state", state.word());
        }
        if from > 0 {
            put("from", &from.to_string());
        }
        query
    }
}

/// Panels with the same value of a label.
#[derive(Default)]
struct Group {
    counts: Counts,
    /// Those that are looked for.
    tiles: Vec<(PanelId, Facts)>,
}

/// The panels that a view shows, group by group.
struct Shown {
    /// The label by which they are grouped; empty for not at all.
    by: String,
    /// The keys of all labels.
    keys: Vec<String>,
    /// The register's version.
    version: u64,
    counts: Counts,
    groups: BTreeMap<String, Group>,
}

/// The value of a panel's label; empty where it has none.
fn label<'p>(panel: &'p Entry, key: &str) -> &'p str {
    panel.settings.labels.iter().find(|(k, _)| **k == *key).map_or("", |(_, value)| value)
}

/// The label by which these panels are grouped without a word on it, and the keys of all labels.
fn usual(panels: &[Entry]) -> (String, Vec<String>) {
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, _) in panels.iter().flat_map(|panel| &panel.settings.labels) {
        *keys.entry(key).or_default() += 1;
    }
    let most = keys.iter().max_by_key(|(key, panels)| (**key == USUAL_LABEL, **panels, Reverse(**key)));
    let by = most.map_or_else(String::new, |(key, _)| (*key).to_owned());
    (by, keys.into_keys().map(str::to_owned).collect())
}

impl Shown {
    fn of(view: &View, changes: Changes, snapshot: &Snapshot) -> Result<Self, StoreError> {
        let Changes { version, mut panels, .. } = changes;
        let (usual, keys) = usual(&panels);
        let by = view.by.clone().unwrap_or(usual);
        let mut counts = Counts::default();
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        panels.retain(|panel| view.selector.as_ref().is_none_or(|selector| panel.settings.matches(selector)));
        panels.sort_unstable_by(|a, b| a.settings.id.cmp(&b.settings.id));
        let states = snapshot.counts()?;
        for panel in &panels {
            let facts = Facts::of(&states, panel)?;
            counts.add(&facts);
            let name = label(panel, &by);
            if !groups.contains_key(name) {
                groups.insert(name.to_owned(), Group::default());
            }
            let Some(group) = groups.get_mut(name) else { continue };
            group.counts.add(&facts);
            if view.state.is_none_or(|state| facts.is(state)) {
                group.tiles.push((panel.settings.id.clone(), facts));
            }
        }
        groups.retain(|_, group| !group.tiles.is_empty());
        Ok(Self { by, keys, version, counts, groups })
    }

    fn tiles(&self) -> usize {
        self.groups.values().map(|group| group.tiles.len()).sum()
    }
}

async fn look(view: View, fleet: &Fleet) -> Result<(View, Shown), FleetError> {
    let all = fleet.changed_since(0);
    let found = fleet.read(move |snapshot| -> Result<_, StoreError> {
        let shown = Shown::of(&view, all, snapshot)?;
        Ok((view, shown))
    });
    found.await
}

/// The fleet.
#[get("/")]
pub async fn show(visitor: Visitor, request: HttpRequest, shared: Here) -> Result<HttpResponse, PageProblem> {
    let (view, wrong) = View::parse(request.query_string())?;
    let (view, shown) = look(view, &shared.fleet).await?;
    let query = view.query(None, 0);
    let live = format!("/live{query}{}since={}", if query.is_empty() { '?' } else { '&' }, shown.version);
    let main = html! {
        div class="head" {
            h1 { "Fleet" }
            @if visitor.may(Role::Admin) { a class="button" href="/add" { "Add a panel" } }
            @if visitor.may(Role::Operator) { a class="button main" href="/profiles/new" { "New profile" } }
        }
        div id="fleet" data-live=(live) data-filtered[view.state.is_some()] {
            (counts(&view, &shown))
            (filter(&view, &shown, wrong.as_deref()))
            div id="tiles" {
                @if shown.counts.panels == 0 && view.selector.is_none() {
                    (nothing(&visitor))
                } @else if shown.tiles() == 0 {
                    p class="empty" { "No panel is picked by this. " a href="/" { "Show all" } }
                } @else { (tiles(&view, &shown, view.from, FIRST)) }
            }
        }
        script type="module" src=(super::files::path("fleet.js")) {}
    };
    Ok(layout::page(&visitor, Place::Fleet, "Fleet", main))
}

/// The tiles that follow.
#[get("/fleet/more")]
pub async fn more(
    _visitor: Visitor,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let (view, _) = View::parse(request.query_string())?;
    let (view, shown) = look(view, &shared.fleet).await?;
    Ok(layout::fragment(tiles(&view, &shown, view.from, PIECE)))
}

fn nothing(visitor: &Visitor) -> Markup {
    html! {
        div class="card" {
            h2 { "There is no panel yet" }
            p {
                "A panel is an entrance with a door, a reader and an intercom. "
                @if visitor.may(Role::Admin) {
                    a href="/add" { "Add one" } ", or many at once with " code { "panelsync panel import FILE" } "."
                } @else {
                    "An administrator adds them."
                }
            }
        }
    }
}

fn counts(view: &View, shown: &Shown) -> Markup {
    html! {
        ul class="counts" id="counts" aria-label="Panels by state" {
            li {
                a href={ "/" (view.query(None, 0)) } aria-current=[view.state.is_none().then_some("true")] {
                    b data-count="panels" { (shown.counts.panels) } " panels"
                }
            }
            @for mark in Mark::ALL {
                @let n = shown.counts.of(mark);
                @let always = matches!(mark, Mark::Online | Mark::Offline | Mark::Pending | Mark::Drifted);
                li hidden[n == 0 && !always && view.state != Some(mark)] {
                    a class={ "state " (mark.word()) } title=(capital(mark.meaning())) href={ "/" (view.query(Some(mark), 0)) }
                        aria-current=[(view.state == Some(mark)).then_some("true")] {
                        b data-count=(mark.word()) { (n) } " " (mark.word())
                    }
                }
            }
        }
    }
}

fn filter(view: &View, shown: &Shown, wrong: Option<&str>) -> Markup {
    html! {
        form class="row" method="get" action="/" role="search" {
            label class="grow" { "Selector"
                input name="selector" value=(view.selector_text) placeholder="site=north, floor in (1,2), !old" autocapitalize="none" spellcheck="false"
                    aria-describedby=[wrong.map(|_| "selector-wrong")] aria-invalid=[wrong.map(|_| "true")];
            }
            label { "Grouped by"
                select name="by" {
                    @for key in &shown.keys {
                        option value=(key) selected[*key == shown.by] { (key) }
                    }
                    option value="" selected[shown.by.is_empty()] { "nothing" }
                }
            }
            @if let Some(state) = view.state { input type="hidden" name="state" value=(state.word()); }
            button { "Show" }
        }
        @if let Some(wrong) = wrong {
            p class="wrong" id="selector-wrong" role="alert" { (capital(wrong)) ". All panels are shown." }
        }
    }
}

/// What is shown from the tile at `from` on, in the room of so many tiles. A group has its head where its first tile
/// is, or where the piece begins.
fn tiles(view: &View, shown: &Shown, from: usize, room: usize) -> Markup {
    let mut pieces = Vec::new();
    let (mut at, mut next, mut room) = (0, from, room);
    for (name, group) in &shown.groups {
        let (start, end) = (at, at + group.tiles.len());
        at = end;
        if next < end && room > HEAD {
            let piece = next - start..(next + room - HEAD).min(end) - start;
            room -= HEAD + piece.len();
            next = start + piece.end;
            pieces.push((name, &group.counts, &group.tiles[piece]));
        } else if next < end {
            room = 0; // the rest comes later, in order
        }
    }
    html! {
        @for (name, counts, tiles) in pieces {
            section class="group" data-group=(name) {
                @if !shown.by.is_empty() {
                    h2 {
                        @if name.is_empty() { "without " (shown.by) } @else {
                            a href={ "/" (within(view, &shown.by, name)) } { (shown.by) "=" (name) }
                        }
                        " "
                        small { (counts.words()) }
                    }
                }
                div class="tiles" {
                    @for (id, facts) in tiles { (tile(id, facts)) }
                }
            }
        }
        @if next < at {
            @let rest = at - next;
            @let query = view.query(view.state, next);
            a class="button more" href={ "/" (query) } data-more={ "/fleet/more" (query) } { "Show more of " (rest) }
        }
    }
}

/// The query for this view within one group.
fn within(view: &View, by: &str, value: &str) -> String {
    let mut selector = format!("{by}={value}");
    if view.selector.is_some() {
        selector = format!("{},{selector}", view.selector_text);
    }
    let view = View { selector: None, selector_text: selector, by: Some(by.to_owned()), ..*view };
    view.query(view.state, 0)
}

/// What is online has no more than its name, so that thousands of tiles are short.
fn tile(id: &PanelId, facts: &Facts) -> Markup {
    let (id, mark) = (id.as_str(), facts.mark());
    html! {
        @if mark == Mark::Online {
            a href=(panel_path(id)) { (id) }
        } @else {
            a href=(panel_path(id)) class=(mark.word()) { (id) i { (facts.words()) } }
        }
    }
}

/// The fleet as it changes: an event a second at most, with what changed.
#[get("/live")]
pub async fn watch_fleet(
    visitor: Visitor,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let (view, _) = View::parse(request.query_string())?;
    let watched = Watched {
        shared: shared.clone(),
        view,
        by: None,
        version: 0,
        panels: FxHashMap::default(),
        groups: BTreeMap::new(),
    };
    Ok(live::stream(shared, &visitor, watched)?)
}

/// What a page knows.
struct Watched {
    shared: Here,
    view: View,
    /// The label by which it is grouped, once looked at.
    by: Option<String>,
    version: u64,
    panels: FxHashMap<PanelNo, (Rc<str>, Facts)>,
    groups: BTreeMap<Rc<str>, Counts>,
}

impl Watch for Watched {
    async fn look(&mut self) -> Result<Option<Bytes>, Over> {
        let changes = self.shared.fleet.changed_since(self.version);
        if changes.version == self.version {
            return Ok(None);
        }
        self.version = changes.version;
        // A page of a version that is not there yet is of another time, and shows what nobody knows.
        if changes.shape > self.view.since || self.view.since > changes.version {
            return Ok(Some(events::text(None, "reload", &json!({}))));
        }
        let by = match &self.by {
            Some(by) => by.clone(),
            None => self.view.by.clone().unwrap_or_else(|| usual(&changes.panels).0),
        };
        let first = self.by.replace(by.clone()).is_none();
        let selector = self.view.selector.clone();
        let found = self.shared.fleet.read(move |snapshot| {
            let states = snapshot.counts()?;
            let picked = changes.panels.into_iter();
            let picked =
                picked.filter(|panel| selector.as_ref().is_none_or(|one| panel.settings.matches(one)));
            picked
                .map(|panel| Ok((Facts::of(&states, &panel)?, panel)))
                .collect::<Result<Vec<_>, StoreError>>()
        });
        let (mut panels, mut touched) = (Vec::new(), Vec::new());
        for (facts, panel) in &found.await? {
            let facts = *facts;
            let group = label(panel, &by);
            let group =
                self.groups.get_key_value(group).map_or_else(|| group.into(), |(name, _)| Rc::clone(name));
            let known = self.panels.insert(panel.number, (Rc::clone(&group), facts));
            if known.as_ref().is_some_and(|(_, known)| *known == facts) {
                continue;
            }
            let counts = self.groups.entry(Rc::clone(&group)).or_default();
            if let Some((_, known)) = known {
                counts.take_away(&known);
            }
            counts.add(&facts);
            touched.push(group);
            // All tiles are online to begin with.
            if !first || facts.mark() != Mark::Online {
                panels.push(json!([
                    panel_path(panel.settings.id.as_str()),
                    facts.mark().word(),
                    facts.words()
                ]));
            }
        }
        if touched.is_empty() && !first {
            return Ok(None);
        }
        touched.sort_unstable();
        touched.dedup();
        let groups: Vec<_> = touched
            .iter()
            .filter_map(|group| Some(json!([group, self.groups.get(group)?.words()])))
            .collect();
        let mut counts = serde_json::Map::new();
        counts.insert("panels".into(), self.groups.values().map(|group| group.panels).sum::<u64>().into());
        for mark in Mark::ALL {
            counts.insert(
                mark.word().into(),
                self.groups.values().map(|group| group.of(mark)).sum::<u64>().into(),
            );
        }
        let data = json!({ "first": first, "counts": counts, "panels": panels, "groups": groups });
        Ok(Some(events::text(None, "fleet", &data)))
    }
}
