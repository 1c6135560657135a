//! Counters of the loop; they add up at every moment.

use crate::machine::close::Kind;

/// Totals since the start. At every moment `accepted` is the number of open connections plus that
/// of all verdicts.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted, including those that were reset at once.
    pub accepted: u64,
    /// Connections that have not ended, including those that wait for their evidence.
    pub open: u64,
    /// Endings by [`Kind`], in its order.
    pub(crate) verdicts: [u64; Kind::COUNT],
    /// Endings that were only counted, because the list was full.
    pub endings_missed: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { accepted: 0, open: 0, verdicts: [0; Kind::COUNT], endings_missed: 0 }
    }
}

impl Counters {
    /// The number of endings of this kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.verdicts[kind as usize]
    }

    /// The number of all endings.
    pub fn ended(&self) -> u64 {
        self.verdicts.iter().sum()
    }
}
