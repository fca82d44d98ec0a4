//! The OpenAPI document: one snapshot, and every operation in it is really served.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::server::TestServer;
use crate::support::snapshot;

#[test]
fn the_document_is_as_it_was() {
    let server = TestServer::start();
    let document =
        server.call("GET", "/openapi.json").open().into_body().read_to_string().expect("a document");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let pretty = serde_json::to_string_pretty(&document).expect("JSON");
    snapshot::check_as_is("openapi", "openapi", &pretty);
}

#[test]
fn every_operation_has_a_name_of_its_own_and_every_answer_says_what_it_is() {
    let server = TestServer::start();
    let document =
        server.call("GET", "/openapi.json").open().into_body().read_to_string().expect("a document");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = operation["operationId"].as_str().expect("a name");
            assert!(names.insert(name), "{name} is also {method} {path}");
            for (status, answer) in operation["responses"].as_object().expect("answers") {
                let said = answer["description"].as_str().unwrap_or_default();
                assert!(!said.is_empty(), "{method} {path}: nothing is said of {status}");
            }
        }
    }
}

#[test]
fn every_operation_of_the_document_is_served_and_wants_a_token_unless_it_says_not() {
    let server = TestServer::start();
    server.add_panels(1);
    let document =
        server.call("GET", "/openapi.json").open().into_body().read_to_string().expect("a document");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            operations += 1;
            let url =
                path.replace("{panel}", "p001").replace("{selector}", "site%3Dsouth").replace("{id}", "p001");
            let url = url.replace("{uid}", "1").replace("{link_id}", "x").replace("{name}", "x");
            let answer = server.call(&method.to_uppercase(), &url).send();
            let open = operation["security"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one == &serde_json::json!({})))
                || operation["tags"][0] == "probes";
            if open {
                assert_ne!(answer.status, 404, "{method} {path}: {answer}");
                let needs_input = path.ends_with("/login") || path.ends_with("/session");
                assert!(answer.status == 200 || needs_input, "{method} {path}: {answer}");
            } else {
                assert_eq!(answer.status, 401, "{method} {path}: {answer}");
            }
            assert!(
                operation["responses"].get(answer.status.to_string()).is_some(),
                "{method} {path}: {} is not in the document",
                answer.status
            );
        }
    }
    assert!(operations > 40, "only {operations} operations");
}
