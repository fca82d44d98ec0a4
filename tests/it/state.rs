//! The whole durable state after each kind of batch, as text.

use panelsync::store::seal;
use serde_json::{Value, json};

use crate::support::profiles::{link, list, never, once};
use crate::support::server::TestServer;
use crate::support::snapshot;

fn after(name: &str, batches: &[Value]) {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "labels": { "site": "north" }, "zone": "Europe/Kyiv" }));
    server.add_panel("p2", &json!({ "capacity": 2 }));
    for (i, batch) in batches.iter().enumerate() {
        let key = format!("key {i}");
        let answer = server.fleet("POST", "/batches").header("idempotency-key", &key).json(batch).send();
        assert_eq!(answer.status, 200, "{answer}");
    }
    snapshot::check("state", name, &server.stop_and_render());
}

#[test]
fn after_profiles_are_created() {
    after("created", &[json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] })]);
}

#[test]
fn after_profiles_are_changed_and_unchanged() {
    after(
        "updated",
        &[
            json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }),
            json!({ "panels": ["p1"], "upsert": [once(1, "a"), once(2, "changed")] }),
        ],
    );
}

#[test]
fn after_items_are_refused() {
    after(
        "refused",
        &[
            json!({ "all": true, "upsert": [once(1, "a"), never(2), once(1, "again"), once(3, "c"), once(4, "d")] }),
        ],
    );
}

#[test]
fn after_profiles_are_deleted() {
    after(
        "deleted",
        &[
            json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }),
            json!({ "all": true, "delete": [link(1), link(9)] }),
        ],
    );
}

#[test]
fn after_panels_are_pruned() {
    after(
        "pruned",
        &[
            json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }),
            json!({ "selector": "site=north", "upsert": [once(2, "b")], "prune": true, "confirm_deletes": 100 }),
        ],
    );
}

#[test]
fn after_calls_of_the_panel_api_and_a_panel_removed() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_panel("p2", &json!({}));
    let token = server.panel_login("p1");
    let call =
        |method: &str, path: &str| server.call(method, &format!("/panels/p1/api/v1{path}")).bearer(&token);
    call("POST", "/access/timeprofile/items/link").json(&list(&[once(1, "a"), once(2, "b")])).send();
    call("POST", "/access/timeprofile").json(&once(3, "by uid")).send();
    call("DELETE", "/access/timeprofile/item/1").send();
    server.fleet("POST", "/batches").json(&json!({ "panels": ["p2"], "upsert": [once(2, "b")] })).send();
    server.fleet("DELETE", "/panels/p2").send();
    snapshot::check("state", "panel_api", &server.stop_and_render());
}

#[test]
fn folders_of_older_formats_are_brought_up_to_date_and_keep_everything() {
    // That of format 5 is from before connections were kept, and a table was added for them.
    for format in
        ["format_1", "format_2", "format_3", "format_5", "format_6", "format_7", "format_8", "format_9"]
    {
        let folder = tempfile::tempdir().expect("a folder");
        // Formats 5 to 9 have passwords sealed with this.
        std::fs::write(folder.path().join(seal::KEY_FILE), "05".repeat(32)).expect("written");
        let kept = format!("{}/tests/data/{}.redb", env!("CARGO_MANIFEST_DIR"), format.replace('_', "-"));
        std::fs::copy(kept, folder.path().join(panelsync::store::FILE_NAME)).expect("copied");
        let text = crate::support::server::rendered_state(folder.path());
        crate::support::snapshot::check("state", &format!("from_{format}"), &text);
    }
}
