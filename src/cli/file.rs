//! Files that people give: UTF-8 with or without a byte order mark, or UTF-16 as spreadsheets save it.

use std::io::Read;

use super::Failure;

/// The text of a file, or of standard input for `-`.
pub fn read(file: &str) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| Failure::usage(format!("{} cannot be read: {error}", name(file)));
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().read_to_end(&mut bytes).map_err(wrong)?;
    } else {
        bytes = std::fs::read(file).map_err(wrong)?;
    }
    text(bytes).map_err(|why| Failure::usage(format!("{} {why}", name(file))))
}

/// What a file is called in a message.
pub fn name(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => match String::from_utf8(bytes) {
            Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = before.split(|byte| *byte == b'\n').count();
                Err(format!(
                    "is not UTF-8 in line {line}; save it as UTF-8 (in a spreadsheet: \"CSV UTF-8\")"
                ))
            }
        },
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text = String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>());
    match text {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err("begins as UTF-16 and is not; save it as UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spreadsheets_save_is_read() {
        let said = "id;zone\nпід'їзд;Europe/Kyiv\n";
        let units: Vec<u16> = std::iter::once(0xfeff).chain(said.encode_utf16()).collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [little.clone(), big, said.into(), format!("\u{feff}{said}").into()] {
            assert_eq!(text(bytes).as_deref(), Ok(said));
        }
        assert!(text(little[..little.len() - 1].into()).is_err());
        assert!(text(b"id\nx\xe9\n".into()).expect_err("Latin-1").contains("line 2"));
    }
}
