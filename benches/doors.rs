//! A thousand devices that tell their Link server what happens at their doors, and a server that takes whatever it is
//! told: both as processes of their own, so that what they cost can be told from what the server costs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::line::{Line, body_of, request};
use crate::served::median;

/// What a child is to be: `devices`, or `taker`.
const PART: &str = "PANELSYNC_BENCH_PART";

/// Between two packets of a device.
const EVERY: Duration = Duration::from_secs(1);

/// Events of one packet of a device that tells what happens.
pub const EVENTS: usize = 5;

/// Events of one packet of a device that tells all that happened so far.
const BACKLOG: usize = 100;

/// The password that devices show.
pub const PASSWORD: &str = "bench";

/// Whether this process is a child, which has done its work then.
pub fn is_child() -> bool {
    let part = std::env::var(PART);
    let work = async {
        match part.as_deref() {
            Ok("devices") => devices().await,
            Ok("taker") => take().await,
            _ => return false,
        }
        true
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

/// A child and what it is told and tells, a line each.
pub struct Aside {
    child: Child,
    said: ChildStdin,
    heard: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Aside {
    fn start(part: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = child.stdin.take().expect("piped");
        let heard = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, said, heard }
    }

    /// A server that answers 200 to everything, at once.
    pub fn taker() -> (Self, SocketAddr) {
        let mut taker = Self::start("taker");
        let address = taker.hear().as_str().expect("a text").parse().expect("an address");
        (taker, address)
    }

    /// Devices that have logged in there and wait to be told to begin. Of each its serial number.
    pub fn devices(at: SocketAddr, serials: &[String], cards: usize) -> Self {
        let mut devices = Self::start("devices");
        devices.say(&json!({ "at": at.to_string(), "serials": serials, "cards": cards }));
        devices.hear();
        devices
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// They tell of so many events that happened before, as fast as they are taken.
    pub fn tell_backlog(&mut self, events: usize) {
        self.say(&json!({ "backlog": events }));
        self.hear();
    }

    pub fn begin(&mut self) {
        self.say(&json!("begin"));
    }

    /// They stop; what came of it.
    pub fn end(&mut self) -> Told {
        self.say(&json!("end"));
        let told = self.hear();
        let number = |name: &str| told[name].as_f64().expect("a number");
        Told { events: number("events"), p50: number("p50"), p99: number("p99") }
    }

    fn say(&mut self, what: &Value) {
        writeln!(self.said, "{what}").expect("it listens");
    }

    fn hear(&mut self) -> Value {
        let line = self.heard.next().expect("it answers").expect("a text");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What devices told.
#[derive(Clone, Copy)]
pub struct Told {
    /// Events a second that were answered 200.
    pub events: f64,
    /// Milliseconds from when a packet was due until it was answered.
    pub p50: f64,
    pub p99: f64,
}

/// The medians of several.
pub fn medians(of: &[Told]) -> Told {
    let of = |part: fn(&Told) -> f64| median(of.iter().map(part).collect());
    Told { events: of(|told| told.events), p50: of(|told| told.p50), p99: of(|told| told.p99) }
}

fn answer(value: &Value) {
    let mut out = std::io::stdout();
    writeln!(out, "{value}").expect("it is heard");
    out.flush().expect("it is heard");
}

fn now_ms() -> u64 {
    panelsync::clock::now_ms().cast_unsigned()
}

/// One of the devices: so many cards are known at its door, and every fifth showing is of one that is not.
struct Door {
    line: Line,
    token: String,
    cards: u64,
    shown: u64,
}

impl Door {
    fn packet(&mut self, events: usize, until_ms: u64, apart_ms: u64) -> String {
        let event = |n: u64| {
            let at = until_ms - (events as u64 - 1 - n) * apart_ms;
            let n = self.shown + n;
            if n % 5 == 4 {
                return format!(
                    r#"{{"created_at":{at},"category":"access","code":"access_denied_by_unknown_card","priority":"medium","info":{{"card":"{}","lock":1}}}}"#,
                    5_000_000_000 + n
                );
            }
            format!(
                r#"{{"created_at":{at},"category":"access","code":"access_granted_by_valid_identifier","priority":"medium","info":{{"number":"{}","type":"card","owner":"Flat {}, somebody with a usual name","lock":1,"apartment_address":""}}}}"#,
                1_000_000 + n % self.cards,
                n % self.cards
            )
        };
        let events: Vec<_> = (0..events as u64).map(event).collect();
        self.shown += events.len() as u64;
        format!(r#"{{"events":[{}]}}"#, events.join(","))
    }

    async fn tell(&mut self, events: usize, until_ms: u64, apart_ms: u64) {
        let packet = self.packet(events, until_ms, apart_ms);
        self.line.ask(&request("PUT", "/api/v0/devices/logs", &self.token, "", &packet)).await;
    }

    /// A packet when it is due, and then every second, until it is over. Gives the milliseconds from when each was due
    /// until it was answered.
    async fn tell_on(&mut self, first: Instant, over: watch::Receiver<bool>) -> Vec<f64> {
        let (mut due, mut over, mut took) = (first, over, Vec::new());
        loop {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => return took,
                () = tokio::time::sleep_until(due) => {}
            }
            self.tell(EVENTS, now_ms(), 150).await;
            took.push(due.elapsed().as_secs_f64() * 1000.0);
            due += EVERY;
        }
    }
}

async fn log_in(at: SocketAddr, serial: &str, cards: u64) -> Door {
    let mut line = Line::to(at).await;
    let body = json!({ "login": serial, "password": PASSWORD }).to_string();
    let login = request("POST", "/api/v0/devices/login", "", "", &body);
    let answer: Value = serde_json::from_slice(line.ask(&login).await).expect("JSON");
    let token = answer["token"].as_str().expect("a token").to_owned();
    Door { line, token, cards, shown: 0 }
}

/// Logs in, and does what its parent says.
async fn devices() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<Value>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let line = line.expect("a text");
            if tell.send(serde_json::from_str(&line).expect("JSON")).is_err() {
                return;
            }
        }
    });
    let first = told.recv().await.expect("a parent");
    let at = first["at"].as_str().expect("a text").parse().expect("an address");
    let cards = first["cards"].as_u64().expect("a number");
    let serials = first["serials"].as_array().expect("a list").iter();
    let serials: VecDeque<_> = serials.map(|serial| serial.as_str().expect("a text").to_owned()).collect();
    let mut doors = Vec::new();
    for serial in &serials {
        doors.push(log_in(at, serial, cards).await);
    }
    answer(&json!("ready"));
    while let Some(what) = told.recv().await {
        if let Some(events) = what["backlog"].as_u64() {
            let each = (events as usize).div_ceil(doors.len() * BACKLOG);
            let begin = now_ms() - 86_400_000;
            for n in 0..each as u64 {
                // In groups, so that no packet waits too long.
                for some in doors.chunks_mut(50) {
                    let until = begin + (n + 1) * 20_000;
                    join_all(some.iter_mut().map(|door| door.tell(BACKLOG, until, 150))).await;
                }
            }
            answer(&json!("told"));
            continue;
        }
        assert_eq!(what, "begin");
        let (end, over) = watch::channel(false);
        let started = Instant::now();
        let apart = EVERY / doors.len() as u32;
        let telling = doors
            .iter_mut()
            .enumerate()
            .map(|(n, door)| door.tell_on(started + apart * n as u32, over.clone()));
        let ended = async {
            let what = told.recv().await.expect("a parent");
            assert_eq!(what, "end");
            let _ = end.send(true);
        };
        let (took, ()) = tokio::join!(join_all(telling), ended);
        let seconds = started.elapsed().as_secs_f64();
        let mut took = took.concat();
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let events = (took.len() * EVENTS) as f64 / seconds;
        answer(&json!({ "events": events, "p50": at(0.5), "p99": at(0.99) }));
    }
}

/// Answers 200 to everything, at once.
async fn take() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    answer(&json!(listener.local_addr().expect("an address").to_string()));
    let reply = Rc::new(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"t\"}".to_vec());
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let reply = Rc::clone(&reply);
                tokio::task::spawn_local(async move {
                    let mut buffer = Vec::new();
                    while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
                        if body_of(&buffer).is_some() {
                            buffer.clear();
                            if stream.write_all(&reply).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        })
        .await;
}
