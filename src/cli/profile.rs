//! `panelsync profile …`: time profiles in a file, without a server.

use clap::Subcommand;
use serde_json::{Value, json};

use super::apply::read_file;
use super::{Exit, Failure, Output, output};
use crate::panel::settings::Zone;
use crate::profile::opens;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::profile::wire::Json;

/// The commands on profiles in a file.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Check every profile of a file; each problem with its JSON path; exit 2 if there is any
    #[command(after_help = "Example:\n  panelsync profile check -f profiles.yaml --zone Europe/Kyiv")]
    Check {
        /// JSON or YAML: {"list_items":[…]} or a bare list of profiles; - reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: String,
        /// The zone of the panels, for rules that depend on it
        #[arg(long, default_value = "UTC")]
        zone: String,
    },
}

/// Something wrong at a place.
struct Finding {
    path: String,
    message: String,
    hint: String,
}

/// Runs a command on profiles.
pub fn run(command: &ProfileCommand, output: Output) -> Result<Exit, Failure> {
    let ProfileCommand::Check { file, zone } = command;
    let rules = Zone::new(zone)
        .ok_or_else(|| Failure::usage(format!("--zone {zone:?} is no IANA time zone such as Europe/Kyiv")))?;
    let content = read_file(file)?;
    let (list, path) = match &content {
        Value::Object(object) => (object.get("list_items"), "/list_items"),
        list => (Some(list), ""),
    };
    let Some(Value::Array(items)) = list else {
        return Err(Failure::usage(format!(
            "{file} is neither a list of profiles nor an object with list_items"
        )));
    };
    let findings = check(items, path, &rules)?;
    match output {
        Output::Json => {
            let problems: Vec<_> = findings
                .iter()
                .map(|finding| json!({ "path": finding.path, "message": finding.message, "hint": finding.hint }))
                .collect();
            output::json(&json!({ "profiles": items.len(), "problems": problems }))?;
        }
        Output::Table => {
            for Finding { path, message, hint } in &findings {
                println!("{path}: {message} ({hint})");
            }
            match findings.len() {
                0 => println!("{} profiles, no problems", items.len()),
                n => println!("{} profiles, {n} problems", items.len()),
            }
        }
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Usage })
}

fn check(items: &[Value], path: &str, zone: &Zone) -> Result<Vec<Finding>, Failure> {
    let text = serde_json::to_string(items).map_err(std::io::Error::other)?;
    let list = Json::read(text.as_bytes()).unwrap_or(Json::Null);
    let Json::List(profiles) = list else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    let mut seen = std::collections::HashMap::new();
    // One at a time, so that each profile keeps its index in the list.
    for (i, profile) in profiles.into_iter().enumerate() {
        let at = format!("{path}/{i}");
        let mut problems = Vec::new();
        let parsed = parse::linked_profiles(&Json::List(vec![profile]), "", Family::Android, &mut problems);
        findings.extend(problems.into_iter().map(|problem| Finding {
            // The path within the list of one begins with its index.
            path: format!("{at}{}", problem.path.strip_prefix("/0").unwrap_or(&problem.path)),
            message: problem.error.to_string(),
            hint: problem.error.hint(),
        }));
        for linked in parsed {
            if let Err(never) = opens::check(&linked.profile, zone.rules()) {
                findings.push(Finding {
                    path: at.clone(),
                    message: "invalid_time_rules_settings".into(),
                    hint: never.to_string(),
                });
            }
            if let Some(first) = seen.insert(linked.link_id, i) {
                findings.push(Finding {
                    path: format!("{at}/link_id"),
                    message: "has_dublicates".into(),
                    hint: format!("the same link_id stands at {path}/{first}"),
                });
                seen.insert(linked.link_id, first);
            }
        }
    }
    Ok(findings)
}
