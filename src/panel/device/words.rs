//! Words of a device, as they may be kept and shown: the one place through which they come in.

use std::fmt::Write as _;

use crate::profile::LinkId;

/// Of a device's own words, so many characters are kept.
pub const LONGEST: usize = 200;

/// A device's words without what would act on a terminal, a log or a page, in one line, and cut.
pub fn words(text: &str) -> String {
    cut(text, LONGEST)
}

/// The same with another length.
pub fn cut(text: &str, longest: usize) -> String {
    let mut out = String::new();
    let mut space = false;
    // A text of nothing but what is left out is not looked at to its end.
    for c in text.chars().take(16 * longest) {
        if c.is_whitespace() || c.is_control() {
            space = !out.is_empty();
        } else if !acts(c) {
            if std::mem::take(&mut space) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    match out.char_indices().nth(longest) {
        Some((end, _)) => {
            out.truncate(end);
            out.push('…');
            out
        }
        None => out,
    }
}

/// The words without these numbers, in whatever form and case a device says them.
pub fn without_numbers(text: &str, numbers: &[Box<str>]) -> String {
    let plain = |text: &str| {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_uppercase();
        let digits = plain.trim_start_matches('0').to_owned();
        if digits.is_empty() { plain } else { digits }
    };
    let numbers: Vec<_> = numbers.iter().map(|number| plain(number)).collect();
    let tells = |part: &str| !part.is_empty() && numbers.contains(&plain(part));
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == ':')) {
        let (word, end) = match part.char_indices().next_back() {
            Some((at, c)) if !(c.is_ascii_alphanumeric() || c == '-' || c == ':') => part.split_at(at),
            _ => (part, ""),
        };
        let is_link = word.len() == 36 && word.parse::<LinkId>().is_ok();
        if tells(word) {
            out.push('…');
        } else if is_link {
            out.push_str(word);
        } else {
            for piece in word.split_inclusive(['-', ':']) {
                let bare = piece.trim_end_matches(['-', ':']);
                out.push_str(if tells(bare) { "…" } else { bare });
                out.push_str(&piece[bare.len()..]);
            }
        }
        out.push_str(end);
    }
    out
}

/// Whether a character that is not seen changes how others are: their direction, or whether they show at all.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A device's JSON that says the same with no such character in it: within JSON they stand in texts only, where
/// each can be written as an escape.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) && !matches!(c, '\n' | '\r' | '\t') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}"); // a String takes everything
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_short_line_without_anything_that_acts() {
        assert_eq!(words("  Gate\r\n\t7\u{1b}[31m \0x "), "Gate 7 [31m x");
        assert_eq!(words("a\u{202e}b\u{200b}c\u{feff}"), "abc");
        assert_eq!(words(&"é".repeat(5_000_000)), "é".repeat(200) + "…");
        assert_eq!(words(&"\u{202e}".repeat(5_000_000)), "");
        assert_eq!(json("{\"name\":\"a\u{202e}b\u{e0041}\"}"), r#"{"name":"a\u202eb\udb40\udc41"}"#);
    }
}
