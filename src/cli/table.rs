//! The table of verdicts, on the way out and on SIGUSR1: how many connections ended how.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fit::{pad, pad_start, width};
use super::words::thousands;
use crate::machine::close::Kind;
use crate::reactor::Counters;

/// The close log at some moment, in records. All are 0 where there is none.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Records {
    pub(super) lost: u64,
    /// They are in the queue of the close log.
    pub(super) waiting: u64,
}

/// The counters of the last turn, for other threads than the one that serves.
#[derive(Clone, Default)]
pub(super) struct SoFar(Arc<Mutex<Counters>>);

impl SoFar {
    /// After a turn: what happened so far. While what this gives is held, [`look`](Self::look)
    /// waits: the endings of the turn are not yet where they are reported to.
    pub(super) fn set(&self, counters: &Counters) -> MutexGuard<'_, Counters> {
        let mut seen = self.lock();
        if (seen.accepted, seen.open) != (counters.accepted, counters.open) {
            seen.clone_from(counters);
        }
        seen
    }

    /// Looks at the counters, in a moment at which each ending that they count is reported. The
    /// thread that serves waits meanwhile, so this does not take long.
    pub(super) fn look<T>(&self, looks: impl FnOnce(&Counters) -> T) -> T {
        looks(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table on exit, as text of several lines.
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

/// The table while the server serves. Its head is `verdict so far`.
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
    fn only_what_happened_is_listed_and_it_adds_up() {
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
