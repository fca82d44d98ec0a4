//! `panelsync profile …`: time profiles in a file, without a server.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Serialize;
use serde_json::{Value, json};

use super::apply::read_content;
use super::{Exit, Failure, Output, file, output};
use crate::clock;
use crate::http::fleet_api::windows::WindowBody;
use crate::panel::settings::Zone;
use crate::profile::parse::LinkedProfile;
use crate::profile::rule::Family;
use crate::profile::sentence::sentence;
use crate::profile::text::Lines;
use crate::profile::windows::{Openings, RangeError, Window};
use crate::profile::wire::Json;
use crate::profile::{LinkId, ical, lint, opens, parse};

/// The commands on profiles in a file.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Check every profile of a file: problems and warnings with their JSON path, and each in a plain sentence
    #[command(after_help = "Exit code 2 if there is any problem; warnings leave it 0.\n\n\
        Example:\n  panelsync profile check -f profiles.yaml --zone Europe/Kyiv")]
    Check(FileArgs),
    /// When the door opens: a calendar of four weeks and the windows of a range
    #[command(
        after_help = "With --output json, one line for each profile, with Unix seconds.\n\nExamples:\n  \
        panelsync profile windows -f profiles.yaml --zone Europe/Kyiv\n  \
        panelsync profile windows -f profiles.yaml --from 2026-11-23T00:00:00Z --to 2026-12-01T00:00:00Z --output json"
    )]
    Windows {
        #[command(flatten)]
        file: FileArgs,
        /// From this moment on; now without it
        #[arg(long, value_name = "RFC3339", value_parser = moment)]
        from: Option<i64>,
        /// Up to this moment; four weeks after --from without it
        #[arg(long, value_name = "RFC3339", value_parser = moment)]
        to: Option<i64>,
        /// Only this profile
        #[arg(long, value_name = "U", value_parser = link_id)]
        link_id: Option<LinkId>,
    },
    /// The same rules as an iCalendar file, on standard output
    #[command(
        after_help = "Example:\n  panelsync profile ics -f profiles.yaml --zone Europe/Kyiv > profiles.ics"
    )]
    Ics(FileArgs),
}

/// Which profiles, in which zone.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// JSON or YAML: an object with a list of profiles, {"list_items":[…]}, or a bare list of profiles; - reads
    /// standard input
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// The zone of the panels, in which the rules run
    #[arg(long, default_value = "UTC")]
    zone: String,
}

pub(super) fn link_id(text: &str) -> Result<LinkId, String> {
    text.parse().map_err(|error: crate::profile::NotALinkId| error.to_string())
}

/// The zone of this name.
pub(super) fn zone(name: &str) -> Result<Zone, Failure> {
    Zone::new(name).ok_or_else(|| Failure::usage(format!("--zone: {}", Zone::unknown(name))))
}

pub(super) fn moment(text: &str) -> Result<i64, String> {
    opens::moment(text).ok_or_else(|| format!("{text:?} is no moment such as 2026-11-23T00:00:00Z"))
}

/// How long a range is that nobody gave, in seconds.
pub(super) const FOUR_WEEKS: i64 = 28 * 86_400;

/// Windows listed for people at most, for each profile; JSON has them all.
const LISTED: usize = 20;

/// Something about a place.
pub(super) struct Finding {
    pub path: String,
    pub message: String,
    pub hint: String,
    /// In a YAML file.
    pub line: Option<u64>,
}

impl Finding {
    pub fn new(path: String, message: impl ToString, hint: impl ToString) -> Self {
        Self { path, message: message.to_string(), hint: hint.to_string(), line: None }
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{} in line {line}", self.path),
            None => self.path.clone(),
        }
    }

    pub fn json(&self) -> Value {
        let mut json = json!({ "path": self.path, "message": self.message, "hint": self.hint });
        if let Some(line) = self.line {
            json["line"] = line.into();
        }
        json
    }
}

/// Looks up the lines of findings in the text of their file.
pub(super) fn find_lines<'f>(text: &str, findings: impl IntoIterator<Item = &'f mut Finding>) {
    let mut findings = findings.into_iter().peekable();
    if findings.peek().is_none() {
        return;
    }
    let lines = Lines::of(text);
    for finding in findings {
        finding.line = lines.line(&finding.path);
    }
}

/// A file's profiles and what is wrong with it.
struct Checked {
    /// The well-formed ones, each with its place.
    profiles: Vec<(String, LinkedProfile)>,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// Runs a command on profiles.
pub fn run(command: &ProfileCommand, output: Output) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::Check(file) => {
            let zone = zone(&file.zone)?;
            let checked = file.read(&zone, true)?;
            show_check(&checked, &zone, output)?;
            Ok(if checked.problems.is_empty() { Exit::Done } else { Exit::Usage })
        }
        ProfileCommand::Windows { file, from, to, link_id } => {
            let zone = zone(&file.zone)?;
            let mut profiles = file.read_faultless(&zone)?;
            if let Some(link_id) = link_id {
                profiles.retain(|profile| profile.link_id == *link_id);
                if profiles.is_empty() {
                    return Err(Failure::usage(format!(
                        "{} has no profile with the link_id {link_id}",
                        file.file
                    )));
                }
            }
            let from = from.unwrap_or(clock::now_ms() / 1000);
            let to = to.unwrap_or_else(|| from.saturating_add(FOUR_WEEKS).min(opens::LAST + 1));
            let shown = profiles.iter().map(|linked| {
                let openings = Openings::new(&linked.profile, zone.rules());
                Shown {
                    link_id: linked.link_id,
                    name: linked.profile.name.as_str(),
                    sentence: sentence(&linked.profile, zone.rules()),
                    windows: Box::new(move |from, to| openings.windows(from, to)),
                }
            });
            show_windows(shown, &zone, Window { from, to }, output)?;
            Ok(Exit::Done)
        }
        ProfileCommand::Ics(file) => {
            let zone = zone(&file.zone)?;
            let profiles = file.read_faultless(&zone)?;
            let entries: Vec<_> =
                profiles.iter().map(|linked| ical::Entry::linked(linked.link_id, &linked.profile)).collect();
            let stamp = clock::now_ms() / 1000;
            let text = ical::calendar("Time profiles", zone.name(), zone.rules(), stamp, &entries);
            let _ = std::io::stdout().write_all(text.as_bytes()); // whoever reads it may have left
            Ok(Exit::Done)
        }
    }
}

impl FileArgs {
    /// The file's profiles; warnings only where they are wanted, since they take a look at years of windows.
    fn read(&self, zone: &Zone, with_warnings: bool) -> Result<Checked, Failure> {
        let (content, text) = read_content(&self.file)?;
        let name = file::name(&self.file);
        let identifiers = content.identifiers.map_or(0, |list| list.len() as u64);
        let Some(listed) = content.profiles else {
            return Err(Failure::usage(format!(
                "{name} has {} and no profiles; `panelsync identifier check` looks at them",
                output::counted(identifiers, "identifier")
            )));
        };
        if identifiers > 0 && with_warnings {
            note!(
                "{name} has {} too; `panelsync identifier check` looks at them",
                output::counted(identifiers, "identifier")
            );
        }
        let mut checked = check(&listed.items, listed.path, zone, with_warnings)?;
        find_lines(&text, checked.problems.iter_mut().chain(&mut checked.warnings));
        Ok(checked)
    }

    /// The file's profiles, or what is wrong with them.
    fn read_faultless(&self, zone: &Zone) -> Result<Vec<LinkedProfile>, Failure> {
        let checked = self.read(zone, false)?;
        if let Some(Finding { path, message, hint, .. }) = checked.problems.first() {
            let more = "see all with `panelsync profile check`";
            return Err(Failure::usage(format!("{} {path}: {message} ({hint}); {more}", self.file)));
        }
        Ok(checked.profiles.into_iter().map(|(_, profile)| profile).collect())
    }
}

fn check(items: &[Value], path: &str, zone: &Zone, with_warnings: bool) -> Result<Checked, Failure> {
    let text = serde_json::to_string(items).map_err(std::io::Error::other)?;
    let Some(Json::List(list)) = Json::read(text.as_bytes()) else {
        return Ok(Checked { profiles: Vec::new(), problems: Vec::new(), warnings: Vec::new() });
    };
    let now = clock::now_ms() / 1000;
    let mut checked = Checked { profiles: Vec::new(), problems: Vec::new(), warnings: Vec::new() };
    let mut seen = HashMap::new();
    // One at a time, so that each profile keeps its index in the list.
    for (i, item) in list.into_iter().enumerate() {
        let at = format!("{path}/{i}");
        let mut problems = Vec::new();
        let parsed = parse::linked_profiles(&Json::List(vec![item]), "", Family::Android, &mut problems);
        checked.problems.extend(problems.into_iter().map(|problem| {
            // The path within the list of one begins with its index.
            let path = format!("{at}{}", problem.path.strip_prefix("/0").unwrap_or(&problem.path));
            Finding::new(path, problem.error, problem.error.hint())
        }));
        let Some(linked) = parsed.into_iter().next() else { continue };
        if let Err(never) = opens::check(&linked.profile, zone.rules()) {
            let path = format!("{at}{}", never.path());
            checked.problems.push(Finding::new(path, "invalid_time_rules_settings", never));
        }
        if let Some(first) = seen.get(&linked.link_id) {
            let hint = format!("the same link_id stands at {path}/{first}");
            checked.problems.push(Finding::new(format!("{at}/link_id"), "has_dublicates", hint));
        } else {
            seen.insert(linked.link_id, i);
        }
        if with_warnings {
            let warnings = lint::warnings(&linked.profile, zone.rules(), now);
            let finding = |warning| Finding::new(at.clone(), warning, "");
            checked.warnings.extend(warnings.into_iter().map(finding));
        }
        checked.profiles.push((at, linked));
    }
    if with_warnings {
        checked.warnings.extend(equal_in_time(&checked.profiles));
    }
    Ok(checked)
}

/// Profiles that open the door at the same times as an earlier one.
fn equal_in_time(profiles: &[(String, LinkedProfile)]) -> Vec<Finding> {
    let mut first = HashMap::new();
    let mut findings = Vec::new();
    for (at, linked) in profiles {
        let profile = &linked.profile;
        let key = (profile.all_day, profile.from, profile.to, format!("{:?}", profile.repeat));
        match first.get(&key) {
            Some(earlier) => {
                let message = format!("it opens the door at the same times as {earlier}");
                findings.push(Finding::new(at.clone(), message, ""));
            }
            None => {
                first.insert(key, at);
            }
        }
    }
    findings
}

fn show_check(checked: &Checked, zone: &Zone, output: Output) -> Result<(), Failure> {
    let Checked { profiles, problems, warnings } = checked;
    let sentences =
        profiles.iter().map(|(path, linked)| (path, linked, sentence(&linked.profile, zone.rules())));
    match output {
        Output::Json => {
            let profiles: Vec<_> = sentences
                .map(|(path, linked, sentence)| {
                    json!({ "path": path, "link_id": linked.link_id, "name": linked.profile.name.as_str(), "sentence": sentence })
                })
                .collect();
            let findings =
                |findings: &[Finding]| -> Vec<Value> { findings.iter().map(Finding::json).collect() };
            let (problems, warnings) = (findings(problems), findings(warnings));
            output::json(
                &json!({ "zone": zone.name(), "profiles": profiles, "problems": problems, "warnings": warnings }),
            )?;
        }
        Output::Table => {
            if !profiles.is_empty() {
                output::table(
                    ["link_id", "name", "opens"],
                    sentences.map(|(_, linked, sentence)| {
                        [linked.link_id.to_string(), linked.profile.name.as_str().to_owned(), sentence]
                    }),
                );
                say!();
            }
            for problem in problems {
                say!("problem {}: {} ({})", problem.place(), problem.message, problem.hint);
            }
            for warning in warnings {
                say!("warning {}: {}", warning.place(), warning.message);
            }
            say!(
                "{} in {}, {}, {}",
                count(profiles.len(), "well-formed profile"),
                zone.name(),
                count(problems.len(), "problem"),
                count(warnings.len(), "warning")
            );
        }
    }
    Ok(())
}

pub(super) fn count(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// A line of `profile windows --output json`, and of `schedule windows`.
#[derive(Serialize)]
struct Opens<'a> {
    link_id: LinkId,
    zone: &'a str,
    windows: Vec<WindowBody>,
}

/// Something that opens doors.
pub(super) struct Shown<'a> {
    pub link_id: LinkId,
    pub name: &'a str,
    pub sentence: String,
    /// Its windows within a range.
    pub windows: Box<dyn Fn(i64, i64) -> Result<Vec<Window>, RangeError> + 'a>,
}

/// When each of them opens a door: a calendar and the windows of a range.
pub(super) fn show_windows<'a>(
    all: impl Iterator<Item = Shown<'a>>,
    zone: &Zone,
    range: Window,
    output: Output,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout());
    for (i, shown) in all.enumerate() {
        let Shown { link_id, name, sentence, windows: windows_of } = shown;
        let windows = windows_of(range.from, range.to)
            .map_err(|error| Failure::usage(format!("{link_id}: {error}")))?;
        if output == Output::Json {
            let windows = windows.iter().map(WindowBody::from).collect();
            let line = Opens { link_id, zone: zone.name(), windows };
            let line = serde_json::to_string(&line).map_err(std::io::Error::other)?;
            if writeln!(out, "{line}").is_err() {
                return Ok(()); // whoever reads it has left
            }
            continue;
        }
        if i > 0 {
            say!();
        }
        say!("{name} ({link_id})");
        say!("{sentence}; zone {}\n", zone.name());
        calendar(&*windows_of, zone, range.from);
        say!();
        for window in windows.iter().take(LISTED) {
            say!("{}", window_text(*window, zone));
        }
        match windows.len() {
            0 => say!("no window between {} and {}", at(range.from, zone), at(range.to, zone)),
            n if n > LISTED => say!("… and {} more; --output json has them all", n - LISTED),
            _ => {}
        }
    }
    let _ = out.flush(); // as above
    Ok(())
}

fn local(unix: i64, zone: &Zone) -> Option<DateTime> {
    opens::local(unix.min(opens::LAST), zone.rules())
}

fn at(unix: i64, zone: &Zone) -> String {
    local(unix, zone).map_or_else(|| unix.to_string(), |at| at.strftime("%a %d %b %Y %H:%M").to_string())
}

/// A window for people.
pub(super) fn window_text(window: Window, zone: &Zone) -> String {
    let (Some(from), Some(to)) = (local(window.from, zone), local(window.to, zone)) else {
        return format!("{} – {}", window.from, window.to);
    };
    let start = from.strftime("%a %d %b %Y  %H:%M");
    if from.date() == to.date() {
        format!("{start}–{}", to.strftime("%H:%M"))
    } else {
        format!("{start} – {}", to.strftime("%a %d %b %Y %H:%M"))
    }
}

/// Four weeks from the Monday on or before a moment: for each day, when the door opens.
fn calendar(windows_of: &dyn Fn(i64, i64) -> Result<Vec<Window>, RangeError>, zone: &Zone, from: i64) {
    let Some(today) = local(from, zone).map(DateTime::date) else { return };
    let monday = today.saturating_sub(jiff::Span::new().days(today.weekday().to_monday_zero_offset()));
    let days: Vec<_> = monday.series(jiff::Span::new().days(1)).take(29).collect();
    let midnight = |day: &jiff::civil::Date| {
        let start = zone.rules().to_timestamp(day.at(0, 0, 0, 0));
        start.map_or(0, Timestamp::as_second)
    };
    let rows = days.windows(2).map(|day| {
        let [start, end] = [midnight(&day[0]), midnight(&day[1])];
        let windows = windows_of(start, end).unwrap_or_default();
        day_text(&windows, start, end, zone)
    });
    let cells: Vec<_> = rows.collect();
    output::table(
        ["week of", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        cells.chunks_exact(7).zip(days.iter().step_by(7)).map(|(week, monday)| {
            let cell = |i: usize| week.get(i).cloned().unwrap_or_default();
            [
                monday.strftime("%d %b").to_string(),
                cell(0),
                cell(1),
                cell(2),
                cell(3),
                cell(4),
                cell(5),
                cell(6),
            ]
        }),
    );
}

/// A day in few characters.
fn day_text(windows: &[Window], start: i64, end: i64, zone: &Zone) -> String {
    let time = |unix: i64| {
        if unix == end {
            return "24".to_owned();
        }
        local(unix, zone).map_or_else(String::new, |at| match at.minute() {
            0 => at.strftime("%H").to_string(),
            _ => at.strftime("%H:%M").to_string(),
        })
    };
    match windows {
        [] => "·".to_owned(),
        [whole] if (whole.from, whole.to) == (start, end) => "all day".to_owned(),
        some => some.iter().map(|w| format!("{}–{}", time(w.from), time(w.to))).collect::<Vec<_>>().join(" "),
    }
}
