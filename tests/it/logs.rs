//! The logs of the real binary: a batch can be followed by its ids, and no secret is in them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::answer::Call;
use crate::support::binary::command;
use crate::support::profiles::once;

#[test]
fn a_batch_can_be_followed_through_all_rooms_and_no_secret_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = command()
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "-vv", "--data-dir"])
        .arg(folder.path())
        .env("PANELSYNC_ADMIN_PASSWORD", "planted-password")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let address = loop {
        let line = lines.next().expect("it listens").expect("a text");
        if let Some(address) = line.split("on http://").nth(1) {
            break address.split(' ').next().and_then(|address| address.parse().ok()).expect("an address");
        }
    };
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let call =
        |method: &str, path: &str| Call::new(address, method, path).header("x-request-id", "follow-me");
    let login = json!({ "username": "admin", "password": "planted-password" });
    let token = call("POST", "/fleet/v1/session").json(&login).send().value()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert_eq!(
        call("POST", "/fleet/v1/panels").bearer(&token).json(&json!({ "id": "p1" })).send().status,
        201
    );
    let md5 = "a7e54ffd03dfd5f4e7a0d4b7bb8f3ae4";
    let _ = call("GET", &format!("/panels/p1/api/v1/login?username=admin&password={md5}")).send();
    let batch = json!({ "all": true, "upsert": [once(1, "x")] });
    let answer = call("POST", "/fleet/v1/batches").bearer(&token).json(&batch).send();
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    let events = format!("/fleet/v1/batches/{id}/events?access_token={token}");
    assert_eq!(Call::new(address, "GET", &events).open().status(), 200);
    assert_eq!(
        Call::new(address, "GET", &format!("/fleet/v1/nothing?access_token={token}")).open().status(),
        404
    );
    let stopped = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(stopped.expect("kill runs").success());
    assert!(child.wait().expect("it ends").success());
    let lines = reader.join().expect("the reader");
    let spans = |message: &str| -> Vec<Value> {
        let found = lines.iter().filter(|line| line.contains(message));
        let event: Value = found
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .next()
            .unwrap_or_else(|| panic!("{message} is not logged"));
        event["spans"].as_array().cloned().unwrap_or_default()
    };
    for message in [
        "batch accepted",
        "a panel takes its part",
        "a panel's part is through the store",
        "every panel of the batch has an outcome",
    ] {
        let spans = spans(message);
        assert!(spans.iter().any(|span| span["request.id"] == "follow-me"), "{message}: {spans:?}");
        assert!(spans.iter().any(|span| span["batch.id"] == id.as_str()), "{message}: {spans:?}");
    }
    let secret = token.rsplit('_').next().expect("a secret");
    for planted in ["planted-password", md5, secret] {
        assert!(!lines.iter().any(|line| line.contains(planted)), "{planted} is in the logs");
    }
}
