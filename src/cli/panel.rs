//! `panelsync panel …`: the fleet's register.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::{Client, percent};
use super::{Exit, Failure, Output, output};
use crate::http::fleet_api::panels::{Imported, PanelBody};
use crate::panel::settings::PanelRecord;

/// The commands on panels.
#[derive(Debug, Subcommand)]
pub enum PanelCommand {
    /// Add a panel
    #[command(
        after_help = "Example:\n  panelsync panel add north-01 --zone Europe/Kyiv --label site=north --label floor=1"
    )]
    Add {
        /// Its id: 1 to 63 letters, digits and -_.
        id: String,
        /// What it is: embedded means that this server is the panel
        #[arg(long, default_value = "embedded")]
        driver: String,
        /// IANA name of the zone in which its rules run
        #[arg(long, default_value = "UTC")]
        zone: String,
        /// A label, for selectors; may be repeated
        #[arg(long = "label", value_name = "K=V", value_parser = label)]
        labels: Vec<(String, String)>,
        /// The family whose API it speaks: android or camdroid
        #[arg(long, default_value = "android")]
        api: String,
        /// The version it says it speaks
        #[arg(long, default_value = "2.9.0")]
        api_version: String,
        /// How many profiles it holds at most
        #[arg(long, value_name = "N")]
        capacity: Option<u32>,
    },
    /// List panels
    #[command(after_help = "Example:\n  panelsync panel ls -l site=north")]
    Ls {
        /// Panels by their labels
        #[arg(short = 'l', long, value_name = "SEL")]
        selector: Option<String>,
    },
    /// Show one panel with its profiles
    #[command(after_help = "Example:\n  panelsync panel show north-01")]
    Show {
        /// Its id
        id: String,
    },
    /// Remove a panel with all it holds
    #[command(after_help = "Example:\n  panelsync panel rm north-01")]
    Rm {
        /// Its id
        id: String,
    },
    /// Add many panels at once, all or none
    #[command(
        after_help = "FILE is JSON lines, or CSV whose first line names the columns: id, driver, zone, api,\n\
        api_version, capacity; every other column is a label.\n\nExample:\n  panelsync panel import panels.csv"
    )]
    Import {
        /// CSV or JSON lines
        file: String,
    },
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is key=value, such as site=north")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs a command on panels.
pub fn run(command: &PanelCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        PanelCommand::Add { id, driver, zone, labels, api, api_version, capacity } => {
            let record = PanelRecord {
                driver: driver.clone(),
                zone: zone.clone(),
                labels: labels.iter().cloned().collect(),
                api: api.clone(),
                api_version: api_version.clone(),
                capacity: *capacity,
                ..PanelRecord::new(id.clone())
            };
            let record = serde_json::to_value(record).map_err(std::io::Error::other)?;
            let answer = client.post("/panels", &[], &record)?;
            match output {
                Output::Json => output::json(&answer.body)?,
                Output::Table => say!("added panel {id}"),
            }
        }
        PanelCommand::Ls { selector } => {
            let panels = list(client, selector.as_deref())?;
            match output {
                Output::Json => output::json(&panels)?,
                Output::Table => table(&panels),
            }
        }
        PanelCommand::Show { id } => show(client, id, output)?,
        PanelCommand::Rm { id } => {
            client.delete(&format!("/panels/{}", percent(id)))?;
            match output {
                Output::Json => output::json(&json!({ "removed": id }))?,
                Output::Table => say!("removed panel {id}"),
            }
        }
        PanelCommand::Import { file } => {
            let lines = read_import(file)?;
            let answer = client.post_lines("/panels:import", lines)?;
            let imported: Imported = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
            match output {
                Output::Json => output::json(&imported)?,
                Output::Table => say!("added {} panels", imported.added),
            }
        }
    }
    Ok(Exit::Done)
}

/// All panels that a selector picks.
pub fn list(client: &Client, selector: Option<&str>) -> Result<Vec<PanelBody>, Failure> {
    let query = selector.map_or(String::new(), |selector| format!("?selector={}", percent(selector)));
    client.get_all(&format!("/panels{query}"))
}

fn table(panels: &[PanelBody]) {
    output::table(
        ["panel", "state", "zone", "api", ">profiles", ">pending", ">drifted", "labels"],
        panels.iter().map(|PanelBody { record, state }| {
            let labels: Vec<_> = record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            [
                record.id.clone(),
                state.connection.clone(),
                record.zone.clone(),
                format!("{} {}", record.api, record.api_version),
                state.profiles.to_string(),
                state.pending.to_string(),
                state.drifted.to_string(),
                labels.join(","),
            ]
        }),
    );
}

fn show(client: &Client, id: &str, output: Output) -> Result<(), Failure> {
    let panel: PanelBody = client.get(&format!("/panels/{}", percent(id)))?;
    let profiles: Vec<Value> = client.get_all(&format!("/panels/{}/profiles", percent(id)))?;
    match output {
        Output::Json => output::json(&json!({ "panel": panel, "profiles": profiles }))?,
        Output::Table => {
            table(std::slice::from_ref(&panel));
            if !profiles.is_empty() {
                say!();
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                output::table(
                    ["link_id", "state", "name", "opens"],
                    profiles.iter().map(|profile| {
                        let link_id = profile["link_id"].as_str().unwrap_or("(made by uid)").to_owned();
                        let name = text(&profile["profile"]["name"]);
                        [link_id, text(&profile["state"]), name, text(&profile["sentence"])]
                    }),
                );
            }
        }
    }
    Ok(())
}

/// JSON lines from JSON lines or CSV.
fn read_import(file: &str) -> Result<String, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{file} cannot be read: {error}"));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    if text.trim_start().starts_with('{') {
        return Ok(text);
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = reader.headers().map_err(|error| wrong(&error))?.clone();
    if !columns.iter().any(|column| column == "id") {
        return Err(Failure::usage(format!("{file} has no column id; its first line names the columns")));
    }
    let mut lines = String::new();
    for row in reader.records() {
        let row = row.map_err(|error| wrong(&error))?;
        let mut panel = Map::new();
        let mut labels = Map::new();
        for (column, value) in columns.iter().zip(&row).filter(|(_, value)| !value.is_empty()) {
            match column {
                "id" | "driver" | "zone" | "api" | "api_version" | "url" | "username" => {
                    panel.insert(column.into(), value.into());
                }
                "capacity" => {
                    let number = value.parse::<u32>().map_or_else(|_| Value::from(value), Value::from);
                    panel.insert(column.into(), number);
                }
                label => {
                    labels.insert(label.into(), value.into());
                }
            }
        }
        panel.insert("labels".into(), labels.into());
        lines.push_str(&Value::from(panel).to_string());
        lines.push('\n');
    }
    Ok(lines)
}
