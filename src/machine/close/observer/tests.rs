//! What is latched, what is asked, and in which order.

use std::io;

use super::*;
use crate::machine::close::{Certainty, FirstError, Kind, SocketFacts, TcpFacts};
use crate::machine::errno::{System, table};

const ECONNRESET: i32 = 104;
const EPIPE: i32 = 32;
const WOULD_BLOCK: i32 = 11;

/// A system that writes down what it is asked.
struct Recorded<'a> {
    asked: &'a mut Vec<&'static str>,
    told: Answers,
}

impl Probe for Recorded<'_> {
    fn system(&self) -> System {
        self.told.system()
    }

    fn unacked(&mut self) -> Option<u32> {
        self.asked.push("unacked");
        self.told.unacked()
    }

    fn facts(&mut self) -> SocketFacts {
        self.asked.push("facts");
        self.told.facts()
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.asked.push("error");
        self.told.take_error()
    }
}

fn tells(unacked: u32, received: u64) -> Answers {
    let tcp = TcpFacts { bytes_received: Some(received), ..TcpFacts::default() };
    let facts = SocketFacts { unread: Some(0), tcp: Some(tcp) };
    Answers { system: System::Linux, unacked: Some(unacked), facts, error: None }
}

/// It has received 14 bytes and sent 37.
fn echoed() -> Observer {
    let mut seen = Observer::new();
    seen.received(14);
    seen.sent(37);
    seen
}

fn asked(seen: &mut Observer, told: Answers) -> (Vec<&'static str>, Conclusion) {
    let mut asked = Vec::new();
    let conclusion = seen.conclude(Recorded { asked: &mut asked, told });
    (asked, conclusion)
}

#[test]
fn a_server_keeps_it_for_each_connection_so_it_is_small() {
    assert_eq!(size_of::<Observer>(), 24);
}

#[test]
fn the_first_error_counts_with_the_call_that_gave_it() {
    for system in System::ALL {
        for row in table(system) {
            for via in [Via::Recv, Via::Send, Via::SoError] {
                let mut seen = Observer::new();
                seen.failed(Errno(row.0), via);
                seen.failed(Errno(EPIPE), Via::Recv);
                let first = FirstError { errno: Errno(row.0), via };
                assert_eq!(seen.error.get(), Some(first), "{system:?}");
            }
        }
    }
}

#[test]
fn a_call_that_would_block_or_was_interrupted_says_nothing() {
    let mut seen = Observer::new();
    for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted, io::ErrorKind::Other] {
        seen.read(&Err(kind.into()));
        seen.wrote(&Err(kind.into()));
    }
    assert!(!seen.has_error() && !seen.has_fin() && seen.rx() == 0);
    #[cfg(target_os = "linux")]
    {
        seen.read(&Err(io::Error::from_raw_os_error(WOULD_BLOCK)));
        seen.wrote(&Err(io::Error::from_raw_os_error(105))); // ENOBUFS: short of memory
        assert!(!seen.has_error());
        seen.wrote(&Err(io::Error::from_raw_os_error(ECONNRESET)));
        assert!(seen.has_error());
    }
}

// ---- the order of questions ---------------------------------------------------------------------

#[test]
fn a_settled_connection_is_asked_nothing() {
    let mut seen = echoed();
    seen.received_fin();
    seen.sent_fin();
    assert_eq!(seen.acknowledged(Some(1)), Acknowledged::NoMore);
    assert_eq!(seen.acknowledged(Some(0)), Acknowledged::Settled);
    let (asked, conclusion) = asked(&mut seen, tells(9, 9));
    assert!(asked.is_empty(), "{asked:?}");
    assert_eq!(conclusion.verdict.kind, Kind::PeerFinDelivered);
    assert_eq!(conclusion.verdict.certainty, Certainty::Certain);
}

#[test]
fn so_error_is_asked_last_and_only_where_there_is_reason() {
    let (questions, _) = asked(&mut echoed(), tells(0, 14));
    assert_eq!(questions, ["facts", "unacked"]);

    let mut suspect = echoed();
    suspect.suspects();
    let told = Answers { error: Some(Errno(ECONNRESET)), ..tells(0, 14) };
    let (questions, conclusion) = asked(&mut suspect, told);
    assert_eq!(questions, ["facts", "unacked", "error"]);
    assert_eq!(conclusion.verdict.kind, Kind::PeerResetReplyAcked);
    assert_eq!(conclusion.evidence.error.map(|it| it.via), Some(Via::SoError));

    let mut told = Answers { error: Some(Errno(EPIPE)), ..tells(38, 15) };
    told.facts.tcp.as_mut().unwrap().closed = true; // the state says that it is over
    let mut closed = echoed();
    closed.received_fin();
    closed.sent_fin();
    let (questions, conclusion) = asked(&mut closed, told);
    assert_eq!(questions, ["facts", "unacked", "error"]);
    assert_eq!(conclusion.verdict.kind, Kind::PeerFinReplyRefused);
}

#[test]
fn so_error_is_not_asked_where_a_call_has_handed_out_the_error() {
    let mut seen = echoed();
    seen.suspects();
    seen.failed(Errno(ECONNRESET), Via::Recv);
    let (questions, _) = asked(&mut seen, Answers { error: Some(Errno(EPIPE)), ..tells(0, 14) });
    assert_eq!(questions, ["facts", "unacked"]);
}

// ---- the arithmetic -----------------------------------------------------------------------------

/// It takes one place in the sequence, and TCP_INFO counts it.
#[test]
fn a_fin_that_was_never_read_is_known_by_its_place() {
    for (received, unread, fin) in
        [(14 + 5 + 1, 5, Some(true)), (14 + 5, 5, Some(false)), (14 + 1, 0, Some(true))]
    {
        let mut told = tells(0, received);
        told.facts.unread = Some(unread);
        assert_eq!(echoed().conclude(told).evidence.fin_received, fin, "{received}");
    }
    let (mut no_count, mut no_queue) = (tells(0, 15), tells(0, 15));
    no_count.facts.tcp.as_mut().unwrap().bytes_received = None;
    no_queue.facts.unread = None;
    assert_eq!(echoed().conclude(no_count).evidence.fin_received, None);
    assert_eq!(echoed().conclude(no_queue).evidence.fin_received, None);
}

#[test]
fn our_fin_is_no_undelivered_byte() {
    let mut seen = echoed();
    assert_eq!(seen.conclude(tells(3, 14)).evidence.undelivered, Some(3));
    seen.sent_fin();
    for (unacked, undelivered, acknowledged) in [(4, 3, false), (1, 0, false), (0, 0, true)] {
        let evidence = seen.conclude(tells(unacked, 14)).evidence;
        assert_eq!(evidence.undelivered, Some(undelivered));
        assert_eq!(evidence.fin_acknowledged, acknowledged);
    }
}

/// macOS and the BSDs empty the send buffer of a connection that has ended, and tell nothing then.
#[test]
fn what_was_acknowledged_stays_so_where_the_system_tells_no_more() {
    let mut gone = Answers::nothing(System::Apple);
    gone.facts.tcp = Some(TcpFacts { closed: true, ..TcpFacts::default() });
    let mut seen = echoed();
    seen.received_fin();
    seen.sent_fin();
    seen.acknowledged(Some(38));
    assert_eq!(seen.conclude(gone).evidence.undelivered, None);
    seen.acknowledged(Some(1)); // only our FIN
    let conclusion = seen.conclude(gone);
    assert_eq!(conclusion.evidence.undelivered, Some(0));
    assert!(!conclusion.evidence.fin_acknowledged);
    assert_eq!(conclusion.verdict.kind, Kind::PeerFinDelivered);
    assert_eq!(conclusion.verdict.certainty, Certainty::Likely);
    seen.sent(5);
    assert_eq!(seen.conclude(gone).evidence.undelivered, None);
}

#[test]
fn no_count_overflows() {
    let mut seen = Observer::new();
    for _ in 0..2 {
        seen.received(usize::MAX);
        seen.sent(usize::MAX);
    }
    assert_eq!((seen.rx(), seen.tx()), (u64::MAX, u64::MAX));
    let mut told = tells(u32::MAX, u64::MAX);
    told.facts.unread = Some(u32::MAX);
    assert_eq!(seen.conclude(told).evidence.fin_received, Some(false));
}

// ---- whose end it was ---------------------------------------------------------------------------

#[test]
fn a_program_that_shuts_down_first_has_closed_it() {
    let mut seen = echoed();
    seen.before_shut_down(tells(0, 14));
    seen.shut_down(&Ok(()));
    assert_eq!(seen.cause(), Some(LocalCause::Close));
    seen.received(5);
    seen.read(&Ok(0));
    let kind = seen.conclude(tells(0, 20)).verdict.kind;
    assert_eq!(kind, Kind::LocalFinHalfCloseServed);

    let mut second = echoed();
    second.read(&Ok(0));
    second.shut_down(&Ok(()));
    assert_eq!(second.conclude(tells(0, 15)).verdict.kind, Kind::PeerFinDelivered);
}

/// What lies in the receive queue.
fn queue(unacked: u32, unread: Option<u32>) -> Answers {
    let mut told = tells(unacked, 0);
    told.facts.unread = unread;
    told
}

/// Received 10 bytes; `at_fin` are unread when we shut down, and then the rest is read, up to the
/// peer's FIN.
fn reads_on(at_fin: Option<u32>, rest: &[usize]) -> Option<Certainty> {
    let mut seen = Observer::new();
    seen.received(10);
    seen.before_shut_down(queue(0, at_fin));
    seen.shut_down(&Ok(()));
    seen.before_shut_down(queue(0, Some(9_999))); // it is shut down
    rest.iter().for_each(|bytes| seen.received(*bytes));
    seen.received_fin();
    let conclusion = seen.conclude(tells(0, 0));
    let sent_on = conclusion.evidence.received_after_fin;
    let expected = match sent_on {
        Some(Certainty::Unknown) => (Kind::LocalFinDelivered, Certainty::Likely),
        Some(sure) => (Kind::LocalFinHalfCloseServed, sure),
        None => (Kind::LocalFinDelivered, Certainty::Certain),
    };
    assert_eq!((conclusion.verdict.kind, conclusion.verdict.certainty), expected);
    sent_on
}

/// Regression: every byte that was read after our FIN was taken for an answer to it.
#[test]
fn only_bytes_beyond_the_queue_at_our_fin_answer_it() {
    use Certainty::{Likely, Unknown};
    assert_eq!(reads_on(Some(990), &[500, 490]), None);
    assert_eq!(reads_on(Some(990), &[500, 491]), Some(Likely));
    assert_eq!(reads_on(Some(0), &[1]), Some(Likely));
    // The length of the queue is unknown.
    assert_eq!(reads_on(None, &[1]), Some(Unknown));
    assert_eq!(reads_on(Some(1 << 14), &[1 << 14]), Some(Unknown));
    // Nothing was read.
    assert_eq!(reads_on(Some(990), &[]), None);
}

/// The program did not know, and the peer was first.
#[test]
fn a_failed_shutdown_means_that_a_reset_was_here_first() {
    let mut seen = echoed();
    seen.shut_down(&Err(io::ErrorKind::NotConnected.into()));
    assert!(seen.is_suspect() && !seen.has_sent_fin());
    let told = Answers { error: Some(Errno(ECONNRESET)), ..tells(0, 14) };
    assert_eq!(seen.conclude(told).verdict.kind, Kind::PeerResetReplyAcked);
}

#[test]
fn what_is_sent_after_the_peer_s_fin_went_to_a_half_closer() {
    let mut seen = Observer::new();
    seen.received(14);
    seen.hints_fin();
    seen.sent(37);
    seen.received_fin();
    seen.shut_down(&Ok(()));
    assert_eq!(seen.conclude(tells(0, 15)).verdict.kind, Kind::PeerFinHalfCloseServed);
}

// ---- waiting for it -----------------------------------------------------------------------------

#[test]
fn it_is_asked_again_later_and_later() {
    let mut seen = echoed();
    seen.received_fin();
    seen.sent_fin();
    let mut after = |ms| match seen.settle(tells(38, 15), Duration::from_millis(ms)) {
        Settling::AskAgain { after, progress: false } => after.as_millis(),
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 8, 100, 60_000].map(&mut after), [1, 1, 2, 25, 250]);
    let told = seen.settle(tells(20, 15), Duration::ZERO);
    assert!(matches!(told, Settling::AskAgain { progress: true, .. }), "{told:?}");
    let Settling::Done(done) = seen.settle(tells(0, 15), Duration::ZERO) else { panic!() };
    assert_eq!(done.verdict.kind, Kind::PeerFinDelivered);
}

#[test]
fn a_connection_that_is_over_is_settled() {
    let mut told = Answers { error: Some(Errno(EPIPE)), ..tells(37, 15) };
    told.facts.tcp.as_mut().unwrap().closed = true;
    let mut seen = echoed();
    seen.received_fin();
    seen.sent_fin();
    let Settling::Done(done) = seen.settle(told, Duration::ZERO) else { panic!() };
    assert_eq!(done.verdict.kind, Kind::PeerFinReplyRefused);
}

#[test]
fn where_the_system_does_not_tell_both_fins_are_all_there_is_to_wait_for() {
    let mut seen = echoed();
    seen.received_fin();
    seen.sent_fin();
    let told = Answers::nothing(System::OtherUnix);
    let Settling::Done(done) = seen.settle(told, Duration::ZERO) else { panic!() };
    assert_eq!(done.verdict.certainty, Certainty::Unknown);
}

/// Regression: what lay there when the queue was measured, and was read before our FIN, was still
/// taken off what came after it.
#[test]
fn what_is_read_between_the_measure_and_our_fin_is_no_part_of_what_follows() {
    let mut seen = Observer::new();
    seen.before_shut_down(queue(0, Some(100)));
    seen.received(100);
    seen.shut_down(&Ok(()));
    seen.received(100);
    seen.received_fin();
    let evidence = seen.conclude(tells(0, 0)).evidence;
    assert_eq!(evidence.received_after_fin, Some(Certainty::Likely));
}
