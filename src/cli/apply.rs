//! `panelsync apply` and `panelsync delete`.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value};

use super::client::Client;
use super::{Exit, Failure, Output, Targets, batch, link_id, output, seconds};
use crate::http::fleet_api::batches::DryRun;
use crate::profile::LinkId;
use crate::profile::text::{self, TextError};

/// What `apply` takes.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// JSON or YAML: {"list_items":[…]} or a bare list of profiles; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: String,
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show per panel what would be created, updated, deleted or is unchanged
    #[arg(long)]
    dry_run: bool,
    /// Also delete every other link_id on those panels
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The link_ids to delete
    #[arg(required = true, value_name = "LINK_ID", value_parser = link_id)]
    link_ids: Vec<LinkId>,
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show per panel what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// How long to wait for the outcomes.
#[derive(Debug, Args)]
struct Waiting {
    /// Return as soon as the batch is accepted
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// How long to wait for every panel's outcome
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    wait: u64,
}

/// Creates or updates the profiles of a file.
pub fn apply(args: &ApplyArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let upsert = read_profiles(&args.file)?;
    let mut body = Map::new();
    args.targets.put_into(&mut body);
    body.insert("upsert".into(), upsert);
    body.insert("prune".into(), args.prune.into());
    submit(body, args.dry_run, &args.waiting, client, output)
}

/// Deletes profiles.
pub fn delete(args: &DeleteArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut body = Map::new();
    args.targets.put_into(&mut body);
    let ids: Vec<_> = args.link_ids.iter().map(LinkId::to_string).collect();
    body.insert("delete".into(), ids.into());
    submit(body, args.dry_run, &args.waiting, client, output)
}

fn submit(
    mut body: Map<String, Value>,
    dry_run: bool,
    waiting: &Waiting,
    client: &Client,
    output: Output,
) -> Result<Exit, Failure> {
    if dry_run {
        body.insert("dry_run".into(), true.into());
        let answer = client.post("/batches", &[], &body.into())?;
        let plan: DryRun = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
        return show_plan(&plan, output);
    }
    let until = Instant::now() + Duration::from_secs(waiting.wait);
    // With a bar to show, look at the batch meanwhile; else let the server wait.
    let wait = if waiting.no_wait || output::has_terminal() { 0 } else { waiting.wait.min(300) };
    // A key of its own makes a request that is sent twice by a proxy one batch.
    let key = uuid::Uuid::new_v4().to_string();
    let headers = [("prefer", format!("wait={wait}")), ("idempotency-key", key)];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = client.post("/batches", &headers, &body.into())?;
    let accepted = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    let batch = if waiting.no_wait { accepted } else { batch::follow(client, accepted, Some(until))? };
    batch::report(client, &batch, output)
}

fn show_plan(plan: &DryRun, output: Output) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(plan)?,
        Output::Table => {
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
            note!("nothing was changed: this was a dry run");
        }
    }
    Ok(Exit::Done)
}

/// The profiles of a file, as they are sent. What they say is checked by the server.
fn read_profiles(file: &str) -> Result<Value, Failure> {
    text::profiles(&read_text(file)?).map(Value::Array).map_err(|error| wrong(file, &error))
}

/// A JSON or YAML file, or standard input for `-`.
pub fn read_file(file: &str) -> Result<Value, Failure> {
    text::value(&read_text(file)?).map_err(|error| wrong(file, &error))
}

fn wrong(file: &str, error: &TextError) -> Failure {
    let text = error.to_string();
    Failure::usage(format!("{file}{}", text.strip_prefix("it").unwrap_or(&text)))
}

fn read_text(file: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(Path::new(file)).map(|read| text = read)
    };
    read.map_err(|error| Failure::usage(format!("{file} cannot be read: {error}")))?;
    Ok(text)
}
