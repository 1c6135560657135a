//! Run of the lab: plays the scenarios one after the other.

use super::against::Against;
use super::embedded::Embedded;
use super::judge;
use super::options::{Error, Options, Progress, Tell};
use super::report::{ClientView, LabReport, Row, RowOutcome};
use super::scenario::Scenario;

/// Plays all scenarios, against the external server or against the lab's own, and calls `progress`
/// before each scenario and after each run of a race.
///
/// # Errors
/// Nothing was played.
pub fn run(options: &Options<'_>, progress: &mut dyn FnMut(Progress)) -> Result<LabReport, Error> {
    let planned = |scenarios: &[&Scenario]| u32::try_from(scenarios.len()).ok();
    if let Some(target) = &options.against {
        let mut against = Against::start(options, target)?;
        let scenarios = folded(&options.scenarios);
        let rows = rows(options, &scenarios, progress, |scenario, rows, tell| {
            called(against.row(scenario, tell), rows)
        });
        let (server, via, wire) = against.into_parts();
        let source = wire.source();
        let connections = wire.connections();
        let planned = planned(&scenarios);
        return Ok(LabReport { server, via, wire: source, planned, rows, connections });
    }
    let mut embedded = Embedded::start(options).map_err(Error::Servers)?;
    let rows = rows(options, &options.scenarios, progress, |scenario, rows, tell| {
        compared(embedded.row(scenario, tell), rows)
    });
    let (server, wire) = (embedded.server(), embedded.into_wire());
    let source = wire.source();
    let connections = wire.connections();
    let planned = planned(&options.scenarios);
    Ok(LabReport { server, via: None, wire: source, planned, rows, connections })
}

/// The scenarios without repetitions: the article's second and third experiments repeat the first
/// with other servers, and here there is one server.
fn folded(scenarios: &[&'static Scenario]) -> Vec<&'static Scenario> {
    let is_chosen = |id: &str| scenarios.iter().any(|other| other.id == id);
    let is_again = |it: &Scenario| {
        it.experiment.is_some()
            && it.same_as.is_some_and(|same| it.number() == same && is_chosen(same))
    };
    scenarios.iter().copied().filter(|it| !is_again(it)).collect()
}

/// Plays one scenario after the other. `play` also gets the rows before.
fn rows(
    options: &Options<'_>,
    scenarios: &[&'static Scenario],
    progress: &mut dyn FnMut(Progress),
    mut play: impl FnMut(&'static Scenario, &[Row], Tell<'_>) -> Row,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (done, &scenario) in scenarios.iter().enumerate() {
        if options.is_stopped() {
            break;
        }
        progress(Progress { scenario, done, runs: 0 });
        let row = play(scenario, &rows, &mut |runs| progress(Progress { scenario, done, runs }));
        // An interrupted row has no result, except for the counts of a race so far.
        if !options.is_stopped() || row.race.as_ref().is_some_and(|race| race.runs > 0) {
            rows.push(row);
        }
    }
    rows
}

/// Compares a row with the one that it should be the same as, if that one was played.
fn compared(row: Row, rows: &[Row]) -> Row {
    let Some(first) = same(&row, rows) else { return alone(row) };
    match judge::difference(&row, first) {
        Some(note) if row.outcome == RowOutcome::Same => {
            Row { outcome: RowOutcome::Failed, note, ..row }
        }
        _ => row,
    }
}

/// A row against an external server is the same as another if the client sees the same.
fn called(row: Row, rows: &[Row]) -> Row {
    let sees = |row: &Row| {
        // Messages have different lengths, so the missing bytes are compared.
        let bytes =
            |seen: &ClientView| seen.reply.map_or((seen.bytes, None), |it| (0, Some(it.missing())));
        let seen = row.seen.as_ref().map(|seen| (bytes(seen), seen.end));
        (row.outcome, row.verdict.clone(), seen)
    };
    let Some(first) = same(&row, rows) else { return alone(row) };
    match row.outcome == RowOutcome::Ok && sees(first) == sees(&row) {
        true => Row { outcome: RowOutcome::Same, ..row },
        false => row,
    }
}

/// The row that `row` should be the same as, if it was played.
fn same<'a>(row: &Row, rows: &'a [Row]) -> Option<&'a Row> {
    let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id))?;
    (first.outcome != RowOutcome::Skipped).then_some(first)
}

fn alone(row: Row) -> Row {
    let outcome = match row.outcome {
        RowOutcome::Same => RowOutcome::Ok,
        outcome => outcome,
    };
    Row { outcome, same_as: None, ..row }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::{all, named};
    use super::*;

    #[test]
    fn against_one_server_the_articles_first_three_experiments_are_one() {
        let ids = |scenarios: &[&'static Scenario]| -> Vec<_> {
            folded(scenarios).iter().map(|it| it.id).collect()
        };
        assert_eq!(ids(&named("S2")), ["S2"]);
        assert_eq!(ids(&named("S2 Linux")), ["S2 Linux"], "if it is the only one");
        let every: Vec<_> = all().iter().collect();
        assert_eq!(folded(&every).len(), all().len() - 2);
    }

    #[test]
    fn a_row_is_the_same_as_another_only_if_that_was_played() {
        let row = |id: &str| Row::of(named(id)[0]);
        let four = || Row { outcome: RowOutcome::Same, ..row("S4") };
        let alone = compared(four(), &[]);
        assert_eq!((alone.outcome, alone.same_as), (RowOutcome::Ok, None));
        let skipped = Row { outcome: RowOutcome::Skipped, ..row("S2") };
        assert_eq!(compared(four(), &[skipped]).outcome, RowOutcome::Ok);
        let both = compared(four(), &[row("S2")]);
        assert_eq!((both.outcome, both.same_as.as_deref()), (RowOutcome::Same, Some("S2")));
        assert_eq!(called(row("S4"), &[]).same_as, None);
        assert_eq!(called(row("S4"), &[row("S2")]).outcome, RowOutcome::Same);
    }
}
