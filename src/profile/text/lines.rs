//! In which line of a YAML text something stands. JSON is written on one line as often as not, and has none here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The lines of all that a YAML text says.
pub struct Lines(Option<Spanned<Node>>);

impl Lines {
    /// Nothing has a line in a text that is JSON, or neither.
    pub fn of(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with(['{', '[']) {
            return Self(None);
        }
        let read = serde_saphyr::with_deserializer_from_str_with_options(text, super::options(), |yaml| {
            Spanned::deserialize(yaml)
        });
        Self(read.ok())
    }

    /// The line of what stands at a JSON pointer or, where nothing does, of the nearest that it would stand in. What is
    /// said elsewhere and only named there (`*name`) has the line of its name.
    pub fn line(&self, pointer: &str) -> Option<u64> {
        let mut at = self.0.as_ref()?;
        for step in pointer.split('/').skip(1) {
            let inside = match &at.value {
                Node::Leaf => None,
                Node::List(items) => step.parse().ok().and_then(|i: usize| items.get(i)),
                Node::Object(entries) => {
                    let key = step.replace("~1", "/").replace("~0", "~");
                    entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
                }
            };
            let Some(inside) = inside else { break };
            at = inside;
        }
        Some(at.referenced.line()).filter(|line| *line > 0)
    }
}

/// What a text says, without what its scalars say.
enum Node {
    Leaf,
    List(Vec<Spanned<Node>>),
    Object(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(of: D) -> Result<Self, D::Error> {
        of.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON can say")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, of: D) -> Result<Node, D::Error> {
        of.deserialize_any(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_the_line_on_which_it_begins() {
        let text = "# cards\nx-lock: &lock\n  name: first\nidentifiers:\n- lock: *lock\n  owner:\n    name: Olena\n    type: 7\n- {lock: 1,\n   a/b: 2}\n";
        let lines = Lines::of(text);
        for (pointer, line) in [
            ("/x-lock/name", 3),
            ("/identifiers/0", 5),
            ("/identifiers/0/lock", 5),
            ("/identifiers/0/owner/name", 7),
            ("/identifiers/0/owner/type", 8),
            ("/identifiers/0/owner/other", 7),
            ("/identifiers/0/missing", 5),
            ("/identifiers/1/lock", 9),
            ("/identifiers/1/a~1b", 10),
            ("/identifiers/9", 5),
        ] {
            assert_eq!(lines.line(pointer), Some(line), "{pointer}");
        }
    }

    #[test]
    fn what_is_no_yaml_has_no_lines() {
        for text in ["[{}]", "{\"identifiers\": []}", " \n{}", "a: [b"] {
            assert_eq!(Lines::of(text).line("/0"), None, "{text}");
        }
    }
}
