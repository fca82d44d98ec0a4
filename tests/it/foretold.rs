//! What is foretold of a door is what happens there: a card that is shown at it is granted or denied as the access question
//! said, at whatever moment, and every showing is an event that names the identifier.

use serde_json::{Value, json};

use crate::support::identifiers::{card, kind};
use crate::support::profiles::{once, work_week};
use crate::support::server::TestServer;

#[test]
fn whoever_shows_an_identifier_is_granted_or_denied_as_was_foretold() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}; PANELSYNC_SHOWINGS says how many");
    let mut random = fastrand::Rng::with_seed(seed);
    let showings = std::env::var("PANELSYNC_SHOWINGS").ok().and_then(|n| n.parse().ok()).unwrap_or(500_usize);
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "America/New_York" }));
    let mut long = once(2, "Long");
    long["time_options"]["date_to"] = json!(1_735_804_800 + 40 * 86_400);
    let mut late = work_week(3, "Nights");
    late["time_options"] =
        json!({ "is_all_day": false, "date_from": 1_735_858_800, "date_to": 1_735_880_400 });
    let mut identifiers = Vec::new();
    for n in 0..40_u32 {
        let profiles: Vec<_> = (1..=3).filter(|_| random.bool()).collect();
        let number = (1_000_000 + n).to_string();
        let mut identifier = match random.u8(0..4) {
            0 => kind(card(100 + n, "Somebody", "", &profiles), "inputCode", &number),
            1 => kind(card(100 + n, "Somebody", "", &profiles), "license_plate", &format!("AA {number}")),
            _ => card(100 + n, "Somebody", &number, &profiles),
        };
        if random.bool() {
            let from = random.i64(1_735_000_000..1_738_000_000);
            let time =
                json!({ "is_permanent": false, "from": from, "to": from + random.i64(3_600..2_000_000) });
            identifier["valid"]["time"] = time;
        }
        identifiers.push(identifier);
    }
    let batch = json!({ "all": true, "upsert": [work_week(1, "Days"), long, late], "identifiers": { "upsert": identifiers } });
    let answer = server.fleet("POST", "/batches").json(&batch).send();
    assert_eq!(answer.value()["panels"]["applied"], 1, "{answer}");
    let mut granted = 0;
    for _ in 0..showings {
        let of = &identifiers[random.usize(0..identifiers.len())];
        let at = random.i64(1_734_900_000..1_740_000_000);
        let link_id = of["link_id"].as_str().expect("a link_id");
        let asked = server.fleet("GET", &format!("/access?panel=p1&identifier={link_id}&at={at}")).send();
        let foretold = asked.value()["items"][0].clone();
        let at = jiff::Timestamp::from_second(at).expect("a moment").to_string();
        let shown = json!({ "type": of["identifier_type"], "number": of["identifier_number"], "at": at });
        let came = server.fleet("POST", "/panels/p1:present").json(&shown).send().value();
        assert_eq!(foretold["opens"], came["granted"], "{of} at {at}: {foretold} and {came}");
        assert_eq!(came["identifier"], *link_id, "{came}");
        granted += usize::from(came["granted"] == true);
    }
    assert!(
        granted > showings / 20 && granted < showings - showings / 20,
        "{granted} of {showings}: hardly a choice"
    );
    let mut events = 0;
    let mut cursor = String::new();
    loop {
        let page = server.fleet("GET", &format!("/access-events?panel=p1&limit=1000{cursor}")).send().value();
        let items = page["items"].as_array().expect("a list");
        assert!(items.iter().all(|event| event["identifier"].is_string()), "{page}");
        events += items.len();
        match &page["next_cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    assert_eq!(events, showings, "every showing is an event");
}
