//! Requests to any node.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use super::node::PASSWORD;

/// A request is held for 10 s at most.
const ANSWERED: Duration = Duration::from_secs(15);

/// What no node answers for so long is not answered.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer of one node.
#[derive(Debug, Default)]
pub struct Answer {
    /// 0 for none.
    pub status: u16,
    pub body: Value,
    /// Nobody listens there.
    pub refused: bool,
}

impl Answer {
    pub fn is_good(&self) -> bool {
        self.status / 100 == 2
    }
}

/// One who is logged in.
pub struct Client {
    agent: Agent,
    bases: Vec<String>,
    token: String,
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWERED)).build().new_agent()
}

impl Client {
    /// The admin, who logs in at any of these nodes.
    pub fn admin(bases: Vec<String>) -> Self {
        let mut client = Self { agent: agent(), bases, token: String::new() };
        let credentials = json!({ "username": "admin", "password": PASSWORD });
        let session = client.post("/fleet/v1/session", &credentials);
        session["token"].as_str().expect("a token").clone_into(&mut client.token);
        client
    }

    /// The same one with connections of its own.
    pub fn of_its_own(&self) -> Self {
        Self { agent: agent(), bases: self.bases.clone(), token: self.token.clone() }
    }

    /// The same one at these nodes.
    pub fn at(&self, bases: Vec<String>) -> Self {
        Self { agent: agent(), bases, token: self.token.clone() }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { agent: self.agent.clone(), bases: self.bases.clone(), token: token.to_owned() }
    }

    pub fn nodes(&self) -> usize {
        self.bases.len()
    }

    pub fn log_in_to(&self, node: usize, panel: &str) -> Answer {
        let md5 = panelsync::access::PasswordMd5::of(PASSWORD).into_hex();
        self.get_from(node, &format!("/panels/{panel}/api/v1/login?username=admin&password={md5}"))
    }

    pub fn get_from(&self, node: usize, path: &str) -> Answer {
        let request = self.agent.get(format!("{}{path}", self.bases[node]));
        answer(request.header("authorization", format!("Bearer {}", self.token)).call())
    }

    /// The events of all batches behind this one, for so long at most.
    pub fn listen_to(&self, node: usize, last: Option<u64>, time: Duration) -> Option<impl std::io::Read> {
        let mut request = self
            .agent
            .get(format!("{}/fleet/v1/events", self.bases[node]))
            .config()
            .timeout_global(Some(time))
            .build()
            .header("authorization", format!("Bearer {}", self.token));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = request.call().ok()?;
        answer.status().is_success().then(|| answer.into_body().into_reader())
    }

    pub fn delete_from(&self, node: usize, path: &str) -> Answer {
        let request = self.agent.delete(format!("{}{path}", self.bases[node]));
        answer(request.header("authorization", format!("Bearer {}", self.token)).call())
    }

    pub fn put_to(&self, node: usize, path: &str, body: &Value) -> Answer {
        let request = self.agent.put(format!("{}{path}", self.bases[node]));
        let request = request.header("content-type", "application/json");
        answer(request.header("authorization", format!("Bearer {}", self.token)).send(body.to_string()))
    }

    pub fn post_to(&self, node: usize, path: &str, body: &Value, key: Option<&str>) -> Answer {
        self.send_to(node, path, "application/json", &body.to_string(), key)
    }

    fn send_to(&self, node: usize, path: &str, kind: &str, body: &str, key: Option<&str>) -> Answer {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.bases[node]))
            .header("content-type", kind)
            .header("prefer", "wait=1") // what takes longer is accepted all the same
            .header("authorization", format!("Bearer {}", self.token));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request.send(body))
    }

    /// Asks one node after the other until one answers well.
    fn ask(&self, ask: impl Fn(usize) -> Answer) -> Answer {
        let until = Instant::now() + PATIENCE;
        let mut last = Answer::default();
        while Instant::now() < until {
            for node in 0..self.nodes() {
                let answer = ask(node);
                if answer.is_good() {
                    return answer;
                }
                if !answer.refused {
                    last = answer;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("no node answers: {last:?}")
    }

    pub fn get(&self, path: &str) -> Value {
        self.ask(|node| self.get_from(node, path)).body
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.ask(|node| self.post_to(node, path, body, None)).body
    }

    /// Registers panels, many at once.
    pub fn import(&self, panels: impl Iterator<Item = Value>) {
        let lines: Vec<_> = panels.map(|panel| panel.to_string()).collect();
        for lines in lines.chunks(10_000) {
            let lines = lines.join("\n");
            self.ask(|node| {
                self.send_to(node, "/fleet/v1/panels:import", "application/x-ndjson", &lines, None)
            });
        }
    }
}

fn answer(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    match answer {
        Ok(mut answer) => match answer.body_mut().with_config().limit(1 << 28).read_to_string() {
            Ok(body) => Answer {
                status: answer.status().as_u16(),
                body: serde_json::from_str(&body).unwrap_or(Value::Null),
                refused: false,
            },
            Err(_) => Answer::default(),
        },
        Err(ureq::Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Answer { refused: true, ..Answer::default() }
        }
        Err(_) => Answer::default(),
    }
}
