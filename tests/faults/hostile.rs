//! Devices and clients that mean harm: what they make the server hold is bounded, and others are served meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::{Client, profiles};
use super::server::Server;
use super::{Outcome, consistent, folder};

/// What any of it may make the server use above what it used at rest, in bytes.
const MOST: u64 = 300 << 20;

/// Somebody else's request takes no longer meanwhile.
const SERVED: Duration = Duration::from_secs(10);

/// Does harm while somebody else works, and judges: memory within bounds, the others served, all that was acknowledged
/// there, nothing panicked. `harm` knows the address and a viewer, and gives how much of what it saw is wrong.
fn during(
    times: u32,
    prepare: impl FnOnce(&Client),
    harm: impl FnOnce(SocketAddr, &Client, &Client) -> u64 + Send,
) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let server = Server::start(data.path());
    let admin = Client::admin(&server);
    admin.post("/fleet/v1/panels", &json!({ "id": "one" }));
    prepare(&admin);
    let (viewer, operator) =
        (admin.user(&server, "viewer", "viewer"), admin.user(&server, "operator", "operator"));
    std::thread::sleep(Duration::from_millis(300));
    let rest = server.forget_peak();
    let (mut longest, mut wrong) = (Duration::ZERO, 0_u64);
    let address = server.address;
    std::thread::scope(|scope| {
        let harming = scope.spawn(|| harm(address, &viewer, &operator));
        while !harming.is_finished() {
            let began = Instant::now();
            let version = outcome.acknowledged + 1;
            let batch = json!({ "panels": ["one"], "upsert": profiles(1, 1, version)["list_items"] });
            match admin.post("/fleet/v1/batches", &batch).0 {
                200 => outcome.acknowledged += 1,
                _ => wrong += 1,
            }
            wrong += u64::from(admin.status("/fleet/v1/panels?limit=1") != 200);
            wrong += u64::from(Client::try_admin(&server).is_none());
            longest = longest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        outcome.lost += harming.join().expect("no panic");
    });
    let peak = server.peak();
    if peak == u64::MAX {
        println!("it is gone: {}", server.said());
        outcome.lost += 1;
        "the server is gone".clone_into(&mut outcome.note);
        return outcome;
    }
    if wrong > 0 || longest > SERVED {
        println!("others were refused {wrong} times, and waited for {} ms", longest.as_millis());
        outcome.lost += 1;
    }
    let above = peak.saturating_sub(rest);
    if above > MOST {
        println!("it used {} MiB above rest", above >> 20);
        outcome.lost += 1;
    }
    let since = Instant::now();
    let held = Client::admin(&server).get("/fleet/v1/panels/one/profiles");
    outcome.recovered(since);
    let name = format!("version {}", outcome.acknowledged);
    outcome.lost +=
        u64::from(outcome.acknowledged > 0 && held["items"][0]["profile"]["name"] != name.as_str());
    outcome.panics += server.panics();
    outcome.panics += u64::from(!server.ends_within(Duration::from_secs(40)));
    outcome.panics += consistent(data.path());
    outcome.note =
        format!("{} MiB above rest; others waited {} ms at most", above >> 20, longest.as_millis());
    outcome
}

const DEVICES: usize = 10;
const PAGES: usize = 160;
const ON_PAGE: usize = 50;

/// A page's body has about so many bytes; the longest that is taken is 4 MiB.
const PAGE: usize = 4_000_000;

/// A device gives no page any more after this time.
const GIVES_FOR: Duration = Duration::from_secs(6);

/// A device that has very much to say, at a port of its own, for as long as `serves` stands.
fn device(number: usize, serves: &Arc<AtomicBool>, pages: &Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let (serves, pages) = (Arc::clone(serves), Arc::clone(pages));
    listener.set_nonblocking(true).expect("it can");
    std::thread::spawn(move || {
        while serves.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    let (serves, pages) = (Arc::clone(&serves), Arc::clone(&pages));
                    // Whoever asks may leave in the middle.
                    std::thread::spawn(move || {
                        let _ = answer_all(stream, number, &serves, &pages);
                    });
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    address
}

fn answer_all(
    mut stream: TcpStream,
    number: usize,
    serves: &AtomicBool,
    pages: &AtomicU64,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        if lines.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        std::io::copy(&mut lines.by_ref().take(length), &mut std::io::sink())?;
        let path = request.split(' ').nth(1).unwrap_or_default();
        let body = if path == "/api/info" {
            json!({ "api_version": "2.9.0", "device_model": "hostile", "device_serial_number": format!("hostile-{number}"), "firmware_version": "1" })
                .to_string()
        } else if path.starts_with("/api/v1/login") {
            json!({ "token": "token", "account_type": "admin" }).to_string()
        } else if path == "/api/v1/device/time" {
            json!({ "time_unix": 1_735_804_800 }).to_string()
        } else if path.contains("/items/link?limit=10&") {
            page(1, 1)
        } else if path.contains("/items") && path.contains("page_number=") {
            if !serves.load(Ordering::Relaxed) {
                return Ok(());
            }
            pages.fetch_add(1, Ordering::Relaxed);
            let number = path.split("page_number=").nth(1).and_then(|number| number.parse().ok());
            page(number.unwrap_or(1), PAGE / ON_PAGE)
        } else {
            "{}".to_owned()
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body.as_bytes())?;
    }
}

/// A page of profiles with names of this length.
fn page(number: usize, length: usize) -> String {
    let name = "x".repeat(length.saturating_sub(280));
    let item = |n| {
        let link = format!("5a1f0c1e-0000-4000-9000-{:012x}", number * ON_PAGE + n);
        format!(
            r#"{{"link_id":"{link}","name":"{name}","time_options":{{"is_all_day":false,"date_from":1735804800,"date_to":1735808400}},"repeat_options":{{"repeat_enable":false}}}}"#
        )
    };
    let items: Vec<_> = (0..ON_PAGE).map(item).collect();
    let total = PAGES * ON_PAGE;
    format!(
        r#"{{"list_items":[{}],"list_option":{{"pagination":{{"page_number":{number},"total_items":{total},"total_pages":{PAGES},"limit":{ON_PAGE}}}}}}}"#,
        items.join(",")
    )
}

/// Ten devices of 160 pages of 4 MB, which a viewer has compared several times at once.
pub fn devices(times: u32) -> Outcome {
    let (serves, pages) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let devices: Vec<_> = (0..DEVICES).map(|number| device(number, &serves, &pages)).collect();
    let register = |admin: &Client| {
        let line = |(n, address)| {
            json!({ "id": format!("device-{n}"), "driver": "http", "url": format!("http://{address}"), "username": "admin", "password": "123456" })
                .to_string()
        };
        let lines: Vec<_> = devices.iter().enumerate().map(line).collect();
        admin.post_lines("/fleet/v1/panels:import", &lines.join("\n"));
    };
    let mut outcome = during(times, register, |_, viewer, _| {
        std::thread::scope(|scope| {
            let comparing: Vec<_> = (0..times)
                .map(|_| scope.spawn(|| viewer.status("/fleet/v1/diff?selector=driver%3Dhttp")))
                .collect();
            let until = Instant::now() + GIVES_FOR;
            while Instant::now() < until && !comparing.iter().all(std::thread::ScopedJoinHandle::is_finished)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            serves.store(false, Ordering::Relaxed);
            // Read or not: there is an answer.
            let answers: Vec<_> =
                comparing.into_iter().map(|one| one.join().expect("an answer or none")).collect();
            answers.iter().filter(|status| **status == 0).count() as u64
        })
    });
    serves.store(false, Ordering::Relaxed);
    let read = pages.load(Ordering::Relaxed);
    if read == 0 {
        println!("no page was asked for: this tried nothing");
        outcome.lost += 1;
    }
    outcome.note = format!("{}; {read} pages of 4 MB were given", outcome.note);
    outcome
}

const CONNECTIONS: usize = 100;

/// A hundred connections at once: logins with names of 15 MiB, and bodies of 16 MiB of whom nobody knows.
pub fn logins(times: u32) -> Outcome {
    let name = "n".repeat(15 << 20);
    let login = json!({ "username": name, "password": "x" }).to_string();
    let form = format!("username={name}&password=x");
    let items = format!(r#"{{"all":true,"upsert":["{}"]}}"#, "i".repeat((16 << 20) - 64));
    let request = |path: &str, kind: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        head + body
    };
    let requests = [
        request("/fleet/v1/session", "application/json", &login),
        request("/fleet/v1/batches", "application/json", &items),
        request("/login", "application/x-www-form-urlencoded", &form),
        request("/panels/one/api/v1/access/timeprofile/items/link", "application/json", &items),
    ];
    during(
        times,
        |_| {},
        |address, _, _| {
            for _ in 0..times {
                std::thread::scope(|scope| {
                    for n in 0..CONNECTIONS {
                        let request = requests[n % requests.len()].as_bytes();
                        // Every other one keeps its last byte, so that what it has sent is held.
                        let request = &request[..request.len() - n / requests.len() % 2];
                        scope.spawn(move || {
                            let Ok(mut stream) = TcpStream::connect(address) else { return };
                            let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
                            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                            // It may be refused before it is all there.
                            let _ = stream.write_all(request);
                            let _ = stream.read(&mut [0; 64]);
                        });
                    }
                });
            }
            0
        },
    )
}

/// Bodies of 16 MiB with more than five million items that are nothing, so many at once, of an operator and a viewer.
pub fn bodies(times: u32) -> Outcome {
    let empty = |around: &str| {
        let room = ((16 << 20) - around.len()) / 3;
        let items = "{},".repeat(room);
        around.replace("[]", &format!("[{}]", items.trim_end_matches(',')))
    };
    let batch = empty(r#"{"all":true,"upsert":[]}"#);
    let windows = [
        empty(r#"{"profile":[],"zone":"UTC","from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}"#),
        empty(
            r#"{"profile":{"list_items":[]},"zone":"UTC","from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}"#,
        ),
    ];
    during(
        times,
        |_| {},
        |_, viewer, operator| {
            std::thread::scope(|scope| {
                let (batch, windows) = (&batch, &windows);
                let asking: Vec<_> = (0..times as usize)
                    .flat_map(|n| {
                        [
                            scope.spawn(move || {
                                operator.send("/fleet/v1/batches", "application/json", batch.clone())
                            }),
                            scope.spawn(move || {
                                viewer.send("/fleet/v1/windows", "application/json", windows[n % 2].clone())
                            }),
                        ]
                    })
                    .collect();
                let answers: Vec<(u16, Value)> =
                    asking.into_iter().map(|one| one.join().expect("an answer")).collect();
                let good = |status: &u16| [400, 413, 422, 429, 503].contains(status);
                let wrong: Vec<_> =
                    answers.iter().map(|(status, _)| *status).filter(|status| !good(status)).collect();
                if !wrong.is_empty() {
                    println!("answered with {wrong:?}");
                }
                wrong.len() as u64
            })
        },
    )
}
