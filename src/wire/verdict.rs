//! The decision table of the view from outside.

use super::view::{Opening, SeenReset, Sent, Side, View};
use crate::machine::close::{Certainty, Initiator, Kind};
use Certainty::{Certain, Likely, Unknown};

/// How a connection ended, as seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutsideVerdict {
    /// How it ended.
    pub kind: Kind,
    /// The kind's own status, or 2 where what we sent last was retransmitted and never answered.
    pub status: u8,
    /// Which side moved first.
    pub initiator: Initiator,
    /// How sure that is.
    pub certainty: Certainty,
}

/// Says how a connection ended. Pure and total: the same view gives the same verdict, and any view
/// gives one.
///
/// Rows are asked from the top; the first that fits decides. U is what the peer's TCP has not
/// acknowledged of our bytes. "Late" is 3 s or more after the peer's last other segment. "Gave up":
/// our end retransmitted or probed without an answer, and stopped although the capture went on.
///
/// | handshake | reset | FINs | and | verdict |
/// |---|---|---|---|---|
/// | SYN only | by the end that was asked | any | | `handshake.refused` |
/// | SYN only | by the asker | any | | `handshake.abandoned` |
/// | SYN only | none | any | repeated, or the capture went on | `handshake.unanswered` |
/// | SYN-ACK | by the asker | any | | `handshake.abandoned` |
/// | SYN-ACK | by the end that was asked | any | | `handshake.refused` |
/// | SYN-ACK | none | any | repeated, or the capture went on | `handshake.abandoned` |
/// | SYN, SYN-ACK | none | any | else | `open` |
/// | any other | any | any | only one end was seen | `unseen` |
/// | any other | ours | any | probes of ours unanswered, nothing in flight | `timeout.keepalive` |
/// | any other | ours | not ours | it answers a segment | `local_reset.stale` |
/// | any other | ours | any | we sent no byte | `local_reset.before_reply` |
/// | any other | ours | any | the peer's last bytes came after ours, or are unacknowledged | `local_reset.unread` |
/// | any other | ours | any | else | `local_reset.aborted` |
/// | any other | peer's | ours first | | `local_fin.refused` |
/// | any other | peer's | peer's first | no byte either way | `peer_fin.probe` |
/// | any other | peer's | peer's first | U 0, our FIN open, late, nothing sent after its FIN | `peer_fin.delivered` |
/// | any other | peer's | peer's first | U 0 | `peer_fin.reply_discarded` |
/// | any other | peer's | peer's first | else | `peer_fin.reply_refused` |
/// | any other | peer's | none | retransmitting, or probing with U 0 | `peer_reset.stale` |
/// | any other | peer's | none | no byte either way | `peer_reset.probe` |
/// | any other | peer's | none | U > 0 or unknown, or the peer's window is closed | `peer_reset.reply_undelivered` |
/// | any other | peer's | none | the peer's last bytes came after ours | `peer_reset.before_reply` |
/// | any other | peer's | none | else | `peer_reset.reply_acked` |
/// | any other | none | both, peer's first | no byte either way | `peer_fin.probe` |
/// | any other | none | both, peer's first | U > 0 or unknown | `peer_fin.unconfirmed` |
/// | any other | none | both, peer's first | we sent when we had its FIN | `peer_fin.half_close_served` |
/// | any other | none | both, peer's first | else | `peer_fin.delivered` |
/// | any other | none | both or one, ours first | U > 0 or unknown, or our FIN open | `local_fin.unconfirmed` |
/// | any other | none | both, ours first | the peer sent when it had our FIN | `local_fin.half_close_served` |
/// | any other | none | both or one, ours first | else | `local_fin.delivered` |
/// | any other | none | peer's only | U > 0, we gave up | `peer_fin.unconfirmed` |
/// | any other | none | none | we gave up retransmitting | `timeout.retransmit` |
/// | any other | none | none | we gave up probing | `timeout.keepalive` |
/// | any other | none | none, or peer's only | let go while it was open | `unseen` |
/// | any other | none | none, or peer's only | else | `open` |
///
/// No verdict is [`Certain`] unless the handshake was seen; those of `handshake.*` are about one
/// that failed. A capture that misses bytes, a reset that its receiver need not accept, and FINs
/// that crossed each other leave a verdict likely at most. What becomes of the data inside the
/// program is not on the wire: which of the causes a reset of our side had is always likely only.
#[must_use]
pub fn judge(view: &View) -> OutsideVerdict {
    if let Opening::Unfinished { by, is_answered, is_repeated } = view.opening {
        return unfinished(view, by, is_answered, is_repeated);
    }
    if !view.ours.is_seen || !view.peer.is_seen {
        return says(Kind::Unseen, Unknown);
    }
    let verdict = match view.reset {
        Some(reset) if reset.by == Side::Ours => our_reset(view, reset),
        Some(reset) => peer_reset(view, reset),
        None => without_reset(view),
    };
    let is_gapless = view.ours.missing == 0 && view.peer.missing == 0;
    let is_exact = view.reset.is_none_or(|reset| reset.is_exact);
    let is_whole = view.opening == Opening::Completed && is_gapless && is_exact;
    let most = if is_whole && !view.fins_crossed { Certain } else { Likely };
    OutsideVerdict { certainty: verdict.certainty.min(most), ..verdict }
}

fn says(kind: Kind, certainty: Certainty) -> OutsideVerdict {
    OutsideVerdict { kind, status: kind.status(), initiator: kind.initiator(), certainty }
}

fn by(side: Side) -> Initiator {
    match side {
        Side::Ours => Initiator::Local,
        Side::Peer => Initiator::Peer,
    }
}

fn unfinished(view: &View, asker: Side, is_answered: bool, is_repeated: bool) -> OutsideVerdict {
    let (kind, initiator) = match view.reset {
        Some(reset) if reset.by == asker => (Kind::HandshakeAbandoned, by(asker)),
        Some(reset) => (Kind::HandshakeRefused, by(reset.by)),
        None if !is_repeated && !view.is_outlasted => return says(Kind::Open, Unknown),
        None if is_answered => (Kind::HandshakeAbandoned, Initiator::Unknown),
        None => (Kind::HandshakeUnanswered, Initiator::Network),
    };
    let certainty = match view.reset {
        Some(reset) if reset.is_exact => Certain,
        Some(_) => Likely,
        // An end does not repeat its SYN if it has the answer. The acknowledgement of a SYN-ACK may
        // have been lost behind the capture.
        None if is_repeated && !is_answered => Certain,
        None => Likely,
    };
    OutsideVerdict { initiator, ..says(kind, certainty) }
}

/// No byte either way.
fn is_silent(view: &View) -> bool {
    view.ours.bytes == 0 && view.peer.bytes == 0
}

/// What the peer has not acknowledged: of nothing sent that is 0.
fn undelivered(ours: &Sent) -> Option<u64> {
    ours.undelivered.or((ours.bytes == 0).then_some(0))
}

fn our_reset(view: &View, reset: SeenReset) -> OutsideVerdict {
    let View { ours, peer, .. } = view;
    let is_peer_unanswered = peer.bytes > 0 && !ours.has_last_word;
    let is_peer_unacknowledged = peer.undelivered.is_some_and(|bytes| bytes > 0);
    if ours.probing > 0 && undelivered(ours) == Some(0) && !reset.is_answer {
        says(Kind::TimeoutKeepalive, Likely)
    } else if reset.is_answer && !ours.fin {
        says(Kind::LocalResetStale, Likely)
    } else if ours.bytes == 0 {
        says(Kind::LocalResetBeforeReply, Certain)
    } else if is_peer_unanswered || is_peer_unacknowledged {
        says(Kind::LocalResetUnread, Likely)
    } else {
        says(Kind::LocalResetAborted, Likely)
    }
}

fn peer_reset(view: &View, reset: SeenReset) -> OutsideVerdict {
    let View { ours, peer, .. } = view;
    match view.first_fin {
        Some(Side::Ours) => return says(Kind::LocalFinRefused, Certain),
        Some(Side::Peer) => return peer_reset_after_its_fin(view, reset),
        None => {}
    }
    let undelivered = undelivered(ours);
    let is_probing = ours.probing > 0 && undelivered == Some(0);
    match undelivered {
        _ if ours.retransmitting > 0 || is_probing => says(Kind::PeerResetStale, Likely),
        _ if is_silent(view) => says(Kind::PeerResetProbe, Certain),
        // An acknowledgement may have been delayed, and the reset takes that with it.
        Some(1..) => says(Kind::PeerResetReplyUndelivered, Likely),
        None => says(Kind::PeerResetReplyUndelivered, Unknown),
        // What we had for it could not be sent, if we had something.
        Some(0) if peer.has_closed_window => says(Kind::PeerResetReplyUndelivered, Likely),
        Some(0) if peer.has_last_word => {
            // Whether a reply was owed is not on the wire.
            let certainty = if ours.bytes == 0 { Certain } else { Likely };
            says(Kind::PeerResetBeforeReply, certainty)
        }
        Some(0) => says(Kind::PeerResetReplyAcked, Certain),
    }
}

fn peer_reset_after_its_fin(view: &View, reset: SeenReset) -> OutsideVerdict {
    let ours = &view.ours;
    let is_fin_open = ours.fin && !ours.fin_acknowledged;
    match undelivered(ours) {
        _ if is_silent(view) => says(Kind::PeerFinProbe, Certain),
        // Its FIN_WAIT_2 was over: only then does a peer that has read everything reset.
        Some(0) if is_fin_open && reset.is_late && !ours.sent_after_fin => {
            says(Kind::PeerFinDelivered, Likely)
        }
        Some(0) => says(Kind::PeerFinReplyDiscarded, Likely),
        // The first reply of a connection is acknowledged as soon as it arrives.
        Some(bytes) if bytes >= ours.bytes => says(Kind::PeerFinReplyRefused, Certain),
        Some(_) => says(Kind::PeerFinReplyRefused, Likely),
        None => says(Kind::PeerFinReplyRefused, Unknown),
    }
}

fn without_reset(view: &View) -> OutsideVerdict {
    let ours = &view.ours;
    match view.first_fin {
        Some(Side::Ours) => our_fin_first(view),
        Some(Side::Peer) if ours.fin => both_fins(view),
        Some(Side::Peer) if undelivered(ours) != Some(0) && ours.gave_up => {
            OutsideVerdict { status: 2, ..says(Kind::PeerFinUnconfirmed, Unknown) }
        }
        None if ours.gave_up && ours.retransmitting > 0 => says(Kind::TimeoutRetransmit, Likely),
        None if ours.gave_up => says(Kind::TimeoutKeepalive, Likely),
        _ if view.is_let_go => says(Kind::Unseen, Unknown),
        _ => says(Kind::Open, Unknown),
    }
}

/// The peer's FIN, and then ours.
fn both_fins(view: &View) -> OutsideVerdict {
    let ours = &view.ours;
    // Until our FIN is acknowledged a reset may still come and say that the reply was discarded.
    let certainty = if ours.fin_acknowledged { Certain } else { Likely };
    match undelivered(ours) {
        _ if is_silent(view) => says(Kind::PeerFinProbe, Certain),
        Some(0) if ours.sent_after_fin => says(Kind::PeerFinHalfCloseServed, certainty),
        Some(0) => says(Kind::PeerFinDelivered, certainty),
        _ => unconfirmed(Kind::PeerFinUnconfirmed, ours),
    }
}

fn our_fin_first(view: &View) -> OutsideVerdict {
    let View { ours, peer, .. } = view;
    let is_whole = undelivered(ours) == Some(0) && ours.fin_acknowledged;
    // Until the peer's FIN a reset may still come and say that it was not read.
    let certainty = if peer.fin { Certain } else { Likely };
    if !is_whole {
        unconfirmed(Kind::LocalFinUnconfirmed, ours)
    } else if peer.fin && peer.sent_after_fin {
        says(Kind::LocalFinHalfCloseServed, certainty)
    } else {
        says(Kind::LocalFinDelivered, certainty)
    }
}

/// No word about the last that we sent.
fn unconfirmed(kind: Kind, ours: &Sent) -> OutsideVerdict {
    let status = if ours.gave_up { 2 } else { kind.status() };
    OutsideVerdict { status, ..says(kind, Unknown) }
}

#[cfg(test)]
mod tests;
