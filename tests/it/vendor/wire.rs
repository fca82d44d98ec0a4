//! How a device of the stand-in speaks HTTP/1.1: a listener on a free loopback port, one thread for each connection,
//! which is kept until the client goes. Everything is bounded, and nothing goes on once it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

/// The longest head of a request, in bytes.
const HEAD: u64 = 16 * 1024;

/// The longest body of a request, in bytes.
const BODY: usize = 4 * 1024 * 1024;

/// So many connections at once; another one is closed at once.
const CONNECTIONS: usize = 64;

/// A request.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered. No body where it is null.
pub struct Answer {
    pub status: u16,
    pub allow: Option<String>,
    pub body: Value,
}

/// What answers.
pub trait Answers: Send + Sync {
    /// The answer to this request.
    fn answer(&self, asked: &Asked) -> Answer;

    /// Takes note of something that is no HTTP, or none that a device takes.
    fn note(&self, what: String);
}

/// A device that listens. It stops when it is dropped, with all its connections.
pub struct Listening {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Listening {
    pub fn start(device: Arc<dyn Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stopping, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, streams) = (Arc::clone(&stopping), Arc::clone(&open));
        let accepting = std::thread::spawn(move || accept(&listener, &device, &stop, &streams));
        Self { address, stopping, open, accepting: Some(accepting) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        for stream in self.open.lock().expect("whole").iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The listener waits for somebody: this is somebody.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    device: &Arc<dyn Answers>,
    stop: &AtomicBool,
    open: &Mutex<Vec<TcpStream>>,
) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming().flatten() {
        let mut kept = open.lock().expect("whole");
        // Under the lock, so that a connection is either here to be shut down, or refused.
        if stop.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        kept.retain(|stream| stream.peer_addr().is_ok());
        if threads.len() >= CONNECTIONS {
            continue;
        }
        if let Ok(copy) = stream.try_clone() {
            kept.push(copy);
        }
        drop(kept);
        let device = Arc::clone(device);
        threads.push(std::thread::spawn(move || converse(&stream, &*device)));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Answers one request after another until the client goes or says something that is no HTTP.
fn converse(stream: &TcpStream, device: &dyn Answers) {
    let mut reader = BufReader::new(stream);
    loop {
        let asked = match read(&mut reader) {
            Ok(Some(asked)) => asked,
            Ok(None) => break,
            Err(what) => {
                device.note(what);
                let _ = (&*stream)
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                break;
            }
        };
        let answer = device.answer(&asked);
        let last = asked.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if write(stream, &answer, asked.method == "HEAD", last).is_err() || last {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn write(mut stream: &TcpStream, answer: &Answer, head_only: bool, last: bool) -> std::io::Result<()> {
    let body = if answer.body.is_null() { String::new() } else { answer.body.to_string() };
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Other",
    };
    let mut text = format!("HTTP/1.1 {} {reason}\r\ncontent-length: {}\r\n", answer.status, body.len());
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    if let Some(allow) = &answer.allow {
        text.push_str(&format!("allow: {allow}\r\n"));
    }
    if last {
        text.push_str("connection: close\r\n");
    }
    text.push_str("\r\n");
    if !head_only {
        text.push_str(&body);
    }
    stream.write_all(text.as_bytes())
}

/// A whole request; `None` where the client has gone, an error where it is none that a device takes.
fn read(reader: &mut BufReader<&TcpStream>) -> Result<Option<Asked>, String> {
    let mut left = HEAD;
    let Some(first) = line(reader, &mut left)? else { return Ok(None) };
    let words: Vec<_> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err(format!("no request line of HTTP/1.1: {first}"));
    };
    let mut headers = Vec::new();
    loop {
        let Some(header) = line(reader, &mut left)? else { return Ok(None) };
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else {
            return Err(format!("no header: {header}"));
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut asked = Asked {
        method: method.to_owned(),
        path: decoded(path, false).ok_or_else(|| format!("no path: {path}"))?,
        query: Vec::new(),
        headers,
        body: Vec::new(),
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let both = (decoded(name, true), decoded(value, true));
        let (Some(name), Some(value)) = both else { return Err(format!("no query: {query}")) };
        asked.query.push((name, value));
    }
    if asked.header("host").is_none_or(str::is_empty) {
        return Err(format!("{method} {path}: without a host"));
    }
    if asked.header("transfer-encoding").is_some() {
        return Err(format!("{method} {path}: a body without a length"));
    }
    let length = asked.header("content-length").map_or(Ok(0), str::parse::<usize>);
    let length = length.map_err(|_| format!("{method} {path}: a content-length that is none"))?;
    if length > BODY {
        return Err(format!("{method} {path}: a body of {length} bytes"));
    }
    asked.body = vec![0; length];
    Ok(reader.read_exact(&mut asked.body).is_ok().then_some(asked))
}

/// A line of the head without its end; `None` where the client has gone.
fn line(reader: &mut BufReader<&TcpStream>, left: &mut u64) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    if reader.by_ref().take(*left).read_until(b'\n', &mut bytes).is_err() || bytes.is_empty() {
        return if *left == 0 { Err("a head that is too long".into()) } else { Ok(None) };
    }
    *left -= bytes.len() as u64;
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => String::from_utf8(line.to_vec()).map(Some).map_err(|_| "a head that is no text".into()),
        None => Err("a line of the head that does not end".into()),
    }
}

/// Without percent signs; `None` where they say nothing.
fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
