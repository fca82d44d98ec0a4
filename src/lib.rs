//! # panelsync
//!
//! Creates, updates and deletes access time profiles, and the identifiers (cards, codes, faces …) that they bind, on many
//! entrance panels at once, by link_id, and knows for each panel and each item what came of it. Each panel is an actor
//! holding its items in redb; a coordinator fans batches out to many panels at once and aggregates what comes back.
//!
//! ## The rooms
//!
//! In reading order; a lower room knows nothing of an upper one.
//!
//! | room | holds |
//! | --- | --- |
//! | [`profile`] | the time profile, parsing into it, its wire errors, what its rules mean; pure |
//! | [`schedule`] | opening hours as people say them, calendars of holidays, and the time profiles that say them to panels; pure |
//! | [`identifier`] | who may open: cards, codes, faces and their like, bound to time profiles; what files hold; pure |
//! | [`batch`] | operations, item results, outcomes, the aggregated report, selectors; pure |
//! | [`alert`] | who is told what is wrong, in which words, how often; pure |
//! | [`store`] | redb: tables, encodings, migrations, and the one writer that commits for all panels |
//! | [`panel`] | the actor of one panel; two pure parts, what operations do to its rows and what its device is asked next |
//! | [`coordinator`] | the actor that owns what was accepted, over a pure model of running batches; the register, which all read |
//! | [`courier`] | looks for what alerts are for, and sends it: webhooks and mail |
//! | [`access`] | roles, users, tokens, sessions |
//! | [`fleet`] | what the server can be asked, in terms of the domain: submit, plan, report, panels, repair, find, who may open |
//! | [`cluster`] | several nodes: the log in PostgreSQL, who leads, what nodes say to each other, workers |
//! | [`http`] | the panel API, the fleet API, their errors, the OpenAPI document |
//! | [`web`] | the page that people look at: rendered here, from what the fleet answers |
//! | [`server`] | the composition root: store → panels and coordinator → HTTP; the life of one of several nodes |
//! | [`simulator`] | panels to test clients against: an engine of embedded panels behind faults |
//! | [`cli`] | the commands: a server, or a thin client of the fleet API |
//!
//! Beside them: [`config`] (settings), [`telemetry`] (logs and metrics; of the rooms it knows only [`batch`], whose outcomes
//! it counts), [`parts`] (what the process cannot go on without), [`clock`].
//!
//! **Threads**: the coordinator and all panels share one; the store's writer has one, and so has the courier; HTTP has one for
//! each core, and slow reads and password hashes go to a pool.
//!
//! ## The way of one batch
//!
//! 1. [`http::fleet_api::batches::submit`] has the body read by [`fleet::wanted::Wanted`], which tells whatever is wrong at
//!    once, and [`fleet::Fleet::submit`] sends one [`coordinator::Submit`].
//! 2. The [`coordinator::Coordinator`] picks the panels and has the batch made durable
//!    ([`store::tables::Tables::accept_batch`]). From here on it is accepted: the request may go away.
//! 3. In panel order, a slice at a time, each [`panel::Panel`] is sent a [`panel::Apply`]. It queues one
//!    [`store::writer::PanelWork`] and is done.
//! 4. The store's writer takes many panels' work into one transaction. For each,
//!    [`panel::decide::decide`] says what changes and what each item comes to, by the rules between a panel's items
//!    ([`panel::decide::rules`]); rows, bodies (sealed where they are identifiers) and the panel's [`batch::Outcome`] are
//!    written; one fsync commits all.
//! 5. Only then every panel's [`panel::Landed`] goes to the coordinator, whose [`coordinator::model`] adds it to the
//!    [`batch::report::Report`] and says what follows: [`coordinator::events`], and the end when none is missing.
//! 6. [`fleet::Fleet::outcome_within`], which has waited no longer than the client wanted, gives the report, and the
//!    handler answers with it.
//!
//! To follow one in the code, read [`fleet::batches`], [`coordinator::batches`], [`coordinator::sending`], [`panel`],
//! [`panel::embedded`] and [`coordinator::model`], in this order.
//!
//! Where the commit fails, everybody is told so, the writer opens the database again, and the coordinator sends what
//! came back once more ([`store::writer::Telling::Recovered`]), each panel's earlier batches first.
//!
//! What step 4 changes of a panel's items is kept with the batch ([`store::tables::PanelRows::keep_before`]). So it can be taken back
//! ([`fleet::Fleet::undo`]): by a batch of its own, whose part on each panel is found there ([`panel::undo`]). And the versions of
//! an item on a panel can be told ([`fleet::Fleet::history`]).
//!
//! A call of the panel API takes the same road from step 3 on: [`http::panel_api::link`] sends the panel its
//! `Apply` and answers after the commit.
//!
//! ## And on to a device
//!
//! A remote panel keeps what is desired, as an embedded one keeps what it holds, and beside it what its device has
//! last confirmed ([`store::row::Reported`]). There is no queue: work is whatever is desired and not confirmed.
//!
//! 1. The transaction of step 4 sets the rows and marks what it changed as unknown. The panel's outcome is pending.
//! 2. The panel's [`panel::delivery::Delivery`] says what is next, and the store what the call is
//!    ([`panel::delivery::call`]): upserts first, then deletes, so many at a time, each item as it is desired by
//!    then, and in an order in which no call lets anybody in. One call is under way per panel.
//! 3. [`panel::device::Device`] makes it, with a session that it has or begins. [`panel::device::ask`] knows
//!    what is asked and how answers read, [`panel::device::line`] how both travel.
//! 4. What the device confirmed or refused is stored, unless a newer batch has overtaken it, and with it the items of
//!    all batches that waited for it; then the coordinator is told, as in step 5.
//! 5. Without an answer nothing is stored. After a pause ([`panel::delivery::patience`]) the panel looks again. What
//!    was perhaps done is simply done again, since every call names link_ids.
//!
//! A call may be made by somebody else ([`panel::device::relay`]): a node that follows, or a worker at a site.
//!
//! ## And with several nodes
//!
//! What a commit puts and removes is noted where it is put ([`store::shipped`]), and before the commit counts it is an entry of the
//! log ([`cluster::ledger`]). A node that follows puts the same ([`store::follower`]); it answers nothing itself but passes
//! requests on ([`http::front`]). Who leads, and for how long, is the life of a node ([`server::node`]).

pub mod profile;

pub mod schedule;

pub mod identifier;

pub mod batch;

pub mod alert;

pub mod store;

pub mod panel;

pub mod coordinator;

pub mod courier;

pub mod access;

pub mod fleet;

pub mod cluster;

pub mod http;

pub mod web;

pub mod server;

pub mod simulator;

pub mod cli;

pub mod clock;
pub mod config;
pub mod parts;
pub mod telemetry;
