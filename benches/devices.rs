//! Ten profiles to a fleet of simulated devices in another process, from what is asked to what every device has
//! confirmed; beside it, in the same run and against the same devices, what else would do it. And one device that is
//! filled with identifiers.
//!
//! `cargo bench --bench devices` prints the medians and ratios. Every contender makes the same three requests per
//! device (what are you, log in, ten profiles), with other bodies each round. `aiohttp` is run with the Python in
//! `PYTHON` (python3 without), `wrk` and `curl` from the path; one that is not there is left out and said to be.
//! `-- fan-out`, `-- fill` and `-- requests` run one of its parts, `-- --test` runs everything once and small.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

mod served;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use panelsync::batch::item::Kind;
use panelsync::panel::device::Device;
use panelsync::panel::device::ask::{self, Outgoing};
use panelsync::panel::device::line::{Lines, Timeouts};
use panelsync::panel::dialect::Dialect;
use panelsync::panel::settings::{DeviceAddress, HttpAddress, Remote, Trust};
use panelsync::profile::rule::Family;
use serde_json::{Value, json};

use served::{ITEMS, Running, Server, cards, median, profiles};

const PASSWORD_MD5: &str = "e10adc3949ba59abbe56e057f20f883e";

/// How much is measured.
struct Size {
    panels: usize,
    rounds: usize,
    seconds: u64,
    /// Identifiers that one device is filled with.
    identifiers: usize,
}

fn main() {
    let asked = |what: &str| std::env::args().any(|arg| arg == what);
    let size = if asked("--test") {
        Size { panels: 20, rounds: 1, seconds: 1, identifiers: 120 }
    } else {
        Size { panels: 1000, rounds: 5, seconds: 3, identifiers: 5000 }
    };
    let some = ["fan-out", "fill", "requests"].iter().any(|part| asked(part));
    let wanted = |part: &str| !some || asked(part);
    if wanted("fan-out") {
        fan_out(&size);
    }
    if wanted("fill") {
        for latency in ["0ms", "50ms"] {
            fill(&size, latency);
        }
    }
    if wanted("requests") {
        for tls in [false, true] {
            requests(&size, tls);
        }
    }
}

fn address_of(address: SocketAddr, n: usize, scheme: &str, trust: Trust) -> HttpAddress {
    HttpAddress { url: format!("{scheme}://{address}/panels/sim-{n:04}").into(), trust }
}

fn fan_out(size: &Size) {
    let Size { panels, rounds, .. } = *size;
    println!("\n{ITEMS} profiles to each of {panels} devices that take 50 ms for an answer, 1,000 at once");
    println!("three requests to each: what are you, log in, ten profiles; median of {rounds}\n");
    let (mut ours, mut bare, mut hanging, mut next) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut python, mut unlimited) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let devices = Running::devices(panels, &["--latency", "50ms"]);
        bare.push(bare_loop(&devices, panels, round));
        let (first, second) = panelsync(&devices, panels, round + 100, None);
        ours.push(first);
        next.push(second);
        python.extend(aiohttp(&devices, panels, round + 200, 100));
        unlimited.extend(aiohttp(&devices, panels, round + 300, 0));
        hanging.push(panelsync(&devices, panels, round + 400, Some(panels / 2)).0);
    }
    let (ours, next) = (median(ours), median(next));
    let line = |what: &str, seconds: f64| {
        println!("{what:<42} {:>9.0} ms  {:>6.2} x panelsync", seconds * 1000.0, seconds / ours);
    };
    line("panelsync, durable before and after", ours);
    line("… the others, when one of them hangs", median(hanging));
    line("… the next batch, one request to each", next);
    let bare = median(bare);
    line("the same requests in a bare loop", bare);
    if python.is_empty() {
        println!("{:<42} (no aiohttp here)", "asyncio and aiohttp");
    } else {
        line("asyncio and aiohttp, 100 connections", median(python));
        line("… without that limit", median(unlimited));
    }
    let devices = Running::devices(panels, &["--latency", "50ms"]);
    match curl(&devices, panels) {
        Some(seconds) => line("xargs -P 64 curl, once", seconds),
        None => println!("{:<42} (no curl here)", "xargs -P 64 curl"),
    }
    println!("\npanelsync ÷ bare loop: {:.2} (goal: at most 1.5)", ours / bare);
}

/// From the submission to the outcome of every device, through the real server: of a first batch, and of the next
/// one, for which it has its sessions. With a device that hangs, to the outcome of all others.
fn panelsync(devices: &Running, panels: usize, round: usize, hangs: Option<usize>) -> (f64, f64) {
    let server = Server::start(if hangs.is_some() { 0 } else { 120 }, &[]);
    server.add(devices, panels);
    let faults = |hang: u32| {
        if let Some(n) = hangs {
            let body =
                json!({ "panels": [format!("sim-{n:04}")], "faults": { "hang": hang, "latency": "50ms" } });
            ureq::post(format!("http://{}/sim/faults", devices.addresses[1]))
                .header("content-type", "application/json")
                .send(body.to_string())
                .expect("switched");
        }
    };
    let wanted = panels - usize::from(hangs.is_some());
    let batch = |round| server.push(&json!({ "all": true, "upsert": profiles(round) }), wanted);
    faults(100);
    let took = (batch(round), batch(round + 1000));
    faults(0);
    took
}

/// Items as a device is sent them.
fn outgoing(items: &[Value]) -> Vec<Outgoing> {
    let outgoing = |item: &Value| {
        let mut body = item.as_object().expect("an object").clone();
        let link = body.remove("link_id").expect("there");
        let link = link.as_str().expect("a text").parse().expect("a link_id");
        Outgoing {
            link_id: link,
            json: Value::from(body).to_string().into(),
            secret: "".into(),
            is_slow: false,
        }
    };
    items.iter().map(outgoing).collect()
}

/// A device that was asked what it is, with a session.
async fn bare_device(address: SocketAddr, n: usize, lines: Rc<Lines>) -> Device {
    let family = Family::Android;
    let dialect = Dialect::of(family, Dialect::default_version(family)).expect("there is one");
    let address = DeviceAddress::Http(address_of(address, n, "http", Trust::System));
    let remote = Remote { address, username: "admin".into(), repair: false };
    let mut device = Device::new("d", dialect, remote, PASSWORD_MD5.into(), lines);
    device.info().await.expect("a panel");
    device.log_in().await.expect("a session");
    device
}

/// Items of a kind in one call, as the server has it without a setting.
const CHUNK: usize = 50;

/// One device that holds nothing gets the profiles and then all identifiers, so many in a call; each round another
/// device of the same process.
fn fill(size: &Size, latency: &str) {
    let Size { identifiers, rounds, .. } = *size;
    println!(
        "\n{identifiers} identifiers to one device that takes {latency} for an answer, {CHUNK} in a call"
    );
    let devices = Running::devices(2 * rounds, &["--latency", latency]);
    let server = Server::start(300, &[]);
    server.add(&devices, 2 * rounds);
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (first, second) = (2 * round + 1, 2 * round + 2);
        let batch = json!({ "panels": [format!("d{first:04}")], "upsert": profiles(round),
            "identifiers": { "upsert": cards(identifiers) } });
        let its = server.push(&batch, 1);
        let alone = bare_fill(&devices, second, round, identifiers);
        ratios.push(alone / its);
        ours.push(its);
        bare.push(alone);
    }
    let line = |what: &str, seconds: Vec<f64>| {
        let seconds = median(seconds);
        println!("{what:<42} {:>9.0} ms  {:>9.0} /s", seconds * 1000.0, identifiers as f64 / seconds);
    };
    line("panelsync, durable before and after", ours);
    line("the same calls in a bare loop", bare);
    println!("panelsync's rate ÷ the bare loop's: {:.2} (goal: at least 0.7)", median(ratios));
}

/// The same calls one after the other, and nothing else.
fn bare_fill(devices: &Running, n: usize, round: usize, identifiers: usize) -> f64 {
    let address = devices.addresses[0];
    let (profiles, cards) = (outgoing(&profiles(round)), outgoing(&cards(identifiers)));
    actix_web::rt::System::new().block_on(async move {
        let lines = Rc::new(Lines::new(Timeouts::default()));
        let started = Instant::now();
        let mut device = bare_device(address, n, lines).await;
        let calls = [(Kind::Profile, &profiles[..])].into_iter();
        for (kind, items) in calls.chain(cards.chunks(CHUNK).map(|cards| (Kind::Identifier, cards))) {
            let said = device.upsert(kind, items).await.expect("answers");
            assert!(said.iter().flatten().all(|said| said.success), "{said:?}");
        }
        started.elapsed().as_secs_f64()
    })
}

/// The same three requests per device and nothing else: no store, no actors, no order, no retry.
fn bare_loop(devices: &Running, panels: usize, round: usize) -> f64 {
    let address = devices.addresses[0];
    let items = outgoing(&profiles(round));
    actix_web::rt::System::new().block_on(async move {
        let lines = Rc::new(Lines::new(Timeouts::default()));
        let started = Instant::now();
        stream::iter(1..=panels)
            .map(|n| {
                let (lines, items) = (Rc::clone(&lines), &items);
                async move {
                    let mut device = bare_device(address, n, lines).await;
                    let said = device.upsert(Kind::Profile, items).await.expect("answers");
                    assert!(said.iter().flatten().all(|said| said.success));
                }
            })
            .buffer_unordered(1000)
            .for_each(|()| async {})
            .await;
        started.elapsed().as_secs_f64()
    })
}

/// `limit` is how many connections the session opens at once: 100 unless one says otherwise, 0 for no limit.
fn aiohttp(devices: &Running, panels: usize, round: usize, limit: usize) -> Option<f64> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/devices.py");
    let mut child = Command::new(python)
        .args([script, &format!("http://{}", devices.addresses[0]), &panels.to_string(), &limit.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let body = json!({ "list_items": profiles(round) }).to_string();
    let _ = child.stdin.take()?.write_all(body.as_bytes()); // a script that could not start reads nothing
    let output = child.wait_with_output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn curl(devices: &Running, panels: usize) -> Option<f64> {
    let folder = tempfile::tempdir().expect("a folder");
    let body = folder.path().join("body.json");
    std::fs::write(&body, json!({ "list_items": profiles(900) }).to_string()).expect("written");
    let script = format!(
        r#"base=http://{}/panels/$1; curl -sf $base/api/info >/dev/null &&
        token=$(curl -sf "$base/api/v1/login?username=admin&password={PASSWORD_MD5}" | sed 's/.*"token":"\([^"]*\)".*/\1/') &&
        curl -sf -H "authorization: Bearer $token" -H "content-type: application/json" --data-binary @{} $base/api/v1/access/timeprofile/items/link >/dev/null"#,
        devices.addresses[0],
        body.display()
    );
    let started = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-P", "64", "-n", "1", "sh", "-c", &script, "sh"])
        .stdin(Stdio::piped())
        .spawn()
        .ok()?;
    let ids: String = (1..=panels).map(|n| format!("sim-{n:04}\n")).collect();
    child.stdin.take()?.write_all(ids.as_bytes()).ok()?;
    let status = child.wait().ok()?;
    status.success().then(|| started.elapsed().as_secs_f64())
}

/// Requests a second of the device client, without latency, beside `wrk` on the same devices.
fn requests(size: &Size, tls: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, own.cert.pem()).expect("written");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("written");
    let (chain, key) = (chain.to_string_lossy(), key.to_string_lossy());
    let args = if tls { vec!["--tls-cert", &*chain, "--tls-key", &*key] } else { Vec::new() };
    let devices = Running::devices(256, &args);
    let scheme = if tls { "https" } else { "http" };
    let trust = if tls { Trust::Ca(own.cert.pem().into()) } else { Trust::System };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..size.rounds {
        ours.push(client_rate(&devices, scheme, &trust, size.seconds));
        theirs.extend(wrk_rate(&devices, scheme, size.seconds));
    }
    let ours = median(ours);
    if theirs.is_empty() {
        println!("{scheme}, 256 connections: {ours:.0} requests/s (no wrk here)");
    } else {
        let theirs = median(theirs);
        println!(
            "{scheme}, 256 connections: {ours:.0} requests/s, wrk {theirs:.0}: {:.2} of it (goal: at least 0.75)",
            ours / theirs
        );
    }
}

fn client_rate(devices: &Running, scheme: &'static str, trust: &Trust, seconds: u64) -> f64 {
    let address = devices.addresses[0];
    let trust = trust.clone();
    actix_web::rt::System::new().block_on(async move {
        let lines = Rc::new(Lines::new(Timeouts::default()));
        let started = Instant::now();
        let end = started + Duration::from_secs(seconds);
        let counts = (1..=256).map(|n| {
            let (lines, device) = (Rc::clone(&lines), address_of(address, n, scheme, trust.clone()));
            async move {
                let mut count = 0_u64;
                while Instant::now() < end {
                    let answer = lines.send(&device, &ask::info(), None).await.expect("an answer");
                    assert_eq!(answer.status, 200);
                    count += 1;
                }
                count
            }
        });
        let counts = futures_util::future::join_all(counts).await;
        counts.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64()
    })
}

fn wrk_rate(devices: &Running, scheme: &str, seconds: u64) -> Option<f64> {
    let url = format!("{scheme}://{}/panels/sim-0001/api/info", devices.addresses[0]);
    let output = Command::new("wrk").args(["-t1", "-c256", &format!("-d{seconds}"), &url]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?.trim().parse().ok()
}
