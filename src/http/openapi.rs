//! The OpenAPI document's frame; its paths and schemas come from the handlers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

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
        (name = "access", description = "Users, tokens and the audit"),
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
