use std::sync::Arc;

use proptest::prelude::*;
use redb::Database;

use super::*;
use crate::batch::report::Report;
use crate::batch::{BatchRecord, BatchState, Body};
use crate::profile::LinkId;
use crate::store::memory::Memory;
use crate::store::read::Snapshot;
use crate::store::row::RowName;
use crate::store::seal::Seal;
use crate::store::{migrate, render};

fn changed(n: u8, before: u64, after: u64, at_ms: i64) -> Changed {
    Changed { item: ItemId::profile(LinkId::from_bytes([n; 16])), before, after, at_ms }
}

#[test]
fn what_stood_before_the_first_time_stays_unless_something_newer_came_between() {
    let first = [changed(1, 5, 7, 10), changed(2, 0, 7, 10), changed(3, 8, 0, 10)];
    let again = [changed(1, 7, 9, 20), changed(2, 6, 7, 20), changed(4, 1, 2, 20)];
    let expected = [changed(1, 5, 9, 20), changed(2, 6, 7, 20), changed(3, 8, 0, 10), changed(4, 1, 2, 20)];
    assert_eq!(applied_again(&first, &again), expected);
}

#[test]
fn a_row_reads_back_as_it_was_and_a_cut_one_is_corrupt() {
    let of = [
        changed(1, 5, 7, 10),
        Changed { item: ItemId::identifier(LinkId::from_bytes([2; 16])), ..changed(2, u64::MAX, 0, -1) },
    ];
    let bytes = encode(3, &of);
    assert_eq!(decode(&bytes).expect("a row"), (3, of.to_vec()));
    for end in (0..bytes.len()).filter(|end| *end < 4 || (end - 4) % CHANGED != 0) {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// On these panels a batch gives an item another text, or none: the batch, the first panel, how many, the item, the text.
type Step = (u64, PanelNo, PanelNo, u8, u8);

const PANELS: PanelNo = 12;

fn text(n: u8) -> Body {
    Body::stored(&format!("{{\"name\":\"{n}\"}}"), None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// However batches come to panels, once or again, together or apart: of each item on each panel is kept what stood
    /// before the batch, and what the batch made of it; bodies know who names them; and all of it goes with the batch.
    #[test]
    fn of_each_item_on_each_panel_is_kept_what_stood_before(
        commits in prop::collection::vec(
            prop::collection::vec((1..=3_u64, 1..=PANELS, 1..6_u32, 0..3_u8, 0..4_u8), 1..6),
            1..8,
        ),
        gone in 1..=3_u64,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::create(folder.path().join("db")).expect("a database");
        let seal = Arc::new(Seal::new([1; 32]));
        migrate::run(&db, &seal).expect("made");
        let mut memory = Memory::new(Arc::clone(&seal));
        let mut commit = |work: &mut dyn FnMut(&mut Tables<'_>)| {
            let write = db.begin_write().expect("a transaction");
            let mut tables = Tables::open(&write, &mut memory).expect("opened");
            work(&mut tables);
            tables.finish().expect("finished");
            drop(tables);
            write.commit().expect("committed");
            memory.keep_transaction();
            let snapshot = Snapshot::new(&db, &seal).expect("readable");
            assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
            snapshot
        };
        commit(&mut |tables| {
            for n in 1..=PANELS {
                tables.add_panel(&format!("p{n}"), br#"{"driver":"embedded"}"#).expect("added");
            }
            let targets: Vec<_> = (1..=PANELS).collect();
            for n in 1..=3 {
                tables.add_batch(&record(n), b"{}", false, &targets, 10).expect("added");
            }
        });
        let mut held = BTreeMap::<(PanelNo, u8), u8>::new();
        let mut model = BTreeMap::<(u64, PanelNo, u8), (u8, u8)>::new();
        for steps in commits {
            let snapshot = commit(&mut |tables| {
                for step in &steps {
                    take(tables, *step, &mut held, &mut model);
                }
            });
            let name = |body| if body == 0 { 0 } else { named(&snapshot.body(body).expect("kept")) };
            let mut kept = BTreeMap::new();
            for seq in 1..=3 {
                snapshot.changed_by(seq, |run| {
                    for panel in run.first..run.first + run.panels {
                        for of in &run.changed {
                            let item = of.item.link_id.as_bytes()[0];
                            kept.insert((seq, panel, item), (name(of.before), name(of.after)));
                        }
                    }
                    Ok(())
                }).expect("readable");
            }
            prop_assert_eq!(&kept, &model);
        }
        // What is to be undone is what was changed, of the panels that are asked for; and it goes, too.
        let some: Vec<_> = (1..=PANELS).filter(|panel| panel % 3 > 0).collect();
        let mut undo = 0;
        commit(&mut |tables| {
            undo = tables.add_batch(&record(4), b"{}", false, &some, 10).expect("added");
            tables.copy_to_undo(gone, undo, &some).expect("copied");
            for panel in 1..=PANELS {
                let of = |n: u8| model.get(&(gone, panel, n)).filter(|_| some.contains(&panel));
                let found = tables.to_undo(undo, panel).expect("readable").map_or(0, |row| row.changed.len());
                assert_eq!(found, (0..3).filter(|n| of(*n).is_some()).count(), "panel {panel}");
            }
        });
        commit(&mut |tables| {
            for seq in [gone, undo] {
                tables.forget_before(seq).expect("gone");
            }
        });
    }
}

fn record(n: u128) -> BatchRecord {
    BatchRecord {
        id: uuid::Uuid::from_u128(n),
        created_at_ms: 0,
        created_by: "model".into(),
        target: "all".into(),
        state: BatchState::Done,
        cancelled: false,
        report: Report::default(),
        duration_ms: None,
        undoes: None,
    }
}

fn named(json: &str) -> u8 {
    json.split('"').nth(3).and_then(|name| name.parse().ok()).expect("a name")
}

fn take(
    tables: &mut Tables<'_>,
    (batch, first, count, n, to): Step,
    held: &mut BTreeMap<(PanelNo, u8), u8>,
    model: &mut BTreeMap<(u64, PanelNo, u8), (u8, u8)>,
) {
    for panel in first..(first + count).min(PANELS + 1) {
        let mut rows = tables.panel(panel);
        let name = RowName::Link(ItemId::profile(LinkId::from_bytes([n; 16])));
        let standing = rows.get(name).expect("readable");
        let before = held.get(&(panel, n)).copied().unwrap_or(0);
        if before == to {
            continue;
        }
        match (to, standing) {
            (0, Some(row)) => rows.remove(name, row).expect("removed"),
            (to, standing) => _ = rows.put(name, standing, &text(to)).expect("written"),
        }
        rows.keep_before(batch).expect("kept");
        rows.finish().expect("written");
        held.insert((panel, n), to);
        let kept = model.entry((batch, panel, n)).or_insert((before, before));
        *kept = (if kept.1 == before { kept.0 } else { before }, to);
    }
}
