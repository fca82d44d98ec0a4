//! `panelsync diff` and `panelsync reconcile`: what devices really hold.

use clap::Args;
use serde_json::{Map, Value};

use super::ask::{self, Sure};
use super::client::Client;
use super::{Exit, Failure, Output, Targets, find, output};
use crate::batch::item::Kind;
use crate::http::fleet_api::drift::{PanelDiff, ProfileDiff, Reconciled};
use crate::http::percent;

/// Which panels to compare.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Panels by their labels; all without
    #[arg(short = 'l', long, value_name = "SEL")]
    selector: Option<String>,
    /// Wait so long for the devices
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = wait)]
    wait: u64,
}

/// Which panels to put right, and how long to wait.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    targets: Targets,
    /// Change nothing; show what would be put right
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sure: Sure,
    /// Wait so long for the devices and the repairs
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = wait)]
    wait: u64,
}

/// As long as the server waits at most.
fn wait(text: &str) -> Result<u64, String> {
    match super::seconds(text)? {
        seconds @ 0..=300 => Ok(seconds),
        _ => Err("it takes at most 5m here; ask again after that".to_owned()),
    }
}

/// Shows item by item what devices hold otherwise than desired.
pub fn diff(args: &DiffArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    if let Some(selector) = &args.selector {
        find::selector(client, selector)?;
    }
    let query = args.selector.as_deref().map_or(String::new(), |sel| format!("?selector={}", percent(sel)));
    let panels: Vec<PanelDiff> = client.get_all_within(&format!("/diff{query}"), args.wait)?;
    show(&panels, output)?;
    Ok(if panels.iter().all(|panel| panel.state == "same") { Exit::Done } else { Exit::Failed })
}

/// Reads devices back and puts right what has drifted.
pub fn reconcile(args: &ReconcileArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut target = Map::new();
    args.targets.put_into(&mut target, client)?;
    if args.targets.all && !args.dry_run && !args.sure.yes && !ask::possible() {
        // Not read first: whoever runs this without a terminal says what is meant.
        args.sure.of("this puts right every device, and deletes on it what nobody asked for")?;
    }
    if args.dry_run || !args.sure.yes {
        let found = send(&target, true, args.wait, client)?;
        let deletes = found.iter().map(|panel| deleted(panel).count() as u64).sum::<u64>();
        if args.dry_run {
            show(&found, output)?;
            note!("nothing was changed: this was a dry run; it would delete {}", what_goes(&found));
            let readable = found.iter().all(|panel| matches!(panel.state.as_str(), "same" | "differs"));
            return Ok(if readable { Exit::Done } else { Exit::Failed });
        }
        if deletes > 0 {
            let on = found.iter().filter(|panel| deleted(panel).next().is_some()).count() as u64;
            let (what, on) = (what_goes(&found), output::counted(on, "device"));
            args.sure.of(&format!("this deletes {what} that nobody asked for on {on}"))?;
        }
    }
    let panels = send(&target, false, args.wait, client)?;
    show(&panels, output)?;
    let good = |panel: &PanelDiff| matches!(panel.state.as_str(), "same" | "repaired");
    let left = panels.iter().filter(|panel| !good(panel)).count() as u64;
    if left > 0 {
        let left = output::counted(left, "panel");
        note!("{left} not put right yet; what is under way goes on. Look again with: panelsync diff");
    }
    Ok(if left == 0 { Exit::Done } else { Exit::Failed })
}

/// What a repair deletes on this device.
fn deleted(panel: &PanelDiff) -> impl Iterator<Item = &ProfileDiff> {
    panel.differences.iter().filter(|difference| difference.difference == "extra")
}

/// What a repair deletes, kind by kind, in words.
fn what_goes(found: &[PanelDiff]) -> String {
    let of_kind = |kind: Kind| {
        let all = found.iter().flat_map(deleted).filter(|item| item.kind == kind.as_str());
        (all.count() as u64, kind.as_str())
    };
    let kinds = Kind::ALL.map(of_kind);
    let some: Vec<_> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, kind)| output::counted(*n, kind)).collect();
    if some.is_empty() { "nothing".to_owned() } else { some.join(" and ") }
}

fn send(
    target: &Map<String, Value>,
    dry_run: bool,
    wait: u64,
    client: &Client,
) -> Result<Vec<PanelDiff>, Failure> {
    let mut body = target.clone();
    body.insert("dry_run".into(), dry_run.into());
    let wait = format!("wait={wait}");
    let waiting = output::waiting(if dry_run { "reading devices" } else { "putting devices right" });
    let answer = client.post("/reconcile", &[("prefer", &wait)], &body.into());
    waiting.finish_and_clear();
    let Reconciled { panels } = serde_json::from_value(answer?.body).map_err(std::io::Error::other)?;
    Ok(panels)
}

fn show(panels: &[PanelDiff], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(&panels);
    }
    let mut rows = Vec::new();
    for panel in panels {
        if let Some(error) = &panel.error {
            rows.push([
                panel.panel.clone(),
                panel.state.clone(),
                String::new(),
                String::new(),
                error.clone(),
            ]);
        }
        if panel.state == "not read yet" {
            let why = "not read in time; ask again, or with a longer --wait (at most 5m)";
            rows.push([
                panel.panel.clone(),
                panel.state.clone(),
                String::new(),
                String::new(),
                why.to_owned(),
            ]);
        }
        for difference in &panel.differences {
            let link_id = difference.link_id.map_or("(none)".to_owned(), |link| link.to_string());
            let what = match (&difference.extended_info, difference.difference.as_str()) {
                (Some(word), _) => format!("rejected: {word}"),
                (None, "unlinked") => "made on the device; never touched".to_owned(),
                (None, "kept_otherwise") => match &difference.device {
                    Some(json) => format!("kept otherwise by the device: {}", json.get()),
                    None => "kept otherwise by the device".to_owned(),
                },
                (None, "extra") => "extra: nobody asked for it here".to_owned(),
                (None, other) => other.to_owned(),
            };
            rows.push([panel.panel.clone(), panel.state.clone(), link_id, difference.name.clone(), what]);
        }
        if panel.not_shown > 0 {
            let more = format!("{} more differ", panel.not_shown);
            rows.push([panel.panel.clone(), panel.state.clone(), String::new(), String::new(), more]);
        }
    }
    let counts = |state: &str| panels.iter().filter(|panel| panel.state == state).count();
    if !rows.is_empty() {
        output::table(["panel", "state", "link_id", "name", "difference"], rows);
        say!();
    }
    let said: Vec<_> = ["same", "differs", "repaired", "pending", "unreadable", "not read yet"]
        .into_iter()
        .map(|state| (counts(state), state))
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let said = if said.is_empty() { "none".to_owned() } else { said.join(", ") };
    say!("{}: {said}", output::counted(panels.len() as u64, "panel"));
    for panel in panels {
        if let Some(ahead) = panel.clock_ahead_s
            && ahead.abs() >= 60
        {
            let which = if ahead > 0 { "ahead" } else { "behind" };
            note!(
                "{}: its clock is {} s {which}, so its door opens at other times",
                panel.panel,
                ahead.abs()
            );
        }
        if let Some(zone) = &panel.other_zone {
            note!(
                "{}: it shows the time in {zone}, not in the panel's zone, so its door opens at other times",
                panel.panel
            );
        }
    }
    Ok(())
}
