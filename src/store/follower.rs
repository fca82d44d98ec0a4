//! The store of a node that follows: it puts what the leader has put, entry by entry, and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase};
use uuid::Uuid;

use super::disk::{self, Syncs};
use super::entry::EntryTag;
use super::memory::Memory;
use super::read::Snapshot;
use super::seal::Seal;
use super::shipped::{Changes, Position};
use super::tables::{self, META, Tables};
use super::{FILE_NAME, OpenError, StoreError, damage, not_opened};

/// The open database of a node that follows. It is closed when this is dropped.
pub struct Follower {
    db: Database,
    seal: Arc<Seal>,
    position: Position,
    path: PathBuf,
}

impl Follower {
    /// Opens the folder's database, which is there and has this version's format.
    pub fn open(folder: &Path, seal: Arc<Seal>) -> Result<Self, OpenError> {
        let unreadable = |error| OpenError::Store(folder.into(), error);
        let db = open(folder)?;
        let position = damage::guarded(|| position(&db)).and_then(|read| read).map_err(unreadable)?;
        Ok(Self { db, seal, position, path: folder.into() })
    }

    /// The last entry that is applied.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What stands in it, to be looked at.
    pub fn snapshot(&self) -> Result<Snapshot, OpenError> {
        damage::guarded(|| Snapshot::new(&self.db, &self.seal))
            .and_then(|snapshot| snapshot)
            .map_err(|error| OpenError::Store(self.path.clone(), error))
    }

    /// Applies the next entries, each with its tag, in one transaction. After an error it is to be opened again.
    pub fn apply(&mut self, entries: &[(Changes, EntryTag)]) -> Result<Position, OpenError> {
        let Self { db, seal, position, path } = self;
        let put =
            damage::guarded(|| put(db, &mut Memory::new(Arc::clone(seal)), entries)).and_then(|put| put);
        put.map_err(|error| OpenError::Store(path.clone(), error))?;
        if let Some((_, tag)) = entries.last() {
            *position = Position { number: position.number + entries.len() as u64, tag: *tag };
        }
        Ok(*position)
    }
}

fn open(folder: &Path) -> Result<Database, OpenError> {
    let file = folder.join(FILE_NAME);
    let opened = damage::guarded(|| disk::open_file(&file, false, &Syncs::default()));
    let opened = opened.map_err(|error| OpenError::Store(folder.into(), error))?;
    opened.map_err(|error| not_opened(folder, error))
}

/// The last entry that is applied.
pub(super) fn position(db: &Database) -> Result<Position, StoreError> {
    tables::position_in(&db.begin_read()?.open_table(META)?)
}

/// The id of the log that a database is in, if it is in one.
pub(super) fn log_of(db: &Database) -> Result<Option<Uuid>, StoreError> {
    match db.begin_read()?.open_table(META) {
        Ok(meta) => tables::log_id_in(&meta),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None), // it was made just now
        Err(error) => Err(error.into()),
    }
}

/// Puts what the next entries have put.
pub(super) fn put(
    db: &Database,
    memory: &mut Memory,
    entries: &[(Changes, EntryTag)],
) -> Result<(), StoreError> {
    memory.noting = None;
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut tables = Tables::open(&transaction, memory)?;
        for (changes, tag) in entries {
            tables.follow(changes)?;
            tables.keep_position(*tag)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What a folder's database says of itself, without being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its format.
    pub format: u32,
    /// The id of the log that it is in, if it is in one.
    pub log: Option<Uuid>,
    /// What it has applied of it.
    pub position: Position,
}

/// What a folder's database says of itself; nothing where there is none. No server may use it.
pub fn look(folder: &Path) -> Result<Option<Standing>, OpenError> {
    let file = folder.join(FILE_NAME);
    if !file.exists() {
        return Ok(None);
    }
    let db = open(folder)?;
    let look = || -> Result<Option<Standing>, StoreError> {
        let read = db.begin_read()?;
        if read.list_tables()?.next().is_none() {
            return Ok(None); // it was made, and no more
        }
        let meta = read.open_table(META)?;
        let format = meta.get("format")?.map_or(0, |format| format.value()) as u32;
        let (log, position) = (tables::log_id_in(&meta)?, tables::position_in(&meta)?);
        Ok(Some(Standing { format, log, position }))
    };
    damage::guarded(look).and_then(|looked| looked).map_err(|error| OpenError::Store(folder.into(), error))
}

/// Puts a folder's fleet into a log, of which nothing is applied then, or takes it out of one. No server may use it.
pub fn set_log(folder: &Path, log: Option<Uuid>) -> Result<(), OpenError> {
    let unreadable = |error| OpenError::Store(folder.into(), error);
    let db = open(folder)?;
    let set = || -> Result<(), StoreError> {
        let mut memory = Memory::new(Arc::new(Seal::new([0; 32]))); // nothing is sealed here
        let mut transaction = db.begin_write()?;
        transaction.set_quick_repair(true);
        Tables::open(&transaction, &mut memory)?.set_log_id(log)?;
        transaction.commit()?;
        Ok(())
    };
    damage::guarded(set).and_then(|set| set).map_err(unreadable)
}
