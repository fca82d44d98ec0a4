//! What the server can be asked, in terms of the domain: submit a batch, plan it, tell what came of it, list panels, add,
//! change and remove one, read a device and repair it, find a profile.
//!
//! [`Fleet`] is the one who is asked. Its methods take and give types of the domain, say no with a [`FleetError`], and
//! know nothing of requests, pages or commands: [`crate::http`] and [`crate::web`] are two adapters over it. Who asks, from
//! where, comes as an [`crate::panel::Origin`]; that they may is looked at by whoever lets them in.
//!
//! | file | asks for |
//! | --- | --- |
//! | [`batches`], [`wanted`] | a batch: read, plan, submit, report, cancel, retry |
//! | [`undo`], [`history`] | what stood before a batch, put back; what stood as an item, and when |
//! | [`panels`], [`fields`], [`meeting`], [`twins`] | a panel: add, change, remove; what its device says before |
//! | [`status`] | how a panel is |
//! | [`profiles`], [`identifiers`], [`held`] | what the fleet holds |
//! | [`who`] | who may open which door, when, and why |
//! | [`common`] | what several panels have in common |
//! | [`drift`] | what devices really hold, and the repair |
//! | [`accounts`], [`audit`] | users, tokens, sessions; who did what |
//! | [`events`], [`link`], [`present`] | what happened at doors, what devices say of it by themselves, and what is shown at a door here |
//! | [`register`] | which panels there are |
//! | [`alerts`] | who is told what is wrong |

use std::time::{Duration, Instant};

use actix::Addr;
use tokio::sync::watch;

use crate::access::Access;
use crate::coordinator::{Coordinator, RegisterReader};
use crate::panel::device::line::Timeouts;
use crate::store::StoreHandle;
use crate::store::read::Snapshot;

pub mod accounts;
pub mod alerts;
pub mod audit;
pub mod batches;
pub mod common;
pub mod drift;
pub mod error;
pub mod events;
pub mod fields;
pub mod held;
pub mod history;
pub mod identifiers;
pub mod link;
pub mod meeting;
pub mod opening;
pub mod panels;
pub mod present;
pub mod profiles;
pub mod register;
mod schedules;
pub mod status;
pub mod twins;
pub mod undo;
pub mod wanted;
pub mod who;

pub use error::{FieldError, FleetError};

/// The fleet, for whoever asks something of it.
pub struct Fleet {
    /// For reads, and for what changes beside the panels.
    pub store: StoreHandle,
    /// For everything that changes panels and batches.
    pub coordinator: Addr<Coordinator>,
    /// Which panels there are.
    pub register: RegisterReader,
    /// Users and tokens.
    pub access: Access,
    /// How long idempotency keys are kept.
    pub keep_keys: Duration,
    /// How many door-hours a batch may open or close unconfirmed; any without.
    pub door_hours_budget: Option<u64>,
    /// How long a device may take that is asked before its panel is added.
    pub device_timeouts: Timeouts,
    /// The devices that speak to us as to their Link server.
    pub link: link::Link,
    /// How alerts are sent.
    pub alert_sending: alerts::Sending,
    /// Becomes true when the server stops: nobody waits for a device then.
    pub stopping: watch::Receiver<bool>,
}

impl Fleet {
    /// Looks at a snapshot of the store, on a thread that may take its time.
    pub async fn read<T: Send + 'static, E: From<crate::store::StoreError> + Send + 'static>(
        &self,
        look: impl FnOnce(&Snapshot) -> Result<T, E> + Send + 'static,
    ) -> Result<T, FleetError>
    where
        FleetError: From<E>,
    {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || look(&store.read()?));
        Ok(read.await.map_err(|_| FleetError::Busy)??)
    }
}

/// How long the answer to a change that is durable waits for a store that fails just then, and between looks.
const READ_PATIENCE: Duration = Duration::from_secs(2);
const READ_PAUSE: Duration = Duration::from_millis(10);

/// What is to be told of a change that is durable by now: a store that fails just then is waited for, since who asked would
/// take its failure for the change's.
async fn read_after_change<T>(read: impl AsyncFn() -> Result<T, FleetError>) -> Result<T, FleetError> {
    let until = Instant::now() + READ_PATIENCE;
    loop {
        match read().await {
            Err(error) if error.is_of_a_failing_store() && Instant::now() < until => {
                tokio::time::sleep(READ_PAUSE).await;
            }
            read => return read,
        }
    }
}

/// A piece of a list.
#[derive(Debug)]
pub struct Page<T, C> {
    /// The piece.
    pub items: Vec<T>,
    /// Behind what the next piece begins; none where this is the last one.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Of at most `limit` items, from a list of one more where there is one. `cursor` names the last item.
    fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }

    /// With each item as something else.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(each).collect(), next: self.next }
    }
}
