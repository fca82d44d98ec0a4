//! Snapshots in `snapshots/<area>/<test>.snap`: whole answers, one after another.

use std::fmt::Display;
use std::path::PathBuf;

use super::redact::redact;

/// What happens in a test, in order.
pub struct Transcript {
    area: &'static str,
    test: &'static str,
    text: String,
}

impl Transcript {
    pub fn new(area: &'static str, test: &'static str) -> Self {
        Self { area, test, text: String::new() }
    }

    /// Adds a step with what came of it.
    pub fn step(&mut self, what: &str, came: &impl Display) {
        self.text.push_str(&format!("### {what}\n\n{came}\n"));
    }

    /// Holds the whole against the snapshot.
    pub fn check(self) {
        check(self.area, self.test, &self.text);
    }

    /// Holds the whole against one of several snapshots of the test.
    pub fn check_as(self, which: &str) {
        check(self.area, &format!("{}_{which}", self.test), &self.text);
    }
}

/// Holds a text against `snapshots/<area>/<name>.snap`, after redaction.
pub fn check(area: &str, name: &str, text: &str) {
    check_as_is(area, name, &redact(text));
}

/// Holds a text against a snapshot as it is.
pub fn check_as_is(area: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(area));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
