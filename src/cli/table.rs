//! The table on the way out: how many connections ended how.

use std::fmt::Write;

use super::words::thousands;
use crate::machine::close::Kind;
use crate::reactor::Counters;

/// The table, as text of several lines. `records_lost` is about the close log, if there is one.
///
/// ```text
/// verdict                connections
/// peer_fin.delivered           4,812
/// timeout.read                     1
/// all verdicts                 4,813
/// accepted                     4,813
/// ```
pub(super) fn text(counters: &Counters, records_lost: Option<u64>) -> String {
    let mut rows: Vec<(&str, u64)> = Kind::all()
        .map(|kind| (kind.name(), counters.of(kind)))
        .filter(|(_, count)| *count > 0)
        .collect();
    rows.push(("all verdicts", counters.ended()));
    if counters.open > 0 {
        rows.push(("open", counters.open));
    }
    rows.push(("accepted", counters.accepted));
    if let Some(lost) = records_lost.filter(|lost| *lost > 0) {
        rows.push(("close log: records lost", lost));
    }

    const HEAD: (&str, &str) = ("verdict", "connections");
    let rows: Vec<_> = rows.into_iter().map(|(name, count)| (name, thousands(count))).collect();
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut rows.iter().map(|(name, _)| name.len())).max(HEAD.0.len());
    let counts = width(&mut rows.iter().map(|(_, count)| count.len())).max(HEAD.1.len());
    let mut text = String::new();
    for (name, count) in [(HEAD.0, HEAD.1)].into_iter().chain(rows.iter().map(|(n, c)| (*n, &**c)))
    {
        // Writing to memory does not fail.
        let _ = writeln!(text, "{name:<names$}  {count:>counts$}");
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
        assert_eq!(text(&counters, Some(7)), expected);
        let quiet = "\
verdict       connections
all verdicts            0
accepted                0
";
        assert_eq!(text(&Counters::default(), Some(0)), quiet);
    }
}
