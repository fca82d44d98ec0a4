//! A device holds nothing of what it had confirmed, or a person wants everything to be sent again.

use tokio::sync::oneshot;

use super::keep_device;
use crate::batch::item::ItemId;
use crate::store::row::{Drift, Reported};
use crate::store::tables::{AuditRecord, DeviceRecord, PanelRows};
use crate::store::writer::PanelWork;
use crate::store::{PanelNo, StoreError};

/// The device holds nothing of what it had confirmed: it is another one, or was reset. Everything is to be sent.
pub(in crate::panel) struct StartOver {
    pub panel: PanelNo,
    pub device: Option<DeviceRecord>,
    pub audit: Option<AuditRecord>,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

impl StartOver {
    /// What it held it does not hold any more, unless it is only a person's wish.
    fn forget(&self, rows: &mut PanelRows<'_, '_>, item: ItemId) -> Result<(), StoreError> {
        if self.audit.is_some() { Ok(()) } else { rows.forget_last_held(item) }
    }
}

impl PanelWork for StartOver {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        64 // as many as the panel has profiles; about
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        for (item, known) in rows.all_reported()? {
            match known {
                Reported::Unknown => self.forget(rows, item)?,
                Reported::Drifted(Drift::Extra) => rows.set_reported(item, None)?,
                Reported::Held(_)
                | Reported::Refused(_)
                | Reported::Drifted(_)
                | Reported::KeptOtherwise(_) => {
                    rows.set_reported(item, Some(&Reported::Unknown))?;
                    self.forget(rows, item)?;
                }
            }
        }
        if let Some(audit) = &self.audit {
            rows.tables().audit(audit)?;
        }
        keep_device(rows, self.device.as_ref())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let _ = self.done.send(result); // gone only at the end
    }
}
