//! What is presented at a door, each in the one form in which it is compared, kept and, but for its hyphens, sent.
//!
//! Two numbers are equal when their forms are. A decimal number and pairs of hex digits are different numbers, also
//! where they would have the same value: whether a panel takes them for one card is not known, and to take two cards for
//! one would give somebody's door to somebody else.

use std::fmt;

use uuid::Uuid;

use super::photo::FaceDigest;
use super::rule::{Api, Kind};
use crate::profile::text;

/// What opens. Equal where a panel would say that the type and number are taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credential {
    /// A card.
    Card(CardNumber),
    /// A phone key.
    Ukey(CardNumber),
    /// A code.
    Code(Code),
    /// A QR code.
    Qr(QrNumber),
    /// A plate.
    Plate(Plate),
    /// A face, known by its photo.
    Face(FaceDigest),
}

impl Credential {
    /// From a number as anybody writes it. `None` where it is not one of that kind, and for faces, which have none.
    pub fn new(kind: Kind, number: &str) -> Option<Self> {
        match kind {
            Kind::Card => CardNumber::new(number).map(Self::Card),
            Kind::Ukey => CardNumber::new(number).map(Self::Ukey),
            Kind::Code => Code::new(number).map(Self::Code),
            Kind::Qr => QrNumber::new(number).map(Self::Qr),
            Kind::Plate => Plate::new(number).map(Self::Plate),
            Kind::Face => None,
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Card(_) => Kind::Card,
            Self::Ukey(_) => Kind::Ukey,
            Self::Code(_) => Kind::Code,
            Self::Qr(_) => Kind::Qr,
            Self::Plate(_) => Kind::Plate,
            Self::Face(_) => Kind::Face,
        }
    }

    /// The whole number in the form that the family's panels take; empty for a face, whose number the panel makes. It is
    /// a secret: not for logs, lists or messages.
    pub fn number(&self, api: Api) -> String {
        match self {
            Self::Card(number) | Self::Ukey(number) => number.form(api.between_pairs()),
            Self::Code(_) | Self::Qr(_) | Self::Plate(_) | Self::Face(_) => self.whole().unwrap_or_default(),
        }
    }

    /// The whole number for who asked for this one and may see it; nothing of a face, whose number nobody gave.
    pub fn whole(&self) -> Option<String> {
        match self {
            Self::Card(number) | Self::Ukey(number) => Some(number.form('-')),
            Self::Code(code) => Some(code.0.to_string()),
            Self::Qr(number) => Some(number.0.as_hyphenated().to_string()),
            Self::Plate(plate) => Some(plate.0.to_string()),
            Self::Face(_) => None,
        }
    }

    /// The whole number in a form that reads back as the same; of a face its digest. It is a secret.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Face(digest) => digest.hex(),
            other => other.whole().unwrap_or_default(),
        }
    }

    /// Type and number as they are compared, whatever a family's form of them; of a face its digest. It is a secret.
    pub(crate) fn kept_form(&self) -> String {
        let number = match self {
            Self::Qr(number) => number.plain(),
            other => other.written(),
        };
        format!("{} {number}", self.kind().as_str())
    }

    /// The last three characters; none where they would be the whole, and nothing of codes and faces.
    pub fn masked(&self) -> Option<String> {
        match self {
            Self::Card(number) | Self::Ukey(number) => Some(number.masked()),
            Self::Qr(number) => Some(number.masked()),
            Self::Plate(plate) => Some(plate.masked()),
            Self::Code(_) | Self::Face(_) => None,
        }
    }
}

/// What may be shown of a number: its last three characters behind an ellipsis, and nothing where they are all of it.
pub(super) fn masked(number: &str) -> String {
    let characters = number.chars().count();
    let hidden = if characters > 3 { characters - 3 } else { characters };
    let tail: String = number.chars().skip(hidden).collect();
    format!("…{tail}")
}

/// A type whose `Debug` shows no more than `masked` does.
macro_rules! debug_is_masked {
    ($name:ident) => {
        impl $name {
            /// The last three characters; none where they would be the whole.
            pub fn masked(&self) -> String {
                masked(&self.plain())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.masked())
            }
        }
    };
}

/// The number of a card or a phone key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardNumber(Digits);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Digits {
    /// At most ten digits; leading zeros say nothing.
    Decimal(u64),
    /// Two to eight bytes in their order.
    Hex(Box<[u8]>),
}

impl CardNumber {
    /// One to ten decimal digits, or two to eight pairs of hex digits with `:` or `-` between them.
    pub fn new(text: &str) -> Option<Self> {
        let decimal = (1..=10).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        if decimal {
            return text.parse().ok().map(|number| Self(Digits::Decimal(number)));
        }
        let mut bytes = Vec::new();
        for pair in text.split([':', '-']) {
            let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !digits || bytes.len() == 8 {
                return None;
            }
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
        }
        (bytes.len() >= 2).then(|| Self(Digits::Hex(bytes.into())))
    }

    fn form(&self, between: char) -> String {
        match &self.0 {
            Digits::Decimal(number) => number.to_string(),
            Digits::Hex(bytes) => {
                let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                pairs.join(between.encode_utf8(&mut [0; 4]))
            }
        }
    }

    /// The digits alone.
    fn plain(&self) -> String {
        self.form('-').replace('-', "")
    }
}

debug_is_masked!(CardNumber);

/// A code: one to ten decimal digits, as they are. `007` and `7` are two codes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(Box<str>);

impl Code {
    /// The longest that is taken.
    pub const MAX_DIGITS: usize = 10;

    /// `None` for what is not such a code.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_DIGITS).contains(&text.len());
        (fits && text.bytes().all(|digit| digit.is_ascii_digit())).then(|| Self(text.into()))
    }

    /// How many digits it has.
    pub fn digits(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// What a QR code says: a UUID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QrNumber(Uuid);

impl QrNumber {
    /// Takes the hyphenated form in either case, and no other spelling of a UUID.
    pub fn new(text: &str) -> Option<Self> {
        if text.len() == 36 { Uuid::try_parse(text).ok().map(Self) } else { None }
    }

    fn plain(&self) -> String {
        self.0.as_simple().to_string()
    }
}

debug_is_masked!(QrNumber);

/// A car's plate: upper case, without blanks and hyphens, 1 to 100 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plate(Box<str>);

impl Plate {
    /// The longest, in characters.
    pub const MAX_CHARS: usize = 100;

    /// `None` where nothing remains, it is too long, or a character steers what shows it.
    pub fn new(written: &str) -> Option<Self> {
        // What is far too long need not be looked at.
        if written.len() > 16 * Self::MAX_CHARS {
            return None;
        }
        let kept = |c: &char| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}' | '\u{2011}');
        let plate: String = written.chars().filter(kept).flat_map(char::to_uppercase).collect();
        let fits = (1..=Self::MAX_CHARS).contains(&plate.chars().count());
        (fits && !plate.contains(text::steers)).then(|| Self(plate.into()))
    }

    fn plain(&self) -> String {
        self.0.to_string()
    }
}

debug_is_masked!(Plate);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::rule::Family;

    fn form(kind: Kind, text: &str) -> Option<String> {
        let api = Api::of(Family::Android, None).expect("android panels have identifiers");
        Credential::new(kind, text).map(|credential| credential.number(api))
    }

    #[test]
    fn numbers_have_one_form_each() {
        for (kind, written, expected) in [
            (Kind::Card, "1234567", "1234567"),
            (Kind::Card, "0001234567", "1234567"),
            (Kind::Ukey, "0000000000", "0"),
            (Kind::Card, "9999999999", "9999999999"),
            (Kind::Card, "0a:1b:2c:3d", "0A-1B-2C-3D"),
            (Kind::Card, "0A-1b:2C-3d", "0A-1B-2C-3D"),
            (Kind::Ukey, "00-00", "00-00"),
            (Kind::Card, "01-02-03-04-05-06-07-08", "01-02-03-04-05-06-07-08"),
            (Kind::Code, "0070", "0070"),
            (Kind::Code, "1234567890", "1234567890"),
            (Kind::Qr, "91C615E3-1040-4815-8ECB-039A18B756B5", "91c615e3-1040-4815-8ecb-039a18b756b5"),
            (Kind::Plate, " aa 1234-bb ", "AA1234BB"),
            (Kind::Plate, "аа1234вв", "АА1234ВВ"),
        ] {
            assert_eq!(form(kind, written).as_deref(), Some(expected), "{kind:?} {written}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for (kind, wrong) in [
            (Kind::Card, ""),
            (Kind::Card, "12345678901"),
            (Kind::Card, "0A1B2C3D"),
            (Kind::Card, "0A"),
            (Kind::Card, "0A-1B-"),
            (Kind::Card, "-0A-1B"),
            (Kind::Card, "+1-2B"),
            (Kind::Card, "0A--1B"),
            (Kind::Card, "0A-1B-2C-3D-4E-5F-60-71-82"),
            (Kind::Card, "+1"),
            (Kind::Card, "١٢٣"),
            (Kind::Ukey, "0A-1G"),
            (Kind::Code, ""),
            (Kind::Code, "12345678901"),
            (Kind::Code, "12a"),
            (Kind::Qr, "91c615e3104048158ecb039a18b756b5"),
            (Kind::Qr, "1234567"),
            (Kind::Plate, ""),
            (Kind::Plate, " - "),
            (Kind::Plate, "AA\u{202e}1234"),
            (Kind::Face, "1234"),
        ] {
            assert_eq!(form(kind, wrong), None, "{kind:?} {wrong}");
        }
        assert!(Plate::new(&"a".repeat(100)).is_some() && Plate::new(&"a".repeat(101)).is_none());
        assert!(Plate::new(&"ß".repeat(51)).is_none(), "its form is too long");
    }

    #[test]
    fn decimal_and_hex_and_the_types_are_different_numbers() {
        let card = |text| Credential::new(Kind::Card, text).expect("a number");
        assert_eq!(card("7"), card("0000000007"));
        assert_eq!(card("a1:b2"), card("A1-B2"));
        assert_ne!(card("258"), card("01-02"), "of the same value, and not one number");
        assert_ne!(card("01-02"), card("02-01"));
        assert_ne!(card("01-02"), card("00-01-02"));
        assert_ne!(Some(card("7")), Credential::new(Kind::Ukey, "7"));
        assert_ne!(Code::new("007"), Code::new("7"));
    }

    #[test]
    fn no_number_is_shown_whole() {
        for (kind, written, shown, debug) in [
            (Kind::Card, "1234567", Some("…567"), "Card(CardNumber(…567))"),
            (Kind::Card, "0000123", Some("…"), "Card(CardNumber(…))"),
            (Kind::Card, "7", Some("…"), "Card(CardNumber(…))"),
            (Kind::Ukey, "0A-1B-2C", Some("…B2C"), "Ukey(CardNumber(…B2C))"),
            (Kind::Code, "482915", None, "Code(Code(…))"),
            (Kind::Qr, "91c615e3-1040-4815-8ecb-039a18b756b5", Some("…6b5"), "Qr(QrNumber(…6b5))"),
            (Kind::Plate, "AA 1234 BB", Some("…4BB"), "Plate(Plate(…4BB))"),
        ] {
            let credential = Credential::new(kind, written).expect("a number");
            assert_eq!(credential.masked().as_deref(), shown);
            assert_eq!(format!("{credential:?}"), debug);
        }
    }
}
