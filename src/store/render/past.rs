//! What is kept of the past of items, as text.

use redb::{ReadableTable, TableDefinition};

use super::{Failed, line};
use crate::store::before::{Changed, decode};
use crate::store::calls::CallRecord;
use crate::store::read::Snapshot;
use crate::store::{row, tables};

/// Nothing where there is none.
pub(in crate::store) fn before(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    runs("before", tables::BEFORE, snapshot, out)
}

/// Nothing where there is none.
pub(in crate::store) fn to_undo(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    runs("to_undo", tables::TO_UNDO, snapshot, out)
}

fn runs(
    name: &str,
    table: TableDefinition<'_, &'static row::OutcomeKey, &'static [u8]>,
    snapshot: &Snapshot,
    out: &mut String,
) -> Result<(), Failed> {
    for (i, entry) in snapshot.transaction().open_table(table)?.iter()?.enumerate() {
        let (key, value) = entry?;
        let (panels, changed) = decode(value.value())?;
        if i == 0 {
            line(out, format_args!("{name}"))?;
        }
        let (seq, first) = (row::be_u64(&key.value()[..8]), row::outcome_panel(key.value()));
        for Changed { item, before, after, at_ms } in changed {
            let of = format_args!("  batch={seq} panel={first} panels={panels} {item} {before} to {after}");
            line(out, format_args!("{of} at_ms={at_ms}"))?;
        }
    }
    Ok(())
}

/// Nothing where there is none.
pub(in crate::store) fn calls(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    for (i, entry) in snapshot.transaction().open_table(tables::CALLS)?.iter()?.enumerate() {
        let (key, call) = entry?;
        let (panel, number) = key.value();
        if i == 0 {
            line(out, format_args!("calls"))?;
        }
        let CallRecord { at_ms, actor, items, others } = CallRecord::decode(call.value())?;
        let items: String = items.iter().map(|(item, there)| format!(" {item} there={there}")).collect();
        line(out, format_args!("  {panel} {number} at_ms={at_ms} {actor} others={others}{items}"))?;
    }
    Ok(())
}
