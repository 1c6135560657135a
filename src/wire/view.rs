//! What was seen of a connection, from the side of one of its ends.

use super::direction::Direction;
use super::flow::{Flow, Handshake, Reset};

/// Which end is ours: the side from which a verdict is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Role {
    /// The end that was connected to.
    #[default]
    Server,
    /// The end that connected.
    Client,
}

/// One of the two ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// Ours.
    Ours,
    /// The peer's.
    Peer,
}

/// What one end sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// A segment of it was seen.
    pub is_seen: bool,
    /// Bytes of its stream.
    pub bytes: u64,
    /// What of them the other end did not acknowledge; `None` if it never acknowledged anything.
    pub undelivered: Option<u64>,
    /// What of them was acknowledged and is not in the capture.
    pub missing: u64,
    /// It sent a FIN.
    pub fin: bool,
    /// And the other end acknowledged it.
    pub fin_acknowledged: bool,
    /// It sent new bytes when its TCP had the other end's FIN.
    pub sent_after_fin: bool,
    /// It takes no more bytes: the last window that it offered was zero.
    pub has_closed_window: bool,
    /// Its last new byte came behind the other end's last new byte: it had the last word.
    pub has_last_word: bool,
    /// Retransmissions that were not answered.
    pub retransmitting: u32,
    /// Probes that were not answered.
    pub probing: u32,
    /// It retransmitted or probed without an answer, and stopped long before the capture did.
    pub gave_up: bool,
}

/// A reset, from our side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenReset {
    /// The end that sent it.
    pub by: Side,
    /// It answers a segment (see [`Reset::is_answer`]).
    pub is_answer: bool,
    /// Its receiver must accept it.
    pub is_exact: bool,
    /// It came 3 s or more after the last other segment of its sender.
    pub is_late: bool,
}

/// How far the handshake came, from our side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// Both SYNs were acknowledged.
    Completed,
    /// A SYN was seen, and nothing that comes after a handshake.
    Unfinished {
        /// The end that asked.
        by: Side,
        /// A SYN-ACK was seen.
        is_answered: bool,
        /// A SYN or SYN-ACK was seen twice.
        is_repeated: bool,
    },
    /// It was not seen.
    Unseen,
}

/// Everything that [`judge`](fn@super::judge) may look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// The handshake.
    pub opening: Opening,
    /// What our end sent.
    pub ours: Sent,
    /// What the peer sent.
    pub peer: Sent,
    /// The reset that ended it.
    pub reset: Option<SeenReset>,
    /// Which FIN was seen first.
    pub first_fin: Option<Side>,
    /// Both were under way at the same time: neither end had the other's FIN when it sent its own.
    pub fins_crossed: bool,
    /// The capture went on for long after the last segment: 3 s or more.
    pub is_outlasted: bool,
    /// The reader had no room for it any more, and let it go while it was open.
    pub is_let_go: bool,
}

/// Longer than any round trip, and than the first retransmission of a SYN, in nanoseconds.
const LONG_NS: u64 = 3_000_000_000;

/// A retransmission is due within twice the time since the last one (RFC 6298, section 5.5), and
/// this much later at most.
const SLACK_NS: u64 = 1_000_000_000;

impl View {
    /// The connection as the end with this index saw it. The capture went on until `until_ns`.
    pub fn new(flow: &Flow, ours: usize, until_ns: u64) -> View {
        let side = |end: usize| if end == ours { Side::Ours } else { Side::Peer };
        let directions = flow.directions();
        let (own, other) = (&directions[ours], &directions[1 - ours]);
        let opening = match flow.handshake() {
            Handshake::Completed => Opening::Completed,
            Handshake::Unfinished { asker, is_answered } => Opening::Unfinished {
                by: side(asker),
                is_answered,
                is_repeated: flow.is_syn_repeated(),
            },
            Handshake::Unseen => Opening::Unseen,
        };
        let reset = flow.reset().map(|reset| SeenReset {
            by: side(reset.from),
            is_answer: reset.is_answer,
            is_exact: reset.is_exact,
            is_late: is_late(&directions[reset.from], reset),
        });
        let (first_fin, fins_crossed) = match (own.fin(), other.fin()) {
            (Some(own), Some(other)) => {
                let is_ours = own.moment.number < other.moment.number;
                let second = if is_ours { other } else { own };
                (Some(if is_ours { Side::Ours } else { Side::Peer }), !second.is_answer)
            }
            (Some(_), None) => (Some(Side::Ours), false),
            (None, Some(_)) => (Some(Side::Peer), false),
            (None, None) => (None, false),
        };
        View {
            opening,
            ours: sent(own, other, until_ns),
            peer: sent(other, own, until_ns),
            reset,
            first_fin,
            fins_crossed,
            is_outlasted: until_ns.saturating_sub(flow.last_ns()) >= LONG_NS,
            is_let_go: false,
        }
    }
}

fn is_late(sender: &Direction, reset: Reset) -> bool {
    reset.moment.at_ns.saturating_sub(sender.last_talk_ns()) >= LONG_NS
}

fn sent(own: &Direction, other: &Direction, until_ns: u64) -> Sent {
    let (last_ns, gap_ns) = own.last_sent();
    let due_ns = last_ns.saturating_add(gap_ns.saturating_mul(2)).saturating_add(SLACK_NS);
    let is_trying = own.retransmitting() > 0 || own.probing() > 0;
    Sent {
        is_seen: own.totals().segments > 0,
        bytes: own.bytes(),
        undelivered: own.undelivered(),
        missing: own.missing(),
        fin: own.fin().is_some(),
        fin_acknowledged: own.is_fin_acknowledged(),
        sent_after_fin: own.after_fin() > 0,
        has_closed_window: own.window() == Some(0),
        has_last_word: own.last_new() > other.last_new(),
        retransmitting: own.retransmitting(),
        probing: own.probing(),
        gave_up: is_trying && until_ns > due_ns,
    }
}

impl Flow {
    /// The index of the end that has this role, and whether that was seen. If no SYN was, it is
    /// guessed by the ports: a server's is the lower one, or `port`.
    pub fn end_of(&self, role: Role, port: Option<u16>) -> (usize, bool) {
        let [a, b] = self.ends().map(|end| end.port());
        let (server, is_seen) = match (self.asker(), port) {
            (Some(asker), _) => (1 - asker, true),
            (None, Some(port)) if (a == port) != (b == port) => (usize::from(b == port), false),
            // The first segment that is seen is often a request.
            (None, _) => (usize::from(b <= a), false),
        };
        (if role == Role::Server { server } else { 1 - server }, is_seen)
    }
}
