//! An identifier is shown at the door of an embedded panel.

use super::{Fleet, FleetError};
use crate::clock;
use crate::identifier::number::Credential;
use crate::identifier::opens::When;
use crate::identifier::rule::{Api, Kind};
use crate::panel::Origin;
use crate::store::changes::present::{Presentation, Shown};

/// What is shown, as it is asked for. The number is a secret: it has no `Debug`.
pub struct PresentInput {
    /// Its type, in the panel API's word.
    pub kind: String,
    /// Its number, as anybody writes it.
    pub number: String,
    /// When, in Unix milliseconds; now without it.
    pub at_ms: Option<i64>,
}

impl Fleet {
    /// Shows an identifier at a panel's door. It is on disk when this returns.
    pub async fn present(&self, id: &str, input: PresentInput, origin: &Origin) -> Result<Shown, FleetError> {
        let entry = self.panel(id)?;
        let settings = &entry.settings;
        if settings.is_device() {
            let why = format!("panel {id} is a device: what is shown there is for it to judge");
            return Err(FleetError::Conflict(why));
        }
        Api::of(settings.family(), None).map_err(|error| FleetError::Conflict(error.to_string()))?;
        let PresentInput { kind, number, at_ms } = input;
        let kind = Kind::parse(&kind).filter(|kind| *kind != Kind::Face).ok_or_else(|| {
            FleetError::invalid("/type", "it takes card, ukey, inputCode, qr or license_plate")
        })?;
        let credential = Credential::new(kind, &number).ok_or_else(|| {
            FleetError::invalid("/number", format!("this is no number of a {}", kind.in_words()))
        })?;
        let now_ms = clock::now_ms();
        let at_ms = at_ms.unwrap_or(now_ms);
        let when = When::at(at_ms.div_euclid(1000))
            .map_err(|error| FleetError::invalid("/at", error.to_string()))?;
        if at_ms < 0 {
            return Err(FleetError::invalid("/at", "no panel was there before 1970"));
        }
        let (zone, family) = (settings.zone.rules().clone(), settings.family());
        let shown = Presentation { credential, at_ms, when, zone, family };
        let (panel, audit) = (entry.number, origin.audit("panel.present", id));
        Ok(self.store.change(move |tables| tables.present(panel, &shown, now_ms, &audit)).await?)
    }
}
