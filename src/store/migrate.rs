//! The format's version and the way from older ones.
//!
//! A migration is a function from one version to the next with a description; all that are needed run in one
//! transaction, so a crash leaves the old format or the new one. `tests/data/` keeps a file of every older format.

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};

use super::row::{self, Row, RowBytes, RowKey, RowName};
use super::tables::{META, Memory, OUTCOMES, Tables};
use super::{PanelNo, StoreError};

/// The format that this version writes.
pub const FORMAT: u32 = 3;

/// One step: from the version of its place in [`MIGRATIONS`] (counted from 1) to the next.
struct Migration {
    what: &'static str,
    run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// Entry 0 leads from format 1 to format 2, and so on.
const MIGRATIONS: &[Migration] = &[
    Migration {
        what: "outcomes carry a device's own words; tables for remote panels",
        run: words_in_outcomes,
    },
    Migration { what: "a panel's rows are packed", run: packed_rows },
];

/// A row by itself, as formats 1 and 2 have it.
const ROWS: TableDefinition<'_, &RowKey, &RowBytes> = TableDefinition::new("rows");

fn packed_rows(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut memory = Memory::default();
    let mut tables = Tables::open(transaction, &mut memory)?;
    let rows = transaction.open_table(ROWS)?;
    let (mut panel, mut of_panel) = (0, Vec::new());
    for entry in rows.iter()? {
        let (key, value) = entry?;
        let (of, name) = row::row_name(key.value())?;
        if of != panel {
            pack_rows(&mut tables, panel, of_panel.drain(..))?;
            panel = of;
        }
        of_panel.push((name, Row::decode(value.value())));
    }
    pack_rows(&mut tables, panel, of_panel.drain(..))?;
    drop((tables, rows));
    transaction.delete_table(ROWS)?;
    Ok(())
}

fn pack_rows(
    tables: &mut Tables<'_>,
    panel: PanelNo,
    of_panel: impl Iterator<Item = (RowName, Row)>,
) -> Result<(), StoreError> {
    let mut packed = tables.panel(panel)?;
    for (name, row) in of_panel {
        packed.set(name, row)?;
    }
    packed.finish()
}

fn words_in_outcomes(transaction: &WriteTransaction) -> Result<(), StoreError> {
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
}

/// Brings the database to [`FORMAT`]; an empty one is given all its tables.
pub fn run(db: &Database) -> Result<Migrated, StoreError> {
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
    for (version, migration) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version < found) {
        tracing::info!(from = version, to = version + 1, "migrating the database: {}", migration.what);
        (migration.run)(&transaction)?;
    }
    drop(Tables::open(&transaction, &mut Memory::default())?);
    transaction.open_table(META)?.insert("format", u64::from(FORMAT))?;
    transaction.commit()?;
    Ok(Migrated::Current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::create(folder.path().join("db")).expect("a database");
        assert_eq!(run(&db).expect("made"), Migrated::Current);
        let write = db.begin_write().expect("a transaction");
        write.open_table(META).expect("a table").insert("format", 9).expect("written");
        write.commit().expect("committed");
        assert_eq!(run(&db).expect("read"), Migrated::Newer(9));
    }

    #[test]
    fn there_is_a_step_for_every_older_format() {
        assert_eq!(MIGRATIONS.len() as u32 + 1, FORMAT);
    }
}
