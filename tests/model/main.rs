//! The store against a model: random work on several panels, with reopening in between, must leave exactly
//! what a map in memory holds, and no contradiction between tables (which says too that every body is named).
#![allow(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs, reason = "a test")]

mod device;
mod faults;
mod rights;
mod windows;
mod wording;

use std::collections::BTreeMap;

use panelsync::batch::item::{ItemId, Kind};
use panelsync::batch::report::Report;
use panelsync::batch::{BatchRecord, BatchState, Body, ItemOutcome, Outcome};
use panelsync::profile::rule::Family;
use panelsync::profile::{LinkId, parse};
use panelsync::store::row::RowName;
use panelsync::store::tables::{AuditRecord, ConnectionRecord, KEPT_CONNECTIONS, PanelRows, Tables};
use panelsync::store::writer::PanelWork;
use panelsync::store::{BatchSeq, PanelNo, Store, StoreError, render};
use panelsync::telemetry::Metrics;
use proptest::prelude::*;

/// One step of work.
#[derive(Debug, Clone)]
enum Step {
    /// A profile under a link_id.
    Put { panel: usize, link: u8, body: u8 },
    /// A profile without link_id.
    PutByUid { panel: usize, body: u8 },
    /// Away with the profile of a link_id, if it is there.
    Remove { panel: usize, link: u8 },
    /// Every `step`-th of a run of link_ids at once, more than one pack of rows holds.
    PutMany { panel: usize, from: u16, step: usize, body: u8 },
    /// Away with a run of them.
    RemoveMany { panel: usize, from: u16, count: u16 },
    /// Away with the first profile, whatever it is.
    RemoveFirst { panel: usize },
    /// Away with a panel; another one takes its place.
    Replace { panel: usize },
    /// Close and open.
    Reopen,
}

const PANELS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let panel = 0..PANELS;
    // Few link_ids and bodies, so that rows are hit again and bodies are shared.
    let step = prop_oneof![
        8 => (panel.clone(), 0u8..6, 0u8..4).prop_map(|(panel, link, body)| Step::Put { panel, link, body }),
        2 => (panel.clone(), 0u8..4).prop_map(|(panel, body)| Step::PutByUid { panel, body }),
        4 => (panel.clone(), 0u8..6).prop_map(|(panel, link)| Step::Remove { panel, link }),
        1 => (panel.clone(), 0u16..600, 1usize..4, 0u8..4)
            .prop_map(|(panel, from, step, body)| Step::PutMany { panel, from, step, body }),
        1 => (panel.clone(), 0u16..600, 0u16..400)
            .prop_map(|(panel, from, count)| Step::RemoveMany { panel, from, count }),
        2 => panel.clone().prop_map(|panel| Step::RemoveFirst { panel }),
        1 => panel.prop_map(|panel| Step::Replace { panel }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a panel should hold: name → uid, revision, body.
#[derive(Debug, Default)]
struct Model {
    rows: BTreeMap<RowName, (u32, u32, u8)>,
    next_uid: u32,
}

/// The name of a link_id with this number in front.
fn numbered(n: u16) -> RowName {
    let mut bytes = [7; 16];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    RowName::Link(ItemId::profile(LinkId::from_bytes(bytes)))
}

fn body(n: u8) -> Body {
    let json = format!(
        r#"{{"name":"Profile {n}","time_options":{{"is_all_day":false,"date_from":0,"date_to":{}}},"repeat_options":{{"repeat_enable":false}}}}"#,
        n + 1
    );
    Body::of(&parse::profile_body(json.as_bytes(), Family::Android).expect("well-formed"))
}

/// A piece of work given as a function.
struct Work<F> {
    panel: PanelNo,
    job: F,
    done: tokio::sync::oneshot::Sender<Result<(), StoreError>>,
}

impl<F: FnMut(&mut PanelRows<'_, '_>) -> Result<(), StoreError> + Send> PanelWork for Work<F> {
    fn panel(&self) -> PanelNo {
        self.panel
    }
    fn items(&self) -> usize {
        1
    }
    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        (self.job)(rows)
    }
    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let _ = self.done.send(result);
    }
}

fn work(
    store: &Store,
    panel: PanelNo,
    job: impl FnMut(&mut PanelRows<'_, '_>) -> Result<(), StoreError> + Send + 'static,
) {
    let (done, committed) = tokio::sync::oneshot::channel();
    store.handle().submit(Box::new(Work { panel, job, done }));
    committed.blocking_recv().expect("the writer tells").expect("it is committed");
}

fn change<T: Send + 'static>(
    store: &Store,
    change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    let (done, committed) = tokio::sync::oneshot::channel();
    store.handle().submit_change(change, move |result| {
        let _ = done.send(result);
    });
    committed.blocking_recv().expect("the writer tells").expect("it is committed")
}

fn add_panel(store: &Store, id: &str) -> PanelNo {
    let id = id.to_owned();
    change(store, move |tables| tables.add_panel(&id, b"{}"))
}

/// What the audit has of a panel's removal.
fn removal() -> AuditRecord {
    AuditRecord {
        at_ms: 0,
        actor: "console".into(),
        address: String::new(),
        action: "panel.remove".into(),
        target: "panel".into(),
    }
}

fn check(store: &Store, panels: &[PanelNo], models: &[Model]) {
    let snapshot = store.handle().read().expect("a snapshot");
    assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
    for (panel, model) in panels.iter().zip(models) {
        let held: BTreeMap<_, _> = snapshot
            .profiles(*panel)
            .expect("readable")
            .into_iter()
            .map(|stored| (stored.name, (stored.row.uid, stored.row.revision, stored.json)))
            .collect();
        let expected: BTreeMap<_, _> = model
            .rows
            .iter()
            .map(|(name, (uid, revision, n))| (*name, (*uid, *revision, body(*n).json().into())))
            .collect();
        assert_eq!(held, expected, "panel {panel}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_holds_what_the_model_holds(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
        let mut panels: Vec<_> = (0..PANELS).map(|n| add_panel(&store, &format!("p{n}"))).collect();
        let mut models: Vec<Model> = (0..PANELS).map(|_| Model { next_uid: 1, ..Model::default() }).collect();
        for step in steps {
            match step {
                Step::Put { panel, link, body: n } => {
                    let name = RowName::Link(ItemId::profile(LinkId::from_bytes([link; 16])));
                    work(&store, panels[panel], move |rows| {
                        let standing = rows.get(name)?;
                        if let Some(row) = &standing {
                            rows.holds(row, &body(n))?; // a body that was looked at may be written over
                        }
                        rows.put_in_place(name, standing, &body(n)).map(|_| ())
                    });
                    let model = &mut models[panel];
                    let next_uid = model.next_uid;
                    let row = model.rows.entry(name).or_insert((next_uid, 0, n));
                    row.1 += 1;
                    row.2 = n;
                    model.next_uid += u32::from(row.0 == next_uid);
                }
                Step::PutByUid { panel, body: n } => {
                    work(&store, panels[panel], move |rows| rows.put_by_uid(Kind::Profile, &body(n)).map(|_| ()));
                    let model = &mut models[panel];
                    model.rows.insert(RowName::Uid(Kind::Profile, model.next_uid), (model.next_uid, 1, n));
                    model.next_uid += 1;
                }
                Step::Remove { panel, link } => {
                    let name = RowName::Link(ItemId::profile(LinkId::from_bytes([link; 16])));
                    work(&store, panels[panel], move |rows| match rows.get(name)? {
                        Some(row) => rows.remove(name, row),
                        None => Ok(()),
                    });
                    models[panel].rows.remove(&name);
                }
                Step::PutMany { panel, from, step, body: n } => {
                    let names: Vec<_> = (from..from + 400).step_by(step).map(numbered).collect();
                    let model = &mut models[panel];
                    for name in &names {
                        let next_uid = model.next_uid;
                        let row = model.rows.entry(*name).or_insert((next_uid, 0, n));
                        row.1 += 1;
                        row.2 = n;
                        model.next_uid += u32::from(row.0 == next_uid);
                    }
                    work(&store, panels[panel], move |rows| {
                        for name in &names {
                            let standing = rows.get(*name)?;
                            rows.put(*name, standing, &body(n))?;
                        }
                        let mut all = rows.all()?;
                        all.retain(|(name, _)| names.binary_search(name).is_ok());
                        assert_eq!(all.len(), names.len(), "what is written is seen before it is committed");
                        Ok(())
                    });
                }
                Step::RemoveMany { panel, from, count } => {
                    let names: Vec<_> = (from..from + count).map(numbered).collect();
                    models[panel].rows.retain(|name, _| names.binary_search(name).is_err());
                    work(&store, panels[panel], move |rows| {
                        for name in &names {
                            if let Some(row) = rows.get(*name)? {
                                rows.remove(*name, row)?;
                            }
                        }
                        Ok(())
                    });
                }
                Step::RemoveFirst { panel } => {
                    work(&store, panels[panel], |rows| match rows.all()?.first() {
                        Some((name, row)) => rows.remove(*name, *row),
                        None => Ok(()),
                    });
                    models[panel].rows.pop_first();
                }
                Step::Replace { panel } => {
                    work(&store, panels[panel], |rows| {
                        let number = rows.number();
                        rows.tables().remove_panel(number, &removal())
                    });
                    let number = add_panel(&store, &format!("after-{}", panels[panel]));
                    prop_assert!(number > panels[panel], "numbers are not given twice");
                    panels[panel] = number;
                    models[panel] = Model { next_uid: 1, ..Model::default() };
                }
                Step::Reopen => {
                    store.close();
                    store = Store::open(folder.path(), &Metrics::default()).expect("it opens again");
                }
            }
        }
        check(&store, &panels, &models);
    }
}

/// A run of panels that come to the same: in which batch, from which panel on, how many, and to what.
type Run = (usize, PanelNo, PanelNo, u16);

const TARGETS: PanelNo = 40;

fn outcome(n: u16) -> Outcome {
    match n {
        0 => Outcome::pending(1),
        n => Outcome::decided(vec![ItemOutcome::Created; 2], Vec::new(), Vec::new(), n),
    }
}

fn add_batch(store: &Store) -> BatchSeq {
    let record = BatchRecord {
        id: uuid::Uuid::new_v4(),
        created_at_ms: 0,
        created_by: "model".into(),
        target: "all".into(),
        state: BatchState::Running,
        cancelled: false,
        report: Report::default(),
        duration_ms: None,
        undoes: None,
    };
    let targets: Vec<_> = (1..=TARGETS).collect();
    change(store, move |tables| tables.add_batch(&record, b"{}", false, &targets, 10))
}

#[test]
fn the_last_changes_of_a_panels_connection_are_kept_and_go_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
    let panel = add_panel(&store, "gate");
    let times = KEPT_CONNECTIONS as i64 + 50;
    change(&store, move |tables| {
        for at_ms in 0..times {
            let connection = ["online", "offline"][at_ms as usize % 2].to_owned();
            let error = (connection == "offline").then(|| "no answer".into());
            let now = ConnectionRecord { at_ms, connection, error };
            tables.connection_changed(panel, now.clone())?;
            tables.connection_changed(panel, ConnectionRecord { at_ms: -1, ..now })?; // no change
            tables.connection_changed(
                panel + 1,
                ConnectionRecord { at_ms, connection: "online".into(), error: None },
            )?;
        }
        Ok(())
    });
    let kept = |panel| store.handle().read().expect("a snapshot").connections(panel).expect("readable");
    let at: Vec<_> = kept(panel).iter().map(|change| change.at_ms).collect();
    assert_eq!(at, (50..times).collect::<Vec<_>>());
    assert!(kept(panel + 1).is_empty(), "of a panel that is not there");
    change(&store, move |tables| tables.remove_panel(panel, &removal()));
    assert!(kept(panel).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However outcomes come, together or apart, over one another or beside, each panel has its last one.
    #[test]
    fn a_panel_has_the_outcome_that_it_was_given_last(
        commits in prop::collection::vec(
            prop::collection::vec((0..2_usize, 1..=TARGETS, 1..20_u32, 0..4_u16), 1..6),
            1..8,
        ),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
        let batches = [add_batch(&store), add_batch(&store)];
        let mut model = [BTreeMap::new(), BTreeMap::new()];
        for runs in commits {
            let runs: Vec<Run> = runs;
            for (batch, from, count, n) in &runs {
                model[*batch].extend((*from..=TARGETS.min(from + count)).map(|panel| (panel, outcome(*n))));
            }
            let expected = model.clone();
            change(&store, move |tables| {
                for (batch, from, count, n) in &runs {
                    for panel in *from..=TARGETS.min(from + count) {
                        tables.set_outcome(batches[*batch], panel, &outcome(*n))?;
                    }
                }
                let (batch, from, _, _) = runs[runs.len() - 1];
                let seen = tables.outcome(batches[batch], from)?;
                assert_eq!(seen.as_ref(), expected[batch].get(&from), "seen before it is committed");
                Ok(())
            });
        }
        let snapshot = store.handle().read().expect("a snapshot");
        prop_assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
        for (seq, model) in batches.into_iter().zip(model) {
            for from in [0, 7, TARGETS] {
                let held: Vec<_> = snapshot
                    .outcomes(seq, from)
                    .expect("readable")
                    .collect::<Result<_, _>>()
                    .expect("readable");
                let expected: Vec<_> = model.range(from..).map(|(panel, outcome)| (*panel, outcome.clone())).collect();
                prop_assert_eq!(held, expected, "batch {} from panel {}", seq, from);
            }
        }
    }
}
