//! The format's version and the way from older ones.
//!
//! A migration is a function from one version to the next with a description; all that are needed run in one
//! transaction, so a crash leaves the old format or the new one. `tests/data/` keeps a file of every older format.

use redb::{Database, ReadableTable, WriteTransaction};

use super::tables::{META, Memory, OUTCOMES, Tables};
use super::{StoreError, row};

/// The format that this version writes.
pub const FORMAT: u32 = 2;

/// One step: from the version of its place in [`MIGRATIONS`] (counted from 1) to the next.
struct Migration {
    what: &'static str,
    run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// Entry 0 leads from format 1 to format 2.
const MIGRATIONS: &[Migration] = &[Migration {
    what: "outcomes carry a device's own words; tables for remote panels",
    run: words_in_outcomes,
}];

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
