//! Events as devices tell them: in packets to their Link server, and in the pages of their log.
//!
//! A device sends a packet until it is taken, so what can be read of it is taken, and the rest is counted. Words and keys
//! that are not known are kept as they are; what is long is cut.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{AccessEvent, Presented};
use crate::profile::text;

/// Events in one packet at most.
pub const PACKET: usize = 100;

/// Characters of a word that are kept, and of a number or another text.
const WORD: usize = 64;
const TEXT: usize = 128;

/// Before 2000 no device was right, and none is a day ahead.
const FIRST_MS: i64 = 946_684_800_000;
const AHEAD_MS: i64 = 86_400_000;

/// The type of what is typed in.
const CODE: &str = "inputCode";

/// What is kept of an event beside what was presented.
const NOTES: [&str; 6] = ["lock", "owner", "apartment_address", "account_type", "host", "answered"];

/// What was read of a packet or a page.
#[derive(Debug, Default)]
pub struct Told {
    /// What happened at the door, in the order in which it was told.
    pub events: Vec<AccessEvent>,
    /// What was told beside that: calls, the system.
    pub others: usize,
    /// What cannot be read as an event.
    pub unreadable: usize,
}

/// Why nothing of a packet was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketFault {
    /// It is no JSON.
    #[error("the packet is not JSON")]
    NotJson,
    /// There is no list of events in it.
    #[error("the packet has no list of events")]
    NoEvents,
    /// There are too many.
    #[error("the packet has more than {PACKET} events")]
    TooMany,
}

/// Reads a packet to the Link server: `{"events":[{"created_at","category","code","priority","info"}]}`.
pub fn packet(body: &[u8], now_ms: i64) -> Result<Told, PacketFault> {
    let packet: Value = serde_json::from_slice(body).map_err(|_| PacketFault::NotJson)?;
    let events = packet.get("events").and_then(Value::as_array).ok_or(PacketFault::NoEvents)?;
    if events.len() > PACKET {
        return Err(PacketFault::TooMany);
    }
    Ok(Told::of(events, now_ms, |event| Entry {
        at: event.get("created_at"),
        category: event.get("category"),
        code: event.get("code"),
        info: event.get("info"),
    }))
}

/// Reads entries of a device's log: `{"timestamp","category","name":{"key"},"info":{"model"}}`.
pub fn log_items(items: &[Value], now_ms: i64) -> Told {
    Told::of(items, now_ms, |item| Entry {
        at: item.get("timestamp"),
        category: item.get("category"),
        code: item.get("name").and_then(|name| name.get("key")),
        info: item.get("info"),
    })
}

/// The parts of an event, wherever they stand.
struct Entry<'v> {
    at: Option<&'v Value>,
    category: Option<&'v Value>,
    code: Option<&'v Value>,
    info: Option<&'v Value>,
}

impl Told {
    fn of<'v>(items: &'v [Value], now_ms: i64, entry: impl Fn(&'v Value) -> Entry<'v>) -> Self {
        let mut told = Self::default();
        for item in items {
            let entry = entry(item);
            let category = entry.category.and_then(Value::as_str).unwrap_or("access");
            let read = entry.read(now_ms);
            match read {
                None => told.unreadable += 1,
                Some(_) if matches!(category, "info" | "system") => told.others += 1,
                Some(event) => told.events.push(event),
            }
        }
        told
    }
}

impl Entry<'_> {
    fn read(&self, now_ms: i64) -> Option<AccessEvent> {
        let said_ms = moment(self.at?)?;
        let mut reason = word(self.code?, WORD)?;
        let none = Map::new();
        let info = self.info.and_then(Value::as_object).unwrap_or(&none);
        let model = info.get("model").and_then(Value::as_object).unwrap_or(info);
        let plausible = (FIRST_MS..=now_ms.saturating_add(AHEAD_MS)).contains(&said_ms);
        let notes = NOTES.iter().filter_map(|name| Some(((*name).into(), word(model.get(*name)?, TEXT)?)));
        Some(AccessEvent {
            at_ms: if plausible { said_ms } else { now_ms },
            said_ms,
            granted: granted(&reason),
            presented: presented(model, &reason),
            notes: notes.collect::<BTreeMap<_, _>>(),
            reason: {
                let numbers = ["number", "card"].iter().filter_map(|name| word(model.get(*name)?, TEXT));
                for number in numbers {
                    reason = without(&reason, &number);
                }
                reason
            },
        })
    }
}

/// What was presented: `number` with its `type`, or the unknown `card`; and where the device keeps the number to itself, the
/// type alone. Where the word speaks of a code, it is one, whatever else is said.
fn presented(model: &Map<String, Value>, reason: &str) -> Option<Presented> {
    let given = |name: &str| model.get(name).and_then(|value| word(value, TEXT));
    let (said, by_reason) = (given("type"), kind_in(reason));
    let kind = by_reason.filter(|kind| *kind == CODE).or(said.as_deref()).or(by_reason);
    if let Some(number) = given("number") {
        let kind = kind.map(|kind| without(kind, &number));
        return Some(Presented::new(kind.as_deref(), &number));
    }
    if let Some(card) = given("card") {
        return Some(Presented::new(kind.or(Some("card")), &card));
    }
    let kind = if granted(reason).is_some() { kind } else { said.as_deref() };
    kind.map(|kind| Presented::new(Some(kind), ""))
}

/// Whether somebody was let in, as the word says. New words are made of the same parts.
fn granted(reason: &str) -> Option<bool> {
    if reason.contains("denied") || reason.contains("not_granted") {
        Some(false)
    } else if reason.contains("granted") {
        Some(true)
    } else {
        None
    }
}

/// What was presented, as the word says where nothing else does.
fn kind_in(reason: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 7] = [
        ("qr_code", "qr"),
        ("code", CODE),
        ("_pin", CODE),
        ("password", CODE),
        ("qr", "qr"),
        ("face", "face_id"),
        ("card", "card"),
    ];
    KINDS.iter().find(|(part, _)| reason.contains(part)).map(|(_, kind)| *kind)
}

/// A device's word without a number in it that is not to be told.
fn without(word: &str, number: &str) -> Box<str> {
    let digits = number.trim_start_matches('0');
    if digits.len() > 2 { word.replace(digits, "…").into() } else { word.into() }
}

/// Milliseconds, as a number or as digits.
pub fn moment(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|ms| ms as i64)),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// A text, number or truth as text; cut, and without what steers. Nothing where it is empty.
fn word(value: &Value, most: usize) -> Option<Box<str>> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let cut: String = text.chars().filter(|c| !text::steers(*c)).take(most).collect();
    (!cut.is_empty()).then(|| cut.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_767_268_800_000;

    fn read(events: Value) -> Told {
        packet(json!({ "events": events }).to_string().as_bytes(), NOW).expect("a packet")
    }

    fn one(event: &Value) -> AccessEvent {
        let mut told = read(json!([event]));
        assert_eq!((told.events.len(), told.others, told.unreadable), (1, 0, 0), "{event}");
        told.events.remove(0)
    }

    #[test]
    fn an_event_is_read_in_both_forms() {
        let model = json!({ "lock": 1, "owner": "Flat 12", "number": "0001234567", "type": "card", "apartment_address": "" });
        let pushed = one(
            &json!({ "created_at": NOW - 5, "category": "access", "code": "access_granted_by_valid_identifier", "priority": "medium", "info": model }),
        );
        let mut listed = log_items(
            &[
                json!({ "timestamp": NOW - 5, "category": "access", "name": { "key": "access_granted_by_valid_identifier", "text": "x" }, "info": { "text": "x", "model": model } }),
            ],
            NOW,
        );
        assert_eq!(listed.events.remove(0), pushed);
        assert_eq!((pushed.at_ms, pushed.said_ms, pushed.granted), (NOW - 5, NOW - 5, Some(true)));
        let presented = pushed.presented.expect("a card");
        assert_eq!((presented.kind(), presented.number().as_str()), (Some("card"), "1234567"));
        assert!(presented.credential().is_some());
        let notes: Vec<_> = pushed.notes.iter().map(|(name, note)| (&**name, &**note)).collect();
        assert_eq!(notes, [("lock", "1"), ("owner", "Flat 12")]);
    }

    #[test]
    fn words_that_nobody_knows_are_kept_and_what_they_are_made_of_is_understood() {
        let told = |code: &str, info: Value| one(&json!({ "created_at": NOW, "code": code, "info": info }));
        let unknown = told("access_denied_by_unknown_card", json!({ "card": 77_123_456 }));
        let card = unknown.presented.expect("a card");
        assert_eq!(
            (unknown.granted, card.kind(), card.number()),
            (Some(false), Some("card"), "77123456".into())
        );
        assert_eq!(told("lock_was_opened_by_exit_btn", json!({})).granted, None);
        assert_eq!(told("access_granted_by_thought", json!(null)).granted, Some(true));
        assert_eq!(told("access_not_granted", json!(null)).granted, Some(false));
        let within = told(
            "access_denied_5700000021_x",
            json!({ "number": "005700000021", "type": "card 5700000021" }),
        );
        assert_eq!(&*within.reason, "access_denied_…_x");
        assert_eq!(within.presented.expect("a card").kind(), Some("card …"));
        let code = told("access_denied_by_not_valid_input_code", json!({ "number": "4829" }));
        assert_eq!(code.presented.expect("a code").masked(), None, "codes are never shown");
        let code =
            told("access_denied_by_not_valid_identifier", json!({ "number": "48-29", "type": "input_code" }));
        assert_eq!(code.presented.expect("a code").masked(), None, "nor what cannot be read as one");
        let other = told("access_granted_by_thought", json!({ "number": "a brain wave", "type": "brain" }));
        assert_eq!(format!("{:?}", other.presented.expect("a thing")), "brain(…)");
    }

    #[test]
    fn of_what_may_be_a_code_no_digit_is_shown() {
        const VALID: &str = "access_granted_by_valid_identifier";
        let told = |code: &str, info: Value| one(&json!({ "created_at": NOW, "code": code, "info": info }));
        let shown = |code: &str, info: Value| told(code, info).presented.expect("something").masked();
        for kind in ["code", "pin", "PIN", "password", "INPUTCODE", "inputcode", "Input Code", "key", "", "?"]
        {
            let info = json!({ "type": kind, "number": "482915" });
            assert_eq!(shown(VALID, info), None, "{kind}");
        }
        assert_eq!(shown(VALID, json!({ "number": "482915" })), None);
        for reason in ["access_granted_by_master_code", "access_granted_by_mastercode", "lock_opened_by_pin"]
        {
            for kind in ["key", "card", "ukey"] {
                assert_eq!(
                    shown(reason, json!({ "type": kind, "number": "482915" })),
                    None,
                    "{reason} {kind}"
                );
            }
            assert_eq!(shown(reason, json!({ "card": "482915" })), None, "{reason}");
        }
        for kind in ["card", "CARD", "uKey", "LICENSE-PLATE"] {
            let info = json!({ "type": kind, "number": "482915" });
            assert_eq!(shown(VALID, info).as_deref(), Some("…915"), "{kind}");
        }
        let code = told(VALID, json!({ "type": "pin", "number": "482915" })).presented.expect("a code");
        assert_eq!((code.kind(), code.credential().is_some()), (Some("inputCode"), true));
    }

    #[test]
    fn a_number_that_is_not_told_leaves_the_type() {
        let told = |code: &str, info: Value| one(&json!({ "created_at": NOW, "code": code, "info": info }));
        let hidden = told("access_granted_by_valid_identifier", json!({ "type": "inputCode", "lock": 1 }));
        let hidden = hidden.presented.expect("a code");
        assert_eq!(
            (hidden.kind(), hidden.number(), hidden.masked()),
            (Some("inputCode"), String::new(), None)
        );
        let denied = told("access_denied_by_not_valid_input_code", json!({})).presented.expect("a code");
        assert_eq!(denied.kind(), Some("inputCode"));
        let card = told("access_denied_by_unknown_card", json!({})).presented.expect("a card");
        assert_eq!((card.kind(), card.masked()), (Some("card"), None));
        assert_eq!(told("card_reader_is_gone", json!({})).presented, None);
        assert_eq!(told("access_granted_by_thought", json!({})).presented, None);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_the_rest_is_taken() {
        let event = json!({ "created_at": NOW, "category": "access", "code": "x" });
        let told = read(json!([
            event, 7, null, {}, { "created_at": "soon", "code": "x" }, { "created_at": NOW },
            { "created_at": NOW, "category": "system", "code": "reboot" }, { "created_at": NOW.to_string(), "code": 12 }
        ]));
        assert_eq!((told.events.len(), told.others, told.unreadable), (2, 1, 5));
        for (body, fault) in [
            ("", PacketFault::NotJson),
            ("{\"events\":[", PacketFault::NotJson),
            ("[]", PacketFault::NoEvents),
            ("{\"events\":{}}", PacketFault::NoEvents),
        ] {
            assert_eq!(packet(body.as_bytes(), NOW).expect_err(body), fault);
        }
        let many = json!({ "events": vec![event; PACKET + 1] }).to_string();
        assert_eq!(packet(many.as_bytes(), NOW).expect_err("too many"), PacketFault::TooMany);
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_not_believed() {
        for (said, at) in [
            (0, NOW),
            (-1, NOW),
            (NOW + AHEAD_MS + 1, NOW),
            (NOW + AHEAD_MS, NOW + AHEAD_MS),
            (FIRST_MS, FIRST_MS),
            (i64::MAX, NOW),
        ] {
            let event = one(&json!({ "created_at": said, "code": "x" }));
            assert_eq!((event.at_ms, event.said_ms), (at, said));
        }
    }

    #[test]
    fn what_is_long_or_steers_is_cut() {
        let event = one(
            &json!({ "created_at": NOW, "code": "x\u{1b}[2J".repeat(1000), "info": { "number": "9".repeat(1000), "type": "t".repeat(1000) } }),
        );
        assert_eq!(event.reason.chars().count(), WORD);
        assert!(!event.reason.contains('\u{1b}'));
        assert_eq!(event.presented.expect("a number").number().len(), TEXT);
    }
}
