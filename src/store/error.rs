//! Why a store could not be opened, and why work on it did not happen.

use super::shipped::Refused;
use std::path::PathBuf;
use std::sync::Arc;

use super::seal::KeyError;

/// Why the folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {0} is in use by another server; stop that one or choose another --data-dir")]
    InUse(PathBuf),
    /// The folder or file cannot be made or read.
    #[error("the data folder {0} cannot be used: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// Written by a later version.
    #[error(
        "the data folder {path} has format {found}, and this version knows formats up to {known}; use the version that wrote it or a later one"
    )]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// It is of a fleet of several nodes, and is used without them.
    #[error(
        "the data folder {0} is of a fleet of several nodes: start it with --cluster, as the others are, or take it out of that fleet with `panelsync node leave --data-dir {0}`"
    )]
    OfSeveral(PathBuf),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The passwords in it were sealed with another key.
    #[error(
        "the passwords in {0} were sealed with another key; give that one with --key-file or PANELSYNC_KEY. If it is lost, drop them with `panelsync key rotate --forget-passwords --data-dir {0} --new-key-file FILE`"
    )]
    WrongKey(PathBuf),
    /// The key that lay beside the passwords is gone.
    #[error(
        "the key {0} is not there, or is none, and passwords in {1} are sealed with it; put it back, or give it with --key-file or PANELSYNC_KEY. If it is lost, drop them with `panelsync key rotate --forget-passwords --data-dir {1} --new-key-file FILE`"
    )]
    KeyLost(PathBuf, PathBuf),
    /// The key file that was named is gone, or holds none.
    #[error(
        "the key file {0} is not there, or holds no key; put it back. If it is lost, `panelsync key rotate --forget-passwords --data-dir {1} --new-key-file FILE` makes another one, and drops the passwords that were sealed"
    )]
    KeyMissing(PathBuf, PathBuf),
    /// redb's word.
    #[error("the database in {0} cannot be opened: {1}")]
    Database(PathBuf, #[source] Box<redb::Error>),
    /// The tables contradict their format.
    #[error("the database in {0} cannot be read: {1}")]
    Store(PathBuf, #[source] StoreError),
}

/// Why work on an open store did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// redb's word. After a failed commit the change is perhaps done; it is read back at the next start.
    #[error("the database failed: {0}")]
    Database(Arc<redb::Error>),
    /// A value that this program cannot have written.
    #[error("the database holds an unreadable {0}")]
    Corrupt(&'static str),
    /// The file is damaged.
    #[error(
        "the database is damaged; stop the server, look at it with `panelsync doctor --deep`, and restore the last backup"
    )]
    Damaged,
    /// Too much work is waiting; certainly not done.
    #[error("the store has too much work waiting; try again in a moment")]
    Busy,
    /// The store is shut; certainly not done.
    #[error("the store is shut down")]
    Closed,
    /// The disk is full; certainly not done.
    #[error("the server's disk is full; nothing was acknowledged. Make room there, and send it again")]
    NoRoom,
    /// The database's file is not where it was opened. Not done, unless it went at that very moment.
    #[error(
        "the database's file was removed or replaced under the running server, which acknowledges nothing any more; save what it still reads with `panelsync backup FILE`, stop it, and put the file back or restore that copy"
    )]
    Gone,
    /// The panel was removed; certainly not done.
    #[error("the panel was removed")]
    NoSuchPanel,
    /// The log of all nodes did not take the commit; perhaps it is there all the same.
    #[error("the log of all nodes did not take it: {0}")]
    Ledger(#[from] Refused),
    /// A commit has failed a moment ago, and the database is being opened again; certainly not done.
    #[error(
        "the database has failed and is being opened again; try again in a moment, and see that the disk is not full"
    )]
    Failed,
}

impl StoreError {
    /// Whether it is about something in the database that cannot be read, rather than about the disk: work that needs
    /// something else is not concerned.
    pub fn is_of_one_place(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Damaged => true,
            Self::Database(error) => matches!(**error, redb::Error::Corrupted(_)),
            _ => false,
        }
    }

    /// Whether the disk has no room for what was to be written.
    pub fn no_room(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            Self::NoRoom => true,
            Self::Database(error) => {
                matches!(&**error, redb::Error::Io(error) if matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull))
            }
            _ => false,
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                match redb::Error::from(error) {
                    // What had failed before was said then; the database is about to be opened again.
                    redb::Error::PreviousIo => Self::Failed,
                    error => Self::Database(Arc::new(error)),
                }
            }
        })+
    };
}
from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);
