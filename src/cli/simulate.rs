//! `panelsync simulate`: panels to test clients against.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, serve};
use crate::config::TlsFiles;
use crate::simulator::faults::Faults;
use crate::simulator::latency::Latency;
use crate::simulator::quirk::Quirk;
use crate::simulator::{SimulateError, Simulator, SimulatorSettings, panel_id};

/// How the simulator is asked to run.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// How many panels
    #[arg(long, value_name = "N", default_value_t = 1)]
    panels: usize,
    /// Where they are; with --port-per-panel, where the first one is
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Where the switches are: POST /sim/… [default: at the address of --listen, the port after the panels' last]
    #[arg(long, value_name = "ADDR:PORT")]
    control: Option<SocketAddr>,
    /// Before every answer: 50ms, 20ms..200ms (evenly spread) or ~50ms (exponentially around)
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    latency: Latency,
    /// Share of panels that close every connection
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = percent)]
    offline: f64,
    /// Share of calls that fail, in five ways: 500, closed before or after the work, garbage, unknown token
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = percent)]
    fail: f64,
    /// Share of calls that are never answered
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = percent)]
    hang: f64,
    /// What the panels do otherwise than the API says, such as small-pages or only-delete; may be repeated
    #[arg(long = "quirk", value_name = "NAME", value_delimiter = ',')]
    quirks: Vec<Quirk>,
    /// The last panel takes so long for every answer
    #[arg(long, value_name = "TIME")]
    slow: Option<Latency>,
    /// Profiles that each panel holds at most
    #[arg(long, value_name = "N")]
    capacity: Option<u32>,
    /// Identifiers that each panel holds at most
    #[arg(long, value_name = "N")]
    identifier_capacity: Option<u32>,
    /// Faces among these at most
    #[arg(long, value_name = "N")]
    face_capacity: Option<u32>,
    /// The family whose API they speak: android, camdroid, ingenic-mips or door-controller
    #[arg(long, default_value = "android")]
    api: String,
    /// The version that they say they speak [default: of android 2.9.0, of camdroid 1.3.5, of the others 1.0.0]
    #[arg(long)]
    api_version: Option<String>,
    /// The zone in which they show the time
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// Keep their profiles here; without, in a folder that goes at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Each at the root of a port of its own
    #[arg(long)]
    port_per_panel: bool,
    /// For what is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Calls kept of each panel, for GET /sim/calls
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_calls: usize,
    /// Speak HTTPS with this certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    number
        .filter(|share| (0.0..=100.0).contains(share))
        .ok_or_else(|| format!("{text:?} is no share such as 5%"))
}

/// Runs simulated panels until it is told to stop.
pub fn simulate(args: &SimulateArgs) -> Result<Exit, Failure> {
    if !(1..=50_000).contains(&args.panels) {
        return Err(Failure::usage("--panels takes 1 to 50000"));
    }
    let kept = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir()?),
    };
    let data_dir = match (&args.data_dir, &kept) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => PathBuf::new(),
    };
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
        }
        _ => None,
    };
    let settings = SimulatorSettings {
        panels: args.panels,
        listen: args.listen,
        control: args.control.unwrap_or_else(|| control(args)),
        data_dir,
        port_per_panel: args.port_per_panel,
        api: args.api.clone(),
        api_version: args.api_version.clone().unwrap_or_default(),
        zone: args.zone.clone(),
        capacity: args.capacity,
        identifier_capacity: args.identifier_capacity,
        face_capacity: args.face_capacity,
        faults: faults(args)?,
        seed: args.seed,
        keep_calls: args.keep_calls,
        tls,
    };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let (panels, per_port) = (args.panels, args.port_per_panel);
    actix_web::rt::System::new().block_on(async move {
        let simulator = Simulator::build(settings).await?;
        let address = simulator.address();
        let place = if per_port { "/api" } else { "/panels/sim-0001/api" };
        note!(
            "panelsync simulates {panels} panels, sim-0001 to {}, from {scheme}://{address}{place} on",
            panel_id(panels)
        );
        note!(
            "account admin with password {}; switches at http://{}/sim (stop with ctrl-C)",
            crate::simulator::PASSWORD,
            simulator.control()
        );
        simulator.run(serve::stop_signal()).await?;
        Ok(Exit::Done)
    })
}

/// Where the switches are unless that is said: beside the panels, so that two simulators get on with each other.
fn control(args: &SimulateArgs) -> SocketAddr {
    let ports = if args.port_per_panel { args.panels } else { 1 };
    let first = usize::from(args.listen.port());
    let port = match (first, u16::try_from(first + ports)) {
        (0, _) => 0,
        (_, Ok(after)) => after,
        (_, Err(_)) => args.listen.port() - 1,
    };
    SocketAddr::new(args.listen.ip(), port)
}

/// What each panel suffers from at first. The share of panels that are offline is spread evenly.
fn faults(args: &SimulateArgs) -> Result<Vec<Faults>, Failure> {
    let quirks = args.quirks.iter().copied().collect();
    let every =
        Faults { latency: args.latency, hang: args.hang, quirks, ..Faults::default() }.failing(args.fail);
    every.check().map_err(|why| Failure::usage(format!("--fail and --hang: {why}")))?;
    let share = args.offline / 100.0;
    let mut faults: Vec<_> = (0..args.panels)
        .map(|n| {
            let offline = ((n + 1) as f64 * share).floor() > (n as f64 * share).floor();
            Faults { offline, ..every.clone() }
        })
        .collect();
    if let (Some(slow), Some(last)) = (args.slow, faults.last_mut()) {
        last.latency = slow;
    }
    Ok(faults)
}

impl From<SimulateError> for Failure {
    fn from(error: SimulateError) -> Self {
        match error {
            SimulateError::Start(error) => error.into(),
            error => Self::usage(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn quirks_are_given_by_name_one_by_one_or_in_a_list() {
        let read = |line: &str| {
            let command = SimulateArgs::augment_args(clap::Command::new("simulate"));
            let words = line.split_whitespace();
            let matches = command.try_get_matches_from(std::iter::once("simulate").chain(words)).ok()?;
            Some(SimulateArgs::from_arg_matches(&matches).ok()?.quirks)
        };
        let some = [Quirk::SmallPages, Quirk::OnlyDelete, Quirk::Gzip];
        assert_eq!(read("--quirk small-pages,only-delete --quirk gzip").as_deref(), Some(&some[..]));
        assert_eq!(read("--quirk gremlins"), None);
    }

    #[test]
    fn the_switches_are_beside_the_panels_unless_it_is_said_where() {
        let at = |line: &str| {
            let command = SimulateArgs::augment_args(clap::Command::new("simulate"));
            let words = line.split_whitespace();
            let matches = command.try_get_matches_from(std::iter::once("simulate").chain(words));
            let args = SimulateArgs::from_arg_matches(&matches.expect("good arguments")).expect("all there");
            args.control.unwrap_or_else(|| control(&args)).to_string()
        };
        assert_eq!(at(""), "127.0.0.1:9101");
        assert_eq!(at("--listen 127.0.0.1:9200"), "127.0.0.1:9201");
        assert_eq!(at("--listen 0.0.0.0:9200 --panels 5 --port-per-panel"), "0.0.0.0:9205");
        assert_eq!(at("--listen 127.0.0.1:0"), "127.0.0.1:0");
        assert_eq!(at("--listen [::1]:65535"), "[::1]:65534");
        assert_eq!(at("--listen 127.0.0.1:9200 --control 127.0.0.1:7"), "127.0.0.1:7");
    }
}
