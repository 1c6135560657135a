//! Plays the scenarios, one after the other.

use super::against::Against;
use super::embedded::Embedded;
use super::judge;
use super::options::{Error, Options, Progress, Tell};
use super::report::{Outcome, Report, Row};
use super::scenario::Scenario;

/// Plays everything, against the server that is named or against the lab's own, and tells
/// `progress` before each scenario.
///
/// # Errors
/// Nothing was played.
pub fn run(options: &Options<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    if let Some(target) = &options.against {
        let mut against = Against::start(options, target)?;
        let rows = rows(options, progress, |scenario, rows, tell| {
            called(against.row(scenario, tell), rows)
        });
        let (server, via, wire) = against.into_parts();
        let source = wire.source();
        return Ok(Report { server, via, wire: source, rows, connections: wire.connections() });
    }
    let mut embedded = Embedded::start(options).map_err(Error::Servers)?;
    let rows = rows(options, progress, |scenario, rows, tell| {
        compared(embedded.row(scenario, tell), rows)
    });
    let (server, wire) = (embedded.server(), embedded.into_wire());
    let source = wire.source();
    Ok(Report { server, via: None, wire: source, rows, connections: wire.connections() })
}

/// Plays one after the other, and gives each those before it.
fn rows(
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
    mut play: impl FnMut(&'static Scenario, &[Row], Tell<'_>) -> Row,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (done, &scenario) in options.scenarios.iter().enumerate() {
        if options.is_stopped() {
            break;
        }
        progress(Progress { scenario, done, runs: 0 });
        let row = play(scenario, &rows, &mut |runs| progress(Progress { scenario, done, runs }));
        // What was broken off says nothing, but for the odds of a race so far.
        if !options.is_stopped() || row.race.as_ref().is_some_and(|race| race.runs > 0) {
            rows.push(row);
        }
    }
    rows
}

/// A row that is called the same as another has to be.
fn compared(row: Row, rows: &[Row]) -> Row {
    let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id));
    match first.and_then(|first| judge::difference(&row, first)) {
        Some(note) if row.outcome == Outcome::Same => Row { outcome: Outcome::Failed, note, ..row },
        _ => row,
    }
}

/// A row against a server elsewhere is the same as another if a client sees the same.
fn called(row: Row, rows: &[Row]) -> Row {
    let sees = |row: &Row| {
        let seen = row.seen.as_ref().map(|seen| (seen.bytes, seen.end));
        (row.outcome, row.verdict.clone(), seen)
    };
    let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id));
    match first.filter(|_| row.outcome == Outcome::Ok) {
        Some(first) if sees(first) == sees(&row) => Row { outcome: Outcome::Same, ..row },
        _ => row,
    }
}
