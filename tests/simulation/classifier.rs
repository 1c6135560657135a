//! Promise: any evidence gets a verdict, no verdict claims more than the evidence supports, and
//! less evidence never makes one more certain. `classifier/promises.rs` says what that means.

pub(crate) mod promises;

use std::collections::BTreeSet;

use closecall::machine::close::{
    Certainty, Evidence, FirstError, Initiator, Kind, LocalCause, Via, classify,
};
use closecall::machine::errno::{Errno, Meaning, System, table};
use proptest::prelude::*;
use proptest::sample::select;

/// How sure it is that the peer sent on after our FIN.
const SENT_ON: [Option<Certainty>; 4] =
    [None, Some(Certainty::Unknown), Some(Certainty::Likely), Some(Certainty::Certain)];
const VIAS: [Via; 3] = [Via::Recv, Via::Send, Via::SoError];
const CAUSES: [LocalCause; 8] = [
    LocalCause::ReadDeadline,
    LocalCause::WriteDeadline,
    LocalCause::Drain,
    LocalCause::CutOff,
    LocalCause::Policy,
    LocalCause::MaxAge,
    LocalCause::Resource,
    LocalCause::Close,
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
    let mut evidence = Evidence::nothing(System::Linux);
    evidence.error = digit(number, &errors);
    evidence.cause =
        digit(number, &[None, Some(LocalCause::ReadDeadline), Some(LocalCause::Close)]);
    evidence.fin_received = digit(number, &[None, Some(false), Some(true)]);
    evidence.fin_sent = digit(number, &[false, true]);
    evidence.sent_after_fin = digit(number, &[false, true]);
    evidence.received_after_fin =
        digit(number, &[None, Some(Certainty::Likely), Some(Certainty::Certain)]);
    evidence.rx = digit(number, &[0, 14]);
    evidence.discarded = 0;
    evidence.tx = digit(number, &[0, 37]);
    evidence.undelivered = digit(number, &[None, Some(0), Some(5)]);
    evidence.fin_acknowledged = digit(number, &[false, true]);
    evidence.unsent = digit(number, &[0, 9]);
    evidence.reply_untouched = digit(number, &[false, true]);
    evidence.unread = digit(number, &[None, Some(0)]);
    evidence.retransmits = digit(number, &[None, Some(0), Some(2)]);
    evidence.probes = digit(number, &[None, Some(0), Some(2)]);
    evidence.last_ack_ms = digit(number, &[None, Some(0), Some(60_000)]);
    (*number == 0).then_some(evidence)
}

fn all_small() -> impl Iterator<Item = Evidence> {
    (0..).map_while(small_evidence)
}

/// An error number that some system knows, whichever, or any number at all.
fn any_error() -> impl Strategy<Value = Option<FirstError>> {
    let known: Vec<i32> =
        System::ALL.iter().flat_map(|&system| table(system)).map(|r| r.0).collect();
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
        system in select(&System::ALL[..]),
        cause in prop::option::weighted(0.1, select(&CAUSES[..])),
        error in any_error(),
        fin_received in any::<Option<bool>>(),
        (fin_sent, fin_acknowledged) in any::<(bool, bool)>(),
        sent_after_fin in any::<bool>(),
        received_after_fin in select(&SENT_ON[..]),
        reply_untouched in any::<bool>(),
        (rx, discarded, tx, unsent) in (any_bytes(), any_bytes(), any_bytes(), any_bytes()),
        (undelivered, unread) in (any_count(), any_count()),
        (retransmits, probes) in (any_tries(), any_tries()),
        last_ack_ms in any_count(),
    ) -> Evidence {
        let mut evidence = Evidence::nothing(system);
        (evidence.cause, evidence.error, evidence.unread) = (cause, error, unread);
        (evidence.fin_received, evidence.fin_sent) = (fin_received, fin_sent);
        (evidence.sent_after_fin, evidence.received_after_fin) =
            (sent_after_fin, received_after_fin);
        (evidence.rx, evidence.discarded, evidence.tx) = (rx, discarded, tx);
        (evidence.undelivered, evidence.fin_acknowledged) = (undelivered, fin_acknowledged);
        (evidence.unsent, evidence.reply_untouched) = (unsent, reply_untouched);
        (evidence.retransmits, evidence.probes) = (retransmits, probes);
        evidence.last_ack_ms = last_ack_ms;
        evidence
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
        promises::hold(&evidence);
    }

    #[test]
    fn each_fact_less_makes_no_verdict_surer(evidence in any_evidence()) {
        promises::hold_with_less(&evidence);
    }
}

#[test]
fn all_evidence_in_small_is_judged_by_what_it_carries() {
    let mut kinds = BTreeSet::new();
    for evidence in all_small() {
        promises::hold(&evidence);
        kinds.insert(classify(&evidence).kind);
    }
    for cause in CAUSES {
        let mut evidence = Evidence::nothing(System::HERE);
        evidence.cause = Some(cause);
        kinds.insert(classify(&evidence).kind);
    }
    // Our server never reports `local.done`: that is a client's verdict.
    let said = Kind::all().filter(|kind| *kind != Kind::LocalDone && !kind.is_from_outside());
    assert_eq!(kinds, said.collect(), "every other verdict can be reached");
}

#[test]
fn the_names_and_what_goes_with_them_are_those_that_are_promised() {
    let names: Vec<_> = Kind::all().map(Kind::name).collect();
    assert_eq!(names, promises::PROMISED.iter().map(|row| row.0).collect::<Vec<_>>());
}

#[test]
fn the_names_of_initiators_certainties_and_calls_are_promised() {
    use Certainty::{Certain, Likely, Unknown};
    let initiators = [Initiator::Peer, Initiator::Local, Initiator::Network, Initiator::Unknown];
    assert_eq!(initiators.map(Initiator::name), ["peer", "local", "network", "unknown"]);
    assert_eq!([Unknown, Likely, Certain].map(Certainty::name), ["unknown", "likely", "certain"]);
    assert_eq!(VIAS.map(Via::name), ["recv", "send", "so_error"]);
}

// ---- error numbers, system by system ------------------------------------------------------------

/// What a connection that had its reply, and no FIN, is said to have ended as.
fn ends_as(system: System, number: i32) -> &'static str {
    classify(&reply_acked(system, number)).kind.name()
}

fn reply_acked(system: System, number: i32) -> Evidence {
    let mut evidence = Evidence::nothing(system);
    evidence.error = Some(FirstError { errno: Errno(number), via: Via::Recv });
    evidence.fin_received = Some(false);
    (evidence.rx, evidence.tx) = (14, 37);
    (evidence.undelivered, evidence.unread) = (Some(0), Some(0));
    (evidence.retransmits, evidence.probes) = (Some(0), Some(0));
    evidence
}

#[test]
fn the_same_ending_has_its_own_number_on_each_system() {
    let systems = [System::Linux, System::Apple, System::Windows];
    // Linux, macOS, Windows; 0 where a system has none.
    for (numbers, verdict) in [
        ([104, 54, 10054], "peer_reset.reply_acked"), // ECONNRESET
        ([32, 32, 0], "peer_reset.reply_acked"),      // EPIPE
        ([0, 0, 10053], "peer_reset.reply_acked"),    // WSAECONNABORTED: the peer is gone
        ([103, 53, 0], "local.killed"),               // ECONNABORTED: a program here
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
        for (system, number) in systems.into_iter().zip(numbers).filter(|pair| pair.1 != 0) {
            assert_eq!(ends_as(system, number), verdict, "{number} on {system:?}");
        }
    }
}

#[test]
fn each_row_of_each_table_ends_as_it_means() {
    for system in System::ALL {
        for &(number, name, meaning) in table(system) {
            let verdict = match meaning {
                Meaning::Reset => "peer_reset.reply_acked",
                Meaning::TimedOut => "timeout.keepalive",
                Meaning::Unreachable => "timeout.unreachable",
                Meaning::NetworkDown => "local.network",
                Meaning::Killed => "local.killed",
                Meaning::NoFiles | Meaning::NoMemory => "local.resource",
                Meaning::Aborted | Meaning::NotConnected | Meaning::Other => "local.io",
                _ => panic!("{meaning:?} has no verdict here"),
            };
            assert_eq!(ends_as(system, number), verdict, "{name} on {system:?}");
            let told = (Errno(number).name(system), Errno(number).meaning(system));
            assert_eq!(told, (Some(name), meaning), "{number} on {system:?}");
        }
    }
}

#[test]
fn a_kill_is_certain_only_where_its_number_means_nothing_else() {
    for system in System::ALL {
        let Some(row) = table(system).iter().find(|row| row.2 == Meaning::Killed) else {
            assert_eq!(system, System::Windows, "its ECONNABORTED is the peer's doing");
            continue;
        };
        let expected = match system {
            System::Linux | System::LinuxMips | System::LinuxSparc => Certainty::Certain,
            _ => Certainty::Likely,
        };
        let verdict = classify(&reply_acked(system, row.0));
        assert_eq!((verdict.kind, verdict.certainty), (Kind::LocalKilled, expected), "{system:?}");
    }
}

/// Its numbers are libc's and their meanings those of POSIX, which may be something else there.
#[test]
fn on_an_unknown_system_no_error_makes_a_verdict_certain() {
    for evidence in all_small() {
        let Some(error) = evidence.error.filter(|_| evidence.cause.is_none()) else { continue };
        let Some(name) = error.errno.name(System::Linux) else { continue };
        let row = table(System::OtherUnix).iter().find(|row| row.1 == name);
        let Some(&(number, ..)) = row else { continue };
        let mut there = evidence;
        there.system = System::OtherUnix;
        there.error = Some(FirstError { errno: Errno(number), ..error });
        let verdict = classify(&there);
        assert!(verdict.certainty < Certainty::Certain, "{verdict:?} of {there:#?}");
    }
}
