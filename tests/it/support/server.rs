//! The real server, in this process, on a free port and a temporary folder.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;

use panelsync::config::{Secret, Settings};
use panelsync::server::Server;
use panelsync::store::{Store, render};
use panelsync::telemetry::Metrics;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::answer::{Answer, Call};

/// The first user's password in all tests.
pub const ADMIN_PASSWORD: &str = "123456";

/// Its MD5, as clients of the panel API send it.
pub const ADMIN_MD5: &str = "E10ADC3949BA59ABBE56E057F20F883E";

/// A running server.
pub struct TestServer {
    folder: TempDir,
    address: SocketAddr,
    panel_addresses: Vec<(String, SocketAddr)>,
    token: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With other settings than the usual.
    pub fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on(tempfile::tempdir().expect("a folder"), change)
    }

    /// On a folder that may hold something.
    pub fn start_on(folder: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let mut server = Self {
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            panel_addresses: Vec::new(),
            token: String::new(),
            running: None,
        };
        server.run(change);
        server
    }

    fn run(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::new(self.folder.path(), SocketAddr::from(([127, 0, 0, 1], 0)));
        settings.workers = 1;
        settings.admin_password = Some(Secret(ADMIN_PASSWORD.into()));
        change(&mut settings);
        let (bound, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let system = actix_web::rt::System::new();
            system.block_on(async move {
                let server = Server::build(settings).await.expect("the server starts");
                bound.send((server.address(), server.panel_addresses().to_vec())).expect("the test waits");
                let stop = async {
                    let _ = stopped.await;
                };
                server.run(stop).await.expect("the server stops");
            });
            // A system must not end before the threads of its workers, which nobody can wait for.
            std::thread::sleep(std::time::Duration::from_millis(50));
        });
        (self.address, self.panel_addresses) = address.recv().expect("the server starts");
        self.running = Some((stop, thread));
        self.token = self.login("admin", ADMIN_PASSWORD);
    }

    /// Stops the server in order and starts it again on the same folder.
    pub fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    /// The same with other settings than the usual.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Settings)) {
        self.stop();
        self.run(change);
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().expect("the server stops without a panic");
        }
    }

    /// Stops the server and gives its folder.
    pub fn stop_and_keep(mut self) -> TempDir {
        self.stop();
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }

    /// Stops the server and gives its whole durable state, after checking that it does not contradict itself.
    pub fn stop_and_render(mut self) -> String {
        self.stop();
        rendered_state(self.folder.path())
    }

    /// A fleet token of this user.
    pub fn login(&self, username: &str, password: &str) -> String {
        let body = json!({ "username": username, "password": password });
        let answer = self.call("POST", "/fleet/v1/session").json(&body).send();
        answer.value()["token"].as_str().expect("a token").to_owned()
    }

    /// A panel's token of the administrator.
    pub fn panel_login(&self, panel: &str) -> String {
        self.panel_login_as(panel, "admin", ADMIN_MD5)
    }

    pub fn panel_login_as(&self, panel: &str, username: &str, md5: &str) -> String {
        let path = format!("/panels/{panel}/api/v1/login?username={username}&password={md5}");
        let answer = self.call("GET", &path).send();
        answer.value()["token"].as_str().expect("a token").to_owned()
    }

    /// A call without a token.
    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(self.address, method, path)
    }

    /// A call of the fleet API as the administrator.
    pub fn fleet(&self, method: &str, path: &str) -> Call {
        self.call(method, &format!("/fleet/v1{path}")).bearer(&self.token)
    }

    /// Adds a panel with these fields beside its id.
    pub fn add_panel(&self, id: &str, fields: &Value) -> Answer {
        let mut record = json!({ "id": id });
        for (key, value) in fields.as_object().expect("an object") {
            record[key] = value.clone();
        }
        let answer = self.fleet("POST", "/panels").json(&record).send();
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer
    }

    /// Adds `n` panels `p001` … in turn to the sites north and south.
    pub fn add_panels(&self, n: usize) {
        let line = |i| {
            json!({ "id": format!("p{i:03}"), "labels": { "site": (["north", "south"][i % 2]) } }).to_string()
        };
        let lines: Vec<_> = (1..=n).map(line).collect();
        let answer = self.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send();
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// A user of this role whose password is the name and `-password`.
    pub fn add_user(&self, name: &str, role: &str) {
        let body = json!({ "name": name, "role": role, "password": format!("{name}-password") });
        let answer = self.fleet("POST", "/users").json(&body).send();
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// A call at the address of a panel's own.
    pub fn own_address(&self, panel: &str, method: &str, path: &str) -> Call {
        let (_, address) = self.panel_addresses.iter().find(|(id, _)| id == panel).expect("it has one");
        Call::new(*address, method, path)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// The durable state in a folder that no server uses, after checking that it does not contradict itself.
pub fn rendered_state(folder: &Path) -> String {
    let store = Store::open(folder, &Metrics::default()).expect("the folder opens");
    let snapshot = store.handle().read().expect("a snapshot");
    assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
    render::text(&snapshot).expect("readable")
}
