//! One connection: both directions, its handshake and how it came to an end.
//!
//! ```text
//! SYN ──▶ SYN-ACK ──▶ ACK ──▶ data, both ways ──▶ FIN, FIN, both acknowledged ──▶ closed
//!  │         │                     │
//!  └─ RST    └─ RST, or silence    └─ RST, by either end, that its receiver accepts
//! ```

use std::net::SocketAddr;

use super::direction::{Context, Direction, Moment};
use super::segment::{Flags, Segment};

/// A reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// The end that sent it: its index in [`Flow::ends`].
    pub from: usize,
    /// When.
    pub moment: Moment,
    /// It answers a segment: it has no acknowledgement of its own (RFC 9293, 3.10.7.1). Programs
    /// that close with data unread, or with SO_LINGER 0, send one with an acknowledgement.
    pub is_answer: bool,
    /// Its receiver must accept it: its sequence number is RCV.NXT (RFC 5961, section 3.2).
    pub is_exact: bool,
}

/// The handshake, as far as it was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// Both SYNs were acknowledged.
    Completed,
    /// A SYN was seen, and nothing that comes after a handshake.
    Unfinished {
        /// Which end asked.
        asker: usize,
        /// A SYN-ACK was seen.
        is_answered: bool,
    },
    /// It was not seen, or only a part of it: the capture began later, or missed something.
    Unseen,
}

/// One connection, or an attempt to make one.
#[derive(Clone, Debug)]
pub struct Flow {
    ends: [SocketAddr; 2],
    directions: [Direction; 2],
    /// The end that sent the first SYN, or to which the SYN-ACK was sent.
    asker: Option<usize>,
    has_syn_ack: bool,
    /// A SYN or a SYN-ACK was seen twice.
    is_syn_repeated: bool,
    began_ns: u64,
    syn_at_ns: Option<u64>,
    completed_at_ns: Option<u64>,
    /// The last segment that was no reset.
    last: Moment,
    last_ns: u64,
    segments: u64,
    reset: Option<Reset>,
    /// A reset that its receiver need not accept.
    doubtful: Option<Reset>,
    /// Both FINs were acknowledged.
    closed_at_ns: Option<u64>,
}

impl Flow {
    /// A connection of which `segment` is the first that is seen. It is still to be taken.
    pub(super) fn new(segment: &Segment, at_ns: u64) -> Flow {
        Flow {
            ends: [segment.source, segment.target],
            directions: [Direction::default(), Direction::default()],
            asker: None,
            has_syn_ack: false,
            is_syn_repeated: false,
            began_ns: at_ns,
            syn_at_ns: None,
            completed_at_ns: None,
            last: Moment { number: 0, at_ns },
            last_ns: at_ns,
            segments: 0,
            reset: None,
            doubtful: None,
            closed_at_ns: None,
        }
    }

    /// Takes a segment between its two ends.
    pub(super) fn takes(&mut self, segment: &Segment, at_ns: u64) {
        let from = usize::from(segment.source != self.ends[0]);
        self.segments += 1;
        self.last_ns = at_ns;
        let moment = Moment { number: self.segments, at_ns };
        if segment.flags.has(Flags::RST) {
            return self.takes_reset(segment, from, moment);
        }
        if self.is_over() {
            self.directions[from].counts();
            return;
        }
        self.last = moment;
        let is_syn = segment.flags.has(Flags::SYN);
        if is_syn {
            self.takes_syn(segment, from, at_ns);
        }
        let other = &mut self.directions[1 - from];
        other.is_answered();
        if segment.flags.has(Flags::ACK) {
            other.is_acknowledged(segment.ack, is_syn);
        }
        let has_fin = other.is_fin_acknowledged();
        let is_scaled = self.directions.iter().all(Direction::may_scale);
        self.directions[from].takes(segment, Context { moment, has_fin, is_scaled });
        self.moves_on(at_ns);
    }

    fn takes_syn(&mut self, segment: &Segment, from: usize, at_ns: u64) {
        let is_answer = segment.flags.has(Flags::ACK);
        self.has_syn_ack |= is_answer;
        self.asker.get_or_insert(if is_answer { 1 - from } else { from });
        let is_first = self.directions[from].takes_syn(segment, at_ns);
        self.is_syn_repeated |= !is_first;
        if is_first && !is_answer {
            self.syn_at_ns.get_or_insert(at_ns);
        }
    }

    /// What the acknowledgements have come to.
    fn moves_on(&mut self, at_ns: u64) {
        let is_known = |it: &Direction| it.una().is_some();
        if self.completed_at_ns.is_none()
            && self.has_syn_ack
            && self.directions.iter().all(is_known)
        {
            self.completed_at_ns = Some(at_ns);
        }
        if self.directions.iter().all(Direction::is_fin_acknowledged) {
            self.closed_at_ns = Some(at_ns);
        }
    }

    fn takes_reset(&mut self, segment: &Segment, from: usize, moment: Moment) {
        self.directions[from].counts();
        if self.is_over() {
            return;
        }
        let is_answer = !segment.flags.has(Flags::ACK);
        let is_exact = self.must_accept(segment, from);
        let reset = Reset { from, moment, is_answer, is_exact };
        if !is_exact {
            self.doubtful.get_or_insert(reset);
            return;
        }
        // What it acknowledges has arrived, although its receiver does not look at that.
        if !is_answer && self.handshake() == Handshake::Completed {
            self.directions[1 - from].is_acknowledged(segment.ack, false);
        }
        self.reset = Some(reset);
    }

    /// Whether the receiver of this reset must accept it.
    fn must_accept(&self, segment: &Segment, from: usize) -> bool {
        let (own, other) = (&self.directions[from], &self.directions[1 - from]);
        let Some(place) = own.place(segment.seq) else {
            // SYN-SENT: it acknowledges the SYN (RFC 9293, 3.10.7.3). Without a SYN nothing is
            // known.
            let acknowledged = other.place(segment.ack);
            let fits = acknowledged.is_some_and(|it| it >= 1 && it <= other.end_with_fin() as i64);
            return !other.has_syn() || (segment.flags.has(Flags::ACK) && fits);
        };
        // RCV.NXT of its receiver: what it said last, or all that was seen since.
        let first = own.una().unwrap_or(0) as i64;
        let behind_fin = own.fin().is_some_and(|fin| place == fin.place as i64);
        (first..=own.end_with_fin() as i64).contains(&place) || behind_fin
    }

    /// Whether nothing can change any more how it ended.
    pub fn is_over(&self) -> bool {
        self.reset.is_some() || self.closed_at_ns.is_some()
    }

    /// Both ends. The first is the one whose segment was seen first.
    pub fn ends(&self) -> [SocketAddr; 2] {
        self.ends
    }

    /// What each end sent.
    pub fn directions(&self) -> &[Direction; 2] {
        &self.directions
    }

    /// The end that asked for the connection, if that was seen.
    pub fn asker(&self) -> Option<usize> {
        self.asker
    }

    /// When its first segment was seen.
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// When its last segment was seen.
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// When it ended: at the reset that ended it, when both FINs were acknowledged, or at the last
    /// segment that was seen.
    pub fn ended_ns(&self) -> u64 {
        let reset = self.reset.map(|reset| reset.moment.at_ns);
        reset.or(self.closed_at_ns).unwrap_or(self.last_ns)
    }

    /// The round trip: from the SYN to the acknowledgement of the SYN-ACK, in nanoseconds. `None`
    /// if one was not seen, or was seen twice.
    pub fn round_trip_ns(&self) -> Option<u64> {
        let span = self.completed_at_ns?.checked_sub(self.syn_at_ns?)?;
        (!self.is_syn_repeated).then_some(span)
    }

    /// Whether a SYN or a SYN-ACK was seen twice.
    pub fn is_syn_repeated(&self) -> bool {
        self.is_syn_repeated
    }

    /// The handshake, as far as it was seen.
    pub fn handshake(&self) -> Handshake {
        if self.completed_at_ns.is_some() {
            return Handshake::Completed;
        }
        match self.asker {
            // With the answer alone, the other direction may not be in the capture.
            Some(asker)
                if self.directions[asker].has_syn()
                    && !self.directions.iter().any(Direction::has_talked) =>
            {
                Handshake::Unfinished { asker, is_answered: self.has_syn_ack }
            }
            _ => Handshake::Unseen,
        }
    }

    /// The reset that ended it. One that its receiver need not accept counts if nothing came after
    /// it.
    pub fn reset(&self) -> Option<Reset> {
        let last_word = |reset: &Reset| reset.moment.number > self.last.number;
        self.reset.or(self.doubtful.filter(last_word))
    }

    /// Whether its handshake is done, or began before the capture.
    pub(super) fn is_established(&self) -> bool {
        !matches!(self.handshake(), Handshake::Unfinished { .. })
    }

    /// Whether a SYN with this number begins another connection between the same ends.
    pub(super) fn is_another(&self, segment: &Segment, from: usize) -> bool {
        let own = &self.directions[from];
        // Both ends may ask at once, so a first SYN of the other end belongs to this one.
        own.place(segment.seq).is_some_and(|place| place != 0 || !own.has_syn())
    }
}

#[cfg(test)]
mod tests;
