//! The whole durable state as text, table by table in key order (where keys are random, in the order in which
//! they were given). The invariants between tables are looked at in [`contradictions`].
//!
//! A snapshot of this text shows everything that a step changed. [`text`] destructures every record by name,
//! so that a new field or table does not go unseen.

use std::fmt::{self, Write};

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use sha2::{Digest as _, Sha256};

use super::StoreError;
use super::before::KEPT_SINCE;
use super::bodies::{number_of, split_body, tag_of};
use super::changes::access::token_of;
use super::event::{EventRecord, Index, StoredEvent};
use super::json::decode;
use super::read::Snapshot;
use super::row::{self, Head, Reported, ReportedCounts, Row, RowName};
use super::{last_held, seal, tables};
use crate::batch::item::Kind;
use crate::profile::LinkId;

pub(super) mod alerts;

pub use super::contradictions::contradictions;

mod past;
pub(super) use past::{batches, before, calls, to_undo};

/// The state as text. Secrets do not appear: verifiers and token hashes are named only as present.
pub fn text(snapshot: &Snapshot) -> Result<String, StoreError> {
    let mut out = String::new();
    // Writing to a String cannot fail; a database error is kept aside.
    match tables::write_all(snapshot, &mut out) {
        Err(Failed::Store(error)) => Err(error),
        Ok(()) | Err(Failed::Format(_)) => Ok(out),
    }
}

/// Why it cannot be written.
pub(super) enum Failed {
    Store(StoreError),
    Format(fmt::Error),
}

impl<E: Into<StoreError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// By this a secret text is known again, as far as a test needs it.
fn print(secret: &str) -> String {
    seal::hex(&Sha256::digest(secret.as_bytes())[..4])
}

fn line(out: &mut String, text: fmt::Arguments<'_>) -> Result<(), Failed> {
    out.write_fmt(format_args!("{text}\n")).map_err(Failed::Format)
}

pub(super) fn meta(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("meta"))?;
    for entry in read.open_table(tables::META)?.iter()? {
        let (name, number) = entry?;
        if matches!(name.value(), "starts" | "fleet") {
            continue; // the one begins with the clock and ascends, the other is random
        }
        if name.value() == KEPT_SINCE {
            line(out, format_args!("  {} at_ms={}", name.value(), number.value()))?;
            continue;
        }
        line(out, format_args!("  {} {}", name.value(), number.value()))?;
    }
    Ok(())
}

pub(super) fn panels(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    line(out, format_args!("panels"))?;
    snapshot.each_panel(|panel, record| {
        line(out, format_args!("  {panel} {}", String::from_utf8_lossy(record)))
    })?;
    Ok(())
}

pub(super) fn panel_ids(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("panel_ids"))?;
    for entry in read.open_table(tables::PANEL_IDS)?.iter()? {
        let (id, panel) = entry?;
        line(out, format_args!("  {} {}", id.value(), panel.value()))?;
    }
    Ok(())
}

pub(super) fn panel_names(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("panel_names"))?;
    for entry in read.open_table(tables::PANEL_NAMES)?.iter()? {
        let (panel, name) = entry?;
        line(out, format_args!("  {} {}", panel.value(), name.value()))?;
    }
    Ok(())
}

pub(super) fn heads_and_rows(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    line(out, format_args!("heads"))?;
    for panel in snapshot.panels_with_rows()? {
        let Head { next_uid, counts: [profiles, identifiers] } = snapshot.head(panel)?;
        line(
            out,
            format_args!("  {panel} next_uid={next_uid} profiles={profiles} identifiers={identifiers}"),
        )?;
    }
    line(out, format_args!("rows"))?;
    let mut written = Ok(());
    snapshot.each_row(|panel, name, Row { body, uid, revision }| {
        let name = match name {
            RowName::Link(item) => item.to_string(),
            RowName::Uid(Kind::Profile, uid) => format!("uid {uid}"),
            RowName::Uid(kind, uid) => format!("{} uid {uid}", kind.as_str()),
        };
        if written.is_ok() {
            written = line(out, format_args!("  {panel} {name} body={body} uid={uid} revision={revision}"));
        }
    })?;
    written?;
    Ok(())
}

pub(super) fn bodies(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    let before = past::named(snapshot)?;
    line(out, format_args!("bodies"))?;
    for entry in read.open_table(tables::BODIES)?.iter()? {
        let (number, value) = entry?;
        let (users, _) = split_body(value.value())?;
        let json = snapshot.body(number.value())?;
        // How often it is named of the past depends on which panels a commit had together.
        let users = match before.get(&number.value()) {
            Some(past) => format!("{} and of the past", users.saturating_sub(*past)),
            None => users.to_string(),
        };
        match tag_of(value.value()) {
            Some(_) => line(out, format_args!("  {} users={users} sealed {}", number.value(), print(&json)))?,
            None => line(out, format_args!("  {} users={users} {json}", number.value()))?,
        }
    }
    Ok(())
}

pub(super) fn numbers(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("numbers"))?;
    let mut bodies = Vec::new();
    for entry in read.open_table(tables::NUMBERS)?.iter()? {
        bodies.push(number_of(entry?.0.value()).1);
    }
    bodies.sort_unstable(); // tags tell nothing, and are others with every key
    for body in bodies {
        line(out, format_args!("  body={body}"))?;
    }
    Ok(())
}

pub(super) fn faces(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    line(out, format_args!("faces {}", snapshot.transaction().open_table(tables::FACES)?.len()?))
}

pub(super) fn face_users(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    let mut users = Vec::new();
    for entry in read.open_table(tables::FACE_USERS)?.iter()? {
        users.push(entry?.1.value());
    }
    users.sort_unstable();
    line(out, format_args!("face_users {users:?}"))
}

pub(super) fn last_held(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("last_held"))?;
    for entry in read.open_table(tables::LAST_HELD)?.iter()? {
        let (key, bodies) = entry?;
        let (panel, item) = row::item_name(key.value())?;
        line(out, format_args!("  {panel} {item} bodies={:?}", last_held::decode(bodies.value())))?;
    }
    Ok(())
}

pub(super) fn held_before(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let mut lines = Vec::new();
    for entry in snapshot.transaction().open_table(tables::HELD_BEFORE)?.iter()? {
        let (key, link) = entry?;
        let link =
            link.value().map_or_else(|| "nobody".to_owned(), |link| LinkId::from_bytes(*link).to_string());
        lines.push(format!("  {} {link}", key.value().0));
    }
    lines.sort_unstable(); // the moments are others in every run
    line(out, format_args!("held_before"))?;
    lines.into_iter().try_for_each(|text| line(out, format_args!("{text}")))
}

pub(super) fn batch_ids(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("batch_ids"))?;
    let mut ids = Vec::new();
    for entry in read.open_table(tables::BATCH_IDS)?.iter()? {
        let (id, seq) = entry?;
        ids.push((seq.value(), uuid::Uuid::from_bytes(*id.value())));
    }
    ids.sort_unstable();
    for (seq, id) in ids {
        line(out, format_args!("  {id} {seq}"))?;
    }
    Ok(())
}

/// What is shown with the batch that it is kept of.
#[expect(clippy::unnecessary_wraps, reason = "one of the functions that show a table")]
pub(super) fn with_its_batch(_: &Snapshot, _: &mut String) -> Result<(), Failed> {
    Ok(())
}

pub(super) fn keys(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("keys"))?;
    for entry in read.open_table(tables::KEYS)?.iter()? {
        let (name, value) = entry?;
        let tables::IdempotencyKey { digest: _, batch, at_ms } =
            tables::IdempotencyKey::decode(value.value());
        line(out, format_args!("  {:?} batch={batch} at_ms={at_ms}", name.value()))?;
    }
    Ok(())
}

pub(super) fn key_times(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("key_times"))?;
    for entry in read.open_table(tables::KEY_TIMES)?.iter()? {
        let entry = entry?.0;
        let (at_ms, name) = entry.value();
        line(out, format_args!("  at_ms={at_ms} {name:?}"))?;
    }
    Ok(())
}

pub(super) fn reported(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("reported"))?;
    for entry in read.open_table(tables::REPORTED)?.iter()? {
        let (key, value) = entry?;
        let (panel, item) = row::item_name(key.value())?;
        line(out, format_args!("  {panel} {item} {:?}", Reported::decode(value.value())?))?;
    }
    Ok(())
}

pub(super) fn pending(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    line(out, format_args!("pending"))?;
    for entry in snapshot.transaction().open_table(tables::PENDING)?.iter()? {
        let (panel, items) = entry?;
        for item in row::decode_pending(items.value()) {
            let (item, pending) = item?;
            line(out, format_args!("  {} {item} {pending:?}", panel.value()))?;
        }
    }
    Ok(())
}

pub(super) fn counts(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("counts"))?;
    for entry in read.open_table(tables::COUNTS)?.iter()? {
        let (panel, counts) = entry?;
        line(out, format_args!("  {} {:?}", panel.value(), ReportedCounts::decode(counts.value())))?;
    }
    Ok(())
}

pub(super) fn devices(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("devices"))?;
    for entry in read.open_table(tables::DEVICES)?.iter()? {
        let (panel, record) = entry?;
        let record: tables::DeviceRecord = decode(record.value(), "device")?;
        line(out, format_args!("  {} {record:?}", panel.value()))?;
    }
    Ok(())
}

pub(super) fn connections(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("connections"))?;
    for entry in read.open_table(tables::CONNECTIONS)?.iter()? {
        let panel = entry?.0.value();
        for tables::ConnectionRecord { at_ms, connection, error } in snapshot.connections(panel)? {
            let error = error.unwrap_or_default();
            line(out, format_args!("  {panel} at_ms={at_ms} {connection} {error}"))?;
        }
    }
    Ok(())
}

pub(super) fn panel_settings(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("panel_settings"))?;
    for entry in read.open_table(tables::PANEL_SETTINGS)?.iter()? {
        let key = entry?.0;
        let (panel, name) = key.value();
        line(out, format_args!("  {panel} {name} (secret)"))?;
    }
    Ok(())
}

pub(super) fn panel_log(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("panel_log"))?;
    for entry in read.open_table(tables::PANEL_LOG)?.iter()? {
        let (key, record) = entry?;
        let (panel, number) = key.value();
        let tables::LogRecord { at_ms, category, key, lock, event } = decode(record.value(), "log")?;
        let event = event.map_or_else(String::new, |event| format!(" event={event}"));
        line(out, format_args!("  {panel} {number} at_ms={at_ms} {category} {key} lock={lock:?}{event}"))?;
    }
    Ok(())
}

/// Nothing where there is none.
pub(super) fn events_read(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    for entry in read.open_table(tables::EVENTS_READ)?.iter()? {
        let (panel, at_ms) = entry?;
        line(out, format_args!("events_read {} at_ms={}", panel.value(), at_ms.value()))?;
    }
    Ok(())
}

/// Nothing where there is none.
pub(super) fn passes(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    for (i, entry) in read.open_table(tables::PASSES)?.iter()?.enumerate() {
        let (key, counted) = entry?;
        let ((panel, uid), (_, began_with, used)) = (key.value(), counted.value());
        if i == 0 {
            line(out, format_args!("passes"))?;
        }
        line(out, format_args!("  {panel} uid={uid} began_with={began_with} used={used}"))?;
    }
    Ok(())
}

/// Nothing where there is none. Numbers do not appear.
pub(super) fn access_events(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let mut lines = Vec::new();
    snapshot.each_access_event(|StoredEvent { number, index, record }| {
        let Index { panel, at_ms, said_ms, received_ms: _, tag: _, identifier } = index;
        let EventRecord { granted, reason, kind, number: of, source, notes } = record;
        let said = if said_ms == at_ms { String::new() } else { format!(" said_ms={said_ms}") };
        let identifier = identifier.map(|link| link.to_string());
        lines.push(format!(
            "  {number} panel={panel} at_ms={at_ms}{said} {} {reason} granted={granted:?} {} {} identifier={} notes={:?}",
            source.as_str(),
            kind.as_deref().unwrap_or("-"),
            if of.is_some() { "(secret)" } else { "-" },
            identifier.as_deref().unwrap_or("-"),
            notes.keys().collect::<Vec<_>>(),
        ));
        Ok(())
    })?;
    if !lines.is_empty() {
        line(out, format_args!("access_events\n{}", lines.join("\n")))?;
    }
    Ok(())
}

/// What is shown with the event that it is kept of.
#[expect(clippy::unnecessary_wraps, reason = "one of the functions that show a table")]
pub(super) fn with_its_event(_: &Snapshot, _: &mut String) -> Result<(), Failed> {
    Ok(())
}

pub(super) fn secrets(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("secrets"))?;
    for entry in read.open_table(tables::SECRETS)?.iter()? {
        line(out, format_args!("  {} (secret)", entry?.0.value()))?;
    }
    Ok(())
}

pub(super) fn users(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    line(out, format_args!("users"))?;
    for (name, tables::UserRecord { role, verifier: _, created_at_ms }) in snapshot.users()? {
        line(out, format_args!("  {name} role={role} created_at_ms={created_at_ms}"))?;
    }
    Ok(())
}

pub(super) fn tokens(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    line(out, format_args!("tokens"))?;
    let mut tokens = snapshot.tokens()?;
    tokens.sort_unstable_by_key(|token| (token.created_at_ms, token.id));
    for tables::TokenRecord {
        id,
        hash: _,
        name,
        role,
        session,
        created_at_ms,
        expires_at_ms,
        last_used_ms,
        made_by,
        owner,
    } in tokens
    {
        let ends = expires_at_ms.map_or("never".to_owned(), |at| at.to_string());
        line(
            out,
            format_args!(
                "  id={id} {name} role={role} session={session} created_at_ms={created_at_ms} expires_at_ms={ends} used={} made_by={made_by:?} owner={owner:?}",
                last_used_ms.is_some()
            ),
        )?;
    }
    Ok(())
}

pub(super) fn token_ends(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    let ends = read.open_table(tables::TOKEN_ENDS)?.len()?;
    line(out, format_args!("token_ends {ends}"))?;
    Ok(())
}

pub(super) fn user_sessions(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("user_sessions"))?;
    for entry in read.open_table(tables::USER_SESSIONS)?.iter()? {
        let key = entry?.0;
        line(out, format_args!("  {} id={}", key.value().0, token_of(key.value().1)))?;
    }
    Ok(())
}

pub(super) fn audit(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    entries("audit", tables::AUDIT, snapshot, out)
}

pub(super) fn audit_sessions(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    entries("audit_sessions", tables::AUDIT_SESSIONS, snapshot, out)
}

fn entries(
    name: &str,
    table: TableDefinition<'_, u64, &'static [u8]>,
    snapshot: &Snapshot,
    out: &mut String,
) -> Result<(), Failed> {
    line(out, format_args!("{name}"))?;
    for entry in snapshot.transaction().open_table(table)?.iter()? {
        let (number, record) = entry?;
        let tables::AuditRecord { at_ms, actor, address, action, target } =
            decode(record.value(), "audit entry")?;
        line(out, format_args!("  {} at_ms={at_ms} {actor} {address} {action} {target}", number.value()))?;
    }
    Ok(())
}
