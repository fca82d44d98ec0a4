//! How panels are, as tiles and counts show it.

use crate::coordinator::register::Entry;
use crate::panel::remote::Connection;
use crate::store::StoreError;
use crate::store::read::Counts as StateCounts;
use crate::web::layout;

/// How a panel is, worst first: a tile has one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    Offline,
    Attention,
    Drifted,
    Pending,
    Unknown,
    Online,
}

impl Mark {
    pub const ALL: [Self; 6] =
        [Self::Online, Self::Offline, Self::Pending, Self::Drifted, Self::Attention, Self::Unknown];

    pub fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Attention => "attention",
            Self::Drifted => "drifted",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Online => "online",
        }
    }

    /// What the word means, for who has not met it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Offline => "does not answer; what is desired will be delivered when it is back",
            Self::Attention => "answers, but refuses a call or a profile: somebody has to look",
            Self::Drifted => "its device holds something else than it had confirmed",
            Self::Pending => "some profiles are not confirmed yet",
            Self::Unknown => "not asked yet since the server's start",
            Self::Online => "answers",
        }
    }
}

/// What is known of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    connection: Connection,
    pending: u64,
    drifted: u64,
    refused: u64,
    failing: bool,
}

impl Facts {
    pub fn of(counts: &StateCounts, panel: &Entry) -> Result<Self, StoreError> {
        let counts = counts.of(panel.number)?;
        Ok(Self {
            connection: panel.connection(),
            pending: counts.pending,
            drifted: counts.drifted,
            refused: counts.refused,
            failing: panel.condition.last_error.is_some(),
        })
    }

    /// Whether the panel is counted under this mark; it may be under several.
    pub fn is(&self, mark: Mark) -> bool {
        match mark {
            Mark::Offline => self.connection == Connection::Offline,
            Mark::Attention => self.refused > 0 || (self.failing && self.connection == Connection::Online),
            Mark::Drifted => self.drifted > 0,
            Mark::Pending => self.pending > 0,
            Mark::Unknown => self.connection == Connection::Unknown,
            Mark::Online => self.connection == Connection::Online,
        }
    }

    pub fn mark(&self) -> Mark {
        let mut marks = Mark::ALL;
        marks.sort_unstable();
        marks.into_iter().find(|mark| self.is(*mark)).unwrap_or(Mark::Online)
    }

    /// All of it in words.
    pub fn words(&self) -> String {
        let mut words = vec![self.connection.as_str().to_owned()];
        for (n, what) in [(self.pending, "pending"), (self.drifted, "drifted"), (self.refused, "refused")] {
            if n > 0 {
                words.push(format!("{n} {what}"));
            }
        }
        if self.failing && self.connection == Connection::Online {
            words.push("the last call failed".to_owned());
        }
        words.join(", ")
    }
}

/// How many panels are counted under each mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub panels: u64,
    marks: [u64; 6],
}

impl Counts {
    pub fn add(&mut self, facts: &Facts) {
        self.panels += 1;
        for mark in Mark::ALL {
            self.marks[mark as usize] += u64::from(facts.is(mark));
        }
    }

    pub fn take_away(&mut self, facts: &Facts) {
        self.panels = self.panels.saturating_sub(1);
        for mark in Mark::ALL {
            let count = &mut self.marks[mark as usize];
            *count = count.saturating_sub(u64::from(facts.is(mark)));
        }
    }

    pub fn of(&self, mark: Mark) -> u64 {
        self.marks[mark as usize]
    }

    /// The panels, and those of them that are not simply online.
    pub fn words(&self) -> String {
        let mut words = vec![layout::count(self.panels, "panel")];
        for mark in [Mark::Offline, Mark::Attention, Mark::Drifted, Mark::Pending, Mark::Unknown] {
            if self.of(mark) > 0 {
                words.push(format!("{} {}", self.of(mark), mark.word()));
            }
        }
        words.join(" · ")
    }
}
