//! Comparison of a scenario's result with the expected one.

use super::report::{Article, Race, RecvSays, Row};
use super::scenario::{Experiment, Scenario};
use crate::client::{Act, Did, Performed};
use crate::machine::close::{Certainty, Kind};
use crate::reactor::Ending;
use crate::record::EvidenceRecord;

/// A closecall server's account of an ended connection, from the server itself or from its close
/// log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ServerAccount {
    pub(super) kind: Kind,
    pub(super) evidence: EvidenceRecord,
}

impl From<&Ending> for ServerAccount {
    fn from(ending: &Ending) -> ServerAccount {
        ServerAccount { kind: ending.verdict.kind, evidence: EvidenceRecord::from(ending) }
    }
}

/// What is not as `scenario` expects; `None` if everything is.
pub(super) fn complaint(
    scenario: &Scenario,
    performed: &[Performed],
    told: Option<&ServerAccount>,
) -> Option<String> {
    if let Some(performed) = performed.iter().find(|it| it.failed()) {
        return Some(of_client(performed));
    }
    let Some(told) = told else {
        return Some(format!("no verdict, expected {}", names(scenario.verdicts)));
    };
    of_verdict(scenario, told).or_else(|| {
        // With a forced order the verdict must be certain.
        let (certainty, forced) = (&*told.evidence.certainty, scenario.verdicts.len() == 1);
        // Except here: a reset does not show whether the client read the acknowledged bytes.
        let can_be = told.kind != Kind::PeerFinReplyDiscarded;
        (forced && can_be && certainty != Certainty::Certain.name())
            .then(|| format!("certainty {certainty}, expected certain"))
    })
}

/// What is wrong with one run of a race, where a verdict need not be certain.
pub(super) fn of_verdict(scenario: &Scenario, told: &ServerAccount) -> Option<String> {
    if let Some(complaint) = of_kind(scenario.verdicts, told) {
        return Some(complaint);
    }
    let name = told.kind.name();
    // A fact that the system does not report cannot be wrong.
    let fin = told.evidence.fin_received.zip(scenario.fin);
    if let Some((true, false) | (false, true)) = fin {
        let whether = if scenario.fin == Some(true) {
            "no FIN, expected one"
        } else {
            "a FIN, expected none"
        };
        return Some(format!("{name}: {whether}"));
    }
    let undelivered = told.evidence.undelivered?;
    match scenario.lost {
        Some(lost) if lost != (undelivered > 0) => {
            let expected = if lost { "some" } else { "none" };
            Some(format!("{name}: {undelivered} bytes undelivered, expected {expected}"))
        }
        _ => None,
    }
}

/// What is wrong with the verdict alone.
pub(super) fn of_kind(kinds: &[Kind], told: &ServerAccount) -> Option<String> {
    let name = told.kind.name();
    (!kinds.contains(&told.kind)).then(|| format!("{name}, expected {}", names(kinds)))
}

/// How `row` differs from `first`, although both should be the same.
pub(super) fn difference(row: &Row, first: &Row) -> Option<String> {
    let facts = |row: &Row| row.evidence.as_ref().map(|it| (it.fin_received, it.undelivered));
    if row.verdict != first.verdict || facts(row) != facts(first) {
        return Some(format!("verdict or evidence differs from {}", first.id));
    }
    (steps(&row.wire) != steps(&first.wire))
        .then(|| format!("the packets differ from {}: {}", first.id, first.wire))
}

/// The steps on the wire without retransmissions, which depend on the kernel's timers.
fn steps(wire: &str) -> Vec<&str> {
    let begins = wire.match_indices(['→', '←']).map(|(at, _)| at);
    let ends = begins.clone().skip(1).chain([wire.len()]);
    let steps = begins.zip(ends).map(|(begin, end)| wire[begin..end].trim_end());
    // "→ 9726709 bytes, 65483 again" was sent once as well, "→ 14 bytes again" was not.
    let first = steps.map(|step| step.split([',', '×', '⇄']).next().unwrap_or(step).trim_end());
    first.filter(|step| !step.ends_with(" again")).collect()
}

/// The result of an experiment of the article here.
pub(super) fn article(
    experiment: &Experiment,
    recv: Option<&RecvSays>,
    verdict: Option<&str>,
    race: Option<&Race>,
) -> Article {
    let ours = verdict.unwrap_or("no verdict");
    let (agrees, here) = match (race, recv) {
        (Some(race), _) => {
            let others = race.recv_loop.iter().filter(|(recv, _)| **recv != experiment.recv);
            let differs = others.map(|(_, count)| count).sum::<u32>();
            (Some(differs == 0), raced(race, differs))
        }
        (None, Some(says)) => {
            let status = says.status.map_or("none".to_owned(), |status| status.to_string());
            let same = says.recv == experiment.recv;
            let word = if same { "same" } else { "differs" };
            let said = format!("recv returns {} (status {status} in its final code)", says.recv);
            (Some(same), format!("{word}: {said}; closecall: {ours}"))
        }
        (None, None) => (None, format!("no result from the recv loop; closecall: {ours}")),
    };
    Article { found: experiment.found.to_owned(), agrees, here }
}

fn raced(race: &Race, differs: u32) -> String {
    let odds = |counts: &std::collections::BTreeMap<String, u32>| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let texts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} ×{count}")).collect();
        texts.join(", ")
    };
    let word = match differs {
        0 => "no reset in these runs".to_owned(),
        count => format!("differs in {count} of {} runs: it is a race", race.runs),
    };
    format!("{word}; recv: {}; closecall: {}", odds(&race.recv_loop), odds(&race.verdicts))
}

/// The failure of a client.
pub(super) fn of_client(performed: &Performed) -> String {
    let timed_out = match performed.act {
        Some(Act::Hold | Act::Read | Act::ReadHalf) => "the whole reply did not arrive",
        Some(Act::ReadToEnd | Act::AwaitEnd) => "the server did not close",
        Some(Act::Fill) => "the buffers did not fill up",
        _ => "the client could not send everything",
    };
    match (&performed.did, performed.act) {
        (Did::Failed(why), Some(Act::Hold | Act::Read | Act::ReadHalf)) => {
            format!("the whole reply did not arrive: {why}")
        }
        (Did::Failed(why), Some(act)) => {
            format!("the client failed: {}: {why}", act.doing())
        }
        (Did::Failed(why), None) => format!("the client could not connect: {why}"),
        _ => timed_out.to_owned(),
    }
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::RowOutcome;
    use super::super::scenario::all;
    use super::*;
    use crate::machine::close::{Evidence as Facts, Verdict};
    use crate::machine::errno::System;

    fn scenario(id: &str) -> &'static Scenario {
        all().iter().find(|scenario| scenario.id == id).unwrap()
    }

    /// The ending of S3 with the FIN first, and what is changed in it.
    fn ending(change: impl FnOnce(&mut Ending)) -> Ending {
        let mut ending = Ending {
            id: 1,
            peer: "127.0.0.1:50000".parse().unwrap(),
            local: None,
            verdict: Verdict {
                kind: Kind::PeerFinReplyRefused,
                status: 1,
                certainty: Certainty::Certain,
            },
            evidence: Facts {
                fin_received: Some(true),
                undelivered: Some(37),
                ..Facts::nothing(System::Linux)
            },
            duration_ms: 1,
            verdict_wait_ms: 0,
        };
        change(&mut ending);
        ending
    }

    fn said(change: impl FnOnce(&mut Ending)) -> Option<String> {
        complaint(scenario("S3 FIN first"), &[], Some(&ServerAccount::from(&ending(change))))
    }

    #[test]
    fn the_expected_result_is_no_complaint() {
        assert_eq!(said(|_| ()), None);
        // A fact that the system does not report is no complaint.
        assert_eq!(said(|it| it.evidence.fin_received = None), None);
        assert_eq!(said(|it| it.evidence.undelivered = None), None);
    }

    #[test]
    fn a_wrong_verdict_fails_and_so_does_wrong_evidence() {
        let wrong = said(|it| it.verdict.kind = Kind::PeerFinDelivered).unwrap();
        assert_eq!(wrong, "peer_fin.delivered, expected peer_fin.reply_refused");
        let wrong = said(|it| it.evidence.fin_received = Some(false)).unwrap();
        assert!(wrong.ends_with("no FIN, expected one"), "{wrong}");
        let wrong = said(|it| it.evidence.undelivered = Some(0)).unwrap();
        assert!(wrong.ends_with("0 bytes undelivered, expected some"), "{wrong}");
        let wrong = said(|it| it.verdict.certainty = Certainty::Likely).unwrap();
        assert_eq!(wrong, "certainty likely, expected certain");
    }

    #[test]
    fn a_missing_verdict_fails_and_so_does_a_client_that_times_out() {
        let nothing = complaint(scenario("S9"), &[], None).unwrap();
        assert_eq!(nothing, "no verdict, expected timeout.read");
        let at = Duration::ZERO;
        let performed = Performed { at, act: Some(Act::AwaitEnd), did: Did::GaveUp };
        let timed_out = complaint(
            scenario("S3 FIN first"),
            &[performed],
            Some(&ServerAccount::from(&ending(|_| ()))),
        );
        assert_eq!(timed_out.unwrap(), "the server did not close");
    }

    fn row(id: &str, wire: &str, change: impl FnOnce(&mut Ending)) -> Row {
        Row {
            id: id.to_owned(),
            experiment: None,
            client: String::new(),
            order: String::new(),
            wire: wire.to_owned(),
            packets: None,
            peer: None,
            recv_loop: None,
            verdict: Some("peer_fin.reply_refused".to_owned()),
            evidence: Some(EvidenceRecord::from(&ending(change))),
            log: None,
            seen: None,
            via: None,
            outcome: RowOutcome::Same,
            same_as: Some("S1".to_owned()),
            article: None,
            race: None,
            note: String::new(),
        }
    }

    #[test]
    fn rows_that_should_be_the_same_are_compared() {
        let first = row("S1", "→ FIN", |_| ());
        assert_eq!(difference(&row("S2", "→ FIN", |_| ()), &first), None);
        let wire = difference(&row("S2", "→ RST", |_| ()), &first).unwrap();
        assert_eq!(wire, "the packets differ from S1: → FIN");
        let twice = row("S2", "→ 14 bytes → 14 bytes again → FIN → FIN again ← RST ×2", |_| ());
        assert_eq!(difference(&twice, &row("S1", "→ 14 bytes → FIN ← RST", |_| ())), None);
        let sum = row("S2", "→ 70 bytes, 20 again ⇄ ← 5 bytes → FIN", |_| ());
        assert_eq!(difference(&sum, &row("S1", "→ 70 bytes ⇄ ← 5 bytes → FIN", |_| ())), None);
        assert!(difference(&sum, &row("S1", "→ 71 bytes ⇄ ← 5 bytes → FIN", |_| ())).is_some());
        assert!(difference(&twice, &row("S1", "→ 15 bytes → FIN ← RST", |_| ())).is_some());
        let other = row("S2", "→ FIN", |it| it.evidence.undelivered = Some(1));
        assert!(difference(&other, &first).unwrap().starts_with("verdict or evidence differs"));
    }

    #[test]
    fn the_articles_race_differs_as_soon_as_one_recv_does() {
        let five = scenario("S3 race").experiment.unwrap();
        let mut race = Race { runs: 3, ..Race::default() };
        race.recv_loop.insert("0".to_owned(), 3);
        assert_eq!(article(&five, None, None, Some(&race)).agrees, Some(true));
        race.recv_loop.insert("-1 ECONNRESET".to_owned(), 1);
        let differs = article(&five, None, None, Some(&race));
        assert_eq!(differs.agrees, Some(false));
        assert!(differs.here.starts_with("differs in 1 of 3 runs"), "{}", differs.here);
    }
}
