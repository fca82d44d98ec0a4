//! A week of a door, drawn: seven days in the panel's zone, with the windows of each profile.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::layout::moment_in;
use crate::profile::windows::Window;

/// Profiles that have a lane of their own; the windows of the others share one more.
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

    /// Such as `23 – 29 Nov 2026`.
    pub fn title(&self) -> String {
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

/// The windows of one profile within a week.
pub struct Lane {
    /// The profile's name.
    pub name: String,
    /// Its windows, ascending.
    pub windows: Vec<Window>,
}

/// The week with these profiles' windows, what the lanes are, and the same as a list. `now` is marked, where it is in
/// the week.
pub fn draw(week: &Week, lanes: &[Lane], now: i64) -> Markup {
    let shown = lanes.len().min(LANES);
    let columns = shown + usize::from(lanes.len() > LANES);
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
                    text x=(x + DAY_WIDTH / 2.0) y=(HEAD - 8.0) class="day" { (week.day(day).strftime("%a %-d %b")) }
                    @for (n, lane) in lanes.iter().enumerate() {
                        @let n = n.min(LANES);
                        @for window in &lane.windows {
                            @if let Some((from, to)) = week.on(day, *window) {
                                (block(week, day, n, columns, (from, to), lane, *window))
                            }
                        }
                    }
                    @let (start, end) = (week.start_of(day), week.start_of(day + 1));
                    @if (start..end).contains(&now) {
                        @let y = HEAD + week.minutes(now) / 60.0 * HOUR;
                        line class="now" x1=(x) x2=(x + DAY_WIDTH) y1=(y) y2=(y) {}
                        circle class="now" cx=(x) cy=(y) r="3" { title { "now" } }
                    }
                }
            }
        }
        @if lanes.len() > 1 {
            ol class="lanes" {
                @for (n, lane) in lanes.iter().take(LANES).enumerate() {
                    li { b class={ "lane lane" (n) } { (n + 1) } " " (lane.name) }
                }
                @if lanes.len() > LANES {
                    li { b class={ "lane lane" (LANES) } { "+" } " " (lanes.len() - LANES) " more" }
                }
            }
        }
        (list(week, lanes))
    }
}

fn block(
    week: &Week,
    day: i32,
    n: usize,
    columns: usize,
    (from, to): (f64, f64),
    lane: &Lane,
    window: Window,
) -> Markup {
    let width = (DAY_WIDTH - 4.0) / columns as f64;
    let x = GUTTER + f64::from(day) * DAY_WIDTH + 2.0 + n as f64 * width;
    let (y, height) = (HEAD + from / 60.0 * HOUR, ((to - from) / 60.0 * HOUR).max(2.0));
    let hours = hours(week, day, window);
    html! {
        g class={ "lane lane" (n) } {
            title { (lane.name) ": " (hours) }
            rect x=(round(x)) y=(round(y)) width=(round(width - 1.0)) height=(round(height)) rx="2" {}
            @if height >= 12.0 {
                text x=(round(x + 4.0)) y=(round(y + 11.0)) {
                    @if columns == 1 { (hours) } @else if n < LANES { (n + 1) } @else { "+" }
                }
            }
        }
    }
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
                p { "The door does not open in this week." }
            } @else {
                table {
                    thead { tr { th { "Day" } th { "Opens" } th { "Profile" } } }
                    tbody {
                        @for day in 0..7 {
                            @for lane in lanes {
                                @for window in lane.windows.iter().filter(|window| week.on(day, **window).is_some()) {
                                    tr {
                                        td { (week.day(day).strftime("%a %-d %b")) }
                                        td { (hours(week, day, *window)) }
                                        td { (lane.name) }
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

/// When the door opens now, or next, in words.
pub fn door(open: &[&str], next: Option<i64>, zone: &TimeZone) -> Markup {
    html! {
        p class="door" {
            @if open.is_empty() {
                span class="state shut" { "shut now" }
                @if let Some(next) = next { ", opens " (moment_in(next, zone)) }
                @else { " and opens no more" }
            } @else {
                span class="state open" { "open now" }
                " by " (open.join(", "))
                @if let Some(next) = next { ", shut from " (moment_in(next, zone)) }
                @else { ", and stays so" }
            }
        }
    }
}
