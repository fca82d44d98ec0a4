//! Any bytes that a broken disk may give are a value or an error; a value is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::coordinator::work;
use panelsync::store::pack::{self, Pack};
use panelsync::store::row::{self, Head, Reported, Row};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(outcome) = row::decode_outcome(bytes) {
        let again = row::decode_outcome(&row::encode_outcome(&outcome)).expect("what is written is read");
        assert_eq!(again, outcome);
    }
    if let Ok((panels, outcome)) = row::split_outcome(bytes) {
        assert_eq!(row::join_outcome(panels, outcome), bytes);
    }
    if let Ok(reported) = Reported::decode(bytes) {
        assert_eq!(reported.encode(), bytes);
    }
    let _ = row::outcome_from_format_1(bytes);
    let _ = work::decode(bytes);
    let _ = pack::head(bytes);
    let _ = pack::rows(bytes).count();
    if let Ok(mut pack) = Pack::read(bytes) {
        assert_eq!(pack.bytes(), bytes);
        let (mut key, _) = row::panel_range(7);
        key[5..].fill(9);
        let standing = pack.get(&key);
        pack.put(&key, Row { body: 1, uid: 2, revision: 3 });
        pack.set_head(Head { next_uid: 9, counts: [1, 0] });
        let _ = (standing, pack.get(&key), pack.split(7));
    }
    if let Ok(key) = <&row::RowKey>::try_from(bytes) {
        if let Ok((panel, name)) = row::row_name(key) {
            assert_eq!(row::row_name(&row::row_key(panel, name)).expect("a key"), (panel, name));
        }
    }
    let _ = row::decode_panels(bytes);
});
