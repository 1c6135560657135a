//! The decision table, walked row by row.

use super::*;
use crate::machine::close::Via;
use crate::machine::errno::{Errno, System};

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

/// We closed first, and our FIN was acknowledged if there was no error.
fn closes(evidence: &mut Evidence, error: Option<FirstError>, fin_received: Option<bool>) {
    (evidence.cause, evidence.error) = (Some(LocalCause::Close), error);
    (evidence.fin_sent, evidence.fin_acknowledged) = (true, error.is_none());
    evidence.fin_received = fin_received;
}

type Row = (Kind, Certainty, fn(&mut Evidence));

/// The table above, row by row and in its order: what is said, and what was seen.
const ROWS: &[Row] = &[
    (Kind::TimeoutRead, Certain, |e| e.cause = Some(LocalCause::ReadDeadline)),
    (Kind::TimeoutWriteStall, Certain, |e| e.cause = Some(LocalCause::WriteDeadline)),
    (Kind::LocalDrain, Certain, |e| {
        (e.cause, e.error) = (Some(LocalCause::Drain), error(ECONNRESET));
    }),
    (Kind::LocalPolicy, Certain, |e| e.cause = Some(LocalCause::Policy)),
    (Kind::LocalResource, Certain, |e| e.cause = Some(LocalCause::Resource)),
    (Kind::LocalFinRefused, Certain, |e| closes(e, error(ECONNRESET), None)),
    (Kind::LocalFinUnconfirmed, Unknown, |e| {
        closes(e, None, None);
        e.undelivered = Some(5);
    }),
    (Kind::LocalFinUnconfirmed, Unknown, |e| {
        closes(e, error(ETIMEDOUT), None);
        e.undelivered = None;
    }),
    (Kind::LocalFinHalfCloseServed, Certain, |e| {
        closes(e, None, Some(true));
        e.received_after_fin = Some(Certain);
    }),
    (Kind::LocalFinHalfCloseServed, Likely, |e| {
        closes(e, None, Some(true));
        e.received_after_fin = Some(Likely);
    }),
    (Kind::LocalFinDelivered, Likely, |e| {
        closes(e, None, Some(true));
        e.received_after_fin = Some(Unknown);
    }),
    (Kind::LocalFinDelivered, Certain, |e| closes(e, None, Some(true))),
    (Kind::LocalFinDelivered, Likely, |e| closes(e, None, Some(false))),
    (Kind::LocalKilled, Certain, |e| closes(e, error(103), None)),
    (Kind::LocalKilled, Certain, |e| e.error = error(103)),
    (Kind::LocalNetwork, Certain, |e| e.error = error(100)),
    (Kind::LocalResource, Certain, |e| e.error = error(12)),
    (Kind::LocalResource, Certain, |e| e.error = error(24)),
    (Kind::PeerFinProbe, Certain, |e| {
        (e.error, e.fin_received, e.rx, e.tx) = (error(EPIPE), Some(true), 0, 0);
    }),
    (Kind::PeerFinDelivered, Likely, |e| {
        (e.error, e.fin_received, e.fin_sent) = (error(ECONNRESET), Some(true), true);
        e.last_ack_ms = Some(60_000);
    }),
    // A reset right behind the FIN: Java's close() is shutdown(SHUT_WR) and then close(2). Of 3,000
    // such clients that never read, 18 were said to have been served.
    (Kind::PeerFinReplyDiscarded, Likely, |e| {
        (e.error, e.fin_received, e.fin_sent) = (error(ECONNRESET), Some(true), true);
        e.last_ack_ms = Some(1);
    }),
    (Kind::PeerFinReplyDiscarded, Likely, |e| {
        (e.error, e.fin_received, e.fin_sent) = (error(ECONNRESET), Some(true), true);
        e.last_ack_ms = None;
    }),
    (Kind::PeerFinReplyDiscarded, Likely, |e| {
        (e.error, e.fin_received, e.fin_sent) = (error(ECONNRESET), Some(true), true);
        e.sent_after_fin = true;
    }),
    (Kind::PeerFinReplyDiscarded, Likely, |e| {
        (e.error, e.fin_received) = (error(EPIPE), Some(true));
    }),
    (Kind::PeerFinReplyRefused, Certain, |e| {
        (e.error, e.fin_received, e.undelivered) = (error(EPIPE), Some(true), Some(37));
    }),
    (Kind::PeerFinReplyRefused, Likely, |e| {
        (e.error, e.fin_received, e.undelivered) = (error(EPIPE), Some(true), Some(5));
    }),
    (Kind::PeerFinReplyRefused, Certain, |e| {
        (e.error, e.fin_received, e.unsent) = (error(EPIPE), Some(true), 9);
    }),
    (Kind::PeerFinReplyRefused, Certain, |e| {
        (e.error, e.fin_received) = (error(EPIPE), Some(true));
        (e.undelivered, e.unsent) = (Some(5), 9);
    }),
    (Kind::PeerFinReplyRefused, Unknown, |e| {
        (e.error, e.fin_received, e.undelivered) = (error(EPIPE), Some(true), None);
    }),
    (Kind::PeerResetStale, Likely, |e| {
        (e.error, e.retransmits) = (error(ECONNRESET), Some(2));
    }),
    (Kind::PeerResetStale, Likely, |e| {
        (e.error, e.retransmits, e.probes) = (error(ECONNRESET), None, Some(1));
    }),
    (Kind::PeerResetStale, Likely, |e| {
        (e.error, e.retransmits, e.probes) = (error(ECONNRESET), Some(2), None);
    }),
    (Kind::PeerResetStale, Unknown, |e| {
        (e.error, e.retransmits, e.undelivered) = (error(ECONNRESET), Some(2), None);
    }),
    (Kind::PeerResetProbe, Certain, |e| {
        (e.error, e.rx, e.tx) = (error(ECONNRESET), 0, 0);
    }),
    (Kind::PeerResetReplyUndelivered, Certain, |e| {
        (e.error, e.undelivered, e.unsent) = (error(ECONNRESET), Some(5), 9);
    }),
    (Kind::PeerResetReplyUndelivered, Likely, |e| {
        (e.error, e.undelivered, e.probes) = (error(ECONNRESET), Some(5), Some(1));
    }),
    (Kind::PeerResetReplyUndelivered, Likely, |e| {
        (e.error, e.undelivered) = (error(ECONNRESET), Some(5));
    }),
    (Kind::PeerResetReplyUndelivered, Unknown, |e| {
        (e.error, e.undelivered) = (error(ECONNRESET), None);
    }),
    (Kind::PeerResetBeforeReply, Certain, |e| {
        (e.error, e.tx, e.unsent, e.reply_untouched) = (error(ECONNRESET), 0, 37, true);
    }),
    // As on Windows, where nothing is counted: nothing was sent, so nothing is undelivered.
    (Kind::PeerResetBeforeReply, Likely, |e| {
        *e = Evidence { rx: 14, unsent: 37, ..Evidence::nothing(System::Windows) };
        (e.error, e.reply_untouched) = (error(10054), true);
    }),
    (Kind::PeerResetReplyUndelivered, Certain, |e| {
        (e.error, e.unsent) = (error(ECONNRESET), 9);
    }),
    (Kind::PeerResetReplyAcked, Certain, |e| e.error = error(ECONNRESET)),
    // Nothing was owed, so nothing of it was held back.
    (Kind::PeerResetReplyAcked, Certain, |e| {
        (e.error, e.reply_untouched) = (error(ECONNRESET), true);
    }),
    (Kind::PeerResetReplyAcked, Likely, |e| {
        (e.error, e.fin_received) = (error(ECONNRESET), None);
    }),
    (Kind::PeerResetReplyAcked, Likely, |e| {
        (e.error, e.probes) = (error(ECONNRESET), None);
    }),
    (Kind::TimeoutRetransmit, Certain, |e| {
        (e.error, e.undelivered, e.retransmits) = (error(ETIMEDOUT), Some(37), Some(9));
    }),
    (Kind::TimeoutRetransmit, Likely, |e| {
        (e.error, e.undelivered) = (error(ETIMEDOUT), Some(37));
    }),
    (Kind::TimeoutRetransmit, Certain, |e| {
        (e.error, e.undelivered, e.retransmits) = (error(ETIMEDOUT), None, Some(9));
    }),
    (Kind::TimeoutRetransmit, Unknown, |e| {
        (e.error, e.undelivered) = (error(ETIMEDOUT), None);
    }),
    // There may have been a FIN, and the reply would be unconfirmed then.
    (Kind::TimeoutRetransmit, Unknown, |e| {
        (e.error, e.undelivered, e.fin_received) = (error(ETIMEDOUT), Some(37), None);
    }),
    (Kind::TimeoutKeepalive, Certain, |e| {
        (e.error, e.probes) = (error(ETIMEDOUT), Some(3));
    }),
    (Kind::TimeoutKeepalive, Likely, |e| {
        (e.error, e.probes, e.retransmits) = (error(ETIMEDOUT), Some(3), None);
    }),
    (Kind::TimeoutKeepalive, Likely, |e| e.error = error(ETIMEDOUT)),
    (Kind::TimeoutUnreachable, Certain, |e| e.error = error(113)),
    (Kind::TimeoutUnreachable, Likely, |e| {
        (e.error, e.fin_received) = (error(113), None);
    }),
    // Of nothing, nothing is undelivered: with a FIN it would have been a probe, and no more.
    (Kind::TimeoutUnreachable, Likely, |e| {
        (e.error, e.fin_received, e.undelivered) = (error(113), None, None);
        (e.rx, e.tx) = (0, 0);
    }),
    (Kind::LocalIo, Unknown, |e| e.error = error(9)),
    (Kind::PeerFinProbe, Certain, |e| {
        (e.fin_received, e.rx, e.tx) = (Some(true), 0, 0);
    }),
    (Kind::PeerFinProbe, Certain, |e| {
        (e.error, e.fin_received, e.rx, e.tx) = (error(113), Some(true), 0, 0);
    }),
    (Kind::PeerFinUnconfirmed, Unknown, |e| {
        (e.fin_received, e.undelivered) = (Some(true), Some(37));
    }),
    (Kind::PeerFinUnconfirmed, Unknown, |e| {
        (e.fin_received, e.undelivered) = (Some(true), None);
    }),
    (Kind::PeerFinUnconfirmed, Unknown, |e| {
        (e.fin_received, e.unsent) = (Some(true), 9);
    }),
    (Kind::PeerFinUnconfirmed, Unknown, |e| {
        (e.error, e.fin_received, e.undelivered) = (error(ETIMEDOUT), Some(true), Some(9));
    }),
    (Kind::PeerFinUnconfirmed, Unknown, |e| {
        (e.error, e.fin_received, e.undelivered) = (error(113), Some(true), Some(9));
    }),
    (Kind::PeerFinHalfCloseServed, Certain, |e| {
        (e.fin_received, e.sent_after_fin, e.fin_acknowledged) = (Some(true), true, true);
    }),
    (Kind::PeerFinDelivered, Certain, |e| {
        (e.fin_received, e.fin_acknowledged) = (Some(true), true);
    }),
    (Kind::PeerFinDelivered, Likely, |e| e.fin_received = Some(true)),
    // The reply was acknowledged; the peer was gone before our FIN.
    (Kind::PeerFinDelivered, Likely, |e| {
        (e.error, e.fin_received, e.fin_sent) = (error(ETIMEDOUT), Some(true), true);
    }),
    (Kind::LocalIo, Unknown, |_| ()),
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

/// The documented table has a row for each stretch of `ROWS`, and the other way round.
#[test]
fn each_row_that_is_documented_is_walked() {
    let documented: Vec<&str> = include_str!("../classify.rs")
        .lines()
        .filter(|line| line.starts_with("/// | "))
        .filter_map(|line| line.strip_suffix("` |")?.rsplit_once('`'))
        .map(|(_, verdict)| verdict)
        .collect();
    let mut walked: Vec<&str> = ROWS.iter().map(|row| row.0.name()).collect();
    walked.dedup();
    assert_eq!(walked, documented);
    let of_sockets = Kind::all().filter(|kind| !kind.is_from_outside());
    let missing: Vec<_> = of_sockets.filter(|kind| !walked.contains(&kind.name())).collect();
    assert_eq!(missing, [Kind::LocalDone], "only a client has that ending");
}

#[test]
fn an_unconfirmed_reply_that_timed_out_has_the_status_of_a_timeout() {
    let open = seen(|e| (e.fin_received, e.undelivered) = (Some(true), Some(1)));
    assert_eq!(classify(&open).status, 1);
    assert_eq!(classify(&Evidence { error: error(ETIMEDOUT), ..open }).status, 2);
    assert_eq!(classify(&Evidence { error: error(113), ..open }).status, 1);
    let delivered = Evidence { error: error(ETIMEDOUT), undelivered: Some(0), ..open };
    assert_eq!(classify(&delivered).status, 1, "only our FIN was not acknowledged");
}

/// Found by taking facts away from an observer: without the count of bytes the same end was called
/// ours for certain.
#[test]
fn a_reason_of_ours_is_not_certain_where_the_peer_s_fin_may_have_been_first() {
    use LocalCause::{CutOff, Drain, MaxAge, Policy, ReadDeadline, Resource, WriteDeadline};
    for cause in [ReadDeadline, WriteDeadline, Drain, CutOff, Policy, MaxAge, Resource] {
        let certainty = |fin_sent, fin_received| {
            let change = |e: &mut Evidence| {
                (e.cause, e.fin_sent, e.fin_received) = (Some(cause), fin_sent, fin_received);
            };
            classify(&seen(change)).certainty
        };
        let blind = if cause.begins_with_fin() { Likely } else { Certain };
        assert_eq!(certainty(false, None), blind, "{cause:?}");
        assert_eq!(certainty(true, None), Certain, "{cause:?}");
        assert_eq!(certainty(false, Some(false)), Certain, "{cause:?}");
    }
}
