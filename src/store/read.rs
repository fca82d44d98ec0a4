//! Reads over one snapshot: all that was committed when it was taken, untouched by what is written since.

use std::ops::Bound;
use std::sync::Arc;

use redb::{AccessGuard, Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use uuid::Uuid;

use super::bodies::body_text;
use super::changes::batches::opened_work;
use super::json::decode;
use super::outcomes::row_of_outcome;
use super::pack;
use super::records::{AuditRecord, ConnectionRecord, DeviceRecord, IdempotencyKey, TokenRecord, UserRecord};
use super::row::{self, Head, ItemKey, Pending, Reported, ReportedCounts, Row, RowName};
use super::seal::Seal;
use super::tables;
use super::{BatchSeq, PanelNo, StoreError, damage};
use crate::batch::item::ItemId;
use crate::batch::{BatchRecord, BatchState, Outcome};
use crate::profile::LinkId;

pub mod alerts;
mod embedded;
pub mod events;
mod items;
pub mod past;

pub use items::Counts;

/// A consistent view of the store.
pub struct Snapshot {
    transaction: ReadTransaction,
    seal: Arc<Seal>,
}

/// An item as it stands on a panel.
#[derive(Clone)]
pub struct StoredItem {
    /// By what it is known.
    pub name: RowName,
    /// Its row.
    pub row: Row,
    /// Its JSON, without link_id; of an identifier a secret.
    pub json: Box<str>,
}

impl StoredItem {
    /// The link_id, where it has one.
    pub fn link_id(&self) -> Option<LinkId> {
        self.name.link_id()
    }
}

impl Snapshot {
    pub(super) fn new(db: &Database, seal: &Arc<Seal>) -> Result<Self, StoreError> {
        Ok(Self { transaction: db.begin_read()?, seal: Arc::clone(seal) })
    }

    /// Calls `each` with every panel's number and record, JSON, in the order of the numbers.
    pub fn each_panel<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(PanelNo, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PANELS).map_err(StoreError::from)?;
            for entry in table.iter().map_err(StoreError::from)? {
                let (number, record) = entry.map_err(StoreError::from)?;
                each(number.value(), record.value())?;
            }
            Ok(())
        })
    }

    /// The id of a panel that is or was there.
    pub fn panel_name(&self, panel: PanelNo) -> Result<Option<String>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PANEL_NAMES)?;
            Ok(table.get(panel)?.map(|name| name.value().to_owned()))
        })
    }

    /// How many items the panel holds, and its next uid.
    pub fn head(&self, panel: PanelNo) -> Result<Head, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PACKS)?;
            let first = table.get(&row::panel_range(panel).0)?;
            Ok(first.map(|value| pack::head(value.value())).unwrap_or_default())
        })
    }

    /// The row of a name on a panel.
    pub fn row(&self, panel: PanelNo, name: RowName) -> Result<Option<Row>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PACKS)?;
            let (first, key) = (row::panel_range(panel).0, row::row_key(panel, name));
            let Some(only) = table.get(&first)? else { return Ok(None) };
            if !pack::has_others(only.value()) {
                return Ok(pack::get(only.value(), &key));
            }
            let below = table.upper_bound(Bound::Included(&key))?.peek_prev()?;
            Ok(below.and_then(|(_, value)| pack::get(value.value(), &key)))
        })
    }

    /// The panel's rows, by kind, those with a link_id first, in link_id order.
    pub fn rows(&self, panel: PanelNo) -> Result<Vec<(RowName, Row)>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PACKS)?;
            let (first, last) = row::panel_range(panel);
            let mut rows = Vec::new();
            for entry in table.range::<&row::RowKey>(&first..=&last)? {
                for row in pack::rows(entry?.1.value()) {
                    rows.push(row?);
                }
            }
            Ok(rows)
        })
    }

    /// The JSON of a body.
    pub fn body(&self, number: u64) -> Result<Box<str>, StoreError> {
        damage::read(|| {
            let bodies = self.transaction.open_table(tables::BODIES)?;
            let stored = bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
            body_text(&self.seal, number, stored.value())
        })
    }

    /// Calls `each` with every row of every panel, in panel order.
    pub(super) fn each_row(&self, mut each: impl FnMut(PanelNo, RowName, Row)) -> Result<(), StoreError> {
        damage::read(|| {
            for entry in self.transaction.open_table(tables::PACKS)?.iter()? {
                let (key, value) = entry?;
                let panel = row::be_u32(&key.value()[..4]);
                for row in pack::rows(value.value()) {
                    let (name, row) = row?;
                    each(panel, name, row);
                }
            }
            Ok(())
        })
    }

    /// Calls `each` with every row with a link_id of every panel, in panel order.
    pub fn each_linked(&self, mut each: impl FnMut(PanelNo, ItemId, Row)) -> Result<(), StoreError> {
        damage::read(|| {
            self.each_row(|panel, name, row| {
                if let RowName::Link(item) = name {
                    each(panel, item, row);
                }
            })
        })
    }

    /// What is known of an item on a panel's device.
    pub fn reported(&self, panel: PanelNo, item: ItemId) -> Result<Option<Reported>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::REPORTED)?;
            let stored = table.get(&row::item_key(panel, item))?;
            stored.map(|value| Reported::decode(value.value())).transpose()
        })
    }

    /// Calls `each` with all that is known of a panel's device, in the order of the items, until it says no.
    pub fn each_reported(
        &self,
        panel: PanelNo,
        mut each: impl FnMut(ItemId, Reported) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::REPORTED)?;
            if table.is_empty()? {
                return Ok(());
            }
            let (first, last) = row::item_range(panel);
            for entry in table.range::<&ItemKey>(&first..=&last)? {
                let (key, value) = entry?;
                if !each(row::item_name(key.value())?.1, Reported::decode(value.value())?)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Calls `each` with all that is known of all devices, by panel.
    pub fn each_reported_anywhere(
        &self,
        mut each: impl FnMut(PanelNo, ItemId, Reported) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::REPORTED)?;
            for entry in table.iter()? {
                let (key, value) = entry?;
                let (panel, item) = row::item_name(key.value())?;
                each(panel, item, Reported::decode(value.value())?)?;
            }
            Ok(())
        })
    }

    /// Whether something waits for a panel's device.
    pub fn has_pending(&self, panel: PanelNo) -> Result<bool, StoreError> {
        damage::read(|| Ok(self.transaction.open_table(tables::PENDING)?.get(panel)?.is_some()))
    }

    /// Calls `each` with every item that waits for a panel's device, in the order of the items, until it says no.
    pub fn each_pending(
        &self,
        panel: PanelNo,
        mut each: impl FnMut(ItemId, Pending) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        damage::read(|| {
            let Some(stored) = self.transaction.open_table(tables::PENDING)?.get(panel)? else {
                return Ok(());
            };
            for item in row::decode_pending(stored.value()) {
                let (item, pending) = item?;
                if !each(item, pending)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// How many link_ids of devices are in which state, panel by panel.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        Ok(Counts(self.transaction.open_table(tables::COUNTS)?))
    }

    /// How many link_ids of a panel's device are in which state.
    pub fn reported_counts(&self, panel: PanelNo) -> Result<ReportedCounts, StoreError> {
        damage::read(|| self.counts()?.of(panel))
    }

    /// The same over all panels.
    pub fn all_reported_counts(&self) -> Result<ReportedCounts, StoreError> {
        damage::read(|| self.counts()?.of(tables::ALL_PANELS))
    }

    /// What a panel's device said of itself.
    pub fn device(&self, panel: PanelNo) -> Result<Option<DeviceRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::DEVICES)?;
            table.get(panel)?.map(|record| decode(record.value(), "device")).transpose()
        })
    }

    /// Calls `each` with what every device said of its serial number, and its panel, in the order of the panels.
    pub fn each_serial(&self, mut each: impl FnMut(String, PanelNo)) -> Result<(), StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::DEVICES)?;
            for entry in table.iter()? {
                let (panel, record) = entry?;
                let device: DeviceRecord = decode(record.value(), "device")?;
                each(device.serial, panel.value());
            }
            Ok(())
        })
    }

    /// When a remote panel went offline and came back, oldest first; the last [`tables::KEPT_CONNECTIONS`] times.
    pub fn connections(&self, panel: PanelNo) -> Result<Vec<ConnectionRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::CONNECTIONS)?;
            Ok(table
                .get(panel)?
                .map(|kept| decode(kept.value(), "connections"))
                .transpose()?
                .unwrap_or_default())
        })
    }

    /// The MD5 hex of the password of a remote panel's account. It is for the device and for nobody else.
    pub fn credential(&self, panel: PanelNo) -> Result<Option<String>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::SECRETS)?;
            table.get(panel)?.map(|sealed| self.seal.open(panel, sealed.value())).transpose()
        })
    }

    /// A batch's record.
    pub fn batch(&self, seq: BatchSeq) -> Result<Option<BatchRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BATCHES)?;
            table.get(seq)?.map(|record| decode(record.value(), "batch")).transpose()
        })
    }

    /// The number of the batch with this public id.
    pub fn batch_seq(&self, id: Uuid) -> Result<Option<BatchSeq>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BATCH_IDS)?;
            Ok(table.get(id.as_bytes())?.map(|seq| seq.value()))
        })
    }

    /// The batches before `before`, newest first, at most `limit`.
    pub fn batches(
        &self,
        before: BatchSeq,
        limit: usize,
    ) -> Result<Vec<(BatchSeq, BatchRecord)>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BATCHES)?;
            let mut batches = Vec::new();
            for entry in table.range(..before)?.rev().take(limit) {
                let (seq, record) = entry?;
                batches.push((seq.value(), decode(record.value(), "batch")?));
            }
            Ok(batches)
        })
    }

    /// The batches that are not finished, in the order of their acceptance. One whose record cannot be read is not among
    /// them, and the log says so.
    pub fn running_batches(&self) -> Result<Vec<(BatchSeq, BatchRecord)>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BATCHES)?;
            let mut running = Vec::new();
            for entry in table.iter()? {
                let (seq, record) = entry?;
                match decode::<BatchRecord>(record.value(), "batch") {
                    Ok(record) if record.state == BatchState::Running => running.push((seq.value(), record)),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(batch.number = seq.value(), %error, "a batch is left out");
                    }
                }
            }
            Ok(running)
        })
    }

    /// A batch's operations, as they were kept; perhaps a secret.
    pub fn batch_work(&self, seq: BatchSeq) -> Result<Option<Box<[u8]>>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BATCH_WORK)?;
            let Some(work) = table.get(seq)? else { return Ok(None) };
            opened_work(&self.seal, seq, work.value()).map(|work| Some(work.into()))
        })
    }

    /// The panels that a batch is for, ascending.
    pub fn batch_targets(&self, seq: BatchSeq) -> Result<Vec<PanelNo>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BATCH_TARGETS)?;
            Ok(table.get(seq)?.map(|panels| row::decode_panels(panels.value())).unwrap_or_default())
        })
    }

    /// The outcomes of a batch from panel `from` on, in panel order, each with its panel.
    pub fn outcomes(
        &self,
        seq: BatchSeq,
        from: PanelNo,
    ) -> Result<impl Iterator<Item = Result<(PanelNo, Outcome), StoreError>>, StoreError> {
        let mut range = damage::read(|| {
            let table = self.transaction.open_table(tables::OUTCOMES)?;
            let first = row_of_outcome(&table, seq, from)?.map_or(from, |(first, _)| first);
            let (first, last) = (row::outcome_key(seq, first), row::outcome_key(seq, PanelNo::MAX));
            Ok::<_, StoreError>(table.range::<&row::OutcomeKey>(&first..=&last)?)
        })?;
        let mut broken = false;
        let runs = std::iter::from_fn(move || {
            if broken {
                return None;
            }
            let run = damage::read(|| {
                let Some(entry) = range.next() else { return Ok(None) };
                let (key, value) = entry?;
                let (count, outcome) = row::split_outcome(value.value())?;
                Ok::<_, StoreError>(Some((
                    row::outcome_panel(key.value()),
                    count,
                    row::decode_outcome(outcome)?,
                )))
            });
            broken = run.is_err();
            run.transpose()
        });
        Ok(runs.flat_map(move |run| {
            let (run, failed) = match run {
                Ok(run) => (Some(run), None),
                Err(error) => (None, Some(Err(error))),
            };
            let panels = run.into_iter().flat_map(move |(first, count, outcome)| {
                (first.max(from)..first.saturating_add(count)).map(move |panel| Ok((panel, outcome.clone())))
            });
            failed.into_iter().chain(panels)
        }))
    }

    /// The batch that was sent under this idempotency key.
    pub fn key(&self, name: &str) -> Result<Option<IdempotencyKey>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::KEYS)?;
            Ok(table.get(name)?.map(|value| IdempotencyKey::decode(value.value())))
        })
    }

    /// A user's record.
    pub fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::USERS)?;
            table.get(name)?.map(|record| decode(record.value(), "user")).transpose()
        })
    }

    /// All users, by name.
    pub fn users(&self) -> Result<Vec<(String, UserRecord)>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::USERS)?;
            let mut users = Vec::new();
            for entry in table.iter()? {
                let (name, record) = entry?;
                users.push((name.value().to_owned(), decode(record.value(), "user")?));
            }
            Ok(users)
        })
    }

    /// The token with this id.
    pub fn token(&self, id: Uuid) -> Result<Option<TokenRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::TOKENS)?;
            table.get(id.as_bytes())?.map(|record| decode(record.value(), "token")).transpose()
        })
    }

    /// All tokens.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::TOKENS)?;
            table.iter()?.map(|entry| decode(entry?.1.value(), "token")).collect()
        })
    }

    /// The audit entries before `before`, newest first, of which `wanted` says so, at most `limit`.
    pub fn audit(
        &self,
        before: u64,
        limit: usize,
        wanted: impl Fn(&AuditRecord) -> bool,
    ) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        damage::read(|| {
            let changes = self.transaction.open_table(tables::AUDIT)?;
            let sessions = self.transaction.open_table(tables::AUDIT_SESSIONS)?;
            let (mut changes, mut sessions) =
                (changes.range(..before)?.rev(), sessions.range(..before)?.rev());
            let (mut change, mut session) = (changes.next().transpose()?, sessions.next().transpose()?);
            let mut entries = Vec::new();
            while entries.len() < limit {
                // Both have numbers of one run.
                let number = |entry: &Option<(AccessGuard<'_, u64>, _)>| {
                    entry.as_ref().map(|(number, _)| number.value())
                };
                let newer = if number(&change) > number(&session) {
                    std::mem::replace(&mut change, changes.next().transpose()?)
                } else {
                    std::mem::replace(&mut session, sessions.next().transpose()?)
                };
                let Some((number, record)) = newer else { break };
                let record = decode(record.value(), "audit entry")?;
                if wanted(&record) {
                    entries.push((number.value(), record));
                }
            }
            Ok(entries)
        })
    }

    pub(super) fn transaction(&self) -> &ReadTransaction {
        &self.transaction
    }
}
