//! Promise: whatever accept returns, the loop does not spin, forgets no connection, and holds no
//! more files than it may; and an error that comes after the last visit is noticed. The kernel here
//! has one listener and answers what the test writes down.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use closecall::config::{Config, Overload};
use closecall::kernel::{Event, Io, Kernel, Stop};
use closecall::machine::close::{FirstError, Kind, SocketFacts, TcpFacts, Via};
use closecall::machine::connection::{Goodbye, Hints};
use closecall::machine::errno::{Errno, System};
use closecall::machine::time::Moment;
use closecall::reactor::{Reactor, Turn};

const EPERM: Errno = Errno(1);
const EMFILE: Errno = Errno(24);
const ENOSPC: Errno = Errno(28);
const EPIPE: Errno = Errno(32);

/// What accept says, in this order, and `last` from then on.
#[derive(Clone, Default)]
struct Answers {
    first: VecDeque<Io<()>>,
    last: Option<Io<()>>,
}

/// A kernel of one listener. Its peers send a FIN when they are told to and acknowledge nothing.
#[derive(Default)]
struct Door {
    now_ms: u64,
    answers: Cell<Answers>,
    /// The events of the next turn.
    events: Cell<Vec<Event>>,
    /// For how long the loop wanted to sleep last.
    slept_ms: Option<u64>,
    asked: Cell<u32>,
    /// Whether a new connection waits at the listener.
    waits: Cell<bool>,
    shed: u32,
    open: usize,
    open_max: usize,
    /// The addresses of the next connections; one fixed address, once these are used up.
    peers: Cell<VecDeque<SocketAddr>>,
    /// New connections that the system can still register.
    watches: Cell<Option<u32>>,
    /// What SO_ERROR says once the socket is over, which no event has told.
    late_error: Cell<Option<Errno>>,
}

impl Door {
    fn answers(&self, first: &[Io<()>], last: Io<()>) {
        let first = first.iter().copied().collect();
        self.answers.set(Answers { first, last: Some(last) });
        self.asked.set(0);
        self.happens([Event::Listener(0)]);
    }

    fn happens(&self, more: impl IntoIterator<Item = Event>) {
        let mut events = self.events.take();
        events.extend(more);
        self.events.set(events);
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 50_000))
}

impl Kernel for Door {
    type Socket = ();
    const SYSTEM: System = System::Linux;
    const SHORT_READ_DRAINS: bool = true;

    fn now(&mut self) -> Moment {
        Moment::from_ms(self.now_ms)
    }

    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(self.events.get_mut());
        self.slept_ms = timeout_ms;
        if events.is_empty() {
            self.now_ms += timeout_ms.expect("there is always something to wait for");
        }
        Ok(())
    }

    fn listeners(&self) -> usize {
        1
    }

    fn accept(&mut self, _: usize) -> Io<((), SocketAddr)> {
        self.asked.set(self.asked.get() + 1);
        let answers = self.answers.get_mut();
        let answer = answers.first.pop_front().or(answers.last).unwrap_or(Io::WouldBlock);
        if answer == Io::Done(()) {
            self.open += 1;
            self.open_max = self.open_max.max(self.open);
        }
        answer.map(|()| ((), self.peers.get_mut().pop_front().unwrap_or_else(peer)))
    }

    fn has_newcomer(&mut self, _: usize) -> bool {
        self.waits.get()
    }

    fn shed(&mut self, _: usize) -> Io<SocketAddr> {
        self.shed += 1;
        self.answers.get_mut().last = Some(Io::WouldBlock);
        Io::Done(peer())
    }

    fn stop_listening(&mut self) {}

    fn register(&mut self, (): &mut (), _: u32) -> Result<(), Errno> {
        match self.watches.get() {
            Some(0) => Err(ENOSPC),
            watches => {
                self.watches.set(watches.map(|left| left - 1));
                Ok(())
            }
        }
    }

    fn register_writable(&mut self, (): &mut (), _: u32) -> Result<(), Errno> {
        Ok(())
    }

    fn recv(&mut self, (): &mut (), _: &mut [u8]) -> Io<usize> {
        Io::Done(0)
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> Io<usize> {
        Io::Done(bytes.len())
    }

    fn shutdown_write(&mut self, (): &mut ()) -> Result<(), Errno> {
        Ok(())
    }

    fn unacked(&mut self, (): &mut ()) -> Option<u32> {
        Some(1)
    }

    fn unread(&mut self, (): &mut ()) -> Option<u32> {
        Some(0)
    }

    fn local(&mut self, (): &mut ()) -> Option<SocketAddr> {
        None
    }

    fn facts(&mut self, (): &mut ()) -> SocketFacts {
        let mut tcp = TcpFacts::default();
        tcp.closed = self.late_error.get().is_some();
        let mut facts = SocketFacts::default();
        (facts.unread, facts.tcp) = (Some(0), Some(tcp));
        facts
    }

    fn take_error(&mut self, (): &mut ()) -> Option<Errno> {
        self.late_error.take()
    }

    fn close(&mut self, (): (), _: Goodbye) {
        self.open -= 1;
    }

    fn give_back_memory(&mut self) {}
}

fn server(change: impl FnOnce(&mut Config)) -> Reactor<Door> {
    let mut config = Config {
        accepts_per_turn: 16,
        reaps_per_turn: 64,
        max_connections: 1_000,
        ..Config::default()
    };
    change(&mut config);
    let door = Door::default();
    door.waits.set(true);
    Reactor::new(door, config)
}

fn turn(server: &mut Reactor<Door>) -> Turn {
    server.turn().expect("a poll that works")
}

#[test]
fn an_accept_that_only_fails_is_asked_less_often() {
    let mut server = server(|_| ());
    server.kernel().answers(&[], Io::Failed(EPERM));
    turn(&mut server);
    assert_eq!(server.kernel().asked.get(), 16, "the budget: each may be about one new connection");
    for round in 2..5 {
        let turn = turn(&mut server);
        assert_eq!((server.kernel().slept_ms, turn.accepted), (Some(100), 0));
        assert_eq!(server.kernel().asked.get(), 16 * round);
    }
}

#[test]
fn an_accept_that_fails_now_and_then_is_asked_on() {
    let mut server = server(|_| ());
    server.kernel().answers(&[Io::Failed(EPERM), Io::Done(())], Io::WouldBlock);
    assert_eq!(turn(&mut server).accepted, 1);
    turn(&mut server);
    assert!(server.kernel().slept_ms > Some(100), "there is no pause: its deadline is what comes");
}

#[test]
fn out_of_files_new_connections_wait_or_are_reset() {
    for (overload, shed) in [(Overload::Wait, 0), (Overload::Shed, 1)] {
        let mut server = server(|config| config.overload = overload);
        server.kernel().answers(&[], Io::Failed(EMFILE));
        let turn = turn(&mut server);
        assert_eq!((server.kernel().shed, turn.ended), (shed, shed), "{overload:?}");
        assert_eq!(server.counters().open, 0);
    }
    // An error about one new connection is no reason to reset the next.
    let mut server = server(|config| config.overload = Overload::Shed);
    server.kernel().answers(&[Io::Failed(EPERM)], Io::WouldBlock);
    turn(&mut server);
    assert_eq!(server.kernel().shed, 0);
}

/// What an event says of a socket.
fn says(change: impl FnOnce(&mut Hints)) -> Hints {
    let mut hints = Hints::default();
    change(&mut hints);
    hints
}

/// A loop with one connection, whose FIN came and which waits for its evidence.
fn one_settles(change: impl FnOnce(&mut Config)) -> Reactor<Door> {
    let mut server = server(change);
    server.kernel().answers(&[Io::Done(())], Io::WouldBlock);
    turn(&mut server);
    let fin = says(|hints| hints.read_closed = true);
    server.kernel().happens([Event::Socket(0, fin)]);
    assert_eq!(turn(&mut server).ended, 0, "it waits");
    server
}

/// Regression: with the last file taken, accept returns EMFILE although no connection waits. That
/// paused the listener, and a connection that waited for its evidence was decided at once.
#[test]
fn out_of_files_without_a_new_connection_there_is_no_pause_and_nothing_is_given_up() {
    let mut server = one_settles(|config| config.verdict_wait_ms = 3_600_000);
    server.kernel().waits.set(false);
    server.kernel().answers(&[], Io::Failed(EMFILE));
    assert_eq!(turn(&mut server).ended, 0, "nothing is gained by it");
    assert_eq!(server.kernel().asked.get(), 1);
    server.kernel().answers(&[Io::Done(())], Io::WouldBlock);
    assert_eq!(turn(&mut server).accepted, 1, "there is no pause");
    turn(&mut server);
    assert!(server.kernel().slept_ms > Some(100), "and no moment to try again");
    // One that does wait has the place of the one that settles.
    server.kernel().waits.set(true);
    server.kernel().answers(&[Io::Failed(EMFILE), Io::Done(())], Io::WouldBlock);
    let ended = std::iter::from_fn(|| Some(turn(&mut server).ended)).take(2).sum::<u32>();
    assert_eq!((ended, server.counters().accepted), (1, 3));
}

/// Regression: the reaping of the connection that could not be registered resumed the listener, so
/// each turn accepted and reset another one.
#[test]
fn one_that_cannot_be_registered_ends_no_pause_by_its_own_end() {
    let mut server = one_settles(|_| ());
    server.kernel().watches.set(Some(0));
    server.kernel().answers(&[], Io::Done(()));
    for round in 1..=3 {
        let turn = turn(&mut server);
        assert_eq!((turn.accepted, turn.ended), (1, 1), "round {round}");
        assert_eq!(server.kernel().asked.get(), round, "one each time");
        assert_eq!(server.endings().next().unwrap().verdict.kind, Kind::LocalResource);
        let idle = self::turn(&mut server);
        assert_eq!((server.kernel().slept_ms, idle.accepted), (Some(100), 1), "round {round}");
        assert_eq!(server.endings().count(), 1);
        server.kernel().asked.set(round);
    }
    // The end of another connection gives back a watch: no retry time is waited for.
    server.kernel().watches.set(Some(1));
    server.kernel().late_error.set(Some(EPIPE));
    let over = says(|hints| hints.error = true);
    server.kernel().happens([Event::Socket(0, over)]);
    assert_eq!(turn(&mut server).ended, 1);
    assert_eq!((turn(&mut server).accepted, server.kernel().slept_ms), (2, Some(0)));
}

/// With `Overload::Shed`, connections that cannot be registered are reset: there is no pause.
#[test]
fn out_of_watches_new_connections_may_be_reset() {
    let mut server = server(|config| config.overload = Overload::Shed);
    server.kernel().watches.set(Some(2));
    server.kernel().answers(&[Io::Done(()); 10], Io::WouldBlock);
    let turn = turn(&mut server);
    assert_eq!((turn.accepted, turn.ended, server.kernel().open), (10, 8, 2));
}

/// A connection that is ended to make room holds its file until the turn ends.
#[test]
fn connections_make_room_for_new_ones_a_few_at_a_time() {
    let mut server = server(|config| config.max_connections = 8);
    server.kernel().answers(&[Io::Done(()); 8], Io::WouldBlock);
    assert_eq!(turn(&mut server).accepted, 8);
    let fin = says(|hints| hints.read_closed = true);
    server.kernel().happens((0..8).map(|key| Event::Socket(key, fin)));
    assert_eq!(turn(&mut server).ended, 1, "an eighth is not to wait for its evidence");
    server.kernel().answers(&[], Io::Done(()));
    assert_eq!(turn(&mut server).accepted, 1 + 4, "one slot is free, and four are made");
    assert_eq!((server.counters().open, server.kernel().open_max), (8, 8 + 4));
}

/// A connection that was gone before it was accepted is not owed an answer.
#[test]
fn errors_do_not_use_up_the_last_sweep_of_the_backlog() {
    let mut server = server(|config| config.backlog = 1);
    server.kernel().happens([Event::Stop(Stop::Drain)]);
    server.kernel().answers(&[Io::Failed(EPERM); 8], Io::Done(()));
    assert_eq!(turn(&mut server).accepted, 2, "a backlog of one, and the one more of Linux");
}

/// Others are served between a connection's last visit and the end of the turn, where its evidence
/// is collected.
#[test]
fn an_error_that_comes_after_the_last_visit_is_heard() {
    for late in [None, Some(EPIPE)] {
        let mut server = server(|config| config.verdict_wait_ms = 0);
        server.kernel().answers(&[Io::Done(())], Io::WouldBlock);
        turn(&mut server);
        let fin = says(|hints| hints.read_closed = true);
        server.kernel().happens([Event::Socket(0, fin)]);
        server.kernel().late_error.set(late);
        assert_eq!(turn(&mut server).ended, 1);
        let ending = server.endings().next().expect("it has ended");
        let error = late.map(|errno| FirstError { errno, via: Via::SoError });
        assert_eq!(ending.evidence.error, error);
    }
}

/// One /64 got 50 of 50 connections past a limit of 1: a host has all its addresses to choose from.
#[test]
fn a_limit_for_each_address_counts_ipv6_by_its_64() {
    let mut server = server(|config| config.max_per_ip = Some(1));
    let peers = [
        ("[2001:db8::1]:1", true),
        ("[2001:db8::2]:1", false),
        ("[2001:db8:0:0:ffff::3]:1", false),
        ("[2001:db8:0:1::1]:1", true),
        ("192.0.2.7:1", true),
        ("[::ffff:192.0.2.7]:2", false),
        ("[::ffff:192.0.2.8]:1", true),
    ];
    server.kernel().peers.set(peers.iter().map(|(peer, _)| peer.parse().unwrap()).collect());
    server.kernel().answers(&[Io::Done(()); 7], Io::WouldBlock);
    turn(&mut server);
    let refused: Vec<String> = server.endings().map(|ending| ending.peer.to_string()).collect();
    let expected = peers.iter().filter(|(_, is_taken)| !is_taken).map(|(peer, _)| {
        let peer: SocketAddr = peer.parse().unwrap();
        SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string()
    });
    assert_eq!(refused, expected.collect::<Vec<_>>());
    assert_eq!(server.kernel().open, peers.len() - refused.len());
}
