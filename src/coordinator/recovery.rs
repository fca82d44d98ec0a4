//! Going on where a stop, or a failure of the store, came between. Both look at the store, which alone says what is
//! accepted, which panels there are, and which outcomes they have: a commit that was said to have failed is perhaps
//! there all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::running::{Part, Running};
use super::{Coordinator, moment, work};
use crate::batch::{BatchRecord, BatchState};
use crate::panel::Origin;
use crate::panel::remote::{Condition, Waiting};
use crate::panel::settings::{ApiVersion, PanelRecord, Settings};
use crate::store::read::Snapshot;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// Between looks at a store that cannot be read yet.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Panels that are not started yet: their settings, and the batches that wait for their devices.
type NewPanels = BTreeMap<PanelNo, (Arc<Settings>, BTreeMap<BatchSeq, Waiting>)>;

impl Coordinator {
    /// Starts every registered panel's actor on the current thread and takes up the batches that a stop
    /// interrupted. To be called before the actor is started.
    pub fn take_up(&mut self) -> Result<(), StoreError> {
        let snapshot = self.store.read()?;
        self.now = moment();
        let mut panels = registered(&snapshot)?
            .into_iter()
            .map(|(number, settings)| (number, (settings, BTreeMap::new())))
            .collect();
        self.take_up_batches(&snapshot, &mut panels)?;
        for (number, (settings, waiting)) in panels {
            self.start_panel(number, settings, waiting, Condition::default());
        }
        self.carry_out_effects();
        self.metrics.running.set(self.batches.count() as i64);
        self.publish_register();
        Ok(())
    }

    /// Goes on with the batches that have no end in the store and are not known here. `panels` are those that are
    /// not started yet, with the batches that wait for their devices.
    fn take_up_batches(&mut self, snapshot: &Snapshot, panels: &mut NewPanels) -> Result<(), StoreError> {
        for (seq, record) in snapshot.running_batches()? {
            if self.batches.contains(seq) || self.batches.is_retried(seq) {
                continue;
            }
            match self.take_up_batch(snapshot, seq, record, panels) {
                Err(error) if error.is_of_one_place() => {
                    tracing::error!(
                        batch.number = seq,
                        %error,
                        "a batch that was interrupted cannot be read and does not go on; look at the database with `panelsync doctor --deep`"
                    );
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn take_up_batch(
        &mut self,
        snapshot: &Snapshot,
        seq: BatchSeq,
        record: BatchRecord,
        panels: &mut NewPanels,
    ) -> Result<(), StoreError> {
        let work = snapshot.batch_work(seq)?.ok_or(StoreError::Corrupt("batch without work"))?;
        let operations = Arc::new(work::decode(&work)?);
        let origin = Arc::new(Origin {
            actor: record.created_by.clone(),
            address: String::new(),
            request_id: record.id.to_string().into(),
            span: tracing::info_span!("batch", batch.id = %record.id, resumed = true),
        });
        let mut running = Running::new(
            seq,
            record,
            operations,
            snapshot.batch_targets(seq)?,
            Arc::clone(&origin),
            self.now.at,
        );
        let outcomes = snapshot.outcomes(seq, 0)?.collect::<Result<Vec<_>, _>>()?;
        running.take_stored(outcomes, |panel, _| panels.contains_key(&panel));
        tracing::info!(
            batch.id = %running.record.id,
            panels = running.targets() - running.count(Part::Done),
            "taking up a batch that was interrupted"
        );
        for panel in running.panels(Part::Waits) {
            let Some((settings, batches)) = panels.get_mut(&panel) else { continue };
            let (tell, sent) = (Arc::clone(&self.tell_landed), Instant::now());
            let zoned = running.zoned(&settings.zone);
            let (attempts, request_id) = (running.attempts(panel), Arc::clone(&origin.request_id));
            batches.insert(seq, Waiting { zoned, attempts, tell, sent, request_id });
        }
        self.batches.accepted(running, self.now, &mut self.effects);
        Ok(())
    }

    /// Everything that was on its way has come back and the store is there again: brings what is known here in line
    /// with what it holds, lets it take work, and sends again what it could not take, each panel's earlier batches first
    /// as ever.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
        self.now = moment();
        if let Err(error) = self.look_again() {
            if !self.said_unreadable {
                tracing::error!(%error, "what the database holds cannot be read yet; nothing goes on until then");
            }
            self.said_unreadable = true;
            self.looking_again = true;
            ctx.run_later(LOOK_AGAIN, |this, ctx| {
                this.looking_again = false;
                this.recover(ctx);
            });
            return;
        }
        self.recovering = false;
        self.said_unreadable = false;
        self.store.resume();
        self.batches.recovered(self.now, &mut self.effects);
        self.carry_out_effects(); // also what follows from what was found, now that the store takes it
        self.metrics.running.set(self.batches.count() as i64);
        self.wake_listeners();
        self.send_parts(ctx);
    }

    fn look_again(&mut self) -> Result<(), StoreError> {
        let snapshot = self.store.read()?;
        self.look_at_register(&snapshot)?;
        let mut lost = 0;
        for seq in self.batches.numbers() {
            let looked = snapshot.batch(seq).and_then(|record| {
                let outcomes = snapshot.outcomes(seq, 0)?.collect::<Result<Vec<_>, _>>()?;
                Ok(record.map(|record| (record, outcomes)))
            });
            match looked {
                Ok(None) => {}
                Ok(Some((record, _))) if record.state != BatchState::Running => {
                    self.batches.ended(seq, record, self.now, &mut self.effects);
                }
                Ok(Some((record, outcomes))) => {
                    let register = &self.register;
                    let is_there = |panel| register.by_number(panel).is_some();
                    lost += self.batches.stored(seq, &record, outcomes, is_there);
                }
                Err(error) if error.is_of_one_place() => {
                    // What is sent again meets that, too, and comes to a failure that says so.
                    tracing::error!(batch.number = seq, %error, "what came of a batch cannot be read");
                    self.batches.unreadable(seq);
                }
                Err(error) => return Err(error),
            }
        }
        if lost > 0 {
            tracing::warn!(parts = lost, "parts that were not stored, or not sent yet, are sent now");
        }
        self.take_up_batches(&snapshot, &mut NewPanels::new())
    }

    fn look_at_register(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut stored = registered(snapshot)?;
        for number in self.register.all() {
            let Some(entry) = self.register.by_number(number) else { continue };
            match stored.remove(&number) {
                None => self.stop_panel(number),
                Some(settings) if settings.record() != entry.settings.record() => {
                    self.configure(number, settings);
                }
                Some(_) => {}
            }
        }
        for (number, settings) in stored {
            self.start_panel(number, settings, BTreeMap::new(), Condition::default());
        }
        Ok(())
    }
}

/// The register as the store has it.
fn registered(snapshot: &Snapshot) -> Result<BTreeMap<PanelNo, Arc<Settings>>, StoreError> {
    let mut panels = BTreeMap::new();
    snapshot.each_panel(|number, record| {
        let record: PanelRecord =
            serde_json::from_slice(record).map_err(|_| StoreError::Corrupt("panel record"))?;
        let settings = Settings::stored(&record).map_err(|_| StoreError::Corrupt("panel record"))?;
        if ApiVersion::new(&record.api_version) != Some(settings.api_version) {
            let (had, has) = (&record.api_version, settings.api_version);
            tracing::warn!(panel.id = %settings.id, %had, %has, "there is no such version of the panel's api; it counts as another");
        }
        panels.insert(number, Arc::new(settings));
        Ok::<_, StoreError>(())
    })?;
    Ok(panels)
}
