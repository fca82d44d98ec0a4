//! The format's version and the way from older ones.
//!
//! A migration is a function from one version to the next with a description; all that are needed run in one
//! transaction, so a crash leaves the old format or the new one. `tests/data/` keeps a file of every
//! older format that was ever in use.

use std::sync::Arc;

use redb::{
    AccessGuard, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableHandle, WriteTransaction,
};

use super::changes::sealing;
use super::memory::Memory;
use super::pack;
use super::records::IdempotencyKey;
use super::row::{self, Head, OutcomeKey, Reported, Row, RowBytes, RowKey, RowName};
use super::seal::Seal;
use super::tables::{self, KEY_CHECK, META, OUTCOMES, PACKS, PANEL_NAMES, PANEL_SETTINGS, SECRETS, Tables};
use super::{PanelNo, StoreError};
use crate::batch::BatchRecord;
use crate::batch::item::{ItemId, Kind};

/// The format that this version writes.
pub const FORMAT: u32 = 10;

/// One step, for all formats from the first that needs it to before the one that it leads to.
struct Migration {
    from: u32,
    to: u32,
    what: &'static str,
    run: fn(&WriteTransaction, &Arc<Seal>) -> Result<(), StoreError>,
}

/// In the order in which they run: later ones read packs as they are today. A step that a later one would undo is not kept:
/// formats 2 and 3 differ in how rows are kept, and the step to format 4 reads both.
const MIGRATIONS: &[Migration] = &[
    Migration {
        from: 1,
        to: 2,
        what: "outcomes carry a device's own words; tables for remote panels",
        run: words_in_outcomes,
    },
    Migration {
        from: 1,
        to: 4,
        what: "a panel's rows and its head are packed; equal outcomes of neighbours are one row",
        run: packed,
    },
    Migration { from: 4, to: 9, what: "heads count items by their kinds", run: counts_by_kind },
    Migration { from: 1, to: 5, what: "passwords of devices are sealed", run: sealed },
    Migration {
        from: 1,
        to: 6,
        what: "idempotency keys are kept by time; panels are found by their ids",
        run: keys_and_ids,
    },
    Migration {
        from: 1,
        to: 6,
        what: "the audit counts sessions by themselves; tokens are found by their ends",
        run: sessions_apart,
    },
    Migration {
        from: 4, // the step to format 4 writes outcomes as they are today
        to: 7,
        what: "what was pruned has a kind",
        run: kinds_in_outcomes,
    },
    Migration {
        from: 1,
        to: 7,
        what: "what is known of items on devices is kept by their kinds and counted; what waits for a device is found by itself",
        run: kinds_and_pending,
    },
    Migration {
        from: 1,
        to: 10,
        what: "tables for settings and logs of embedded panels, for identifiers, for alerts, and for what stood before batches",
        run: more_tables,
    },
    Migration { from: 1, to: 10, what: "what batches change is kept from now on", run: history_begins },
];

/// Tables are made when they are opened.
fn more_tables(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    Tables::open(transaction, &mut Memory::new(Arc::clone(seal))).map(|_| ())
}

/// What stood before older batches was not kept.
fn history_begins(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    let mut memory = Memory::new(Arc::clone(seal));
    let mut tables = Tables::open(transaction, &mut memory)?;
    let now_ms = tables.at_ms();
    tables.changes_are_kept_since(now_ms)
}

/// Gives the fleet its number, where it has none.
fn number_fleet(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    if meta.get("fleet")?.is_none() {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|_| StoreError::Corrupt("random bytes"))?;
        meta.insert("fleet", u64::from(u32::from_be_bytes(random)))?;
    }
    Ok(())
}

/// What is known of devices, as formats 2 to 6 have it: by panel (4) and link_id (16).
const REPORTED_6: TableDefinition<'_, &[u8; 20], &[u8]> = TableDefinition::new("reported_6");

/// Gives a table of an older format another name, so that the one with its name of today can be made, which all steps
/// open. The last step reads it.
fn set_aside(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let reported = TableDefinition::<&[u8; 20], &[u8]>::new("reported");
    if transaction.list_tables()?.any(|table| table.name() == reported.name()) {
        transaction.rename_table(reported, REPORTED_6)?;
    }
    Ok(())
}

fn kinds_and_pending(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    let mut memory = Memory::new(Arc::clone(seal));
    let mut tables = Tables::open(transaction, &mut memory)?;
    tables.counts.clear()?;
    {
        let before = transaction.open_table(REPORTED_6)?;
        let mut entries = before.iter()?.peekable();
        while let Some(Ok((key, _))) = entries.peek() {
            let panel = row::be_u32(&key.value()[..4]);
            let mut rows = tables.panel(panel);
            let of_panel = |entry: &Result<(AccessGuard<'_, &[u8; 20]>, _), _>| {
                entry.as_ref().is_ok_and(|(key, _)| row::be_u32(&key.value()[..4]) == panel)
            };
            while let Some(entry) = entries.next_if(of_panel) {
                let (key, reported) = entry?;
                let item = ItemId::profile(row::link_id(&key.value()[4..]));
                rows.set_reported(item, Some(&Reported::decode(reported.value())?))?;
            }
            rows.finish()?;
        }
        if let Some(Err(error)) = entries.next() {
            return Err(error.into());
        }
    }
    tables.finish()?;
    drop(tables);
    transaction.delete_table(REPORTED_6)?;
    Ok(())
}

fn counts_by_kind(transaction: &WriteTransaction, _: &Arc<Seal>) -> Result<(), StoreError> {
    let mut packs = transaction.open_table(PACKS)?;
    let mut keys = Vec::new();
    for entry in packs.iter()? {
        keys.push(*entry?.0.value());
    }
    for key in keys {
        let now = packs.get(&key)?.map(|before| pack::from_format_8(before.value())).transpose()?;
        if let Some(now) = now {
            packs.insert(&key, now.as_slice())?;
        }
    }
    Ok(())
}

fn kinds_in_outcomes(transaction: &WriteTransaction, _: &Arc<Seal>) -> Result<(), StoreError> {
    let mut outcomes = transaction.open_table(OUTCOMES)?;
    let mut changed = Vec::new();
    for entry in outcomes.iter()? {
        let (key, value) = entry?;
        let (panels, before) = row::split_outcome(value.value())?;
        let now = row::outcome_from_format_6(before).ok_or(StoreError::Corrupt("outcome"))?;
        if now != before {
            changed.push((*key.value(), row::join_outcome(panels, &now)));
        }
    }
    for (key, outcome) in changed {
        outcomes.insert(&key, outcome.as_slice())?;
    }
    Ok(())
}

fn sessions_apart(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    let mut memory = Memory::new(Arc::clone(seal));
    Tables::open(transaction, &mut memory)?.set_sessions_apart()
}

/// Passwords as formats 2 to 4 have them: their MD5 hex.
const CREDENTIALS: TableDefinition<'_, PanelNo, &str> = TableDefinition::new("credentials");

fn sealed(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    let mut memory = Memory::new(Arc::clone(seal));
    let mut tables = Tables::open(transaction, &mut memory)?;
    for entry in transaction.open_table(CREDENTIALS)?.iter()? {
        let (panel, password) = entry?;
        tables.set_credential(panel.value(), password.value())?;
    }
    drop(tables);
    transaction.delete_table(CREDENTIALS)?;
    Ok(())
}

/// Keys as formats 1 to 5 have them: the body's digest (32) and the batch's number (8).
const IDEMPOTENCY: TableDefinition<'_, &str, &[u8; 40]> = TableDefinition::new("idempotency");

fn keys_and_ids(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    let mut memory = Memory::new(Arc::clone(seal));
    let mut tables = Tables::open(transaction, &mut memory)?;
    for entry in transaction.open_table(IDEMPOTENCY)?.iter()? {
        let (name, value) = entry?;
        let value = value.value();
        let mut digest = [0; 32];
        digest.copy_from_slice(&value[..32]);
        if let Some(BatchRecord { id: batch, created_at_ms: at_ms, .. }) =
            tables.batch(row::be_u64(&value[32..]))?
        {
            tables.add_key(name.value(), &IdempotencyKey { digest, batch, at_ms }, 0)?;
        }
    }
    tables.index_panel_ids()?;
    drop(tables);
    transaction.delete_table(IDEMPOTENCY)?;
    Ok(())
}

/// A row by itself, as formats 1 and 2 have it.
const ROWS: TableDefinition<'_, &RowKey, &RowBytes> = TableDefinition::new("rows");

/// Format 3's packs: flags (1), then the entries as they are today.
const PACKS_3: TableDefinition<'_, &RowKey, &[u8]> = TableDefinition::new("packs_3");

/// Heads, as formats 1 to 3 have them.
const HEADS: TableDefinition<'_, PanelNo, &[u8; 8]> = TableDefinition::new("heads");

/// Outcomes, as formats 2 and 3 have them: a row a panel.
const OUTCOMES_3: TableDefinition<'_, &OutcomeKey, &[u8]> = TableDefinition::new("outcomes_3");

fn packed(transaction: &WriteTransaction, seal: &Arc<Seal>) -> Result<(), StoreError> {
    drop((transaction.open_table(PACKS)?, transaction.open_table(OUTCOMES)?)); // perhaps made just now
    transaction.rename_table(PACKS, PACKS_3)?;
    transaction.rename_table(OUTCOMES, OUTCOMES_3)?;
    let mut memory = Memory::new(Arc::clone(seal));
    let mut tables = Tables::open(transaction, &mut memory)?;
    for entry in transaction.open_table(ROWS)?.iter()? {
        let (key, value) = entry?;
        let (panel, name) = row::row_name(key.value())?;
        set_row(&mut tables, panel, name, Row::decode(value.value()))?;
    }
    for entry in transaction.open_table(PACKS_3)?.iter()? {
        let (key, value) = entry?;
        let (entries, rest) = value.value().get(1..).unwrap_or_default().as_chunks::<33>();
        if !rest.is_empty() {
            return Err(StoreError::Corrupt("pack"));
        }
        for entry in entries {
            let mut name = *key.value();
            name[4..].copy_from_slice(&entry[..17]);
            let mut row = [0; 16];
            row.copy_from_slice(&entry[17..]);
            let (panel, name) = row::row_name(&name)?;
            set_row(&mut tables, panel, name, Row::decode(&row))?;
        }
    }
    for entry in transaction.open_table(HEADS)?.iter()? {
        let (panel, head) = entry?;
        let mut rows = tables.panel(panel.value());
        let head = head.value();
        let mut counts = Head::default().counts;
        counts[Kind::Profile as usize] = row::be_u32(&head[4..]);
        rows.set_head(Head { next_uid: row::be_u32(&head[..4]), counts })?;
        rows.finish()?;
    }
    for entry in transaction.open_table(OUTCOMES_3)?.iter()? {
        let (key, value) = entry?;
        let seq = row::be_u64(&key.value()[..8]);
        let now = row::outcome_from_format_6(value.value()).ok_or(StoreError::Corrupt("outcome"))?;
        tables.set_outcome(seq, row::outcome_panel(key.value()), &row::decode_outcome(&now)?)?;
    }
    tables.finish()?;
    drop(tables);
    transaction.delete_table(ROWS)?;
    transaction.delete_table(PACKS_3)?;
    transaction.delete_table(HEADS)?;
    transaction.delete_table(OUTCOMES_3)?;
    Ok(())
}

fn set_row(tables: &mut Tables<'_>, panel: PanelNo, name: RowName, row: Row) -> Result<(), StoreError> {
    let mut rows = tables.panel(panel);
    rows.set(name, row)?;
    rows.finish()
}

fn words_in_outcomes(transaction: &WriteTransaction, _: &Arc<Seal>) -> Result<(), StoreError> {
    let mut outcomes = transaction.open_table(OUTCOMES)?;
    let mut changed = Vec::new();
    for entry in outcomes.iter()? {
        let (key, value) = entry?;
        let now = row::outcome_from_format_1(value.value()).ok_or(StoreError::Corrupt("outcome"))?;
        changed.push((*key.value(), now));
    }
    for (key, value) in changed {
        outcomes.insert(&key, value.as_slice())?;
    }
    Ok(())
}

/// What [`run`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Migrated {
    /// The database has the current format now.
    Current,
    /// A later version wrote this format; nothing was touched.
    Newer(u32),
    /// What is secret was sealed with another key; nothing was touched.
    WrongKey,
}

/// Brings the database to [`FORMAT`]; an empty one is given all its tables.
pub fn run(db: &Database, seal: &Arc<Seal>) -> Result<Migrated, StoreError> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    let found = transaction.open_table(META)?.get("format")?.map(|format| format.value());
    let found = match found {
        Some(found) => u32::try_from(found).unwrap_or(u32::MAX),
        None => FORMAT,
    };
    if found > FORMAT {
        transaction.abort()?;
        return Ok(Migrated::Newer(found));
    }
    if found < 7 {
        set_aside(&transaction)?;
    }
    for Migration { to, what, run, .. } in
        MIGRATIONS.iter().filter(|step| step.from <= found && found < step.to)
    {
        tracing::info!(from = found, to, "migrating the database: {what}");
        run(&transaction, seal)?;
    }
    if !Tables::open(&transaction, &mut Memory::new(Arc::clone(seal)))?.key_fits()? {
        transaction.abort()?;
        return Ok(Migrated::WrongKey);
    }
    number_fleet(&transaction)?;
    transaction.open_table(META)?.insert("format", u64::from(FORMAT))?;
    transaction.commit()?;
    Ok(Migrated::Current)
}

/// Whether anything is sealed, and with this key.
pub fn is_sealed_with(db: &Database, seal: &Seal) -> Result<bool, StoreError> {
    let read = db.begin_read()?;
    Ok(sealing::count_sealed(&read)? > 0 && sealing::is_sealed_with(&read, seal)?)
}

/// What was dropped because the key to it is lost.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// The ids of the panels that had a password for their devices.
    pub passwords: Vec<String>,
    /// The settings of embedded panels, how many.
    pub settings: u64,
    /// The identifiers, how many over all panels.
    pub identifiers: u64,
    /// The events of doors.
    pub events: u64,
    /// The alerts that are webhooks.
    pub alerts: u64,
}

/// Drops all that is sealed, and with it what the key is known by. Formats that seal nothing have nothing to drop.
pub fn forget_passwords(db: &Database) -> Result<Forgotten, StoreError> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    let found = transaction.open_table(META)?.get("format")?.map_or(0, |format| format.value());
    if found > u64::from(FORMAT) {
        transaction.abort()?;
        return Ok(Forgotten::default()); // opening it says so
    }
    let mut panels = Vec::new();
    {
        let names = transaction.open_table(PANEL_NAMES)?;
        let mut secrets = transaction.open_table(SECRETS)?;
        for entry in secrets.extract_if(|_, _| true)? {
            let panel = entry?.0.value();
            if panel != KEY_CHECK {
                panels.push(
                    names.get(panel)?.map_or_else(|| panel.to_string(), |name| name.value().to_owned()),
                );
            }
        }
    }
    let mut kept = transaction.open_table(PANEL_SETTINGS)?;
    let settings = kept.len()?;
    kept.retain(|_, _| false)?;
    drop(kept);
    let events = forget_events(&transaction)?;
    let (mut identifiers, mut alerts) = (0, 0);
    // Since format 9 nothing of identifiers is kept otherwise than today.
    if found >= 9 {
        let mut memory = Memory::new(Arc::new(Seal::new([0; 32]))); // nothing is sealed with it
        let mut tables = Tables::open(&transaction, &mut memory)?;
        identifiers = tables.forget_identifiers()?;
        alerts = tables.forget_webhooks()?;
    }
    transaction.commit()?;
    Ok(Forgotten { passwords: panels, settings, identifiers, events, alerts })
}

/// What was sealed of events cannot be read any more. Gives how many there were.
fn forget_events(transaction: &redb::WriteTransaction) -> Result<u64, StoreError> {
    let events = transaction.open_table(tables::ACCESS_EVENTS)?.len()?;
    transaction.delete_table(tables::ACCESS_EVENTS)?;
    transaction.delete_table(tables::ACCESS_EVENT_TIMES)?;
    transaction.delete_table(tables::ACCESS_EVENTS_BY_PANEL)?;
    transaction.delete_table(tables::ACCESS_EVENTS_BY_IDENTIFIER)?;
    transaction.delete_table(tables::ACCESS_EVENT_TAGS)?;
    transaction.delete_table(tables::ACCESS_EVENT_COUNTS)?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{ItemOutcome, Outcome};
    use crate::profile::LinkId;

    #[test]
    fn a_newer_format_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::create(folder.path().join("db")).expect("a database");
        let seal = Arc::new(Seal::new([1; 32]));
        assert_eq!(run(&db, &seal).expect("made"), Migrated::Current);
        let write = db.begin_write().expect("a transaction");
        write.open_table(META).expect("a table").insert("format", u64::from(FORMAT) + 1).expect("written");
        write.commit().expect("committed");
        assert_eq!(run(&db, &seal).expect("read"), Migrated::Newer(FORMAT + 1));
    }

    #[test]
    fn what_was_pruned_before_there_were_kinds_are_profiles() {
        let pruned = vec![ItemId::profile(LinkId::from_bytes([7; 16]))];
        let outcome = Outcome::decided(vec![ItemOutcome::Created], pruned, Vec::new(), 1);
        let now = row::encode_outcome(&outcome);
        let (head, item) = now.split_at(3 + 4 + 1 + 4);
        let before = [head, &item[1..]].concat();
        let shared = row::join_outcome(1, &before);
        for (format, stored) in [(2, &before), (3, &before), (4, &shared), (5, &shared), (6, &shared)] {
            let folder = tempfile::tempdir().expect("a folder");
            let db = Database::create(folder.path().join("db")).expect("a database");
            let write = db.begin_write().expect("a transaction");
            write.open_table(META).expect("a table").insert("format", format).expect("written");
            let mut outcomes = write.open_table(OUTCOMES).expect("a table");
            outcomes.insert(&row::outcome_key(5, 9), stored.as_slice()).expect("written");
            drop(outcomes);
            write.commit().expect("committed");
            let seal = Arc::new(Seal::new([1; 32]));
            assert_eq!(run(&db, &seal).expect("brought up to date"), Migrated::Current);
            let write = db.begin_write().expect("a transaction");
            let mut memory = Memory::new(seal);
            let mut tables = Tables::open(&write, &mut memory).expect("opened");
            assert_eq!(tables.outcome(5, 9).expect("readable"), Some(outcome.clone()), "format {format}");
        }
    }

    #[test]
    fn another_key_is_taken_only_where_nothing_is_sealed() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::create(folder.path().join("db")).expect("a database");
        let [one, other, third] = [1, 2, 3].map(|key| Arc::new(Seal::new([key; 32])));
        for key in [&one, &other] {
            assert_eq!(run(&db, key).expect("nothing is sealed"), Migrated::Current);
        }
        let write = db.begin_write().expect("a transaction");
        let mut memory = Memory::new(Arc::clone(&other));
        Tables::open(&write, &mut memory)
            .and_then(|mut tables| tables.set_credential(1, "md5"))
            .expect("sealed");
        write.commit().expect("committed");
        assert_eq!(run(&db, &third).expect("read"), Migrated::WrongKey);
        assert_eq!(run(&db, &other).expect("read"), Migrated::Current);
    }

    #[test]
    fn the_steps_lead_to_the_current_format() {
        assert_eq!(MIGRATIONS.iter().map(|step| step.to).max(), Some(FORMAT));
        assert!(MIGRATIONS.iter().all(|step| step.from < step.to));
    }
}
