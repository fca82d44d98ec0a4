//! What `doctor` says of several nodes: the log's database, whose log it is, and how this node stands to it.

use std::sync::Arc;
use std::time::Duration;

use super::Finding;
use crate::cluster::ledger::follows;
use crate::cluster::log::{Address, FleetRow, Log, LogError, Look, Me};
use crate::cluster::{ClusterSettings, away_after};
use crate::config::{KeySource, Settings};
use crate::panel::settings::Trust;
use crate::store::follower::{self, Standing};
use crate::store::migrate::FORMAT;

const LOG: &str = "log of all nodes";
const HISTORY: &str = "this node's history";
const NODES: &str = "nodes";

/// What was found; nothing without `--cluster`.
pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let Some(cluster) = &settings.cluster else { return Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(look(settings, cluster)),
        Err(error) => vec![Finding::wrong(LOG, error.to_string(), "look at the machine's limits")],
    }
}

async fn look(settings: &Settings, cluster: &ClusterSettings) -> Vec<Finding> {
    let trust = match cluster.ca_file.as_deref().map(Trust::from_file) {
        None => Trust::System,
        Some(Ok(trust)) => trust,
        Some(Err(why)) => {
            return vec![Finding::wrong(LOG, why, "give --cluster-ca-file a file with certificates")];
        }
    };
    let address = match Address::parse(&cluster.database.0, &trust, &cluster.node) {
        Ok(address) => Arc::new(address),
        Err(why) => {
            let advice = "give --cluster an address such as postgres://panelsync@db1/panelsync";
            return vec![Finding::wrong(LOG, why, advice)];
        }
    };
    let opened = match address.open().await {
        Ok(log) => log.fleet().await.map(|fleet| (log, fleet)),
        Err(error) => Err(error),
    };
    let (log, fleet) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let advice = "start PostgreSQL there, or put --cluster right; until then nothing is led";
            return vec![Finding::wrong(LOG, format!("{error} ({})", address.hosts()), advice)];
        }
    };
    let Some(fleet) = fleet else {
        return vec![Finding::ok(LOG, format!("none yet in {}; the first node founds it", address.hosts()))];
    };
    let mut found = vec![whose(settings, &fleet, &address)];
    found.extend(risks(&log, &address).await);
    found.push(history(settings, &log, &fleet).await.unwrap_or_else(|error| unanswered(HISTORY, &error)));
    let me = Me { name: cluster.node.clone(), url: cluster.advertise.clone(), run: uuid::Uuid::nil() };
    match log.peek(&me).await {
        Ok(look) => found.push(nodes(&look, cluster.ttl)),
        Err(error) => found.push(unanswered(NODES, &error)),
    }
    found
}

fn unanswered(check: &'static str, error: &LogError) -> Finding {
    Finding::wrong(check, error.to_string(), "look at PostgreSQL's own log")
}

fn whose(settings: &Settings, fleet: &FleetRow, address: &Address) -> Finding {
    let hosts = address.hosts();
    if fleet.format > FORMAT {
        let what = format!("format {}, and this version reads formats up to {FORMAT}", fleet.format);
        return Finding::wrong(LOG, what, "upgrade this node");
    }
    if matches!(settings.key, KeySource::DataFolder) {
        return Finding::wrong(
            LOG,
            format!("in {hosts}"),
            "nodes share a key: give all of them the same with --key-file",
        );
    }
    let opens = settings
        .key
        .seal(&settings.data_dir)
        .is_ok_and(|seal| seal.open_in("cluster", fleet.id.as_bytes(), &fleet.key_check).is_ok());
    if opens {
        Finding::ok(LOG, format!("fleet {} in {hosts}", fleet.id))
    } else {
        let what = format!("the fleet {} in {hosts} has another key", fleet.id);
        Finding::wrong(LOG, what, "give the fleet's key with --key-file or PANELSYNC_KEY")
    }
}

async fn risks(log: &Log, address: &Address) -> Vec<Finding> {
    const CHECK: &str = "log's database";
    let mut found = match log.risks().await {
        Ok(risks) => risks
            .into_iter()
            .map(|risk| {
                Finding::warning(
                    CHECK,
                    risk,
                    "see PostgreSQL's manual on write-ahead logging and replication",
                )
            })
            .collect(),
        Err(error) => vec![unanswered(CHECK, &error)],
    };
    if address.is_open() {
        let what = "its password travels in clear";
        found.push(Finding::warning(CHECK, what, "add sslmode=require to --cluster"));
    }
    found
}

/// How this folder stands to the log. While the node runs, it says so itself.
async fn history(settings: &Settings, log: &Log, fleet: &FleetRow) -> Result<Finding, LogError> {
    let folder = settings.data_dir.display();
    let standing = match follower::look(&settings.data_dir) {
        Ok(standing) => standing,
        Err(error) => {
            return Ok(Finding::ok(
                HISTORY,
                format!("not read, since it is in use or cannot be opened: {error}"),
            ));
        }
    };
    let Some(Standing { log: of, position, .. }) = standing else {
        return Ok(Finding::ok(HISTORY, "none yet; the next start copies everything from the leader"));
    };
    if of != Some(fleet.id) {
        let of = if of.is_some() { "another fleet" } else { "a server that has run alone" };
        return Ok(Finding::wrong(
            HISTORY,
            format!("{folder} is of {of}"),
            "start this node with an empty folder",
        ));
    }
    let (_, range) = log.tag_at(position.number).await?;
    let last = range.map_or(fleet.base.number, |(_, last)| last);
    if follows(log, position).await? {
        let what =
            format!("entry {}, {} behind the log", position.number, last.saturating_sub(position.number));
        return Ok(Finding::ok(HISTORY, what));
    }
    Ok(match range {
        Some((first, _)) if position.number + 1 < first => Finding::warning(
            HISTORY,
            format!("entry {}, and the log begins at {first}", position.number),
            "the next start copies everything from the leader",
        ),
        _ if position.number > last => Finding::wrong(
            HISTORY,
            format!("entry {}, and the log ends at {last}: its database has lost entries", position.number),
            "look at the other nodes and the database's backups first; to follow the log as it is, move this folder away",
        ),
        _ => Finding::wrong(
            HISTORY,
            format!("entry {} is another one than the log's", position.number),
            "look at the other nodes first; to follow the log, move this folder away",
        ),
    })
}

fn nodes(look: &Look, ttl: Duration) -> Finding {
    let away: Vec<_> = look
        .nodes
        .iter()
        .filter(|node| node.unseen > away_after(ttl))
        .map(|node| node.name.as_str())
        .collect();
    let other: Vec<_> =
        look.nodes.iter().filter(|node| node.same == Some(false)).map(|node| node.name.as_str()).collect();
    let what = match look.lead.node.as_str() {
        "" => "nobody leads".to_owned(),
        node => format!("{node} leads, in reign {}", look.lead.reign),
    };
    if !other.is_empty() {
        let what = format!("{what}; another history than the log's has {}", other.join(", "));
        return Finding::wrong(NODES, what, "stop these, and look at their logs");
    }
    if !away.is_empty() {
        let what = format!("{what}; not heard of: {}", away.join(", "));
        return Finding::warning(
            NODES,
            what,
            "start them, or `panelsync node rm` those that are gone for good",
        );
    }
    if look.nodes.len() == 1 {
        let advice = "start a second one: nobody takes over from one";
        return Finding::warning(NODES, format!("{what}; it is the only one"), advice);
    }
    Finding::ok(NODES, format!("{what}; {} in all", look.nodes.len()))
}
