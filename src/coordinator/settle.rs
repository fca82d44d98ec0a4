//! Making outcomes durable that are decided by the model rather than by panels.

use super::model::{Settling, Why};
use crate::batch::{Outcome, PanelState};
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError};

impl Settling {
    /// Sets the outcomes where the store has none yet, and gives those that it has then.
    pub(super) fn settle_in(&self, tables: &mut Tables<'_>) -> Result<Vec<(PanelNo, Outcome)>, StoreError> {
        let Self { seq, panels, why } = self;
        let stored = match panels.as_slice() {
            [(panel, _)] => {
                tables.outcome(*seq, *panel)?.map(|outcome| (*panel, outcome)).into_iter().collect()
            }
            _ => tables.outcomes(*seq)?,
        };
        let mut stored = stored.into_iter().peekable();
        let mut settled = Vec::with_capacity(panels.len());
        for (panel, attempts) in panels {
            while stored.next_if(|(before, _)| before < panel).is_some() {}
            let standing = stored.next_if(|(is, _)| is == panel).map(|(_, outcome)| outcome);
            let outcome = match standing {
                Some(decided) if decided.state != PanelState::Pending => decided,
                standing => {
                    let taken = standing.is_some_and(|outcome| outcome.taken);
                    let outcome = Outcome::failed(why.words(taken), *attempts);
                    tables.set_outcome(*seq, *panel, &outcome)?;
                    outcome
                }
            };
            settled.push((*panel, outcome));
        }
        Ok(settled)
    }
}

impl Why {
    /// `taken` says whether the panel has taken its part.
    fn words(&self, taken: bool) -> &str {
        match self {
            Self::Cancelled if taken => {
                "cancelled before its device had confirmed it; what was asked for stays desired and will be delivered: send other profiles to change that"
            }
            Self::Cancelled => "cancelled before it was sent; retry the batch to send it",
            Self::Failed(why) => why,
        }
    }
}
