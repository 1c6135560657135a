//! The decision table between evidence and verdict.

#[cfg(test)]
mod tests;

use super::super::errno::{Meaning, System};
use super::evidence::{Evidence, FirstError, LocalCause};
use super::verdict::{Certainty, Kind, Verdict};
use Certainty::{Certain, Likely, Unknown};

/// Says how a connection ended. Pure and total: the same evidence gives the same verdict, and any
/// evidence gives one.
///
/// Rows are asked from the top; the first that fits decides. U is
/// [`undelivered`](Evidence::undelivered); after an error it is 0 where nothing was ever sent.
///
/// | we moved first | error | FIN | and | verdict |
/// |---|---|---|---|---|
/// | read deadline | any | any | | `timeout.read` |
/// | write deadline | any | any | | `timeout.write_stall` |
/// | drain, or its end | any | any | | `local.drain` |
/// | limit, greatest age | any | any | | `local.policy` |
/// | register failed | any | any | | `local.resource` |
/// | closed | reset | any | | `local_fin.refused` |
/// | closed | none, timeout, unreachable | any | U > 0, unknown, unsent | `local_fin.unconfirmed` |
/// | closed | none, timeout, unreachable | yes | it sent on | `local_fin.half_close_served` |
/// | closed | none, timeout, unreachable | any | else | `local_fin.delivered` |
/// | closed | other | any | | as where we did not move first |
/// | no | killed here | any | | `local.killed` |
/// | no | network down | any | | `local.network` |
/// | no | no memory, no files | any | | `local.resource` |
/// | no | reset | yes | no byte either way | `peer_fin.probe` |
/// | no | reset | yes | U 0, unsent 0, sent before, our FIN open, late | `peer_fin.delivered` |
/// | no | reset | yes | U 0, nothing unsent | `peer_fin.reply_discarded` |
/// | no | reset | yes | else | `peer_fin.reply_refused` |
/// | no | reset | no | retransmitting, or probing with U 0 | `peer_reset.stale` |
/// | no | reset | no | no byte either way | `peer_reset.probe` |
/// | no | reset | no | U > 0 or unknown | `peer_reset.reply_undelivered` |
/// | no | reset | no | nothing sent of what was owed | `peer_reset.before_reply` |
/// | no | reset | no | not all sent of what was owed | `peer_reset.reply_undelivered` |
/// | no | reset | no | else | `peer_reset.reply_acked` |
/// | no | timeout | no | U > 0 or unknown, or retransmitting | `timeout.retransmit` |
/// | no | timeout | no | else | `timeout.keepalive` |
/// | no | unreachable | no | | `timeout.unreachable` |
/// | no | other | any | | `local.io` |
/// | no | none, timeout, unreachable | yes | no byte either way | `peer_fin.probe` |
/// | no | none, timeout, unreachable | yes | U > 0, unknown or unsent | `peer_fin.unconfirmed` |
/// | no | none, timeout, unreachable | yes | we sent after it | `peer_fin.half_close_served` |
/// | no | none, timeout, unreachable | yes | else | `peer_fin.delivered` |
/// | no | none | no | | `local.io` |
///
/// "Closed": our FIN came first, for no other reason. "Sent on": the peer, when it had that FIN.
/// That is certain of bytes that came after its acknowledgement, and likely of those that came
/// between the two. What lay in the receive queue at our FIN was sent before.
/// "Sent before" is before the peer's FIN. "Late" is long after the peer's last acknowledgement,
/// which its FIN is too: a peer that has closed forgets the connection when its FIN_WAIT_2 is over,
/// and only then does it answer our FIN with a reset although it has read everything.
///
/// A FIN of which nothing is known is "no" here. Certainty then says what that costs: taking a fact
/// away never makes a verdict more certain, and what is certain stands whatever the facts that are
/// missing turn out to be. So a verdict on a reply is [`Unknown`] where U is, and one that a hidden
/// FIN would change is not [`Certain`].
///
/// A reason of ours that begins with our FIN is likely, not certain, where our FIN never went out
/// and nothing is known of the peer's: its end may have been first.
///
/// A peer may delay its acknowledgement, and a reset takes that with it: what U counts may have
/// arrived all the same. Where bytes never left our socket, or none was ever acknowledged, U is
/// believed; elsewhere a loss is likely, not certain.
///
/// `local.killed` is certain on Linux, which keeps ECONNABORTED for that, and likely on macOS and
/// the BSDs, which do not. On a system without a table of its own ([`System::OtherUnix`]) no error
/// makes a verdict certain.
///
/// "Delivered" means that the peer's TCP acknowledged every byte. That its program read them can be
/// told only where a peer resets on unread data (Linux, macOS, Windows).
///
/// ```
/// use closecall::machine::close::{classify, Certainty, Evidence, Kind};
/// use closecall::machine::errno::System;
///
/// let mut evidence = Evidence::nothing(System::Linux);
/// evidence.fin_received = Some(true);
/// (evidence.rx, evidence.tx) = (14, 37);
/// (evidence.undelivered, evidence.fin_acknowledged) = (Some(0), true);
/// let verdict = classify(&evidence);
/// assert_eq!((verdict.kind, verdict.certainty), (Kind::PeerFinDelivered, Certainty::Certain));
/// ```
pub fn classify(evidence: &Evidence) -> Verdict {
    match evidence.cause {
        Some(LocalCause::Close) => {
            let verdict = after_our_fin(evidence);
            let is_vague = evidence.system == System::OtherUnix && evidence.error.is_some();
            let most = if is_vague { Likely } else { Certain };
            return Verdict { certainty: verdict.certainty.min(most), ..verdict };
        }
        Some(cause) => {
            let may_be_second = cause.begins_with_fin() && !evidence.fin_sent;
            let is_vague = may_be_second && evidence.fin_received.is_none();
            return verdict(by_us(cause), if is_vague { Likely } else { Certain });
        }
        None => {}
    }
    let fin = evidence.fin_received;
    match (evidence.error, fin) {
        (Some(error), _) if evidence.system == System::OtherUnix => {
            let verdict = by_error(evidence, error);
            Verdict { certainty: verdict.certainty.min(Likely), ..verdict }
        }
        (Some(error), _) => by_error(evidence, error),
        (None, Some(true)) => after_fin(evidence),
        // Neither side ended it and yet it has ended. The loop has no such path; say so rather than
        // guess.
        (None, _) => verdict(Kind::LocalIo, Unknown),
    }
}

fn verdict(kind: Kind, certainty: Certainty) -> Verdict {
    Verdict { kind, status: kind.status(), certainty }
}

fn by_us(cause: LocalCause) -> Kind {
    match cause {
        LocalCause::ReadDeadline => Kind::TimeoutRead,
        LocalCause::WriteDeadline => Kind::TimeoutWriteStall,
        LocalCause::Drain | LocalCause::CutOff => Kind::LocalDrain,
        LocalCause::Policy | LocalCause::MaxAge => Kind::LocalPolicy,
        LocalCause::Resource => Kind::LocalResource,
        LocalCause::Close => Kind::LocalFinUnconfirmed,
    }
}

fn by_error(evidence: &Evidence, error: FirstError) -> Verdict {
    let fin = evidence.fin_received == Some(true);
    match error.errno.meaning(evidence.system) {
        Meaning::Killed if evidence.system.is_linux() => verdict(Kind::LocalKilled, Certain),
        // macOS and the BSDs give this number on other occasions as well.
        Meaning::Killed => verdict(Kind::LocalKilled, Likely),
        Meaning::NetworkDown => verdict(Kind::LocalNetwork, Certain),
        Meaning::NoMemory | Meaning::NoFiles => verdict(Kind::LocalResource, Certain),
        Meaning::Reset if fin => reset_after_fin(evidence),
        Meaning::Reset => reset_without_fin(evidence),
        Meaning::TimedOut if fin => match after_fin(evidence) {
            // The FIN came, and then what we still sent was not acknowledged.
            late if late.kind == Kind::PeerFinUnconfirmed => Verdict { status: 2, ..late },
            verdict => verdict,
        },
        Meaning::Unreachable if fin => after_fin(evidence),
        Meaning::TimedOut => timed_out(evidence),
        Meaning::Unreachable => verdict(Kind::TimeoutUnreachable, certain_if_no_fin(evidence)),
        Meaning::Aborted | Meaning::NotConnected | Meaning::Other => {
            verdict(Kind::LocalIo, Unknown)
        }
    }
}

/// No byte either way.
fn is_silent(evidence: &Evidence) -> bool {
    evidence.rx == 0 && evidence.tx == 0
}

/// What the peer's TCP has not acknowledged. Of nothing sent that is 0,
/// also where the system does not tell.
fn undelivered(evidence: &Evidence) -> Option<u32> {
    evidence.undelivered.or((evidence.tx == 0).then_some(0))
}

/// The peer does not answer any more. Whether there was a FIN before that is known only where the
/// system counts bytes; if there was, the reply is delivered or else unconfirmed.
fn certain_if_no_fin(evidence: &Evidence) -> Certainty {
    match evidence.fin_received {
        Some(_) => Certain,
        None if is_silent(evidence) => Likely,
        None if evidence.undelivered == Some(0) && evidence.unsent == 0 => Likely,
        None => Unknown,
    }
}

/// The shortest FIN_WAIT_2 of a peer that is taken for one that had expired, in milliseconds. Linux
/// keeps a closed socket in it for 60 s unless it is told otherwise (tcp(7), tcp_fin_timeout), and
/// no round trip is as long as this.
const FIN_WAIT_2_MS_MIN: u32 = 3_000;

fn reset_after_fin(evidence: &Evidence) -> Verdict {
    let open_fin = evidence.fin_sent && !evidence.fin_acknowledged;
    let expired = evidence.last_ack_ms.is_some_and(|ms| ms >= FIN_WAIT_2_MS_MIN);
    match undelivered(evidence) {
        _ if is_silent(evidence) => verdict(Kind::PeerFinProbe, Certain),
        Some(0) if evidence.unsent > 0 => verdict(Kind::PeerFinReplyRefused, Certain),
        // The reply was acknowledged, and only our FIN met a reset, long after the peer's last
        // word. A peer that sent its FIN after the reply is gone for good then: its FIN_WAIT_2 had
        // expired. A half-closer that has read its reply is there to take our FIN, as a rule. A
        // reset right behind the FIN is a program that shut down, and closed over an unread reply.
        Some(0) if open_fin && expired && !evidence.sent_after_fin => {
            verdict(Kind::PeerFinDelivered, Likely)
        }
        Some(0) => verdict(Kind::PeerFinReplyDiscarded, Likely),
        // The first reply of a connection is acknowledged as soon as it arrives.
        Some(bytes) if evidence.unsent > 0 || u64::from(bytes) >= evidence.tx => {
            verdict(Kind::PeerFinReplyRefused, Certain)
        }
        Some(_) => verdict(Kind::PeerFinReplyRefused, Likely),
        None => verdict(Kind::PeerFinReplyRefused, Unknown),
    }
}

fn reset_without_fin(evidence: &Evidence) -> Verdict {
    let undelivered = undelivered(evidence);
    // A window of zero is probed as well, and a peer that is there does not answer every probe.
    // Keepalive probes only where nothing is under way.
    let probing =
        evidence.probes.map(|probes| probes > 0 && undelivered.is_none_or(|bytes| bytes == 0));
    let stale = match (evidence.retransmits, probing) {
        (Some(retransmits), Some(probing)) => Some(retransmits > 0 || probing),
        (one, other) => (one.unwrap_or(0) > 0 || other == Some(true)).then_some(true),
    };
    // A reset may be stale, or hide a FIN, where the system does not count: likely is all, then.
    let certainty = match (undelivered, stale, evidence.fin_received) {
        (None, ..) => Unknown,
        (_, Some(false), Some(_)) => Certain,
        _ => Likely,
    };
    match undelivered {
        _ if stale == Some(true) => verdict(Kind::PeerResetStale, certainty),
        _ if is_silent(evidence) => verdict(Kind::PeerResetProbe, certainty),
        Some(1..) if evidence.unsent == 0 => {
            verdict(Kind::PeerResetReplyUndelivered, Likely.min(certainty))
        }
        None | Some(1..) => verdict(Kind::PeerResetReplyUndelivered, certainty),
        _ if evidence.unsent > 0 && evidence.reply_untouched => {
            verdict(Kind::PeerResetBeforeReply, certainty)
        }
        _ if evidence.unsent > 0 => verdict(Kind::PeerResetReplyUndelivered, certainty),
        _ => verdict(Kind::PeerResetReplyAcked, certainty),
    }
}

fn timed_out(evidence: &Evidence) -> Verdict {
    let certainty = certain_if_no_fin(evidence);
    match (undelivered(evidence), evidence.retransmits) {
        (_, Some(1..)) => verdict(Kind::TimeoutRetransmit, certainty),
        // A peer with a window of zero may be there and answer: TCP_USER_TIMEOUT ends it, too.
        (Some(1..), _) => verdict(Kind::TimeoutRetransmit, Likely.min(certainty)),
        (Some(0), Some(0)) if evidence.probes.unwrap_or(0) > 0 => {
            verdict(Kind::TimeoutKeepalive, certainty)
        }
        (Some(0), _) => verdict(Kind::TimeoutKeepalive, Likely.min(certainty)),
        (None, _) => verdict(Kind::TimeoutRetransmit, Unknown),
    }
}

/// Our FIN came first, and nothing but the wish to close was behind it.
fn after_our_fin(evidence: &Evidence) -> Verdict {
    let meaning = evidence.error.map(|error| error.errno.meaning(evidence.system));
    let status = if meaning == Some(Meaning::TimedOut) { 2 } else { 0 };
    // Until the peer's FIN a reset may still come and say that it was not read.
    let both = evidence.fin_acknowledged && evidence.fin_received == Some(true);
    let certainty = if both { Certain } else { Likely };
    let sent_on = evidence.received_after_fin;
    match (meaning, undelivered(evidence)) {
        (Some(Meaning::Reset), _) => verdict(Kind::LocalFinRefused, Certain),
        (None | Some(Meaning::TimedOut | Meaning::Unreachable), undelivered) => match undelivered {
            Some(0) if evidence.unsent == 0 => match sent_on {
                Some(sure @ (Certain | Likely)) if both => {
                    verdict(Kind::LocalFinHalfCloseServed, sure)
                }
                Some(Unknown) => verdict(Kind::LocalFinDelivered, Likely),
                _ => verdict(Kind::LocalFinDelivered, certainty),
            },
            _ => Verdict { status, ..verdict(Kind::LocalFinUnconfirmed, Unknown) },
        },
        (Some(_), _) => classify(&Evidence { cause: None, ..*evidence }),
    }
}

/// The peer's FIN, no reset, and whatever the wait has shown.
fn after_fin(evidence: &Evidence) -> Verdict {
    // Until our FIN is acknowledged a reset may still come and say that the reply was discarded.
    let certainty = if evidence.fin_acknowledged { Certain } else { Likely };
    match evidence.undelivered {
        _ if is_silent(evidence) => verdict(Kind::PeerFinProbe, Certain),
        Some(0) if evidence.unsent > 0 => verdict(Kind::PeerFinUnconfirmed, Unknown),
        Some(0) if evidence.sent_after_fin => verdict(Kind::PeerFinHalfCloseServed, certainty),
        Some(0) => verdict(Kind::PeerFinDelivered, certainty),
        Some(_) | None => verdict(Kind::PeerFinUnconfirmed, Unknown),
    }
}
