//! What happened since the last wait, and the counts of a whole world.

use std::collections::BTreeMap;

/// Why the last wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woke {
    Event,
    Time,
    Interrupted,
}

/// What happened since the last wait.
#[derive(Debug)]
pub(super) struct TurnLog {
    pub(super) number: u64,
    /// When its events were collected, in true time.
    pub(super) began_us: u64,
    pub(super) timeout_ms: Option<u64>,
    pub(super) woke: Woke,
    /// Bytes moved, a connection came or went, or the listeners were closed.
    pub(super) moved: bool,
    pub(super) accept_calls: u32,
    pub(super) closes: u32,
    /// Connections that may have been decided early in it.
    pub(super) early_ends: u32,
    /// Links with an event or a call.
    pub(super) touched: Vec<u32>,
    pub(super) calls: u64,
}

impl TurnLog {
    /// The first turn, before any wait. It is not judged for having done nothing.
    pub(super) fn first(began_us: u64) -> TurnLog {
        TurnLog { moved: true, ..TurnLog::numbered(0, began_us, None, Vec::new()) }
    }

    /// The next turn begins with a wait. Its list of links takes over the memory of `touched`.
    pub(super) fn begin_next(
        &mut self,
        began_us: u64,
        timeout_ms: Option<u64>,
        mut touched: Vec<u32>,
    ) {
        touched.clear();
        *self = TurnLog::numbered(self.number + 1, began_us, timeout_ms, touched);
    }

    fn numbered(number: u64, began_us: u64, timeout_ms: Option<u64>, touched: Vec<u32>) -> TurnLog {
        TurnLog {
            number,
            began_us,
            timeout_ms,
            woke: Woke::Event,
            moved: false,
            accept_calls: 0,
            closes: 0,
            early_ends: 0,
            touched,
            calls: 0,
        }
    }
}

/// Connections that may be decided early, by the turn in which a connection was accepted although
/// every slot was in use, or an accept was out of files or memory.
#[derive(Debug, Default)]
pub(super) struct EarlyEnds(BTreeMap<u64, u32>);

impl EarlyEnds {
    /// One more may be decided early in `turn`.
    pub(super) fn allow(&mut self, turn: u64) {
        *self.0.entry(turn).or_default() += 1;
    }

    /// The first turn from `first` to `last` that has one left.
    pub(super) fn left_in(&self, first: u64, last: u64) -> Option<u64> {
        self.0.range(first..=last).find(|(_, count)| **count > 0).map(|(turn, _)| *turn)
    }

    /// One of those of `turn`, which has one left, is used.
    pub(super) fn take(&mut self, turn: u64) {
        *self.0.entry(turn).or_default() -= 1;
    }
}

/// Counts that no invariant needs; see [`Summary`](super::Summary).
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) leftovers: u64,
    pub(super) unfinished: u64,
    pub(super) pauses: u64,
    pub(super) made_room: u64,
    pub(super) urgent_splits: u64,
    pub(super) discarded: u64,
    pub(super) jumps: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_end_is_used_once() {
        let mut early_ends = EarlyEnds::default();
        early_ends.allow(3);
        early_ends.allow(9);
        assert_eq!((early_ends.left_in(4, 8), early_ends.left_in(3, 3)), (None, Some(3)));
        early_ends.take(3);
        assert_eq!((early_ends.left_in(3, 3), early_ends.left_in(3, u64::MAX)), (None, Some(9)));
    }
}
