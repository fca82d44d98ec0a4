//! Every table: its key, its value, and what deletes a row. [`Tables`] is all of them, open for writing.
//!
//! | table | key | value | a row goes when |
//! | --- | --- | --- | --- |
//! | `meta` | name | 8 bytes, a number: the format, the fleet's own, the next panel, body, batch and audit numbers, the last start; with several nodes the log's id, the last entry that is applied, and its tag; since when all that batches change is kept | never |
//! | `panels` | panel number | the panel's record, JSON | the panel is removed |
//! | `panel_ids` | the panel's id | panel number | the panel is removed |
//! | `panel_names` | panel number | the panel's id | never: batches and audit name removed panels too |
//! | `packs` | panel, the first name of the pack, which begins with the item's kind ([`super::row::RowKey`]) | next uid and number of rows ([`super::row::Head`], in the first pack), then some of the panel's rows ([`super::pack`]), each with body, uid, revision ([`super::row::Row`]) | the first: its panel is removed; another: its last item is deleted too |
//! | `bodies` | running number | number of rows that name it (8), then a profile's JSON; or of an identifier 1, its [`super::seal::NumberTag`] (16) and its JSON, sealed | no row names it, nor `last_held`, `before`, `to_undo` |
//! | `numbers` | an identifier's tag, the number of a body with this type and number | nothing | with its body |
//! | `faces` | a face's tag | its JPEG, sealed | `face_users` has no such row |
//! | `face_users` | a face's tag | of how many bodies and batches it is | there is none |
//! | `batch_faces` | batch number, a face's tag | nothing | with its batch |
//! | `batches` | batch number | [`crate::batch::BatchRecord`], JSON | newer batches push it out |
//! | `batch_ids` | the batch's UUID | batch number | with its batch |
//! | `batch_work` | batch number | the operations, JSON; sealed where there are identifiers among them | with its batch |
//! | `batch_targets` | batch number | panel numbers, ascending, 4 bytes each | with its batch |
//! | `outcomes` | batch, panel | for how many panels, from this one on, it is the same (4), then [`crate::batch::Outcome`] | with its batch |
//! | `keys` | user, line feed, idempotency key | SHA-256 of the body (32), the batch's UUID (16), when it was accepted, in Unix milliseconds (8) | after the time that keys are kept, or pushed out by very many newer ones |
//! | `key_times` | when the batch was accepted, in Unix milliseconds, and the key of `keys` | nothing | with its key |
//! | `reported` | panel, kind, link_id ([`super::row::ItemKey`]) | what a device last confirmed, or what an embedded panel refused ([`super::row::Reported`]) | device and desired agree that it is gone; an embedded panel takes or deletes it; or the panel is removed |
//! | `pending` | panel number | of its rows in `reported` that are unknown, the items, each with what the device is to do with it ([`super::row::encode_pending`]) | there is no such row |
//! | `last_held` | panel, kind, link_id | the bodies (8 each) that the device perhaps holds, the one that it has confirmed first, while `reported` says something else than that it holds one | the device confirms the item, or is known not to have it; or the panel is removed |
//! | `held_before` | panel, until when in Unix milliseconds, [`super::seal::NumberTag`] | the link_id (16) under which its device had the number until then, or none where nobody had it | the panel is removed, the key is another one, or there are more than events are kept |
//! | `counts` | panel number; 0 for all panels together | how many of its rows in `reported` are in which state ([`super::row::ReportedCounts`]) | there is no such row |
//! | `devices` | panel number | [`DeviceRecord`], JSON | the panel is removed |
//! | `connections` | panel number | its last [`ConnectionRecord`]s, oldest first, JSON | the panel is removed |
//! | `panel_settings` | panel number, the setting's name | what a client set on an embedded panel, JSON, sealed as `secrets` are | the panel is removed |
//! | `panel_log` | panel number, running number | [`LogRecord`], JSON | newer ones of the panel push it out, or it is removed |
//! | `secrets` | panel number | MD5 hex of the password of the account on the device, which is all that its API takes, sealed ([`super::seal`]); under number 0 a text by which a wrong key is known | the panel is removed |
//! | `users` | name | [`UserRecord`], JSON | the user is removed |
//! | `tokens` | the token's UUID | [`TokenRecord`], JSON | it is revoked, or found expired |
//! | `token_ends` | when a token ends in Unix milliseconds (8), its UUID | nothing | with its token |
//! | `user_sessions` | user, when the session ends (8), its token's UUID | nothing | with its token |
//! | `audit` | running number | [`AuditRecord`], JSON | newer entries push it out, or it is too old |
//! | `events_read` | panel number | the newest moment in its device's log that was read, in Unix milliseconds | the panel is removed |
//! | `passes` | panel number, uid of an identifier of an embedded panel | what is counted: the [`super::seal::NumberTag`] of what opens, and how many passes it began with; then how often it has opened since. Of anything else it counts for nothing (`passes.rs`) | the panel is removed; or now and then, where the identifier is gone |
//! | `access_events` | running number | what its indexes say ([`super::event::Index`]), then the sealed [`super::event::EventRecord`] | newer ones push it out, or it is too old |
//! | `access_event_times` | when it happened in Unix milliseconds, its number | nothing | with its event |
//! | `access_events_by_panel` | panel number, when, its number | nothing | with its event |
//! | `access_event_counts` | panel number | how many of its events are kept | its last event goes |
//! | `access_events_by_identifier` | link_id, when, its number | nothing | with its event |
//! | `access_event_tags` | panel number, when by the device's word, tag of what was told ([`super::event::EventTag`]) | its number | with its event |
//! | `audit_sessions` | a number of the same run | [`AuditRecord`] of sessions, and of what was refused, JSON | newer ones of these push it out, or it is too old |
//! | `alerts` | an alert's name | [`crate::alert::Alert`], JSON | it is removed |
//! | `alert_webhooks` | an alert's name | [`crate::alert::Webhook`], JSON, sealed | with its alert |
//! | `alert_told` | an alert's name, the number of a [`crate::alert::Topic`], panel number | what was told of the panel: since when it is offline, in Unix milliseconds (8), or a print of each item (8 each) | it is not the case any more, or with its alert |
//! | `alert_unsent` | an alert's name, running number | [`crate::alert::message::Unsent`], JSON | it went out, or is given up; or with its alert |
//! | `alert_progress` | an alert's name | [`crate::alert::pace::Progress`], JSON | with its alert |
//! | `before` | batch, panel | for how many panels, from this one on, it is the same (4), then each item that the batch changed there ([`super::Changed`]) | with its batch |
//! | `to_undo` | undo, panel | the same of the batch that it takes back | with the undo |
//! | `calls` | panel number, running number | what a call of the panel API changed ([`super::CallRecord`]) | newer ones of the panel push it out, or it is removed |

use std::any::Any;

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::before::BeforeRun;
use super::bodies::{BodyChanges, NumberKey};
use super::changes::access::EndKey;
use super::entry::EntryTag;
use super::event::EventTag;
use super::faces::FaceChanges;
use super::kept::Kept;
use super::memory::Memory;
use super::outcomes::OutcomeRun;
use super::read::Snapshot;
use super::render::{self, Failed, alerts as render_alerts};
use super::row::{CountsChange, ItemKey, OutcomeKey, RowKey};
use super::seal::NumberTag;
use super::shipped::{Changes, Position, TableNo};
use super::{BatchSeq, PanelNo, StoreError};

pub use super::changes::access::KEPT_SESSIONS;
pub use super::changes::audit::{KEPT_AUDIT, KEPT_AUDIT_SESSIONS, SWEPT_AT_ONCE};
pub use super::changes::devices::KEPT_CONNECTIONS;
pub use super::changes::embedded::KEPT_LOG;
pub use super::json::encode;
pub use super::records::{
    AuditRecord, ConnectionRecord, DeviceRecord, IdempotencyKey, LogRecord, TokenRecord, UserRecord,
};
pub use super::rows::{Made, PanelRows, Whole};

/// The panel number, never given, under which stand the counts of all panels together.
pub(super) const ALL_PANELS: PanelNo = 0;

/// The panel number, never given, under which stands what tells whether the key is the right one.
pub(super) const KEY_CHECK: PanelNo = 0;

/// How many bits the numbers have that one start gives.
const NUMBERS_OF_START: u32 = 32;

/// With this, numbers have 16 digits whatever the clock says.
const FIRST_START: u64 = 232_831;

/// From one list of tables: what each is, all of them open in a transaction, a copy of them, and all that stands in them as
/// text. So a table cannot be left out of any of these.
macro_rules! tables {
    ($($definition:ident $table:ident: $key:ty => $value:ty, $text:path;)+) => {
        $(pub(super) const $definition: TableDefinition<'_, $key, $value> =
            TableDefinition::new(stringify!($table));)+

        /// All tables, open in one write transaction.
        pub struct Tables<'t> {
            $(pub(super) $table: Kept<'t, $key, $value>,)+
            pub(super) body_changes: BodyChanges,
            pub(super) face_changes: FaceChanges,
            /// By how much the counts of panels change, which is written once at the end.
            pub(super) counted: FxHashMap<PanelNo, CountsChange>,
            /// The last outcomes, which are not in their table yet.
            pub(super) run: Option<OutcomeRun>,
            /// What the last batch changed, which is not in its table yet.
            pub(super) before_run: Option<BeforeRun>,
            /// When this transaction does what it does, once that was asked.
            pub(super) at_ms: Option<i64>,
            note: Option<Box<dyn Any>>,
            part: Option<Box<dyn Any>>,
            pub(super) memory: &'t mut Memory,
        }

        impl<'t> Tables<'t> {
            pub(super) fn open(
                transaction: &'t WriteTransaction,
                memory: &'t mut Memory,
            ) -> Result<Self, StoreError> {
                let noting = memory.noting.clone();
                Ok(Self {
                    $($table: Kept::new(transaction.open_table($definition)?, Number::$table as TableNo, &noting),)+
                    body_changes: BodyChanges::default(),
                    face_changes: FaceChanges::default(),
                    counted: FxHashMap::default(),
                    run: None,
                    before_run: None,
                    at_ms: None,
                    note: None,
                    part: None,
                    memory,
                })
            }
        }

        /// The tables' places in the list. A table that is added comes last, since other nodes know them by these.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy)]
        enum Number {
            $($table,)+
        }

        impl Tables<'_> {
            /// Puts what another node put and removed.
            pub(super) fn follow(&mut self, changes: &Changes) -> Result<(), StoreError> {
                changes.each(|(number, key, value)| {
                    $(if number == Number::$table as TableNo {
                        return Ok(self.$table.put_bytes(key, value)?);
                    })+
                    Err(StoreError::Corrupt("table of another node"))
                })
            }
        }

        /// Copies all that stands in the tables. There must be no others.
        pub(super) fn copy_all(from: &ReadTransaction, into: &WriteTransaction) -> Result<(), StoreError> {
            let tables = [$(copy(from, into, $definition)),+];
            if from.list_tables()?.count() != tables.len() {
                return Err(StoreError::Corrupt("list of tables"));
            }
            tables.into_iter().collect()
        }

        /// Writes all that stands in the tables as text.
        pub(super) fn write_all(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
            $($text(snapshot, out)?;)+
            Ok(())
        }
    };
}

tables! {
    META meta: &'static str => u64, render::meta;
    PANELS panels: PanelNo => &'static [u8], render::panels;
    PANEL_IDS panel_ids: &'static str => PanelNo, render::panel_ids;
    PANEL_NAMES panel_names: PanelNo => &'static str, render::panel_names;
    PACKS packs: &'static RowKey => &'static [u8], render::heads_and_rows;
    BODIES bodies: u64 => &'static [u8], render::bodies;
    NUMBERS numbers: &'static NumberKey => (), render::numbers;
    FACES faces: &'static NumberTag => &'static [u8], render::faces;
    FACE_USERS face_users: &'static NumberTag => u64, render::face_users;
    BATCH_FACES batch_faces: (BatchSeq, &'static NumberTag) => (), render::with_its_batch;
    BATCHES batches: BatchSeq => &'static [u8], render::batches;
    BATCH_IDS batch_ids: &'static [u8; 16] => BatchSeq, render::batch_ids;
    BATCH_WORK batch_work: BatchSeq => &'static [u8], render::with_its_batch;
    BATCH_TARGETS batch_targets: BatchSeq => &'static [u8], render::with_its_batch;
    OUTCOMES outcomes: &'static OutcomeKey => &'static [u8], render::with_its_batch;
    KEYS keys: &'static str => &'static [u8; 56], render::keys;
    KEY_TIMES key_times: (u64, &'static str) => (), render::key_times;
    REPORTED reported: &'static ItemKey => &'static [u8], render::reported;
    LAST_HELD last_held: &'static ItemKey => &'static [u8], render::last_held;
    HELD_BEFORE held_before: (PanelNo, u64, &'static NumberTag) => Option<&'static [u8; 16]>, render::held_before;
    PENDING pending: PanelNo => &'static [u8], render::pending;
    COUNTS counts: PanelNo => &'static [u8; 32], render::counts;
    DEVICES devices: PanelNo => &'static [u8], render::devices;
    CONNECTIONS connections: PanelNo => &'static [u8], render::connections;
    PANEL_SETTINGS panel_settings: (PanelNo, &'static str) => &'static [u8], render::panel_settings;
    PANEL_LOG panel_log: (PanelNo, u64) => &'static [u8], render::panel_log;
    SECRETS secrets: PanelNo => &'static [u8], render::secrets;
    USERS users: &'static str => &'static [u8], render::users;
    TOKENS tokens: &'static [u8; 16] => &'static [u8], render::tokens;
    TOKEN_ENDS token_ends: &'static EndKey => (), render::token_ends;
    USER_SESSIONS user_sessions: (&'static str, &'static EndKey) => (), render::user_sessions;
    AUDIT audit: u64 => &'static [u8], render::audit;
    AUDIT_SESSIONS audit_sessions: u64 => &'static [u8], render::audit_sessions;
    EVENTS_READ events_read: PanelNo => u64, render::events_read;
    PASSES passes: (PanelNo, u32) => (&'static [u8; 16], u32, u32), render::passes;
    ACCESS_EVENTS access_events: u64 => &'static [u8], render::access_events;
    ACCESS_EVENT_TIMES access_event_times: (u64, u64) => (), render::with_its_event;
    ACCESS_EVENTS_BY_PANEL access_events_by_panel: (PanelNo, u64, u64) => (), render::with_its_event;
    ACCESS_EVENT_COUNTS access_event_counts: PanelNo => u64, render::with_its_event;
    ACCESS_EVENTS_BY_IDENTIFIER access_events_by_identifier: (&'static [u8; 16], u64, u64) => (), render::with_its_event;
    ACCESS_EVENT_TAGS access_event_tags: (PanelNo, u64, &'static EventTag) => u64, render::with_its_event;
    ALERTS alerts: &'static str => &'static [u8], render_alerts::alerts;
    ALERT_WEBHOOKS alert_webhooks: &'static str => &'static [u8], render_alerts::alert_webhooks;
    ALERT_TOLD alert_told: (&'static str, u8, PanelNo) => &'static [u8], render_alerts::alert_told;
    ALERT_UNSENT alert_unsent: (&'static str, u64) => &'static [u8], render_alerts::alert_unsent;
    ALERT_PROGRESS alert_progress: &'static str => &'static [u8], render_alerts::alert_progress;
    BEFORE before: &'static OutcomeKey => &'static [u8], render::before;
    TO_UNDO to_undo: &'static OutcomeKey => &'static [u8], render::to_undo;
    CALLS calls: (PanelNo, u64) => &'static [u8], render::calls;
}

/// Under which names `meta` has what is applied of the log of all nodes, and which log that is.
const APPLIED: &str = "applied";
const TAG: [&str; 2] = ["applied_tag_high", "applied_tag_low"];
const LOG_ID: [&str; 2] = ["log_high", "log_low"];

/// The last entry of the log of all nodes that is applied.
pub(super) fn position_in(meta: &impl ReadableTable<&'static str, u64>) -> Result<Position, StoreError> {
    let number = |name| Ok::<_, StoreError>(meta.get(name)?.map_or(0, |number| number.value()));
    let tag = u128::from(number(TAG[0])?) << 64 | u128::from(number(TAG[1])?);
    Ok(Position { number: number(APPLIED)?, tag: tag.to_be_bytes() })
}

/// The id of the log, if the fleet is in one.
pub(super) fn log_id_in(meta: &impl ReadableTable<&'static str, u64>) -> Result<Option<Uuid>, StoreError> {
    let half = |name| Ok::<_, StoreError>(meta.get(name)?.map(|number| number.value()));
    let halves = half(LOG_ID[0])?.zip(half(LOG_ID[1])?);
    Ok(halves.map(|(high, low)| Uuid::from_u64_pair(high, low)))
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    into: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), StoreError> {
    let from = from.open_table(table)?;
    let mut into = into.open_table(table)?;
    for entry in from.iter()? {
        let (key, value) = entry?;
        into.insert(key.value(), value.value())?;
    }
    Ok(())
}

impl<'t> Tables<'t> {
    /// Writes what was gathered: outcomes, counts, bodies and the numbers that come next.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.write_run()?;
        self.write_before_run()?;
        self.write_counts()?;
        self.write_bodies()?;
        self.write_faces()?;
        let memory = &self.memory;
        let next = [("next_body", memory.next_body), ("next_audit", memory.next_audit)];
        for (name, next) in next.into_iter().chain([("next_event", memory.next_event)]) {
            if let Some(next) = next
                && self.meta.get(name)?.map(|number| number.value()) != Some(next)
            {
                self.meta.insert(name, next)?;
            }
        }
        Ok(())
    }

    /// What work wants to know again at the next panel of this transaction. There is one note, and whoever
    /// writes another kind of it replaces it.
    pub fn note<T: 'static>(&self) -> Option<&T> {
        self.note.as_ref()?.downcast_ref()
    }

    /// Writes the note.
    pub fn set_note(&mut self, note: impl Any) {
        self.note = Some(Box::new(note));
    }

    /// What undos ask of the panels that they come to in this transaction: as a note, and beside it.
    pub fn part<T: 'static>(&self) -> Option<&T> {
        self.part.as_ref()?.downcast_ref()
    }

    /// Keeps that for the next panels.
    pub fn set_part(&mut self, part: impl Any) {
        self.part = Some(Box::new(part));
    }

    /// The rows of one panel.
    pub fn panel(&mut self, panel: PanelNo) -> PanelRows<'_, 't> {
        PanelRows::of(self, panel)
    }

    /// The first of the numbers (of events, and of the register's versions) that a start may give: above all that an
    /// earlier start has given, whatever the clock has done since. So many follow that no start uses them up.
    pub fn first_of_start(&mut self, now_ms: i64) -> Result<u64, StoreError> {
        let before = self.meta.get("starts")?.map_or(0, |starts| starts.value());
        // Ahead of what was given by the clock alone, and of what a copy that was put back does not know of.
        let by_clock = now_ms.max(0).unsigned_abs().saturating_mul(1000) >> NUMBERS_OF_START;
        let start = (before + 1).max(by_clock + 1).max(FIRST_START);
        self.meta.insert("starts", start)?;
        Ok(start << NUMBERS_OF_START)
    }

    /// The last entry of the log of all nodes that is applied.
    pub(super) fn position(&self) -> Result<Position, StoreError> {
        position_in(&*self.meta)
    }

    /// What this transaction changes is the entry after the last, and has this tag. It is not noted: whoever puts the same
    /// entry knows it, too.
    pub(super) fn keep_position(&mut self, tag: EntryTag) -> Result<(), StoreError> {
        let number = self.position()?.number + 1;
        self.set_position(Position { number, tag })
    }

    /// Says which entry is the last that is applied.
    pub(super) fn set_position(&mut self, position: Position) -> Result<(), StoreError> {
        let (high, low) = (u128::from_be_bytes(position.tag) >> 64, u128::from_be_bytes(position.tag) as u64);
        for (name, number) in [(APPLIED, position.number), (TAG[0], high as u64), (TAG[1], low)] {
            self.meta.put_unnoted(name, number)?;
        }
        Ok(())
    }

    /// The fleet is in this log from now on, or in none, and nothing of it is applied.
    pub(super) fn set_log_id(&mut self, id: Option<Uuid>) -> Result<(), StoreError> {
        match id.map(|id| id.as_u64_pair()) {
            Some((high, low)) => {
                self.meta.put_unnoted(LOG_ID[0], high)?;
                self.meta.put_unnoted(LOG_ID[1], low)?;
            }
            None => {
                for name in LOG_ID {
                    self.meta.remove(name)?;
                }
            }
        }
        self.set_position(Position::START)
    }

    /// The next of a run of numbers that begins at 1.
    pub(super) fn next_number(&mut self, name: &'static str) -> Result<u64, StoreError> {
        let number = self.meta.get(name)?.map_or(1, |number| number.value());
        self.meta.insert(name, number + 1)?;
        Ok(number)
    }
}
