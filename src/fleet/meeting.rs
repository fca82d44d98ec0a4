//! Meeting the device of a remote panel before the panel is added or changed.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::FleetError;
use super::fields::PanelFields;
use crate::batch::Body;
use crate::batch::item::{ItemId, Kind};
use crate::clock;
use crate::coordinator::fleet::NewPanel;
use crate::identifier::parse;
use crate::identifier::rule::Kind::Face;
use crate::panel::device::ask::DeviceItem;
use crate::panel::device::line::{Lines, Timeouts};
use crate::panel::device::{Device, Trouble};
use crate::panel::settings::ApiVersion;
use crate::store::tables::DeviceRecord;

/// Whether a remote panel's device is asked, and what is done with what it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Introduction {
    /// The device is not asked: it may be offline, or that of another panel.
    pub force: bool,
    /// What the device holds by link_id is taken as desired, so that nothing is pushed.
    pub adopt: bool,
}

impl Introduction {
    /// The same where the fields of the panel say that its device is not asked, too.
    pub(super) fn or_forced_by(self, fields: &PanelFields) -> Self {
        Self { force: self.force || fields.force, ..self }
    }
}

/// Asks a remote panel's device what it is, logs in, and reads what it holds where that is to be adopted.
pub(super) async fn meet(
    timeouts: Timeouts,
    panel: &mut NewPanel,
    introduction: Introduction,
    version_given: bool,
) -> Result<(), FleetError> {
    let Some(remote) = panel.settings.remote.clone() else {
        if introduction.adopt {
            return Err(FleetError::invalid(
                "/driver",
                "only a panel with the driver http has a device to adopt from",
            ));
        }
        return Ok(());
    };
    if introduction.force {
        if introduction.adopt {
            return Err(FleetError::Unreadable(
                "either force or adopt: what a device holds can only be asked".into(),
            ));
        }
        return Ok(());
    }
    let Some(password) = panel.password_md5.clone() else {
        return Err(FleetError::invalid(
            "/password",
            "a remote panel needs its account's password; with force it can be set later",
        ));
    };
    let (id, dialect) = (panel.settings.id.as_str(), panel.settings.dialect);
    let mut device = Device::new(id, dialect, remote, password, Rc::new(Lines::new(timeouts)));
    let hint = "add it with --force if that is all right for now";
    let info =
        device.info().await.map_err(|trouble| FleetError::invalid("/url", format!("{trouble}; {hint}")))?;
    device.log_in().await.map_err(|trouble| {
        let path = match &trouble {
            Trouble::UnknownCall(..) => "/api",
            trouble if trouble.needs_a_person() => "/password",
            _ => "/url",
        };
        let detail = match &trouble {
            Trouble::WrongPassword(_) => "the panel refuses the user name or the password".to_owned(),
            Trouble::NotAdministrator(_) => "the account is not an administrator of the panel".to_owned(),
            trouble => trouble.to_string(),
        };
        FleetError::invalid(path, format!("{detail}; {hint}"))
    })?;
    if let Some(version) = ApiVersion::said(&info.api_version).filter(|_| !version_given) {
        panel.settings.set_api_version(version);
    }
    let mut record = DeviceRecord { last_seen_ms: clock::now_ms(), ..DeviceRecord::default() };
    info.put_into(&mut record);
    if introduction.adopt {
        let unreadable = |trouble: Trouble| FleetError::invalid("/url", trouble.to_string());
        let profiles = device.held(&[Kind::Profile], true).await.map_err(unreadable)?;
        record.last_read_ms = Some(record.last_seen_ms);
        record.unlinked = profiles.unlinked;
        let mut items = profiles.items;
        if panel.settings.identifier_api().is_some() {
            let identifiers = device.held(&[Kind::Identifier], true).await.map_err(unreadable)?;
            record.unlinked += identifiers.unlinked;
            record.told_identifiers = identifiers.identifiers;
            items.extend(identifiers.items);
        }
        panel.adopted = adopted(items)?;
        record.identifiers = panel.adopted.iter().any(|(item, _)| item.kind == Kind::Identifier);
    }
    device.log_out().await;
    panel.device = Some(record);
    Ok(())
}

/// What a device holds by link_id, in link_id order.
fn adopted(items: Vec<DeviceItem>) -> Result<Vec<(ItemId, Body)>, FleetError> {
    let mut adopted = BTreeMap::new();
    for DeviceItem { kind, link_id, name, body, .. } in items {
        let Some(link_id) = link_id else { continue };
        let refuse = |why: &str| {
            let kind = kind.as_str();
            let why = format!("the {kind} {link_id} ({name:?}) on the device {why}; change it there first");
            Err(FleetError::invalid("/url", why))
        };
        let Some(body) = body else { return refuse("cannot be read") };
        if body.credential().is_some_and(|credential| credential.kind() == Face) {
            return refuse("is a face, whose photo no device gives back");
        }
        if adopted.insert(ItemId { kind, link_id }, body).is_some() {
            return refuse("has a link_id that another one has there too");
        }
    }
    for (item, body) in &adopted {
        if item.kind == Kind::Identifier
            && let Ok(identifier) = parse::kept(body.json().as_bytes())
            && let Some(missing) = identifier
                .profiles
                .as_slice()
                .iter()
                .find(|link| !adopted.contains_key(&ItemId::profile(**link)))
        {
            let why = format!(
                "the {item} on the device names the profile {missing}, which it does not hold; change it there first"
            );
            return Err(FleetError::invalid("/url", why));
        }
    }
    Ok(adopted.into_iter().collect())
}
