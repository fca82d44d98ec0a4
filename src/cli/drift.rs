//! `panelsync diff` and `panelsync reconcile`: what devices really hold.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Output, output};
use crate::http::fleet_api::drift::{PanelDiff, Reconciled};
use crate::http::percent;

/// Which panels to compare.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Panels by their labels; all without
    #[arg(short = 'l', long, value_name = "SEL")]
    selector: Option<String>,
    /// Wait so long for the devices
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = super::seconds)]
    wait: u64,
}

/// Which panels to put right, and how long to wait.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Panels by their labels; all without
    #[arg(short = 'l', long, value_name = "SEL")]
    selector: Option<String>,
    /// Wait so long for the devices and the repairs
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = super::seconds)]
    wait: u64,
}

/// Shows item by item what devices hold otherwise than desired.
pub fn diff(args: &DiffArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let query = args.selector.as_deref().map_or(String::new(), |sel| format!("?selector={}", percent(sel)));
    let panels: Vec<PanelDiff> = client.get_all_within(&format!("/diff{query}"), args.wait.min(300))?;
    show(&panels, output)?;
    Ok(if panels.iter().all(|panel| panel.state == "same") { Exit::Done } else { Exit::Failed })
}

/// Reads devices back and puts right what has drifted.
pub fn reconcile(args: &ReconcileArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let target = match &args.selector {
        Some(selector) => json!({ "selector": selector }),
        None => json!({ "all": true }),
    };
    let wait = format!("wait={}", args.wait.min(300));
    let answer = client.post("/reconcile", &[("prefer", &wait)], &target)?;
    let Reconciled { panels } = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    show(&panels, output)?;
    let good = |panel: &PanelDiff| matches!(panel.state.as_str(), "same" | "repaired");
    Ok(if panels.iter().all(good) { Exit::Done } else { Exit::Failed })
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
            let why = "not read in time; ask again, or with a longer --wait";
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
    }
    Ok(())
}
