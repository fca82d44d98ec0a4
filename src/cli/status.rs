//! `panelsync status`: one screen.

use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Output, batch, output, panel};
use crate::http::fleet_api::Page;
use crate::http::fleet_api::batches::BatchBody;

/// Batches shown.
const BATCHES: usize = 5;

/// Prints how the fleet is and what was done last.
pub fn status(client: &Client, output: Output) -> Result<Exit, Failure> {
    let panels = panel::list(client, None)?;
    let batches: Page<BatchBody> = client.get(&format!("/batches?limit={BATCHES}"))?;
    let connected = |state: &str| panels.iter().filter(|panel| panel.state.connection == state).count();
    let sum = |count: fn(&crate::http::fleet_api::panels::PanelStateBody) -> u32| {
        panels.iter().map(|panel| u64::from(count(&panel.state))).sum::<u64>()
    };
    let (online, offline, unknown) = (connected("online"), connected("offline"), connected("unknown"));
    let (profiles, pending, drifted) = (sum(|s| s.profiles), sum(|s| s.pending), sum(|s| s.drifted));
    match output {
        Output::Json => output::json(&json!({
            "panels": { "total": panels.len(), "online": online, "offline": offline, "unknown": unknown },
            "profiles": { "total": profiles, "pending": pending, "drifted": drifted },
            "batches": batches.items,
        }))?,
        Output::Table => {
            say!("{}\n", client.server());
            output::table(
                ["panels", ">total", ">online", ">offline", ">unknown", ">profiles", ">pending", ">drifted"],
                [[
                    String::new(),
                    panels.len().to_string(),
                    online.to_string(),
                    offline.to_string(),
                    unknown.to_string(),
                    profiles.to_string(),
                    pending.to_string(),
                    drifted.to_string(),
                ]],
            );
            say!();
            if batches.items.is_empty() {
                say!("no batches yet; push one with `panelsync apply`");
            } else {
                batch::table(&batches.items);
            }
        }
    }
    Ok(Exit::Done)
}
