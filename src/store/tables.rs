//! Every table: its key, its value, and what deletes a row. [`Tables`] is all of them, open for writing.
//!
//! | table | key | value | a row goes when |
//! | --- | --- | --- | --- |
//! | `meta` | name | 8 bytes, a number: the format, the next panel, body, batch and audit numbers, the last start | never |
//! | `panels` | panel number | the panel's record, JSON | the panel is removed |
//! | `panel_ids` | the panel's id | panel number | the panel is removed |
//! | `panel_names` | panel number | the panel's id | never: batches and audit name removed panels too |
//! | `packs` | panel, the first name of the pack ([`super::row::RowKey`]) | next uid and number of rows ([`super::row::Head`], in the first pack), then some of the panel's rows ([`super::pack`]), each with body, uid, revision ([`super::row::Row`]) | the first: its panel is removed; another: its last profile is deleted too |
//! | `bodies` | running number | number of rows that name it (8), then the profile's JSON | no row names it |
//! | `batches` | batch number | [`BatchRecord`], JSON | newer batches push it out |
//! | `batch_ids` | the batch's UUID | batch number | with its batch |
//! | `batch_work` | batch number | the operations as `POST /batches` takes them, JSON | with its batch |
//! | `batch_targets` | batch number | panel numbers, ascending, 4 bytes each | with its batch |
//! | `outcomes` | batch, panel | for how many panels, from this one on, it is the same (4), then [`crate::batch::Outcome`] | with its batch |
//! | `keys` | user, line feed, idempotency key | SHA-256 of the body (32), the batch's UUID (16), when it was accepted, in Unix milliseconds (8) | after the time that keys are kept, or pushed out by very many newer ones |
//! | `key_times` | when the batch was accepted, in Unix milliseconds, and the key of `keys` | nothing | with its key |
//! | `reported` | panel, link_id ([`super::row::ReportedKey`]) | what a device last confirmed, or what an embedded panel refused ([`super::row::Reported`]) | device and desired agree that it is gone; an embedded panel takes or deletes it; or the panel is removed |
//! | `counts` | panel number; 0 for all panels together | how many of its rows in `reported` are in which state ([`super::row::ReportedCounts`]) | there is no such row |
//! | `devices` | panel number | [`DeviceRecord`], JSON | the panel is removed |
//! | `connections` | panel number | its last [`ConnectionRecord`]s, oldest first, JSON | the panel is removed |
//! | `secrets` | panel number | MD5 hex of the password of the account on the device, which is all that its API takes, sealed ([`super::seal`]); under number 0 a text by which a wrong key is known | the panel is removed |
//! | `users` | name | [`UserRecord`], JSON | the user is removed |
//! | `tokens` | the token's UUID | [`TokenRecord`], JSON | it is revoked, or found expired |
//! | `token_ends` | when a token ends in Unix milliseconds (8), its UUID | nothing | with its token |
//! | `user_sessions` | user, when the session ends (8), its token's UUID | nothing | with its token |
//! | `audit` | running number | [`AuditRecord`], JSON | newer entries push it out, or it is too old |
//! | `audit_sessions` | a number of the same run | [`AuditRecord`] of sessions, and of what was refused, JSON | newer ones of these push it out, or it is too old |

use std::any::Any;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use redb::{AccessGuard, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::pack::{self, MAX_ROWS, Pack};
use super::row::{
    self, CountsChange, Head, OutcomeKey, Reported, ReportedCounts, ReportedKey, Row, RowKey, RowName,
};
use super::seal::Seal;
use super::{BatchSeq, PanelNo, StoreError};
use crate::batch::{BatchRecord, BatchState, Body, BodyDigest, Outcome};
use crate::profile::LinkId;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const PANELS: TableDefinition<'_, PanelNo, &[u8]> = TableDefinition::new("panels");
pub(super) const PANEL_IDS: TableDefinition<'_, &str, PanelNo> = TableDefinition::new("panel_ids");
pub(super) const PANEL_NAMES: TableDefinition<'_, PanelNo, &str> = TableDefinition::new("panel_names");
pub(super) const PACKS: TableDefinition<'_, &RowKey, &[u8]> = TableDefinition::new("packs");
pub(super) const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
pub(super) const BATCHES: TableDefinition<'_, BatchSeq, &[u8]> = TableDefinition::new("batches");
pub(super) const BATCH_IDS: TableDefinition<'_, &[u8; 16], BatchSeq> = TableDefinition::new("batch_ids");
pub(super) const BATCH_WORK: TableDefinition<'_, BatchSeq, &[u8]> = TableDefinition::new("batch_work");
pub(super) const BATCH_TARGETS: TableDefinition<'_, BatchSeq, &[u8]> = TableDefinition::new("batch_targets");
pub(super) const OUTCOMES: TableDefinition<'_, &OutcomeKey, &[u8]> = TableDefinition::new("outcomes");
pub(super) const KEYS: TableDefinition<'_, &str, &[u8; 56]> = TableDefinition::new("keys");
pub(super) const KEY_TIMES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("key_times");
pub(super) const REPORTED: TableDefinition<'_, &ReportedKey, &[u8]> = TableDefinition::new("reported");
pub(super) const COUNTS: TableDefinition<'_, PanelNo, &[u8; 32]> = TableDefinition::new("counts");
pub(super) const DEVICES: TableDefinition<'_, PanelNo, &[u8]> = TableDefinition::new("devices");
pub(super) const CONNECTIONS: TableDefinition<'_, PanelNo, &[u8]> = TableDefinition::new("connections");
pub(super) const SECRETS: TableDefinition<'_, PanelNo, &[u8]> = TableDefinition::new("secrets");
pub(super) const USERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("users");
pub(super) const TOKENS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("tokens");
pub(super) const TOKEN_ENDS: TableDefinition<'_, &EndKey, ()> = TableDefinition::new("token_ends");
pub(super) const USER_SESSIONS: TableDefinition<'_, (&str, &EndKey), ()> =
    TableDefinition::new("user_sessions");
pub(super) const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
pub(super) const AUDIT_SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit_sessions");

/// When a token ends, and its id.
pub(super) type EndKey = [u8; 24];

/// The key of a token that ends then.
pub(super) fn end_key(ends_ms: i64, id: Uuid) -> EndKey {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&ends_ms.max(0).to_be_bytes());
    key[8..].copy_from_slice(id.as_bytes());
    key
}

/// The token of such a key.
pub(super) fn token_of(key: &EndKey) -> Uuid {
    let mut id = [0; 16];
    id.copy_from_slice(&key[8..]);
    Uuid::from_bytes(id)
}

/// The panel number, never given, under which stand the counts of all panels together.
pub(super) const ALL_PANELS: PanelNo = 0;

/// The panel number, never given, under which stands what tells whether the key is the right one.
pub(super) const KEY_CHECK: PanelNo = 0;

/// How many idempotency keys are kept at most, however young they are.
const KEPT_KEYS: u64 = 1_000_000;

/// Keys that have had their time and go with a new one, at most: twice as fast as they come is fast enough.
const KEYS_AT_ONCE: usize = 2;

/// How many bits the numbers have that one start gives.
const NUMBERS_OF_START: u32 = 32;

/// With this, numbers have 16 digits whatever the clock says.
const FIRST_START: u64 = 232_831;

/// How many audit entries are kept.
pub const KEPT_AUDIT: u64 = 100_000;

/// How many more are kept of sessions and of what was refused, which anybody causes as often as he likes.
pub const KEPT_AUDIT_SESSIONS: u64 = 20_000;

/// How the actions begin that are counted to these.
const OF_SESSIONS: &str = "session.";

/// Sessions of one user at most; beyond, the oldest goes.
pub const KEPT_SESSIONS: usize = 100;

/// What has ended, or is too old, is removed by so many at once.
pub const SWEPT_AT_ONCE: usize = 1000;

/// A user. The verifier is Argon2id over the lower-case MD5 hex of the password, since that MD5 is all that
/// clients of the panel API send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRecord {
    /// What the user may do.
    pub role: String,
    /// The verifier, a PHC string.
    pub verifier: String,
    /// When the user was added, in Unix milliseconds.
    pub created_at_ms: i64,
}

/// A token; the secret itself is kept nowhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRecord {
    /// By what it is found, listed and revoked.
    pub id: Uuid,
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// What people call it; for a session, the user's name.
    pub name: String,
    /// What its bearer may do.
    pub role: String,
    /// Whether it came from a login, rather than from `token create`.
    pub session: bool,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// When it was last used, to the minute, in Unix milliseconds.
    #[serde(default)]
    pub last_used_ms: Option<i64>,
    /// Who made it, as the audit names it; nobody for a session.
    #[serde(default)]
    pub made_by: Option<String>,
    /// The user who made it, be it through other tokens.
    #[serde(default)]
    pub owner: Option<String>,
}

/// What a remote panel's device said of itself, and when it was last read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its serial number: another one means another device.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// The API version that it says it speaks.
    pub api_version: String,
    /// When it last answered, in Unix milliseconds. Written only when something else is.
    pub last_seen_ms: i64,
    /// When all that it holds was last read, in Unix milliseconds.
    pub last_read_ms: Option<i64>,
    /// How far its clock was ahead of ours then, in seconds.
    pub clock_ahead_s: Option<i64>,
    /// Profiles without link_id that it held then.
    pub unlinked: u32,
    /// To be read and put right as soon as it can be reached.
    pub reconcile: bool,
}

/// How many changes of a panel's connection are kept.
pub const KEPT_CONNECTIONS: usize = 100;

/// A remote panel went offline, or came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// `online` or `offline`.
    pub connection: String,
    /// What it failed with.
    pub error: Option<Box<str>>,
}

/// Who did what, when, from where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// The user or token.
    pub actor: String,
    /// The client's address.
    pub address: String,
    /// What was done, such as `batch.submit`.
    pub action: String,
    /// To what.
    pub target: String,
}

/// What an idempotency key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// SHA-256 of the request's body.
    pub digest: [u8; 32],
    /// The batch that was accepted under it. It may have been pushed out since.
    pub batch: Uuid,
    /// When that was, in Unix milliseconds.
    pub at_ms: i64,
}

impl IdempotencyKey {
    fn encode(&self) -> [u8; 56] {
        let mut value = [0; 56];
        value[..32].copy_from_slice(&self.digest);
        value[32..48].copy_from_slice(self.batch.as_bytes());
        value[48..].copy_from_slice(&key_time(self.at_ms).to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8; 56]) -> Self {
        let (mut digest, mut batch) = ([0; 32], [0; 16]);
        digest.copy_from_slice(&value[..32]);
        batch.copy_from_slice(&value[32..48]);
        let at_ms = i64::try_from(row::be_u64(&value[48..])).unwrap_or(i64::MAX);
        Self { digest, batch: Uuid::from_bytes(batch), at_ms }
    }
}

/// A moment as `key_times` has it.
fn key_time(at_ms: i64) -> u64 {
    at_ms.max(0).unsigned_abs()
}

/// All tables, open in one write transaction.
pub struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    panels: Table<'t, PanelNo, &'static [u8]>,
    panel_ids: Table<'t, &'static str, PanelNo>,
    panel_names: Table<'t, PanelNo, &'static str>,
    packs: Table<'t, &'static RowKey, &'static [u8]>,
    bodies: Table<'t, u64, &'static [u8]>,
    batches: Table<'t, BatchSeq, &'static [u8]>,
    batch_ids: Table<'t, &'static [u8; 16], BatchSeq>,
    batch_work: Table<'t, BatchSeq, &'static [u8]>,
    batch_targets: Table<'t, BatchSeq, &'static [u8]>,
    outcomes: Table<'t, &'static OutcomeKey, &'static [u8]>,
    keys: Table<'t, &'static str, &'static [u8; 56]>,
    key_times: Table<'t, (u64, &'static str), ()>,
    reported: Table<'t, &'static ReportedKey, &'static [u8]>,
    counts: Table<'t, PanelNo, &'static [u8; 32]>,
    devices: Table<'t, PanelNo, &'static [u8]>,
    connections: Table<'t, PanelNo, &'static [u8]>,
    secrets: Table<'t, PanelNo, &'static [u8]>,
    users: Table<'t, &'static str, &'static [u8]>,
    tokens: Table<'t, &'static [u8; 16], &'static [u8]>,
    token_ends: Table<'t, &'static EndKey, ()>,
    user_sessions: Table<'t, (&'static str, &'static EndKey), ()>,
    audit: Table<'t, u64, &'static [u8]>,
    audit_sessions: Table<'t, u64, &'static [u8]>,
    pending: PendingBodies,
    /// By how much the counts of panels change, which is written once at the end.
    counted: FxHashMap<PanelNo, CountsChange>,
    /// The last outcomes, which are not in their table yet.
    run: Option<OutcomeRun>,
    note: Option<Box<dyn Any>>,
    memory: &'t mut Memory,
}

/// What the writer remembers between transactions: which body has which digest, and with which each was compared last,
/// which is derivable and forgotten when a transaction fails, since numbers it gave were not committed; and which panels
/// are gone, so that nothing is written for them any more.
pub(super) struct Memory {
    seal: Arc<Seal>,
    /// Panels removed since the start. Their numbers are not given again.
    gone: FxHashSet<PanelNo>,
    /// Panels that the transaction under way removes.
    going: FxHashSet<PanelNo>,
    /// Panels removed in transactions that failed: perhaps done all the same.
    perhaps_gone: FxHashSet<PanelNo>,
    by_digest: FxHashMap<BodyDigest, u64>,
    digests: FxHashMap<u64, BodyDigest>,
    compared: FxHashMap<u64, (BodyDigest, bool)>,
    next_body: Option<u64>,
    next_audit: Option<u64>,
}

/// Bodies remembered at most; beyond, remembering starts anew.
const REMEMBERED: usize = 8192;

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
            next_body: None,
            next_audit: None,
        }
    }

    /// The transaction is committed.
    pub(super) fn keep_transaction(&mut self) {
        self.gone.extend(self.going.drain());
    }

    /// The transaction failed.
    pub(super) fn forget_transaction(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        let mut perhaps_gone = std::mem::take(&mut self.perhaps_gone);
        perhaps_gone.extend(self.going.drain());
        *self = Self { gone, perhaps_gone, ..Self::new(Arc::clone(&self.seal)) };
    }

    fn remember(&mut self, digest: BodyDigest, body: u64) {
        if self.digests.len() >= REMEMBERED {
            self.by_digest.clear();
            self.digests.clear();
        }
        self.by_digest.insert(digest, body);
        self.digests.insert(body, digest);
    }

    fn forget(&mut self, body: u64) {
        self.compared.remove(&body);
        if let Some(digest) = self.digests.remove(&body) {
            self.by_digest.remove(&digest);
        }
    }
}

/// Bodies, and by how many rows each is named more or less.
type Users = [(u64, i64)];

/// Changes to bodies within this transaction, written once at its end: a body that thousands of rows begin or
/// cease to name is written once.
#[derive(Default)]
struct PendingBodies {
    users: FxHashMap<u64, i64>,
    new: FxHashMap<u64, NewText>,
    /// How many rows named the bodies that were read, before this transaction.
    had_users: FxHashMap<u64, u64>,
    /// Bodies that some row began to name.
    named: FxHashSet<u64>,
    /// The same change of users for so many panels, which is not in `users` yet.
    repeated: Option<(Rc<Users>, i64)>,
}

/// The text that a body gets.
struct NewText {
    json: Arc<str>,
    /// How many rows named it before this transaction.
    had_users: u64,
}

impl PendingBodies {
    /// Whether one row named this body before this transaction, and none has begun or ceased to since.
    fn of_one_row(&self, body: u64) -> bool {
        self.had_users.get(&body) == Some(&1)
            && !self.named.contains(&body)
            && self.users.get(&body).is_none_or(|delta| *delta == 0)
    }

    /// Rows begin and cease to name bodies just as those of another panel did.
    fn repeat(&mut self, users: &Rc<Users>) {
        if let Some((repeated, times)) = &mut self.repeated
            && Rc::ptr_eq(repeated, users)
        {
            *times += 1;
            return;
        }
        self.add_repeated();
        self.repeated = Some((Rc::clone(users), 1));
    }

    fn add_repeated(&mut self) {
        if let Some((users, times)) = self.repeated.take() {
            for (body, delta) in &*users {
                *self.users.entry(*body).or_default() += delta * times;
            }
        }
    }
}

/// Panels with consecutive numbers and the same outcome in a batch: they are one row.
struct OutcomeRun {
    seq: BatchSeq,
    first: PanelNo,
    count: u32,
    outcome: Outcome,
}

impl OutcomeRun {
    /// Whether the panel after the last one comes to this.
    fn goes_on(&self, seq: BatchSeq, panel: PanelNo, outcome: &Outcome) -> bool {
        self.seq == seq && self.first.checked_add(self.count) == Some(panel) && self.outcome == *outcome
    }
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        memory: &'t mut Memory,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            panels: transaction.open_table(PANELS)?,
            panel_ids: transaction.open_table(PANEL_IDS)?,
            panel_names: transaction.open_table(PANEL_NAMES)?,
            packs: transaction.open_table(PACKS)?,
            bodies: transaction.open_table(BODIES)?,
            batches: transaction.open_table(BATCHES)?,
            batch_ids: transaction.open_table(BATCH_IDS)?,
            batch_work: transaction.open_table(BATCH_WORK)?,
            batch_targets: transaction.open_table(BATCH_TARGETS)?,
            outcomes: transaction.open_table(OUTCOMES)?,
            keys: transaction.open_table(KEYS)?,
            key_times: transaction.open_table(KEY_TIMES)?,
            reported: transaction.open_table(REPORTED)?,
            counts: transaction.open_table(COUNTS)?,
            devices: transaction.open_table(DEVICES)?,
            connections: transaction.open_table(CONNECTIONS)?,
            secrets: transaction.open_table(SECRETS)?,
            users: transaction.open_table(USERS)?,
            tokens: transaction.open_table(TOKENS)?,
            token_ends: transaction.open_table(TOKEN_ENDS)?,
            user_sessions: transaction.open_table(USER_SESSIONS)?,
            audit: transaction.open_table(AUDIT)?,
            audit_sessions: transaction.open_table(AUDIT_SESSIONS)?,
            pending: PendingBodies::default(),
            counted: FxHashMap::default(),
            run: None,
            note: None,
            memory,
        })
    }

    /// Writes what was gathered: outcomes, and changes to bodies, that is new ones, changed numbers of users, and
    /// away with those that no row names any more.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.write_run()?;
        self.write_counts()?;
        self.pending.add_repeated();
        let mut changed: Vec<_> = self.pending.users.drain().collect();
        changed.sort_unstable(); // in key order, as the tree wants it
        for (body, delta) in changed {
            let new = self.pending.new.remove(&body);
            if new.is_none() && delta == 0 {
                continue;
            }
            let had = match &new {
                Some(new) => new.had_users,
                None => {
                    let stored = self.bodies.get(body)?.ok_or(StoreError::Corrupt("body number"))?;
                    split_body(stored.value())?.0
                }
            };
            let users =
                had.checked_add_signed(delta).ok_or(StoreError::Corrupt("number of a body's users"))?;
            if users == 0 {
                self.bodies.remove(body)?;
                self.memory.forget(body);
            } else if let Some(NewText { json, .. }) = new {
                let mut value = self.bodies.insert_reserve(body, 8 + json.len())?;
                value.as_mut()[..8].copy_from_slice(&users.to_be_bytes());
                value.as_mut()[8..].copy_from_slice(json.as_bytes());
            } else if let Some(mut stored) = self.bodies.get_mut(body)? {
                let value = [&users.to_be_bytes()[..], split_body(stored.value())?.1].concat();
                stored.insert(value.as_slice())?;
            }
        }
        for (name, next) in [("next_body", self.memory.next_body), ("next_audit", self.memory.next_audit)] {
            if let Some(next) = next
                && self.meta.get(name)?.map(|number| number.value()) != Some(next)
            {
                self.meta.insert(name, next)?;
            }
        }
        Ok(())
    }

    fn write_counts(&mut self) -> Result<(), StoreError> {
        let mut changed: Vec<_> = self.counted.drain().collect();
        changed.sort_unstable_by_key(|(panel, _)| *panel);
        let mut all = CountsChange::default();
        for (_, change) in &changed {
            all.add(change);
        }
        for (panel, change) in std::iter::once((ALL_PANELS, all)).chain(changed) {
            if change == CountsChange::default() {
                continue;
            }
            let counts = self.counts.get(panel)?.map(|counts| ReportedCounts::decode(counts.value()));
            let counts =
                change.of(counts.unwrap_or_default()).ok_or(StoreError::Corrupt("count of states"))?;
            if counts == ReportedCounts::default() {
                self.counts.remove(panel)?;
            } else {
                self.counts.insert(panel, &counts.encode())?;
            }
        }
        Ok(())
    }

    /// Counts all reported states anew, as none were counted before.
    pub(super) fn count_reported(&mut self) -> Result<(), StoreError> {
        for entry in self.reported.iter()? {
            let (key, value) = entry?;
            let change = self.counted.entry(row::reported_name(key.value()).0).or_default();
            change.count(value.value(), 1);
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

    /// Whether the panel was removed, so that there is nothing to write for it.
    pub(super) fn is_gone(&mut self, panel: PanelNo) -> Result<bool, StoreError> {
        let Memory { gone, going, perhaps_gone, .. } = &mut *self.memory;
        if gone.contains(&panel) || going.contains(&panel) {
            return Ok(true);
        }
        if perhaps_gone.is_empty() || !perhaps_gone.remove(&panel) {
            return Ok(false);
        }
        let is_gone = self.panels.get(panel)?.is_none();
        if is_gone {
            gone.insert(panel);
        }
        Ok(is_gone)
    }

    /// The number of the panel of this id.
    pub fn panel_number(&self, id: &str) -> Result<Option<PanelNo>, StoreError> {
        Ok(self.panel_ids.get(id)?.map(|number| number.value()))
    }

    /// The rows of one panel.
    pub fn panel(&mut self, panel: PanelNo) -> PanelRows<'_, 't> {
        PanelRows { tables: self, panel, packs: Vec::new(), users: Vec::new() }
    }

    /// Adds a panel, whose id no other has, and returns its number.
    pub fn add_panel(&mut self, id: &str, record: &[u8]) -> Result<PanelNo, StoreError> {
        let panel = self.next_number("next_panel")?;
        let panel = PanelNo::try_from(panel).map_err(|_| StoreError::Corrupt("panel number"))?;
        self.panels.insert(panel, record)?;
        self.panel_ids.insert(id, panel)?;
        self.panel_names.insert(panel, id)?;
        Ok(panel)
    }

    /// Makes all panels found by their ids, as they are since format 6.
    pub(super) fn index_panel_ids(&mut self) -> Result<(), StoreError> {
        for entry in self.panels.iter()? {
            let panel = entry?.0.value();
            let id = self.panel_names.get(panel)?.ok_or(StoreError::Corrupt("panel name"))?;
            self.panel_ids.insert(id.value(), panel)?;
        }
        Ok(())
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

    /// A panel's record, JSON.
    pub fn panel_record(&self, panel: PanelNo) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.panels.get(panel)?.map(|record| record.value().to_vec()))
    }

    /// Replaces a panel's record; returns false where there is no such panel.
    pub fn set_panel(&mut self, panel: PanelNo, record: &[u8]) -> Result<bool, StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(false);
        }
        self.panels.insert(panel, record)?;
        Ok(true)
    }

    /// Sets or changes the password of a remote panel's account.
    pub fn set_credential(&mut self, panel: PanelNo, password_md5: &str) -> Result<(), StoreError> {
        let sealed = self.memory.seal.seal(panel, password_md5)?;
        self.secrets.insert(panel, sealed.as_slice())?;
        Ok(())
    }

    /// Whether the key is the one that the passwords were sealed with. The first one that is asked becomes it, and so does
    /// another one where nothing is sealed.
    pub(super) fn key_fits(&mut self) -> Result<bool, StoreError> {
        let checked = match self.secrets.get(KEY_CHECK)? {
            Some(sealed) => Some(self.memory.seal.open(KEY_CHECK, sealed.value()).is_ok()),
            None => None,
        };
        if checked == Some(true) {
            return Ok(true);
        }
        if checked == Some(false) {
            if self.secrets.len()? > 1 {
                return Ok(false);
            }
            tracing::warn!(
                "the key is another one than before; nothing is sealed, so this one takes its place"
            );
        }
        self.set_credential(KEY_CHECK, "panelsync")?;
        Ok(true)
    }

    /// Seals all passwords anew with this key; says how many there are.
    pub fn seal_anew(&mut self, seal: &Arc<Seal>) -> Result<usize, StoreError> {
        let mut texts = Vec::new();
        for entry in self.secrets.iter()? {
            let (panel, sealed) = entry?;
            texts.push((panel.value(), self.memory.seal.open(panel.value(), sealed.value())?));
        }
        self.memory.seal = Arc::clone(seal);
        for (panel, text) in &texts {
            self.set_credential(*panel, text)?;
        }
        Ok(texts.len() - 1) // the first one is for the check of the key
    }

    /// Keeps that a panel's connection is another one than the last that was kept.
    pub fn connection_changed(&mut self, panel: PanelNo, now: ConnectionRecord) -> Result<(), StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(());
        }
        let kept = self.connections.get(panel)?;
        let mut changes: Vec<ConnectionRecord> = match &kept {
            Some(kept) => decode(kept.value(), "connections")?,
            None => Vec::new(),
        };
        drop(kept);
        if changes.last().is_some_and(|last| last.connection == now.connection) {
            return Ok(());
        }
        changes.drain(..changes.len().saturating_sub(KEPT_CONNECTIONS - 1));
        changes.push(now);
        self.connections.insert(panel, encode(&changes).as_slice())?;
        Ok(())
    }

    /// What a panel's device said of itself.
    pub fn device(&self, panel: PanelNo) -> Result<Option<DeviceRecord>, StoreError> {
        self.devices.get(panel)?.map(|record| decode(record.value(), "device")).transpose()
    }

    /// Keeps what a panel's device said of itself.
    /// Nothing where the panel is gone.
    pub fn set_device(&mut self, panel: PanelNo, record: &DeviceRecord) -> Result<(), StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(());
        }
        self.devices.insert(panel, encode(record).as_slice())?;
        Ok(())
    }

    /// Takes what a new panel's device holds as desired and as confirmed.
    pub fn adopt(&mut self, panel: PanelNo, profiles: &[(LinkId, Body)]) -> Result<(), StoreError> {
        let mut rows = self.panel(panel);
        for (link, body) in profiles {
            let row = rows.put(RowName::Link(*link), None, body)?;
            rows.set_reported(*link, Some(&Reported::Held(row.body)))?;
        }
        rows.finish()
    }

    /// Removes a panel's record and all its rows. Nothing is written for it from now on.
    pub fn remove_panel(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        self.memory.going.insert(panel);
        if let Some(id) = self.panel_names.get(panel)?.map(|id| id.value().to_owned())
            && self.panel_number(&id)? == Some(panel)
        {
            self.panel_ids.remove(id.as_str())?;
        }
        let (first, last) = row::panel_range(panel);
        for entry in self.packs.extract_from_if::<&RowKey, _>(&first..=&last, |_, _| true)? {
            let (_, value) = entry?;
            for row in pack::rows(value.value()) {
                *self.pending.users.entry(row?.1.body).or_default() -= 1;
            }
        }
        let (first, last) = row::reported_range(panel);
        self.reported.retain_in::<&ReportedKey, _>(&first..=&last, |_, _| false)?;
        let counts = self.counts.get(panel)?.map(|counts| ReportedCounts::decode(counts.value()));
        self.counted.insert(panel, CountsChange::away_with(counts.unwrap_or_default()));
        self.devices.remove(panel)?;
        self.connections.remove(panel)?;
        self.secrets.remove(panel)?;
        self.panels.remove(panel)?;
        Ok(())
    }

    /// Keeps a new batch with its operations and targets. Returns its number. Pushes out the oldest finished batches
    /// beyond `keep`.
    pub fn add_batch(
        &mut self,
        record: &BatchRecord,
        work: &[u8],
        targets: &[PanelNo],
        keep: u64,
    ) -> Result<BatchSeq, StoreError> {
        let seq = self.next_number("next_batch")?;
        self.set_batch(seq, record)?;
        self.batch_ids.insert(record.id.as_bytes(), seq)?;
        self.batch_work.insert(seq, work)?;
        self.batch_targets.insert(seq, row::encode_panels(targets).as_slice())?;
        self.push_out_batches(keep)?;
        Ok(seq)
    }

    /// Batches come and go in the order of their numbers, save that those that run stay: so the oldest that go are
    /// found behind no more batches than run.
    fn push_out_batches(&mut self, keep: u64) -> Result<(), StoreError> {
        let mut surplus = self.batches.len()?.saturating_sub(keep);
        let mut old = Vec::new();
        for entry in self.batches.iter()? {
            if surplus == 0 {
                break;
            }
            let (seq, record) = entry?;
            // One that cannot be read goes, too; its id stays and leads nowhere.
            match decode::<BatchRecord>(record.value(), "batch") {
                Ok(record) if record.state == BatchState::Running => {}
                Ok(record) => old.push((seq.value(), Some(record.id))),
                Err(_) => old.push((seq.value(), None)),
            }
            surplus -= 1;
        }
        for (seq, id) in old {
            self.batches.remove(seq)?;
            if let Some(id) = id {
                self.batch_ids.remove(id.as_bytes())?;
            }
            self.batch_work.remove(seq)?;
            self.batch_targets.remove(seq)?;
            let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
            self.outcomes.retain_in::<&OutcomeKey, _>(&first..=&last, |_, _| false)?;
        }
        Ok(())
    }

    /// Keeps the key under which a batch was sent. Keys from before `since_ms` go, and the oldest where there are very
    /// many.
    pub fn add_key(&mut self, name: &str, key: &IdempotencyKey, since_ms: i64) -> Result<(), StoreError> {
        if let Some(before) = self.key(name)? {
            self.key_times.remove((key_time(before.at_ms), name))?;
        }
        self.keys.insert(name, &key.encode())?;
        self.key_times.insert((key_time(key.at_ms), name), ())?;
        for _ in 0..KEYS_AT_ONCE {
            let Some((oldest, _)) = self.key_times.first()? else { break };
            let (at, name) = oldest.value();
            if at >= key_time(since_ms) && self.keys.len()? <= KEPT_KEYS {
                break;
            }
            let name = name.to_owned();
            drop(oldest);
            self.key_times.remove((at, name.as_str()))?;
            self.keys.remove(name.as_str())?;
        }
        Ok(())
    }

    /// The batch that was sent under this key.
    pub fn key(&self, name: &str) -> Result<Option<IdempotencyKey>, StoreError> {
        Ok(self.keys.get(name)?.map(|value| IdempotencyKey::decode(value.value())))
    }

    /// What came of a batch, by panel, as it stands.
    pub fn outcomes(&mut self, seq: BatchSeq) -> Result<Vec<(PanelNo, Outcome)>, StoreError> {
        self.write_run()?;
        let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
        let mut outcomes = Vec::new();
        for entry in self.outcomes.range::<&OutcomeKey>(&first..=&last)? {
            let (key, value) = entry?;
            let first = row::outcome_panel(key.value());
            let (count, outcome) = row::split_outcome(value.value())?;
            let outcome = row::decode_outcome(outcome)?;
            outcomes.extend((first..first.saturating_add(count)).map(|panel| (panel, outcome.clone())));
        }
        Ok(outcomes)
    }

    /// A batch's record.
    pub fn batch(&self, seq: BatchSeq) -> Result<Option<BatchRecord>, StoreError> {
        self.batches.get(seq)?.map(|record| decode(record.value(), "batch")).transpose()
    }

    /// Replaces a batch's record.
    pub fn set_batch(&mut self, seq: BatchSeq, record: &BatchRecord) -> Result<(), StoreError> {
        self.batches.insert(seq, encode(record).as_slice())?;
        Ok(())
    }

    /// Keeps what came of a batch on a panel.
    pub fn set_outcome(
        &mut self,
        seq: BatchSeq,
        panel: PanelNo,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        if let Some(run) = self.run.as_mut().filter(|run| run.goes_on(seq, panel, outcome)) {
            run.count += 1;
            return Ok(());
        }
        self.write_run()?;
        self.run = Some(OutcomeRun { seq, first: panel, count: 1, outcome: outcome.clone() });
        Ok(())
    }

    /// Writes the gathered run of outcomes in place of what stands for its panels.
    fn write_run(&mut self) -> Result<(), StoreError> {
        let Some(OutcomeRun { seq, first, count, outcome }) = self.run.take() else { return Ok(()) };
        let end = u64::from(first) + u64::from(count);
        let from = self.outcome_row(seq, first)?.map_or(first, |(before, _)| before);
        let last = (end - 1) as PanelNo; // the number of a panel
        let mut standing = Vec::new();
        for entry in
            self.outcomes.range::<&OutcomeKey>(&row::outcome_key(seq, from)..=&row::outcome_key(seq, last))?
        {
            let (key, value) = entry?;
            standing.push((row::outcome_panel(key.value()), value.value().to_vec()));
        }
        for (begins, value) in standing {
            let (its_count, bytes) = row::split_outcome(&value)?;
            let its_end = u64::from(begins) + u64::from(its_count);
            self.outcomes.remove(&row::outcome_key(seq, begins))?;
            if begins < first {
                self.insert_run(seq, begins, first - begins, bytes)?;
            }
            if its_end > end {
                self.insert_run(seq, end as PanelNo, (its_end - end) as u32, bytes)?; // within the run's own numbers
            }
        }
        self.insert_run(seq, first, count, &row::encode_outcome(&outcome))
    }

    fn insert_run(
        &mut self,
        seq: BatchSeq,
        first: PanelNo,
        count: u32,
        outcome: &[u8],
    ) -> Result<(), StoreError> {
        let value = row::join_outcome(count, outcome);
        self.outcomes.insert(&row::outcome_key(seq, first), value.as_slice())?;
        Ok(())
    }

    /// The row that a panel's outcome stands in, and the panel that the row begins with.
    fn outcome_row(&self, seq: BatchSeq, panel: PanelNo) -> Result<Option<OutcomeRow<'_>>, StoreError> {
        row_of_outcome(&self.outcomes, seq, panel)
    }

    /// What came of a batch on a panel.
    pub fn outcome(&mut self, seq: BatchSeq, panel: PanelNo) -> Result<Option<Outcome>, StoreError> {
        self.write_run()?;
        let Some((_, value)) = self.outcome_row(seq, panel)? else { return Ok(None) };
        row::decode_outcome(row::split_outcome(value.value())?.1).map(Some)
    }

    /// A user's record.
    pub fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        self.users.get(name)?.map(|record| decode(record.value(), "user")).transpose()
    }

    /// Whether there is any user.
    pub fn has_users(&self) -> Result<bool, StoreError> {
        Ok(!self.users.is_empty()?)
    }

    /// Adds or replaces a user.
    pub fn set_user(&mut self, name: &str, record: &UserRecord) -> Result<(), StoreError> {
        self.users.insert(name, encode(record).as_slice())?;
        Ok(())
    }

    /// How many users have this role.
    pub fn users_with_role(&self, role: &str) -> Result<usize, StoreError> {
        let mut count = 0;
        for entry in self.users.iter()? {
            let user: UserRecord = decode(entry?.1.value(), "user")?;
            count += usize::from(user.role == role);
        }
        Ok(count)
    }

    /// Removes a user with the sessions; returns false where there is no such user.
    pub fn remove_user(&mut self, name: &str) -> Result<bool, StoreError> {
        let removed = self.users.remove(name)?.is_some();
        self.end_sessions(name, None)?;
        Ok(removed)
    }

    /// Ends a user's sessions, but for the one of this token.
    pub fn end_sessions(&mut self, name: &str, but: Option<Uuid>) -> Result<(), StoreError> {
        for id in self.sessions_of(name)? {
            if Some(id) != but {
                self.remove_token(id)?;
            }
        }
        Ok(())
    }

    /// A user's sessions, the oldest first.
    fn sessions_of(&self, name: &str) -> Result<Vec<Uuid>, StoreError> {
        let (first, last) = ([0; 24], [u8::MAX; 24]);
        let own = self.user_sessions.range::<(&str, &EndKey)>((name, &first)..=(name, &last))?;
        own.map(|entry| Ok(token_of(entry?.0.value().1))).collect()
    }

    /// Keeps a token, and drops some of those that have ended by now, and a user's oldest sessions beyond
    /// [`KEPT_SESSIONS`].
    pub fn add_token(&mut self, record: &TokenRecord, now_ms: i64) -> Result<(), StoreError> {
        self.drop_ended_tokens(now_ms)?;
        if record.session {
            let sessions = self.sessions_of(&record.name)?;
            for oldest in sessions.iter().take((sessions.len() + 1).saturating_sub(KEPT_SESSIONS)) {
                self.remove_token(*oldest)?;
            }
        }
        self.tokens.insert(record.id.as_bytes(), encode(record).as_slice())?;
        self.name_token(record)
    }

    /// Keeps under which other keys a token is found.
    pub(super) fn name_token(&mut self, record: &TokenRecord) -> Result<(), StoreError> {
        let Some(ends) = record.expires_at_ms else { return Ok(()) };
        let key = end_key(ends, record.id);
        self.token_ends.insert(&key, ())?;
        if record.session {
            self.user_sessions.insert((record.name.as_str(), &key), ())?;
        }
        Ok(())
    }

    /// Drops tokens that have ended by now; says how many.
    pub fn drop_ended_tokens(&mut self, now_ms: i64) -> Result<usize, StoreError> {
        let until = end_key(now_ms, Uuid::max());
        let ended = self.token_ends.range::<&EndKey>(..=&until)?.take(SWEPT_AT_ONCE);
        let ended: Vec<_> = ended.map(|entry| Ok(*entry?.0.value())).collect::<Result<_, StoreError>>()?;
        for key in &ended {
            self.remove_token(token_of(key))?;
            self.token_ends.remove(key)?; // also where its token is not there
        }
        Ok(ended.len())
    }

    /// Whether there is this token, revoked neither by itself nor with its user.
    pub fn has_token(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.tokens.get(id.as_bytes())?.is_some())
    }

    /// Removes a token, and gives what it was; nothing where there is none.
    pub fn remove_token(&mut self, id: Uuid) -> Result<Option<TokenRecord>, StoreError> {
        let removed = self.tokens.remove(id.as_bytes())?;
        let removed: Option<TokenRecord> =
            removed.map(|record| decode(record.value(), "token")).transpose()?;
        if let Some(TokenRecord { name, session, expires_at_ms: Some(ends), .. }) = &removed {
            let key = end_key(*ends, id);
            self.token_ends.remove(&key)?;
            if *session {
                self.user_sessions.remove((name.as_str(), &key))?;
            }
        }
        Ok(removed)
    }

    /// The tokens that a user made, be it through other tokens, and that have not ended by now.
    pub fn tokens_made_by(&self, user: &str, now_ms: i64) -> Result<Vec<TokenRecord>, StoreError> {
        let mut made = Vec::new();
        for entry in self.tokens.iter()? {
            let token: TokenRecord = decode(entry?.1.value(), "token")?;
            if token.owner.as_deref() == Some(user) && token.expires_at_ms.is_none_or(|end| end > now_ms) {
                made.push(token);
            }
        }
        Ok(made)
    }

    /// A token, if it is still there, was used at this time.
    pub fn token_was_used(&mut self, id: Uuid, at_ms: i64) -> Result<(), StoreError> {
        let stored = self.tokens.get(id.as_bytes())?.map(|record| decode(record.value(), "token"));
        if let Some(record) = stored.transpose()? {
            let record = TokenRecord { last_used_ms: Some(at_ms), ..record };
            self.tokens.insert(id.as_bytes(), encode(&record).as_slice())?;
        }
        Ok(())
    }

    /// Writes an audit entry, and pushes out what is older than the last [`KEPT_AUDIT`]; entries of sessions are counted
    /// by themselves, so that logging in and out pushes out nothing else.
    pub fn audit(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        self.audit_over(None, record).map(|_| ())
    }

    /// [`Tables::audit`] in place of the entry with this number, where that still stands. Gives the entry's number.
    pub fn audit_over(&mut self, standing: Option<u64>, record: &AuditRecord) -> Result<u64, StoreError> {
        let next = match self.memory.next_audit {
            Some(number) => number,
            None => self.meta.get("next_audit")?.map_or(1, |number| number.value()),
        };
        let (table, kept) = if record.action.starts_with(OF_SESSIONS) {
            (&mut self.audit_sessions, KEPT_AUDIT_SESSIONS)
        } else {
            (&mut self.audit, KEPT_AUDIT)
        };
        let standing = match standing {
            Some(number) => table.get(number)?.map(|_| number),
            None => None,
        };
        let number = standing.unwrap_or(next);
        if standing.is_none() {
            self.memory.next_audit = Some(next + 1);
        }
        table.insert(number, encode(record).as_slice())?;
        while table.len()? > kept {
            table.pop_first()?;
        }
        Ok(number)
    }

    /// Drops entries of the audit from before this moment; says how many.
    pub fn drop_old_audit(&mut self, before_ms: i64) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for table in [&mut self.audit, &mut self.audit_sessions] {
            while dropped < SWEPT_AT_ONCE {
                let oldest = match table.first()? {
                    Some((number, record)) => {
                        let entry: AuditRecord = decode(record.value(), "audit entry")?;
                        (entry.at_ms < before_ms).then(|| number.value())
                    }
                    None => None,
                };
                let Some(oldest) = oldest else { break };
                table.remove(oldest)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Moves entries of sessions to where they are counted by themselves, and names tokens by their ends: for the step to
    /// format 6.
    pub(super) fn set_sessions_apart(&mut self) -> Result<(), StoreError> {
        let mut moved = Vec::new();
        for entry in self.audit.iter()? {
            let (number, record) = entry?;
            if decode::<AuditRecord>(record.value(), "audit entry")?.action.starts_with(OF_SESSIONS) {
                moved.push((number.value(), record.value().to_vec()));
            }
        }
        let beyond = moved.len().saturating_sub(KEPT_AUDIT_SESSIONS as usize);
        for (at, (number, record)) in moved.iter().enumerate() {
            self.audit.remove(number)?;
            if at >= beyond {
                self.audit_sessions.insert(number, record.as_slice())?;
            }
        }
        let mut tokens: Vec<TokenRecord> = Vec::new();
        for entry in self.tokens.iter()? {
            tokens.push(decode(entry?.1.value(), "token")?);
        }
        tokens.iter().try_for_each(|token| self.name_token(token))
    }

    /// The next of a run of numbers that begins at 1.
    fn next_number(&mut self, name: &'static str) -> Result<u64, StoreError> {
        let number = self.meta.get(name)?.map_or(1, |number| number.value());
        self.meta.insert(name, number + 1)?;
        Ok(number)
    }

    /// The number of the body with this text: a known one, or a new one.
    fn body_number(&mut self, body: &Body) -> Result<u64, StoreError> {
        if let Some(number) = self.memory.by_digest.get(&body.digest()) {
            self.pending.named.insert(*number);
            return Ok(*number);
        }
        let number = match self.memory.next_body {
            Some(number) => number,
            None => self.meta.get("next_body")?.map_or(1, |number| number.value()),
        };
        self.memory.next_body = Some(number + 1);
        self.pending.new.insert(number, NewText { json: body.shared_json(), had_users: 0 });
        self.pending.named.insert(number);
        self.memory.remember(body.digest(), number);
        Ok(number)
    }

    /// Gives the body of one row another text, where no other row names it and none has the text already. Says
    /// whether it did.
    fn replace_body(&mut self, number: u64, body: &Body) -> bool {
        if !self.pending.of_one_row(number) || self.memory.by_digest.contains_key(&body.digest()) {
            return false;
        }
        self.memory.forget(number);
        self.memory.remember(body.digest(), number);
        self.pending.new.insert(number, NewText { json: body.shared_json(), had_users: 1 });
        self.pending.users.entry(number).or_default();
        true
    }

    fn body_is(&mut self, number: u64, body: &Body) -> Result<bool, StoreError> {
        if self.memory.by_digest.get(&body.digest()) == Some(&number) {
            return Ok(true);
        }
        if let Some((compared, same)) = self.memory.compared.get(&number)
            && *compared == body.digest()
        {
            return Ok(*same);
        }
        let same = match self.pending.new.get(&number) {
            Some(new) => *new.json == *body.json(),
            None => {
                let stored = self.bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
                let (users, json) = split_body(stored.value())?;
                self.pending.had_users.insert(number, users);
                json == body.json().as_bytes()
            }
        };
        if self.memory.compared.len() >= REMEMBERED {
            self.memory.compared.clear();
        }
        self.memory.compared.insert(number, (body.digest(), same));
        if same {
            self.memory.remember(body.digest(), number);
        }
        Ok(same)
    }

    fn body_json(&self, number: u64) -> Result<Box<[u8]>, StoreError> {
        if let Some(new) = self.pending.new.get(&number) {
            return Ok(new.json.as_bytes().into());
        }
        let stored = self.bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
        Ok(split_body(stored.value())?.1.into())
    }
}

/// The first panel of a row of outcomes, and the row.
pub(super) type OutcomeRow<'a> = (PanelNo, AccessGuard<'a, &'static [u8]>);

/// The row of `outcomes` that has this panel's.
pub(super) fn row_of_outcome(
    outcomes: &impl ReadableTable<&'static OutcomeKey, &'static [u8]>,
    seq: BatchSeq,
    panel: PanelNo,
) -> Result<Option<OutcomeRow<'_>>, StoreError> {
    let upper = row::outcome_key(seq, panel);
    let Some((key, value)) = outcomes.upper_bound(Bound::Included(&upper))?.peek_prev()? else {
        return Ok(None);
    };
    let first = row::outcome_panel(key.value());
    if key.value()[..8] != upper[..8] {
        return Ok(None);
    }
    let (count, _) = row::split_outcome(value.value())?;
    Ok((panel - first < count).then_some((first, value)))
}

/// One panel's rows within a transaction. What is changed here is seen by every later question.
pub struct PanelRows<'a, 't> {
    tables: &'a mut Tables<'t>,
    panel: PanelNo,
    /// The packs that were looked at, by their keys; the panel's first one among them wherever there is any.
    packs: Vec<Loaded>,
    /// Bodies that rows here begin and cease to name.
    users: Vec<(u64, i64)>,
}

/// All that a panel's rows are, where they fit into one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole(Pack);

/// What work made of a panel's rows, for doing the same to another panel with the same rows in the same
/// transaction.
#[derive(Debug, Clone)]
pub struct Made {
    whole: Whole,
    users: Rc<Users>,
}

/// A pack in memory. It has the names from its key on up to `until`, or up to the panel's last one.
struct Loaded {
    key: RowKey,
    until: Option<RowKey>,
    pack: Pack,
    changed: bool,
}

impl<'t> PanelRows<'_, 't> {
    /// The tables, for what goes into the same transaction beside the rows.
    pub fn tables(&mut self) -> &mut Tables<'t> {
        self.tables
    }

    /// Which panel.
    pub fn number(&self) -> PanelNo {
        self.panel
    }

    /// How many profiles the panel holds.
    pub fn count(&mut self) -> Result<u32, StoreError> {
        Ok(self.first()?.pack.head().count)
    }

    /// The panel's first pack, which stands first in `packs`.
    fn first(&mut self) -> Result<&mut Loaded, StoreError> {
        if self.packs.is_empty() {
            let key = row::panel_range(self.panel).0;
            let pack = match self.tables.packs.get(&key)? {
                Some(value) => Pack::read(value.value())?,
                None => Pack::empty(),
            };
            // Where there are others, up to which name it goes is looked up with the name that asks for it.
            let until = pack.has_others().then_some(key);
            self.packs.push(Loaded { key, until, pack, changed: false });
        }
        Ok(&mut self.packs[0])
    }

    /// Sets next uid and number of rows.
    pub(super) fn set_head(&mut self, head: Head) -> Result<(), StoreError> {
        let first = self.first()?;
        first.pack.set_head(head);
        first.changed = true;
        Ok(())
    }

    /// Where in `packs` the pack with this name is, which is read where it was not looked at before.
    fn pack(&mut self, key: &RowKey) -> Result<usize, StoreError> {
        self.first()?;
        let place = self.packs.partition_point(|loaded| loaded.key <= *key);
        let at = place - 1; // the first one's key is below every name's
        if self.packs[at].until.is_none_or(|until| *key < until) {
            return Ok(at);
        }
        let mut gap = self.tables.packs.upper_bound(Bound::Included(key))?;
        let (from, value) = gap.peek_prev()?.ok_or(StoreError::Corrupt("first pack"))?;
        let next = gap.peek_next()?.map(|(next, _)| *next.value());
        let (from, until) = (*from.value(), next.filter(|next| next[..4] == key[..4]));
        if from == self.packs[at].key {
            self.packs[at].until = until;
            return Ok(at);
        }
        let pack = Pack::read(value.value())?;
        self.packs.insert(place, Loaded { key: from, until, pack, changed: false });
        Ok(place)
    }

    /// The row of this name.
    pub fn get(&mut self, name: RowName) -> Result<Option<Row>, StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        Ok(self.packs[at].pack.get(&key))
    }

    /// Writes a row, and leaves the head as it is.
    pub(super) fn set(&mut self, name: RowName, row: Row) -> Result<(), StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        let loaded = &mut self.packs[at];
        loaded.pack.put(&key, row);
        loaded.changed = true;
        if loaded.pack.count() > MAX_ROWS {
            if at == 0 {
                loaded.pack.set_others(); // a pack beyond the first one has seen to that before
            }
            let (from, upper) = loaded.pack.split(self.panel);
            let until = loaded.until.replace(from);
            self.packs.insert(at + 1, Loaded { key: from, until, pack: upper, changed: true });
        }
        Ok(())
    }

    /// All rows, those with a link_id first.
    pub fn all(&self) -> Result<Vec<(RowName, Row)>, StoreError> {
        let (first, last) = row::panel_range(self.panel);
        let mut rows = Vec::new();
        for loaded in &self.packs {
            rows.extend(loaded.pack.rows().collect::<Result<Vec<_>, _>>()?);
        }
        for entry in self.tables.packs.range::<&RowKey>(&first..=&last)? {
            let (key, value) = entry?;
            if !self.packs.iter().any(|loaded| loaded.key == *key.value()) {
                rows.extend(pack::rows(value.value()).collect::<Result<Vec<_>, _>>()?);
            }
        }
        rows.sort_unstable_by_key(|(name, _)| *name);
        Ok(rows)
    }

    /// Whether the row's body is this one.
    pub fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        self.tables.body_is(row.body, body)
    }

    /// The JSON of a row's body.
    pub fn json(&self, row: &Row) -> Result<Box<[u8]>, StoreError> {
        self.tables.body_json(row.body)
    }

    /// Writes a profile under a name; a new one gets the next uid. `standing` is the row that stands there.
    pub fn put(&mut self, name: RowName, standing: Option<Row>, body: &Body) -> Result<Row, StoreError> {
        let number = self.tables.body_number(body)?;
        let row = match standing {
            Some(old) => {
                self.users.push((old.body, -1));
                Row { body: number, uid: old.uid, revision: old.revision.saturating_add(1) }
            }
            None => {
                let Head { next_uid: uid, count } = self.first()?.pack.head();
                let next_uid = uid.checked_add(1).ok_or(StoreError::Corrupt("uid"))?;
                self.set_head(Head { next_uid, count: count + 1 })?;
                Row { body: number, uid, revision: 1 }
            }
        };
        self.users.push((number, 1));
        self.set(name, row)?;
        Ok(row)
    }

    /// As [`PanelRows::put`], and where no other row names the body that stands there, the new text takes its place
    /// under its number. Not for a remote panel: what its device holds is known by numbers of bodies.
    pub fn put_in_place(
        &mut self,
        name: RowName,
        standing: Option<Row>,
        body: &Body,
    ) -> Result<Row, StoreError> {
        let Some(old) = standing.filter(|old| self.tables.replace_body(old.body, body)) else {
            return self.put(name, standing, body);
        };
        let row = Row { revision: old.revision.saturating_add(1), ..old };
        self.set(name, row)?;
        Ok(row)
    }

    /// Writes a new profile that has no link_id, and returns its uid.
    pub fn put_by_uid(&mut self, body: &Body) -> Result<u32, StoreError> {
        let uid = self.first()?.pack.head().next_uid;
        self.put(RowName::Uid(uid), None, body)?;
        Ok(uid)
    }

    /// Deletes the row that stands under this name.
    pub fn remove(&mut self, name: RowName, standing: Row) -> Result<(), StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        self.packs[at].pack.remove(&key);
        self.packs[at].changed = true;
        self.users.push((standing.body, -1));
        let Head { next_uid, count } = self.first()?.pack.head();
        self.set_head(Head { next_uid, count: count.saturating_sub(1) })
    }

    /// All that the rows are now; nothing where they do not fit into one pack.
    pub fn whole(&mut self) -> Result<Option<Whole>, StoreError> {
        let pack = &self.first()?.pack;
        Ok((!pack.has_others()).then(|| Whole(pack.clone())))
    }

    /// What was made of the rows since they were looked at first.
    pub fn made(&mut self) -> Result<Option<Made>, StoreError> {
        let users = self.users.as_slice().into();
        Ok(self.whole()?.map(|whole| Made { whole, users }))
    }

    /// Of rows that nobody has looked at in this work: where they are just these, makes the same of them where they
    /// stand, and says so.
    pub fn make_where(&mut self, before: &Whole, made: &Made) -> Result<bool, StoreError> {
        let key = row::panel_range(self.panel).0;
        let packs = &mut self.tables.packs;
        let (before, after) = (before.0.bytes(), made.whole.0.bytes());
        let same = if before == after {
            packs.get(&key)?.map(|standing| standing.value() == before)
        } else {
            match packs.get_mut(&key)? {
                Some(mut standing) if standing.value() == before => {
                    standing.insert(after)?;
                    Some(true)
                }
                Some(_) => Some(false),
                None => None,
            }
        };
        if !same.unwrap_or_else(|| before == Pack::empty().bytes()) {
            return Ok(false);
        }
        if same.is_none() && before != after {
            packs.insert(&key, after)?;
        }
        self.tables.pending.repeat(&made.users);
        Ok(true)
    }

    /// What is known of a link_id on the panel's device.
    pub fn reported(&self, link: LinkId) -> Result<Option<Reported>, StoreError> {
        let stored = self.tables.reported.get(&row::reported_key(self.panel, link))?;
        stored.map(|value| Reported::decode(value.value())).transpose()
    }

    /// Whether anything is known of the panel's device, or of what an embedded panel refused.
    pub fn has_reported(&self) -> Result<bool, StoreError> {
        let reported = &self.tables.reported;
        if reported.is_empty()? {
            return Ok(false); // as on most fleets of embedded panels, and then nothing is looked up
        }
        let (first, last) = row::reported_range(self.panel);
        Ok(reported.range::<&ReportedKey>(&first..=&last)?.next().is_some())
    }

    /// All that is known of the panel's device, in link_id order.
    pub fn all_reported(&self) -> Result<Vec<(LinkId, Reported)>, StoreError> {
        let (first, last) = row::reported_range(self.panel);
        let mut all = Vec::new();
        for entry in self.tables.reported.range::<&ReportedKey>(&first..=&last)? {
            let (key, value) = entry?;
            all.push((row::reported_name(key.value()).1, Reported::decode(value.value())?));
        }
        Ok(all)
    }

    /// Writes what is known of a link_id on the device; nothing where it is known to be gone.
    pub fn set_reported(&mut self, link: LinkId, reported: Option<&Reported>) -> Result<(), StoreError> {
        let key = row::reported_key(self.panel, link);
        let change = self.tables.counted.entry(self.panel).or_default();
        let now = reported.map(Reported::encode);
        let before = match &now {
            Some(now) => self.tables.reported.insert(&key, now.as_slice())?,
            None => self.tables.reported.remove(&key)?,
        };
        if let Some(before) = before {
            change.count(before.value(), -1);
        }
        if let Some(now) = &now {
            change.count(now, 1);
        }
        Ok(())
    }

    /// Writes what changed of the panel's rows and head. The writer calls it after the work.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        for (body, delta) in self.users {
            *self.tables.pending.users.entry(body).or_default() += delta;
        }
        let first = row::panel_range(self.panel).0;
        for Loaded { key, pack, .. } in self.packs.iter().filter(|loaded| loaded.changed) {
            if pack.count() > 0 || *key == first {
                self.tables.packs.insert(key, pack.bytes())?;
            } else {
                self.tables.packs.remove(key)?;
            }
        }
        Ok(())
    }
}

/// A body's number of users and its JSON.
pub(super) fn split_body(value: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let (users, json) = value.split_at_checked(8).ok_or(StoreError::Corrupt("body"))?;
    Ok((row::be_u64(users), json))
}

/// A record as JSON.
pub fn encode(record: &impl Serialize) -> Vec<u8> {
    // Records have text keys and are written to memory, so serde_json cannot fail on them.
    serde_json::to_vec(record).unwrap_or_default()
}

/// A record from JSON.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Corrupt(what))
}
