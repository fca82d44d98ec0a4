//! What holds of every identifier.

use proptest::prelude::*;

use super::number::{Code, Credential, Plate};
use super::opens::{self, Hours, When, Why};
use super::parse::{self, Given, Items};
use super::photo::Photo;
use super::rule::{Api, Kind, Lock, MaxPasses, OwnerKind, Passes, PassesLeft, ProfileIds, ValidTime};
use super::sentence::reason;
use super::{Identifier, LinkedIdentifier, file, wire};
use crate::profile::rule::{Family, Name, Repeat, Rule};
use crate::profile::windows::Window;
use crate::profile::wire::Json;
use crate::profile::{LinkId, TimeProfile};
use jiff::tz::TimeZone;

fn id() -> impl Strategy<Value = LinkId> {
    any::<[u8; 16]>().prop_map(LinkId::from_bytes)
}

/// Texts that are numbers, or nearly.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-9]{1,10}",
        4 => "([0-9A-Fa-f]{2}[:-]){1,7}[0-9A-Fa-f]{2}",
        2 => "[0-9A-Fa-f:-]{0,12}",
        2 => "\\PC{0,12}",
        1 => any::<[u8; 16]>().prop_map(|bytes| LinkId::from_bytes(bytes).to_string()),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&Kind::ALL[..])
}

fn presented() -> impl Strategy<Value = (Credential, Option<Photo>)> {
    let numbered = (kind(), number())
        .prop_filter_map("a number", |(kind, text)| Some((Credential::new(kind, &text)?, None)));
    let face = proptest::collection::vec(any::<u8>(), 0..40).prop_filter_map("a photo", |rest| {
        let photo = Photo::from_jpeg([&[0xff, 0xd8, 0xff][..], &rest].concat()).ok()?;
        Some((Credential::Face(photo.digest()), Some(photo)))
    });
    prop_oneof![8 => numbered, 1 => face]
}

fn identifier() -> impl Strategy<Value = LinkedIdentifier> {
    let owner = (".{1,100}", any::<bool>());
    let limits = (
        proptest::option::of(any::<(i64, i64)>()),
        proptest::option::of(1..=i64::from(i32::MAX)),
        proptest::option::of(-1..=i64::from(i32::MAX)),
    );
    let ids = (id(), proptest::option::of(id()), proptest::collection::vec(id(), 0..5));
    let lock = proptest::sample::select(&[Lock::First, Lock::Second, Lock::All][..]);
    (owner, presented(), lock, limits, ids).prop_map(
        |((name, guest), (credential, photo), lock, (time, most, left), (link_id, apartment, profiles))| {
            let identifier = Identifier {
                apartment,
                apartment_uid: None,
                name: Name::new(&name).expect("1 to 100 characters"),
                owner: if guest { OwnerKind::Guest } else { OwnerKind::Owner },
                credential,
                lock,
                time: time.map_or(ValidTime::Permanent, |(from, to)| ValidTime::Between { from, to }),
                passes: most.and_then(MaxPasses::new).map_or(Passes::Permanent, Passes::AtMost),
                profiles: ProfileIds::new(profiles).expect("few"),
                passes_left: left.and_then(PassesLeft::new),
            };
            LinkedIdentifier { link_id, identifier, photo }
        },
    )
}

fn apis() -> impl Iterator<Item = Api> {
    Family::ALL.into_iter().filter_map(|family| Api::of(family, None).ok())
}

/// A number written in another way that says the same.
fn respelt(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Card | Kind::Ukey if text.contains([':', '-']) => text.to_lowercase().replace('-', ":"),
        Kind::Card | Kind::Ukey => format!("{text:0>10}"),
        Kind::Qr => text.to_uppercase(),
        Kind::Plate => format!(" {} -", text.to_uppercase()),
        Kind::Code | Kind::Face => text.to_owned(),
    }
}

/// What is compared, worked out on the text alone.
fn compared(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Card | Kind::Ukey if text.contains([':', '-']) => text.to_ascii_uppercase().replace(':', "-"),
        Kind::Card | Kind::Ukey => {
            let digits = text.trim_start_matches('0');
            if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
        }
        Kind::Qr => text.to_lowercase(),
        Kind::Plate => text
            .to_uppercase()
            .chars()
            .filter(|c| !c.is_whitespace() && !"-\u{2010}\u{2011}".contains(*c))
            .collect(),
        Kind::Code | Kind::Face => text.to_owned(),
    }
}

/// In hours, around which all that is asked of access lies: 20 March 2026, some days before the clocks go forward.
const SPRING: i64 = 492_792;

fn hours_from_spring(hours: std::ops::Range<i64>) -> impl Strategy<Value = i64> {
    hours.prop_map(|hours| (SPRING + hours) * 3600)
}

/// Profiles with few shapes, whose windows touch and overlap.
fn time_profile() -> impl Strategy<Value = TimeProfile> {
    let rules = [Rule::Day, Rule::Week, Rule::TwoWeeks, Rule::Month];
    let rule = proptest::option::of(proptest::sample::select(rules.to_vec()));
    let until = proptest::option::of(hours_from_spring(0..400));
    (any::<bool>(), hours_from_spring(-200..200), 1..60i64, rule, until).prop_map(
        |(all_day, from, length, rule, until)| TimeProfile {
            name: Name::new("Hours").expect("a name"),
            all_day,
            from,
            to: from + length * 3600,
            repeat: rule.map(|rule| Repeat { rule, until }),
            wording: None,
        },
    )
}

/// An identifier that names some of the profiles 0 to 3.
fn bound() -> impl Strategy<Value = Identifier> {
    let time = proptest::option::of((hours_from_spring(-100..300), 0..400i64));
    (identifier(), proptest::collection::vec(0u8..4, 0..4), time).prop_map(|(linked, profiles, time)| {
        let mut identifier = linked.identifier;
        identifier.profiles =
            ProfileIds::new(profiles.into_iter().map(|n| LinkId::from_bytes([n; 16]))).expect("few");
        identifier.time = time.map_or(ValidTime::Permanent, |(from, hours)| ValidTime::Between {
            from,
            to: from + hours * 3600,
        });
        identifier
    })
}

proptest! {
    #[test]
    fn it_opens_at_a_moment_as_it_does_within_a_range(
        identifier in bound(),
        // Of the profiles that it may name, the panel lacks the last.
        profiles in proptest::collection::vec(time_profile(), 3),
        left in proptest::option::of(0..2u32),
        zone in proptest::sample::select(&["UTC", "Europe/Kyiv", "America/New_York"][..]),
        from in hours_from_spring(0..300),
        hours in 1..300i64,
        moments in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
    ) {
        let zone = TimeZone::get(zone).expect("a zone");
        let to = from + hours * 3600;
        let asked = |when: When| {
            let hours: Vec<_> = profiles.iter().map(|profile| Hours::of(profile, &zone, when)).collect();
            opens::answer(&identifier, left, when, |profile| hours.get(usize::from(profile.as_bytes()[0])))
        };
        let range = asked(When::within(from, to).expect("a range"));
        let windows = &range.windows;
        prop_assert_eq!(range.opens(), !windows.is_empty());
        prop_assert!(windows.iter().all(|window| from <= window.from && window.from < window.to && window.to <= to));
        prop_assert!(windows.is_sorted_by(|earlier, later| earlier.to < later.from), "{:?}", windows);
        let edges = windows.iter().flat_map(|window| [window.from, window.to - 1, window.to]).filter(|at| *at < to);
        let edges: Vec<_> = [from, to - 1].into_iter().chain(edges).collect();
        let anywhere = moments.iter().map(|index| from + index.index((to - from) as usize) as i64);
        for at in edges.into_iter().chain(anywhere) {
            let moment = asked(When::at(at).expect("a moment"));
            let open = windows.iter().find(|window| (window.from..window.to).contains(&at));
            prop_assert_eq!(moment.opens(), open.is_some(), "at {}: {:?}", at, moment);
            prop_assert_eq!(&moment.missing, &range.missing);
            prop_assert!(!reason(&moment, &zone, |_| None).is_empty());
            match (moment.why, open) {
                // A profile's own window lies within the union of all of them.
                (Why::Open(_, one) | Why::AnyTime(one), Some(all)) => {
                    let one = Window { from: one.from.max(from), to: one.to.min(to) };
                    prop_assert!(all.from <= one.from && one.to <= all.to && (one.from..one.to).contains(&at));
                }
                // Nothing opens before that which is said to open next.
                (Why::Shut(Some((_, next))), _) => {
                    let after = windows.iter().map(|window| window.from).find(|from| *from > at);
                    prop_assert_eq!(after, Some(next).filter(|next| *next < to));
                }
                (Why::Shut(None), _) => prop_assert!(windows.last().is_none_or(|window| window.to <= at)),
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was(linked in identifier()) {
        prop_assert_eq!(parse::kept(wire::kept(&linked.identifier).as_bytes()), Ok(linked.identifier.clone()));
        for api in apis() {
            let body = format!(r#"{{"list_items":[{}]}}"#, wire::item(&linked, api));
            let given = parse::link_body(body.as_bytes(), api).expect("what is written is read").pop();
            match linked.identifier.refused_by(api) {
                None => prop_assert_eq!(given, Some(Given::Identifier(linked.clone()))),
                Some(refusal) => prop_assert_eq!(given, Some(Given::Refused(linked.link_id, refusal))),
            }
        }
    }

    #[test]
    fn a_number_equals_what_says_the_same_and_nothing_else(
        (one, other) in (kind(), kind()), (a, b) in (number(), number()), related in 0..3
    ) {
        // Rarely would two of them be equal by chance, or nearly.
        let (other, b) = match related {
            0 => (one, respelt(one, &a)),
            1 => (one, a.replace([':', '-'], "")),
            _ => (other, b),
        };
        let (Some(first), Some(second)) = (Credential::new(one, &a), Credential::new(other, &b)) else { return Ok(()) };
        for api in apis() {
            let form = first.number(api);
            // Its form is a number, and the same one: so equality is that of forms, and an equivalence.
            prop_assert_eq!(Credential::new(one, &form), Some(first.clone()));
            prop_assert_eq!(&form, &compared(one, &a));
            prop_assert_eq!(first == second, one == other && form == second.number(api));
        }
        prop_assert_eq!(first == second, one == other && compared(one, &a) == compared(other, &b));
        prop_assert_eq!(Credential::new(one, &respelt(one, &a)), Some(first));
    }

    #[test]
    fn no_secret_is_in_what_is_printed(linked in identifier()) {
        let number = linked.identifier.credential.number(apis().next().expect("a family"));
        let bare = number.replace('-', "");
        if bare.chars().count() >= 4 {
            // What is printed of the parts that hold it; a name may by chance hold it too.
            let printed = format!(
                "{:?} {:?} {:?}",
                linked.identifier.credential, linked.identifier.credential.masked(), linked.photo
            );
            prop_assert!(!printed.contains(&number) && !printed.contains(&bare), "{}", printed);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), text in "\\PC{0,60}") {
        for api in apis() {
            let _ = parse::link_body(&bytes, api);
        }
        let _ = (parse::kept(&bytes), Code::new(&text), Plate::new(&text), Photo::from_base64(&text), file::read(&text));
        for kind in Kind::ALL {
            let _ = Credential::new(kind, &text);
        }
    }

    #[test]
    fn a_field_of_any_kind_is_read_or_named(
        field in proptest::sample::select(&[
            "link_id", "apartment_link_id", "identifier_owner", "identifier_type", "identifier_number", "lock", "valid",
            "time_profiles", "additional", "face_image",
        ][..]),
        value in proptest::sample::select(&["null", "7", "-1", "1.5", "\"x\"", "[]", "[[{}]]", "{}", "true", "{\"time\":7}"][..]),
        linked in identifier(),
    ) {
        for api in apis() {
            let text = wire::item(&linked, api);
            let changed = format!(r#"{{{},"{field}":{value}}}"#, &text[1..text.len() - 1]);
            let json = Json::read(changed.as_bytes()).expect("JSON");
            let mut items = Items::default();
            let read = items.linked(&json, ("/identifiers", 0), api);
            let (problems, all) = items.found();
            prop_assert_eq!(problems.len(), all);
            // A field that is there twice is always one.
            prop_assert!(read.is_none() || all > 0 || !text.contains(field));
            prop_assert!(problems.iter().all(|problem| problem.path.starts_with("/identifiers/0")));
        }
    }
}
