//! `panelsync batch …`, and the report of a batch.

use std::time::{Duration, Instant};

use clap::Subcommand;
use uuid::Uuid;

use super::apply::Waiting;
use super::client::Client;
use super::{Exit, Failure, Output, find, output, seconds, undo};
use crate::batch::{BatchState, PanelState};
use crate::http::fleet_api::Page;
use crate::http::fleet_api::batches::{BatchBody, BatchPanel};

/// The commands on batches.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// The last batches, newest first
    #[command(after_help = "Example:\n  panelsync batch ls")]
    Ls,
    /// One batch, panel by panel
    #[command(
        after_help = "Examples:\n  panelsync batch show 5f2c1a9e --failed\n  panelsync batch show latest"
    )]
    Show {
        /// Its id, the beginning of it, or latest
        id: String,
        /// Only panels where it was not applied
        #[arg(long)]
        failed: bool,
    },
    /// Follow a batch to its end
    #[command(after_help = "Example:\n  panelsync batch watch latest --wait 10m")]
    Watch {
        /// Its id, the beginning of it, or latest
        id: String,
        /// How long to wait for every panel's outcome
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
        wait: u64,
    },
    /// Cancel a running batch
    #[command(after_help = "Example:\n  panelsync batch cancel 5f2c1a9e")]
    Cancel {
        /// Its id, the beginning of it, or latest
        id: String,
    },
    /// Send a batch again to the panels where it was not applied
    #[command(after_help = "Example:\n  panelsync batch retry 5f2c1a9e --wait 5m")]
    Retry {
        /// Its id, the beginning of it, or latest
        id: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Take a batch back: put back what stood before it on each panel
    #[command(
        after_help = "What something newer has changed since is left as it is, and said to be changed_since. The undo is a batch \
        of its own and can be undone.\n\n\
        Examples:\n  panelsync batch undo latest --dry-run\n  panelsync batch undo 5f2c1a9e -l site=north"
    )]
    Undo(undo::UndoArgs),
}

/// Panels listed under a report at most.
const LISTED: usize = 20;

/// Between two looks at a running batch.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// How long a cancelled batch is followed: what is under way comes to its end by then.
const CANCELLED_WITHIN: Duration = Duration::from_mins(1);

/// Runs a command on batches.
pub fn run(command: &BatchCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        BatchCommand::Ls => {
            let page: Page<BatchBody> = client.get("/batches?limit=50")?;
            match output {
                Output::Json => output::json(&page.items)?,
                Output::Table => table(&page.items),
            }
            Ok(Exit::Done)
        }
        BatchCommand::Show { id, failed } => show(client, find::batch(client, id)?, *failed, output),
        BatchCommand::Watch { id, wait } => {
            let until = Waiting { no_wait: false, wait: *wait }.until();
            let id = find::batch(client, id)?;
            let batch = client.get(&format!("/batches/{id}"))?;
            let batch = follow(client, batch, until)?;
            report(client, &batch, output)
        }
        BatchCommand::Cancel { id } => {
            let id = find::batch(client, id)?;
            let answer = client.post(&format!("/batches/{id}:cancel"), &[], &serde_json::Value::Null)?;
            let batch: BatchBody = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
            let batch = follow(client, batch, Instant::now().checked_add(CANCELLED_WITHIN))?;
            report(client, &batch, output)?;
            Ok(Exit::Done)
        }
        BatchCommand::Retry { id, waiting } => {
            let until = waiting.until();
            let id = find::batch(client, id)?;
            let headers = [("prefer", "wait=0")];
            let answer = client.post(&format!("/batches/{id}:retry"), &headers, &serde_json::Value::Null)?;
            let mut batch = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
            if !waiting.no_wait {
                batch = follow(client, batch, until)?;
            }
            report(client, &batch, output)
        }
        BatchCommand::Undo(args) => undo::undo(args, client, output),
    }
}

/// A line per batch, short enough for 80 columns; JSON has the rest.
pub fn table(batches: &[BatchBody]) {
    output::table(
        ["batch", "created", "state", "panels", ">took"],
        batches.iter().map(|batch| {
            [
                batch.id.to_string(),
                output::short_moment(&batch.created_at),
                state(batch.state).to_owned(),
                panel_counts(batch),
                batch.duration_ms.map_or("-".to_owned(), output::duration),
            ]
        }),
    );
}

fn state(state: BatchState) -> &'static str {
    match state {
        BatchState::Running => "running",
        BatchState::Done => "done",
        BatchState::Cancelled => "cancelled",
    }
}

fn show(client: &Client, id: Uuid, failed: bool, output: Output) -> Result<Exit, Failure> {
    let batch: BatchBody = client.get(&format!("/batches/{id}"))?;
    let mut panels: Vec<BatchPanel> = client.get_all(&format!("/batches/{id}/panels"))?;
    if failed {
        panels.retain(|panel| panel.outcome != PanelState::Applied);
    }
    match output {
        Output::Json => output::json(&serde_json::json!({ "batch": batch, "panels": panels }))?,
        Output::Table => {
            headline(&batch);
            if !panels.is_empty() {
                say!();
                panel_table(&panels);
            }
        }
    }
    Ok(Exit::Done)
}

/// A line per panel; items only where the panel said no.
fn panel_table(panels: &[BatchPanel]) {
    output::table(
        ["panel", "outcome", ">attempts", "what it said"],
        panels.iter().map(|panel| {
            let said = match &panel.error {
                Some(error) => match &panel.next_attempt {
                    Some(next) => format!("{error}; next attempt {}", output::moment(next)),
                    None => error.clone(),
                },
                None => {
                    let refused =
                        panel.result.iter().filter(|item| !item.success && item.extended_info != "pending");
                    let refused: Vec<_> =
                        refused.map(|item| format!("{}: {}", item.link_id, item.extended_info)).collect();
                    refused.join("\n")
                }
            };
            [panel.panel.clone(), panel.outcome.as_str().to_owned(), panel.attempts.to_string(), said]
        }),
    );
}

/// Waits for a batch's end, with a bar on a terminal; gives up following at the deadline.
pub fn follow(client: &Client, mut batch: BatchBody, until: Option<Instant>) -> Result<BatchBody, Failure> {
    if batch.state != BatchState::Running {
        return Ok(batch);
    }
    let bar = output::progress(batch.panels.total);
    while batch.state == BatchState::Running && until.is_none_or(|until| Instant::now() < until) {
        let left = until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(Instant::now()));
        std::thread::sleep(left.min(LOOK_EVERY));
        batch = client.get(&format!("/batches/{}", batch.id))?;
        bar.set_position(batch.panels.total - batch.panels.pending);
        let bad = batch.panels.partial + batch.panels.rejected + batch.panels.failed;
        if bad > 0 {
            bar.set_message(format!("({bad} not applied)"));
        }
    }
    bar.finish_and_clear();
    Ok(batch)
}

/// Prints what came of a batch; the exit code says whether it was applied everywhere it was delivered.
pub fn report(client: &Client, batch: &BatchBody, output: Output) -> Result<Exit, Failure> {
    let panels = &batch.panels;
    let bad = panels.partial + panels.rejected + panels.failed;
    match output {
        Output::Json => output::json(batch)?,
        Output::Table => {
            headline(batch);
            if bad > 0 {
                let mut refused: Vec<BatchPanel> = Vec::new();
                for outcome in [PanelState::Failed, PanelState::Rejected, PanelState::Partial] {
                    let path =
                        format!("/batches/{}/panels?outcome={}&limit={LISTED}", batch.id, outcome.as_str());
                    let page: Page<BatchPanel> = client.get(&path)?;
                    refused.extend(page.items);
                }
                refused.truncate(LISTED);
                say!();
                panel_table(&refused);
                if bad > refused.len() as u64 {
                    note!(
                        "… and {} more: panelsync batch show {} --failed",
                        bad - refused.len() as u64,
                        batch.id
                    );
                }
            }
        }
    }
    if panels.pending > 0 {
        let pending = output::counted(panels.pending, "panel");
        note!("{pending} pending; follow with: panelsync batch watch {}", batch.id);
    }
    Ok(if bad > 0 { Exit::Failed } else { Exit::Done })
}

/// The batch and its sums; what is nought is not said.
fn headline(batch: &BatchBody) {
    let took = batch.duration_ms.map_or(String::new(), |ms| format!(" in {}", output::duration(ms)));
    let undo = batch.undoes.map_or(String::new(), |undone| format!(", the undo of {undone}"));
    say!("batch {}{undo} {}{took}", batch.id, state(batch.state));
    let items = &batch.items;
    let came = items.created + items.updated + items.deleted + items.unchanged + items.entity_not_found;
    let came = came + items.changed_since;
    let counts = counts(&[
        (items.created, "created"),
        (items.updated, "updated"),
        (items.deleted, "deleted"),
        (items.unchanged, "unchanged"),
        (items.entity_not_found, "not found"),
        (items.changed_since, "left, since something newer changed them"),
        (items.rejected, "rejected"),
        (items.pending, "pending"),
        // Of panels that were given up, cancelled or removed.
        (items.total.saturating_sub(came + items.rejected + items.pending), "without an outcome"),
    ]);
    say!("{:>8} panels: {}", batch.panels.total, panel_counts(batch));
    say!("{:>8} items:  {counts}", items.total);
}

fn panel_counts(batch: &BatchBody) -> String {
    let panels = &batch.panels;
    counts(&[
        (panels.applied, "applied"),
        (panels.partial, "partial"),
        (panels.rejected, "rejected"),
        (panels.failed, "failed"),
        (panels.pending, "pending"),
    ])
}

fn counts(counts: &[(u64, &str)]) -> String {
    let said: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}
