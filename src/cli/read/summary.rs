//! `--summary`: how many connections ended how, and with which peers.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::cli::fit::{pad, pad_start, width};
use crate::cli::words::thousands;
use crate::machine::close::{Kind, KindCounts};

/// Peers that are counted one by one. Those beyond are counted together.
const PEERS_MAX: usize = 100_000;
/// Peers that are shown.
const PEERS_SHOWN: usize = 20;

/// Connections by verdict and by peer.
#[derive(Default)]
pub(super) struct Summary {
    verdicts: KindCounts,
    peers: HashMap<IpAddr, KindCounts>,
    others: u64,
}

impl Summary {
    pub(super) fn counts(&mut self, kind: Kind, peer: IpAddr) {
        self.verdicts[kind as usize] += 1;
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.others += 1;
            return;
        }
        self.peers.entry(peer).or_default()[kind as usize] += 1;
    }

    /// Two tables.
    pub(super) fn text(&self) -> String {
        let mut rows: Vec<(String, u64)> = named(&self.verdicts);
        let all: u64 = self.verdicts.iter().sum();
        rows.push(("all verdicts".to_owned(), all));
        let mut text = table("verdict", &rows);
        let sum = |counts: &KindCounts| counts.iter().sum::<u64>();
        let mut peers: Vec<_> = self.peers.iter().map(|(peer, it)| (sum(it), *peer, it)).collect();
        peers.sort_by_key(|&(count, peer, _)| (std::cmp::Reverse(count), peer));
        let hidden: u64 = peers.iter().skip(PEERS_SHOWN).map(|it| it.0).sum::<u64>() + self.others;
        let mut rows = Vec::new();
        for (count, peer, counts) in peers.into_iter().take(PEERS_SHOWN) {
            rows.push((peer.to_string(), count));
            rows.extend(
                named(counts).into_iter().map(|(name, count)| (format!("  {name}"), count)),
            );
        }
        if hidden > 0 {
            rows.push(("other peers".to_owned(), hidden));
        }
        if !rows.is_empty() {
            text.push('\n');
            text += &table("peer", &rows);
        }
        text
    }
}

/// Those that happened, in the order of the verdicts.
fn named(counts: &KindCounts) -> Vec<(String, u64)> {
    Kind::all()
        .map(|kind| (kind.name().to_owned(), counts[kind as usize]))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn table(head: &str, rows: &[(String, u64)]) -> String {
    let rows = rows.iter().map(|(name, count)| (name.clone(), thousands(*count)));
    let rows: Vec<_> =
        std::iter::once((head.to_owned(), "connections".to_owned())).chain(rows).collect();
    let names = rows.iter().map(|row| width(&row.0)).max().unwrap_or(0);
    let counts = rows.iter().map(|row| width(&row.1)).max().unwrap_or(0);
    let line = |(name, count): &(String, String)| {
        format!("{}  {}\n", pad(name, names), pad_start(count, counts))
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_peers_are_counted_and_add_up() {
        let mut summary = Summary::default();
        let [a, b] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        for (kind, peer) in [
            (Kind::PeerFinDelivered, b),
            (Kind::PeerResetStale, a),
            (Kind::PeerFinDelivered, b),
            (Kind::Open, b),
        ] {
            summary.counts(kind, peer);
        }
        let expected = "\
verdict             connections
peer_fin.delivered            2
peer_reset.stale              1
open                          1
all verdicts                  4

peer                  connections
10.0.0.2                        3
  peer_fin.delivered            2
  open                          1
10.0.0.1                        1
  peer_reset.stale              1
";
        assert_eq!(summary.text(), expected);
    }
}
