//! The client of the fleet API that all thin commands share.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcetera::{BaseStrategy, choose_base_strategy};
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Exit, Failure, words};
use crate::http::fleet_api::Page;
use crate::http::percent;
use crate::http::problem::ProblemBody;
use crate::panel::device::line::USER_AGENT;
use crate::panel::device::line::connection::{Address, Afterwards, Connection, NoConnection};
use crate::panel::device::line::trust::Configs;
use crate::panel::settings::Trust;
use crate::store::seal::hex;

pub mod listen;

/// Bytes of one answer at most.
const MAX_ANSWER: usize = 1 << 30;

/// To a connection, and as long again to shake hands.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Beyond the time that the server was asked to wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// Long enough for a server that is there.
const HEALTHY_WITHIN: Duration = Duration::from_secs(2);

/// A server and how to talk to it: the same line as to devices, with a connection that is kept between two calls.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    address: Address,
    trust: Trust,
    configs: Configs,
    kept: RefCell<Option<Connection>>,
    server: String,
    token: Option<String>,
}

/// What the server answered.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, or null where there is none.
    pub body: Value,
}

impl Client {
    /// For this server; without a token, with that of the last login, and without a trust, with the one that was
    /// kept at that login, else with what the system trusts.
    pub fn new(server: &str, token: Option<&str>, trust: Option<Trust>) -> Result<Self, Failure> {
        let server = server.trim_end_matches('/').to_owned();
        let address = Address::parse(&server).map_err(|_| {
            Failure::usage(format!("--server {server:?} is no URL such as http://127.0.0.1:8080"))
        })?;
        if trust.is_some() && !address.is_secure() {
            return Err(Failure::usage(format!(
                "--ca-file and --pin are for servers at https://, and {server} is not"
            )));
        }
        let kept = Kept::of(&server);
        let trust = match trust.or_else(|| kept.as_ref().and_then(Kept::trust)) {
            Some(trust) => trust,
            None if address.is_secure() => system_trust()?,
            None => Trust::System,
        };
        let token = token.map(str::to_owned).or_else(|| kept.map(|kept| kept.token));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (configs, kept) = (Configs::default(), RefCell::default());
        Ok(Self { runtime, address, trust, configs, kept, server, token })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Shows this token from now on.
    pub fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    /// Whether the server is there and well.
    pub fn healthy(&self) -> bool {
        let asking =
            async { Some(self.ask(self.request(Method::GET, "/healthz").ok()?).await.ok()?.1.status) };
        let status = self.runtime.block_on(async { tokio::time::timeout(HEALTHY_WITHIN, asking).await });
        status.is_ok_and(|status| status.is_some_and(|status| status.is_success()))
    }

    /// What stands at a path below `/fleet/v1`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.send(Method::GET, path, &[], "application/json", String::new())?;
        self.read(answer)
    }

    /// What stands at a path below `/fleet/v1`, or nothing.
    pub fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let answer = self.send(Method::GET, path, &[], "application/json", String::new())?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { self.read(answer).map(Some) }
    }

    /// All items of a list, page by page.
    pub fn get_all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut cursor = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{path}{separator}limit=1000{cursor}"))?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={}", percent(&next)),
                None => return Ok(items),
            }
        }
    }

    /// The same where the server waits for something else, so many seconds for all pages together.
    pub fn get_all_within<T: DeserializeOwned>(&self, path: &str, seconds: u64) -> Result<Vec<T>, Failure> {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut items = Vec::new();
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut cursor = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
            let wait = format!("wait={left}");
            let path = format!("{path}{separator}limit=1000{cursor}");
            let answer =
                self.send(Method::GET, &path, &[("prefer", &wait)], "application/json", String::new())?;
            let page: Page<T> = self.read(answer)?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={}", percent(&next)),
                None => return Ok(items),
            }
        }
    }

    /// Writes what stands at a path to a file.
    pub fn download(&self, path: &str, to: &mut std::fs::File) -> Result<(), Failure> {
        let request = self.request(Method::GET, &format!("/fleet/v1{path}"))?;
        self.runtime.block_on(async {
            let (mut connection, head) = self.ask(request).await?;
            if !head.status.is_success() {
                let text = connection.whole(MAX_ANSWER).await.unwrap_or_default();
                let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
                return self.good(Answer { status: head.status, body }).map(|_| ());
            }
            while let Some(piece) = connection.piece().await.map_err(|broken| self.broken_off(&broken.why))? {
                to.write_all(&piece)?;
            }
            Ok(())
        })
    }

    fn broken_off(&self, why: &str) -> Failure {
        Failure::new(Exit::Unreachable, format!("the answer of {} broke off: {why}", self.server))
    }

    fn unreachable(&self, error: &str) -> Failure {
        let hint = "is it running? start it with `panelsync serve`, or give another --server";
        Failure::new(
            Exit::Unreachable,
            format!("the server {} can't be reached: {error}; {hint}", self.server),
        )
    }

    /// No answer came to a request. One that changes something is perhaps done all the same, unless it was not sent.
    fn unanswered(&self, method: &Method, unsent: bool, why: &str) -> Failure {
        if unsent || method == Method::GET {
            return self.unreachable(why);
        }
        let server = &self.server;
        let hint = "look there before you ask again (`panelsync batch ls`, `panelsync panel ls`)";
        Failure::new(
            Exit::Unreachable,
            format!("the server {server} gave no answer: {why}; perhaps it has done what was asked: {hint}"),
        )
    }

    fn not_connected(&self, error: NoConnection) -> Failure {
        let server = &self.server;
        let message = match error {
            NoConnection::Unreachable(why) => return self.unreachable(&why),
            NoConnection::Certificate(why) => {
                format!(
                    "the certificate of {server} cannot be trusted: {why}; `panelsync login` keeps either"
                )
            }
            NoConnection::NoTls(why) => format!("no encrypted connection to {server} comes about: {why}"),
        };
        Failure::new(Exit::Unreachable, message)
    }

    fn request(&self, method: Method, path: &str) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = self.address.request(method, path, Bytes::new()).map_err(Failure::usage)?;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_empty()) {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Failure::usage("the token cannot be one: it has characters that no token has")
            })?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        Ok(request)
    }

    /// Sends a request, on the kept connection where there is one, and gives the head of its answer. Where the kept
    /// one turns out to be closed, the request is sent on a new one, unless the server has perhaps got it and it is
    /// one that changes something.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(Connection, Parts), Failure> {
        let kept = self.kept.borrow_mut().take();
        if let Some(mut connection) = kept {
            match connection.send(request.clone()).await {
                Ok(head) => return Ok((connection, head)),
                Err(broken) if broken.unsent || (broken.silent && request.method() == Method::GET) => {}
                Err(broken) => return Err(self.unanswered(request.method(), broken.unsent, &broken.why)),
            }
        }
        let opening = Connection::open(&self.address, &self.trust, &self.configs, CONNECT_WITHIN).await;
        let mut connection = opening.map_err(|error| self.not_connected(error))?;
        let method = request.method().clone();
        let sent = connection.send(request).await;
        let head = sent.map_err(|broken| self.unanswered(&method, broken.unsent, &broken.why))?;
        Ok((connection, head))
    }

    /// Sends JSON, with further headers.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer, Failure> {
        let answer = self.send(Method::POST, path, headers, "application/json", body.to_string())?;
        self.good(answer)
    }

    /// Sets what is to stand at a path, with further headers.
    pub fn put(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer, Failure> {
        let answer = self.send(Method::PUT, path, headers, "application/json", body.to_string())?;
        self.good(answer)
    }

    /// Changes what stands at a path.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let answer = self.send(Method::PATCH, path, &[], "application/json", body.to_string())?;
        self.good(answer)
    }

    /// Sends lines of JSON.
    pub fn post_lines(&self, path: &str, lines: String) -> Result<Answer, Failure> {
        let answer = self.send(Method::POST, path, &[], "application/x-ndjson", lines)?;
        self.good(answer)
    }

    /// Deletes what stands at a path.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        let answer = self.send(Method::DELETE, path, &[], "application/json", String::new())?;
        self.good(answer).map(|_| ())
    }

    /// [`Client::delete`], with what is answered.
    pub fn delete_answered(&self, path: &str) -> Result<Answer, Failure> {
        let answer = self.send(Method::DELETE, path, &[], "application/json", String::new())?;
        self.good(answer)
    }

    /// Sends JSON, and gives whatever is answered.
    pub fn send_json(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send(Method::POST, path, &[], "application/json", body.to_string())
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        content_type: &str,
        body: String,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method.clone(), &format!("/fleet/v1{path}"))?;
        let mut wait = Duration::ZERO;
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).map_err(|error| Failure::usage(error.to_string()))?;
            let worth = HeaderValue::from_str(value)
                .map_err(|_| Failure::usage(format!("{value:?} cannot stand in the header {name}")))?;
            request.headers_mut().insert(name, worth);
            if let Some(seconds) = value.strip_prefix("wait=").and_then(|seconds| seconds.parse().ok()) {
                wait = Duration::from_secs(seconds);
            }
        }
        if !body.is_empty() {
            let content_type =
                HeaderValue::from_str(content_type).map_err(|error| Failure::usage(error.to_string()))?;
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
            *request.body_mut() = Full::from(body);
        }
        let asking = async {
            let (mut connection, head) = self.ask(request).await?;
            let whole = connection.whole(MAX_ANSWER).await;
            let text = whole.map_err(|broken| match method {
                Method::GET => self.broken_off(&broken.why),
                _ => self.unanswered(&method, false, &broken.why),
            })?;
            if connection.afterwards().await == Afterwards::Kept {
                *self.kept.borrow_mut() = Some(connection);
            }
            Ok::<_, Failure>((head.status, text))
        };
        let patience = wait + PATIENCE;
        let asked = self.runtime.block_on(async { tokio::time::timeout(patience, asking).await });
        let late = |_| self.unanswered(&method, false, &format!("no answer within {} s", patience.as_secs()));
        let (status, text) = asked.map_err(late)??;
        let body = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&text) };
        let body = body.map_err(|_| {
            Failure::new(
                Exit::Failed,
                format!("{} does not speak the fleet API; is --server right?", self.server),
            )
        })?;
        Ok(Answer { status, body })
    }

    fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, Failure> {
        let answer = self.good(answer)?;
        serde_json::from_value(answer.body).map_err(|error| {
            let server = &self.server;
            Failure::new(Exit::Failed, format!("{server} answered something else than expected: {error}"))
        })
    }

    /// Turns an error's answer into a failure.
    pub fn good(&self, answer: Answer) -> Result<Answer, Failure> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let exit = match answer.status.as_u16() {
            401 | 403 => Exit::NotAllowed,
            400..=499 => Exit::Usage,
            _ => Exit::Failed,
        };
        let problem = serde_json::from_value::<ProblemBody>(answer.body).ok();
        let message = match &problem {
            Some(problem) => match problem.errors.as_slice() {
                [] => problem.detail.clone(),
                [one] => words::of(one),
                many => {
                    let places = many.iter().map(|error| format!("\n  {}", words::of(error)));
                    format!("{}{}", problem.detail, places.collect::<String>())
                }
            },
            None => format!("{} answered {}", self.server, answer.status),
        };
        Err(Failure { problem: problem.map(Box::new), ..Failure::new(exit, message) })
    }
}

/// What the system trusts, or what `SSL_CERT_FILE` names in its place.
fn system_trust() -> Result<Trust, Failure> {
    let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) else {
        return Ok(Trust::System);
    };
    Trust::from_file(&PathBuf::from(file)).map_err(|why| Failure::usage(format!("SSL_CERT_FILE: {why}")))
}

/// What is kept of a server between two commands. Earlier versions kept the bare token.
#[derive(Serialize, Deserialize)]
#[serde(from = "KeptForm")]
struct Kept {
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KeptForm {
    Token(String),
    Whole { token: String, ca: Option<String>, pin: Option<String> },
}

impl From<KeptForm> for Kept {
    fn from(form: KeptForm) -> Self {
        match form {
            KeptForm::Token(token) => Self { token, ca: None, pin: None },
            KeptForm::Whole { token, ca, pin } => Self { token, ca, pin },
        }
    }
}

impl Kept {
    fn of(server: &str) -> Option<Self> {
        kept().remove(server)
    }

    fn trust(&self) -> Option<Trust> {
        match (&self.ca, &self.pin) {
            (Some(pem), _) => Trust::from_pem(pem),
            (None, pin) => Trust::from_pin(pin.as_ref()?),
        }
    }
}

/// Keeps a server's token, and which certificate to trust there, in the user's config folder, for the user's eyes
/// only. Without a trust, what was kept of it before stays.
pub fn keep_token(server: &str, token: &str, trust: Option<&Trust>) -> Result<PathBuf, Failure> {
    let path = tokens_file().ok_or_else(|| {
        Failure::new(Exit::Failed, "there is no config folder to keep the token in; set HOME")
    })?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut all = kept();
    let server = server.trim_end_matches('/');
    let (ca, pin) = match trust {
        Some(Trust::Ca(pem)) => (Some(pem.to_string()), None),
        Some(Trust::Pin(digest)) => (None, Some(hex(digest))),
        Some(Trust::System) => (None, None),
        None => all.remove(server).map_or((None, None), |kept| (kept.ca, kept.pin)),
    };
    all.insert(server.to_owned(), Kept { token: token.to_owned(), ca, pin });
    let text = serde_json::to_string_pretty(&all).map_err(std::io::Error::other)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(0o600);
        if path.exists() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
    }
    options.open(&path)?.write_all(text.as_bytes())?;
    Ok(path)
}

fn kept() -> BTreeMap<String, Kept> {
    let text = tokens_file().and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn tokens_file() -> Option<PathBuf> {
    let config = choose_base_strategy().ok()?.config_dir();
    Some(config.join("panelsync").join("tokens.json"))
}
