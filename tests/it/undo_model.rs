//! Random batches, calls and undos on embedded panels and a device come to what a naive model says, and so does every dry run.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::identifiers::card;
use crate::support::profiles::{link, list, once};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

/// The panels; the last one is a device.
const PANELS: [&str; 3] = ["e1", "e2", "d1"];

/// Of so many profiles, and so many identifiers behind them.
const PROFILES: u32 = 3;
const ITEMS: u32 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// For these panels: upserts with their version, deletes, and of which kinds everything else goes.
    Batch { panels: Vec<usize>, upserts: BTreeMap<u32, u8>, deletes: BTreeSet<u32>, prune: [bool; 2] },
    /// A call of the panel API of an embedded panel; without a version it deletes.
    Call { panel: usize, profile: u32, version: Option<u8> },
    /// The batch of this place in their list is undone on these panels.
    Undo { batch: prop::sample::Index, panels: Vec<usize> },
}

fn step() -> impl Strategy<Value = Step> {
    let panels = || prop::sample::subsequence(vec![0, 1, 2], 2..=3);
    let batch = (
        panels(),
        prop::collection::btree_map(1..=ITEMS, 0..3_u8, 0..=4),
        prop::collection::btree_set(1..=ITEMS, 0..3),
        [prop::bool::weighted(0.1), prop::bool::weighted(0.1)],
    );
    prop_oneof![
        4 => batch.prop_map(|(panels, upserts, deletes, prune)| Step::Batch { panels, upserts, deletes, prune }),
        1 => (0..2_usize, 1..=PROFILES, prop::option::weighted(0.7, 0..3_u8))
            .prop_map(|(panel, profile, version)| Step::Call { panel, profile, version }),
        4 => (any::<prop::sample::Index>(), panels()).prop_map(|(batch, panels)| Step::Undo { batch, panels }),
    ]
}

/// What a panel holds: of each item its version.
type Held = BTreeMap<u32, u8>;

/// What a batch changed on each panel: of each item what it was before and after.
type Changes = [BTreeMap<u32, (Option<u8>, Option<u8>)>; 3];

#[derive(Default)]
struct Model {
    held: [Held; 3],
    batches: Vec<(String, Changes)>,
}

impl Model {
    /// Makes the panel hold this of the item, and notes what it was.
    fn set(&mut self, changes: &mut Changes, panel: usize, item: u32, to: Option<u8>) {
        let held = &mut self.held[panel];
        let before = match to {
            Some(version) => held.insert(item, version),
            None => held.remove(&item),
        };
        if before != to {
            changes[panel].insert(item, (before, to));
        }
    }
}

struct World {
    server: TestServer,
    devices: Simulated,
}

impl World {
    fn send(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.server.fleet("POST", path).header("prefer", "wait=60").json(body).send();
        (answer.status, answer.value())
    }

    /// Nobody holds anything.
    fn clear(&self) {
        let all =
            json!({ "all": true, "prune": true, "identifiers": { "prune": true }, "confirm_deletes": 1000 });
        assert_eq!(self.send("/batches", &all).0, 200);
    }

    fn held(&self, panel: usize) -> Held {
        let mut held = Held::new();
        for (kind, what) in [("profiles", "profile"), ("identifiers", "identifier")] {
            let answer =
                self.server.fleet("GET", &format!("/panels/{}/{kind}", PANELS[panel])).send().value();
            for item in answer["items"].as_array().expect("a list") {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let number = u32::from_str_radix(&text(&item["link_id"])[24..], 16).expect("one of ours");
                held.insert(number, text(&item[what]["name"]).parse().expect("a version"));
            }
        }
        held
    }

    fn run(&self, model: &mut Model, step: &Step) {
        let mut changes = Changes::default();
        match step {
            Step::Batch { panels, upserts, deletes, prune } => {
                let is_profile = |item: &u32| *item <= PROFILES;
                let upsert = |items: bool| -> Vec<_> {
                    let of_kind = upserts.iter().filter(|(item, _)| is_profile(item) == items);
                    let value = |(item, version): (&u32, &u8)| {
                        let name = version.to_string();
                        if items {
                            once(*item, &name)
                        } else {
                            card(*item, &name, &format!("100{item}"), &[])
                        }
                    };
                    of_kind.map(value).collect()
                };
                let gone: BTreeSet<_> =
                    deletes.iter().filter(|item| !upserts.contains_key(item)).copied().collect();
                let delete = |items: bool| -> Vec<_> {
                    gone.iter().filter(|item| is_profile(item) == items).map(|item| link(*item)).collect()
                };
                if upserts.is_empty() && gone.is_empty() && prune == &[false; 2] {
                    return;
                }
                let names: Vec<_> = panels.iter().map(|panel| PANELS[*panel]).collect();
                let (status, batch) = self.send("/batches", &json!({
                    "panels": names, "upsert": upsert(true), "delete": delete(true), "prune": prune[0], "confirm_deletes": 1000,
                    "identifiers": { "upsert": upsert(false), "delete": delete(false), "prune": prune[1] },
                }));
                assert_eq!(status, 200, "{batch}");
                for panel in panels {
                    for item in 1..=ITEMS {
                        let pruned = prune[usize::from(!is_profile(&item))];
                        match upserts.get(&item) {
                            Some(version) => model.set(&mut changes, *panel, item, Some(*version)),
                            None if gone.contains(&item) || pruned => {
                                model.set(&mut changes, *panel, item, None);
                            }
                            None => {}
                        }
                    }
                }
                model.batches.push((batch["id"].as_str().expect("an id").to_owned(), changes));
            }
            Step::Call { panel, profile, version } => {
                let token = self.server.panel_login(PANELS[*panel]);
                let path = format!("/panels/{}/api/v1/access/timeprofile/items/link", PANELS[*panel]);
                let answer = match version {
                    Some(version) => {
                        let body = list(&[once(*profile, &version.to_string())]);
                        self.server.call("POST", &path).bearer(&token).json(&body).send()
                    }
                    None => {
                        let body = json!({ "link_ids": [link(*profile)] });
                        self.server.call("DELETE", &path).bearer(&token).json(&body).send()
                    }
                };
                assert_eq!(answer.status, 200, "{answer}");
                model.set(&mut changes, *panel, *profile, *version);
            }
            Step::Undo { batch, panels } => {
                if !model.batches.is_empty() {
                    let which = batch.index(model.batches.len());
                    self.undo(model, which, panels);
                }
            }
        }
    }

    fn undo(&self, model: &mut Model, which: usize, panels: &[usize]) {
        let (id, undone) = model.batches[which].clone();
        let names: Vec<_> = panels.iter().map(|panel| PANELS[*panel]).collect();
        let path = format!("/batches/{id}:undo");
        let selector = format!("id in ({})", names.join(","));
        let (status, plan) = self.send(&path, &json!({ "selector": selector, "dry_run": true }));
        let (done, undo) = self.send(&path, &json!({ "selector": selector }));
        assert_eq!(status, done, "{plan} {undo}");
        let mut concerned = Vec::new();
        for panel in panels {
            concerned.extend(undone[*panel].iter().map(|(item, change)| (*panel, *item, *change)));
        }
        let stands =
            |model: &Model, panel: usize, item: u32, after| model.held[panel].get(&item).copied() == after;
        let expected = if undone.iter().all(BTreeMap::is_empty) {
            409
        } else if concerned.is_empty() {
            422
        } else if !concerned.iter().any(|(panel, item, (_, after))| stands(model, *panel, *item, *after)) {
            409
        } else {
            200
        };
        assert_eq!(status, expected, "{undo}");
        if expected != 200 {
            return;
        }
        assert_eq!(plan["items"], undo["items"], "what is foretold comes");
        let (mut changes, mut left) = (Changes::default(), 0);
        for (panel, item, (before, after)) in concerned {
            if stands(model, panel, item, after) {
                model.set(&mut changes, panel, item, before);
            } else if !stands(model, panel, item, before) {
                left += 1;
            }
        }
        assert_eq!(undo["items"]["changed_since"].as_u64().unwrap_or(0), left, "{undo}");
        assert_eq!(undo["panels"]["applied"], undo["panels"]["total"], "{undo}");
        model.batches.push((undo["id"].as_str().expect("an id").to_owned(), changes));
    }

    fn check(&self, model: &Model, steps: &[Step]) {
        for (panel, held) in model.held.iter().enumerate() {
            assert_eq!(&self.held(panel), held, "{} after {steps:#?}", PANELS[panel]);
        }
        let profiles = model.held[2].iter().filter(|(item, _)| **item <= PROFILES);
        let on_device: BTreeMap<_, _> =
            profiles.map(|(item, version)| (link(*item), version.to_string())).collect();
        assert_eq!(self.devices.holds(1), on_device, "the device after {steps:#?}");
    }
}

#[test]
fn random_batches_calls_and_undos_come_to_what_a_naive_model_says() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start();
    server.add_panel("e1", &json!({}));
    server.add_panel("e2", &json!({ "zone": "Europe/Kyiv" }));
    let device =
        json!({ "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" });
    server.add_panel("d1", &device);
    let world = World { server, devices };
    let mut runner = TestRunner::new(Config {
        cases: 12,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let ran = runner.run(&prop::collection::vec(step(), 4..16), |steps| {
        world.clear();
        let mut model = Model::default();
        let upserts = (1..=ITEMS).map(|item| (item, 9)).collect();
        let all = Step::Batch { panels: vec![0, 1, 2], upserts, deletes: BTreeSet::new(), prune: [false; 2] };
        world.run(&mut model, &all);
        for (i, step) in steps.iter().enumerate() {
            world.run(&mut model, step);
            world.check(&model, &steps[..=i]);
        }
        Ok(())
    });
    ran.expect("the model and the server agree");
    world.server.stop_and_render();
}
