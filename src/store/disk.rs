//! The database's file: how long its syncs take, and whether it is still the one that was opened.

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

/// How long all syncs of a file have taken together. Cheap to clone; every clone counts into the same sum.
#[derive(Debug, Clone, Default)]
pub struct SyncTime(Arc<AtomicU64>);

impl SyncTime {
    /// The sum by now.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, took: Duration) {
        self.0.fetch_add(took.as_nanos() as u64, Ordering::Relaxed); // 584 years
    }
}

/// A place for the database whose syncs are timed; everything else goes straight to the place itself.
#[derive(Debug)]
pub struct Timed<B> {
    place: B,
    time: SyncTime,
}

impl<B: StorageBackend> Timed<B> {
    /// Counts this place's syncs into the sum.
    pub fn new(place: B, time: SyncTime) -> Self {
        Self { place, time }
    }
}

impl<B: StorageBackend> StorageBackend for Timed<B> {
    fn len(&self) -> Result<u64, io::Error> {
        self.place.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.place.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.place.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let began = Instant::now();
        let result = self.place.sync_data();
        self.time.add(began.elapsed());
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.place.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.place.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.place.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.place.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.place.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.place.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.place.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.place.query_lock_range(start, end)
    }
}

/// Opens the database in this file, and makes it where there is none, if that is wanted.
pub(super) fn open_file(path: &Path, make: bool, time: &SyncTime) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).create(make).truncate(false).open(path);
    let file = file.map_err(|error| DatabaseError::Storage(error.into()))?;
    Builder::new().create_with_backend(Timed::new(FileBackend::new(file)?, time.clone()))
}

/// A file by its path and by what it is, so that another one at the same path, or none, is noticed.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    is: Option<(u64, u64)>,
}

impl Identity {
    /// The file that stands at this path now.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.into(), is: identity(path).ok() }
    }

    /// Whether that file still stands there. Where files have no identity, always.
    pub(super) fn stands(&self) -> bool {
        self.is.is_none() || identity(&self.path).ok() == self.is
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> io::Result<(u64, u64)> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_removed_or_replaced_is_noticed_and_one_that_is_back_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, aside) = (folder.path().join("db"), folder.path().join("aside"));
        std::fs::write(&path, "one").expect("written");
        let identity = Identity::of(&path);
        assert!(identity.stands());
        std::fs::rename(&path, &aside).expect("moved");
        assert!(!identity.stands(), "none stands there");
        std::fs::write(&path, "one").expect("written");
        assert!(!identity.stands(), "another one stands there");
        std::fs::rename(&aside, &path).expect("moved back");
        assert!(identity.stands());
    }
}
