//! When a door opens under a schedule, as half-open instants in Unix seconds.

use jiff::tz::TimeZone;

use super::days::Resolved;
use super::{DAY, Day};
use crate::profile::windows::{LONGEST, Local, MAX_WINDOWS, RangeError, Window, merged};

/// The windows within a range of a door in this zone, ascending, merged, and cut at the range's ends.
pub fn windows(
    schedule: &Resolved<'_>,
    zone: &TimeZone,
    from: i64,
    to: i64,
) -> Result<Vec<Window>, RangeError> {
    if from > to {
        return Err(RangeError::Backwards);
    }
    if to.checked_sub(from).is_none_or(|range| range > LONGEST) {
        return Err(RangeError::TooLong);
    }
    let zone = schedule.schedule().zone.as_ref().map_or(zone, |fixed| &fixed.rules);
    let local = Local::new(zone, from, to)?;
    // What began on the day before may last into the range; an offset's change moves nothing by more than a day.
    let hours = schedule.hours(Day(local.day(from) - 2), Day(local.day(to) + 1));
    let mut windows = Vec::new();
    for (day, spans) in hours.iter() {
        for span in spans {
            let begins = local.instant(day.0 * DAY + span.start).max(from);
            let ends = local.instant(day.0 * DAY + span.end).min(to);
            if begins < ends {
                windows.push(Window { from: begins, to: ends });
            }
        }
        if windows.len() > MAX_WINDOWS {
            return Err(RangeError::TooMany);
        }
    }
    // A gap of the clock may have put one behind the next.
    Ok(merged(windows))
}
