//! Promise: an observer takes any facts in any order, keeps the first error, claims no more than
//! was reported to it, is no more certain where a system reports less, and does not wait
//! indefinitely for a system that acknowledges.

use std::io;
use std::time::Duration;

use closecall::machine::close::{
    Answers, Certainty, FirstError, Kind, Leftover, LocalCause, Observer, Probe, Settling,
    SocketFacts, TcpFacts, Via,
};
use closecall::machine::errno::{Errno, System};
use proptest::prelude::*;
use proptest::sample::select;

use super::classifier::promises;

/// One thing that an observer is told or asked.
#[derive(Clone, Copy, Debug)]
enum Fact {
    Received(usize),
    ReceivedFin,
    Sent(usize),
    SentFin,
    Failed(Errno, Via),
    HintsFin,
    Suspects,
    SuspectsNothing,
    Ends(Option<LocalCause>),
    Acknowledged(Option<u32>),
    Settles(Answers),
    BeforeShutDown(Answers),
    /// A result of the operating system: what a read, a write or a shutdown gave.
    Read(Result<usize, i32>),
    Wrote(Result<usize, i32>),
    ShutDown(Result<(), i32>),
}

impl Fact {
    fn tell(self, seen: &mut Observer) {
        let error = io::Error::from_raw_os_error;
        match self {
            Fact::Received(bytes) => seen.received(bytes),
            Fact::ReceivedFin => seen.received_fin(),
            Fact::Sent(bytes) => seen.sent(bytes),
            Fact::SentFin => seen.sent_fin(),
            Fact::Failed(errno, via) => seen.failed(errno, via),
            Fact::HintsFin => seen.hints_fin(),
            Fact::Suspects => seen.suspects(),
            Fact::SuspectsNothing => seen.suspects_nothing(),
            Fact::Ends(cause) => seen.ends(cause),
            Fact::Acknowledged(unacked) => {
                seen.acknowledged(unacked);
            }
            Fact::Settles(told) => {
                seen.settle(told, Duration::from_millis(3));
            }
            Fact::BeforeShutDown(told) => seen.before_shut_down(told),
            Fact::Read(result) => seen.read(&result.map_err(error)),
            Fact::Wrote(result) => seen.wrote(&result.map_err(error)),
            Fact::ShutDown(result) => seen.shut_down(&result.map_err(error)),
        }
    }
}

fn first_error(seen: &Observer) -> Option<FirstError> {
    seen.evidence(&SocketFacts::default(), None, Leftover::default(), System::HERE).error
}

fn observer_of(facts: &[Fact]) -> Observer {
    let mut seen = Observer::new();
    facts.iter().for_each(|fact| fact.tell(&mut seen));
    seen
}

// ---- any facts ----------------------------------------------------------------------------------

fn any_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0), 6 => 1..100_usize, 1 => Just(usize::MAX)]
}

fn any_count() -> impl Strategy<Value = Option<u32>> {
    prop::option::weighted(0.8, prop_oneof![8 => 0..3_u32, 2 => 3..100_u32, 1 => Just(u32::MAX)])
}

fn any_tries() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(prop_oneof![2 => Just(0), 1 => any::<u8>()])
}

/// Numbers that end a connection on Linux, and others.
fn any_number() -> impl Strategy<Value = i32> {
    prop_oneof![8 => select(&[104, 32, 110, 113, 103, 11, 4, 12][..]), 1 => any::<i32>()]
}

fn any_cause() -> impl Strategy<Value = Option<LocalCause>> {
    use LocalCause::{Close, CutOff, Drain, MaxAge, Policy, ReadDeadline, Resource, WriteDeadline};
    let causes = [ReadDeadline, WriteDeadline, Drain, CutOff, Policy, MaxAge, Resource, Close];
    prop::option::of(select(causes.to_vec()))
}

prop_compose! {
    fn any_told()(
        system in select(&System::ALL[..]),
        unacked in any_count(),
        unread in any_count(),
        tells_tcp in prop::bool::weighted(0.8),
        closed in any::<bool>(),
        bytes_received in prop::option::of(prop_oneof![4 => 0..200_u64, 1 => Just(u64::MAX)]),
        (retransmits, probes) in (any_tries(), any_tries()),
        last_ack_ms in any_count(),
        error in prop::option::of(any_number().prop_map(Errno)),
    ) -> Answers {
        let mut tcp = TcpFacts::default();
        (tcp.closed, tcp.bytes_received, tcp.last_ack_ms) = (closed, bytes_received, last_ack_ms);
        (tcp.retransmits, tcp.probes) = (retransmits, probes);
        let mut told = Answers::nothing(system);
        (told.unacked, told.error) = (unacked, error);
        (told.facts.unread, told.facts.tcp) = (unread, tells_tcp.then_some(tcp));
        told
    }
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let bytes = || prop_oneof![4 => any_bytes().prop_map(Ok), 1 => any_number().prop_map(Err)];
    let unit = || prop_oneof![4 => Just(Ok(())), 1 => any_number().prop_map(Err)];
    let via = select(&[Via::Recv, Via::Send, Via::SoError][..]);
    prop_oneof![
        4 => any_bytes().prop_map(Fact::Received),
        2 => Just(Fact::ReceivedFin),
        4 => any_bytes().prop_map(Fact::Sent),
        2 => Just(Fact::SentFin),
        1 => (any_number().prop_map(Errno), via).prop_map(|(errno, via)| Fact::Failed(errno, via)),
        1 => Just(Fact::HintsFin),
        1 => Just(Fact::Suspects),
        1 => Just(Fact::SuspectsNothing),
        1 => any_cause().prop_map(Fact::Ends),
        1 => any_count().prop_map(Fact::Acknowledged),
        1 => any_told().prop_map(Fact::Settles),
        1 => any_told().prop_map(Fact::BeforeShutDown),
        2 => bytes().prop_map(Fact::Read),
        2 => bytes().prop_map(Fact::Wrote),
        1 => unit().prop_map(Fact::ShutDown),
    ]
}

fn any_facts() -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(any_fact(), 0..12)
}

// ---- a system that tells less -------------------------------------------------------------------

/// A fact that a system may not tell, and its removal. The state is none of them: it is the reason
/// to ask for an error, and an error is what happened and not what is told of it.
const REMOVALS: &[fn(&mut Answers)] = &[
    |told| told.unacked = None,
    |told| told.facts.unread = None,
    |told| tcp(told, |tcp| tcp.bytes_received = None),
    |told| tcp(told, |tcp| tcp.retransmits = None),
    |told| tcp(told, |tcp| tcp.probes = None),
    |told| tcp(told, |tcp| tcp.last_ack_ms = None),
];

fn tcp(told: &mut Answers, change: fn(&mut TcpFacts)) {
    if let Some(tcp) = &mut told.facts.tcp {
        change(tcp);
    }
}

/// Each fact less makes the verdict no surer, whichever are missing already.
fn is_no_surer_with_less(seen: Observer, told: Answers) {
    let concluded = |told| ({ seen }).conclude(told); // a copy of it

    for subset in 0..1_usize << REMOVALS.len() {
        let mut some = told;
        let in_subset = |index: usize| subset & (1 << index) != 0;
        for (_, remove) in REMOVALS.iter().enumerate().filter(|(index, _)| in_subset(*index)) {
            remove(&mut some);
        }
        let more = concluded(some);
        some.unacked = None;
        let known = concluded(some).evidence.undelivered;
        let told = more.evidence.undelivered;
        if told.map(u64::from) > Some(more.evidence.tx) || known.is_some() && told > known {
            continue; // more than was sent, or was left before: less takes a contradiction away
        }
        for remove in REMOVALS {
            let mut rest = some;
            remove(&mut rest);
            let less = concluded(rest);
            let surer = match less.evidence.cause == more.evidence.cause {
                true => less.verdict.certainty > more.verdict.certainty,
                // The peer's FIN was first, and that is not known any more: the two verdicts answer
                // different questions. What may be wrong is not certain.
                false => less.verdict.certainty == Certainty::Certain,
            };
            assert!(!surer, "of {rest:?}: {less:#?}, and of {some:?}: {more:#?}, {seen:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_facts_in_any_order_come_to_a_conclusion(facts in any_facts(), told in any_told()) {
        let mut seen = Observer::new();
        let mut first = None;
        for fact in &facts {
            let before = first_error(&seen);
            fact.tell(&mut seen);
            let after = first_error(&seen);
            assert!(before.is_none() || after == before, "{fact:?}: {before:?}, then {after:?}");
            first = after;
        }
        let conclusion = seen.conclude(told);
        promises::hold(&conclusion.evidence);
        assert!(first.is_none() || conclusion.evidence.error == first, "{conclusion:#?}");
        if first == conclusion.evidence.error {
            let mut again = told;
            again.error = None;
            assert_eq!(seen.conclude(again), conclusion, "asked again");
        }
    }

    #[test]
    fn a_system_that_tells_less_makes_no_verdict_surer(facts in any_facts(), told in any_told()) {
        is_no_surer_with_less(observer_of(&facts), told);
    }
}

// ---- waiting ------------------------------------------------------------------------------------

/// A system whose peer acknowledges something at each look, and all of it in the end.
struct Acknowledges {
    left: u32,
    steps: Vec<u32>,
}

impl Probe for &mut Acknowledges {
    fn system(&self) -> System {
        System::Linux
    }

    fn unacked(&mut self) -> Option<u32> {
        let step = self.steps.pop().unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(step);
        Some(self.left)
    }

    fn facts(&mut self) -> SocketFacts {
        let mut facts = SocketFacts::default();
        (facts.unread, facts.tcp) = (Some(0), Some(TcpFacts::default()));
        facts
    }

    fn take_error(&mut self) -> Option<Errno> {
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Data from before our FIN and an answer to it, read in pieces of any size.
    #[test]
    fn only_bytes_beyond_the_queue_at_our_fin_are_an_answer(
        queued in 0..20_000_u32,
        answer in prop_oneof![Just(0_u32), 1..5_000_u32],
        pieces in prop::collection::vec(1..3_000_u32, 0..20),
    ) {
        let told = |unacked, unread: u32| {
            let mut told = Answers::nothing(System::Linux);
            told.unacked = Some(unacked);
            (told.facts.unread, told.facts.tcp) = (Some(unread), Some(TcpFacts::default()));
            told
        };
        let mut seen = Observer::new();
        seen.before_shut_down(told(0, queued));
        seen.shut_down(&Ok(()));
        let mut left = queued + answer;
        for piece in pieces.into_iter().chain([u32::MAX]) {
            let piece = piece.min(left);
            seen.received(piece as usize);
            left -= piece;
        }
        seen.received_fin();
        let conclusion = seen.conclude(told(0, 0));
        let served = conclusion.verdict.kind == Kind::LocalFinHalfCloseServed;
        assert!(!served || answer > 0, "{conclusion:#?}");
        if queued < 16_000 {
            assert_eq!(served, answer > 0, "{conclusion:#?}");
        }
    }

    #[test]
    fn a_system_that_acknowledges_is_asked_until_it_has_and_no_longer(
        sent in 1..100_000_u32,
        steps in prop::collection::vec(0..1_000_u32, 0..40),
        fin_at in 0..50_usize,
        ours_first in any::<bool>(),
    ) {
        let mut system = Acknowledges { left: sent + 1, steps };
        let mut seen = Observer::new();
        seen.received(14);
        seen.sent(sent as usize);
        if !ours_first {
            seen.received_fin();
        }
        seen.shut_down(&Ok(()));
        let mut waited = Duration::ZERO;
        let done = 'asked: {
            for look in 0..100 {
                if look == fin_at {
                    seen.received_fin();
                }
                let left = system.left;
                match seen.settle(&mut system, waited) {
                    Settling::Done(done) => break 'asked done,
                    Settling::AskAgain { after, progress, .. } => {
                        assert!((1..=250).contains(&after.as_millis()), "{after:?}");
                        assert!(look == 0 || progress == (system.left < left), "{look}");
                        waited += after;
                    }
                }
            }
            panic!("it was never settled: {seen:?}");
        };
        let kind = if ours_first { Kind::LocalFinDelivered } else { Kind::PeerFinDelivered };
        assert_eq!((done.verdict.kind, done.verdict.certainty), (kind, Certainty::Certain));
        assert_eq!(system.left, 0);
    }
}
