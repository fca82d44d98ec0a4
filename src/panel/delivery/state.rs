//! Where a delivery stands, and how it comes to rest.

use std::time::Instant;

use crate::panel::device::Trouble;

/// What only a person can put right.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    pub trouble: Trouble,
    /// When the device said so last.
    pub since: Instant,
    /// No step before this.
    pub until: Instant,
}

/// Where a delivery stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is under way.
    Idle,
    /// A step is under way.
    Stepping {
        /// What a person had to put right before it.
        blocked: Option<Blocked>,
        /// Whether the settings have changed since, so that its session is not used again.
        outdated: bool,
    },
    /// Something is being written.
    Recording(Then),
    /// After a failure: no step before this.
    PausedUntil(Instant),
    /// After what only a person can put right.
    BlockedSince(Blocked),
    /// The server stops. For good.
    Closing,
}

/// What comes after a record.
#[derive(Debug)]
pub(super) enum Then {
    Idle,
    PausedUntil(Instant),
    BlockedSince(Blocked),
    /// Not all was well.
    Fail(Trouble, Option<Blocked>),
}

impl State {
    /// After a step that changed nothing.
    pub(super) fn at_rest(blocked: Option<Blocked>) -> Self {
        blocked.map_or(Self::Idle, Self::BlockedSince)
    }

    /// After a record with nothing to fail for.
    pub(super) fn after(then: Then) -> Self {
        match then {
            Then::PausedUntil(until) => Self::PausedUntil(until),
            Then::BlockedSince(blocked) => Self::BlockedSince(blocked),
            Then::Idle | Then::Fail(..) => Self::Idle,
        }
    }

    /// What comes after a record that is begun at rest; nothing while something is under way.
    pub(super) fn to_come_back_to(&self) -> Option<Then> {
        match self {
            Self::Idle => Some(Then::Idle),
            Self::PausedUntil(until) => Some(Then::PausedUntil(*until)),
            Self::BlockedSince(blocked) => Some(Then::BlockedSince(blocked.clone())),
            Self::Stepping { .. } | Self::Recording(_) | Self::Closing => None,
        }
    }

    /// What a person has to put right, as far as is known now.
    pub(super) fn blocked(&self) -> Option<&Blocked> {
        match self {
            Self::BlockedSince(blocked)
            | Self::Stepping { blocked: Some(blocked), .. }
            | Self::Recording(Then::BlockedSince(blocked) | Then::Fail(_, Some(blocked))) => Some(blocked),
            _ => None,
        }
    }

    /// There is no pause any more, be it now or after what is under way.
    pub(super) fn end_pause(&mut self) {
        match self {
            Self::PausedUntil(_) | Self::BlockedSince(_) => *self = Self::Idle,
            Self::Stepping { blocked, .. } | Self::Recording(Then::Fail(_, blocked)) => *blocked = None,
            Self::Recording(then @ (Then::PausedUntil(_) | Then::BlockedSince(_))) => *then = Then::Idle,
            Self::Idle | Self::Recording(Then::Idle) | Self::Closing => {}
        }
    }
}
