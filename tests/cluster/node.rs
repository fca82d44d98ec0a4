//! One node: `panelsync serve --cluster` in a process of its own, behind lines that can be bad.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cluster::Shape;
use super::free_port;
use super::postgres::{NAME, Postgres};
use super::proxy::Proxy;

pub const PASSWORD: &str = "cluster-password";

/// The database in its folder.
pub const DATABASE: &str = "panelsync.redb";

/// A start takes no longer, unless it never ends.
const START: Duration = Duration::from_mins(1);

/// An orderly stop takes no longer.
const STOP: Duration = Duration::from_mins(1);

/// The binary; `PANELSYNC_BIN` names another one than the one that was built with this test.
pub fn binary() -> PathBuf {
    std::env::var_os("PANELSYNC_BIN").map_or_else(|| env!("CARGO_BIN_EXE_panelsync").into(), PathBuf::from)
}

/// What runs a process with a clock that is not right.
fn faketime() -> Option<PathBuf> {
    ["x86_64", "aarch64"]
        .into_iter()
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1")))
        .find(|path| path.exists())
}

pub fn clock_can_be_faked() -> bool {
    faketime().is_some()
}

pub struct Node {
    pub name: String,
    /// Its folder.
    pub data: PathBuf,
    port: u16,
    /// To each database, in their order.
    pub to_databases: Vec<Proxy>,
    /// From the other nodes.
    pub from_nodes: Proxy,
    /// A file that says how far its clock is off.
    clock: PathBuf,
    stderr: PathBuf,
    pub key: PathBuf,
    ttl: Duration,
    further: Vec<String>,
    child: Option<Child>,
    paused: bool,
}

impl Node {
    /// One with an empty folder in this one, which does not run yet.
    pub fn new(name: &str, folder: &Path, key: &Path, databases: &[Postgres], shape: &Shape) -> Self {
        let port = free_port();
        let clock = folder.join(format!("{name}.clock"));
        std::fs::write(&clock, "+0").expect("written");
        Self {
            name: name.to_owned(),
            data: folder.join(name),
            port,
            to_databases: databases.iter().map(|database| Proxy::to(database.port)).collect(),
            from_nodes: Proxy::to(port),
            clock,
            stderr: folder.join(format!("{name}.stderr")),
            key: key.to_path_buf(),
            ttl: shape.ttl,
            further: shape.further.clone(),
            child: None,
            paused: false,
        }
    }

    /// Where clients ask it.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The databases as it reaches them.
    fn cluster_url(&self) -> String {
        let host = |proxy: &Proxy| format!("127.0.0.1:{}", proxy.port);
        let hosts: Vec<_> = self.to_databases.iter().map(host).collect();
        let only_the_one_that_writes = if hosts.len() > 1 { "?target_session_attrs=read-write" } else { "" };
        format!("postgres://{NAME}@{}/{NAME}{only_the_one_that_writes}", hosts.join(","))
    }

    fn spawn(&mut self, with_clock: bool) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let stderr = File::options().append(true).create(true).open(&self.stderr).expect("a file");
        // A write beyond a file's largest size is an error, and not the process's end.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(binary());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let (true, Some(library)) = (with_clock, faketime()) {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &self.clock);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"]);
        command.arg(&self.data).args(["--cluster", &self.cluster_url(), "--node", &self.name]);
        command.args(["--advertise", &format!("http://127.0.0.1:{}", self.from_nodes.port), "--key-file"]);
        command.arg(&self.key).args(["--cluster-ttl", &format!("{}s", self.ttl.as_secs())]);
        let child = command
            .args(&self.further)
            .env("PANELSYNC_ADMIN_PASSWORD", PASSWORD)
            .env("RUST_BACKTRACE", "1")
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    /// Starts it, and waits for nothing.
    pub fn start(&mut self) {
        self.spawn(false);
    }

    /// The same with a clock that can be set ([`Node::set_clock`]).
    pub fn start_with_clock(&mut self) {
        self.spawn(true);
    }

    /// How far its clock is off, as `faketime` reads it.
    pub fn set_clock(&self, off: &str) {
        std::fs::write(&self.clock, off).expect("written");
    }

    /// Waits until it listens.
    pub fn until_healthy(&mut self) {
        let until = Instant::now() + START;
        while self.probe("healthz") != 200 {
            assert!(self.runs(), "{} does not start: {}", self.name, self.said());
            assert!(Instant::now() < until, "{} does not listen: {}", self.name, self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `/healthz` or `/readyz` answers; 0 for nothing.
    pub fn probe(&self, which: &str) -> u16 {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(2)))
            .build()
            .new_agent();
        agent.get(format!("{}/{which}", self.base())).call().map_or(0, |answer| answer.status().as_u16())
    }

    /// Whether it can be asked.
    pub fn is_awake(&self) -> bool {
        self.child.is_some() && !self.paused
    }

    /// Whether its process is there.
    pub fn runs(&mut self) -> bool {
        let Some(child) = &mut self.child else { return false };
        child.try_wait().expect("it can be waited for").is_none()
    }

    /// How it ended by itself; none where it runs, or was ended from here.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().expect("it can be waited for")?;
        Some(status.code().unwrap_or(-1))
    }

    fn id(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    pub fn kill(&mut self) {
        self.paused = false;
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may be gone
            let _ = child.wait();
        }
    }

    /// How large its database is.
    pub fn file_size(&self) -> u64 {
        std::fs::metadata(self.data.join(DATABASE)).map_or(0, |file| file.len())
    }

    /// Its files may not be larger from now on; bytes, or `unlimited`.
    pub fn limit_file_size(&self, bytes: &str) {
        let (process, limit) = (self.id().to_string(), format!("--fsize={bytes}:unlimited"));
        let set = Command::new("prlimit").args(["--pid", &process, &limit]).status().expect("prlimit runs");
        assert!(set.success());
    }

    /// SIGSTOP.
    pub fn pause(&mut self) {
        self.paused = true;
        super::send(Signal::STOP, self.id());
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.paused = false;
        super::send(Signal::CONT, self.id());
    }

    /// Asks it to end, and waits for that; says whether it did, with exit code 0.
    pub fn terminate(&mut self) -> bool {
        super::send(Signal::TERM, self.id());
        let until = Instant::now() + STOP;
        let mut child = self.child.take().expect("it was started");
        while Instant::now() < until {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    fn all_said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// How long what it said is, for [`Node::said_since`].
    pub fn said_so_far(&self) -> usize {
        self.all_said().len()
    }

    pub fn said_since(&self, length: usize) -> String {
        self.all_said().get(length..).unwrap_or_default().to_owned()
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let said = self.all_said();
        let lines: Vec<_> = said.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// How often it panicked, with what it said printed.
    pub fn panics(&self) -> u64 {
        let said = self.all_said();
        let count = said.matches("panicked at").count() as u64;
        if count > 0 {
            println!("{}: {said}", self.name);
        }
        count
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
