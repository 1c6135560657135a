//! Table of verdicts: the number of connections by verdict, printed on exit and on SIGUSR1.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fit::{pad, pad_start, width};
use super::words::thousands;
use crate::machine::close::Kind;
use crate::reactor::Counters;

/// State of the close log, in records; all 0 without a close log.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Records {
    pub(super) lost: u64,
    /// Records in the queue of the close log.
    pub(super) waiting: u64,
}

/// The counters of the last turn, for threads other than the serving thread.
#[derive(Clone, Default)]
pub(super) struct SoFar(Arc<Mutex<Counters>>);

impl SoFar {
    /// Stores the counters after a turn. While the caller holds the guard, [`look`](Self::look)
    /// waits, because the endings of the turn are not reported yet.
    pub(super) fn set(&self, counters: &Counters) -> MutexGuard<'_, Counters> {
        let mut seen = self.lock();
        if (seen.accepted, seen.open) != (counters.accepted, counters.open) {
            seen.clone_from(counters);
        }
        seen
    }

    /// Passes the counters to `looks`, at a moment when each counted ending is reported. The
    /// serving thread waits meanwhile, so `looks` must be quick.
    pub(super) fn look<T>(&self, looks: impl FnOnce(&Counters) -> T) -> T {
        looks(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table on exit.
///
/// ```text
/// verdict                connections
/// peer_fin.delivered           4,812
/// timeout.read                     1
/// all verdicts                 4,813
/// accepted                     4,813
/// ```
pub(super) fn text(counters: &Counters, records: Records) -> String {
    with_head("verdict", counters, records)
}

/// The table while the server runs. Its head is `verdict so far`.
pub(super) fn text_so_far(counters: &Counters, records: Records) -> String {
    with_head("verdict so far", counters, records)
}

fn with_head(head: &str, counters: &Counters, records: Records) -> String {
    let mut rows: Vec<(&str, u64)> = Kind::all()
        .map(|kind| (kind.name(), counters.of(kind)))
        .filter(|(_, count)| *count > 0)
        .collect();
    rows.push(("all verdicts", counters.ended()));
    if counters.open > 0 {
        rows.push(("open", counters.open));
    }
    rows.push(("accepted", counters.accepted));
    let of_close_log = [
        ("close log: records lost", records.lost),
        ("close log: records waiting", records.waiting),
    ];
    rows.extend(of_close_log.into_iter().filter(|(_, count)| *count > 0));

    let head = (head, "connections");
    let rows: Vec<_> = rows.into_iter().map(|(name, count)| (name, thousands(count))).collect();
    let names = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0).max(width(head.0));
    let counts = rows.iter().map(|(_, count)| width(count)).max().unwrap_or(0).max(width(head.1));
    let mut text = String::new();
    for (name, count) in [head].into_iter().chain(rows.iter().map(|(n, c)| (*n, &**c))) {
        // Writing to memory does not fail.
        let _ = writeln!(text, "{}  {}", pad(name, names), pad_start(count, counts));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_only_verdicts_that_occurred_and_adds_up() {
        let mut counters = Counters { accepted: 4815, open: 1, ..Counters::default() };
        counters.verdicts[Kind::PeerFinDelivered as usize] = 4812;
        counters.verdicts[Kind::TimeoutRead as usize] = 2;
        let expected = "\
verdict                  connections
peer_fin.delivered             4,812
timeout.read                       2
all verdicts                   4,814
open                               1
accepted                       4,815
close log: records lost            7
";
        let records = Records { lost: 7, waiting: 0 };
        assert_eq!(text(&counters, records), expected);
        let quiet = "\
verdict       connections
all verdicts            0
accepted                0
";
        assert_eq!(text(&Counters::default(), Records::default()), quiet);
        let so_far = "\
verdict so far              connections
all verdicts                          0
accepted                              0
close log: records waiting            3
";
        let records = Records { lost: 0, waiting: 3 };
        assert_eq!(text_so_far(&Counters::default(), records), so_far);
    }
}
