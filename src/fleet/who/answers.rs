//! Answers that are worked out once for all panels and identifiers of one question.
//!
//! What an identifier opens depends on its body, on the bodies of the time profiles that a panel holds, and on the panel's
//! zone. Few panels differ in the latter two, so these get a number together ([`Place`]), and an answer is known again by
//! it and by the identifier's body.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::held::{Device, Held};
use super::{Confirmed, Holder, Opening};
use crate::batch::item::ItemId;
use crate::fleet::profiles::read;
use crate::identifier::Identifier;
use crate::identifier::opens::{self, Answer, Hours, When, Why};
use crate::identifier::sentence::reason;
use crate::panel::settings::{Settings, Zone};
use crate::profile::LinkId;
use crate::profile::rule::Name;
use crate::store::read::Snapshot;
use crate::store::row::RowName;
use crate::store::{StoreError, identifier_in};

/// Windows and answers that are remembered at most; then all are forgotten, and worked out again where they are needed.
const REMEMBERED: usize = 2_000_000;

/// The number of a zone together with time profiles, each under its link_id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place(usize);

/// What a question comes to for an identifier.
#[derive(Debug)]
pub struct Answered {
    /// What it comes to.
    pub answer: Answer,
    /// Why, in words and in the panel's zone. It tells no number.
    pub text: String,
    /// Whose the identifier is.
    pub holder: Holder,
    /// The time profiles that it names.
    profiles: Box<[LinkId]>,
    /// How often it may open, where that is limited.
    passes: Option<u32>,
}

/// A zone and the bodies of time profiles.
type Around = (String, Vec<(LinkId, u64)>);

/// The answers to one question.
pub struct Answers<'s> {
    snapshot: &'s Snapshot,
    when: When,
    places: HashMap<Around, Place>,
    /// By the places' numbers: the zone, and the bodies by link_id.
    around: Vec<(Zone, BTreeMap<LinkId, u64>)>,
    /// By the profile's body and the zone's name. Numbers of bodies are the store's own: nobody chooses them.
    hours: FxHashMap<u64, HashMap<String, (Name, Hours)>>,
    known: FxHashMap<(Place, u64), Arc<Answered>>,
    /// By their bodies.
    identifiers: FxHashMap<u64, Arc<Identifier>>,
    remembered: usize,
}

impl<'s> Answers<'s> {
    /// To a question about this moment or range.
    pub fn new(snapshot: &'s Snapshot, when: When) -> Self {
        let (places, around, hours, known, identifiers) = Default::default();
        Self { snapshot, when, places, around, hours, known, identifiers, remembered: 0 }
    }

    /// The number of a zone and of time profiles, each with its body.
    pub fn place(&mut self, zone: &Zone, profiles: &BTreeMap<LinkId, u64>) -> Place {
        let key = (zone.name().to_owned(), profiles.iter().map(|(link, body)| (*link, *body)).collect());
        let next = Place(self.around.len());
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.around.push((zone.clone(), profiles.clone()));
        }
        place
    }

    /// What the identifier of this body comes to at a place.
    pub fn answer(&mut self, place: Place, body: u64) -> Result<Arc<Answered>, StoreError> {
        if let Some(answered) = self.known.get(&(place, body)) {
            return Ok(Arc::clone(answered));
        }
        if self.remembered > REMEMBERED {
            self.hours.clear();
            self.known.clear();
            self.identifiers.clear();
            self.remembered = 0;
        }
        let identifier = self.identifier(body)?;
        let answered = Arc::new(self.work_out(place, &identifier, left(&identifier))?);
        self.remembered += 1 + answered.answer.windows.len();
        self.known.insert((place, body), Arc::clone(&answered));
        Ok(answered)
    }

    /// The same of one that has opened so often: that is of its panel alone, so it is not kept.
    fn answer_after(&mut self, place: Place, body: u64, used: u32) -> Result<Arc<Answered>, StoreError> {
        let identifier = self.identifier(body)?;
        match identifier.left_after(used) {
            None => self.answer(place, body),
            left => Ok(Arc::new(self.work_out(place, &identifier, left)?)),
        }
    }

    fn work_out(
        &mut self,
        place: Place,
        identifier: &Identifier,
        left: Option<u32>,
    ) -> Result<Answered, StoreError> {
        let (zone, bodies) = self.around.get(place.0).ok_or(StoreError::Corrupt("place"))?;
        let named = identifier.profiles.as_slice();
        for body in named.iter().filter_map(|profile| bodies.get(profile)) {
            let by_zone = self.hours.entry(*body).or_default();
            if !by_zone.contains_key(zone.name()) {
                let profile = read(&self.snapshot.body(*body)?)?;
                let hours = Hours::of(&profile, zone.rules(), self.when);
                self.remembered += 1 + hours.len();
                by_zone.insert(zone.name().to_owned(), (profile.name, hours));
            }
        }
        let held = |profile| self.hours.get(bodies.get(&profile)?)?.get(zone.name());
        let answer = opens::answer(identifier, left, self.when, |profile| Some(&held(profile)?.1));
        let text = reason(&answer, zone.rules(), |profile| Some(held(profile)?.0.as_str().to_owned()));
        let passes = identifier.left_after(0);
        Ok(Answered { answer, text, holder: Holder::of(identifier), profiles: named.into(), passes })
    }

    /// The identifier of this body.
    pub fn identifier(&mut self, body: u64) -> Result<Arc<Identifier>, StoreError> {
        if let Some(known) = self.identifiers.get(&body) {
            return Ok(Arc::clone(known));
        }
        let identifier = Arc::new(identifier_in(self.snapshot.body(body)?.as_bytes())?);
        self.remembered += 1;
        self.identifiers.insert(body, Arc::clone(&identifier));
        Ok(identifier)
    }

    /// What a time profile is called that was looked at before; else its link_id.
    fn called(&self, place: Place, profile: LinkId) -> String {
        let name = || {
            let (zone, bodies) = self.around.get(place.0)?;
            let (name, _) = self.hours.get(bodies.get(&profile)?)?.get(zone.name())?;
            Some(format!("the time profile \"{}\"", name.as_str()))
        };
        name().unwrap_or_else(|| format!("the time profile {profile}"))
    }

    /// Whether an identifier opens a panel's door. `body` is what the panel should hold of it.
    pub fn opening(
        &mut self,
        panel: &Arc<Settings>,
        held: &Held,
        name: RowName,
        body: Option<u64>,
    ) -> Result<Opening, StoreError> {
        let desired = body.map(|body| match held.used.get(&name) {
            Some(used) => self.answer_after(held.desired, body, *used),
            None => self.answer(held.desired, body),
        });
        let desired = desired.transpose()?;
        let opens = desired.as_ref().is_some_and(|desired| desired.answer.opens());
        let mut opening = Opening {
            panel: Arc::clone(panel),
            name,
            desired,
            perhaps: None,
            confirmed: Confirmed::Yes,
            may_open: opens,
            not_confirmed: None,
            uncounted: None,
        };
        if let (Some(device), RowName::Link(item)) = (&held.device, name) {
            self.confirm(&mut opening, held, device, item, body)?;
            let passes = opening.desired.as_ref().and_then(|desired| desired.passes);
            opening.uncounted = passes.filter(|_| opens);
            if opening.uncounted.is_some() && opening.confirmed == Confirmed::Yes {
                opening.confirmed = Confirmed::Unknown;
                opening.not_confirmed =
                    Some("only the device knows how many of its passes are left".to_owned());
            }
            let by_time = opening.desired.as_ref().is_some_and(|desired| !desired.profiles.is_empty());
            if let Some(zone) =
                device.other_zone.as_deref().filter(|_| by_time && opening.confirmed == Confirmed::Yes)
            {
                opening.confirmed = Confirmed::Unknown;
                opening.not_confirmed =
                    Some(format!("the device shows the time in {zone}, not in the panel's zone"));
                opening.may_open |=
                    matches!(opening.desired.as_ref().map(|desired| &desired.answer.why), Some(Why::Shut(_)));
            }
        }
        Ok(opening)
    }

    /// Holds an answer against what is known of the device.
    fn confirm(
        &mut self,
        opening: &mut Opening,
        held: &Held,
        device: &Device,
        item: ItemId,
        body: Option<u64>,
    ) -> Result<(), StoreError> {
        let of_itself = device.known(item, body.is_some());
        let named = opening.desired.as_deref().map_or(&[][..], |desired| &desired.profiles);
        let of_profiles = named.iter().map(|profile| {
            let is_desired = held.profiles.contains_key(profile);
            (Some(*profile), is_desired, device.known(ItemId::profile(*profile), is_desired))
        });
        let mut worst = (None, body.is_some(), of_itself);
        for known in of_profiles {
            if known.2.confirmed() > worst.2.confirmed() {
                worst = known;
            }
        }
        let (which, is_desired, known) = worst;
        opening.confirmed = known.confirmed();
        if opening.confirmed == Confirmed::Yes {
            return Ok(());
        }
        let what = which.map_or_else(|| "it".to_owned(), |profile| self.called(held.desired, profile));
        opening.not_confirmed = known.text(&what, is_desired);
        opening.may_open = match of_itself.bodies(body) {
            Some(bodies) => self.may_open(opening, device, &bodies)?,
            None => true,
        };
        Ok(())
    }

    /// Whether it opens by any of the bodies that a device perhaps holds of it, with any of those of its time profiles. It
    /// is enough to look at each body of a profile once, since any profile that is open opens.
    fn may_open(
        &mut self,
        opening: &mut Opening,
        device: &Device,
        bodies: &[u64],
    ) -> Result<bool, StoreError> {
        for body in bodies {
            for place in &device.places {
                let answered = self.answer(*place, *body)?;
                // A profile of which nobody knows what the device holds may be open too, and one in another zone.
                let unsure = matches!(answered.answer.why, Why::Shut(_) | Why::NoProfileThere)
                    && answered
                        .profiles
                        .iter()
                        .any(|profile| device.other_zone.is_some() || device.changed.contains(profile));
                if answered.answer.opens() || unsure {
                    opening.perhaps = Some(answered);
                    return Ok(true);
                }
                opening.perhaps = Some(answered);
            }
        }
        Ok(false)
    }
}

/// How many passes are left, where that was said with the identifier. What a device counts by itself is not known here.
fn left(identifier: &Identifier) -> Option<u32> {
    identifier.passes_left.and_then(|left| u32::try_from(left.get()).ok())
}
