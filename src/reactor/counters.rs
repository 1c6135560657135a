//! What the loop counts: numbers that add up at every moment.

use crate::machine::close::Kind;

/// What happened so far. At every moment `accepted` is the number of open connections and of all
/// verdicts together.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted, those included that were reset at once.
    pub accepted: u64,
    /// Connections that have not ended, those included that wait for their evidence.
    pub open: u64,
    /// Endings by [`Kind`], in its order.
    pub(crate) verdicts: [u64; Kind::COUNT],
    /// Endings that found the list full and were counted only.
    pub endings_missed: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { accepted: 0, open: 0, verdicts: [0; Kind::COUNT], endings_missed: 0 }
    }
}

impl Counters {
    /// How many ended in this way.
    pub fn of(&self, kind: Kind) -> u64 {
        self.verdicts[kind as usize]
    }

    /// All verdicts together.
    pub fn ended(&self) -> u64 {
        self.verdicts.iter().sum()
    }
}
