//! Calls and their whole answers: status, headers that matter, body. Every answer is checked for what must
//! hold of all answers.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

/// Headers that an answer may have; any other fails the test.
const ALLOWED: [&str; 19] = [
    "allow",
    "accept-encoding",
    "set-cookie",
    "content-security-policy",
    "x-frame-options",
    "referrer-policy",
    "content-disposition",
    "content-length",
    "content-type",
    "date",
    "location",
    "x-request-id",
    "x-content-type-options",
    "cache-control",
    "www-authenticate",
    "retry-after",
    "transfer-encoding",
    "etag",
    "connection",
];

/// Headers that are shown.
const SHOWN: [&str; 7] =
    ["allow", "content-type", "location", "set-cookie", "cache-control", "www-authenticate", "retry-after"];

/// A call that is being put together.
pub struct Call {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A whole answer, with the call that it is for.
pub struct Answer {
    call: String,
    pub status: u16,
    reason: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Call {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self { address, method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn method(self, method: &str) -> Self {
        Self { method: method.into(), ..self }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").raw(body.to_string())
    }

    pub fn ndjson(self, lines: &str) -> Self {
        self.header("content-type", "application/x-ndjson").raw(lines)
    }

    /// As a form of parts, each with what stands behind `form-data`, and perhaps more headers.
    pub fn parts(self, parts: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (head, content) in parts {
            body.extend(format!("--frontier\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes());
            body.extend_from_slice(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--frontier--\r\n");
        self.header("content-type", "multipart/form-data; boundary=frontier").raw(body)
    }

    pub fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    pub fn send(self) -> Answer {
        let call = self.to_string();
        let mut response = self.open();
        let status = response.status();
        let headers: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().expect("a text").to_owned()))
            .collect();
        let body = response.body_mut().read_to_string().expect("a body");
        let reason = status.canonical_reason().unwrap_or_default().to_owned();
        let answer = Answer { call, status: status.as_u16(), reason, headers, body };
        answer.check();
        answer
    }

    /// Sends it and leaves the body to be read.
    pub fn open(self) -> Response<Body> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .into();
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(format!("http://{}{}", self.address, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        // ureq sends a body with any method, DELETE included, when there is one.
        agent.run(request.body(self.body).expect("a request")).expect("an answer")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "> {} {}", self.method, self.path)?;
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "authorization") {
            writeln!(f, "> {name}: {value}")?;
        }
        if !self.body.is_empty() {
            let body = String::from_utf8_lossy(&self.body);
            let shown: String = body.chars().take(2000).collect();
            let rest = body.chars().count() - shown.chars().count();
            writeln!(f, "> {shown}{}", if rest > 0 { format!(" … and {rest} more") } else { String::new() })?;
        }
        Ok(())
    }
}

impl Answer {
    fn check(&self) {
        for (name, _) in &self.headers {
            assert!(ALLOWED.contains(&name.as_str()), "an unexpected header {name}\n{}", self.call);
        }
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{}", self.call);
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{}", self.call);
        let of_a_panel = self.call.split(' ').nth(2).is_some_and(|path| path.starts_with("/panels/"));
        let guarded = self.header("x-frame-options") == Some("DENY")
            && self.header("referrer-policy").is_some_and(|policy| {
                // A page's forms say where they come from, to the page's own server.
                policy == "no-referrer" || (policy == "same-origin" && self.is_a_page())
            })
            && self
                .header("content-security-policy")
                .is_some_and(|policy| policy.contains("frame-ancestors 'none'"));
        // An address of a panel's own has paths like a panel's.
        assert!(
            guarded || of_a_panel || self.call.contains(" /api/"),
            "headers for browsers are missing\n{}",
            self.call
        );
        let is_head = self.call.starts_with("> HEAD ");
        if let Some(length) = self.header("content-length").filter(|_| !is_head) {
            assert_eq!(length, self.body.len().to_string(), "{}", self.call);
        }
        if !self.body.is_empty() {
            assert!(self.header("content-type").is_some(), "a body without a type\n{}", self.call);
        }
    }

    fn is_a_page(&self) -> bool {
        self.header("content-type") == Some("text/html; charset=utf-8")
            && self.header("content-security-policy").is_some_and(|policy| {
                policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';")
                    && !policy.contains("unsafe")
            })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.call)?;
        writeln!(f, "{} {}", self.status, self.reason)?;
        for name in SHOWN {
            // What is not to be kept is as usual.
            if let Some(value) = self.header(name).filter(|value| *value != "no-store") {
                writeln!(f, "{name}: {value}")?;
            }
        }
        if !self.body.is_empty() {
            writeln!(f, "\n{}", self.body.trim_end())?;
        }
        Ok(())
    }
}
