//! What people type for a panel, a batch or a profile, found: a whole id, the beginning of one, or `latest`; and
//! selectors that pick something.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::client::Client;
use super::{Failure, panel, words};
use crate::batch::selector::{Selector, is_key};
use crate::http::fleet_api::Page;
use crate::http::fleet_api::batches::BatchBody;
use crate::http::fleet_api::panels::PanelBody;
use crate::http::percent;
use crate::profile::LinkId;

/// Candidates that are named.
const NAMED: usize = 10;

/// Ids asked for at once; a selector of so many is short enough.
const AT_ONCE: usize = 50;

/// The beginning of a link_id that is taken for one; less is surely a slip.
const LEAST: usize = 4;

/// The id of the panel that this is, or is the beginning of.
pub fn panel(client: &Client, text: &str) -> Result<String, Failure> {
    let found: Option<PanelBody> = client.find(&format!("/panels/{}", percent(text)))?;
    if let Some(PanelBody { record, .. }) = found {
        return Ok(record.id);
    }
    if !is_key(text) {
        return Err(Failure::usage(format!("there is no panel {text:?}; `panelsync panel ls` lists them")));
    }
    // Behind its own place in the order of ids stand those that begin with it.
    let path = format!("/panels?limit=1000&cursor={}", percent(text));
    let page: Page<PanelBody> = client.get(&path)?;
    let ids: Vec<_> = page.items.into_iter().map(|panel| panel.record.id).collect();
    let begin: Vec<_> = ids.into_iter().filter(|id| id.starts_with(text)).collect();
    match begin.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let all = panel::list(client, None)?;
            let near = words::nearest(text, all.iter().map(|panel| panel.record.id.as_str()));
            let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
            Err(Failure::usage(format!("there is no panel {text}; {near}`panelsync panel ls` lists them")))
        }
        many => Err(ambiguous(text, "panel", many)),
    }
}

/// The ids of the panels that these are, or are the beginnings of.
pub fn panels(client: &Client, texts: &[String]) -> Result<Vec<String>, Failure> {
    let mut there = BTreeSet::new();
    let whole: Vec<_> = texts.iter().filter(|text| is_key(text)).map(String::as_str).collect();
    for some in whole.chunks(AT_ONCE) {
        let selector = format!("id in ({})", some.join(","));
        let found = client.get_all::<PanelBody>(&format!("/panels?selector={}", percent(&selector)))?;
        there.extend(found.into_iter().map(|panel| panel.record.id));
    }
    let find = |text: &String| if there.contains(text) { Ok(text.clone()) } else { panel(client, text) };
    texts.iter().map(find).collect()
}

/// The id of the batch that this is, or is the beginning of; `latest` is the newest one.
pub fn batch(client: &Client, text: &str) -> Result<Uuid, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if text == "latest" {
        let page: Page<BatchBody> = client.get("/batches?limit=1")?;
        let newest = page.items.first().map(|batch| batch.id);
        return newest
            .ok_or_else(|| Failure::usage("there is no batch yet; push one with `panelsync apply`"));
    }
    let text = text.trim_end_matches('…').to_lowercase();
    let batches: Vec<BatchBody> = if is_beginning(&text) { client.get_all("/batches")? } else { Vec::new() };
    let ids = batches.iter().map(|batch| batch.id.to_string());
    let begin: Vec<_> = ids.filter(|id| id.starts_with(&text)).collect();
    match begin.as_slice() {
        [one] => one.parse().map_err(|_| Failure::usage(format!("there is no batch {text}"))),
        [] => Err(Failure::usage(format!("there is no batch {text}; `panelsync batch ls` lists them"))),
        many => Err(ambiguous(&text, "batch", many)),
    }
}

/// The link_ids of the fleet's items that these are, or are the beginnings of. A whole one need not be there. What the
/// items are is said in the singular, and in the plural it is their place: `profile`, `/profiles`.
pub fn link_ids(client: &Client, texts: &[String], what: &str) -> Result<Vec<LinkId>, Failure> {
    let mut known: Option<Vec<String>> = None;
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        if let Ok(link) = text.parse() {
            found.push(link);
            continue;
        }
        let beginning = text.trim_end_matches('…').to_lowercase();
        if beginning.len() < LEAST || !is_beginning(&beginning) {
            return Err(Failure::usage(format!(
                "{text:?} is no link_id, which is a UUID such as 91c615e3-1040-4815-8ecb-039a18b756b5, nor the beginning of one ({LEAST} digits or more)"
            )));
        }
        let known = match &mut known {
            Some(known) => known,
            none => {
                let items: Vec<Value> = client.get_all(&format!("/{what}s"))?;
                let links = items.iter().filter_map(|item| item["link_id"].as_str());
                none.insert(links.map(str::to_owned).collect())
            }
        };
        let begin: Vec<_> = known.iter().filter(|link| link.starts_with(&beginning)).cloned().collect();
        match begin.as_slice() {
            [one] => found.extend(one.parse::<LinkId>().ok()),
            [] => {
                return Err(Failure::usage(format!(
                    "no panel holds {} whose link_id begins with {text}",
                    one(what)
                )));
            }
            many => return Err(ambiguous(text, what, many)),
        }
    }
    Ok(found)
}

/// The one link_id that this is, or is the beginning of: [`link_ids`].
pub fn link_id(client: &Client, text: &str, what: &str) -> Result<LinkId, Failure> {
    let found = link_ids(client, &[text.to_owned()], what)?;
    found.first().copied().ok_or_else(|| Failure::usage(format!("{text:?} is no link_id")))
}

/// With its article.
fn one(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

fn is_beginning(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

fn ambiguous(text: &str, what: &str, ids: &[String]) -> Failure {
    let (many, named) = (ids.len(), words::some_of(ids.iter().map(String::as_str), NAMED));
    let what = if what == "batch" { "batches".to_owned() } else { format!("{what}s") };
    Failure::usage(format!("{text} is the beginning of {many} {what}: {named}; write more of it"))
}

/// Refuses a selector that is surely not what was meant: one that picks nothing, or that excludes by a label which no
/// panel has.
pub fn selector(client: &Client, text: &str) -> Result<(), Failure> {
    let selector = Selector::parse(text).map_err(|error| Failure::usage(format!("--selector: {error}")))?;
    let picks = |selector: &str| -> Result<bool, Failure> {
        let path = format!("/panels?limit=1&selector={}", percent(selector));
        Ok(!client.get::<Page<PanelBody>>(&path)?.items.is_empty())
    };
    let mut unknown = None;
    for key in selector.excluding() {
        if !matches!(key, "id" | "driver") && !picks(key)? {
            unknown = Some(key);
            break;
        }
    }
    if unknown.is_none() && picks(text)? {
        return Ok(());
    }
    let panels = panel::list(client, None)?;
    if panels.is_empty() {
        return Err(Failure::usage("there is no panel yet; add one with `panelsync panel add`"));
    }
    Err(Failure::usage(why_nothing(&selector, text, &panels)))
}

/// What a selector that picks no panel could have meant, by the labels that there are.
fn why_nothing(selector: &Selector, text: &str, panels: &[PanelBody]) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for PanelBody { record, .. } in panels {
        for (key, value) in &record.labels {
            labels.entry(key).or_default().insert(value);
        }
        labels.entry("id").or_default().insert(&record.id);
        labels.entry("driver").or_default().insert(&record.driver);
    }
    for (key, wanted) in selector.wanting() {
        let Some(values) = labels.get(key) else {
            let keys = labels.keys().copied();
            let near = words::nearest(key, keys.clone());
            let near = near.map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near}?"));
            let keys = words::some_of(keys, NAMED);
            return format!("--selector {text}: no panel has the label {key}{near} The labels are {keys}");
        };
        if !wanted.is_empty() && !wanted.iter().any(|wanted| values.contains(wanted)) {
            let near = wanted.iter().find_map(|wanted| words::nearest(wanted, values.iter().copied()));
            let near = near.map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near}?"));
            let (wanted, values) = (wanted.join(" or "), words::some_of(values.iter().copied(), NAMED));
            return format!(
                "--selector {text}: no panel has {key}={wanted}{near} The values of {key} are {values}"
            );
        }
    }
    let said: Vec<_> = labels
        .iter()
        .filter(|(key, _)| !matches!(**key, "id" | "driver"))
        .map(|(key, values)| format!("{key} ({})", words::some_of(values.iter().copied(), NAMED)))
        .collect();
    let said = if said.is_empty() {
        "there are no labels".to_owned()
    } else {
        format!("the labels are {}", said.join(", "))
    };
    format!("--selector {text} picks no panel: no panel meets all its conditions; {said}")
}
