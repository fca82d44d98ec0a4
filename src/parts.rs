//! The parts of which a server cannot lose one and go on: the store's writer, and the thread of the coordinator and all
//! panels. One that ends without having been asked ends the process, so that whoever supervises it starts it again: a
//! server that answers, and does nothing, would be taken for one that works.

use std::cell::Cell;

use crate::telemetry;

/// The exit code of a process that lost a part.
pub const LOST_PART: i32 = 70;

thread_local! {
    static PART: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The current thread is this part from now on: a panic on it ends the process, once it is printed
/// ([`crate::store::damage::log_damage`]).
pub fn this_thread_is(part: &'static str) {
    PART.set(Some(part));
}

/// To be called when a panic on this thread was printed.
pub fn panicked() {
    if let Some(part) = PART.get() {
        end_process(part, "gave up");
    }
}

/// A part that is one function. When this is dropped, be it by a panic, the process ends, unless the part was asked to
/// end.
pub struct Part<F: Fn() -> bool> {
    name: &'static str,
    asked: F,
}

/// The current thread is this part until what comes back is dropped. `asked` says whether it was asked to end.
pub fn begin<F: Fn() -> bool>(name: &'static str, asked: F) -> Part<F> {
    this_thread_is(name);
    Part { name, asked }
}

impl<F: Fn() -> bool> Drop for Part<F> {
    fn drop(&mut self) {
        if !(self.asked)() {
            end_process(self.name, "ended");
        }
        PART.set(None);
    }
}

fn end_process(part: &str, how: &str) {
    tracing::error!(
        part,
        exit = LOST_PART,
        "{part} {how}, without which nothing works: the process ends, to be started again"
    );
    telemetry::flush_logs();
    std::process::exit(LOST_PART);
}
