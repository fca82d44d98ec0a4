//! What stood as an item on a panel, and since when: as far as that is kept.
//!
//! It speaks of what was desired. What a device confirmed of it, and when, is another matter.
//!
//! A version is known by the batch, or the call of the panel API, that made it, and by what the next one found: where these
//! two do not agree, something came between that is not kept, and that is said. Of what a call replaced the text is not kept.

use uuid::Uuid;

use super::{Fleet, FleetError};
use crate::batch::item::{ItemId, Kind};
use crate::clock;
use crate::identifier::Identifier;
use crate::identifier::opens::{self, Hours, When};
use crate::identifier::sentence as of_identifier;
use crate::panel::settings::{PanelId, Zone};
use crate::profile::sentence::sentence;
use crate::profile::windows::Openings;
use crate::profile::{TimeProfile, parse};
use crate::store::read::Snapshot;
use crate::store::read::past::Past;
use crate::store::row::RowName;
use crate::store::{PanelNo, StoreError, identifier_in};

/// Who made a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeBy {
    /// A batch.
    Batch {
        /// Which one.
        id: Uuid,
        /// Who sent it.
        by: String,
        /// The batch that it took back.
        undoes: Option<Uuid>,
    },
    /// A call of the panel API.
    Call(String),
    /// Something that is not kept.
    Unknown,
}

/// What stood.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stood {
    /// The text of this body.
    Body(u64),
    /// Nothing.
    Nothing,
    /// Something whose text is not kept.
    Something,
    /// Nobody knows.
    Unknown,
}

impl Stood {
    fn of(body: u64) -> Self {
        if body == 0 { Self::Nothing } else { Self::Body(body) }
    }

    /// What is known by both of what stood at one time; nothing where they contradict each other.
    fn and(&self, other: &Self, snapshot: &Snapshot) -> Result<Option<Self>, StoreError> {
        Ok(match (self, other) {
            (Self::Unknown, known) | (known, Self::Unknown) => Some(known.clone()),
            (Self::Body(one), Self::Body(other)) if one != other => {
                (snapshot.body(*one)? == snapshot.body(*other)?).then(|| self.clone())
            }
            (Self::Body(_), Self::Body(_) | Self::Something) => Some(self.clone()),
            (Self::Something, Self::Body(_) | Self::Something) => Some(other.clone()),
            (Self::Nothing, Self::Nothing) => Some(Self::Nothing),
            (Self::Nothing, Self::Body(_) | Self::Something)
            | (Self::Body(_) | Self::Something, Self::Nothing) => None,
        })
    }
}

/// A version as far as it is known.
#[derive(Debug, Clone)]
struct Known {
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    is_now: bool,
    made_by: MadeBy,
    stood: Stood,
}

/// Something that changed an item.
struct Change {
    at_ms: i64,
    made_by: MadeBy,
    before: Stood,
    after: Stood,
    /// Only perhaps it did.
    perhaps: bool,
}

/// What a version says.
#[derive(Debug)]
pub enum Says {
    /// A time profile: its JSON, and when it opens, in words.
    Profile(Box<str>, String),
    /// An identifier, with its number whole, and in words.
    Identifier(Box<Identifier>, String),
    /// It was not there.
    Deleted,
    /// That is not kept.
    NotKept,
}

/// A version of an item on a panel.
#[derive(Debug)]
pub struct Version {
    /// Since when it was desired, in Unix milliseconds; nothing where that is not kept.
    pub since_ms: Option<i64>,
    /// Until when; nothing where it still is, or where that is not kept.
    pub until_ms: Option<i64>,
    /// Whether it still is.
    pub is_now: bool,
    /// Who made it.
    pub made_by: MadeBy,
    /// What it says.
    pub says: Says,
}

/// What is kept of an item on a panel.
#[derive(Debug)]
pub struct History {
    /// The panel.
    pub panel: PanelId,
    /// Its zone, as it is today.
    pub zone: Zone,
    /// The item.
    pub item: ItemId,
    /// Changes before this moment are not kept, or not all of them, in Unix milliseconds.
    pub known_since_ms: Option<i64>,
    /// The versions, newest first.
    pub versions: Vec<Version>,
}

/// What was desired at a moment.
#[derive(Debug)]
pub struct Then {
    /// The version; nothing where it is not kept which one that was.
    pub version: Option<Version>,
    /// Whether it opened a door then; nothing where that cannot be told.
    pub opens: Option<bool>,
}

impl Fleet {
    /// The versions of an item on a panel, and with a moment, in Unix milliseconds, what was desired then.
    pub async fn history(
        &self,
        panel: &str,
        item: ItemId,
        at_ms: Option<i64>,
    ) -> Result<(History, Option<Then>), FleetError> {
        let entry = self.panel(panel)?;
        let now_ms = clock::now_ms();
        if at_ms.is_some_and(|at_ms| at_ms > now_ms) {
            let why = "this moment is still to come; what is desired now is the newest version";
            return Err(FleetError::invalid("/at", why));
        }
        self.read(move |snapshot| {
            let zone = entry.settings.zone.clone();
            let look = Look { snapshot, panel: entry.number, zone: &zone };
            let (known, known_since_ms) = look.versions(item)?;
            let then = at_ms.map(|at_ms| look.then(&known, known_since_ms, item, at_ms)).transpose()?;
            let versions = known.into_iter().map(|known| look.told(item.kind, known));
            let versions = versions.collect::<Result<_, StoreError>>()?;
            let panel = entry.settings.id.clone();
            Ok::<_, StoreError>((History { panel, zone, item, known_since_ms, versions }, then))
        })
        .await
    }
}

/// A look at one panel.
struct Look<'s> {
    snapshot: &'s Snapshot,
    panel: PanelNo,
    zone: &'s Zone,
}

impl Look<'_> {
    /// The versions of an item, newest first, and since when all its changes are kept.
    fn versions(&self, item: ItemId) -> Result<(Vec<Known>, Option<i64>), StoreError> {
        let past = self.snapshot.past_of(self.panel, item)?;
        let since_ms = past.since_ms;
        let row = self.snapshot.row(self.panel, RowName::Link(item))?;
        let mut upper = Stood::of(row.map_or(0, |row| row.body));
        let (mut until_ms, mut is_now) = (None, true);
        let mut versions = Vec::new();
        for Change { at_ms, made_by, before, after, perhaps } in changes(past) {
            if perhaps {
                continue; // it is seen by what the one before had made of the item
            }
            match upper.and(&after, self.snapshot)? {
                Some(stood) => {
                    versions.push(Known { since_ms: Some(at_ms), until_ms, is_now, made_by, stood });
                }
                None => {
                    let (since_ms, made_by_unknown) = (None, MadeBy::Unknown);
                    versions.push(Known {
                        since_ms,
                        until_ms,
                        is_now,
                        made_by: made_by_unknown,
                        stood: upper,
                    });
                    let (since_ms, until_ms, is_now) = (Some(at_ms), None, false);
                    versions.push(Known { since_ms, until_ms, is_now, made_by, stood: after });
                }
            }
            (upper, until_ms, is_now) = (before, Some(at_ms), false);
        }
        if upper == Stood::Unknown && since_ms.is_none() {
            upper = Stood::Nothing; // all is kept, and nothing came before
        }
        if upper != Stood::Nothing {
            versions.push(Known { since_ms: None, until_ms, is_now, made_by: MadeBy::Unknown, stood: upper });
        }
        Ok((versions, since_ms))
    }

    fn stood_at(&self, item: ItemId, at_ms: i64) -> Result<Option<Stood>, StoreError> {
        let (versions, since_ms) = self.versions(item)?;
        if let Some(version) = version_at(&versions, since_ms, at_ms) {
            return Ok(Some(version.stood.clone()));
        }
        let kept = since_ms.is_none_or(|since_ms| since_ms <= at_ms);
        let first = versions.last();
        let before_all = first.is_none_or(|first| first.since_ms.is_some_and(|since_ms| at_ms < since_ms));
        Ok((kept && before_all).then_some(Stood::Nothing))
    }

    fn then(
        &self,
        known: &[Known],
        since_ms: Option<i64>,
        item: ItemId,
        at_ms: i64,
    ) -> Result<Then, StoreError> {
        let stood = self.stood_at(item, at_ms)?;
        let opens = match &stood {
            None | Some(Stood::Unknown | Stood::Something) => None,
            Some(Stood::Nothing) => Some(false),
            Some(Stood::Body(body)) => self.opens(item.kind, *body, at_ms)?,
        };
        let nothing = || Known {
            since_ms: None,
            until_ms: known.last().and_then(|first| first.since_ms),
            is_now: known.is_empty(),
            made_by: MadeBy::Unknown,
            stood: Stood::Nothing,
        };
        let version = match (version_at(known, since_ms, at_ms), stood) {
            (Some(version), _) => Some(version.clone()),
            (None, Some(Stood::Nothing)) => Some(nothing()),
            (None, _) => None,
        };
        let version = version.map(|version| self.told(item.kind, version)).transpose()?;
        Ok(Then { version, opens })
    }

    /// Whether what a body says opened a door.
    fn opens(&self, kind: Kind, body: u64, at_ms: i64) -> Result<Option<bool>, StoreError> {
        let at = at_ms.div_euclid(1000);
        let zone = self.zone.rules();
        if kind == Kind::Profile {
            return Ok(Some(Openings::new(&self.profile(body)?, zone).is_open(at)));
        }
        let identifier = identifier_in(self.snapshot.body(body)?.as_bytes())?;
        let Ok(when) = When::at(at) else { return Ok(None) };
        if identifier.left_after(0).is_some() {
            return Ok(None); // how many passes it had left is not kept
        }
        let mut hours = Vec::new();
        for profile in identifier.profiles.as_slice() {
            match self.stood_at(ItemId::profile(*profile), at_ms)? {
                Some(Stood::Body(body)) => {
                    hours.push((*profile, Hours::of(&self.profile(body)?, zone, when)));
                }
                Some(Stood::Nothing) => {}
                Some(Stood::Something | Stood::Unknown) | None => return Ok(None),
            }
        }
        let held = |profile| hours.iter().find(|(of, _)| *of == profile).map(|(_, hours)| hours);
        Ok(Some(opens::answer(&identifier, None, when, held).opens()))
    }

    fn profile(&self, body: u64) -> Result<TimeProfile, StoreError> {
        let text = self.snapshot.body(body)?;
        parse::stored(text.as_bytes()).map_err(|_| StoreError::Corrupt("body"))
    }

    /// With what it says.
    fn told(&self, kind: Kind, known: Known) -> Result<Version, StoreError> {
        let Known { since_ms, until_ms, is_now, made_by, stood } = known;
        let says = match (stood, kind) {
            (Stood::Nothing, _) => Says::Deleted,
            (Stood::Something | Stood::Unknown, _) => Says::NotKept,
            (Stood::Body(body), Kind::Profile) => {
                let words = sentence(&self.profile(body)?, self.zone.rules());
                Says::Profile(self.snapshot.body(body)?, words)
            }
            (Stood::Body(body), Kind::Identifier) => {
                let identifier = identifier_in(self.snapshot.body(body)?.as_bytes())?;
                let words = of_identifier::sentence(&identifier, self.zone.rules(), |_| None);
                Says::Identifier(Box::new(identifier), words)
            }
        };
        Ok(Version { since_ms, until_ms, is_now, made_by, says })
    }
}

/// All that changed an item, newest first.
fn changes(past: Past) -> Vec<Change> {
    let batches = past.batches.into_iter().map(|(record, changed)| Change {
        at_ms: changed.at_ms,
        made_by: MadeBy::Batch { id: record.id, by: record.created_by, undoes: record.undoes },
        before: Stood::of(changed.before),
        after: Stood::of(changed.after),
        perhaps: false,
    });
    let calls = past.calls.into_iter().map(|(at_ms, by, there)| Change {
        at_ms,
        made_by: MadeBy::Call(by),
        before: Stood::Unknown,
        after: match there {
            Some(true) => Stood::Something,
            Some(false) => Stood::Nothing,
            None => Stood::Unknown,
        },
        perhaps: there.is_none(),
    });
    let mut changes: Vec<_> = batches.chain(calls).collect();
    changes.sort_by_key(|change| change.at_ms); // what is of the same moment stays in its order
    changes.reverse();
    changes
}

/// The version that was desired at a moment, if it is known which one that was.
fn version_at(versions: &[Known], since_ms: Option<i64>, at_ms: i64) -> Option<&Known> {
    if since_ms.is_some_and(|since_ms| at_ms < since_ms) {
        return None;
    }
    let oldest = versions.len().checked_sub(1)?;
    let found = versions.iter().enumerate().find(|(i, version)| {
        let began = match version.since_ms {
            Some(since_ms) => since_ms <= at_ms,
            None => *i == oldest, // of another one it is not known when it began
        };
        began && (version.is_now || version.until_ms.is_some_and(|until_ms| at_ms < until_ms))
    });
    found.map(|(_, version)| version)
}
