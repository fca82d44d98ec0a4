//! What stands in a certificate, as far as it is needed and the TLS library does not say it: when it is valid, and
//! its key. Of any bytes that are none, nothing.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::signature as by;
use rustls::SignatureScheme;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const LONG_TIME: u8 = 0x18;
/// The version stands here, where there is one.
const VERSION: u8 = 0xa0;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const CURVE: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// From when until when a certificate is valid, in Unix seconds, and its key.
#[derive(Debug)]
pub struct Certificate<'a> {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
    /// The key.
    pub key: Key<'a>,
}

/// A certificate's public key, in the form that signatures are checked with.
#[derive(Debug)]
pub enum Key<'a> {
    /// RSA, with so many bits.
    Rsa(&'a [u8], usize),
    /// On the curve P-256.
    P256(&'a [u8]),
    /// On the curve P-384.
    P384(&'a [u8]),
    /// On Curve25519.
    Ed25519(&'a [u8]),
    /// Of another kind.
    Other,
}

impl<'a> Certificate<'a> {
    /// Reads one.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let (whole, _) = part(der, SEQUENCE)?;
        let (mut signed, _) = part(whole, SEQUENCE)?;
        if let Some((_, rest)) = part(signed, VERSION) {
            signed = rest;
        }
        let (_, rest) = part(signed, INTEGER)?; // serial number
        let (_, rest) = part(rest, SEQUENCE)?; // how it is signed
        let (_, rest) = part(rest, SEQUENCE)?; // by whom
        let (valid, rest) = part(rest, SEQUENCE)?;
        let (_, rest) = part(rest, SEQUENCE)?; // for whom
        let (key, _) = part(rest, SEQUENCE)?;
        let (from, valid) = time(valid)?;
        let (until, _) = time(valid)?;
        Some(Self { from, until, key: Key::read(key)? })
    }
}

impl<'a> Key<'a> {
    fn read(key: &'a [u8]) -> Option<Self> {
        let (kind, rest) = part(key, SEQUENCE)?;
        let (bits, _) = part(rest, BITS)?;
        let bytes = bits.strip_prefix(&[0])?;
        let (kind, parameters) = part(kind, OBJECT)?;
        Some(match kind {
            RSA => {
                let (numbers, _) = part(bytes, SEQUENCE)?;
                let (modulus, _) = part(numbers, INTEGER)?;
                let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
                let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                Self::Rsa(bytes, modulus.len() * 8 - unused)
            }
            CURVE => match part(parameters, OBJECT)?.0 {
                P256 => Self::P256(bytes),
                P384 => Self::P384(bytes),
                _ => Self::Other,
            },
            ED25519 => Self::Ed25519(bytes),
            _ => Self::Other,
        })
    }

    /// Whether it is RSA and too short for TLS 1.3, whose form of signature is checked from 2,048 bits on only.
    pub fn is_short(&self) -> bool {
        matches!(self, Self::Rsa(_, bits) if *bits < 2048)
    }

    /// Whether whoever signed this has the key. `old` is TLS 1.2, which allows more.
    pub fn signed(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8], old: bool) -> bool {
        use SignatureScheme as S;
        let (algorithm, key): (&dyn by::VerificationAlgorithm, _) = match (self, scheme) {
            (Self::Ed25519(key), S::ED25519) => (&by::ED25519, key),
            (Self::P256(key), S::ECDSA_NISTP256_SHA256) => (&by::ECDSA_P256_SHA256_ASN1, key),
            (Self::P384(key), S::ECDSA_NISTP384_SHA384) => (&by::ECDSA_P384_SHA384_ASN1, key),
            (Self::P256(key), S::ECDSA_NISTP384_SHA384) if old => (&by::ECDSA_P256_SHA384_ASN1, key),
            (Self::P384(key), S::ECDSA_NISTP256_SHA256) if old => (&by::ECDSA_P384_SHA256_ASN1, key),
            (Self::Rsa(key, _), S::RSA_PSS_SHA256) => (&by::RSA_PSS_2048_8192_SHA256, key),
            (Self::Rsa(key, _), S::RSA_PSS_SHA384) => (&by::RSA_PSS_2048_8192_SHA384, key),
            (Self::Rsa(key, _), S::RSA_PSS_SHA512) => (&by::RSA_PSS_2048_8192_SHA512, key),
            (Self::Rsa(key, _), S::RSA_PKCS1_SHA256) if old => {
                (&by::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa(key, _), S::RSA_PKCS1_SHA384) if old => (&by::RSA_PKCS1_2048_8192_SHA384, key),
            (Self::Rsa(key, _), S::RSA_PKCS1_SHA512) if old => {
                (&by::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, key)
            }
            _ => return false,
        };
        by::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    }
}

/// The first part, which has this tag, and what comes after it.
fn part(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[is, short], rest) = der.split_first_chunk()?;
    if is != tag {
        return None;
    }
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A moment, in one of the two forms.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest, years) = match part(der, UTC_TIME) {
        Some((digits, rest)) => (digits, rest, 2),
        None => part(der, LONG_TIME).map(|(digits, rest)| (digits, rest, 4))?,
    };
    let digits = digits.strip_suffix(b"Z")?;
    let (year, others) = digits.split_at_checked(years)?;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i16>().ok();
    let year = match number(year)? {
        year @ 0..50 if years == 2 => 2000 + year,
        year if years == 2 => 1900 + year,
        year => year,
    };
    let mut numbers = [0; 5];
    let mut pairs = others.chunks(2);
    for place in &mut numbers {
        *place = i8::try_from(number(pairs.next()?)?).ok()?;
    }
    let [month, day, hour, minute, second] = numbers;
    let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    // The last day of 9999 means "for ever", and is beyond what can be told in every zone.
    Some((TimeZone::UTC.to_timestamp(civil).map_or(i64::MAX, Timestamp::as_second), rest))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// With an RSA key of 1,024 bits, from 2026-11-25 09:35:19 to 2036-11-22 09:35:19.
    const SHORT: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIB9DCCAV2gAwIBAgIUL1WN+4E/YkyTP4diPBmA7tiskAswDQYJKoZIhvcNAQEL\n\
BQAwDDEKMAgGA1UEAwwBZDAeFw0yNjExMjUwOTM1MTlaFw0zNjExMjIwOTM1MTla\n\
MAwxCjAIBgNVBAMMAWQwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBAMHIZ06t\n\
dMjx9aaq3Nk/8pFatKU3GOlAFFxqmwig3YAiunqh6TjCq3K65AMIb8vo9VE5CEfY\n\
gJZ7k3w2QmCiIPQCJfrEtZNvfAGjmNeltZASkMf5F1n3p61JwtxMOPRXjt13MnPZ\n\
0zzMl0M8fwRcXWahW+aOxlgMe0gZnpCRadWbAgMBAAGjUzBRMB0GA1UdDgQWBBT9\n\
0k3Roebz2rzbjNb9ZtS4rH1bYTAfBgNVHSMEGDAWgBT90k3Roebz2rzbjNb9ZtS4\n\
rH1bYTAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBCwUAA4GBAGVbvf7+PzPY\n\
g4oRdu9nMF1yyYJ6GT/hxPqKnDfI94T9W8jizs0oQsM28atEYTNXWBNwKAEpYMDK\n\
nqjyjQ005QNC40GsV8/1dINHcQoGIcCEq0pXaAXVYNHBtwyDVO7PDcVJtxY0eyeN\n\
RuFuLohJ/HxW5hb8DTFK9VWJzPuBF4Js\n\
-----END CERTIFICATE-----";

    /// Of "panelsync", with that key: RSA, PKCS #1, SHA-256.
    const SIGNED: &str = "\
5890fe3a4281add7bc48000299191f523618e7a1809f5b0ba625e3909e6a09a592330be1e0e4c421bb63ba0902203f1e\
38286b099babee117d2b527195025ff2e8d4117caecbe5fc1e386269059a67dc27f1f01472842972dd02946ddd8a0ab9\
8559dd103ea79605551e4612475acd432d2c278776f08a289417320a40b1cb07";

    #[test]
    fn a_short_key_checks_signatures_of_the_old_form() {
        let der = CertificateDer::from_pem_slice(SHORT.as_bytes()).expect("a certificate");
        let read = Certificate::read(&der).expect("readable");
        assert_eq!((read.from, read.until), (1_795_599_319, 2_110_959_319));
        assert!(matches!(read.key, Key::Rsa(_, 1024)) && read.key.is_short());
        let signature: Vec<u8> = SIGNED
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hex"))
            .collect();
        let scheme = SignatureScheme::RSA_PKCS1_SHA256;
        assert!(read.key.signed(scheme, b"panelsync", &signature, true));
        assert!(!read.key.signed(scheme, b"another", &signature, true));
        assert!(!read.key.signed(scheme, b"panelsync", &signature, false), "not in TLS 1.3");
        assert!(!read.key.signed(SignatureScheme::RSA_PSS_SHA256, b"panelsync", &signature, true));
        assert!(!read.key.signed(SignatureScheme::ED25519, b"panelsync", &signature, true));
    }

    #[test]
    fn of_bytes_that_are_no_certificate_nothing_is_read() {
        let der = CertificateDer::from_pem_slice(SHORT.as_bytes()).expect("a certificate");
        let mut chance = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut bytes = der.to_vec();
            for _ in 0..chance.usize(1..4) {
                let place = chance.usize(..300.min(bytes.len()));
                bytes[place] = chance.u8(..);
            }
            bytes.truncate(chance.usize(..=bytes.len()));
            if let Some(Certificate { key, .. }) = Certificate::read(&bytes) {
                let _ = key.signed(SignatureScheme::RSA_PKCS1_SHA256, b"x", &bytes, true);
            }
        }
        assert!(Certificate::read(&[]).is_none() && Certificate::read(&[0x30, 0x84]).is_none());
    }

    #[test]
    fn both_forms_of_time_are_read_and_no_other() {
        let read = |tag, text: &[u8]| time(&[&[tag, text.len() as u8], text].concat()).map(|(at, _)| at);
        assert_eq!(read(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, b"491231235959Z"), read(LONG_TIME, b"20491231235959Z"));
        assert_eq!(read(UTC_TIME, b"500101000000Z"), read(LONG_TIME, b"19500101000000Z"));
        assert!(read(LONG_TIME, b"99991231235959Z").is_some_and(|at| at > 253_000_000_000));
        for wrong in [&b""[..], b"Z", b"7001010000Z", b"701301000000Z", b"700101000000", b"70010100000\xffZ"]
        {
            assert_eq!(read(UTC_TIME, wrong), None, "{wrong:?}");
        }
    }
}
