//! What is asked of a device, and what its answers mean. Nothing here travels.
//!
//! The calls and their forms are those of the panel API; families differ in the profiles' path and in the key of
//! their lists. Answers are read with tolerance: what is not needed is not looked at.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Trouble;
use crate::batch::Body;
use crate::profile::LinkId;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::profile::wire::Json;
use crate::store::tables::DeviceRecord;

/// Of a device's own words, so many characters are kept.
const WORDS: usize = 200;

/// Profiles on one page; the most that the API gives.
pub const PAGE: u64 = 50;

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
pub fn login(username: &str, password_md5: &str) -> Request {
    let password = password_md5.to_ascii_uppercase();
    Request::get(format!("/api/v1/login?username={}&password={password}", percent(username)))
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
        let inner = json.strip_prefix('{').unwrap_or(json);
        let _ = write!(body, r#"{comma}{{"link_id":"{link}",{inner}"#); // a String takes everything
    }
    body.push_str("]}");
    let path = format!("/api/v1/access/{}/items/link", profiles(family));
    Request { method: Method::Post, body: Some(body), ..Request::get(path) }
}

/// Delete profiles by link_id.
pub fn delete(family: Family, links: &[LinkId]) -> Request {
    let links: Vec<_> = links.iter().map(|link| format!(r#""{link}""#)).collect();
    let body = format!(r#"{{"link_ids":[{}]}}"#, links.join(","));
    // A body in a DELETE is lost on some ways; the call by POST does the same.
    let path = match family {
        Family::Android | Family::Camdroid => "/api/v1/access/timeprofile/link/delete",
        Family::DoorController => "/api/v1/access/time-profiles/link/delete",
    };
    Request { method: Method::Post, body: Some(body), ..Request::get(path) }
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

/// What a device says that it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// The API that it speaks.
    pub api_version: String,
    /// Its serial number.
    #[serde(default)]
    pub device_serial_number: String,
    /// Its model.
    #[serde(default)]
    pub device_model: String,
    /// Its firmware.
    #[serde(default)]
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

/// Reads `/api/info`; anything that is not a panel's is named as what it is.
pub fn read_info(answer: &Answer) -> Result<Info, Trouble> {
    match answer.status {
        200 => serde_json::from_slice(&answer.body)
            .map_err(|_| Trouble::NotAPanel(format!("/api/info gives {}", looks_like(&answer.body)))),
        300..=399 => {
            let to = answer.location.as_deref().map_or("elsewhere", |to| short(to));
            Err(Trouble::NotAPanel(format!("/api/info redirects to {to}")))
        }
        500.. | 429 => Err(Trouble::Failing(answer.status, words(&answer.body))),
        status => Err(Trouble::NotAPanel(format!("/api/info gives HTTP {status}"))),
    }
}

fn looks_like(body: &[u8]) -> &'static str {
    match body.trim_ascii_start() {
        [] => "nothing",
        [b'<', ..] => "a web page",
        [b'{', ..] => "JSON without api_version",
        _ => "something else than JSON",
    }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(WORDS).map_or(text, |(end, _)| &text[..end])
}

/// The token of a login.
pub fn read_login(answer: &Answer, panel: &str) -> Result<String, Trouble> {
    #[derive(Deserialize)]
    struct LoggedIn {
        token: String,
        account_type: Option<String>,
    }
    match answer.status {
        200 => {
            let LoggedIn { token, account_type } = read(&answer.body)?;
            // It goes into a header.
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Trouble::Garbled("a token that is none".into()));
            }
            match account_type.as_deref() {
                None | Some("admin") => Ok(token),
                Some(_) => Err(Trouble::NotAdministrator(panel.to_owned())),
            }
        }
        400 | 401 | 403 => Err(Trouble::WrongPassword(panel.to_owned())),
        404 => Err(Trouble::NotAPanel("it has no /api/v1/login".into())),
        status => Err(failing(status, &answer.body)),
    }
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
        408 | 425 | 429 | 500.. => Trouble::Failing(status, words(body)),
        300..=399 => Trouble::NotAPanel(format!("it redirects (HTTP {status})")),
        status => {
            let said = said_error(body).unwrap_or_else(|| "no reason given".to_owned());
            Trouble::Refused(status, said)
        }
    }
}

fn said_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: String,
    }
    let ErrorBody { error } = serde_json::from_slice(body).ok()?;
    Some(short(&error).to_owned())
}

fn words(body: &[u8]) -> String {
    said_error(body).map_or(String::new(), |error| format!(" ({error})"))
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|_| Trouble::Garbled(format!("{} came back", looks_like(body))))
}

/// What a device said of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether it did it.
    pub success: bool,
    /// Its `extended_info`.
    pub word: Box<str>,
}

/// Reads the results of a call by link_id; one for each of `links`, in their order. An answer that leaves one out
/// is garbled: whether that one was done is not known.
pub fn read_said(answer: &Answer, links: impl Iterator<Item = LinkId>) -> Result<Vec<Said>, Trouble> {
    #[derive(Deserialize)]
    struct Results {
        result: Vec<OneResult>,
    }
    #[derive(Deserialize)]
    struct OneResult {
        link_id: LinkId,
        success: bool,
        #[serde(default)]
        extended_info: String,
    }
    let Results { result } = read(&answer.body)?;
    let mut said: HashMap<_, _> = result
        .into_iter()
        .map(|one| (one.link_id, Said { success: one.success, word: short(&one.extended_info).into() }))
        .collect();
    links
        .map(|link| said.remove(&link).ok_or_else(|| Trouble::Garbled(format!("it says nothing of {link}"))))
        .collect()
}

/// A page of a device's profiles.
#[derive(Debug)]
pub struct DevicePage {
    /// How many there are on all pages.
    pub total: u64,
    /// Those on this one.
    pub profiles: Vec<DeviceProfile>,
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
    /// Its JSON as it came.
    pub json: Box<RawValue>,
}

/// Reads a page of a list.
pub fn read_page(answer: &Answer, family: Family) -> Result<DevicePage, Trouble> {
    #[derive(Deserialize)]
    struct List {
        #[serde(alias = "items")]
        list_items: Vec<Box<RawValue>>,
        list_option: ListOption,
    }
    #[derive(Deserialize)]
    struct ListOption {
        pagination: Pagination,
    }
    #[derive(Deserialize)]
    struct Pagination {
        total_items: u64,
    }
    let List { list_items, list_option } = read(&answer.body)?;
    let profiles = list_items.into_iter().map(|item| read_profile(item, family)).collect();
    Ok(DevicePage { total: list_option.pagination.total_items, profiles })
}

fn read_profile(item: Box<RawValue>, family: Family) -> DeviceProfile {
    let json = Json::read(item.get().as_bytes()).unwrap_or(Json::Null);
    let text = |key| match json.get(key) {
        Some(Json::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    let link_id = text("link_id").and_then(|link| link.parse().ok());
    let mut problems = Vec::new();
    let profile = parse::profile_at(&json, "", family, &mut problems);
    let body = profile.filter(|_| problems.is_empty()).map(|profile| Body::of(&profile));
    DeviceProfile { link_id, name: text("name").unwrap_or_default(), body, json: item.clone() }
}

/// The device's clock, in Unix seconds.
pub fn read_time(answer: &Answer) -> Result<i64, Trouble> {
    #[derive(Deserialize)]
    struct Time {
        time_unix: i64,
    }
    read(&answer.body).map(|Time { time_unix }| time_unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, location: None, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn an_answer_that_leaves_an_item_out_is_no_answer() {
        let (a, b) = (LinkId::from_bytes([1; 16]), LinkId::from_bytes([2; 16]));
        let one = format!(r#"{{"result":[{{"link_id":"{a}","success":false,"extended_info":"new_word"}}]}}"#);
        let said = read_said(&answer(200, &one), [a].into_iter()).expect("all answered");
        assert_eq!(said, [Said { success: false, word: "new_word".into() }]);
        assert!(matches!(read_said(&answer(200, &one), [a, b].into_iter()), Err(Trouble::Garbled(_))));
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
            assert!(matches!(read_login(&answer(200, body), "p"), Err(Trouble::Garbled(_))), "{body}");
        }
        let profile = RawValue::from_string("[7]".into()).expect("JSON");
        assert!(read_profile(profile, Family::Android).body.is_none());
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
        assert_eq!(login("a b&c", "e1").path, "/api/v1/login?username=a%20b%26c&password=E1");
    }
}
