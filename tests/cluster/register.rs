//! One value that one client writes and others read through every node: nobody reads an older one than had been
//! acknowledged, or read by anybody, when the question was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::load::{Flow, profiles, version_in};

const PANEL: &str = "register";

const FIRST: u32 = 900;

/// Between two questions of one who reads.
const PAUSE: Duration = Duration::from_millis(15);

/// The value, and what is known of it.
#[derive(Default)]
pub struct Register {
    sent: AtomicU64,
    /// The newest that was acknowledged, or read by anybody.
    known: AtomicU64,
    reads: AtomicU64,
    refused: AtomicU64,
    stale: Mutex<Vec<String>>,
}

impl Register {
    pub fn prepare(client: &Client) {
        client.import(std::iter::once(json!({ "id": PANEL })));
    }

    /// Writes newer and newer values until the flow is stopped.
    pub fn write(&self, client: &Client, flow: &Flow) {
        let mut node = 0;
        while !flow.is_stopped() {
            let version = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
            let batch = json!({ "panels": [PANEL], "upsert": profiles(1, FIRST, version)["list_items"] });
            let key = format!("{}-register-{version}", flow.name());
            // It is sent until it is done, so that no older one comes after a newer one.
            while !flow.is_over() {
                let answer = client.post_to(node, "/fleet/v1/batches", &batch, Some(&key));
                if answer.status == 200 && answer.body["panels"]["applied"] == 1 {
                    self.known.fetch_max(version, Ordering::SeqCst);
                    break;
                }
                node = (node + 1) % client.nodes();
                std::thread::sleep(PAUSE);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Reads through one node until the flow is stopped, by one connection or by a new one each time.
    pub fn read(&self, client: &Client, node: usize, flow: &Flow, by_one_connection: bool) {
        let mut connected = client.of_its_own();
        while !flow.is_stopped() {
            if !by_one_connection {
                connected = client.of_its_own();
            }
            let known = self.known.load(Ordering::SeqCst);
            let answer = connected.get_from(node, &format!("/fleet/v1/panels/{PANEL}/profiles"));
            if !answer.is_good() {
                self.refused.fetch_add(1, Ordering::Relaxed);
            } else if let Some(version) = version_of(&answer.body, known) {
                let sent = self.sent.load(Ordering::SeqCst);
                self.reads.fetch_add(1, Ordering::Relaxed);
                if version < known || version > sent {
                    let stale =
                        format!("node {node} answers version {version}; {known} was known, {sent} sent");
                    self.stale.lock().unwrap_or_else(PoisonError::into_inner).push(stale);
                }
                self.known.fetch_max(version, Ordering::SeqCst);
            } else {
                let stale = format!("node {node} answers without the value: {}", answer.body);
                self.stale.lock().unwrap_or_else(PoisonError::into_inner).push(stale);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// How often it was read, and how often a node did not answer well, until now.
    pub fn reads(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Answers that were too old, since the last time.
    pub fn stale(&self) -> Vec<String> {
        std::mem::take(&mut *self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The version in a panel's list, where nothing need be if nothing is known.
fn version_of(listed: &Value, known: u64) -> Option<u64> {
    match listed["items"].as_array()?.as_slice() {
        [] => (known == 0).then_some(0),
        [one] => version_in(&one["profile"]),
        _ => None,
    }
}
