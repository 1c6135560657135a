//! Promise: the calm kernel of the benches drives the real loop, and the benches measure what they
//! claim: each connection is accepted, each message is answered, and silent connections end.

use closecall::config::Config;
use closecall::kernel::Stop;
use closecall::machine::close::{Certainty, Kind};
use closecall::reactor::{Reactor, Stage, Turn};
use closecall::simulation::{Calm, MESSAGE, Speakers};

const CONNECTIONS: u32 = 3_000;

/// A loop with all connections accepted.
fn held() -> Reactor<Calm> {
    let config = Config {
        max_connections: 2 * CONNECTIONS as usize,
        bytes_per_turn: u64::MAX, // this kernel forgets what is not read in its turn
        ..Config::default()
    };
    let mut reactor = Reactor::new(Calm::new(7), config);
    reactor.kernel().connect(CONNECTIONS);
    while reactor.kernel().open() < CONNECTIONS {
        turn(&mut reactor);
    }
    reactor
}

fn turn(reactor: &mut Reactor<Calm>) -> Turn {
    reactor.turn().expect("there is always something to wait for")
}

fn reply_bytes(replies: u32) -> u64 {
    let reply = Config::default().prefix.len() + MESSAGE.len();
    u64::from(replies) * reply as u64
}

#[test]
fn a_client_that_sends_is_answered() {
    let mut reactor = held();
    for speakers in [Speakers::Random(1_000), Speakers::Same(1_000), Speakers::InTurn(1_000)] {
        let before = reactor.kernel().sent_bytes();
        reactor.kernel().speak(speakers);
        let turn = turn(&mut reactor);
        assert_eq!((turn.events, turn.visits, turn.ended), (1_000, 1_000, 0), "{speakers:?}");
        assert_eq!(reactor.kernel().sent_bytes() - before, reply_bytes(1_000), "{speakers:?}");
    }
}

#[test]
fn in_turn_each_speaks_once_and_no_other_is_ended() {
    let mut reactor = held();
    // Half of the deadline passes, then all but the last one speak, then the other half passes.
    reactor.kernel().turn_takes(5_000);
    reactor.kernel().speak(Speakers::InTurn(CONNECTIONS - 1));
    turn(&mut reactor);
    reactor.kernel().speak(Speakers::None);
    while reactor.counters().ended() == 0 {
        turn(&mut reactor);
    }
    let first = reactor.endings().next().expect("one ended");
    assert_eq!((first.verdict.kind, first.evidence.rx), (Kind::TimeoutRead, 0));
    while reactor.kernel().open() > 0 {
        turn(&mut reactor);
    }
    let heard: Vec<u64> = reactor.endings().map(|ending| ending.evidence.rx).collect();
    assert_eq!(heard, vec![MESSAGE.len() as u64; CONNECTIONS as usize - 1]);
}

#[test]
fn a_silent_client_is_ended_with_all_the_evidence_and_its_slot_is_free() {
    let mut reactor = held();
    for round in 1..=2 {
        while reactor.kernel().open() > 0 {
            turn(&mut reactor);
        }
        let endings: Vec<_> = reactor.endings().collect();
        assert_eq!(endings.len(), CONNECTIONS as usize);
        for ending in &endings {
            let verdict = ending.verdict;
            assert_eq!((verdict.kind, verdict.certainty), (Kind::TimeoutRead, Certainty::Certain));
            assert_eq!(ending.evidence.fin_received, Some(true));
            assert!((10_000..=10_016).contains(&ending.duration_ms), "{}", ending.duration_ms);
        }
        let counters = reactor.counters();
        let accepted = u64::from(round * CONNECTIONS);
        assert_eq!((counters.accepted, counters.open, counters.ended()), (accepted, 0, accepted));
        reactor.kernel().connect(CONNECTIONS);
        turn(&mut reactor);
    }
}

/// Regression: the abort reaped all connections in one turn, and the list of endings holds 65,536.
#[test]
fn a_forced_stop_loses_no_ending_of_more_than_the_list_holds() {
    const MANY: u32 = 70_000;
    let config = Config { max_connections: MANY as usize, ..Config::default() };
    assert!(config.endings_max < MANY as usize);
    let mut reactor = Reactor::new(Calm::new(7), config);
    reactor.kernel().connect(MANY);
    while reactor.kernel().open() < MANY {
        turn(&mut reactor);
    }
    reactor.kernel().stop(Stop::Abort);
    let mut ids = Vec::new();
    let stage = loop {
        let stage = turn(&mut reactor).stage;
        ids.extend(reactor.endings().map(|ending| ending.id));
        if stage.is_over() {
            break stage;
        }
    };
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1..=u64::from(MANY)), "each is handed out, once");
    let counters = reactor.counters();
    assert_eq!((stage, counters.endings_missed, counters.open), (Stage::Forced, 0, 0));
}
