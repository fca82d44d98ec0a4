//! Promise 2: per panel, batches apply in the order in which they were accepted.

use std::sync::Arc;
use std::thread;

use serde_json::json;

use crate::support::profiles::once;
use crate::support::server::TestServer;

#[test]
fn of_many_overlapping_batches_the_last_accepted_wins_on_every_panel() {
    let server = Arc::new(TestServer::start());
    server.add_panels(60);
    // Large and small ones at once, from several clients, all naming the same link_id.
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                for round in 0..8 {
                    let name = format!("client {client} round {round}");
                    let mut batch = json!({ "upsert": [once(1, &name), once(2, &name)] });
                    match client % 4 {
                        0 => batch["all"] = json!(true),
                        1 => batch["selector"] = json!("site=north"),
                        2 => batch["panels"] = json!(["p001", "p002", "p059", "p060"]),
                        _ => batch["panels"] = json!(["p002"]),
                    }
                    let answer =
                        server.fleet("POST", "/batches").header("prefer", "wait=0").json(&batch).send();
                    assert!([200, 202].contains(&answer.status), "{answer}");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client");
    }
    let rendered = Arc::try_unwrap(server).ok().expect("all clients are done").stop_and_render();
    // From the durable state: what was accepted in which order, and what each panel holds.
    let mut bodies = std::collections::HashMap::new();
    let mut rows = std::collections::HashMap::new();
    let mut last = std::collections::HashMap::new();
    let mut targets = Vec::new();
    for line in rendered.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [number, users, ..] if users.starts_with("users=") => {
                let name =
                    line.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
                bodies.insert(number.to_string(), name.to_owned());
            }
            [panel, link, body, ..] if body.starts_with("body=") && link.ends_with("000000000001") => {
                rows.insert(panel.to_string(), body.trim_start_matches("body=").to_owned());
            }
            ["targets", ..] => {
                let list = line.trim().trim_start_matches("targets [").trim_end_matches(']');
                targets = list.split(", ").map(str::to_owned).collect();
            }
            ["work", ..] => {
                let name =
                    line.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
                for panel in &targets {
                    last.insert(panel.clone(), name.to_owned()); // batches come in the order of acceptance
                }
            }
            _ => {}
        }
    }
    assert_eq!(rows.len(), 60);
    for (panel, body) in rows {
        assert_eq!(bodies[&body], last[&panel], "panel {panel}");
    }
}
