//! The fewest rules that name some days.
//!
//! A panel's rule is *these weekdays, from this day to that one*, and has no exceptions: so the days are covered with such
//! rules, none of which may name another day. They may overlap, since windows that do are one.
//!
//! The first day that is not covered yet begins a rule. How far that reaches is the choice: the further, the fewer weekdays
//! it can have, since one goes where a day of it is missing. All choices are followed side by side, a rule at a time, and of
//! what they reach the best are kept: those that nothing else surpasses on every weekday, at most `KEPT` of them. With few
//! days missing, that is all of them, and the answer is the best there is; the laws compare it with a search through
//! everything on small cases. Days that come each year are tried as rules of each year too.

use serde::{Deserialize, Serialize};

use super::{Day, MonthDay};
use crate::profile::recurrence::CivilDate;

/// How many ways are followed side by side.
const KEPT: usize = 24;

/// Beyond every day.
const NEVER: i64 = i64::MAX;

/// Some days from a first to a last one.
#[derive(Debug, Clone)]
pub struct Days {
    /// The first and the last day of the range that the days are given for.
    pub range: (Day, Day),
    /// The days, ascending, each once, all within the range.
    pub days: Vec<Day>,
    /// The weekdays, Monday first, on which it goes on behind the range as it is at its end.
    pub go_on: [bool; 7],
    /// The day of each year that goes on behind the range.
    pub yearly_goes_on: Vec<MonthDay>,
}

/// A rule: from its first day on, which it names, to its last one, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The first day that it names.
    pub first: Day,
    /// The last day that it names; `None` for ever.
    pub last: Option<Day>,
    /// Which days between.
    pub names: Names,
}

/// Which days a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// These weekdays, Monday first.
    Weekdays([bool; 7]),
    /// The month and day of its first one.
    Yearly,
}

/// Rules that name these days and no others.
pub fn cover(days: &Days) -> Vec<Rule> {
    let weekly = cover_by_weeks(days, &days.days);
    let (yearly, rest) = split_yearly(days);
    if yearly.is_empty() {
        return weekly;
    }
    let mut with_yearly = cover_by_weeks(days, &rest);
    with_yearly.extend(yearly);
    if with_yearly.len() < weekly.len() { with_yearly } else { weekly }
}

/// Days that come each year and stand alone in their weeks, as rules; and all others.
fn split_yearly(all: &Days) -> (Vec<Rule>, Vec<Day>) {
    let is_there = |day: i64| all.days.binary_search(&Day(day)).is_ok();
    let alone = |day: &Day| !is_there(day.0 - 7) && !is_there(day.0 + 7);
    let mut by_date = std::collections::BTreeMap::<MonthDay, Vec<Day>>::new();
    for day in all.days.iter().filter(|day| alone(day)) {
        let CivilDate { month, day: of_month, .. } = day.date();
        if (month, of_month) != (2, 29) {
            by_date.entry(MonthDay { month, day: of_month }).or_default().push(*day);
        }
    }
    let (mut rules, mut named) = (Vec::new(), Vec::new());
    for (date, days) in by_date {
        // Years that follow each other.
        for chain in days.chunk_by(|one, next| next.date().year == one.date().year + 1) {
            let (first, last) = (chain[0], chain[chain.len() - 1]);
            let next = CivilDate { year: last.date().year + 1, month: date.month, day: date.day }.days();
            let goes_on = next > all.range.1.0 && all.yearly_goes_on.contains(&date);
            if chain.len() > 1 || goes_on {
                rules.push(Rule { first, last: (!goes_on).then_some(last), names: Names::Yearly });
                named.extend_from_slice(chain);
            }
        }
    }
    named.sort_unstable();
    let rest = all.days.iter().filter(|day| named.binary_search(day).is_err()).copied().collect();
    (rules, rest)
}

/// Days of one weekday, week after week.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: i64,
    /// [`NEVER`] where it goes on.
    last: i64,
}

/// How far each weekday is covered: its first day that is not, or [`NEVER`].
type Reached = [i64; 7];

/// A way to have reached something.
#[derive(Debug, Clone, Copy)]
struct Way {
    reached: Reached,
    /// The last rule, and the way before it.
    rule: Rule,
    before: Option<usize>,
}

fn cover_by_weeks(all: &Days, days: &[Day]) -> Vec<Rule> {
    let runs = runs(all, days);
    let start = std::array::from_fn(|weekday| runs[weekday].first().map_or(NEVER, |run| run.first));
    if start == [NEVER; 7] {
        return Vec::new();
    }
    let mut ways: Vec<Way> = Vec::new();
    let mut front: Vec<(Reached, Option<usize>)> = vec![(start, None)];
    loop {
        let mut next: Vec<Way> = Vec::new();
        for (reached, before) in &front {
            each_rule(&runs, reached, |rule, reached| {
                next.push(Way { reached, rule, before: *before });
            });
        }
        if let Some(done) = next.iter().find(|way| way.reached == [NEVER; 7]) {
            let mut rules = vec![done.rule];
            let mut before = done.before;
            while let Some(way) = before {
                rules.push(ways[way].rule);
                before = ways[way].before;
            }
            rules.reverse();
            return rules;
        }
        keep_best(&mut next);
        front.clear();
        for way in next {
            front.push((way.reached, Some(ways.len())));
            ways.push(way);
        }
    }
}

/// The days by their weekdays, as runs.
fn runs(all: &Days, days: &[Day]) -> [Vec<Run>; 7] {
    let mut runs: [Vec<Run>; 7] = Default::default();
    for day in days {
        let runs = &mut runs[day.weekday()];
        match runs.last_mut() {
            Some(run) if run.last + 7 == day.0 => run.last = day.0,
            _ => runs.push(Run { first: day.0, last: day.0 }),
        }
    }
    for (weekday, runs) in runs.iter_mut().enumerate().filter(|(weekday, _)| all.go_on[*weekday]) {
        match runs.last_mut() {
            Some(run) if run.last + 7 > all.range.1.0 => run.last = NEVER,
            // Its last day within the range is missing: it begins again behind it.
            _ => {
                let behind = all.range.1.0 + 1;
                let first = behind + (weekday as i64 - Day(behind).weekday() as i64).rem_euclid(7);
                runs.push(Run { first, last: NEVER });
            }
        }
    }
    runs
}

/// Every rule that begins with the first day that is not covered and is worth a try, with what is reached by it.
fn each_rule(runs: &[Vec<Run>; 7], reached: &Reached, mut told: impl FnMut(Rule, Reached)) {
    let first = *reached.iter().min().unwrap_or(&NEVER);
    let its = Day(first).weekday();
    // Up to which day a rule may go that has this weekday, and the first of its days.
    let bound: [(i64, i64); 7] = std::array::from_fn(|weekday| {
        let next = first + (weekday as i64 - its as i64).rem_euclid(7);
        let at = runs[weekday].partition_point(|run| run.last < next);
        match runs[weekday].get(at) {
            Some(run) if run.first <= next && run.last == NEVER => (NEVER, next),
            Some(run) if run.first <= next => (run.last + 6, next),
            _ => (next - 1, next),
        }
    });
    let mut ends: Vec<i64> = bound.iter().map(|(bound, _)| *bound).filter(|end| *end >= first).collect();
    ends.sort_unstable();
    ends.dedup();
    for end in ends.into_iter().filter(|end| *end <= bound[its].0) {
        let mut weekdays = [false; 7];
        let (mut after, mut last) = (*reached, first);
        for weekday in 0..7 {
            let (bound, next) = bound[weekday];
            if bound < end || next > end {
                continue;
            }
            weekdays[weekday] = true;
            if end == NEVER {
                last = NEVER;
                after[weekday] = NEVER;
                continue;
            }
            let last_of_it = next + (end - next) / 7 * 7;
            last = last.max(last_of_it);
            if after[weekday] <= last_of_it {
                after[weekday] = behind(&runs[weekday], last_of_it);
            }
        }
        let last = (last != NEVER).then_some(Day(last));
        told(Rule { first: Day(first), last, names: Names::Weekdays(weekdays) }, after);
    }
}

/// The first of the days behind this one.
fn behind(runs: &[Run], day: i64) -> i64 {
    let at = runs.partition_point(|run| run.last <= day);
    runs.get(at).map_or(NEVER, |run| if run.first > day { run.first } else { day + 7 })
}

/// Keeps the ways that no other surpasses, and of these those that have covered most.
fn keep_best(ways: &mut Vec<Way>) {
    // A week counts the same on every weekday; what is covered for ever counts as much as is left at most.
    let furthest = ways.iter().flat_map(|way| way.reached).filter(|day| *day != NEVER).max().unwrap_or(0);
    let sum = |way: &Way| way.reached.iter().map(|day| (*day).min(furthest + 7)).sum::<i64>();
    ways.sort_by_cached_key(|way| (std::cmp::Reverse(sum(way)), way.reached));
    let mut kept: Vec<Way> = Vec::new();
    for way in ways.drain(..) {
        let surpassed = kept.iter().any(|other| other.reached.iter().zip(way.reached).all(|(o, w)| *o >= w));
        if !surpassed {
            kept.push(way);
            if kept.len() == KEPT {
                break;
            }
        }
    }
    *ways = kept;
}
