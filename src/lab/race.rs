//! The odds of a race.

use std::collections::BTreeMap;

use super::judge::{self, Told};
use super::recv_loop::LastRecv;
use super::report::{Outcome, Race, Row};
use super::scenario::Scenario;

/// The odds of a race so far.
#[derive(Default)]
pub(super) struct Tally {
    race: Race,
    /// One of each kind that came.
    told: Vec<Told>,
    recvs: Vec<LastRecv>,
    complaint: Option<String>,
    /// No verdict came: none will.
    lost: bool,
}

impl Tally {
    /// How often it was run.
    pub(super) fn runs(&self) -> u32 {
        self.race.runs
    }

    /// Whether to run it again is of no use.
    pub(super) fn is_over(&self) -> bool {
        self.lost
    }

    /// One more run: what the server said, and what is wrong with that.
    pub(super) fn counts(&mut self, told: Option<Told>, complaint: Option<String>) {
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

    pub(super) fn hears(&mut self, last: Option<LastRecv>) {
        let name = last.map_or("nothing".to_owned(), LastRecv::name);
        *self.race.recv_loop.entry(name).or_default() += 1;
        if let Some(last) = last.filter(|last| !self.recvs.contains(last)) {
            self.recvs.push(last);
        }
    }

    /// The row: what came most often stands for all of the `repeat` runs.
    pub(super) fn row(self, scenario: &Scenario, repeat: u32, row: &Row) -> Row {
        let runs = self.race.runs;
        let interrupted = (runs < repeat).then(|| format!("interrupted after {runs} runs"));
        let complaint = self.complaint.or(interrupted);
        let verdict = most(&self.race.verdicts);
        let told = self.told.into_iter().find(|it| Some(it.kind.name()) == verdict.as_deref());
        let recv = most(&self.race.recv_loop);
        let recv = self.recvs.iter().find(|it| Some(it.name()) == recv).map(|it| it.says());
        // The article is about recv loops.
        let article = scenario
            .experiment
            .filter(|_| !self.race.recv_loop.is_empty())
            .map(|it| judge::article(&it, recv.as_ref(), verdict.as_deref(), Some(&self.race)));
        Row {
            wire: format!("→ 14 bytes → FIN {}; or → 14 bytes ← 37 bytes → RST", scenario.then),
            recv_loop: recv,
            evidence: told.map(|told| told.evidence),
            verdict,
            outcome: if complaint.is_some() { Outcome::Failed } else { Outcome::Ok },
            article,
            race: Some(self.race),
            note: complaint.unwrap_or_else(|| scenario.why.to_owned()),
            ..row.clone()
        }
    }
}

/// The name that was counted most often.
fn most(counts: &BTreeMap<String, u32>) -> Option<String> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name.clone())
}
