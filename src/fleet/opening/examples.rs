//! Which changes of opening hours are the largest, in words.

use std::collections::{BTreeMap, HashMap};

use super::{Alike, Example};
use crate::profile::windows::{Local, Window};
use crate::schedule::sentence::{date, weekdays};
use crate::schedule::{DAY, Day, Span};

/// How many are told.
const TOLD: usize = 10;

/// How many dates are told one by one.
const DATES: usize = 3;

/// The same change on some doors: whether it opens, from when to when by the clock, and on which days.
type Same = (bool, Span, Vec<Day>);

/// The largest ones first, by doors and time.
pub(super) fn largest<'a>(
    alike: impl Iterator<Item = (&'a Local, &'a Alike)>,
    days: (Day, Day),
) -> Vec<Example> {
    let mut on: HashMap<Same, u64> = HashMap::new();
    for (local, alike) in alike {
        for (opens, windows) in [(true, &alike.opens), (false, &alike.closes)] {
            for (span, days) in by_span(local, windows) {
                *on.entry((opens, span, days)).or_default() += alike.panels;
            }
        }
    }
    // What goes over an hour that comes twice ends earlier by the clock than it began, perhaps.
    let length = |span: &Span| (span.end - span.start).max(0).unsigned_abs();
    let seconds = |((_, span, days), panels): &(Same, u64)| length(span) * days.len() as u64 * panels;
    let mut all: Vec<_> = on.into_iter().collect();
    all.sort_unstable_by(|one, other| seconds(other).cmp(&seconds(one)).then_with(|| one.cmp(other)));
    let told = all.into_iter().take(TOLD).map(|((opens, span, on), panels)| {
        let what = if opens { "opens" } else { "closes" };
        Example { panels, text: format!("{} {} {what}", said(&on, days), span) }
    });
    told.collect()
}

/// Windows by the clock on the wall, with the days on which they begin.
fn by_span(local: &Local, windows: &[Window]) -> BTreeMap<Span, Vec<Day>> {
    let mut by_span = BTreeMap::<Span, Vec<Day>>::new();
    for window in windows {
        let (from, to) = (local.local(window.from), local.local(window.to));
        let day = from.div_euclid(DAY);
        let span = Span { start: from - day * DAY, end: to - day * DAY };
        // What lasts for days is told by days.
        if span.end - span.start > DAY {
            let last = (to - 1).div_euclid(DAY);
            for of in day..=last {
                let part = Span { start: (from - of * DAY).max(0), end: (to - of * DAY).min(DAY) };
                by_span.entry(part).or_default().push(Day(of));
            }
        } else {
            by_span.entry(span).or_default().push(Day(day));
        }
    }
    by_span
}

/// Days in words: weekdays where it is all of theirs, dates else.
fn said(on: &[Day], (first, end): (Day, Day)) -> String {
    let whole: Vec<i64> = (0..7)
        .filter(|weekday| {
            let mut all = (first.0..end.0).map(Day).filter(|day| day.weekday() as i64 == *weekday).peekable();
            all.peek().is_some() && all.all(|day| on.contains(&day))
        })
        .collect();
    let dates: Vec<_> = on.iter().filter(|day| !whole.contains(&(day.weekday() as i64))).collect();
    let mut told = Vec::new();
    if !whole.is_empty() {
        told.push(weekdays(&whole));
    }
    told.extend(dates.iter().take(DATES).map(|day| date(**day)));
    if dates.len() > DATES {
        told.push(format!("{} more dates", dates.len() - DATES));
    }
    told.join(", ")
}
