//! What devices really hold: compare it with what is desired, and put it right.
//!
//! Devices are read now, many at once, and what they hold is recorded; only [`Fleet::repair`] changes anything on a device.
//! Nobody waits longer than [`Until`] says; a device that is not read by then is told as such.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::sync::{oneshot, watch};

use super::{Fleet, FleetError};
use crate::coordinator::Target;
use crate::coordinator::register::Entry;
use crate::panel::remote::record::{Difference, Findings, Found};
use crate::panel::settings::PanelId;
use crate::panel::{Attend, Origin};
use crate::store::PanelNo;
use crate::store::row::Reported;
use crate::store::tables::Tables;

/// Panels asked at once. The devices' own limit is further down; this one bounds what waits for it.
const AT_ONCE: usize = 256;

/// Between looks at whether what was found has been put right.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How long devices are waited for where nobody says.
pub const WAIT: Duration = Duration::from_mins(1);

/// What one panel's device holds beside what is desired.
pub struct PanelDiff {
    /// Which panel.
    pub panel: PanelId,
    /// What was found, or came of it.
    pub state: DiffState,
    /// Why it could not be read.
    pub error: Option<String>,
    /// How far the device's clock is ahead of the server's, in seconds. It decides when its door opens.
    pub clock_ahead_s: Option<i64>,
    /// What the device says of its zone, where it shows another time than the panel's zone. It decides when its door opens.
    pub other_zone: Option<Box<str>>,
    /// What differs, by link_id; then what was made on the device.
    pub differences: Vec<Found>,
    /// How many more differ than are listed.
    pub not_shown: u64,
}

/// How a device stands to what is desired of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffState {
    /// It holds what it should.
    Same,
    /// It holds something else.
    Differs,
    /// It could not be read.
    Unreadable,
    /// The time was too short for it.
    NotReadYet,
    /// What differed has been put right.
    Repaired,
    /// The repair is under way.
    Pending,
}

impl DiffState {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Unreadable => "unreadable",
            Self::NotReadYet => "not read yet",
            Self::Repaired => "repaired",
            Self::Pending => "pending",
        }
    }
}

impl Difference {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Extra => "extra",
            Self::Unlinked => "unlinked",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::KeptOtherwise => "kept_otherwise",
        }
    }
}

/// Until when devices are waited for: a moment, or the server's stop.
#[derive(Clone)]
pub struct Until {
    moment: Instant,
    stopping: watch::Receiver<bool>,
}

impl Until {
    fn is_over(&self) -> bool {
        Instant::now() >= self.moment || *self.stopping.borrow()
    }

    async fn reached(mut self) {
        let stops = async {
            if self.stopping.wait_for(|stops| *stops).await.is_err() {
                std::future::pending::<()>().await; // nobody can stop it any more
            }
        };
        let _ = tokio::time::timeout_at(self.moment.into(), stops).await; // either is the end
    }
}

/// Why a device was not read.
enum NotRead {
    /// It could not be.
    Because(String),
    /// It was not its turn before the time was over.
    Yet,
}

/// Has the panel's device read now, until a moment.
async fn read(panel: &Entry, until: Until) -> Result<Findings, NotRead> {
    if until.is_over() {
        return Err(NotRead::Yet);
    }
    let (reader, findings) = oneshot::channel();
    let removed = || NotRead::Because("the panel was removed".to_owned());
    let reading = async {
        panel.address.send(Attend::Read(reader)).await.map_err(|_| removed())?;
        let result = findings.await.map_err(|_| removed())?;
        result.map_err(|error| NotRead::Because(error.to_string()))
    };
    tokio::select! {
        read = reading => read,
        () = until.reached() => Err(NotRead::Yet),
    }
}

/// Has the panel's device read now and compares.
pub async fn compare(panel: &Entry, until: Until) -> PanelDiff {
    let nothing = |state, error| PanelDiff {
        panel: panel.settings.id.clone(),
        state,
        error,
        clock_ahead_s: None,
        other_zone: None,
        differences: Vec::new(),
        not_shown: 0,
    };
    match read(panel, until).await {
        Ok(Findings { found, clock_ahead_s, zone, not_shown, .. }) => {
            let differs = found.iter().any(|found| found.difference != Difference::Unlinked);
            let state = if differs { DiffState::Differs } else { DiffState::Same };
            let other_zone = panel.settings.other_zone(zone.as_deref()).map(Into::into);
            PanelDiff { clock_ahead_s, other_zone, differences: found, not_shown, ..nothing(state, None) }
        }
        Err(NotRead::Because(error)) => nothing(DiffState::Unreadable, Some(error)),
        Err(NotRead::Yet) => nothing(DiffState::NotReadYet, None),
    }
}

/// Has the devices of these panels read now and compares.
pub async fn compare_all(panels: &[Entry], until: &Until) -> Vec<PanelDiff> {
    stream::iter(panels).map(|panel| compare(panel, until.clone())).buffered(AT_ONCE).collect().await
}

impl Fleet {
    /// So long from now on, or until the server stops.
    pub fn until(&self, wait: Duration) -> Until {
        Until { moment: Instant::now() + wait, stopping: self.stopping.clone() }
    }

    /// What differs on the devices of a target; nothing is changed.
    pub async fn compare_target(&self, target: Target, until: &Until) -> Result<Vec<PanelDiff>, FleetError> {
        let mut panels = self.targets(&target)?;
        panels.retain(|panel| panel.settings.is_device());
        Ok(compare_all(&panels, until).await)
    }

    /// Reads the devices of a target and has what differs put right; waits for that until a moment. A device that held
    /// something else, or lacked something, is read once more then: it may do so whatever it is sent.
    pub async fn repair(
        &self,
        target: Target,
        until: &Until,
        origin: &Origin,
    ) -> Result<Vec<PanelDiff>, FleetError> {
        let audit = origin.audit("reconcile", target.to_string());
        let mut panels = self.targets(&target)?;
        panels.retain(|panel| panel.settings.is_device());
        let numbers: Vec<_> = panels.iter().map(|panel| panel.number).collect();
        self.store.change(move |tables| tables.ask_to_reconcile(&numbers, &audit)).await?;
        let mut found = compare_all(&panels, until).await;
        for (panel, diff) in
            panels.iter().zip(&mut found).filter(|(_, diff)| diff.state == DiffState::Differs)
        {
            loop {
                diff.state = self.state_now(panel, diff)?;
                if diff.state != DiffState::Pending || until.is_over() {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        let changed = |diff: &PanelDiff| {
            let changed = |found: &Found| {
                matches!(
                    found.difference,
                    Difference::Missing | Difference::Changed | Difference::KeptOtherwise
                )
            };
            diff.state == DiffState::Repaired && diff.differences.iter().any(changed)
        };
        let again = panels.iter().zip(&mut found).filter(|(_, diff)| changed(diff));
        let again: Vec<_> = stream::iter(again)
            .map(|(panel, before)| async move { (compare(panel, until.clone()).await, before) })
            .buffered(AT_ONCE)
            .collect()
            .await;
        for (now, before) in again {
            match now.state {
                DiffState::Differs => *before = now,
                DiffState::Same => {}
                _ => before.state = DiffState::Pending,
            }
        }
        Ok(found)
    }

    /// Has devices read and put right to which another node was perhaps talking when its lead was over: a call of it has
    /// perhaps come there after the first one of this node. A device that is away is read when it is back.
    pub async fn make_sure_of(&self, panels: &[PanelNo]) -> Result<(), FleetError> {
        let register = self.register.now();
        let panels = panels.iter().filter_map(|panel| register.by_number(*panel));
        let panels: Vec<_> = panels.filter(|panel| panel.settings.is_device()).cloned().collect();
        for some in panels.chunks(AT_ONCE) {
            let numbers: Vec<_> = some.iter().map(|panel| panel.number).collect();
            let marked = move |tables: &mut Tables<'_>| {
                numbers.iter().try_for_each(|panel| tables.mark_to_reconcile(*panel))
            };
            self.store.change(marked).await?;
            compare_all(some, &self.until(WAIT)).await; // what could not be read now is read later
        }
        Ok(())
    }

    /// How far the repair of what was found is.
    fn state_now(&self, panel: &Entry, diff: &PanelDiff) -> Result<DiffState, FleetError> {
        let snapshot = self.store.read()?;
        if diff.not_shown > 0 && snapshot.reported_counts(panel.number)?.pending > 0 {
            return Ok(DiffState::Pending);
        }
        let mut state = DiffState::Repaired;
        for item in diff.differences.iter().filter_map(|difference| difference.item) {
            match snapshot.reported(panel.number, item)? {
                Some(Reported::Unknown) => return Ok(DiffState::Pending),
                Some(Reported::Refused(_) | Reported::KeptOtherwise(_)) => state = DiffState::Differs,
                Some(Reported::Held(_) | Reported::Drifted(_)) | None => {}
            }
        }
        Ok(state)
    }
}
