//! Which panels of a batch have not been sent their part yet, in panel order.
//!
//! Sending in panel order matters: rows of neighbouring panels lie together in the store, and a commit that
//! touches neighbouring rows is two to four times as fast.

use std::collections::HashSet;

use crate::store::PanelNo;

/// The panels of one batch that wait to be sent their part.
#[derive(Debug, Default)]
pub struct FanOut {
    /// Ascending; what lies before `next` was sent.
    panels: Vec<PanelNo>,
    next: usize,
    /// Sent before their turn.
    early: HashSet<PanelNo>,
}

impl FanOut {
    /// Panels in ascending order, each once.
    pub fn new(panels: Vec<PanelNo>) -> Self {
        Self { panels, next: 0, early: HashSet::new() }
    }

    /// The next panel in order.
    pub fn peek(&mut self) -> Option<PanelNo> {
        while let Some(panel) = self.panels.get(self.next) {
            if !self.early.remove(panel) {
                return Some(*panel);
            }
            self.next += 1;
        }
        None
    }

    /// Whether every panel was sent its part.
    pub fn is_done(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Whether this panel still waits.
    pub fn waits(&self, panel: PanelNo) -> bool {
        self.panels.get(self.next..).is_some_and(|rest| rest.binary_search(&panel).is_ok())
            && !self.early.contains(&panel)
    }

    /// This panel, which waits, was sent its part.
    pub fn sent(&mut self, panel: PanelNo) {
        if self.panels.get(self.next) == Some(&panel) {
            self.next += 1;
        } else {
            self.early.insert(panel);
        }
    }

    /// Takes all that still wait.
    pub fn take_rest(&mut self) -> Vec<PanelNo> {
        let mut rest = Vec::new();
        while let Some(panel) = self.peek() {
            self.sent(panel);
            rest.push(panel);
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_is_sent_once_in_order_but_for_those_sent_early() {
        let mut fan_out = FanOut::new(vec![1, 3, 5, 7]);
        assert_eq!(fan_out.peek(), Some(1));
        fan_out.sent(1);
        assert!(fan_out.waits(5) && !fan_out.waits(1) && !fan_out.waits(2));
        fan_out.sent(5);
        assert!(!fan_out.waits(5));
        assert_eq!(fan_out.take_rest(), [3, 7]);
        assert_eq!(fan_out.peek(), None);
    }
}
