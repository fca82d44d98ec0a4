//! What the fleet holds: per panel, and over all panels by link_id.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::held::{self, Holder, ItemState, LISTED, RefusingPanel, StateCounts};
use super::{Fleet, FleetError, Page};
use crate::batch::item::{ItemId, Kind};
use crate::clock;
use crate::coordinator::register::Entry;
use crate::profile::sentence::sentence;
use crate::profile::{LinkId, TimeProfile, ical, parse, wire};
use crate::store::read::{Snapshot, StoredItem};
use crate::store::row::{Reported, RowName};
use crate::store::{PanelNo, StoreError};

/// A profile on one panel.
#[derive(Debug)]
pub struct PanelProfile {
    /// Null for a profile that was made by uid.
    pub link_id: Option<LinkId>,
    /// The panel's own number for it.
    pub uid: u32,
    /// How it stands there.
    pub state: ItemState,
    /// Why it is rejected, in the panel's words.
    pub extended_info: Option<String>,
    /// 1 when created, one more at each change.
    pub revision: u32,
    /// When it opens the door, in words and in the panel's zone.
    pub sentence: String,
    /// What it says, as JSON.
    pub profile: Box<RawValue>,
    /// What the device keeps instead, as it says it.
    pub device: Option<Box<RawValue>>,
}

impl PanelProfile {
    /// By what it is known on its panel.
    pub fn name(&self) -> RowName {
        self.link_id
            .map_or(RowName::Uid(Kind::Profile, self.uid), |link| RowName::Link(ItemId::profile(link)))
    }
}

/// A profile over the fleet.
#[derive(Debug)]
pub struct FleetProfile {
    /// Which profile.
    pub link_id: LinkId,
    /// Its name on most panels; empty where none holds it, since all refuse it.
    pub name: String,
    /// How many panels hold it.
    pub panels: u64,
    /// How many different things they hold, in whatever words.
    pub versions: usize,
    /// In which states.
    pub states: StateCounts,
}

/// A profile over the fleet, version by version.
#[derive(Debug)]
pub struct FleetProfileVersions {
    /// Which profile.
    pub link_id: LinkId,
    /// How many panels hold it.
    pub panels: u64,
    /// In which states.
    pub states: StateCounts,
    /// What they hold, the most frequent first; more than one means that panels differ.
    pub versions: Vec<ProfileVersion>,
    /// Which panels refuse it, and why; the first thousand. An embedded one that holds it has refused a change to it.
    pub refused: Vec<RefusingPanel>,
}

/// One of the things that panels hold.
#[derive(Debug)]
pub struct ProfileVersion {
    /// In the words that most of them hold it in.
    pub profile: Box<RawValue>,
    /// How many panels hold it.
    pub count: usize,
    /// Which ones; the first thousand.
    pub panels: Vec<String>,
}

impl Fleet {
    /// At most `limit` profiles that a panel should hold, behind one of them: those with a link_id in its order, then
    /// those made by uid.
    pub async fn profiles_of(
        &self,
        panel: Entry,
        after: Option<RowName>,
        limit: usize,
    ) -> Result<Page<PanelProfile, RowName>, FleetError> {
        let page = self.read(move |snapshot| {
            let wanted = snapshot.items(panel.number, Kind::Profile, after, limit + 1)?;
            let rows = on_panel(snapshot, &panel, wanted)?;
            Ok::<_, StoreError>(Page::cut(rows, limit, PanelProfile::name))
        });
        page.await
    }

    /// The windows of all profiles of a panel, as an iCalendar file.
    pub async fn calendar_of(&self, panel: Entry) -> Result<String, FleetError> {
        let text = self.read(move |snapshot| {
            let zone = &panel.settings.zone;
            let mut profiles = Vec::new();
            for stored in snapshot.profiles(panel.number)? {
                let uid = match stored.link_id() {
                    Some(link_id) => link_id.to_string(),
                    None => format!("{}-{}", panel.settings.id, stored.row.uid),
                };
                profiles.push((uid, read(&stored.json)?));
            }
            let entries: Vec<_> =
                profiles.iter().map(|(uid, profile)| ical::Entry { uid: uid.clone(), profile }).collect();
            let stamp = clock::now_ms() / 1000;
            let name = panel.settings.id.as_str();
            Ok::<_, StoreError>(ical::calendar(name, zone.name(), zone.rules(), stamp, &entries))
        });
        text.await
    }

    /// At most `limit` profiles over the fleet behind one, by link_id.
    pub async fn page_of_profiles(
        &self,
        after: Option<LinkId>,
        limit: usize,
    ) -> Result<Page<FleetProfile, LinkId>, FleetError> {
        self.read(move |snapshot| fleet_profiles(snapshot, after, limit)).await
    }

    /// The profile of this link_id over the fleet.
    pub async fn profile(&self, link_id: &str) -> Result<FleetProfileVersions, FleetError> {
        let no_profile = || FleetError::NotFound(format!("profile {link_id} on any panel"));
        let link: LinkId = link_id.parse().map_err(|_| no_profile())?;
        self.read(move |snapshot| versions(snapshot, link)).await?.ok_or_else(no_profile)
    }
}

/// A panel's stored profiles with what is known of them.
pub fn on_panel(
    snapshot: &Snapshot,
    panel: &Entry,
    profiles: Vec<StoredItem>,
) -> Result<Vec<PanelProfile>, StoreError> {
    profiles
        .into_iter()
        .map(|stored| {
            let sentence = sentence(&read(&stored.json)?, panel.settings.zone.rules());
            let profile = raw(stored.json.to_string())?;
            let (uid, revision) = (stored.row.uid, stored.row.revision);
            let link_id = stored.link_id();
            let known = match link_id {
                Some(link) => snapshot.reported(panel.number, ItemId::profile(link))?,
                None => None,
            };
            let state = ItemState::of(known.as_ref());
            let (extended_info, device) = match known {
                Some(Reported::Refused(words)) => (Some(words.into()), None),
                // It was too long to keep otherwise.
                Some(Reported::KeptOtherwise(kept)) => (None, RawValue::from_string(kept.json.into()).ok()),
                _ => (None, None),
            };
            Ok(PanelProfile { link_id, uid, state, extended_info, revision, sentence, profile, device })
        })
        .collect()
}

/// The names of a panel's profiles.
pub fn names_on(snapshot: &Snapshot, panel: PanelNo) -> Result<HashMap<LinkId, String>, StoreError> {
    let profiles = snapshot.profiles(panel)?.into_iter();
    let named = profiles.filter_map(|stored| Some((stored.link_id()?, stored.json)));
    named.map(|(link, json)| Ok((link, read(&json)?.name.as_str().to_owned()))).collect()
}

/// At most `limit` profiles over the fleet behind one, by link_id.
fn fleet_profiles(
    snapshot: &Snapshot,
    after: Option<LinkId>,
    limit: usize,
) -> Result<Page<FleetProfile, LinkId>, StoreError> {
    let found = held::over_fleet(snapshot, Kind::Profile, None, after, limit + 1)?;
    let mut rows = Vec::with_capacity(found.len());
    for (link_id, over) in found {
        rows.push(FleetProfile {
            link_id,
            name: over.most().map(|most| name(snapshot, most)).transpose()?.unwrap_or_default(),
            panels: over.panels(),
            versions: over.count_different(|body| Ok(wire::meaning(&read(&snapshot.body(body)?)?)))?,
            states: over.states,
        });
    }
    Ok(Page::cut(rows, limit, |row| row.link_id))
}

fn name(snapshot: &Snapshot, body: u64) -> Result<String, StoreError> {
    Ok(read(&snapshot.body(body)?)?.name.as_str().to_owned())
}

fn versions(snapshot: &Snapshot, link_id: LinkId) -> Result<Option<FleetProfileVersions>, StoreError> {
    let Some(held::OnPanels { bodies, states, refused }) =
        held::on_panels(snapshot, ItemId::profile(link_id))?
    else {
        return Ok(None);
    };
    let panels = bodies.values().map(|holders| holders.len() as u64).sum();
    let mut by_meaning: Vec<Vec<(Box<str>, Vec<Holder>)>> = Vec::new();
    let mut known = HashMap::new();
    for (body, holders) in bodies {
        let text = snapshot.body(body)?;
        let at = *known.entry(wire::meaning(&read(&text)?)).or_insert(by_meaning.len());
        if at == by_meaning.len() {
            by_meaning.push(Vec::new());
        }
        by_meaning[at].push((text, holders));
    }
    let mut versions = Vec::with_capacity(by_meaning.len());
    for mut wordings in by_meaning {
        wordings.sort_by_key(|(_, holders)| std::cmp::Reverse(holders.len()));
        let text = wordings.first().map(|(text, _)| text.to_string()).unwrap_or_default();
        let mut holders: Vec<_> = wordings.into_iter().flat_map(|(_, holders)| holders).collect();
        holders.sort_unstable_by_key(|holder| holder.panel);
        let mut names = Vec::new();
        for holder in holders.iter().take(LISTED) {
            names.push(snapshot.panel_name(holder.panel)?.unwrap_or_default());
        }
        versions.push(ProfileVersion { profile: raw(text)?, count: holders.len(), panels: names });
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.count));
    Ok(Some(FleetProfileVersions { link_id, panels, states, versions, refused }))
}

/// A stored profile.
pub fn read(json: &str) -> Result<TimeProfile, StoreError> {
    parse::stored(json.as_bytes()).map_err(|_| StoreError::Corrupt("body"))
}

fn raw(json: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json).map_err(|_| StoreError::Corrupt("body"))
}
