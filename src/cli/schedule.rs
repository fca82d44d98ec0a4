//! `panelsync schedule …`: opening hours in a file, without a server.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::profile::{self, FOUR_WEEKS, Finding, Shown, count, find_lines};
use super::{Exit, Failure, Output, file, output};
use crate::clock;
use crate::identifier::file as content;
use crate::panel::settings::Zone;
use crate::profile::windows::Window;
use crate::profile::{LinkId, opens, wire};
use crate::schedule::compile::{ANCHOR, HORIZON, Part, Plan};
use crate::schedule::days::Resolved;
use crate::schedule::parse::{self, LinkedSchedule};
use crate::schedule::sentence::sentence;
use crate::schedule::windows::windows;
use crate::schedule::{Calendar, CalendarName, DatesOf, Day, ics};

/// The commands on schedules in a file.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Check every schedule of a file: problems and warnings with their JSON path, each in plain words, and how many time
    /// profiles say it to a panel
    #[command(
        after_help = "The file is an object with a list of schedules and, if it has them too, of calendars:\n\n  \
        schedules:\n  - link_id: 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a10\n    name: Office hours\n    \
        hours: { mon-fri: \"09:00-12:30, 13:30-18:00\" }\n    instead: { 12-31 on mon-fri: \"09:00-12:00\" }\n    \
        except: [ calendar holidays, 2026-08-14..2026-08-18 ]\n  calendars:\n  - name: holidays\n    \
        days: [ 01-01, { date: 2026-04-03, title: Good Friday } ]\n\n\
        Exit code 2 if there is any problem; warnings leave it 0.\n\nExamples:\n  \
        panelsync schedule check -f hours.yaml\n  \
        panelsync schedule check -f hours.yaml --calendar holidays=holidays.ics --zone Europe/Kyiv"
    )]
    Check(FileArgs),
    /// When the door opens: a calendar of four weeks and the windows of a range
    #[command(
        after_help = "With --output json, one line for each schedule, with Unix seconds.\n\nExamples:\n  \
        panelsync schedule windows -f hours.yaml --zone Europe/Kyiv\n  \
        panelsync schedule windows -f hours.yaml --from 2026-12-20T00:00:00Z --to 2027-01-10T00:00:00Z --output json"
    )]
    Windows {
        #[command(flatten)]
        file: FileArgs,
        /// From this moment on; now without it
        #[arg(long, value_name = "RFC3339", value_parser = profile::moment)]
        from: Option<i64>,
        /// Up to this moment; four weeks after --from without it
        #[arg(long, value_name = "RFC3339", value_parser = profile::moment)]
        to: Option<i64>,
        /// Only this schedule
        #[arg(long, value_name = "U", value_parser = profile::link_id)]
        link_id: Option<LinkId>,
    },
    /// The time profiles that say the schedules to panels of a zone, as a file that `apply` takes, on standard output
    #[command(
        after_help = "Dates are known up to --days from --from; behind it each weekday's hours go on as they are. Compiled again \
        later, what still holds keeps its link_id.\n\nExamples:\n  \
        panelsync schedule compile -f hours.yaml --zone Europe/Kyiv > profiles.json\n  \
        panelsync schedule compile -f hours.yaml --zone Europe/Kyiv | panelsync apply -f - -l zone=kyiv --dry-run"
    )]
    Compile {
        #[command(flatten)]
        file: FileArgs,
        /// What is over before this day is left out; today without it
        #[arg(long, value_name = "DATE", value_parser = day)]
        from: Option<Day>,
        /// Up to how many days later dates are known
        #[arg(long, value_name = "N", default_value_t = HORIZON, value_parser = clap::value_parser!(i64).range(1..=3_660))]
        days: i64,
    },
}

/// Which schedules, in which zone.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// JSON or YAML: an object with a list of schedules, and perhaps one of calendars; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// A calendar from an .ics file, under the name by which the schedules have it
    #[arg(long = "calendar", value_name = "NAME=FILE.ics", value_parser = named_file)]
    calendars: Vec<(CalendarName, String)>,
    /// The zone of the panels, whose clock is meant where a schedule names none
    #[arg(long, default_value = "UTC")]
    zone: String,
}

fn day(text: &str) -> Result<Day, String> {
    parse::words::day(text).ok_or_else(|| format!("{text:?} is no date such as 2026-12-31"))
}

/// Reads calendars from .ics files.
pub(super) fn import(files: &[(CalendarName, String)]) -> Result<Vec<Calendar>, Failure> {
    let mut calendars = Vec::with_capacity(files.len());
    for (name, path) in files {
        let text = file::read(path)?;
        let imported = ics::import(name.clone(), &text, Day::in_utc(clock::now_ms() / 1000))
            .map_err(|error| Failure::usage(format!("{path} {error}")))?;
        if imported.with_time > 0 {
            note!(
                "{path}: {} with a time of day left out; holidays are whole days",
                count(imported.with_time, "event")
            );
        }
        calendars.push(imported.calendar);
    }
    Ok(calendars)
}

pub(super) fn named_file(text: &str) -> Result<(CalendarName, String), String> {
    let (name, file) = text.split_once('=').ok_or("say NAME=FILE.ics")?;
    let name = CalendarName::new(name)
        .ok_or_else(|| format!("{name:?}: the name of a calendar has 1 to 63 letters, digits, -, _ and ."))?;
    Ok((name, file.to_owned()))
}

/// A file's schedules and calendars, and what is wrong with it.
struct Checked {
    /// The well-formed ones, each with its place in the list.
    schedules: Vec<(usize, LinkedSchedule)>,
    calendars: Vec<Calendar>,
    problems: Vec<Finding>,
}

/// Runs a command on schedules.
pub fn run(command: &ScheduleCommand, output: Output) -> Result<Exit, Failure> {
    match command {
        ScheduleCommand::Check(args) => check(args, output),
        ScheduleCommand::Windows { file, from, to, link_id } => {
            let zone = profile::zone(&file.zone)?;
            let mut checked = file.read_faultless()?;
            if let Some(link_id) = link_id {
                checked.schedules.retain(|(_, linked)| linked.link_id == *link_id);
                if checked.schedules.is_empty() {
                    return Err(Failure::usage(format!(
                        "{} has no schedule with the link_id {link_id}",
                        file.file
                    )));
                }
            }
            let from = from.unwrap_or(clock::now_ms() / 1000);
            let to = to.unwrap_or_else(|| from.saturating_add(FOUR_WEEKS).min(opens::LAST + 1));
            let resolved = checked.resolved()?;
            let shown = resolved.iter().map(|(linked, resolved)| Shown {
                link_id: linked.link_id,
                name: linked.schedule.name.as_str(),
                sentence: sentence(&linked.schedule),
                windows: Box::new(|from, to| windows(resolved, zone.rules(), from, to)),
            });
            profile::show_windows(shown, &zone, Window { from, to }, output)?;
            Ok(Exit::Done)
        }
        ScheduleCommand::Compile { file, from, days } => {
            let zone = profile::zone(&file.zone)?;
            let checked = file.read_faultless()?;
            let from = from.unwrap_or_else(|| today(&zone));
            let mut items = Vec::new();
            for (linked, resolved) in checked.resolved()? {
                let parts = compile(&linked, &resolved, &zone, from, *days)?;
                for Part { link_id, profile } in parts {
                    let mut item: Value =
                        serde_json::from_str(&wire::body(&profile)).map_err(std::io::Error::other)?;
                    item["link_id"] = link_id.to_string().into();
                    items.push(item);
                }
            }
            output::json(&json!({ "list_items": items }))?;
            Ok(Exit::Done)
        }
    }
}

fn today(zone: &Zone) -> Day {
    let now = clock::now_ms() / 1000;
    opens::local(now, zone.rules()).map_or(Day::in_utc(now), |at| {
        let (year, month, day) = (i64::from(at.year()), i64::from(at.month()), i64::from(at.day()));
        Day(crate::profile::recurrence::CivilDate { year, month, day }.days())
    })
}

fn compile(
    linked: &LinkedSchedule,
    resolved: &Resolved<'_>,
    zone: &Zone,
    from: Day,
    days: i64,
) -> Result<Vec<Part>, Failure> {
    let first = linked.schedule.from.unwrap_or(ANCHOR).max(ANCHOR);
    let plan = Plan::new(resolved, zone.rules(), first, Day(from.max(first).0 + days));
    let parts = plan.and_then(|plan| plan.parts(linked.link_id, zone.rules(), from));
    parts.map_err(|error| {
        Failure::usage(format!("{} ({}): {error}", linked.schedule.name.as_str(), linked.link_id))
    })
}

impl Checked {
    /// Each schedule with its calendars, which are there.
    fn resolved(&self) -> Result<Vec<(LinkedSchedule, Resolved<'_>)>, Failure> {
        let each = self.schedules.iter().map(|(_, linked)| {
            let resolved = Resolved::new(&linked.schedule, &self.calendars);
            Ok((linked.clone(), resolved.map_err(|error| Failure::usage(error.to_string()))?))
        });
        each.collect()
    }
}

impl FileArgs {
    fn read(&self) -> Result<Checked, Failure> {
        let text = file::read(&self.file)?;
        let name = file::name(&self.file);
        let content = content::read(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        let Some(schedules) = content.schedules else {
            return Err(Failure::usage(format!("{name} has no list of schedules under schedules")));
        };
        let calendars = content.calendars;
        let mut wrong = Vec::new();
        let schedules = parse::schedules(&schedules, "/schedules", &mut wrong);
        let mut calendars = parse::calendars(&calendars, "/calendars", &mut wrong);
        let mut problems: Vec<_> =
            wrong.into_iter().map(|problem| Finding::new(problem.path, problem.wrong, "")).collect();
        for calendar in import(&self.calendars)? {
            if calendars.iter().any(|other| other.name == calendar.name) {
                return Err(Failure::usage(format!(
                    "the calendar {} is there twice; give it once",
                    calendar.name
                )));
            }
            calendars.push(calendar);
        }
        for (place, linked) in &schedules {
            if let Err(error) = Resolved::new(&linked.schedule, &calendars) {
                let hint = format!("add it under calendars, or give --calendar {}=FILE.ics", error.0);
                problems.push(Finding::new(format!("/schedules/{place}"), error, hint));
            }
        }
        find_lines(&text, &mut problems);
        Ok(Checked { schedules, calendars, problems })
    }

    fn read_faultless(&self) -> Result<Checked, Failure> {
        let checked = self.read()?;
        if let Some(finding) = checked.problems.first() {
            return Err(Failure::usage(format!(
                "{} {}: {}; see all with `panelsync schedule check`",
                self.file, finding.path, finding.message
            )));
        }
        Ok(checked)
    }
}

fn check(args: &FileArgs, output: Output) -> Result<Exit, Failure> {
    let zone = profile::zone(&args.zone)?;
    let mut checked = args.read()?;
    let today = today(&zone);
    let mut warnings = Vec::new();
    for (place, linked) in &checked.schedules {
        let at = format!("/schedules/{place}");
        let Ok(resolved) = Resolved::new(&linked.schedule, &checked.calendars) else { continue };
        warnings
            .extend(warn(&resolved, today).into_iter().map(|warning| Finding::new(at.clone(), warning, "")));
    }
    let lines = checked.schedules.iter().map(|(place, linked)| {
        let profiles = Resolved::new(&linked.schedule, &checked.calendars)
            .ok()
            .map(|resolved| compile(linked, &resolved, &zone, today, HORIZON));
        let profiles = match profiles {
            Some(Ok(parts)) => Some(parts.len()),
            Some(Err(error)) => {
                checked.problems.push(Finding::new(format!("/schedules/{place}"), error.message, ""));
                None
            }
            None => None,
        };
        (linked, sentence(&linked.schedule), profiles)
    });
    let lines: Vec<_> = lines.collect();
    let problems = &checked.problems;
    match output {
        Output::Json => {
            let schedules: Vec<_> = lines
                .iter()
                .map(|(linked, sentence, profiles)| {
                    json!({ "link_id": linked.link_id, "name": linked.schedule.name.as_str(), "sentence": sentence, "profiles": profiles })
                })
                .collect();
            let findings =
                |findings: &[Finding]| -> Vec<Value> { findings.iter().map(Finding::json).collect() };
            output::json(&json!({
                "zone": zone.name(), "schedules": schedules, "problems": findings(problems), "warnings": findings(&warnings),
            }))?;
        }
        Output::Table => {
            for (linked, sentence, profiles) in &lines {
                say!("{} ({})", linked.schedule.name.as_str(), linked.link_id);
                say!("{sentence}");
                if let Some(profiles) = profiles {
                    say!("{} for a panel in {}", count(*profiles, "time profile"), zone.name());
                }
                say!();
            }
            for problem in problems {
                let hint =
                    if problem.hint.is_empty() { String::new() } else { format!(" ({})", problem.hint) };
                say!("problem {}: {}{hint}", problem.place(), problem.message);
            }
            for warning in &warnings {
                say!("warning {}: {}", warning.place(), warning.message);
            }
            say!(
                "{} in {}, {}, {}",
                count(lines.len(), "well-formed schedule"),
                zone.name(),
                count(problems.len(), "problem"),
                count(warnings.len(), "warning")
            );
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Usage })
}

/// What is surely not meant.
fn warn(resolved: &Resolved<'_>, today: Day) -> Vec<String> {
    let mut warnings = Vec::new();
    let until = resolved.schedule().until;
    if let Some(until) = until.filter(|until| *until < today) {
        warnings.push(format!("it is over since {until}"));
    }
    for Calendar { name, days } in resolved.calendars() {
        let dated = days.iter().filter_map(|days| match days.dates {
            DatesOf::Days(_, to) => Some(to),
            DatesOf::Yearly(..) | DatesOf::Calendar(_) => None,
        });
        if days.is_empty() {
            warnings.push(format!("the calendar {name} has no day"));
        } else if let Some(last) = dated.max()
            && last.0 < today.0 + HORIZON / 2
            && until.is_none_or(|until| until > last)
        {
            warnings.push(format!(
                "the last date of the calendar {name} is {last}; later holidays are not known"
            ));
        }
    }
    warnings
}
