//! Results of a race, counted over its runs.

use std::collections::BTreeMap;

use super::judge::{self, ServerAccount};
use super::options::Options;
use super::recv_loop::LastRecv;
use super::report::{Race, Row, RowOutcome};
use super::scenario::Scenario;
use super::wire::{self, OnWire};
use crate::machine::close::Kind;

/// The results of a race so far.
#[derive(Default)]
pub(super) struct Tally {
    race: Race,
    /// One account for each verdict that occurred.
    told: Vec<ServerAccount>,
    recvs: Vec<LastRecv>,
    /// The number of runs with each sequence on the wire.
    wires: BTreeMap<String, u32>,
    /// The packets of one run for each verdict.
    seen: Vec<(Kind, OnWire)>,
    /// The packets of the first run that was not as expected.
    contradicted: Option<OnWire>,
    complaint: Option<String>,
    /// A run had no verdict, so no further run will have one.
    lost: bool,
}

impl Tally {
    /// The counts alone.
    pub(super) fn into_race(self) -> Race {
        self.race
    }

    /// The number of finished runs.
    pub(super) fn runs(&self) -> u32 {
        self.race.runs
    }

    /// Whether to run it again.
    pub(super) fn goes_on(&self, options: &Options<'_>) -> bool {
        self.race.runs < options.repeat && !options.is_stopped() && !self.lost
    }

    /// Counts one more run: the server's account, and what is wrong with it.
    pub(super) fn counts(&mut self, told: Option<ServerAccount>, complaint: Option<String>) {
        self.race.runs += 1;
        self.complaint = self.complaint.take().or(complaint);
        let Some(told) = told else {
            self.lost = true;
            return;
        };
        *self.race.verdicts.entry(told.kind.name().to_owned()).or_default() += 1;
        if self.told.iter().all(|known| known.kind != told.kind) {
            self.told.push(told);
        }
    }

    /// Counts the packets of the run that `told` is about, if there is a capture.
    pub(super) fn sees(&mut self, seen: Option<OnWire>, told: Option<&ServerAccount>) {
        let Some(mut seen) = seen else { return };
        *self.wires.entry(seen.wire()).or_default() += 1;
        if let Some(complaint) = seen.complaint.take() {
            self.complaint.get_or_insert(complaint);
            self.contradicted.get_or_insert(seen);
            return;
        }
        let kind = told.map(|told| told.kind);
        if let Some(kind) = kind.filter(|&kind| self.seen.iter().all(|(known, _)| *known != kind)) {
            self.seen.push((kind, seen));
        }
    }

    /// Counts the last result of the recv loop in one run.
    pub(super) fn hears(&mut self, last: Option<LastRecv>) {
        let name = last.map_or("nothing".to_owned(), LastRecv::name);
        *self.race.recv_loop.entry(name).or_default() += 1;
        if let Some(last) = last.filter(|last| !self.recvs.contains(last)) {
            self.recvs.push(last);
        }
    }

    /// The row: the most frequent results represent all of the `repeat` runs.
    pub(super) fn row(self, scenario: &Scenario, repeat: u32, row: &Row) -> Row {
        let runs = self.race.runs;
        let complaint = self.complaint;
        let verdict = most(&self.race.verdicts);
        let is_it = |kind: Kind| Some(kind.name()) == verdict.as_deref();
        let told = self.told.into_iter().find(|it| is_it(it.kind));
        let usual = self.seen.into_iter().find(|(kind, _)| is_it(*kind)).map(|(_, seen)| seen);
        let seen = self.contradicted.or(usual);
        let looked: u32 = self.wires.values().sum();
        let why = match looked {
            0 => scenario.why.to_owned(),
            all if all == self.race.runs => scenario.why.to_owned(),
            some => format!("{}; {some} of {} runs were captured", scenario.why, self.race.runs),
        };
        let why = if runs < repeat { format!("{why}; {runs} of {repeat} runs") } else { why };
        let wire = match looked {
            0 => format!("→ 14 bytes → FIN {}; or → 14 bytes ← 37 bytes → RST", scenario.then),
            _ => wire::ways(&self.wires),
        };
        let recv = most(&self.race.recv_loop);
        let recv = self.recvs.iter().find(|it| Some(it.name()) == recv).map(|it| it.says());
        // The article's results are results of a recv loop.
        let article = scenario
            .experiment
            .filter(|_| !self.race.recv_loop.is_empty())
            .map(|it| judge::article(&it, recv.as_ref(), verdict.as_deref(), Some(&self.race)));
        Row {
            wire,
            peer: seen.as_ref().map(|seen| seen.client.to_string()),
            packets: seen.map(|seen| seen.packets),
            recv_loop: recv,
            evidence: told.map(|told| told.evidence),
            verdict,
            outcome: if complaint.is_some() { RowOutcome::Failed } else { RowOutcome::Ok },
            article,
            race: Some(self.race),
            note: complaint.unwrap_or(why),
            ..row.clone()
        }
    }
}

/// The name with the highest count.
fn most(counts: &BTreeMap<String, u32>) -> Option<String> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name.clone())
}
