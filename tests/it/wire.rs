//! How requests travel to devices whose HTTP is not that of the book, and with which certificates. The devices are
//! small and written here, byte for byte; those with TLS are the simulator's, or openssl's.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use panelsync::panel::device::Trouble;
use panelsync::panel::device::ask::{Answer, Method, Request};
use panelsync::panel::device::line::{IDLE_FOR, Lines, Timeouts};
use panelsync::panel::settings::{HttpAddress, Trust};
use panelsync::simulator::quirk::Quirk;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::binary::{Ran, Served, Shell, command};
use crate::support::profiles::{link, once};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

/// A device written by hand.
struct Raw {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A connection to it, the first with number 1.
struct Line {
    stream: TcpStream,
    number: usize,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Line {
    /// The next request, head and body; nothing once the other side has closed.
    fn hear(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            if self.stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            text.push(byte[0]);
        }
        let head = String::from_utf8(text).expect("a text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).ok()?;
        let whole = head + &String::from_utf8(body).expect("a text");
        self.requests.lock().expect("whole").push(whole.clone());
        Some(whole)
    }

    fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()); // who is asked may have left
    }

    fn wait(ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }
}

impl Raw {
    /// Serves each connection with this, in a thread of its own.
    fn start(serve: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        let serve = Arc::new(serve);
        Self::accepting(move |line| {
            let (serve, mut line) = (Arc::clone(&serve), line);
            std::thread::spawn(move || serve(&mut line));
        })
    }

    /// Serves one connection after the other.
    fn one_at_a_time(serve: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        Self::accepting(move |mut line| serve(&mut line))
    }

    fn accepting(take: impl Fn(Line) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (counted, kept) = (Arc::clone(&connections), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                take(Line { stream: stream.expect("accepted"), number, requests: Arc::clone(&kept) });
            }
        });
        Self { address, connections, requests }
    }

    fn remote(&self) -> HttpAddress {
        remote(&format!("http://{}", self.address), Trust::System)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("whole").clone()
    }
}

fn remote(url: &str, trust: Trust) -> HttpAddress {
    HttpAddress { url: url.into(), trust }
}

/// An answer as usual.
fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn get(path: &str) -> Request {
    Request { method: Method::Get, path: path.into(), token: None, body: None, is_slow: false }
}

async fn ask(lines: &Lines, remote: &HttpAddress, path: &str) -> Result<Answer, Trouble> {
    lines.send(remote, &get(path), None).await
}

fn text(answer: Result<Answer, Trouble>) -> String {
    String::from_utf8(answer.expect("an answer").body.to_vec()).expect("a text")
}

fn lines() -> Lines {
    Lines::new(Timeouts {
        connect: Duration::from_secs(5),
        request: Duration::from_secs(20),
        ..Timeouts::default()
    })
}

fn run<T>(what: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(what)
}

/// What comes of one call to a device that says this and closes.
fn told(bytes: impl Into<Vec<u8>>) -> Result<Answer, Trouble> {
    let bytes = bytes.into();
    let device = Raw::start(move |line| {
        line.hear();
        line.say(&bytes);
        let _ = line.stream.shutdown(Shutdown::Write);
        line.hear();
    });
    run(async { ask(&lines(), &device.remote(), "/api/info").await })
}

#[test]
fn interim_answers_are_passed_over_and_every_call_gets_its_own_answer() {
    let device = Raw::start(|line| {
        let mut n = 0;
        while line.hear().is_some() {
            n += 1;
            line.say("HTTP/1.1 100 Continue\r\n\r\n");
            Line::wait(20);
            line.say("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
            line.say(answer(&format!("answer {n}")));
        }
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        for n in 1..=3 {
            assert_eq!(text(ask(&lines, &remote, "/api/info").await), format!("answer {n}"));
        }
    });
    assert_eq!(device.connections(), 1, "interim answers are no reason to give a connection up");
}

#[test]
fn an_answer_that_nobody_asked_for_is_never_taken_for_that_of_the_next_call() {
    let late = |pause: u64, behind: &'static str| {
        Raw::start(move |line| {
            while let Some(request) = line.hear() {
                let path = request.split(' ').nth(1).expect("a path").to_owned();
                if pause == 0 {
                    line.say(answer(&path) + behind);
                } else {
                    line.say(answer(&path));
                    Line::wait(pause);
                    line.say(behind);
                }
            }
        })
    };
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    for (pause, behind) in
        [(0, second), (0, "x"), (0, "\r\n"), (40, second), (40, "HTTP/1.1 100 Continue\r\n\r\n")]
    {
        let device = late(pause, behind);
        run(async {
            let (lines, remote) = (lines(), device.remote());
            for n in 0..6 {
                let path = format!("/api/{n}");
                assert_eq!(text(ask(&lines, &remote, &path).await), path, "{pause} {behind:?}");
                tokio::time::sleep(Duration::from_millis(pause * 4)).await;
            }
        });
        assert_eq!(device.connections(), 6, "{pause} {behind:?}");
    }
}

#[test]
fn what_comes_while_a_connection_is_idle_is_noticed_when_it_is_given_up() {
    let device = Raw::start(|line| {
        while line.hear().is_some() {
            line.say(answer("yes"));
            Line::wait(50);
            line.say(answer("late"));
        }
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        assert_eq!(text(ask(&lines, &remote, "/1").await), "yes");
        tokio::time::sleep(IDLE_FOR + IDLE_FOR / 2).await;
        assert_eq!(text(ask(&lines, &remote, "/2").await), "yes");
    });
    let requests = device.requests();
    assert!(
        !requests[0].contains("Connection: close") && requests[1].contains("Connection: close"),
        "{requests:?}"
    );
}

#[test]
fn panels_behind_one_host_and_port_have_connections_of_their_own() {
    let device = Raw::start(|line| {
        while line.hear().is_some() {
            line.say(answer(&line.number.to_string()));
        }
    });
    run(async {
        let lines = lines();
        let [a, b] =
            ["a", "b"].map(|panel| remote(&format!("http://{}/{panel}", device.address), Trust::System));
        for _ in 0..3 {
            assert_eq!(text(ask(&lines, &a, "/api/info").await), "1");
            assert_eq!(text(ask(&lines, &b, "/api/info").await), "2");
        }
        // The same device under another trust is another device.
        let again = HttpAddress { trust: Trust::Pin([0; 32]), ..a.clone() };
        assert_eq!(text(ask(&lines, &again, "/api/info").await), "3");
    });
    let requests = device.requests();
    assert!(requests[0].starts_with("GET /a/api/info HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("\r\nHost: {}\r\nUser-Agent: panelsync/", device.address)));
}

#[test]
fn a_body_is_read_to_its_end_however_that_is_marked() {
    let json = r#"{"api_version":"2.9.0"}"#;
    for (what, head, body) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n", json),
        ("a length twice", "HTTP/1.1 200 OK\r\nContent-Length: 23\r\nContent-Length: 23\r\n\r\n", json),
        ("the end, and said so", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", json),
        ("the end, and nothing said", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", json),
        ("the end, in spite of what it says", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", json),
        ("the end, in HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", json),
        ("a length, in HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 23\r\n\r\n", json),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\n{\"ap\r\n13;x=y\r\ni_version\":\"2.9.0\"}\r\n0\r\nTrailer: x\r\n\r\n",
        ),
        (
            "chunks and a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ntransfer-encoding: Chunked\r\n\r\n",
            "17\r\n{\"api_version\":\"2.9.0\"}\r\n0\r\n\r\n",
        ),
        ("no reason", "HTTP/1.1 200\r\nContent-Length: 23\r\n\r\n", json),
        ("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 23\n\n", json),
        ("a folded header", "HTTP/1.1 200 OK\r\nServer: a\r\n b\r\n\tc\r\nContent-Length: 23\r\n\r\n", json),
        ("spaces before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 23\r\n\r\n", json),
        ("a line that is no header", "HTTP/1.1 200 OK\r\nwhat is this\r\nContent-Length: 23\r\n\r\n", json),
        ("loud headers", "HTTP/1.1 200 OK\r\nCONTENT-LENGTH:23\r\n\r\n", json),
        ("empty lines first", "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n", json),
    ] {
        assert_eq!(text(told(format!("{head}{body}"))), json, "{what}");
    }
}

#[test]
fn a_body_is_unpacked_and_freed_of_its_byte_order_mark_though_nobody_asked_for_either() {
    let json = r#"{"api_version":"2.9.0"}"#;
    let packed = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).expect("written");
        gzip.finish().expect("packed")
    };
    let head = |encoding: &str, length: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes()
    };
    let marked = format!("\u{feff}{json}");
    assert_eq!(text(told(answer(&marked))), json);
    let gzip = packed(marked.as_bytes());
    assert_eq!(text(told([head("gzip", gzip.len()), gzip.clone()].concat())), json);
    assert_eq!(text(told([head("identity", gzip.len()), gzip.clone()].concat())), json);
    assert_eq!(text(told([head("gzip", json.len()), json.as_bytes().to_vec()].concat())), json);
    let bomb = packed(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 1_000_000);
    let burst = told([head("gzip", bomb.len()), bomb].concat());
    assert!(
        matches!(&burst, Err(Trouble::Garbled(why)) if why.contains("unpacks to more than")),
        "{burst:?}"
    );
    let half = &gzip[..gzip.len() - 12];
    let broken = told([head("gzip", half.len()), half.to_vec()].concat());
    assert!(matches!(&broken, Err(Trouble::Garbled(why)) if why.contains("damaged")), "{broken:?}");
    let unknown = told([head("br", 1), vec![b'x']].concat());
    assert!(matches!(&unknown, Err(Trouble::Garbled(why)) if why.contains("br")), "{unknown:?}");
}

#[test]
fn an_answer_has_a_bound_which_the_caller_may_lower() {
    let device = Raw::start(|line| {
        while let Some(request) = line.hear() {
            match request.split(' ').nth(1) {
                Some("/length") => line.say("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"),
                Some("/ten") => line.say(answer("0123456789")),
                _ => {
                    line.say("HTTP/1.1 200 OK\r\n\r\n");
                    for _ in 0..10_000 {
                        line.say([b'x'; 1000]);
                    }
                }
            }
        }
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        for path in ["/length", "/endless"] {
            let long = ask(&lines, &remote, path).await;
            assert!(
                matches!(&long, Err(Trouble::Garbled(why)) if why.contains("longer than 4194304")),
                "{long:?}"
            );
        }
        let request = get("/ten");
        let ten = |limit| lines.send_within(&remote, &request, None, limit);
        assert_eq!(text(ten(10).await), "0123456789");
        assert!(matches!(ten(9).await, Err(Trouble::Garbled(_))));
    });
}

#[test]
fn a_kept_connection_that_ends_without_an_answer_costs_no_call() {
    // It answers one request on each connection, and closes it when a second one comes.
    let device = Raw::start(|line| {
        if line.hear().is_some() {
            line.say(answer("yes"));
            line.hear();
        }
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        for n in 0..8 {
            assert_eq!(text(ask(&lines, &remote, &format!("/api/{n}")).await), "yes");
        }
    });
    let requests = device.requests();
    let closing = requests.iter().filter(|request| request.contains("Connection: close")).count();
    assert!(closing >= 4, "after three such ends it gets one connection for each call: {requests:?}");
    assert!(requests.len() <= 8 + 3, "and no request twice any more: {}", requests.len());
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced_before_anything_is_sent() {
    let device = Raw::start(|line| {
        line.hear();
        line.say(answer("yes"));
        Line::wait(30);
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        for n in 0..5 {
            assert_eq!(text(ask(&lines, &remote, &format!("/api/{n}")).await), "yes");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let requests = device.requests();
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert!(
        requests.iter().all(|request| !request.contains("Connection: close")),
        "nothing was lost: {requests:?}"
    );
}

#[test]
fn a_request_of_which_an_answer_had_begun_is_not_sent_again() {
    let device = Raw::start(|line| {
        line.hear();
        line.say(answer("yes"));
        line.hear();
        line.say("HTTP/1.1 20");
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        assert_eq!(text(ask(&lines, &remote, "/api/1").await), "yes");
        let broken = ask(&lines, &remote, "/api/2").await;
        assert!(matches!(&broken, Err(Trouble::NoAnswer(why)) if why.contains("broke off")), "{broken:?}");
    });
    assert_eq!(device.requests().len(), 2);
}

#[test]
fn what_is_certainly_not_done_and_what_is_perhaps_done_are_told_apart() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        remote(&format!("http://{}", listener.local_addr().expect("bound")), Trust::System)
    };
    run(async { assert!(matches!(ask(&lines(), &nobody, "/").await, Err(Trouble::Unreachable(_)))) });
    assert!(matches!(told(""), Err(Trouble::NoAnswer(_))));
    assert!(matches!(told("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"), Err(Trouble::NoAnswer(_))));
    assert!(matches!(
        told("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
        Err(Trouble::NoAnswer(_))
    ));
    for garbage in [
        "220 mail.example ESMTP\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ] {
        let garbled = told(garbage);
        assert!(
            matches!(garbled, Err(Trouble::Garbled(_) | Trouble::NoAnswer(_))),
            "{garbage:?} {garbled:?}"
        );
    }
    assert!(matches!(told("220 mail.example ESMTP\r\n"), Err(Trouble::Garbled(_))));
    let hasty = Raw::start(|line| {
        line.say("220 mail.example ESMTP\r\n");
        line.hear();
    });
    let spoken = run(async { ask(&lines(), &hasty.remote(), "/").await });
    assert!(matches!(spoken, Err(Trouble::Unreachable(_) | Trouble::Garbled(_))), "{spoken:?}");
    // Sent on a kept connection, which then ends; and nobody takes a new one.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accepted");
        drop(listener);
        let mut line = Line { stream, number: 1, requests: Arc::default() };
        line.hear();
        line.say(answer("yes"));
        line.hear();
    });
    run(async {
        let (lines, remote) = (lines(), remote(&format!("http://{address}"), Trust::System));
        assert_eq!(text(ask(&lines, &remote, "/api/1").await), "yes");
        let gone = ask(&lines, &remote, "/api/2").await;
        assert!(matches!(gone, Err(Trouble::NoAnswer(_))), "the first sending may have been heard: {gone:?}");
    });
    serving.join().expect("served");
}

#[test]
fn an_answer_that_comes_before_the_whole_request_was_taken_is_read() {
    let device = Raw::start(|line| {
        let mut some = [0; 1000];
        let _ = line.stream.read(&mut some);
        line.say("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong");
        Line::wait(300);
    });
    let big = Request { method: Method::Post, body: Some("x".repeat(8_000_000)), ..get("/api") };
    let answer = run(async { lines().send(&device.remote(), &big, None).await });
    assert_eq!(answer.map(|answer| answer.status), Ok(413));
}

#[test]
fn a_device_that_serves_one_connection_at_a_time_is_not_held() {
    let device = Raw::one_at_a_time(|line| {
        while line.hear().is_some() {
            Line::wait(20);
            line.say(answer(&line.number.to_string()));
        }
    });
    run(async {
        let (one, another, remote) = (lines(), lines(), device.remote());
        for _ in 0..3 {
            assert_eq!(text(ask(&one, &remote, "/").await), "1", "it is used while it is held");
        }
        assert_eq!(text(ask(&another, &remote, "/").await), "2", "and given up in time for others");
        let both = futures_util::future::join(ask(&one, &remote, "/a"), ask(&one, &remote, "/b")).await;
        let started = Instant::now();
        assert_ne!(text(both.0), text(both.1));
        assert!(started.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn no_bytes_make_it_fall() {
    let mut chance = fastrand::Rng::with_seed(7);
    let pieces: [&[u8]; 14] = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Encoding: deflate\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"ffffffffffffffff\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"\x1f\x8b\x08\x00",
        b"\xef\xbb\xbf{}",
        b"\x16\x03\x01\x00\x02",
    ];
    let answers: Vec<Vec<u8>> = (0..150)
        .map(|_| {
            let mut bytes = Vec::new();
            for _ in 0..chance.usize(1..8) {
                bytes.extend_from_slice(pieces[chance.usize(..pieces.len())]);
                if chance.u8(..) < 40 {
                    bytes.push(chance.u8(..));
                }
            }
            bytes
        })
        .collect();
    let device = Raw::start(move |line| {
        while let Some(request) = line.hear() {
            let n: usize = request.split(['/', ' ']).nth(2).expect("a path").parse().expect("a number");
            line.say(&answers[n]);
            let _ = line.stream.shutdown(Shutdown::Write);
        }
    });
    run(async {
        let (lines, remote) = (lines(), device.remote());
        for n in 0..150 {
            let _ = ask(&lines, &remote, &format!("/{n}")).await; // an answer or a trouble
        }
    });
}

fn sha256(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// A certificate in these files, and itself.
fn certificate(
    folder: &Path,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (String, Vec<u8>) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    std::fs::write(folder.join("cert.pem"), certificate.pem()).expect("written");
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("written");
    (certificate.pem(), certificate.der().to_vec())
}

/// A simulated device with it.
fn simulated(folder: &Path) -> Simulated {
    let file = |name: &str| folder.join(name).to_str().expect("a text").to_owned();
    Simulated::start(1, &["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")])
}

fn ask_secure(url: &str, trust: Trust) -> Result<u16, String> {
    let asked = run(async { ask(&lines(), &remote(url, trust), "/api/info").await });
    asked.map(|answer| answer.status).map_err(|trouble| {
        assert!(
            matches!(trouble, Trouble::Certificate(_) | Trouble::NoTls(_)),
            "certainly not done: {trouble:?}"
        );
        trouble.to_string()
    })
}

#[test]
fn a_certificate_with_a_cas_marks_is_good_where_it_was_given_and_is_named_where_it_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pem, der) = certificate(folder.path(), &["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let devices = simulated(folder.path());
    let url = devices.url(1).replace("http:", "https:");
    assert_eq!(ask_secure(&url, Trust::Ca(pem.as_str().into())), Ok(200));
    assert_eq!(ask_secure(&url, Trust::Pin(sha256(&der))), Ok(200));
    let other = tempfile::tempdir().expect("a folder");
    let (another, _) = certificate(other.path(), &["127.0.0.1"], |_| {});
    let mut shown = String::new();
    for trust in [Trust::System, Trust::Ca(another.into()), Trust::Pin([7; 32])] {
        shown.push_str(&ask_secure(&url, trust).expect_err("another"));
    }
    let digest: String = sha256(&der).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown.matches(&digest).count(), 3, "each says which one is there: {shown}");
    for debug in ["Other(", "CaUsedAsEndEntity", "BadSignature", "UnknownIssuer"] {
        assert!(!shown.contains(debug), "words for people: {shown}");
    }
}

#[test]
fn a_given_certificate_is_still_held_to_its_name_and_its_dates() {
    let days = |n: i64| rcgen::date_time_ymd(2020 + i32::try_from(n).expect("a year"), 1, 2);
    for (names, from, until, says) in [
        (vec!["door.example"], 0, 100, Some("it is for door.example, not for 127.0.0.1")),
        (vec![], 0, 100, Some("it bears no name")),
        (vec!["127.0.0.1"], -5, 1, Some("it expired on 2021-01-02")),
        (vec!["127.0.0.1"], 100, 101, Some("it is valid from 2120-01-02 on only")),
        (vec!["127.0.0.1"], -5, 100, None),
    ] {
        for ca in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let (pem, der) = certificate(folder.path(), &names, |params| {
                (params.not_before, params.not_after) = (days(from), days(until));
                if ca {
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                }
            });
            let devices = simulated(folder.path());
            let url = devices.url(1).replace("http:", "https:");
            let asked = ask_secure(&url, Trust::Ca(pem.into()));
            match says {
                None => assert_eq!(asked, Ok(200)),
                Some(says) => {
                    let said = asked.expect_err("not good");
                    assert!(said.contains(says) && said.contains("--pin"), "{said}");
                }
            }
            assert_eq!(ask_secure(&url, Trust::Pin(sha256(&der))), Ok(200), "a pin asks for neither");
        }
    }
}

#[test]
fn old_tls_and_no_tls_are_named_as_what_they_are() {
    let says = |bytes: &'static [u8]| {
        let device = Raw::start(move |line| {
            let mut hello = [0; 1000];
            let _ = line.stream.read(&mut hello);
            line.say(bytes);
            let _ = line.stream.shutdown(Shutdown::Write);
            let _ = line.stream.read(&mut hello);
        });
        ask_secure(&format!("https://{}", device.address), Trust::Pin([7; 32])).expect_err("no TLS")
    };
    // An alert: protocol version. Then a hello in TLS 1.0.
    assert!(says(&[0x15, 3, 1, 0, 2, 2, 70]).contains("older than 1.2"));
    let mut hello = vec![0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([9; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    assert!(says(hello.leak()).contains("older than 1.2"));
    assert!(says(&[0x15, 3, 3, 0, 2, 2, 40]).contains("no way of encryption in common"));
    assert!(says(b"HTTP/1.1 400 Bad Request\r\n\r\n").contains("speaks no TLS"));
    // And TLS where there should be none.
    let tls = told([0x15, 3, 1, 0, 2, 2, 70]);
    assert!(matches!(&tls, Err(Trouble::Garbled(why)) if why.contains("https://")), "{tls:?}");
}

/// A TLS server of openssl, for what rustls does not do.
struct OpenSsl(Child);

impl OpenSsl {
    /// A server that shows this certificate and answers with a page, or nothing where there is no openssl.
    fn serve(folder: &Path, args: &[&str]) -> Option<(Self, String)> {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-cert", "cert.pem", "-key", "key.pem", "-www", "-quiet", "-accept"]);
        command.arg(format!("127.0.0.1:{port}")).args(args).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().ok()?);
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "openssl does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some((server, format!("https://127.0.0.1:{port}")))
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_short_key_is_good_enough_for_a_pin_and_for_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-subj", "/CN=door", "-addext", "subjectAltName=IP:127.0.0.1"])
        .current_dir(folder.path())
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("there is no openssl here");
        return;
    }
    let pem = std::fs::read_to_string(folder.path().join("cert.pem")).expect("written");
    let der = {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    };
    let weak = ["-cipher", "DEFAULT@SECLEVEL=0"];
    for versions in [&["-tls1_2"][..], &[]] {
        let (_server, url) = OpenSsl::serve(folder.path(), &[&weak[..], versions].concat()).expect("openssl");
        assert_eq!(ask_secure(&url, Trust::Pin(sha256(&der))), Ok(200), "{versions:?}");
        let said = ask_secure(&url, Trust::Ca(pem.as_str().into())).expect_err("too short");
        assert!(said.contains("2048 bits") && said.contains("--pin"), "{said}");
    }
    let (_server, url) = OpenSsl::serve(folder.path(), &[&weak[..], &["-tls1_3"]].concat()).expect("openssl");
    let said = ask_secure(&url, Trust::Pin(sha256(&der))).expect_err("TLS 1.3 wants longer keys");
    assert!(!said.contains("--pin"), "that was done: {said}");
}

#[test]
fn a_pinned_certificate_whose_key_another_has_is_not_enough() {
    // A certificate of version 1 and another key: what is shown is right, who shows it is not.
    let folder = tempfile::tempdir().expect("a folder");
    let (_, der) = certificate(folder.path(), &["127.0.0.1"], |_| {});
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
            "-x509v1",
        ])
        .args(["-subj", "/CN=door"])
        .current_dir(folder.path())
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("there is no openssl here that makes such certificates");
        return;
    }
    let pem = std::fs::read_to_string(folder.path().join("cert.pem")).expect("written");
    let old = {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    };
    let (_server, url) = OpenSsl::serve(folder.path(), &[]).expect("openssl");
    assert_eq!(ask_secure(&url, Trust::Pin(sha256(&old))), Ok(200));
    assert!(ask_secure(&url, Trust::Pin(sha256(&der))).is_err());
    let said = ask_secure(&url, Trust::Ca(pem.into())).expect_err("it has no names");
    assert!(said.contains("--pin") && !said.contains("UnsupportedCertVersion"), "{said}");
}

#[test]
fn whoever_gets_no_answer_is_told_whether_what_was_asked_is_perhaps_done() {
    let silent = Raw::start(|line| {
        line.hear();
    });
    let shell = Shell::new(silent.address, Some("a token"));
    let ran = shell.run(&["delete", "--all", "--yes", &link(1)]);
    assert_eq!(ran.exit, Some(3), "{ran}");
    assert!(ran.stderr.contains("perhaps it has done what was asked: look there"), "{ran}");
    let looked = shell.run(&["status"]);
    assert!(looked.stderr.contains("can't be reached") && !looked.stderr.contains("perhaps"), "{looked}");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let unsent = Shell::new(nobody, Some("a token")).run(&["delete", "--all", "--yes", &link(1)]);
    assert!(unsent.stderr.contains("can't be reached") && !unsent.stderr.contains("perhaps"), "{unsent}");
}

#[test]
fn the_command_line_trusts_a_private_ca_and_keeps_it_with_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pem, der) = certificate(folder.path(), &["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let file = |name: &str| folder.path().join(name).to_str().expect("a text").to_owned();
    let data = tempfile::tempdir().expect("a folder");
    let served = Served::start_tls_with(
        data.path(),
        "123456",
        &["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")],
    );
    let pin: String = sha256(&der).iter().map(|byte| format!("{byte:02x}")).collect();
    let login = ["login", "--username", "admin", "--password-stdin"];
    let shell = || Shell::secure(served.address);
    let done = |ran: &Ran| assert_eq!(ran.exit, Some(0), "{ran}");

    let stranger = shell().run_with(&login, "123456\n");
    assert_eq!(stranger.exit, Some(3), "{stranger}");
    assert!(
        stranger.stderr.contains(&format!("--pin {pin}")) && stranger.stderr.contains("--ca-file"),
        "{stranger}"
    );

    for how in [["--ca-file", &file("cert.pem")], ["--pin", &pin]] {
        let shell = shell();
        done(&shell.run_with(&[&login[..], &how].concat(), "123456\n"));
        done(&shell.run(&["status"])); // kept
        done(&shell.run_with(&login, "123456\n"));
        done(&shell.run(&["status"])); // and not lost with the next login
        let kept =
            std::fs::read_to_string(shell.home.path().join(".config/panelsync/tokens.json")).expect("kept");
        assert!(kept.contains(&pin) || kept.contains("BEGIN CERTIFICATE"), "{kept}");
        let wrong = shell.run(&["--pin", &"0".repeat(64), "status"]);
        assert_eq!(wrong.exit, Some(3), "what is said goes before what is kept: {wrong}");
        assert!(wrong.stderr.contains("it is not the pinned one"), "{wrong}");
        let backup = shell.run(&["backup", "copy.redb"]);
        done(&backup);
    }
    let token = {
        let shell = shell();
        done(&shell.run_with(&[&["--ca-file", &file("cert.pem")], &login[..]].concat(), "123456\n"));
        let kept =
            std::fs::read_to_string(shell.home.path().join(".config/panelsync/tokens.json")).expect("kept");
        let kept: Value = serde_json::from_str(&kept).expect("JSON");
        kept[format!("https://{}", served.address)]["token"].as_str().expect("a token").to_owned()
    };
    for (name, value) in [
        ("SSL_CERT_FILE", file("cert.pem")),
        ("PANELSYNC_CA_FILE", file("cert.pem")),
        ("PANELSYNC_PIN", pin.clone()),
    ] {
        let server = format!("https://{}", served.address);
        let mut status = command();
        status.args(["--server", &server, "--token", &token, "status"]).env(name, &value);
        status.env("HOME", folder.path());
        let output = status.output().expect("it runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for wrong in [["--pin", "12"], ["--ca-file", "nothing.pem"]] {
        let ran = shell().run(&[&wrong[..], &["status"]].concat());
        assert_eq!(ran.exit, Some(2), "{ran}");
    }
    let plain = Shell::new(served.address, None).run(&["--pin", &pin, "status"]);
    assert_eq!(plain.exit, Some(2), "a pin is of no use without https: {plain}");
    assert!(!pem.is_empty());
}

/// What the simulator says to one call, as it comes; `more` requests follow on the same connection.
fn raw_answer(devices: &Simulated, more: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(devices.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let mut all = Vec::new();
    for n in 0..=more {
        let close = if n == more { "connection: close\r\n" } else { "" };
        let request = format!("GET /panels/sim-0001/api/info HTTP/1.1\r\nhost: x\r\n{close}\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.read_to_end(&mut all); // until it closes, in whatever way
    all
}

#[test]
fn the_simulator_shows_each_quirk_of_the_line_and_every_call_is_answered_in_spite_of_it() {
    let devices = Simulated::start(2, &[]);
    let plain = remote(&devices.url(2), Trust::System);
    let odd = remote(&devices.url(1), Trust::System);
    let shows = |quirk: &str, more: usize, shown: &[u8]| {
        devices.faults(Some(1), &json!({ "quirks": [quirk] }));
        let all = raw_answer(&devices, more);
        let there = all.windows(shown.len()).any(|window| window == shown);
        assert!(there, "{quirk}: {}", String::from_utf8_lossy(&all));
        run(async {
            let lines = lines();
            for _ in 0..5 {
                let answer = text(ask(&lines, &odd, "/api/info").await);
                let value: Value = serde_json::from_str(&answer).expect("JSON");
                assert!(value["api_version"].is_string(), "{quirk}: {answer}");
                assert!(text(ask(&lines, &plain, "/api/info").await).starts_with('{'));
            }
            // Kept connections from before are no hindrance, in either direction.
            devices.faults(Some(1), &json!({}));
            assert!(text(ask(&lines, &odd, "/api/info").await).starts_with('{'));
            devices.faults(Some(1), &json!({ "quirks": [quirk] }));
            assert!(text(ask(&lines, &odd, "/api/info").await).starts_with('{'));
        });
        all
    };
    shows("interim", 0, b"HTTP/1.1 103 Early Hints\r\n");
    shows("late-answer", 0, b"}HTTP/1.1 200 OK\r\n");
    let all = shows("until-close", 0, b"HTTP/1.1 200 OK\r\n");
    assert!(!String::from_utf8_lossy(&all).to_lowercase().contains("content-length"));
    shows("http-10", 0, b"HTTP/1.0 200 OK\r\n");
    shows("odd-headers", 0, b"HTTP/1.1 200\nserver: simulated\n  by panelsync\nthis is no header\n");
    shows("chunk-slow", 0, b"\r\n\r\n7\r\n{");
    shows("bom", 0, b"\xef\xbb\xbf{");
    shows("gzip", 0, b"\x1f\x8b\x08");
    shows("deflate", 0, b"content-encoding: deflate\r\n");
    let all = shows("second-request-close", 1, b"api_version");
    assert_eq!(
        String::from_utf8_lossy(&all).matches("HTTP/1.1 200").count(),
        1,
        "the second is not answered"
    );
    shows("close-after", 0, b"api_version");
    shows("one-connection", 0, b"api_version");
}

/// A free port whose next one is free too.
fn two_free_ports() -> SocketAddr {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        if TcpListener::bind((first.ip(), first.port().saturating_add(1))).is_ok() {
            return first;
        }
    }
}

#[test]
fn a_simulated_device_with_quirks_of_the_line_is_at_its_own_port_and_behind_tls_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pem, _) = certificate(folder.path(), &["127.0.0.1"], |_| {});
    let devices = simulated(folder.path());
    devices.faults(None, &json!({ "quirks": ["interim", "until-close", "bom"] }));
    let url = devices.url(1).replace("http:", "https:");
    for _ in 0..3 {
        assert_eq!(ask_secure(&url, Trust::Ca(pem.as_str().into())), Ok(200));
    }
    let port = two_free_ports();
    let devices = Simulated::start_at(port, 2, &["--port-per-panel"]);
    devices.faults(Some(2), &json!({ "quirks": ["late-answer"], "serial": "second" }));
    run(async {
        let lines = lines();
        for n in [0, 1, 0, 1] {
            let url = format!("http://{}:{}", port.ip(), port.port() + n);
            let answer = text(ask(&lines, &remote(&url, Trust::System), "/api/info").await);
            assert_eq!(answer.contains("second"), n == 1, "{answer}");
        }
    });
}

#[test]
fn panels_with_quirks_of_the_line_are_added_pushed_to_and_compared_as_any_other() {
    let quirks: Vec<_> = Quirk::ALL.into_iter().filter(|quirk| quirk.is_of_the_line()).collect();
    let devices = Simulated::start(quirks.len(), &[]);
    for (n, quirk) in (1..).zip(&quirks) {
        devices.faults(Some(n), &json!({ "quirks": [quirk] }));
    }
    let server = TestServer::start();
    for (n, quirk) in (1..).zip(&quirks) {
        let panel = json!({ "id": quirk.as_str(), "driver": "http", "url": devices.url(n), "username": "admin",
            "password": "123456" });
        let answer = server.fleet("POST", "/panels").json(&panel).send();
        assert_eq!(answer.status, 201, "{answer}");
    }
    let push = |batch: Value| {
        let answer = server.fleet("POST", "/batches").header("prefer", "wait=60").json(&batch).send();
        assert_eq!(answer.value()["panels"]["applied"], quirks.len(), "{answer}");
    };
    let differ = || {
        let diff = server.fleet("GET", "/diff").send().value();
        let items = diff["items"].as_array().expect("items").clone();
        assert_eq!(items.len(), quirks.len(), "{diff}");
        assert!(items.iter().all(|item| item["state"] == "same"), "{diff}");
    };
    push(json!({ "all": true, "upsert": [once(1, "a"), once(2, "b"), once(3, "c")] }));
    differ();
    push(json!({ "all": true, "upsert": [once(1, "another"), once(2, "b")], "delete": [link(3)] }));
    differ();
    devices.faults(None, &json!({}));
    for (n, quirk) in (1..).zip(&quirks) {
        let held = devices.holds(n);
        assert_eq!(held.values().collect::<Vec<_>>(), ["another", "b"], "{quirk}");
    }
}
