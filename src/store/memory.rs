//! What the writer remembers from one transaction to the next.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::PanelNo;
use super::event::EventFeed;
use super::kept::Noting;
use super::seal::Seal;
use crate::batch::BodyDigest;
use crate::profile::LinkId;

/// What the writer remembers between transactions: which body has which digest, and with which each was compared last,
/// which is derivable and forgotten when a transaction fails, since numbers it gave were not committed; and which panels
/// are gone, so that nothing is written for them any more.
pub(super) struct Memory {
    pub(super) seal: Arc<Seal>,
    /// Panels removed since the start. Their numbers are not given again.
    pub(super) gone: FxHashSet<PanelNo>,
    /// Panels that the transaction under way removes.
    pub(super) going: FxHashSet<PanelNo>,
    /// Panels removed in transactions that failed: perhaps done all the same.
    pub(super) perhaps_gone: FxHashSet<PanelNo>,
    pub(super) by_digest: FxHashMap<BodyDigest, u64>,
    digests: FxHashMap<u64, BodyDigest>,
    pub(super) compared: FxHashMap<u64, (BodyDigest, bool)>,
    /// The time profiles that bodies of identifiers name.
    pub(super) bound: FxHashMap<u64, Arc<[LinkId]>>,
    pub(super) next_body: Option<u64>,
    pub(super) next_audit: Option<u64>,
    pub(super) next_event: Option<u64>,
    /// Of panels whose own events are dropped: before this number there is none of theirs.
    pub(super) oldest_event: FxHashMap<PanelNo, u64>,
    /// Whether the transaction under way changes the serial number of a device.
    pub(super) changes_serials: bool,
    /// Where the transaction under way notes what it changes.
    pub(super) noting: Noting,
    /// How many events are kept, and who waits for them.
    pub(super) events: Arc<EventFeed>,
}

/// Bodies remembered at most; beyond, remembering starts anew.
pub(super) const REMEMBERED: usize = 65_536;

impl Memory {
    pub(super) fn new(seal: Arc<Seal>) -> Self {
        Self {
            seal,
            gone: FxHashSet::default(),
            going: FxHashSet::default(),
            perhaps_gone: FxHashSet::default(),
            by_digest: FxHashMap::default(),
            digests: FxHashMap::default(),
            compared: FxHashMap::default(),
            bound: FxHashMap::default(),
            next_body: None,
            next_audit: None,
            next_event: None,
            oldest_event: FxHashMap::default(),
            changes_serials: false,
            noting: None,
            events: Arc::default(),
        }
    }

    /// The transaction is committed.
    pub(super) fn keep_transaction(&mut self) {
        self.gone.extend(self.going.drain());
        if std::mem::take(&mut self.changes_serials) {
            self.events.serials_changed();
        }
    }

    /// The transaction failed.
    pub(super) fn forget_transaction(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        let mut perhaps_gone = std::mem::take(&mut self.perhaps_gone);
        perhaps_gone.extend(self.going.drain());
        let events = Arc::clone(&self.events);
        if self.changes_serials {
            events.serials_changed(); // perhaps done all the same
        }
        *self = Self { gone, perhaps_gone, events, ..Self::new(Arc::clone(&self.seal)) };
    }

    pub(super) fn remember(&mut self, digest: BodyDigest, body: u64) {
        if self.digests.len() >= REMEMBERED {
            self.by_digest.clear();
            self.digests.clear();
        }
        self.by_digest.insert(digest, body);
        self.digests.insert(body, digest);
    }

    pub(super) fn forget(&mut self, body: u64) {
        self.compared.remove(&body);
        self.bound.remove(&body);
        if let Some(digest) = self.digests.remove(&body) {
            self.by_digest.remove(&digest);
        }
    }
}
