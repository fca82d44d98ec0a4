//! The invariants between tables.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata, TableHandle};

use super::before;
use super::bodies::{identifier_in, number_of, split_body, tag_of};
use super::changes::access::end_key;
use super::event::{Index, StoredEvent};
use super::json::decode;
use super::read::Snapshot;
use super::row::{self, CountsChange, Head, Pending, Reported, ReportedCounts, RowName};
use super::seal::NumberTag;
use super::{PanelNo, StoreError};
use super::{last_held, tables};
use crate::identifier::rule::Kind::Face;

/// What says of a panel whether it is embedded.
#[derive(serde::Deserialize)]
struct Driven {
    driver: String,
}

/// What contradicts itself between tables; empty when all is well.
///
/// Every row is found by its name; its body exists and knows its exact number of users, which are rows, what devices held
/// last, and what stood before batches that are kept, on their own panels; every body of an identifier is found by its number, and nothing else is; every face knows of how many bodies and
/// batches it is; every head counts its rows and its
/// next uid is above all given ones, rows and outcomes belong to known panels and batches. What is known of a device and
/// its connection belongs to a known panel, and is counted as it is; what is unknown waits for its device, and nothing else; what it is said to hold is what is desired of it;
/// every profile that is desired of a remote panel has a reported state; and of an embedded panel only refusals are kept.
/// Every panel is found by its id, and what else is kept of a panel (rows, connections, device, password) is kept of one
/// that is there. Every idempotency key has its time. Every token that ends is found by its end, and every session by its
/// user; and nothing is found there that is not. Every event is found in each of its indexes, and nothing else is. What is
/// kept of alerts is of one that is there, and every alert goes somewhere.
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
    let mut heads = BTreeMap::<u32, Head>::new();
    snapshot.each_row(|panel, name, row| {
        *users.entry(row.body).or_default() += 1;
        let head = heads.entry(panel).or_default();
        head.counts[name.kind() as usize] += 1;
        head.next_uid = head.next_uid.max(row.uid + 1);
        if panels.binary_search(&panel).is_err() {
            found.push(format!("a row of panel {panel}, which is not there"));
        }
        if matches!(name, RowName::Uid(_, uid) if uid != row.uid) {
            found.push(format!("panel {panel} has {name:?} with uid {}", row.uid));
        }
        if !snapshot.row(panel, name).is_ok_and(|found| found == Some(row)) {
            found.push(format!("panel {panel} has {name:?} where nobody looks for it"));
        }
    })?;
    for entry in read.open_table(tables::LAST_HELD)?.iter()? {
        let (key, bodies) = entry?;
        for body in last_held::decode(bodies.value()) {
            *users.entry(body).or_default() += 1;
        }
        let (panel, item) = row::item_name(key.value())?;
        match snapshot.reported(panel, item)? {
            None | Some(Reported::Held(_)) => {
                found.push(format!("panel {panel} is said to have held {item} last, and reports otherwise"));
            }
            Some(_) => {}
        }
    }
    of_batches(snapshot, &mut users, &mut found)?;
    let mut tags = BTreeMap::<u64, NumberTag>::new();
    let mut faces = BTreeMap::<NumberTag, u64>::new();
    for entry in read.open_table(tables::BODIES)?.iter()? {
        let (number, value) = entry?;
        if let Some(tag) = tag_of(value.value()) {
            tags.insert(number.value(), tag);
            let credential = identifier_in(snapshot.body(number.value())?.as_bytes())?.credential;
            if credential.kind() == Face {
                *faces.entry(tag).or_default() += 1;
            }
            if snapshot.tag(&credential) != tag {
                found.push(format!("body {} is found by another number", number.value()));
            }
        }
        let counted = users.remove(&number.value()).unwrap_or(0);
        let (stored, _) = split_body(value.value())?;
        if counted != stored || counted == 0 {
            found.push(format!("body {} says {stored} users and has {counted}", number.value()));
        }
    }
    found.extend(users.keys().map(|body| format!("body {body} is named and not there")));
    for entry in read.open_table(tables::NUMBERS)?.iter()? {
        let (tag, body) = number_of(entry?.0.value());
        if tags.remove(&body) != Some(tag) {
            found.push(format!("body {body} is found by a number that it has not"));
        }
    }
    found.extend(tags.keys().map(|body| format!("body {body} is not found by its number")));
    for entry in read.open_table(tables::BATCH_FACES)?.iter()? {
        *faces.entry(*entry?.0.value().1).or_default() += 1;
    }
    let mut stored = BTreeMap::new();
    for entry in read.open_table(tables::FACE_USERS)?.iter()? {
        let (tag, users) = entry?;
        stored.insert(*tag.value(), users.value());
    }
    if stored != faces {
        found.push("faces are of other numbers of bodies and batches than is said".to_owned());
    }
    for entry in read.open_table(tables::FACES)?.iter()? {
        if !faces.contains_key(entry?.0.value()) {
            found.push("a face is kept that nothing has".to_owned());
        }
    }
    for panel in snapshot.panels_with_rows()? {
        let (stored, counted) = (snapshot.head(panel)?, heads.get(&panel).copied().unwrap_or_default());
        if stored.counts != counted.counts || stored.next_uid < counted.next_uid {
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
        let (panel, items) = entry?;
        for item in row::decode_pending(items.value()) {
            let (item, pending) = item?;
            waits.insert((panel.value(), item), pending);
        }
        if items.value().is_empty() {
            found.push(format!("nothing is said to wait for the device of panel {}", panel.value()));
        }
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
        let desired = snapshot.head(panel)?.counts.into_iter().sum::<u32>();
        if desired != reported {
            found.push(format!(
                "panel {panel} should hold {desired} items and has {reported} reported states"
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
    let settings = read.open_table(tables::PANEL_SETTINGS)?;
    let of_settings = settings.iter()?.map(|entry| Ok(("a setting", entry?.0.value().0)));
    let log = read.open_table(tables::PANEL_LOG)?;
    let of_log = log.iter()?.map(|entry| Ok(("an entry of the log", entry?.0.value().0)));
    let passes = read.open_table(tables::PASSES)?;
    let of_passes = passes.iter()?.map(|entry| Ok(("a count of passes", entry?.0.value().0)));
    let pulled = read.open_table(tables::EVENTS_READ)?;
    let of_pulled = pulled.iter()?.map(|entry| Ok(("how far events were read", entry?.0.value())));
    let before = read.open_table(tables::HELD_BEFORE)?;
    let of_before = before.iter()?.map(|entry| Ok(("who had a number before", entry?.0.value().0)));
    let calls = read.open_table(tables::CALLS)?;
    let of_calls = calls.iter()?.map(|entry| Ok(("a call", entry?.0.value().0)));
    let of_panels =
        of_settings.chain(of_log).chain(of_passes).chain(of_pulled).chain(of_before).chain(of_calls);
    for entry in of_panels {
        let (what, panel) = entry.map_err(|error: redb::StorageError| error)?;
        if panels.binary_search(&panel).is_err() {
            found.push(format!("{what} of panel {panel}, which is not there"));
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
    of_events(snapshot, &mut found)?;
    of_alerts(snapshot, &panels, &mut found)?;
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

/// What is kept of alerts is of one that is there, and every alert goes to addresses or to a webhook.
fn of_alerts(snapshot: &Snapshot, panels: &[PanelNo], found: &mut Vec<String>) -> Result<(), StoreError> {
    let read = snapshot.transaction();
    let alerts: BTreeMap<_, _> = snapshot.alerts()?.into_iter().collect();
    for (name, alert) in &alerts {
        if alert.mail.is_empty() != snapshot.alert_webhook(name)?.is_some() {
            found.push(format!("the alert {name} goes nowhere, or to two kinds of places"));
        }
    }
    let mut names = Vec::new();
    for table in [tables::ALERT_WEBHOOKS, tables::ALERT_PROGRESS] {
        for entry in read.open_table(table)?.iter()? {
            names.push(entry?.0.value().to_owned());
        }
    }
    for entry in read.open_table(tables::ALERT_TOLD)?.iter()? {
        let key = entry?.0;
        let (name, _, panel) = key.value();
        names.push(name.to_owned());
        if panels.binary_search(&panel).is_err() {
            found.push(format!("an alert has told something of panel {panel}, which is not there"));
        }
    }
    for entry in read.open_table(tables::ALERT_UNSENT)?.iter()? {
        names.push(entry?.0.value().0.to_owned());
    }
    names.retain(|name| !alerts.contains_key(name));
    found.extend(
        names.iter().map(|name| format!("something is kept of the alert {name}, which is not there")),
    );
    Ok(())
}

/// What stood before batches, and what is to be undone, is of batches that are there and of their panels, once of each.
fn of_batches(
    snapshot: &Snapshot,
    users: &mut BTreeMap<u64, u64>,
    found: &mut Vec<String>,
) -> Result<(), StoreError> {
    let read = snapshot.transaction();
    for table in [tables::BEFORE, tables::TO_UNDO] {
        let (mut batch, mut free_from) = (0, 0);
        for entry in read.open_table(table)?.iter()? {
            let (key, value) = entry?;
            let seq = row::be_u64(&key.value()[..8]);
            let first = row::outcome_panel(key.value());
            let (panels, changed) = before::decode(value.value())?;
            let end = u64::from(first) + u64::from(panels);
            for body in before::bodies_of(&changed) {
                *users.entry(body).or_default() += 1;
            }
            if panels == 0 || changed.is_empty() || (batch == seq && u64::from(first) < free_from) {
                found
                    .push(format!("{} has panel {first} of batch {seq} twice, or for nothing", table.name()));
            }
            (batch, free_from) = (seq, end);
            let targets = snapshot.batch_targets(seq)?;
            let place = targets.partition_point(|panel| *panel < first);
            let its_own = targets[place..].iter().take_while(|panel| u64::from(**panel) < end).count();
            if snapshot.batch(seq)?.is_none() || its_own as u64 != end - u64::from(first) {
                found.push(format!(
                    "{} has panels {first} to {end} of batch {seq}, which is not for them",
                    table.name()
                ));
            }
        }
    }
    Ok(())
}

/// Every event is of a panel that is or was there, is found by time, panel, identifier and tag, and was given a number.
fn of_events(snapshot: &Snapshot, found: &mut Vec<String>) -> Result<(), StoreError> {
    let read = snapshot.transaction();
    let times = read.open_table(tables::ACCESS_EVENT_TIMES)?;
    let by_panel = read.open_table(tables::ACCESS_EVENTS_BY_PANEL)?;
    let by_identifier = read.open_table(tables::ACCESS_EVENTS_BY_IDENTIFIER)?;
    let tags = read.open_table(tables::ACCESS_EVENT_TAGS)?;
    let counts = read.open_table(tables::ACCESS_EVENT_COUNTS)?;
    let (mut events, mut of_identifiers, mut of_panels) = (0, 0, BTreeMap::<PanelNo, u64>::new());
    let (_, last) = snapshot.access_event_numbers()?;
    snapshot.each_access_event(|StoredEvent { number, index, record }| {
        let Index { panel, at_ms, said_ms, received_ms: _, tag, identifier } = index;
        events += 1;
        *of_panels.entry(panel).or_default() += 1;
        let named = match identifier {
            Some(link) => {
                of_identifiers += 1;
                by_identifier.get((link.as_bytes(), at_ms, number))?.is_some()
            }
            None => true,
        };
        let tagged = tags.get((panel, said_ms, &tag))?.is_some_and(|named| named.value() == number);
        if !named
            || !tagged
            || record.tag(snapshot.seal()) != tag
            || times.get((at_ms, number))?.is_none()
            || by_panel.get((panel, at_ms, number))?.is_none()
        {
            found.push(format!("event {number} is not found by what it is"));
        }
        if snapshot.panel_name(panel)?.is_none() || number > last {
            found.push(format!("event {number} is of a panel that never was, or was given no number"));
        }
        Ok(())
    })?;
    for (panel, count) in &of_panels {
        let counted = counts.get(panel)?.map_or(0, |counted| counted.value());
        if counted != *count {
            found.push(format!("{counted} events of panel {panel} are counted, and there are {count}"));
        }
    }
    if counts.len()? != of_panels.len() as u64 {
        found.push("events are counted of a panel that has none".into());
    }
    for (what, entries, expected) in [
        ("time", times.len()?, events),
        ("panel", by_panel.len()?, events),
        ("tag", tags.len()?, events),
        ("identifier", by_identifier.len()?, of_identifiers),
    ] {
        if entries != expected {
            found.push(format!("{entries} events are found by their {what}, and there are {expected}"));
        }
    }
    Ok(())
}
