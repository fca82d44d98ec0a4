//! The schemas of types that live in rooms below, which know nothing of documents. Each is described once more here as it
//! is on the wire; a test holds both together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::access;
use crate::batch;
use crate::batch::report;
use crate::fleet;
use crate::panel::settings;

/// Describes a type by its description here.
macro_rules! describe {
    ($($type:path => $here:ident),* $(,)?) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $here::schema()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($here))
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $here::schemas(schemas);
            }
        }
    )*};
}

describe! {
    access::Role => Role,
    batch::BatchState => BatchState,
    batch::PanelState => PanelState,
    report::PanelCounts => PanelCounts,
    report::ItemCounts => ItemCounts,
    fleet::FieldError => FieldError,
    settings::PanelRecord => PanelRecord,
}

/// What a user or token may do; each role may do what the ones before it may.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// Reads.
    Viewer,
    /// Batches.
    Operator,
    /// Panels, users and tokens.
    Admin,
}

/// The state of a whole batch.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum BatchState {
    /// Some panel has no outcome yet.
    Running,
    /// Every panel has an outcome.
    Done,
    /// Cancelled; every panel has an outcome.
    Cancelled,
}

/// The state of a panel in a batch. Its number is its byte in the store.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PanelState {
    /// Every item succeeded, or was to be deleted and is not there.
    Applied,
    /// The panel refused some items.
    Partial,
    /// The panel refused every item.
    Rejected,
    /// Not delivered yet; it will be.
    Pending,
    /// Given up; the reason is in `error`.
    Failed,
}

/// How many panels are in which state.
#[derive(Serialize, Deserialize, ToSchema)]
struct PanelCounts {
    /// Panels that the batch is for.
    total: u64,
    /// Every item succeeded.
    applied: u64,
    /// Some items were refused.
    partial: u64,
    /// All items were refused.
    rejected: u64,
    /// No outcome yet.
    pending: u64,
    /// Given up.
    failed: u64,
}

/// How many items, over all panels, came to what. Items of failed panels stand only in `total`.
#[derive(Serialize, Deserialize, ToSchema)]
struct ItemCounts {
    /// Items named, times panels, and what pruning deleted.
    total: u64,
    /// Created.
    created: u64,
    /// Updated.
    updated: u64,
    /// Deleted.
    deleted: u64,
    /// Already as asked for, or asked for differently by a later batch that was delivered.
    unchanged: u64,
    /// To be deleted and not there.
    entity_not_found: u64,
    /// Refused by the panel.
    rejected: u64,
    /// Without an answer yet.
    pending: u64,
}

/// A panel's record as it is stored and sent.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PanelRecord {
    /// 1 to 63 letters, digits and `-_.`.
    #[schema(example = "north-01")]
    id: String,
    /// `embedded`: this server is the panel. `http`: a device somewhere else is.
    #[serde(default)]
    driver: String,
    /// What selectors look at.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// IANA name of the zone in which the panel's rules run.
    #[serde(default)]
    #[schema(example = "Europe/Kyiv")]
    zone: String,
    /// `android`, `camdroid` or `door-controller`.
    #[serde(default)]
    api: String,
    /// The version that the panel says it speaks.
    #[serde(default)]
    #[schema(example = "2.9.0")]
    api_version: String,
    /// How many profiles it holds at most; none is no limit.
    #[serde(default)]
    capacity: Option<u32>,
    /// Where a remote panel is reached, up to what comes before `/api`; always null for an embedded one.
    #[serde(default)]
    #[schema(example = "https://10.0.3.17")]
    url: Option<String>,
    /// The account on a remote panel; always null for an embedded one. Its password is never in a record.
    #[serde(default)]
    username: Option<String>,
    /// Of a remote panel, whether drift is put right as soon as it is found: `on` or `off`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repair: Option<String>,
    /// Of a remote panel with `https`, the certificates that may vouch for it, PEM. Without, the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_ca: Option<String>,
    /// Of a remote panel with `https`, the SHA-256 of the one certificate that it may show, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_pin: Option<String>,
}

/// One wrong place in a request.
#[derive(Serialize, Deserialize, ToSchema)]
struct FieldError {
    /// JSON pointer into the body.
    #[schema(example = "/upsert/3/repeat_options/repeat_format/repeat_type")]
    path: String,
    /// What is wrong there.
    #[schema(example = "Wrong repeat_type")]
    message: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn described<T: PartialSchema>() -> serde_json::Value {
        serde_json::to_value(T::schema()).expect("a schema")
    }

    /// The fields of a value that leaves none out.
    fn fields(value: &impl Serialize) -> BTreeSet<String> {
        let value = serde_json::to_value(value).expect("JSON");
        value.as_object().expect("an object").keys().cloned().collect()
    }

    fn described_fields<T: PartialSchema>() -> BTreeSet<String> {
        described::<T>()["properties"].as_object().expect("properties").keys().cloned().collect()
    }

    #[test]
    fn what_is_described_is_what_is_sent() {
        let given = || Some(String::new());
        let record = settings::PanelRecord {
            url: given(),
            username: given(),
            repair: given(),
            tls_ca: given(),
            tls_pin: given(),
            ..settings::PanelRecord::new("p1")
        };
        assert_eq!(described_fields::<settings::PanelRecord>(), fields(&record));
        assert_eq!(described_fields::<report::PanelCounts>(), fields(&report::PanelCounts::default()));
        assert_eq!(described_fields::<report::ItemCounts>(), fields(&report::ItemCounts::default()));
        assert_eq!(described_fields::<fleet::FieldError>(), fields(&fleet::FieldError::at("", "")));
        let states = batch::PanelState::ALL.map(batch::PanelState::as_str);
        assert_eq!(described::<batch::PanelState>()["enum"], serde_json::json!(states));
        let roles = [access::Role::Viewer, access::Role::Operator, access::Role::Admin];
        assert_eq!(described::<access::Role>()["enum"], serde_json::json!(roles));
        let states = [batch::BatchState::Running, batch::BatchState::Done, batch::BatchState::Cancelled];
        assert_eq!(described::<batch::BatchState>()["enum"], serde_json::json!(states));
    }
}
