//! One direction of a connection: the stream that one end sends, and how far the other end has it.

use super::parts::Parts;
use super::segment::{Flags, Segment};
use super::sequence::Seq;

/// An acknowledgement that is further ahead than this of what was seen is not believed: no window
/// is larger (RFC 7323, section 2.3).
const WINDOW_MAX: i64 = 1 << 30;

/// When something was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The number of the segment, counted from 1 within its connection.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub at_ns: u64,
}

/// A FIN, when it was first seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fin {
    /// Its place in the stream: one behind the last byte.
    pub place: u64,
    /// When.
    pub moment: Moment,
    /// Its sender had acknowledged the other end's FIN by then.
    pub is_answer: bool,
}

/// Segments and bytes of one end over the whole life of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Segments of any kind.
    pub segments: u64,
    /// Bytes of payload; those that were seen twice count once.
    pub bytes: u64,
    /// Segments that brought nothing but what had been seen before: bytes, a SYN, a FIN.
    pub retransmits: u64,
    /// Segments with new bytes that came behind later ones.
    pub out_of_order: u64,
    /// Segments at SND.NXT-1 while nothing is in flight: keepalive or window probes.
    pub probes: u64,
    /// Segments that closed the window.
    pub zero_windows: u64,
}

/// What the other direction says about a segment of this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// When it was seen.
    pub(super) moment: Moment,
    /// Its sender has acknowledged the other end's FIN.
    pub(super) has_fin: bool,
    /// Both SYNs agreed to scale windows.
    pub(super) is_scaled: bool,
}

/// What one end sends. Places count from its SYN, which is 0; the first byte is 1.
#[derive(Clone, Debug)]
pub struct Direction {
    /// The sequence number of place 0. Without a SYN it is chosen so that the first that is seen or
    /// acknowledged has place 1.
    isn: Option<Seq>,
    /// Its SYN was seen, with this scale.
    syn: Option<Option<u8>>,
    parts: Parts,
    /// One behind the last byte that was seen.
    end: u64,
    fin: Option<Fin>,
    /// SND.UNA: the other end expects this place next. `None` if it never said.
    una: Option<u64>,
    /// It sent something else than a SYN or a reset.
    has_talked: bool,
    /// Its last window, scaled.
    window: Option<u32>,
    totals: Totals,
    /// Retransmissions since the last acknowledgement of something new.
    retransmitting: u32,
    /// Probes since the other end's last segment.
    probing: u32,
    /// When it sent its last segment that was no reset.
    last_talk_ns: u64,
    /// When something that asks for an answer was sent last, and the time from the one before.
    last_sent_ns: u64,
    last_gap_ns: u64,
    /// The number of the segment that brought the last new byte; 0 if none did.
    last_new: u64,
    /// New bytes that it sent after it had acknowledged the other end's FIN.
    after_fin: u64,
}

impl Default for Direction {
    fn default() -> Direction {
        Direction {
            isn: None,
            syn: None,
            parts: Parts::new(),
            end: 1,
            fin: None,
            una: None,
            has_talked: false,
            window: None,
            totals: Totals::default(),
            retransmitting: 0,
            probing: 0,
            last_talk_ns: 0,
            last_sent_ns: 0,
            last_gap_ns: 0,
            last_new: 0,
            after_fin: 0,
        }
    }
}

impl Direction {
    /// Takes a SYN. Gives whether it is the first, or one with another number.
    pub(super) fn takes_syn(&mut self, segment: &Segment, at_ns: u64) -> bool {
        if self.syn.is_some() && self.isn == Some(segment.seq) {
            self.retransmits(at_ns);
            return false;
        }
        self.isn = Some(segment.seq);
        self.syn = Some(segment.scale);
        self.sends(at_ns);
        true
    }

    /// Takes the acknowledgement of the other end.
    pub(super) fn is_acknowledged(&mut self, ack: Seq, is_syn: bool) {
        let isn = *self.isn.get_or_insert(Seq(ack.0.wrapping_sub(1)));
        let place = ack.place(isn, self.una.unwrap_or(1).max(self.end));
        // Behind what was seen only if the capture missed something. A SYN answers a SYN.
        let limit = self.end_with_fin() as i64 + if is_syn { 0 } else { WINDOW_MAX };
        if place < 1 || place > limit {
            return;
        }
        let place = place as u64;
        if self.una.is_none_or(|una| una < place) {
            self.una = Some(place);
            self.retransmitting = 0;
        }
    }

    /// Takes the other end's segment as a sign of life.
    pub(super) fn is_answered(&mut self) {
        self.probing = 0;
    }

    /// Takes what a segment without RST carries.
    pub(super) fn takes(&mut self, segment: &Segment, context: Context) {
        let Context { moment, has_fin, .. } = context;
        let is_syn = segment.flags.has(Flags::SYN);
        self.takes_window(segment, context.is_scaled && !is_syn);
        self.has_talked |= !is_syn;
        self.last_talk_ns = moment.at_ns;
        let begin = Seq(segment.seq.0.wrapping_add(u32::from(is_syn)));
        let isn = *self.isn.get_or_insert(Seq(begin.0.wrapping_sub(1)));
        let from = begin.place(isn, self.end);
        let length = i64::from(segment.payload_bytes);
        let is_fin = segment.flags.has(Flags::FIN);
        if length <= 1 && !is_fin && !is_syn && self.is_probe(from) {
            self.totals.probes += 1;
            self.probing = self.probing.saturating_add(1);
            self.sends(moment.at_ns);
            return;
        }
        if length == 0 && !is_fin {
            return;
        }
        let to = from.saturating_add(length).max(0) as u64;
        let from = from.max(0) as u64;
        let new = self.parts.insert(from, to);
        let is_new_fin = is_fin && self.fin.is_none() && to >= self.end.max(1);
        if new > 0 {
            self.takes_new(new, from, to, moment, has_fin);
        } else if !is_new_fin {
            self.retransmits(moment.at_ns);
        }
        if is_new_fin {
            self.fin = Some(Fin { place: to, moment, is_answer: has_fin });
        }
        if new > 0 || is_new_fin {
            self.sends(moment.at_ns);
        }
    }

    fn takes_new(&mut self, new: u64, from: u64, to: u64, moment: Moment, has_fin: bool) {
        self.totals.bytes += new;
        self.totals.out_of_order += u64::from(from < self.end);
        self.end = self.end.max(to);
        self.last_new = moment.number;
        self.after_fin += if has_fin { new } else { 0 };
    }

    fn takes_window(&mut self, segment: &Segment, is_scaled: bool) {
        self.totals.segments += 1;
        self.totals.zero_windows += u64::from(segment.window == 0);
        let scale = if is_scaled { self.syn.flatten().unwrap_or(0) } else { 0 };
        self.window = Some(u32::from(segment.window) << scale);
    }

    /// Counts a segment that is not looked into further.
    pub(super) fn counts(&mut self) {
        self.totals.segments += 1;
    }

    /// SEG.SEQ is SND.NXT-1, nothing is in flight, and something was sent before.
    fn is_probe(&self, from: i64) -> bool {
        let next = self.end_with_fin();
        from + 1 == next as i64 && self.una == Some(next)
    }

    fn retransmits(&mut self, at_ns: u64) {
        self.totals.retransmits += 1;
        self.retransmitting = self.retransmitting.saturating_add(1);
        self.sends(at_ns);
    }

    fn sends(&mut self, at_ns: u64) {
        self.last_gap_ns = at_ns.saturating_sub(self.last_sent_ns);
        self.last_sent_ns = at_ns;
    }

    /// SND.NXT as far as it was seen, SYN and FIN included.
    pub(super) fn end_with_fin(&self) -> u64 {
        self.end + u64::from(self.fin.is_some_and(|fin| fin.place == self.end))
    }

    /// The place of this number; `None` if nothing was seen to compare it with.
    pub(super) fn place(&self, seq: Seq) -> Option<i64> {
        Some(seq.place(self.isn?, self.end))
    }

    /// SND.UNA.
    pub(super) fn una(&self) -> Option<u64> {
        self.una
    }

    /// Its SYN was seen.
    pub(super) fn has_syn(&self) -> bool {
        self.syn.is_some()
    }

    /// Whether its SYN asked for scaled windows.
    pub(super) fn may_scale(&self) -> bool {
        self.syn.flatten().is_some()
    }

    /// The last window that it offered, in bytes; `None` if it sent nothing but resets.
    pub fn window(&self) -> Option<u32> {
        self.window
    }

    /// It sent something else than a SYN or a reset.
    pub(super) fn has_talked(&self) -> bool {
        self.has_talked
    }

    /// Its FIN.
    pub fn fin(&self) -> Option<Fin> {
        self.fin
    }

    /// Whether its FIN was acknowledged.
    pub fn is_fin_acknowledged(&self) -> bool {
        self.fin.zip(self.una).is_some_and(|(fin, una)| una > fin.place)
    }

    /// Bytes of its stream: those that were seen or acknowledged, and those between them.
    pub fn bytes(&self) -> u64 {
        let fin = u64::from(self.is_fin_acknowledged());
        self.end.max(self.una.unwrap_or(1) - fin) - 1
    }

    /// Bytes that the other end did not acknowledge; `None` if it never acknowledged anything.
    pub fn undelivered(&self) -> Option<u64> {
        Some(self.end.saturating_sub(self.una?))
    }

    /// Bytes that the other end acknowledged and that were not seen: the capture missed them.
    pub fn missing(&self) -> u64 {
        let fin = u64::from(self.is_fin_acknowledged());
        self.parts.missing(self.end.max(self.una.unwrap_or(1) - fin))
    }

    /// Over the whole life.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Retransmissions that were not answered.
    pub fn retransmitting(&self) -> u32 {
        self.retransmitting
    }

    /// Probes that were not answered.
    pub fn probing(&self) -> u32 {
        self.probing
    }

    /// When it last sent something that asks for an answer, and how long after the one before.
    pub(super) fn last_sent(&self) -> (u64, u64) {
        (self.last_sent_ns, self.last_gap_ns)
    }

    /// When it sent its last segment that was no reset.
    pub(super) fn last_talk_ns(&self) -> u64 {
        self.last_talk_ns
    }

    /// The number of the segment that brought its last new byte; 0 if there was none.
    pub(super) fn last_new(&self) -> u64 {
        self.last_new
    }

    /// New bytes that it sent after it had acknowledged the other end's FIN.
    pub fn after_fin(&self) -> u64 {
        self.after_fin
    }
}
