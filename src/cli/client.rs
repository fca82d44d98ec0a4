//! The client of the fleet API that all thin commands share.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcetera::{BaseStrategy, choose_base_strategy};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Request, StatusCode};

use super::{Exit, Failure};
use crate::http::fleet_api::Page;
use crate::http::percent;
use crate::http::problem::ProblemBody;

/// Bytes of one answer at most.
const MAX_ANSWER: u64 = 1 << 30;

/// Beyond the time that the server was asked to wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// Long enough for a server that is there.
const HEALTHY_WITHIN: Duration = Duration::from_secs(2);

/// A server and how to talk to it.
pub struct Client {
    agent: ureq::Agent,
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
    /// For this server; without a token, with that of the last login.
    pub fn new(server: &str, token: Option<&str>) -> Result<Self, Failure> {
        let server = server.trim_end_matches('/').to_owned();
        if !server.starts_with("http://") && !server.starts_with("https://") {
            return Err(Failure::usage(format!(
                "--server {server:?} is no URL such as http://127.0.0.1:8080"
            )));
        }
        let token = match token {
            Some(token) => Some(token.to_owned()),
            None => kept_tokens().remove(&server),
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .build()
            .new_agent();
        Ok(Self { agent, server, token })
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
        let asked = self.agent.get(format!("{}/healthz", self.server));
        let answer = asked.config().timeout_global(Some(HEALTHY_WITHIN)).build().call();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// What stands at a path below `/fleet/v1`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.send(Method::GET, path, &[], "application/json", String::new())?;
        self.read(answer)
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
        let url = format!("{}/fleet/v1{path}", self.server);
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            let length = response.body().content_length();
            let copied = std::io::copy(&mut response.body_mut().as_reader(), to)?;
            if length.is_some_and(|length| length != copied) {
                return Err(Failure::new(
                    Exit::Unreachable,
                    format!("the answer of {} broke off", self.server),
                ));
            }
            return Ok(());
        }
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        self.good(Answer { status: response.status(), body }).map(|_| ())
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let hint = "is it running? start it with `panelsync serve`, or give another --server";
        Failure::new(
            Exit::Unreachable,
            format!("the server {} can't be reached: {error}; {hint}", self.server),
        )
    }

    /// Sends JSON, with further headers.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer, Failure> {
        let answer = self.send(Method::POST, path, headers, "application/json", body.to_string())?;
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

    fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        content_type: &str,
        body: String,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/fleet/v1{path}", self.server);
        let mut request = Request::builder().method(method).uri(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut wait = Duration::ZERO;
        for (name, value) in headers {
            request = request.header(*name, *value);
            if let Some(seconds) = value.strip_prefix("wait=").and_then(|seconds| seconds.parse().ok()) {
                wait = Duration::from_secs(seconds);
            }
        }
        if !body.is_empty() {
            request = request.header("content-type", content_type);
        }
        let wrong = |error: ureq::http::Error| Failure::usage(format!("{url} cannot be asked for: {error}"));
        let request = request.body(body).map_err(wrong)?;
        let request = self.agent.configure_request(request).timeout_global(Some(wait + PATIENCE)).build();
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
        let text = text.map_err(|error| {
            Failure::new(Exit::Unreachable, format!("the answer of {} broke off: {error}", self.server))
        })?;
        let body = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        let body = body.map_err(|_| {
            Failure::new(
                Exit::Failed,
                format!("{} does not speak the fleet API; is --server right?", self.server),
            )
        })?;
        Ok(Answer { status: response.status(), body })
    }

    fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, Failure> {
        let answer = self.good(answer)?;
        serde_json::from_value(answer.body).map_err(|error| {
            let server = &self.server;
            Failure::new(Exit::Failed, format!("{server} answered something else than expected: {error}"))
        })
    }

    /// Turns an error's answer into a failure.
    fn good(&self, answer: Answer) -> Result<Answer, Failure> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let exit = match answer.status.as_u16() {
            401 | 403 => Exit::NotAllowed,
            400..=499 => Exit::Usage,
            _ => Exit::Failed,
        };
        let message = match serde_json::from_value::<ProblemBody>(answer.body) {
            Ok(problem) if problem.errors.len() > 1 => {
                let places =
                    problem.errors.iter().map(|error| format!("\n  {}: {}", error.path, error.message));
                format!("{}{}", problem.detail, places.collect::<String>())
            }
            Ok(problem) => problem.detail,
            Err(_) => format!("{} answered {}", self.server, answer.status),
        };
        Err(Failure::new(exit, message))
    }
}

/// Keeps a server's token in the user's config folder, for the user's eyes only.
pub fn keep_token(server: &str, token: &str) -> Result<PathBuf, Failure> {
    let path = tokens_file().ok_or_else(|| {
        Failure::new(Exit::Failed, "there is no config folder to keep the token in; set HOME")
    })?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut tokens = kept_tokens();
    tokens.insert(server.trim_end_matches('/').to_owned(), token.to_owned());
    let text = serde_json::to_string_pretty(&tokens).map_err(std::io::Error::other)?;
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

fn kept_tokens() -> BTreeMap<String, String> {
    let text = tokens_file().and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn tokens_file() -> Option<PathBuf> {
    let config = choose_base_strategy().ok()?.config_dir();
    Some(config.join("panelsync").join("tokens.json"))
}
