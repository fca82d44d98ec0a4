//! The schemas of types that live in rooms below, which know nothing of documents. Each is described once more here as it
//! is on the wire; a test holds both together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, SchemaType, Type};
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
    fleet::alerts::WantedAlert => WantedAlert,
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
    /// Not put back by an undo, since something newer has changed them; only where there are any.
    #[serde(default, skip_serializing_if = "crate::http::fleet_api::drift::is_none")]
    #[schema(required = false)]
    changed_since: u64,
}

/// A panel's record as it is answered.
#[derive(Serialize, Deserialize, ToSchema)]
struct PanelRecord {
    /// 1 to 63 letters, digits and `-_.`.
    #[schema(example = "north-01")]
    id: String,
    /// `embedded`: this server is the panel. `http`: a device somewhere else is.
    driver: String,
    /// What selectors look at.
    labels: BTreeMap<String, String>,
    /// IANA name of the zone in which the panel's rules run.
    #[schema(example = "Europe/Kyiv")]
    zone: String,
    /// `android`, `camdroid`, `ingenic-mips` or `door-controller`.
    api: String,
    /// The version that the panel says it speaks.
    #[schema(example = "2.9.0")]
    api_version: String,
    /// How many profiles it holds at most; none is no limit.
    #[schema(required = true)]
    capacity: Option<u32>,
    /// How many identifiers it holds at most; without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identifier_capacity: Option<u32>,
    /// How many of these may be faces; without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    face_capacity: Option<u32>,
    /// Where a remote panel is reached, up to what comes before `/api`; always null for an embedded one.
    #[schema(example = "https://10.0.3.17", required = true)]
    url: Option<String>,
    /// The account on a remote panel; always null for an embedded one. Its password is never in a record.
    #[schema(required = true)]
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

/// A panel that is to be added: the fields of its record, of which only `id` must be given, and what is never answered.
pub enum PanelInput {}

impl PartialSchema for PanelInput {
    fn schema() -> RefOr<Schema> {
        let mut fields = given_fields("A panel that is to be added.");
        fields.required.push("id".to_owned());
        fields.into()
    }
}

impl ToSchema for PanelInput {}

/// What is to change of a panel: the same fields. A label that is null goes; the others stay.
pub enum PanelChange {}

impl PartialSchema for PanelChange {
    fn schema() -> RefOr<Schema> {
        let mut fields = given_fields("What changes of a panel: what is not given stays.");
        let label = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
        let labels = ObjectBuilder::new()
            .description(Some("What selectors look at: what is not named stays, what is null goes."))
            .additional_properties(Some(label));
        fields.properties.insert("labels".to_owned(), labels.into());
        fields.into()
    }
}

impl ToSchema for PanelChange {}

/// The fields of a panel that somebody gives.
fn given_fields(description: &str) -> Object {
    let RefOr::T(Schema::Object(mut fields)) = PanelRecord::schema() else {
        unreachable!("a record is described as an object")
    };
    let password = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("Of the account on a remote panel; written and never read."));
    let force =
        ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Boolean, Type::Null])).description(
            Some("Whether its device is not asked, which may be offline, or that of another panel."),
        );
    fields.properties.insert("password".to_owned(), password.into());
    fields.properties.insert("force".to_owned(), force.into());
    fields.description = Some(description.to_owned());
    fields.required.clear();
    fields.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    fields
}

/// An alert that is wanted: a webhook or a mail.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedAlert {
    /// Where a webhook goes. Redirects are not followed.
    #[schema(example = "https://hooks.example/panelsync")]
    webhook: Option<String>,
    /// Whom a mail goes to.
    #[serde(default)]
    mail: Vec<String>,
    /// The webhook's secret, `whsec_` and 24 to 64 bytes in base64; one is made, and answered this once, without.
    secret: Option<String>,
    /// The certificates that may vouch for the webhook's address, PEM. Without, the system's.
    tls_ca: Option<String>,
    /// The SHA-256 of the one certificate that it may show, in hex.
    tls_pin: Option<String>,
    /// What it is for: `offline`, `refused`, `drift`, `batch-failed`, `no-leader`. Everything without.
    #[serde(default)]
    on: Vec<String>,
    /// How long a panel is offline before it is told, in seconds; 600 without.
    #[schema(minimum = 1, maximum = 2_592_000)]
    after_s: Option<u64>,
    /// Which panels it is for; all without.
    selector: Option<String>,
    /// Messages an hour at most; 12 without.
    #[schema(minimum = 1, maximum = 1000)]
    per_hour: Option<u32>,
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
            identifier_capacity: Some(1),
            face_capacity: Some(1),
            ..settings::PanelRecord::new("p1")
        };
        assert_eq!(described_fields::<settings::PanelRecord>(), fields(&record));
        assert_eq!(described_fields::<report::PanelCounts>(), fields(&report::PanelCounts::default()));
        let counts = report::ItemCounts { changed_since: 1, ..report::ItemCounts::default() };
        assert_eq!(described_fields::<report::ItemCounts>(), fields(&counts));
        assert_eq!(described_fields::<fleet::FieldError>(), fields(&fleet::FieldError::at("", "")));
        let wanted = fleet::alerts::WantedAlert::default();
        assert_eq!(described_fields::<fleet::alerts::WantedAlert>(), fields(&wanted));
        let states = batch::PanelState::ALL.map(batch::PanelState::as_str);
        assert_eq!(described::<batch::PanelState>()["enum"], serde_json::json!(states));
        let roles = [access::Role::Viewer, access::Role::Operator, access::Role::Admin];
        assert_eq!(described::<access::Role>()["enum"], serde_json::json!(roles));
        let states = [batch::BatchState::Running, batch::BatchState::Done, batch::BatchState::Cancelled];
        assert_eq!(described::<batch::BatchState>()["enum"], serde_json::json!(states));
    }
}
