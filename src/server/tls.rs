//! The server's certificate: read from files, and read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::TlsFiles;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A file holds something else.
    #[error("{0} holds no {1} in PEM form")]
    NotPem(PathBuf, &'static str),
    /// The two do not fit each other, or are of a kind that is not known.
    #[error("the certificate {0} and the key {1} cannot be used: {2}")]
    Unfit(PathBuf, PathBuf, #[source] rustls::Error),
}

impl TlsFiles {
    /// Reads both.
    pub fn read(&self) -> Result<CertifiedKey, TlsError> {
        let chain = read(&self.certificate)?;
        let no_chain = || TlsError::NotPem(self.certificate.clone(), "certificate");
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|_| no_chain())?;
        if chain.is_empty() {
            return Err(no_chain());
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| TlsError::NotPem(self.key.clone(), "private key"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| TlsError::Unfit(self.certificate.clone(), self.key.clone(), error))
    }

    /// When either was changed last.
    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable(path.into(), error))
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS with the certificate in these files. A task of the current thread looks at them as long as it lives: a new
/// certificate is shown to whoever connects from then on; one that cannot be used is reported, and the old one stays.
pub fn server_config(files: TlsFiles) -> Result<ServerConfig, TlsError> {
    let mut changed = files.changed();
    let shown = Arc::new(Shown(RwLock::new(Arc::new(files.read()?))));
    let renewed = Arc::clone(&shown);
    let (certificate, key) = (files.certificate.clone(), files.key.clone());
    actix_web::rt::spawn(async move {
        loop {
            actix_web::rt::time::sleep(LOOK_EVERY).await;
            let now = files.changed();
            if now == changed {
                continue;
            }
            match files.read() {
                Ok(certificate) => {
                    *renewed.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                    changed = now;
                    tracing::info!(certificate = %files.certificate.display(), "a new certificate is shown");
                }
                // Perhaps only one of the two was written yet.
                Err(error) => {
                    tracing::warn!(%error, "the changed certificate is not shown; the old one stays");
                }
            }
        }
    });
    let unfit = |error| TlsError::Unfit(certificate, key, error);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(unfit)?;
    Ok(builder.with_no_client_auth().with_cert_resolver(shown))
}
