//! Bodies for tests: the documents' own from `tests/data`, and small ones.

use serde_json::{Value, json};

/// A body of the panel API from the documents.
pub fn data(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// The n-th link_id of tests.
pub fn link(n: u32) -> String {
    format!("91c615e3-1040-4815-8ecb-{n:012x}")
}

/// Monday to Friday, 08:00–17:00 UTC, from 2 January 2025 on.
pub fn work_week(n: u32, name: &str) -> Value {
    json!({
        "link_id": link(n),
        "name": name,
        "time_options": { "is_all_day": false, "date_from": 1_735_804_800, "date_to": 1_735_837_200 },
        "repeat_options": {
            "repeat_enable": true,
            "repeat_format": {
                "repeat_type": "custom",
                "repeat_end": { "format": "never" },
                "repeat_custom": {
                    "repeat_point_type": "week",
                    "repeat_looper": 1,
                    "repeat_options": ["MON", "TUE", "WED", "THU", "FRI"]
                }
            }
        }
    })
}

/// A single window, which is short to read.
pub fn once(n: u32, name: &str) -> Value {
    json!({
        "link_id": link(n),
        "name": name,
        "time_options": { "is_all_day": false, "date_from": 1_735_804_800, "date_to": 1_735_837_200 },
        "repeat_options": { "repeat_enable": false }
    })
}

/// A single window without length.
pub fn never(n: u32) -> Value {
    let mut profile = once(n, "Never");
    profile["time_options"]["date_to"] = profile["time_options"]["date_from"].clone();
    profile
}

/// `{"list_items":[…]}`
pub fn list(items: &[Value]) -> Value {
    json!({ "list_items": items })
}
