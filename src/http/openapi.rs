//! The OpenAPI document's frame; its paths and schemas come from the handlers.
//!
//! A handler names its operation (`operation_id`): generated clients call it so, and it is a promise as a path is. What
//! handlers say the same of every answer is said once, in [`finish`].

use std::collections::BTreeMap;

use super::panel_api::own;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AnyOf, ArrayItems, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi};

use super::auth;

pub mod schemas;

/// What the document says beside the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "panelsync",
        description = "Time profiles on many entrance panels, by link_id. \
            The fleet API drives all panels; the panel API is that of one embedded panel.",
        license(name = "MIT or Apache 2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "The server that this document is of")),
    modifiers(&Security),
    tags(
        (name = "session", description = "Logging in and out"),
        (name = "panels", description = "The fleet's register"),
        (name = "batches", description = "Upserts and deletes by link_id on many panels"),
        (name = "profiles", description = "What the fleet holds"),
        (name = "identifiers", description = "Who may open: cards, codes and their like, and when they do"),
        (name = "events", description = "What happened at doors"),
        (name = "link", description = "What devices say to this server as to their Link server"),
        (name = "drift", description = "What devices really hold, and putting it right"),
        (name = "alerts", description = "Who is told what is wrong: webhooks and mail"),
        (name = "access", description = "Users, tokens and the audit"),
        (name = "backup", description = "A copy of everything"),
        (name = "panel", description = "The panel API of one embedded panel"),
        (name = "as-panel", description = "The panel API of a whole selection"),
        (name = "probes", description = "For those who watch"),
    ),
    security(("bearer" = [])),
)]
pub struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("From POST /fleet/v1/session or `panelsync token create`; of the panel API, from its login"))
                .build(),
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme);
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("Name and password, on the panel API; nothing is opened or kept"))
            .build();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let in_query = "The same token for a browser's `EventSource`, which sends no header. Beside a header it is not looked at";
        let query = ApiKey::Query(ApiKeyValue::with_description(auth::ACCESS_TOKEN, in_query));
        components.add_security_scheme("access_token", SecurityScheme::ApiKey(query));
        let cookie =
            ApiKey::Cookie(ApiKeyValue::with_description(auth::COOKIE, "The session of the web page"));
        components.add_security_scheme("page", SecurityScheme::ApiKey(cookie));
    }
}

/// Says in the finished document what the handlers' own words cannot, or would say again and again.
pub fn finish(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    own::describe(&mut document);
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    let mut none = BTreeMap::new();
    let schemas = schemas.unwrap_or(&mut none);
    if let Some(options) = schemas.get_mut("RepeatCustomOptions") {
        fit_more_than_one(options);
    }
    name_items(schemas);
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete, &mut item.put];
        for operation in operations.into_iter().flatten() {
            name_problems(operation);
            require_values(operation);
            take_basic(operation);
            for (status, answer) in &mut operation.responses.responses {
                if let RefOr::T(answer) = answer
                    && answer.description.is_empty()
                {
                    answer.description = described(status, answer, schemas);
                }
            }
        }
    }
    document
}

/// A page's items have a name of their own, and are not described in each page once more.
fn name_items(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let names: Vec<_> = schemas.keys().filter(|name| name.starts_with("Page_")).cloned().collect();
    for page in names {
        let item = page.trim_start_matches("Page_");
        if schemas.contains_key(item)
            && let Some(RefOr::T(Schema::Object(page))) = schemas.get_mut(&page)
            && let Some(RefOr::T(Schema::Array(items))) = page.properties.get_mut("items")
        {
            items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(item).into()));
        }
    }
}

/// Problems have a content type of their own.
fn name_problems(operation: &mut Operation) {
    for answer in operation.responses.responses.values_mut() {
        if let RefOr::T(answer) = answer
            && answer
                .content
                .get("application/json")
                .is_some_and(|content| schema_name(content) == Some("ProblemBody"))
            && let Some(content) = answer.content.shift_remove("application/json")
        {
            answer.content.insert("application/problem+json".to_owned(), content);
        }
    }
}

/// Every call of the panel API takes HTTP Basic too, whose password may be refused unread.
fn take_basic(operation: &mut Operation) {
    let of_panels = |tag: &String| tag == "panel" || tag == "as-panel";
    if operation.security.is_some() || !operation.tags.iter().flatten().any(of_panels) {
        return;
    }
    let schemes = ["bearer", "basic"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
    operation.security = Some(schemes.to_vec());
    operation.responses.responses.entry("429".to_owned()).or_insert_with(|| {
        let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        ResponseBuilder::new().content("application/json", body).build().into()
    });
}

/// A parameter that may be left out is not null where it is given.
fn require_values(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(RefOr::T(Schema::Object(value))) = &mut parameter.schema
            && let SchemaType::Array(types) = &value.schema_type
            && let [kind, Type::Null] | [Type::Null, kind] = types.as_slice()
        {
            value.schema_type = SchemaType::Type(kind.clone());
        }
    }
}

/// Of one of several forms it is said that a value has exactly one; here it may have more.
fn fit_more_than_one(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::OneOf(forms)) = schema {
        let (items, description) = (std::mem::take(&mut forms.items), forms.description.take());
        let mut forms = AnyOf::new();
        (forms.items, forms.description) = (items, description);
        *schema = RefOr::T(Schema::AnyOf(forms));
    }
}

/// An answer in words: of a refusal by its status, else what its body is.
fn described(status: &str, answer: &Response, schemas: &BTreeMap<String, RefOr<Schema>>) -> String {
    let by_selection = answer.content.values().any(|content| schema_name(content) == Some("ErrorBody"));
    match status {
        "400" => "The request cannot be read, or what it says is wrong",
        "401" => "Not logged in, or the login is refused",
        "403" => "Who asks may not do this",
        "404" => "What the path names is not there",
        "409" => "In conflict with what is there",
        "413" => "The body is too large, or names too many items",
        "415" => "The body is of a type, or encoded in a way, that is not read",
        "422" if by_selection => "The selector cannot be read, or picks no panel",
        "422" => "The request is not valid; each wrong place is named",
        "429" => "Too much of this at once; later it may be done",
        "503" => "Not now; later it may be done",
        _ => {
            let body = answer.content.values().find_map(schema_name).and_then(|name| schemas.get(name));
            return body.and_then(description).unwrap_or("Done").to_owned();
        }
    }
    .to_owned()
}

/// What a body is called.
fn schema_name(content: &RefOr<Content>) -> Option<&str> {
    let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = content else { return None };
    schema.ref_location.strip_prefix("#/components/schemas/")
}

fn description(schema: &RefOr<Schema>) -> Option<&str> {
    match schema {
        RefOr::T(Schema::Object(schema)) => schema.description.as_deref(),
        RefOr::T(Schema::AllOf(schema)) => schema.description.as_deref(),
        _ => None,
    }
}
