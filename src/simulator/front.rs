//! The line's quirks, which no HTTP server that is worth its name can show: a small raw one in front of the panels.
//!
//! As long as no panel has such a quirk, connections go straight to the panels' server, which is as fast as ever.
//! With the first such quirk that server stops accepting, and this one takes over its ports: it reads each request,
//! has it answered by the panels' routes behind it, and gives the answer as the panel's quirks have it. Connections
//! from before are closed at their next request.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::faults::Panels;
use super::quirk::{Quirk, Quirks};

/// Of a request, so many bytes are taken.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// A device that closes kept connections does so after this time.
const CLOSE_AFTER: Duration = Duration::from_millis(30);

/// What lies before a slow body's first pieces, how long they are, and how many there are.
const PAUSE: Duration = Duration::from_millis(2);
const PIECE: usize = 7;
const PIECES: usize = 12;

/// Takes the panels' ports over, and gives them back.
pub struct Front {
    direct: ServerHandle,
    serving: watch::Sender<bool>,
    panels: web::Data<Panels>,
    switching: tokio::sync::Mutex<()>,
}

/// What its connections need.
struct Serving {
    panels: web::Data<Panels>,
    behind: SocketAddr,
    tls: Option<TlsAcceptor>,
    /// Of panels that serve one connection at a time.
    turns: Mutex<HashMap<usize, Arc<Semaphore>>>,
}

impl Front {
    /// In front of the server `direct`, which listens at the same `listeners`; requests are answered by the one at
    /// `behind`. It ends with `stopping`.
    pub fn start(
        direct: ServerHandle,
        listeners: Vec<StdListener>,
        behind: SocketAddr,
        panels: web::Data<Panels>,
        tls: Option<ServerConfig>,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let serving = watch::Sender::new(false);
        let shared = Arc::new(Serving {
            panels: panels.clone(),
            behind,
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            turns: Mutex::default(),
        });
        let on = serving.subscribe();
        std::thread::Builder::new()
            .name("simulator-front".to_owned())
            .spawn(move || run(listeners, &shared, &on, stopping))?;
        Ok(Self { direct, serving, panels, switching: tokio::sync::Mutex::default() })
    }

    /// Takes over or gives back, as the panels' quirks want it.
    pub async fn switch(&self) {
        let _one = self.switching.lock().await;
        let wanted = self.panels.any_quirk_of_the_line();
        if wanted == *self.serving.borrow() {
            return;
        }
        if wanted {
            self.direct.pause().await;
        }
        self.serving.send_replace(wanted);
        if !wanted {
            self.direct.resume().await;
        }
    }
}

fn run(
    listeners: Vec<StdListener>,
    shared: &Arc<Serving>,
    on: &watch::Receiver<bool>,
    mut stopping: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error.message = %error, "the simulator's raw server does not start");
            return;
        }
    };
    runtime.block_on(async {
        for listener in listeners {
            tokio::spawn(accept(listener, Arc::clone(shared), on.clone()));
        }
        let _ = stopping.wait_for(|stopping| *stopping).await; // also when nobody is left who could say so
    });
}

async fn accept(listener: StdListener, shared: Arc<Serving>, mut on: watch::Receiver<bool>) {
    let Ok(port) = listener.local_addr().map(|address| address.port()) else { return };
    if on.wait_for(|on| *on).await.is_err() {
        return;
    }
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        if on.wait_for(|on| *on).await.is_err() {
            return;
        }
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let _ = stream.set_nodelay(true);
                        let _ = match shared.tls.clone() {
                            None => serve(stream, port, &shared).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, port, &shared).await,
                                Err(error) => Err(error),
                            },
                        }; // whoever asked has left
                    });
                } else {
                    tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors
                }
            }
            changed = on.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Serves a connection until either side has enough of it.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    port: u16,
    shared: &Serving,
) -> io::Result<()> {
    let mut left = Vec::new();
    let mut turn = None;
    let mut patience = None;
    for number in 0.. {
        let hearing = hear(&mut stream, &mut left);
        let heard = match patience {
            None => hearing.await?,
            Some(patience) => match tokio::time::timeout(patience, hearing).await {
                Ok(heard) => heard?,
                Err(_) => None,
            },
        };
        let Some(request) = heard else { break };
        let (place, path) = match shared.panels.at(port, &request.path) {
            Some((place, path)) => (Some(place), path),
            None => (None, request.path.clone()),
        };
        let quirks = place.map(|place| shared.panels.show(place).0.quirks).unwrap_or_default();
        let has = |quirk| quirks.contains(&quirk);
        if has(Quirk::OneConnection) && turn.is_none() {
            let turns = {
                let mut turns = shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(
                    turns.entry(place.unwrap_or_default()).or_insert_with(|| Arc::new(Semaphore::new(1))),
                )
            };
            turn = turns.acquire_owned().await.ok();
        }
        if has(Quirk::SecondRequestClose) && number > 0 {
            break;
        }
        let Some(answer) = ask(shared.behind, &request, &path).await? else { break };
        give_answer(&mut stream, &answer, &quirks).await?;
        if has(Quirk::UntilClose) || has(Quirk::Http10) || request.closes {
            break;
        }
        patience = has(Quirk::CloseAfter).then_some(CLOSE_AFTER);
    }
    stream.shutdown().await?;
    drop(turn);
    Ok(())
}

struct Heard {
    path: String,
    method: String,
    /// Lines of the head after the first, without those about the connection.
    headers: String,
    body: Vec<u8>,
    closes: bool,
}

/// The next request; nothing once the other side has closed, or where it is none.
async fn hear(stream: &mut (impl AsyncRead + Unpin), left: &mut Vec<u8>) -> io::Result<Option<Heard>> {
    let head = loop {
        if let Some(end) = find(left, b"\r\n\r\n") {
            let rest = left.split_off(end + 4);
            break std::mem::replace(left, rest);
        }
        if left.len() > MAX_REQUEST || stream.read_buf(left).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let (mut headers, mut length, mut closes) = (String::new(), 0, false);
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "connection" => closes = value.trim().eq_ignore_ascii_case("close"),
            "content-length" => {
                length = value.trim().parse().unwrap_or(0);
                headers += line;
                headers += "\r\n";
            }
            "transfer-encoding" | "expect" => return Ok(None), // no client of such devices sends these
            _ => {
                headers += line;
                headers += "\r\n";
            }
        }
    }
    if length > MAX_REQUEST {
        return Ok(None);
    }
    while left.len() < length {
        if stream.read_buf(left).await? == 0 {
            return Ok(None);
        }
    }
    let rest = left.split_off(length);
    let body = std::mem::replace(left, rest);
    Ok(Some(Heard { path, method, headers, body, closes }))
}

struct Answer {
    status: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// The panel's answer; nothing where it closes the connection instead.
async fn ask(behind: SocketAddr, request: &Heard, path: &str) -> io::Result<Option<Answer>> {
    let mut stream = TcpStream::connect(behind).await?;
    let Heard { method, headers, body, .. } = request;
    let head = format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let mut whole = Vec::new();
    if stream.read_to_end(&mut whole).await.is_err() {
        return Ok(None);
    }
    let Some(end) = find(&whole, b"\r\n\r\n") else { return Ok(None) };
    let mut body = whole.split_off(end + 4);
    let head = String::from_utf8_lossy(&whole).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.get(9..)).unwrap_or("500").to_owned();
    let mut headers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let lower = line.to_ascii_lowercase();
        if lower.starts_with("transfer-encoding:") {
            let Some(plain) = joined(&body) else { return Ok(None) };
            body = plain;
        } else if let Some(length) = lower.strip_prefix("content-length:") {
            if length.trim().parse() != Ok(body.len()) {
                return Ok(None);
            }
        } else if !lower.starts_with("connection:") {
            headers.push(line.to_owned());
        }
    }
    Ok(Some(Answer { status, headers, body }))
}

/// The chunks of a body.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = find(chunks, b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        let (chunk, rest) = chunks[end + 2..].split_at_checked(length)?;
        whole.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n")?;
    }
}

/// Gives an answer as the quirks have it.
async fn give_answer(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
    quirks: &Quirks,
) -> io::Result<()> {
    let has = |quirk| quirks.contains(&quirk);
    let mut body = answer.body.clone();
    if has(Quirk::Bom) && matches!(body.first(), Some(b'{' | b'[')) {
        body = [b"\xef\xbb\xbf", &*body].concat();
    }
    let mut headers = answer.headers.clone();
    if has(Quirk::Gzip) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&body)?;
        body = packed.finish()?;
        headers.push("content-encoding: gzip".to_owned());
    } else if has(Quirk::Deflate) {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&body)?;
        body = packed.finish()?;
        headers.push("content-encoding: deflate".to_owned());
    }
    let until_close = has(Quirk::UntilClose) || has(Quirk::Http10);
    let in_chunks = has(Quirk::ChunkSlow) && !until_close;
    if in_chunks {
        headers.push("transfer-encoding: chunked".to_owned());
    } else if !until_close {
        headers.push(format!("content-length: {}", body.len()));
    }
    let version = if has(Quirk::Http10) { "HTTP/1.0" } else { "HTTP/1.1" };
    let (status, end) = if has(Quirk::OddHeaders) {
        headers.insert(0, "server: simulated\n  by panelsync\nthis is no header".to_owned());
        (answer.status.split(' ').next().unwrap_or("500"), "\n")
    } else {
        (&*answer.status, "\r\n")
    };
    let mut bytes = Vec::new();
    if has(Quirk::Interim) {
        let interim =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </>; rel=preload\r\n\r\n";
        stream.write_all(interim.as_bytes()).await?;
        stream.flush().await?;
    }
    bytes.extend_from_slice(format!("{version} {status}{end}{}{end}{end}", headers.join(end)).as_bytes());
    if in_chunks {
        stream.write_all(&bytes).await?;
        bytes.clear();
        for _ in 0..PIECES {
            let rest = body.split_off(PIECE.min(body.len()));
            let piece = std::mem::replace(&mut body, rest);
            if !piece.is_empty() {
                stream.write_all(&chunk(&piece)).await?;
                stream.flush().await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
        if !body.is_empty() {
            bytes = chunk(&body);
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(&body);
    }
    if has(Quirk::LateAnswer) && !until_close {
        bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"result\": []}");
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
