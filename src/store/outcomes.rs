//! What came of batches on panels: neighbours with the same outcome are one row.

use std::ops::Bound;

use redb::{AccessGuard, ReadableTable};

use super::row::{self, OutcomeKey};
use super::tables::Tables;
use super::{BatchSeq, PanelNo, StoreError};
use crate::batch::Outcome;

/// Panels with consecutive numbers and the same outcome in a batch: they are one row.
pub(super) struct OutcomeRun {
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

impl Tables<'_> {
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
    pub(super) fn write_run(&mut self) -> Result<(), StoreError> {
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
        row_of_outcome(&*self.outcomes, seq, panel)
    }

    /// What came of a batch on a panel.
    pub fn outcome(&mut self, seq: BatchSeq, panel: PanelNo) -> Result<Option<Outcome>, StoreError> {
        self.write_run()?;
        let Some((_, value)) = self.outcome_row(seq, panel)? else { return Ok(None) };
        row::decode_outcome(row::split_outcome(value.value())?.1).map(Some)
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
