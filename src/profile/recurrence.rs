//! The dates that a rule names, on the proleptic Gregorian calendar, without a zone or a clock.
//!
//! Dates are plain integers, so nothing here ends at the year 9999. Every question is bounded: month and year
//! rules repeat after 400 years (146,097 days, which are whole weeks), so a rule that names no date within one
//! cycle of its interval names none at all.
//!
//! These few date rules are our own: a crate for RFC 5545 must also know seconds, exceptions and BYSETPOS over
//! years, none says whether a rule names any date at all in bounded time, and the one at hand (`rrule`) has an
//! open bug with doubled and missing occurrences at daylight-saving changes. An independent library holds
//! ours against the standard in `tests/ics`.

use super::rule::{CustomDates, NthDay, Rule, WeekOrder};

/// A date. `month` is 1–12, `day` 1–31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CivilDate {
    /// The year, astronomically numbered.
    pub year: i64,
    /// The month, 1–12.
    pub month: i64,
    /// The day, 1–31.
    pub day: i64,
}

impl CivilDate {
    /// Days since 1970-01-01.
    pub fn days(self) -> i64 {
        // Years that begin in March put the leap day at their end.
        let march_year = self.year - i64::from(self.month <= 2);
        let (era, year) = (march_year.div_euclid(400), march_year.rem_euclid(400));
        let month = (self.month + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + self.day - 1;
        era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
    }

    /// The date that many days after 1970-01-01.
    pub fn from_days(days: i64) -> Self {
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = (march_month + 2) % 12 + 1;
        Self {
            year: era * 400 + year + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
        }
    }

    /// 0 for Monday to 6 for Sunday.
    pub fn weekday(self) -> i64 {
        (self.days() + 3).rem_euclid(7)
    }
}

/// How many days the month has.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The dates that a rule names when `start` is the date of the first window, as day numbers
/// ([`CivilDate::days`]): ascending, none before `start`.
#[derive(Debug, Clone)]
pub struct Dates {
    start: CivilDate,
    first_day: i64,
    every: i64,
    what: What,
}

/// What is named within a day, week, month or year; sets are bits as in [`super::rule`].
#[derive(Debug, Clone, Copy)]
enum What {
    Day,
    Week(u32),
    MonthDays(u32),
    MonthNth(NthDay),
    YearDay(u32),
    YearNth(u32, NthDay),
}

/// The dates named within one period, in place: a year names at most 12, a month 31.
struct Named {
    days: [i64; 31],
    len: usize,
}

impl Named {
    fn push(&mut self, day: i64) {
        if let Some(slot) = self.days.get_mut(self.len) {
            *slot = day;
            self.len += 1;
        }
    }

    /// The dates of one month; bit `d` is its day `d`.
    fn push_month(&mut self, year: i64, month: i64, mut days: u32) {
        let before = CivilDate { year, month, day: 1 }.days() - 1;
        while days != 0 {
            self.push(before + i64::from(days.trailing_zeros()));
            days &= days - 1;
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + '_ {
        self.days[..self.len].iter().copied()
    }
}

impl Dates {
    /// The dates of a rule that begins on `start`.
    pub fn new(rule: &Rule, start: CivilDate) -> Self {
        let weekday = 1 << start.weekday();
        let (every, what) = match rule {
            Rule::Day => (1, What::Day),
            Rule::Week => (1, What::Week(weekday)),
            Rule::TwoWeeks => (2, What::Week(weekday)),
            Rule::Month => (1, What::MonthDays(1 << start.day)),
            Rule::Year => (1, What::YearDay(1 << start.month)),
            Rule::Custom { every, on } => {
                let what = match on {
                    CustomDates::Day => What::Day,
                    CustomDates::Week(days) => What::Week(days.bits()),
                    CustomDates::MonthDays(days) => What::MonthDays(days.bits()),
                    CustomDates::MonthNth(nth) => What::MonthNth(*nth),
                    CustomDates::Year(months, None) => What::YearDay(months.bits()),
                    CustomDates::Year(months, Some(nth)) => What::YearNth(months.bits(), *nth),
                };
                (every.get(), what)
            }
        };
        Self { start, first_day: start.days(), every, what }
    }

    /// The named dates from this day on. Ends only where a rule names no date any more.
    pub fn from(&self, day: i64) -> impl Iterator<Item = i64> + '_ {
        let day = day.max(self.first_day);
        let mut step =
            (self.period(CivilDate::from_days(day)) - self.period(self.start)).div_euclid(self.every);
        let mut named = self.named(step);
        let mut next = 0;
        std::iter::from_fn(move || {
            let mut empty = 0;
            loop {
                while next < named.len {
                    let date = named.days[next];
                    next += 1;
                    if date >= day {
                        return Some(date);
                    }
                }
                // The first period may be cut by `day`, so one more than a whole cycle.
                if empty > self.cycle() {
                    return None;
                }
                empty += 1;
                step += 1;
                named = self.named(step);
                next = 0;
            }
        })
    }

    /// The last named date up to this day.
    pub fn last_until(&self, day: i64) -> Option<i64> {
        if day < self.first_day {
            return None;
        }
        let last = (self.period(CivilDate::from_days(day)) - self.period(self.start)).div_euclid(self.every);
        (0..=self.cycle().saturating_add(1).min(last)).find_map(|back| {
            self.named(last - back).iter().rev().find(|date| (self.first_day..=day).contains(date))
        })
    }

    /// The number of the day, week (Monday first), month or year that a date lies in.
    fn period(&self, date: CivilDate) -> i64 {
        match self.what {
            What::Day => date.days(),
            What::Week(_) => (date.days() + 3).div_euclid(7),
            What::MonthDays(_) | What::MonthNth(_) => date.year * 12 + date.month - 1,
            What::YearDay(_) | What::YearNth(..) => date.year,
        }
    }

    /// After so many steps the pattern of periods with and without dates comes again.
    fn cycle(&self) -> i64 {
        match self.what {
            What::Day | What::Week(_) => 1,
            What::MonthDays(_) | What::MonthNth(_) => 4800 / gcd(self.every, 4800),
            What::YearDay(_) | What::YearNth(..) => 400 / gcd(self.every, 400),
        }
    }

    /// The dates in the period that many steps after that of the start; for step 0 also those before the start.
    fn named(&self, step: i64) -> Named {
        let at = self.period(self.start) + step * self.every;
        let mut named = Named { days: [0; 31], len: 0 };
        match self.what {
            What::Day => named.push(at),
            What::Week(days) => {
                (0..7).filter(|day| days & (1 << day) != 0).for_each(|day| named.push(at * 7 - 3 + day));
            }
            What::MonthDays(days) => {
                let (year, month) = (at.div_euclid(12), at.rem_euclid(12) + 1);
                named.push_month(year, month, cut(days, year, month));
            }
            What::MonthNth(nth) => {
                let (year, month) = (at.div_euclid(12), at.rem_euclid(12) + 1);
                named.push_month(year, month, nth_day(nth, year, month));
            }
            What::YearDay(months) => {
                for month in (1..=12).filter(|month| months & (1 << month) != 0) {
                    named.push_month(at, month, cut(1 << self.start.day, at, month));
                }
            }
            What::YearNth(months, nth) => {
                for month in (1..=12).filter(|month| months & (1 << month) != 0) {
                    named.push_month(at, month, nth_day(nth, at, month));
                }
            }
        }
        named
    }
}

/// The first date at or after `start` that the rule names when `start` is the date of the first window;
/// `None` when the rule names no date, ever.
pub fn first_date(rule: &Rule, start: CivilDate) -> Option<CivilDate> {
    Dates::new(rule, start).from(start.days()).next().map(CivilDate::from_days)
}

/// Those of the days that the month has.
fn cut(days: u32, year: i64, month: i64) -> u32 {
    let all = u32::MAX >> (31 - days_in_month(year, month));
    days & all
}

/// The n-th matching day of the month as a bit, or no bit when the month has none.
fn nth_day(nth: NthDay, year: i64, month: i64) -> u32 {
    let first_weekday = CivilDate { year, month, day: 1 }.weekday();
    let mut matching =
        (1..=days_in_month(year, month)).filter(|day| nth.day.matches((first_weekday + day - 1) % 7));
    let day = match nth.order {
        WeekOrder::Nth(n) => matching.nth(usize::from(n) - 1),
        WeekOrder::Last => matching.next_back(),
    };
    day.map_or(0, |day| 1 << day)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::rule::{DayType, DaysOfMonth, Every, Months};

    fn date(year: i64, month: i64, day: i64) -> CivilDate {
        CivilDate { year, month, day }
    }

    fn custom(every: i64, on: CustomDates) -> Rule {
        Rule::Custom { every: Every::new(every).expect("in range"), on }
    }

    #[test]
    fn dates_and_day_numbers_are_each_others_inverse_over_the_whole_cycle() {
        let mut expected = date(1600, 3, 1);
        for days in expected.days()..date(2100, 1, 1).days() {
            assert_eq!(CivilDate::from_days(days), expected);
            assert_eq!(expected.days(), days);
            expected.day += 1;
            if expected.day > days_in_month(expected.year, expected.month) {
                expected = date(expected.year + expected.month / 12, expected.month % 12 + 1, 1);
            }
        }
        assert_eq!(date(1970, 1, 1).days(), 0);
        assert_eq!(date(2026, 11, 23).weekday(), 0);
    }

    #[test]
    fn thirty_one_february_is_never() {
        let feb_31 = custom(12, CustomDates::MonthDays(DaysOfMonth::new([31]).expect("in range")));
        assert_eq!(first_date(&feb_31, date(2025, 2, 1)), None);
        assert_eq!(first_date(&feb_31, date(2025, 1, 1)), Some(date(2025, 1, 31)));
        let year = custom(1, CustomDates::Year(Months::new([2]).expect("in range"), None));
        assert_eq!(first_date(&year, date(2025, 1, 30)), None);
        assert_eq!(first_date(&year, date(2025, 1, 29)), Some(date(2028, 2, 29)));
    }

    #[test]
    fn a_leap_day_at_a_long_interval_is_found_or_ruled_out_exactly() {
        let leap = |every| custom(every, CustomDates::Year(Months::new([2]).expect("in range"), None));
        assert_eq!(first_date(&leap(4), date(2025, 1, 29)), None);
        assert_eq!(first_date(&leap(999), date(2025, 1, 29)), first_by_walking(999));
        assert_eq!(first_date(&leap(100), date(2100, 1, 29)), Some(date(2400, 2, 29)));
    }

    fn first_by_walking(every: i64) -> Option<CivilDate> {
        (0..500).map(|k| 2025 + k * every).find(|year| is_leap(*year)).map(|year| date(year, 2, 29))
    }

    #[test]
    fn a_fifth_monday_of_february_comes_in_leap_years_that_begin_on_a_thursday() {
        let nth = NthDay { order: WeekOrder::Nth(5), day: DayType::Weekday(0) };
        let rule = |every| custom(every, CustomDates::Year(Months::new([2]).expect("in range"), Some(nth)));
        assert_eq!(first_date(&rule(1), date(2025, 1, 1)), Some(date(2044, 2, 29)));
        assert_eq!(first_date(&rule(400), date(2025, 1, 1)), None);
        let monthly = custom(12, CustomDates::MonthNth(nth));
        assert_eq!(first_date(&monthly, date(2025, 2, 1)), Some(date(2044, 2, 29)));
    }

    #[test]
    fn a_week_rule_begins_later_in_the_first_week_or_one_interval_on() {
        use crate::profile::rule::Weekdays;
        let mondays = custom(3, CustomDates::Week(Weekdays::new([0]).expect("in range")));
        assert_eq!(first_date(&mondays, date(2026, 11, 23)), Some(date(2026, 11, 23)));
        assert_eq!(first_date(&mondays, date(2026, 11, 24)), Some(date(2026, 12, 14)));
    }
}
