//! `panelsync present`: shows an identifier to an embedded panel.

use std::io::Read;

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Output, find, output};
use crate::http::fleet_api::access_events::PresentedBody;
use crate::http::percent;

/// Bytes of standard input that are read; no number is so long.
const MAX_NUMBER: u64 = 1024;

/// What is shown where.
#[derive(Debug, Args)]
pub struct PresentArgs {
    /// The panel, by id or by the beginning of it
    #[arg(long, value_name = "ID")]
    panel: String,
    /// card, ukey, inputCode, qr or license_plate
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// The number; whoever lists the processes of this machine sees it
    #[arg(long, value_name = "N", required_unless_present = "number_stdin")]
    number: Option<Number>,
    /// Read the number from standard input
    #[arg(long, conflicts_with = "number")]
    number_stdin: bool,
    /// At this moment; now without it
    #[arg(long, value_name = "RFC3339")]
    at: Option<String>,
}

/// A number, which `Debug` does not show.
#[derive(Clone)]
pub struct Number(String);

impl From<&str> for Number {
    fn from(number: &str) -> Self {
        Self(number.to_owned())
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Shows it; the exit code says whether the door opened.
pub fn present(args: &PresentArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let panel = find::panel(client, &args.panel)?;
    let number = match &args.number {
        Some(Number(number)) => number.clone(),
        None => {
            let mut text = String::new();
            std::io::stdin().lock().take(MAX_NUMBER).read_to_string(&mut text)?;
            text.trim().to_owned()
        }
    };
    let body = json!({ "type": args.kind, "number": number, "at": args.at });
    let answer = client.post(&format!("/panels/{}:present", percent(&panel)), &[], &body)?;
    let shown: PresentedBody = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    match output {
        Output::Json => output::json(&shown)?,
        Output::Table => {
            let what = if shown.granted { "granted" } else { "denied" };
            let whose = shown.identifier.map_or_else(String::new, |link| format!(", identifier {link}"));
            say!("{what}: {}{whose}", shown.reason);
        }
    }
    Ok(if shown.granted { Exit::Done } else { Exit::Failed })
}
