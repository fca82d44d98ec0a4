//! A week of a door, drawn: seven days in the panel's zone, with the windows of each profile.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::layout::{self, moment_in};
use crate::profile::windows::Window;

/// Profiles that have a lane of their own; the others are one more lane together.
const LANES: usize = 6;

const GUTTER: f64 = 34.0;
const DAY_WIDTH: f64 = 92.0;
const HEAD: f64 = 22.0;
const HOUR: f64 = 15.0;
const WIDTH: f64 = GUTTER + 7.0 * DAY_WIDTH;
const HEIGHT: f64 = HEAD + 24.0 * HOUR + 6.0;

const MINUTES: f64 = 24.0 * 60.0;

/// A week in a zone, Monday first.
#[derive(Debug, Clone)]
pub struct Week {
    monday: Date,
    zone: TimeZone,
}

impl Week {
    /// The week that this day is in.
    pub fn of(day: Date, zone: &TimeZone) -> Self {
        let since = i32::from(day.weekday().to_monday_zero_offset());
        let monday = day.checked_sub(jiff::Span::new().days(since)).unwrap_or(day);
        Self { monday, zone: zone.clone() }
    }

    /// The week of a moment, in Unix seconds.
    pub fn at(seconds: i64, zone: &TimeZone) -> Self {
        let day = Timestamp::from_second(seconds)
            .map_or(Date::constant(1970, 1, 1), |at| zone.to_datetime(at).date());
        Self::of(day, zone)
    }

    /// From its text in a query, else the week of `now`. Years before 1 and after 9998 are beyond what is drawn.
    pub fn parse(text: &str, now: i64, zone: &TimeZone) -> Self {
        match text.parse::<Date>() {
            Ok(day) if (1..9999).contains(&day.year()) => Self::of(day, zone),
            _ => Self::at(now, zone),
        }
    }

    /// The Monday, as it stands in a query.
    pub fn text(&self) -> String {
        self.monday.to_string()
    }

    /// So many weeks later.
    #[must_use]
    pub fn later(&self, weeks: i32) -> Self {
        let monday = self.monday.checked_add(jiff::Span::new().weeks(weeks)).unwrap_or(self.monday);
        Self { monday, zone: self.zone.clone() }
    }

    /// From its first second to the one behind its last.
    pub fn range(&self) -> (i64, i64) {
        (self.start_of(0), self.start_of(7))
    }

    /// Its days in words, which the page's script writes as its reader does.
    pub fn heading(&self) -> Markup {
        html! { b data-days={ (self.monday) "/" (self.day(6)) } { (self.title()) } }
    }

    /// Such as `23 – 29 Nov 2026`.
    fn title(&self) -> String {
        let sunday = self.day(6);
        let from = match (self.monday.year() == sunday.year(), self.monday.month() == sunday.month()) {
            (true, true) => "%-d",
            (true, false) => "%-d %b",
            (false, _) => "%-d %b %Y",
        };
        format!("{} – {}", self.monday.strftime(from), sunday.strftime("%-d %b %Y"))
    }

    fn day(&self, n: i32) -> Date {
        self.monday.checked_add(jiff::Span::new().days(n)).unwrap_or(self.monday)
    }

    /// When a day begins, in Unix seconds.
    fn start_of(&self, day: i32) -> i64 {
        let midnight = self.day(day).to_datetime(Time::midnight());
        self.zone.to_timestamp(midnight).map_or(0, Timestamp::as_second)
    }

    /// What of a window falls on a day, in minutes of the clock on the wall.
    fn on(&self, day: i32, window: Window) -> Option<(f64, f64)> {
        let (start, end) = (self.start_of(day), self.start_of(day + 1));
        let (from, to) = (window.from.max(start), window.to.min(end));
        if from >= to {
            return None;
        }
        let from = if from == start { 0.0 } else { self.minutes(from) };
        let to = if to == end { MINUTES } else { self.minutes(to) };
        // When clocks are set back, a window may end before it begins by the clock.
        Some((from, to.max(from + 1.0)))
    }

    fn minutes(&self, seconds: i64) -> f64 {
        Timestamp::from_second(seconds).map_or(0.0, |at| {
            let time = self.zone.to_datetime(at).time();
            f64::from(time.hour()) * 60.0 + f64::from(time.minute()) + f64::from(time.second()) / 60.0
        })
    }
}

/// These windows, in any order, merged where they overlap or touch.
pub fn union(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort_unstable();
    let mut merged: Vec<Window> = Vec::new();
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
            _ => merged.push(window),
        }
    }
    merged
}

/// The windows of one profile within a week.
pub struct Lane {
    /// The profile's name.
    pub name: String,
    /// Its windows, ascending.
    pub windows: Vec<Window>,
    /// Why the door may not open by it, such as `pending`; nothing where the panel has confirmed it.
    pub unsure: Option<&'static str>,
}

impl Lane {
    /// Its name, and what is unsure about it.
    fn said(&self) -> String {
        match self.unsure {
            Some(why) => format!("{} ({why})", self.name),
            None => self.name.clone(),
        }
    }

    /// The class of its colour; what is unsure is an outline instead.
    fn class(&self, n: usize) -> String {
        let unsure = if self.unsure.is_some() { " unsure" } else { "" };
        format!("lane lane{}{unsure}", n.min(LANES))
    }
}

/// Several lanes as one.
fn together(lanes: Vec<Lane>, unsure: Option<&'static str>) -> Option<Lane> {
    let name = format!("{} more", lanes.len());
    let windows = union(lanes.into_iter().flat_map(|lane| lane.windows).collect());
    (name != "0 more").then_some(Lane { name, windows, unsure })
}

/// The week with these profiles' windows, what the lanes are, and the same as a list. `now` is marked, where it is in
/// the week.
pub fn draw(week: &Week, mut lanes: Vec<Lane>, now: i64) -> Markup {
    let rest = lanes.split_off(lanes.len().min(LANES));
    let (sure, unsure): (Vec<_>, Vec<_>) = rest.into_iter().partition(|lane| lane.unsure.is_none());
    lanes.extend(together(sure, None));
    lanes.extend(together(unsure, Some("not confirmed")));
    let told_apart = lanes.len() > 1 || lanes.iter().any(|lane| lane.unsure.is_some());
    let title = format!("{}, {}", week.title(), week.zone.iana_name().unwrap_or("UTC"));
    html! {
        div class="scroll" tabindex="0" role="region" aria-label={ "Calendar, " (title) } {
            svg class="week" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ "When the door opens, " (title) "; the same as a list is below" } {
                @for hour in (0..=24).step_by(3) {
                    @let y = HEAD + f64::from(hour) * HOUR;
                    line x1=(GUTTER) x2=(WIDTH) y1=(y) y2=(y) {}
                    text x=(GUTTER - 5.0) y=(y + 3.5) class="hour" { (format!("{hour:02}")) }
                }
                @for day in 0..7 {
                    @let x = GUTTER + f64::from(day) * DAY_WIDTH;
                    line x1=(x) x2=(x) y1=(HEAD) y2=(HEAD + 24.0 * HOUR) {}
                    text x=(x + DAY_WIDTH / 2.0) y=(HEAD - 8.0) class="day" data-day=(week.day(day)) { (week.day(day).strftime("%a %-d %b")) }
                    @for block in blocks(week, day, &lanes) { (block.draw(week, day, lanes.len() > 1)) }
                    @let (start, end) = (week.start_of(day), week.start_of(day + 1));
                    @if (start..end).contains(&now) {
                        @let y = HEAD + week.minutes(now) / 60.0 * HOUR;
                        line class="now" x1=(x) x2=(x + DAY_WIDTH) y1=(y) y2=(y) {}
                        circle class="now" cx=(x) cy=(y) r="3" { title { "now" } }
                    }
                }
            }
        }
        @if told_apart {
            ol class="lanes" {
                @for (n, lane) in lanes.iter().enumerate() {
                    li {
                        b class=(lane.class(n)) { (mark(n)) } " " (layout::name(&lane.name))
                        @if let Some(why) = lane.unsure { " – " em { (why) } }
                    }
                }
            }
        }
        (list(week, &lanes))
    }
}

/// A window on a day, beside those that it overlaps with.
struct Block<'l> {
    /// From and to, in minutes of the day.
    minutes: (f64, f64),
    /// The number of its lane.
    lane: usize,
    of: &'l Lane,
    window: Window,
    /// Its column, and of how many.
    column: usize,
    columns: usize,
}

/// What is drawn on a day. Windows that overlap share the day's width, each lane in a column of its own.
fn blocks<'l>(week: &Week, day: i32, lanes: &'l [Lane]) -> Vec<Block<'l>> {
    let mut blocks = Vec::new();
    for (n, lane) in lanes.iter().enumerate() {
        for window in &lane.windows {
            if let Some(minutes) = week.on(day, *window) {
                blocks.push(Block { minutes, lane: n, of: lane, window: *window, column: 0, columns: 1 });
            }
        }
    }
    blocks.sort_by(|a, b| a.minutes.0.total_cmp(&b.minutes.0));
    let mut start = 0;
    while start < blocks.len() {
        let mut last = blocks[start].minutes.1;
        let overlap = blocks[start..].iter().take_while(|block| {
            let overlaps = block.minutes.0 < last;
            last = last.max(if overlaps { block.minutes.1 } else { last });
            overlaps
        });
        let end = start + overlap.count().max(1);
        let mut side_by_side: Vec<_> = blocks[start..end].iter().map(|block| block.lane).collect();
        side_by_side.sort_unstable();
        side_by_side.dedup();
        for block in &mut blocks[start..end] {
            block.columns = side_by_side.len();
            block.column = side_by_side.binary_search(&block.lane).unwrap_or(0);
        }
        start = end;
    }
    blocks
}

impl Block<'_> {
    /// `several` says that lanes have to be told apart.
    fn draw(&self, week: &Week, day: i32, several: bool) -> Markup {
        let (from, to) = self.minutes;
        let width = (DAY_WIDTH - 4.0) / self.columns as f64;
        let x = GUTTER + f64::from(day) * DAY_WIDTH + 2.0 + self.column as f64 * width;
        let (y, height) = (HEAD + from / 60.0 * HOUR, ((to - from) / 60.0 * HOUR).max(2.0));
        let hours = hours(week, day, self.window);
        html! {
            g class=(self.of.class(self.lane)) {
                title { (self.of.said()) ": " (hours) }
                rect x=(round(x)) y=(round(y)) width=(round(width - 1.0)) height=(round(height)) rx="2" {}
                @if height >= 12.0 {
                    text x=(round(x + 4.0)) y=(round(y + 11.0)) {
                        @if several { (mark(self.lane)) " " }
                        @if self.columns == 1 {
                            (hours)
                            @if let Some(why) = self.of.unsure { " " (why) }
                        } @else if self.of.unsure.is_some() { "?" }
                    }
                }
            }
        }
    }
}

/// What a lane is called in the drawing.
fn mark(lane: usize) -> String {
    if lane < LANES { (lane + 1).to_string() } else { "+".to_owned() }
}

fn round(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}

/// Such as `09:00–18:00`; what runs over midnight says so.
fn hours(week: &Week, day: i32, window: Window) -> String {
    let (start, end) = (week.start_of(day), week.start_of(day + 1));
    let clock = |seconds: i64| {
        let at = Timestamp::from_second(seconds).unwrap_or_default();
        let time = week.zone.to_datetime(at).time();
        time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
    };
    match (window.from <= start, window.to >= end) {
        (true, true) => "all day".to_owned(),
        (false, true) if window.to == end => format!("{}–24:00", clock(window.from)),
        (false, true) => format!("{}–…", clock(window.from)),
        (true, false) if window.from == start => format!("00:00–{}", clock(window.to)),
        (true, false) => format!("…–{}", clock(window.to)),
        (false, false) => format!("{}–{}", clock(window.from), clock(window.to)),
    }
}

fn list(week: &Week, lanes: &[Lane]) -> Markup {
    html! {
        details {
            summary { "The week as a list" }
            @if lanes.iter().all(|lane| lane.windows.is_empty()) {
                p { "No profile is open in this week." }
            } @else {
                table {
                    thead { tr { th { "Day" } th { "Opens" } th { "Profile" } } }
                    tbody {
                        @for day in 0..7 {
                            @for lane in lanes {
                                @for window in lane.windows.iter().filter(|window| week.on(day, **window).is_some()) {
                                    tr {
                                        td data-day=(week.day(day)) { (week.day(day).strftime("%a %-d %b")) }
                                        td { (hours(week, day, *window)) }
                                        td { (lane.said()) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How a door is.
pub struct Door<'d> {
    /// By which profiles it is open now.
    pub open: &'d [&'d str],
    /// When that changes.
    pub next: Option<i64>,
    /// The zone in which it stands.
    pub zone: &'d TimeZone,
    /// Whether it is a device's, and this is what the device has confirmed.
    pub confirmed: bool,
    /// Whether identifiers that no profile binds open it at any time, as one of the notes says.
    pub at_any_time: bool,
    /// Who opens it without a profile, and what is not confirmed and may change it.
    pub notes: &'d [String],
}

/// When the door opens now, or next, in words.
pub fn door(door: &Door<'_>) -> Markup {
    let Door { open, next, zone, confirmed, at_any_time, notes } = *door;
    html! {
        p class="door" {
            @if open.is_empty() {
                span class="state shut" { @if at_any_time { "by no profile now" } @else { "shut now" } }
                @if confirmed { ", as confirmed by the device" }
                @if let Some(next) = next { ", opens " (moment_in(next, zone)) }
                @else if at_any_time { " and by none any more" }
                @else { " and opens no more" }
            } @else {
                span class="state open" { "open now" }
                @if confirmed { ", as confirmed by the device," }
                " by "
                @for (i, name) in open.iter().take(LANES).enumerate() { @if i > 0 { ", " } (layout::name(name)) }
                @if open.len() > LANES { " and " (open.len() - LANES) " more" }
                @if let Some(next) = next { ", shut from " (moment_in(next, zone)) }
                @else { ", and for weeks to come" }
            }
        }
        @for note in notes { p class="warning" { (note) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(zone: &str, day: &str) -> Week {
        Week::of(day.parse().expect("a day"), &TimeZone::get(zone).expect("a zone"))
    }

    #[test]
    fn a_week_begins_on_monday_and_is_an_hour_shorter_or_longer_when_clocks_change() {
        for (zone, day, monday, hours) in [
            ("Europe/Kyiv", "2026-11-25", "2026-11-23", 168),
            ("Europe/Kyiv", "2026-03-29", "2026-03-23", 167),
            ("Europe/Kyiv", "2026-10-25", "2026-10-19", 169),
            ("UTC", "2026-03-23", "2026-03-23", 168),
        ] {
            let week = week(zone, day);
            let (from, to) = week.range();
            assert_eq!((week.text().as_str(), (to - from) / 3600), (monday, hours), "{zone} {day}");
        }
        assert_eq!(week("UTC", "2026-12-31").title(), "28 Dec 2026 – 3 Jan 2027");
        assert_eq!(week("UTC", "2026-11-30").title(), "30 Nov – 6 Dec 2026");
        assert_eq!(week("UTC", "2026-11-25").later(-1).title(), "16 – 22 Nov 2026");
    }

    #[test]
    fn a_window_falls_on_the_days_of_the_panels_zone_by_the_clock_on_the_wall() {
        let week = week("Europe/Kyiv", "2026-10-25");
        // From Saturday 23:00 to Sunday 05:00 by the clock, which is set back at 04:00: seven hours.
        let window = Window { from: 1_792_872_000, to: 1_792_897_200 };
        assert_eq!(week.on(4, window), None);
        assert_eq!(week.on(5, window), Some((23.0 * 60.0, MINUTES)));
        assert_eq!(week.on(6, window), Some((0.0, 5.0 * 60.0)));
        assert_eq!(hours(&week, 5, window), "23:00–…");
        assert_eq!(hours(&week, 6, window), "…–05:00");
    }

    #[test]
    fn what_overlaps_stands_side_by_side_and_what_does_not_has_the_days_width() {
        let week = week("UTC", "2026-11-23");
        let monday = week.range().0;
        let lane = |from: i64, to: i64| Lane {
            name: format!("{from}–{to}"),
            windows: vec![Window { from: monday + from * 3600, to: monday + to * 3600 }],
            unsure: None,
        };
        let lanes = [lane(1, 3), lane(9, 18), lane(12, 14), lane(18, 20), lane(13, 19)];
        let placed: Vec<_> =
            blocks(&week, 0, &lanes).iter().map(|block| (block.lane, block.column, block.columns)).collect();
        assert_eq!(placed, [(0, 0, 1), (1, 0, 4), (2, 1, 4), (4, 3, 4), (3, 2, 4)]);
    }

    #[test]
    fn the_ends_of_the_calendar_have_a_week() {
        for day in ["-9999-01-01", "0001-01-01", "9999-12-31"] {
            if let Ok(day) = day.parse::<Date>() {
                let week = Week::of(day, &TimeZone::UTC);
                let _ = (week.range(), week.title(), week.later(1).range(), week.later(-1).range());
            }
        }
        for seconds in [i64::MIN, i64::MAX, 0] {
            let _ = Week::at(seconds, &TimeZone::UTC).range();
        }
    }

    #[test]
    fn profiles_beyond_the_lanes_are_one_together() {
        let week = week("UTC", "2026-11-23");
        let monday = week.range().0;
        let lane = |n: i64| Lane {
            name: format!("profile {n}"),
            windows: vec![Window { from: monday + n * 1800, to: monday + (n + 1) * 1800 }],
            unsure: None,
        };
        let drawn = draw(&week, (0..20).map(lane).collect(), 0).into_string();
        assert_eq!(drawn.matches("<rect").count(), LANES + 1);
        assert!(drawn.contains("14 more: 03:00–10:00"), "{drawn}");
    }
}
