//! Connections for tests, written as a list of segments.
//!
//! ```text
//! ">S <SA >A >14 <37 >F <F >A"
//! ```
//!
//! `>` is from the client to the server, `<` from the server to the client. Behind it, in this
//! order: `'` its sender has not received what came since its own last segment, `#` it is seen and
//! then lost, `~` it is lost by the capture only. Then: `S` SYN, `SA` SYN-ACK, `A` an
//! acknowledgement, `F` a FIN, a number of bytes, perhaps with `F`, `again` its last segment once
//! more, `K` a keepalive probe, `Z` an acknowledgement with a window of zero, `R` a reset by its
//! program, `r` a reset that answers a segment, `RA` one that answers a SYN, `X` a reset that is
//! not acceptable. `+3000` lets that number of milliseconds pass; each segment takes one more.

use std::net::SocketAddr;

use super::{Flags, OutsideVerdict, Role, Segment, Seq, Table};

/// Sequence numbers wrap in the middle of everything.
pub(super) const ISNS: [u32; 2] = [u32::MAX - 5, u32::MAX];

pub(super) const BEGIN_NS: u64 = 1_795_374_000_000_000_000;

pub(super) fn client() -> SocketAddr {
    ([127, 0, 0, 1], 40_000).into()
}

pub(super) fn server() -> SocketAddr {
    ([127, 0, 0, 1], 20_003).into()
}

/// Plays a script.
#[derive(Default)]
struct Player {
    /// By end, the client first: what it sends next, what it has received, what it has said of
    /// that.
    next: [u32; 2],
    received: [u32; 2],
    said: [u32; 2],
    last: [Option<Segment>; 2],
    ms: u64,
    seen: Vec<(u64, Segment)>,
}

impl Player {
    fn plays(&mut self, word: &str, isns: [u32; 2]) {
        if let Some(ms) = word.strip_prefix('+') {
            self.ms += ms.parse::<u64>().unwrap();
            return;
        }
        self.ms += 1;
        let (direction, mut what) = word.split_at(1);
        let from = match direction {
            ">" => 0,
            "<" => 1,
            _ => panic!("{word}"),
        };
        let mut is = |mark: char| {
            let rest = what.strip_prefix(mark);
            what = rest.unwrap_or(what);
            rest.is_some()
        };
        let (is_behind, is_lost, is_missed) = (is('\''), is('#'), is('~'));
        if !is_behind {
            self.said[from] = self.received[from];
        }
        let segment = self.segment(what, from, isns);
        if !is_missed {
            self.seen.push((BEGIN_NS + self.ms * 1_000_000, segment));
        }
        if !is_lost {
            self.received[1 - from] = self.next[from];
        }
    }

    fn segment(&mut self, what: &str, from: usize, isns: [u32; 2]) -> Segment {
        let ends = [client(), server()];
        let at = self.next[from];
        let (flags, place, bytes, length) = match what {
            "S" => (Flags::SYN, 0, 0, 1),
            "SA" => (Flags::SYN.with(Flags::ACK), 0, 0, 1),
            "A" | "Z" => (Flags::ACK, at, 0, 0),
            "F" => (Flags::FIN.with(Flags::ACK), at, 0, 1),
            "K" => (Flags::ACK, at - 1, 0, 0),
            "R" => (Flags::RST.with(Flags::ACK), at, 0, 0),
            "RA" => (Flags::RST.with(Flags::ACK), 0u32.wrapping_sub(isns[from]), 0, 0),
            "r" => (Flags::RST, self.said[1 - from], 0, 0),
            "X" => (Flags::RST, at + 5_000, 0, 0),
            "again" => (Flags::default(), 0, 0, 0),
            bytes => {
                let (bytes, fin) = match bytes.strip_suffix('F') {
                    Some(bytes) => (bytes, Flags::FIN),
                    None => (bytes, Flags::PSH),
                };
                let bytes: u32 = bytes.parse().unwrap();
                (fin.with(Flags::ACK), at, bytes, bytes + u32::from(fin == Flags::FIN))
            }
        };
        if matches!(what, "S" | "SA") {
            self.next[from] = 0;
        }
        self.next[from] += length;
        let has_ack = flags.has(Flags::ACK);
        let segment = Segment {
            source: ends[from],
            target: ends[1 - from],
            flags,
            seq: Seq(isns[from]).plus(place),
            ack: if has_ack { Seq(isns[1 - from]).plus(self.said[from]) } else { Seq(0) },
            window: if what == "Z" { 0 } else { 512 },
            scale: flags.has(Flags::SYN).then_some(7),
            payload_bytes: bytes,
        };
        if what == "again" {
            return self.last[from].unwrap();
        }
        if length > 0 {
            self.last[from] = Some(segment);
        }
        segment
    }
}

/// The segments that a capture sees, with their times.
pub(super) fn played(script: &str) -> Vec<(u64, Segment)> {
    played_from(script, ISNS)
}

pub(super) fn played_from(script: &str, isns: [u32; 2]) -> Vec<(u64, Segment)> {
    let mut player = Player::default();
    script.split_whitespace().for_each(|word| player.plays(word, isns));
    player.seen
}

/// How each connection ended in a capture of these segments.
pub(super) fn judged(seen: &[(u64, Segment)], role: Role) -> Vec<OutsideVerdict> {
    let mut table = Table::new(100);
    let mut ended = Vec::new();
    for (at_ns, segment) in seen {
        table.takes(segment, *at_ns, &mut ended);
    }
    table.finish(&mut ended);
    ended.iter().map(|ended| ended.verdict(role, None)).collect()
}
