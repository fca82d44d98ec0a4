//! The form that builds a profile, and what it comes to while one fills it in.
//!
//! What the form says is read in [`fields`], which also says at which of its places each error stands. The preview is
//! computed by the server: the sentence, the week, and what is surely unintended.

use actix_web::{HttpResponse, HttpResponseBuilder, get, post, web};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde_json::{Map, json};

use self::fields::{DATE_FROM, DATE_TO, DATES, EVERY, FORMAT, PLACES, Read, UNTIL, errors_at, fields_of};
use super::calendar::{self, Door, Lane, Week};
use super::layout::{self, Place};
use super::posted::{ByOperator, ByViewer, Posted};
use super::problem::{PageProblem, capital};
use super::push;
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::clock;
use crate::fleet::profiles;
use crate::fleet::{FieldError, Fleet};
use crate::http::Here;
use crate::panel::settings::Zone;
use crate::profile::rule::WEEKDAYS;
use crate::profile::sentence::sentence;
use crate::profile::windows::Openings;
use crate::profile::{TimeProfile, lint};

pub mod fields;

const DAY_NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTH_NAMES: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const REPEATS: [(&str, &str); 7] = [
    ("none", "Once"),
    ("day", "Every day"),
    ("week", "Every week, on the weekday of the first day"),
    ("twoWeeks", "Every second week, on the weekday of the first day"),
    ("month", "Every month, on the day of the first day"),
    ("year", "Every year, on the date of the first day"),
    ("custom", "By a rule of its own"),
];
const POINTS: [(&str, &str); 4] =
    [("day", "days"), ("week", "weeks"), ("month", "months"), ("year", "years")];
const ORDERS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "last"];
const DAY_TYPES: [(&str, &str); 10] = [
    ("MON", "Monday"),
    ("TUE", "Tuesday"),
    ("WED", "Wednesday"),
    ("THU", "Thursday"),
    ("FRI", "Friday"),
    ("SAT", "Saturday"),
    ("SUN", "Sunday"),
    ("WEEK_DAY", "weekday, Monday to Friday"),
    ("DAY_OFF", "day off, Saturday or Sunday"),
    ("DAY", "day of any kind (door controllers only)"),
];

/// The form for a new profile: a work week that begins today.
#[get("/profiles/new")]
pub async fn new_profile(visitor: Visitor, shared: Here) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let zones = zones(&shared.fleet);
    let zone = zones.first().and_then(|name| Zone::new(name)).unwrap_or_else(Zone::utc);
    let now = Timestamp::from_millisecond(clock::now_ms()).unwrap_or_default();
    let today = zone.rules().to_datetime(now).date().to_string();
    let mut pairs: Vec<(&str, String)> = vec![
        ("link_id", uuid::Uuid::new_v4().to_string()),
        ("name", String::new()),
        ("zone", zone.name().to_owned()),
        ("from_date", today.clone()),
        ("from_time", "09:00".into()),
        ("to_date", today),
        ("to_time", "18:00".into()),
        ("repeat", "custom".into()),
        ("point", "week".into()),
        ("every", "1".into()),
    ];
    pairs.extend(WEEKDAYS[..5].iter().map(|day| ("days", (*day).to_owned())));
    let fields = Fields::of(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(show(HttpResponse::Ok(), &visitor, &fields, &zones, &[], "New profile"))
}

/// The form with a profile as most panels hold it, in the zone of the first of them.
#[get("/profiles/{link_id}/edit")]
pub async fn edit_profile(
    visitor: Visitor,
    link_id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let held = push::held(&shared.fleet, &link_id, None).await?;
    let profile = profiles::read(held.version.profile.get())?;
    let fields = fields_of(held.link_id, &profile, &held.zone);
    let zones = zones(&shared.fleet);
    Ok(show(HttpResponse::Ok(), &visitor, &fields, &zones, &[], "Edit a profile"))
}

/// Checks the form; what is right goes on to where its panels are chosen.
#[post("/profiles/check")]
pub async fn check_form(
    Posted { visitor, fields, .. }: Posted<ByOperator>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let read = Read::of(&fields);
    if !read.errors.is_empty() {
        let zones = zones(&shared.fleet);
        let response = HttpResponse::UnprocessableEntity();
        return Ok(show(response, &visitor, &fields, &zones, &read.errors, "Put the profile right"));
    }
    push::choose(&visitor, &shared.fleet, &read.body).await
}

/// What the form comes to, for its script: the preview, and each error by its place.
#[post("/profiles/preview")]
pub async fn preview_form(Posted { fields, .. }: Posted<ByViewer>) -> Result<HttpResponse, PageProblem> {
    let read = web::block(move || {
        let read = Read::of(&fields);
        let html = outcome(&read, fields.one("week"));
        (read, html)
    });
    let (read, html) = read.await?;
    let errors: Map<_, _> = PLACES
        .iter()
        .map(|place| ((*place).to_owned(), errors_at(&read.errors, place).join(" ").into()))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "html": html.into_string(), "errors": errors })))
}

/// The zones of the fleet's panels, the most frequent first.
pub fn zones(fleet: &Fleet) -> Vec<String> {
    let panels = fleet.changed_since(0).panels;
    let mut zones: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for panel in &panels {
        *zones.entry(panel.settings.zone.name()).or_default() += 1;
    }
    let mut zones: Vec<_> = zones.into_iter().collect();
    zones.sort_by_key(|(_, panels)| std::cmp::Reverse(*panels));
    zones.into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn show(
    response: HttpResponseBuilder,
    visitor: &Visitor,
    fields: &Fields,
    zones: &[String],
    errors: &[FieldError],
    title: &str,
) -> HttpResponse {
    let wrong = |place: &str| wrong_at(errors, place);
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/profiles" { "Profiles" } }
        h1 { (title) }
        @if !errors.is_empty() {
            p class="wrong" role="alert" { (layout::count(errors.len() as u64, "field")) " to put right." }
        }
        form id="profile" class="split" method="post" action="/profiles/check" data-preview="/profiles/preview" novalidate {
            (layout::token(visitor))
            div class="card" {
                label { "Name" input name="name" value=(fields.exactly("name")) maxlength="100" required placeholder="Work week" autofocus aria-describedby="e-name"; }
                (wrong("/name"))
                (first_window(fields, &wrong))
                (repetition(fields, &wrong))
                details open[!errors_at(errors, "/zone").is_empty() || !errors_at(errors, "/link_id").is_empty()] {
                    summary { "Zone and link_id" }
                    label { "Zone in which these times are meant"
                        input name="zone" value=(fields.one("zone")) list="zones" autocapitalize="none" spellcheck="false" aria-describedby="e-zone zone-hint";
                    }
                    datalist id="zones" { @for zone in zones { option value=(zone) {} } }
                    p class="hint" id="zone-hint" { "A profile keeps instants: 09:00 in Europe/Kyiv is 07:00 on a panel in Europe/Lisbon. The next page shows what it comes to in each zone." }
                    (wrong("/zone"))
                    label { "link_id, by which every panel knows it"
                        input name="link_id" value=(fields.one("link_id")) spellcheck="false" autocapitalize="none" aria-describedby="e-link_id";
                    }
                    (wrong("/link_id"))
                }
                button class="main" { "Choose panels …" }
            }
            section class="card preview" aria-label="Preview" {
                p class="unseen" id="said" role="status" {}
                input type="hidden" name="week" value=(fields.one("week"));
                div id="preview" { (outcome(&Read::of(fields), fields.one("week"))) }
            }
        }
        script type="module" src=(super::files::path("profile.js")) {}
    };
    layout::page_with(response, visitor, Place::Profiles, title, main)
}

fn wrong_at(errors: &[FieldError], place: &str) -> Markup {
    let id = format!("e-{}", place.rsplit('/').next().unwrap_or_default());
    html! { p class="wrong" id=(id) data-place=(place) { (errors_at(errors, place).join(" ")) } }
}

fn first_window(fields: &Fields, wrong: &impl Fn(&str) -> Markup) -> Markup {
    html! {
        fieldset {
            legend { "First window" }
            input type="hidden" name="kept_from" value=(fields.one("kept_from"));
            input type="hidden" name="kept_to" value=(fields.one("kept_to"));
            label class="tick" { input type="checkbox" name="all_day" value="yes" checked[fields.ticked("all_day")]; "Whole days" }
            div class="row" {
                label { "From" input type="date" name="from_date" value=(fields.one("from_date")) aria-describedby="e-date_from"; }
                label class="time" { "at" input type="time" name="from_time" value=(fields.one("from_time")) step=[seconds(fields.one("from_time"))] aria-describedby="e-date_from"; }
            }
            (wrong(DATE_FROM))
            div class="row" {
                label { "To" input type="date" name="to_date" value=(fields.one("to_date")) aria-describedby="e-date_to"; }
                label class="time" { "at" input type="time" name="to_time" value=(fields.one("to_time")) step=[seconds(fields.one("to_time"))] aria-describedby="e-date_to"; }
            }
            (wrong(DATE_TO))
        }
    }
}

/// A field of a time with seconds takes seconds.
fn seconds(time: &str) -> Option<&'static str> {
    (time.matches(':').count() == 2 && !time.ends_with(":00")).then_some("1")
}

fn repetition(fields: &Fields, wrong: &impl Fn(&str) -> Markup) -> Markup {
    let repeat = fields.one("repeat");
    html! {
        fieldset {
            legend { "Repetition" }
            label { "Repeats"
                select name="repeat" aria-describedby="e-repeat_format" {
                    @for (value, words) in REPEATS { option value=(value) selected[value == repeat] { (words) } }
                }
            }
            (wrong(FORMAT))
            div class="custom" {
                div class="row" {
                    label { "Every" input type="number" name="every" min="1" max="1000" value=(if fields.one("every").is_empty() { "1" } else { fields.one("every") }) aria-describedby="e-repeat_looper"; }
                    label { "Period"
                        select name="point" {
                            @for (value, words) in POINTS { option value=(value) selected[fields.one("point") == value] { (words) } }
                        }
                    }
                }
                (wrong(EVERY))
                (choices("in-week", "On these days", "days", WEEKDAYS.iter().zip(DAY_NAMES).map(|(value, name)| ((*value).to_owned(), name.to_owned())), fields))
                (by("in-month", "month_by", "On days by number", fields))
                (choices("in-month by-number", "Days of the month", "numbers", (1..=31).map(|n| (n.to_string(), n.to_string())), fields))
                (choices("in-year", "In these months", "months", (1..).zip(MONTH_NAMES).map(|(n, name): (i32, _)| (n.to_string(), name.to_owned())), fields))
                (by("in-year", "year_by", "On the day of the first window", fields))
                (nth(fields))
                (wrong(DATES))
            }
            div class="end row" {
                label { "Ends"
                    select name="end" aria-describedby="e-repeat_end" {
                        option value="never" { "never" }
                        option value="date" selected[fields.one("end") == "date"] { "on a day" }
                    }
                }
                label class="until" { "Last day" input type="date" name="until_date" value=(fields.one("until_date")) aria-describedby="e-repeat_end"; }
                label class="until" { "until" input type="time" name="until_time" step="1" value=(fields.one("until_time")) aria-describedby="e-repeat_end"; }
            }
            (wrong(UNTIL))
        }
    }
}

fn choices(
    class: &str,
    legend: &str,
    name: &str,
    values: impl Iterator<Item = (String, String)>,
    fields: &Fields,
) -> Markup {
    html! {
        fieldset class={ "choices " (class) } {
            legend { (legend) }
            @for (value, words) in values {
                label { input type="checkbox" name=(name) value=(value) checked[fields.has(name, &value)]; (words) }
            }
        }
    }
}

fn by(class: &str, name: &str, plain: &str, fields: &Fields) -> Markup {
    html! {
        fieldset class={ "choices " (class) } {
            legend { "Which day" }
            label { input type="radio" name=(name) value="plain" checked[fields.one(name) != "nth"]; (plain) }
            label { input type="radio" name=(name) value="nth" checked[fields.one(name) == "nth"]; "On the n-th day of a kind" }
        }
    }
}

fn nth(fields: &Fields) -> Markup {
    html! {
        div class="row nth" {
            label { "The"
                select name="order" { @for order in ORDERS { option value=(order) selected[fields.one("order") == order] { (order) } } }
            }
            label { "Kind of day"
                select name="day_type" { @for (value, words) in DAY_TYPES { option value=(value) selected[fields.one("day_type") == value] { (words) } } }
            }
        }
    }
}

/// What the form comes to: the sentence, warnings, and a week.
fn outcome(read: &Read, week: &str) -> Markup {
    let now = clock::now_ms() / 1000;
    let zone = read.zone.rules();
    html! {
        h2 { "What it comes to" }
        @match &read.profile {
            Some(profile) => { (of_profile(profile, zone, week, now)) }
            None => p class="empty" {
                @for error in &read.errors { (capital(&error.message)) ". " }
            }
        }
    }
}

fn of_profile(profile: &TimeProfile, zone: &TimeZone, week: &str, now: i64) -> Markup {
    let openings = Openings::new(profile, zone);
    let next = openings.next_change(now);
    let open = openings.is_open(now);
    // Unless asked for another, the first week from now on in which it opens.
    let first = if open { now } else { next.unwrap_or(profile.from) };
    let week = Week::parse(week, first, zone);
    let (from, to) = week.range();
    let windows = openings.windows(from, to).unwrap_or_default();
    let lane = Lane { name: profile.name.as_str().to_owned(), windows, unsure: None };
    let named = [profile.name.as_str()];
    html! {
        p class="sentence" { (sentence(profile, zone)) }
        @for warning in lint::warnings(profile, zone, now) { p class="warning" { (capital(&warning.to_string())) "." } }
        (calendar::door(&Door { open: if open { &named } else { &[] }, next, zone, confirmed: false, at_any_time: false, notes: &[] }))
        div class="row weeks" {
            button type="button" data-week=(week.later(-1).text()) { "← Previous" }
            (week.heading())
            button type="button" data-week=(week.later(1).text()) { "Next →" }
        }
        (calendar::draw(&week, vec![lane], now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identifier::file;
    use crate::profile::rule::{DayType, Family, WeekOrder};
    use crate::profile::wire::Json;
    use crate::profile::{LinkId, parse};

    #[test]
    fn every_choice_of_the_form_is_one_of_the_panel_api() {
        for order in ORDERS {
            assert!(WeekOrder::parse(order).is_some(), "{order}");
        }
        for (day, _) in DAY_TYPES {
            assert!(DayType::parse(day, Family::DoorController).is_some(), "{day}");
        }
    }

    #[test]
    fn a_profile_goes_through_the_form_unchanged() {
        let kinds = file::profiles_alone(include_str!("../../tests/data/valid-kinds.json")).expect("a list");
        assert!(kinds.len() > 5);
        for zone in ["UTC", "Europe/Kyiv", "America/New_York"] {
            let zone = Zone::new(zone).expect("a zone");
            for kind in &kinds {
                let mut found = Vec::new();
                let text = kind.to_string();
                let json = Json::read(text.as_bytes()).expect("JSON");
                let profile =
                    parse::profile_at(&json, "", Family::DoorController, &mut found).expect("valid");
                let link = LinkId::from_bytes([7; 16]);
                let read = Read::of(&fields_of(link, &profile, &zone));
                assert_eq!(read.errors, [], "{text}");
                assert_eq!(read.profile.as_ref(), Some(&profile), "{text}");
            }
        }
    }

    /// What people and programs put into fields.
    fn field() -> impl Strategy<Value = String> {
        const ODD: &[&str] = &[
            "",
            " ",
            "0",
            "-1",
            "1",
            "31",
            "32",
            "1001",
            "99999999999999999999",
            "MON",
            "SUN",
            "DAY",
            "last",
            "fifth",
            "day",
            "week",
            "month",
            "year",
            "custom",
            "none",
            "twoWeeks",
            "nth",
            "date",
            "never",
            "yes",
            "2026-11-25",
            "2024-02-29",
            "0000-01-01",
            "9999-12-31",
            "-009999-01-01",
            "00:00",
            "24:00",
            "23:59:59",
            "09:00:00.5",
            "Europe/Kyiv",
            "America/New_York",
            "Antarctica/Troll",
            "<b>",
            "\u{0}",
        ];
        prop_oneof![8 => proptest::sample::select(ODD).prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn any_form_gives_a_profile_or_says_why_not(
            pairs in proptest::collection::vec((proptest::sample::select(&NAMES[..]), field()), 0..8),
        ) {
            // The first value of a name counts, so these stand where nothing odd was put.
            let good = GOOD.iter().map(|(name, value)| (*name, (*value).to_owned()));
            let pairs = pairs.into_iter().chain(good);
            let fields = Fields::of(pairs.map(|(name, value)| (name.to_owned(), value)));
            let read = Read::of(&fields);
            prop_assert!(read.profile.is_some() || !read.errors.is_empty());
            let placed: usize = PLACES.iter().map(|place| errors_at(&read.errors, place).len()).sum();
            prop_assert_eq!(placed, read.errors.len(), "{:?}", read.errors);
            let html = outcome(&read, fields.one("week")).into_string();
            prop_assert!(!html.is_empty());
            if let Some(profile) = read.profile {
                let again = Read::of(&fields_of(LinkId::from_bytes([7; 16]), &profile, &read.zone));
                prop_assert_eq!(again.profile, Some(profile));
            }
        }
    }

    const GOOD: [(&str, &str); 12] = [
        ("name", "Gym"),
        ("zone", "Europe/Kyiv"),
        ("from_date", "2026-03-28"),
        ("from_time", "03:30"),
        ("to_date", "2026-03-29"),
        ("to_time", "04:00"),
        ("repeat", "custom"),
        ("every", "2"),
        ("point", "week"),
        ("order", "last"),
        ("day_type", "FRI"),
        ("link_id", "91c615e3-1040-4815-8ecb-000000000009"),
    ];

    const NAMES: [&str; 24] = [
        "link_id",
        "name",
        "zone",
        "all_day",
        "from_date",
        "from_time",
        "to_date",
        "to_time",
        "kept_from",
        "kept_to",
        "repeat",
        "every",
        "point",
        "days",
        "numbers",
        "months",
        "month_by",
        "year_by",
        "order",
        "day_type",
        "end",
        "until_date",
        "until_time",
        "week",
    ];
}
