//! A real PostgreSQL in a temporary folder, on a port of loopback; and a synchronous standby of it.

use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::free_port;

/// The role and the database of the log.
pub const NAME: &str = "panelsync";

/// What makes, starts, copies and promotes a database.
const PROGRAMS: [&str; 5] = ["initdb", "postgres", "pg_basebackup", "pg_ctl", "psql"];

/// Within this time a database starts, also after a crash, or is copied.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where PostgreSQL's programs are, and as whom they run.
struct Installed {
    programs: PathBuf,
    /// It does not run as root; then the user and the group.
    as_user: Option<(u32, u32)>,
}

/// What is missing, if anything, to start a database here.
pub fn missing() -> Option<String> {
    installed().as_ref().err().cloned()
}

fn installed() -> &'static Result<Installed, String> {
    static INSTALLED: OnceLock<Result<Installed, String>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let none =
            "PostgreSQL is not installed: neither in PATH nor below /usr/lib/postgresql (Debian: postgresql)";
        let programs = find_programs().ok_or(none)?;
        let as_user = if rustix::process::getuid().is_root() {
            Some(
                unprivileged()
                    .ok_or("PostgreSQL does not run as root, and there is no user postgres or nobody")?,
            )
        } else {
            None
        };
        Ok(Installed { programs, as_user })
    })
}

/// The folder that has them all: where one in PATH leads to, or of the newest version.
fn find_programs() -> Option<PathBuf> {
    let has_all = |folder: &PathBuf| PROGRAMS.iter().all(|program| folder.join(program).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path)
        .filter_map(|folder| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_path_buf()))
        .find(has_all);
    in_path.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut found: Vec<(u32, PathBuf)> = versions
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, folder)| has_all(folder))
            .collect();
        found.sort();
        found.pop().map(|(_, folder)| folder)
    })
}

/// User and group of `postgres`, or else of `nobody`.
fn unprivileged() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].into_iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

/// One of PostgreSQL's programs, as a user who may run it.
fn program(name: &str, folder: &Path) -> Command {
    let installed = installed().as_ref().expect("it was looked for before");
    let path = installed.programs.join(name);
    let mut command = match installed.as_user {
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
            command.args([user.as_str(), group.as_str(), "--clear-groups"]).arg(path);
            command
        }
        None => Command::new(path),
    };
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// A database in a folder of its own.
pub struct Postgres {
    folder: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Postgres {
    fn in_new_folder(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Ok(Installed { as_user: Some((user, group)), .. }) = installed() {
            chown(folder.path(), Some(*user), Some(*group)).expect("root may");
        }
        Self { folder, port, child: None }
    }

    /// A new one that runs, with the role and the database.
    pub fn new() -> Self {
        let mut postgres = Self::in_new_folder(free_port());
        let mut initdb = program("initdb", postgres.folder.path());
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        run(initdb.arg("-D").arg(postgres.data()));
        postgres.start();
        postgres.sql("postgres", &format!("create role {NAME} login"));
        postgres.sql("postgres", &format!("create database {NAME} owner {NAME}"));
        postgres
    }

    /// A copy that follows this one, for which this one waits from now on at every commit; on a port that was another
    /// one's, if it is to be where that was.
    pub fn synchronous_standby(&self, port: Option<u16>) -> Self {
        let mut standby = Self::in_new_folder(port.unwrap_or_else(free_port));
        let from = format!("host=127.0.0.1 port={} user=postgres application_name=standby", self.port);
        let mut copy = program("pg_basebackup", standby.folder.path());
        copy.args(["-d", &from, "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]);
        run(copy.arg(standby.data()));
        standby.start();
        self.sql("postgres", "alter system set synchronous_standby_names = 'standby'");
        self.sql("postgres", "select pg_reload_conf()");
        let until = Instant::now() + PATIENCE;
        while self.sql("postgres", "select sync_state from pg_stat_replication") != "sync" {
            assert!(Instant::now() < until, "the standby does not follow: {}", standby.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// Makes the standby one that takes writes. Whoever writes to it then waits for no other.
    pub fn promote(&self) {
        let mut promote = program("pg_ctl", self.folder.path());
        run(promote.args(["promote", "--wait", "-D"]).arg(self.data()));
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn spawn(&self) -> Child {
        let log = File::options().append(true).create(true).open(self.log()).expect("a file");
        let mut postgres = program("postgres", self.folder.path());
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            "max_connections=60",
            "shared_buffers=32MB",
            "max_wal_size=256MB",
        ];
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(log.try_clone().expect("a file")).stderr(log).spawn().expect("it starts")
    }

    /// Starts it, and waits until it answers; after a crash it may have to be tried again until the last of the
    /// crashed processes are gone.
    pub fn start(&mut self) {
        let until = Instant::now() + PATIENCE;
        let mut child = self.spawn();
        while self.try_sql("postgres", "select 1").is_err() {
            assert!(Instant::now() < until, "PostgreSQL does not start: {}", self.said());
            if child.try_wait().expect("it can be waited for").is_some() {
                child = self.spawn();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    /// An orderly stop, which ends all connections.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        super::send(Signal::INT, child.id());
        let until = Instant::now() + PATIENCE;
        while child.try_wait().expect("it can be waited for").is_none() {
            if Instant::now() > until {
                let _ = child.kill(); // it may be gone
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL to all its processes.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = child.id();
        let of_it = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let _ = child.kill(); // it may be gone
        for id in of_it.split_whitespace().filter_map(|id| id.parse().ok()) {
            super::send(Signal::KILL, id);
        }
        let _ = child.wait();
    }

    /// What `psql` prints.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.try_sql(database, text).unwrap_or_else(|said| panic!("{text}: {said}"))
    }

    pub fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let output = psql(self.folder.path(), self.port, database, text).output().expect("psql runs");
        let print = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(print(&output.stdout)) } else { Err(print(&output.stderr)) }
    }

    /// The same through another port, by a process that may be waited for.
    pub fn psql_through(&self, port: u16, text: &str) -> Child {
        let mut psql = psql(self.folder.path(), port, NAME, text);
        psql.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("psql runs")
    }

    /// Keeps the data, while it is stopped, as they are now.
    pub fn keep_copy(&self) {
        assert!(self.child.is_none(), "it runs");
        copy_folder(&self.data(), &self.folder.path().join("copy"));
    }

    /// Puts the kept data back.
    pub fn put_copy_back(&self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.data()).expect("removed");
        copy_folder(&self.folder.path().join("copy"), &self.data());
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let said = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn psql(folder: &Path, port: u16, database: &str, text: &str) -> Command {
    let mut psql = program("psql", folder);
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
    psql.args(["-p", &port.to_string(), "-d", database, "-c", text]);
    psql
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(copied.success());
}
