//! Which batches have ended with failures, and where.

use std::collections::BTreeMap;

use crate::alert::message::About;
use crate::alert::words;
use crate::batch::selector::Selector;
use crate::batch::{BatchRecord, BatchState, PanelState};
use crate::coordinator::register::Register;
use crate::store::read::Snapshot;
use crate::store::{BatchSeq, StoreError};

/// Batches that are read at once.
const AT_ONCE: usize = 100;

/// Panels of a batch that are named.
const NAMED: usize = 5;

/// What became of a batch.
pub enum Ended {
    /// It has not ended.
    Not,
    /// It is not kept any more, or ended as it should, or since a person wanted it to.
    Well,
    /// Not every panel did what it asked for.
    Failed(Box<BatchRecord>),
}

impl Ended {
    fn of(record: Option<BatchRecord>) -> Self {
        match record {
            Some(record) if record.state == BatchState::Running => Self::Not,
            Some(record) if record.state == BatchState::Done && failures(&record) > 0 => {
                Self::Failed(Box::new(record))
            }
            Some(_) | None => Self::Well,
        }
    }
}

fn failures(record: &BatchRecord) -> u64 {
    let panels = &record.report.panels;
    panels.failed + panels.rejected + panels.partial
}

/// Batches up to now.
pub struct Looked {
    /// The last of all.
    pub last: BatchSeq,
    /// Those that have not ended.
    pub open: Vec<BatchSeq>,
    /// Those that ended with failures.
    pub failed: Vec<BatchSeq>,
}

/// What became of the batches after one, and of those that had not ended by then.
pub fn since(
    batch: BatchSeq,
    open: &[BatchSeq],
    snapshot: &Snapshot,
    ended: &mut BTreeMap<BatchSeq, Ended>,
) -> Result<Looked, StoreError> {
    let mut looked = Looked { last: batch, open: Vec::new(), failed: Vec::new() };
    for seq in open {
        if !ended.contains_key(seq) {
            ended.insert(*seq, Ended::of(snapshot.batch(*seq)?));
        }
    }
    let mut seqs = open.to_vec();
    let mut before = BatchSeq::MAX;
    // The newest alone tells mostly that there is none.
    let mut page = snapshot.batches(before, 1)?;
    'all: while let Some((first, _)) = page.first() {
        looked.last = looked.last.max(*first);
        for (seq, record) in page {
            if seq <= batch {
                break 'all;
            }
            before = seq;
            seqs.push(seq);
            ended.entry(seq).or_insert_with(|| Ended::of(Some(record)));
        }
        page = snapshot.batches(before, AT_ONCE)?;
    }
    seqs.sort_unstable();
    for seq in seqs {
        match ended.get(&seq) {
            Some(Ended::Not) => looked.open.push(seq),
            Some(Ended::Failed(_)) => looked.failed.push(seq),
            Some(Ended::Well) | None => {}
        }
    }
    Ok(looked)
}

/// What is told of a batch that ended with failures; nothing where none of these panels is among them.
pub fn tell(
    seq: BatchSeq,
    record: &BatchRecord,
    selector: Option<&Selector>,
    register: &Register,
    snapshot: &Snapshot,
) -> Result<Option<(About, String)>, StoreError> {
    let mut named = Vec::new();
    let mut is_for_any = selector.is_none();
    for outcome in snapshot.outcomes(seq, 0)? {
        let (panel, outcome) = outcome?;
        if matches!(outcome.state, PanelState::Applied | PanelState::Pending) {
            continue;
        }
        let entry = register.by_number(panel);
        if let Some(selector) = selector
            && !entry.is_some_and(|entry| entry.settings.matches(selector))
        {
            continue;
        }
        is_for_any = true;
        let name = match entry {
            Some(entry) => entry.settings.id.as_str().to_owned(),
            None => snapshot.panel_name(panel)?.unwrap_or_else(|| panel.to_string()),
        };
        let why = match (&outcome.error, outcome.state) {
            (Some(error), _) => words::said(error),
            (None, PanelState::Rejected) => "every item was refused".to_owned(),
            (None, _) => "some items were refused".to_owned(),
        };
        named.push(format!("{name} ({why})"));
        if named.len() == NAMED {
            break;
        }
    }
    if !is_for_any {
        return Ok(None);
    }
    let panels = &record.report.panels;
    let more = if failures(record) > named.len() as u64 && named.len() == NAMED { " and others" } else { "" };
    let why = format!(
        "{} of {} panels did not do all that it asked for: {}{more}",
        failures(record),
        panels.total,
        named.join(", ")
    );
    let sentence = format!("Batch {} of {} has ended; {why}.", record.id, words::said(&record.created_by));
    Ok(Some((About { batch: Some(record.id), why: Some(why), ..About::default() }, sentence)))
}
