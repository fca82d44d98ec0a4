//! `panelsync panel …`: the fleet's register.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::ask::Sure;
use super::client::Client;
use super::import::Panels;
use super::{Exit, Failure, Output, find, output};
use crate::http::fleet_api::panels::{Imported, PanelBody};
use crate::http::percent;

/// The commands on panels.
#[derive(Debug, Subcommand)]
pub enum PanelCommand {
    /// Add a panel
    #[command(
        after_help = "A device is asked before its panel is added, and its account's password is read from stdin.\n\nExamples:\n  \
            panelsync panel add north-01 --zone Europe/Kyiv --label site=north --label floor=1\n  \
            panelsync panel add gate-7 --driver http --url https://10.0.3.17 \\\n    \
            --username admin --password-stdin < secret\n  \
            panelsync panel add gate-8 --driver http --url http://10.0.3.18 \\\n    \
            --username admin --password-stdin --adopt < secret"
    )]
    Add {
        /// Its id: 1 to 63 letters, digits and -_.
        id: String,
        /// What it is: embedded means that this server is the panel, http that a device is
        #[arg(long, default_value = "embedded")]
        driver: String,
        /// IANA name of the zone in which its rules run
        #[arg(long, default_value = "UTC")]
        zone: String,
        /// A label, for selectors; may be repeated
        #[arg(long = "label", value_name = "K=V", value_parser = label)]
        labels: Vec<(String, String)>,
        /// The family whose API it speaks: android, camdroid, ingenic-mips or door-controller
        #[arg(long, default_value = "android")]
        api: String,
        /// The version it says it speaks; a device is asked for it [default: of android 2.9.0, of camdroid 1.3.5, of the others 1.0.0]
        #[arg(long)]
        api_version: Option<String>,
        #[command(flatten)]
        capacities: Capacities,
        #[command(flatten)]
        device: DeviceArgs,
        /// Take what the device holds by link_id as desired, so that nothing is pushed
        #[arg(long, conflicts_with = "force")]
        adopt: bool,
    },
    /// Change a panel; what is not given stays
    #[command(
        after_help = "A device that is replaced, or that the panel is moved to, gets everything that is desired by itself.\n\nExamples:\n  \
            panelsync panel set gate-7 --url https://10.0.3.99 --password-stdin < secret\n  \
            panelsync panel set gate-7 --label floor=2 --label wing-\n  \
            panelsync panel set gate-7 --username admin --password-stdin < secret\n  \
            panelsync panel set gate-7 --repair on"
    )]
    Set {
        /// Its id, or the beginning of it
        id: String,
        /// IANA name of the zone in which its rules run
        #[arg(long)]
        zone: Option<String>,
        /// A label to set, or to remove with a - behind its key; the others stay
        #[arg(long = "label", value_name = "K=V|K-", value_parser = label_change)]
        labels: Vec<(String, Option<String>)>,
        /// The family whose API it speaks: android, camdroid, ingenic-mips or door-controller
        #[arg(long)]
        api: Option<String>,
        /// The version it says it speaks; with another --api, that family's default
        #[arg(long)]
        api_version: Option<String>,
        #[command(flatten)]
        capacities: Capacities,
        #[command(flatten)]
        device: DeviceArgs,
    },
    /// Send everything that is desired to a device again, now
    #[command(after_help = "Example:\n  panelsync panel resync gate-7")]
    Resync {
        /// Its id, or the beginning of it
        id: String,
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
        /// Its id, or the beginning of it
        id: String,
    },
    /// Remove a panel with all it holds
    #[command(
        after_help = "On a terminal it asks first. What a device holds stays on it.\n\nExamples:\n  panelsync panel rm north-01\n  panelsync panel rm north-01 --yes"
    )]
    Rm {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Add many panels at once, all or none
    #[command(
        after_help = "FILE is CSV, JSON lines or a JSON array. The first line of CSV names the columns: id, driver,\n\
        zone, api, api_version, capacity, identifier_capacity, face_capacity, url, username, password,\n\
        repair, tls_pin. Every other column is a label, and so is label.NAME whatever NAME is; a name close to one of ours is asked about.\n\
        Columns are separated by , or ; or tabs. The text is UTF-8, or UTF-16 as spreadsheets save it.\n\
        Devices are not asked.\n\n\
        Examples:\n  panelsync panel import panels.csv\n  panelsync panel import - < panels.jsonl"
    )]
    Import {
        /// CSV or JSON; - reads standard input
        file: String,
        /// Take panels whose device another panel has
        #[arg(long)]
        force: bool,
    },
}

/// How a device is reached.
#[derive(Debug, clap::Args)]
pub struct DeviceArgs {
    /// Where the device is, up to what comes before /api
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An administrator's account on the device
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the account's password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Put drift right as soon as it is found: on or off
    #[arg(long, value_name = "ON|OFF")]
    repair: Option<String>,
    /// With https: certificates that may vouch for the device, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    ca_file: Option<std::path::PathBuf>,
    /// With https: SHA-256 of the one certificate that the device may show
    #[arg(long, value_name = "HEX")]
    pin: Option<String>,
    /// Do not ask the device, which may be offline, or that of another panel
    #[arg(long)]
    force: bool,
}

impl DeviceArgs {
    fn put_into(&self, panel: &mut Map<String, Value>) -> Result<(), Failure> {
        let fields = [
            ("url", &self.url),
            ("username", &self.username),
            ("repair", &self.repair),
            ("tls_pin", &self.pin),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                panel.insert(key.into(), value.as_str().into());
            }
        }
        if let Some(file) = &self.ca_file {
            let wrong = |error| Failure::usage(format!("{} cannot be read: {error}", file.display()));
            panel.insert("tls_ca".into(), std::fs::read_to_string(file).map_err(wrong)?.into());
            panel.insert("tls_pin".into(), Value::Null);
        } else if self.pin.is_some() {
            panel.insert("tls_ca".into(), Value::Null);
        }
        if self.password_stdin {
            panel.insert("password".into(), super::access::password(true)?.into());
        }
        Ok(())
    }
}

/// A label to set, or to remove.
fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err("a label is key=value, such as site=north; key- removes one".to_owned()),
    }
}

/// How many items of each kind a panel holds at most.
#[derive(Debug, Args)]
pub struct Capacities {
    /// How many profiles it holds at most
    #[arg(long, value_name = "N")]
    capacity: Option<u32>,
    /// How many identifiers it holds at most
    #[arg(long, value_name = "N")]
    identifier_capacity: Option<u32>,
    /// How many of these may be faces
    #[arg(long, value_name = "N")]
    face_capacity: Option<u32>,
}

impl Capacities {
    fn put_into(&self, panel: &mut Map<String, Value>) {
        for (name, capacity) in [
            ("capacity", self.capacity),
            ("identifier_capacity", self.identifier_capacity),
            ("face_capacity", self.face_capacity),
        ] {
            if let Some(capacity) = capacity {
                panel.insert(name.into(), capacity.into());
            }
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is key=value, such as site=north")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs a command on panels.
pub fn run(command: &PanelCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        PanelCommand::Add { id, driver, zone, labels, api, api_version, capacities, device, adopt } => {
            let labels: Map<_, _> = labels.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            let panel = json!({ "id": id, "driver": driver, "zone": zone, "labels": labels, "api": api });
            let Value::Object(mut panel) = panel else { unreachable!("an object stands right here") };
            if let Some(version) = api_version {
                panel.insert("api_version".into(), version.as_str().into());
            }
            capacities.put_into(&mut panel);
            device.put_into(&mut panel)?;
            if driver == "http" && !device.force && !device.password_stdin {
                panel.insert("password".into(), super::access::password(false)?.into());
            }
            let path = format!("/panels?force={}&adopt={adopt}", device.force);
            let answer = client.post(&path, &[], &panel.into()).map_err(|failure| match &failure.problem {
                Some(problem) if problem.status == 409 && problem.detail.contains("there is a panel") => Failure {
                    message: format!(
                        "there is a panel {id} already; change it with `panelsync panel set {id}`, or choose another id"
                    ),
                    ..failure
                },
                _ => failure,
            })?;
            match output {
                Output::Json => output::json(&answer.body)?,
                Output::Table if *adopt => {
                    let profiles = &answer.body["state"]["profiles"];
                    say!("added panel {id}, and adopted {profiles} profiles that its device holds");
                }
                Output::Table => say!("added panel {id}"),
            }
        }
        PanelCommand::Set { id, zone, labels, api, api_version, capacities, device } => {
            let mut changes = Map::new();
            for (key, value) in [("zone", zone), ("api", api), ("api_version", api_version)] {
                if let Some(value) = value {
                    changes.insert(key.into(), value.as_str().into());
                }
            }
            if !labels.is_empty() {
                let labels: Map<_, _> =
                    labels.iter().map(|(k, v)| (k.clone(), v.as_deref().into())).collect();
                changes.insert("labels".into(), labels.into());
            }
            capacities.put_into(&mut changes);
            device.put_into(&mut changes)?;
            if changes.is_empty() {
                return Err(Failure::usage("nothing to change; see panelsync panel set --help"));
            }
            let id = find::panel(client, id)?;
            let path = format!("/panels/{}?force={}", percent(&id), device.force);
            let answer = client.patch(&path, &changes.into()).map_err(|failure| {
                if device.password_stdin || !failure.message.contains("give the password again") {
                    return failure;
                }
                Failure { message: format!("{}; add --password-stdin", failure.message), ..failure }
            })?;
            match output {
                Output::Json => output::json(&answer.body)?,
                Output::Table => say!("changed panel {id}"),
            }
        }
        PanelCommand::Resync { id } => {
            let id = find::panel(client, id)?;
            let answer = client.post(&format!("/panels/{}:resync", percent(&id)), &[], &Value::Null)?;
            match output {
                Output::Json => output::json(&answer.body)?,
                Output::Table => say!("everything is sent to {id} again; see panelsync panel show {id}"),
            }
        }
        PanelCommand::Ls { selector } => {
            if let Some(selector) = selector {
                find::selector(client, selector)?;
            }
            let panels = list(client, selector.as_deref())?;
            match output {
                Output::Json => output::json(&panels)?,
                Output::Table => table(&panels),
            }
        }
        PanelCommand::Show { id } => show(client, &find::panel(client, id)?, output)?,
        PanelCommand::Rm { id, sure } => {
            let id = find::panel(client, id)?;
            let path = format!("/panels/{}", percent(&id));
            let panel: PanelBody = client.get(&path)?;
            let profiles = output::counted(panel.state.profiles, "profile");
            sure.of(&format!("this removes the panel {id} with {profiles} from the server"))?;
            client.delete(&path)?;
            match output {
                Output::Json => output::json(&json!({ "removed": id }))?,
                Output::Table => say!("removed panel {id}"),
            }
        }
        PanelCommand::Import { file, force } => {
            let mut panels = Panels::read(file)?;
            let lines = std::mem::take(&mut panels.lines);
            let answer = client.post_lines(&format!("/panels:import?force={force}"), lines);
            let answer = answer.map_err(|failure| panels.explain(failure))?;
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
                match state.rejected {
                    Some(rejected) => format!("{}, {rejected} refused", state.connection),
                    None => state.connection.clone(),
                },
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
            device_lines(&panel);
            refusals(&panel, &profiles);
            if !profiles.is_empty() {
                say!();
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                output::table(
                    ["link_id", "state", "name", "opens"],
                    profiles.iter().map(|profile| {
                        let state = match (profile["extended_info"].as_str(), &profile["device"]) {
                            (Some(word), _) => format!("{}: {word}", text(&profile["state"])),
                            (None, Value::Object(kept)) => {
                                let name = kept.get("name").map(&text).unwrap_or_default();
                                format!("kept otherwise by the device, as {name:?}")
                            }
                            (None, _) => text(&profile["state"]),
                        };
                        let link_id = profile["link_id"].as_str().unwrap_or("(made by uid)").to_owned();
                        let name = text(&profile["profile"]["name"]);
                        [link_id, state, name, text(&profile["sentence"])]
                    }),
                );
            }
        }
    }
    Ok(())
}

/// What the panel refuses and does not hold, a line each; what it holds says so itself.
fn refusals(PanelBody { state, .. }: &PanelBody, profiles: &[Value]) {
    let held = |link: &str| profiles.iter().any(|profile| profile["link_id"] == *link);
    let refused = state.refused.iter().filter(|refused| !held(&refused.link_id.to_string()));
    for (i, refused) in refused.enumerate() {
        if i == 0 {
            say!();
        }
        say!("refused     {}: {}", refused.link_id, refused.extended_info);
    }
}

/// What is to be known of a remote panel's device, a line each.
fn device_lines(PanelBody { record, state }: &PanelBody) {
    let Some(device) = &state.device else { return };
    say!();
    let url = record.url.as_deref().unwrap_or_default();
    say!("device      {url}, account {}", record.username.as_deref().unwrap_or_default());
    if !device.serial.is_empty() {
        say!(
            "            {} {}, firmware {}, API {}",
            device.model,
            device.serial,
            device.firmware,
            device.api_version
        );
    }
    let moment = |at: &Option<String>| at.as_deref().map_or("never".to_owned(), output::moment);
    say!("last seen   {}", moment(&state.last_seen));
    let made = output::counted(device.unlinked, "item");
    say!("last read   {}, {made} made on the device", moment(&device.last_read));
    if let Some(ahead) = device.clock_ahead_s.filter(|ahead| ahead.abs() >= 60) {
        say!("its clock   {ahead:+} s against the server's: its door opens at other times");
    }
    if let Some(zone) = &device.other_zone {
        say!("its zone    {zone}, not {}: its door opens at other times", record.zone);
    }
    if let Some(error) = &state.last_error {
        say!("last error  {error}");
    }
    if let Some(next) = &device.next_attempt {
        say!("next try    {}", output::moment(next));
    }
}
