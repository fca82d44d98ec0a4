//! Who webhooks are sent to: a plain listener that answers as it is told, and checks signatures with code of its own,
//! written from the specification (Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How long a message is waited for at most.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a request is answered with.
#[derive(Clone)]
pub enum Answer {
    /// This.
    Say(String),
    /// Nothing, for as long as the other side likes.
    Hang,
    /// The connection is closed.
    Close,
    /// This, and then bytes without end.
    Endless,
}

impl Answer {
    pub fn status(line: &str) -> Self {
        Self::Say(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
    }
}

/// A request that came.
#[derive(Clone)]
pub struct Came {
    /// The request's line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Came {
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found =
            lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next();
        found.unwrap_or_else(|| panic!("no header {name} in {}", self.head))
    }

    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The message, after its signature was checked with this secret.
    pub fn checked(&self, secret: &str) -> Value {
        assert!(self.is_signed_with(secret), "the signature does not hold\n{}", self.head);
        let value = self.value();
        assert_eq!(value["id"], self.header("webhook-id"));
        value
    }

    /// Whether one of the signatures is that of the body, the id and the time with this secret, and the time is now.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        let (id, second) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let at: i64 = second.parse().expect("a second");
        let now = panelsync::clock::now_ms() / 1000;
        assert!((now - 300..=now + 300).contains(&at), "{second} is not now");
        let signed = [format!("{id}.{second}.").as_bytes(), &self.body].concat();
        let expected = STANDARD.encode(hmac_sha256(&key, &signed));
        let given = self.header("webhook-signature").split(' ');
        given.filter_map(|signature| signature.strip_prefix("v1,")).any(|signature| signature == expected)
    }
}

/// RFC 2104.
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = block.map(|byte| byte ^ 0x36);
    let outer = block.map(|byte| byte ^ 0x5c);
    let inner = Sha256::new().chain_update(inner).chain_update(text).finalize();
    Sha256::new().chain_update(outer).chain_update(inner).finalize().into()
}

/// The listener.
pub struct Receiver {
    pub address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    read: usize,
}

impl Receiver {
    /// On a free port.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// At this address.
    pub fn start_at(address: SocketAddr) -> Self {
        Self::start_with(address, None)
    }

    /// With this certificate.
    pub fn start_tls(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let certificate = certified.cert.der().clone();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key))
            .expect("a certificate and its key");
        Self::start_with(SocketAddr::from(([127, 0, 0, 1], 0)), Some(Arc::new(config)))
    }

    fn start_with(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<Answer>>> = Arc::default();
        let (all, told) = (Arc::clone(&came), Arc::clone(&answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, told) = (Arc::clone(&all), Arc::clone(&told));
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    None => serve(stream, &all, &told),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).expect("a session");
                        serve(StreamOwned::new(session, stream), &all, &told);
                    }
                });
            }
        });
        Self { address, came, answers, read: 0 }
    }

    /// The next requests are answered so; those after them well.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().expect("whole").extend(answers);
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks/panelsync?of=tests", self.address)
    }

    /// The next request that came, once it does.
    pub fn next(&mut self) -> Came {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(came) = self.came.lock().expect("whole").get(self.read).cloned() {
                self.read += 1;
                return came;
            }
            assert!(Instant::now() < until, "nothing came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many requests have come so far.
    pub fn count(&self) -> usize {
        self.came.lock().expect("whole").len()
    }
}

fn serve(mut stream: impl Read + Write, came: &Mutex<Vec<Came>>, answers: &Mutex<VecDeque<Answer>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a text");
    let length = head.lines().filter_map(|line| line.split_once(": "));
    let length =
        length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value).next();
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    came.lock().expect("whole").push(Came { head, body });
    let answer = answers.lock().expect("whole").pop_front().unwrap_or(Answer::status("204 No Content"));
    match answer {
        Answer::Say(text) => _ = stream.write_all(text.as_bytes()),
        Answer::Hang => _ = stream.read(&mut byte), // until it gives up
        Answer::Close => {}
        Answer::Endless => {
            _ = stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n");
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        }
    }
}
