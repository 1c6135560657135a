//! Summary of a report: counts by outcome, failures with reasons, and the state of the servers.

use super::Mark;
use crate::cli::words::duration;
use crate::lab::summary::is_compared;
use crate::lab::words::counted;
use crate::lab::{LabReport, Row, RowOutcome, ServerRow, WireSource};

/// A reason, and all rows with it.
pub(super) struct Reason {
    pub(super) note: String,
    pub(super) ids: Vec<String>,
}

/// The counts by outcome.
pub(super) fn counts(report: &LabReport) -> String {
    let count = |is: &[Mark]| {
        let marks = report.rows.iter().map(|row| Mark::of(row, report.via.is_some()));
        marks.filter(|mark| is.contains(mark)).count()
    };
    let mut parts = match report.via {
        None => vec![
            format!("{} ok", count(&[Mark::Ok])),
            format!("{} same as another row", count(&[Mark::Same])),
        ],
        Some(_) => vec![
            format!("{} the same", count(&[Mark::None, Mark::Ok, Mark::Same])),
            format!("{} differ", count(&[Mark::Differs])),
            format!("{} lost", count(&[Mark::Lost])),
        ],
    };
    parts.push(format!("{} failed", count(&[Mark::Failed])));
    match (count(&[Mark::Skipped]), report.rows.iter().any(super::is_left_out)) {
        (0, _) => {}
        (skipped, false) => parts.push(format!("{skipped} skipped")),
        (skipped, true) => parts.push(format!("{skipped} skipped (see --list)")),
    }
    format!("{}: {}.", counted(report.rows.len() as u64, "row"), parts.join(", "))
}

/// The sentence about an interrupt, if there was one.
pub(super) fn interrupted(report: &LabReport) -> Option<String> {
    let planned = report.planned.filter(|_| report.is_cut_short())?;
    Some(format!("Interrupted after {} of {planned} rows.", report.rows.len()))
}

/// The sentences about the state of the servers.
pub(super) fn servers(report: &LabReport) -> Vec<String> {
    let is_well = |it: &&ServerRow| {
        it.alive && it.echoes == Some(true) && it.died_of.is_empty() && it.hung_in.is_empty()
    };
    if let (Some(server), Some(via)) =
        (Some(&report.server).filter(is_well), report.via.as_ref().filter(is_well))
    {
        let (server, via) = (&server.address, &via.address);
        return vec![format!("The server at {server} and the proxy at {via} still answer.")];
    }
    let mut lines = vec![health("server", &report.server)];
    lines.extend(report.via.as_ref().map(|via| health("proxy", via)));
    if let Some(ms) = report.server.deadline_ms {
        lines[0] += &format!(" Its deadlines: {} at most.", duration(ms));
    }
    lines
}

/// The sentence about the capture, if there was one.
pub(super) fn capture(report: &LabReport) -> Option<String> {
    let is_seen = report.wire == WireSource::Seen;
    is_seen.then(|| "Each row was compared with its packets (--long shows them).".to_owned())
}

/// The reasons of failed rows.
pub(super) fn failures(report: &LabReport) -> Vec<Reason> {
    reasons(report, |row| row.outcome == RowOutcome::Failed)
}

/// The reasons of rows that were skipped during the run. The reasons that are known before the run
/// are in `--list`, and appear here only if no row was played.
pub(super) fn skips(report: &LabReport) -> Vec<Reason> {
    let is_all_left_out = report.rows.iter().all(super::is_left_out);
    let is_told = |row: &Row| match row.outcome {
        RowOutcome::Skipped => is_all_left_out || !super::is_left_out(row),
        RowOutcome::Failed => false,
        RowOutcome::Ok | RowOutcome::Same => report.via.is_some() && !is_compared(row),
    };
    reasons(report, is_told)
}

fn reasons(report: &LabReport, is_told: impl Fn(&Row) -> bool) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for row in report.rows.iter().filter(|row| is_told(row)) {
        let unknown = row.via.as_ref().and_then(|via| via.note.as_ref());
        let note = unknown.filter(|_| row.outcome != RowOutcome::Failed).unwrap_or(&row.note);
        match reasons.iter_mut().find(|reason| reason.note == *note) {
            Some(reason) => reason.ids.push(row.id.clone()),
            None => reasons.push(Reason { note: note.clone(), ids: vec![row.id.clone()] }),
        }
    }
    reasons
}

/// The sentence about the article's experiments; `None` if none of them was played.
pub(super) fn experiments(report: &LabReport) -> Option<String> {
    let came = |agrees: bool| -> Vec<String> {
        let its = report.rows.iter().filter(|row| {
            row.article.as_ref().is_some_and(|article| article.agrees == Some(agrees))
        });
        its.filter_map(|row| row.experiment).map(|number| number.to_string()).collect()
    };
    let text = match (came(true), came(false)) {
        (same, other) if same.is_empty() && other.is_empty() => return None,
        (same, other) if other.is_empty() => format!("same result here in {}", same.join(", ")),
        (same, other) if same.is_empty() => {
            format!("different result here in {}", other.join(", "))
        }
        (same, other) => {
            format!("same result here in {}; different in {}", same.join(", "), other.join(", "))
        }
    };
    Some(format!("The article's experiments: {text} (see --long)."))
}

fn health(what: &str, server: &ServerRow) -> String {
    let ServerRow { address, alive, echoes, died_of, hung_in, .. } = server;
    let mut how = Vec::new();
    if *echoes == Some(false) {
        how.push("never echoed (use --any-reply for such a server)".to_owned());
    }
    for (what, scenarios) in [("did not survive", died_of), ("hung after", hung_in)] {
        if !scenarios.is_empty() {
            how.push(format!("{what} {}", scenarios.join(", ")));
        }
    }
    how.push(match (alive, how.len()) {
        (true, _) if echoes.is_none() => "accepts".to_owned(),
        (true, 0) => "still answers".to_owned(),
        (true, _) if *echoes == Some(true) => "answers again".to_owned(),
        (true, _) => "still accepts".to_owned(),
        (false, _) => "no longer answers".to_owned(),
    });
    format!("The {what} at {address} {}.", how.join(", and "))
}
