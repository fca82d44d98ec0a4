//! Every table: its key, its value, and what deletes a row. [`Tables`] is all of them, open for writing.
//!
//! | table | key | value | a row goes when |
//! | --- | --- | --- | --- |
//! | `meta` | name | 8 bytes, a number: the format, the next panel, body, batch and audit numbers | never |
//! | `panels` | panel number | the panel's record, JSON | the panel is removed |
//! | `panel_names` | panel number | the panel's id | never: batches and audit name removed panels too |
//! | `heads` | panel number | next uid, number of rows ([`super::row::Head`]) | the panel is removed |
//! | `packs` | panel, the first name of the pack ([`super::row::RowKey`]) | some of the panel's rows ([`super::pack`]), each with body, uid, revision ([`super::row::Row`]) | its last profile or its panel is deleted |
//! | `bodies` | running number | number of rows that name it (8), then the profile's JSON | no row names it |
//! | `batches` | batch number | [`BatchRecord`], JSON | newer batches push it out |
//! | `batch_ids` | the batch's UUID | batch number | with its batch |
//! | `batch_work` | batch number | the operations as `POST /batches` takes them, JSON | with its batch |
//! | `batch_targets` | batch number | panel numbers, ascending, 4 bytes each | with its batch |
//! | `outcomes` | batch, panel | [`crate::batch::Outcome`] | with its batch |
//! | `idempotency` | user, line feed, key | SHA-256 of the body (32), batch number (8) | with its batch |
//! | `reported` | panel, link_id ([`super::row::ReportedKey`]) | what a device last confirmed ([`super::row::Reported`]) | device and desired agree that it is gone, or the panel is removed |
//! | `devices` | panel number | [`DeviceRecord`], JSON | the panel is removed |
//! | `credentials` | panel number | MD5 hex of the password of the account on the device, which is all that its API takes | the panel is removed |
//! | `users` | name | [`UserRecord`], JSON | the user is removed |
//! | `tokens` | the token's UUID | [`TokenRecord`], JSON | it is revoked, or found expired |
//! | `audit` | running number | [`AuditRecord`], JSON | newer entries push it out |

use std::any::Any;
use std::ops::Bound;

use redb::{ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::pack::{self, MAX_ROWS, Pack};
use super::row::{self, Head, OutcomeKey, Reported, ReportedKey, Row, RowKey, RowName};
use super::{BatchSeq, PanelNo, StoreError};
use crate::batch::{BatchRecord, BatchState, Body, BodyDigest, Outcome};
use crate::profile::LinkId;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const PANELS: TableDefinition<'_, PanelNo, &[u8]> = TableDefinition::new("panels");
pub(super) const PANEL_NAMES: TableDefinition<'_, PanelNo, &str> = TableDefinition::new("panel_names");
pub(super) const HEADS: TableDefinition<'_, PanelNo, &[u8; 8]> = TableDefinition::new("heads");
pub(super) const PACKS: TableDefinition<'_, &RowKey, &[u8]> = TableDefinition::new("packs");
pub(super) const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
pub(super) const BATCHES: TableDefinition<'_, BatchSeq, &[u8]> = TableDefinition::new("batches");
pub(super) const BATCH_IDS: TableDefinition<'_, &[u8; 16], BatchSeq> = TableDefinition::new("batch_ids");
pub(super) const BATCH_WORK: TableDefinition<'_, BatchSeq, &[u8]> = TableDefinition::new("batch_work");
pub(super) const BATCH_TARGETS: TableDefinition<'_, BatchSeq, &[u8]> = TableDefinition::new("batch_targets");
pub(super) const OUTCOMES: TableDefinition<'_, &OutcomeKey, &[u8]> = TableDefinition::new("outcomes");
pub(super) const IDEMPOTENCY: TableDefinition<'_, &str, &[u8; 40]> = TableDefinition::new("idempotency");
pub(super) const REPORTED: TableDefinition<'_, &ReportedKey, &[u8]> = TableDefinition::new("reported");
pub(super) const DEVICES: TableDefinition<'_, PanelNo, &[u8]> = TableDefinition::new("devices");
pub(super) const CREDENTIALS: TableDefinition<'_, PanelNo, &str> = TableDefinition::new("credentials");
pub(super) const USERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("users");
pub(super) const TOKENS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("tokens");
pub(super) const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");

/// How many audit entries are kept.
pub const KEPT_AUDIT: u64 = 100_000;

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

/// All tables, open in one write transaction.
pub struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    panels: Table<'t, PanelNo, &'static [u8]>,
    panel_names: Table<'t, PanelNo, &'static str>,
    heads: Table<'t, PanelNo, &'static [u8; 8]>,
    packs: Table<'t, &'static RowKey, &'static [u8]>,
    bodies: Table<'t, u64, &'static [u8]>,
    batches: Table<'t, BatchSeq, &'static [u8]>,
    batch_ids: Table<'t, &'static [u8; 16], BatchSeq>,
    batch_work: Table<'t, BatchSeq, &'static [u8]>,
    batch_targets: Table<'t, BatchSeq, &'static [u8]>,
    outcomes: Table<'t, &'static OutcomeKey, &'static [u8]>,
    idempotency: Table<'t, &'static str, &'static [u8; 40]>,
    reported: Table<'t, &'static ReportedKey, &'static [u8]>,
    devices: Table<'t, PanelNo, &'static [u8]>,
    credentials: Table<'t, PanelNo, &'static str>,
    users: Table<'t, &'static str, &'static [u8]>,
    tokens: Table<'t, &'static [u8; 16], &'static [u8]>,
    audit: Table<'t, u64, &'static [u8]>,
    pending: PendingBodies,
    note: Option<Box<dyn Any>>,
    memory: &'t mut Memory,
}

/// What the writer remembers between transactions, all of it derivable: which body has which digest, and
/// which were compared. Cleared when a transaction fails, since numbers it gave were not committed.
#[derive(Default)]
pub(super) struct Memory {
    by_digest: FxHashMap<BodyDigest, u64>,
    digests: FxHashMap<u64, BodyDigest>,
    compared: FxHashMap<(u64, BodyDigest), bool>,
    next_body: Option<u64>,
}

/// Bodies remembered at most; beyond, remembering starts anew.
const REMEMBERED: usize = 8192;

impl Memory {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
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
        if let Some(digest) = self.digests.remove(&body) {
            self.by_digest.remove(&digest);
        }
    }
}

/// Changes to bodies within this transaction, written once at its end: a body that thousands of rows begin or
/// cease to name is written once.
#[derive(Default)]
struct PendingBodies {
    users: FxHashMap<u64, i64>,
    new: FxHashMap<u64, Box<[u8]>>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        memory: &'t mut Memory,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            panels: transaction.open_table(PANELS)?,
            panel_names: transaction.open_table(PANEL_NAMES)?,
            heads: transaction.open_table(HEADS)?,
            packs: transaction.open_table(PACKS)?,
            bodies: transaction.open_table(BODIES)?,
            batches: transaction.open_table(BATCHES)?,
            batch_ids: transaction.open_table(BATCH_IDS)?,
            batch_work: transaction.open_table(BATCH_WORK)?,
            batch_targets: transaction.open_table(BATCH_TARGETS)?,
            outcomes: transaction.open_table(OUTCOMES)?,
            idempotency: transaction.open_table(IDEMPOTENCY)?,
            reported: transaction.open_table(REPORTED)?,
            devices: transaction.open_table(DEVICES)?,
            credentials: transaction.open_table(CREDENTIALS)?,
            users: transaction.open_table(USERS)?,
            tokens: transaction.open_table(TOKENS)?,
            audit: transaction.open_table(AUDIT)?,
            pending: PendingBodies::default(),
            note: None,
            memory,
        })
    }

    /// Writes the gathered changes to bodies: new ones, changed numbers of users, and away with those that no
    /// row names any more.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        let mut changed: Vec<_> = self.pending.users.drain().collect();
        changed.sort_unstable(); // in key order, as the tree wants it
        for (body, delta) in changed {
            let (users, json) = match self.pending.new.remove(&body) {
                Some(json) => (0, json),
                None if delta == 0 => continue,
                None => {
                    let stored = self.bodies.get(body)?.ok_or(StoreError::Corrupt("body number"))?;
                    let (users, json) = split_body(stored.value())?;
                    (users, json.into())
                }
            };
            match users.checked_add_signed(delta) {
                Some(0) => {
                    self.bodies.remove(body)?;
                    self.memory.forget(body);
                }
                Some(users) => {
                    let mut value = Vec::with_capacity(8 + json.len());
                    value.extend(users.to_be_bytes());
                    value.extend(&json);
                    self.bodies.insert(body, value.as_slice())?;
                }
                None => return Err(StoreError::Corrupt("number of a body's users")),
            }
        }
        if let Some(next) = self.memory.next_body {
            let stored = self.meta.get("next_body")?.map(|number| number.value());
            if stored != Some(next) {
                self.meta.insert("next_body", next)?;
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

    /// The rows of one panel.
    pub fn panel(&mut self, panel: PanelNo) -> Result<PanelRows<'_, 't>, StoreError> {
        let stored = self.heads.get(panel)?.map(|head| Head::decode(head.value()));
        let head = stored.unwrap_or_default();
        Ok(PanelRows { tables: self, panel, head, stored: head, packs: Vec::new(), users: Vec::new() })
    }

    /// Adds a panel and returns its number.
    pub fn add_panel(&mut self, id: &str, record: &[u8]) -> Result<PanelNo, StoreError> {
        let panel = self.next_number("next_panel")?;
        let panel = PanelNo::try_from(panel).map_err(|_| StoreError::Corrupt("panel number"))?;
        self.panels.insert(panel, record)?;
        self.panel_names.insert(panel, id)?;
        Ok(panel)
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
        self.credentials.insert(panel, password_md5)?;
        Ok(())
    }

    /// What a panel's device said of itself.
    pub fn device(&self, panel: PanelNo) -> Result<Option<DeviceRecord>, StoreError> {
        self.devices.get(panel)?.map(|record| decode(record.value(), "device")).transpose()
    }

    /// Keeps what a panel's device said of itself.
    pub fn set_device(&mut self, panel: PanelNo, record: &DeviceRecord) -> Result<(), StoreError> {
        self.devices.insert(panel, encode(record).as_slice())?;
        Ok(())
    }

    /// Takes what a new panel's device holds as desired and as confirmed.
    pub fn adopt(&mut self, panel: PanelNo, profiles: &[(LinkId, Body)]) -> Result<(), StoreError> {
        let mut rows = self.panel(panel)?;
        for (link, body) in profiles {
            let row = rows.put(RowName::Link(*link), None, body)?;
            rows.set_reported(*link, Some(&Reported::Held(row.body)))?;
        }
        rows.finish()
    }

    /// Removes a panel's record and all its rows.
    pub fn remove_panel(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let (first, last) = row::panel_range(panel);
        for entry in self.packs.extract_from_if::<&RowKey, _>(&first..=&last, |_, _| true)? {
            let (_, value) = entry?;
            for row in pack::rows(value.value()) {
                *self.pending.users.entry(row?.1.body).or_default() -= 1;
            }
        }
        let (first, last) = row::reported_range(panel);
        self.reported.retain_in::<&ReportedKey, _>(&first..=&last, |_, _| false)?;
        self.devices.remove(panel)?;
        self.credentials.remove(panel)?;
        self.heads.remove(panel)?;
        self.panels.remove(panel)?;
        Ok(())
    }

    /// Keeps a new batch with its operations and targets, and the idempotency key under which it was sent.
    /// Returns its number. Pushes out the oldest finished batches beyond `keep`.
    pub fn add_batch(
        &mut self,
        record: &BatchRecord,
        work: &[u8],
        targets: &[PanelNo],
        idempotency: Option<(&str, [u8; 32])>,
        keep: u64,
    ) -> Result<BatchSeq, StoreError> {
        let seq = self.next_number("next_batch")?;
        self.set_batch(seq, record)?;
        self.batch_ids.insert(record.id.as_bytes(), seq)?;
        self.batch_work.insert(seq, work)?;
        self.batch_targets.insert(seq, row::encode_panels(targets).as_slice())?;
        if let Some((key, digest)) = idempotency {
            let mut value = [0; 40];
            value[..32].copy_from_slice(&digest);
            value[32..].copy_from_slice(&seq.to_be_bytes());
            self.idempotency.insert(key, &value)?;
        }
        self.push_out_batches(keep)?;
        Ok(seq)
    }

    fn push_out_batches(&mut self, keep: u64) -> Result<(), StoreError> {
        let mut surplus = self.batches.len()?.saturating_sub(keep);
        let mut old = Vec::new();
        for entry in self.batches.iter()? {
            if surplus == 0 {
                break;
            }
            let (seq, record) = entry?;
            let record = decode::<BatchRecord>(record.value(), "batch")?;
            if record.state != BatchState::Running {
                old.push((seq.value(), record.id));
                surplus -= 1;
            }
        }
        for (seq, id) in old {
            self.batches.remove(seq)?;
            self.batch_ids.remove(id.as_bytes())?;
            self.batch_work.remove(seq)?;
            self.batch_targets.remove(seq)?;
            let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
            self.outcomes.retain_in::<&OutcomeKey, _>(&first..=&last, |_, _| false)?;
            self.idempotency.retain(|_, value| row::be_u64(&value[32..]) != seq)?;
        }
        Ok(())
    }

    /// The batch that was sent under this key, with the digest of its body.
    pub fn idempotent(&self, key: &str) -> Result<Option<([u8; 32], BatchSeq)>, StoreError> {
        let Some(value) = self.idempotency.get(key)? else { return Ok(None) };
        let value = value.value();
        let mut digest = [0; 32];
        digest.copy_from_slice(&value[..32]);
        Ok(Some((digest, row::be_u64(&value[32..]))))
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
        let value = row::encode_outcome(outcome);
        self.outcomes.insert(&row::outcome_key(seq, panel), value.as_slice())?;
        Ok(())
    }

    /// What came of a batch on a panel.
    pub fn outcome(&self, seq: BatchSeq, panel: PanelNo) -> Result<Option<Outcome>, StoreError> {
        let stored = self.outcomes.get(&row::outcome_key(seq, panel))?;
        stored.map(|value| row::decode_outcome(value.value())).transpose()
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
        self.tokens.retain(|_, record| {
            decode::<TokenRecord>(record, "token").is_ok_and(|token| !(token.session && token.name == name))
        })?;
        Ok(removed)
    }

    /// Keeps a token, and drops those that have expired by now.
    pub fn add_token(&mut self, record: &TokenRecord, now_ms: i64) -> Result<(), StoreError> {
        self.tokens.retain(|_, stored| {
            decode::<TokenRecord>(stored, "token")
                .is_ok_and(|token| token.expires_at_ms.is_none_or(|end| end > now_ms))
        })?;
        self.tokens.insert(record.id.as_bytes(), encode(record).as_slice())?;
        Ok(())
    }

    /// Removes the tokens for which `which` says so; returns how many.
    pub fn remove_tokens(&mut self, which: impl Fn(&TokenRecord) -> bool) -> Result<usize, StoreError> {
        let mut removed = 0;
        for entry in self
            .tokens
            .extract_if(|_, record| decode::<TokenRecord>(record, "token").is_ok_and(|t| which(&t)))?
        {
            entry?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Writes an audit entry, and pushes out what is older than the last [`KEPT_AUDIT`].
    pub fn audit(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        let number = self.next_number("next_audit")?;
        self.audit.insert(number, encode(record).as_slice())?;
        if let Some(old) = number.checked_sub(KEPT_AUDIT) {
            self.audit.remove(old)?;
        }
        Ok(())
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
            return Ok(*number);
        }
        let number = match self.memory.next_body {
            Some(number) => number,
            None => self.meta.get("next_body")?.map_or(1, |number| number.value()),
        };
        self.memory.next_body = Some(number + 1);
        self.pending.new.insert(number, body.json().as_bytes().into());
        self.memory.remember(body.digest(), number);
        Ok(number)
    }

    fn body_is(&mut self, number: u64, body: &Body) -> Result<bool, StoreError> {
        if self.memory.by_digest.get(&body.digest()) == Some(&number) {
            return Ok(true);
        }
        let question = (number, body.digest());
        if let Some(same) = self.memory.compared.get(&question) {
            return Ok(*same);
        }
        let same = match self.pending.new.get(&number) {
            Some(json) => **json == *body.json().as_bytes(),
            None => {
                let stored = self.bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
                split_body(stored.value())?.1 == body.json().as_bytes()
            }
        };
        if self.memory.compared.len() >= REMEMBERED {
            self.memory.compared.clear();
        }
        self.memory.compared.insert(question, same);
        if same {
            self.memory.remember(body.digest(), number);
        }
        Ok(same)
    }

    fn body_json(&self, number: u64) -> Result<Box<[u8]>, StoreError> {
        if let Some(json) = self.pending.new.get(&number) {
            return Ok(json.clone());
        }
        let stored = self.bodies.get(number)?.ok_or(StoreError::Corrupt("body number"))?;
        Ok(split_body(stored.value())?.1.into())
    }
}

/// One panel's rows within a transaction. What is changed here is seen by every later question.
pub struct PanelRows<'a, 't> {
    tables: &'a mut Tables<'t>,
    panel: PanelNo,
    head: Head,
    stored: Head,
    /// The packs that were looked at, by their keys.
    packs: Vec<Loaded>,
    /// Bodies that rows here begin and cease to name.
    users: Vec<(u64, i64)>,
}

/// All that a panel's rows are, where they fit into one pack, and what became of the bodies that they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    head: Head,
    pack: Pack,
}

/// What work made of a panel's rows, for doing the same to another panel with the same rows in the same
/// transaction.
#[derive(Debug, Clone)]
pub struct Made {
    whole: Whole,
    users: Vec<(u64, i64)>,
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
    pub fn count(&self) -> u32 {
        self.head.count
    }

    /// Where in `packs` the pack with this name is, which is read where it was not looked at before.
    fn pack(&mut self, key: &RowKey) -> Result<usize, StoreError> {
        let place = self.packs.partition_point(|loaded| loaded.key <= *key);
        if let Some(at) = place.checked_sub(1)
            && self.packs[at].until.is_none_or(|until| *key < until)
        {
            return Ok(at);
        }
        let loaded = self.load(key)?;
        self.packs.insert(place, loaded);
        Ok(place)
    }

    fn load(&self, key: &RowKey) -> Result<Loaded, StoreError> {
        let (first, last) = row::panel_range(self.panel);
        let packs = &self.tables.packs;
        let Some(only) = packs.get(&first)? else {
            return Ok(Loaded { key: first, until: None, pack: Pack::empty(), changed: false });
        };
        if !pack::has_others(only.value()) {
            return Ok(Loaded { key: first, until: None, pack: Pack::read(only.value())?, changed: false });
        }
        let (from, value) =
            packs.range::<&RowKey>(&first..=key)?.next_back().ok_or(StoreError::Corrupt("first pack"))??;
        let from = *from.value();
        let after = (Bound::Excluded(&from), Bound::Included(&last));
        let until = packs.range::<&RowKey>(after)?.next().transpose()?.map(|(next, _)| *next.value());
        Ok(Loaded { key: from, until, pack: Pack::read(value.value())?, changed: false })
    }

    /// The row of this name.
    pub fn get(&mut self, name: RowName) -> Result<Option<Row>, StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        Ok(self.packs[at].pack.get(&key))
    }

    pub(super) fn set(&mut self, name: RowName, row: Row) -> Result<(), StoreError> {
        let key = row::row_key(self.panel, name);
        let at = self.pack(&key)?;
        let loaded = &mut self.packs[at];
        loaded.pack.put(&key, row);
        loaded.changed = true;
        if loaded.pack.count() > MAX_ROWS {
            if loaded.key == row::panel_range(self.panel).0 {
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
        let mut rows = Vec::with_capacity(self.head.count as usize);
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
                let uid = self.head.next_uid;
                self.head.next_uid = uid.checked_add(1).ok_or(StoreError::Corrupt("uid"))?;
                self.head.count += 1;
                Row { body: number, uid, revision: 1 }
            }
        };
        self.users.push((number, 1));
        self.set(name, row)?;
        Ok(row)
    }

    /// Writes a new profile that has no link_id, and returns its uid.
    pub fn put_by_uid(&mut self, body: &Body) -> Result<u32, StoreError> {
        let uid = self.head.next_uid;
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
        self.head.count = self.head.count.saturating_sub(1);
        Ok(())
    }

    /// All that the rows are now; nothing where they do not fit into one pack.
    pub fn whole(&mut self) -> Result<Option<Whole>, StoreError> {
        let first = row::panel_range(self.panel).0;
        let at = self.pack(&first)?;
        let pack = &self.packs[at].pack;
        Ok((!pack.has_others()).then(|| Whole { head: self.head, pack: pack.clone() }))
    }

    /// Whether this is all that the rows are now.
    pub fn are(&mut self, whole: &Whole) -> Result<bool, StoreError> {
        let at = self.pack(&row::panel_range(self.panel).0)?;
        Ok(self.head == whole.head && self.packs[at].pack == whole.pack)
    }

    /// What was made of the rows since they were looked at first.
    pub fn made(&mut self) -> Result<Option<Made>, StoreError> {
        let users = self.users.clone();
        Ok(self.whole()?.map(|whole| Made { whole, users }))
    }

    /// Makes the same of these rows, which must be the same that stood there.
    pub fn make(&mut self, made: &Made) -> Result<(), StoreError> {
        let at = self.pack(&row::panel_range(self.panel).0)?;
        self.head = made.whole.head;
        let loaded = &mut self.packs[at];
        if loaded.pack != made.whole.pack {
            loaded.pack = made.whole.pack.clone();
            loaded.changed = true;
        }
        self.users.extend(&made.users);
        Ok(())
    }

    /// What is known of a link_id on the panel's device.
    pub fn reported(&self, link: LinkId) -> Result<Option<Reported>, StoreError> {
        let stored = self.tables.reported.get(&row::reported_key(self.panel, link))?;
        stored.map(|value| Reported::decode(value.value())).transpose()
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
        match reported {
            Some(reported) => self.tables.reported.insert(&key, reported.encode().as_slice())?,
            None => self.tables.reported.remove(&key)?,
        };
        Ok(())
    }

    /// Writes what changed of the panel's rows and head. The writer calls it after the work.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        for (body, delta) in self.users {
            *self.tables.pending.users.entry(body).or_default() += delta;
        }
        for Loaded { key, pack, .. } in self.packs.iter().filter(|loaded| loaded.changed) {
            if pack.count() > 0 || pack.has_others() {
                self.tables.packs.insert(key, pack.bytes())?;
            } else {
                self.tables.packs.remove(key)?;
            }
        }
        if self.head != self.stored {
            self.tables.heads.insert(self.panel, &self.head.encode())?;
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
