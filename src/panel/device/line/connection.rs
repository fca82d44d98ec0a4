//! One connection: how it comes about, a request and its answer on it, and whether it may serve for another.
//!
//! HTTP is spoken by hyper, which passes over interim answers, reads bodies to their end however that is marked, and
//! breaks off where something comes that nobody asked for. What it lets pass in headers is set as wide as it goes.
//! Its connection is driven by whoever waits for the answer: so nothing happens on it between two requests, a
//! dropped future is a closed connection, and no other task is woken on the way.

use std::cell::Cell;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::{Configs, Refused};
use crate::panel::settings::Trust;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    tls: Option<ServerName<'static>>,
    host: Box<str>,
    port: u16,
    authority: HeaderValue,
    base: Box<str>,
}

impl Address {
    /// Of a URL such as `https://door.example:8443/panels/7`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
        let wrong = || format!("{url:?} is no URL such as http://10.0.3.17");
        let (tls, usual) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host).map_err(|_| wrong())?.to_owned();
        Ok(Self {
            tls: tls.then_some(name),
            host: host.into(),
            port: authority.port_u16().unwrap_or(usual),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            base: uri.path().trim_end_matches('/').into(),
        })
    }

    /// Whether it is one of https.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// A request for a path below this address, with the header `Host`.
    pub fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let whole = format!("{}{path}", self.base);
        // What stands behind the path may be secret.
        let shown = whole.split('?').next().unwrap_or_default();
        let uri = whole.parse().map_err(|error| format!("{shown:?} cannot be asked for: {error}"))?;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        request.headers_mut().insert(HOST, self.authority.clone());
        Ok(request)
    }
}

/// Why there is no connection. Nothing was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoConnection {
    /// Nobody there, or nobody answers.
    Unreachable(String),
    /// Its certificate is not to be trusted.
    Certificate(String),
    /// TLS does not come about.
    NoTls(String),
}

/// Why there is no answer, or no whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// In words.
    pub why: String,
    /// Not a byte of the request went out: it is certainly not done.
    pub unsent: bool,
    /// Not a byte of an answer came.
    pub silent: bool,
    /// What came is no HTTP, or too long.
    pub garbled: bool,
}

/// Whether a connection may serve for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It may.
    Kept,
    /// It is closed, or will be.
    Closed,
    /// Something came that nobody asked for, so whose answer the next one is cannot be known.
    Untrusted,
}

type Driver = http1::Connection<TokioIo<Wire>, Full<Bytes>>;

/// A connection to one device, or to a server.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Option<Pin<Box<Driver>>>,
    ended: Option<hyper::Error>,
    body: Option<Incoming>,
    seen: Rc<Seen>,
    used: bool,
}

impl Connection {
    /// Connects, and shakes hands where the address is one of https; each within this time.
    pub async fn open(
        address: &Address,
        trust: &Trust,
        configs: &Configs,
        within: Duration,
    ) -> Result<Self, NoConnection> {
        let Some(name) = &address.tls else {
            return Self::begin(Stream::Plain(reach(address, within).await?)).await;
        };
        let who = &address.host;
        let config = configs.get(trust, who).map_err(no_connection)?;
        let stream = match shake_hands(reach(address, within).await?, name, config, within).await {
            Err(Refused::ShortKey) => {
                let config = configs.get_for_short_keys(trust, who).map_err(no_connection)?;
                shake_hands(reach(address, within).await?, name, config, within).await
            }
            shaken => shaken,
        };
        Self::begin(Stream::Tls(Box::new(stream.map_err(no_connection)?))).await
    }

    async fn begin(stream: Stream) -> Result<Self, NoConnection> {
        let seen = Rc::new(Seen::default());
        let wire = TokioIo::new(Wire { stream, seen: Rc::clone(&seen) });
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true) // as browsers and curl write them; there are servers that know no others
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(wire)
            .await
            .map_err(|error| NoConnection::Unreachable(error.to_string()))?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), ended: None, body: None, seen, used: false })
    }

    /// Lets happen what can happen on the connection.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(ended) = driver.as_mut().poll(cx)
        {
            self.ended = ended.err();
            self.driver = None;
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Parts, Broken> {
        self.seen.begin();
        // On a new connection with TLS, the other side's tickets may lie there.
        self.seen.looks.set(std::mem::replace(&mut self.used, true));
        let mut answer = pin!(self.sender.send_request(request));
        let answer = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        });
        match answer.await {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                self.body = Some(body);
                Ok(head)
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The next piece of the answer's body.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let frame = poll_fn(|cx| {
                self.drive(cx);
                match &mut self.body {
                    Some(body) => Pin::new(body).poll_frame(cx),
                    None => Poll::Ready(None),
                }
            });
            match frame.await {
                Some(Ok(frame)) => {
                    // Trailers are of no interest.
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                Some(Err(error)) => return Err(self.broken(&error)),
                None => {
                    self.body = None;
                    return Ok(None);
                }
            }
        }
    }

    /// The answer's whole body, of so many bytes at most.
    pub async fn whole(&mut self, limit: usize) -> Result<Bytes, Broken> {
        let too_long = || Broken {
            why: format!("it is longer than {limit} bytes"),
            unsent: false,
            silent: false,
            garbled: true,
        };
        let announced = self.body.as_ref().map_or(0, |body| body.size_hint().lower());
        if announced > limit as u64 {
            return Err(too_long());
        }
        let Some(first) = self.piece().await? else { return Ok(Bytes::new()) };
        if first.len() > limit {
            return Err(too_long());
        }
        let Some(second) = self.piece().await? else { return Ok(first) };
        let mut whole = BytesMut::with_capacity(announced as usize);
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(piece) = next {
            if whole.len() + piece.len() > limit {
                return Err(too_long());
            }
            whole.extend_from_slice(&piece);
            next = self.piece().await?;
        }
        Ok(whole.freeze())
    }

    fn broken(&self, error: &hyper::Error) -> Broken {
        let unsent = self.seen.written.get() == 0;
        let silent = self.seen.read.get() == 0;
        let garbled = error.is_parse();
        let why = if garbled && matches!(self.seen.first.get(), 0x15 | 0x16) {
            "what is there speaks TLS; is its address https://…?".to_owned()
        } else if garbled {
            "it is no HTTP".to_owned()
        } else if unsent && !silent {
            "what is there speaks before it is asked, which is no HTTP".to_owned()
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            if silent { "it closed the connection" } else { "the answer broke off" }.to_owned()
        } else {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            if silent { cause } else { format!("the answer broke off: {cause}") }
        };
        Broken { why, unsent, silent, garbled }
    }

    /// Once an answer was read to its end: whether the connection may serve for another. What came too much is looked
    /// for again before the next request is written.
    pub async fn afterwards(&mut self) -> Afterwards {
        if self.body.is_some() {
            return Afterwards::Closed; // not read to its end
        }
        self.seen.begin();
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        match (&self.driver, &self.ended) {
            (None, Some(error)) if error.source().is_none() => Afterwards::Untrusted,
            (Some(_), _) if self.seen.read.get() > 0 => Afterwards::Untrusted,
            (Some(_), _) if self.sender.is_ready() => Afterwards::Kept,
            _ => Afterwards::Closed,
        }
    }

    /// Whether the last request was not sent because something had come that nobody asked for.
    pub fn was_spoken_to(&self) -> bool {
        self.seen.unasked.get()
    }

    /// Says goodbye as far as that is possible at once.
    pub async fn close(self) {
        let Self { sender, driver, .. } = self;
        drop(sender);
        if let Some(mut driver) = driver {
            poll_fn(|cx| {
                let _ = driver.as_mut().poll(cx); // whatever comes of it
                Poll::Ready(())
            })
            .await;
        }
    }
}

fn no_connection(refused: Refused) -> NoConnection {
    match refused {
        Refused::Certificate(why) => NoConnection::Certificate(why),
        Refused::NoTls(why) => NoConnection::NoTls(why),
        Refused::Broken(why) => NoConnection::Unreachable(why),
        Refused::ShortKey => NoConnection::Certificate(
            "its key is too short: RSA with fewer than 2048 bits can be checked with TLS 1.2 and --pin only"
                .into(),
        ),
    }
}

async fn reach(address: &Address, within: Duration) -> Result<TcpStream, NoConnection> {
    let connecting = TcpStream::connect((&*address.host, address.port));
    let tcp = match tokio::time::timeout(within, connecting).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(NoConnection::Unreachable(error.to_string())),
        Err(_) => return Err(NoConnection::Unreachable(format!("no connection within {within:?}"))),
    };
    let _ = tcp.set_nodelay(true); // slower without, no more
    Ok(tcp)
}

async fn shake_hands(
    tcp: TcpStream,
    name: &ServerName<'static>,
    config: Arc<ClientConfig>,
    within: Duration,
) -> Result<TlsStream<TcpStream>, Refused> {
    match tokio::time::timeout(within, TlsConnector::from(config).connect(name.clone(), tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Refused::of(&error)),
        Err(_) => Err(Refused::Broken(format!("no TLS within {within:?}"))),
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What went over a connection since its last request began.
#[derive(Default)]
struct Seen {
    written: Cell<usize>,
    read: Cell<usize>,
    first: Cell<u8>,
    /// Before the next byte is written, one is to look whether something lies there.
    looks: Cell<bool>,
    unasked: Cell<bool>,
    /// It takes nothing any more; what it has said before may still be read.
    deaf: Cell<bool>,
}

impl Seen {
    fn begin(&self) {
        self.written.set(0);
        self.read.set(0);
    }
}

/// A connection's bytes, and an eye on them.
struct Wire {
    stream: Stream,
    seen: Rc<Seen>,
}

impl Wire {
    /// Right before a request: whether the connection is closed, or something lies there that nobody asked for.
    /// The runtime hears of that a turn later than the kernel, so the kernel is asked.
    fn look(&self) -> io::Result<()> {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        match SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "it closed the connection")),
            // With TLS these are perhaps tickets only; a new connection is cheaper than to find out.
            Ok(_) => {
                self.seen.unasked.set(matches!(self.stream, Stream::Plain(_)));
                Err(io::Error::other("it said something that nobody asked for"))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        length: usize,
        write: impl FnOnce(Pin<&mut (dyn AsyncWrite + Unpin)>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        if wire.seen.looks.take() {
            wire.look()?;
        }
        if wire.seen.deaf.get() {
            return Poll::Ready(Ok(length));
        }
        Poll::Ready(match std::task::ready!(write(wire.stream.writer(), cx)) {
            Ok(written) => {
                wire.seen.written.set(wire.seen.written.get() + written);
                Ok(written)
            }
            // It may have answered before it had read everything, as to a body that is too long for it.
            Err(_) => {
                wire.seen.deaf.set(true);
                Ok(length)
            }
        })
    }
}

impl Stream {
    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp),
            Self::Tls(tls) => Pin::new(&mut **tls),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut wire.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
        };
        let new = &buffer.filled()[before..];
        if let Some(first) = new.first() {
            if wire.seen.read.get() == 0 {
                wire.seen.first.set(*first);
            }
            wire.seen.read.set(wire.seen.read.get() + new.len());
        }
        match read {
            // Many devices end TLS without saying so. What is cut by that is not whole as HTTP or as JSON.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, bytes.len(), |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.write(cx, length, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.seen.deaf.get() {
            return Poll::Ready(Ok(()));
        }
        let flushed = std::task::ready!(wire.stream.writer().poll_flush(cx));
        wire.seen.deaf.set(flushed.is_err());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.writer().poll_shutdown(cx)
    }
}
