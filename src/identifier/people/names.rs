//! The time profiles that a list of people may name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use unicode_normalization::UnicodeNormalization;

use crate::profile::LinkId;
use crate::profile::text::near::nearest;

/// Time profiles by name: those that are sent with a list, then those that the fleet has.
#[derive(Debug, Default)]
pub struct Names {
    sent: ByName,
    held: ByName,
    of: HashMap<LinkId, String>,
}

type ByName = HashMap<String, Vec<LinkId>>;

impl Names {
    /// Of profiles that are sent with the list, and of those that the fleet has. What is sent has its new name.
    pub fn new(
        sent: impl IntoIterator<Item = (LinkId, String)>,
        held: impl IntoIterator<Item = (LinkId, String)>,
    ) -> Self {
        let mut names = Self::default();
        let mut add = |to: &mut ByName, (link_id, name): (LinkId, String)| {
            if let Entry::Vacant(free) = names.of.entry(link_id) {
                to.entry(in_one_form(&name)).or_default().push(link_id);
                free.insert(name);
            }
        };
        sent.into_iter().for_each(|profile| add(&mut names.sent, profile));
        held.into_iter().for_each(|profile| add(&mut names.held, profile));
        names
    }

    /// What a profile is called.
    pub fn of(&self, link_id: LinkId) -> Option<String> {
        self.of.get(&link_id).cloned()
    }

    /// The profile of this link_id or name, in the same letters or, where none is, in others' case. The error does not
    /// tell the name, which may be a number in the wrong column.
    pub fn find(&self, name: &str) -> Result<LinkId, String> {
        if let Ok(link_id) = name.parse() {
            let known = self.of.contains_key(&link_id);
            let none = "no panel holds a time profile with this link_id, and none is sent with the list";
            return if known { Ok(link_id) } else { Err(none.to_owned()) };
        }
        let name = in_one_form(name);
        let small = name.to_lowercase();
        let called = |names: &ByName| names.get(&name).cloned().unwrap_or_default();
        let in_any_case = |names: &ByName| -> Vec<LinkId> {
            let same = names.iter().filter(|(known, _)| known.to_lowercase() == small);
            same.flat_map(|(_, ids)| ids).copied().collect()
        };
        let found =
            [called(&self.sent), called(&self.held), in_any_case(&self.sent), in_any_case(&self.held)];
        match found.into_iter().find(|ids| !ids.is_empty()).as_deref() {
            Some([one]) => Ok(*one),
            Some(many) => {
                let mut ids: Vec<_> = many.iter().map(LinkId::to_string).collect();
                ids.sort();
                Err(format!("several time profiles have this name; give one's link_id: {}", ids.join(", ")))
            }
            None => {
                let known = self.sent.keys().chain(self.held.keys()).map(String::as_str);
                Err(match nearest(&name, known) {
                    Some(near) => format!("no time profile has this name; did you mean {near:?}?"),
                    None => "no time profile has this name".to_owned(),
                })
            }
        }
    }
}

/// A name as it is compared: letters with marks are written in several ways (NFC is one), which look the same.
fn in_one_form(name: &str) -> String {
    name.trim().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_one_profile_or_it_is_asked_which() {
        let id = |n| LinkId::from_bytes([n; 16]);
        let of = |n, name: &str| (id(n), name.to_owned());
        let names = Names::new(
            [of(1, "Day"), of(2, "NIGHT")],
            [of(1, "Old name"), of(3, "Day"), of(4, "Gym"), of(5, "gym"), of(6, "Pool"), of(7, "Pool ")],
        );
        assert_eq!(names.find("Day"), Ok(id(1)), "what is sent with it comes first");
        assert_eq!(names.find("night"), Ok(id(2)));
        assert!(names.find("Old name").is_err(), "it has a new one");
        assert_eq!((names.find("Gym"), names.find("gym")), (Ok(id(4)), Ok(id(5))));
        assert!(names.find("GYM").is_err_and(|why| why.contains("several")));
        assert!(names.find("Pool").is_err_and(|why| why.contains(&id(7).to_string())));
        assert!(names.find("Pol").is_err_and(|why| why.contains("did you mean \"Pool\"?")));
        assert!(names.find("77001234").is_err_and(|why| !why.contains("7700")));
        assert_eq!(names.find(&id(5).to_string()), Ok(id(5)));
        assert!(names.find(&id(9).to_string()).is_err_and(|why| why.contains("with this link_id")));
        let cafe = Names::new([], [of(8, "Cafe\u{301}")]);
        assert_eq!((cafe.find("Caf\u{e9}"), cafe.find("CAFE\u{301}")), (Ok(id(8)), Ok(id(8))));
        assert_eq!(names.of(id(1)).as_deref(), Some("Day"));
    }
}
