//! The only place that hides anything from a snapshot. Each redaction takes only what has the right form, so
//! that a value of another form shows.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

/// UUIDs that tests write themselves begin so and are never hidden.
const FIXED: [&str; 2] = ["91c615e3-", "5a1f0c1e-"];

static UUID: LazyLock<Regex> =
    LazyLock::new(|| regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
static TOKEN: LazyLock<Regex> = LazyLock::new(|| regex("pst_[0-9a-f]{32}_[a-z2-9]{32}"));
static WEBHOOK_SECRET: LazyLock<Regex> = LazyLock::new(|| regex("whsec_[A-Za-z0-9+/]{43}="));
static MOMENT: LazyLock<Regex> = LazyLock::new(|| regex(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z"));
static MILLIS: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?P<name>at_ms=|"timestamp":)1[0-9]{12}\b"#));
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?P<name>"(duration|took)_ms": ?|duration_ms=)\d+"#));
static TOOK: LazyLock<Regex> = LazyLock::new(|| regex(r"(?P<name>done in |cancelled in )\d+(\.\d)? m?s"));
static CELL: LazyLock<Regex> = LazyLock::new(|| regex(r" +\d+(\.\d)? m?s$"));
/// The heading over [`CELL`], whose column is as wide as the longest time.
static HEADING: LazyLock<Regex> = LazyLock::new(|| regex(r" +TOOK$"));
/// A clock that is right is a part of a second behind by the time that it is read.
static CLOCK: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?P<name>"clock_ahead_s": ?)-1\b"#));
static TIME_UNIX: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?P<name>"time_unix":)1[0-9]{9}\b"#));
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"127\.0\.0\.1(:|%3A)\d+"));
static EVENT_ID: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)^(?P<name>id: |> last-event-id: )\d{16}$"));
static SHORT_MOMENT: LazyLock<Regex> = LazyLock::new(|| regex(r"\b\d\d-\d\d \d\d:\d\dZ"));
static TOKEN_ID: LazyLock<Regex> = LazyLock::new(|| regex("token:[0-9a-f]{8}:"));
static FORM_TOKEN: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?P<name>form_token(=|" value="|"\s+))[0-9a-f]{32}\b"#));
static CARRIED: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?P<name>(carried|items)(=|" value="|"\s+))[A-Za-z0-9_-]{40,}"#));
static SINCE: LazyLock<Regex> = LazyLock::new(|| regex(r"since=1[0-9]{15}\b"));
static ASSETS: LazyLock<Regex> = LazyLock::new(|| regex(r"/assets/[0-9a-f]{12}/"));
static PAGE_TIME: LazyLock<Regex> = LazyLock::new(|| regex(r">20\d\d-\d\d-\d\d \d\d:\d\d( UTC)?</time>"));
static PAGE_TOOK: LazyLock<Regex> = LazyLock::new(|| regex(r" in \d+(\.\d)? m?s<"));
static SHA256: LazyLock<Regex> = LazyLock::new(|| regex(r"(?P<name>--pin |SHA-256 is )[0-9a-f]{64}\b"));
static SERIAL: LazyLock<Regex> = LazyLock::new(|| regex("PS-[0-9A-F]{8}-"));
static MAC: LazyLock<Regex> =
    LazyLock::new(|| regex("02:[0-9A-F]{2}:[0-9A-F]{2}:(?P<panel>[0-9A-F]{2}:[0-9A-F]{2}:[0-9A-F]{2})"));
/// The days that a dry run looks at, as the server writes them and with sorted keys.
static DAYS: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?P<name>"opening": ?\{\s*"from": ?)1\d{9}(?P<to>,\s*"to": ?)1\d{9}\b"#));
static FIRST_DAY: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?P<name>"from": ?)1\d{9}(?P<next>,\s*"gained_s":)"#));
static LAST_DAY: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?P<name>"panels_losing": ?\d+,\s*"to": ?)1\d{9}\b"#));
static FOLDER: LazyLock<Regex> = LazyLock::new(|| regex(r"/tmp/\.tmp[A-Za-z0-9]+"));

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a regular expression")
}

/// The text with everything hidden that differs from run to run. The same UUID gets the same name within it.
pub fn redact(text: &str) -> String {
    let text = TOKEN.replace_all(text, "[token]");
    let text = WEBHOOK_SECRET.replace_all(&text, "[webhook secret]");
    let mut names = HashMap::new();
    let text = UUID.replace_all(&text, |found: &Captures<'_>| {
        let uuid = &found[0];
        let is_v4 = uuid.as_bytes()[14] == b'4' && b"89ab".contains(&uuid.as_bytes()[19]);
        if FIXED.iter().any(|fixed| uuid.starts_with(fixed)) || !is_v4 {
            return uuid.to_owned();
        }
        let number = names.len() + 1;
        names.entry(uuid.to_owned()).or_insert_with(|| format!("[uuid {number}]")).clone()
    });
    let text = TOKEN_ID.replace_all(&text, "token:[id]:");
    let text = FORM_TOKEN.replace_all(&text, "${name}[form token]");
    let text = CARRIED.replace_all(&text, "${name}[sealed]");
    let text = SINCE.replace_all(&text, "since=[version]");
    let text = ASSETS.replace_all(&text, "/assets/[version]/");
    let text = PAGE_TIME.replace_all(&text, ">[moment]</time>");
    let text = PAGE_TOOK.replace_all(&text, " in [time]<");
    let text = SHA256.replace_all(&text, "${name}[sha256]");
    let text = MOMENT.replace_all(&text, "[moment]");
    let text = SHORT_MOMENT.replace_all(&text, "[moment]");
    let text = MILLIS.replace_all(&text, "${name}[ms]");
    let text = DURATION.replace_all(&text, "${name}[ms]");
    let text = CLOCK.replace_all(&text, "${name}0");
    let text = TOOK.replace_all(&text, "${name}[time]");
    let text = TIME_UNIX.replace_all(&text, "${name}[now]");
    let text = EVENT_ID.replace_all(&text, "${name}[event]");
    let text = ADDRESS.replace_all(&text, "[address]");
    let text = SERIAL.replace_all(&text, "PS-[fleet]-");
    let text = MAC.replace_all(&text, "02:[fleet]:${panel}");
    let text = DAYS.replace_all(&text, "${name}[day]${to}[day]");
    let text = FIRST_DAY.replace_all(&text, "${name}[day]${next}");
    let text = LAST_DAY.replace_all(&text, "${name}[day]");
    let text = FOLDER.replace_all(&text, "[folder]");
    let line = |line| HEADING.replace(&CELL.replace(line, "  [time]"), "  TOOK").into_owned();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
