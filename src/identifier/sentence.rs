//! An identifier in one plain line, such as
//! `card …567 of "Flat 12, first", first lock, until 31 December 2026, 3 passes, when "Work week" is open`.

use std::fmt::Write;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::Identifier;
use super::opens::{Answer, Why};
use super::rule::{Lock, OwnerKind, Passes, ValidTime};
use crate::profile::LinkId;
use crate::profile::opens::local;
use crate::profile::windows::Window;

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

/// Why it opens, or does not, with moments in this zone and time profiles under the names that they have.
pub fn reason(answer: &Answer, zone: &TimeZone, name_of: impl Fn(LinkId) -> Option<String>) -> String {
    let named = |id: LinkId| name(id, &name_of);
    let mut text = match answer.why {
        Why::AnyTime(window) => match span(window, zone) {
            Some(span) => format!("it names no time profile, and is valid {span}"),
            None => "it names no time profile, and is valid at any time".to_owned(),
        },
        Why::Open(profile, window) => match span(window, zone) {
            Some(span) => format!("{} is open {span}", named(profile)),
            None => format!("{} is open", named(profile)),
        },
        Why::NeverValid => "it ends before it begins, so it is never valid".to_owned(),
        Why::NotYetValid(from) => format!("it is not valid before {}", moment(from, zone)),
        Why::NoLongerValid(to) => format!("it was valid until {}", end(to, zone)),
        Why::NoPassLeft => "no pass is left".to_owned(),
        Why::NoProfileThere => {
            return format!(
                "the panel holds none of its time profiles: {}",
                joined(&names(&answer.missing, &name_of), "and")
            );
        }
        Why::Shut(None) => "none of its time profiles is open then".to_owned(),
        Why::Shut(Some((profile, next))) => {
            let next = moment(next, zone);
            format!("none of its time profiles is open then; {} opens next, {next}", named(profile))
        }
    };
    if !answer.missing.is_empty() {
        let missing = names(&answer.missing, &name_of);
        let _ = write!(text, "; the panel does not hold {}", joined(&missing, "and")); // cannot fail
    }
    text
}

/// A window whose ends are perhaps too far away to be told.
fn span(window: Window, zone: &TimeZone) -> Option<String> {
    let Window { from, to } = window;
    // As of an identifier's own time: from 1970 is no beginning that anybody meant.
    match (from > 0, to < i64::MAX) {
        (false, false) => None,
        (true, false) => Some(format!("from {}", moment(from, zone))),
        (false, true) => Some(format!("until {}", end(to, zone))),
        (true, true) => Some(match (local(from, zone), local(to, zone)) {
            (Some(begin), Some(close)) if begin.date() == close.date() => {
                format!("{} {}–{}", day(&begin), begin.strftime("%H:%M"), close.strftime("%H:%M"))
            }
            _ => between(from, to, zone),
        }),
    }
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
    Some(if from > 0 { between(from, to, zone) } else { format!("until {}", end(to, zone)) })
}

/// From a beginning until an end; of a whole day the day.
fn between(from: i64, to: i64, zone: &TimeZone) -> String {
    match (moment(from, zone), end(to, zone)) {
        (first, last) if first == last => format!("all of {first}"),
        (first, last) => format!("from {first} until {last}"),
    }
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
    if profiles.is_empty() {
        return "at any time".to_owned();
    }
    format!("when {} is open", joined(&names(profiles, name_of), "or"))
}

fn names(profiles: &[LinkId], name_of: impl Fn(LinkId) -> Option<String>) -> Vec<String> {
    let mut names: Vec<_> = profiles.iter().take(NAMED).map(|id| name(*id, &name_of)).collect();
    if profiles.len() > NAMED {
        names.push(counted((profiles.len() - NAMED) as i64, "other", "others"));
    }
    names
}

fn name(profile: LinkId, name_of: impl Fn(LinkId) -> Option<String>) -> String {
    name_of(profile).map_or_else(|| profile.to_string(), |name| format!("\"{name}\""))
}

fn joined(names: &[String], word: &str) -> String {
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} {word} {last}", others.join(", ")),
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
            apartment_uid: None,
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
        // 1 January 2026, 00:00 in Kyiv, and a day later.
        let day = said(|card| card.time = ValidTime::Between { from: 1_767_218_400, to: 1_767_304_800 });
        assert!(day.ends_with("first lock, all of 1 January 2026, at any time"), "{day}");
        let many = said(|card| card.profiles = profiles(1..7));
        assert!(many.ends_with("or 3 others is open"), "{many}");
        let never = said(|card| card.time = ValidTime::Between { from: 7, to: 7 });
        assert!(never.contains("never valid"), "{never}");
        let far = said(|card| card.time = ValidTime::Between { from: i64::MIN, to: i64::MAX });
        assert!(far.contains("until 9223372036854775807"), "{far}");
    }
}
