//! What a device refuses, or does not know, widens nobody's rights and is never taken for done. The device is a small one
//! written here, which lets a profile go from under its cards: these open at any time then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::imperfect::{Asked, Good, Hand, add, apply, impatient, until};
use crate::support::identifiers::card;
use crate::support::profiles::{link, once};
use crate::support::server::TestServer;

/// A device with cards.
#[derive(Default)]
struct Door {
    profiles: Good,
    cards: Mutex<BTreeMap<String, Value>>,
    /// What it says of every change of a card that it has, instead of doing it.
    refuses: Mutex<Option<&'static str>>,
    /// It knows no call on identifiers.
    forgets_calls: Mutex<bool>,
    /// Whether it is deleting a card, which it does only when it is let.
    deleting: Mutex<bool>,
    lets_delete: Mutex<()>,
    /// It refuses the next deletion of a card.
    refuses_a_deletion: Mutex<bool>,
}

impl Door {
    fn answer(&self, asked: &Asked) -> (u16, Value) {
        if asked.method == "DELETE" && asked.path == "/api/v1/access/identifier/items/link" {
            *self.deleting.lock().expect("whole") = true;
            drop(self.lets_delete.lock().expect("whole"));
            if std::mem::take(&mut *self.refuses_a_deletion.lock().expect("whole")) {
                let busy = |link| json!({ "link_id": link, "success": false, "extended_info": "busy" });
                let results: Vec<_> =
                    asked.body["link_ids"].as_array().into_iter().flatten().map(busy).collect();
                return (200, json!({ "result": results }));
            }
        }
        let is_of_cards = asked.path.contains("/access/identifier");
        if is_of_cards && *self.forgets_calls.lock().expect("whole") {
            return (404, json!({ "error": "Not found" }));
        }
        let mut cards = self.cards.lock().expect("whole");
        let refuses = *self.refuses.lock().expect("whole");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let result = |link: &str, known: bool, word: &str| match refuses.filter(|_| known) {
            Some(word) => json!({ "link_id": link, "success": false, "extended_info": word }),
            None => json!({ "link_id": link, "success": true, "extended_info": word }),
        };
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/api/v1/access/identifier/items/link") => {
                let mut results = Vec::new();
                for item in asked.body["list_items"].as_array().cloned().unwrap_or_default() {
                    let link = text(&item["link_id"]);
                    let known = cards.contains_key(&link);
                    results.push(result(&link, known, if known { "updated" } else { "created" }));
                    if !known || refuses.is_none() {
                        cards.insert(link, item);
                    }
                }
                (200, json!({ "result": results }))
            }
            ("DELETE", "/api/v1/access/identifier/items/link") => {
                let links: Vec<_> =
                    asked.body["link_ids"].as_array().into_iter().flatten().map(text).collect();
                let results: Vec<_> = links.iter().map(|link| result(link, true, "deleted")).collect();
                if refuses.is_none() {
                    cards.retain(|link, _| !links.contains(link));
                }
                (200, json!({ "result": results }))
            }
            ("GET", "/api/v1/access/identifier/items/link") => {
                let items: Vec<_> = cards.values().collect();
                let pagination = json!({ "total_items": items.len(), "items_limit": 50, "total_pages": 1, "current_page": 1 });
                (200, json!({ "list_items": items, "list_option": { "pagination": pagination } }))
            }
            _ => {
                let answer = self.profiles.answer(asked);
                let held = self.profiles.held.lock().expect("whole");
                for card in cards.values_mut() {
                    let named = card["time_profiles"]["link_ids"].as_array_mut().expect("a list");
                    named.retain(|link| held.contains_key(link.as_str().expect("a text")));
                }
                answer
            }
        }
    }

    /// The profiles that a card names, where it is there.
    fn named_by(&self, n: u32) -> Option<Vec<String>> {
        let cards = self.cards.lock().expect("whole");
        let named = cards.get(&link(n))?["time_profiles"]["link_ids"].as_array().expect("a list").clone();
        Some(named.iter().map(|link| link.as_str().expect("a text").to_owned()).collect())
    }

    /// What a profile is called there.
    fn profile(&self, n: u32) -> Option<String> {
        let held = self.profiles.held.lock().expect("whole");
        Some(held.get(&link(n))?["name"].as_str().expect("a name").to_owned())
    }
}

/// A server with a device that holds two profiles, and a card that names the first.
fn door() -> (Arc<Door>, Hand, TestServer) {
    let door = Arc::new(Door::default());
    let same = Arc::clone(&door);
    let hand = Hand::new(move |asked| same.answer(asked));
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &hand.url());
    let all = json!({ "all": true, "upsert": [once(1, "One"), once(2, "Two")], "identifiers": { "upsert": [card(11, "Ann", "1000", &[1])] } });
    let answer = apply(&server, 30, &all);
    assert_eq!(answer.value()["panels"]["applied"], 1, "{answer}");
    (door, hand, server)
}

fn access(server: &TestServer) -> Value {
    let path = format!("/access?panel=d1&identifier={}&at=2025-01-02T10:00:00Z", link(11));
    server.fleet("GET", &path).send().value()["items"][0].clone()
}

#[test]
fn a_card_that_a_device_was_not_known_to_let_go_of_is_pending_and_its_profile_stays_under_it() {
    let (device, _hand, server) = door();
    *device.forgets_calls.lock().expect("whole") = true;
    let gone = json!({ "all": true, "delete": [link(1)], "identifiers": { "delete": [link(11)] } });
    let answer = apply(&server, 2, &gone);
    assert_eq!(answer.value()["panels"]["pending"], 1, "{answer}");
    assert_eq!((device.named_by(11), device.profile(1)), (Some(vec![link(1)]), Some("One".into())));
    let asked = access(&server);
    assert_eq!(asked["may_open"], true, "{asked}");
    *device.forgets_calls.lock().expect("whole") = false;
    until("it is gone", || device.named_by(11).is_none() && device.profile(1).is_none());
}

#[test]
fn a_card_that_a_device_refuses_keeps_the_profile_that_it_names_there() {
    for word in ["bound_time_profile_doesnt_exist", "busy"] {
        let (device, _hand, server) = door();
        *device.refuses.lock().expect("whole") = Some(word);
        let moved = json!({ "all": true, "delete": [link(1)], "identifiers": { "upsert": [card(11, "Ann", "1000", &[2])] } });
        let answer = apply(&server, 30, &moved);
        assert_eq!(answer.value()["panels"]["rejected"], 1, "{word}: {answer}");
        assert_eq!(device.named_by(11), Some(vec![link(1)]), "{word}");
        let asked = access(&server);
        assert_eq!(asked["may_open"], true, "{word}: {asked}");
    }
}

#[test]
fn a_profile_does_not_change_under_a_card_that_was_to_leave_it_and_was_refused() {
    let wider = |name: &str| {
        let mut wider = once(1, name);
        wider["time_options"]["date_to"] = json!(1_767_225_600);
        wider
    };
    for identifiers in [
        json!({ "upsert": [card(11, "Ann", "1000", &[2])] }),
        json!({ "upsert": [card(11, "Ann", "1001", &[1])] }),
        json!({ "delete": [link(11)] }),
    ] {
        let (device, _hand, server) = door();
        *device.refuses.lock().expect("whole") = Some("busy");
        let batch = json!({ "all": true, "upsert": [wider("Wider")], "identifiers": identifiers });
        let answer = apply(&server, 30, &batch);
        assert_eq!(answer.value()["panels"]["rejected"], 1, "{answer}");
        assert_eq!(device.profile(1), Some("One".into()), "{identifiers}");
        *device.refuses.lock().expect("whole") = None;
        let again = apply(&server, 30, &batch);
        assert_eq!(again.value()["panels"]["applied"], 1, "{again}");
        assert_eq!(device.profile(1), Some("Wider".into()), "{identifiers}");
    }
}

#[test]
fn a_profile_stays_under_a_card_that_somebody_made_by_hand() {
    let device = Arc::new(Door::default());
    let mut by_hand = card(11, "Ann", "1000", &[1]);
    by_hand["link_id"] = Value::Null;
    device.cards.lock().expect("whole").insert("by hand".into(), by_hand);
    let same = Arc::clone(&device);
    let hand = Hand::new(move |asked| same.answer(asked));
    // The card waits for its profile, as on a device that was taken over.
    for n in [1, 2] {
        device.profiles.held.lock().expect("whole").insert(link(n), once(n, "Here before"));
    }
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &hand.url());
    let answer = apply(&server, 30, &json!({ "all": true, "delete": [link(1), link(2)] }));
    assert_eq!(answer.value()["items"]["rejected"], 1, "{answer}");
    assert_eq!((device.profile(1), device.profile(2)), (Some("Here before".into()), None));
}

#[test]
fn a_profile_stays_under_a_card_that_somebody_made_by_hand_after_cards_were_sent() {
    let (device, _hand, server) = door();
    // What can be read of it is that it names the second one.
    let by_hand =
        json!({ "link_id": null, "identifier_type": "odd", "time_profiles": { "link_ids": [link(2)] } });
    device.cards.lock().expect("whole").insert("by hand".into(), by_hand);
    let moved = json!({ "all": true, "delete": [link(1), link(2)],
        "identifiers": { "upsert": [card(11, "Ann", "1000", &[])] } });
    let answer = apply(&server, 30, &moved);
    assert_eq!(answer.value()["items"]["rejected"], 1, "{answer}");
    assert_eq!((device.profile(1), device.profile(2)), (None, Some("Two".into())));
    assert_eq!(device.named_by(11), Some(Vec::new()));
    let state = server.fleet("GET", "/panels/d1").send().value()["state"].clone();
    assert_eq!(
        state["refused"][0]["extended_info"], "bound_by_identifiers (by one that was made on the device)",
        "{state}"
    );
}

#[test]
fn a_refusal_to_delete_is_no_answer_to_what_was_asked_for_meanwhile() {
    let (device, _hand, server) = door();
    *device.refuses_a_deletion.lock().expect("whole") = true;
    let held = Arc::clone(&device);
    let (holds, is_held) = std::sync::mpsc::channel();
    let (let_go, waits) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let _held = held.lets_delete.lock().expect("whole");
        holds.send(()).expect("somebody waits");
        let _ = waits.recv_timeout(std::time::Duration::from_secs(20));
    });
    is_held.recv().expect("it is held");
    let gone = json!({ "all": true, "identifiers": { "delete": [link(11)] } });
    let answer = apply(&server, 0, &gone);
    assert_eq!(answer.value()["panels"]["pending"], 1, "{answer}");
    until("it is being deleted", || *device.deleting.lock().expect("whole"));
    let again = json!({ "all": true, "identifiers": { "upsert": [card(11, "Ann", "1000", &[2])] } });
    let second = apply(&server, 0, &again).value()["id"].as_str().expect("an id").to_owned();
    drop(let_go);
    holder.join().expect("no panic");
    let report = || server.fleet("GET", &format!("/batches/{second}")).send().value();
    until("it is done", || report()["state"] == "done");
    assert_eq!(report()["panels"]["applied"], 1, "{}", report());
    assert_eq!(device.named_by(11), Some(vec![link(2)]));
}
