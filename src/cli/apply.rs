//! `panelsync apply` and `panelsync delete`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::ask::{self, Sure};
use super::client::Client;
use super::{Exit, Failure, Output, Targets, batch, file, find, output, schedule, seconds, words};
use crate::batch::ItemOutcome;
use crate::batch::item::Kind;
use crate::fleet::FieldError;
use crate::http::fleet_api::batches::{BatchItem, DryRun};
use crate::identifier::file::{self as content, Content, FileError, Holders, IDENTIFIERS};
use crate::identifier::parse::Items;
use crate::identifier::people::TOLD;
use crate::identifier::rule::Api;
use crate::profile::LinkId;
use crate::profile::wire::Json;
use crate::schedule::CalendarName;
use crate::schedule::parse::calendar_json;

/// What `apply` takes.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// JSON or YAML: an object with a list of profiles, of identifiers, of schedules, or of several of them;
    /// {"list_items":[…]}, or a bare list of profiles; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// A calendar from an .ics file, under the name by which the schedules have it
    #[arg(long = "calendar", value_name = "NAME=FILE.ics", value_parser = schedule::named_file)]
    calendars: Vec<(CalendarName, String)>,
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show per panel what would be created, updated, deleted or is unchanged
    #[arg(long)]
    dry_run: bool,
    /// Also delete every other link_id on those panels, of the kinds that FILE has a list of
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    sure: Sure,
    #[command(flatten)]
    meant: Meant,
    #[command(flatten)]
    waiting: Waiting,
}

/// What of a batch's effect is meant.
#[derive(Debug, Args)]
pub struct Meant {
    /// So many door-hours are meant to open or close: the number that --dry-run says, where the server has a budget of them
    #[arg(long, value_name = "DOOR-HOURS")]
    confirm: Option<u64>,
}

impl Meant {
    fn put_into(&self, body: &mut Map<String, Value>) {
        if let Some(hours) = self.confirm {
            body.insert("confirm_door_hours".into(), hours.into());
        }
    }
}

/// What `delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The link_ids to delete, or the beginnings of them
    #[arg(required = true, value_name = "LINK_ID")]
    link_ids: Vec<String>,
    /// What they are
    #[arg(long, value_enum, default_value_t = Deleted::Profile)]
    kind: Deleted,
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show per panel what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sure: Sure,
    #[command(flatten)]
    meant: Meant,
    #[command(flatten)]
    waiting: Waiting,
}

/// What is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deleted {
    /// A time profile
    Profile,
    /// An identifier
    Identifier,
    /// A schedule: all its parts, by its whole link_id
    Schedule,
}

/// How long to wait for the outcomes.
#[derive(Debug, Args)]
pub struct Waiting {
    /// Return as soon as the batch is accepted
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// How long to wait for every panel's outcome
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    pub wait: u64,
}

impl Waiting {
    /// Until when; nothing where it is longer than anybody waits.
    pub fn until(&self) -> Option<Instant> {
        Instant::now().checked_add(Duration::from_secs(self.wait))
    }
}

/// Creates or updates what a file holds.
pub fn apply(args: &ApplyArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let (mut content, _) = read_content(&args.file)?;
    let file = file::name(&args.file);
    content.calendars.extend(schedule::import(&args.calendars)?.iter().map(calendar_json));
    let places = Places::of(file, &content);
    if let Some(list) = &content.identifiers {
        refuse_numbers_twice(file, list)?;
    }
    let kinds = [
        ("profile", content.profiles.as_ref().map(|listed| listed.items.len() as u64)),
        ("identifier", content.identifiers.as_ref().map(|list| list.len() as u64)),
    ];
    let schedules = content.schedules.as_ref().map_or(0, Vec::len);
    if schedules == 0 && !args.prune && kinds.iter().all(|(_, named)| named.is_none_or(|named| named == 0)) {
        return Err(Failure::usage(format!(
            "{file} names no profile, no identifier and no schedule: there is nothing to do"
        )));
    }
    if args.prune && kinds.iter().all(|(_, named)| named.is_none()) {
        return Err(Failure::usage(format!(
            "{file} has no list of profiles or identifiers, so that --prune would delete nothing; what a schedule does not say any more goes without it"
        )));
    }
    let mut body = Map::new();
    args.targets.put_into(&mut body, client)?;
    put_into(&mut body, content, args.prune);
    args.meant.put_into(&mut body);
    if args.prune && !args.dry_run {
        let none = kinds.iter().find(|(_, named)| *named == Some(0));
        if let Some((kind, _)) = none
            && !args.sure.yes
        {
            return Err(Failure::usage(format!(
                "{file} names no {kind}, so that --prune would delete all that the panels hold; nothing was done. If that is meant, give --yes"
            )));
        }
        let named: u64 = kinds.iter().filter_map(|(_, named)| *named).sum();
        let plan = dry_run(body.clone(), client).map_err(|failure| places.explain(failure))?;
        let deletes = plan.items.deleted;
        if deletes > named
            || plan.unread_devices > 0
            || (args.targets.all && (deletes > 0 || !ask::possible()))
        {
            let mut pruned = kinds.iter().filter(|(_, named)| named.is_some());
            let what = match (pruned.next(), pruned.next()) {
                (Some((kind, _)), None) => kind,
                _ => "item",
            };
            args.sure.of(&format!("{}, and {file} names {named}", what_goes(&plan, what)))?;
        }
        body.insert("confirm_deletes".into(), deletes.into());
    }
    submit(body, args.dry_run, &args.waiting, client, output).map_err(|failure| places.explain(failure))
}

/// Where what a batch names stands in its file.
struct Places<'f> {
    file: &'f str,
    /// A pointer to each list, and the link_ids in it; and under which pointer the batch has the list.
    lists: [(&'static str, &'static str, &'static str, Vec<Option<LinkId>>); 4],
}

impl<'f> Places<'f> {
    fn of(file: &'f str, content: &Content) -> Self {
        let link = |item: &Value| item["link_id"].as_str()?.parse().ok();
        let links = |items: &[Value]| items.iter().map(link).collect();
        let profiles = content.profiles.as_ref();
        let path = profiles.map_or("", |listed| listed.path);
        let profiles = profiles.map_or_else(Vec::new, |listed| links(&listed.items));
        let identifiers = content.identifiers.as_deref().map_or_else(Vec::new, links);
        let schedules = content.schedules.as_deref().map_or_else(Vec::new, links);
        let lists = [
            ("/upsert/", "profile", path, profiles),
            ("/identifiers/upsert/", "identifier", IDENTIFIERS, identifiers),
            ("/schedules/upsert/", "schedule", "/schedules", schedules),
            ("/calendars/", "calendar", "/calendars", links(&content.calendars)),
        ];
        Self { file, lists }
    }

    /// A place of the batch as one of the file: `/identifiers/0/lock of identifier …`.
    fn said(&self, place: &str) -> Option<String> {
        self.lists.iter().find_map(|(of_batch, kind, path, links)| {
            let at = place.strip_prefix(of_batch)?;
            let (index, _) = at.split_once('/').unwrap_or((at, ""));
            let link = links.get(index.parse::<usize>().ok()?)?.map(|link| format!(" {link}"));
            Some(format!("{path}/{at} of {kind}{}", link.unwrap_or_default()))
        })
    }

    /// A refusal of the server, with the places of the file.
    fn explain(&self, failure: Failure) -> Failure {
        let Some(problem) = &failure.problem else { return failure };
        let errors = &problem.errors;
        if !errors.iter().any(|error| self.said(&error.path).is_some()) {
            return failure;
        }
        let said = |error: &FieldError| match self.said(&error.path) {
            Some(place) => format!("{place}: {}", error.message),
            None => words::of(error),
        };
        let message = match errors.as_slice() {
            [one] => format!("{} {}; nothing was done", self.file, said(one)),
            many => {
                let places: String = many.iter().map(|error| format!("\n  {}", said(error))).collect();
                format!("{}: {}; nothing was done{places}", self.file, problem.detail)
            }
        };
        Failure { message, ..failure }
    }
}

/// What a file holds, as fields of a batch. Of each kind that the file has a list of, what is not in it may be pruned.
pub fn put_into(body: &mut Map<String, Value>, content: Content, prune: bool) {
    if let Some(listed) = content.profiles {
        body.insert("upsert".into(), listed.items.into());
        body.insert("prune".into(), prune.into());
    }
    if let Some(list) = content.identifiers {
        body.insert("identifiers".into(), json!({ "upsert": list, "prune": prune }));
    }
    if let Some(list) = content.schedules {
        body.insert("schedules".into(), json!({ "upsert": list }));
        body.insert("calendars".into(), content.calendars.into());
    }
}

/// A number that stands in a file under two link_ids would be refused for one of them, panel by panel.
fn refuse_numbers_twice(file: &str, list: &[Value]) -> Result<(), Failure> {
    let mut holders = Holders::default();
    let mut twice = Vec::new();
    for (i, item) in list.iter().enumerate() {
        let text = serde_json::to_string(item).map_err(std::io::Error::other)?;
        let read = Json::read(text.as_bytes());
        // What is wrong otherwise, the server says.
        let Some(linked) = read.and_then(|json| Items::default().linked(&json, (IDENTIFIERS, i), Api::ANY))
        else {
            continue;
        };
        if let Some((first, holder)) = holders.earlier_number(i, &linked) {
            let what = linked.identifier.credential.kind().in_words();
            twice.push(format!(
                "{IDENTIFIERS}/{i}/identifier_number of identifier {}: the same {what} stands at {IDENTIFIERS}/{first}, of {holder}",
                linked.link_id
            ));
        }
    }
    match twice.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::usage(format!("{file} {one}; nothing was sent"))),
        many => {
            let more = many.len().saturating_sub(TOLD);
            let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
            let told: String = many.iter().take(TOLD).map(|line| format!("\n  {line}")).collect();
            Err(Failure::usage(format!(
                "{file} has {} numbers a second time; nothing was sent{told}{more}",
                many.len()
            )))
        }
    }
}

/// Deletes profiles, or identifiers.
pub fn delete(args: &DeleteArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut body = Map::new();
    args.targets.put_into(&mut body, client)?;
    let what = match args.kind {
        Deleted::Profile | Deleted::Schedule => Kind::Profile.as_str(),
        Deleted::Identifier => Kind::Identifier.as_str(),
    };
    if args.kind == Deleted::Schedule {
        let ids = args.link_ids.iter().map(|text| {
            let link_id: Result<LinkId, _> = text.parse();
            link_id
                .map(|link_id| link_id.to_string())
                .map_err(|error| Failure::usage(format!("{text}: {error}")))
        });
        body.insert("schedules".into(), json!({ "delete": ids.collect::<Result<Vec<_>, _>>()? }));
    } else {
        let ids: Vec<_> =
            find::link_ids(client, &args.link_ids, what)?.iter().map(LinkId::to_string).collect();
        match args.kind {
            Deleted::Identifier => body.insert("identifiers".into(), json!({ "delete": ids })),
            Deleted::Profile | Deleted::Schedule => body.insert("delete".into(), ids.into()),
        };
    }
    args.meant.put_into(&mut body);
    if args.targets.all && !args.dry_run && !args.sure.yes {
        let plan = dry_run(body.clone(), client)?;
        if plan.items.deleted > 0 || !ask::possible() {
            args.sure.of(&what_goes(&plan, what))?;
        }
    }
    submit(body, args.dry_run, &args.waiting, client, output)
}

/// What a batch would delete, in words.
pub fn what_goes(plan: &DryRun, what: &str) -> String {
    let panels = plan.plan.iter().filter(|panel| panel.deleted > 0).count() as u64;
    let deletes = format!(
        "this deletes {} on {}",
        output::counted(plan.items.deleted, what),
        output::counted(panels, "panel")
    );
    match plan.unread_devices {
        0 => deletes,
        1 => format!("{deletes}, on a device whatever else it holds, which was not read yet"),
        many => format!("{deletes}, on {many} devices whatever else they hold, which was not read yet"),
    }
}

/// What would come of a batch.
pub fn dry_run(body: Map<String, Value>, client: &Client) -> Result<DryRun, Failure> {
    dry_run_at("/batches", body, client)
}

/// The same of what is sent to this path.
pub fn dry_run_at(path: &str, mut body: Map<String, Value>, client: &Client) -> Result<DryRun, Failure> {
    body.insert("dry_run".into(), true.into());
    let answer = client.post(path, &[], &body.into())?;
    Ok(serde_json::from_value(answer.body).map_err(std::io::Error::other)?)
}

/// Sends a batch and reports what came of it, or shows what would.
pub fn submit(
    body: Map<String, Value>,
    only_look: bool,
    waiting: &Waiting,
    client: &Client,
    output: Output,
) -> Result<Exit, Failure> {
    if only_look {
        return show_plan(&dry_run(body, client)?, output);
    }
    submit_at("/batches", body, waiting, client, output)
}

/// Sends what becomes a batch to this path, and reports what came of it.
pub fn submit_at(
    path: &str,
    body: Map<String, Value>,
    waiting: &Waiting,
    client: &Client,
    output: Output,
) -> Result<Exit, Failure> {
    let until = waiting.until();
    // With a bar to show, look at the batch meanwhile; else let the server wait.
    let wait = if waiting.no_wait || output::has_terminal() { 0 } else { waiting.wait.min(300) };
    // A key of its own makes a request that is sent twice by a proxy one batch.
    let key = uuid::Uuid::new_v4().to_string();
    let headers = [("prefer", format!("wait={wait}")), ("idempotency-key", key)];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = client.post(path, &headers, &body.into())?;
    let accepted = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    let batch = if waiting.no_wait { accepted } else { batch::follow(client, accepted, until)? };
    batch::report(client, &batch, output)
}

/// Shows what would come of a batch.
pub fn show_plan(plan: &DryRun, output: Output) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(plan)?,
        Output::Table => {
            plan_table(plan);
            say_opening(plan);
            note!("nothing was changed: this was a dry run");
        }
    }
    Ok(Exit::Done)
}

/// What would come of opening hours.
pub fn say_opening(plan: &DryRun) {
    let opening = &plan.opening;
    let hours = |seconds: u64| output::counted(seconds.div_ceil(3600), "hour");
    let panels = |panels| output::counted(panels, "panel");
    if opening.door_hours == 0 && opening.identifiers.gaining == 0 && opening.identifiers.losing == 0 {
        return;
    }
    say!();
    let changes =
        [(opening.gained_s, "more", opening.panels_gaining), (opening.lost_s, "less", opening.panels_losing)];
    let changes = changes.into_iter().filter(|(seconds, ..)| *seconds > 0);
    let changes: Vec<_> =
        changes.map(|(seconds, how, on)| format!("{} {how} on {}", hours(seconds), panels(on))).collect();
    if !changes.is_empty() {
        say!(
            "within four weeks: {}; {} in all",
            changes.join(", "),
            output::counted(opening.door_hours, "door-hour")
        );
    }
    for example in &opening.examples {
        say!("  on {}: {}", output::counted(example.panels, "door"), example.text);
    }
    let identifiers = &opening.identifiers;
    if identifiers.gaining > 0 {
        say!("  for {} a door opens that did not", output::counted(identifiers.gaining, "identifier"));
    }
    if identifiers.losing > 0 {
        say!("  for {} a door opens no more", output::counted(identifiers.losing, "identifier"));
    }
}

/// What would come of a batch, panel by panel.
pub fn plan_table(plan: &DryRun) {
    output::table(
        ["panel", ">create", ">update", ">delete", ">unchanged", ">not found", ">refuse"],
        plan.plan.iter().map(|panel| {
            [
                panel.panel.clone(),
                panel.created.to_string(),
                panel.updated.to_string(),
                panel.deleted.to_string(),
                panel.unchanged.to_string(),
                panel.entity_not_found.to_string(),
                panel.rejected.to_string(),
            ]
        }),
    );
    if plan.unread_devices > 0 {
        let devices = output::counted(plan.unread_devices, "device");
        note!(
            "on {devices} whatever else is held would go, too; it was not read yet (`panelsync diff` reads it)"
        );
    }
    refusals(plan);
}

/// Refusals of a plan that are told.
const REFUSALS: usize = 20;

/// What would be refused, each with the panels that would.
fn refusals(plan: &DryRun) {
    let mut refusals: BTreeMap<(&str, &str, &str), (&str, u64)> = BTreeMap::new();
    for panel in &plan.plan {
        for BatchItem { kind, link_id, extended_info, .. } in &panel.refused {
            refusals.entry((kind, link_id, extended_info)).or_insert((&panel.panel, 0)).1 += 1;
        }
    }
    for ((kind, link_id, why), (panel, panels)) in refusals.into_iter().take(REFUSALS) {
        let others = match panels {
            1 => String::new(),
            panels => format!(" and {}", output::counted(panels - 1, "other")),
        };
        if why == ItemOutcome::ChangedSince.extended_info() {
            say!("left on {panel}{others}: {kind} {link_id}: something newer has changed it");
            continue;
        }
        say!("refused by {panel}{others}: {kind} {link_id}: {why}");
    }
}

/// What a file holds, or standard input for `-`; and its text, in which lines are looked up.
pub fn read_content(file: &str) -> Result<(Content, String), Failure> {
    let text = file::read(file)?;
    let content = content::read(&text).map_err(|error| wrong(file, &error))?;
    Ok((content, text))
}

fn wrong(file: &str, error: &FileError) -> Failure {
    let text = error.to_string();
    Failure::usage(format!("{}{}", file::name(file), text.strip_prefix("it").unwrap_or(&text)))
}
