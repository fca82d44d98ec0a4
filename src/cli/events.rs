//! `panelsync events`: who opened which door, and who was denied.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::client::listen::{Listening, Sent};
use super::{Exit, Failure, Output, find, output};
use crate::http::fleet_api::Page;
use crate::http::fleet_api::access_events::AccessEventBody;
use crate::http::fleet_api::panels::PanelBody;
use crate::http::percent;
use crate::panel::settings::Zone;
use crate::profile::{LinkId, text};

/// Before a stream that broke off is opened again.
const PAUSE: Duration = Duration::from_secs(3);

/// Events that are shown without a number, and before those that are followed.
const SHOWN: usize = 100;
const BEFORE: usize = 10;

/// Events asked for at once.
const AT_ONCE: usize = 1000;

/// Which events.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// At this panel: its id, or the beginning of it
    #[arg(long, value_name = "P")]
    panel: Option<String>,
    /// Of this identifier: its link_id, or the beginning of it
    #[arg(long, value_name = "LINK_ID")]
    identifier: Option<String>,
    /// From this moment on
    #[arg(long, value_name = "RFC3339")]
    from: Option<String>,
    /// Before this moment
    #[arg(long, value_name = "RFC3339", conflicts_with = "follow")]
    to: Option<String>,
    /// How many at most [default: 100, or 10 with --follow]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on with those that come, until ctrl-C
    #[arg(long)]
    follow: bool,
}

/// Lists events, the oldest first, and those that come.
pub fn events(args: &EventsArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut filter = String::new();
    if let Some(panel) = &args.panel {
        filter = format!("&panel={}", percent(&find::panel(client, panel)?));
    }
    if let Some(identifier) = &args.identifier {
        let link = find::link_id(client, identifier, "identifier")?;
        there_is(client, link)?;
        filter = format!("{filter}&identifier={link}");
    }
    let stream = filter.clone();
    for (name, moment) in [("from", &args.from), ("to", &args.to)] {
        if let Some(moment) = moment {
            filter = format!("{filter}&{name}={}", percent(moment));
        }
    }
    let limit = args.limit.unwrap_or(if args.follow { BEFORE } else { SHOWN });
    // Opened before the list is asked for, so that nothing comes between both; what is in both is told once.
    let path = format!("/access-events/stream?{}", stream.trim_start_matches('&'));
    let opened = if args.follow { Some(client.listen(&path, None)?) } else { None };
    let (mut events, more) = newest(client, &filter, limit)?;
    events.reverse();
    let mut zones = Zones::default();
    if let Some(stream) = opened {
        return follow(client, (&path, stream), &events, &mut zones, output);
    }
    match output {
        Output::Json => output::json(&events)?,
        Output::Table => {
            let rows: Vec<_> =
                events.iter().map(|event| zones.row(client, event)).collect::<Result<_, _>>()?;
            output::table(["at", "panel", "granted", "what", "type", "number", "identifier"], rows);
        }
    }
    if more {
        note!("these are the newest {}; --limit shows more, --from and --to others", events.len());
    }
    Ok(Exit::Done)
}

/// Refuses a link_id that nobody has, nor ever had as far as events are kept.
fn there_is(client: &Client, link: LinkId) -> Result<(), Failure> {
    let events: Page<AccessEventBody> = client.get(&format!("/access-events?limit=1&identifier={link}"))?;
    let had = !events.items.is_empty() || events.next_cursor.is_some();
    if had || client.find::<Value>(&format!("/identifiers/{link}"))?.is_some() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "no panel holds an identifier with the link_id {link}, and no event is of one"
    )))
}

/// At most so many of the newest, newest first, and whether there are more.
fn newest(client: &Client, filter: &str, limit: usize) -> Result<(Vec<AccessEventBody>, bool), Failure> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    while events.len() < limit {
        let some = (limit - events.len()).min(AT_ONCE);
        let page: Page<AccessEventBody> =
            client.get(&format!("/access-events?limit={some}{filter}{cursor}"))?;
        events.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", percent(&next)),
            None => return Ok((events, false)),
        }
    }
    Ok((events, true))
}

/// Shows these events, and from then on all others that come. Ends where nobody reads them any more.
fn follow<'c>(
    client: &'c Client,
    (path, mut stream): (&str, Listening<'c>),
    before: &[AccessEventBody],
    zones: &mut Zones,
    output: Output,
) -> Result<Exit, Failure> {
    let mut tell = |event: &AccessEventBody| -> Result<bool, Failure> {
        let line = match output {
            Output::Json => serde_json::to_string(event).map_err(std::io::Error::other)?,
            Output::Table => zones.row(client, event)?.join("  "),
        };
        let mut to = std::io::stdout();
        Ok(writeln!(to, "{}", text::shown(&line)).and_then(|()| to.flush()).is_ok())
    };
    let mut told = HashSet::new();
    for event in before {
        told.insert(event.id);
        if !tell(event)? {
            return Ok(Exit::Done);
        }
    }
    loop {
        let broken = loop {
            match stream.next() {
                Ok(Some(Sent { event, data })) if event == "lagged" => {
                    note!("some events are not kept any more: {data}");
                }
                Ok(Some(Sent { data, .. })) => {
                    let event: AccessEventBody =
                        serde_json::from_str(&data).map_err(std::io::Error::other)?;
                    if !told.remove(&event.id) && !tell(&event)? {
                        return Ok(Exit::Done);
                    }
                }
                Ok(None) => break None,
                Err(broken) => break Some(broken),
            }
        };
        stream = again(client, path, stream.place(), broken)?;
    }
}

/// Opens a stream again that ended or broke off, at its place. A server that is not there is asked again and again.
fn again<'c>(
    client: &'c Client,
    path: &str,
    place: Option<&str>,
    mut broken: Option<Failure>,
) -> Result<Listening<'c>, Failure> {
    let mut said = false;
    loop {
        if let Some(broken) = broken {
            if broken.exit != Exit::Unreachable {
                return Err(broken);
            }
            if !said {
                note!("{}; it is asked again and again", broken.message);
            }
            said = true;
        }
        std::thread::sleep(PAUSE);
        match client.listen(path, place) {
            Ok(stream) => return Ok(stream),
            Err(failed) => broken = Some(failed),
        }
    }
}

/// The zones of panels, asked for as they are needed.
#[derive(Default)]
struct Zones(HashMap<String, Option<Zone>>);

impl Zones {
    fn row(&mut self, client: &Client, event: &AccessEventBody) -> Result<[String; 7], Failure> {
        let granted = match event.granted {
            Some(true) => "granted",
            Some(false) => "denied",
            None => "-",
        };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        Ok([
            self.moment(client, event)?,
            event.panel.clone(),
            granted.to_owned(),
            event.reason.clone(),
            or_none(event.kind.clone()),
            or_none(event.number.clone()),
            or_none(event.identifier.map(|link| link.to_string())),
        ])
    }

    /// When it happened, by the clock on the panel's wall; in UTC where the panel is gone.
    fn moment(&mut self, client: &Client, event: &AccessEventBody) -> Result<String, Failure> {
        if !self.0.contains_key(&event.panel) {
            let panel: Option<PanelBody> = client.find(&format!("/panels/{}", percent(&event.panel)))?;
            let zone = panel.and_then(|panel| Zone::new(&panel.record.zone));
            self.0.insert(event.panel.clone(), zone);
        }
        let at: Result<jiff::Timestamp, _> = event.at.parse();
        let (Ok(at), Some(Some(zone))) = (at, self.0.get(&event.panel)) else {
            return Ok(output::moment(&event.at));
        };
        let at = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
        Ok(at.display_with_offset(zone.rules().to_offset(at)).to_string().replacen('T', " ", 1))
    }
}
