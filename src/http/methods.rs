//! Which methods a path takes: for the answer to a request with another one, which is 405 and names them.

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use utoipa::openapi::OpenApi;

/// The paths of an app with their methods.
pub struct Methods(Vec<(ResourceDef, Vec<&'static str>)>);

impl Methods {
    /// Those of the document, and those that the document does not show: their paths below each panel's base.
    pub fn of(document: &OpenApi, of_panels: &[(String, &[Method])]) -> Self {
        let mut paths = Vec::new();
        for (path, item) in &document.paths.paths {
            let methods = [
                ("DELETE", item.delete.is_some()),
                ("GET", item.get.is_some()),
                ("HEAD", item.get.is_some()),
                ("PATCH", item.patch.is_some()),
                ("POST", item.post.is_some()),
                ("PUT", item.put.is_some()),
            ];
            let there = methods.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
            paths.push((ResourceDef::new(path.as_str()), there));
            let base = path.strip_suffix("/info").filter(|base| base.ends_with("/api"));
            let Some(base) = base.filter(|base| !base.contains("as-panel")) else { continue };
            for (path, methods) in of_panels {
                let mut there: Vec<_> = methods.iter().filter_map(name).collect();
                if there.contains(&"GET") {
                    there.push("HEAD");
                }
                paths.push((ResourceDef::new(format!("{base}{path}")), there));
            }
        }
        Self(paths)
    }

    /// The methods that the path takes, as `Allow` names them; nothing where there is no such path.
    pub fn allowed(&self, path: &str) -> Option<String> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .filter(|(resource, _)| resource.is_match(path))
            .flat_map(|(_, methods)| methods)
            .collect();
        all.sort_unstable();
        all.dedup();
        let names: Vec<_> = all.into_iter().copied().collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

fn name(method: &Method) -> Option<&'static str> {
    ["DELETE", "GET", "PATCH", "POST", "PUT"].into_iter().find(|name| *name == method.as_str())
}
