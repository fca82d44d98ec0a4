//! An identifier is shown at the door of an embedded panel: whether it opens, the pass that it costs, the event and the
//! panel's own log, all at once.

use jiff::tz::TimeZone;
use redb::ReadableTable;

use crate::batch::item::ItemId;
use crate::identifier::Identifier;
use crate::identifier::event::{AccessEvent, Presented};
use crate::identifier::number::Credential;
use crate::identifier::opens::{self, Hours, When};
use crate::identifier::rule::{Kind, Lock};
use crate::profile::LinkId;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::store::bodies::identifier_in;
use crate::store::event::Source;
use crate::store::passes::CountedOf;
use crate::store::records::{AuditRecord, LogRecord};
use crate::store::row::{Row, RowName};
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError};

/// Something is shown at a panel's door.
pub struct Presentation {
    /// What.
    pub credential: Credential,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// The same moment, for the question whether it opens.
    pub when: When,
    /// The panel's zone.
    pub zone: TimeZone,
    /// The panel's family, whose words it uses.
    pub family: Family,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whether the door opened.
    pub granted: bool,
    /// What happened, in the words of the panel's family.
    pub reason: &'static str,
    /// Whose it was, where it was somebody's with a link_id.
    pub identifier: Option<LinkId>,
}

/// An identifier that a panel has, and whether it opens.
struct Found {
    name: RowName,
    row: Row,
    identifier: Identifier,
    opens: bool,
}

impl Tables<'_> {
    /// Shows an identifier at the door of an embedded panel.
    pub fn present(
        &mut self,
        panel: PanelNo,
        shown: &Presentation,
        now_ms: i64,
        audit: &AuditRecord,
    ) -> Result<Shown, StoreError> {
        self.there(panel)?;
        let found = self.found(panel, shown)?;
        let granted = found.as_ref().is_some_and(|found| found.opens);
        let reason = reason(shown.family, shown.credential.kind(), found.is_some(), granted);
        if let Some(found) = &found
            && granted
            && let Some(of) = self.counted_of(&found.identifier)
        {
            self.count_pass(panel, found.row.uid, of)?;
        }
        let lock = match found.as_ref().map(|found| found.identifier.lock) {
            Some(Lock::Second) => 2,
            Some(Lock::First | Lock::All) | None => 1,
        };
        let mut notes = vec![("lock".into(), lock.to_string().into())];
        let owner = found.as_ref().map(|found| found.identifier.name.as_str());
        notes.extend(owner.map(|owner| ("owner".into(), owner.into())));
        let event = AccessEvent {
            at_ms: shown.at_ms,
            said_ms: shown.at_ms,
            granted: Some(granted),
            reason: reason.into(),
            presented: Some(Presented::Known(shown.credential.clone())),
            notes: notes.into_iter().collect(),
        };
        self.keep_events(panel, &[event], Source::Panel, now_ms)?;
        let entry = LogRecord {
            at_ms: shown.at_ms,
            category: "access".into(),
            key: reason.into(),
            lock: Some(lock),
            event: self.memory.next_event.map(|next| next - 1),
        };
        self.log_at_panel(panel, &[entry], audit)?;
        let identifier = found.and_then(|found| match found.name {
            RowName::Link(item) => item.identifier_link(),
            RowName::Uid(..) => None,
        });
        Ok(Shown { granted, reason, identifier })
    }

    fn found(&mut self, panel: PanelNo, shown: &Presentation) -> Result<Option<Found>, StoreError> {
        let mut rows = self.panel(panel);
        let Some((name, row)) = rows.holder(&shown.credential)? else { return Ok(None) };
        let identifier = identifier_in(&rows.json(&row)?)?;
        let mut hours = Vec::new();
        for profile in identifier.profiles.as_slice() {
            let Some(row) = rows.get(RowName::Link(ItemId::profile(*profile)))? else { continue };
            let held = parse::stored(&rows.json(&row)?).map_err(|_| StoreError::Corrupt("body"))?;
            hours.push((*profile, Hours::of(&held, &shown.zone, shown.when)));
        }
        drop(rows);
        let used = self.counted_of(&identifier).map(|of| self.passes_used(panel, row.uid, of)).transpose()?;
        let left = identifier.left_after(used.unwrap_or_default());
        let of = |profile| hours.iter().find(|(link, _)| *link == profile).map(|(_, hours)| hours);
        let opens = opens::answer(&identifier, left, shown.when, of).opens();
        Ok(Some(Found { name, row, identifier, opens }))
    }

    fn counted_of(&self, identifier: &Identifier) -> Option<CountedOf> {
        CountedOf::new(self.memory.seal.tag(&identifier.credential), identifier)
    }

    fn passes_used(&self, panel: PanelNo, uid: u32, of: CountedOf) -> Result<u32, StoreError> {
        Ok(self.passes.get((panel, uid))?.map_or(0, |counted| of.used(counted.value())))
    }

    fn count_pass(&mut self, panel: PanelNo, uid: u32, of: CountedOf) -> Result<(), StoreError> {
        let used = self.passes_used(panel, uid, of)?.saturating_add(1);
        let had = self.passes.insert((panel, uid), of.with(used))?.is_some();
        if had { Ok(()) } else { self.drop_passes_of_none(panel) }
    }

    /// The identifier with this uid has all its passes again.
    pub fn reset_passes(&mut self, panel: PanelNo, uid: u32) -> Result<(), StoreError> {
        self.passes.remove((panel, uid))?;
        Ok(())
    }

    /// Identifiers go without anybody looking here, and no uid is given twice; what is kept of those that went is dropped
    /// whenever it has perhaps become as much again.
    fn drop_passes_of_none(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let of_panel = (panel, 0)..=(panel, u32::MAX);
        let counted = self.passes.range(of_panel.clone())?.count();
        if counted < 16 || !counted.is_power_of_two() {
            return Ok(());
        }
        let rows = self.panel(panel).all()?;
        let uids: rustc_hash::FxHashSet<u32> = rows.iter().map(|(_, row)| row.uid).collect();
        self.passes.retain_in(of_panel, |(_, uid), _| uids.contains(&uid))?;
        Ok(())
    }

    /// The panel goes.
    pub(in crate::store) fn forget_passes(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        Ok(self.passes.retain_in((panel, 0)..=(panel, u32::MAX), |_, _| false)?)
    }
}

/// What a panel of this family calls it.
fn reason(family: Family, kind: Kind, is_known: bool, granted: bool) -> &'static str {
    let android = family == Family::Android;
    match (granted, is_known, kind) {
        (true, _, Kind::Face) if android => "access_granted_by_valid_face_identifier",
        (true, ..) => "access_granted_by_valid_identifier",
        (false, true, Kind::Face) if android => "access_denied_by_not_valid_face_identifier",
        (false, false, Kind::Card) => "access_denied_by_unknown_card",
        (false, false, Kind::Code) => "access_denied_by_not_valid_input_code",
        (false, false, Kind::Qr) if !android => "access_denied_by_unknown_qr_code",
        (false, false, _) if android => "access_denied_unknown_identifier",
        (false, ..) => "access_denied_by_not_valid_identifier",
    }
}
