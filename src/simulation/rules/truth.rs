//! What really happened to a connection, against what was said of it.
//!
//! A verdict may know less than the world does. It must not say what is not so, and where the calls
//! have told everything it must say that.

use std::net::SocketAddr;

use crate::kernel::Kernel;
use crate::machine::close::{Kind, LocalCause};
use crate::machine::errno::Meaning;
use crate::machine::packed_address::PackedAddress;
use crate::reactor::Ending;
use crate::simulation::link::Link;
use crate::simulation::world::World;

/// Which part of the evidence is not as it was told.
pub(super) fn wrong_evidence(link: &Link, ending: &Ending) -> Option<&'static str> {
    let (evidence, told) = (&ending.evidence, &link.told);
    // A settled connection is not asked about, because the answer is known: the link must agree.
    let settled = told.fin && evidence.fin_acknowledged && told.facts.is_none();
    let tcp = told.facts.and_then(|facts| facts.tcp);
    let (retransmits, probes) = match settled {
        true => (Some(link.retransmits), Some(link.probes)),
        false => (tcp.and_then(|tcp| tcp.retransmits), tcp.and_then(|tcp| tcp.probes)),
    };
    // What we sent as a FIN on closing plainly came after the evidence.
    let fin_sent = evidence.fin_sent;
    let undelivered = told.unacked.map(|bytes| bytes.saturating_sub(u32::from(fin_sent)));
    let fin_claim_fits = match evidence.fin_received {
        Some(true) => link.up.fin_arrived(),
        Some(false) => !told.fin,
        None => tcp.is_none(),
    };
    let unread = if told.fin { Some(0) } else { told.facts.and_then(|facts| facts.unread) };
    let checks = [
        (evidence.rx == link.model.rx, "rx"),
        (evidence.discarded == link.model.discarded, "discarded"),
        (evidence.tx == link.model.tx, "tx"),
        (evidence.unsent == link.model.pending().len() as u64, "unsent"),
        (evidence.error == told.error, "error"),
        (fin_sent == link.duty.shut_us.is_some(), "fin_sent"),
        (evidence.unread == unread, "unread"),
        (evidence.undelivered == undelivered, "undelivered"),
        (fin_claim_fits, "fin_received"),
        (evidence.retransmits == retransmits, "retransmits"),
        (evidence.probes == probes, "probes"),
        (ending.peer == SocketAddr::from(PackedAddress::from(link.address())), "peer"),
    ];
    checks.into_iter().find(|(right, _)| !right).map(|(_, what)| what)
}

/// What speaks against a verdict.
pub(super) fn contradiction<const LINUX: bool>(
    world: &World<LINUX>,
    link: &Link,
    ending: &Ending,
) -> Option<&'static str> {
    let kind = ending.verdict.kind;
    let meaning = link.told.error.map(|error| error.errno.meaning(World::<LINUX>::SYSTEM));
    // An error or a FIN before ours was out: whatever we were about to do, it was first. Unless the
    // peer had sent more than we had answered by then.
    let evidence = &ending.evidence;
    let pending = !link.model.pending().is_empty();
    let answered = evidence.unread == Some(0) || pending;
    let parted_first = evidence.fin_received == Some(true) && answered;
    let forestalled = (link.told.error.is_some() || parted_first)
        && link.duty.shut_us.is_none()
        && !link.duty.cut_off;
    let parting = |it: &LocalCause| {
        matches!(it, LocalCause::ReadDeadline | LocalCause::MaxAge | LocalCause::Drain)
    };
    let ours = link.duty.cause.filter(|it| !(forestalled && parting(it)));
    let [may_be_old, _] = world.ages(link);
    let over = world.stopping.ends_us().is_some_and(|ends_us| ends_us <= world.clock.seen_us());
    // The loop knew of its FIN when it was asked to stop for the second time.
    let known = link.duty.fin_hinted && world.stopping.is_forced() && !over;
    let fits = match kind {
        // Where both have come in the same moment, either will do.
        Kind::TimeoutRead if link.duty.silent && may_be_old => ours.is_some(),
        Kind::TimeoutRead => ours == Some(LocalCause::ReadDeadline),
        Kind::LocalDrain if known && forestalled => false,
        // What an event had told of may have been wrong, or come after the end of the drain.
        Kind::LocalDrain if link.duty.hinted => link.duty.cause == Some(LocalCause::Drain),
        Kind::LocalDrain => [ours, link.duty.leaving].contains(&Some(LocalCause::Drain)),
        Kind::LocalResource => ours == Some(LocalCause::Resource),
        // It may have begun to leave because of its age, unseen from here, or be silent as well.
        Kind::LocalPolicy => ours == Some(LocalCause::Policy) || (ours.is_some() && may_be_old),
        // A stall in the very moment in which the drain is over.
        Kind::TimeoutWriteStall => ours.is_none_or(|it| it == LocalCause::Drain && pending),
        _ => ours.is_none(),
    };
    if !fits {
        return Some("it ended for another reason");
    }
    match kind {
        Kind::TimeoutWriteStall => unless(pending, "nothing was pending"),
        _ if ours.is_some() || kind == Kind::LocalDrain => None,
        _ => by_peer_fin(link, kind, meaning)
            .or_else(|| by_peer_reset(link, kind, meaning))
            .or_else(|| by_errno(link, kind, meaning)),
    }
}

fn unless(fits: bool, what: &'static str) -> Option<&'static str> {
    (!fits).then_some(what)
}

/// The verdicts that say that the peer's FIN came first, and the case in which one of them must be.
fn by_peer_fin(link: &Link, kind: Kind, meaning: Option<Meaning>) -> Option<&'static str> {
    use Kind::*;
    let unsent = !link.model.pending().is_empty();
    let undelivered = link.down.unacked > 0 || unsent;
    let silent = link.model.rx == 0 && link.model.tx == 0;
    let whole = !link.told.fin || link.model.rx == link.peer.sent;
    let settled = link.told.fin && link.told.unacked == Some(0) && !unsent && meaning.is_none();
    let served = [PeerFinDelivered, PeerFinHalfCloseServed, PeerFinProbe].contains(&kind);
    let refused = [PeerFinReplyRefused, PeerFinReplyDiscarded].contains(&kind);
    let reset = meaning == Some(Meaning::Reset);
    let checks = [
        (settled && !served, "its FIN was read and everything acknowledged"),
        (link.told.fin && meaning.is_none() && !is_peer_fin(kind), "its FIN came first"),
        (reset && kind == PeerFinDelivered, "no FIN_WAIT_2 has expired"),
        (is_peer_fin(kind) && !link.up.fin_arrived(), "no FIN came"),
        (served && undelivered, "the reply was not delivered"),
        (served && !whole, "it was not read to its end"),
        (kind == PeerFinProbe && !silent, "it was no probe"),
        (refused && !reset, "no reset came"),
        (kind == PeerFinReplyDiscarded && undelivered, "the reply was not delivered"),
    ];
    checks.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
}

fn is_peer_fin(kind: Kind) -> bool {
    use Kind::*;
    matches!(
        kind,
        PeerFinDelivered
            | PeerFinHalfCloseServed
            | PeerFinProbe
            | PeerFinReplyRefused
            | PeerFinReplyDiscarded
            | PeerFinUnconfirmed
    )
}

/// The verdicts that say that the peer reset it, and when one of them must be.
fn by_peer_reset(link: &Link, kind: Kind, meaning: Option<Meaning>) -> Option<&'static str> {
    use Kind::*;
    let unsent = !link.model.pending().is_empty();
    let reset = meaning == Some(Meaning::Reset);
    let is_peer_reset = [
        PeerResetProbe,
        PeerResetReplyAcked,
        PeerResetReplyUndelivered,
        PeerResetBeforeReply,
        PeerResetStale,
    ]
    .contains(&kind);
    let checks = [
        (reset && !is_peer_reset && !is_peer_fin(kind), "a reset came"),
        (is_peer_reset && !reset, "no reset came"),
        (is_peer_reset && link.told.fin, "its FIN was read before"),
        (kind == PeerResetProbe && link.model.rx > 0, "it was no probe"),
        (
            kind == PeerResetReplyAcked && (link.down.unacked > 0 || unsent),
            "it was not acknowledged",
        ),
        (kind == PeerResetBeforeReply && !unsent, "nothing was owed"),
        (kind == PeerResetStale && !link.peer.vanished, "the peer was there"),
    ];
    checks.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
}

/// The verdicts that follow from an error number alone.
fn by_errno(link: &Link, kind: Kind, meaning: Option<Meaning>) -> Option<&'static str> {
    let needed = match kind {
        Kind::TimeoutKeepalive | Kind::TimeoutRetransmit => Meaning::TimedOut,
        Kind::TimeoutUnreachable => Meaning::Unreachable,
        Kind::LocalKilled => Meaning::Killed,
        Kind::LocalNetwork => Meaning::NetworkDown,
        Kind::LocalIo => return unless(link.told.error.is_some(), "it ended for no reason"),
        _ => return None,
    };
    unless(meaning == Some(needed), "no call said so")
}
