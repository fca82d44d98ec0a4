//! What holds of answers, whatever was desired, delivered, refused and found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::answers::Answers;
use super::held::Held;
use super::{Confirmed, Opening};
use crate::batch::Body;
use crate::batch::item::ItemId;
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::opens::{self, Hours, When};
use crate::identifier::rule::{self, Lock, OwnerKind, Passes, ProfileIds, ValidTime};
use crate::panel::settings::{PanelRecord, Settings};
use crate::profile::rule::{Name, Repeat, Rule};
use crate::profile::{LinkId, TimeProfile};
use crate::store::row::{Drift, Reported, RowName};
use crate::store::tables::PanelRows;
use crate::store::writer::PanelWork;
use crate::store::{PanelNo, Store, StoreError};
use crate::telemetry::Metrics;

/// Monday 23 November 2026, 00:00 in UTC.
const MONDAY: i64 = 1_795_392_000;

fn link(n: u8) -> LinkId {
    LinkId::from_bytes([n; 16])
}

/// Time profiles 0 and 1, identifiers 2 and 3.
fn item(n: u8) -> ItemId {
    if n < 2 { ItemId::profile(link(n)) } else { ItemId::identifier(link(n)) }
}

/// Of each day, one of its thirds; or never again.
fn profile(version: u8) -> TimeProfile {
    let from = MONDAY + i64::from(version) * 8 * 3600;
    let until = (version == 3).then_some(MONDAY);
    TimeProfile {
        name: Name::new("Third").expect("a name"),
        all_day: false,
        from: if version == 3 { MONDAY - 86_400 } else { from },
        to: if version == 3 { MONDAY - 80_000 } else { from + 8 * 3600 },
        repeat: Some(Repeat { rule: Rule::Day, until }),
        wording: None,
    }
}

/// Bound to none, either, or both of the profiles; every other one only for the first day.
fn identifier(n: u8, version: u8) -> Identifier {
    let profiles = [&[][..], &[0], &[1], &[1, 0]][usize::from(version % 4)];
    Identifier {
        apartment: None,
        apartment_uid: None,
        name: Name::new("Flat 12").expect("a name"),
        owner: OwnerKind::Owner,
        credential: Credential::new(rule::Kind::Card, &format!("100{n}")).expect("a number"),
        lock: Lock::First,
        time: if version < 4 {
            ValidTime::Permanent
        } else {
            ValidTime::Between { from: MONDAY, to: MONDAY + 86_400 }
        },
        passes: Passes::Permanent,
        profiles: ProfileIds::new(profiles.iter().map(|n| link(*n))).expect("few"),
        passes_left: None,
    }
}

fn body(n: u8, version: u8) -> Body {
    if n < 2 { Body::of(&profile(version % 4)) } else { Body::of_identifier(&identifier(n, version)) }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Want(u8, u8),
    Unwant(u8),
    /// The device confirms what is desired.
    Confirm(u8),
    Refuse(u8),
    /// What the device had confirmed is found to be gone.
    Lose(u8),
    /// What the device had confirmed is found to be something else.
    Change(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..4u8;
    prop_oneof![
        6 => (n.clone(), 0..8u8).prop_map(|(n, version)| Step::Want(n, version)),
        1 => n.clone().prop_map(Step::Unwant),
        6 => n.clone().prop_map(Step::Confirm),
        3 => n.clone().prop_map(Step::Refuse),
        1 => n.clone().prop_map(Step::Lose),
        1 => (n, 0..8u8).prop_map(|(n, version)| Step::Change(n, version)),
    ]
}

/// The versions that a panel should hold, or that its device holds.
type Versions = BTreeMap<u8, u8>;

#[derive(Debug, Default)]
struct Model {
    desired: Versions,
    device: Versions,
    /// What is confirmed, of what is desired or of what is gone.
    confirmed: BTreeSet<u8>,
    /// What was desired of an item since the device confirmed something, and that.
    since: BTreeMap<u8, BTreeSet<u8>>,
    /// Items of which the device does not hold what it confirmed last.
    strayed: BTreeSet<u8>,
}

/// Whether an identifier opens by these versions.
fn opens(versions: &Versions, n: u8, when: When) -> bool {
    let Some(version) = versions.get(&n) else { return false };
    let hours: BTreeMap<_, _> = versions
        .range(..2)
        .map(|(n, version)| (link(*n), Hours::of(&profile(version % 4), &TimeZone::UTC, when)))
        .collect();
    opens::answer(&identifier(n, *version), None, when, |profile| hours.get(&profile)).opens()
}

impl Model {
    /// Does a step in the model, and says what is to be done in the store.
    fn follow(&mut self, step: Step) -> Option<(u8, Option<Option<u8>>, Now)> {
        match step {
            Step::Want(n, version) => {
                let same = self.desired.get(&n).is_some_and(|now| body(n, *now) == body(n, version));
                if same {
                    return None;
                }
                self.desired.insert(n, version);
                self.since.entry(n).or_default().insert(version);
                self.confirmed.remove(&n);
                Some((n, Some(Some(version)), Now::Is(Reported::Unknown)))
            }
            Step::Unwant(n) => {
                self.desired.remove(&n)?;
                self.confirmed.remove(&n);
                Some((n, Some(None), Now::Is(Reported::Unknown)))
            }
            Step::Confirm(n) if !self.confirmed.contains(&n) => {
                self.confirmed.insert(n);
                self.strayed.remove(&n);
                self.since.insert(n, self.desired.get(&n).copied().into_iter().collect());
                match self.desired.get(&n) {
                    Some(version) => {
                        self.device.insert(n, *version);
                        Some((n, None, Now::Held))
                    }
                    None => {
                        self.device.remove(&n);
                        Some((n, None, Now::Nothing))
                    }
                }
            }
            // Or to delete it.
            Step::Refuse(n) if !self.confirmed.contains(&n) => {
                Some((n, None, Now::Is(Reported::Refused("full".into()))))
            }
            Step::Lose(n) | Step::Change(n, _)
                if self.confirmed.contains(&n) && self.desired.contains_key(&n) =>
            {
                self.confirmed.remove(&n);
                self.strayed.insert(n);
                let drift = if let Step::Change(_, version) = step {
                    self.device.insert(n, version);
                    Drift::Changed
                } else {
                    self.device.remove(&n);
                    Drift::Missing
                };
                Some((n, None, Now::Is(Reported::Drifted(drift))))
            }
            _ => None,
        }
    }

    /// Holds an answer against what the device really does.
    fn check(&self, n: u8, when: When, opening: &Opening) {
        let desired = opens(&self.desired, n, when);
        let device = opens(&self.device, n, when);
        assert_eq!(opening.opens(), desired, "{n} of {self:?}");
        let named = self.desired.get(&n).map(|version| identifier(n, *version).profiles);
        let named = named.iter().flat_map(ProfileIds::as_slice).map(|link| link.as_bytes()[0]);
        let settled = std::iter::once(n).chain(named).all(|n| self.confirmed.contains(&n));
        if settled {
            assert_eq!(device, desired, "the model");
            assert_eq!((opening.confirmed, opening.may_open), (Confirmed::Yes, desired));
            assert_eq!(opening.not_confirmed, None);
            return;
        }
        assert!(opening.confirmed != Confirmed::Yes && opening.not_confirmed.is_some(), "{n} of {self:?}");
        // What is said to stay shut does, and what is said to open perhaps does so by something that was once desired.
        if self.strayed.is_empty() {
            assert!(opening.may_open || !device, "{n} of {self:?}");
            assert!(!opening.may_open || self.perhaps(n, when), "{n} of {self:?}");
        }
    }

    /// Whether an identifier opens by any version that was desired since the device confirmed something, or by that.
    fn perhaps(&self, n: u8, when: When) -> bool {
        let of = |n: u8| self.since.get(&n).into_iter().flatten().copied();
        of(n).any(|version| {
            let with =
                |profiles: Versions| opens(&profiles.into_iter().chain([(n, version)]).collect(), n, when);
            let alone = with(Versions::new());
            alone
                || (0..2).any(|profile| of(profile).any(|version| with(Versions::from([(profile, version)]))))
        })
    }
}

/// What is reported from now on.
#[derive(Debug, Clone)]
enum Now {
    Is(Reported),
    /// The body that stands in the row.
    Held,
    Nothing,
}

struct Work {
    n: u8,
    /// What is desired from now on, where that changes.
    desired: Option<Option<u8>>,
    now: Now,
    done: std::sync::mpsc::Sender<Result<(), StoreError>>,
}

/// The number of the one panel.
const PANEL: PanelNo = 1;

impl PanelWork for Work {
    fn panel(&self) -> PanelNo {
        PANEL
    }

    fn items(&self) -> usize {
        1
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let name = RowName::Link(item(self.n));
        let standing = rows.get(name)?;
        match (self.desired, standing) {
            (Some(Some(version)), standing) => {
                rows.put(name, standing, &body(self.n, version))?;
            }
            (Some(None), Some(row)) => rows.remove(name, row)?,
            (Some(None), None) | (None, _) => {}
        }
        let reported = match &self.now {
            Now::Is(reported) => Some(reported.clone()),
            Now::Held => rows.get(name)?.map(|row| Reported::Held(row.body)),
            Now::Nothing => None,
        };
        rows.set_reported(item(self.n), reported.as_ref())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let _ = self.done.send(result);
    }
}

fn device() -> Arc<Settings> {
    let mut record = PanelRecord::new("north-01");
    record.driver = "http".into();
    record.url = Some("http://127.0.0.1:9".into());
    record.username = Some("admin".into());
    Arc::new(Settings::stored(&record).expect("good settings"))
}

/// Follows the steps, and holds every answer after each of them against the model.
fn follow(steps: &[Step], when: When) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
    let (settings, mut model) = (device(), Model { confirmed: (0..4).collect(), ..Model::default() });
    for step in steps {
        let Some((n, desired, now)) = model.follow(*step) else { continue };
        let (done, committed) = std::sync::mpsc::channel();
        store.handle().submit(Box::new(Work { n, desired, now, done }));
        committed.recv().expect("the writer tells").expect("it is committed");
        let snapshot = store.handle().read().expect("a snapshot");
        let mut answers = Answers::new(&snapshot, when);
        let (held, named) = Held::all(&snapshot, PANEL, &settings, &mut answers).expect("readable");
        for n in 2..4 {
            let name = RowName::Link(item(n));
            let (alone, body) =
                Held::of_one(&snapshot, PANEL, &settings, link(n), &mut answers).expect("readable");
            let opening = answers.opening(&settings, &alone, name, body).expect("readable");
            model.check(n, when, &opening);
            // Whoever may be there is among those of the panel, and the answer is the same.
            let among = named.iter().find(|(named, _)| *named == name);
            assert_eq!(among.is_some(), alone.has(link(n), body));
            if let Some((name, body)) = among {
                let again = answers.opening(&settings, &held, *name, *body).expect("readable");
                assert_eq!(format!("{again:?}"), format!("{opening:?}"));
            }
            assert!(among.is_some() || !model.device.contains_key(&n), "one that is not named is not there");
        }
    }
}

#[test]
fn what_a_device_refuses_or_has_not_deleted_leaves_it_as_it_was() {
    let tuesday = When::at(MONDAY + 30 * 3600).expect("a moment");
    let held = [Step::Want(0, 0), Step::Confirm(0), Step::Want(2, 0), Step::Want(3, 1), Step::Confirm(2)];
    // For Monday alone from now on, which the device does not take; no more, of which the device says nothing.
    for then in [
        &[Step::Want(2, 4), Step::Refuse(2)][..],
        &[Step::Unwant(2)],
        &[Step::Unwant(2), Step::Refuse(2)],
        &[Step::Want(0, 1), Step::Refuse(0)],
    ] {
        follow(&[&held[..], &[Step::Confirm(3)], then].concat(), tuesday);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_to_be_confirmed_is_what_the_device_does(
        steps in proptest::collection::vec(step(), 1..24),
        hour in -10..60i64,
        hours in 0..40i64,
    ) {
        let from = MONDAY + hour * 3600;
        let when = if hours == 0 { When::at(from) } else { When::within(from, from + hours * 3600) };
        follow(&steps, when.expect("a question"));
    }
}
