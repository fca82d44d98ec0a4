//! Tests of the whole program: the real server on a free port, real redb files, the real binary. One binary,
//! since each one links the whole program; the modules are its areas.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::format_push_string,
    clippy::unreadable_literal,
    missing_docs,
    reason = "tests: a failed expectation is a failed test"
)]

mod alerts;
mod as_panel;
mod as_sent;
mod bodies;
mod cli;
mod clients;
mod crash;
mod devices;
mod dialects;
mod door_events;
mod events;
mod files;
mod fleet_api;
mod foretold;
mod history;
mod identifiers;
mod identifiers_on_devices;
mod identifiers_pushed;
mod imperfect;
mod logins;
mod logs;
mod looks;
mod openapi;
mod opening;
mod order;
mod panel_api;
mod panel_identifiers;
mod people;
mod present;
mod quirks;
mod readme;
mod rights;
mod schedules;
mod state;
mod support;
mod trust;
mod truth;
mod undo;
mod undo_model;
mod vendor;
mod web;
mod who;
mod wire;
mod workers;
