//! Which certificates are good, and what is wrong with the others, in words for people.
//!
//! Devices have certificates that browsers would warn of: signed by themselves, with a CA's marks, with short keys,
//! without names. Who gives such a certificate with `--ca-file`, or its digest with `--pin`, has decided that it is
//! good. That the other side has its key is checked all the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage,
    OtherError, PeerIncompatible, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::certificate::{Certificate, Key};
use crate::panel::settings::Trust;
use crate::store::seal::hex;

/// Kinds of trust kept ready. With a certificate of its own on each device there are as many.
const KEPT: usize = 4096;

/// Sessions to begin again, where many devices share a trust. The library wants eight times that.
const SHARED_SESSIONS: usize = 8 * 2048;

/// How TLS begins, for each kind of trust that was asked for.
#[derive(Default)]
pub struct Configs {
    kept: RefCell<HashMap<Trust, Kept>>,
}

struct Kept {
    config: Arc<ClientConfig>,
    first: Box<str>,
    shared: bool,
}

impl Configs {
    /// For this trust, and one who is called this.
    pub fn get(&self, trust: &Trust, name: &str) -> Result<Arc<ClientConfig>, Refused> {
        let mut all = self.kept.borrow_mut();
        if let Some(kept) = all.get_mut(trust) {
            if !kept.shared && *kept.first != *name {
                kept.shared = true;
                let mut config = ClientConfig::clone(&kept.config);
                config.resumption = Resumption::in_memory_sessions(SHARED_SESSIONS);
                kept.config = Arc::new(config);
            }
            return Ok(Arc::clone(&kept.config));
        }
        let config = config(trust, false).map_err(|error| {
            Refused::Certificate(format!("none can be checked here ({error}); give its CA with --ca-file"))
        })?;
        Self::keep_config(&mut all, trust, name, &config);
        Ok(config)
    }

    /// From now on with TLS 1.2 and signatures that a short key can make.
    pub fn get_for_short_keys(&self, trust: &Trust, name: &str) -> Result<Arc<ClientConfig>, Refused> {
        let config = config(trust, true).map_err(|error| Refused::Certificate(error.to_string()))?;
        Self::keep_config(&mut self.kept.borrow_mut(), trust, name, &config);
        Ok(config)
    }

    fn keep_config(all: &mut HashMap<Trust, Kept>, trust: &Trust, name: &str, config: &Arc<ClientConfig>) {
        if all.len() >= KEPT {
            all.clear();
        }
        let kept = Kept { config: Arc::clone(config), first: name.into(), shared: false };
        all.insert(trust.clone(), kept);
    }
}

fn config(trust: &Trust, short_keys: bool) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = if short_keys {
        builder.with_protocol_versions(&[&rustls::version::TLS12])?
    } else {
        builder.with_safe_default_protocol_versions()?
    };
    let builder = match trust {
        Trust::System => {
            let inner = rustls_platform_verifier::Verifier::new(provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Vouched { given: None, inner: Arc::new(inner) }))
        }
        Trust::Ca(pem) => {
            let given: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(given.iter().cloned());
            let inner: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
                Arc::new(NoRoots { provider })
            } else {
                let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                built.map_err(|error| Error::General(error.to_string()))?
            };
            let vouched = Vouched { given: Some(given), inner };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(vouched))
        }
        Trust::Pin(digest) => {
            let pinned = Pinned { digest: *digest, provider, short_keys };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if matches!(trust, Trust::Pin(_)) {
        config.resumption = Resumption::in_memory_sessions(8); // of the one certificate there is one device
    }
    Ok(Arc::new(config))
}

/// Why TLS did not come about. Nothing was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Because of the certificate.
    Certificate(String),
    /// Because the two find no common way, or what is there speaks no TLS.
    NoTls(String),
    /// The connection failed.
    Broken(String),
    /// The pinned certificate's key is too short for TLS 1.3. It may do with [`Configs::get_for_short_keys`].
    ShortKey,
}

impl Refused {
    /// What an error of the handshake means.
    pub fn of(error: &std::io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Self::Broken(error.to_string());
        };
        match tls {
            Error::InvalidCertificate(CertificateError::Other(other)) if is_short_key(other) => Self::ShortKey,
            Error::InvalidCertificate(CertificateError::BadSignature) => Self::Certificate(
                "it does not sign as its certificate says; if its key is RSA with fewer than 2048 bits, only --pin \
                 lets it pass"
                    .to_owned(),
            ),
            Error::InvalidCertificate(CertificateError::BadEncoding) => {
                Self::Certificate("it is damaged, or of a form that only --pin lets pass".to_owned())
            }
            Error::InvalidCertificate(CertificateError::Other(why)) => Self::Certificate(why.0.to_string()),
            Error::InvalidCertificate(why) => Self::Certificate(why.to_string()),
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => Self::NoTls(
                "it speaks only TLS older than 1.2, which protects nothing any more; newer firmware may help".to_owned(),
            ),
            Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity)
            | Error::PeerIncompatible(_) => Self::NoTls(
                "it and panelsync know no way of encryption in common; newer firmware, or a new certificate on it, may \
                 help"
                    .to_owned(),
            ),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Self::NoTls("what is there speaks no TLS; is its address http://… or another port?".to_owned())
            }
            Error::AlertReceived(alert) => Self::NoTls(format!("it refuses TLS ({alert:?})")),
            other => Self::NoTls(format!("it speaks TLS otherwise than it should ({other})")),
        }
    }
}

/// What is wrong with a certificate, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Distrusted(String);

#[derive(Debug, thiserror::Error)]
#[error("the certificate's key is too short for TLS 1.3")]
struct ShortKey;

fn is_short_key(error: &OtherError) -> bool {
    error.0.is::<ShortKey>()
}

fn refuse(why: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// Takes certificates that the system's roots vouch for; or those that the given ones vouch for, and the given ones
/// themselves, also where they bear the marks of a CA, with which a certificate vouches for others but not for itself.
#[derive(Debug)]
struct Vouched {
    given: Option<Vec<CertificateDer<'static>>>,
    inner: Arc<dyn ServerCertVerifier>,
}

impl Vouched {
    /// Of one of those that were given: whether it is valid in time and name.
    fn judge_given(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        if !self.given.as_ref()?.iter().any(|given| given == certificate) {
            return None;
        }
        let read = Certificate::read(certificate)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let time = |at: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.max(0) as u64));
        Some(if now > read.until {
            Err(CertificateError::ExpiredContext { time: time(now), not_after: time(read.until) }.into())
        } else if now < read.from {
            Err(CertificateError::NotValidYetContext { time: time(now), not_before: time(read.from) }.into())
        } else {
            ParsedCertificate::try_from(certificate).and_then(|parsed| verify_server_name(&parsed, name))
        })
    }

    fn words(&self, error: &Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> String {
        let Error::InvalidCertificate(why) = error else {
            return format!("it cannot be checked ({error}); {}", pin(certificate));
        };
        let day = |time: &UnixTime| {
            let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            time.strftime("%Y-%m-%d").to_string()
        };
        let pin = pin(certificate);
        match why {
            CertificateError::UnknownIssuer if self.given.is_some() => {
                format!(
                    "none of the certificates given with --ca-file signed it; give the CA's that did, or, {pin}"
                )
            }
            CertificateError::UnknownIssuer => {
                format!(
                    "nobody whom this system trusts signed it; give the CA that did with --ca-file, or, {pin}"
                )
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("it expired on {}; give the device a new one, or, {pin}", day(not_after))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("it is valid from {} on only; are all clocks right? Or, {pin}", day(not_before))
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let asked = name.to_str();
                let mut whose = String::new();
                for (n, presented) in presented.iter().take(5).enumerate() {
                    let name = readable(presented);
                    let _ = write!(whose, "{}{name}", if n == 0 { "" } else { ", " }); // a String takes everything
                }
                match whose.as_str() {
                    "" => format!("it bears no name, so it cannot be known as that of {asked}; {pin}"),
                    whose => {
                        format!(
                            "it is for {whose}, not for {asked}; give its address as that name, or, {pin}"
                        )
                    }
                }
            }
            CertificateError::BadSignature if self.given.is_some() => format!(
                "the CA that was given for it did not sign it, or did with a key that is too short (RSA below 2048 \
                 bits); give the CA's that did, or, {pin}"
            ),
            CertificateError::BadSignature => format!(
                "its signature does not hold, or was made with a key that is too short (RSA below 2048 bits); {pin}"
            ),
            CertificateError::Other(other) => match format!("{:?}", other.0) {
                ca if ca.starts_with("CaUsedAsEndEntity") => {
                    format!("it is a CA's own; give that very certificate with --ca-file, or, {pin}")
                }
                old if old.starts_with("UnsupportedCertVersion") => {
                    format!("it is of an old form, which bears no names; {pin}")
                }
                other => format!("it cannot be checked ({other}); {pin}"),
            },
            CertificateError::BadEncoding => format!("it is damaged, or of an old form; {pin}"),
            why => format!("it cannot be checked ({why}); {pin}"),
        }
    }
}

/// The end of a sentence that says how to trust this one certificate.
fn pin(certificate: &CertificateDer<'_>) -> String {
    format!("if it is the right one, trust it alone with --pin {}", fingerprint(certificate))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(certificate))
}

/// A name out of a certificate, which holds what somebody else wrote: without what would confuse a terminal.
fn readable(name: &str) -> String {
    // The library writes them as DnsName("door.example") and IpAddress(10.0.0.1).
    let bare = name.split_once('(').map_or(name, |(_, bare)| bare.trim_end_matches(')')).trim_matches('"');
    bare.chars().filter(char::is_ascii_graphic).take(80).collect()
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = match self.judge_given(certificate, name, now) {
            Some(judged) => judged.map(|()| ServerCertVerified::assertion()),
            None => self.inner.verify_server_cert(certificate, others, name, ocsp, now),
        };
        judged.map_err(|error| refuse(Distrusted(self.words(&error, certificate, name))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes the one certificate with this SHA-256, whatever name and dates it bears and whatever form and key it has.
/// That the other side has the key is checked with ring itself, since webpki reads no certificate of version 1 and
/// checks no RSA below 2,048 bits. Down to 1,024 bits ring does, but not in the form that TLS 1.3 demands (PSS): the
/// first try fails for such a key, and then TLS 1.2 is spoken, and only the older form (PKCS #1) offered. Whoever
/// pins such a certificate knows what its key is worth; a short key is better than none.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
    short_keys: bool,
}

impl Pinned {
    fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        old: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = Certificate::read(certificate).map_or(Key::Other, |read| read.key);
        if key.signed(signed.scheme, message, signed.signature(), old) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        if key.is_short() && !self.short_keys {
            return Err(refuse(ShortKey));
        }
        Err(refuse(Distrusted("it is the pinned one, but what is there does not sign with its key".into())))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if <[u8; 32]>::from(Sha256::digest(certificate)) == self.digest {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refuse(Distrusted(format!(
                "it is not the pinned one, but one whose SHA-256 is {}; if it was given a new certificate, pin that",
                fingerprint(certificate)
            ))))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signed, true)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signed, false)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        if self.short_keys {
            vec![SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PKCS1_SHA512]
        } else {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    }
}

/// Where none of the given certificates can vouch for another.
#[derive(Debug)]
struct NoRoots {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NoRoots {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
