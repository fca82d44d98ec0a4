//! Alerts as text. Nothing is written where there are none, and no secret ever.

use redb::ReadableTable;

use super::{Failed, line};
use crate::alert::Alert;
use crate::alert::message::Unsent;
use crate::alert::pace::Progress;
use crate::store::json::decode;
use crate::store::read::Snapshot;
use crate::store::tables;

pub(in crate::store) fn alerts(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    for (name, alert) in snapshot.alerts()? {
        let Alert { mail, on, after_ms, selector, per_hour, created_at_ms, created_by, revision: _ } = alert;
        line(
            out,
            format_args!(
                "alert {name} mail={mail:?} on={on:?} after_ms={after_ms} selector={selector:?} per_hour={per_hour} created_at_ms={created_at_ms} created_by={created_by}"
            ),
        )?;
    }
    Ok(())
}

pub(in crate::store) fn alert_webhooks(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    for entry in snapshot.transaction().open_table(tables::ALERT_WEBHOOKS)?.iter()? {
        line(out, format_args!("alert_webhook {} (secret)", entry?.0.value()))?;
    }
    Ok(())
}

pub(in crate::store) fn alert_told(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    for entry in snapshot.transaction().open_table(tables::ALERT_TOLD)?.iter()? {
        let (key, told) = entry?;
        let (name, topic, panel) = key.value();
        line(out, format_args!("alert_told {name} {topic} {panel} {} bytes", told.value().len()))?;
    }
    Ok(())
}

pub(in crate::store) fn alert_unsent(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    for entry in snapshot.transaction().open_table(tables::ALERT_UNSENT)?.iter()? {
        let (key, unsent) = entry?;
        let (name, number) = key.value();
        let Unsent { message, made_ms, tries: _ } = decode(unsent.value(), "message")?;
        let kind = message.kind.as_str();
        line(out, format_args!("alert_unsent {name} {number} at_ms={made_ms} {kind} {:?}", message.title))?;
    }
    Ok(())
}

pub(in crate::store) fn alert_progress(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    for entry in snapshot.transaction().open_table(tables::ALERT_PROGRESS)?.iter()? {
        let (name, progress) = entry?;
        let Progress { slots: _, held, sent, failed, held_back, last: _, failing_since_ms, batch, open } =
            decode(progress.value(), "progress of an alert")?;
        let is_failing = failing_since_ms.is_some();
        line(
            out,
            format_args!(
                "alert_progress {} sent={sent} failed={failed} held_back={held_back} held={held:?} failing={is_failing} batch={batch} open={open:?}",
                name.value()
            ),
        )?;
    }
    Ok(())
}
