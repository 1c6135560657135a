//! What stands in the cells, and below the table.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::words::duration;
use crate::lab::{Outcome, Play, RecvSays, Report, Row, Scenario, WireSource};
use crate::record::Evidence;

/// A column of the table.
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) cell: fn(&Row) -> String,
}

const ID: Column = Column { head: "id", cell: |row| row.id.clone() };
const EXPERIMENT: Column = Column {
    head: "exp.",
    cell: |row| row.experiment.map(|number| number.to_string()).unwrap_or_default(),
};
const CLIENT: Column = Column { head: "the client", cell: |row| row.client.clone() };
const EXPECTED: Column = Column { head: "expected on the wire", cell: |row| row.wire.clone() };
const SEEN: Column = Column { head: "seen on the wire", cell: |row| row.wire.clone() };
const RECV_LOOP: Column = Column {
    head: "bare recv loop, status",
    cell: |row| row.recv_loop.as_ref().map(recv).unwrap_or_default(),
};
const VERDICT: Column = Column {
    head: "closecall, status",
    cell: |row| verdict(row.verdict.as_deref(), row.evidence.as_ref()),
};
const EVIDENCE: Column = Column {
    head: "evidence",
    cell: |row| row.evidence.as_ref().map(evidence).unwrap_or_default(),
};
const OUTCOME: Column = Column { head: "outcome", cell: outcome };

/// The columns that `report` has something for.
pub(super) fn columns(report: &Report) -> Vec<Column> {
    let wire = match report.wire {
        WireSource::Expected => EXPECTED,
        WireSource::Seen => SEEN,
    };
    vec![ID, EXPERIMENT, CLIENT, wire, RECV_LOOP, VERDICT, EVIDENCE, OUTCOME]
}

fn verdict(verdict: Option<&str>, evidence: Option<&Evidence>) -> String {
    match (verdict, evidence) {
        (Some(verdict), Some(Evidence { status, certainty, .. })) => {
            format!("{verdict}, {status}, {certainty}")
        }
        _ => String::new(),
    }
}

fn recv(says: &RecvSays) -> String {
    match says.status {
        Some(status) => format!("{}, {status}", says.recv),
        None => says.recv.clone(),
    }
}

/// Who sent what, the error, the bytes.
fn evidence(evidence: &Evidence) -> String {
    let mut text = match evidence.fin_received {
        Some(true) => "FIN".to_owned(),
        Some(false) => "no FIN".to_owned(),
        None => "FIN unknown".to_owned(),
    };
    // Writing to memory does not fail.
    if let (Some(errno), Some(via)) = (&evidence.errno, &evidence.via) {
        let _ = write!(text, ", {errno} by {via}");
    }
    let _ = write!(text, "; rx {} tx {}", evidence.rx, evidence.tx);
    if let Some(undelivered) = evidence.undelivered {
        let _ = write!(text, " undelivered {undelivered}");
    }
    if evidence.unsent > 0 {
        let _ = write!(text, " unsent {}", evidence.unsent);
    }
    text
}

fn outcome(row: &Row) -> String {
    match row.outcome {
        Outcome::Ok => "ok".to_owned(),
        Outcome::Failed => format!("FAILED: {}", row.note),
        Outcome::Skipped => format!("skipped: {}", row.note),
        Outcome::Same => format!("same as {}", row.same_as.as_deref().unwrap_or("another")),
    }
}

/// Marks that stand in some descriptions of the wire, and what they mean.
const MARKS: [(&str, &str); 4] = [
    (": →", "The numbers before colons say how often it was so."),
    ("⇄", "⇄ stands between what goes to and fro at the same time."),
    (" again", "\"again\" was sent a second time."),
    ("×", "×2 came twice."),
];

/// How to read the table.
pub(super) fn legend(report: &Report) -> String {
    let deadlines = match report.server.deadline_ms {
        Some(ms) => format!(" No deadline is longer than {} here.", duration(ms)),
        None => String::new(),
    };
    let shown = |mark: &str| report.rows.iter().any(|row| row.wire.contains(mark));
    let marks = MARKS.iter().filter(|(mark, _)| shown(mark)).map(|(_, says)| *says);
    let marks: String = marks.map(|says| format!(" {says}")).collect();
    format!(
        "→ goes to the server, ← comes from it; the handshake and acknowledgements are left \
         out.{marks}\n\
         Statuses are the article's: 0 normal, 1 closed by the peer, 2 timeout, 3 any \
         other.{deadlines}\n"
    )
}

/// The columns of the experiments.
pub(super) const EXPERIMENTS_HEAD: [&str; 3] = ["experiment", "the article", "here"];

/// A row of the experiments, if it is one.
pub(super) fn experiment_cells(row: &Row) -> Option<Vec<String>> {
    let article = row.article.as_ref()?;
    Some(vec![row.experiment?.to_string(), article.found.clone(), article.here.clone()])
}

/// The article's five, and what was found here; empty if none of them was played.
pub(super) fn experiments(rows: &[Vec<String>]) -> String {
    let told: String = rows.iter().map(|row| told(row)).collect();
    if told.is_empty() { told } else { format!("The article's experiments\n{told}") }
}

fn told(row: &[String]) -> String {
    let [number, found, here] = [0, 1, 2].map(|column| row[column].as_str());
    format!("  {number}  there: {found}\n     here:  {here}\n")
}

/// How many of each, and whether the server is alive.
pub(super) fn summary(report: &Report) -> String {
    let count = |outcome| report.rows.iter().filter(|row| row.outcome == outcome).count();
    let alive = if report.server.alive { "still answers" } else { "does not answer any more" };
    format!(
        "{} rows: {} ok, {} same, {} skipped, {} failed. The server at {} {alive}.\n",
        report.rows.len(),
        count(Outcome::Ok),
        count(Outcome::Same),
        count(Outcome::Skipped),
        count(Outcome::Failed),
        report.server.address,
    )
}

/// The columns of `--list`.
pub(super) const LIST_HEAD: [&str; 6] =
    ["id", "exp.", "the client", "order", "expected verdict", "why"];

/// A row of `--list`.
pub(super) fn listed(scenario: &Scenario) -> Vec<String> {
    let row = ListRow::of(scenario);
    let order = row.needs.map_or(row.order.to_owned(), |needs| format!("not here: needs {needs}"));
    vec![
        row.id.to_owned(),
        row.experiment.map(|number| number.to_string()).unwrap_or_default(),
        row.client,
        order,
        row.verdicts.join(" or "),
        row.why.to_owned(),
    ]
}

/// The same as JSON.
#[derive(Serialize)]
pub(super) struct ListRow {
    id: &'static str,
    experiment: Option<u8>,
    client: String,
    order: &'static str,
    verdicts: Vec<&'static str>,
    why: &'static str,
    same_as: Option<&'static str>,
    needs: Option<&'static str>,
}

impl ListRow {
    pub(super) fn of(scenario: &Scenario) -> ListRow {
        ListRow {
            id: scenario.id,
            experiment: scenario.experiment.map(|it| it.number),
            client: scenario.client(),
            order: scenario.order.how(),
            verdicts: scenario.verdicts.iter().map(|kind| kind.name()).collect(),
            why: scenario.why,
            same_as: scenario.same_as,
            needs: match scenario.play {
                Play::Skip { needs, .. } => Some(needs),
                Play::Way(_) => None,
            },
        }
    }
}
