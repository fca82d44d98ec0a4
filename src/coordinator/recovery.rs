//! Going on where a stop, or a failure of the store, came between. Both look at the store, which alone says what is
//! accepted, which panels there are, and which outcomes they have: a commit that was said to have failed is perhaps
//! there all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::register::{Entry, Registered};
use super::running::{Part, Running};
use super::{Coordinator, work};
use crate::batch::{BatchRecord, BatchState, Outcome};
use crate::panel::remote::{Condition, Waiting};
use crate::panel::settings::{PanelRecord, Settings};
use crate::panel::{Configure, Origin, Panel, Stop};
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
        let mut panels = registered(&snapshot)?
            .into_iter()
            .map(|(number, settings)| (number, (settings, BTreeMap::new())))
            .collect();
        self.take_up_batches(&snapshot, &mut panels)?;
        for (number, (settings, waiting)) in panels {
            self.start_panel(number, settings, waiting, Condition::default());
        }
        self.publish_register();
        Ok(())
    }

    /// Goes on with the batches that have no end in the store and are not known here. `panels` are those that are
    /// not started yet, with the batches that wait for their devices.
    fn take_up_batches(&mut self, snapshot: &Snapshot, panels: &mut NewPanels) -> Result<(), StoreError> {
        for (seq, record) in snapshot.running_batches()? {
            if self.batches.contains(seq) || self.retrying.contains(&seq) {
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
        let cancelled = record.cancelled;
        let mut running =
            Running::new(seq, record, operations, snapshot.batch_targets(seq)?, Arc::clone(&origin));
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
        self.begin(running);
        if cancelled {
            self.settle_cancelled(seq, None);
        }
        self.end_if_complete(seq);
        Ok(())
    }

    pub(super) fn start_panel(
        &mut self,
        number: PanelNo,
        settings: Arc<Settings>,
        waiting: BTreeMap<BatchSeq, Waiting>,
        condition: Condition,
    ) {
        let (store, kept) = (self.store.clone(), condition.clone());
        let panel = Panel::new(number, Arc::clone(&settings), store, &self.devices, waiting, condition);
        self.register.set(Registered {
            number,
            settings,
            address: panel.start(),
            condition: kept,
            changed: 0,
        });
        self.metrics.panels.set(self.register.count() as i64);
    }

    /// Everything that was on its way has come back and the store is there again: brings what is known here in line
    /// with what it holds, lets it take work, and sends again what it could not take, each panel's earlier batches first
    /// as ever.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
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
        for seq in self.batches.numbers() {
            if self.batches.get(seq).is_some_and(|running| running.record.cancelled) {
                self.settle_cancelled(seq, None);
            }
            self.end_if_complete(seq);
        }
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
                Ok(Some((record, _))) if record.state != BatchState::Running => self.ended(seq, record),
                Ok(Some((record, outcomes))) => lost += self.take_stored(seq, &record, outcomes),
                Err(error) if error.is_of_one_place() => {
                    // What is sent again meets that, too, and comes to a failure that says so.
                    tracing::error!(batch.number = seq, %error, "what came of a batch cannot be read");
                    self.batches.change(seq, |running| {
                        running.ending = false;
                        running.send_lost_again();
                    });
                }
                Err(error) => return Err(error),
            }
        }
        if lost > 0 {
            tracing::warn!(parts = lost, "parts that were not stored, or not sent yet, are sent now");
        }
        self.take_up_batches(&snapshot, &mut NewPanels::new())
    }

    /// Brings a running batch in line with the store; says how many parts are to be sent.
    fn take_stored(
        &mut self,
        seq: BatchSeq,
        record: &BatchRecord,
        outcomes: Vec<(PanelNo, Outcome)>,
    ) -> usize {
        let register = &self.register;
        let queued = self.batches.change(seq, |running| {
            running.record.cancelled = record.cancelled;
            running.ending = false;
            // A panel that is there waits for its device where it knows of that itself.
            let waits = |panel, before| before == Part::Waits && register.by_number(panel).is_some();
            running.take_stored(outcomes, waits);
            running.count(Part::Queued)
        });
        queued.unwrap_or(0)
    }

    fn look_at_register(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut stored = registered(snapshot)?;
        for number in self.register.all() {
            let Some(entry) = self.register.by_number(number).cloned() else { continue };
            match stored.remove(&number) {
                None => {
                    self.register.remove(number);
                    send(&entry, Stop);
                }
                Some(settings) if settings.record() != entry.settings.record() => {
                    send(&entry, Configure(Arc::clone(&settings)));
                    self.register.set(Registered { settings, ..(*entry).clone() });
                }
                Some(_) => {}
            }
        }
        for (number, settings) in stored {
            self.start_panel(number, settings, BTreeMap::new(), Condition::default());
        }
        self.metrics.panels.set(self.register.count() as i64);
        Ok(())
    }

    /// The store has the end of a batch that runs here.
    fn ended(&mut self, seq: BatchSeq, record: BatchRecord) {
        let told = self.batches.change(seq, |running| {
            let told = running.record.state != BatchState::Running;
            running.record = record;
            told
        });
        if told == Some(false) {
            self.tell_end(seq);
        }
        self.batches.end(seq);
        self.metrics.running.set(self.batches.count() as i64);
    }
}

/// The register as the store has it.
fn registered(snapshot: &Snapshot) -> Result<BTreeMap<PanelNo, Arc<Settings>>, StoreError> {
    let mut panels = BTreeMap::new();
    snapshot.each_panel(|number, record| {
        let record: PanelRecord =
            serde_json::from_slice(record).map_err(|_| StoreError::Corrupt("panel record"))?;
        let settings = Settings::parse(&record).map_err(|_| StoreError::Corrupt("panel record"))?;
        panels.insert(number, Arc::new(settings));
        Ok::<_, StoreError>(())
    })?;
    Ok(panels)
}

/// Sends a panel's actor what it must not miss, waiting for room in its mailbox.
pub(super) fn send<M>(entry: &Entry, message: M)
where
    M: Message + Send + 'static,
    M::Result: Send,
    Panel: Handler<M>,
{
    let told = entry.address.send(message);
    actix_rt::spawn(async move {
        let _ = told.await; // a panel that has stopped needs nothing
    });
}
