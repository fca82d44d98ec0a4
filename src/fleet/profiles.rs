//! What the fleet holds: per panel, and over all panels by link_id.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::value::RawValue;

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
    pub state: ProfileState,
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

/// How a profile stands on a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileState {
    /// The panel holds it.
    Applied,
    /// Its device has not confirmed it.
    Pending,
    /// It is refused. On an embedded panel the last change to it was: it stands as it stood before.
    Rejected,
    /// Its device was found to hold something else.
    Drifted,
    /// Its device confirms it and keeps something else.
    KeptOtherwise,
}

impl ProfileState {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Drifted => "drifted",
            Self::KeptOtherwise => "kept_otherwise",
        }
    }
}

/// How many panels hold a profile in which state.
#[derive(Debug, Default, Clone, Copy)]
pub struct StateCounts {
    /// Confirmed by the panel.
    pub applied: u64,
    /// On its way.
    pub pending: u64,
    /// Refused by the panel.
    pub rejected: u64,
    /// Found to be different on the device.
    pub drifted: u64,
}

impl StateCounts {
    /// Of a profile that is not on a panel, because it refuses it.
    fn refused(&mut self) {
        self.rejected += 1;
    }

    /// Of a profile that is desired of a panel whose device this is known of.
    fn count(&mut self, reported: &Reported) {
        let count = match reported {
            Reported::Held(_) => return,
            Reported::Unknown => &mut self.pending,
            Reported::Refused(_) => &mut self.rejected,
            Reported::Drifted(_) | Reported::KeptOtherwise(_) => &mut self.drifted,
        };
        *count += 1;
        self.applied = self.applied.saturating_sub(1);
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

/// A panel that refuses a profile.
#[derive(Debug)]
pub struct RefusingPanel {
    /// Which panel.
    pub panel: String,
    /// Why, in its words.
    pub extended_info: String,
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

/// Panels listed per version at most.
const LISTED: usize = 1000;

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
            let profiles = snapshot.profiles(panel.number)?.into_iter();
            // Behind the last one that was shown, which may be gone by now.
            let wanted =
                profiles.filter(|profile| after.is_none_or(|after| profile.name > after)).take(limit + 1);
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
    profiles: impl Iterator<Item = StoredItem>,
) -> Result<Vec<PanelProfile>, StoreError> {
    profiles
        .map(|stored| {
            let sentence = sentence(&read(&stored.json)?, panel.settings.zone.rules());
            let profile = raw(stored.json.to_string())?;
            let (uid, revision) = (stored.row.uid, stored.row.revision);
            let link_id = stored.link_id();
            let known = match link_id {
                Some(link) => snapshot.reported(panel.number, ItemId::profile(link))?,
                None => None,
            };
            let mut device = None;
            let (state, extended_info) = match known {
                None | Some(Reported::Held(_)) => (ProfileState::Applied, None),
                Some(Reported::Unknown) => (ProfileState::Pending, None),
                Some(Reported::Refused(words)) => (ProfileState::Rejected, Some(words.into())),
                Some(Reported::Drifted(_)) => (ProfileState::Drifted, None),
                Some(Reported::KeptOtherwise(kept)) => {
                    device = RawValue::from_string(kept.json.into()).ok(); // it was too long to keep otherwise
                    (ProfileState::KeptOtherwise, None)
                }
            };
            Ok(PanelProfile { link_id, uid, state, extended_info, revision, sentence, profile, device })
        })
        .collect()
}

/// At most `limit` profiles over the fleet behind one, by link_id.
fn fleet_profiles(
    snapshot: &Snapshot,
    after: Option<LinkId>,
    limit: usize,
) -> Result<Page<FleetProfile, LinkId>, StoreError> {
    // By link_id, then by body: how many panels.
    let mut found: BTreeMap<LinkId, BTreeMap<u64, u64>> = BTreeMap::new();
    snapshot.each_linked(|_, item, row| {
        let Some(link) = item.profile_link() else { return };
        if after.is_none_or(|after| link > after) {
            *found.entry(link).or_default().entry(row.body).or_default() += 1;
            if found.len() > limit + 1 {
                found.pop_last();
            }
        }
    })?;
    // What every panel refuses is nowhere, and somebody wanted it all the same.
    snapshot.each_reported_anywhere(|_, item, known| {
        let Some(link) = item.profile_link() else { return Ok(()) };
        if matches!(known, Reported::Refused(_)) && after.is_none_or(|after| link > after) {
            found.entry(link).or_default();
            if found.len() > limit + 1 {
                found.pop_last();
            }
        }
        Ok(())
    })?;
    let mut states: BTreeMap<LinkId, StateCounts> = BTreeMap::new();
    for (link, bodies) in &found {
        states.insert(*link, StateCounts { applied: bodies.values().sum(), ..StateCounts::default() });
    }
    snapshot.each_reported_anywhere(|panel, item, known| {
        if let Some(states) = item.profile_link().and_then(|link| states.get_mut(&link))
            && !matches!(known, Reported::Held(_))
        {
            if snapshot.row(panel, RowName::Link(item))?.is_some() {
                states.count(&known);
            } else if matches!(known, Reported::Refused(_)) {
                states.refused();
            }
        }
        Ok(())
    })?;
    let mut rows = Vec::with_capacity(found.len());
    for (link_id, bodies) in found {
        let most = bodies.iter().max_by_key(|(_, panels)| **panels).map(|(body, _)| *body);
        let panels = bodies.values().sum();
        rows.push(FleetProfile {
            link_id,
            name: most.map(|most| name(snapshot, most)).transpose()?.unwrap_or_default(),
            panels,
            versions: count_meanings(snapshot, bodies.keys())?,
            states: states.remove(&link_id).unwrap_or_default(),
        });
    }
    Ok(Page::cut(rows, limit, |row| row.link_id))
}

/// Bodies of one profile that are compared by what they say; where there are more, hardly two of them say the same.
const COMPARED: usize = 64;

/// How many different things these bodies say, in whatever words.
fn count_meanings<'b>(
    snapshot: &Snapshot,
    bodies: impl ExactSizeIterator<Item = &'b u64>,
) -> Result<usize, StoreError> {
    let all = bodies.len();
    if all < 2 {
        return Ok(all);
    }
    let mut meanings = HashSet::new();
    for body in bodies.take(COMPARED) {
        meanings.insert(wire::meaning(&read(&snapshot.body(*body)?)?));
    }
    Ok(meanings.len() + all.saturating_sub(COMPARED))
}

fn name(snapshot: &Snapshot, body: u64) -> Result<String, StoreError> {
    Ok(read(&snapshot.body(body)?)?.name.as_str().to_owned())
}

fn versions(snapshot: &Snapshot, link_id: LinkId) -> Result<Option<FleetProfileVersions>, StoreError> {
    let mut bodies: BTreeMap<u64, Vec<PanelNo>> = BTreeMap::new();
    let (mut states, mut refused) = (StateCounts::default(), Vec::new());
    let item = ItemId::profile(link_id);
    snapshot.each_panel(|panel, _| {
        let row = snapshot.row(panel, RowName::Link(item))?;
        let known = snapshot.reported(panel, item)?;
        if let Some(row) = row {
            bodies.entry(row.body).or_default().push(panel);
            states.applied += 1;
        }
        match &known {
            Some(known) if row.is_some() => states.count(known),
            Some(Reported::Refused(_)) => states.refused(),
            _ => {}
        }
        if let Some(Reported::Refused(words)) = known
            && refused.len() < LISTED
        {
            let panel = snapshot.panel_name(panel)?.unwrap_or_default();
            refused.push(RefusingPanel { panel, extended_info: words.into() });
        }
        Ok::<_, StoreError>(())
    })?;
    if bodies.is_empty() && refused.is_empty() {
        return Ok(None);
    }
    let panels = bodies.values().map(|holders| holders.len() as u64).sum();
    let mut by_meaning: Vec<Vec<(Box<str>, Vec<PanelNo>)>> = Vec::new();
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
        holders.sort_unstable();
        let mut names = Vec::new();
        for panel in holders.iter().take(LISTED) {
            names.push(snapshot.panel_name(*panel)?.unwrap_or_default());
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
