//! Any filter expression is understood or refused, in bounded time and depth, and can then be asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::http::panel_api::filter::{Field, Fields, Filter};
use panelsync::identifier::number::Credential;
use panelsync::identifier::rule::Kind;

fuzz_target!(|text: &str| {
    let number = Credential::new(Kind::Card, "0A-1B-2C-3D");
    let fields = Fields { name: "Work week".into(), date_from: 1_540_819_272, date_to: i64::MAX, number };
    for of in [Field::OF_PROFILES, Field::OF_IDENTIFIERS] {
        if let Some(filter) = Filter::parse(text, of) {
            let _ = filter.holds(&fields);
        }
        for field in of {
            assert_eq!(Field::parse(field.as_str(), of), Some(*field));
            if let Some(filter) = Filter::equal(*field, text) {
                let _ = filter.holds(&fields);
            }
        }
    }
});
