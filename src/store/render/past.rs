//! What was asked for, what came of it, and what stood before, as text.

use std::collections::BTreeMap;

use redb::{ReadableTable, TableDefinition};

use super::{Failed, line, print};
use crate::batch::BatchRecord;
use crate::store::before::{Changed, bodies_of, decode};
use crate::store::calls::CallRecord;
use crate::store::changes::batches::is_sealed;
use crate::store::json::decode as decode_json;
use crate::store::read::Snapshot;
use crate::store::{row, tables};

pub(in crate::store) fn batches(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    let read = snapshot.transaction();
    line(out, format_args!("batches"))?;
    for entry in read.open_table(tables::BATCHES)?.iter()? {
        let (seq, record) = entry?;
        let (seq, record) = (seq.value(), decode_json::<BatchRecord>(record.value(), "batch")?);
        let BatchRecord {
            id,
            created_at_ms,
            created_by,
            target,
            state,
            cancelled,
            report,
            duration_ms,
            undoes,
        } = record;
        line(
            out,
            format_args!(
                "  {seq} id={id} created_at_ms={created_at_ms} created_by={created_by} target={target}"
            ),
        )?;
        line(
            out,
            format_args!(
                "    state={state:?} cancelled={cancelled} duration_ms={}{}",
                duration_ms.unwrap_or_default(),
                undoes.map_or_else(String::new, |undone| format!(" undoes={undone}"))
            ),
        )?;
        line(out, format_args!("    {:?}", report.panels))?;
        line(out, format_args!("    {:?}", report.items))?;
        line(out, format_args!("    targets {:?}", snapshot.batch_targets(seq)?))?;
        let is_sealed =
            read.open_table(tables::BATCH_WORK)?.get(seq)?.is_some_and(|work| is_sealed(work.value()));
        match snapshot.batch_work(seq)? {
            Some(work) if is_sealed => {
                line(out, format_args!("    work sealed {}", print(&String::from_utf8_lossy(&work))))?;
            }
            Some(work) => line(out, format_args!("    work {}", String::from_utf8_lossy(&work)))?,
            None => {}
        }
        for outcome in snapshot.outcomes(seq, 0)? {
            let (panel, outcome) = outcome?;
            line(out, format_args!("    outcome {panel} {outcome:?}"))?;
        }
    }
    Ok(())
}

/// Nothing where there is none.
pub(in crate::store) fn before(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    runs("before", tables::BEFORE, snapshot, out)
}

/// Nothing where there is none.
pub(in crate::store) fn to_undo(snapshot: &Snapshot, out: &mut String) -> Result<(), Failed> {
    runs("to_undo", tables::TO_UNDO, snapshot, out)
}

/// How often bodies are named by what stood before batches, or is to be put back.
pub(super) fn named(snapshot: &Snapshot) -> Result<BTreeMap<u64, u64>, Failed> {
    let mut named = BTreeMap::new();
    for table in [tables::BEFORE, tables::TO_UNDO] {
        for entry in snapshot.transaction().open_table(table)?.iter()? {
            for body in bodies_of(&decode(entry?.1.value())?.1) {
                *named.entry(body).or_default() += 1;
            }
        }
    }
    Ok(named)
}

/// Panel by panel: which ones a commit had together, and so are one row, is chance.
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
        for panel in first..first.saturating_add(panels) {
            for Changed { item, before, after, at_ms } in &changed {
                line(
                    out,
                    format_args!("  batch={seq} panel={panel} {item} {before} to {after} at_ms={at_ms}"),
                )?;
            }
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
