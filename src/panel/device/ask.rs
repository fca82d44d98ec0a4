//! What is asked of a device, and what its answers mean. Nothing here travels.
//!
//! The calls and their forms are those of the panel API; families differ in the profiles' path, in the key of
//! their lists and in how they log in. Answers are read with tolerance: what is not needed is not looked at, and
//! what is not as it should be counts as absent. Every word of a device comes in through [`super::words`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Trouble;
use super::words::{self, words};
use crate::batch::Body;
use crate::profile::LinkId;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::profile::wire::{self, Json};
use crate::store::tables::DeviceRecord;

/// Profiles on one page; the most that panels give.
const PAGE: u64 = 50;

/// The longest token: a real one has 64 characters.
const LONGEST_TOKEN: usize = 4096;

/// A field other than a list or a text is not read when it is longer, in bytes.
const LONGEST_FIELD: usize = 64 * 1024;

/// The longest name of a profile.
const LONGEST_NAME: usize = 100;

/// The HTTP method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, updates, and ends sessions.
    Post,
    /// Deletes.
    Delete,
}

/// A request, however it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// From `/api` on, with the query. Of a login it holds the password's MD5, so it is never logged.
    pub path: String,
    /// The session's token.
    pub token: Option<String>,
    /// JSON.
    pub body: Option<String>,
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

impl Request {
    fn get(path: impl Into<String>) -> Self {
        Self { method: Method::Get, path: path.into(), token: None, body: None }
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

/// Below `/api/v1/access`.
fn profiles(family: Family) -> &'static str {
    match family {
        Family::Android | Family::Camdroid => "timeprofile",
        Family::DoorController => "time-profiles",
    }
}

/// What are you?
pub fn info() -> Request {
    Request::get("/api/info")
}

/// A new session.
pub fn login(family: Family, username: &str, password_md5: &str) -> Request {
    let password = password_md5.to_ascii_uppercase();
    match family {
        Family::Android | Family::Camdroid => {
            Request::get(format!("/api/v1/login?username={}&password={password}", percent(username)))
        }
        Family::DoorController => {
            let body = serde_json::json!({ "username": username, "password": password });
            Request { method: Method::Post, body: Some(body.to_string()), ..Request::get("/api/v1/login") }
        }
    }
}

/// The session's end.
pub fn logout() -> Request {
    Request { method: Method::Post, ..Request::get("/api/v1/logout") }
}

/// What time is it?
pub fn time() -> Request {
    Request::get("/api/v1/device/time")
}

/// Create or update profiles by link_id; bodies are objects without it.
pub fn upsert(family: Family, items: &[(LinkId, Box<str>)]) -> Request {
    let key = parse::list_key(family);
    let mut body = format!(r#"{{"{key}":["#);
    for (i, (link, json)) in items.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let json = match family {
            Family::Android | Family::Camdroid => Cow::Borrowed(&**json),
            Family::DoorController => wire::with_year_format(json),
        };
        let inner = json.strip_prefix('{').unwrap_or(&json);
        let _ = write!(body, r#"{comma}{{"link_id":"{link}",{inner}"#); // a String takes everything
    }
    body.push_str("]}");
    let path = format!("/api/v1/access/{}/items/link", profiles(family));
    Request { method: Method::Post, body: Some(body), ..Request::get(path) }
}

/// Delete profiles by link_id, in the one form or the other. A body in a `DELETE` is lost on some ways, so that is
/// not the first.
pub fn delete(family: Family, links: &[LinkId], by_delete: bool) -> Request {
    let links: Vec<_> = links.iter().map(|link| format!(r#""{link}""#)).collect();
    let body = format!(r#"{{"link_ids":[{}]}}"#, links.join(","));
    let (method, end) =
        if by_delete { (Method::Delete, "items/link") } else { (Method::Post, "link/delete") };
    let path = format!("/api/v1/access/{}/{end}", profiles(family));
    Request { method, body: Some(body), ..Request::get(path) }
}

/// A page of all profiles, those without link_id too.
pub fn page(family: Family, number: u64) -> Request {
    Request::get(format!("/api/v1/access/{}/items?limit={PAGE}&page_number={number}", profiles(family)))
}

/// The first and smallest page of the profiles with a link_id.
pub fn linked_page(family: Family) -> Request {
    Request::get(format!("/api/v1/access/{}/items/link?limit=10&page_number=1", profiles(family)))
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

/// What a device says that it is. What it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The API that it speaks.
    pub api_version: String,
    /// Its serial number.
    pub device_serial_number: String,
    /// Its model.
    pub device_model: String,
    /// Its firmware.
    pub firmware_version: String,
}

impl Info {
    /// Brings what is kept of a device up to date.
    pub fn put_into(&self, record: &mut DeviceRecord) {
        record.serial.clone_from(&self.device_serial_number);
        record.model.clone_from(&self.device_model);
        record.firmware.clone_from(&self.firmware_version);
        record.api_version.clone_from(&self.api_version);
    }
}

/// By these `/api/info` is known as a panel's.
const INFO: [&str; 11] = [
    "api_version",
    "device_serial_number",
    "device_model",
    "firmware_version",
    "device_name",
    "device_type",
    "framework_version",
    "frontend_version",
    "hybrid_enable",
    "hybrid_version",
    "commit",
];

/// Reads `/api/info`; anything that is not a panel's is named as what it is.
pub fn read_info(answer: &Answer) -> Result<Info, Trouble> {
    match answer.status {
        200 => {
            let fields = Fields::read(&answer.body)
                .map_err(|_| Trouble::NotAPanel(format!("/api/info gives {}", looks_like(&answer.body))))?;
            if !INFO.iter().any(|name| fields.get(name).is_some()) {
                return Err(said_error(&answer.body).map_or_else(
                    || {
                        let why = "/api/info gives JSON without api_version and every other field of a panel";
                        Trouble::NotAPanel(why.into())
                    },
                    Trouble::Said,
                ));
            }
            let version = match fields.value("api_version") {
                Some(Value::Number(number)) => words(&number.to_string()),
                _ => fields.words("api_version"),
            };
            Ok(Info {
                api_version: version,
                device_serial_number: fields.words("device_serial_number"),
                device_model: fields.words("device_model"),
                firmware_version: fields.words("firmware_version"),
            })
        }
        300..=399 => {
            let to = answer.location.as_deref().map_or("elsewhere".to_owned(), words);
            Err(Trouble::NotAPanel(format!("/api/info redirects to {to}")))
        }
        408 | 425 | 429 | 500.. => Err(Trouble::Failing(answer.status, in_brackets(&answer.body))),
        status => Err(Trouble::NotAPanel(format!("/api/info gives HTTP {status}"))),
    }
}

fn looks_like(body: &[u8]) -> &'static str {
    match body.trim_ascii_start() {
        [] => "nothing",
        [b'<', ..] => "a web page",
        [b'{', ..] => "something that begins as JSON and is none",
        _ => "something else than JSON",
    }
}

/// What an answer means in which a field is not as it has to be: a device's own words, or the field's name.
fn without(field: &str, body: &[u8]) -> Trouble {
    said_error(body).map_or_else(
        || Trouble::Garbled(format!("`{field}` is not in it, or not as it should be")),
        Trouble::Said,
    )
}

/// The token of a login.
pub fn read_login(answer: &Answer, panel: &str, family: Family) -> Result<String, Trouble> {
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
        400 | 401 | 403 => Err(Trouble::WrongPassword(panel.to_owned())),
        404 => Err(Trouble::NotAPanel("it has no /api/v1/login".into())),
        405 => Err(Trouble::UnknownCall("/api/v1/login".into(), family.as_str())),
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
        if let Ok(link) = link.trim().parse::<LinkId>() {
            said.insert(link, Said { success, word: word.into() });
        }
    }
    Ok(links.map(|link| said.get(&link).cloned()).collect())
}

/// A page of a device's profiles, as it came. What it says of the whole may be absent, and wrong.
#[derive(Debug)]
pub struct Page<'b> {
    /// Those on it.
    pub items: Vec<&'b RawValue>,
    /// How many there are on all pages.
    pub total: Option<u64>,
    /// How many there are on a page.
    pub limit: Option<u64>,
    /// How many pages there are.
    pub pages: Option<u64>,
}

/// Reads a page of a list.
pub fn read_page(answer: &Answer) -> Result<Page<'_>, Trouble> {
    let fields = Fields::read(&answer.body)?;
    let list = fields.get("list_items").or_else(|| fields.get("items"));
    let items = match list {
        Some(list) if list.get() == "null" => Some(Vec::new()),
        Some(list) => serde_json::from_str(list.get()).ok(),
        None => None,
    };
    let items = items.ok_or_else(|| without("list_items", &answer.body))?;
    let options = ["list_option", "list_options", "options"].into_iter().find_map(|name| fields.value(name));
    let pagination = options.as_ref().and_then(|options| options.get("pagination"));
    let number = |name: &str| match pagination?.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    Ok(Page {
        items,
        total: number("total_items"),
        limit: number("items_limit").filter(|limit| *limit > 0),
        pages: number("total_pages"),
    })
}

/// A profile as a device holds it.
#[derive(Debug, Clone)]
pub struct DeviceProfile {
    /// Absent where it was made on the device itself.
    pub link_id: Option<LinkId>,
    /// Its name.
    pub name: String,
    /// What it says, where that can be read.
    pub body: Option<Body>,
    /// Its JSON as it came, where that is kept.
    json: Option<Box<RawValue>>,
    /// By this it is known again.
    print: u64,
}

impl DeviceProfile {
    /// Its JSON as it came; where that was too long to keep, what could be read of it.
    pub fn json(&self) -> Option<Box<RawValue>> {
        let read = || RawValue::from_string(self.body.as_ref()?.json().to_owned()).ok();
        self.json.clone().or_else(read)
    }

    /// The same for profiles that say the same.
    pub fn print(&self) -> u64 {
        self.print
    }
}

/// Reads a profile of a list; its JSON is kept on demand.
pub fn read_profile(item: &RawValue, family: Family, keep: bool) -> DeviceProfile {
    let json = Json::read(item.get().as_bytes()).unwrap_or(Json::Null);
    let text = |key| match json.get(key) {
        Some(Json::Text(text)) => Some(&**text),
        _ => None,
    };
    let link_id = text("link_id").and_then(|link| link.trim().parse().ok());
    let mut problems = Vec::new();
    let profile = parse::profile_at(&json, "", family, &mut problems);
    let body = profile.filter(|_| problems.is_empty()).map(|profile| Body::of(&profile));
    let mut hasher = DefaultHasher::new();
    match &body {
        Some(body) => body.digest().hash(&mut hasher),
        None => item.get().hash(&mut hasher),
    }
    let name = text("name").map(|name| words::cut(name, LONGEST_NAME)).unwrap_or_default();
    let json = keep.then(|| RawValue::from_string(words::json(item.get())).ok()).flatten();
    DeviceProfile { link_id, name, body, json, print: hasher.finish() }
}

/// The device's clock, in Unix seconds, where it is a whole number.
pub fn read_time(answer: &Answer) -> Option<i64> {
    Fields::read(&answer.body).ok()?.value("time_unix")?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, location: None, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn what_a_device_says_of_a_login_shows_no_password() {
        let answer = |status, body: &'static str| Answer { status, location: None, body: body.into() };
        for (status, body) in [
            (500, r#"{"error":"Cannot GET /login?password=E10ADC3949BA59ABBE56E057F20F883E"}"#),
            (200, r#"{"error":"e10adc3949ba59abbe56e057f20f883e is not it"}"#),
            (418, r#"{"error":"E10ADC3949BA59ABBE56E057F20F883E"}"#),
        ] {
            let said = read_login(&answer(status, body), "p", Family::Android).expect_err("none").to_string();
            assert!(!said.to_ascii_lowercase().contains("e10adc"), "{said}");
        }
    }

    #[test]
    fn a_success_that_is_a_number_is_one_or_nought() {
        let link = LinkId::from_bytes([1; 16]);
        for (number, success) in
            [("1", Some(true)), ("0", Some(false)), ("0.0", Some(false)), ("0e0", Some(false)), ("7", None)]
        {
            let body =
                format!(r#"{{"result":[{{"link_id":"{link}","success":{number},"extended_info":"x"}}]}}"#);
            let answer = Answer { status: 200, location: None, body: body.into() };
            let said = read_said(&answer, std::iter::once(link));
            let known = said.ok().and_then(|said| said.into_iter().next().flatten().map(|said| said.success));
            assert_eq!(known, success, "{number}");
        }
    }

    #[test]
    fn results_are_read_in_whatever_order_and_whatever_explains_them() {
        let (a, b, c) =
            (LinkId::from_bytes([0xab; 16]), LinkId::from_bytes([2; 16]), LinkId::from_bytes([3; 16]));
        let upper = a.to_string().to_uppercase();
        for (info, word) in [
            (r#""new_word""#, "new_word"),
            ("null", ""),
            (r#"["a","b"]"#, "a, b"),
            (r#""a,b""#, "a,b"),
            ("17", "17"),
            (r#"{"code":5}"#, r#"{"code":5}"#),
        ] {
            let body = format!(
                r#"{{"result":[{{"link_id":"{c}","success":true}},{{"link_id":"{upper}","success":false,"extended_info":{info}}},7,{{"link_id":"{b}"}}]}}"#
            );
            let said = read_said(&answer(200, &body), [a, b].into_iter()).expect("readable");
            assert_eq!(said, [Some(Said { success: false, word: word.into() }), None], "{info}");
        }
    }

    #[test]
    fn a_devices_own_words_are_shown_whatever_call_they_answer() {
        let links = [LinkId::from_bytes([1; 16])];
        for (body, words) in [
            (r#"{"error":"Database is locked"}"#, "Database is locked"),
            (
                r#"{"error":{"code":"system_error","message":"Database is locked","data":null}}"#,
                "system_error: Database is locked",
            ),
            (r#"{"error":5}"#, "5"),
        ] {
            let answer = answer(200, body);
            let said = Trouble::Said(words.to_owned());
            assert_eq!(read_info(&answer), Err(said.clone()));
            assert_eq!(read_login(&answer, "p", Family::Android), Err(said.clone()));
            assert_eq!(read_said(&answer, links.into_iter()), Err(said.clone()));
            assert_eq!(read_page(&answer).map(|_| ()), Err(said));
        }
        assert_eq!(
            read_page(&answer(200, "{}")).map(|_| ()).expect_err("no list").to_string(),
            "its answer cannot be read: `list_items` is not in it, or not as it should be"
        );
    }

    #[test]
    fn of_an_info_only_what_is_needed_is_looked_at() {
        let version = |body| read_info(&answer(200, body)).expect("a panel's").api_version;
        assert_eq!(version(r#"{"api_version":2.9}"#), "2.9");
        assert_eq!(
            version(r#"{"api_version":"2.9.0","device_model":null,"commit":7,"hybrid_enable":"x"}"#),
            "2.9.0"
        );
        assert_eq!(version(r#"{"device_model":"AV","device_model":"AV-2"}"#), "");
        let info = read_info(&answer(
            200,
            r#"{"device_model":"A\u001bV\u202e","device_serial_number":["x"],"device_model":"A\u001bV\u202e"}"#,
        ));
        let info = info.expect("a panel's");
        assert_eq!((&*info.device_model, &*info.device_serial_number), ("A V", ""));
    }

    #[test]
    fn a_clock_that_is_no_whole_number_is_not_known() {
        for body in [r#"{"time_unix":"1764000000"}"#, r#"{"time_unix":1764000000.5}"#, "{}", "<html>", ""] {
            assert_eq!(read_time(&answer(200, body)), None, "{body}");
        }
        assert_eq!(read_time(&answer(200, r#"{"time_unix":1764000000}"#)), Some(1_764_000_000));
    }

    #[test]
    fn whatever_answers_is_named_and_nothing_panics() {
        for (status, body) in
            [(200, "<html>"), (200, ""), (200, "{}"), (200, "\u{fffd}"), (404, ""), (302, "")]
        {
            assert!(
                matches!(read_info(&answer(status, body)), Err(Trouble::NotAPanel(_))),
                "{status} {body}"
            );
        }
        for body in ["", "[]", "{\"token\":5}", "{\"token\":\"\"}", "{\"token\":\"a\\nb\"}"] {
            assert!(
                matches!(read_login(&answer(200, body), "p", Family::Android), Err(Trouble::Garbled(_))),
                "{body}"
            );
        }
        let profile = RawValue::from_string("[7]".into()).expect("JSON");
        assert!(read_profile(&profile, Family::Android, true).body.is_none());
    }

    #[test]
    fn families_ask_at_their_own_paths_and_names_are_escaped() {
        let items = [(LinkId::from_bytes([1; 16]), r#"{"name":"x"}"#.into())];
        let android = upsert(Family::Android, &items);
        assert_eq!(android.path, "/api/v1/access/timeprofile/items/link");
        assert_eq!(
            android.body.as_deref(),
            Some(r#"{"list_items":[{"link_id":"01010101-0101-0101-0101-010101010101","name":"x"}]}"#)
        );
        let controller = upsert(Family::DoorController, &items);
        assert_eq!(controller.path, "/api/v1/access/time-profiles/items/link");
        assert!(controller.body.is_some_and(|body| body.starts_with(r#"{"items":["#)));
        let path = login(Family::Android, "a b&c", "e1").path;
        assert_eq!(path, "/api/v1/login?username=a%20b%26c&password=E1");
        let login = login(Family::DoorController, "a b&c", "e1");
        assert_eq!((login.method, &*login.path), (Method::Post, "/api/v1/login"));
        assert_eq!(login.body.as_deref(), Some(r#"{"password":"E1","username":"a b&c"}"#));
    }
}
