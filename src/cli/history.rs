//! `panelsync history`: what stood as an item on a panel, and since when.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::client::Client;
use super::{Exit, Failure, Output, find, output};
use crate::batch::item::Kind;
use crate::http::fleet_api::history::{HistoryBody, ThenBody, VersionBody};
use crate::http::percent;

/// What `history` takes.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The item, by link_id or, where a panel holds it, by the beginning of it
    #[arg(value_name = "LINK_ID")]
    link_id: String,
    /// The panel, by id or by the beginning of it
    #[arg(long, value_name = "ID")]
    panel: String,
    /// What it is
    #[arg(long, value_enum, default_value_t = Kind::Profile)]
    kind: Kind,
    /// What was desired at this moment, and whether it opened the door then
    #[arg(long, value_name = "RFC3339")]
    at: Option<String>,
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Profile => "A time profile",
            Self::Identifier => "An identifier",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

/// Shows the versions of an item on a panel, or what was desired at a moment.
pub fn history(args: &HistoryArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let kind = args.kind.as_str();
    let link_id = find::link_id(client, &args.link_id, kind)?;
    let panel = find::panel(client, &args.panel)?;
    let at = args.at.as_ref().map_or_else(String::new, |at| format!("&at={}", percent(at)));
    let path = format!("/panels/{}/history?link_id={link_id}&kind={kind}{at}", percent(&panel));
    let history: HistoryBody = client.get(&path)?;
    match (output, &history.at) {
        (Output::Json, _) => output::json(&history)?,
        (Output::Table, Some(then)) => show_then(&history, then),
        (Output::Table, None) => show_versions(&history),
    }
    Ok(Exit::Done)
}

fn show_versions(history: &HistoryBody) {
    if history.items.is_empty() {
        note!("nothing is kept of {} {} on {}", history.kind, history.link_id, history.panel);
    } else {
        output::table(
            ["since", "by", "batch", "what was desired"],
            history.items.iter().map(|version| {
                let batch = version.batch.map_or("-".into(), |id| id.to_string());
                [since(version), made_by(version), batch, said(version)]
            }),
        );
    }
    if let Some(since) = &history.known_since {
        note!("of changes before {} not all are kept", output::moment(since));
    }
}

/// Since when, or before what, it stood.
fn since(version: &VersionBody) -> String {
    match (&version.since, &version.until) {
        (Some(since), _) => output::moment(since),
        (None, Some(until)) => format!("unknown, before {}", output::moment(until)),
        (None, None) => "unknown".into(),
    }
}

/// What a version says; a profile by its name, too, which is no part of the sentence.
fn said(version: &VersionBody) -> String {
    let profile = version.profile.as_ref();
    let profile = profile.and_then(|json| serde_json::from_str::<serde_json::Value>(json.get()).ok());
    match profile.as_ref().and_then(|profile| profile["name"].as_str()).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}: {}", version.sentence),
        None => version.sentence.clone(),
    }
}

fn made_by(version: &VersionBody) -> String {
    match (&version.by, version.how.as_str()) {
        (Some(by), "batch") => by.clone(),
        (Some(by), "undo") => format!("{by} (undo)"),
        (Some(by), _) => format!("{by} (panel API)"),
        (None, _) => "unknown".into(),
    }
}

fn show_then(history: &HistoryBody, then: &ThenBody) {
    let (at, zone) = (output::moment(&then.at), &history.zone);
    let Some(version) = &then.version else {
        return say!("it is not kept what was desired of {} on {} at {at}", history.link_id, history.panel);
    };
    say!("at {at} was desired on {}: {}", history.panel, said(version));
    if version.since.is_some() {
        say!("since {}, by {}", since(version), made_by(version));
    }
    match then.opens {
        Some(true) => say!("it opened the door then (times are those of {zone})"),
        Some(false) => say!("it did not open the door then (times are those of {zone})"),
        None => say!("whether it opened the door then is not kept"),
    }
}
