//! The harness itself: the database starts, is killed, fails over to its standby; lines pass, hold, delay and reset.

use std::process::Child;
use std::time::{Duration, Instant};

use super::Outcome;
use super::postgres::{NAME, Postgres};
use super::proxy::{Line, Proxy};

/// Long for an answer on loopback.
const LONG: Duration = Duration::from_millis(700);

pub fn harness(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    for _ in 0..times {
        let mut postgres = Postgres::new();
        postgres.sql(NAME, "create table kept (n int)");
        let proxy = Proxy::to(postgres.port);
        insert(&mut outcome, &postgres, &proxy, 1, "passes", true);
        proxy.set(Line::Delays(Duration::from_millis(20)));
        insert(&mut outcome, &postgres, &proxy, 2, "delays", true);
        proxy.set(Line::Resets);
        insert(&mut outcome, &postgres, &proxy, 3, "resets", false);

        // What was sent into a black hole comes out of it later.
        proxy.set(Line::Holds);
        let mut held = postgres.psql_through(proxy.port, "insert into kept values (4)");
        std::thread::sleep(LONG);
        if held.try_wait().expect("it can be waited for").is_some() {
            outcome.is_wrong("an answer out of a black hole");
        }
        proxy.set(Line::Passes);
        ends(&mut outcome, held, "held and let go", true);

        // Or never.
        let mut held = postgres.psql_through(proxy.port, "select pg_sleep(0.3); insert into kept values (5)");
        std::thread::sleep(Duration::from_millis(100));
        proxy.set(Line::Holds);
        std::thread::sleep(LONG);
        if held.try_wait().expect("it can be waited for").is_some() {
            outcome.is_wrong("an answer out of a black hole");
        }
        proxy.reset();
        proxy.set(Line::Passes);
        ends(&mut outcome, held, "held and reset", false);

        let since = Instant::now();
        postgres.kill();
        postgres.start();
        insert(&mut outcome, &postgres, &proxy, 6, "passes after a kill", true);
        outcome.recovered(since, Some(Instant::now()));

        let standby = postgres.synchronous_standby(None);
        insert(&mut outcome, &postgres, &proxy, 7, "passes with a standby", true);
        postgres.kill();
        standby.promote();
        let proxy = Proxy::to(standby.port);
        insert(&mut outcome, &standby, &proxy, 8, "passes to the standby", true);
        let kept = standby.sql(NAME, "select string_agg(n::text, ' ' order by n) from kept where n <> 5");
        if kept != "1 2 4 6 7 8" {
            outcome.lost += 1;
            println!("the standby holds {kept}");
        }
        outcome.acknowledged += 6;
    }
    outcome
}

fn insert(outcome: &mut Outcome, postgres: &Postgres, proxy: &Proxy, n: u32, what: &str, good: bool) {
    ends(outcome, postgres.psql_through(proxy.port, &format!("insert into kept values ({n})")), what, good);
}

fn ends(outcome: &mut Outcome, mut psql: Child, what: &str, good: bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if let Some(status) = psql.try_wait().expect("it can be waited for") {
            if status.success() != good {
                outcome.is_wrong(&format!("a line that {what}: {status}"));
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = psql.kill();
    let _ = psql.wait();
    outcome.is_wrong(&format!("a line that {what}: no end"));
}
