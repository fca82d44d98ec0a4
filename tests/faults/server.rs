//! `panelsync serve` in a process of its own, with limits, and what it said.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
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
    /// Where its log goes instead of a file, with all that can be logged.
    pub log: Option<Stdio>,
    /// Further options of `serve`.
    pub further: Vec<String>,
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
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, Limits::default())
    }

    pub fn start_with(data: &Path, limits: Limits) -> Self {
        Self::begin(data, limits).unwrap_or_else(|(exit, said)| panic!("it ended with {exit:?}: {said}"))
    }

    /// The exit code and what it said, where it does not start.
    pub fn try_start(data: &Path) -> Result<Self, (Option<i32>, String)> {
        Self::begin(data, Limits::default())
    }

    fn begin(data: &Path, limits: Limits) -> Result<Self, (Option<i32>, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let stderr = folder.path().join("stderr");
        let mut command = limits.command();
        let further = limits.further;
        // Where nobody can read which port it took, it is told one that is free now.
        let mut known = None;
        let (log, level) = if let Some(log) = limits.log {
            let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
            known = Some(free.expect("a free port"));
            (log, "debug")
        } else {
            (std::fs::File::create(&stderr).expect("a file").into(), "warn")
        };
        let listen = known.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut child = command
            .args(["serve", "--listen", &listen, "--data-dir"])
            .arg(data)
            .args(further)
            .env("PANELSYNC_ADMIN_PASSWORD", PASSWORD)
            .env("RUST_LOG", level)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        drop(command); // and with it this side of the log
        let until = Instant::now() + START;
        loop {
            let text = std::fs::read_to_string(&stderr).unwrap_or_default();
            let said = text.split("on http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
            let address = said.or(known.filter(|address| TcpStream::connect(address).is_ok()));
            if let Some(address) = address {
                let (child, exit) = (RefCell::new(child), RefCell::default());
                return Ok(Self { child, exit, address, stderr, _folder: folder });
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

    /// Asks it to end; says whether it did, with exit code 0, within this time.
    pub fn ends_within(&self, most: Duration) -> bool {
        let sent = Command::new("kill").args(["-TERM", &self.pid()]).status().expect("kill runs");
        let until = Instant::now() + most;
        while sent.success() && Instant::now() < until {
            if let Some(status) = self.child.borrow_mut().try_wait().expect("it can be waited for") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
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

    /// The most memory from now on is counted anew. Gives what is resident now, in bytes.
    pub fn forget_peak(&self) -> u64 {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5"); // else it is the most since the start
        self.memory()
    }

    /// The most resident memory since then, in bytes.
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map_or(u64::MAX, |kib| kib << 10) // a process that is gone has used too much
    }

    /// How many lines of its log are errors.
    pub fn errors(&self) -> u64 {
        let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        said.lines().filter(|line| line.contains("ERROR")).count() as u64
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
