//! What came of a step goes to the store, and from its commit the delivery goes on.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::record::Settled;
use super::record::compared::{Compare, Findings, Repairs};
use super::record::confirmed::Confirm;
use super::record::given_up::GiveUp;
use super::record::started_over::StartOver;
use super::stepper::Met;
use super::{Waiting, now};
use crate::panel::delivery::effect::Record;
use crate::panel::{Landed, Panel};
use crate::store::StoreError;
use crate::store::tables::{DeviceRecord, Tables};

impl Panel {
    pub(super) fn begin_record(&mut self, record: Record, met: Met, ctx: &mut Context<Self>) {
        let Some(driver) = &mut self.driver else { return };
        let (panel, Met { record: mut device, is_news }) = (self.number, met);
        if let Some(seen) = driver.delivery.condition().last_seen_ms {
            device.last_seen_ms = seen;
        }
        match record {
            Record::Confirmed { call, said, ignored } => {
                let (done, committed) = oneshot::channel();
                let (device, waiting) = (is_news.then_some(device), driver.tried());
                let settled = Vec::new();
                let work = Confirm { panel, call, said, ignored, device, waiting, settled, done };
                self.store.submit_accepted(Box::new(work));
                self.after_record(committed, ctx, |this, settled| {
                    this.tell_settled(settled);
                    false
                });
            }
            Record::Compared { held, clock, emptied } => {
                device.clock_ahead_s = clock.as_ref().map(|clock| clock.ahead_s);
                device.zone = clock.and_then(|clock| clock.zone);
                device.last_read_ms = Some(device.last_seen_ms);
                device.unlinked = held.unlinked;
                let (done, committed) = oneshot::channel();
                self.store.submit_accepted(Box::new(Compare {
                    panel,
                    held,
                    emptied,
                    repair: self.settings.remote.as_ref().is_some_and(|remote| remote.repair),
                    repaired: driver.repairs.clone(),
                    repairs: Repairs::new(),
                    device,
                    waiting: driver.tried(),
                    findings: Findings::default(),
                    settled: Vec::new(),
                    done,
                }));
                self.after_record(committed, ctx, |this, (findings, repairs, settled)| {
                    if let Some(driver) = &mut this.driver {
                        driver.repairs = repairs;
                    }
                    this.tell_settled(settled);
                    this.tell_findings(&findings);
                    findings.reset
                });
            }
            Record::StartedOver => {
                let (done, committed) = oneshot::channel();
                let (device, audit) = (is_news.then_some(device), None);
                self.store.submit_accepted(Box::new(StartOver { panel, device, audit, done }));
                self.after_record(committed, ctx, |_, ()| false);
            }
            Record::Met => {
                let committed = self.keep_record(device);
                self.after_record(committed, ctx, |_, ()| false);
            }
            Record::GivenUp { why, batches } => {
                let (done, committed) = oneshot::channel();
                let (waiting, settled) = (driver.oldest(batches), Vec::new());
                self.store.submit_accepted(Box::new(GiveUp { panel, why, waiting, settled, done }));
                self.after_record(committed, ctx, |this, settled| {
                    this.tell_settled(settled);
                    false
                });
            }
        }
    }

    fn keep_record(&self, device: DeviceRecord) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, committed) = oneshot::channel();
        let panel = self.number;
        let change = move |tables: &mut Tables<'_>| tables.keep_device(panel, &device);
        self.store.submit_accepted_change(change, move |result| {
            let _ = done.send(result); // gone only at the end
        });
        committed
    }

    /// Goes on once something is committed. `then` says whether the device was found to have lost what it held.
    fn after_record<T: 'static>(
        &mut self,
        committed: oneshot::Receiver<Result<T, StoreError>>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, T) -> bool + 'static,
    ) {
        ctx.spawn(committed.into_actor(self).map(move |result, this, ctx| match result {
            Ok(Ok(value)) => {
                let reset = then(this, value);
                let Some(driver) = &mut this.driver else { return };
                let facts = driver.facts(&this.store, this.number, &this.settings);
                let effects = driver.delivery.recorded(reset, now(), &facts);
                this.carry_out(effects, Met::default(), ctx);
            }
            // The panel was removed and is told to stop, or the store is closed and the server stops.
            Ok(Err(StoreError::NoSuchPanel)) | Err(_) => {}
            // The store logs what goes wrong; what was not recorded is asked again.
            Ok(Err(error)) => {
                let Some(driver) = &mut this.driver else { return };
                driver.tell_readers(&error.into());
                let effect = driver.delivery.not_recorded(Instant::now());
                this.carry_out(vec![effect], Met::default(), ctx);
            }
        }));
    }

    /// Tells batches that they wait no longer, unless they were sent again in between.
    fn tell_settled(&mut self, settled: Vec<Settled>) {
        let Some(driver) = &mut self.driver else { return };
        for Settled { batch, sent, outcome } in settled {
            if driver.waiting.get(&batch).is_none_or(|waiting| waiting.sent != sent) {
                continue;
            }
            if let Some(Waiting { tell, sent, .. }) = driver.waiting.remove(&batch) {
                let (panel, outcome) = (self.number, Arc::new(outcome));
                tell(Landed { batch, panel, outcome, result: Ok(()), sent, first: false, noted: true });
            }
        }
    }

    fn tell_findings(&mut self, findings: &Findings) {
        let Some(driver) = &mut self.driver else { return };
        let drifted = findings.drifted;
        if findings.reset {
            tracing::warn!(panel.id = %self.settings.id, "the device has lost its profiles: all that it should hold is sent again");
        } else if drifted > 0 {
            let repairing = findings.repairing;
            tracing::warn!(panel.id = %self.settings.id, drifted, repairing, "the device holds something else than it had confirmed");
        }
        for reader in driver.readers.drain(..) {
            let _ = reader.send(Ok(findings.clone())); // whoever asked may have left
        }
        driver.devices.tell_condition(self.number, driver.delivery.condition()); // for the counts
    }
}
