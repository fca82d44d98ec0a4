//! `panelsync access …`: who may open which door, when, and why.

use clap::{Args, Subcommand};

use super::client::Client;
use super::profile::window_text;
use super::{Exit, Failure, Output, find, output};
use crate::http::fleet_api::Page;
use crate::http::fleet_api::panels::PanelBody;
use crate::http::fleet_api::who::AccessBody;
use crate::http::percent;
use crate::identifier::rule::Kind;
use crate::panel::settings::Zone;
use crate::profile::opens;
use crate::profile::windows::Window;

/// Windows of one answer that are listed for people; JSON has them all.
const LISTED: usize = 3;

/// Where a range has no end: a week.
const WEEK: i64 = 7 * 86_400;

/// The questions who may open.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Whether an identifier opens a panel's door, and why; exit 0 if it does, 1 if not
    #[command(
        after_help = "The answer follows from what the panel should hold; beside it stands whether its device has confirmed that.\n\
        No device is asked.\n\nExamples:\n  \
        panelsync access check --panel north-01 --identifier 5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11\n  \
        panelsync access check --panel north-01 --identifier 5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11 \\\n    \
        --at 2026-11-28T22:00:00Z"
    )]
    Check {
        /// The panel, by id or by the beginning of it
        #[arg(long, value_name = "ID")]
        panel: String,
        /// The identifier, by link_id or by the beginning of it
        #[arg(long, value_name = "LINK_ID")]
        identifier: String,
        /// At this moment; now without it
        #[arg(long, value_name = "RFC3339", value_parser = moment)]
        at: Option<i64>,
    },
    /// Who may open a panel's door: each of its identifiers, whether it opens, and why
    #[command(
        after_help = "Also named are identifiers that the panel should not hold any more, until its device has confirmed that.\n\n\
        Examples:\n  panelsync access who --panel north-01\n  \
        panelsync access who --panel north-01 --at 2026-11-28T22:00:00Z --open\n  \
        panelsync access who --panel north-01 --from 2026-11-23T00:00:00Z --to 2026-11-30T00:00:00Z --output json"
    )]
    Who {
        /// The panel, by id or by the beginning of it
        #[arg(long, value_name = "ID")]
        panel: String,
        #[command(flatten)]
        when: WhenArgs,
    },
    /// Which doors an identifier opens, and why
    #[command(after_help = "Times are those of each panel's zone.\n\n\
        Examples:\n  panelsync access where 5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11\n  \
        panelsync access where 5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11 --from 2026-11-23T00:00:00Z --open")]
    Where {
        /// The identifier, by link_id or by the beginning of it
        #[arg(value_name = "LINK_ID")]
        identifier: String,
        #[command(flatten)]
        when: WhenArgs,
    },
}

/// When a question is about.
#[derive(Debug, Args)]
pub struct WhenArgs {
    /// At this moment; now without it
    #[arg(long, value_name = "RFC3339", value_parser = moment, conflicts_with_all = ["from", "to"])]
    at: Option<i64>,
    /// When it opens from this moment on, instead of at a moment
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: Option<i64>,
    /// Up to this moment, at most 366 days later; a week later without it
    #[arg(long, value_name = "RFC3339", value_parser = moment, requires = "from")]
    to: Option<i64>,
    /// Only what opens
    #[arg(long)]
    open: bool,
}

fn moment(text: &str) -> Result<i64, String> {
    let moment = opens::moment(text).or_else(|| text.parse().ok());
    moment.ok_or_else(|| format!("{text:?} is no moment such as 2026-11-23T00:00:00Z"))
}

impl WhenArgs {
    /// As parameters of the question.
    fn query(&self) -> String {
        let mut query = match (self.at, self.from) {
            (Some(at), _) => format!("&at={at}"),
            (None, Some(from)) => {
                format!("&from={from}&to={}", self.to.unwrap_or_else(|| from.saturating_add(WEEK)))
            }
            (None, None) => String::new(),
        };
        if self.open {
            query.push_str("&opens=true");
        }
        query
    }

    fn is_range(&self) -> bool {
        self.from.is_some()
    }
}

/// Runs a question.
pub fn run(command: &AccessCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        AccessCommand::Check { panel, identifier, at } => {
            let link = find::link_id(client, identifier, "identifier")?;
            let panel = find::panel(client, panel)?;
            let at = at.map_or(String::new(), |at| format!("&at={at}"));
            let path = format!("/access?panel={}&identifier={link}{at}", percent(&panel));
            let page: Page<AccessBody> = client.get(&path)?;
            let Some(answer) = page.items.first() else {
                return Err(Failure::new(Exit::Failed, "the server gave no answer"));
            };
            match output {
                Output::Json => output::json(answer)?,
                Output::Table => show_one(answer),
            }
            Ok(if answer.opens { Exit::Done } else { Exit::Failed })
        }
        AccessCommand::Who { panel, when } => {
            let panel = find::panel(client, panel)?;
            let path = format!("/access?panel={}{}", percent(&panel), when.query());
            let answers: Vec<AccessBody> = client.get_all(&path)?;
            if output == Output::Json {
                output::json(&answers)?;
                return Ok(Exit::Done);
            }
            if answers.is_empty() {
                if when.open {
                    note!("no identifier opens {panel}");
                } else {
                    note!("{panel} has no identifiers");
                }
                tell_what_is_not_judged(&panel, client)?;
                return Ok(Exit::Done);
            }
            let columns = ["identifier", "name", "type", "number", "opens", "confirmed", told(when)];
            let rows = answers.iter().map(|answer| {
                [
                    known_as(answer),
                    answer.name.clone().unwrap_or_default(),
                    answer.kind.clone().unwrap_or_default(),
                    answer.number.clone().unwrap_or_default(),
                    yes_or_no(answer.opens),
                    answer.confirmed.clone(),
                    reason(answer),
                ]
            });
            output::table(columns, rows);
            let opening = match counted(&answers, "identifier").as_str() {
                "1 identifier" => format!("1 identifier opens {panel}"),
                some => format!("{some} open {panel}"),
            };
            let zone = answers.first().map_or("", |answer| answer.zone.as_str());
            note!("{opening}{}; times are those of {zone}", confirmed_of(&answers));
            tell_what_is_not_judged(&panel, client)?;
            Ok(Exit::Done)
        }
        AccessCommand::Where { identifier, when } => {
            let link = find::link_id(client, identifier, "identifier")?;
            let answers: Vec<AccessBody> =
                client.get_all(&format!("/access?identifier={link}{}", when.query()))?;
            if output == Output::Json {
                output::json(&answers)?;
                return Ok(Exit::Done);
            }
            if answers.is_empty() {
                let none = if when.open { "opens no door" } else { "is on no panel" };
                note!("{link} {none}");
                return Ok(Exit::Done);
            }
            let columns = ["panel", "zone", "opens", "confirmed", told(when)];
            let rows = answers.iter().map(|answer| {
                let (panel, zone) = (answer.panel.clone(), answer.zone.clone());
                [panel, zone, yes_or_no(answer.opens), answer.confirmed.clone(), reason(answer)]
            });
            output::table(columns, rows);
            note!("{link} opens {}{}", counted(&answers, "door"), confirmed_of(&answers));
            Ok(Exit::Done)
        }
    }
}

/// How many of those that open were confirmed, where these are not all.
fn confirmed_of(answers: &[AccessBody]) -> String {
    let opening = answers.iter().filter(|answer| answer.opens);
    let (all, confirmed) = opening
        .fold((0, 0), |(all, confirmed), answer| (all + 1, confirmed + u64::from(answer.confirmed == "yes")));
    match confirmed {
        confirmed if confirmed == all => String::new(),
        0 => ", none of it confirmed".to_owned(),
        some => format!(", {some} of it confirmed"),
    }
}

/// What a panel's device holds beside, of which nobody knows here whom it lets in.
fn tell_what_is_not_judged(panel: &str, client: &Client) -> Result<(), Failure> {
    let body: PanelBody = client.get(&format!("/panels/{}", percent(panel)))?;
    let Some(device) = &body.state.device else { return Ok(()) };
    if device.unlinked > 0 {
        let items = output::counted(device.unlinked, "item");
        note!("{items} made on the device itself: whom these let in is not known here");
    }
    if !device.identifiers_read {
        note!("which other identifiers the device holds was not read yet");
    }
    Ok(())
}

/// How many of what was asked about open.
fn counted(answers: &[AccessBody], what: &str) -> String {
    let opening = answers.iter().filter(|answer| answer.opens).count();
    match answers.len() {
        all if all == opening => output::counted(all as u64, what),
        all => format!("{opening} of {}", output::counted(all as u64, what)),
    }
}

/// The heading of what is told.
fn told(when: &WhenArgs) -> &'static str {
    if when.is_range() { "when, or why not" } else { "why" }
}

fn yes_or_no(opens: bool) -> String {
    if opens { "yes" } else { "no" }.to_owned()
}

fn known_as(answer: &AccessBody) -> String {
    match (answer.identifier, answer.uid) {
        (Some(link), _) => link.to_string(),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => String::new(),
    }
}

fn show_one(answer: &AccessBody) {
    let in_words =
        |kind: &str| Kind::parse(kind).map_or_else(|| kind.to_owned(), |kind| kind.in_words().to_owned());
    let kind = answer.kind.as_deref().map(in_words);
    let what = [kind.as_deref(), answer.number.as_deref()];
    let mut what: Vec<_> = what.into_iter().flatten().map(str::to_owned).collect();
    what.extend(answer.name.as_ref().map(|name| format!("of \"{name}\"")));
    what.push(known_as(answer));
    let (panel, zone) = (&answer.panel, &answer.zone);
    let opens = if answer.opens { "opens" } else { "does not open" };
    say!("{} {opens} {panel}: {}", what.join(" "), answer.why.text);
    // What is neither wanted nor perhaps there needs no word of its device.
    if answer.why.code != "not_on_panel" || answer.not_confirmed.is_some() {
        say!("confirmed: {}", confirmed(answer));
    }
    note!("times are those of {zone}");
}

fn confirmed(answer: &AccessBody) -> String {
    let Some(not_confirmed) = &answer.not_confirmed else { return answer.confirmed.clone() };
    let perhaps = match (answer.opens, answer.may_open) {
        (true, _) => ", so perhaps it does not open",
        (false, true) => ", so perhaps it opens still",
        (false, false) => "",
    };
    format!("{}; {not_confirmed}{perhaps}", answer.confirmed)
}

/// When it opens within a range, or else why it does or does not; and what is not confirmed.
fn reason(answer: &AccessBody) -> String {
    let mut text = windows(answer).unwrap_or_else(|| answer.why.text.clone());
    if let Some(not_confirmed) = &answer.not_confirmed {
        text.push_str("; ");
        text.push_str(not_confirmed);
    }
    text
}

fn windows(answer: &AccessBody) -> Option<String> {
    let zone = Zone::new(&answer.zone)?;
    let windows = answer.windows.iter().take(LISTED);
    let mut listed: Vec<_> =
        windows.map(|window| window_text(Window { from: window.from, to: window.to }, &zone)).collect();
    if listed.is_empty() {
        return None;
    }
    if answer.windows.len() > LISTED {
        listed.push(format!("and {} more", answer.windows.len() - LISTED));
    }
    Some(listed.join(", "))
}
