//! `panelsync identifier …`: identifiers in a file, without a server; and those of the fleet.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::apply::read_content;
use super::client::Client;
use super::people::{self, ImportArgs};
use super::profile::{Finding, count, find_lines};
use super::{Exit, Failure, Output, file, find, output, words};
use crate::clock;
use crate::http::fleet_api::identifiers::{
    FleetIdentifier, FleetIdentifierVersions, HoldingPanel, ShownIdentifier,
};
use crate::http::fleet_api::profiles::StateCounts;
use crate::http::percent;
use crate::identifier::file::{Content, Holders, IDENTIFIERS};
use crate::identifier::parse::Items;
use crate::identifier::rule::{Api, Kind};
use crate::identifier::sentence::sentence;
use crate::identifier::{LinkedIdentifier, lint};
use crate::panel::settings::Zone;
use crate::profile::LinkId;
use crate::profile::parse::problems::NAMED;
use crate::profile::rule::Family;
use crate::profile::text;
use crate::profile::wire::Json;

/// The commands on identifiers.
#[derive(Debug, Subcommand)]
pub enum IdentifierCommand {
    /// Check every identifier of a file: problems and warnings with their JSON path, and each in words
    #[command(
        after_help = "The file is an object with a list of identifiers and, if it has them too, of profiles:\n\n  \
        identifiers:\n  - link_id: 5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11\n    \
        identifier_owner: { name: \"Flat 12, first\", type: owner }\n    \
        identifier_type: card\n    identifier_number: \"0A-1B-2C-3D\"\n    lock: first\n    \
        valid: { time: { is_permanent: true }, passes: { is_permanent: true } }\n    \
        time_profiles: { link_ids: [91c615e3-1040-4815-8ecb-039a18b756b5] }\n\n\
        Numbers are shown by their last characters, codes and faces not at all.\n\
        Exit code 2 if there is any problem; warnings leave it 0.\n\n\
        Examples:\n  panelsync identifier check -f cards.yaml --zone Europe/Kyiv\n  \
        panelsync identifier check -f cards.yaml --api camdroid --output json"
    )]
    Check(FileArgs),
    /// Push a list of people (CSV) as identifiers, after a look at what would come of it
    #[command(
        after_help = "The first line names the columns, between which stand commas, semicolons or tabs:\n\n  \
        name         whose it is\n  \
        type         card, ukey, inputCode (or code), qr, license_plate (or plate)\n  \
        number       its number; never shown whole\n  \
        profiles     time profiles by name or link_id, with | between several; `always` for at any time\n  \
        from, to     when it is valid: days, also with a time (in --zone), or RFC 3339; the last one too\n  \
        owner        owner or guest; owner without it\n  \
        lock         first, second or all; first without it\n  \
        passes       how often it opens; any number of times without it\n  \
        link_id, apartment_link_id\n\n\
        The first four are needed. Without a link_id one is made of name and type, so that the same list gives the same \
        identifiers again, and a renamed one is a new one. Columns that begin with x- are the list's own. \
        Profiles are found by their names in FILE of --file, then on the server. A list with a wrong line is not sent.\n\n\
        Examples:\n  panelsync identifier import people.csv -l site=north --zone Europe/Kyiv --dry-run\n  \
        panelsync identifier import people.csv -f profiles.yaml --all --zone Europe/Kyiv --yes"
    )]
    Import(ImportArgs),
    /// The identifiers of the fleet, or of some panels
    #[command(after_help = "Numbers are shown by their last characters, codes and faces not at all.\n\n\
        Examples:\n  panelsync identifier ls\n  panelsync identifier ls -l site=north --output json")]
    Ls {
        /// Only of panels with these labels, such as site=north,floor in (1,2)
        #[arg(short = 'l', long, value_name = "SEL")]
        selector: Option<String>,
    },
    /// One identifier: on which panels, in which states, and where they differ
    #[command(
        after_help = "With --reveal its number is shown whole, codes too. That is for operators, and stands in the audit.\n\n\
        Examples:\n  panelsync identifier show 5d0c5e0e\n  panelsync identifier show 5d0c5e0e --reveal"
    )]
    Show {
        /// Its link_id, or the beginning of it
        link_id: String,
        /// Show its number whole
        #[arg(long)]
        reveal: bool,
    },
}

/// Which identifiers, for which panels.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// JSON or YAML: an object with a list of identifiers, and perhaps one of profiles; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// The family of the panels: android, camdroid or ingenic-mips
    #[arg(long, default_value = "android", value_parser = api)]
    api: Api,
    /// The zone in which moments are shown
    #[arg(long, default_value = "UTC")]
    zone: String,
}

/// The zone of a `--zone`.
pub fn zone(name: &str) -> Result<Zone, Failure> {
    Zone::new(name).ok_or_else(|| Failure::usage(format!("--zone: {}", Zone::unknown(name))))
}

fn api(text: &str) -> Result<Api, String> {
    let family = Family::parse(text).ok_or("one of android, camdroid, ingenic-mips")?;
    Api::of(family, None).map_err(|error| error.to_string())
}

/// A file's identifiers and what is wrong with it.
#[derive(Default)]
struct Checked {
    /// The well-formed ones, each with its place.
    identifiers: Vec<(String, LinkedIdentifier)>,
    /// The first of them.
    problems: Vec<Finding>,
    /// How many there are.
    all_problems: usize,
    warnings: Vec<Finding>,
}

/// Runs a command on identifiers; all but the check have a server asked.
pub fn run(
    command: &IdentifierCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        IdentifierCommand::Check(args) => check_file(args, output),
        IdentifierCommand::Import(args) => people::import(args, &client()?, output),
        IdentifierCommand::Ls { selector } => list(selector.as_deref(), &client()?, output),
        IdentifierCommand::Show { link_id, reveal } => show_one(link_id, *reveal, &client()?, output),
    }
}

/// A line for each identifier.
fn list(selector: Option<&str>, client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut path = "/identifiers".to_owned();
    if let Some(selector) = selector {
        find::selector(client, selector)?;
        path.push_str("?selector=");
        path.push_str(&percent(selector));
    }
    let identifiers: Vec<FleetIdentifier> = client.get_all(&path)?;
    match output {
        Output::Json => output::json(&identifiers)?,
        Output::Table => output::table(
            ["link_id", "name", "what", ">panels", "state"],
            identifiers.iter().map(|of| {
                let (name, what) = match &of.identifier {
                    Some(identifier) => (identifier.name.clone(), what(identifier)),
                    None => ("refused by every panel".to_owned(), String::new()),
                };
                let mut state = states(&of.states);
                if of.versions > 1 {
                    state = format!("{state}, {} differ", of.versions);
                }
                [of.link_id.to_string(), name, what, of.panels.to_string(), state]
            }),
        ),
    }
    Ok(Exit::Done)
}

/// Its kind in words, and its number as far as it is there.
fn what(identifier: &ShownIdentifier) -> String {
    let kind = Kind::parse(&identifier.r#type).map_or(identifier.r#type.as_str(), |kind| kind.in_words());
    match &identifier.number {
        Some(number) => format!("{kind} {number}"),
        None => kind.to_owned(),
    }
}

fn states(counts: &StateCounts) -> String {
    let all = [
        (counts.applied, "applied"),
        (counts.pending, "pending"),
        (counts.rejected, "rejected"),
        (counts.drifted, "drifted"),
    ];
    let some: Vec<_> = all.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    some.join(", ")
}

/// Panels that are named with each version.
const NAMED_PANELS: usize = 20;

fn show_one(link_id: &str, reveal: bool, client: &Client, output: Output) -> Result<Exit, Failure> {
    let link_id = find::link_id(client, link_id, "identifier")?;
    let reveal = if reveal { "?reveal=number" } else { "" };
    let found: Option<FleetIdentifierVersions> = client.find(&format!("/identifiers/{link_id}{reveal}"))?;
    let Some(found) = found else {
        return Err(Failure::usage(format!("no panel holds an identifier with the link_id {link_id}")));
    };
    match output {
        Output::Json => output::json(&found)?,
        Output::Table => {
            let on = output::counted(found.panels, "panel");
            say!("{} on {on}: {}", found.link_id, states(&found.states));
            if found.versions.len() > 1 {
                say!("panels differ: they hold {} versions of it", found.versions.len());
            }
            for version in &found.versions {
                say!("\n{}", text::shown(&version.sentence));
                if !reveal.is_empty() {
                    say!(
                        "number    {}",
                        version.identifier.number.as_deref().unwrap_or("none: it is a face")
                    );
                }
                let not_applied = |panel: &&HoldingPanel| panel.state != "applied";
                let (waiting, applied): (Vec<_>, Vec<_>) = version.panels.iter().partition(not_applied);
                for panel in waiting.iter().take(NAMED_PANELS) {
                    say!("{:<9} {}", panel.state, panel.panel);
                }
                if waiting.len() > NAMED_PANELS {
                    say!("          … and {} more that are not applied", waiting.len() - NAMED_PANELS);
                }
                if !applied.is_empty() {
                    let names = applied.iter().map(|panel| panel.panel.as_str());
                    say!("applied   {}", words::some_of(names, NAMED_PANELS));
                }
            }
            for refusing in &found.refused {
                say!("refused   {}: {}", refusing.panel, refusing.extended_info);
            }
        }
    }
    Ok(Exit::Done)
}

fn check_file(args: &FileArgs, output: Output) -> Result<Exit, Failure> {
    let zone = zone(&args.zone)?;
    let (Content { profiles, identifiers, .. }, text) = read_content(&args.file)?;
    let name = file::name(&args.file);
    let Some(identifiers) = identifiers else {
        return Err(Failure::usage(format!(
            "{name} has no list under identifiers; a bare list and list_items are profiles, and `panelsync profile check` looks at them"
        )));
    };
    let profiles = profiles.map_or_else(Vec::new, |listed| listed.items);
    if !profiles.is_empty() {
        let profiles = output::counted(profiles.len() as u64, "profile");
        note!("{name} has {profiles} too; `panelsync profile check` looks at them");
    }
    let profiles = names(&profiles);
    let mut checked = check(&identifiers, &profiles, args.api)?;
    find_lines(&text, checked.problems.iter_mut().chain(&mut checked.warnings));
    show(&checked, &profiles, args.api, &zone, output)?;
    Ok(if checked.all_problems == 0 { Exit::Done } else { Exit::Usage })
}

/// The names of the file's profiles, as far as they can be read.
fn names(profiles: &[Value]) -> HashMap<LinkId, String> {
    let named = |profile: &Value| {
        let link_id = profile["link_id"].as_str()?.parse().ok()?;
        Some((link_id, profile["name"].as_str().unwrap_or("?").to_owned()))
    };
    profiles.iter().filter_map(named).collect()
}

impl Checked {
    fn problem(&mut self, path: String, message: impl ToString, hint: impl ToString) {
        self.all_problems += 1;
        if self.problems.len() < NAMED {
            self.problems.push(Finding::new(path, message, hint));
        }
    }

    /// What opens is that of an earlier identifier. Of two faces only the panel can say whether they are one.
    fn taken(&mut self, at: &str, kind: Kind, first: usize) {
        if kind == Kind::Face {
            let message = format!("the same photo stands at {IDENTIFIERS}/{first}");
            return self.warning(format!("{at}/face_image"), message);
        }
        let hint = format!("the same {} stands at {IDENTIFIERS}/{first}", kind.in_words());
        self.problem(format!("{at}/identifier_number"), "number_taken_by_another_identifier", hint);
    }

    fn warning(&mut self, path: String, message: impl ToString) {
        self.warnings.push(Finding::new(path, message, ""));
    }
}

fn check(list: &[Value], profiles: &HashMap<LinkId, String>, api: Api) -> Result<Checked, Failure> {
    let now = clock::now_ms() / 1000;
    let mut checked = Checked::default();
    let mut link_ids = HashMap::new();
    let mut holders = Holders::default();
    for (i, item) in list.iter().enumerate() {
        let at = format!("{IDENTIFIERS}/{i}");
        let text = serde_json::to_string(item).map_err(std::io::Error::other)?;
        let Some(json) = Json::read(text.as_bytes()) else { continue };
        let mut items = Items::default();
        let linked = items.linked(&json, (IDENTIFIERS, i), api);
        let (problems, all) = items.found();
        checked.all_problems += all - problems.len();
        for problem in problems {
            checked.problem(problem.path, problem.error, problem.error.hint());
        }
        let Some(linked) = linked else { continue };
        let identifier = &linked.identifier;
        if let Some(refusal) = identifier.refused_by(api) {
            checked.problem(format!("{at}{}", refusal.path()), refusal.extended_info(), refusal);
        }
        let first = *link_ids.entry(linked.link_id).or_insert(i);
        if first != i {
            let hint = format!("the same link_id stands at {IDENTIFIERS}/{first}");
            checked.problem(format!("{at}/link_id"), "has_dublicates", hint);
        }
        if let Some((first, _)) = holders.earlier(i, &linked) {
            checked.taken(&at, identifier.credential.kind(), first);
        }
        for warning in lint::warnings(identifier, now) {
            checked.warning(format!("{at}{}", warning.path()), warning);
        }
        checked.identifiers.push((at, linked));
    }
    bindings(&mut checked, profiles);
    Ok(checked)
}

/// Warns of each profile that identifiers name and the file does not have, where it is named first.
fn bindings(checked: &mut Checked, profiles: &HashMap<LinkId, String>) {
    let mut missing: Vec<(LinkId, String, u64)> = Vec::new();
    let mut places = HashMap::new();
    for (at, linked) in &checked.identifiers {
        for id in linked.identifier.profiles.as_slice().iter().filter(|id| !profiles.contains_key(*id)) {
            let place = *places.entry(*id).or_insert_with(|| {
                missing.push((*id, format!("{at}/time_profiles/link_ids"), 0));
                missing.len() - 1
            });
            missing[place].2 += 1;
        }
    }
    for (id, path, by) in missing {
        let by =
            if by == 1 { "1 identifier names it".to_owned() } else { format!("{by} identifiers name it") };
        checked.warning(path, format!("time profile {id} is not in this file ({by})"));
    }
}

fn show(
    checked: &Checked,
    profiles: &HashMap<LinkId, String>,
    api: Api,
    zone: &Zone,
    output: Output,
) -> Result<(), Failure> {
    let Checked { identifiers, problems, all_problems, warnings } = checked;
    let said = |linked: &LinkedIdentifier| {
        sentence(&linked.identifier, zone.rules(), |id| profiles.get(&id).cloned())
    };
    match output {
        Output::Json => {
            let identifiers: Vec<_> = identifiers
                .iter()
                .map(|(path, linked)| {
                    let identifier = &linked.identifier;
                    json!({
                        "path": path,
                        "link_id": linked.link_id,
                        "name": identifier.name.as_str(),
                        "type": identifier.credential.kind().as_str(),
                        "number": identifier.credential.masked(),
                        "sentence": said(linked),
                    })
                })
                .collect();
            let findings =
                |findings: &[Finding]| -> Vec<Value> { findings.iter().map(Finding::json).collect() };
            output::json(&json!({
                "api": api.family().as_str(),
                "zone": zone.name(),
                "identifiers": identifiers,
                "problems": findings(problems),
                "problems_total": all_problems,
                "warnings": findings(warnings),
            }))?;
        }
        Output::Table => {
            if !identifiers.is_empty() {
                output::table(
                    ["link_id", "identifier"],
                    identifiers.iter().map(|(_, linked)| [linked.link_id.to_string(), said(linked)]),
                );
                say!();
            }
            for problem in problems {
                say!("problem {}: {} ({})", problem.place(), problem.message, problem.hint);
            }
            if *all_problems > problems.len() {
                say!("… and {}", count(all_problems - problems.len(), "more problem"));
            }
            for warning in warnings {
                say!("warning {}: {}", warning.place(), warning.message);
            }
            say!(
                "{} for {}, {}, {}",
                count(identifiers.len(), "well-formed identifier"),
                api.family(),
                count(*all_problems, "problem"),
                count(warnings.len(), "warning")
            );
        }
    }
    Ok(())
}
