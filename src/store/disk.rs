//! The database's file: what of it is on the disk, how long its syncs take, and whether it is still the one that was opened.

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

/// What is known of the syncs of a file, over all openings of it: how long they have taken together, and what was written
/// since the last that succeeded. Cheap to clone; every clone is of the same file.
#[derive(Debug, Clone, Default)]
pub struct Syncs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nanos: AtomicU64,
    /// Where something was written since the last sync that succeeded: from, and how many bytes.
    unsynced: Mutex<Vec<(u64, usize)>>,
}

impl Syncs {
    /// How long all of them have taken together by now.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed))
    }

    fn time<T>(&self, sync: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = sync();
        self.0.nanos.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed); // 584 years
        result
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<(u64, usize)>> {
        self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for the database of which nothing is read that a loss of power could take back.
///
/// What the system shows of a file is perhaps not on the disk: a process was killed before its sync, or a sync failed, after
/// which Linux takes what was not written for clean. The database would find a commit there, build the next one on it, and
/// overwrite the pages of the one before, which is all that the disk may have. So before the database looks, everything
/// that was written since the last sync that succeeded is written once more, and synced.
#[derive(Debug)]
pub struct Synced<B> {
    place: B,
    syncs: Syncs,
}

impl<B: StorageBackend> Synced<B> {
    /// Makes sure that what is there is on the disk. Its syncs count among these from now on.
    pub fn open(place: B, syncs: &Syncs) -> Result<Self, io::Error> {
        let mut unsynced = syncs.unsynced();
        let length = place.len()?;
        for &(from, bytes) in unsynced.iter() {
            let bytes = length.saturating_sub(from).min(bytes as u64) as usize;
            let mut written = vec![0; bytes];
            place.read(from, &mut written)?;
            place.write(from, &written)?;
        }
        syncs.time(|| place.sync_data())?;
        unsynced.clear();
        drop(unsynced);
        Ok(Self { place, syncs: syncs.clone() })
    }
}

impl<B: StorageBackend> StorageBackend for Synced<B> {
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
        // Only one thread writes, so nothing is written meanwhile.
        self.syncs.time(|| self.place.sync_data())?;
        self.syncs.unsynced().clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.syncs.unsynced().push((offset, data.len()));
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
pub(super) fn open_file(path: &Path, make: bool, syncs: &Syncs) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).create(make).truncate(false).open(path);
    let file = file.map_err(|error| DatabaseError::Storage(error.into()))?;
    let synced =
        Synced::open(FileBackend::new(file)?, syncs).map_err(|error| DatabaseError::Storage(error.into()))?;
    Builder::new().create_with_backend(synced)
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

    /// A disk with a cache before it. A sync that fails writes nothing, and leaves nothing to be written.
    #[derive(Debug, Default, Clone)]
    struct Cached(Arc<Mutex<Disk>>);

    #[derive(Debug, Default)]
    struct Disk {
        cache: Vec<u8>,
        kept: Vec<u8>,
        unwritten: Vec<(usize, Vec<u8>)>,
        failing: bool,
    }

    impl StorageBackend for Cached {
        fn len(&self) -> Result<u64, io::Error> {
            Ok(self.0.lock().expect("no panic").cache.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            let from = offset as usize;
            out.copy_from_slice(&self.0.lock().expect("no panic").cache[from..from + out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            let mut disk = self.0.lock().expect("no panic");
            disk.cache.resize(len as usize, 0);
            disk.kept.resize(len as usize, 0);
            Ok(())
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            let mut disk = self.0.lock().expect("no panic");
            let unwritten = std::mem::take(&mut disk.unwritten);
            if disk.failing {
                return Err(io::Error::other("the disk is gone"));
            }
            for (from, bytes) in unwritten {
                disk.kept[from..from + bytes.len()].copy_from_slice(&bytes);
            }
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            let mut disk = self.0.lock().expect("no panic");
            let from = offset as usize;
            disk.cache[from..from + data.len()].copy_from_slice(data);
            disk.unwritten.push((from, data.to_vec()));
            Ok(())
        }
    }

    #[test]
    fn what_is_read_after_a_failed_sync_is_on_the_disk() {
        let (cached, syncs) = (Cached::default(), Syncs::default());
        let set_failing = |failing| cached.0.lock().expect("no panic").failing = failing;
        cached.set_len(64).expect("long");
        let place = Synced::open(cached.clone(), &syncs).expect("it opens");
        place.write(3, b"old").expect("written");
        place.sync_data().expect("synced");
        place.write(3, b"new").expect("written");
        set_failing(true);
        place.sync_data().expect_err("it fails");
        set_failing(false);
        place.write(40, b"more").expect("written");
        assert_eq!(&cached.0.lock().expect("no panic").kept[3..6], b"old", "and would be so for ever");
        set_failing(true);
        Synced::open(cached.clone(), &syncs).expect_err("nothing is sure yet");
        set_failing(false);
        Synced::open(cached.clone(), &syncs).expect("it opens");
        let disk = cached.0.lock().expect("no panic");
        assert_eq!((&disk.kept[3..6], &disk.kept[40..44]), (&b"new"[..], &b"more"[..]));
        drop(disk);
        assert!(syncs.unsynced().is_empty());
    }

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
