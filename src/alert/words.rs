//! What is told, in sentences: what is the case, of which panel, since when, why, and what to do.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::message::{About, Held, Kind, LISTED, Message, News};
use crate::clock;
use crate::profile::text;

/// Words of others are cut after so many characters.
const CUT: usize = 200;

/// A moment in a zone, for people.
pub fn local(ms: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{} ({name})", zone.to_datetime(at).strftime("%Y-%m-%d %H:%M"))
}

/// How long something took, in the two largest units.
pub fn lasted(seconds: u64) -> String {
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let at = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let (unit, name) = units[at];
    let first = counted(seconds / unit, name);
    match units.get(at + 1).map(|(next, name)| (seconds % unit / next, *name)) {
        Some((rest, name)) if rest > 0 => format!("{first} {}", counted(rest, name)),
        _ => first,
    }
}

fn counted(n: u64, one: &str) -> String {
    let ending = match n {
        1 => "",
        _ if one.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{n} {one}{ending}")
}

/// What somebody else said: on one line, without what steers a terminal, and not too long.
pub fn said(words: &str) -> String {
    let shown = text::shown(words);
    let mut cut: String = shown.chars().take(CUT).collect();
    if cut.len() < shown.len() {
        cut.push('…');
    }
    cut
}

/// The message of what is new.
pub fn message(news: &News, alert: &str, id: Uuid, now_ms: i64) -> Message {
    let News { kind, count, about, sentences } = news;
    let (title, what, advice) = frame(*kind, *count, about);
    let mut text = what;
    let listed: Vec<String> = if sentences.is_empty() {
        about.iter().map(|one| listed(*kind, one)).collect()
    } else {
        sentences.clone()
    };
    match (listed.as_slice(), *count) {
        ([one], 1) => text.clone_from(one),
        ([], _) => {}
        _ => {
            for line in listed.iter().take(LISTED) {
                text.push_str("\n- ");
                text.push_str(line);
            }
            if *count > listed.len() as u64 {
                let _ = write!(text, "\n- and {} more", *count - listed.len() as u64); // a String takes everything
            }
        }
    }
    if !advice.is_empty() {
        text.push('\n');
        text.push_str(&advice);
    }
    Message {
        kind: *kind,
        id,
        at: clock::rfc3339(now_ms),
        alert: alert.to_owned(),
        title,
        text,
        count: *count,
        about: about.clone(),
        held_back: Vec::new(),
    }
}

/// The title, the first sentence where there are several things, and what to do.
fn frame(kind: Kind, count: u64, about: &[About]) -> (String, String, String) {
    let only = about.first().filter(|_| count == 1).and_then(|one| one.panel.as_deref());
    let who = only.unwrap_or_default();
    let of = |one: &str, many: String| if only.is_some() { format!("{who} {one}") } else { many };
    match kind {
        Kind::Offline => (
            of("is offline", format!("{} are offline", counted(count, "panel"))),
            format!("{} cannot be reached:", counted(count, "panel")),
            "Doors keep what they hold, and what is pending is delivered when they are back. Look at their power and their network; \
             `panelsync panel ls` and `panelsync panel show ID` say more."
                .to_owned(),
        ),
        Kind::Online => (
            of("is online again", format!("{} are online again", counted(count, "panel"))),
            format!("{} can be reached again:", counted(count, "panel")),
            String::new(),
        ),
        Kind::Refused => (
            of("refuses an item", format!("{} refused by panels", counted_are(count, "item"))),
            format!("{} refused:", counted_are(count, "item")),
            "What is refused is not sent again until something else is desired. `panelsync panel show ID` says what the panel lacks; put the item right, \
             or the panel, and apply it again."
                .to_owned(),
        ),
        Kind::Drift => (
            of("holds something other than it should", format!("{} on devices", counted_differ(count))),
            format!("{} on devices from what they had confirmed:", counted_differ(count)),
            "`panelsync diff` shows what the device holds, and `panelsync reconcile` puts it right.".to_owned(),
        ),
        Kind::BatchFailed => (
            format!("{} ended with failures", counted(count, "batch")),
            format!("{} ended with failures:", counted(count, "batch")),
            "`panelsync batch show ID --failed` names every panel, and `panelsync batch retry ID` sends again what failed.".to_owned(),
        ),
        Kind::NoLeader => (
            "no node leads".to_owned(),
            String::new(),
            "Doors keep what they hold, and devices wait. Look at the log's database and at the nodes: `panelsync doctor` on one of them says \
             what is missing."
                .to_owned(),
        ),
        Kind::Leader => ("a node leads again".to_owned(), String::new(), String::new()),
        Kind::Digest => (String::new(), String::new(), String::new()),
        Kind::Test => (
            "this is a test".to_owned(),
            "Somebody tries this alert: it works. Nothing is wrong.".to_owned(),
            String::new(),
        ),
    }
}

fn counted_are(n: u64, one: &str) -> String {
    format!("{} {}", counted(n, one), if n == 1 { "is" } else { "are" })
}

fn counted_differ(n: u64) -> String {
    format!("{} {}", counted(n, "item"), if n == 1 { "differs" } else { "differ" })
}

/// One thing in a sentence of its own.
fn listed(kind: Kind, about: &About) -> String {
    let panel = about.panel.as_deref().unwrap_or_default();
    let since = about.since_local.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
    let why = about.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let item = match (&about.item_kind, &about.link_id) {
        (Some(kind), Some(link)) => format!("{kind} {link}"),
        _ => String::new(),
    };
    match kind {
        Kind::Offline => format!("Panel {panel} cannot be reached{since}{why}."),
        Kind::Online => {
            let lasted = about.lasted_s.map(|s| format!(", after {}", lasted(s))).unwrap_or_default();
            let gone =
                about.since_local.as_ref().map(|at| format!("; it was gone since {at}")).unwrap_or_default();
            format!("Panel {panel} can be reached again{lasted}{gone}.")
        }
        Kind::Refused => format!("Panel {panel} refuses {item}{why}."),
        Kind::Drift => format!("The device of panel {panel} holds {item} otherwise{why}."),
        Kind::NoLeader => format!("No node leads{since}{why}."),
        Kind::Leader => {
            let lasted = about.lasted_s.map(|s| format!(", after {} without", lasted(s))).unwrap_or_default();
            format!("A node leads again{lasted}{why}.")
        }
        Kind::BatchFailed | Kind::Digest | Kind::Test => why,
    }
}

/// The title and the text of a digest.
pub fn digest(held: &[Held]) -> (String, String) {
    let messages: u64 = held.iter().map(|held| held.messages).sum();
    let title = format!("{} held back", counted_are(messages, "message"));
    let mut text = format!(
        "There were more messages than this alert may send within an hour, so {} held back:",
        if messages == 1 { "one was".to_owned() } else { format!("{messages} were") }
    );
    for Held { kind, messages, count } in held {
        let what = match kind {
            Kind::Offline => format!("{} went offline", counted(*count, "panel")),
            Kind::Online => format!("{} came back online", counted(*count, "panel")),
            Kind::Refused => format!(
                "{} refused",
                if *count == 1 { "1 item was".into() } else { format!("{count} items were") }
            ),
            Kind::Drift => format!("{} from what devices had confirmed", counted_differ(*count)),
            Kind::BatchFailed => {
                format!("{} ended with failures", counted(*count, "batch"))
            }
            Kind::NoLeader | Kind::Leader | Kind::Digest | Kind::Test => counted(*count, "more"),
        };
        let _ = write!(text, "\n- {what} ({})", counted(*messages, "message")); // a String takes everything
    }
    text.push_str("\n`panelsync status` shows how the fleet is now. --per-hour lets more through.");
    (title, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(panel: &str) -> About {
        About {
            panel: Some(panel.into()),
            since_local: Some(local(1_767_225_600_000, &TimeZone::get("Europe/Kyiv").expect("a zone"))),
            why: Some(said("it closed\nthe \u{1b}[31mconnection")),
            ..About::default()
        }
    }

    #[test]
    fn one_panel_is_told_in_a_sentence_with_the_time_of_its_own_zone() {
        let news =
            News { kind: Kind::Offline, count: 1, about: vec![offline("north-01")], sentences: Vec::new() };
        let message = message(&news, "ops", Uuid::nil(), 0);
        assert_eq!(message.title, "north-01 is offline");
        let first = message.text.lines().next().expect("a line");
        assert!(
            first.starts_with(
                "Panel north-01 cannot be reached since 2026-01-01 02:00 (Europe/Kyiv): it closed"
            )
        );
        assert!(!message.text.contains('\u{1b}'), "{}", message.text);
    }

    #[test]
    fn many_are_summed_up() {
        let about: Vec<_> = (0..LISTED).map(|n| offline(&format!("p{n}"))).collect();
        let news = News { kind: Kind::Offline, count: 10_000, about, sentences: Vec::new() };
        let message = message(&news, "ops", Uuid::nil(), 0);
        assert_eq!(message.title, "10000 panels are offline");
        assert!(message.text.contains("\n- and 9980 more\n"), "{}", message.text);
        assert_eq!(message.text.lines().filter(|line| line.starts_with("- Panel ")).count(), LISTED);
    }

    #[test]
    fn a_digest_counts() {
        let held = [
            Held { kind: Kind::Offline, messages: 2, count: 45 },
            Held { kind: Kind::BatchFailed, messages: 1, count: 1 },
        ];
        let (title, text) = digest(&held);
        assert_eq!(title, "3 messages are held back");
        assert!(
            text.contains(
                "\n- 45 panels went offline (2 messages)\n- 1 batch ended with failures (1 message)\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn durations_are_told_in_two_units() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (3661, "1 hour 1 minute"),
            (90_000, "1 day 1 hour"),
        ] {
            assert_eq!(lasted(seconds), words);
        }
    }
}
