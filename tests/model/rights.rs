//! No order of calls widens or narrows a right in between: after every call that a device takes, every identifier opens at
//! no moment at which it should open neither before nor after, and at every one at which it should open both.
//!
//! Each schedule is a seed: batches of profiles and identifiers, one or two at once, to a device over real HTTP, whose calls
//! are lost on either side of the work, and to a server that crashes in between and forgets what was not synced. The device
//! is the worst that is known: it detaches a profile that goes, and some take an identifier whose profile is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use panelsync::batch::Operations;
use panelsync::coordinator::fleet::AddPanels;
use panelsync::coordinator::{Submit, Target};
use panelsync::fleet::wanted::Wanted;
use panelsync::panel::settings::PanelRecord;
use panelsync::store::render;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::device::{Devices, Held};
use crate::faults::{Disk, new_panel, origin, quiet, start};

/// The moments that are asked about: hours from this one on, in Unix seconds.
const FROM: i64 = 1_735_689_600;
const HOURS: i64 = 6;

/// What is desired: of profiles the hours in which they are open; of identifiers type, number and profiles.
#[derive(Debug, Clone, Default, PartialEq)]
struct Desired {
    profiles: BTreeMap<u8, (i64, i64)>,
    identifiers: BTreeMap<u8, (&'static str, u8, BTreeSet<u8>)>,
}

fn link(n: u8) -> String {
    format!("91c615e3-1040-4815-8ecb-{n:012x}")
}

impl Desired {
    /// In which hours an identifier opens.
    fn opens(&self, n: u8) -> BTreeSet<i64> {
        let Some((_, _, profiles)) = self.identifiers.get(&n) else { return BTreeSet::new() };
        profiles.iter().filter_map(|p| self.profiles.get(p)).flat_map(|(from, to)| *from..*to).collect()
    }

    fn key(&self, n: u8) -> Option<(&'static str, u8)> {
        self.identifiers.get(&n).map(|(kind, number, _)| (*kind, *number))
    }

    /// Another one, and the batch that leads there.
    fn changed(&self, random: &mut fastrand::Rng) -> (Self, Value) {
        let mut next = self.clone();
        for _ in 0..random.u8(1..5) {
            let n = random.u8(0..4);
            if random.bool() {
                let from = random.i64(0..HOURS);
                next.profiles.insert(n, (from, random.i64(from + 1..=HOURS)));
            } else {
                next.profiles.remove(&n);
            }
        }
        for _ in 0..random.u8(1..5) {
            let n = random.u8(0..4);
            next.identifiers.remove(&n);
            let kind = if random.u8(0..5) == 0 { "card" } else { "inputCode" };
            let profiles = (0..random.u8(1..4)).map(|_| random.u8(0..4)).collect();
            if random.u8(0..4) > 0 {
                next.identifiers.insert(n, (kind, random.u8(10..15), profiles));
            }
        }
        // What would be refused is not asked for.
        let mut numbers = BTreeSet::new();
        let there = next.profiles.clone();
        next.identifiers.retain(|_, (kind, number, profiles)| {
            profiles.retain(|p| there.contains_key(p));
            !profiles.is_empty() && numbers.insert((*kind, *number))
        });
        let profile = |(n, (from, to)): (&u8, &(i64, i64))| {
            json!({ "link_id": link(*n), "name": format!("{from} to {to}"),
                "time_options": { "is_all_day": false, "date_from": FROM + 3600 * from, "date_to": FROM + 3600 * to },
                "repeat_options": { "repeat_enable": false } })
        };
        let identifier = |(n, (kind, number, profiles)): (&u8, &(&str, u8, BTreeSet<u8>))| {
            json!({ "link_id": link(*n), "identifier_owner": { "name": format!("nr {n}"), "type": "owner" },
                "identifier_type": kind, "identifier_number": number.to_string(), "lock": "all",
                "time_profiles": { "link_ids": profiles.iter().map(|p| link(*p)).collect::<Vec<_>>() } })
        };
        let upsert: Vec<_> = next
            .profiles
            .iter()
            .filter(|(n, hours)| self.profiles.get(n) != Some(hours))
            .map(profile)
            .collect();
        let identifiers: Vec<_> = next
            .identifiers
            .iter()
            .filter(|(n, of)| self.identifiers.get(n) != Some(of))
            .map(identifier)
            .collect();
        let delete: Vec<_> =
            self.profiles.keys().filter(|n| !next.profiles.contains_key(n)).map(|n| link(*n)).collect();
        let undone: Vec<_> =
            self.identifiers.keys().filter(|n| !next.identifiers.contains_key(n)).map(|n| link(*n)).collect();
        let batch = json!({ "all": true, "upsert": upsert, "delete": delete,
            "identifiers": { "upsert": identifiers, "delete": undone } });
        (next, batch)
    }
}

/// In which hours an identifier opens on a device. One that names no profile opens at any time.
fn opens(held: &Held, n: u8) -> BTreeSet<i64> {
    let Some(identifier) = held.identifiers.get(&link(n)) else { return BTreeSet::new() };
    let named = identifier["time_profiles"]["link_ids"].as_array().cloned().unwrap_or_default();
    if named.is_empty() {
        return (0..HOURS).collect();
    }
    let hours = |profile: &Value| {
        let hour = |name: &str| (profile["time_options"][name].as_i64().unwrap_or(FROM) - FROM) / 3600;
        hour("date_from")..hour("date_to")
    };
    named.iter().filter_map(|link| held.profiles.get(link.as_str()?)).flat_map(hours).collect()
}

/// Whether of the profiles that the identifier leaves and of those that it comes to some change with it: then it is taken
/// down in between.
fn is_taken_down(desired: &[Desired], n: u8) -> bool {
    let names: Vec<_> =
        desired.iter().filter_map(|of| of.identifiers.get(&n)).map(|(_, _, names)| names).collect();
    let changes = |p: &u8| desired.iter().any(|of| of.profiles.get(p) != desired[0].profiles.get(p));
    names.windows(2).any(|pair| pair[0] != pair[1]) && names.iter().any(|names| names.iter().any(changes))
}

fn check(seen: &Held, desired: &[Desired]) {
    for n in 0..4 {
        let opens = opens(seen, n);
        let allowed: BTreeSet<_> = desired.iter().flat_map(|of| of.opens(n)).collect();
        assert!(
            opens.is_subset(&allowed),
            "{n} opens in {opens:?} and may in {allowed:?}: {seen:?} of {desired:?}"
        );
        let mut always: BTreeSet<_> = (0..HOURS).collect();
        always.retain(|hour| desired.iter().all(|of| of.opens(n).contains(hour)));
        let moved = desired.iter().any(|of| of.key(n) != desired[0].key(n));
        assert!(
            always.is_subset(&opens) || moved || is_taken_down(desired, n),
            "{n} opens in {opens:?} and shall in {always:?}: {seen:?} of {desired:?}"
        );
    }
}

async fn schedule(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (devices, devices_at) = Devices::there();
    let name = format!("rights-{seed}");
    devices.take_unbound(&name, random.bool());
    let disk = Disk::default();
    let mut engine = start(&disk).await;
    let record = PanelRecord {
        driver: "http".into(),
        url: Some(format!("http://{devices_at}/{name}")),
        username: Some("admin".into()),
        ..PanelRecord::new("p")
    };
    let added =
        engine.coordinator().send(AddPanels(vec![new_panel(&record)], origin())).await.expect("it runs");
    added.expect("a new id").await.expect("it runs").expect("stored");
    let mut now = Desired::default();
    for _ in 0..random.u8(2..7) {
        devices.seen(&name);
        devices.trouble(&name, if random.bool() { random.u8(0..70) } else { 0 });
        // Each of them is perhaps desired at some moment, be it that a crash leaves it undone.
        let mut desired = vec![now.clone()];
        let mut accepted = now.clone();
        for _ in 0..random.u8(1..3) {
            let (next, batch) = accepted.changed(&mut random);
            desired.push(next.clone());
            let Ok(wanted) = Wanted::parse(batch.to_string().as_bytes(), 1000) else {
                desired.pop();
                continue; // there is nothing to do
            };
            let operations: Arc<Operations> = Arc::new(wanted.operations);
            let submit = Submit {
                id: Uuid::new_v4(),
                target: Target::All,
                operations,
                idempotency: None,
                origin: origin(),
            };
            let answer = engine.coordinator().send(submit).await.expect("it runs").expect("there is a panel");
            answer.await.expect("it answers").expect("accepted");
            accepted = next;
            actix_web::rt::time::sleep(Duration::from_micros(random.u64(0..4000))).await;
        }
        if random.u8(0..3) == 0 {
            disk.crash(&mut random);
            drop(engine);
            disk.heal();
            engine = start(&disk).await;
        }
        actix_web::rt::time::sleep(Duration::from_millis(random.u64(0..6))).await;
        devices.trouble(&name, 0);
        quiet(&engine).await;
        for seen in devices.seen(&name) {
            check(&seen, &desired);
        }
        now = accepted;
        let held = devices.all_held(&name);
        check(&held, std::slice::from_ref(&now));
        let links = |n: &BTreeMap<String, Value>| n.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(links(&held.profiles), now.profiles.keys().map(|n| link(*n)).collect());
        assert_eq!(links(&held.identifiers), now.identifiers.keys().map(|n| link(*n)).collect());
    }
    engine.stop().await;
    let store = disk.store();
    let snapshot = store.handle().read().expect("a snapshot");
    assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
    drop(snapshot);
    store.close();
    devices.forget(&name);
}

#[test]
fn after_every_call_an_identifier_opens_neither_more_nor_less_than_before_or_after() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first = from_environment("PANELSYNC_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let schedules = from_environment("PANELSYNC_SCHEDULES").unwrap_or(40);
    println!("seeds {first} to {}", first + schedules - 1);
    for seed in first..first + schedules {
        println!("seed {seed}");
        System::new().block_on(schedule(seed));
    }
}
