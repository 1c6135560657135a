//! Promise: each turn of the loop has its budgets, and however busy the peers are, new connections
//! and deadlines keep their share of it.

use closecall::config::Config;
use closecall::reactor::{Reactor, Turn};
use closecall::simulation::{Calm, Speakers};

/// A small request costs a visit and as many bytes, and 16 KiB cost as much as another visit.
const CALL_COSTS_BYTES: u64 = 4_096;
const BYTES_LIKE_A_VISIT: u64 = 16_384;

const SPEAKERS: u32 = 1_000;

/// What it costs to serve all peers that send, in visits.
const COST: u64 = SPEAKERS as u64 + SPEAKERS as u64 * CALL_COSTS_BYTES / BYTES_LIKE_A_VISIT;

/// A loop on a calm day, with this number of connections and the smallest budgets there are.
fn held(connections: u32, change: impl FnOnce(&mut Config)) -> Reactor<Calm> {
    let mut config = Config {
        accepts_per_turn: 1,
        expiries_per_turn: 1,
        reaps_per_turn: 1,
        bytes_per_turn: u64::MAX, // this kernel forgets what is not read in its turn
        max_connections: 10_000,
        ..Config::default()
    };
    change(&mut config);
    let mut reactor = Reactor::new(Calm::new(7), config);
    reactor.kernel().connect(connections);
    while reactor.kernel().open() < connections {
        assert_eq!(
            turn(&mut reactor).accepted,
            1,
            "no connection is served, and this is the budget"
        );
    }
    reactor
}

fn turn(reactor: &mut Reactor<Calm>) -> Turn {
    reactor.turn().expect("there is always something to wait for")
}

#[test]
fn new_connections_have_a_quarter_of_what_serving_costs() {
    let mut reactor = held(2 * SPEAKERS, |_| ());
    reactor.kernel().speak(Speakers::InTurn(SPEAKERS));
    reactor.kernel().connect(SPEAKERS);
    let turn = turn(&mut reactor);
    assert_eq!((turn.visits, turn.bytes), (SPEAKERS, u64::from(SPEAKERS) * CALL_COSTS_BYTES));
    assert_eq!(u64::from(turn.accepted), COST / 4);
}

#[test]
fn deadlines_have_half_of_what_serving_costs() {
    let mut reactor = held(2 * SPEAKERS, |_| ());
    reactor.kernel().turn_takes(11_000); // and all deadlines pass meanwhile
    reactor.kernel().speak(Speakers::InTurn(SPEAKERS));
    let turn = turn(&mut reactor);
    assert_eq!((turn.accepted, u64::from(turn.alarms)), (0, COST / 2));
}

/// An alarm that rings for a connection that has sent meanwhile finds a deadline that has moved.
/// That is once in a deadline; to move the alarm would be work for each request.
#[test]
fn an_alarm_does_not_move_with_each_request() {
    let mut reactor = held(SPEAKERS, |_| ());
    reactor.kernel().turn_takes(11_000);
    reactor.kernel().speak(Speakers::InTurn(SPEAKERS));
    let turn = turn(&mut reactor);
    assert_eq!((u64::from(turn.alarms), turn.ended), (COST / 2, 0));
    assert_eq!(turn.visits, SPEAKERS, "a connection whose deadline has moved is not visited");
}

#[test]
fn the_clock_is_looked_at_once_in_so_many_visits() {
    let mut reactor = held(SPEAKERS, |config| config.clock_interval = 64);
    reactor.kernel().speak(Speakers::InTurn(SPEAKERS));
    turn(&mut reactor);
    let before = reactor.kernel().looks();
    turn(&mut reactor);
    // Before it waits, when it wakes, and then after each 64.
    assert_eq!(reactor.kernel().looks() - before, 2 + u64::from(SPEAKERS - 1) / 64);
}

/// Regression: with a budget of 0 the loop owed each connection a visit, indefinitely.
#[test]
fn a_budget_of_nothing_serves_and_sleeps_all_the_same() {
    let mut reactor = held(5, |config| config.bytes_per_visit = 0);
    reactor.kernel().speak(Speakers::InTurn(5));
    turn(&mut reactor);
    reactor.kernel().speak(Speakers::None);
    let turns = std::iter::from_fn(|| {
        turn(&mut reactor);
        (reactor.kernel().open() > 0).then_some(())
    });
    assert!(turns.take(100).count() < 100, "it does not sleep until their deadlines");
    assert_eq!(reactor.kernel().sent_bytes(), 5 * 37);
}

#[test]
fn endings_beyond_the_list_are_counted() {
    let mut reactor = held(5, |config| config.endings_max = 3);
    while reactor.kernel().open() > 0 {
        turn(&mut reactor);
    }
    let counters = reactor.counters().clone();
    assert_eq!((counters.ended(), counters.endings_missed), (5, 2));
    let kept: Vec<u64> = reactor.endings().map(|ending| ending.id).collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
}
