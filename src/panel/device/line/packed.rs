//! Bodies as they are meant: unpacked, and without a byte order mark.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Packed in packed, at most.
const LAYERS: usize = 3;

/// What a body says, in `limit` bytes at most, where its `Content-Encoding` is this.
///
/// There are devices that pack though nobody asked them to, that forget to say so, and that say so and do not. So
/// the body decides: JSON never begins like gzip does.
pub fn plain(body: Bytes, encoding: &str, limit: usize) -> Result<Bytes, String> {
    let mut body = body;
    for layer in encoding.rsplit(',').map(str::trim).filter(|layer| !layer.is_empty()).take(LAYERS) {
        match layer.to_ascii_lowercase().as_str() {
            "deflate" => body = inflate(body, limit)?,
            "gzip" | "x-gzip" | "identity" | "none" => {}
            other => return Err(format!("it is packed with {:?}", &other[..floor(other, 20)])),
        }
    }
    for _ in 0..LAYERS {
        if !body.starts_with(&GZIP) {
            break;
        }
        body = unpack(GzDecoder::new(&*body), limit)?.ok_or("it is packed with gzip, and damaged")?;
    }
    if body.starts_with(&BYTE_ORDER_MARK) {
        body = body.slice(BYTE_ORDER_MARK.len()..);
    }
    Ok(body)
}

/// By the book it has zlib's head; there are servers that leave it out, and those that did not pack at all.
fn inflate(body: Bytes, limit: usize) -> Result<Bytes, String> {
    if let Some(plain) = unpack(ZlibDecoder::new(&*body), limit)? {
        return Ok(plain);
    }
    Ok(unpack(DeflateDecoder::new(&*body), limit)?.unwrap_or(body))
}

/// Nothing where it is not packed like that.
fn unpack(packed: impl Read, limit: usize) -> Result<Option<Bytes>, String> {
    let mut plain = Vec::new();
    match packed.take(limit as u64 + 1).read_to_end(&mut plain) {
        Ok(length) if length > limit => Err(format!("it unpacks to more than {limit} bytes")),
        Ok(_) => Ok(Some(plain.into())),
        Err(_) => Ok(None),
    }
}

fn floor(text: &str, at: usize) -> usize {
    text.char_indices().map(|(end, _)| end).find(|end| *end >= at).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const JSON: &[u8] = br#"{"api_version":"2.9.0"}"#;

    fn packed<W: Write>(mut to: W, finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>) -> Bytes {
        to.write_all(JSON).expect("written");
        finish(to).expect("packed").into()
    }

    #[test]
    fn a_body_is_read_however_it_is_packed_and_whatever_is_said_of_it() {
        let fast = Compression::fast();
        let gzip = packed(GzEncoder::new(Vec::new(), fast), GzEncoder::finish);
        let zlib = packed(ZlibEncoder::new(Vec::new(), fast), ZlibEncoder::finish);
        let raw = packed(DeflateEncoder::new(Vec::new(), fast), DeflateEncoder::finish);
        let marked = Bytes::from([&BYTE_ORDER_MARK, JSON].concat());
        let json = Bytes::from_static(JSON);
        for (body, encoding) in [
            (&json, ""),
            (&json, "gzip"),
            (&json, "deflate"),
            (&json, "identity"),
            (&marked, ""),
            (&gzip, "gzip"),
            (&gzip, "X-GZIP"),
            (&gzip, ""),
            (&zlib, "deflate"),
            (&raw, "deflate"),
        ] {
            assert_eq!(plain(body.clone(), encoding, 1000).as_deref(), Ok(JSON), "{encoding}");
        }
        assert!(plain(json, "br", 1000).is_err());
    }

    #[test]
    fn what_unpacks_to_too_much_or_is_damaged_is_an_error() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        bomb.write_all(&vec![0; 1_000_000]).expect("written");
        let bomb: Bytes = bomb.finish().expect("packed").into();
        assert!(plain(bomb.clone(), "gzip", 999_999).is_err_and(|why| why.contains("more than 999999")));
        assert!(plain(bomb.slice(..bomb.len() - 20), "gzip", 2_000_000).is_err());
        assert!(plain(Bytes::from_static(&GZIP), "", 1000).is_err());
        assert_eq!(plain(Bytes::new(), "gzip", 1000), Ok(Bytes::new()));
    }
}
