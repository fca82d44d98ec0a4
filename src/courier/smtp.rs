//! The way to a mail server: reached, encrypted as the settings want it, and logged in to.
//!
//! SMTP itself is spoken by lettre. Up to TLS it is spoken here, so that the server's certificate is looked at as those of
//! devices are, and what is wrong with one is said in the same words.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::alert::words;
use crate::config::Secret;
use crate::panel::device::line::trust::{Configs, Refused};
use crate::panel::settings::Trust;

/// Bytes that a server may say on one connection.
const MOST_SAID: usize = 256 * 1024;

/// Bytes of one reply.
const MOST_REPLIED: usize = 8 * 1024;

/// Whether mail is encrypted on its way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte (`smtps://`).
    FromStart,
    /// Once the server has said that it can (STARTTLS); never without.
    Required,
    /// Where the server can.
    Offered,
    /// Never.
    Off,
}

/// The mail server, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is encrypted.
    pub tls: Tls,
    /// The account there.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Whom mails are from.
    pub from: lettre::message::Mailbox,
    /// Which certificates are good.
    pub trust: Trust,
}

/// What of a URL says where a mail server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is encrypted from the first byte.
    pub from_start: bool,
    /// The account there.
    pub user: Option<String>,
}

impl Place {
    /// Of a URL such as `smtp://alerts@mail.example:587` or `smtps://mail.example`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "a URL such as smtp://alerts@mail.example:587 or smtps://mail.example".to_owned();
        let (from_start, rest) = match url.split_once("://") {
            Some(("smtp", rest)) => (false, rest),
            Some(("smtps", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let rest = rest.trim_end_matches('/');
        if rest.contains(['/', '?', '#']) {
            return Err(wrong());
        }
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err("a URL without a password: the process list shows every flag; give it in PANELSYNC_SMTP_PASSWORD or --smtp-password-file".to_owned());
            }
            Some((user, place)) => (Some(user.replace("%40", "@")).filter(|user| !user.is_empty()), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (place, if from_start { 465 } else { 587 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host).map_err(|_| wrong())?;
        Ok(Self { host: host.to_owned(), port, from_start, user })
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// Why mail does not go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMail {
    /// In words.
    pub why: String,
    /// The server refused this very message, or its receiver, and would again.
    pub for_good: bool,
}

impl NoMail {
    fn yet(why: impl Into<String>) -> Self {
        Self { why: why.into(), for_good: false }
    }

    /// Of what the server said to a message, or to one who is to get it.
    pub(super) fn of_message(error: &lettre::transport::smtp::Error) -> Self {
        Self { why: said(error), for_good: error.is_permanent() }
    }
}

/// What the server said, or what broke.
fn said(error: &lettre::transport::smtp::Error) -> String {
    use std::error::Error as _;
    let words = words::said(&error.source().map_or_else(|| error.to_string(), ToString::to_string));
    match error.status() {
        Some(code) => format!("it says {code} {words}"),
        None if error.is_response() => format!("what is there does not speak SMTP as it should: {words}"),
        None => format!("the connection failed: {words}"),
    }
}

impl Smtp {
    /// The name under which this one greets.
    fn me(&self) -> ClientId {
        ClientId::Domain(self.from.email.domain().to_owned())
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Connects, encrypts and logs in, each within a time.
    pub async fn open(&self, configs: &Configs, within: Duration) -> Result<AsyncSmtpConnection, NoMail> {
        let tcp = tokio::time::timeout(within, TcpStream::connect((self.host.as_str(), self.port))).await;
        let tcp = match tcp {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(NoMail::yet(format!("it is not reached: {error}"))),
            Err(_) => return Err(NoMail::yet(format!("it is not reached within {within:?}"))),
        };
        let _ = tcp.set_nodelay(true); // slower without, no more
        let mut encrypted = true;
        let stream: Box<dyn AsyncTokioStream> = match self.tls {
            Tls::FromStart => Box::new(Metered::of(self.shake_hands(tcp, configs, within).await?, "")),
            Tls::Off => {
                encrypted = false;
                Box::new(Metered::of(tcp, ""))
            }
            Tls::Required | Tls::Offered => {
                let mut tcp = tcp;
                // What it greeted with was read here; lettre is greeted once more.
                if self.ask_for_tls(&mut tcp).await? {
                    Box::new(Metered::of(self.shake_hands(tcp, configs, within).await?, GREETING))
                } else if self.tls == Tls::Offered {
                    encrypted = false;
                    Box::new(Metered::of(tcp, GREETING))
                } else {
                    return Err(NoMail::yet(
                        "it offers no encryption (STARTTLS); use smtps://, or say --smtp-tls off to send in clear",
                    ));
                }
            }
        };
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &self.me())
            .await
            .map_err(|error| NoMail::yet(said(&error)))?;
        if let (Some(user), Some(Secret(password))) = (&self.user, &self.password) {
            if !encrypted && self.tls != Tls::Off && !self.is_loopback() {
                return Err(NoMail::yet("the password is not sent in clear"));
            }
            let credentials = Credentials::new(user.clone(), password.clone());
            let logged_in = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            logged_in.map_err(|error| {
                NoMail::yet(format!(
                    "it does not let {user} in: {}; are user and password right?",
                    said(&error)
                ))
            })?;
        }
        Ok(connection)
    }

    fn is_loopback(&self) -> bool {
        let place = Place { host: self.host.clone(), port: self.port, from_start: false, user: None };
        place.is_loopback()
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
        configs: &Configs,
        within: Duration,
    ) -> Result<TlsStream<TcpStream>, NoMail> {
        let refused = |refused| match refused {
            Refused::Certificate(why) => NoMail::yet(
                format!("its certificate is not trusted: {why}").replace("--ca-file", "--smtp-ca-file"),
            ),
            Refused::NoTls(why) | Refused::Broken(why) => NoMail::yet(why),
            Refused::ShortKey => NoMail::yet("the key of its certificate is too short"),
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| NoMail::yet(error.to_string()))?;
        // What is offered beside is of HTTP.
        let mut config = (*configs.get(&self.trust, &self.host).map_err(refused)?).clone();
        config.alpn_protocols.clear();
        let shaking = TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp);
        match tokio::time::timeout(within, shaking).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(refused(Refused::of(&error))),
            Err(_) => Err(NoMail::yet(format!("no TLS within {within:?}"))),
        }
    }

    /// Greets, and asks for TLS where it is offered. Says whether it comes now.
    async fn ask_for_tls(&self, tcp: &mut TcpStream) -> Result<bool, NoMail> {
        expect(220, &reply(tcp).await?)?;
        write(tcp, &format!("EHLO {}\r\n", self.me())).await?;
        let offers = reply(tcp).await?;
        expect(250, &offers)?;
        let offered = offers
            .lines()
            .any(|line| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS")));
        if offered {
            write(tcp, "STARTTLS\r\n").await?;
            expect(220, &reply(tcp).await?)?;
        }
        Ok(offered)
    }
}

/// What lettre reads in place of the greeting that was read already.
const GREETING: &str = "220 ready\r\n";

async fn write(tcp: &mut TcpStream, line: &str) -> Result<(), NoMail> {
    tcp.write_all(line.as_bytes())
        .await
        .map_err(|error| NoMail::yet(format!("the connection failed: {error}")))
}

fn expect(code: u16, reply: &str) -> Result<(), NoMail> {
    if reply.starts_with(&code.to_string()) {
        return Ok(());
    }
    Err(NoMail::yet(format!("it says {}", words::said(reply.trim()))))
}

/// A whole reply, byte by byte: what comes behind it is not of it, and may be TLS.
async fn reply(tcp: &mut TcpStream) -> Result<String, NoMail> {
    let mut reply = Vec::new();
    let mut line = 0;
    loop {
        let byte = tcp.read_u8().await;
        reply.push(byte.map_err(|error| NoMail::yet(format!("it closed the connection: {error}")))?);
        if reply.ends_with(b"\n") {
            if reply.get(line + 3) != Some(&b'-') {
                return Ok(String::from_utf8_lossy(&reply).into_owned());
            }
            line = reply.len();
        }
        if reply.len() >= MOST_REPLIED {
            return Err(NoMail::yet("what is there does not speak SMTP: its reply does not end"));
        }
    }
}

/// A connection of which no more is read than a mail server has to say.
struct Metered<S> {
    stream: S,
    greeting: &'static [u8],
    left: usize,
}

impl<S> Metered<S> {
    fn of(stream: S, greeting: &'static str) -> Self {
        Self { stream, greeting: greeting.as_bytes(), left: MOST_SAID }
    }
}

impl<S> fmt::Debug for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metered")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("it says more than a mail server has to say")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Metered<TcpStream> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncTokioStream for Metered<TlsStream<TcpStream>> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_server_is_and_no_password() {
        let of = |url: &str| Place::parse(url).expect(url);
        let place = |host: &str, port, from_start, user: Option<&str>| Place {
            host: host.into(),
            port,
            from_start,
            user: user.map(str::to_owned),
        };
        assert_eq!(of("smtp://mail.example"), place("mail.example", 587, false, None));
        assert_eq!(of("smtps://mail.example/"), place("mail.example", 465, true, None));
        assert_eq!(of("smtp://alerts@mail.example:25"), place("mail.example", 25, false, Some("alerts")));
        assert_eq!(of("smtp://a@b.example@[::1]:25"), place("::1", 25, false, Some("a@b.example")));
        assert_eq!(
            of("smtp://a%40b.example@mail.example"),
            place("mail.example", 587, false, Some("a@b.example"))
        );
        assert!(of("smtp://127.0.0.1:25").is_loopback() && of("smtp://[::1]").is_loopback());
        assert!(!of("smtp://10.0.0.1").is_loopback());
        for wrong in
            ["", "mail.example", "http://mail.example", "smtp://", "smtp://a:b", "smtp://mail.example/x"]
        {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        let refused = Place::parse("smtp://alerts:hush@mail.example").expect_err("a password");
        assert!(refused.contains("--smtp-password-file") && !refused.contains("hush"), "{refused}");
    }
}
