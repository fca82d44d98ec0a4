//! The real binary with an environment of its own.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A user who runs commands against one server.
pub struct Shell {
    pub home: TempDir,
    server: String,
    token: Option<String>,
}

/// What a command did.
pub struct Ran {
    line: String,
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Shell {
    pub fn new(server: SocketAddr, token: Option<&str>) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        Self { home, server: format!("http://{server}"), token: token.map(str::to_owned) }
    }

    /// Against a server that speaks HTTPS.
    pub fn secure(server: SocketAddr) -> Self {
        Self { server: format!("https://{server}"), ..Self::new(server, None) }
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs with this on standard input.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = command();
        command.args(args).current_dir(self.home.path()).env("PANELSYNC_SERVER", &self.server);
        command.env("HOME", self.home.path());
        if let Some(token) = &self.token {
            command.env("PANELSYNC_TOKEN", token);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // A command that does not read its input may be gone by now.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        Ran {
            line: args.join(" "),
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("a text"),
            stderr: String::from_utf8(output.stderr).expect("a text"),
        }
    }

    /// Writes a file into the folder in which commands run.
    pub fn file(&self, name: &str, content: &str) {
        std::fs::write(self.home.path().join(name), content).expect("written");
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ panelsync {}", self.line)?;
        writeln!(f, "exit {}", self.exit.map_or("by a signal".to_owned(), |code| code.to_string()))?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                writeln!(f, "--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// The binary without anything of the surrounding environment.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panelsync"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// `panelsync serve` in a process of its own.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
    pub first_lines: Vec<String>,
}

impl Served {
    /// [`Served::start`] with a certificate in the arguments.
    pub fn start_tls(folder: &Path, args: &[&str]) -> Self {
        Self::start_at("https://", folder, None, args)
    }

    /// The same with the first administrator's password.
    pub fn start_tls_with(folder: &Path, password: &str, args: &[&str]) -> Self {
        Self::start_at("https://", folder, Some(password), args)
    }

    /// Starts it on a free port and waits until it listens.
    pub fn start(folder: &Path, password: Option<&str>, args: &[&str]) -> Self {
        Self::start_at("http://", folder, password, args)
    }

    fn start_at(scheme: &str, folder: &Path, password: Option<&str>, args: &[&str]) -> Self {
        let mut command = command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder).args(args);
        if let Some(password) = password {
            command.env("PANELSYNC_ADMIN_PASSWORD", password);
        }
        let mut child =
            command.env("RUST_LOG", "warn").stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut first_lines = Vec::new();
        let address = loop {
            let line = lines.next().expect("it listens before it ends").expect("a text");
            let address = line.split(scheme).nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
            first_lines.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("server: {}", line.unwrap_or_default())));
        Self { child, address, first_lines }
    }

    /// The most memory that it has had at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// SIGKILL: nothing is finished, nothing is closed.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("gone").code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
