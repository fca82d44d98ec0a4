//! The command line: `serve` and `demo` run a server, the rest is a thin client of the fleet API, and
//! `profile`, `schedule`, `identifier check` and `completions` need no server.
//!
//! Standard output is data, standard error the rest. Exit codes: [`Exit`].

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::http::problem::ProblemBody;
use crate::panel::settings::Trust;
use crate::telemetry::{self, LogFormat};

/// Prints a line of data. Whoever reads it may have left (`| head`); that is no failure of the command.
macro_rules! say {
    () => { $crate::cli::output::write_line(std::io::stdout(), format_args!("")) };
    ($($arg:tt)*) => { $crate::cli::output::write_line(std::io::stdout(), format_args!($($arg)*)) };
}

/// Prints a line for people beside the data.
macro_rules! note {
    ($($arg:tt)*) => { $crate::cli::output::write_line(std::io::stderr(), format_args!($($arg)*)) };
}

mod access;
mod alert;
mod apply;
mod ask;
mod backup;
mod batch;
mod client;
mod demo;
mod doctor;
mod drift;
mod events;
mod file;
mod find;
mod history;
mod identifier;
mod import;
mod node;
mod output;
mod panel;
mod people;
mod present;
mod profile;
mod schedule;
mod serve;
mod settings;
mod simulate;
mod status;
mod undo;
mod values;
mod who;
mod words;
mod worker;

use client::Client;
use settings::ServeArgs;

/// The tree of commands.
#[derive(Debug, Parser)]
#[command(
    name = "panelsync",
    version,
    about = "Time profiles on many entrance panels at once, by link_id",
    after_help = "Examples:\n  \
        panelsync demo                                    see it work, with nothing set up\n  \
        panelsync serve --data-dir ./panelsync-data       run the server\n  \
        panelsync login && panelsync panel add north-01 --label site=north\n  \
        panelsync apply -f profiles.yaml -l site=north    push profiles to a site\n\n\
        Exit codes: 0 done, 1 the work failed on some panel, 2 wrong usage or invalid input,\n\
        3 the server can't be reached, 4 not allowed."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The server to talk to
    #[arg(
        long,
        global = true,
        env = "PANELSYNC_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    server: String,
    /// Token; without one, that of the last `login` to this server
    #[arg(long, global = true, env = "PANELSYNC_TOKEN", hide_env_values = true, value_name = "T")]
    token: Option<String>,
    /// The CA of the server's certificate, or that very certificate, PEM; stands before the command, and `login` keeps
    /// it
    #[arg(long, env = "PANELSYNC_CA_FILE", value_name = "FILE", conflicts_with = "pin")]
    ca_file: Option<std::path::PathBuf>,
    /// The SHA-256 of the server's one certificate, in hex; stands before the command, and `login` keeps it
    #[arg(long, env = "PANELSYNC_PIN", value_name = "HEX")]
    pin: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Log more; twice for everything
    #[arg(short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// How log lines look (RUST_LOG sets what is logged)
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For scripts
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: web page, fleet API, panel API and documentation
    #[command(after_help = "Example:\n  panelsync serve --listen 0.0.0.0:8080 --data-dir /var/lib/panelsync")]
    Serve(ServeArgs),
    /// Start a server with 8 panels on three sites, push one batch to all, and show the report
    #[command(after_help = "Example:\n  panelsync demo --once")]
    Demo(demo::DemoArgs),
    /// Run panels to test clients against: they speak only the panel API
    #[command(
        after_help = "Every panel has the account admin with the password 123456. Faults can be switched at run time:\n  \
        curl -X POST http://127.0.0.1:9101/sim/faults -H 'content-type: application/json' \\\n    \
        -d '{\"panels\":[\"sim-0001\"],\"faults\":{\"offline\":true}}'\n\n\
        Examples:\n  panelsync simulate --panels 50 --latency 50ms --fail 5%\n  \
        panelsync simulate --panels 3 --port-per-panel --listen 127.0.0.1:9200 --data-dir ./sim"
    )]
    Simulate(simulate::SimulateArgs),
    /// Log in and keep the token in the user's config folder
    #[command(
        after_help = "Examples:\n  panelsync login\n  panelsync login --username admin --password-stdin < secret"
    )]
    Login(access::LoginArgs),
    /// The fleet's register
    #[command(subcommand)]
    Panel(panel::PanelCommand),
    /// Create or update profiles and identifiers on many panels, by link_id
    #[command(
        after_help = "FILE is an object with a list of profiles, one of identifiers, or both; {\"list_items\":[…]} and a bare list are profiles. \
        --prune deletes of each kind that FILE has a list of.\n\n\
        Examples:\n  panelsync apply -f profiles.yaml -l site=north --dry-run\n  \
        panelsync apply -f people.yaml --all\n  cat profiles.json | panelsync apply -f - --panel north-01 north-02"
    )]
    Apply(apply::ApplyArgs),
    /// Delete profiles or identifiers on many panels, by link_id
    #[command(
        after_help = "Examples:\n  panelsync delete 91c615e3-1040-4815-8ecb-039a18b756b5 -l site=north\n  \
        panelsync delete 91c615e3 --all\n  \
        panelsync delete 5d0c5e0e --kind identifier --all"
    )]
    Delete(apply::DeleteArgs),
    /// Batches: list, show, watch, cancel, retry, undo
    #[command(subcommand)]
    Batch(batch::BatchCommand),
    /// What stood as an item on a panel, and since when; with --at, what was desired then
    #[command(
        after_help = "It is what was desired; what a device confirmed of it is another matter. What batches changed is kept as long \
        as their reports are. Of calls of the panel API the last 64 of a panel are kept, and nothing of what they replaced.\n\n\
        Examples:\n  panelsync history 91c615e3-1040-4815-8ecb-039a18b756b5 --panel north-01\n  \
        panelsync history 91c615e3 --panel north-01 --at 2026-11-23T08:30:00+02:00\n  \
        panelsync history 5d0c5e0e --kind identifier --panel north-01"
    )]
    History(history::HistoryArgs),
    /// What devices really hold, item by item, against what is desired; exit 1 if any differs
    #[command(after_help = "Example:\n  panelsync diff -l site=north")]
    Diff(drift::DiffArgs),
    /// Read devices back and put right what has drifted
    #[command(
        after_help = "Examples:\n  panelsync reconcile -l site=north --dry-run\n  panelsync reconcile --all --yes"
    )]
    Reconcile(drift::ReconcileArgs),
    /// One screen: panels, and the last batches
    #[command(after_help = "Example:\n  panelsync status")]
    Status,
    /// Time profiles in a file, without a server
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// Opening hours as people say them, in a file, without a server
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Identifiers: cards, codes, faces and their like
    #[command(subcommand)]
    Identifier(identifier::IdentifierCommand),
    /// Who may open which door, when, and why
    #[command(subcommand)]
    Access(who::AccessCommand),
    /// Who opened which door, and who was denied
    #[command(
        after_help = "Times are those of the panel's zone, and numbers are shown by their last three characters.\n\n\
        Examples:\n  panelsync events --panel north-01 --from 2026-01-31T00:00:00+02:00\n  \
        panelsync events --identifier 5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11\n  panelsync events --follow"
    )]
    Events(events::EventsArgs),
    /// Show an identifier to an embedded panel; exit 0 where its door opens, 1 where not
    #[command(
        after_help = "Examples:\n  panelsync present --panel north-01 --type card --number-stdin < number\n  \
        panelsync present --panel north-01 --type card --number 1234567 --at 2026-11-28T22:00:00Z"
    )]
    Present(present::PresentArgs),
    /// Alerts: who is told what is wrong, by webhook or mail
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Users
    #[command(subcommand)]
    User(access::UserCommand),
    /// Tokens for programs
    #[command(subcommand)]
    Token(access::TokenCommand),
    /// Write a copy of all that the running server holds
    #[command(after_help = "Example:\n  panelsync backup /backups/panelsync-2026-11-24.redb")]
    Backup(backup::BackupArgs),
    /// Put a copy into an empty data folder
    #[command(
        after_help = "Example:\n  panelsync restore /backups/panelsync-2026-11-24.redb --data-dir /var/lib/panelsync"
    )]
    Restore(backup::RestoreArgs),
    /// The nodes of a fleet that has several
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Talk to the devices of a site for a server that does not reach them: it dials out, and keeps nothing
    #[command(
        after_help = "It takes the token from PANELSYNC_TOKEN, since the process list shows every flag; passwords of its devices pass through it.\n\n\
        Example:\n  PANELSYNC_TOKEN=… panelsync worker --hub https://hub.example:8443 --for site=north"
    )]
    Worker(worker::WorkerArgs),
    /// Prepare an empty data folder for a node from a backup of its fleet
    #[command(
        after_help = "A node with an empty folder copies everything from the leader by itself; this is for when there is none, or the way to it is slow.\n\n\
        Example:\n  panelsync join --from /backups/panelsync-2026-11-24.redb --data-dir /var/lib/panelsync"
    )]
    Join(node::JoinArgs),
    /// The key that passwords of devices, identifiers and events are sealed with
    #[command(subcommand)]
    Key(backup::KeyCommand),
    /// Look at folder, database, key, disk, clock, address, mail server and panels, and say what to do
    #[command(
        after_help = "It takes the flags of `serve`, and looks at what they name. Run it beside the server, or without it.\n\n\
        Example:\n  panelsync doctor --data-dir /var/lib/panelsync"
    )]
    Doctor(doctor::DoctorArgs),
    /// Print a shell's completion script
    #[command(after_help = "Example:\n  panelsync completions bash > /etc/bash_completion.d/panelsync")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Which panels a batch is for; exactly one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Targets {
    /// Panels by their labels, such as site=north,floor in (1,2)
    #[arg(short = 'l', long, value_name = "SEL")]
    selector: Option<String>,
    /// Panels by id, or by the beginning of it
    #[arg(long = "panel", value_name = "ID", num_args = 1..)]
    panels: Vec<String>,
    /// Every panel
    #[arg(long)]
    all: bool,
}

impl Targets {
    /// As fields of a batch, once they are found to name panels.
    fn put_into(
        &self,
        batch: &mut serde_json::Map<String, serde_json::Value>,
        client: &Client,
    ) -> Result<(), Failure> {
        if let Some(selector) = &self.selector {
            find::selector(client, selector)?;
            batch.insert("selector".into(), selector.as_str().into());
        } else if self.all {
            batch.insert("all".into(), true.into());
        } else {
            batch.insert("panels".into(), find::panels(client, &self.panels)?.into());
        }
        Ok(())
    }
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The work failed on some panel, or the server failed.
    Failed = 1,
    /// Wrong usage or invalid input.
    Usage = 2,
    /// The server can't be reached.
    Unreachable = 3,
    /// Not logged in, or not allowed.
    NotAllowed = 4,
}

/// What a command ends with when it is not done.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
    /// What the server said, where it said something.
    problem: Option<Box<ProblemBody>>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), problem: None }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

/// Reads the arguments, does what they say, and gives the exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse(); // prints help or what is wrong, and ends with 0 or 2
    telemetry::start_logging(cli.global.log_format, cli.global.verbose);
    crate::store::damage::log_damage();
    let exit = match dispatch(&cli) {
        Ok(exit) => exit,
        Err(Failure { exit, message, .. }) => {
            note!("panelsync: {message}");
            exit
        }
    };
    telemetry::flush_logs();
    ExitCode::from(exit as u8)
}

fn dispatch(cli: &Cli) -> Result<Exit, Failure> {
    let output = cli.global.output;
    let trust = || trust(cli.global.ca_file.as_deref(), cli.global.pin.as_deref());
    let client = || Client::new(&cli.global.server, cli.global.token.as_deref(), trust()?);
    match &cli.command {
        Command::Serve(args) => serve::serve(args),
        Command::Demo(args) => demo::demo(args, output),
        Command::Simulate(args) => simulate::simulate(args),
        Command::Login(args) => access::login(args, &cli.global.server, trust()?),
        Command::Panel(command) => panel::run(command, &client()?, output),
        Command::Apply(args) => apply::apply(args, &client()?, output),
        Command::Delete(args) => apply::delete(args, &client()?, output),
        Command::Batch(command) => batch::run(command, &client()?, output),
        Command::History(args) => history::history(args, &client()?, output),
        Command::Diff(args) => drift::diff(args, &client()?, output),
        Command::Reconcile(args) => drift::reconcile(args, &client()?, output),
        Command::Status => status::status(&client()?, output),
        Command::Profile(command) => profile::run(command, output),
        Command::Schedule(command) => schedule::run(command, output),
        Command::Identifier(command) => identifier::run(command, client, output),
        Command::Access(command) => who::run(command, &client()?, output),
        Command::Events(args) => events::events(args, &client()?, output),
        Command::Present(args) => present::present(args, &client()?, output),
        Command::Alert(command) => alert::run(command, &client()?, output),
        Command::User(command) => access::user(command, &client()?, output),
        Command::Token(command) => access::token(command, &client()?, output),
        Command::Backup(args) => backup::backup(args, &client()?),
        Command::Restore(args) => backup::restore(args),
        Command::Node(command) => node::run(command, client, output),
        Command::Join(args) => node::join(args),
        Command::Worker(args) => worker::worker(args, cli.global.token.as_deref(), trust()?),
        Command::Key(command) => backup::key(command),
        Command::Doctor(args) => doctor::doctor(args, &client()?, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "panelsync", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(Exit::Done)
        }
    }
}

/// The trust in the server's certificate that was asked for.
fn trust(ca_file: Option<&std::path::Path>, pin: Option<&str>) -> Result<Option<Trust>, Failure> {
    match (ca_file, pin) {
        (Some(file), _) => {
            Trust::from_file(file).map(Some).map_err(|why| Failure::usage(format!("--ca-file: {why}")))
        }
        (None, Some(pin)) => {
            let trust = Trust::from_pin(pin);
            trust.map(Some).ok_or_else(|| {
                Failure::usage("--pin takes the SHA-256 of the server's certificate, 64 hex digits")
            })
        }
        (None, None) => Ok(None),
    }
}

/// A time such as `90s`, `5m`, `12h` or `90d`, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time; it takes a number with s, m, h or d, such as 60s or 90d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!(seconds("0s"), Ok(0));
        for wrong in ["", "s", "5", "5y", "-1s", "99999999999999999999s", "999999999999999999d", "5µ"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
