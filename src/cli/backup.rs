//! `panelsync backup`, `restore` and `key`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::client::Client;
use super::{Exit, Failure, output};
use crate::config::KeySource;
use crate::store::backup::{self, BackupError, Contents};
use crate::store::follower;
use crate::store::migrate::Forgotten;
use crate::store::seal::{KEY_FILE, Seal};
use crate::store::{self, OpenError, Store, private};
use crate::telemetry::Metrics;

/// What `backup` takes.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not be there yet
    file: PathBuf,
}

/// Writes a copy of all that the server holds.
pub fn backup(args: &BackupArgs, client: &Client) -> Result<Exit, Failure> {
    if args.file.exists() {
        return Err(BackupError::Exists(args.file.clone()).into());
    }
    let mut partial = args.file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let unusable = |error| Failure::from(BackupError::File(partial.clone(), error));
    let mut file = private::file(&partial).map_err(unusable)?;
    file.set_len(0).map_err(unusable)?; // of an attempt that was interrupted
    let downloaded = client.download("/backup", &mut file).and_then(|()| {
        file.flush().and_then(|()| file.sync_all()).map_err(unusable)?;
        Ok(backup::look(&partial)?)
    });
    if downloaded.is_err() {
        let _ = std::fs::remove_file(&partial); // what is there of it is of no use
    }
    let contents = downloaded?;
    std::fs::rename(&partial, &args.file).map_err(unusable)?;
    note!("wrote {} to {}", said(contents), args.file.display());
    note!(
        "keep the server's key with it, and apart from it: passwords of devices, identifiers and events are sealed with that"
    );
    Ok(Exit::Done)
}

/// What `restore` takes.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The copy that `backup` wrote
    file: PathBuf,
    /// The folder to put it into, which must hold no database yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Puts a copy into an empty folder.
pub fn restore(args: &RestoreArgs) -> Result<Exit, Failure> {
    let contents = backup::restore(&args.file, &args.data_dir)?;
    note!("restored {} into {}", said(contents), args.data_dir.display());
    if !args.data_dir.join(KEY_FILE).exists() {
        note!("put the key of the server that it is from into {KEY_FILE} there, or give it with --key-file");
    }
    let shown = args.data_dir.display();
    if follower::look(&args.data_dir)?.is_some_and(|standing| standing.log.is_some()) {
        note!(
            "it is of a fleet of several nodes: `panelsync serve --cluster …` goes on in that fleet from there; to run it alone as it is, \
             take it out first with `panelsync node leave --data-dir {shown} --yes`"
        );
    } else {
        note!("start it with `panelsync serve --data-dir {shown}`");
    }
    Ok(Exit::Done)
}

pub(super) fn said(contents: Contents) -> String {
    let Contents { panels, batches, .. } = contents;
    let batches = if batches == 1 { "1 batch".to_owned() } else { format!("{batches} batches") };
    format!("{} and {batches}", output::counted(panels, "panel"))
}

/// The commands on the key.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Seal all that is sealed (passwords of devices, identifiers, events of doors, settings of embedded panels) with another
    /// key; the server must not run
    #[command(
        after_help = "Example:\n  panelsync key rotate --data-dir /var/lib/panelsync --new-key-file /etc/panelsync/key-2"
    )]
    Rotate {
        /// The server's data folder
        #[arg(long, value_name = "DIR", default_value = "./panelsync-data")]
        data_dir: PathBuf,
        /// File with the key of now [default: panelsync.key in the data folder]
        #[arg(long, env = "PANELSYNC_KEY_FILE", value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// File with the new key; it is made where it is not there
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
        /// The key of now is lost: drop all passwords of devices, name the panels that need theirs set again, and drop what
        /// clients had set on embedded panels, all identifiers, all events of doors, and all webhooks
        #[arg(long)]
        forget_passwords: bool,
    },
}

/// Does what is to be done with the key.
pub fn key(command: &KeyCommand) -> Result<Exit, Failure> {
    let KeyCommand::Rotate { data_dir, key_file, new_key_file, forget_passwords } = command;
    if !data_dir.join(crate::store::FILE_NAME).exists() {
        return Err(Failure::usage(format!("{} holds no data of a server", data_dir.display())));
    }
    if *forget_passwords {
        let key = key_file.clone().unwrap_or_else(|| data_dir.join(KEY_FILE));
        if let Ok(seal) = Seal::from_file(&key)
            && store::is_sealed_with(data_dir, &seal)?
        {
            let why = format!(
                "the key in {} is the right one; without --forget-passwords nothing is lost",
                key.display()
            );
            return Err(Failure::usage(why));
        }
        let new = Seal::from_file_or_new(new_key_file).map_err(OpenError::from)?;
        let Forgotten { passwords, settings, identifiers, events, alerts } =
            store::forget_passwords(data_dir, new)?;
        note!("dropped {}", output::counted(passwords.len() as u64, "password"));
        if settings > 0 {
            note!("dropped {} that clients had set on embedded panels", output::counted(settings, "setting"));
        }
        if identifiers > 0 {
            note!(
                "dropped {}; devices keep theirs, and `panelsync reconcile` deletes those that were not sent again before",
                output::counted(identifiers, "identifier")
            );
        }
        if events > 0 {
            note!("dropped {} of doors", output::counted(events, "event"));
        }
        if alerts > 0 {
            note!("dropped {} that were webhooks; add them again", output::counted(alerts, "alert"));
        }
        for panel in &passwords {
            say!("{panel}");
            note!("set it again once the server runs: `panelsync panel set {panel} --password-stdin`");
        }
        note!("start the server with --key-file {} from now on", absolute(new_key_file).display());
        return Ok(Exit::Done);
    }
    let store = KeySource::from(key_file.clone()).open(data_dir, &Metrics::default())?;
    let new = Seal::from_file_or_new(new_key_file).map_err(OpenError::from)?;
    let sealed = seal_anew(&store, new);
    store.close();
    let sealed = sealed.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    note!("sealed {} anew", output::counted(sealed as u64, "password"));
    note!("start the server with --key-file {} from now on", absolute(new_key_file).display());
    Ok(Exit::Done)
}

fn seal_anew(store: &Store, new: Seal) -> Result<usize, crate::store::StoreError> {
    let (change, new) = (store.handle(), Arc::new(new));
    actix_web::rt::System::new()
        .block_on(async move { change.change(move |tables| tables.seal_anew(&new)).await })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let exit = match error {
            BackupError::Store(_) => Exit::Failed,
            BackupError::Exists(_)
            | BackupError::File(..)
            | BackupError::Broken(..)
            | BackupError::NotClosed(_)
            | BackupError::Newer { .. } => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::usage(error.to_string())
    }
}
