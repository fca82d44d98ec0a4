//! `panelsync node` and `join`: the nodes of a fleet that has several.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::client::Client;
use super::{Exit, Failure, Output, output};
use crate::http::fleet_api::nodes::NodeBody;
use crate::http::percent;
use crate::store::backup;
use crate::store::follower;

/// The commands on nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes: who leads, and how far the others are
    #[command(
        after_help = "BEHIND counts entries of the log; SAME says whether a node has what the log says, by the last entry that it has applied.\n\n\
        Example:\n  panelsync node ls"
    )]
    Ls,
    /// Have the node that leads give the lead to another, as before work on its machine
    #[command(after_help = "Example:\n  panelsync node release")]
    Release,
    /// Forget a node that is away for good
    #[command(after_help = "Example:\n  panelsync node rm south")]
    Rm {
        /// The node's name
        name: String,
    },
    /// Take a stopped node's data folder out of its fleet, so that it can run alone, or found another fleet
    #[command(
        after_help = "What the fleet does from then on is not in that folder any more, and devices are talked to by both.\n\n\
        Example:\n  panelsync node leave --data-dir /var/lib/panelsync --yes"
    )]
    Leave {
        /// The node's data folder
        #[arg(long, value_name = "DIR", default_value = "./panelsync-data")]
        data_dir: PathBuf,
        /// Do it; without, it is only said what would be done
        #[arg(long)]
        yes: bool,
    },
}

/// Does what is to be done with nodes.
pub fn run(
    command: &NodeCommand,
    client: impl Fn() -> Result<Client, Failure>,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        NodeCommand::Ls => list(&client()?, output),
        NodeCommand::Release => {
            let client = client()?;
            client.good(client.post("/nodes:release", &[], &serde_json::Value::Null)?)?;
            note!("the leader gives the lead away; `panelsync node ls` says to whom");
            Ok(Exit::Done)
        }
        NodeCommand::Rm { name } => {
            client()?.delete(&format!("/nodes/{}", percent(name)))?;
            note!("removed node {name}");
            Ok(Exit::Done)
        }
        NodeCommand::Leave { data_dir, yes } => leave(data_dir, *yes),
    }
}

fn list(client: &Client, format: Output) -> Result<Exit, Failure> {
    let nodes: Vec<NodeBody> = client.get_all("/nodes?limit=1000")?;
    match format {
        Output::Json => output::json(&nodes)?,
        Output::Table if nodes.is_empty() => {
            note!("this server runs alone: it was started without --cluster");
        }
        Output::Table => {
            let rows = nodes.iter().map(|node| {
                let same = match node.same {
                    Some(true) => "yes",
                    Some(false) => "NO",
                    None => "-",
                };
                [
                    node.name.clone(),
                    node.role.clone(),
                    node.url.clone(),
                    node.version.clone(),
                    node.applied.to_string(),
                    node.behind.to_string(),
                    node.seen.clone(),
                    same.to_owned(),
                ]
            });
            let head = ["node", "role", "url", "version", "applied", "behind", "seen", "same"];
            output::table(head, rows);
        }
    }
    let bad = nodes.iter().any(|node| node.same == Some(false));
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

fn leave(data_dir: &std::path::Path, yes: bool) -> Result<Exit, Failure> {
    let shown = data_dir.display();
    let standing = follower::look(data_dir)?;
    let Some(standing) = standing else {
        return Err(Failure::usage(format!("{shown} holds no data of a server")));
    };
    if standing.log.is_none() {
        return Err(Failure::usage(format!("{shown} is of no fleet of several nodes")));
    }
    if !yes {
        return Err(Failure::usage(format!(
            "{shown} would be taken out of its fleet at entry {}: what the fleet has done or does after that is not in it; say --yes to do so",
            standing.position.number
        )));
    }
    follower::set_log(data_dir, None)?;
    note!("took {shown} out of its fleet; it runs alone now, or founds another one with an empty database");
    Ok(Exit::Done)
}

/// What `join` takes.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// A backup of the fleet
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The folder to put it into, which must hold no database yet
    #[arg(long, value_name = "DIR", default_value = "./panelsync-data")]
    data_dir: PathBuf,
}

/// Prepares a folder for a node from a backup of its fleet.
pub fn join(args: &JoinArgs) -> Result<Exit, Failure> {
    let contents = backup::restore(&args.from, &args.data_dir)?;
    let shown = args.data_dir.display();
    let standing = follower::look(&args.data_dir)?;
    let Some(log) = standing.and_then(|standing| Some((standing.log?, standing.position.number))) else {
        let _ = std::fs::remove_file(args.data_dir.join(crate::store::FILE_NAME));
        return Err(Failure::usage(format!(
            "{} is a backup of a server that ran alone; `panelsync restore` puts it back",
            args.from.display()
        )));
    };
    note!(
        "put {} into {shown}, as of entry {} of the log; start the node with `panelsync serve --cluster … --data-dir {shown}`, \
         which applies the rest, or copies everything where the log does not reach back so far",
        super::backup::said(contents),
        log.1
    );
    Ok(Exit::Done)
}
