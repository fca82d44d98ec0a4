//! What is asked of a device, and what its answers mean. Nothing here travels.
//!
//! The calls and their forms are those of the panel API, in the dialect that [`Speech`] says. Answers are read with tolerance:
//! what is not needed is not looked at, and what is not as it should be counts as absent. Every word of a device comes
//! in through [`super::words`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Trouble;
use super::words::words;
use crate::batch::item::Kind;
use crate::panel::dialect::{Dialect, Paging, Prefix};
use crate::profile::LinkId;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::profile::wire;

mod clock;
mod info;
mod list;

use info::looks_like;

pub use clock::{Clock, read_clock, time};
pub use info::{Info, read_info};
pub use list::{DeviceItem, Page, read_identifier, read_page, read_profile};

/// Items on one page; the most that panels give.
pub const PAGE: u64 = 50;

/// The longest token: a real one has 64 characters.
const LONGEST_TOKEN: usize = 4096;

/// A shorter token is no secret, and may be a part of any word.
const SHORTEST_SECRET: usize = 8;

/// A field other than a list or a text is not read when it is longer, in bytes.
const LONGEST_FIELD: usize = 64 * 1024;

/// The HTTP method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, updates, and ends sessions.
    Post,
    /// Deletes.
    Delete,
}

/// A request, however it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// From `/api` on, with the query. Of a login it holds the password's MD5, so it is never logged.
    pub path: String,
    /// The session's token.
    pub token: Option<String>,
    /// JSON.
    pub body: Option<String>,
    /// Whether an answer takes its time.
    pub is_slow: bool,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.method, self.bare_path())
    }
}

/// An answer, however it travelled.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// Whatever came, within the limit.
    pub body: Bytes,
}

impl Answer {
    /// Without the session's token, which some say again in what they refuse. Long answers are lists.
    #[must_use]
    pub fn without(self, token: &str) -> Self {
        let long = self.body.len() > LONGEST_FIELD || token.len() < SHORTEST_SECRET;
        if long || !self.body.windows(token.len()).any(|part| part == token.as_bytes()) {
            return self;
        }
        let body = String::from_utf8_lossy(&self.body).replace(token, "…");
        Self { body: Bytes::from(body), ..self }
    }
}

impl Request {
    fn get(path: impl Into<String>) -> Self {
        Self { method: Method::Get, path: path.into(), token: None, body: None, is_slow: false }
    }

    /// With the session's token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// The path without the query.
    pub fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// How a device is spoken to: its dialect, and with what its paths begin, which firmware changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// Its dialect.
    pub dialect: &'static Dialect,
    /// With what its paths begin.
    pub prefix: Prefix,
    /// Whether identifiers are pushed and read at the path that camdroid panels perhaps had before 1.0.
    pub older_identifiers: bool,
}

impl Speech {
    fn family(self) -> Family {
        self.dialect.family
    }

    fn path(self, rest: &str) -> String {
        format!("{}{rest}", self.prefix.as_str())
    }

    /// A path of the calls on items of a kind.
    fn items(self, kind: Kind, rest: &str) -> String {
        let items = match (kind, self.family()) {
            (Kind::Profile, Family::Android | Family::Camdroid | Family::IngenicMips) => "timeprofile",
            (Kind::Profile, Family::DoorController) => "time-profiles",
            (Kind::Identifier, _) => "identifier",
        };
        self.path(&format!("/access/{items}{rest}"))
    }

    /// The path of the calls by link_id on items of a kind.
    fn link(self, kind: Kind) -> String {
        match kind {
            Kind::Identifier if self.older_identifiers => self.path("/access/identifiers/link"),
            Kind::Identifier | Kind::Profile => self.items(kind, "/items/link"),
        }
    }

    /// The query of a page of a list.
    fn page(self, limit: u64, number: u64) -> String {
        let page = match self.dialect.paging {
            Paging::SortField | Paging::OrderBy => "page_number",
            Paging::CamelCase => "pageNumber",
        };
        format!("limit={limit}&{page}={number}")
    }
}

/// What are you?
pub fn info() -> Request {
    Request::get("/api/info")
}

/// A new session.
pub fn login(speech: Speech, username: &str, password_md5: &str) -> Request {
    let password = password_md5.to_ascii_uppercase();
    let path = speech.path("/login");
    match speech.family() {
        Family::Android | Family::Camdroid | Family::IngenicMips => {
            Request::get(format!("{path}?username={}&password={password}", percent(username)))
        }
        Family::DoorController => {
            let body = serde_json::json!({ "username": username, "password": password });
            Request { method: Method::Post, body: Some(body.to_string()), ..Request::get(path) }
        }
    }
}

/// The session's end.
pub fn logout(speech: Speech) -> Request {
    Request { method: Method::Post, ..Request::get(speech.path("/logout")) }
}

/// A page of the log, from a moment on, in Unix milliseconds; oldest first, where the device knows that.
pub fn log_page(speech: Speech, from_ms: i64, number: u64) -> Request {
    let page = speech.page(PAGE, number);
    Request::get(format!("{}?{page}&from={from_ms}&sort_type=asc", speech.path("/log/items")))
}

/// An item to create or update.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its link_id.
    pub link_id: LinkId,
    /// An object without it.
    pub json: Box<str>,
    /// An identifier's number, which no word that comes back is to tell; empty where there is none.
    pub secret: Box<str>,
    /// Whether it takes its time: a photo is looked at.
    pub is_slow: bool,
}

/// Create or update items of a kind by link_id.
pub fn upsert(speech: Speech, kind: Kind, items: &[Outgoing]) -> Request {
    let key = parse::list_key(speech.family());
    let mut body = format!(r#"{{"{key}":["#);
    for (i, Outgoing { link_id: link, json, .. }) in items.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let json = match speech.family() {
            Family::Android | Family::Camdroid | Family::IngenicMips => Cow::Borrowed(&**json),
            Family::DoorController => wire::with_year_format(json),
        };
        let inner = json.strip_prefix('{').unwrap_or(&json);
        let _ = write!(body, r#"{comma}{{"link_id":"{link}",{inner}"#); // a String takes everything
    }
    body.push_str("]}");
    let path = speech.link(kind);
    let is_slow = items.iter().any(|item| item.is_slow);
    Request { method: Method::Post, body: Some(body), is_slow, ..Request::get(path) }
}

/// Delete items of a kind by link_id, in the one form or the other.
pub fn delete(speech: Speech, kind: Kind, links: &[LinkId], by_delete: bool) -> Request {
    let links: Vec<_> = links.iter().map(|link| format!(r#""{link}""#)).collect();
    let body = format!(r#"{{"link_ids":[{}]}}"#, links.join(","));
    let (method, path) = match (by_delete, kind) {
        (true, _) => (Method::Delete, speech.items(kind, "/items/link")),
        (false, Kind::Profile) => (Method::Post, speech.items(kind, "/link/delete")),
        (false, Kind::Identifier) => (Method::Post, speech.path("/access/identifiers/link/delete")),
    };
    Request { method, body: Some(body), ..Request::get(path) }
}

/// A page of all items of a kind, those without link_id too. Of identifiers the list by link_id has these; the other one
/// does not tell the link_ids.
pub fn page(speech: Speech, kind: Kind, number: u64) -> Request {
    let path = match kind {
        Kind::Profile => speech.items(kind, "/items"),
        Kind::Identifier => speech.link(kind),
    };
    Request::get(format!("{path}?{}", speech.page(PAGE, number)))
}

/// The first and smallest page of the items of a kind with a link_id.
pub fn linked_page(speech: Speech, kind: Kind) -> Request {
    Request::get(format!("{}?{}", speech.link(kind), speech.page(10, 1)))
}

/// A page of the identifiers with this number. A device may list others too.
pub fn with_number(speech: Speech, number: &str) -> Request {
    let filter = match speech.dialect.paging {
        Paging::OrderBy => format!("filter={}", percent(&format!("identifier_number eq '{number}'"))),
        Paging::SortField | Paging::CamelCase => {
            let number = percent(number);
            format!(
                "filter_field=identifier_number&filter_type=equal&filter_format=string&filter_value={number}"
            )
        }
    };
    Request::get(format!("{}?{}&{filter}", speech.link(Kind::Identifier), speech.page(PAGE, 1)))
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The fields of an object, as they came.
struct Fields<'b>(Vec<(Cow<'b, str>, &'b RawValue)>);

impl<'b> Fields<'b> {
    /// Reads an object; the error names what came instead.
    fn read(body: &'b [u8]) -> Result<Self, Trouble> {
        serde_json::from_slice(body).map_err(|_| Trouble::Garbled(format!("{} came back", looks_like(body))))
    }

    /// The last field of this name.
    fn get(&self, name: &str) -> Option<&'b RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// A field's value; none where it is absent, null, or very long and not even a text.
    fn value(&self, name: &str) -> Option<Value> {
        let short = |value: &RawValue| value.get().len() <= LONGEST_FIELD || value.get().starts_with('"');
        let value = self.get(name).filter(|value| short(value))?;
        serde_json::from_str(value.get()).ok().filter(|value: &Value| !value.is_null())
    }

    /// The words of a text that is there once, or always the same.
    fn words(&self, name: &str) -> String {
        let mut all = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.get());
        let Some(first) = all.next() else { return String::new() };
        let same = all.all(|other| other == first);
        // Of a long text the beginning is enough.
        let text = first.strip_prefix('"').filter(|_| same).map(|_| match serde_json::from_str(first) {
            Ok(text) => words(Cow::<str>::as_ref(&text)),
            Err(_) => String::new(),
        });
        text.unwrap_or_default()
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Fields<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((Cow::Owned(field.0), field.1));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// What an answer means in which a field is not as it has to be: a device's own words, or the field's name.
fn without(field: &str, body: &[u8]) -> Trouble {
    said_error(body).map_or_else(
        || Trouble::Garbled(format!("`{field}` is not in it, or not as it should be")),
        Trouble::Said,
    )
}

/// The token that a login gave.
pub fn read_login(answer: &Answer, panel: &str, speech: Speech) -> Result<String, Trouble> {
    // Some say what they were asked, and that is as good as the password there.
    let body = without_digests(&answer.body);
    match answer.status {
        200..=299 => {
            let fields = Fields::read(&answer.body).map_err(|_| without("token", &body))?;
            let Some(Value::String(token)) = fields.value("token") else {
                return Err(without("token", &body));
            };
            // It goes into a header.
            let good = !token.is_empty() && token.len() <= LONGEST_TOKEN;
            if !good || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Trouble::Garbled("`token` is none that can be sent back".into()));
            }
            match fields.value("account_type") {
                Some(Value::String(kind)) if kind != "admin" => {
                    Err(Trouble::NotAdministrator(panel.to_owned()))
                }
                _ => Ok(token),
            }
        }
        400 | 401 | 403 if said_error(&body).is_some_and(|said| said.contains("Administrator rights")) => {
            Err(Trouble::NotAdministrator(panel.to_owned()))
        }
        400 | 401 | 403 => Err(Trouble::WrongPassword(panel.to_owned())),
        404 => Err(Trouble::NotAPanel(format!("it has no {}", speech.path("/login")))),
        405 => Err(Trouble::UnknownCall(speech.path("/login"), speech.family().as_str())),
        status => Err(failing(status, &body)),
    }
}

/// The text with everything blotted out that may be an MD5 in hex.
fn without_digests(body: &[u8]) -> Vec<u8> {
    const DIGEST: usize = 32;
    let mut out = body.to_vec();
    let mut run = 0;
    for at in 0..=out.len() {
        if out.get(at).is_some_and(u8::is_ascii_hexdigit) {
            run += 1;
            continue;
        }
        if run >= DIGEST {
            out[at - run..at].fill(b'*');
        }
        run = 0;
    }
    out
}

/// Passes a 200 on, and says what any other status of a call within a session means.
pub fn good(answer: Answer, request: &Request, family: Family, panel: &str) -> Result<Answer, Trouble> {
    match answer.status {
        200..=299 => Ok(answer),
        401 => Err(Trouble::LoggedOut),
        403 => Err(Trouble::NotAdministrator(panel.to_owned())),
        404 | 405 => Err(Trouble::UnknownCall(request.bare_path().to_owned(), family.as_str())),
        status => Err(failing(status, &answer.body)),
    }
}

fn failing(status: u16, body: &[u8]) -> Trouble {
    match status {
        408 | 425 | 429 | 500.. => Trouble::Failing(status, in_brackets(body)),
        300..=399 => Trouble::NotAPanel(format!("it redirects (HTTP {status})")),
        status => {
            let said = said_error(body).unwrap_or_else(|| "no reason given".to_owned());
            Trouble::Refused(status, said)
        }
    }
}

/// A device's own words on what is wrong: a text, or an object with a code and a message.
fn said_error(body: &[u8]) -> Option<String> {
    let error = Fields::read(body).ok()?.value("error")?;
    let said = match &error {
        Value::String(text) => words(text),
        Value::Object(object) => {
            let part = |name| object.get(name).filter(|part| !part.is_null()).map(plain);
            let parts: Vec<_> = [part("code"), part("message")].into_iter().flatten().collect();
            if parts.is_empty() { words(&error.to_string()) } else { words(&parts.join(": ")) }
        }
        other => words(&other.to_string()),
    };
    (!said.is_empty()).then_some(said)
}

fn in_brackets(body: &[u8]) -> String {
    said_error(body).map_or(String::new(), |error| format!(" ({error})"))
}

/// A value in words: a text as it is, a list joined.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => words(text),
        Value::Array(list) => words(
            &list.iter().take(20).map(plain).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", "),
        ),
        other => words(&other.to_string()),
    }
}

/// What a device said of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether it did it.
    pub success: bool,
    /// Its `extended_info`.
    pub word: Box<str>,
}

/// Reads the results of a call by link_id: what is said of each of `links`, in their order. Of one that is left out,
/// or of which it is not said whether it was done, nothing is known. `success` decides; `extended_info` explains.
pub fn read_said(answer: &Answer, links: impl Iterator<Item = LinkId>) -> Result<Vec<Option<Said>>, Trouble> {
    let fields = Fields::read(&answer.body)?;
    let results =
        fields.get("result").and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
    let results = results.ok_or_else(|| without("result", &answer.body))?;
    let mut said = HashMap::new();
    for result in results {
        let Ok(result) = Fields::read(result.get().as_bytes()) else { continue };
        let Some(Value::String(link)) = result.value("link_id") else { continue };
        let success = match result.value("success") {
            Some(Value::Bool(success)) => success,
            Some(Value::Number(number)) if number.as_f64() == Some(1.0) => true,
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => false,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            _ => continue,
        };
        let word = result.value("extended_info").map(|info| plain(&info)).unwrap_or_default();
        let word = if word.is_empty() && !success { "no reason given".to_owned() } else { word };
        if let Ok(link) = link.trim().parse::<LinkId>() {
            said.insert(link, Said { success, word: word.into() });
        }
    }
    Ok(links.map(|link| said.get(&link).cloned()).collect())
}

/// The entries of a page of the log; what is none is left to whoever reads them.
pub fn read_log(answer: &Answer) -> Result<Vec<Value>, Trouble> {
    let page = read_page(answer)?;
    Ok(page.items.iter().map(|item| serde_json::from_str(item.get()).unwrap_or_default()).collect())
}

#[cfg(test)]
mod tests;
