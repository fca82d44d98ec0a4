//! Who may open which door, when, and why: from what panels should hold, and beside it what their devices have confirmed
//! of that.
//!
//! Nothing is asked of a device. An embedded panel does what is desired of it; a device does so once it has confirmed the
//! identifier and the time profiles that it names. Until then what it perhaps holds is looked at: what it confirmed last, and
//! what is or was on its way to it.
//!
//! Work is bounded: a page looks at no more than [`LOOKED_AT`] pairs of a panel and an identifier and tells no more than
//! [`WINDOWS`] windows, so it may hold less than was asked for and have a next one. What is asked of many is worked out
//! once for each body and zone ([`answers`]).

use std::borrow::Cow;
use std::sync::Arc;

use super::{Fleet, FleetError, Page};
use crate::batch::item::ItemId;
use crate::coordinator::register::Entry;
use crate::identifier::Identifier;
use crate::identifier::opens::{Answer, When, Why};
use crate::identifier::rule::Kind;
use crate::panel::settings::{PanelId, Settings};
use crate::profile::LinkId;
use crate::profile::windows::Window;
use crate::store::StoreError;
use crate::store::row::RowName;

pub mod answers;
pub mod held;
#[cfg(test)]
mod laws;

use answers::{Answered, Answers};
use held::Held;

/// Pairs of a panel and an identifier that one page looks at.
pub const LOOKED_AT: usize = 10_000;

/// Windows of one page at most, save that one answer is told whole.
pub const WINDOWS: usize = 20_000;

/// Which doors, and which identifiers.
pub enum Doors {
    /// This identifier at this panel. There is an answer also where the panel does not hold it.
    Pair(Entry, LinkId),
    /// All identifiers that this panel should hold, and those that its device has not confirmed to have deleted; behind one
    /// in the order of their names.
    Panel(Entry, Option<RowName>),
    /// This identifier at all panels that should hold it, or whose devices have not confirmed to have deleted it; behind
    /// one in the order of the panels' ids.
    Identifier(LinkId, Option<PanelId>),
}

/// Whether an identifier opens a door.
#[derive(Debug)]
pub struct Opening {
    /// Which door: what is set of its panel.
    pub panel: Arc<Settings>,
    /// By what the identifier is known there.
    pub name: RowName,
    /// Whether it opens by what the panel should hold, and why; none where that is nothing of this name.
    pub desired: Option<Arc<Answered>>,
    /// The same by something that its device perhaps holds, where that has not confirmed what is desired.
    pub perhaps: Option<Arc<Answered>>,
    /// Whether the panel does so.
    pub confirmed: Confirmed,
    /// Whether the door perhaps opens: by what the device has confirmed, by what is or was on its way to it, or by what
    /// nobody knows. Where it does not, it surely stays shut.
    pub may_open: bool,
    /// What is not confirmed, in words.
    pub not_confirmed: Option<String>,
    /// The passes that it has, of which only its device knows how many are left; none where that is not the question.
    pub uncounted: Option<u32>,
}

/// Whose an identifier is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What its owner is called.
    pub name: String,
    /// What opens.
    pub kind: Kind,
    /// What may be shown of its number.
    pub masked: Option<String>,
}

/// Whether a panel does what is desired of it; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmed {
    /// It is embedded, or its device has confirmed the identifier and all time profiles that it names.
    Yes,
    /// Some of it is on its way, or only the device knows how many passes are left, or it shows the time in another zone.
    Unknown,
    /// Its device refuses some of it, or was found to hold something else.
    No,
}

impl Confirmed {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Unknown => "unknown",
            Self::No => "no",
        }
    }
}

impl Opening {
    /// Whether it opens by what the panel should hold.
    pub fn opens(&self) -> bool {
        self.answer().is_some_and(Answer::opens)
    }

    /// Whose the identifier is, where that is known.
    pub fn holder(&self) -> Option<&Holder> {
        self.desired.as_ref().or(self.perhaps.as_ref()).map(|answered| &answered.holder)
    }

    /// What the question comes to, where the panel should hold the identifier.
    pub fn answer(&self) -> Option<&Answer> {
        self.desired.as_deref().map(|answered| &answered.answer)
    }

    /// Why it opens, or does not, in words.
    pub fn text(&self) -> Cow<'_, str> {
        match (&self.desired, self.uncounted) {
            (Some(answered), None) => answered.text.as_str().into(),
            (Some(answered), Some(passes)) => {
                let left =
                    if passes == 1 { "its pass".into() } else { format!("one of its {passes} passes") };
                format!("{}, if {left} is left, which its device counts", answered.text).into()
            }
            (None, _) if self.is_nowhere() => "there is no such identifier on the panel".into(),
            (None, _) => "it is not for this panel".into(),
        }
    }

    /// Whether the panel should not hold it, and its device surely does not.
    pub fn is_nowhere(&self) -> bool {
        self.desired.is_none() && self.not_confirmed.is_none()
    }

    /// The word for why it opens, or does not.
    pub fn reason(&self) -> &'static str {
        match self.answer().map(|answer| answer.why) {
            None => "not_on_panel",
            Some(Why::AnyTime(_)) => "any_time",
            Some(Why::Open(..)) => "profile_open",
            Some(Why::NeverValid) => "never_valid",
            Some(Why::NotYetValid(_)) => "not_yet_valid",
            Some(Why::NoLongerValid(_)) => "no_longer_valid",
            Some(Why::NoPassLeft) => "no_pass_left",
            Some(Why::NoProfileThere) => "no_profile_there",
            Some(Why::Shut(_)) => "no_profile_open",
        }
    }

    /// The time profile that is open, or opens next.
    pub fn profile(&self) -> Option<LinkId> {
        match self.answer()?.why {
            Why::Open(profile, _) | Why::Shut(Some((profile, _))) => Some(profile),
            _ => None,
        }
    }

    /// From when it opens, or will, as far as that is known, in Unix seconds.
    pub fn from(&self) -> Option<i64> {
        match self.answer()?.why {
            Why::AnyTime(window) | Why::Open(_, window) => Some(window.from).filter(|from| *from > i64::MIN),
            Why::NotYetValid(from) | Why::Shut(Some((_, from))) => Some(from),
            _ => None,
        }
    }

    /// Until when it opens, or did, as far as that is known, in Unix seconds.
    pub fn to(&self) -> Option<i64> {
        match self.answer()?.why {
            Why::AnyTime(window) | Why::Open(_, window) => Some(window.to).filter(|to| *to < i64::MAX),
            Why::NoLongerValid(to) => Some(to),
            _ => None,
        }
    }

    /// When it opens within the range that was asked for.
    pub fn windows(&self) -> &[Window] {
        self.answer().map_or(&[], |answer| &answer.windows)
    }

    /// Whether it opens by what the panel should hold, or perhaps by what its device does.
    fn perhaps_opens(&self) -> bool {
        self.opens() || self.may_open
    }
}

impl Holder {
    fn of(identifier: &Identifier) -> Self {
        let credential = &identifier.credential;
        let name = identifier.name.as_str().to_owned();
        Self { name, kind: credential.kind(), masked: credential.masked() }
    }
}

impl Fleet {
    /// At most `limit` answers whether identifiers open doors then; with `only_open` those that do, by what is desired or
    /// perhaps by what a device holds. Of a pair the answer always.
    pub async fn access(
        &self,
        doors: Doors,
        when: When,
        only_open: bool,
        limit: usize,
    ) -> Result<Page<Opening, At>, FleetError> {
        let register = self.register.now();
        let page = self.read(move |snapshot| {
            let mut answers = Answers::new(snapshot, when);
            let only_open = only_open && !matches!(doors, Doors::Pair(..));
            let mut sheet = Sheet::new(limit, only_open);
            match doors {
                Doors::Pair(panel, link) => {
                    let name = RowName::Link(ItemId::identifier(link));
                    let (held, body) =
                        Held::of_one(snapshot, panel.number, &panel.settings, link, &mut answers)?;
                    sheet.add(answers.opening(&panel.settings, &held, name, body)?);
                }
                Doors::Panel(panel, after) => {
                    let (held, identifiers) =
                        Held::all(snapshot, panel.number, &panel.settings, &mut answers)?;
                    let begin = identifiers.partition_point(|(name, _)| Some(*name) <= after);
                    for (name, body) in &identifiers[begin..] {
                        if sheet.is_full() {
                            break;
                        }
                        sheet.place = Some(At::Identifier(*name));
                        sheet.add(answers.opening(&panel.settings, &held, *name, *body)?);
                    }
                }
                Doors::Identifier(link, after) => {
                    let name = RowName::Link(ItemId::identifier(link));
                    for panel in register.select(None, after.as_ref().map(PanelId::as_str)) {
                        if sheet.is_full() {
                            break;
                        }
                        sheet.place = Some(At::Panel(panel.settings.id.clone()));
                        let (held, body) =
                            Held::of_one(snapshot, panel.number, &panel.settings, link, &mut answers)?;
                        if held.has(link, body) {
                            sheet.add(answers.opening(&panel.settings, &held, name, body)?);
                        }
                    }
                }
            }
            Ok::<_, StoreError>(sheet.page)
        });
        page.await
    }
}

/// Behind what a page begins, in the order of its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// An identifier of the panel that was asked about.
    Identifier(RowName),
    /// A panel that was asked about.
    Panel(PanelId),
}

/// A page as it fills.
struct Sheet {
    page: Page<Opening, At>,
    limit: usize,
    only_open: bool,
    looked_at: usize,
    windows: usize,
    /// Of what was looked at last.
    place: Option<At>,
}

impl Sheet {
    fn new(limit: usize, only_open: bool) -> Self {
        let page = Page { items: Vec::new(), next: None };
        Self { page, limit, only_open, looked_at: 0, windows: 0, place: None }
    }

    /// Whether there is no room for one more, which there is: the next page goes on behind what was looked at last.
    fn is_full(&mut self) -> bool {
        let full =
            self.page.items.len() >= self.limit || self.looked_at >= LOOKED_AT || self.windows >= WINDOWS;
        if full {
            self.page.next = self.place.take();
        }
        self.looked_at += 1;
        full
    }

    fn add(&mut self, opening: Opening) {
        if !self.only_open || opening.perhaps_opens() {
            self.windows += opening.windows().len();
            self.page.items.push(opening);
        }
    }
}
