//! The decision table between evidence and verdict.

use super::super::errno::Meaning;
use super::evidence::{Evidence, FirstError, LocalCause};
use super::verdict::{Certainty, Kind, Verdict};
use Certainty::{Certain, Likely, Unknown};

/// Says how a connection ended. Pure and total: the same evidence gives the same verdict, and any
/// evidence gives one.
///
/// Rows are asked from the top; the first that fits decides. U is
/// [`undelivered`](Evidence::undelivered).
///
/// | we moved first | error | FIN | and | verdict |
/// |---|---|---|---|---|
/// | read deadline | any | any | | `timeout.read` |
/// | write deadline | any | any | | `timeout.write_stall` |
/// | drain | any | any | | `local.drain` |
/// | limit | any | any | | `local.policy` |
/// | watch failed | any | any | | `local.resource` |
/// | no | killed here | any | | `local.killed` |
/// | no | network down | any | | `local.network` |
/// | no | no memory | any | | `local.resource` |
/// | no | reset | yes | no byte either way | `peer_fin.probe` |
/// | no | reset | yes | U 0, only our FIN is open | `peer_fin.delivered` |
/// | no | reset | yes | U 0, nothing unsent | `peer_fin.reply_discarded` |
/// | no | reset | yes | else | `peer_fin.reply_refused` |
/// | no | timeout, unreachable | yes | | `peer_fin.unconfirmed` |
/// | no | reset | no | retransmitting or probing | `peer_reset.stale` |
/// | no | reset | no | nothing read | `peer_reset.probe` |
/// | no | reset | no | U > 0 or unknown | `peer_reset.reply_undelivered` |
/// | no | reset | no | nothing sent of what was owed | `peer_reset.before_reply` |
/// | no | reset | no | else | `peer_reset.reply_acked` |
/// | no | timeout | no | U > 0 or retransmitting | `timeout.retransmit` |
/// | no | timeout | no | else | `timeout.keepalive` |
/// | no | unreachable | no | | `timeout.unreachable` |
/// | no | other | any | | `local.io` |
/// | no | none | yes | no byte either way | `peer_fin.probe` |
/// | no | none | yes | U > 0, unknown or unsent | `peer_fin.unconfirmed` |
/// | no | none | yes | we sent after it | `peer_fin.half_close_served` |
/// | no | none | yes | else | `peer_fin.delivered` |
/// | no | none | no | | `local.io` |
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
    if let Some(cause) = evidence.cause {
        return verdict(by_us(cause), Certain);
    }
    let fin = evidence.fin_received;
    match (evidence.error, fin) {
        (Some(error), _) => by_error(evidence, error),
        (None, Some(true)) => after_fin(evidence),
        // Nobody ended it and yet it is over. The loop has no such path; say so rather than guess.
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
        LocalCause::Drain => Kind::LocalDrain,
        LocalCause::Policy => Kind::LocalPolicy,
        LocalCause::Resource => Kind::LocalResource,
    }
}

fn by_error(evidence: &Evidence, error: FirstError) -> Verdict {
    let fin = evidence.fin_received == Some(true);
    match error.errno.meaning(evidence.system) {
        Meaning::Killed => verdict(Kind::LocalKilled, Certain),
        Meaning::NetworkDown => verdict(Kind::LocalNetwork, Certain),
        Meaning::NoMemory | Meaning::NoFiles => verdict(Kind::LocalResource, Certain),
        Meaning::Reset if fin => reset_after_fin(evidence),
        Meaning::Reset => reset_without_fin(evidence),
        Meaning::TimedOut if fin => {
            // The FIN came, and then nobody acknowledged what we still had to say.
            Verdict { status: 2, ..verdict(Kind::PeerFinUnconfirmed, Unknown) }
        }
        Meaning::Unreachable if fin => verdict(Kind::PeerFinUnconfirmed, Unknown),
        Meaning::TimedOut => timed_out(evidence),
        Meaning::Unreachable => verdict(Kind::TimeoutUnreachable, certain_if_no_fin(evidence)),
        Meaning::Aborted | Meaning::NotConnected | Meaning::Other => {
            verdict(Kind::LocalIo, Unknown)
        }
    }
}

/// Whether there was a FIN is known only where the system counts bytes.
fn certain_if_no_fin(evidence: &Evidence) -> Certainty {
    if evidence.fin_received.is_some() { Certain } else { Likely }
}

fn reset_after_fin(evidence: &Evidence) -> Verdict {
    let open_fin = evidence.fin_sent && !evidence.fin_acknowledged;
    match evidence.undelivered {
        _ if evidence.rx == 0 && evidence.tx == 0 => verdict(Kind::PeerFinProbe, Certain),
        Some(0) if evidence.unsent > 0 => verdict(Kind::PeerFinReplyRefused, Certain),
        // The reply was acknowledged, our FIN found nobody: the peer had gone for good by then.
        Some(0) if open_fin => verdict(Kind::PeerFinDelivered, Likely),
        Some(0) => verdict(Kind::PeerFinReplyDiscarded, Certain),
        Some(_) => verdict(Kind::PeerFinReplyRefused, Certain),
        None => verdict(Kind::PeerFinReplyRefused, Unknown),
    }
}

fn reset_without_fin(evidence: &Evidence) -> Verdict {
    let stale = match (evidence.retransmits, evidence.probes) {
        (Some(retransmits), Some(probes)) => Some(retransmits > 0 || probes > 0),
        (one, other) => (one.unwrap_or(0) > 0 || other.unwrap_or(0) > 0).then_some(true),
    };
    // A reset may be stale, or hide a FIN, where the system does not count: likely is all, then.
    let certainty = stale.map_or(Likely, |_| certain_if_no_fin(evidence));
    match evidence.undelivered {
        _ if stale == Some(true) => verdict(Kind::PeerResetStale, Likely.min(certainty)),
        _ if evidence.rx == 0 => verdict(Kind::PeerResetProbe, certainty),
        None if evidence.tx > 0 => verdict(Kind::PeerResetReplyUndelivered, Unknown),
        Some(1..) => verdict(Kind::PeerResetReplyUndelivered, certainty),
        _ if evidence.unsent > 0 && evidence.reply_untouched => {
            verdict(Kind::PeerResetBeforeReply, certainty)
        }
        _ if evidence.unsent > 0 => verdict(Kind::PeerResetReplyUndelivered, certainty),
        _ => verdict(Kind::PeerResetReplyAcked, certainty),
    }
}

fn timed_out(evidence: &Evidence) -> Verdict {
    let retransmitting = evidence.retransmits.unwrap_or(0) > 0;
    match evidence.undelivered {
        Some(1..) => verdict(Kind::TimeoutRetransmit, certain_if_no_fin(evidence)),
        _ if retransmitting => verdict(Kind::TimeoutRetransmit, certain_if_no_fin(evidence)),
        Some(0) if evidence.probes.unwrap_or(0) > 0 => {
            verdict(Kind::TimeoutKeepalive, certain_if_no_fin(evidence))
        }
        Some(0) => verdict(Kind::TimeoutKeepalive, Likely),
        None => verdict(Kind::TimeoutRetransmit, Unknown),
    }
}

/// The orderly end: a FIN, no error, and whatever the wait has shown.
fn after_fin(evidence: &Evidence) -> Verdict {
    // Until our FIN is acknowledged a reset may still come and say that the reply was discarded.
    let certainty = if evidence.fin_acknowledged { Certain } else { Likely };
    match evidence.undelivered {
        _ if evidence.rx == 0 && evidence.tx == 0 => verdict(Kind::PeerFinProbe, Certain),
        Some(0) if evidence.unsent > 0 => verdict(Kind::PeerFinUnconfirmed, Unknown),
        Some(0) if evidence.sent_after_fin => verdict(Kind::PeerFinHalfCloseServed, certainty),
        Some(0) => verdict(Kind::PeerFinDelivered, certainty),
        Some(_) | None => verdict(Kind::PeerFinUnconfirmed, Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::errno::{Errno, System};
    use super::super::evidence::Via;
    use super::*;

    /// What was seen at the end of a connection, on Linux, where everything can be seen.
    fn seen(change: impl Fn(&mut Evidence)) -> Evidence {
        let mut evidence = Evidence {
            fin_received: Some(false),
            rx: 14,
            tx: 37,
            undelivered: Some(0),
            unread: Some(0),
            retransmits: Some(0),
            probes: Some(0),
            ..Evidence::nothing(System::Linux)
        };
        change(&mut evidence);
        evidence
    }

    fn error(number: i32) -> Option<FirstError> {
        Some(FirstError { errno: Errno(number), via: Via::Recv })
    }

    const ECONNRESET: i32 = 104;
    const EPIPE: i32 = 32;
    const ETIMEDOUT: i32 = 110;

    type Row = (Kind, Certainty, fn(&mut Evidence));

    /// The table above, row by row: what is said, and what was seen.
    const ROWS: &[Row] = &[
        (Kind::TimeoutRead, Certain, |e| e.cause = Some(LocalCause::ReadDeadline)),
        (Kind::TimeoutWriteStall, Certain, |e| e.cause = Some(LocalCause::WriteDeadline)),
        (Kind::LocalPolicy, Certain, |e| e.cause = Some(LocalCause::Policy)),
        (Kind::LocalResource, Certain, |e| e.cause = Some(LocalCause::Resource)),
        (Kind::LocalDrain, Certain, |e| {
            (e.cause, e.error) = (Some(LocalCause::Drain), error(ECONNRESET));
        }),
        (Kind::LocalKilled, Certain, |e| e.error = error(103)),
        (Kind::LocalNetwork, Certain, |e| e.error = error(100)),
        (Kind::LocalResource, Certain, |e| e.error = error(12)),
        (Kind::LocalIo, Unknown, |e| e.error = error(9)),
        (Kind::LocalIo, Unknown, |_| ()),
        (Kind::PeerFinReplyRefused, Certain, |e| {
            (e.error, e.fin_received, e.undelivered) = (error(EPIPE), Some(true), Some(37));
        }),
        (Kind::PeerFinReplyDiscarded, Certain, |e| {
            (e.error, e.fin_received) = (error(EPIPE), Some(true));
        }),
        (Kind::PeerFinDelivered, Likely, |e| {
            (e.error, e.fin_received, e.fin_sent) = (error(ECONNRESET), Some(true), true);
        }),
        (Kind::PeerFinProbe, Certain, |e| {
            (e.error, e.fin_received, e.rx, e.tx) = (error(EPIPE), Some(true), 0, 0);
        }),
        (Kind::PeerFinUnconfirmed, Unknown, |e| {
            (e.error, e.fin_received, e.undelivered) = (error(ETIMEDOUT), Some(true), Some(9));
        }),
        (Kind::PeerResetStale, Likely, |e| {
            (e.error, e.retransmits) = (error(ECONNRESET), Some(2));
        }),
        (Kind::PeerResetProbe, Certain, |e| {
            (e.error, e.rx, e.tx) = (error(ECONNRESET), 0, 0);
        }),
        (Kind::PeerResetReplyUndelivered, Certain, |e| {
            (e.error, e.undelivered) = (error(ECONNRESET), Some(5));
        }),
        (Kind::PeerResetBeforeReply, Certain, |e| {
            (e.error, e.tx, e.unsent, e.reply_untouched) = (error(ECONNRESET), 0, 37, true);
        }),
        (Kind::PeerResetReplyAcked, Certain, |e| e.error = error(ECONNRESET)),
        (Kind::TimeoutRetransmit, Certain, |e| {
            (e.error, e.undelivered) = (error(ETIMEDOUT), Some(37));
        }),
        (Kind::TimeoutKeepalive, Certain, |e| {
            (e.error, e.probes) = (error(ETIMEDOUT), Some(3));
        }),
        (Kind::TimeoutUnreachable, Certain, |e| e.error = error(113)),
        (Kind::PeerFinProbe, Certain, |e| {
            (e.fin_received, e.rx, e.tx) = (Some(true), 0, 0);
        }),
        (Kind::PeerFinUnconfirmed, Unknown, |e| {
            (e.fin_received, e.undelivered) = (Some(true), Some(37));
        }),
        (Kind::PeerFinHalfCloseServed, Certain, |e| {
            (e.fin_received, e.sent_after_fin, e.fin_acknowledged) = (Some(true), true, true);
        }),
        (Kind::PeerFinDelivered, Certain, |e| {
            (e.fin_received, e.fin_acknowledged) = (Some(true), true);
        }),
        (Kind::PeerFinDelivered, Likely, |e| e.fin_received = Some(true)),
    ];

    #[test]
    fn each_row_of_the_table_is_what_is_said() {
        for (index, (kind, certainty, change)) in ROWS.iter().enumerate() {
            let evidence = seen(change);
            let verdict = classify(&evidence);
            assert_eq!(
                (verdict.kind, verdict.certainty),
                (*kind, *certainty),
                "row {index}: {evidence:#?}"
            );
        }
    }

    #[test]
    fn an_unconfirmed_reply_that_timed_out_has_the_status_of_a_timeout() {
        let late = seen(|e| (e.error, e.fin_received) = (error(ETIMEDOUT), Some(true)));
        assert_eq!(classify(&late).status, 2);
        let open = seen(|e| (e.fin_received, e.undelivered) = (Some(true), Some(1)));
        assert_eq!(classify(&open).status, 1);
    }
}
