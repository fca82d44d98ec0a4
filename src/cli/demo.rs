//! `panelsync demo`: the main job on real input, with nothing set up.

use std::net::SocketAddr;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::{Exit, Failure, Output, batch, output, serve};
use crate::access::FIRST_ADMIN;
use crate::config::Settings;
use crate::server::{Server, StartError};

/// How the demo is asked to run.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Address and port; without it, 127.0.0.1:8080 or any free port
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// End after the report
    #[arg(long)]
    once: bool,
}

/// The fleet: id, site, floor, zone.
const PANELS: [(&str, &str, &str, &str); 8] = [
    ("north-01", "north", "1", "Europe/Kyiv"),
    ("north-02", "north", "2", "Europe/Kyiv"),
    ("north-03", "north", "3", "Europe/Kyiv"),
    ("south-01", "south", "1", "Europe/Lisbon"),
    ("south-02", "south", "2", "Europe/Lisbon"),
    ("south-03", "south", "3", "Europe/Lisbon"),
    ("harbour-01", "harbour", "1", "Australia/Sydney"),
    ("harbour-02", "harbour", "1", "Australia/Sydney"),
];

/// The profiles: a work week, residents day and night, cleaning on the first Monday of the month.
const PROFILES: &str = include_str!("demo.json");

/// Starts a server in a temporary folder, pushes one batch to eight panels and prints the report.
pub fn demo(args: &DemoArgs, output: Output) -> Result<Exit, Failure> {
    let folder = tempfile::tempdir()?;
    let (listen, once) = (args.listen, args.once);
    let path = folder.path().to_owned();
    actix_web::rt::System::new().block_on(async move {
        let (server, password) = start(listen, path).await?;
        let address = format!("http://{}", server.address());
        let (shown, stopping) = tokio::sync::oneshot::channel();
        let stop = async move {
            let reported = stopping.await.is_ok();
            if !once && reported {
                serve::stop_signal().await;
            }
        };
        let serving = actix_web::rt::spawn(server.run(stop));
        // The client waits for its answers, so it has a thread of its own.
        let pushed = actix_web::web::block(move || push(&address, &password, output, once)).await;
        let result =
            pushed.unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "the demo's client broke off")));
        if result.is_ok() {
            let _ = shown.send(()); // the server waits for it
        } else {
            drop(shown);
        }
        let served = serving.await;
        result?;
        served.map_err(std::io::Error::other)??;
        Ok(Exit::Done)
    })
}

async fn start(
    listen: Option<SocketAddr>,
    folder: std::path::PathBuf,
) -> Result<(Server, String), StartError> {
    let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut settings = Settings::new(folder.clone(), listen.unwrap_or(usual));
    settings.admin_password = std::env::var("PANELSYNC_ADMIN_PASSWORD").ok().map(crate::config::Secret);
    let given = settings.admin_password.clone();
    let mut server = match Server::build(settings.clone()).await {
        Err(StartError::Listen(..)) if listen.is_none() => {
            settings.listen.set_port(0);
            settings.data_dir = folder.join("second");
            Server::build(settings).await?
        }
        built => built?,
    };
    let password = server.take_first_password().or(given.map(|password| password.0)).unwrap_or_default();
    Ok((server, password))
}

fn push(address: &str, password: &str, output: Output, once: bool) -> Result<(), Failure> {
    let client = Client::new(address, Some(""), None)?;
    let session = client.post("/session", &[], &json!({ "username": FIRST_ADMIN, "password": password }))?;
    let token = session.body["token"].as_str().unwrap_or_default().to_owned();
    let client = client.with_token(token);
    let lines: Vec<_> = PANELS
        .iter()
        .map(|(id, site, floor, zone)| json!({ "id": id, "zone": zone, "labels": { "site": site, "floor": floor } }))
        .map(|panel| panel.to_string())
        .collect();
    client.post_lines("/panels:import", lines.join("\n"))?;
    let upsert: Value = serde_json::from_str(PROFILES).map_err(std::io::Error::other)?;
    let profiles = upsert.as_array().map_or(0, Vec::len);
    note!("Pushing {profiles} profiles to {} panels on three sites at {address} …\n", PANELS.len());
    let answer =
        client.post("/batches", &[("prefer", "wait=60")], &json!({ "all": true, "upsert": upsert }))?;
    let report = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    batch::report(&client, &report, output)?;
    if output == Output::Table {
        let panels: Vec<crate::http::fleet_api::batches::BatchPanel> =
            client.get_all(&format!("/batches/{}/panels", report.id))?;
        say!();
        let item = |item: &crate::http::fleet_api::batches::BatchItem| item.extended_info.clone();
        output::table(
            ["panel", "outcome", "items"],
            panels.iter().map(|panel| {
                let items: Vec<_> = panel.result.iter().map(item).collect();
                [panel.panel.clone(), panel.outcome.as_str().to_owned(), items.join(", ")]
            }),
        );
    }
    if !once {
        note!(
            "\nThe fleet's page is at {address}/ (user {FIRST_ADMIN}, password {password}), the API's at {address}/docs/"
        );
        note!("Try, in another terminal:");
        note!("  panelsync --server {address} login");
        note!("  panelsync --server {address} status");
        note!("Stop with ctrl-C; the demo's folder is removed then.");
    }
    Ok(())
}
