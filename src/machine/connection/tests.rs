//! The life of a connection, step by step, on a clock of the test's own.

mod alarm;
mod end;
mod leave;
mod reports;

use super::*;
use crate::machine::close::{Evidence, FirstError, Kind, LocalCause, SocketFacts, Via, classify};
use crate::machine::errno::{Errno, System};

const LINUX: System = System::Linux;
const ECONNRESET: Errno = Errno(104);
const ENOBUFS: Errno = Errno(105);

fn rules() -> Rules {
    Rules {
        read_deadline_ms: Some(10_000),
        write_deadline_ms: Some(10_000),
        verdict_wait_ms: 2_000,
        retry_ms: 20,
        short_read_drains: true,
        max_age_ms: None,
    }
}

/// A connection and its context.
struct Life {
    connection: Connection,
    context: Context,
}

impl Life {
    fn new() -> Life {
        Life::with(rules())
    }

    fn with(rules: Rules) -> Life {
        let context = Context::new(rules, Moment::from_ms((1 << 36) + 7));
        let peer = SocketAddr::from(([192, 0, 2, 1], 50_000)).into();
        Life { connection: Connection::new(7, peer, &context), context }
    }

    /// The drain has begun, and its reply is stuck in a full socket.
    fn is_stuck_in_the_drain(&mut self) -> &mut Life {
        self.event().echoes(30).connection.blocked(Via::Send);
        self.is_told_unacked(30).registered_writable();
        self.context.drain_ends = Some(self.context.now.after(5_000));
        self.rings();
        self.wants(Step::Send).connection.blocked(Via::Send);
        self.is_told_unacked(30).expires().is_told_unread(0)
    }

    #[track_caller]
    fn is_told_unread(&mut self, bytes: u32) -> &mut Life {
        self.wants(Step::AskUnread).connection.unread(Some(bytes));
        self
    }

    fn passes(&mut self, ms: u64) -> &mut Life {
        self.context.now = self.context.now.after(ms);
        self
    }

    #[track_caller]
    fn wants(&mut self, step: Step) -> &mut Life {
        assert_eq!(self.connection.step(), step);
        self
    }

    fn event(&mut self) -> &mut Life {
        self.connection.ready(Hints::default());
        self
    }

    fn fin_event(&mut self) -> &mut Life {
        self.connection.ready(Hints { read_closed: true, ..Hints::default() });
        self
    }

    /// Fourteen bytes are received, and of their reply of 37 the socket takes `taken`.
    #[track_caller]
    fn echoes(&mut self, taken: usize) -> &mut Life {
        self.wants(Step::Receive);
        self.connection.received(14, 65_536, &self.context);
        self.connection.answered(&[b'x'; 37], taken, &self.context);
        self
    }

    fn receives(&mut self, bytes: usize, space: usize) -> &mut Life {
        self.connection.received(bytes, space, &self.context);
        self
    }

    #[track_caller]
    fn receives_fin(&mut self) -> &mut Life {
        assert!(matches!(self.connection.step(), Step::Receive | Step::Discard));
        self.connection.received_fin();
        self
    }

    #[track_caller]
    fn shuts_down(&mut self) -> &mut Life {
        self.wants(Step::ShutDown);
        self.connection.shut_down(true, &self.context);
        self
    }

    #[track_caller]
    fn reads_blocked(&mut self) -> &mut Life {
        assert!(matches!(self.connection.step(), Step::Receive | Step::Discard));
        self.connection.blocked(Via::Recv);
        self
    }

    #[track_caller]
    fn is_told_unacked(&mut self, bytes: u32) -> &mut Life {
        self.wants(Step::AskUnacked);
        self.connection.unacked(Some(bytes), &self.context);
        self
    }

    fn registered_writable(&mut self) -> &mut Life {
        self.wants(Step::RegisterWritable);
        self.connection.registered_writable(true, &self.context);
        self
    }

    /// The alarm expires; returns whether a deadline had passed.
    fn rings(&mut self) -> bool {
        self.connection.alarm_rang(&self.context)
    }

    #[track_caller]
    fn expires(&mut self) -> &mut Life {
        assert!(self.connection.is_due(&self.context), "it is not due");
        self.connection.expire(&self.context);
        self
    }

    /// The evidence, if the system reports this.
    fn known(&self, facts: &SocketFacts, unacked: Option<u32>) -> Evidence {
        let connection = &self.connection;
        connection.seen.evidence(facts, unacked, connection.leftover(), LINUX)
    }

    fn verdict(&self, unacked: u32) -> Kind {
        let facts = SocketFacts { unread: Some(0), ..SocketFacts::default() };
        classify(&self.known(&facts, Some(unacked))).kind
    }
}

#[test]
fn an_echo_and_an_orderly_end() {
    let mut life = Life::new();
    life.wants(Step::Wait).event().echoes(37).wants(Step::Wait);
    life.fin_event().receives_fin().shuts_down();
    life.is_told_unacked(1).wants(Step::Wait); // our FIN is on its way
    life.event().is_told_unacked(0).wants(Step::End);
    assert_eq!(life.verdict(0), Kind::PeerFinDelivered);
    assert_eq!(life.connection.goodbye(), Goodbye::Plain);
}

#[test]
fn a_request_that_came_with_the_fin_is_a_half_close() {
    let mut life = Life::new();
    life.fin_event().echoes(37).receives_fin().shuts_down().is_told_unacked(0).wants(Step::End);
    assert_eq!(life.verdict(0), Kind::PeerFinHalfCloseServed);
}

#[test]
fn a_short_read_is_the_last_one_unless_there_will_be_no_further_edge() {
    let mut life = Life::new();
    life.event().echoes(37).wants(Step::Wait);
    life.connection.ready(Hints { priority: true, ..Hints::default() });
    life.echoes(37).reads_blocked().wants(Step::Wait);

    let mut windows = Life::with(Rules { short_read_drains: false, ..rules() });
    windows.event().echoes(37).reads_blocked().wants(Step::Wait);
}

#[test]
fn it_is_not_read_while_output_is_pending() {
    let mut life = Life::new();
    life.event().echoes(30).wants(Step::Send); // a short write says nothing: write on
    life.connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().wants(Step::Wait);
    life.event().wants(Step::Send);
    assert_eq!(life.connection.pending().len(), 7);
    life.connection.flushed(7, &life.context);
    life.wants(Step::Receive);
}

#[test]
fn nothing_is_sent_at_an_event_that_says_there_is_no_room() {
    let mut life = Life::new();
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().wants(Step::Wait);
    life.connection.ready(Hints { no_room: true, ..Hints::default() });
    life.wants(Step::Wait);
    life.event().wants(Step::Send);
}

#[test]
fn without_events_for_room_it_is_tried_again_in_a_while() {
    let mut life = Life::new();
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).wants(Step::RegisterWritable);
    life.connection.registered_writable(false, &life.context);
    life.wants(Step::Wait);
    assert_eq!(
        life.connection.alarm(&life.context),
        life.context.now.after(life.context.rules.retry_ms)
    );
    life.passes(life.context.rules.retry_ms);
    assert!(life.rings());
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().wants(Step::Wait);
}

#[test]
fn silence_ends_it_with_our_fin_first() {
    let mut life = Life::new();
    life.passes(9_999);
    assert!(!life.rings(), "a deadline is not a moment earlier than it says");
    life.passes(1);
    assert!(life.rings());
    life.reads_blocked().expires().shuts_down().reads_blocked();
    life.is_told_unacked(0).wants(Step::Wait); // the peer may still send, or close
    life.event().receives_fin().is_told_unacked(0).wants(Step::End);
    assert_eq!((life.verdict(0), life.connection.goodbye()), (Kind::TimeoutRead, Goodbye::Plain));
}

#[test]
fn bytes_that_came_in_time_save_it() {
    let mut life = Life::new();
    life.passes(10_000);
    assert!(life.rings());
    life.echoes(37);
    assert!(!life.connection.is_due(&life.context));
}

#[test]
fn after_our_fin_first_only_a_peer_without_progress_is_reset() {
    let mut life = Life::new();
    life.event().echoes(37).passes(10_000).rings();
    life.reads_blocked().expires().shuts_down().reads_blocked().is_told_unacked(30);
    for unacked in [20, 10] {
        life.passes(2_000);
        assert!(life.rings());
        life.reads_blocked().is_told_unacked(unacked).wants(Step::Wait);
        assert!(!life.connection.is_due(&life.context), "it made progress");
    }
    life.passes(2_000).rings();
    life.reads_blocked().is_told_unacked(10).expires().wants(Step::End);
    assert_eq!(life.connection.goodbye(), Goodbye::Reset);
}

#[test]
fn a_stalled_writer_is_reset_and_a_slow_one_lives() {
    let mut life = Life::new();
    life.event().echoes(30);
    life.connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().passes(10_000);
    assert!(life.rings());
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(29).wants(Step::Wait);
    assert!(!life.connection.is_due(&life.context), "one byte acknowledged is progress");

    life.passes(10_000);
    assert!(life.rings());
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(29).expires().wants(Step::End);
    assert_eq!(life.verdict(29), Kind::TimeoutWriteStall);
    assert_eq!(life.connection.goodbye(), Goodbye::Reset);
}

/// Regression: progress was sampled only when the deadline passed, so what the peer's kernel took
/// in the first moment gave it a second whole deadline.
#[test]
fn pending_output_is_looked_at_four_times_a_deadline() {
    let mut life = Life::new();
    life.event().echoes(30);
    life.connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().wants(Step::Wait);
    assert_eq!(life.connection.alarm(&life.context), life.context.now.after(2_500));
    life.passes(2_500);
    assert!(life.rings());
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(20).passes(10_000);
    assert!(life.connection.is_due(&life.context), "ten seconds after the last progress");
}

#[test]
fn the_first_error_counts() {
    let mut life = Life::new();
    life.event().echoes(37).event();
    life.connection.failed(ECONNRESET, Via::Recv, LINUX, &life.context);
    life.connection.seen.failed(Errno(32), Via::SoError);
    let evidence = life.known(&SocketFacts::default(), Some(0));
    assert_eq!(evidence.error, Some(FirstError { errno: ECONNRESET, via: Via::Recv }));
    life.wants(Step::End);
}

#[test]
fn being_short_of_memory_is_not_an_end() {
    let mut life = Life::new();
    life.event().is_short_of_memory(Via::Recv);
    life.wants(Step::Wait);
    assert_eq!(life.connection.alarm(&life.context), life.context.now.after(20));
    life.passes(20);
    assert!(life.rings());
    life.echoes(37);
}

#[test]
fn a_hint_of_an_error_is_asked_about_and_not_believed() {
    let mut life = Life::new();
    life.event().echoes(37).fin_event().receives_fin().shuts_down().is_told_unacked(38);
    life.connection.ready(Hints { error: true, ..Hints::default() });
    life.wants(Step::TakeError).connection.error_taken(None);
    life.is_told_unacked(38).wants(Step::Wait);
    life.connection.ready(Hints { error: true, ..Hints::default() });
    life.wants(Step::TakeError).connection.error_taken(Some(Errno(32)));
    life.wants(Step::End);
    let facts = SocketFacts { unread: Some(0), ..SocketFacts::default() };
    let evidence = life.known(&facts, Some(38));
    assert_eq!(classify(&evidence).kind, Kind::PeerFinReplyRefused);
}

#[test]
fn a_failed_shutdown_means_that_a_reset_was_here_first() {
    let mut life = Life::new();
    life.fin_event().echoes(37).receives_fin().wants(Step::ShutDown);
    life.connection.shut_down(false, &life.context);
    life.wants(Step::End);
    assert!(life.connection.seen.is_suspect());
}

#[test]
fn where_no_connection_may_wait_the_verdict_is_what_is_known_at_once() {
    for (may_wait, verdict_wait_ms) in [(false, 2_000), (true, 0)] {
        let mut life = Life::with(Rules { verdict_wait_ms, ..rules() });
        life.context.may_wait = may_wait;
        life.event().echoes(37).fin_event().receives_fin().shuts_down();
        life.is_told_unacked(38).wants(Step::End);
        assert_eq!(life.verdict(38), Kind::PeerFinUnconfirmed);
        assert_eq!(life.connection.goodbye(), Goodbye::Plain);
    }
}

/// So a busy connection never touches the wheel.
#[test]
fn reading_and_answering_do_not_move_the_alarm() {
    let mut life = Life::new();
    life.event().echoes(37);
    assert!(!life.connection.take_alarm_moved());
    life.event().echoes(30);
    assert!(life.connection.take_alarm_moved(), "the write deadline may be the earlier one");
    assert!(!life.connection.take_alarm_moved(), "once");
}
