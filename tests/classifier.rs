//! Promise: any evidence gets a verdict, none says more than the evidence carries, and knowing less
//! never makes it surer.

use std::collections::BTreeSet;

use closecall::machine::close::{
    Certainty, Evidence, FirstError, Initiator, Kind, Level, LocalCause, Via, classify,
};
use closecall::machine::errno::{Errno, Meaning, System, table};
use proptest::prelude::*;
use proptest::sample::select;

const SYSTEMS: [System; 3] = [System::Linux, System::Bsd, System::Windows];
const VIAS: [Via; 3] = [Via::Recv, Via::Send, Via::SoError];
const CAUSES: [LocalCause; 5] = [
    LocalCause::ReadDeadline,
    LocalCause::WriteDeadline,
    LocalCause::Drain,
    LocalCause::Policy,
    LocalCause::Resource,
];

// ---- evidence, all of it in small and any of it at random ---------------------------------------

/// Takes one of `choices`, and its digit off the number.
fn digit<T: Copy>(number: &mut usize, choices: &[T]) -> T {
    let choice = choices[*number % choices.len()];
    *number /= choices.len();
    choice
}

/// Every evidence on Linux in which a count is unknown, nothing or something: a number each, until
/// there are no more. One error number stands for each meaning.
fn small_evidence(mut number: usize) -> Option<Evidence> {
    let mut errors = vec![None];
    let mut meanings = Vec::new();
    for row in table(System::Linux) {
        if !meanings.contains(&row.2) {
            meanings.push(row.2);
            errors.push(Some(FirstError { errno: Errno(row.0), via: Via::Recv }));
        }
    }
    let number = &mut number;
    let evidence = Evidence {
        system: System::Linux,
        error: digit(number, &errors),
        cause: digit(number, &[None, Some(LocalCause::ReadDeadline)]),
        fin_received: digit(number, &[None, Some(false), Some(true)]),
        fin_sent: digit(number, &[false, true]),
        sent_after_fin: digit(number, &[false, true]),
        rx: digit(number, &[0, 14]),
        discarded: 0,
        tx: digit(number, &[0, 37]),
        undelivered: digit(number, &[None, Some(0), Some(5)]),
        fin_acknowledged: digit(number, &[false, true]),
        unsent: digit(number, &[0, 9]),
        reply_untouched: digit(number, &[false, true]),
        unread: digit(number, &[None, Some(0)]),
        retransmits: digit(number, &[None, Some(0), Some(2)]),
        probes: digit(number, &[None, Some(0), Some(2)]),
    };
    (*number == 0).then_some(evidence)
}

fn all_small() -> impl Iterator<Item = Evidence> {
    (0..).map_while(small_evidence)
}

/// An error number that some system knows, whichever, or any number at all.
fn any_error() -> impl Strategy<Value = Option<FirstError>> {
    let known: Vec<i32> = SYSTEMS.iter().flat_map(|&system| table(system)).map(|r| r.0).collect();
    let number = prop_oneof![9 => select(known), 1 => any::<i32>()];
    let error = (number, select(&VIAS[..]))
        .prop_map(|(number, via)| FirstError { errno: Errno(number), via });
    prop::option::of(error)
}

fn any_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 3 => 1..100_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn any_count() -> impl Strategy<Value = Option<u32>> {
    let count = prop_oneof![4 => Just(0), 3 => 1..100_u32, 1 => Just(u32::MAX), 1 => any::<u32>()];
    prop::option::of(count)
}

fn any_tries() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(prop_oneof![2 => Just(0), 1 => Just(u8::MAX), 1 => any::<u8>()])
}

prop_compose! {
    /// Evidence that no system may ever give, too.
    fn any_evidence()(
        system in select(&SYSTEMS[..]),
        cause in prop::option::weighted(0.1, select(&CAUSES[..])),
        error in any_error(),
        fin_received in any::<Option<bool>>(),
        (fin_sent, fin_acknowledged) in any::<(bool, bool)>(),
        (sent_after_fin, reply_untouched) in any::<(bool, bool)>(),
        (rx, discarded, tx, unsent) in (any_bytes(), any_bytes(), any_bytes(), any_bytes()),
        (undelivered, unread) in (any_count(), any_count()),
        (retransmits, probes) in (any_tries(), any_tries()),
    ) -> Evidence {
        Evidence {
            system, cause, error, fin_received, fin_sent, sent_after_fin, rx, discarded, tx,
            undelivered, fin_acknowledged, unsent, reply_untouched, unread, retransmits, probes,
        }
    }
}

// ---- what must hold of each ---------------------------------------------------------------------

/// What is said of each kind, as people may rely on it: name, status, initiator, level.
const PROMISED: &[(&str, u8, Initiator, Level)] = &[
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
    ("local.drain", 0, Initiator::Local, Level::Info),
    ("local.done", 0, Initiator::Local, Level::Info),
    ("local.policy", 3, Initiator::Local, Level::Info),
    ("local.killed", 3, Initiator::Local, Level::Warn),
    ("local.resource", 3, Initiator::Local, Level::Error),
    ("local.network", 3, Initiator::Local, Level::Error),
    ("local.io", 3, Initiator::Unknown, Level::Error),
];

/// The verdict is one of those that are promised, and its parts fit each other.
fn is_whole(evidence: &Evidence) {
    let verdict = classify(evidence);
    assert_eq!(verdict, classify(evidence), "the same evidence gives the same verdict");
    let kind = verdict.kind;
    let row = PROMISED.iter().find(|row| row.0 == kind.name());
    let row = row.unwrap_or_else(|| panic!("{} is not promised", kind.name()));
    assert_eq!((kind.status(), kind.initiator(), kind.level()), (row.1, row.2, row.3));
    let late = kind == Kind::PeerFinUnconfirmed
        && evidence.error.is_some_and(|e| e.errno.meaning(evidence.system) == Meaning::TimedOut);
    assert_eq!(verdict.status, if late { 2 } else { row.1 }, "{verdict:?} of {evidence:#?}");
}

/// Nobody is said to have a reply of which bytes are missing, or may be.
fn claims_no_more_than_arrived(evidence: &Evidence) {
    use Kind::*;
    let verdict = classify(evidence);
    let missing = evidence.undelivered > Some(0) || evidence.unsent > 0;
    let unknown = evidence.undelivered.is_none() && evidence.tx > 0;
    let has_it = matches!(
        verdict.kind,
        PeerFinDelivered | PeerFinHalfCloseServed | PeerFinReplyDiscarded | PeerResetReplyAcked
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
];

/// A verdict on less is no surer. A fact at a time is enough where the rest is asked as well.
fn knows_no_better_without_a_fact(evidence: &Evidence) {
    if evidence.undelivered.is_some_and(|bytes| u64::from(bytes) > evidence.tx) {
        return; // more than was ever sent: who takes that away takes a contradiction away
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_evidence_has_a_verdict_that_it_carries(evidence in any_evidence()) {
        is_whole(&evidence);
        claims_no_more_than_arrived(&evidence);
        what_is_certain_stands(&evidence);
    }

    #[test]
    fn each_fact_less_makes_no_verdict_surer(evidence in any_evidence()) {
        // Every subset of the facts, and every fact of each.
        for subset in 0..1 << REMOVALS.len() {
            let mut rest = evidence;
            for (index, (_, remove)) in REMOVALS.iter().enumerate() {
                if subset & (1 << index) != 0 {
                    remove(&mut rest);
                }
            }
            knows_no_better_without_a_fact(&rest);
        }
    }
}

#[test]
fn all_evidence_in_small_is_judged_by_what_it_carries() {
    let mut kinds = BTreeSet::new();
    for evidence in all_small() {
        is_whole(&evidence);
        claims_no_more_than_arrived(&evidence);
        knows_no_better_without_a_fact(&evidence);
        what_is_certain_stands(&evidence);
        kinds.insert(classify(&evidence).kind);
    }
    for cause in CAUSES {
        let evidence = Evidence { cause: Some(cause), ..Evidence::nothing(System::HERE) };
        kinds.insert(classify(&evidence).kind);
    }
    // A server of ours is never done with anybody: that is a client's verdict.
    let said = Kind::all().filter(|kind| *kind != Kind::LocalDone);
    assert_eq!(kinds, said.collect(), "every other verdict can be reached");
}

#[test]
fn the_names_and_what_goes_with_them_are_those_that_are_promised() {
    let names: Vec<_> = Kind::all().map(Kind::name).collect();
    assert_eq!(names, PROMISED.iter().map(|row| row.0).collect::<Vec<_>>());
}

#[test]
fn who_how_sure_and_through_which_call_have_names_that_are_promised() {
    use Certainty::{Certain, Likely, Unknown};
    let initiators = [Initiator::Peer, Initiator::Local, Initiator::Network, Initiator::Unknown];
    assert_eq!(initiators.map(Initiator::name), ["peer", "local", "network", "unknown"]);
    assert_eq!([Unknown, Likely, Certain].map(Certainty::name), ["unknown", "likely", "certain"]);
    assert_eq!(VIAS.map(Via::name), ["recv", "send", "so_error"]);
}

// ---- error numbers, system by system ------------------------------------------------------------

/// What a connection that had its reply, and no FIN, is said to have ended as.
fn ends_as(system: System, number: i32) -> &'static str {
    let evidence = Evidence {
        error: Some(FirstError { errno: Errno(number), via: Via::Recv }),
        fin_received: Some(false),
        rx: 14,
        tx: 37,
        undelivered: Some(0),
        unread: Some(0),
        retransmits: Some(0),
        probes: Some(0),
        ..Evidence::nothing(system)
    };
    classify(&evidence).kind.name()
}

#[test]
fn the_same_ending_has_its_own_number_on_each_system() {
    // Linux, BSD and macOS, Windows; 0 where a system has none.
    for (numbers, verdict) in [
        ([104, 54, 10054], "peer_reset.reply_acked"), // ECONNRESET
        ([32, 32, 0], "peer_reset.reply_acked"),      // EPIPE
        ([0, 0, 10053], "peer_reset.reply_acked"),    // WSAECONNABORTED: the peer is gone
        ([103, 53, 0], "local.killed"),               // ECONNABORTED: somebody here
        ([110, 60, 10060], "timeout.keepalive"),      // ETIMEDOUT
        ([0, 0, 10052], "timeout.keepalive"),         // WSAENETRESET
        ([113, 65, 10065], "timeout.unreachable"),    // EHOSTUNREACH
        ([101, 51, 10051], "timeout.unreachable"),    // ENETUNREACH
        ([111, 61, 10061], "timeout.unreachable"),    // ECONNREFUSED
        ([112, 64, 10064], "timeout.unreachable"),    // EHOSTDOWN
        ([100, 50, 10050], "local.network"),          // ENETDOWN
        ([105, 55, 10055], "local.resource"),         // ENOBUFS
        ([24, 24, 10024], "local.resource"),          // EMFILE
        ([107, 57, 10057], "local.io"),               // ENOTCONN
        ([108, 58, 10058], "local.io"),               // ESHUTDOWN
        ([22, 22, 10022], "local.io"),                // EINVAL
        ([4711, 4711, 4711], "local.io"),             // in no table
    ] {
        for (system, number) in SYSTEMS.into_iter().zip(numbers).filter(|pair| pair.1 != 0) {
            assert_eq!(ends_as(system, number), verdict, "{number} on {system:?}");
        }
    }
}

#[test]
fn each_row_of_each_table_ends_as_it_means() {
    for system in SYSTEMS {
        for &(number, name, meaning) in table(system) {
            let verdict = match meaning {
                Meaning::Reset => "peer_reset.reply_acked",
                Meaning::TimedOut => "timeout.keepalive",
                Meaning::Unreachable => "timeout.unreachable",
                Meaning::NetworkDown => "local.network",
                Meaning::Killed => "local.killed",
                Meaning::NoFiles | Meaning::NoMemory => "local.resource",
                Meaning::Aborted | Meaning::NotConnected | Meaning::Other => "local.io",
            };
            assert_eq!(ends_as(system, number), verdict, "{name} on {system:?}");
            let told = (Errno(number).name(system), Errno(number).meaning(system));
            assert_eq!(told, (Some(name), meaning), "{number} on {system:?}");
        }
    }
}
