//! Identifiers beside profiles: what sealing them and the rules between them cost.

use std::time::Instant;

use panelsync::batch::Operations;
use panelsync::identifier::parse::{Given, link_body};
use panelsync::identifier::rule::Api;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tempfile::TempDir;

use crate::contenders::{Actors, Contender, GROUP, StoreAlone, operations, rows};
use crate::{Size, Table, heading, median, settle};

/// Profiles of the batch of this part, and identifiers.
const PROFILES: usize = 2;
const IDENTIFIERS: usize = 10;

/// So many cards, from this one on, each bound to the first profile; each `variant` has other numbers.
pub fn cards(from: usize, count: usize, variant: u64) -> Operations {
    let card = |n: usize| {
        format!(
            r#"{{"link_id":"5d0c5e0e-6c0c-4a55-8a35-{n:012x}","identifier_owner":{{"name":"Flat {n}, somebody of variant {variant}","type":"owner"}},
            "identifier_type":"card","identifier_number":"{}","lock":"first",
            "valid":{{"time":{{"is_permanent":false,"from":1735804800,"to":1893456000}},"passes":{{"is_permanent":true}}}},
            "time_profiles":{{"link_ids":["91c615e3-1040-4815-8ecb-000000000000"]}}}}"#,
            (variant % 10_000) * 100_000 + n as u64
        )
    };
    let body =
        format!(r#"{{"list_items":[{}]}}"#, (from..from + count).map(card).collect::<Vec<_>>().join(","));
    let given = link_body(body.as_bytes(), Api::ANY).expect("well-formed").into_iter();
    let identifiers = given.map(|given| match given {
        Given::Identifier(linked) => linked,
        Given::Refused(_, why) => unreachable!("{why}"),
    });
    Operations::of_identifiers(identifiers.collect(), Vec::new(), false)
}

fn both(variant: u64) -> Operations {
    operations(PROFILES, variant).and(cards(0, IDENTIFIERS, variant))
}

/// `SQLite` with a write-ahead log that is synced at every commit: the whole text in every row, those of identifiers sealed.
struct SealedSqlite {
    connection: rusqlite::Connection,
    key: LessSafeKey,
    sealed: u64,
    panels: usize,
    _folder: TempDir,
}

impl SealedSqlite {
    fn new(panels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = rusqlite::Connection::open(folder.path().join("db")).expect("a database");
        connection
            .execute_batch(
                "pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -262144;
                 create table items (panel integer, link blob, body blob, primary key (panel, link)) without rowid;",
            )
            .expect("a table");
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("a key"));
        Self { connection, key, sealed: 0, panels, _folder: folder }
    }
}

impl Contender for SealedSqlite {
    fn fan_out(&mut self, operations: Operations) {
        let rows = rows(&operations);
        let is_secret: Vec<_> =
            operations.upserts.iter().map(|upsert| upsert.body.credential().is_some()).collect();
        let step = (GROUP / rows.len()).max(1);
        for first in (0..self.panels).step_by(step) {
            let write = self.connection.transaction().expect("a transaction");
            {
                let mut upsert =
                    write.prepare_cached("insert or replace into items values (?1, ?2, ?3)").expect("SQL");
                for panel in first..(first + step).min(self.panels) {
                    for ((link, body), is_secret) in rows.iter().zip(&is_secret) {
                        let mut body = body.as_bytes().to_vec();
                        if *is_secret {
                            self.sealed += 1;
                            let mut nonce = [0; 12];
                            nonce[..8].copy_from_slice(&self.sealed.to_be_bytes());
                            let nonce = Nonce::assume_unique_for_key(nonce);
                            let bound = Aad::from((panel as u32).to_be_bytes());
                            self.key.seal_in_place_append_tag(nonce, bound, &mut body).expect("sealed");
                        }
                        upsert.execute((panel, link.to_be_bytes(), body)).expect("written");
                    }
                }
            }
            write.commit().expect("committed");
        }
    }
}

pub fn measure(size: &Size, table: &mut Table) {
    let panels = size.middle;
    heading(&format!("{PROFILES} profiles and {IDENTIFIERS} identifiers × {panels}, durable, in process"));
    let items = PROFILES + IDENTIFIERS;
    let (mut actors, mut sqlite) = (Actors::new(panels), SealedSqlite::new(panels));
    let mut seconds = [const { Vec::new() }; 3];
    for variant in 0..=size.rounds as u64 {
        let mut measure = |of: usize, contender: &mut dyn Contender, operations: Operations| {
            settle();
            let started = Instant::now();
            contender.fan_out(operations);
            if variant > 0 {
                seconds[of].push(started.elapsed().as_secs_f64()); // the first one creates
            }
        };
        measure(0, &mut actors, both(variant));
        measure(1, &mut actors, operations(items, variant + 1_000));
        measure(2, &mut sqlite, both(variant));
    }
    let [with, without, sqlite] = seconds.map(|seconds| (panels * items) as f64 / median(seconds));
    table.add("panelsync", with, "/s", None);
    table.add("÷ as many profiles", with / without, "", Some(('>', 0.6)));
    table.add(
        "÷ SQLite (WAL, full sync, bodies sealed row by row, groups)",
        with / sqlite,
        "",
        Some(('>', 3.0)),
    );
    let many = size.held * 5;
    let [few, many_took] = [IDENTIFIERS, many].map(|held| change_one(size, held));
    let what = format!("one card changed of {many} ÷ of {IDENTIFIERS} on a panel");
    table.add(what, many_took / few, "", Some(('<', 1.5)));
}

/// How long it takes that one of so many cards on a panel is another one, in seconds.
fn change_one(size: &Size, held: usize) -> f64 {
    let mut alone = StoreAlone::new(1);
    alone.fan_out(operations(PROFILES, 0).and(cards(0, held, 0)));
    let mut seconds = Vec::new();
    for round in 1..=(size.rounds * 10) as u64 {
        let one = cards(held / 2, 1, round);
        settle();
        let started = Instant::now();
        alone.fan_out(one);
        seconds.push(started.elapsed().as_secs_f64());
    }
    median(seconds)
}
