//! What stands in the log's tables.

use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use super::LogError;
use crate::store::shipped::Position;

/// What the log says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRow {
    /// Its id.
    pub id: Uuid,
    /// What only the fleet's key opens.
    pub key_check: Vec<u8>,
    /// The format of its entries.
    pub format: u32,
    /// The entry of an earlier log that it begins after.
    pub base: Position,
}

/// Who leads, and its sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadRow {
    /// How often the lead has changed.
    pub reign: u64,
    /// Ascends within a reign.
    pub beat: u64,
    /// The leader's name; empty where it was released.
    pub node: String,
    /// Where it is.
    pub url: String,
}

/// A node, as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its version.
    pub version: String,
    /// The last entry that it has applied.
    pub applied: u64,
    /// How long it was not seen, by the database's clock.
    pub unseen: Duration,
    /// Whether its last entry is that of the log; nothing where the log does not have it any more.
    pub same: Option<bool>,
    /// Which run of it was seen last.
    pub run: Uuid,
}

impl NodeRow {
    /// Whether it has stopped in order, and nobody runs under its name.
    pub fn has_left(&self) -> bool {
        self.run.is_nil()
    }
}

/// A node that shows itself.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// This run of it.
    pub run: Uuid,
}

/// What a look at the log says.
#[derive(Debug, Clone)]
pub struct Look {
    /// Who leads.
    pub lead: LeadRow,
    /// All nodes.
    pub nodes: Vec<NodeRow>,
    /// The last entry of the log.
    pub last: u64,
    /// Whether this run of the node is still the one of its name.
    pub is_me: bool,
}

/// An entry as it stands in the log.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// Its number.
    pub number: u64,
    /// In which reign it was written.
    pub reign: u64,
    /// Its format.
    pub format: u32,
    /// What it changes, sealed.
    pub body: Vec<u8>,
}

pub(super) fn fleet_row(row: &Row) -> Result<FleetRow, LogError> {
    let tag: Vec<u8> = row.try_get(4)?;
    Ok(FleetRow {
        id: row.try_get(0)?,
        key_check: row.try_get(1)?,
        format: row.try_get::<_, i32>(2)? as u32,
        base: Position {
            number: number_in(row, 3)?,
            tag: tag.try_into().map_err(|_| LogError::Unreadable("tag"))?,
        },
    })
}

pub(super) fn number_in(row: &Row, column: usize) -> Result<u64, LogError> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| LogError::Unreadable("number"))
}

/// From the rows of a look: one a node, and the lead in each.
pub(super) fn look_of(rows: &[Row], me: &Me) -> Result<Look, LogError> {
    let first = rows.first().ok_or(LogError::Unreadable("lead"))?;
    let lead = LeadRow {
        reign: number_in(first, 0)?,
        beat: number_in(first, 1)?,
        node: first.try_get(2)?,
        url: first.try_get(3)?,
    };
    let last = number_in(first, 4)?;
    let mut nodes = Vec::new();
    for row in rows {
        let Some(name) = row.try_get::<_, Option<String>>(5)? else { continue };
        nodes.push(NodeRow {
            name,
            url: row.try_get(6)?,
            version: row.try_get(7)?,
            applied: number_in(row, 8)?,
            unseen: Duration::from_secs_f64(row.try_get::<_, f64>(9)?.clamp(0.0, 1e9)),
            same: row.try_get(10)?,
            run: row.try_get(11)?,
        });
    }
    let is_me = nodes.iter().any(|node| node.name == me.name && node.run == me.run);
    Ok(Look { lead, nodes, last, is_me })
}
