//! Who may open, over the fleet: the identifiers of a panel, and over all panels by link_id.
//!
//! What is given here holds whole numbers. Who shows it shows no more than [`Credential::masked`] does, unless one was
//! asked for by itself and that stands in the audit ([`Fleet::reveal_identifier`], [`Fleet::photo_of_identifier`]).

use std::collections::{BTreeSet, HashMap};

use super::held::{self, Holder, ItemState, LISTED, RefusingPanel, StateCounts};
use super::{Fleet, FleetError, Page, profiles};
use crate::batch::item::{ItemId, Kind};
use crate::batch::selector::Selector;
use crate::coordinator::Target;
use crate::coordinator::register::{Entry, Register};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::photo::{FaceDigest, Photo};
use crate::identifier::sentence::sentence;
use crate::panel::Origin;
use crate::panel::settings::Zone;
use crate::profile::LinkId;
use crate::store::read::{Snapshot, StoredItem};
use crate::store::row::{Reported, RowName};
use crate::store::{PanelNo, StoreError, identifier_in};

/// An identifier on one panel.
#[derive(Debug)]
pub struct PanelIdentifier {
    /// Null for one that was made by uid.
    pub link_id: Option<LinkId>,
    /// The panel's own number for it.
    pub uid: u32,
    /// How it stands there.
    pub state: ItemState,
    /// Why it is rejected, in the panel's words.
    pub extended_info: Option<String>,
    /// 1 when created, one more at each change.
    pub revision: u32,
    /// What it is, in words and in the panel's zone.
    pub sentence: String,
    /// What it says.
    pub identifier: Identifier,
}

impl PanelIdentifier {
    /// By what it is known on its panel.
    pub fn name(&self) -> RowName {
        let by_uid = RowName::Uid(Kind::Identifier, self.uid);
        self.link_id.map_or(by_uid, |link| RowName::Link(ItemId::identifier(link)))
    }
}

/// An identifier over the fleet.
#[derive(Debug)]
pub struct FleetIdentifier {
    /// Which identifier.
    pub link_id: LinkId,
    /// As most panels hold it; none where all refuse it.
    pub identifier: Option<Identifier>,
    /// How many panels hold it.
    pub panels: u64,
    /// How many different things they hold.
    pub versions: usize,
    /// In which states.
    pub states: StateCounts,
}

/// An identifier over the fleet, version by version.
#[derive(Debug)]
pub struct FleetIdentifierVersions {
    /// Which identifier.
    pub link_id: LinkId,
    /// How many panels hold it.
    pub panels: u64,
    /// In which states.
    pub states: StateCounts,
    /// What they hold, the most frequent first; more than one means that panels differ.
    pub versions: Vec<IdentifierVersion>,
    /// Which panels refuse it, and why; the first thousand. An embedded one that holds it has refused a change to it.
    pub refused: Vec<RefusingPanel>,
}

/// One of the things that panels hold.
#[derive(Debug)]
pub struct IdentifierVersion {
    /// What it says.
    pub identifier: Identifier,
    /// The same in words, in [`IdentifierVersion::zone`].
    pub sentence: String,
    /// That of the first panel.
    pub zone: Zone,
    /// The names of the profiles that bind it, as far as the first panel holds them.
    pub names: HashMap<LinkId, String>,
    /// How many panels hold it.
    pub count: usize,
    /// Which ones; the first thousand.
    pub doors: Vec<Door>,
}

/// A panel that holds an identifier.
#[derive(Debug)]
pub struct Door {
    /// Which panel.
    pub panel: String,
    /// How it stands there.
    pub state: ItemState,
}

/// Panels that an error names at most.
const NAMED: usize = 5;

impl Fleet {
    /// At most `limit` identifiers that a panel should hold, behind one of them: those with a link_id in its order, then
    /// those made by uid.
    pub async fn identifiers_of(
        &self,
        panel: Entry,
        after: Option<RowName>,
        limit: usize,
    ) -> Result<Page<PanelIdentifier, RowName>, FleetError> {
        let page = self.read(move |snapshot| {
            let wanted = snapshot.items(panel.number, Kind::Identifier, after, limit + 1)?;
            let rows = on_panel(snapshot, &panel, wanted)?;
            Ok::<_, StoreError>(Page::cut(rows, limit, PanelIdentifier::name))
        });
        page.await
    }

    /// At most `limit` identifiers over the fleet, or over the panels that a selector picks, behind one, by link_id.
    pub async fn page_of_identifiers(
        &self,
        selector: Option<Selector>,
        after: Option<LinkId>,
        limit: usize,
    ) -> Result<Page<FleetIdentifier, LinkId>, FleetError> {
        let among: Option<BTreeSet<PanelNo>> = match selector {
            None => None,
            Some(selector) => {
                let panels = self.targets(&Target::Selector(selector))?;
                Some(panels.iter().map(|panel| panel.number).collect())
            }
        };
        let page = self.read(move |snapshot| {
            let found = held::over_fleet(snapshot, Kind::Identifier, among.as_ref(), after, limit + 1)?;
            let mut rows = Vec::with_capacity(found.len());
            for (link_id, over) in found {
                rows.push(FleetIdentifier {
                    link_id,
                    identifier: over.most().map(|body| read_body(snapshot, body)).transpose()?,
                    panels: over.panels(),
                    versions: over.count_different(|body| snapshot.body(body))?,
                    states: over.states,
                });
            }
            Ok::<_, StoreError>(Page::cut(rows, limit, |row| row.link_id))
        });
        page.await
    }

    /// The identifier of this link_id over the fleet.
    pub async fn identifier(&self, link_id: &str) -> Result<FleetIdentifierVersions, FleetError> {
        let no_identifier = || FleetError::NotFound(format!("identifier {link_id} on any panel"));
        let link: LinkId = link_id.parse().map_err(|_| no_identifier())?;
        let register = self.register.now();
        let found = self.read(move |snapshot| match versions(snapshot, &register, link)? {
            Some(found) => Ok(Ok(found)),
            None => Ok::<_, StoreError>(Err(not_confirmed_gone(snapshot, &register, link)?)),
        });
        found.await?.map_err(|panels| match panels.as_slice() {
            [] => no_identifier(),
            panels => {
                let some = panels.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if panels.len() > NAMED { ", …" } else { "" };
                FleetError::NotFound(format!(
                    "identifier {link_id} on any panel any more; devices that have not confirmed its deletion: {some}{more}"
                ))
            }
        })
    }

    /// [`Fleet::identifier`] for who is shown its number whole: that stands in the audit before it is given.
    pub async fn reveal_identifier(
        &self,
        link_id: &str,
        origin: &Origin,
    ) -> Result<FleetIdentifierVersions, FleetError> {
        let found = self.identifier(link_id).await?;
        let audit = origin.audit("identifier.reveal", found.link_id.to_string());
        self.store.change(move |tables| tables.audit(&audit)).await?;
        Ok(found)
    }

    /// The photo that a face is known by, where it is kept: to be sent again, and shown to nobody.
    pub async fn photo_to_send(&self, face: FaceDigest) -> Result<Option<Photo>, FleetError> {
        self.read(move |snapshot| snapshot.photo(face)).await
    }

    /// The photo of a face as most panels hold it, for who is shown it: that stands in the audit before it is given.
    pub async fn photo_of_identifier(&self, link_id: &str, origin: &Origin) -> Result<Photo, FleetError> {
        let found = self.identifier(link_id).await?;
        let no_photo = || FleetError::NotFound(format!("photo of identifier {link_id}"));
        let face = match found.versions.first().map(|version| &version.identifier.credential) {
            Some(Credential::Face(face)) => *face,
            _ => return Err(no_photo()),
        };
        let photo = self.read(move |snapshot| snapshot.photo(face)).await?.ok_or_else(no_photo)?;
        let audit = origin.audit("identifier.reveal", format!("{} (photo)", found.link_id));
        self.store.change(move |tables| tables.audit(&audit)).await?;
        Ok(photo)
    }
}

/// A panel's stored identifiers with what is known of them.
pub fn on_panel(
    snapshot: &Snapshot,
    panel: &Entry,
    identifiers: Vec<StoredItem>,
) -> Result<Vec<PanelIdentifier>, StoreError> {
    if identifiers.is_empty() {
        return Ok(Vec::new());
    }
    let names = profiles::names_on(snapshot, panel.number)?;
    identifiers
        .into_iter()
        .map(|stored| {
            let identifier = identifier_in(stored.json.as_bytes())?;
            let link_id = stored.link_id();
            let known = match link_id {
                Some(link) => snapshot.reported(panel.number, ItemId::identifier(link))?,
                None => None,
            };
            Ok(PanelIdentifier {
                link_id,
                uid: stored.row.uid,
                state: ItemState::of(known.as_ref()),
                extended_info: match known {
                    Some(Reported::Refused(words)) => Some(words.into()),
                    _ => None,
                },
                revision: stored.row.revision,
                sentence: sentence(&identifier, panel.settings.zone.rules(), |id| names.get(&id).cloned()),
                identifier,
            })
        })
        .collect()
}

/// Panels whose devices perhaps hold an identifier that they should not hold any more.
fn not_confirmed_gone(
    snapshot: &Snapshot,
    register: &Register,
    link_id: LinkId,
) -> Result<Vec<String>, StoreError> {
    let mut panels = Vec::new();
    for panel in register.select(None, None).filter(|panel| panel.settings.is_device()) {
        if snapshot.reported(panel.number, ItemId::identifier(link_id))?.is_some() {
            panels.push(panel.settings.id.to_string());
        }
        if panels.len() > NAMED {
            break;
        }
    }
    Ok(panels)
}

fn versions(
    snapshot: &Snapshot,
    register: &Register,
    link_id: LinkId,
) -> Result<Option<FleetIdentifierVersions>, StoreError> {
    let Some(held::OnPanels { bodies, states, refused }) =
        held::on_panels(snapshot, ItemId::identifier(link_id))?
    else {
        return Ok(None);
    };
    let held = bodies.values().map(|holders| holders.len() as u64).sum();
    // The same text may stand under more than one number.
    let mut by_text: HashMap<Box<str>, Vec<Holder>> = HashMap::with_capacity(bodies.len());
    for (body, holders) in bodies {
        by_text.entry(snapshot.body(body)?).or_default().extend(holders);
    }
    let mut versions = Vec::with_capacity(by_text.len());
    for (text, mut holders) in by_text {
        holders.sort_unstable_by_key(|holder| holder.panel);
        versions.push((holders[0].panel, version(snapshot, register, &text, &holders)?));
    }
    versions.sort_by_key(|(first, version)| (std::cmp::Reverse(version.count), *first));
    let versions = versions.into_iter().map(|(_, version)| version).collect();
    Ok(Some(FleetIdentifierVersions { link_id, panels: held, states, versions, refused }))
}

fn version(
    snapshot: &Snapshot,
    register: &Register,
    text: &str,
    holders: &[Holder],
) -> Result<IdentifierVersion, StoreError> {
    let identifier = identifier_in(text.as_bytes())?;
    let first = holders.first().and_then(|first| register.by_number(first.panel));
    let zone = first.map_or_else(Zone::utc, |panel| panel.settings.zone.clone());
    let mut names = HashMap::new();
    if let Some(panel) = first {
        for id in identifier.profiles.as_slice() {
            if let Some(row) = snapshot.row(panel.number, RowName::Link(ItemId::profile(*id)))? {
                let profile = profiles::read(&snapshot.body(row.body)?)?;
                names.insert(*id, profile.name.as_str().to_owned());
            }
        }
    }
    let mut doors = Vec::new();
    for holder in holders.iter().take(LISTED) {
        let panel = snapshot.panel_name(holder.panel)?.unwrap_or_default();
        doors.push(Door { panel, state: holder.state });
    }
    let sentence = sentence(&identifier, zone.rules(), |id| names.get(&id).cloned());
    Ok(IdentifierVersion { identifier, sentence, zone, names, count: holders.len(), doors })
}

fn read_body(snapshot: &Snapshot, body: u64) -> Result<Identifier, StoreError> {
    identifier_in(snapshot.body(body)?.as_bytes())
}
