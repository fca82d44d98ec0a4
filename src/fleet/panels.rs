//! Panels: add, import, change, remove, send everything again.

use std::time::Duration;

use super::fields::{PanelFields, keeps_its_password};
use super::meeting::{Introduction, meet};
use super::profiles::read;
use super::status::PanelStatus;
use super::{FieldError, Fleet, FleetError, Page, read_after_change};
use crate::batch::selector::Selector;
use crate::coordinator::fleet::{AddError, AddPanels, ChangePanel, NewPanel, RemovePanel, ResyncPanel};
use crate::coordinator::register::Entry;
use crate::panel::Origin;
use crate::panel::settings::{PanelId, Remote, Settings};
use crate::profile::rule::Family;
use crate::store::changes::panels::PanelChanged;
use crate::store::tables::ConnectionRecord;

/// A panel of an import.
pub struct ImportedPanel {
    /// In which line it stands.
    pub line: usize,
    /// The panel.
    pub panel: NewPanel,
    /// Whether it does not matter that another panel has its device.
    pub forced: bool,
}

/// How often a change is looked at again that others have overtaken, and how long it waits before.
const TRIES: u32 = 5;
const OVERTAKEN: Duration = Duration::from_millis(20);

impl Fleet {
    /// At most `limit` panels that a selector picks (all without one), by id, after one of them, and how they are.
    pub async fn page_of_statuses(
        &self,
        selector: Option<Selector>,
        after: Option<PanelId>,
        limit: usize,
    ) -> Result<Page<PanelStatus, PanelId>, FleetError> {
        let Page { items, next } = self.page_of_panels(selector.as_ref(), after.as_ref(), limit);
        let items = self.read(move |snapshot| {
            items.into_iter().map(|panel| PanelStatus::of(snapshot, panel)).collect::<Result<_, _>>()
        });
        Ok(Page { items: items.await?, next })
    }

    /// A panel and how it is.
    pub fn status(&self, panel: Entry) -> Result<PanelStatus, FleetError> {
        Ok(PanelStatus::of(&self.store.read()?, panel)?)
    }

    /// The same behind a change of the panel.
    pub async fn status_after_change(&self, panel: Entry) -> Result<PanelStatus, FleetError> {
        read_after_change(async || self.status(panel.clone())).await
    }

    /// When a panel's device went offline and came back, newest first.
    pub fn connections(&self, panel: &Entry) -> Result<Vec<ConnectionRecord>, FleetError> {
        let mut changes = self.store.read()?.connections(panel.number)?;
        changes.reverse();
        Ok(changes)
    }

    /// Adds a panel, once its device has been asked.
    pub async fn add_panel(
        &self,
        fields: PanelFields,
        introduction: Introduction,
        origin: Origin,
    ) -> Result<Entry, FleetError> {
        let introduction = introduction.or_forced_by(&fields);
        let version_given = fields.has("api_version");
        let mut panel = fields.new_panel()?;
        let id = panel.settings.id.clone();
        let exists = || {
            FleetError::Conflict(format!(
                "there is a panel {id} already; change that one, or choose another id"
            ))
        };
        if self.find_panel(id.as_str()).is_some() {
            return Err(exists());
        }
        if !introduction.force {
            self.refuse_address(&panel.settings)?;
        }
        meet(self.device_timeouts, &mut panel, introduction, version_given).await?;
        self.refuse_device(&panel)?;
        self.add_all(vec![panel], origin).await?.map_err(|_| exists())?;
        self.panel(id.as_str())
    }

    /// Adds many panels in one transaction, all or none. Devices are not asked.
    pub async fn import_panels(
        &self,
        panels: Vec<ImportedPanel>,
        origin: Origin,
    ) -> Result<usize, FleetError> {
        let places: Vec<_> = panels.iter().map(|line| (line.line, &line.panel, line.forced)).collect();
        self.refuse_lines(&places)?;
        let (lines, panels): (Vec<_>, Vec<_>) =
            panels.into_iter().map(|imported| (imported.line, imported.panel)).unzip();
        let added = panels.len();
        let ids: Vec<_> = panels.iter().map(|panel| panel.settings.id.clone()).collect();
        if let Err(taken) = self.add_all(panels, origin).await? {
            let errors = taken.into_iter().filter_map(|at| {
                let (line, id) = (lines.get(at)?, ids.get(at)?);
                Some(FieldError::at(format!("/{line}/id"), format!("there is a panel {id} already")))
            });
            return Err(FleetError::ConflictAt(errors.collect()));
        }
        Ok(added)
    }

    /// Adds panels, all or none: the indexes of those whose ids are taken, where there are any.
    async fn add_all(
        &self,
        panels: Vec<NewPanel>,
        origin: Origin,
    ) -> Result<Result<(), Vec<usize>>, FleetError> {
        let added = match self.coordinator.send(AddPanels(panels, origin)).await? {
            Ok(added) => added.await?,
            Err(error) => Err(error),
        };
        match added {
            Ok(()) => Ok(Ok(())),
            Err(AddError::Taken(taken)) => Ok(Err(taken)),
            Err(AddError::Store(error)) => Err(error.into()),
        }
    }

    /// Changes the given fields of the panel of this id. A device may take its time to be asked; what was changed meanwhile
    /// stays changed, and these fields are put on top of it.
    pub async fn change_panel(
        &self,
        id: &str,
        fields: PanelFields,
        introduction: Introduction,
        origin: Origin,
    ) -> Result<Entry, FleetError> {
        let introduction = introduction.or_forced_by(&fields);
        let password_md5 = &fields.password_md5;
        // The settings of the device that was asked.
        let mut met: Option<Remote> = None;
        for attempt in 0..TRIES {
            tokio::time::sleep(OVERTAKEN * attempt).await;
            let panel = self.panel(id)?;
            let settings = fields.on(&panel.settings)?;
            if settings.family() != panel.settings.family() {
                self.refuse_family(&panel, settings.family())?;
            }
            if introduction.adopt {
                return Err(FleetError::Unreadable("adopt is for a panel that is added".into()));
            }
            if settings.remote != panel.settings.remote || password_md5.is_some() {
                let kept = self.store.read()?.credential(panel.number)?;
                if kept.is_some() && password_md5.is_none() {
                    keeps_its_password(panel.settings.remote.as_ref(), settings.remote.as_ref())?;
                }
                if met.is_none() || met != settings.remote {
                    let password_md5 = password_md5.clone().or(kept);
                    let mut changed = NewPanel { password_md5, ..NewPanel::new(settings.clone()) };
                    let url =
                        |settings: &Settings| settings.remote.as_ref().map(|remote| remote.url().to_owned());
                    let moves = url(&settings) != url(&panel.settings);
                    if moves && !introduction.force {
                        self.refuse_address(&settings)?;
                    }
                    meet(self.device_timeouts, &mut changed, introduction, true).await?;
                    if moves {
                        self.refuse_device(&changed)?;
                    }
                    met.clone_from(&settings.remote);
                }
            }
            let asked = ChangePanel {
                settings,
                expected: panel.settings.record(),
                password_md5: password_md5.clone(),
                origin: origin.clone(),
            };
            let changed = self.coordinator.send(asked).await?;
            match changed.ok_or_else(|| FleetError::no_panel(id))?.await?? {
                PanelChanged::Done => return self.panel(id),
                PanelChanged::Overtaken => {}
                PanelChanged::Gone => return Err(FleetError::no_panel(id)),
            }
        }
        Err(FleetError::Conflict(format!("others are changing the panel {id}; look at it, and try again")))
    }

    /// A panel cannot become one of a family that knows no such profiles as it has.
    fn refuse_family(&self, panel: &Entry, family: Family) -> Result<(), FleetError> {
        for stored in self.store.read()?.profiles(panel.number)? {
            let profile = read(&stored.json)?;
            if profile.unknown_to(family).is_some() {
                let name = profile.name.as_str();
                let why = format!(
                    "it has the profile {name:?}, which only a door controller knows: with the day type DAY, or without a date; change it first"
                );
                return Err(FleetError::invalid("/api", why));
            }
        }
        Ok(())
    }

    /// Removes the panel of this id with all it holds.
    pub async fn remove_panel(&self, id: &str, origin: Origin) -> Result<(), FleetError> {
        let removed = self.coordinator.send(RemovePanel(id.to_owned(), origin)).await?;
        Ok(removed.ok_or_else(|| FleetError::no_panel(id))?.await??)
    }

    /// Sends everything that is desired to a remote panel's device again, whatever it has confirmed.
    pub async fn resync_panel(&self, id: &str, origin: Origin) -> Result<Entry, FleetError> {
        let panel = self.panel(id)?;
        if !panel.settings.is_device() {
            return Err(FleetError::Conflict(format!(
                "panel {id} is embedded: this server is the panel, and nothing is sent"
            )));
        }
        let resynced = self.coordinator.send(ResyncPanel(id.to_owned(), origin)).await?;
        resynced.ok_or_else(|| FleetError::no_panel(id))?.await??;
        Ok(panel)
    }
}
