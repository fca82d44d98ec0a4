//! What one panel should hold of time profiles and identifiers, and what is known of them on its device.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Confirmed;
use super::answers::{Answers, Place};
use crate::batch::item::{ItemId, Kind};
use crate::panel::settings::Settings;
use crate::profile::LinkId;
use crate::store::read::Snapshot;
use crate::store::row::{Drift, Reported, RowName};
use crate::store::{PanelNo, StoreError};

/// What one panel should hold, as far as a question needs it.
pub struct Held {
    /// The bodies of its time profiles.
    pub(super) profiles: BTreeMap<LinkId, u64>,
    /// Its zone and these.
    pub(super) desired: Place,
    /// What its device holds; none of an embedded panel, which holds what it should.
    pub(super) device: Option<Device>,
    /// How often identifiers of an embedded panel have opened, where that counts.
    pub(super) used: HashMap<RowName, u32>,
}

/// An identifier with the body that its panel should hold of it. One without is perhaps still on the device.
pub type HeldIdentifier = (RowName, Option<u64>);

/// What is known of a panel's device.
pub(super) struct Device {
    /// The zone and the time profiles that it perhaps holds: each place has one body of each, and each body is in one.
    pub places: Vec<Place>,
    /// Time profiles under whose link_ids it holds something else, nobody knows what.
    pub changed: BTreeSet<LinkId>,
    /// What it says of its zone, where it shows another time than the panel's: it opens its door by that.
    pub other_zone: Option<Box<str>>,
    known: HashMap<ItemId, Known>,
}

/// What is known of an item on a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The device has confirmed what is desired.
    Same,
    /// What is desired is on its way. The device perhaps holds one of these bodies.
    Pending(Vec<u64>),
    /// The device refuses what is desired, in these words, and perhaps holds one of these bodies.
    Refused(Box<str>, Vec<u64>),
    /// The device does not hold it any more.
    Gone,
    /// The device holds something else.
    Changed,
    /// The device holds something that nobody asked for.
    Extra,
}

impl Known {
    fn of(snapshot: &Snapshot, panel: PanelNo, item: ItemId, reported: Reported) -> Result<Self, StoreError> {
        Ok(match reported {
            Reported::Held(_) => Self::Same,
            Reported::Unknown => Self::Pending(snapshot.last_held(panel, item)?),
            Reported::Refused(words) => Self::Refused(words, snapshot.last_held(panel, item)?),
            Reported::Drifted(Drift::Missing) => Self::Gone,
            Reported::Drifted(Drift::Changed) | Reported::KeptOtherwise(_) => Self::Changed,
            Reported::Drifted(Drift::Extra) => Self::Extra,
        })
    }

    /// Whether the device does what is desired.
    pub fn confirmed(&self) -> Confirmed {
        match self {
            Self::Same => Confirmed::Yes,
            Self::Pending(_) => Confirmed::Unknown,
            Self::Refused(..) | Self::Gone | Self::Changed | Self::Extra => Confirmed::No,
        }
    }

    /// The bodies any of which the device perhaps holds, where this is desired; none where nobody knows.
    pub fn bodies(&self, desired: Option<u64>) -> Option<Vec<u64>> {
        match self {
            Self::Same => Some(desired.into_iter().collect()),
            // What is on its way may have come.
            Self::Pending(before) => Some(before.iter().copied().chain(desired).collect()),
            Self::Refused(_, before) => Some(before.clone()),
            Self::Gone => Some(Vec::new()),
            Self::Changed | Self::Extra => None,
        }
    }

    /// Whether the device holds something of it, as far as is known, where nothing is desired.
    fn is_perhaps_there(&self) -> bool {
        matches!(self, Self::Pending(_) | Self::Refused(..) | Self::Changed | Self::Extra)
    }

    /// What is not confirmed, in words.
    pub fn text(&self, what: &str, is_desired: bool) -> Option<String> {
        Some(match self {
            Self::Same => return None,
            Self::Pending(_) if is_desired => format!("the device has not confirmed {what}"),
            Self::Pending(_) => format!("the device has not confirmed that it deleted {what}"),
            Self::Refused(words, _) if is_desired => format!("the device refuses {what}: {words}"),
            Self::Refused(words, _) => format!("the device refuses to delete {what}: {words}"),
            Self::Gone => format!("the device has lost {what}"),
            Self::Changed => format!("the device holds {what} otherwise"),
            Self::Extra => format!("the device holds {what}, which nobody asked for"),
        })
    }
}

impl Device {
    /// What is known of an item that is desired, or not.
    pub fn known(&self, item: ItemId, is_desired: bool) -> &Known {
        // What is neither desired nor known is not there.
        let otherwise = if is_desired { const { &Known::Pending(Vec::new()) } } else { &Known::Same };
        self.known.get(&item).unwrap_or(otherwise)
    }
}

impl Held {
    /// Of all of a panel's identifiers, which stand beside it in the order of their names.
    pub fn all(
        snapshot: &Snapshot,
        panel: PanelNo,
        settings: &Settings,
        answers: &mut Answers<'_>,
    ) -> Result<(Self, Vec<HeldIdentifier>), StoreError> {
        let (mut profiles, mut identifiers) = (BTreeMap::new(), Vec::new());
        let rows = snapshot.rows(panel)?;
        let used = snapshot.all_passes_used(panel, &rows)?;
        for (name, row) in rows {
            match (name.kind(), name.link_id()) {
                (Kind::Identifier, _) => identifiers.push((name, Some(row.body))),
                (Kind::Profile, Some(link)) => {
                    profiles.insert(link, row.body);
                }
                // Identifiers name profiles by link_id.
                (Kind::Profile, None) => {}
            }
        }
        let mut known = HashMap::new();
        if settings.is_device() {
            snapshot.each_reported(panel, |item, reported| {
                known.insert(item, Known::of(snapshot, panel, item, reported)?);
                Ok(true)
            })?;
            let there: BTreeSet<_> = identifiers.iter().map(|(name, _)| *name).collect();
            let leaving = known
                .iter()
                .filter(|(item, known)| item.kind == Kind::Identifier && known.is_perhaps_there());
            let leaving = leaving.map(|(item, _)| (RowName::Link(*item), None));
            identifiers.extend(leaving.filter(|(name, _)| !there.contains(name)));
            identifiers.sort_unstable_by_key(|(name, _)| *name);
        }
        let zone = other_zone(snapshot, panel, settings)?;
        Ok((Self { used, ..Self::new(settings, profiles, known, zone, answers) }, identifiers))
    }

    /// Of one identifier of a panel and the time profiles that it names, with the body that the panel should hold.
    pub fn of_one(
        snapshot: &Snapshot,
        panel: PanelNo,
        settings: &Settings,
        link: LinkId,
        answers: &mut Answers<'_>,
    ) -> Result<(Self, Option<u64>), StoreError> {
        let is_device = settings.is_device();
        let (mut known, mut used) = (HashMap::new(), HashMap::new());
        let mut look_at = |item: ItemId| {
            let row = snapshot.row(panel, RowName::Link(item))?;
            if is_device && let Some(reported) = snapshot.reported(panel, item)? {
                known.insert(item, Known::of(snapshot, panel, item, reported)?);
            }
            if let Some(row) = row.filter(|_| item.kind == Kind::Identifier) {
                used.insert(RowName::Link(item), snapshot.passes_used(panel, row)?);
            }
            Ok::<_, StoreError>(row.map(|row| row.body))
        };
        let item = ItemId::identifier(link);
        let desired = look_at(item)?;
        let before = if is_device { snapshot.last_held(panel, item)? } else { Vec::new() };
        let mut profiles = BTreeMap::new();
        for body in desired.into_iter().chain(before) {
            for profile in answers.identifier(body)?.profiles.as_slice() {
                if let Some(body) = look_at(ItemId::profile(*profile))? {
                    profiles.insert(*profile, body);
                }
            }
        }
        used.retain(|_, times| *times > 0);
        let zone = other_zone(snapshot, panel, settings)?;
        Ok((Self { used, ..Self::new(settings, profiles, known, zone, answers) }, desired))
    }

    fn new(
        settings: &Settings,
        profiles: BTreeMap<LinkId, u64>,
        known: HashMap<ItemId, Known>,
        other_zone: Option<Box<str>>,
        answers: &mut Answers<'_>,
    ) -> Self {
        let zone = &settings.zone;
        let desired = answers.place(zone, &profiles);
        let device = settings.is_device().then(|| {
            let mut perhaps = Vec::new();
            let leaving = known.keys().filter_map(|item| item.profile_link());
            let (places, changed) = (Vec::new(), BTreeSet::new());
            let mut device = Device { places, changed, other_zone, known: HashMap::new() };
            let links: BTreeSet<_> = profiles.keys().copied().chain(leaving).collect();
            device.known = known;
            for link in links {
                let body = profiles.get(&link).copied();
                match device.known(ItemId::profile(link), body.is_some()).bodies(body) {
                    Some(bodies) => perhaps.push((link, bodies)),
                    None => _ = device.changed.insert(link),
                }
            }
            let most = perhaps.iter().map(|(_, bodies)| bodies.len()).max().unwrap_or_default();
            device.places = (0..most.max(1))
                .map(|n| {
                    let nth = |(link, bodies): &(LinkId, Vec<u64>)| {
                        Some((*link, *bodies.get(n).or(bodies.last())?))
                    };
                    answers.place(zone, &perhaps.iter().filter_map(nth).collect())
                })
                .collect();
            device
        });
        Self { profiles, desired, device, used: HashMap::new() }
    }

    /// Whether there is anything to be told of an identifier, of which the panel should hold this body.
    pub fn has(&self, link: LinkId, body: Option<u64>) -> bool {
        let known = |device: &Device| device.known(ItemId::identifier(link), false).is_perhaps_there();
        body.is_some() || self.device.as_ref().is_some_and(known)
    }
}

/// What a panel's device says of its zone, where it shows another time than the panel's.
fn other_zone(
    snapshot: &Snapshot,
    panel: PanelNo,
    settings: &Settings,
) -> Result<Option<Box<str>>, StoreError> {
    if !settings.is_device() {
        return Ok(None);
    }
    let said = snapshot.device(panel)?.and_then(|device| device.zone);
    Ok(settings.other_zone(said.as_deref()).map(Into::into))
}
