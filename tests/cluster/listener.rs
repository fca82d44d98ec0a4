//! One who listens to the events of all batches, and comes back behind the last one that it knows: whichever node leads,
//! every event has a greater id than those before.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use super::client::Client;
use super::load::Flow;

/// So long it listens at most by one connection.
const LISTENS: Duration = Duration::from_secs(4);

/// Before it comes back.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens through one node after the other until the flow is stopped, and gives how many events it saw, and what was not
/// in order.
pub fn listen(client: &Client, flow: &Flow) -> (u64, Vec<String>) {
    let (mut last, mut events, mut wrong) = (None::<u64>, 0, Vec::new());
    let mut node = 0;
    while !flow.is_stopped() {
        if let Some(stream) = client.listen_to(node, last, LISTENS) {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                let Some(id) = line.strip_prefix("id:").and_then(|id| id.trim().parse().ok()) else {
                    continue;
                };
                if last.is_some_and(|last| id <= last) {
                    wrong.push(format!("node {node} tells event {id} to one who knows {last:?}"));
                }
                events += 1;
                last = Some(id);
                if flow.is_stopped() {
                    break;
                }
            }
        }
        node = (node + 1) % client.nodes();
        std::thread::sleep(PAUSE);
    }
    (events, wrong)
}
