//! What the passes of an embedded panel's identifiers are counted of.

use super::seal::NumberTag;
use crate::identifier::Identifier;

/// Marks a number of passes that was said to be left, and so begins another count than as many that it has in all.
const SAID_TO_BE_LEFT: u32 = 1 << 31;

/// What opens and how many passes it began with. A change that leaves both leaves the count, as one of the name does;
/// after any other the count begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CountedOf {
    tag: NumberTag,
    began_with: u32,
}

impl CountedOf {
    /// Of an identifier; nothing where its passes are not limited.
    pub fn new(tag: NumberTag, identifier: &Identifier) -> Option<Self> {
        let passes = identifier.left_after(0)?; // of 31 bits
        let said = identifier.passes_left.is_some_and(|left| left.get() >= 0);
        Some(Self { tag, began_with: if said { passes | SAID_TO_BE_LEFT } else { passes } })
    }

    /// How often it has opened, of what is stored.
    pub fn used(self, (tag, began_with, used): (&NumberTag, u32, u32)) -> u32 {
        if (Self { tag: *tag, began_with }) == self { used } else { 0 }
    }

    /// As stored, when it has opened so often.
    pub fn with(&self, used: u32) -> (&NumberTag, u32, u32) {
        (&self.tag, self.began_with, used)
    }
}
