//! What lies in a data folder is for the eyes of the user that the server runs as: the folder is made with mode 0700, and
//! its files with 0600. Files that are open to others are closed to them at the start. So is the folder, where it
//! holds nothing but ours; where it holds other things it may have been meant for others too, and is only told of.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::FILE_NAME;
use super::backup;
use super::seal::KEY_FILE;

/// Makes a folder, with those above it, for its owner alone, where there is none.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Opens a file for writing that its owner alone can read, and makes it where it is not there.
pub fn file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    close_to_others(path, 0o600)?;
    Ok(file)
}

/// Closes a data folder and its files to others.
pub fn close_folder(folder: &Path) -> io::Result<()> {
    let mut only_ours = true;
    let is_new = !folder.join(FILE_NAME).exists();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(FILE_NAME) || name.starts_with(KEY_FILE) {
            log_closed(&entry.path(), close_to_others(&entry.path(), 0o600)?);
        } else if !backup::is_copy(&entry.path()) {
            only_ours = false;
        }
    }
    if only_ours {
        let closed = close_to_others(folder, 0o700)?;
        log_closed(folder, closed && !is_new);
    } else if is_open_to_others(folder) {
        tracing::warn!(folder = %folder.display(), "others can read the data folder, and it is left so since it holds other things too; chmod 700 it");
    }
    Ok(())
}

fn log_closed(path: &Path, closed: bool) {
    if closed {
        tracing::warn!(path = %path.display(), "others could read it until now");
    }
}

/// Whether others may read it, or look into it.
#[cfg(unix)]
pub fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

/// Whether others may read it, or look into it.
#[cfg(not(unix))]
pub fn is_open_to_others(_: &Path) -> bool {
    false
}

/// Says whether that had to be done, and was.
#[cfg(unix)]
fn close_to_others(path: &Path, mode: u32) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    if !is_open_to_others(path) {
        return Ok(false);
    }
    match std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
        // Of another user, who lets this one write: it is theirs to close.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(path = %path.display(), "others can read it, and it belongs to another user; chmod it");
            Ok(false)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}

#[cfg(not(unix))]
fn close_to_others(_: &Path, _: u32) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_that_holds_other_things_stays_as_it_is_and_our_files_in_it_do_not() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("data");
        make_folder(&folder).expect("made");
        assert_eq!(mode(&folder), 0o700);
        let database = folder.join(FILE_NAME);
        drop(file(&database).expect("made"));
        assert_eq!(mode(&database), 0o600);
        let open =
            |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        open(&database, 0o644);
        open(&folder, 0o755);
        std::fs::write(folder.join("notes"), "").expect("written");
        close_folder(&folder).expect("closed");
        assert_eq!((mode(&database), mode(&folder)), (0o600, 0o755));
        std::fs::remove_file(folder.join("notes")).expect("removed");
        close_folder(&folder).expect("closed");
        assert_eq!(mode(&folder), 0o700);
    }
}
