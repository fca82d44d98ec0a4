//! Where a device is, how it is spoken to, and what vouches for it.

use std::net::IpAddr;
use std::path::Path;

use hyper::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

/// Where a device is, by the transport on which it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAddress {
    /// It serves HTTP.
    Http(HttpAddress),
}

/// The address of a device that serves HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    /// Its URL up to what comes before `/api`, without a slash at the end.
    pub url: Box<str>,
    /// Which certificates are good.
    pub trust: Trust,
}

impl HttpAddress {
    /// The scheme, host and port: who is spoken to.
    pub fn origin(&self) -> Option<(String, String, u16)> {
        let url: Uri = self.url.parse().ok()?;
        let scheme = url.scheme_str()?.to_ascii_lowercase();
        let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, url.host()?.trim_end_matches('.').to_ascii_lowercase(), port))
    }

    /// The address in the one spelling in which it is compared.
    pub fn place(&self) -> String {
        place(&self.url)
    }
}

fn place(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return url.to_owned() };
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let host = host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |ip| ip.to_canonical().to_string());
    format!("{scheme}://{host}:{port}{}", uri.path().trim_end_matches('/'))
}

/// Which certificates of a device are good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those that the system's roots vouch for.
    System,
    /// Those that these certificates vouch for, PEM.
    Ca(Box<str>),
    /// This one, by its SHA-256.
    Pin([u8; 32]),
}

impl Trust {
    /// In one or more certificates in PEM.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let good = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        good.is_ok_and(|certificates| !certificates.is_empty()).then(|| Self::Ca(pem.into()))
    }

    /// In the certificates that a file holds; the error names the file.
    pub fn from_file(file: &Path) -> Result<Self, String> {
        let pem = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::from_pem(&pem).ok_or_else(|| format!("{} holds no certificates in PEM", file.display()))
    }

    /// In the certificate with this SHA-256, in hex.
    pub fn from_pin(hex: &str) -> Option<Self> {
        from_hex(hex).map(Self::Pin)
    }
}

/// Whether something stands where a port does.
fn text_has_port(url: &Uri) -> bool {
    url.authority().is_some_and(|authority| {
        let text = authority.as_str();
        text.rfind(':').is_some_and(|colon| text.rfind(']').is_none_or(|bracket| bracket < colon))
    })
}

/// A device's address up to what comes before `/api`, without a slash at its end; the error is what it takes.
pub(super) fn base_url(text: &str) -> Result<String, &'static str> {
    let url: Uri = text.parse().map_err(|_| "a URL such as http://10.0.3.17 or https://door.example:8443")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("a URL that begins with http:// or https://");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a URL without a user name or password; give them as username and password");
    }
    if url.port_u16().is_none() && text_has_port(&url) {
        return Err("a port from 1 to 65535");
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if ServerName::try_from(host).is_err() {
        return Err("a URL with the name or address of a host");
    }
    if url.query().is_some() || text.contains('#') {
        return Err("a URL without ? and #");
    }
    let base = text.trim_end_matches('/');
    if base.ends_with("/api") || base.contains("/api/") {
        return Err("the address up to what comes before /api");
    }
    Ok(base.to_owned())
}

/// 32 bytes from hex digits in either case; colons between them are passed over, as openssl prints them.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_one_however_it_is_written() {
        for same in [
            "http://door.example",
            "HTTP://Door.Example:80/",
            "http://door.example.:80",
            "http://DOOR.example//",
        ] {
            assert_eq!(place(same), "http://door.example:80", "{same}");
        }
        assert_eq!(place("https://[0:0:0:0:0:0:0:1]/x/"), "https://::1:443/x");
        assert_eq!(place("http://[::ffff:10.0.3.17]"), place("http://10.0.3.17"));
        assert_ne!(place("http://door.example/a"), place("http://door.example/b"));
        assert_ne!(place("http://door.example"), place("http://door.example:8080"));
    }
}
