//! `panelsync alert …`: who is told what is wrong.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::client::Client;
use super::{Exit, Failure, Output, access, find, output, settings};
use crate::alert::{MOST_PER_HOUR, Topic};
use crate::http::fleet_api::alerts::{AlertBody, AlertSetBody, AlertTestBody};
use crate::http::percent;
use crate::panel::settings::Trust;

/// The commands on alerts.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Add an alert: a webhook, or mail
    #[command(
        after_help = "What it can be for: offline (a panel cannot be reached for longer than --after, and is back), refused (a panel refuses an \
        item), drift (a device holds something other than it had confirmed), batch-failed (a batch ended with failures), no-leader (none \
        of several nodes leads).\n\n\
        A webhook is signed as Standard Webhooks has it, with a secret that is made by the server and shown this once; the README says how a \
        receiver checks that. Mail needs a server that was started with --smtp.\n\n\
        Examples:\n  panelsync alert add ops --webhook https://hooks.example/panelsync\n  \
        panelsync alert add night --mail ops@example.org --on offline,no-leader --after 30m -l site=north\n  \
        panelsync alert test ops"
    )]
    Add(AddArgs),
    /// List alerts, with what came of the last message of each
    #[command(after_help = "Example:\n  panelsync alert ls")]
    Ls,
    /// Remove an alert, with what waits to go out
    #[command(after_help = "Example:\n  panelsync alert rm ops")]
    Rm {
        /// Its name
        name: String,
    },
    /// Send a message now, and say what came of it; exit 1 where it did not go out
    #[command(after_help = "Example:\n  panelsync alert test ops")]
    Test {
        /// Its name
        name: String,
    },
}

/// What `alert add` takes.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Its name: letters, digits and -_. (1 to 63 of them)
    name: String,
    #[command(flatten)]
    way: WayArgs,
    /// What it is for; without, everything
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = topic)]
    on: Vec<Topic>,
    /// How long a panel is offline before it is told [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = settings::time)]
    after: Option<Duration>,
    /// Only of these panels, such as site=north,floor in (1,2)
    #[arg(short = 'l', long, value_name = "SEL")]
    selector: Option<String>,
    /// Messages an hour at most; what is beyond is counted in a digest [default: 12]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PER_HOUR)))]
    per_hour: Option<u32>,
    /// Read the webhook's secret (whsec_…) from standard input instead of having one made
    #[arg(long, requires = "webhook")]
    secret_stdin: bool,
    /// The CA of the webhook's certificate, or that very certificate, PEM
    #[arg(long, value_name = "FILE", requires = "webhook", conflicts_with = "pin")]
    ca_file: Option<PathBuf>,
    /// The SHA-256 of the one certificate that it may show, in hex
    #[arg(long, value_name = "HEX", requires = "webhook")]
    pin: Option<String>,
}

/// How it goes out.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WayArgs {
    /// As an HTTP request to this URL
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// As a mail to these addresses
    #[arg(long, value_name = "TO", num_args = 1.., value_delimiter = ',')]
    mail: Vec<String>,
}

fn topic(word: &str) -> Result<Topic, String> {
    let all = || Topic::ALL.map(Topic::as_str).join(", ");
    Topic::parse(word).ok_or_else(|| format!("{word:?} is none of {}", all()))
}

/// Runs a command on alerts.
pub fn run(command: &AlertCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        AlertCommand::Add(args) => add(args, client, output),
        AlertCommand::Ls => list(client, output),
        AlertCommand::Rm { name } => {
            client.delete(&format!("/alerts/{}", percent(name)))?;
            match output {
                Output::Json => output::json(&serde_json::json!({ "removed": name }))?,
                Output::Table => say!("removed alert {name}"),
            }
            Ok(Exit::Done)
        }
        AlertCommand::Test { name } => test(name, client, output),
    }
}

fn add(args: &AddArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let AddArgs { name, way: WayArgs { webhook, mail }, on, after, selector, per_hour, .. } = args;
    if let Some(selector) = selector {
        find::selector(client, selector)?;
    }
    let mut alert = Map::new();
    if let Some(url) = webhook {
        alert.insert("webhook".into(), url.as_str().into());
    }
    if !mail.is_empty() {
        alert.insert("mail".into(), mail.clone().into());
    }
    if args.secret_stdin {
        alert.insert("secret".into(), access::password(true)?.into());
    }
    if let Some(file) = &args.ca_file {
        let pem = std::fs::read_to_string(file).ok().filter(|pem| Trust::from_pem(pem).is_some());
        let pem = pem.ok_or_else(|| {
            Failure::usage(format!("--ca-file {} holds no certificates in PEM", file.display()))
        })?;
        alert.insert("tls_ca".into(), pem.into());
    }
    if let Some(pin) = &args.pin {
        alert.insert("tls_pin".into(), pin.as_str().into());
    }
    if !on.is_empty() {
        let words: Vec<_> = on.iter().map(|topic| topic.as_str()).collect();
        alert.insert("on".into(), words.into());
    }
    if let Some(after) = after {
        alert.insert("after_s".into(), after.as_secs().max(1).into());
    }
    if let Some(selector) = selector {
        alert.insert("selector".into(), selector.as_str().into());
    }
    if let Some(per_hour) = per_hour {
        alert.insert("per_hour".into(), (*per_hour).into());
    }
    let path = format!("/alerts/{}", percent(name));
    let answer = client.put(&path, &[("if-none-match", "*")], &Value::Object(alert))?;
    match output {
        Output::Json => output::json(&answer.body)?,
        Output::Table => {
            let set: AlertSetBody = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
            say!("added alert {name}");
            if let Some(secret) = set.secret {
                say!("{secret}");
                note!("its messages are signed with this secret; it is shown this once");
            }
            if webhook.as_deref().is_some_and(|url| url.starts_with("http://")) {
                note!("messages travel in clear, and are signed; use https:// where others can listen");
            }
            note!("try it: panelsync alert test {name}");
        }
    }
    Ok(Exit::Done)
}

fn list(client: &Client, output: Output) -> Result<Exit, Failure> {
    let alerts: Vec<AlertBody> = client.get_all("/alerts?limit=1000")?;
    match output {
        Output::Json => output::json(&alerts)?,
        Output::Table if alerts.is_empty() => {
            note!("there are no alerts; add one: panelsync alert add NAME --webhook URL");
        }
        Output::Table => output::table(
            ["alert", "to", "on", "panels", ">sent", ">waiting", ">failed", ">held back", "last"],
            alerts.iter().map(|alert| {
                [
                    alert.name.clone(),
                    alert.webhook.clone().unwrap_or_else(|| alert.mail.join(", ")),
                    alert.on.join(","),
                    alert.selector.clone().unwrap_or_else(|| "all".to_owned()),
                    alert.sent.to_string(),
                    alert.waiting.to_string(),
                    alert.failed.to_string(),
                    alert.held_back.to_string(),
                    last(alert),
                ]
            }),
        ),
    }
    Ok(Exit::Done)
}

/// What came of the last try.
fn last(alert: &AlertBody) -> String {
    let Some(last) = &alert.last else { return "-".to_owned() };
    let what = if last.sent { "sent" } else { "NOT SENT" };
    let failing = match &alert.failing_since {
        Some(since) => format!(" (failing since {})", output::short_moment(since)),
        None => String::new(),
    };
    format!("{} {what} {}: {}{failing}", output::short_moment(&last.at), last.kind, last.said)
}

fn test(name: &str, client: &Client, output: Output) -> Result<Exit, Failure> {
    let answer = client.post(&format!("/alerts/{}:test", percent(name)), &[], &Value::Null)?;
    let tested: AlertTestBody = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    match output {
        Output::Json => output::json(&tested)?,
        Output::Table if tested.sent => say!("sent: {}", tested.said),
        Output::Table => say!("not sent: {}", tested.said),
    }
    Ok(if tested.sent { Exit::Done } else { Exit::Failed })
}
