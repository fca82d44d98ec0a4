//! How requests travel: HTTP, over kept connections.
//!
//! Each kind of trust in certificates has a client of its own, since connections are shared by all devices of a
//! client. A client is used for a bounded time and number of devices and then left to whoever still uses it:
//! so idle connections, of which there could be one per device, are bounded too.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use awc::error::{ConnectError, SendRequestError};
use awc::http::header;
use awc::{Client, Connector};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use sha2::{Digest, Sha256};

use super::Trouble;
use super::ask::{Answer, Method, Request};
use crate::panel::settings::{Remote, Trust};

/// The longest answer, in bytes: a page of 50 profiles has about 30,000.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A client is used for so long, and for so many devices.
const CLIENT_FOR: Duration = Duration::from_secs(15);
const CLIENT_DEVICES: usize = 4096;

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To a connection, its handshake apart, which may take as long again.
    pub connect: Duration,
    /// For the whole request.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), request: Duration::from_secs(10) }
    }
}

/// The connections to all devices of one thread.
pub struct Lines {
    timeouts: Timeouts,
    clients: RefCell<HashMap<Trust, InUse>>,
}

struct InUse {
    client: Client,
    tls: Arc<ClientConfig>,
    since: Instant,
    devices: HashSet<Box<str>>,
}

impl Lines {
    /// No connections yet.
    pub fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, clients: RefCell::default() }
    }

    /// Sends a request to a device and gives its answer, whatever its status.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the device has perhaps done what was asked.
    pub async fn send(
        &self,
        remote: &Remote,
        request: &Request,
        request_id: Option<&str>,
    ) -> Result<Answer, Trouble> {
        let client = self.client(remote)?;
        let url = format!("{}{}", remote.url, request.path);
        let mut outgoing = match request.method {
            Method::Get => client.get(url),
            Method::Post => client.post(url),
            Method::Delete => client.delete(url),
        };
        if let Some(id) = request_id {
            outgoing = outgoing.insert_header(("x-request-id", id));
        }
        if let Some(token) = &request.token {
            outgoing = outgoing.bearer_auth(token);
        }
        let exchange = async {
            let sent = match &request.body {
                Some(body) => {
                    outgoing.insert_header((header::CONTENT_TYPE, "application/json")).send_body(body.clone())
                }
                None => outgoing.send(),
            };
            let mut response = sent.await.map_err(trouble)?;
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|to| to.to_str().ok()).map(str::to_owned);
            let status = response.status().as_u16();
            let body = response.body().limit(MAX_ANSWER).await;
            let body = body.map_err(|error| match error {
                awc::error::PayloadError::Overflow => {
                    Trouble::Garbled(format!("it is longer than {MAX_ANSWER} bytes"))
                }
                error => Trouble::NoAnswer(format!("the answer broke off: {error}")),
            })?;
            Ok(Answer { status, location, body })
        };
        match tokio::time::timeout(self.timeouts.request, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::NoAnswer(format!("nothing came within {:?}", self.timeouts.request))),
        }
    }

    fn client(&self, remote: &Remote) -> Result<Client, Trouble> {
        let mut clients = self.clients.borrow_mut();
        if let Some(in_use) = clients.get_mut(&remote.trust) {
            if in_use.devices.len() >= CLIENT_DEVICES || in_use.since.elapsed() > CLIENT_FOR {
                in_use.client = self.new_client(&in_use.tls);
                in_use.since = Instant::now();
                in_use.devices.clear();
            }
            if !in_use.devices.contains(&remote.url) {
                in_use.devices.insert(remote.url.clone());
            }
            return Ok(in_use.client.clone());
        }
        let tls = tls(&remote.trust).map_err(|error| {
            Trouble::Unreachable(format!("its certificates cannot be checked here: {error}"))
        })?;
        let client = self.new_client(&tls);
        let devices = HashSet::from([remote.url.clone()]);
        let in_use = InUse { client: client.clone(), tls, since: Instant::now(), devices };
        clients.insert(remote.trust.clone(), in_use);
        Ok(client)
    }

    fn new_client(&self, tls: &Arc<ClientConfig>) -> Client {
        let connector = Connector::new()
            .timeout(self.timeouts.connect)
            .handshake_timeout(self.timeouts.connect)
            .limit(0) // deliveries are bounded where they are begun
            .rustls_0_23(Arc::clone(tls));
        Client::builder()
            .connector(connector)
            .disable_timeout() // the whole exchange has one
            .disable_redirects()
            .add_default_header((header::USER_AGENT, concat!("panelsync/", env!("CARGO_PKG_VERSION"))))
            .finish()
    }
}

/// What an error of the client means. Only what happens before the request is sent is certain.
fn trouble(error: SendRequestError) -> Trouble {
    match error {
        // So the client calls a connection that was closed before a whole answer came.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            Trouble::NoAnswer("it closed the connection".into())
        }
        SendRequestError::Connect(ConnectError::Io(error)) => {
            match error.get_ref().map(|inner| inner.downcast_ref()) {
                Some(Some(rustls::Error::InvalidCertificate(why))) => Trouble::Certificate(why.to_string()),
                Some(Some(rustls::Error::General(why))) => Trouble::Certificate(why.clone()),
                _ => Trouble::Unreachable(error.to_string()),
            }
        }
        SendRequestError::Connect(error) => Trouble::Unreachable(error.to_string()),
        SendRequestError::Url(error) => Trouble::Unreachable(error.to_string()),
        SendRequestError::Send(error) => Trouble::NoAnswer(error.to_string()),
        SendRequestError::Response(error) => Trouble::Garbled(error.to_string()),
        error => Trouble::NoAnswer(error.to_string()),
    }
}

fn tls(trust: &Trust) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match trust {
        Trust::System => builder.with_platform_verifier()?.with_no_client_auth(),
        Trust::Ca(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).flatten() {
                roots.add(certificate)?;
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_webpki_verifier(verifier).with_no_client_auth()
        }
        Trust::Pin(digest) => {
            let pinned = Pinned { digest: *digest, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth()
        }
    };
    // Here and not by the client's max_http_version, which would take these settings away again.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Takes the one certificate with this SHA-256, whatever name and dates it bears. That the other side has its key
/// is checked as ever.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if <[u8; 32]>::from(Sha256::digest(end_entity)) == self.digest {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("it is not the pinned one".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
