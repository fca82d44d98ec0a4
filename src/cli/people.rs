//! `panelsync identifier import`: a list of people, looked at as it would come out, and sent.

use std::collections::HashMap;
use std::collections::hash_map;

use clap::Args;
use serde_json::{Map, Value, json};

use super::apply::{self, Waiting, read_content};
use super::ask::Sure;
use super::client::Client;
use super::identifier::zone;
use super::{Exit, Failure, Output, Targets, file, output, words};
use crate::http::fleet_api::batches::DryRun;
use crate::identifier::file::Content;
use crate::identifier::people::{self, Entry};
use crate::identifier::rule::Api;
use crate::identifier::sentence::sentence;
use crate::identifier::wire;
use crate::panel::settings::Zone;
use crate::profile::LinkId;
use crate::profile::rule::Family;

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
    let names = Names::of(&profiles, client)?;
    let rules = zone.as_ref().map(Zone::rules);
    let entries = people::read(&text, rules, |name| names.find(name))
        .map_err(|faults| Failure::usage(format!("{list} {faults}\nnothing was sent")))?;
    let mut body = Map::new();
    args.targets.put_into(&mut body, client)?;
    let content = Content { profiles: None, identifiers: Some(as_sent(&entries)?) };
    apply::put_into(&mut body, content, false);
    if !profiles.is_empty() {
        body.insert("upsert".into(), profiles.into());
    }
    let explain = |failure| explain(list, &entries, failure);
    let plan = apply::dry_run(body.clone(), client).map_err(explain)?;
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

/// The identifiers as a batch takes them.
fn as_sent(entries: &[Entry]) -> Result<Vec<Value>, Failure> {
    let api = Api::of(Family::Android, None).map_err(|error| Failure::usage(error.to_string()))?;
    let read = |entry: &Entry| serde_json::from_str(&wire::item(&entry.linked, api));
    let items = entries.iter().map(read).collect::<Result<_, _>>();
    items.map_err(|error| std::io::Error::other(error).into())
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

/// The time profiles that a list may name: those that are pushed with it, then the fleet's.
struct Names {
    /// By name.
    pushed: HashMap<String, Vec<LinkId>>,
    held: HashMap<String, Vec<LinkId>>,
    of: HashMap<LinkId, String>,
}

impl Names {
    fn of(pushed: &[Value], client: &Client) -> Result<Self, Failure> {
        let held: Vec<Value> = client.get_all("/profiles")?;
        let mut names = Self { pushed: HashMap::new(), held: HashMap::new(), of: HashMap::new() };
        for (list, to) in [(pushed, &mut names.pushed), (held.as_slice(), &mut names.held)] {
            for profile in list {
                let link_id = profile["link_id"].as_str().and_then(|text| text.parse::<LinkId>().ok());
                let (Some(link_id), Some(name)) = (link_id, profile["name"].as_str()) else { continue };
                // What is pushed has its new name.
                if let hash_map::Entry::Vacant(free) = names.of.entry(link_id) {
                    free.insert(name.to_owned());
                    to.entry(name.trim().to_owned()).or_default().push(link_id);
                }
            }
        }
        Ok(names)
    }

    /// The profile of this name, in the same letters or, where none is, in others' case.
    fn find(&self, name: &str) -> Result<LinkId, String> {
        let small = name.to_lowercase();
        let of_name = |names: &HashMap<String, Vec<LinkId>>| names.get(name).cloned().unwrap_or_default();
        let in_any_case = |names: &HashMap<String, Vec<LinkId>>| -> Vec<LinkId> {
            names
                .iter()
                .filter(|(known, _)| known.to_lowercase() == small)
                .flat_map(|(_, ids)| ids)
                .copied()
                .collect()
        };
        let found =
            [of_name(&self.pushed), of_name(&self.held), in_any_case(&self.pushed), in_any_case(&self.held)];
        match found.into_iter().find(|ids| !ids.is_empty()).as_deref() {
            Some([one]) => Ok(*one),
            Some(many) => {
                let ids: Vec<_> = many.iter().map(LinkId::to_string).collect();
                Err(format!("several time profiles have this name; give one's link_id: {}", ids.join(", ")))
            }
            None => {
                let known = self.pushed.keys().chain(self.held.keys()).map(String::as_str);
                // It may be a number in the wrong column, so that it is not told itself.
                Err(match words::nearest(name, known) {
                    Some(near) => format!("no time profile has this name; did you mean {near:?}?"),
                    None => "no time profile has this name".to_owned(),
                })
            }
        }
    }
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
        let name_of = |id: LinkId| self.names.of.get(&id).cloned();
        sentence(&entry.linked.identifier, self.zone.rules(), name_of)
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
