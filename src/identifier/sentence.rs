//! An identifier in one plain line, such as
//! `card …567 of "Flat 12, first", first lock, until 31 December 2026, 3 passes, when "Work week" is open`.

use std::fmt::Write;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::Identifier;
use super::rule::{Lock, OwnerKind, Passes, ValidTime};
use crate::profile::LinkId;
use crate::profile::opens::local;

/// Time profiles that are named; of more, the rest is counted.
const NAMED: usize = 3;

/// The line, with moments in this zone and time profiles under the names that they have. It tells no number whole.
pub fn sentence(
    identifier: &Identifier,
    zone: &TimeZone,
    name_of: impl Fn(LinkId) -> Option<String>,
) -> String {
    let mut text = what(identifier);
    let name = identifier.name.as_str();
    let lock = match identifier.lock {
        Lock::First => "first lock",
        Lock::Second => "second lock",
        Lock::All => "all locks",
    };
    let whose = match identifier.owner {
        OwnerKind::Owner => "",
        OwnerKind::Guest => "guest ",
    };
    let _ = write!(text, " of {whose}\"{name}\", {lock}"); // writing to a String cannot fail
    if let Some(valid) = valid(identifier.time, zone) {
        let _ = write!(text, ", {valid}");
    }
    if let Passes::AtMost(most) = identifier.passes {
        let _ = write!(text, ", {}", counted(most.get(), "pass", "passes"));
        if let Some(left) = identifier.passes_left.filter(|left| left.get() >= 0) {
            let _ = write!(text, ", {} left", left.get());
        }
    }
    let _ = write!(text, ", {}", when(identifier.profiles.as_slice(), name_of));
    text
}

/// The kind, and what may be shown of the number.
fn what(identifier: &Identifier) -> String {
    let kind = identifier.credential.kind().in_words();
    match identifier.credential.masked() {
        Some(masked) => format!("{kind} {masked}"),
        None => kind.to_owned(),
    }
}

fn valid(time: ValidTime, zone: &TimeZone) -> Option<String> {
    let ValidTime::Between { from, to } = time else { return None };
    if time.never() {
        return Some("never valid".to_owned());
    }
    // One from 1970 on has no beginning that anybody meant.
    let from = (from > 0).then(|| moment(from, zone));
    let to = end(to, zone);
    Some(match from {
        Some(from) => format!("from {from} until {to}"),
        None => format!("until {to}"),
    })
}

/// A beginning: the day alone where it begins with the day.
fn moment(unix: i64, zone: &TimeZone) -> String {
    match local(unix, zone) {
        Some(at) if at.time() == Time::midnight() => day(&at),
        Some(at) => format!("{} {}", day(&at), at.strftime("%H:%M")),
        None => unix.to_string(),
    }
}

/// An end: the last day alone where it ends with the day.
fn end(unix: i64, zone: &TimeZone) -> String {
    let last_second = local(unix.saturating_sub(1), zone);
    match (local(unix, zone), last_second) {
        (Some(at), Some(before)) if at.time() == Time::midnight() => day(&before),
        _ => moment(unix, zone),
    }
}

fn day(at: &DateTime) -> String {
    at.strftime("%-d %B %Y").to_string()
}

fn when(profiles: &[LinkId], name_of: impl Fn(LinkId) -> Option<String>) -> String {
    let mut names: Vec<_> = profiles
        .iter()
        .take(NAMED)
        .map(|id| name_of(*id).map_or_else(|| id.to_string(), |name| format!("\"{name}\"")))
        .collect();
    if profiles.len() > NAMED {
        names.push(counted((profiles.len() - NAMED) as i64, "other", "others"));
    }
    match names.split_last() {
        None => "at any time".to_owned(),
        Some((only, [])) => format!("when {only} is open"),
        Some((last, others)) => format!("when {} or {last} is open", others.join(", ")),
    }
}

fn counted(n: i64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::number::Credential;
    use crate::identifier::rule::{Kind, MaxPasses, PassesLeft, ProfileIds};
    use crate::profile::rule::Name;

    fn said(change: impl FnOnce(&mut Identifier)) -> String {
        let mut identifier = Identifier {
            apartment: None,
            name: Name::new("Flat 12, first").expect("a name"),
            owner: OwnerKind::Owner,
            credential: Credential::new(Kind::Card, "1234567").expect("a number"),
            lock: Lock::First,
            time: ValidTime::Permanent,
            passes: Passes::Permanent,
            profiles: ProfileIds::default(),
            passes_left: None,
        };
        change(&mut identifier);
        let zone = TimeZone::get("Europe/Kyiv").expect("a zone");
        sentence(&identifier, &zone, |id| (id == LinkId::from_bytes([1; 16])).then(|| "Work week".to_owned()))
    }

    fn profiles(ids: std::ops::Range<u8>) -> ProfileIds {
        ProfileIds::new(ids.map(|n| LinkId::from_bytes([n; 16]))).expect("few")
    }

    #[test]
    fn identifiers_read_as_people_say_them() {
        assert_eq!(said(|_| {}), "card …567 of \"Flat 12, first\", first lock, at any time");
        let all = said(|card| {
            card.time = ValidTime::Between { from: 0, to: 1_798_754_400 }; // 1 January 2027, 00:00 in Kyiv
            card.passes = Passes::AtMost(MaxPasses::new(3).expect("a number"));
            card.profiles = profiles(1..2);
        });
        assert_eq!(
            all,
            "card …567 of \"Flat 12, first\", first lock, until 31 December 2026, 3 passes, when \"Work week\" is open"
        );
        let guest = said(|code| {
            code.owner = OwnerKind::Guest;
            code.credential = Credential::new(Kind::Code, "482915").expect("a code");
            code.lock = Lock::All;
            code.time = ValidTime::Between { from: 1_767_218_400, to: 1_767_278_700 };
            code.passes = Passes::AtMost(MaxPasses::new(1).expect("a number"));
            code.passes_left = PassesLeft::new(0);
            code.profiles = profiles(1..3);
        });
        assert_eq!(
            guest,
            "code of guest \"Flat 12, first\", all locks, from 1 January 2026 until 1 January 2026 16:45, 1 pass, \
             0 left, when \"Work week\" or 02020202-0202-0202-0202-020202020202 is open"
        );
        let many = said(|card| card.profiles = profiles(1..7));
        assert!(many.ends_with("or 3 others is open"), "{many}");
        let never = said(|card| card.time = ValidTime::Between { from: 7, to: 7 });
        assert!(never.contains("never valid"), "{never}");
        let far = said(|card| card.time = ValidTime::Between { from: i64::MIN, to: i64::MAX });
        assert!(far.contains("until 9223372036854775807"), "{far}");
    }
}
