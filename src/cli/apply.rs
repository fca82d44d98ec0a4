//! `panelsync apply` and `panelsync delete`.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value};

use super::ask::{self, Sure};
use super::client::Client;
use super::{Exit, Failure, Output, Targets, batch, file, find, output, seconds};
use crate::http::fleet_api::batches::DryRun;
use crate::identifier::file::{self as content, Content, FileError};
use crate::profile::LinkId;

/// What `apply` takes.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// JSON or YAML: an object with a list of profiles, {"list_items":[…]}, or a bare list of profiles; - reads
    /// standard input
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
    sure: Sure,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The link_ids to delete, or the beginnings of them
    #[arg(required = true, value_name = "LINK_ID")]
    link_ids: Vec<String>,
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show per panel what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sure: Sure,
    #[command(flatten)]
    waiting: Waiting,
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

/// Creates or updates the profiles of a file.
pub fn apply(args: &ApplyArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let upsert = read_profiles(&args.file)?;
    let named = upsert.len() as u64;
    let mut body = Map::new();
    args.targets.put_into(&mut body, client)?;
    body.insert("upsert".into(), upsert.into());
    body.insert("prune".into(), args.prune.into());
    if args.prune && !args.dry_run {
        let file = file::name(&args.file);
        if named == 0 && !args.sure.yes {
            return Err(Failure::usage(format!(
                "{file} names no profile, so that --prune would delete all that the panels hold; nothing was done. If that is meant, give --yes"
            )));
        }
        let plan = dry_run(body.clone(), client)?;
        let deletes = plan.items.deleted;
        if deletes > named || (args.targets.all && (deletes > 0 || !ask::possible())) {
            args.sure.of(&format!("{}, and {file} names {named}", what_goes(&plan)))?;
        }
        body.insert("confirm_deletes".into(), deletes.into());
    }
    submit(body, args.dry_run, &args.waiting, client, output)
}

/// Deletes profiles.
pub fn delete(args: &DeleteArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut body = Map::new();
    args.targets.put_into(&mut body, client)?;
    let ids: Vec<_> = find::link_ids(client, &args.link_ids)?.iter().map(LinkId::to_string).collect();
    body.insert("delete".into(), ids.into());
    if args.targets.all && !args.dry_run && !args.sure.yes {
        let plan = dry_run(body.clone(), client)?;
        if plan.items.deleted > 0 || !ask::possible() {
            args.sure.of(&what_goes(&plan))?;
        }
    }
    submit(body, args.dry_run, &args.waiting, client, output)
}

/// What a batch would delete, in words.
fn what_goes(plan: &DryRun) -> String {
    let panels = plan.plan.iter().filter(|panel| panel.deleted > 0).count() as u64;
    format!(
        "this deletes {} on {}",
        output::counted(plan.items.deleted, "profile"),
        output::counted(panels, "panel")
    )
}

fn dry_run(mut body: Map<String, Value>, client: &Client) -> Result<DryRun, Failure> {
    body.insert("dry_run".into(), true.into());
    let answer = client.post("/batches", &[], &body.into())?;
    Ok(serde_json::from_value(answer.body).map_err(std::io::Error::other)?)
}

fn submit(
    body: Map<String, Value>,
    only_look: bool,
    waiting: &Waiting,
    client: &Client,
    output: Output,
) -> Result<Exit, Failure> {
    if only_look {
        return show_plan(&dry_run(body, client)?, output);
    }
    let until = waiting.until();
    // With a bar to show, look at the batch meanwhile; else let the server wait.
    let wait = if waiting.no_wait || output::has_terminal() { 0 } else { waiting.wait.min(300) };
    // A key of its own makes a request that is sent twice by a proxy one batch.
    let key = uuid::Uuid::new_v4().to_string();
    let headers = [("prefer", format!("wait={wait}")), ("idempotency-key", key)];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = client.post("/batches", &headers, &body.into())?;
    let accepted = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    let batch = if waiting.no_wait { accepted } else { batch::follow(client, accepted, until)? };
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
fn read_profiles(file: &str) -> Result<Vec<Value>, Failure> {
    content::profiles_alone(&file::read(file)?).map_err(|error| wrong(file, &error))
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
