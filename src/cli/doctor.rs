//! `panelsync doctor`: looks at what a server stands on, and says what to do.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::UNIX_EPOCH;

use clap::Args;
use serde::Serialize;

use super::client::Client;
use super::settings::ServeArgs;
use super::{Exit, Failure, Output, output, panel};
use crate::clock;
use crate::config::{KeySource, Settings};
use crate::store::backup::{self, BackupError, KeyFound};
use crate::store::migrate::FORMAT;
use crate::store::{FILE_NAME, OpenError, Store, damage, private, render, seal};
use crate::telemetry::Metrics;

mod mail;
mod nodes;

/// Less free space is too little for a start.
const LEAST_FREE: u64 = 64 << 20;

/// Files that may be open at least; every connection is one.
const OPEN_FILES: u64 = 4096;

/// This program was not there before that: 1 January 2026.
const EARLIEST: i64 = 1_767_225_600_000;

/// Panels that cannot be reached are listed up to this number.
const LISTED: usize = 20;

/// What `doctor` takes.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Read the whole database, and hold its tables against each other; the server must not run
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Wrong,
}

/// What was found in one place.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), advice: String::new() }
    }

    fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, what: what.into(), advice: advice.into() }
    }

    fn wrong(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Wrong, what: what.into(), advice: advice.into() }
    }
}

/// Prints what was found; 1 where something is wrong.
pub fn doctor(args: &DoctorArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let settings = args.serve.settings().map_err(|error| Failure::usage(error.to_string()))?;
    let mut findings = vec![folder(&settings.data_dir)];
    findings.push(database(&settings.data_dir));
    findings.push(key(&settings));
    if args.deep {
        findings.push(deep(&settings));
    }
    findings.push(free_space(&settings.data_dir));
    findings.push(time(&settings.data_dir));
    findings.push(open_files());
    findings.extend(certificate(&settings));
    findings.push(address(&settings, client));
    findings.extend(mail::findings(&settings));
    findings.extend(nodes::findings(&settings));
    findings.extend(panels(client));
    match output {
        Output::Json => output::json(&findings)?,
        Output::Table => {
            let word = |verdict| match verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Wrong => "WRONG",
            };
            let rows = findings.iter().map(|finding| {
                let Finding { check, verdict, what, advice } = finding;
                [(*check).to_owned(), word(*verdict).to_owned(), what.clone(), advice.clone()]
            });
            output::table(["check", "verdict", "found", "what to do"], rows);
        }
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Ok(if worst == Some(Verdict::Wrong) { Exit::Failed } else { Exit::Done })
}

fn folder(data_dir: &Path) -> Finding {
    const CHECK: &str = "data folder";
    let shown = data_dir.display();
    match std::fs::metadata(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let advice = "`panelsync serve` makes it, or give another --data-dir";
            Finding::warning(CHECK, format!("{shown} is not there"), advice)
        }
        Err(error) => Finding::wrong(CHECK, format!("{shown}: {error}"), "let this user read it"),
        Ok(found) if !found.is_dir() => {
            Finding::wrong(CHECK, format!("{shown} is no folder"), "give another --data-dir")
        }
        Ok(_) => match tempfile::tempfile_in(data_dir) {
            Ok(_) if private::is_open_to_others(data_dir) => Finding::warning(
                CHECK,
                format!("{shown} can be read by others"),
                "chmod 700 it; the next start does so where it holds nothing but the server's files",
            ),
            Ok(_) if private::is_open_to_others(&data_dir.join(FILE_NAME)) => Finding::warning(
                CHECK,
                format!("{FILE_NAME} in {shown} can be read by others"),
                "chmod 600 it, or start the server, which does so",
            ),
            Ok(_) => Finding::ok(CHECK, format!("{shown} can be written")),
            Err(error) => Finding::wrong(
                CHECK,
                format!("{shown} cannot be written: {error}"),
                "give the folder to the user that the server runs as, on a disk that is not read-only",
            ),
        },
    }
}

fn database(data_dir: &Path) -> Finding {
    const CHECK: &str = "database";
    let file = data_dir.join(FILE_NAME);
    if !file.exists() {
        return Finding::ok(CHECK, "none yet; the first start makes it");
    }
    match backup::look(&file) {
        Ok(contents) if contents.format < u64::from(FORMAT) => Finding::warning(
            CHECK,
            format!("format {}, and this version writes {FORMAT}", contents.format),
            "the next start brings it up to date; back it up first, since older versions cannot read it then",
        ),
        Ok(contents) => {
            Finding::ok(CHECK, format!("format {}, {}", contents.format, super::backup::said(contents)))
        }
        Err(BackupError::Broken(_, error)) if matches!(*error, redb::Error::DatabaseAlreadyOpen) => {
            Finding::ok(CHECK, "in use by a running server")
        }
        Err(BackupError::NotClosed(_)) => Finding::warning(
            CHECK,
            "was not closed",
            "the next start puts that right by itself; where it cannot, --deep says why",
        ),
        Err(error @ BackupError::Newer { .. }) => {
            Finding::wrong(CHECK, error.to_string(), "run the version that wrote it, or a later one")
        }
        Err(error) => Finding::wrong(
            CHECK,
            error.to_string(),
            "keep this file, and restore the last backup into an empty folder with `panelsync restore`",
        ),
    }
}

fn key(settings: &Settings) -> Finding {
    const CHECK: &str = "key";
    let lost = "give the key with --key-file or PANELSYNC_KEY; if it is lost, `panelsync key rotate --forget-passwords --data-dir D --new-key-file F` drops the passwords of devices, which are then set anew with `panelsync panel set`, all identifiers, which are then sent again, and all events of doors";
    let at_home = settings.data_dir.join(seal::KEY_FILE);
    let database = settings.data_dir.join(FILE_NAME);
    let (path, what) = match &settings.key {
        KeySource::Given(_) => (None, "from the environment".to_owned()),
        KeySource::File(path) => (Some(path.clone()), format!("{}", path.display())),
        KeySource::DataFolder if at_home.exists() => {
            (Some(at_home.clone()), format!("{} in the data folder", seal::KEY_FILE))
        }
        KeySource::DataFolder => {
            return match backup::look_at_key(&database, None) {
                Ok(KeyFound::Other(sealed)) => {
                    let sealed = output::counted(sealed, "secret");
                    Finding::wrong(
                        CHECK,
                        format!("{} is not there, with which {sealed} were sealed", at_home.display()),
                        lost,
                    )
                }
                Ok(KeyFound::Fits) | Err(_) => Finding::ok(CHECK, "none yet; the next start makes it"),
            };
        }
    };
    let seal = match settings.key.seal(&settings.data_dir) {
        Ok(seal) => seal,
        Err(error) => return Finding::wrong(CHECK, error.to_string(), lost),
    };
    // While a server runs, or has not closed it, the database says nothing; then its own check does.
    if let Ok(KeyFound::Other(sealed)) = backup::look_at_key(&database, Some(&seal)) {
        let sealed = output::counted(sealed, "secret");
        return Finding::wrong(
            CHECK,
            format!("{what} does not fit; {sealed} were sealed with another one"),
            lost,
        );
    }
    #[cfg(unix)]
    if let Some(mode) = path.as_ref().and_then(|path| std::fs::metadata(path).ok()).map(|file| {
        use std::os::unix::fs::PermissionsExt;
        file.permissions().mode()
    }) && mode & 0o077 != 0
    {
        return Finding::wrong(CHECK, format!("{what} can be read by others"), "chmod 600 it");
    }
    if path == Some(at_home) {
        let advice = "move it elsewhere and give it with --key-file, so that a stolen disk or folder does not bring it along";
        return Finding::warning(CHECK, what, advice);
    }
    Finding::ok(CHECK, what)
}

fn deep(settings: &Settings) -> Finding {
    const CHECK: &str = "whole database";
    let file = settings.data_dir.join(FILE_NAME);
    if !file.exists() {
        return Finding::ok(CHECK, "none yet");
    }
    let restore = "keep this folder, and restore the last backup into an empty one with `panelsync restore`";
    let whole = damage::guarded(|| redb::Database::open(&file).and_then(|mut db| db.check_integrity()));
    let Ok(whole) = whole else { return Finding::wrong(CHECK, "a page is broken", restore) };
    match whole {
        Ok(true) => {}
        Ok(false) => {
            let what = "some pages were broken, and were put back to the last good state";
            return Finding::warning(CHECK, what, restore);
        }
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
            return Finding::warning(CHECK, "in use by a running server", "stop it, or look at a backup");
        }
        Err(error) => return Finding::wrong(CHECK, error.to_string(), restore),
    }
    let contradictions = || -> Result<Vec<String>, OpenError> {
        let store = match settings.key.open(&settings.data_dir, &Metrics::default()) {
            Err(OpenError::OfSeveral(_)) => {
                let seal = settings.key.seal(&settings.data_dir)?;
                Store::open_of_node(&settings.data_dir, seal, &Metrics::default())?
            }
            opened => opened?,
        };
        let found = store.handle().read().and_then(|snapshot| render::contradictions(&snapshot));
        store.close();
        found.map_err(|error| OpenError::Store(settings.data_dir.clone(), error))
    };
    match damage::guarded(contradictions)
        .unwrap_or_else(|error| Err(OpenError::Store(settings.data_dir.clone(), error)))
    {
        Ok(found) if found.is_empty() => Finding::ok(CHECK, "every page and table is as it should be"),
        Ok(found) => {
            let what = format!("{}: {}", output::counted(found.len() as u64, "contradiction"), found[0]);
            Finding::wrong(CHECK, what, restore)
        }
        Err(error) => Finding::wrong(CHECK, error.to_string(), restore),
    }
}

#[cfg(unix)]
fn free_space(data_dir: &Path) -> Finding {
    const CHECK: &str = "free space";
    let place = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    let disk = match rustix::fs::statvfs(place) {
        Ok(disk) => disk,
        Err(error) => return Finding::warning(CHECK, error.to_string(), "look at it by hand"),
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let used = std::fs::metadata(data_dir.join(FILE_NAME)).map_or(0, |file| file.len());
    let what = format!("{} MiB, and the database has {} MiB", free >> 20, used >> 20);
    if free < LEAST_FREE {
        let advice =
            "make room: changes are refused when the disk is full, and go on when there is room again";
        Finding::wrong(CHECK, what, advice)
    } else if free < used.saturating_mul(2) {
        Finding::warning(CHECK, what, "a backup of a running server needs as much again as the database")
    } else {
        Finding::ok(CHECK, what)
    }
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Finding {
    Finding::warning("free space", "cannot be told on this system", "look at it by hand")
}

fn time(data_dir: &Path) -> Finding {
    const CHECK: &str = "clock";
    let now = clock::now_ms();
    let shown = clock::rfc3339(now);
    let written = std::fs::metadata(data_dir.join(FILE_NAME)).and_then(|file| file.modified()).ok();
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_millis() as i64);
    let advice =
        "set it, and have it kept by NTP: tokens end by it, and reports and the audit are dated by it";
    match written {
        _ if now < EARLIEST => Finding::wrong(CHECK, format!("it says {shown}"), advice),
        Some(written) if written > now + 60_000 => Finding::wrong(
            CHECK,
            format!("it says {shown}, and the database was written at {}", clock::rfc3339(written)),
            advice,
        ),
        _ => Finding::ok(CHECK, shown),
    }
}

#[cfg(unix)]
fn open_files() -> Finding {
    use rustix::process::{Resource, getrlimit};
    const CHECK: &str = "open files";
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < OPEN_FILES => Finding::warning(
            CHECK,
            format!("at most {most}"),
            "raise the limit (LimitNOFILE= in a unit): every client and every device takes one",
        ),
        Some(most) => Finding::ok(CHECK, format!("at most {most}")),
        None => Finding::ok(CHECK, "no limit"),
    }
}

#[cfg(not(unix))]
fn open_files() -> Finding {
    Finding::ok("open files", "no limit of this kind")
}

fn certificate(settings: &Settings) -> Option<Finding> {
    const CHECK: &str = "certificate";
    let files = settings.tls.as_ref()?;
    Some(match files.read() {
        Ok(_) => Finding::ok(CHECK, format!("{} and its key fit", files.certificate.display())),
        Err(error) => Finding::wrong(CHECK, error.to_string(), "give the chain and its key as PEM files"),
    })
}

fn address(settings: &Settings, client: &Client) -> Finding {
    const CHECK: &str = "address";
    let listen = settings.listen;
    if settings.tls.is_none() && !listen.ip().is_loopback() {
        return Finding::warning(
            CHECK,
            format!("{listen} is open beyond this machine, without TLS"),
            "give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy with TLS",
        );
    }
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(CHECK, format!("{listen} is free; nobody serves there")),
        Err(_) if answers(listen, client) => Finding::ok(CHECK, format!("a server answers at {listen}")),
        Err(error) => Finding::wrong(
            CHECK,
            format!("{listen} cannot be listened on: {error}"),
            "stop who has it, or give another --listen",
        ),
    }
}

/// Whether something of ours answers there.
fn answers(listen: SocketAddr, client: &Client) -> bool {
    let asked = client.server();
    asked.ends_with(&format!(":{}", listen.port())) && client.healthy()
}

fn panels(client: &Client) -> Vec<Finding> {
    const CHECK: &str = "panels";
    if !client.healthy() {
        let what = format!("no server answers at {}", client.server());
        return vec![Finding::warning(CHECK, what, "start it, and ask again")];
    }
    let panels = match panel::list(client, None) {
        Ok(panels) => panels,
        Err(Failure { message, .. }) => {
            return vec![Finding::warning(CHECK, message, "log in, and ask again")];
        }
    };
    let offline: Vec<_> = panels.iter().filter(|panel| panel.state.connection == "offline").collect();
    let all = output::counted(panels.len() as u64, "panel");
    if offline.is_empty() {
        return vec![Finding::ok(CHECK, format!("{all}, none of them unreachable"))];
    }
    let mut findings: Vec<_> = offline
        .iter()
        .take(LISTED)
        .map(|panel| {
            let why = panel.state.last_error.clone().unwrap_or_else(|| "it does not answer".into());
            let advice = format!("look at it, then `panelsync reconcile -l id={}`", panel.record.id);
            Finding::warning("panel", format!("{}: {why}", panel.record.id), advice)
        })
        .collect();
    if offline.len() > LISTED {
        let what = format!("{} more of {all} cannot be reached", offline.len() - LISTED);
        findings.push(Finding::warning(CHECK, what, "see `panelsync panel ls`"));
    }
    findings
}
