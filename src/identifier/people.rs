//! Lists of people, as spreadsheets save them: a line for each identifier, and columns for what it says.
//!
//! | column | holds |
//! | --- | --- |
//! | `name`, `type`, `number` | who, what opens and its number; the types as the panel API spells them, or in words |
//! | `profiles` | link_ids or names of time profiles with `\|` between them, or [`ALWAYS`] |
//! | `from`, `to` | days, days with a time, or RFC 3339; `to` alone is enough. A day counts whole, the last one too |
//! | `owner`, `lock`, `passes`, `apartment_link_id` | `owner` without it, `first`, any number of times, none |
//! | `link_id` | without it one is made of name and type ([`made_of`]) |
//!
//! Columns that begin with `x-` are the list's own, and others are refused, since a misspelt one would be passed over
//! without a word. Names are read in one Unicode form (NFC), since spreadsheets write one person's in several. That a door opens at any time is only ever said, never left out: an empty `profiles` is a fault.
//!
//! A fault tells its line and column, and nothing of what stands there, which may be a number in the wrong place.

use std::collections::HashMap;
use std::fmt;

use csv::StringRecord;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::number::Credential;
use super::rule::{Api, Kind, Lock, MaxPasses, OwnerKind, Passes, ProfileIds, ValidTime};
use super::{Identifier, LinkedIdentifier, Refusal, error, wire};
use crate::profile::rule::Name;
use crate::profile::text::{self, table};
use crate::profile::{LinkId, opens};

mod names;

pub use names::Names;

/// Stands among the profiles of an identifier that opens at any time.
pub const ALWAYS: &str = "always";

/// Between the profiles of one identifier.
const BETWEEN: char = '|';

/// Faults that are told; more are counted.
pub const TOLD: usize = 20;

/// Within this, link_ids are made of names.
const NAMESPACE: [u8; 16] = *b"panelsync/people";

/// The columns, each with other words for it that people write.
const COLUMNS: [(&str, &[&str]); 11] = [
    ("name", &["owner name", "owner_name", "person", "full name", "who"]),
    ("type", &["kind", "identifier_type", "identifier type"]),
    ("number", &["card", "code", "card number", "identifier_number", "identifier number"]),
    ("profiles", &["profile", "time profile", "time profiles", "time_profiles", "schedule"]),
    ("from", &["valid from", "valid_from", "start", "begin", "since"]),
    ("to", &["valid to", "valid_to", "until", "end", "expires"]),
    ("owner", &["owner type", "owner_type", "affiliation"]),
    ("lock", &["locks", "relay"]),
    ("link_id", &["linkid", "link id", "id", "uuid"]),
    ("passes", &["max_passes", "max passes", "uses"]),
    ("apartment_link_id", &["apartment", "flat"]),
];

/// Columns that every list has.
const REQUIRED: [&str; 4] = ["name", "type", "number", "profiles"];

/// An identifier of a list.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// The line in which it begins.
    pub line: usize,
    /// What it says.
    pub linked: LinkedIdentifier,
    /// Whether its link_id was made of its name and type.
    pub made: bool,
}

/// What is wrong at one place of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line.
    pub line: usize,
    /// The column; none where it is the whole line.
    pub column: Option<&'static str>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.message),
            None => write!(f, "line {} {}", self.line, self.message),
        }
    }
}

/// Why a list is none. Whoever read it knows its name, behind which `Display` goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Faults {
    /// The list itself, or its first line.
    List(String),
    /// Lines of it: the first, and how many there are.
    Lines(Vec<Fault>, usize),
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(why) => f.write_str(why),
            Self::Lines(faults, all) => match faults.as_slice() {
                [one] if *all == 1 => one.fmt(f),
                told => {
                    write!(f, "has {all} places that are wrong:")?;
                    told.iter().try_for_each(|fault| write!(f, "\n  {fault}"))?;
                    if *all > told.len() { write!(f, "\n  and {} more", all - told.len()) } else { Ok(()) }
                }
            },
        }
    }
}

/// Reads a list. Days and times are meant in the zone; `profile` finds profiles by link_ids and by names.
pub fn read(
    text: &str,
    zone: Option<&TimeZone>,
    profile: impl Fn(&str) -> Result<LinkId, String>,
) -> Result<Vec<Entry>, Faults> {
    let mut list = List::default();
    let mut columns: Option<Vec<Option<&'static str>>> = None;
    table::rows(text, |line, row| {
        let Some(columns) = &columns else {
            columns = Some(header(row).map_err(|why| format!("line {line}{why}"))?);
            return Ok(());
        };
        match table::fits(row, columns.len()) {
            Err(why) => list.fault(line, None, why),
            Ok(()) => list.add(line, &Row { columns, values: row, zone }, &profile),
        }
        Ok(())
    })
    .map_err(Faults::List)?;
    match list {
        List { entries, all: 0, .. } if entries.is_empty() => {
            Err(Faults::List("has no identifier in it".to_owned()))
        }
        List { entries, all: 0, .. } => Ok(entries),
        List { faults, all, .. } => Err(Faults::Lines(faults, all)),
    }
}

/// The link_id of who has one, in lists that give none: a UUID (version 8) from name and type. The number is no part of
/// it, since link_ids are seen by many, and numbers have few digits.
pub fn made_of(name: &Name, kind: Kind) -> LinkId {
    let digest = Sha256::new()
        .chain_update(NAMESPACE)
        .chain_update(kind.as_str())
        .chain_update([0])
        .chain_update(name.as_str().nfc().collect::<String>())
        .finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, of)| *byte = of);
    LinkId::from_bytes(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes())
}

/// Which column each value of a row belongs to; none for the list's own.
fn header(row: &StringRecord) -> Result<Vec<Option<&'static str>>, String> {
    let mut columns = Vec::new();
    for (i, name) in table::names(row).into_iter().enumerate() {
        let column = column(name).map_err(|why| format!(", column {}: {why}", i + 1))?;
        if let Some(column) = column
            && columns.contains(&Some(column))
        {
            return Err(format!(", column {}: {column} stands there a second time", i + 1));
        }
        columns.push(column);
    }
    match REQUIRED.into_iter().find(|column| !columns.contains(&Some(column))) {
        Some(missing) => Err(format!(" has no column {missing}; the first line names the columns")),
        None => Ok(columns),
    }
}

fn column(name: &str) -> Result<Option<&'static str>, String> {
    let small = name.to_lowercase();
    if small.starts_with("x-") {
        return Ok(None);
    }
    if let Some((column, _)) = COLUMNS.iter().find(|(column, _)| *column == small) {
        return Ok(Some(column));
    }
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    let near = |word: &str| word.len() > 3 && strsim::osa_distance(word, &small) <= word.len() / 4;
    let meant = COLUMNS.iter().find(|(column, others)| {
        others.contains(&small.as_str()) || std::iter::once(column).chain(*others).any(|word| near(word))
    });
    // A list without a first line of names has a person's number there.
    if name.chars().filter(char::is_ascii_digit).count() > 3 {
        return Err("what stands there is no name of a column; the first line names the columns".to_owned());
    }
    let name = text::shown(&text::short(name)).into_owned();
    Err(match meant {
        Some((column, _)) => format!("{name}: did you mean `{column}`?"),
        None => format!(
            "{name} is none of {}; name it x-{name} if it is the list's own",
            COLUMNS.map(|(column, _)| column).join(", ")
        ),
    })
}

/// A row under the names of its columns.
struct Row<'r> {
    columns: &'r [Option<&'static str>],
    values: &'r StringRecord,
    zone: Option<&'r TimeZone>,
}

impl Row<'_> {
    /// What stands in a column; empty where there is none.
    fn value(&self, column: &str) -> &str {
        let at = self.columns.iter().position(|name| *name == Some(column));
        at.and_then(|at| self.values.get(at)).unwrap_or_default().trim()
    }

    fn name(&self) -> Result<Name, String> {
        let text = self.value("name");
        if text.contains(text::steers) {
            return Err("it has a character that is not shown but steers, such as a line's end".to_owned());
        }
        let text: String = text.nfc().collect();
        Name::new(&text).ok_or_else(|| format!("a name of 1 to {} characters is expected", Name::MAX_CHARS))
    }

    fn kind(&self) -> Result<Kind, String> {
        let text = self.value("type").to_lowercase();
        let called = |kind: &Kind| {
            let words: &[&str] = match kind {
                Kind::Card => &["tag"],
                Kind::Ukey => &["mobile"],
                Kind::Code => &["input_code", "pin"],
                Kind::Qr => &[],
                Kind::Plate => &["license plate", "licence plate"],
                Kind::Face => &["face_id"],
            };
            [kind.as_str(), kind.in_words()].iter().any(|word| word.to_lowercase() == text)
                || words.contains(&text.as_str())
        };
        match Kind::ALL.into_iter().find(called) {
            Some(Kind::Face) => Err("a face has a photo, which stands in no list; use `apply`".to_owned()),
            Some(kind) => Ok(kind),
            None => Err("one of card, ukey, inputCode, qr, license_plate is expected".to_owned()),
        }
    }

    fn credential(&self, kind: Kind) -> Result<Credential, String> {
        let text = self.value("number");
        Credential::new(kind, text).ok_or_else(|| {
            let takes = error::WireError::Number(kind).hint();
            if shortened(text) {
                format!(
                    "the spreadsheet has shortened it to a power of ten; have the column as text. It takes {takes}"
                )
            } else {
                format!("no number of this type; it takes {takes}")
            }
        })
    }

    fn profiles(&self, profile: &impl Fn(&str) -> Result<LinkId, String>) -> Result<ProfileIds, String> {
        let text = self.value("profiles");
        if text.is_empty() {
            return Err(format!("it is empty; name its time profiles, or write {ALWAYS} for at any time"));
        }
        if text.eq_ignore_ascii_case(ALWAYS) {
            // Who has a profile of this name meant that one, which is open at fewer times.
            return match profile(text) {
                Ok(_) => Err(format!(
                    "there is a time profile called {ALWAYS}; give its link_id, or name it otherwise"
                )),
                Err(_) => Ok(ProfileIds::default()),
            };
        }
        let several = text.contains(BETWEEN);
        let mut ids = Vec::new();
        for (i, named) in text.split(BETWEEN).map(str::trim).enumerate() {
            let at = |why: String| if several { format!("number {} of them: {why}", i + 1) } else { why };
            if named.is_empty() {
                return Err(at("it is empty".to_owned()));
            }
            if named.eq_ignore_ascii_case(ALWAYS) {
                return Err(at(format!("{ALWAYS} stands alone")));
            }
            ids.push(profile(named).map_err(at)?);
        }
        ProfileIds::new(ids).ok_or_else(|| format!("at most {} of them", ProfileIds::MOST))
    }

    fn time(&self) -> Result<ValidTime, (&'static str, String)> {
        let end = |column, whole_day| match self.value(column) {
            "" => Ok(None),
            text => moment(text, self.zone, whole_day).map(Some).map_err(|why| (column, why.to_owned())),
        };
        match (end("from", false)?, end("to", true)?) {
            (None, None) => Ok(ValidTime::Permanent),
            (Some(_), None) => {
                Err(("to", "what has a beginning has an end; write a far one, such as 2099-12-31".to_owned()))
            }
            (from, Some(to)) => {
                let time = ValidTime::Between { from: from.unwrap_or(0), to };
                if time.never() { Err(("to", Refusal::NeverOpens.to_string())) } else { Ok(time) }
            }
        }
    }

    fn owner(&self) -> Result<OwnerKind, String> {
        match self.value("owner") {
            "" => Ok(OwnerKind::Owner),
            text => OwnerKind::parse(&text.to_lowercase()).ok_or_else(|| error::WireError::OwnerType.hint()),
        }
    }

    fn lock(&self) -> Result<Lock, String> {
        match self.value("lock") {
            "" => Ok(Lock::First),
            text => Lock::parse(&text.to_lowercase()).ok_or_else(|| error::WireError::Lock.hint()),
        }
    }

    fn passes(&self) -> Result<Passes, String> {
        match self.value("passes") {
            "" => Ok(Passes::Permanent),
            text => text.parse().ok().and_then(MaxPasses::new).map(Passes::AtMost).ok_or_else(|| {
                "a whole number from 1 on, or nothing for any number of times, is expected".to_owned()
            }),
        }
    }

    fn link_id(&self, column: &str) -> Result<Option<LinkId>, String> {
        match self.value(column) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                "a UUID such as 91c615e3-1040-4815-8ecb-039a18b756b5, or nothing, is expected".to_owned()
            }),
        }
    }
}

/// Whether a number was saved as a spreadsheet shows long ones, such as `1.23E+09`.
fn shortened(text: &str) -> bool {
    let Some((digits, power)) = text.split_once(['E', 'e']) else { return false };
    power.starts_with('+')
        && !digits.is_empty()
        && digits.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b','))
}

/// How [`moment`] reads this moment, as short as can be.
pub fn written(unix: i64, zone: &TimeZone, end: bool) -> String {
    let reads = |text: String| Some(text).filter(|text| moment(text, Some(zone), end) == Ok(unix));
    let local = opens::local(unix, zone);
    let day = opens::local(unix.saturating_sub(i64::from(end)), zone);
    let day = day.and_then(|day| reads(day.date().to_string()));
    let timed = |local: DateTime| reads(local.strftime("%Y-%m-%d %H:%M:%S").to_string());
    day.or_else(|| timed(local?)).unwrap_or_else(|| {
        Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |moment| moment.to_string())
    })
}

/// A moment of a list, in Unix seconds. A day alone is its beginning, or as an end that of the next.
pub fn moment(text: &str, zone: Option<&TimeZone>, end: bool) -> Result<i64, &'static str> {
    const TAKES: &str = "a day such as 2026-12-31 or 31.12.2026, one with a time such as 2026-12-31 18:00, or RFC 3339 is expected";
    if let Some(moment) = opens::moment(text) {
        return Ok(moment);
    }
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time.trim())),
        None => (text, None),
    };
    let date = day(date).ok_or(TAKES)?;
    let local = match time {
        Some(time) => DateTime::from_parts(date, clock_time(time).ok_or(TAKES)?),
        None if end => DateTime::from_parts(date.tomorrow().map_err(|_| TAKES)?, Time::midnight()),
        None => DateTime::from_parts(date, Time::midnight()),
    };
    let zone = zone.ok_or("a day or a time without its offset needs a zone, such as --zone Europe/Kyiv")?;
    Ok(opens::instant_of(local, zone))
}

fn day(text: &str) -> Option<Date> {
    let number = |digits: &str, most: usize| -> Option<i16> {
        let good = (1..=most).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        if good { digits.parse().ok() } else { None }
    };
    let mark = if text.contains('-') { '-' } else { '.' };
    let mut parts = text.split(mark);
    let (first, month, last) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, day) = if mark == '-' { (first, last) } else { (last, first) };
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let (month, day) = (i8::try_from(number(month, 2)?).ok()?, i8::try_from(number(day, 2)?).ok()?);
    Date::new(number(year, 4)?, month, day).ok()
}

/// `HH:MM`, or with seconds.
fn clock_time(text: &str) -> Option<Time> {
    let shape = text.bytes().map(|c| if c.is_ascii_digit() { b'0' } else { c });
    let shape: Vec<_> = shape.collect();
    matches!(shape.as_slice(), b"00:00" | b"00:00:00").then(|| text.parse().ok())?
}

/// A list as far as it was read.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    faults: Vec<Fault>,
    all: usize,
    /// In which line a link_id, and what opens, stand first.
    links: HashMap<LinkId, usize>,
    numbers: HashMap<Credential, usize>,
}

impl List {
    fn fault(&mut self, line: usize, column: Option<&'static str>, message: String) {
        self.all += 1;
        if self.faults.len() < TOLD {
            self.faults.push(Fault { line, column, message });
        }
    }

    /// What was read of a column, or nothing and its fault.
    fn read<T>(&mut self, line: usize, column: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.fault(line, Some(column), message)).ok()
    }

    fn add(&mut self, line: usize, row: &Row<'_>, profile: &impl Fn(&str) -> Result<LinkId, String>) {
        let name = self.read(line, "name", row.name());
        let kind = self.read(line, "type", row.kind());
        let credential = kind.and_then(|kind| self.read(line, "number", row.credential(kind)));
        let profiles = self.read(line, "profiles", row.profiles(profile));
        let time = row.time().map_err(|(column, why)| self.fault(line, Some(column), why)).ok();
        let owner = self.read(line, "owner", row.owner());
        let lock = self.read(line, "lock", row.lock());
        let passes = self.read(line, "passes", row.passes());
        let apartment = self.read(line, "apartment_link_id", row.link_id("apartment_link_id"));
        let given = self.read(line, "link_id", row.link_id("link_id"));
        if let Some(credential) = &credential {
            let first = *self.numbers.entry(credential.clone()).or_insert(line);
            if first != line {
                let what = credential.kind().in_words();
                self.fault(line, Some("number"), format!("the same {what} stands in line {first}"));
            }
        }
        let (Some(name), Some(kind), Some(given)) = (name, kind, given) else { return };
        let link_id = given.unwrap_or_else(|| made_of(&name, kind));
        let first = *self.links.entry(link_id).or_insert(line);
        if first != line {
            match given {
                Some(_) => self.fault(line, Some("link_id"), format!("the same link_id stands in line {first}")),
                None => self.fault(
                    line,
                    Some("name"),
                    format!("the same name and type stand in line {first}, and a link_id is made of them; give each a name of its own, or a column link_id"),
                ),
            }
        }
        let (Some(credential), Some(profiles), Some(time)) = (credential, profiles, time) else { return };
        let (Some(owner), Some(lock), Some(passes), Some(apartment)) = (owner, lock, passes, apartment)
        else {
            return;
        };
        let identifier = Identifier {
            apartment,
            apartment_uid: None,
            name,
            owner,
            credential,
            lock,
            time,
            passes,
            profiles,
            passes_left: None,
        };
        let linked = LinkedIdentifier { link_id, identifier, photo: None };
        self.entries.push(Entry { line, linked, made: given.is_none() });
    }
}

/// The identifiers as a batch takes them. They hold whole numbers.
pub fn as_sent(entries: &[Entry]) -> serde_json::Result<Vec<serde_json::Value>> {
    entries.iter().map(|entry| serde_json::from_str(&wire::item(&entry.linked, Api::ANY))).collect()
}

#[cfg(test)]
mod tests;
