//! Identifiers for tests.

use serde_json::{Value, json};

use super::profiles::link;

/// A card that is bound to these profiles.
pub fn card(n: u32, name: &str, number: &str, profiles: &[u32]) -> Value {
    json!({
        "link_id": link(n),
        "apartment_link_id": null,
        "identifier_owner": { "name": name, "type": "owner" },
        "identifier_type": "card",
        "identifier_number": number,
        "lock": "first",
        "valid": { "time": { "is_permanent": true }, "passes": { "is_permanent": true } },
        "time_profiles": { "link_ids": profiles.iter().map(|n| link(*n)).collect::<Vec<_>>() },
    })
}

/// The same of another type.
pub fn kind(mut identifier: Value, kind: &str, number: &str) -> Value {
    identifier["identifier_type"] = json!(kind);
    identifier["identifier_number"] = json!(number);
    identifier
}

/// A JPEG, as far as anybody looks.
pub const PHOTO: &str = "/9j/4AAQSkZJRg==";

/// A face.
pub fn face(n: u32, name: &str, profiles: &[u32]) -> Value {
    let mut face = kind(card(n, name, "", profiles), "face_id", "");
    face["face_image"] = json!(PHOTO);
    face
}
