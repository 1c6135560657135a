//! Comparison of a scenario through the proxy with the direct run.

use super::played::Played;
use super::{Against, Path};
use crate::client::Way;
use crate::lab::differ::{Chance, change, differences};
use crate::lab::observe::Untold;
use crate::lab::race::Tally;
use crate::lab::report::{Change, Race, Row, RowOutcome, Via};
use crate::lab::scenario::{Elsewhere, Scenario};
use crate::lab::words::counted;
use crate::machine::close::Kind;

/// The run through the proxy; of a race the worst run.
struct Through {
    via: Via,
    untold: Option<Untold>,
}

impl Against<'_> {
    /// Plays the scenario through the proxy. `sent` is the number of bytes that the client sent
    /// directly.
    pub(super) fn through(
        &mut self,
        scenario: &'static Scenario,
        way: Way,
        row: Row,
        sent: u64,
    ) -> Row {
        if self.via.is_none() || !self.direct.is_well() {
            return row;
        }
        if !self.revives(Path::Through) {
            return uncompared(row, &format!("the proxy: {}", self.side(Path::Through).says()));
        }
        let Some(direct) = &row.race else {
            let mut played = self.plays(Path::Through, scenario, way);
            let dead = self.survives(Path::Through, scenario, played.reached());
            played.seen.serves = self.side(Path::Through).is_well();
            // Now, because its last packets came before the reply to the health check.
            self.looks(Path::Through, scenario, &mut played);
            let through = compared(scenario, &row, played, sent);
            return judged(row, through, dead, None);
        };
        // As many runs as directly.
        let runs = direct.runs;
        let mut tally = Tally::default();
        let (mut worst, mut reached): (Option<Through>, bool) = (None, true);
        for run in 0..runs {
            let played = self.runs(Path::Through, scenario, way, run);
            if self.look.options.is_stopped() {
                break; // an interrupted run does not count
            }
            reached = played.reached();
            let told = played.told.as_ref().and_then(|told| told.as_ref().ok()).cloned();
            let goes_on = reached && told.is_some();
            tally.counts(told, None);
            let through = compared(scenario, &row, played, sent);
            if worst.as_ref().is_none_or(|worst| through.via.change > worst.via.change) {
                worst = Some(through);
            }
            if !goes_on {
                break; // the other runs would have no verdict either
            }
        }
        let address = self.side(Path::Through).address;
        self.wire.unwatch(address);
        self.wire.watch(address);
        let dead = self.survives(Path::Through, scenario, reached);
        let Some(mut worst) = worst else {
            return uncompared(row, "a run that is not interrupted");
        };
        worst.via.seen.serves = self.side(Path::Through).is_well();
        judged(row, worst, dead, Some(tally.into_race()))
    }
}

/// The row without a run through the proxy. A row that failed directly stays failed.
fn uncompared(row: Row, needs: &str) -> Row {
    match row.outcome {
        RowOutcome::Failed => row,
        _ => Row { outcome: RowOutcome::Skipped, note: format!("needs {needs}"), ..row },
    }
}

/// Compares one run with the direct run.
fn compared(scenario: &Scenario, row: &Row, played: Played, sent: u64) -> Through {
    let right: &[Kind] = match scenario.elsewhere() {
        Elsewhere::Race(kinds) | Elsewhere::Forced(kinds) => kinds,
        Elsewhere::Skip(_) => &[],
    };
    let (wire, log) = (played.wire(), played.log());
    let (verdict, evidence) = played.said();
    let sent = (sent, played.sent());
    let untold = played.told.and_then(Result::err);
    let mut via = Via {
        wire,
        seen: played.seen,
        verdict,
        evidence,
        log,
        race: None,
        change: Change::Same,
        differs: Vec::new(),
        note: untold.as_ref().map(Untold::to_string),
    };
    let chance = Chance::of(scenario);
    via.differs = differences(row, &via, chance, right, sent);
    if let (Some(verdict), Some(Untold::NeverSeen(why))) = (&row.verdict, &untold) {
        via.differs.push(format!("the server reports {verdict} → nothing: {why}"));
    }
    via.change = change(row, &via, chance);
    Through { via, untold }
}

/// The row with the result through the proxy.
fn judged(row: Row, through: Through, dead: Option<String>, race: Option<Race>) -> Row {
    let Through { mut via, untold } = through;
    if let Some(race) = race.as_ref().filter(|_| via.change != Change::Same) {
        let odds: Vec<_> = race.verdicts.iter().map(|(kind, n)| format!("{kind} ×{n}")).collect();
        let runs = counted(race.runs.into(), "run");
        via.differs.push(format!("through the proxy, {runs}: {}", odds.join(", ")));
    }
    via.race = race;
    let is_open = untold.is_some_and(|why| !matches!(why, Untold::NeverSeen(_)));
    let note = match (dead, &via.note) {
        (Some(dead), _) if row.outcome != RowOutcome::Failed => {
            Some((RowOutcome::Failed, format!("through the proxy: {dead}")))
        }
        // If the client saw a change, the row differs even without a verdict.
        (None, Some(why))
            if is_open && row.outcome == RowOutcome::Ok && via.change == Change::Same =>
        {
            Some((RowOutcome::Skipped, format!("needs a verdict: through the proxy {why}")))
        }
        _ => None,
    };
    match note {
        Some((outcome, note)) => Row { via: Some(via), outcome, note, ..row },
        None => Row { via: Some(via), ..row },
    }
}
