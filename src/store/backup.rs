//! A copy of the store: made from one snapshot while the writer goes on, and looked at before it is trusted.
//!
//! What is secret stays sealed in it: a copy is of use with the key that the store had.

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTableMetadata};

use super::changes::sealing::{count_sealed, is_sealed_with};
use super::migrate::FORMAT;
use super::read::Snapshot;
use super::seal::Seal;
use super::tables::{self, META};
use super::{FILE_NAME, StoreError, damage, private};

/// How the names of folders begin in which copies are made, beside the store.
pub const COPY_FOLDER: &str = "backup-";

/// The copy's name in such a folder.
pub const COPY_NAME: &str = "copy";

/// Why a copy was not made, or is not good.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is there already.
    #[error("{0} is there already; choose another name, or move it away")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{0} cannot be used: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// It is no database, or a broken one.
    #[error("{0} is no whole database: {1}")]
    Broken(PathBuf, #[source] Box<redb::Error>),
    /// It is cut, or was not closed.
    #[error("{0} is not whole: it is cut, or its server did not close it")]
    NotClosed(PathBuf),
    /// Written by a later version.
    #[error("{path} has format {found}, and this version knows formats up to {FORMAT}")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The format found.
        found: u64,
    },
    /// The copy could not be written.
    #[error("the copy could not be written: {0}")]
    Store(#[from] StoreError),
}

/// What is in a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Its format.
    pub format: u64,
    /// How many panels it has.
    pub panels: u64,
    /// How many batches.
    pub batches: u64,
}

/// Writes all that the snapshot shows into a new database.
pub fn copy(snapshot: &Snapshot, to: &Path) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.into()));
    }
    private::file(to).map_err(|error| BackupError::File(to.into(), error))?;
    let db = Database::create(to).map_err(|error| broken(to, error))?;
    let from = snapshot.transaction();
    let mut into = db.begin_write().map_err(StoreError::from)?;
    into.set_quick_repair(true);
    tables::copy_all(from, &into)?;
    into.commit().map_err(StoreError::from)?;
    Ok(())
}

fn broken(path: &Path, error: DatabaseError) -> BackupError {
    if matches!(error, DatabaseError::RepairAborted) {
        return BackupError::NotClosed(path.into());
    }
    BackupError::Broken(path.into(), Box::new(error.into()))
}

/// Looks at a database file that nobody writes, and says what is in it.
pub fn look(path: &Path) -> Result<Contents, BackupError> {
    let file = std::fs::metadata(path).map_err(|error| BackupError::File(path.into(), error))?;
    if !file.is_file() {
        let error = std::io::Error::other("it is no file");
        return Err(BackupError::File(path.into(), error));
    }
    let db = damage::guarded(|| ReadOnlyDatabase::open(path))?.map_err(|error| broken(path, error))?;
    let contents = || -> Result<Contents, StoreError> {
        let read = db.begin_read()?;
        let format = read.open_table(META)?.get("format")?.map_or(0, |format| format.value());
        let panels = read.open_table(tables::PANELS)?.len()?;
        let batches = read.open_table(tables::BATCHES)?.len()?;
        Ok(Contents { format, panels, batches })
    };
    let contents = damage::guarded(contents)??;
    if contents.format > u64::from(FORMAT) {
        return Err(BackupError::Newer { path: path.into(), found: contents.format });
    }
    Ok(contents)
}

/// What the key is to what is sealed in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFound {
    /// All was sealed with it, or nothing is sealed.
    Fits,
    /// So many values were sealed with another one.
    Other(u64),
}

/// Looks whether the key, or without one any other, is the one that a database file is sealed with.
pub fn look_at_key(path: &Path, seal: Option<&Seal>) -> Result<KeyFound, BackupError> {
    let db = damage::guarded(|| ReadOnlyDatabase::open(path))?.map_err(|error| broken(path, error))?;
    let found = || -> Result<KeyFound, StoreError> {
        let read = db.begin_read()?;
        let sealed = count_sealed(&read)?;
        let fits = sealed == 0
            || match seal {
                Some(seal) => is_sealed_with(&read, seal)?,
                None => false,
            };
        Ok(if fits { KeyFound::Fits } else { KeyFound::Other(sealed) })
    };
    Ok(damage::guarded(found)??)
}

/// Whether this is a folder in which a copy was made, with nothing else in it.
pub fn is_copy(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(COPY_FOLDER))
        && std::fs::read_dir(path).is_ok_and(|entries| {
            entries.flatten().all(|entry| entry.file_name().as_encoded_bytes() == COPY_NAME.as_bytes())
        })
}

/// Removes copies whose backup was interrupted with the server that made them. Whoever calls has the folder's database open,
/// so that no other server makes one there.
pub fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_copy(path)) {
        match std::fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "removed the copy of an interrupted backup"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the copy of an interrupted backup stays");
            }
        }
    }
}

/// Puts a copy into a folder that holds no database, checked from its first page to its last.
pub fn restore(file: &Path, folder: &Path) -> Result<Contents, BackupError> {
    let place = folder.join(FILE_NAME);
    if place.exists() {
        return Err(BackupError::Exists(place));
    }
    let contents = look(file)?;
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |error| BackupError::File(path, error)
    };
    private::make_folder(folder).map_err(unusable(folder))?;
    let partial = folder.join(format!("{FILE_NAME}.partial"));
    let copied = private::file(&partial).and_then(|mut to| {
        to.set_len(0)?; // of an attempt that was interrupted
        std::io::copy(&mut std::fs::File::open(file)?, &mut to)
    });
    copied.map_err(unusable(&partial))?;
    let whole = damage::guarded(|| Database::open(&partial).and_then(|mut copied| copied.check_integrity()))?;
    let whole = whole.map_err(|error| broken(file, error))?;
    if !whole {
        let error = StoreError::Corrupt("page");
        let _ = std::fs::remove_file(&partial); // what is left of it is said in the error
        return Err(error.into());
    }
    let synced = std::fs::File::open(&partial).and_then(|file| file.sync_all());
    synced.map_err(unusable(&partial))?;
    std::fs::rename(&partial, &place).map_err(unusable(&place))?;
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(unusable(folder))?;
    Ok(contents)
}
