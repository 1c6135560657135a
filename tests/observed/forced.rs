//! The scenarios whose order can be forced, each against three servers: the verdicts are the same.

use closecall::client::{Act, Client, Plan, Way};
use closecall::machine::close::Certainty::{self, Certain, Likely};
use closecall::machine::close::Kind::{self, *};
use closecall::machine::close::{Ending, LocalCause};

use crate::common::succeeded;
use crate::sides::{OnReactor, OnStd, OnTokio, Reads, Side};

/// What is done next.
#[derive(Clone, Copy, Debug)]
enum Do {
    /// By the client. The server takes a step whenever the client has to wait, and at no other
    /// time.
    Plays(Act),
    /// The server accepts the client.
    Accepts,
    /// The server takes a step.
    Steps,
    /// The server ends it itself, in its next step.
    Ends,
}

/// One order of events, and what is said of it.
struct Scenario {
    id: &'static str,
    script: Vec<Do>,
    reads: Reads,
    cause: Option<LocalCause>,
    /// One of these, where buffers decide.
    kinds: &'static [Kind],
    status: u8,
    certainty: Certainty,
}

fn plays(way: Way) -> Vec<Do> {
    way.script().iter().map(|&act| Do::Plays(act)).collect()
}

/// The same, and the server has accepted before.
fn plays_accepted(way: Way) -> Vec<Do> {
    [vec![Do::Accepts], plays(way)].concat()
}

/// The server takes a step after each act.
fn plays_in_step(way: Way) -> Vec<Do> {
    let acts = way.script().iter().flat_map(|&act| [Do::Plays(act), Do::Steps]);
    [Do::Accepts].into_iter().chain(acts).collect()
}

/// The server ends it before the client waits for that.
fn plays_ended(way: Way) -> Vec<Do> {
    let acts = way.script().iter().flat_map(|&act| match act {
        Act::AwaitEnd => vec![Do::Ends, Do::Plays(act)],
        act => vec![Do::Plays(act)],
    });
    acts.collect()
}

/// Ways in which the client reads its reply, and the server ends it then.
fn drained(then: &[Do]) -> Vec<Do> {
    [&[Do::Plays(Act::Send), Do::Plays(Act::Read), Do::Ends][..], then].concat()
}

/// By the peer, and for sure: nearly all of them.
fn scenario(id: &'static str, script: Vec<Do>, kinds: &'static [Kind]) -> Scenario {
    let (reads, cause) = (Reads::All, None);
    Scenario { id, script, reads, cause, kinds, status: 1, certainty: Certain }
}

fn reading(reads: Reads, scenario: Scenario) -> Scenario {
    Scenario { reads, ..scenario }
}

fn likely(scenario: Scenario) -> Scenario {
    Scenario { certainty: Likely, ..scenario }
}

fn ended_by(cause: LocalCause, status: u8, scenario: Scenario) -> Scenario {
    Scenario { cause: Some(cause), status, ..scenario }
}

/// The table. None of its rows differs between the servers: `Observed` asks the system for what the
/// reactor has from events.
fn table() -> Vec<Scenario> {
    use Do::{Plays, Steps};
    use LocalCause::{Drain, ReadDeadline};
    let close = [Plays(Act::ReadToEnd), Plays(Act::Close)];
    let resets = [Plays(Act::ReadToEnd), Plays(Act::Linger0), Plays(Act::Close)];
    vec![
        scenario("S1", plays(Way::Close), &[PeerFinDelivered]),
        scenario("S2", plays(Way::CloseUnread), &[PeerResetReplyAcked]),
        scenario("S3 FIN first", plays(Way::CloseAtOnce), &[PeerFinReplyRefused]),
        scenario("S3 reply first", plays_in_step(Way::CloseAtOnce), &[PeerResetReplyAcked]),
        reading(
            Reads::Requests,
            scenario("S3 pipelined", plays(Way::CloseAtOnceTwo), &[PeerFinReplyRefused]),
        ),
        scenario("S4", plays(Way::Reset), &[PeerResetReplyAcked]),
        scenario("S5", plays(Way::CloseHalfRead), &[PeerResetReplyAcked]),
        scenario("S6", plays(Way::HalfClose), &[PeerFinHalfCloseServed]),
        reading(
            Reads::Few,
            likely(scenario("S6b", plays(Way::HalfCloseDiscard), &[PeerFinReplyDiscarded])),
        ),
        scenario("S6c", plays(Way::HalfCloseDiscardLate), &[PeerFinHalfCloseServed]),
        scenario("S7", plays(Way::Probe), &[PeerFinProbe]),
        scenario("S7b", plays_accepted(Way::ProbeReset), &[PeerResetProbe]),
        scenario("S8", plays(Way::ProbeReset), &[PeerResetProbe]),
        scenario("S8b", plays(Way::ResetAtOnce), &[PeerResetBeforeReply]),
        ended_by(ReadDeadline, 2, scenario("S9", plays_ended(Way::Silent), &[TimeoutRead])),
        scenario("S15", plays(Way::CloseFull), &[PeerResetReplyUndelivered]),
        // Whether its FIN is here before the last of the reply is out is up to the buffers.
        scenario("S15b", plays(Way::HalfCloseFull), &[PeerFinHalfCloseServed, PeerFinDelivered]),
        scenario("S16", plays(Way::ShutDownRead), &[PeerResetReplyAcked]),
        scenario("S16b", plays(Way::ShutDownBoth), &[PeerFinReplyRefused]),
        ended_by(Drain, 0, scenario("S20", drained(&close), &[LocalDrain])),
        // Its FIN is in our queue, unread, when we decide to close: it was first.
        ended_by(
            Drain,
            1,
            scenario("S20 both", drained(&[Plays(Act::Close), Steps]), &[PeerFinDelivered]),
        ),
        ended_by(Drain, 0, scenario("S20b reset", drained(&resets), &[LocalDrain])),
        ended_by(
            ReadDeadline,
            2,
            scenario("S20b unread", plays_ended(Way::SilentReset), &[TimeoutRead]),
        ),
    ]
}

fn drives<S: Side>(scenario: &Scenario) -> Ending {
    let mut server = S::open(scenario.reads, scenario.cause);
    let plan = Plan { kept_bytes_max: usize::MAX, ..Plan::new(server.address()) };
    let (mut client, _) = Client::connect(&plan).expect("the backlog has room");
    for &next in &scenario.script {
        match next {
            Do::Plays(act) => {
                succeeded(client.play_beside(act, Some(&mut || server.step())));
            }
            Do::Accepts => {
                while !server.has_accepted() {
                    server.step();
                }
            }
            Do::Steps => server.step(),
            Do::Ends => server.ends(),
        }
    }
    server.ending()
}

/// What is compared: bytes of full buffers differ from run to run.
fn facts(ending: &Ending) -> (Option<i32>, Option<bool>, bool, bool, bool) {
    let evidence = &ending.evidence;
    let errno = evidence.error.map(|error| error.errno.0);
    let is_all_there = evidence.undelivered == Some(0);
    (errno, evidence.fin_received, evidence.fin_sent, evidence.fin_acknowledged, is_all_there)
}

fn says_as_the_table<S: Side>(server: &str) {
    let mut wrong = Vec::new();
    for scenario in table() {
        let (ending, reactor) = (drives::<S>(&scenario), drives::<OnReactor>(&scenario));
        for (who, ending) in [(server, &ending), ("the reactor", &reactor)] {
            let verdict = &ending.verdict;
            let said = (verdict.status, verdict.certainty);
            if !scenario.kinds.contains(&verdict.kind)
                || said != (scenario.status, scenario.certainty)
            {
                wrong.push(format!("{} of {who}: {verdict:?}: {:?}", scenario.id, ending.evidence));
            }
        }
        if facts(&ending) != facts(&reactor) {
            let (one, other) = (&ending.evidence, &reactor.evidence);
            wrong.push(format!("{}: {server} {one:?}, the reactor {other:?}", scenario.id));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn std_and_the_reactor_have_the_same_verdicts() {
    says_as_the_table::<OnStd>("std");
}

#[test]
fn tokio_and_the_reactor_have_the_same_verdicts() {
    says_as_the_table::<OnTokio>("tokio");
}
