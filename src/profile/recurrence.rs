//! The dates that a rule names, on the proleptic Gregorian calendar, without a zone or a clock.
//!
//! Dates are plain integers, so nothing here ends at the year 9999. Every question is bounded: month and year
//! rules repeat after 400 years (146,097 days, which are whole weeks), so a rule that names no date within one
//! cycle of its interval names none at all.

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

/// The first date at or after `start` that the rule names when `start` is the date of the first window;
/// `None` when the rule names no date, ever.
pub fn first_date(rule: &Rule, start: CivilDate) -> Option<CivilDate> {
    match rule {
        Rule::Day | Rule::Week | Rule::TwoWeeks | Rule::Month | Rule::Year => Some(start),
        Rule::Custom { every, on } => {
            let every = every.get();
            match on {
                CustomDates::Day => Some(start),
                CustomDates::Week(days) => {
                    let weekday = start.weekday();
                    let later_this_week = days.iter().find(|day| *day >= weekday);
                    let days_on = match later_this_week {
                        Some(day) => day - weekday,
                        None => 7 * every + days.iter().next()? - weekday,
                    };
                    Some(CivilDate::from_days(start.days() + days_on))
                }
                CustomDates::MonthDays(days) => {
                    first_in_months(start, every, |year, month| cut(days.bits(), year, month))
                }
                CustomDates::MonthNth(nth) => {
                    first_in_months(start, every, |year, month| nth_day(*nth, year, month))
                }
                CustomDates::Year(months, nth) => first_in_years(start, every, |year| {
                    let named = months.iter().map(move |month| {
                        let days = match nth {
                            Some(nth) => nth_day(*nth, year, month),
                            None => cut(1 << start.day, year, month),
                        };
                        (month, days)
                    });
                    earliest(named, year, start)
                }),
            }
        }
    }
}

/// Walks every `every`-th month from that of `start` until one has a named day at or after `start`,
/// through one whole cycle and the first month again (which `start` may have cut).
fn first_in_months(start: CivilDate, every: i64, days: impl Fn(i64, i64) -> u32) -> Option<CivilDate> {
    const CYCLE: i64 = 400 * 12;
    let first = start.year * 12 + start.month - 1;
    (0..=CYCLE / gcd(every, CYCLE)).find_map(|step| {
        let at = first + step * every;
        let (year, month) = (at.div_euclid(12), at.rem_euclid(12) + 1);
        earliest([(month, days(year, month))].into_iter(), year, start)
    })
}

/// As [`first_in_months`], by years.
fn first_in_years(
    start: CivilDate,
    every: i64,
    date: impl Fn(i64) -> Option<CivilDate>,
) -> Option<CivilDate> {
    const CYCLE: i64 = 400;
    (0..=CYCLE / gcd(every, CYCLE)).find_map(|step| date(start.year + step * every))
}

/// The first of the months' named days at or after `start`. Bit `d` of a month's days is its day `d`.
fn earliest(months: impl Iterator<Item = (i64, u32)>, year: i64, start: CivilDate) -> Option<CivilDate> {
    months
        .filter_map(|(month, days)| {
            let before_start =
                if (year, month) == (start.year, start.month) { (1u32 << start.day) - 1 } else { 0 };
            let days = days & !before_start;
            (days != 0).then(|| CivilDate { year, month, day: i64::from(days.trailing_zeros()) })
        })
        .find(|date| *date >= start)
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
