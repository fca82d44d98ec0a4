//! The reading of a device's list, page by page.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::ask::{self, Page};
use super::{Held, Trouble};
use crate::batch::item::Kind;
use crate::profile::rule::Family;

/// Items of a kind read of a device at most.
const MAX_ITEMS: usize = 20_000;

/// Of the items without link_id, which are only shown, so many are kept.
const MAX_UNLINKED: usize = 1000;

/// Of the JSON that a device sends, so many bytes are kept as they came: of all items, and of one.
const KEPT_JSON: usize = 1024 * 1024;
const KEPT_OF_ONE: usize = 8 * 1024;

/// A device's list, as far as it has been read.
#[derive(Default)]
pub(super) struct Walk {
    /// What is kept of it.
    pub(super) held: Held,
    /// What was there, by its text: a page that brings nothing else is one that was read already.
    pub(super) seen: HashSet<u64>,
    /// How many items stood on the pages that brought something.
    pub(super) listed: u64,
    /// Of the pages.
    pub(super) bytes: usize,
    kept_json: usize,
}

impl Walk {
    /// Takes what a page brings, and says how much of it is new.
    pub(super) fn take_page(
        &mut self,
        page: &Page<'_>,
        kind: Kind,
        family: Family,
    ) -> Result<usize, Trouble> {
        let before = self.seen.len();
        for item in &page.items {
            let mut hasher = DefaultHasher::new();
            item.get().hash(&mut hasher);
            if !self.seen.insert(hasher.finish()) {
                continue;
            }
            if self.seen.len() > MAX_ITEMS {
                let what = kind.as_str();
                return Err(Trouble::TooMuch(format!("it holds more than {MAX_ITEMS} {what}s")));
            }
            let keep = item.get().len() <= KEPT_OF_ONE && self.kept_json + item.get().len() <= KEPT_JSON;
            if kind == Kind::Identifier {
                self.held.named.take(item);
            }
            let read = match kind {
                Kind::Profile => ask::read_profile(item, family, keep),
                Kind::Identifier => ask::read_identifier(item),
            };
            if read.link_id.is_none() {
                self.held.unlinked += 1;
                if self.held.unlinked as usize > MAX_UNLINKED {
                    continue;
                }
            }
            if keep {
                self.kept_json += item.get().len();
            }
            self.held.items.push(read);
        }
        let new = self.seen.len() - before;
        if new > 0 {
            self.listed += page.items.len() as u64;
        }
        Ok(new)
    }
}
