//! Reading a device's log: what happened at its door, where it does not tell that by itself.
//!
//! It is asked from the last entry on that was read, which should come once more: where it does not, the device has dropped
//! it, and perhaps others that nobody has read. That is said by an event of its own, [`GAP`].
//!
//! A device that lists the newest first, however it is asked, gives these; what of the older ones a look does not come to
//! is a gap too. So is what happened at one and the same moment, beyond what a look reads.
//!
//! An entry from the device's future was written by a clock that was wrong then: it is kept, and nothing is asked from there
//! on, since what happens next comes before it. So each look begins with the device's clock. Where we were in what is the
//! future now, its clock has gone back, and what it has written since is asked for; what was read already is kept once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::identifier::event::AccessEvent;
use crate::identifier::event::told;
use crate::panel::device::ask::PAGE;
use crate::panel::device::{Device, Trouble};
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError, StoreHandle};

/// Pages that are read at one look; the next one goes on behind them.
const PAGES: u64 = 20;

/// Where a clock has gone back, what it wrote since is read from so long before on, in milliseconds: from one look to the
/// next it may have gone on.
const WENT_BACK_BEFORE_MS: i64 = 15 * 60 * 1000;

/// A device that has told of events by itself within this time is not asked.
const TELLS_WITHIN: Duration = Duration::from_mins(5);

/// What happened where something may be missing.
pub const GAP: &str = "gap";

/// Why nothing was read or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error(transparent)]
    Device(#[from] Trouble),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks a device for what happened since it was asked last, and keeps it. `clock_ahead_s` is by how much its clock was ahead
/// when it was read.
pub(super) async fn pull(store: &StoreHandle, panel: PanelNo, device: &mut Device) -> Result<(), PullError> {
    if store.events().tells(panel, TELLS_WITHIN) {
        return Ok(());
    }
    let ahead_s = device.clock().await?.map_or(0, |clock| clock.ahead_s);
    let now = clock::now_ms();
    let present = now.saturating_add(ahead_s.saturating_mul(1000));
    let read_up_to = store.read()?.events_read_up_to(panel)?;
    let known = read_up_to.filter(|known| *known <= present);
    let from = match read_up_to {
        None => 0,
        // The first moment may be in what is asked for, or not.
        Some(known) if known <= present => known.saturating_sub(1),
        // Its clock has gone back by as much, or by more.
        Some(known) => {
            present.saturating_sub(known.saturating_sub(present)).saturating_sub(WENT_BACK_BEFORE_MS).max(0)
        }
    };
    let mut items: Vec<Value> = Vec::new();
    let mut has_ended = false;
    for page in 1..=PAGES {
        let of_page = device.log_page(from, page).await?;
        has_ended = (of_page.len() as u64) < PAGE;
        items.extend(of_page);
        if has_ended {
            break;
        }
    }
    let moments: Vec<_> = items.iter().filter_map(|item| told::moment(item.get("timestamp")?)).collect();
    let (Some(oldest), Some(newest)) = (moments.iter().min(), moments.iter().max()) else { return Ok(()) };
    // Only what is known; what comes at the same moment is read with what comes after.
    let is_all_known = known.is_some_and(|known| *newest <= known);
    let is_newest_first = moments.first() > moments.last();
    if is_all_known && has_ended {
        return Ok(());
    }
    if let Some(known) = known.filter(|_| is_all_known && *oldest < from) {
        // It does not ask from when. Where its oldest are all that a look reads, what comes later is out of reach.
        if !is_newest_first {
            let events = [gap(known.saturating_add(1))];
            let keep = move |tables: &mut Tables<'_>| tables.keep_pulled(panel, &events, None, now);
            store.change_along(1, keep).await?;
        }
        return Ok(());
    }
    let mut up_to = moments.iter().filter(|at| **at <= present).max().copied();
    let mut events = told::log_items(&items, now).events;
    if known.map_or(is_newest_first && !has_ended, |known| known < *oldest) {
        events.push(gap(*oldest));
    }
    // At this moment there is more than a look reads: it would be read for ever, so it is passed, whatever else it has.
    if is_all_known && let Some(known) = known {
        events.push(gap(known.saturating_add(1)));
        up_to = Some(known.saturating_add(2));
    }
    let keep = move |tables: &mut Tables<'_>| tables.keep_pulled(panel, &events, up_to, now);
    store.change_along(items.len(), keep).await?;
    Ok(())
}

/// Before this moment something may be missing.
fn gap(at_ms: i64) -> AccessEvent {
    AccessEvent {
        at_ms,
        said_ms: at_ms,
        granted: None,
        reason: GAP.into(),
        presented: None,
        notes: BTreeMap::new(),
    }
}
