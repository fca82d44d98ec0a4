//! What is legal and perhaps unintended in an identifier.

use super::Identifier;
use super::number::Credential;
use super::rule::{OwnerKind, Passes, ValidTime};

/// The longest code that surely every panel takes: as long as the master code may be. Longer ones are taken by some.
pub const SURE_DIGITS: usize = 8;

/// A warning about one identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// No time profile binds it.
    #[error("no time profile binds it: it opens at any time at which it is valid")]
    AtAnyTime,
    /// And nothing else does, though it is a guest's.
    #[error("a guest's that nothing limits: it opens at any time, for ever")]
    GuestForEver,
    /// The code is long.
    #[error("the code has more than {SURE_DIGITS} digits, and some panels take no more")]
    LongCode,
    /// Its time is over.
    #[error("it is over: it does not open again")]
    Over,
    /// Nothing is left of its passes.
    #[error("no passes are left: it does not open")]
    NoPassesLeft,
    /// More are left than there are.
    #[error("more passes are left than it has")]
    MoreLeftThanPasses,
}

impl Warning {
    /// Its place within the identifier: a JSON pointer.
    pub fn path(self) -> &'static str {
        match self {
            Self::AtAnyTime => "/time_profiles/link_ids",
            Self::GuestForEver => "/valid",
            Self::LongCode => "/identifier_number",
            Self::Over => "/valid/time/to",
            Self::NoPassesLeft | Self::MoreLeftThanPasses => "/additional/passes_left",
        }
    }
}

/// What stands out about an identifier, as of `now` (Unix seconds). One that is never valid has problems, not warnings.
pub fn warnings(identifier: &Identifier, now: i64) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if identifier.time.never() {
        return warnings;
    }
    if matches!(&identifier.credential, Credential::Code(code) if code.digits() > SURE_DIGITS) {
        warnings.push(Warning::LongCode);
    }
    if matches!(identifier.time, ValidTime::Between { to, .. } if to <= now) {
        warnings.push(Warning::Over);
    }
    if identifier.profiles.as_slice().is_empty() {
        let unlimited = identifier.time == ValidTime::Permanent && identifier.passes == Passes::Permanent;
        let guest = identifier.owner == OwnerKind::Guest;
        warnings.push(if guest && unlimited { Warning::GuestForEver } else { Warning::AtAnyTime });
    }
    // Of what may pass any number of times, devices say 0 too.
    if let (Some(left), Passes::AtMost(most)) = (identifier.passes_left, identifier.passes) {
        if left.get() == 0 {
            warnings.push(Warning::NoPassesLeft);
        } else if left.get() > most.get() {
            warnings.push(Warning::MoreLeftThanPasses);
        }
    }
    warnings
}
