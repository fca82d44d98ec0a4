//! The OpenAPI document's frame; its paths and schemas come from the handlers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, RefOr, Schema};
use utoipa::{Modify, OpenApi};

mod schemas;

/// What the document says beside the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "panelsync",
        description = "Time profiles on many entrance panels, by link_id. \
            The fleet API drives all panels; the panel API is that of one embedded panel.",
        license(name = "MIT OR Apache-2.0"),
    ),
    modifiers(&Bearer),
    tags(
        (name = "session", description = "Logging in and out"),
        (name = "panels", description = "The fleet's register"),
        (name = "batches", description = "Upserts and deletes by link_id on many panels"),
        (name = "profiles", description = "What the fleet holds"),
        (name = "drift", description = "What devices really hold, and putting it right"),
        (name = "access", description = "Users, tokens and the audit"),
        (name = "backup", description = "A copy of everything"),
        (name = "panel", description = "The panel API of one embedded panel"),
        (name = "as-panel", description = "The panel API of a whole selection"),
        (name = "probes", description = "For those who watch"),
    ),
    security(("bearer" = [])),
)]
pub struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("From POST /fleet/v1/session or `panelsync token create`; of the panel API, from its login"))
                .build(),
        );
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// Says in the finished document what the handlers' own words cannot: problems have a content type of their own, and a
/// panel that is answered is a record with more in it.
pub fn finish(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete, &mut item.put];
        for response in
            operations.into_iter().flatten().flat_map(|operation| operation.responses.responses.values_mut())
        {
            if let RefOr::T(response) = response
                && response.content.get("application/json").is_some_and(is_problem)
                && let Some(content) = response.content.shift_remove("application/json")
            {
                response.content.insert("application/problem+json".to_owned(), content);
            }
        }
    }
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(record))) = schemas.and_then(|schemas| schemas.get_mut("PanelRecord"))
    {
        record.additional_properties = None;
    }
    document
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(content) = content else { return false };
    matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location.ends_with("/ProblemBody"))
}
