//! The promises about every verdict: it is one of the documented ones, it claims no more than its
//! evidence supports, and less evidence never makes it more certain. Tests and fuzzers check it on
//! their own evidence.

use closecall::machine::close::{Certainty, Evidence, Initiator, Kind, Level, classify};
use closecall::machine::errno::Meaning;

/// The verdict on this evidence is whole and claims no more than is known.
pub(crate) fn hold(evidence: &Evidence) {
    is_whole(evidence);
    claims_no_more_than_arrived(evidence);
    knows_no_better_without_a_fact(evidence);
    what_is_certain_stands(evidence);
}

/// Each fact less makes no verdict surer, whichever are missing already.
pub(crate) fn hold_with_less(evidence: &Evidence) {
    for subset in 0..1 << REMOVALS.len() {
        let mut rest = *evidence;
        for (index, (_, remove)) in REMOVALS.iter().enumerate() {
            if subset & (1 << index) != 0 {
                remove(&mut rest);
            }
        }
        knows_no_better_without_a_fact(&rest);
    }
}

/// What is said of each kind, as people may rely on it: name, status, initiator, level.
pub(crate) const PROMISED: &[(&str, u8, Initiator, Level)] = &[
    ("peer_fin.delivered", 1, Initiator::Peer, Level::Info),
    ("peer_fin.half_close_served", 1, Initiator::Peer, Level::Info),
    ("peer_fin.probe", 1, Initiator::Peer, Level::Debug),
    ("peer_fin.reply_refused", 1, Initiator::Peer, Level::Info),
    ("peer_fin.reply_discarded", 1, Initiator::Peer, Level::Info),
    ("peer_fin.unconfirmed", 1, Initiator::Peer, Level::Info),
    ("peer_reset.probe", 1, Initiator::Peer, Level::Debug),
    ("peer_reset.reply_acked", 1, Initiator::Peer, Level::Info),
    ("peer_reset.reply_undelivered", 1, Initiator::Peer, Level::Info),
    ("peer_reset.before_reply", 1, Initiator::Peer, Level::Info),
    ("peer_reset.stale", 1, Initiator::Peer, Level::Info),
    ("timeout.read", 2, Initiator::Local, Level::Info),
    ("timeout.write_stall", 2, Initiator::Local, Level::Info),
    ("timeout.keepalive", 2, Initiator::Network, Level::Info),
    ("timeout.retransmit", 2, Initiator::Network, Level::Warn),
    ("timeout.unreachable", 3, Initiator::Network, Level::Warn),
    ("local_fin.delivered", 0, Initiator::Local, Level::Info),
    ("local_fin.half_close_served", 0, Initiator::Local, Level::Info),
    ("local_fin.refused", 0, Initiator::Local, Level::Info),
    ("local_fin.unconfirmed", 0, Initiator::Local, Level::Info),
    ("local.drain", 0, Initiator::Local, Level::Info),
    ("local.done", 0, Initiator::Local, Level::Info),
    ("local.policy", 3, Initiator::Local, Level::Info),
    ("local.killed", 3, Initiator::Local, Level::Warn),
    ("local.resource", 3, Initiator::Local, Level::Error),
    ("local.network", 3, Initiator::Local, Level::Error),
    ("local.io", 3, Initiator::Unknown, Level::Error),
    ("local_reset.unread", 3, Initiator::Local, Level::Info),
    ("local_reset.aborted", 3, Initiator::Local, Level::Info),
    ("local_reset.stale", 3, Initiator::Local, Level::Info),
    ("local_reset.before_reply", 3, Initiator::Local, Level::Info),
    ("handshake.refused", 3, Initiator::Unknown, Level::Info),
    ("handshake.unanswered", 2, Initiator::Network, Level::Info),
    ("handshake.abandoned", 1, Initiator::Unknown, Level::Info),
    ("open", 3, Initiator::Unknown, Level::Debug),
    ("unseen", 3, Initiator::Unknown, Level::Debug),
];

/// The verdict is one of those that are promised, and its parts fit each other.
fn is_whole(evidence: &Evidence) {
    let verdict = classify(evidence);
    assert_eq!(verdict, classify(evidence), "the same evidence gives the same verdict");
    let kind = verdict.kind;
    let row = PROMISED.iter().find(|row| row.0 == kind.name());
    let row = row.unwrap_or_else(|| panic!("{} is not promised", kind.name()));
    assert_eq!((kind.status(), kind.initiator(), kind.level()), (row.1, row.2, row.3));
    let late = matches!(kind, Kind::PeerFinUnconfirmed | Kind::LocalFinUnconfirmed)
        && evidence.error.is_some_and(|e| e.errno.meaning(evidence.system) == Meaning::TimedOut);
    assert_eq!(verdict.status, if late { 2 } else { row.1 }, "{verdict:?} of {evidence:#?}");
}

/// No peer is reported to have a reply of which bytes are missing, or may be.
fn claims_no_more_than_arrived(evidence: &Evidence) {
    use Kind::*;
    let verdict = classify(evidence);
    let missing = evidence.undelivered > Some(0) || evidence.unsent > 0;
    let unknown = evidence.undelivered.is_none() && evidence.tx > 0;
    let has_it = matches!(
        verdict.kind,
        PeerFinDelivered
            | PeerFinHalfCloseServed
            | PeerFinReplyDiscarded
            | PeerResetReplyAcked
            | LocalFinDelivered
            | LocalFinHalfCloseServed
    );
    assert!(!(has_it && (missing || unknown)), "{verdict:?} of {evidence:#?}");
    let refused = matches!(verdict.kind, PeerFinReplyRefused | PeerResetReplyUndelivered);
    let certain = verdict.certainty == Certainty::Certain;
    assert!(!(refused && certain && unknown), "{verdict:?} of {evidence:#?}");
}

/// A fact that a system may not tell, and its removal. What we did ourselves is always known.
type Removal = (&'static str, fn(&mut Evidence));

const REMOVALS: &[Removal] = &[
    ("fin_received", |e| e.fin_received = None),
    ("undelivered", |e| e.undelivered = None),
    ("fin_acknowledged", |e| e.fin_acknowledged = false),
    ("unread", |e| e.unread = None),
    ("retransmits", |e| e.retransmits = None),
    ("probes", |e| e.probes = None),
    ("last_ack_ms", |e| e.last_ack_ms = None),
];

/// A verdict on less is no surer. A fact at a time is enough where the rest is asked as well.
fn knows_no_better_without_a_fact(evidence: &Evidence) {
    if evidence.undelivered.is_some_and(|bytes| u64::from(bytes) > evidence.tx) {
        return; // more than was ever sent: without that claim a contradiction is gone
    }
    let more = classify(evidence);
    for (fact, remove) in REMOVALS {
        let mut rest = *evidence;
        remove(&mut rest);
        let less = classify(&rest);
        let surer = less.certainty > more.certainty;
        assert!(!surer, "without {fact}: {less:?}, with it: {more:?}, of {evidence:#?}");
    }
}

/// What an unknown fact may turn out to be; false if it is known.
type Finding = (&'static str, fn(&mut Evidence) -> bool);

const FINDINGS: &[Finding] = &[
    ("a FIN", |e| e.fin_received.replace(true).is_none()),
    ("no FIN", |e| e.fin_received.replace(false).is_none()),
    ("all delivered", |e| e.undelivered.replace(0).is_none()),
    ("some undelivered", |e| e.tx >= 5 && e.undelivered.replace(5).is_none()),
    ("no retransmission", |e| e.retransmits.replace(0).is_none()),
    ("retransmissions", |e| e.retransmits.replace(2).is_none()),
    ("no probe", |e| e.probes.replace(0).is_none()),
    ("probes", |e| e.probes.replace(2).is_none()),
    ("unread bytes", |e| e.unread.replace(5).is_none()),
    ("a word just now", |e| e.last_ack_ms.replace(0).is_none()),
    ("no word for long", |e| e.last_ack_ms.replace(60_000).is_none()),
];

/// What is certain stays so, whatever else is learnt.
fn what_is_certain_stands(evidence: &Evidence) {
    let before = classify(evidence);
    for (finding, learn) in FINDINGS {
        let mut more = *evidence;
        if before.certainty == Certainty::Certain && learn(&mut more) {
            let after = classify(&more);
            assert_eq!(before, after, "before and after {finding}: {evidence:#?}");
        }
    }
}
