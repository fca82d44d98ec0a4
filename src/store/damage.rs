//! What redb makes of a damaged file: mostly an error, and on some broken pages a panic, which is an error here too.
//!
//! What a panic leaves half done does not matter: the database is then closed, or was not open yet.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::StoreError;
use crate::parts;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does something with the database. A panic on a damaged page comes back as [`StoreError::Damaged`].
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, StoreError> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result.map_err(|_| StoreError::Damaged)
}

/// A read of the database, [`guarded`].
pub(crate) fn read<T, E: From<StoreError>>(read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    guarded(read).unwrap_or_else(|damaged| Err(damaged.into()))
}

/// From now on the program's log says where the database is damaged, and no back-trace of redb's is printed for that.
/// Every other panic is printed as ever, and ends the process where it was on a thread that it cannot go on without.
pub fn log_damage() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            usual(panic);
            return parts::panicked();
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("a broken page");
        tracing::error!(place, "the database is damaged: {what}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_leaves_the_next_one_alone() {
        assert_eq!(guarded(|| 7).expect("no panic"), 7);
        assert!(matches!(guarded(|| panic!("a page")), Err(StoreError::Damaged)));
        assert!(!GUARDED.get());
    }
}
