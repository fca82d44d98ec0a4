//! `panelsync serve` in a process of its own, with limits, and what it said.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_panelsync");
pub const PASSWORD: &str = "faults-password";

/// A start takes no longer, unless it never ends.
const START: Duration = Duration::from_secs(30);

/// What the process is denied.
#[derive(Default)]
pub struct Limits {
    /// A write beyond the file's largest size is an error, and not the process's end.
    pub survives_full_disk: bool,
    /// Files open at most.
    pub open_files: Option<u32>,
    /// A file that says how far the clock is off.
    pub clock: Option<PathBuf>,
}

impl Limits {
    fn faketime() -> Option<PathBuf> {
        [
            "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
            "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        ]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
    }

    pub fn clock_can_be_faked() -> bool {
        Self::faketime().is_some()
    }

    fn command(&self) -> Command {
        let mut shell = String::new();
        if self.survives_full_disk {
            shell.push_str("trap '' XFSZ; ");
        }
        if let Some(files) = self.open_files {
            let _ = write!(shell, "ulimit -Sn {files}; ulimit -Hn {files}; "); // to a String it cannot fail
        }
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}exec \"$0\" \"$@\""), BINARY]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let (Some(clock), Some(library)) = (&self.clock, Self::faketime()) {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
    }
}

/// A running server.
pub struct Server {
    child: RefCell<Child>,
    exit: RefCell<Option<i32>>,
    pub address: SocketAddr,
    stderr: PathBuf,
    _said: tempfile::TempDir,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &Limits::default())
    }

    pub fn start_with(data: &Path, limits: &Limits) -> Self {
        Self::begin(data, limits).unwrap_or_else(|(exit, said)| panic!("it ended with {exit:?}: {said}"))
    }

    /// The exit code and what it said, where it does not start.
    pub fn try_start(data: &Path) -> Result<Self, (Option<i32>, String)> {
        Self::begin(data, &Limits::default())
    }

    fn begin(data: &Path, limits: &Limits) -> Result<Self, (Option<i32>, String)> {
        let said = tempfile::tempdir().expect("a folder");
        let stderr = said.path().join("stderr");
        let file = std::fs::File::create(&stderr).expect("a file");
        let mut child = limits
            .command()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .env("PANELSYNC_ADMIN_PASSWORD", PASSWORD)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the binary starts");
        let until = Instant::now() + START;
        loop {
            let text = std::fs::read_to_string(&stderr).unwrap_or_default();
            let address =
                text.split("on http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
            if let Some(address) = address {
                let (child, exit) = (RefCell::new(child), RefCell::default());
                return Ok(Self { child, exit, address, stderr, _said: said });
            }
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                let text = std::fs::read_to_string(&stderr).unwrap_or_default();
                return Err((status.code(), text));
            }
            assert!(Instant::now() < until, "it does not start: {text}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn pid(&self) -> String {
        self.child.borrow().id().to_string()
    }

    pub fn kill(&self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill(); // it may be gone
        *self.exit.borrow_mut() = child.wait().expect("gone").code();
    }

    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid()]).status().expect("kill runs");
        assert!(sent.success());
        *self.exit.borrow_mut() = self.child.borrow_mut().wait().expect("gone").code();
    }

    /// How it ended.
    pub fn exit(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    /// Files may not be larger from now on; bytes, or `unlimited`.
    pub fn limit_file_size(&self, bytes: &str) {
        let limit = format!("--fsize={bytes}:unlimited");
        let set =
            Command::new("prlimit").args(["--pid", &self.pid(), &limit]).status().expect("prlimit runs");
        assert!(set.success());
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * 4096)
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// How often it panicked, with what it said printed.
    pub fn panics(&self) -> u64 {
        let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let count = said.matches("panicked at").count() as u64;
        if count > 0 {
            println!("{said}");
        }
        count
    }

    /// A start as a user who may not write; nothing where that cannot be done here.
    pub fn refused_for_nobody(data: &Path) -> Option<(Option<i32>, String)> {
        let copy = tempfile::tempdir().ok()?;
        let binary = copy.path().join("panelsync");
        std::fs::copy(BINARY, &binary).ok()?;
        for path in [data, copy.path()] {
            Command::new("chmod").arg("755").arg(path).status().ok()?;
        }
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!said.contains("setpriv:")).then(|| (output.status.code(), said))
    }

    /// What the doctor says of the whole database, which nobody uses.
    pub fn doctor(data: &Path) -> Value {
        let output = Command::new(BINARY)
            .args([
                "doctor",
                "--deep",
                "--output",
                "json",
                "--listen",
                "127.0.0.1:0",
                "--server",
                "http://127.0.0.1:9",
            ])
            .arg("--data-dir")
            .arg(data)
            .env("HOME", data)
            .output()
            .expect("it runs");
        let findings: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
        let whole =
            findings.as_array().and_then(|all| all.iter().find(|one| one["check"] == "whole database"));
        whole.cloned().unwrap_or(findings)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
