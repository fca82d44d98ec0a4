//! Any filter expression is understood or refused, in bounded time and depth, and can then be asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::http::panel_api::filter::{Field, Fields, Filter};

fuzz_target!(|text: &str| {
    let fields = Fields { name: "Work week".into(), date_from: 1_540_819_272, date_to: i64::MAX };
    if let Some(filter) = Filter::parse(text) {
        let _ = filter.holds(&fields);
    }
    for name in Field::NAMES {
        let field = Field::parse(name).expect("a field");
        if let Some(filter) = Filter::equal(field, text) {
            let _ = filter.holds(&fields);
        }
    }
});
