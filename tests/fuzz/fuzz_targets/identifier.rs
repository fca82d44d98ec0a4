//! Any body at all is parsed or refused; what is parsed is written so that it reads back as it was, and no number is in
//! what is printed of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::identifier::number::Credential;
use panelsync::identifier::parse::{self, Given, Items};
use panelsync::identifier::rule::{Api, Kind};
use panelsync::identifier::{file, wire};
use panelsync::profile::rule::Family;
use panelsync::profile::wire::Json;

fuzz_target!(|body: &[u8]| {
    for api in Family::ALL.into_iter().filter_map(|family| Api::of(family, None).ok()) {
        for given in parse::link_body(body, api).unwrap_or_default() {
            let Given::Identifier(linked) = given else { continue };
            let sent = format!(r#"{{"list_items":[{}]}}"#, wire::item(&linked, api));
            let again = parse::link_body(sent.as_bytes(), api).expect("what is written is read");
            assert_eq!(again, [Given::Identifier(linked.clone())], "and is the same");
            let identifier = &linked.identifier;
            let kept = parse::kept(wire::kept(identifier).as_bytes()).expect("what is kept is read");
            assert_eq!(kept, *identifier, "and is the same");
            let number = identifier.credential.number(api);
            let equal = Credential::new(identifier.credential.kind(), &number);
            assert!(
                number.is_empty() || equal.as_ref() == Some(&identifier.credential),
                "its form is the number"
            );
            assert!(number.len() < 4 || !format!("{:?}", identifier.credential).contains(&number));
        }
        let _ = parse::uid_body(body, api);
        if let Some(Json::List(list)) = Json::read(body) {
            let mut items = Items::default();
            let read: Vec<_> = list
                .iter()
                .enumerate()
                .filter_map(|(i, item)| items.linked(item, ("/identifiers", i), api))
                .collect();
            let (named, all) = items.found();
            assert!(
                named.len() == all.min(100) && list.len() <= read.len() + all,
                "all that is left out has a problem"
            );
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = file::read(text);
        for kind in Kind::ALL {
            let _ = Credential::new(kind, text);
        }
    }
});
