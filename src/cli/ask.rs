//! Asking again before much is deleted.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::{Exit, Failure};

/// Whether to go on unasked.
#[derive(Debug, Args)]
pub struct Sure {
    /// Do not ask before much is deleted; without a terminal nothing much is deleted without this
    #[arg(long)]
    pub yes: bool,
}

/// Whether there is somebody to ask.
pub fn possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

impl Sure {
    /// Goes on only if that was said before, or is now. `what` says what would be done, such as `this deletes 3 profiles`.
    pub fn of(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !possible() {
            return Err(Failure::usage(format!("{what}; nothing was done. If that is meant, give --yes")));
        }
        let mut stderr = std::io::stderr();
        write!(stderr, "{what}. Type yes to go on: ")?;
        stderr.flush()?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        match line.trim() {
            "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "nothing was done")),
        }
    }
}
