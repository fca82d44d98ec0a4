//! `panelsync simulate` in a process of its own: real devices as far as a client can tell.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use super::binary::command;

/// The MD5 of the password of every simulated panel.
pub const PASSWORD_MD5: &str = "e10adc3949ba59abbe56e057f20f883e";

/// Simulated panels. Their calls carry no request id checks: they are read as any client would.
pub struct Simulated {
    child: Option<Child>,
    folder: TempDir,
    args: Vec<String>,
    pub address: SocketAddr,
    pub switches: SocketAddr,
}

impl Simulated {
    /// So many panels with these further arguments, on free ports.
    pub fn start(panels: usize, args: &[&str]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), panels, args)
    }

    /// [`Simulated::start`] at this address.
    pub fn start_at(address: SocketAddr, panels: usize, args: &[&str]) -> Self {
        let mut all = vec!["--panels".to_owned(), panels.to_string(), "--keep-calls".into(), "5000".into()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir().expect("a folder");
        let mut simulated = Self { child: None, folder, args: all, address, switches: any };
        simulated.run();
        simulated
    }

    fn run(&mut self) {
        let mut child = command()
            .args(["simulate", "--listen", &self.address.to_string()])
            .args(["--control", &self.switches.to_string(), "--data-dir"])
            .arg(self.folder.path())
            .args(&self.args)
            .env("RUST_LOG", "error")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            let line = lines.next().expect("it listens before it ends").expect("a text");
            let address = line.split("://").nth(1).and_then(|rest| rest.split(['/', ' ']).next());
            addresses.extend(address.and_then(|address| address.parse::<SocketAddr>().ok()));
        }
        (self.address, self.switches) = (addresses[0], addresses[1]);
        std::thread::spawn(move || lines.for_each(|line| eprintln!("panels: {}", line.unwrap_or_default())));
        self.child = Some(child);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Starts it again at the same addresses with what the panels held.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// The n-th panel's address as a device.
    pub fn url(&self, n: usize) -> String {
        format!("http://{}/panels/sim-{n:04}", self.address)
    }

    /// A call of any client; the status and the body.
    fn call(method: &str, url: &str, token: Option<&str>, body: Option<&Value>) -> (u16, Value) {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(20)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = body.map_or(String::new(), Value::to_string);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let mut answer = agent.run(request.body(text).expect("a request")).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A call of the switches.
    pub fn control(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        Self::call(method, &format!("http://{}/sim{path}", self.switches), None, body)
    }

    /// Throws a switch.
    pub fn switch(&self, what: &str, body: &Value) {
        let (status, answer) = self.control("POST", &format!("/{what}"), Some(body));
        assert_eq!(status, 200, "{answer}");
    }

    /// From now on this panel, or every one, suffers from these faults only.
    pub fn faults(&self, panel: Option<usize>, faults: &Value) {
        let panels = panel.map(|n| vec![format!("sim-{n:04}")]);
        self.switch("faults", &json!({ "panels": panels, "faults": faults }));
    }

    /// The calls that the n-th panel got, oldest first.
    pub fn calls(&self, n: usize) -> Vec<Value> {
        let (status, answer) = self.control("GET", &format!("/calls?panel=sim-{n:04}"), None);
        assert_eq!(status, 200, "{answer}");
        answer["calls"].as_array().expect("a list").clone()
    }

    /// A token of the n-th panel, as somebody who edits it by hand has one.
    pub fn login(&self, n: usize) -> String {
        let url = format!("{}/api/v1/login?username=admin&password={PASSWORD_MD5}", self.url(n));
        let (_, answer) = Self::call("GET", &url, None, None);
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// A call of the n-th panel's API by somebody who edits it by hand.
    pub fn by_hand(&self, n: usize, method: &str, path: &str, body: Option<&Value>) -> Value {
        let token = self.login(n);
        let (status, answer) =
            Self::call(method, &format!("{}/api/v1{path}", self.url(n)), Some(&token), body);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What the n-th panel answers to anybody.
    pub fn call_open(&self, n: usize, path: &str) -> Value {
        let (status, answer) = Self::call("GET", &format!("{}{path}", self.url(n)), None, None);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// All that the n-th panel holds: name by link_id, or by `uid N` where it has none.
    pub fn holds(&self, n: usize) -> BTreeMap<String, String> {
        let token = self.login(n);
        let mut held = BTreeMap::new();
        for page in 1.. {
            let url = format!("{}/api/v1/access/timeprofile/items?limit=50&page_number={page}", self.url(n));
            let (status, answer) = Self::call("GET", &url, Some(&token), None);
            assert_eq!(status, 200, "{answer}");
            for item in answer["list_items"].as_array().expect("a list") {
                let name = item["name"].as_str().expect("a name").to_owned();
                let key = item["link_id"]
                    .as_str()
                    .map_or_else(|| format!("uid {}", item["time_profile_uid"]), str::to_owned);
                held.insert(key, name);
            }
            if held.len() as u64
                >= answer["list_option"]["pagination"]["total_items"].as_u64().expect("a number")
            {
                break;
            }
        }
        held
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Names ascend with time: no device may get an older one after a newer one that it had answered to.
pub fn never_older(calls: &[Value], newest: &mut BTreeMap<String, String>) {
    for call in calls.iter().filter(|call| call["method"] == "POST") {
        let Ok(body) = serde_json::from_str::<Value>(call["body"].as_str().unwrap_or_default()) else {
            continue;
        };
        for item in body["list_items"].as_array().into_iter().flatten() {
            let (link, name) = (item["link_id"].to_string(), item["name"].to_string());
            let before = newest.insert(link.clone(), name.clone());
            assert!(
                before.as_ref().is_none_or(|before| *before <= name),
                "{link} {name} came after {before:?}"
            );
        }
    }
}
