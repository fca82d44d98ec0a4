//! Any body at all is parsed or refused; what is parsed reads back from what is stored of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::batch::Body;
use panelsync::profile::parse;
use panelsync::profile::rule::Family;

fuzz_target!(|body: &[u8]| {
    for family in Family::ALL {
        if let Ok(profiles) = parse::link_body(body, family) {
            for linked in profiles {
                let stored = Body::of(&linked.profile);
                let again = parse::stored(stored.json().as_bytes()).expect("what is stored is read");
                assert_eq!(Body::of(&again), stored, "and is stored the same again");
            }
        }
        let _ = parse::profile_body(body, family);
    }
    let _ = parse::link_ids_body(body);
    let _ = parse::uids_body(body);
});
