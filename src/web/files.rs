//! Style, script and icon, which are part of the binary, and where they are.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::store::seal::hex;

/// One of them.
pub struct Asset {
    name: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// What is in it.
    pub text: &'static str,
}

static ASSETS: [Asset; 5] = [
    Asset { name: "page.css", kind: "text/css; charset=utf-8", text: include_str!("assets/page.css") },
    Asset { name: "page.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/page.js") },
    Asset { name: "fleet.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/fleet.js") },
    Asset {
        name: "profile.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("assets/profile.js"),
    },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("assets/icon.svg") },
];

/// Names this build's assets: a browser keeps them for ever, and another build's have another name.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for asset in &ASSETS {
        digest.update(asset.text);
    }
    hex(&digest.finalize()[..6])
});

/// Where an asset is.
pub fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// The asset of this name, where it is one of this build's.
pub fn find(version: &str, name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name).filter(|_| version == *VERSION)
}
