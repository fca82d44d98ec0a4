//! The same through HTTP on loopback: a batch to the fleet, and one panel's link call beside a bare handler.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use panelsync::config::{Secret, Settings};
use panelsync::profile::parse;
use panelsync::profile::rule::Family;
use panelsync::server::Server;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::contenders::profiles;

/// A system must not end before the threads of its workers, which nobody can wait for.
const LEAVING: Duration = Duration::from_millis(200);

/// Runs this in a thread of its own, since a thread has one system and this one's may be in use.
fn aside<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| actix_web::rt::System::new().block_on(work())).join().expect("no panic")
    })
}

/// The real server in a thread of its own.
pub struct Served {
    pub address: SocketAddr,
    token: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Served {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::new(folder.path(), ([127, 0, 0, 1], 0).into());
        settings.admin_password = Some(Secret("123456".into()));
        settings.listeners_per_token = 10_000;
        let (bound, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let system = actix_web::rt::System::new();
            system.block_on(async move {
                let server = Server::build(settings).await.expect("the server starts");
                bound.send(server.address()).expect("it is waited for");
                let stop = async {
                    let _ = stopped.await;
                };
                server.run(stop).await.expect("the server stops");
            });
            std::thread::sleep(LEAVING);
        });
        let address = address.recv().expect("the server starts");
        let mut served =
            Self { address, token: String::new(), stop: Some(stop), thread: Some(thread), _folder: folder };
        let session = json!({ "username": "admin", "password": "123456" }).to_string();
        let answer = served.post("/fleet/v1/session", "application/json", session);
        answer["token"].as_str().expect("a token").clone_into(&mut served.token);
        served
    }

    /// Registers so many panels.
    pub fn add_panels(&self, panels: usize) {
        let lines: Vec<_> =
            (0..panels).map(|n| json!({ "id": format!("panel-{n:06}") }).to_string()).collect();
        self.post("/fleet/v1/panels:import", "application/x-ndjson", lines.join("\n"));
    }

    /// Pushes profiles to all and gives the summary, when every panel has an outcome.
    pub fn push(&self, items: usize, variant: u64) -> (f64, Value) {
        let body = format!(r#"{{"all":true,"upsert":{}}}"#, profiles(items, variant));
        let started = Instant::now();
        let answer = self.post("/fleet/v1/batches", "application/json", body);
        (started.elapsed().as_secs_f64(), answer)
    }

    /// So many connections that listen to all events.
    pub fn listen(&self, count: usize) -> Listening {
        let head = format!(
            "GET /fleet/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            self.address, self.token
        );
        let mut streams: Vec<_> = (0..count)
            .map(|_| {
                let mut stream = TcpStream::connect(self.address).expect("a connection");
                stream.write_all(head.as_bytes()).expect("sent");
                let mut first = [0; 15];
                stream.read_exact(&mut first).expect("an answer");
                assert_eq!(&first, b"HTTP/1.1 200 OK");
                stream.set_nonblocking(true).expect("set");
                stream
            })
            .collect();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let (mut bytes, mut piece) = (0, vec![0; 256 * 1024]);
            while !seen.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    bytes += stream.read(&mut piece).unwrap_or(0); // nothing is there yet
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            bytes
        });
        Listening { over, thread }
    }

    fn post(&self, path: &str, kind: &str, body: String) -> Value {
        let url = format!("http://{}{path}", self.address);
        aside(|| async move {
            let client = awc::Client::builder().timeout(Duration::from_mins(2)).finish();
            let request = client
                .post(url)
                .bearer_auth(&self.token)
                .insert_header(("content-type", kind))
                .insert_header(("prefer", "wait=120"));
            let mut answer = request.send_body(body).await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.json().limit(1 << 20).await.expect("JSON")
        })
    }
}

/// Connections that are read.
pub struct Listening {
    over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Listening {
    /// Closes them; says how many bytes came.
    pub fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been printed
        }
    }
}

/// Parses the body of a link call as the panel API does, and answers with nothing.
async fn bare(body: web::Bytes) -> HttpResponse {
    match parse::link_body(&body, Family::Android) {
        Ok(parsed) => HttpResponse::Ok().body(parsed.len().to_string()),
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

/// Calls a second over so many connections: of one panel's link call, durable before it is answered, and of the
/// bare handler.
pub fn link_calls(connections: usize, seconds: f64) -> (f64, f64) {
    let served = Served::start();
    served.add_panels(1);
    let base = format!("http://{}/panels/panel-000000/api/v1", served.address);
    let login = format!("{base}/login?username=admin&password=E10ADC3949BA59ABBE56E057F20F883E");
    let token = aside(|| async move {
        let mut answer = awc::Client::default().get(login).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["token"].as_str().expect("a token").to_owned()
    });
    let durable = rate(&format!("{base}/access/timeprofile/items/link"), &token, connections, seconds);
    drop(served);
    let (bound, address) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let system = actix_web::rt::System::new();
        system.block_on(async move {
            let workers = std::thread::available_parallelism().map_or(2, usize::from);
            let handler = HttpServer::new(|| App::new().route("/link", web::post().to(bare)))
                .workers(workers)
                .disable_signals()
                .bind(("127.0.0.1", 0))
                .expect("a port");
            bound.send(handler.addrs()[0]).expect("it is waited for");
            let running = handler.run();
            let handle = running.handle();
            actix_web::rt::spawn(running);
            let _ = stopped.await;
            handle.stop(false).await;
        });
        std::thread::sleep(LEAVING);
    });
    let address = address.recv().expect("it starts");
    let limit = rate(&format!("http://{address}/link"), "", connections, seconds);
    drop(stop);
    let _ = thread.join(); // a panic there has been printed
    (durable, limit)
}

fn rate(url: &str, token: &str, connections: usize, seconds: f64) -> f64 {
    aside(|| async move {
        let connector = awc::Connector::new().limit(connections);
        let client = Rc::new(awc::Client::builder().connector(connector).finish());
        let bodies: Rc<Vec<_>> = Rc::new(
            (0..64)
                .map(|variant| Arc::<str>::from(format!(r#"{{"list_items":{}}}"#, profiles(1, variant))))
                .collect(),
        );
        let started = Instant::now();
        let end = started + Duration::from_secs_f64(seconds);
        let calls = (0..connections).map(|n| {
            let (client, bodies) = (Rc::clone(&client), Rc::clone(&bodies));
            async move {
                let mut count = 0_usize;
                while Instant::now() < end {
                    let body = bodies[(n + count) % bodies.len()].to_string();
                    let request = client
                        .post(url)
                        .bearer_auth(token)
                        .insert_header(("content-type", "application/json"));
                    let mut answer = request.send_body(body).await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.body().await.expect("a body");
                    count += 1;
                }
                count
            }
        });
        let counts = futures_util::future::join_all(calls).await;
        counts.iter().sum::<usize>() as f64 / started.elapsed().as_secs_f64()
    })
}
