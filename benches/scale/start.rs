//! Start-up and memory, in processes of their own, since memory that this one has used before would hide what
//! panels take.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use panelsync::panel::Configure;

use crate::contenders::{Actors, Contender, operations, start};
use crate::identifiers::cards;

/// Where a child finds the folder to start on.
pub const FOLDER: &str = "PANELSYNC_SCALE_FOLDER";

/// How many panels a child fills the folder with before it ends by itself as if it were killed.
const FILL: &str = "PANELSYNC_SCALE_FILL";

/// What each panel holds.
#[derive(Clone, Copy)]
pub struct Held {
    pub profiles: usize,
    pub identifiers: usize,
}

/// Milliseconds until every panel has answered, and resident bytes then.
pub fn start_up(panels: usize, held: Held, killed: bool) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let this = || {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.env(FOLDER, folder.path());
        command
    };
    let Held { profiles, identifiers } = held;
    let filled =
        this().env(FILL, format!("{panels} {profiles} {identifiers} {killed}")).status().expect("it runs");
    assert_eq!(filled.success(), !killed, "{filled}");
    crate::settle();
    let output = this().output().expect("it runs");
    let told = String::from_utf8(output.stdout).expect("a text");
    let numbers: Vec<f64> = told.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    (numbers[0], numbers[1])
}

/// What a child does.
pub fn child(folder: &Path) {
    if let Ok(fill) = std::env::var(FILL) {
        let words: Vec<_> = fill.split(' ').collect();
        let number = |n: usize| words[n].parse().expect("a number");
        let mut filled = Actors::on(folder, number(0));
        filled.fan_out(operations(number(1), 0).and(cards(0, number(2), 0)));
        if words[3] == "true" {
            std::process::abort(); // nothing is closed
        }
        return;
    }
    let system = actix_web::rt::System::new();
    let started = Instant::now();
    let engine = system.block_on(start(folder));
    system.block_on(async {
        let register = engine.register().now();
        let panels: Vec<_> = register.select(None, None).collect();
        for some in panels.chunks(256) {
            let asked = some.iter().map(|panel| panel.address.send(Configure(Arc::clone(&panel.settings))));
            for answered in futures_util::future::join_all(asked).await {
                answered.expect("it answers");
            }
        }
    });
    let ready = started.elapsed().as_secs_f64() * 1000.0;
    println!("{ready} {}", resident().unwrap_or(f64::NAN));
    system.block_on(engine.stop());
}

/// Resident memory of this process, in bytes; none where the system does not tell it.
fn resident() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096.0)
}
