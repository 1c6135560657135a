//! Counters of the loop; they add up at every moment.

use crate::machine::close::Kind;

/// Totals since the start. At every moment `accepted` is the number of open connections plus that
/// of all verdicts.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = closecall::Config::new().listen(["127.0.0.1:0".parse()?]);
/// let server = closecall::Server::bind(config)?;
/// for (kind, count) in server.counters().iter().filter(|row| row.1 > 0) {
///     println!("{kind} {count}");
/// }
/// assert_eq!(server.counters().of(closecall::Kind::PeerFinDelivered), 0);
/// # Ok(())
/// # }
/// ```
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

    /// Each kind with its number of endings, in the order of the table of verdicts.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::all().map(|kind| (kind, self.of(kind)))
    }

    /// The number of all endings.
    pub fn ended(&self) -> u64 {
        self.verdicts.iter().sum()
    }
}
