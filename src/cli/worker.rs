//! `panelsync worker`: talks to the devices of a site for a server that does not reach them.

use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use super::serve::stop_signal;
use super::{Exit, Failure};
use crate::batch::selector::Selector;
use crate::cluster::worker::{Shows, Worker};
use crate::panel::device::line::connection::Address;
use crate::panel::device::relay::Hello;
use crate::panel::settings::Trust;

/// What `worker` takes.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The server, or any of several nodes
    #[arg(long, env = "PANELSYNC_HUB", value_name = "URL")]
    hub: String,
    /// Whose devices it talks to, by the panels' labels, such as site=north
    #[arg(long = "for", env = "PANELSYNC_FOR", value_name = "SEL")]
    selector: String,
    /// Its name, for people [default: worker]
    #[arg(
        long,
        env = "PANELSYNC_WORKER",
        value_name = "NAME",
        default_value = "worker",
        hide_default_value = true
    )]
    name: String,
    /// Devices talked to at once
    #[arg(long, env = "PANELSYNC_DEVICE_CONCURRENCY", value_name = "N", default_value_t = 256)]
    device_concurrency: u16,
}

/// Works until it is told to stop.
pub fn worker(args: &WorkerArgs, token: Option<&str>, trust: Option<Trust>) -> Result<Exit, Failure> {
    if Address::parse(&args.hub).is_err() {
        return Err(Failure::usage(format!(
            "--hub {:?} is no URL such as https://hub.example:8443",
            args.hub
        )));
    }
    Selector::parse(&args.selector).map_err(|error| Failure::usage(format!("--for: {error}")))?;
    let Some(token) = token else {
        return Err(Failure::usage(
            "a worker needs a token of an admin: make one with `panelsync token create worker --role admin`, and give it in PANELSYNC_TOKEN",
        ));
    };
    if args.device_concurrency == 0 {
        return Err(Failure::usage("--device-concurrency takes 1 to 65535"));
    }
    let hello = Hello {
        name: args.name.clone(),
        run: uuid::Uuid::new_v4(),
        concurrency: usize::from(args.device_concurrency),
        selector: Some(args.selector.clone()),
    };
    let (hub, told) = watch::channel(Some(args.hub.trim_end_matches('/').to_owned()));
    let shows = Shows::Token(Arc::from(token));
    let worker = Worker { hello, shows, trust: trust.unwrap_or(Trust::System), hub: told };
    note!("panelsync worker talks to the devices of {} for {} (stop with ctrl-C)", args.selector, args.hub);
    let refused = actix_web::rt::System::new().block_on(async move {
        tokio::select! {
            refused = worker.run() => Some(refused),
            () = stop_signal() => None,
        }
    });
    drop(hub);
    match refused {
        None => Ok(Exit::Done),
        Some((401 | 403, _)) => Err(Failure::new(
            Exit::NotAllowed,
            "the server does not take this token: a worker needs one of an admin, as `panelsync token create worker --role admin` makes",
        )),
        Some((status, said)) => {
            Err(Failure::usage(format!("the server refuses this worker (HTTP {status}): {said}")))
        }
    }
}
