//! Any body at all is parsed or refused; what is parsed reads back from what is stored of it, word for word.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::batch::Body;
use panelsync::profile::rule::Family;
use panelsync::profile::{parse, wire};

fuzz_target!(|body: &[u8]| {
    for family in Family::ALL {
        if let Ok(profiles) = parse::link_body(body, family) {
            for linked in profiles {
                let stored = Body::of(&linked.profile);
                let again = parse::stored(stored.json().as_bytes()).expect("what is stored is read");
                assert_eq!(again, linked.profile, "and is the same, word for word");
                assert_eq!(Body::of(&again), stored, "and is stored the same again");
                let meaning = wire::meaning(&linked.profile);
                let plain = parse::stored(meaning.as_bytes()).expect("what it says is read");
                assert!(plain.wording.is_none() && plain.says_the_same(&again), "its words do not count");
            }
        }
        let _ = parse::profile_body(body, family);
    }
    let _ = parse::link_ids_body(body);
    let _ = parse::uids_body(body);
});
