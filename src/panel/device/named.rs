//! Which time profiles identifiers name on a device, whoever made them.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::profile::LinkId;

/// Time profiles that identifiers name on a device.
#[derive(Debug, Default)]
pub struct Named {
    /// Each with the link_id of the first one that names it, where it has any.
    links: HashMap<LinkId, Option<LinkId>>,
    /// Some identifier names what cannot be read.
    any: bool,
}

impl Named {
    /// Whether one names it, or perhaps does.
    pub fn has(&self, profile: &LinkId) -> bool {
        self.any || self.links.contains_key(profile)
    }

    /// Which one names it, in words.
    pub fn by(&self, profile: &LinkId) -> String {
        match self.links.get(profile) {
            Some(Some(link)) => format!("by {link}"),
            Some(None) => "by one that was made on the device".to_owned(),
            None => "perhaps, by one that cannot be read".to_owned(),
        }
    }

    /// Takes what others name, too.
    pub(super) fn add(&mut self, others: Self) {
        self.links.extend(others.links);
        self.any |= others.any;
    }

    /// Takes what an identifier of a list names, whatever else it says.
    pub(super) fn take(&mut self, identifier: &RawValue) {
        #[derive(Deserialize)]
        struct Naming {
            #[serde(default)]
            link_id: Value,
            #[serde(default)]
            time_profiles: Value,
        }
        let link = |text: &Value| text.as_str().and_then(|link| link.trim().parse().ok());
        let Ok(Naming { link_id, time_profiles }) = serde_json::from_str(identifier.get()) else {
            self.any = true;
            return;
        };
        let links = match &time_profiles {
            Value::Null => return,
            Value::Object(fields) if fields.is_empty() => return,
            Value::Object(fields) => fields.get("link_ids"),
            list => Some(list),
        };
        let Some(links) = links.and_then(Value::as_array) else {
            self.any |= links != Some(&Value::Null);
            return;
        };
        for profile in links {
            match link(profile) {
                Some(profile) => _ = self.links.entry(profile).or_insert_with(|| link(&link_id)),
                None => self.any = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(identifier: &str) -> Named {
        let mut named = Named::default();
        named.take(&RawValue::from_string(identifier.to_owned()).expect("JSON"));
        named
    }

    #[test]
    fn what_cannot_be_read_perhaps_names_every_profile() {
        let (one, other) = (LinkId::from_bytes([1; 16]), LinkId::from_bytes([2; 16]));
        for names in [r#"{"link_ids":["LINK"]}"#, r#"{"uids":[1],"link_ids":[" LINK "]}"#, r#"["LINK"]"#] {
            let identifier = format!(r#"{{"identifier_type":7,"time_profiles":{names}}}"#);
            let named = named(&identifier.replace("LINK", &one.to_string()));
            assert_eq!((named.has(&one), named.has(&other)), (true, false), "{names}");
            assert_eq!(named.by(&one), "by one that was made on the device");
        }
        for none in [
            "{}",
            r#"{"time_profiles":null}"#,
            r#"{"time_profiles":{}}"#,
            r#"{"time_profiles":{"link_ids":[]}}"#,
        ] {
            assert!(!named(none).has(&one), "{none}");
        }
        assert!(!named(r#"{"time_profiles":{"link_ids":null}}"#).has(&one));
        for odd in
            ["7", r#"{"uids":[3]}"#, r#"{"link_ids":[7]}"#, r#"{"link_ids":"x"}"#, r#"{"link_ids":["x"]}"#]
        {
            assert!(named(&format!(r#"{{"time_profiles":{odd}}}"#)).has(&other), "{odd}");
        }
        let ours = named(&format!(r#"{{"link_id":"{other}","time_profiles":["{one}"]}}"#));
        assert_eq!(ours.by(&one), format!("by {other}"));
        assert!(named(r#"{"time_profiles":null,"time_profiles":null}"#).has(&one));
        assert!(named("7").has(&one));
    }
}
