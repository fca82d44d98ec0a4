//! Whether an identifier opens a door at a moment, when within a range, and why.
//!
//! What counts is what the identifier says and the time profiles that it names, as the panel holds them: any that is open
//! opens, within its own time and as long as it has passes. One that names none opens at any time; a profile that the
//! panel does not hold opens nothing.
//!
//! A profile is worked out once for a question and a zone ([`Hours`]), for all identifiers that name it; an answer is
//! then little more than a comparison. Everything is bounded: a range by [`MAX_DAYS`], and in it a profile opens at most
//! once a day.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Identifier;
use super::rule::{Passes, ValidTime};
use crate::profile::windows::{Openings, Standing, Window, merged};
use crate::profile::{LinkId, TimeProfile, opens};

/// The longest range of one question, in days.
pub const MAX_DAYS: i64 = 366;

/// When a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    range: Window,
    is_moment: bool,
}

/// A question that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// There is nothing between both ends.
    #[error("from must be before to")]
    Backwards,
    /// The range is too long.
    #[error("the range is longer than {MAX_DAYS} days, the limit of one question")]
    TooLong,
    /// A moment that no calendar here reaches.
    #[error("it lies outside the years -9999 to 9999")]
    OutOfCalendar,
}

impl When {
    /// A moment, in Unix seconds.
    pub fn at(at: i64) -> Result<Self, WhenError> {
        if !(Timestamp::MIN.as_second()..=opens::LAST).contains(&at) {
            return Err(WhenError::OutOfCalendar);
        }
        Ok(Self { range: Window { from: at, to: at + 1 }, is_moment: true })
    }

    /// From one moment up to another, which is not in it any more.
    pub fn within(from: i64, to: i64) -> Result<Self, WhenError> {
        if from < Timestamp::MIN.as_second() || to > opens::LAST + 1 {
            return Err(WhenError::OutOfCalendar);
        }
        if from >= to {
            return Err(WhenError::Backwards);
        }
        if to - from > MAX_DAYS * 86_400 {
            return Err(WhenError::TooLong);
        }
        Ok(Self { range: Window { from, to }, is_moment: false })
    }

    /// The moment, where it is one.
    pub fn moment(self) -> Option<i64> {
        self.is_moment.then_some(self.range.from)
    }
}

/// When a time profile opens in one zone, as far as a question needs it.
#[derive(Debug, Clone)]
pub struct Hours {
    /// Those of the range; of a moment the one that it lies in, whole.
    windows: Box<[Window]>,
    /// Where a moment lies in none: when the next one begins, if that is soon.
    next: Option<i64>,
}

impl Hours {
    /// Of a profile, for a question.
    pub fn of(profile: &TimeProfile, zone: &TimeZone, when: When) -> Self {
        let openings = Openings::new(profile, zone);
        let Window { from, to } = when.range;
        if !when.is_moment {
            // The range is one that schedules take.
            let windows = openings.windows(from, to).unwrap_or_default();
            return Self { windows: windows.into(), next: None };
        }
        match openings.standing(from) {
            Standing::Open(window) => Self { windows: [window].into(), next: None },
            Standing::Shut { next } => Self { windows: Box::default(), next },
        }
    }

    /// The windows that are kept, ascending.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// How many windows are kept.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether it opens nothing.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

/// Why a door opens, or does not. An end of a window that is too far away to matter is `i64::MIN` or `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It opens: the identifier names no time profile, and this is its own time.
    AnyTime(Window),
    /// It opens: this profile is open, in this window, cut by the identifier's own time. Of several profiles that which
    /// opens first, and of these that which is open longest.
    Open(LinkId, Window),
    /// There is no moment in the identifier's own time.
    NeverValid,
    /// Its own time begins only then.
    NotYetValid(i64),
    /// Its own time has ended then.
    NoLongerValid(i64),
    /// Its passes are used up.
    NoPassLeft,
    /// It names time profiles, and the panel holds none of them.
    NoProfileThere,
    /// None of its time profiles is open. Of a moment also which one opens next, and when, if that is within a year and
    /// within its own time.
    Shut(Option<(LinkId, i64)>),
}

/// What a question comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it opens, and why.
    pub why: Why,
    /// The time profiles that it names and that the panel does not hold.
    pub missing: Box<[LinkId]>,
    /// When it opens within the range: ascending, merged, cut at the ends of the range and of its own time. Empty for a
    /// moment.
    pub windows: Box<[Window]>,
}

impl Answer {
    /// Whether it opens at the moment, or ever within the range.
    pub fn opens(&self) -> bool {
        matches!(self.why, Why::AnyTime(_) | Why::Open(..))
    }
}

/// Whether an identifier opens then, and why. `left` says how many passes it has left, where somebody counts them;
/// `hours_of` gives the time profiles that its panel holds, in the panel's zone and for this question.
pub fn answer<'h>(
    identifier: &Identifier,
    left: Option<u32>,
    when: When,
    hours_of: impl Fn(LinkId) -> Option<&'h Hours>,
) -> Answer {
    let named = identifier.profiles.as_slice();
    let missing = named.iter().copied().filter(|profile| hours_of(*profile).is_none()).collect::<Box<[_]>>();
    let no = |why| Answer { why, missing: missing.clone(), windows: Box::default() };
    let asked = when.range;
    let valid = match identifier.time {
        ValidTime::Permanent => Window { from: i64::MIN, to: i64::MAX },
        ValidTime::Between { from, to } => Window { from, to },
    };
    if identifier.time.never() {
        return no(Why::NeverValid);
    }
    if valid.from >= asked.to {
        return no(Why::NotYetValid(valid.from));
    }
    if valid.to <= asked.from {
        return no(Why::NoLongerValid(valid.to));
    }
    if identifier.passes != Passes::Permanent && left == Some(0) {
        return no(Why::NoPassLeft);
    }
    let told = |windows: Vec<Window>| if when.is_moment { Box::default() } else { windows.into() };
    if named.is_empty() {
        return Answer { why: Why::AnyTime(valid), missing, windows: told(vec![cut(asked, valid)]) };
    }
    if missing.len() == named.len() {
        return no(Why::NoProfileThere);
    }
    let held = || named.iter().filter_map(|profile| Some((*profile, hours_of(*profile)?)));
    let mut open = Vec::new();
    let mut first: Option<(LinkId, Window)> = None;
    for (profile, hours) in held() {
        let before = open.len();
        open.extend(
            hours.windows.iter().map(|window| cut(*window, valid)).filter(|window| window.from < window.to),
        );
        let opens = |window: &Window| (window.from.max(asked.from), std::cmp::Reverse(window.to));
        if let Some(window) = open.get(before)
            && first.is_none_or(|(_, first)| opens(window) < opens(&first))
        {
            first = Some((profile, *window));
        }
    }
    if let Some((profile, window)) = first {
        return Answer { why: Why::Open(profile, window), missing, windows: told(merged(open)) };
    }
    let next =
        held().filter_map(|(profile, hours)| Some((profile, hours.next.filter(|next| *next < valid.to)?)));
    no(Why::Shut(next.min_by_key(|(_, next)| *next)))
}

fn cut(window: Window, by: Window) -> Window {
    Window { from: window.from.max(by.from), to: window.to.min(by.to) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::number::Credential;
    use crate::identifier::rule::{Kind, Lock, MaxPasses, OwnerKind, ProfileIds};
    use crate::identifier::sentence::reason;
    use crate::profile::rule::{Name, Repeat, Rule};

    const DAY: i64 = 86_400;
    /// Monday 23 November 2026, 00:00 in Kyiv.
    const MONDAY: i64 = 1_795_384_800;

    fn zone() -> TimeZone {
        TimeZone::get("Europe/Kyiv").expect("a zone")
    }

    fn id(n: u8) -> LinkId {
        LinkId::from_bytes([n; 16])
    }

    fn daily(from: i64, hours: i64) -> TimeProfile {
        TimeProfile {
            name: Name::new("Days").expect("a name"),
            all_day: false,
            from,
            to: from + hours * 3600,
            repeat: Some(Repeat { rule: Rule::Day, until: None }),
            wording: None,
        }
    }

    fn card(profiles: &[u8]) -> Identifier {
        Identifier {
            apartment: None,
            apartment_uid: None,
            name: Name::new("Flat 12").expect("a name"),
            owner: OwnerKind::Owner,
            credential: Credential::new(Kind::Card, "1234567").expect("a number"),
            lock: Lock::First,
            time: ValidTime::Permanent,
            passes: Passes::Permanent,
            profiles: ProfileIds::new(profiles.iter().map(|n| id(*n))).expect("few"),
            passes_left: None,
        }
    }

    /// The panel holds profile 1, which opens daily from 09:00 to 18:00, and profile 2, from 17:00 to 20:00; no other.
    fn asked(identifier: &Identifier, left: Option<u32>, when: When) -> (Answer, String) {
        let of = |profile| Hours::of(&profile, &zone(), when);
        let held = [(id(1), of(daily(MONDAY + 9 * 3600, 9))), (id(2), of(daily(MONDAY + 17 * 3600, 3)))];
        let hours = |wanted| held.iter().find(|(profile, _)| *profile == wanted).map(|(_, hours)| hours);
        let answer = answer(identifier, left, when, hours);
        let text = reason(&answer, &zone(), |profile| (profile == id(1)).then(|| "Days".to_owned()));
        (answer, text)
    }

    fn at(identifier: &Identifier, left: Option<u32>, at: i64) -> (bool, String) {
        let (answer, text) = asked(identifier, left, When::at(at).expect("a moment"));
        assert!(answer.windows.is_empty());
        (answer.opens(), text)
    }

    fn says(opens: bool, text: &str) -> (bool, String) {
        (opens, text.to_owned())
    }

    #[test]
    fn a_moment_is_answered_with_the_reason() {
        let day = MONDAY + 2 * DAY;
        let noon = day + 12 * 3600;
        assert_eq!(
            at(&card(&[]), None, noon),
            says(true, "it names no time profile, and is valid at any time")
        );
        assert_eq!(at(&card(&[1]), None, noon), says(true, "\"Days\" is open 25 November 2026 09:00–18:00"));
        assert_eq!(
            at(&card(&[1]), None, day + 18 * 3600),
            says(
                false,
                "none of its time profiles is open then; \"Days\" opens next, 26 November 2026 09:00"
            )
        );
        // Of two that are open the one that is so longest.
        let second = "02020202-0202-0202-0202-020202020202";
        let both = format!("{second} is open 25 November 2026 17:00–20:00");
        assert_eq!(at(&card(&[1, 2]), None, day + 17 * 3600 + 1800), says(true, &both));
        let before = "none of its time profiles is open then; \"Days\" opens next, 25 November 2026 09:00";
        assert_eq!(at(&card(&[2, 1]), None, day), says(false, before));
    }

    #[test]
    fn a_profile_that_is_not_on_the_panel_opens_nothing_and_is_named() {
        let noon = MONDAY + 12 * 3600;
        let third = "03030303-0303-0303-0303-030303030303";
        let none = format!("the panel holds none of its time profiles: {third}");
        assert_eq!(at(&card(&[3]), None, noon), says(false, &none));
        let one = format!("\"Days\" is open 23 November 2026 09:00–18:00; the panel does not hold {third}");
        assert_eq!(at(&card(&[3, 1]), None, noon), says(true, &one));
    }

    #[test]
    fn its_own_time_and_its_passes_come_before_its_profiles() {
        let noon = MONDAY + 12 * 3600;
        let valid = |from, to| {
            let mut card = card(&[1]);
            card.time = ValidTime::Between { from, to };
            card
        };
        let later = valid(noon + 1, noon + DAY);
        assert_eq!(at(&later, None, noon), says(false, "it is not valid before 23 November 2026 12:00"));
        let over = valid(0, noon);
        assert_eq!(at(&over, None, noon), says(false, "it was valid until 23 November 2026 12:00"));
        let never = valid(noon, noon);
        assert_eq!(at(&never, None, noon), says(false, "it ends before it begins, so it is never valid"));
        // What it says of its window is cut by its own time, and what comes after it does not come.
        let brief = valid(noon, noon + 1800);
        assert_eq!(at(&brief, None, noon), says(true, "\"Days\" is open 23 November 2026 12:00–12:30"));
        let night = valid(MONDAY, MONDAY + 9 * 3600);
        assert_eq!(at(&night, None, MONDAY), says(false, "none of its time profiles is open then"));

        let mut few = card(&[1]);
        few.passes = Passes::AtMost(MaxPasses::new(2).expect("a number"));
        assert!(at(&few, Some(1), noon).0 && at(&few, None, noon).0);
        assert_eq!(at(&few, Some(0), noon), says(false, "no pass is left"));
        assert!(at(&card(&[1]), Some(0), noon).0, "nobody counts what is permanent");
    }

    #[test]
    fn a_range_is_answered_with_windows_that_are_merged_and_cut() {
        let within = |card: &Identifier, from: i64, to: i64| {
            asked(card, None, When::within(MONDAY + from * 3600, MONDAY + to * 3600).expect("a range"))
        };
        let hours = |answer: &Answer| -> Vec<_> {
            let windows = answer.windows.iter();
            windows.map(|window| ((window.from - MONDAY) / 3600, (window.to - MONDAY) / 3600)).collect()
        };
        let (answer, text) = within(&card(&[2, 1]), 10, 43);
        assert_eq!(hours(&answer), [(10, 20), (33, 43)]);
        assert_eq!(text, "\"Days\" is open 23 November 2026 10:00–18:00");
        let mut brief = card(&[1]);
        brief.time = ValidTime::Between { from: MONDAY + 11 * 3600, to: MONDAY + 34 * 3600 };
        assert_eq!(hours(&within(&brief, 0, 100).0), [(11, 18), (33, 34)]);
        brief.profiles = ProfileIds::default();
        assert_eq!(hours(&within(&brief, 0, 20).0), [(11, 20)]);
        let (night, text) = within(&card(&[1]), 0, 9);
        assert!(!night.opens() && night.windows.is_empty());
        assert_eq!(text, "none of its time profiles is open then");
    }

    #[test]
    fn a_question_has_bounds() {
        assert_eq!(When::within(7, 7), Err(WhenError::Backwards));
        assert_eq!(When::within(0, MAX_DAYS * DAY + 1), Err(WhenError::TooLong));
        assert!(When::within(0, MAX_DAYS * DAY).is_ok());
        assert_eq!(When::within(i64::MIN, i64::MAX), Err(WhenError::OutOfCalendar));
        assert_eq!(When::within(i64::MIN, 0), Err(WhenError::OutOfCalendar));
        assert_eq!(When::at(opens::LAST + 1), Err(WhenError::OutOfCalendar));
        assert!(at(&card(&[1]), None, opens::LAST - 12 * 3600).0);
        assert!(at(&card(&[]), None, Timestamp::MIN.as_second()).0);
    }
}
