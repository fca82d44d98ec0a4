//! Who may do what, what is secret, and what an operator needs when something is wrong.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use panelsync::config::KeySource;
use panelsync::config::TlsFiles;
use panelsync::store::{FILE_NAME, seal};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

use crate::support::binary::{Served, Shell};
use crate::support::profiles::{link, once};
use crate::support::server::{ADMIN_MD5, ADMIN_PASSWORD, TestServer, rendered_state};
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

/// Every route and the least role that may call it; `open` needs no token. On the panel API a viewer and an operator
/// are both accounts that may only read. What devices say takes a session of a device, which no role has.
const ROLES: &str = "
open     POST   /api/v0/devices/login
device   PUT    /api/v0/devices/logs
device   POST   /api/v0/devices/pong
device   POST   /api/v0/devices/refresh
open     GET    /healthz
open     GET    /metrics
open     GET    /readyz
open     POST   /fleet/v1/session
viewer   DELETE /fleet/v1/session
viewer   GET    /fleet/v1/access
admin    GET    /fleet/v1/alerts
admin    PUT    /fleet/v1/alerts/{name}
admin    DELETE /fleet/v1/alerts/{name}
admin    POST   /fleet/v1/alerts/{name}:test
admin    GET    /fleet/v1/audit
admin    GET    /fleet/v1/backup
viewer   GET    /fleet/v1/access-events
viewer   GET    /fleet/v1/access-events/stream
viewer   GET    /fleet/v1/batches
operator POST   /fleet/v1/batches
viewer   GET    /fleet/v1/batches/{id}
viewer   GET    /fleet/v1/batches/{id}/events
viewer   GET    /fleet/v1/batches/{id}/panels
operator POST   /fleet/v1/batches/{id}:cancel
operator POST   /fleet/v1/batches/{id}:retry
operator POST   /fleet/v1/batches/{id}:undo
viewer   GET    /fleet/v1/diff
viewer   GET    /fleet/v1/events
viewer   GET    /fleet/v1/identifiers
viewer   GET    /fleet/v1/identifiers/{link_id}
operator GET    /fleet/v1/identifiers/{link_id}/photo
viewer   GET    /fleet/v1/nodes
admin    DELETE /fleet/v1/nodes/{name}
admin    POST   /fleet/v1/nodes:release
viewer   GET    /fleet/v1/panels
admin    POST   /fleet/v1/panels
admin    DELETE /fleet/v1/panels/{id}
viewer   GET    /fleet/v1/panels/{id}
admin    PATCH  /fleet/v1/panels/{id}
viewer   GET    /fleet/v1/panels/{id}/connections
viewer   GET    /fleet/v1/panels/{id}/history
viewer   GET    /fleet/v1/panels/{id}/identifiers
viewer   GET    /fleet/v1/panels/{id}/profiles
viewer   GET    /fleet/v1/panels/{id}/profiles.ics
operator POST   /fleet/v1/panels/{id}:present
operator POST   /fleet/v1/panels/{id}:resync
admin    POST   /fleet/v1/panels:import
viewer   GET    /fleet/v1/profiles
viewer   GET    /fleet/v1/profiles/{link_id}
operator POST   /fleet/v1/reconcile
admin    GET    /fleet/v1/tokens
admin    POST   /fleet/v1/tokens
admin    DELETE /fleet/v1/tokens/{id}
admin    GET    /fleet/v1/users
admin    POST   /fleet/v1/users
admin    DELETE /fleet/v1/users/{name}
admin    POST   /fleet/v1/users/{name}/password
viewer   POST   /fleet/v1/windows
open     GET    /fleet/v1/as-panel/{selector}/api/info
open     GET    /fleet/v1/as-panel/{selector}/api/v1/login
viewer   GET    /fleet/v1/as-panel/{selector}/api/v1/logout
viewer   POST   /fleet/v1/as-panel/{selector}/api/v1/logout
viewer   GET    /fleet/v1/as-panel/{selector}/api/v1/device/time
viewer   GET    /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/items
viewer   GET    /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/items/list
viewer   GET    /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/items/link
viewer   GET    /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/item/{uid}
operator POST   /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/items/link
operator DELETE /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/items/link
operator POST   /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/link
operator POST   /fleet/v1/as-panel/{selector}/api/v1/access/timeprofile/link/delete
operator GET    /fleet/v1/as-panel/{selector}/api/v1/access/identifier/items/link
operator POST   /fleet/v1/as-panel/{selector}/api/v1/access/identifier/items/link
operator DELETE /fleet/v1/as-panel/{selector}/api/v1/access/identifier/items/link
operator POST   /fleet/v1/as-panel/{selector}/api/v1/access/identifiers/link/delete
open     GET    /panels/{panel}/api/info
open     GET    /panels/{panel}/api/v1/login
viewer   GET    /panels/{panel}/api/v1/logout
viewer   POST   /panels/{panel}/api/v1/logout
open     POST   /panels/{panel}/api/v1/login
viewer   GET    /panels/{panel}/api/v1/device/time
admin    GET    /panels/{panel}/api/v1/access/general/lock/open/remote/accepted/{lock}
admin    POST   /panels/{panel}/api/v1/access/general/lock/open/emergency
admin    POST   /panels/{panel}/api/v1/access/general/lock/close/emergency
viewer   GET    /panels/{panel}/api/v1/log/items
viewer   GET    /panels/{panel}/api/v1/photo/file
admin    GET    /panels/{panel}/api/v1/system/reboot/run
viewer   GET    /panels/{panel}/api/v1/network/ntp
admin    POST   /panels/{panel}/api/v1/network/ntp
viewer   GET    /panels/{panel}/api/v1/network/timezone
admin    POST   /panels/{panel}/api/v1/network/timezone
viewer   GET    /panels/{panel}/api/v1/network/settings
admin    POST   /panels/{panel}/api/v1/network/settings
viewer   GET    /panels/{panel}/api/v1/network/mac
admin    GET    /panels/{panel}/api/v1/network/management/server
admin    POST   /panels/{panel}/api/v1/network/management/server
admin    PUT    /panels/{panel}/api/v1/network/management/server
admin    GET    /panels/{panel}/api/v1/access/general/unlock/input/code
admin    POST   /panels/{panel}/api/v1/access/general/unlock/input/code
viewer   GET    /panels/{panel}/api/v1/sip/status
admin    GET    /panels/{panel}/api/v1/device/sip/settings
admin    POST   /panels/{panel}/api/v1/device/sip/settings
viewer   GET    /panels/{panel}/api/v1/device/sip/enable
admin    POST   /panels/{panel}/api/v1/device/sip/enable
viewer   GET    /panels/{panel}/api/v1/device/sip/reregister
admin    POST   /panels/{panel}/api/v1/device/sip/reregister
viewer   GET    /panels/{panel}/api/v1/device/language
admin    POST   /panels/{panel}/api/v1/device/language
viewer   GET    /panels/{panel}/api/v1/device/settings/volume
admin    POST   /panels/{panel}/api/v1/device/settings/volume
viewer   GET    /panels/{panel}/api/v1/device/mode/current
admin    POST   /panels/{panel}/api/v1/device/mode/current
viewer   GET    /panels/{panel}/api/v1/frontend/version
viewer   GET    /panels/{panel}/api/v1/access/timeprofile/items
viewer   GET    /panels/{panel}/api/v1/access/timeprofile/items/list
viewer   GET    /panels/{panel}/api/v1/access/timeprofile/items/link
viewer   GET    /panels/{panel}/api/v1/access/timeprofile/item/{uid}
admin    POST   /panels/{panel}/api/v1/access/timeprofile
admin    PATCH  /panels/{panel}/api/v1/access/timeprofile/item/{uid}
admin    DELETE /panels/{panel}/api/v1/access/timeprofile/item/{uid}
admin    DELETE /panels/{panel}/api/v1/access/timeprofile/items
admin    POST   /panels/{panel}/api/v1/access/timeprofile/items/link
admin    DELETE /panels/{panel}/api/v1/access/timeprofile/items/link
admin    POST   /panels/{panel}/api/v1/access/timeprofile/link
admin    POST   /panels/{panel}/api/v1/access/timeprofile/link/delete
admin    GET    /panels/{panel}/api/v1/access/identifier/items/link
admin    POST   /panels/{panel}/api/v1/access/identifier/items/link
admin    DELETE /panels/{panel}/api/v1/access/identifier/items/link
admin    POST   /panels/{panel}/api/v1/access/identifiers/link/delete
admin    POST   /panels/{panel}/api/v1/access/identifier
admin    GET    /panels/{panel}/api/v1/access/identifier/items
admin    DELETE /panels/{panel}/api/v1/access/identifier/items
admin    GET    /panels/{panel}/api/v1/access/identifier/item/{uid}
admin    PATCH  /panels/{panel}/api/v1/access/identifier/item/{uid}
admin    DELETE /panels/{panel}/api/v1/access/identifier/item/{uid}
admin    POST   /panels/{panel}/api/v1/access/identifier/item/{uid}/passes/reset
admin    GET    /panels/{panel}/api/v1/access/identifier/item/{uid}/qr
admin    POST   /panels/{panel}/api/v1/access/identifier/item/face/file/{uid}
admin    POST   /panels/{panel}/api/v1/apartment/item/{apartment}/identifier/{uid}
admin    POST   /panels/{panel}/api/v1/apartment/item/unbind/identifier/{uid}
admin    POST   /panels/{panel}/api/v1/access/identifier/item/{uid}/timeprofile/{profile}
admin    DELETE /panels/{panel}/api/v1/access/identifier/item/{uid}/timeprofile/{profile}
";

const RANKS: [&str; 4] = ["open", "viewer", "operator", "admin"];

#[test]
fn every_route_takes_its_role_and_no_lower_one() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "labels": { "site": "north" } }));
    for role in ["viewer", "operator"] {
        server.add_user(role, role);
    }
    let document =
        server.call("GET", "/openapi.json").open().into_body().read_to_string().expect("a document");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let mut served: Vec<_> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .expect("operations")
                .keys()
                .map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let mut listed = BTreeMap::new();
    for line in ROLES.trim().lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (role, method, path) = (words.next(), words.next(), words.next());
        listed.insert((method.expect("a method"), path.expect("a path")), role.expect("a role"));
    }
    served.sort();
    assert_eq!(served, listed.keys().cloned().collect::<Vec<_>>(), "the table has every route");
    for ((method, path), least) in &listed {
        for (rank, role) in RANKS.iter().enumerate() {
            let url = path
                .replace("{panel}", "p1")
                .replace("{selector}", "site=north")
                .replace("{uid}", "9")
                .replace("{profile}", "9")
                .replace("{apartment}", "9");
            let url =
                url.replace("{id}", "nobody").replace("{link_id}", &link(9)).replace("{name}", "nobody");
            let mut call = server.call(method, &url);
            if let Some(token) = token(&server, role, path) {
                call = call.bearer(&token);
            }
            let status = call.open().status().as_u16();
            let what = format!("{method} {path} as {role}: {status}");
            if least == "device" {
                assert_eq!(status, 401, "{what}");
                continue;
            }
            let least = RANKS.iter().position(|rank| rank == least).expect("a role");
            match (rank, rank >= least) {
                (0, false) => assert_eq!(status, 401, "{what}"),
                (_, false) => assert_eq!(status, 403, "{what}"),
                // A login without a name is a bad request, and no question of roles.
                (_, true) => assert!(![401, 403, 500].contains(&status), "{what}"),
            }
        }
    }
}

/// A token of this role for the API of this path.
fn token(server: &TestServer, role: &str, path: &str) -> Option<String> {
    let (name, password) = match role {
        "open" => return None,
        "admin" => ("admin", ADMIN_PASSWORD.to_owned()),
        role => (role, format!("{role}-password")),
    };
    if path.starts_with("/api/v0/devices/") {
        return (role != "open").then(|| server.login(name, &password));
    }
    let Some((base, _)) = path.split_once("/api/") else { return Some(server.login(name, &password)) };
    let base = base.replace("{panel}", "p1").replace("{selector}", "site=north");
    let md5 = if role == "admin" { ADMIN_MD5.to_owned() } else { md5(&password) };
    let login = server.call("GET", &format!("{base}/api/v1/login?username={name}&password={md5}")).send();
    Some(login.value()["token"].as_str().expect("a token").to_owned())
}

fn md5(text: &str) -> String {
    panelsync::access::PasswordMd5::of(text).into_hex()
}

#[test]
fn failed_logins_slow_the_next_ones_down_and_lock_nobody_out() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    let try_it = |password: &str| {
        let body = json!({ "username": "admin", "password": password });
        server.call("POST", "/fleet/v1/session").json(&body).send()
    };
    let statuses: Vec<_> = (0..13).map(|_| try_it("wrong").status).collect();
    assert_eq!(statuses[..11], [401; 11], "mistyping is free for a while");
    assert!(statuses[11..].contains(&429), "{statuses:?}");
    let mut log = Transcript::new("fleet_api", "too_many_logins");
    while try_it("wrong").status != 429 {}
    let refused = try_it("wrong");
    let seconds: u64 = refused.header("retry-after").expect("when").parse().expect("a number");
    assert!((1..=60).contains(&seconds), "{seconds}");
    let shown = refused.to_string().replace(&format!("in {seconds} s"), "in [seconds] s");
    log.step("too many", &shown.replace(&format!("retry-after: {seconds}"), "retry-after: [seconds]"));
    let panel = server
        .call("GET", "/panels/p1/api/v1/login?username=admin&password=00000000000000000000000000000000");
    let refused = panel.send();
    let seconds = refused.header("retry-after").expect("when").to_owned();
    let shown = refused.to_string().replace(&format!("retry-after: {seconds}"), "retry-after: [seconds]");
    log.step("the same on a panel", &shown);
    log.check();
    assert_eq!(try_it(ADMIN_PASSWORD).status, 200, "who logged in a moment ago is let in");
}

#[test]
fn every_change_is_in_the_audit_and_nobody_can_change_that() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.fleet("PATCH", "/panels/p1").json(&json!({ "labels": { "site": "north" } })).send();
    let batch =
        server.fleet("POST", "/batches").json(&json!({ "all": true, "upsert": [once(1, "a")] })).send();
    let _ = server
        .fleet("POST", &format!("/batches/{}:retry", batch.value()["id"].as_str().expect("an id")))
        .send();
    server.add_user("olena", "viewer");
    let made = server.fleet("POST", "/tokens").json(&json!({ "name": "t", "role": "viewer" })).send();
    server.fleet("DELETE", &format!("/tokens/{}", made.value()["id"].as_str().expect("an id"))).send();
    let token = server.panel_login("p1");
    let calls = "/panels/p1/api/v1/access/timeprofile";
    server.call("POST", calls).bearer(&token).json(&once(2, "by uid")).send();
    let links = json!({ "link_ids": [link(1)] });
    server.call("POST", &format!("{calls}/link/delete")).bearer(&token).json(&links).send();
    server.fleet("DELETE", "/users/olena").send();
    server.fleet("GET", "/backup").open();
    server.fleet("DELETE", "/panels/p1").send();
    let audit = server.fleet("GET", "/audit").send().value();
    let entries: Vec<_> = audit["items"].as_array().expect("items").iter().rev().collect();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().expect("an action")).collect();
    assert_eq!(
        actions,
        [
            "session.open",
            "panel.add",
            "panel.change",
            "batch.submit",
            "user.add",
            "token.create",
            "token.revoke",
            "session.open",
            "panel.create",
            "panel.delete",
            "user.remove",
            "backup",
            "panel.remove"
        ]
    );
    let of_admin = |entry: &Value| entry["actor"] == "user:admin" || entry["actor"] == "panel-user:admin";
    assert!(entries.iter().all(|entry| of_admin(entry) && entry["address"] == "127.0.0.1"), "{audit}");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = server.fleet(method, "/audit").send();
        assert!([404, 405].contains(&answer.status), "{answer}");
    }
}

/// A certificate for 127.0.0.1 in these files.
fn new_certificate(files: &TlsFiles) {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(&files.certificate, own.cert.pem()).expect("written");
    std::fs::write(&files.key, own.signing_key.serialize_pem()).expect("written");
}

/// The answer to `GET /healthz` over TLS, to one who trusts nothing but this certificate.
fn healthz(address: SocketAddr, trusted: &[u8]) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(trusted).expect("a certificate");
    roots.add(certificate).expect("a root");
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = address.ip().into();
    let session =
        rustls::ClientConnection::new(Arc::new(config), ServerName::IpAddress(name)).expect("a session");
    let mut line = rustls::StreamOwned::new(session, TcpStream::connect(address)?);
    write!(line, "GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    match line.read_to_string(&mut answer) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer), // whole where it has its head; the server may close without a word
    }
}

#[test]
fn the_server_speaks_tls_and_shows_a_new_certificate_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    new_certificate(&files);
    let data = tempfile::tempdir().expect("a folder");
    let text = |path: &Path| path.to_str().expect("a text").to_owned();
    let (certificate, key) = (text(&files.certificate), text(&files.key));
    let served = Served::start_tls(data.path(), &["--tls-cert", &certificate, "--tls-key", &key]);
    let trusted = || std::fs::read(&files.certificate).expect("readable");
    let is_well = |trusted: &[u8]| {
        healthz(served.address, trusted).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 OK\r\n"))
    };
    let before = trusted();
    let answer = healthz(served.address, &before).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{answer}");
    std::fs::write(&files.certificate, "half written").expect("written");
    std::thread::sleep(Duration::from_millis(2500));
    assert!(is_well(&before), "what cannot be used is not shown");
    new_certificate(&files);
    let until = Instant::now() + Duration::from_secs(20);
    while !is_well(&trusted()) {
        assert!(Instant::now() < until, "the new certificate is not shown");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(served.terminate(), Some(0));
}

/// Whether any file below the folder has this text in it.
fn holds(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry").path());
    entries.into_iter().any(|path| {
        if path.is_dir() {
            return holds(&path, text);
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("readable");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_devices_password_is_sealed_on_disk_and_opens_with_the_key_alone() {
    let devices = Simulated::start(1, &[]);
    let mut server = TestServer::start();
    let panel = json!({ "id": "d1", "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" });
    assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 201);
    server.restart();
    let batch = json!({ "all": true, "upsert": [once(1, "a")] });
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=20").json(&batch).send();
    assert_eq!(answer.value()["panels"]["applied"], 1, "{answer}");
    let folder = server.stop_and_keep();
    let (lower, upper) = (ADMIN_MD5.to_lowercase(), ADMIN_MD5.to_owned());
    assert!(
        !holds(folder.path(), &lower) && !holds(folder.path(), &upper),
        "the password's MD5 is on the disk"
    );
    let shell = Shell::new(([127, 0, 0, 1], 1).into(), None);
    let text = |path: &Path| path.to_str().expect("a text").to_owned();
    let (data, new) = (text(folder.path()), text(&folder.path().join("other.key")));
    let mut log = Transcript::new("cli", "key");
    let ran = shell.run(&["key", "rotate", "--data-dir", &data, "--new-key-file", &new]);
    assert_eq!(ran.exit, Some(0), "{ran}");
    log.step("rotate", &ran);
    log.step(
        "the old key no longer opens it",
        &shell.run(&["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"]),
    );
    log.step("nor rotates it", &shell.run(&["key", "rotate", "--data-dir", &data, "--new-key-file", &new]));
    log.check();
    let server = TestServer::start_on(folder, |settings| settings.key = KeySource::File(new.clone().into()));
    let batch = json!({ "all": true, "upsert": [once(2, "b")] });
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=20").json(&batch).send();
    assert_eq!(
        answer.value()["panels"]["applied"],
        1,
        "with the new key the device is logged in to: {answer}"
    );
}

#[test]
fn a_backup_of_a_busy_server_is_restored_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), Some(ADMIN_PASSWORD), &[]);
    let call = |method: &str, path: &str| crate::support::answer::Call::new(served.address, method, path);
    let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let session = call("POST", "/fleet/v1/session").json(&login).send().value();
    let token = session["token"].as_str().expect("a token").to_owned();
    let lines: Vec<_> = (1..=50).map(|n| json!({ "id": format!("p{n:03}") }).to_string()).collect();
    call("POST", "/fleet/v1/panels:import").bearer(&token).ndjson(&lines.join("\n")).send();
    let push = |n: u32, name: &str| {
        let body = json!({ "all": true, "upsert": [once(n % 20, name)] });
        let answer = call("POST", "/fleet/v1/batches").bearer(&token).json(&body).send();
        assert_eq!(answer.value()["panels"]["applied"], 50, "{answer}");
    };
    push(0, "before");
    let shell = Shell::new(served.address, Some(&token));
    let done = AtomicBool::new(false);
    let pushed = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                count += 1;
                push(count, &format!("batch {count}"));
            }
            count
        });
        std::thread::sleep(Duration::from_millis(200));
        for n in 0..3 {
            let ran = shell.run(&["backup", &format!("copy-{n}.redb")]);
            assert_eq!(ran.exit, Some(0), "{ran}");
        }
        done.store(true, Ordering::Relaxed);
        load.join().expect("the load")
    });
    assert!(pushed > 5, "only {pushed} batches while backups were made");
    assert_eq!(served.terminate(), Some(0));
    let copy = shell.home.path().join("copy-2.redb");
    let mut log = Transcript::new("cli", "backup");
    let counts = regex_lite::Regex::new(r"and \d+ batch(es)?").expect("a regular expression");
    let mut step = |what: &str, args: &[&str]| {
        let ran = shell.run(args);
        log.step(what, &counts.replace_all(&ran.to_string(), "and [n] batches"));
        ran.exit
    };
    assert_eq!(step("restore", &["restore", "copy-2.redb", "--data-dir", "new"]), Some(0));
    assert_eq!(step("not over what is there", &["restore", "copy-2.redb", "--data-dir", "new"]), Some(2));
    assert_eq!(step("nor a backup over a file", &["backup", "copy-2.redb"]), Some(2));
    let mut cut = std::fs::read(&copy).expect("readable");
    cut.truncate(cut.len() / 2);
    std::fs::write(shell.home.path().join("cut.redb"), &cut).expect("written");
    assert_eq!(
        step("what is not whole is not taken", &["restore", "cut.redb", "--data-dir", "other"]),
        Some(2)
    );
    log.check();
    let restored = shell.home.path().join("new");
    std::fs::copy(folder.path().join(seal::KEY_FILE), restored.join(seal::KEY_FILE)).expect("copied");
    rendered_state(&restored); // nothing in it contradicts itself
    let served = Served::start(&restored, None, &[]);
    let panels = crate::support::answer::Call::new(served.address, "GET", "/fleet/v1/panels?limit=1000");
    let panels = panels.bearer(&token).send().value();
    assert_eq!(panels["items"].as_array().map(Vec::len), Some(50), "the token, too, is as it was");
    assert!(
        panels["items"]
            .as_array()
            .expect("items")
            .iter()
            .all(|panel| panel["state"]["profiles"].as_u64() > Some(0))
    );
    // One may have been under way when the copy was made: it goes on.
    let batches = || {
        let batches =
            crate::support::answer::Call::new(served.address, "GET", "/fleet/v1/batches?limit=1000");
        batches.bearer(&token).send().value()["items"].as_array().expect("items").clone()
    };
    crate::imperfect::until("batches are there whole", || {
        batches().iter().all(|batch| batch["panels"]["applied"] == 50)
    });
    assert!(batches().len() > 1);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let shell = Shell::new(([127, 0, 0, 1], 9).into(), None);
    let look = |shell: &Shell, more: &[&str]| -> (Option<i32>, BTreeMap<String, (String, String)>) {
        let data = data.to_str().expect("a text");
        let args = [&["doctor", "--output", "json", "--data-dir", data], more].concat();
        let ran = shell.run(&args);
        let findings: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran}"));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let of =
            |finding: &Value| (text(&finding["check"]), (text(&finding["verdict"]), text(&finding["what"])));
        (ran.exit, findings.as_array().expect("findings").iter().map(of).collect())
    };
    let here = ["--listen", "127.0.0.1:0"];
    let (exit, found) = look(&shell, &here);
    assert_eq!((exit, found["data folder"].0.as_str()), (Some(0), "warning"), "{found:?}");
    let served = Served::start(&data, Some(ADMIN_PASSWORD), &[]);
    let call = |method: &str, path: &str| crate::support::answer::Call::new(served.address, method, path);
    let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let session = call("POST", "/fleet/v1/session").json(&login).send().value();
    let token = session["token"].as_str().expect("a token").to_owned();
    let gone = json!({ "id": "gone", "driver": "http", "url": "http://127.0.0.1:9", "username": "a", "password": "b", "offline": true });
    let added = call("POST", "/fleet/v1/panels").bearer(&token).json(&gone).send();
    assert!([201, 422].contains(&added.status), "{added}");
    let beside = Shell::new(served.address, Some(&token));
    let (exit, found) = look(&beside, &here);
    assert_eq!((exit, found["database"].1.as_str()), (Some(0), "in use by a running server"), "{found:?}");
    assert!(found.contains_key("panels") || found.contains_key("panel"), "{found:?}");
    assert_eq!(served.terminate(), Some(0));
    let (exit, found) = look(&shell, &["--deep", "--listen", "127.0.0.1:0"]);
    assert_eq!((exit, found["whole database"].0.as_str()), (Some(0), "ok"), "{found:?}");
    assert_eq!(found["database"].0, "ok", "{found:?}");
    let (_, found) = look(&shell, &["--listen", "0.0.0.0:0"]);
    assert_eq!(found["address"].0, "warning", "open without TLS: {found:?}");
    std::fs::write(data.join(seal::KEY_FILE), "0".repeat(63)).expect("written");
    let (exit, found) = look(&shell, &here);
    assert_eq!((exit, found["key"].0.as_str()), (Some(1), "wrong"), "{found:?}");
    let file = data.join(FILE_NAME);
    let mut bytes = std::fs::read(&file).expect("readable");
    bytes.truncate(1000);
    std::fs::write(&file, bytes).expect("written");
    std::fs::remove_file(data.join(seal::KEY_FILE)).expect("removed");
    let (exit, found) = look(&shell, &["--deep", "--listen", "127.0.0.1:0"]);
    assert_eq!((exit, found["whole database"].0.as_str()), (Some(1), "wrong"), "{found:?}");
}
