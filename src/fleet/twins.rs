//! One device belongs to one panel: two that send to the same device would each undo what the other does.
//!
//! A device is known by its address, and by its serial number once it has been asked.

use std::collections::HashMap;

use super::{FieldError, Fleet, FleetError};
use crate::coordinator::fleet::NewPanel;
use crate::panel::settings::{Remote, Settings};

fn place_of(settings: &Settings) -> Option<String> {
    settings.remote.as_ref().map(Remote::place)
}

fn taken(other: &str, what: &str) -> String {
    format!(
        "panel {other} has the device {what} already, and each would undo what the other does; give --force if that is meant"
    )
}

impl Fleet {
    /// Refuses a panel at whose address another one has its device.
    pub(super) fn refuse_address(&self, settings: &Settings) -> Result<(), FleetError> {
        let Some(wanted) = place_of(settings) else { return Ok(()) };
        let panels = self.panels_with_a_device();
        let other = panels
            .iter()
            .filter(|panel| panel.settings.id != settings.id)
            .find(|panel| place_of(&panel.settings).as_ref() == Some(&wanted));
        match other {
            Some(other) => {
                let url = settings.remote.as_ref().map_or("", |remote| remote.url());
                Err(FleetError::Conflict(taken(other.settings.id.as_str(), &format!("at {url}"))))
            }
            None => Ok(()),
        }
    }

    /// Refuses a panel whose device, which has been asked, is that of another one.
    pub(super) fn refuse_device(&self, panel: &NewPanel) -> Result<(), FleetError> {
        let serial = panel.device.as_ref().map_or("", |device| &*device.serial);
        if serial.is_empty() {
            return Ok(());
        }
        let panels = self.panels_with_a_device();
        let snapshot = self.store.read()?;
        for other in panels.iter().filter(|other| other.settings.id != panel.settings.id) {
            if snapshot.device(other.number)?.is_some_and(|device| device.serial == serial) {
                let what = format!("with the serial number {serial}");
                return Err(FleetError::Conflict(taken(other.settings.id.as_str(), &what)));
            }
        }
        Ok(())
    }

    /// Refuses a list of panels of which one has its device where another one has, be that in the list or there already.
    /// Each is given with its line, and whether that does not matter.
    pub(super) fn refuse_lines(&self, panels: &[(usize, &NewPanel, bool)]) -> Result<(), FleetError> {
        let mut places = HashMap::new();
        for panel in self.panels_with_a_device() {
            if let Some(place) = place_of(&panel.settings) {
                places.insert(place, panel.settings.id.to_string());
            }
        }
        let mut errors = Vec::new();
        for (line, panel, force) in panels {
            let Some(place) = place_of(&panel.settings) else { continue };
            let url = panel.settings.remote.as_ref().map_or("", |remote| remote.url());
            match places.insert(place, panel.settings.id.to_string()) {
                Some(other) if !force && other != panel.settings.id.as_str() => {
                    let why = taken(&other, &format!("at {url}"));
                    errors.push(FieldError::at(format!("/{line}/url"), why));
                }
                _ => {}
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(FleetError::ConflictAt(errors)) }
    }
}
