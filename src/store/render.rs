//! The whole durable state as text, table by table in key order (where keys are random, in the order in which
//! they were given), and the invariants between tables.
//!
//! A snapshot of this text shows everything that a step changed. [`text`] destructures every record by name,
//! so that a new field or table does not go unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};

use super::StoreError;
use super::bodies::split_body;
use super::changes::access::{end_key, token_of};
use super::json::decode;
use super::read::Snapshot;
use super::row::{self, CountsChange, Head, Pending, Reported, ReportedCounts, Row, RowName};
use super::tables::{self};
use crate::batch::{BatchRecord, digest};

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

fn line(out: &mut String, text: fmt::Arguments<'_>) -> Result<(), Failed> {
    out.write_fmt(format_args!("{text}\n")).map_err(Failed::Format)
}

pub(super) fn meta(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("meta"))?;
    for entry in read.open_table(tables::META)?.iter()? {
        let (name, number) = entry?;
        if name.value() == "starts" {
            continue; // begins with the clock, and ascends
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
        let Head { next_uid, count } = snapshot.head(panel)?;
        line(out, format_args!("  {panel} next_uid={next_uid} count={count}"))?;
    }
    line(out, format_args!("rows"))?;
    let mut written = Ok(());
    snapshot.each_row(|panel, name, Row { body, print: _, own: _, uid, revision }| {
        let name = match name {
            RowName::Link(item) => item.to_string(),
            RowName::Uid(uid) => format!("uid {uid}"),
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
    line(out, format_args!("bodies"))?;
    for entry in read.open_table(tables::BODIES)?.iter()? {
        let (number, value) = entry?;
        let (users, json) = split_body(value.value())?;
        line(out, format_args!("  {} users={users} {}", number.value(), String::from_utf8_lossy(json)))?;
    }
    Ok(())
}

pub(super) fn batches(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("batches"))?;
    for entry in read.open_table(tables::BATCHES)?.iter()? {
        let (seq, record) = entry?;
        let (seq, record) = (seq.value(), decode::<BatchRecord>(record.value(), "batch")?);
        let BatchRecord { id, created_at_ms, created_by, target, state, cancelled, report, duration_ms } =
            record;
        line(
            out,
            format_args!(
                "  {seq} id={id} created_at_ms={created_at_ms} created_by={created_by} target={target}"
            ),
        )?;
        line(
            out,
            format_args!(
                "    state={state:?} cancelled={cancelled} duration_ms={}",
                duration_ms.unwrap_or_default()
            ),
        )?;
        line(out, format_args!("    {:?}", report.panels))?;
        line(out, format_args!("    {:?}", report.items))?;
        line(out, format_args!("    targets {:?}", snapshot.batch_targets(seq)?))?;
        if let Some(work) = snapshot.batch_work(seq)? {
            line(out, format_args!("    work {}", String::from_utf8_lossy(&work)))?;
        }
        for outcome in snapshot.outcomes(seq, 0)? {
            let (panel, outcome) = outcome?;
            line(out, format_args!("    outcome {panel} {outcome:?}"))?;
        }
    }
    Ok(())
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
        let (key, pending) = entry?;
        let (panel, item) = row::item_name(key.value())?;
        line(out, format_args!("  {panel} {item} {:?}", Pending::from_byte(pending.value())?))?;
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

/// What says of a panel whether it is embedded.
#[derive(serde::Deserialize)]
struct Driven {
    driver: String,
}

/// What contradicts itself between tables; empty when all is well.
///
/// Every row is found by its name; its body exists, knows its exact number of users, has the print that the
/// row says, and no other row where it is the row's own; every head counts its rows and its next uid is
/// above all given ones, rows and outcomes belong to known panels and batches. What is known of a device and
/// its connection belongs to a known panel, and is counted as it is; what is unknown waits for its device, and nothing else; what it is said to hold is what is desired of it;
/// every profile that is desired of a remote panel has a reported state; and of an embedded panel only refusals are kept.
/// Every panel is found by its id, and what else is kept of a panel (rows, connections, device, password) is kept of one
/// that is there. Every idempotency key has its time. Every token that ends is found by its end, and every session by its
/// user; and nothing is found there that is not.
pub fn contradictions(snapshot: &Snapshot) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let read = snapshot.transaction();
    let (mut panels, mut embedded) = (Vec::new(), Vec::new());
    snapshot.each_panel(|panel, record| {
        panels.push(panel);
        if decode::<Driven>(record, "panel").is_ok_and(|panel| panel.driver == "embedded") {
            embedded.push(panel);
        }
        Ok::<_, StoreError>(())
    })?;
    let mut users = BTreeMap::<u64, u64>::new();
    let (mut owned, mut prints) = (BTreeSet::new(), BTreeSet::new());
    let mut heads = BTreeMap::<u32, Head>::new();
    snapshot.each_row(|panel, name, row| {
        *users.entry(row.body).or_default() += 1;
        if row.own {
            owned.insert(row.body);
        }
        if row.print != 0 {
            prints.insert((row.body, row.print));
        }
        let head = heads.entry(panel).or_default();
        head.count += 1;
        head.next_uid = head.next_uid.max(row.uid + 1);
        if panels.binary_search(&panel).is_err() {
            found.push(format!("a row of panel {panel}, which is not there"));
        }
        if matches!(name, RowName::Uid(uid) if uid != row.uid) {
            found.push(format!("panel {panel} has {name:?} with uid {}", row.uid));
        }
        if !snapshot.row(panel, name).is_ok_and(|found| found == Some(row)) {
            found.push(format!("panel {panel} has {name:?} where nobody looks for it"));
        }
    })?;
    for entry in read.open_table(tables::BODIES)?.iter()? {
        let (number, value) = entry?;
        let counted = users.remove(&number.value()).unwrap_or(0);
        let (stored, json) = split_body(value.value())?;
        if stored != 1 && owned.contains(&number.value()) {
            found.push(format!("body {} is said to be a row's own, and has {stored} users", number.value()));
        }
        let of_it = prints.range((number.value(), 0)..=(number.value(), row::Print::MAX));
        if of_it.into_iter().any(|(_, print)| *print != row::print(&digest(json))) {
            found.push(format!("body {} has another print than rows say", number.value()));
        }
        if counted != stored || counted == 0 {
            found.push(format!("body {} says {stored} users and has {counted}", number.value()));
        }
    }
    found.extend(users.keys().map(|body| format!("body {body} is named and not there")));
    for panel in snapshot.panels_with_rows()? {
        let (stored, counted) = (snapshot.head(panel)?, heads.get(&panel).copied().unwrap_or_default());
        if stored.count != counted.count || stored.next_uid < counted.next_uid {
            found.push(format!("panel {panel} says {stored:?} and holds {counted:?}"));
        }
    }
    let mut unknown = BTreeMap::new();
    let mut reported_by = BTreeMap::<u32, u32>::new();
    let mut changes = BTreeMap::<u32, CountsChange>::new();
    for entry in read.open_table(tables::REPORTED)?.iter()? {
        let (key, value) = entry?;
        let (panel, item) = row::item_name(key.value())?;
        for counted in [panel, tables::ALL_PANELS] {
            changes.entry(counted).or_default().count(value.value(), 1);
        }
        let reported = Reported::decode(value.value())?;
        let desired = snapshot.row(panel, RowName::Link(item))?;
        if embedded.binary_search(&panel).is_err() {
            *reported_by.entry(panel).or_default() += u32::from(desired.is_some());
        } else if !matches!(reported, Reported::Refused(_)) {
            found.push(format!("the embedded panel {panel} has {item} as {reported:?}"));
        }
        if reported == Reported::Unknown {
            unknown.insert((panel, item), Pending::of(desired.is_some()));
        }
        if panels.binary_search(&panel).is_err() {
            found.push(format!("a reported state of panel {panel}, which is not there"));
        }
        if let Reported::Held(body) = reported
            && desired.is_none_or(|row| row.body != body)
        {
            found.push(format!(
                "panel {panel} is said to hold {item} as body {body}, and desired is {desired:?}"
            ));
        }
    }
    let mut waits = BTreeMap::new();
    for entry in read.open_table(tables::PENDING)?.iter()? {
        let (key, pending) = entry?;
        waits.insert(row::item_name(key.value())?, Pending::from_byte(pending.value())?);
    }
    if waits != unknown {
        found.push(format!("{waits:?} are said to wait for their devices, and {unknown:?} do"));
    }
    let mut stored = BTreeMap::new();
    for entry in read.open_table(tables::COUNTS)?.iter()? {
        let (panel, counts) = entry?;
        stored.insert(panel.value(), ReportedCounts::decode(counts.value()));
    }
    let counted =
        changes.into_iter().filter_map(|(panel, of)| Some((panel, of.of(ReportedCounts::default())?)));
    let counted: BTreeMap<_, _> = counted.collect();
    if stored != counted {
        found.push(format!("the counts of states are said to be {stored:?} and are {counted:?}"));
    }
    for (panel, reported) in reported_by {
        let desired = snapshot.head(panel)?.count;
        if desired != reported {
            found.push(format!(
                "panel {panel} should hold {desired} profiles and has {reported} reported states"
            ));
        }
    }
    for (what, table) in
        [("connections", tables::CONNECTIONS), ("a device", tables::DEVICES), ("a password", tables::SECRETS)]
    {
        for entry in read.open_table(table)?.iter()? {
            let panel = entry?.0.value();
            let for_the_key = table.name() == tables::SECRETS.name() && panel == tables::KEY_CHECK;
            if panels.binary_search(&panel).is_err() && !for_the_key {
                found.push(format!("{what} of panel {panel}, which is not there"));
            }
        }
    }
    let ids = read.open_table(tables::PANEL_IDS)?;
    for entry in ids.iter()? {
        let (id, panel) = entry?;
        if panels.binary_search(&panel.value()).is_err()
            || snapshot.panel_name(panel.value())?.as_deref() != Some(id.value())
        {
            found.push(format!("{:?} is said to be panel {}", id.value(), panel.value()));
        }
    }
    if ids.len()? != panels.len() as u64 {
        found.push(format!("{} panels are found by their ids, and there are {}", ids.len()?, panels.len()));
    }
    let keys = read.open_table(tables::KEYS)?;
    let times = read.open_table(tables::KEY_TIMES)?;
    for entry in keys.iter()? {
        let (name, value) = entry?;
        let at_ms = tables::IdempotencyKey::decode(value.value()).at_ms;
        if times.get((at_ms.max(0).unsigned_abs(), name.value()))?.is_none() {
            found.push(format!("the key {:?} has no time", name.value()));
        }
    }
    if keys.len()? != times.len()? {
        found.push(format!("{} keys have {} times", keys.len()?, times.len()?));
    }
    let tokens = snapshot.tokens()?;
    let ends = |token: &&tables::TokenRecord| token.expires_at_ms.is_some();
    let ends_of = |token: &tables::TokenRecord| end_key(token.expires_at_ms.unwrap_or(0), token.id);
    let by_end = read.open_table(tables::TOKEN_ENDS)?;
    let by_user = read.open_table(tables::USER_SESSIONS)?;
    for token in tokens.iter().filter(ends) {
        let key = ends_of(token);
        let by_user = !token.session || by_user.get((token.name.as_str(), &key))?.is_some();
        if by_end.get(&key)?.is_none() || !by_user {
            found.push(format!("token {} is not found where it ends, or by its user", token.id));
        }
    }
    let sessions = tokens.iter().filter(ends).filter(|token| token.session).count() as u64;
    for (table, named, counted) in [
        ("token_ends", by_end.len()?, tokens.iter().filter(ends).count() as u64),
        ("user_sessions", by_user.len()?, sessions),
    ] {
        if named != counted {
            found.push(format!("{table} names {named} tokens and {counted} are there"));
        }
    }
    let (mut batch, mut free_from) = (0, 0);
    for entry in read.open_table(tables::OUTCOMES)?.iter()? {
        let (key, value) = entry?;
        let seq = row::be_u64(&key.value()[..8]);
        let first = row::outcome_panel(key.value());
        let end = u64::from(first) + u64::from(row::split_outcome(value.value())?.0);
        if batch == seq && u64::from(first) < free_from {
            found.push(format!("two outcomes of panel {first} in batch {seq}"));
        }
        (batch, free_from) = (seq, end);
        let targets = snapshot.batch_targets(seq)?;
        let place = targets.partition_point(|panel| *panel < first);
        let run = (u64::from(first)..end).zip(targets[place..].iter().map(|panel| u64::from(*panel)));
        if end == u64::from(first)
            || run.filter(|(panel, target)| panel == target).count() as u64 != end - u64::from(first)
        {
            found.push(format!(
                "outcomes of panels {first} to {end} in batch {seq}, which is not for all of them"
            ));
        }
    }
    Ok(found)
}
