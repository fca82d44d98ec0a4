//! How many calls to devices are under way at once, and how many devices are read.
//!
//! A permit is for one call, so that whoever needs several waits between them like everybody else. Devices whose
//! calls take long have a bounded share, and those that are offline another: so neither takes anything from the rest.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// A device whose calls take so long on average counts as slow.
const SLOW: Duration = Duration::from_secs(2);

/// Devices that are read at once, and of those the ones that hold much.
const READINGS: usize = 12;
const LONG_READINGS: usize = 3;

/// The permits of all devices of one thread.
pub struct Gate {
    quick: Semaphore,
    slow: Semaphore,
    away: Semaphore,
    readings: Semaphore,
    long_readings: Semaphore,
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
    /// So many calls at once; half of them at most to slow devices, and half as many more to those that are offline.
    pub fn new(concurrency: usize) -> Self {
        let slow = concurrency / 2;
        Self {
            quick: Semaphore::new((concurrency - slow).max(1)),
            slow: Semaphore::new(slow.max(1)),
            away: Semaphore::new(concurrency.div_ceil(2).max(1)),
            readings: Semaphore::new(READINGS),
            long_readings: Semaphore::new(LONG_READINGS),
        }
    }

    /// Makes a call once it is its turn. A call that turns out to be slow goes on among the slow ones, if there is
    /// room.
    pub async fn pass<T>(&self, away: bool, pace: &mut Pace, call: impl Future<Output = T>) -> T {
        let share = match (away, pace.slow()) {
            (true, _) => &self.away,
            (false, true) => &self.slow,
            (false, false) => &self.quick,
        };
        let permit = share.acquire().await; // never closed
        let begun = Instant::now();
        let mut call = pin!(call);
        let answer = match tokio::time::timeout(SLOW, &mut call).await {
            Ok(answer) => answer,
            Err(_) => {
                let among_slow = if away || pace.slow() { None } else { self.slow.try_acquire().ok() };
                let _held = match among_slow {
                    Some(other) => {
                        drop(permit);
                        Ok(other)
                    }
                    None => permit,
                };
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

    /// Waits until a device that holds much may be read on.
    pub async fn long_reading(&self) -> Option<SemaphorePermit<'_>> {
        self.long_readings.acquire().await.ok() // never closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn devices_whose_calls_take_long_leave_room_for_the_others() {
        let gate = Gate::new(4);
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
}
