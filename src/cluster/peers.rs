//! What nodes say to each other over HTTP, and how it is believed: with a signature that only who has the fleet's key can make.
//!
//! A request that is passed on to the leader carries who its client is, since the audit and the throttle of logins want to
//! know. The signature binds that to the request's method and path. It says nothing of when: who can read what nodes say to each
//! other has the tokens in it as well, so between machines nodes speak TLS.

use std::net::IpAddr;

use ring::hmac;

use crate::store::seal::{Seal, hex, unhex};

/// The header that says for whom a request is passed on, and by which node.
pub const PASSED: &str = "panelsync-passed";

/// The header of an answer that says: this node does not lead.
pub const NOT_LEADING: &str = "panelsync-not-leading";

/// The header that shows a node.
pub const NODE: &str = "panelsync-node";

/// For how long what a node says of itself is believed, in seconds, either way: clocks differ.
const BELIEVED_S: i64 = 300;

/// For whom a request is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client speaks TLS.
    pub secure: bool,
    /// The node that passes it on.
    pub node: String,
}

/// Signs and checks what nodes say.
pub struct Peers {
    key: hmac::Key,
}

impl Peers {
    /// With a key made of the fleet's.
    pub fn new(seal: &Seal) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seal.derive(b"what nodes say to each other")) }
    }

    fn sign(&self, what: &str) -> String {
        hex(hmac::sign(&self.key, what.as_bytes()).as_ref())
    }

    fn is_signed(&self, what: &str, signature: &str) -> bool {
        unhex(signature).is_some_and(|signature| hmac::verify(&self.key, what.as_bytes(), &signature).is_ok())
    }

    /// The value of [`PASSED`] for a request.
    pub fn pass(&self, passed: &Passed, method: &str, path: &str) -> String {
        let Passed { client, secure, node } = passed;
        let said = format!("{client} {} {node}", u8::from(*secure));
        let signature = self.sign(&format!("pass\n{method}\n{path}\n{said}"));
        format!("{said} {signature}")
    }

    /// For whom a request is passed on, where that is signed.
    pub fn passed(&self, value: &str, method: &str, path: &str) -> Option<Passed> {
        let (said, signature) = value.rsplit_once(' ')?;
        if !self.is_signed(&format!("pass\n{method}\n{path}\n{said}"), signature) {
            return None;
        }
        let (client, rest) = said.split_once(' ')?;
        let (secure, node) = rest.split_once(' ')?;
        Some(Passed { client: client.parse().ok()?, secure: secure == "1", node: node.to_owned() })
    }

    /// Where a node is, with its word for it.
    pub fn vouch(&self, node: &str, url: &str) -> String {
        format!("{url} {}", self.sign(&format!("at\n{node}\n{url}")))
    }

    /// Where a node is, where one of the fleet has said so.
    pub fn vouched(&self, node: &str, said: &str) -> Option<String> {
        let (url, signature) = said.rsplit_once(' ')?;
        self.is_signed(&format!("at\n{node}\n{url}"), signature).then(|| url.to_owned())
    }

    /// The value of [`NODE`] by which a node shows itself at this moment, in Unix milliseconds.
    pub fn show(&self, node: &str, now_ms: i64) -> String {
        let said = format!("{node} {}", now_ms / 1000);
        let signature = self.sign(&format!("node\n{said}"));
        format!("{said} {signature}")
    }

    /// The node that shows itself, where that is signed and was just now.
    pub fn shown(&self, value: &str, now_ms: i64) -> Option<String> {
        let (said, signature) = value.rsplit_once(' ')?;
        let (node, at) = said.rsplit_once(' ')?;
        let at: i64 = at.parse().ok()?;
        let just_now = (now_ms / 1000).abs_diff(at) <= BELIEVED_S.unsigned_abs();
        (just_now && self.is_signed(&format!("node\n{said}"), signature)).then(|| node.to_owned())
    }
}

/// Whether a node may be called this: it stands in headers, tables and commands.
pub fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_key_says_for_whom_a_request_is_and_only_for_that_request() {
        let (one, other) = (Peers::new(&Seal::new([1; 32])), Peers::new(&Seal::new([2; 32])));
        let passed =
            Passed { client: "2001:db8::1".parse().expect("one"), secure: true, node: "north".into() };
        let value = one.pass(&passed, "POST", "/fleet/v1/session");
        assert_eq!(one.passed(&value, "POST", "/fleet/v1/session"), Some(passed));
        assert_eq!(one.passed(&value, "GET", "/fleet/v1/session"), None);
        assert_eq!(one.passed(&value, "POST", "/fleet/v1/users"), None);
        assert_eq!(other.passed(&value, "POST", "/fleet/v1/session"), None);
        assert_eq!(one.passed(&value.replace("2001", "2002"), "POST", "/fleet/v1/session"), None);
        for wrong in ["", " ", "1.2.3.4", "1.2.3.4 1 north", "1.2.3.4 1 north zz"] {
            assert_eq!(one.passed(wrong, "GET", "/"), None, "{wrong}");
        }
    }

    #[test]
    fn where_the_leader_is_nobody_says_who_has_not_the_key() {
        let (one, other) = (Peers::new(&Seal::new([1; 32])), Peers::new(&Seal::new([2; 32])));
        let said = one.vouch("north", "https://10.0.0.5:8443");
        assert_eq!(one.vouched("north", &said).as_deref(), Some("https://10.0.0.5:8443"));
        assert_eq!(one.vouched("south", &said), None);
        assert_eq!(other.vouched("north", &said), None);
        assert_eq!(one.vouched("north", "https://10.0.0.66:8443"), None);
    }

    #[test]
    fn a_node_is_believed_for_a_while() {
        let peers = Peers::new(&Seal::new([1; 32]));
        let value = peers.show("north", 1_000_000_000);
        assert_eq!(peers.shown(&value, 1_000_200_000).as_deref(), Some("north"));
        assert_eq!(peers.shown(&value, 1_000_400_000), None);
        assert_eq!(peers.shown(&value.replace("north", "south"), 1_000_000_000), None);
    }
}
