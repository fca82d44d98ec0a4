//! `panelsync identifier import`: a list of people, looked at as it would come out, and sent.

use std::collections::HashMap;

use clap::Args;
use serde_json::{Map, Value, json};

use super::apply::{self, Waiting, read_content};
use super::ask::Sure;
use super::client::Client;
use super::identifier::zone;
use super::{Exit, Failure, Output, Targets, file, output};
use crate::batch::ItemOutcome;
use crate::batch::item::Kind;
use crate::http::fleet_api::batches::DryRun;
use crate::identifier::file::Content;
use crate::identifier::people::{self, Entry, Names};
use crate::identifier::sentence::sentence;
use crate::panel::settings::Zone;
use crate::profile::LinkId;

/// What `identifier import` takes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The list: CSV, a line for each identifier; - reads standard input
    #[arg(value_name = "LIST")]
    list: String,
    /// Time profiles that are pushed with them, in one batch, and that the list may name: JSON or YAML as `apply` takes it
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// In which days and times of the list are meant
    #[arg(long)]
    zone: Option<String>,
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show what would come of it
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before it is sent; without a terminal nothing is sent without this
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Identifiers of a list that are shown one by one.
const SHOWN: usize = 20;

/// Reads a list, shows what would come of it, and sends it.
pub fn import(args: &ImportArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let zone = args.zone.as_deref().map(zone).transpose()?;
    let text = file::read(&args.list)?;
    let list = file::name(&args.list);
    let profiles = match &args.file {
        Some(file) => profiles_of(file)?,
        None => Vec::new(),
    };
    let mut held: Vec<Value> = client.get_all("/profiles")?;
    held.retain(|profile| profile["panels"].as_u64() != Some(0)); // which all refuse
    let names = Names::new(named(&profiles), named(&held));
    let rules = zone.as_ref().map(Zone::rules);
    let entries = people::read(&text, rules, |name| names.find(name))
        .map_err(|faults| Failure::usage(format!("{list} {faults}\nnothing was sent")))?;
    let mut body = Map::new();
    args.targets.put_into(&mut body, client)?;
    let content = Content {
        identifiers: Some(people::as_sent(&entries).map_err(std::io::Error::other)?),
        ..Content::default()
    };
    apply::put_into(&mut body, content, false);
    if !profiles.is_empty() {
        body.insert("upsert".into(), profiles.into());
    }
    let explain = |failure| explain(list, &entries, failure);
    let plan = apply::dry_run(body.clone(), client).map_err(explain)?;
    refuse_bindings(list, &entries, &plan)?;
    let shown =
        Shown { entries: &entries, names: &names, zone: &zone.unwrap_or_else(Zone::utc), plan: &plan };
    if args.dry_run {
        match output {
            Output::Json => output::json(&shown.json())?,
            Output::Table => {
                shown.tables();
                note!("nothing was changed: this was a dry run");
            }
        }
        return Ok(Exit::Done);
    }
    if output == Output::Table {
        shown.tables();
        say!();
    }
    Sure { yes: args.yes }.of(&shown.question(list))?;
    apply::submit(body, false, &args.waiting, client, output).map_err(explain)
}

/// The profiles of a file.
fn profiles_of(file: &str) -> Result<Vec<Value>, Failure> {
    let (content, _) = read_content(file)?;
    if content.identifiers.is_some() {
        let file = file::name(file);
        return Err(Failure::usage(format!(
            "{file} has identifiers, which here come from the list; push it with `panelsync apply`"
        )));
    }
    Ok(content.profiles.map(|listed| listed.items).unwrap_or_default())
}

/// A refusal of the server, with the lines of the list.
fn explain(list: &str, entries: &[Entry], failure: Failure) -> Failure {
    let errors = failure.problem.as_ref().map(|problem| problem.errors.as_slice()).unwrap_or_default();
    let said = errors.iter().filter_map(|error| {
        let mut steps = error.path.strip_prefix("/identifiers/upsert/")?.split('/');
        let entry = entries.get(steps.next()?.parse::<usize>().ok()?)?;
        let rest: Vec<_> = steps.collect();
        let at = if rest.is_empty() { String::new() } else { format!(", {}", rest.join("/")) };
        Some(format!("\n  line {}{at}: {}", entry.line, error.message))
    });
    let said: Vec<_> = said.take(people::TOLD).collect();
    if said.is_empty() {
        return failure;
    }
    Failure { message: format!("{list} is refused; nothing was sent{}", said.concat()), ..failure }
}

/// A line whose time profiles are nowhere on the panels that were picked is wrong like any other.
fn refuse_bindings(list: &str, entries: &[Entry], plan: &DryRun) -> Result<(), Failure> {
    let mut without = HashMap::<&str, usize>::new();
    for item in plan.plan.iter().flat_map(|panel| &panel.refused) {
        let no_profile = item.extended_info.starts_with(ItemOutcome::NoProfile.extended_info());
        if no_profile && item.kind == Kind::Identifier.as_str() {
            *without.entry(&item.link_id).or_default() += 1;
        }
    }
    let everywhere =
        |entry: &&Entry| without.get(entry.linked.link_id.to_string().as_str()) == Some(&plan.plan.len());
    let said: Vec<_> = entries
        .iter()
        .filter(everywhere)
        .take(people::TOLD)
        .map(|entry| {
            let line = entry.line;
            format!("\n  line {line}, column profiles: none of the panels holds all its time profiles, and they are not sent with the list")
        })
        .collect();
    if said.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("{list} is refused; nothing was sent{}", said.concat())))
}

/// The names of profiles as they are in JSON.
fn named(profiles: &[Value]) -> impl Iterator<Item = (LinkId, String)> {
    profiles.iter().filter_map(|profile| {
        let link_id = profile["link_id"].as_str()?.parse().ok()?;
        Some((link_id, profile["name"].as_str()?.to_owned()))
    })
}

/// What is looked at before it is sent.
struct Shown<'s> {
    entries: &'s [Entry],
    names: &'s Names,
    zone: &'s Zone,
    plan: &'s DryRun,
}

impl Shown<'_> {
    fn sentence(&self, entry: &Entry) -> String {
        sentence(&entry.linked.identifier, self.zone.rules(), |id| self.names.of(id))
    }

    fn tables(&self) {
        output::table(
            [">line", "identifier", "link_id"],
            self.entries.iter().take(SHOWN).map(|entry| {
                [entry.line.to_string(), self.sentence(entry), entry.linked.link_id.to_string()]
            }),
        );
        if self.entries.len() > SHOWN {
            say!("… and {} more", self.entries.len() - SHOWN);
        }
        let made = self.entries.iter().filter(|entry| entry.made).count();
        if made > 0 {
            say!(
                "{} made of name and type: who is renamed in the list is another one then",
                if made == 1 { "1 link_id is".to_owned() } else { format!("{made} link_ids are") }
            );
        }
        say!();
        apply::plan_table(self.plan);
        apply::say_opening(self.plan);
    }

    fn json(&self) -> Value {
        let identifiers: Vec<_> = self
            .entries
            .iter()
            .map(|entry| {
                let identifier = &entry.linked.identifier;
                json!({
                    "line": entry.line,
                    "link_id": entry.linked.link_id,
                    "link_id_made": entry.made,
                    "name": identifier.name.as_str(),
                    "type": identifier.credential.kind().as_str(),
                    "number": identifier.credential.masked(),
                    "sentence": self.sentence(entry),
                })
            })
            .collect();
        json!({ "identifiers": identifiers, "dry_run": self.plan })
    }

    /// What is about to be done.
    fn question(&self, list: &str) -> String {
        let items = &self.plan.items;
        let panels = self.plan.panels.total;
        let refused = match items.rejected {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        format!(
            "{list}: {} for {}: {} to create, {} to update, {} unchanged{refused}",
            output::counted(self.entries.len() as u64, "identifier"),
            output::counted(panels, "panel"),
            items.created,
            items.updated,
            items.unchanged
        )
    }
}
