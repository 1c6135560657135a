//! Differences between a scenario played directly and through a proxy or balancer.

use std::time::Duration;

use super::report::{Change, ClientView, Reply, Row, SeenEnd, Via};
use super::scenario::{Elsewhere, Scenario};
use super::words::{counted, span};
use crate::client::Act;
use crate::machine::close::Kind;

/// Ends within this time of each other count as simultaneous, in microseconds.
const NEAR_US: u64 = 250_000;

/// The results of a scenario that depend on chance and are not compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chance {
    /// Nothing.
    Nothing,
    /// The number of bytes that fit into full buffers, or that arrive before the client closes.
    Bytes,
    /// How the server ends its side.
    End,
    /// Both: everything that the client sees.
    Race,
}

impl Chance {
    /// The results that depend on chance against an external server.
    pub(super) fn of(scenario: &Scenario) -> Chance {
        let script = scenario.script();
        let waits =
            |act: &Act| matches!(act, Act::Hold | Act::Read | Act::ReadHalf | Act::ReadToEnd);
        let has_bytes = script.iter().any(waits) && !script.contains(&Act::Fill);
        match (has_bytes, matches!(scenario.elsewhere(), Elsewhere::Race(_))) {
            (true, false) => Chance::Nothing,
            (false, false) => Chance::Bytes,
            (true, true) => Chance::End,
            (false, true) => Chance::Race,
        }
    }

    fn has_bytes(self) -> bool {
        matches!(self, Chance::Nothing | Chance::End)
    }

    fn has_end(self) -> bool {
        matches!(self, Chance::Nothing | Chance::Bytes)
    }
}

/// Each difference in words, the direct result first. Another verdict out of `right` is no
/// difference. `sent` has the bytes that the client sent directly and through the proxy.
pub(super) fn differences(
    row: &Row,
    via: &Via,
    chance: Chance,
    right: &[Kind],
    sent: (u64, u64),
) -> Vec<String> {
    let Some(direct) = &row.seen else { return Vec::new() };
    let mut all = vec![of_verdicts(row, via, right)];
    if chance.has_bytes() {
        all.push(gets(direct, &via.seen));
        let both = row.evidence.as_ref().zip(via.evidence.as_ref());
        all.push(both.and_then(|(a, b)| taken((a.rx?, sent.0), (b.rx?, sent.1))));
    }
    if chance.has_end() {
        all.push(changed("the client sees", end(direct), end(&via.seen)));
        all.push(when(direct, &via.seen));
    }
    if chance != Chance::Race {
        all.push(changed("the client:", failure(direct), failure(&via.seen)));
    }
    let mut all: Vec<String> = all.into_iter().flatten().collect();
    if let (Some(verdict), Some(reply)) = (&via.verdict, via.seen.reply)
        && is_denied(via)
    {
        let Reply { got, of } = reply;
        all.push(format!("the client got {got} of {of} bytes, but the server reports {verdict}"));
    }
    all
}

/// The kind of change, once the differences are known.
pub(super) fn change(row: &Row, via: &Via, chance: Chance) -> Change {
    let is_less = row.seen.as_ref().is_some_and(|direct| is_less(direct, &via.seen, chance));
    match (is_less || is_denied(via), via.differs.is_empty()) {
        (true, _) => Change::Lost,
        (false, false) => Change::Differs,
        (false, true) => Change::Same,
    }
}

/// Whether the client gets less of its reply through the proxy.
fn is_less(direct: &ClientView, via: &ClientView, chance: Chance) -> bool {
    match (direct.reply.map(Reply::missing), via.reply.map(Reply::missing)) {
        // How much fits into full buffers is chance; whether all of it arrives is not.
        (Some(0), Some(1..)) => chance != Chance::Race,
        (Some(direct), Some(via)) => chance.has_bytes() && via > direct,
        _ => chance.has_bytes() && direct.bytes > 0 && via.bytes == 0,
    }
}

/// Whether the server reports a reply as delivered that the client did not get.
fn is_denied(via: &Via) -> bool {
    let delivered = [Kind::PeerFinDelivered, Kind::PeerFinHalfCloseServed].map(Kind::name);
    let says_so = via.verdict.as_deref().is_some_and(|verdict| delivered.contains(&verdict));
    says_so && via.seen.reply.is_some_and(|reply| reply.missing() > 0)
}

/// Differences in what the client gets. Messages have different lengths, so the missing bytes are
/// compared.
fn gets(direct: &ClientView, via: &ClientView) -> Option<String> {
    let same = match (direct.reply, via.reply) {
        (Some(direct), Some(via)) => direct.missing() == via.missing(),
        _ => direct.bytes == via.bytes,
    };
    let says = |seen: &ClientView| match seen.reply {
        Some(Reply { got, of }) if got < of => format!("{got} of {of} bytes"),
        _ => counted(seen.bytes, "byte"),
    };
    (!same).then(|| format!("the client gets {} → {}", says(direct), says(via)))
}

/// Differences in what the server gets of the sent bytes.
fn taken(direct: (u64, u64), via: (u64, u64)) -> Option<String> {
    let missing = |(rx, sent): (u64, u64)| sent.saturating_sub(rx);
    let says = |(rx, sent)| match sent {
        _ if rx < sent => format!("{rx} of {sent} bytes"),
        _ => counted(rx, "byte"),
    };
    (missing(direct) != missing(via))
        .then(|| format!("the server gets {} → {}", says(direct), says(via)))
}

fn of_verdicts(row: &Row, via: &Via, right: &[Kind]) -> Option<String> {
    let (verdict, other) = (row.verdict.as_deref()?, via.verdict.as_deref()?);
    match right.iter().any(|kind| kind.name() == other) {
        true => None,
        false => changed("the server reports", verdict, other),
    }
}

fn changed(what: &str, direct: &str, via: &str) -> Option<String> {
    (direct != via).then(|| format!("{what} {direct} → {via}"))
}

fn end(seen: &ClientView) -> &'static str {
    match seen.end {
        None => "no end",
        Some(SeenEnd::Fin) => "FIN",
        Some(SeenEnd::Reset) => "RST",
    }
}

/// The same end, but clearly earlier or later.
fn when(direct: &ClientView, via: &ClientView) -> Option<String> {
    let (a, b) = direct.end_us.zip(via.end_us).filter(|_| direct.end == via.end)?;
    let far = a.abs_diff(b) > NEAR_US.max(a / 4);
    let after = |us| span(Duration::from_micros(us));
    far.then(|| format!("the server ends its side after {} → {}", after(a), after(b)))
}

fn failure(seen: &ClientView) -> &str {
    seen.in_vain.as_deref().unwrap_or("no failure")
}

#[cfg(test)]
mod tests {
    use super::super::scenario::all;
    use super::*;

    fn seen(bytes: u64, end_us: u64) -> ClientView {
        let (end, end_us) = (Some(SeenEnd::Fin), Some(end_us));
        ClientView { bytes, reply: None, end, end_us, in_vain: None, serves: true }
    }

    fn via(seen: ClientView) -> Via {
        Via {
            wire: String::new(),
            seen,
            verdict: None,
            evidence: None,
            log: None,
            race: None,
            change: Change::Same,
            differs: Vec::new(),
            note: None,
        }
    }

    fn said(kind: Kind) -> Option<String> {
        Some(kind.name().to_owned())
    }

    fn differ(direct: ClientView, through: ClientView, chance: Chance) -> Vec<String> {
        let row = Row { seen: Some(direct), ..Row::of(&all()[0]) };
        differences(&row, &via(through), chance, &[], (14, 14))
    }

    #[test]
    fn equal_results_do_not_differ() {
        assert_eq!(differ(seen(37, 400), seen(37, 900), Chance::Nothing), Vec::<String>::new());
        // A tenth of a second is a network, a second of ten is noise.
        assert_eq!(differ(seen(37, 400), seen(37, 200_000), Chance::Nothing), Vec::<String>::new());
        assert_eq!(
            differ(seen(0, 10_000_000), seen(0, 11_000_000), Chance::Nothing),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_difference_has_its_text() {
        let reset = ClientView { end: Some(SeenEnd::Reset), ..seen(0, 900) };
        let all = differ(seen(37, 400), reset, Chance::Nothing);
        assert_eq!(all, ["the client gets 37 bytes → 0 bytes", "the client sees FIN → RST"]);
        let sooner = differ(seen(37, 10_000_000), seen(37, 5_000_000), Chance::Nothing);
        assert_eq!(sooner, ["the server ends its side after 10 s → 5 s"]);
        let timed_out = ClientView { in_vain: Some("timed out".to_owned()), ..seen(37, 400) };
        let all = differ(seen(37, 400), timed_out, Chance::Nothing);
        assert_eq!(all, ["the client: no failure → timed out"]);
    }

    #[test]
    fn another_verdict_that_is_right_is_no_difference() {
        let row = Row {
            seen: Some(seen(37, 400)),
            verdict: said(Kind::PeerFinReplyRefused),
            ..Row::of(&all()[0])
        };
        let right = [Kind::PeerFinReplyRefused, Kind::PeerResetReplyAcked];
        let differs = |kind| {
            let via = Via { verdict: said(kind), ..via(seen(0, 400)) };
            differences(&row, &via, Chance::Race, &right, (14, 14))
        };
        assert_eq!(differs(Kind::PeerResetReplyAcked), Vec::<String>::new());
        let says = ["the server reports peer_fin.reply_refused → peer_fin.delivered"];
        assert_eq!(differs(Kind::PeerFinDelivered), says);
    }

    #[test]
    fn a_reply_that_the_client_does_not_get_is_lost() {
        let got = |got| ClientView { reply: Some(Reply { got, of: 37 }), ..seen(got, 400) };
        let through = |got_through, verdict: Kind, chance, got_directly| {
            let row = Row { seen: Some(got(got_directly)), ..Row::of(&all()[0]) };
            let via = Via { verdict: said(verdict), ..via(got(got_through)) };
            change(&row, &via, chance)
        };
        let acked = Kind::PeerResetReplyAcked;
        assert_eq!(through(0, acked, Chance::Nothing, 37), Change::Lost);
        assert_eq!(through(36, acked, Chance::Bytes, 37), Change::Lost);
        assert_eq!(through(0, acked, Chance::Bytes, 20), Change::Same, "buffers");
        assert_eq!(through(0, acked, Chance::Race, 0), Change::Same);
        for delivered in [Kind::PeerFinDelivered, Kind::PeerFinHalfCloseServed] {
            assert_eq!(through(0, delivered, Chance::Race, 0), Change::Lost, "it says so");
            assert_eq!(through(37, delivered, Chance::Race, 0), Change::Same);
        }
    }

    #[test]
    fn how_many_bytes_fill_the_buffers_is_chance() {
        assert_eq!(
            differ(seen(9_000_000, 400), seen(8_000_000, 400), Chance::Bytes),
            Vec::<String>::new()
        );
    }
}
