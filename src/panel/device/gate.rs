//! How many calls to devices are under way at once, and how many devices are read.
//!
//! A permit is for one call, so that whoever needs several waits between them like everybody else. Devices whose
//! calls take long have a bounded share, and those that are offline another: so neither takes anything from the rest.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// A device whose calls take so long on average counts as slow.
const SLOW: Duration = Duration::from_secs(2);

/// Between two looks whether a call may begin.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Devices that are read at once.
const READINGS: usize = 64;

/// What is kept of all of them together until it has been compared, in bytes, and in what steps.
const ROOM: usize = 64 * 1024 * 1024;
const STEP: usize = 64 * 1024;

/// Whether a call to a device may begin now; always, unless somebody says otherwise.
#[derive(Clone, Default)]
pub struct MayCall(Option<std::sync::Arc<dyn Fn() -> bool + Send + Sync>>);

impl MayCall {
    /// While this says so.
    pub fn when(says: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(std::sync::Arc::new(says)))
    }

    /// Whether it does now.
    pub fn now(&self) -> bool {
        self.0.as_ref().is_none_or(|says| says())
    }
}

impl std::fmt::Debug for MayCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.now() { "MayCall(now)" } else { "MayCall(not now)" })
    }
}

/// The permits of all devices of one thread.
pub struct Gate {
    /// For every call to a device that is not offline.
    all: Semaphore,
    /// Besides, for those to slow ones.
    slow: Semaphore,
    away: Semaphore,
    readings: Semaphore,
    room: Semaphore,
    may_call: MayCall,
}

/// The room that the reading of one device takes. It is given back at the reading's end.
pub struct Room<'a> {
    gate: &'a Gate,
    steps: usize,
    held: Option<SemaphorePermit<'a>>,
}

impl Room<'_> {
    /// Takes room for so many bytes in all, if there is so much.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let more = (bytes / STEP + 1).saturating_sub(self.steps);
        let Ok(permit) = self.gate.room.try_acquire_many(more as u32) else { return false };
        self.steps += more;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        true
    }

    /// Gives back what it has, and waits until there is room for so many bytes: whoever held on to a part while
    /// waiting for the rest could wait for somebody who does the same.
    pub async fn whole(&mut self, bytes: usize) {
        self.held = None;
        self.steps = bytes / STEP + 1;
        self.held = self.gate.room.acquire_many(self.steps as u32).await.ok(); // never closed
    }
}

/// How long a device's calls take, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace(Option<Duration>);

impl Pace {
    fn slow(self) -> bool {
        self.0.is_some_and(|average| average > SLOW)
    }

    /// The newest call counts for a quarter.
    fn took(&mut self, time: Duration) {
        self.0 = Some(self.0.map_or(time, |average| (3 * average + time) / 4));
    }
}

impl Gate {
    /// So many calls at once; half of them at most to slow devices, and half as many more to those that are offline. Of
    /// one device up to so many bytes are read. A call begins when it may.
    pub fn new(concurrency: usize, read_bytes: usize, may_call: MayCall) -> Self {
        Self {
            all: Semaphore::new(concurrency.max(1)),
            slow: Semaphore::new((concurrency / 2).max(1)),
            away: Semaphore::new(concurrency.div_ceil(2).max(1)),
            readings: Semaphore::new(READINGS),
            room: Semaphore::new(ROOM.max(read_bytes) / STEP + 1),
            may_call,
        }
    }

    /// Makes a call once it is its turn. One that turns out to be slow counts among the slow ones from then on, if there
    /// is room.
    pub async fn pass<T>(&self, away: bool, pace: &mut Pace, call: impl Future<Output = T>) -> T {
        let _among_slow = if !away && pace.slow() { self.slow.acquire().await.ok() } else { None }; // never closed
        let _permit = if away { &self.away } else { &self.all }.acquire().await; // never closed
        while !self.may_call.now() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let begun = Instant::now();
        let mut call = pin!(call);
        let answer = match tokio::time::timeout(SLOW, &mut call).await {
            Ok(answer) => answer,
            Err(_) => {
                let _now_slow = if away || pace.slow() { None } else { self.slow.try_acquire().ok() };
                call.await
            }
        };
        pace.took(begun.elapsed());
        answer
    }

    /// Waits until a device may be read.
    pub async fn reading(&self) -> Option<SemaphorePermit<'_>> {
        self.readings.acquire().await.ok() // never closed
    }

    /// No room yet.
    pub fn room(&self) -> Room<'_> {
        Room { gate: self, steps: 0, held: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn devices_whose_calls_take_long_leave_room_for_the_others() {
        let gate = Gate::new(4, 1, MayCall::default());
        let forever = |away, pace| {
            let gate = &gate;
            async move { gate.pass(away, &mut { pace }, std::future::pending::<()>()).await }
        };
        let slow = Pace(Some(Duration::from_secs(5)));
        let mut others = futures_util::stream::FuturesUnordered::new();
        for _ in 0..20 {
            others.push(futures_util::future::Either::Left(forever(false, slow)));
            others.push(futures_util::future::Either::Right(forever(true, Pace::default())));
        }
        let mut pace = Pace::default();
        let quick = async {
            for _ in 0..10 {
                gate.pass(false, &mut pace, tokio::task::yield_now()).await;
            }
        };
        let crowd = async {
            use futures_util::StreamExt;
            while others.next().await.is_some() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = crowd => unreachable!("no slow call ends"),
            () = quick => {}
        }
        assert!(!pace.slow());
        pace.took(Duration::from_secs(10));
        assert!(pace.slow());
        (0..20).for_each(|_| pace.took(Duration::from_millis(20)));
        assert!(!pace.slow(), "whoever is quick again is known as that");
    }

    #[actix::test]
    async fn a_call_begins_when_it_may() {
        let may = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let says = std::sync::Arc::clone(&may);
        let may_call = MayCall::when(move || says.load(std::sync::atomic::Ordering::SeqCst));
        let gate = Gate::new(4, 1, may_call);
        let call = async { assert!(may.load(std::sync::atomic::Ordering::SeqCst), "it may not begin yet") };
        let pace = &mut Pace::default();
        let passing = gate.pass(false, pace, call);
        tokio::select! {
            biased;
            () = passing => {}
            () = async {
                tokio::task::yield_now().await;
                may.store(true, std::sync::atomic::Ordering::SeqCst);
                std::future::pending::<()>().await;
            } => {}
        }
    }

    #[actix::test]
    async fn what_is_kept_of_all_readings_together_is_bounded_and_each_comes_to_its_end() {
        let one = ROOM / 4;
        let gate = Gate::new(4, one, MayCall::default());
        let (mut kept, mut most, mut restarts) = (0_usize, 0, 0);
        let state = std::cell::RefCell::new((&mut kept, &mut most, &mut restarts));
        let reading = |()| async {
            let mut room = gate.room();
            let mut bytes = 0;
            while bytes < one {
                tokio::task::yield_now().await;
                if room.grow(bytes + one / 16) {
                    bytes += one / 16;
                    let mut state = state.borrow_mut();
                    *state.0 += one / 16;
                    *state.1 = (*state.1).max(*state.0);
                } else {
                    *state.borrow_mut().0 -= bytes;
                    bytes = 0;
                    *state.borrow_mut().2 += 1;
                    room.whole(one).await;
                }
            }
            *state.borrow_mut().0 -= bytes;
        };
        let all = (0..20).map(|_| reading(()));
        futures_util::future::join_all(all).await;
        assert!(most <= ROOM && restarts > 0, "{most} bytes, {restarts} restarts");
    }
}
