//! What stands in the cells, and below the table.

use std::fmt::Write;

use serde::Serialize;

use super::wrap;
use crate::cli::words::duration;
use crate::lab::{
    Outcome, Play, RecvSays, Report, Row, Scenario, Seen, SeenEnd, ServerRow, WireSource,
};
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

/// What a client sees of a server elsewhere.
const BACK: Column = Column {
    head: "back to the client",
    cell: |row| match (&row.seen, row.outcome) {
        // What was waited for in vain is what the outcome says then.
        (Some(seen), Outcome::Failed) => back(&Seen { in_vain: None, ..seen.clone() }),
        (Some(seen), _) => back(seen),
        (None, _) => String::new(),
    },
};
const VIA: Column = Column {
    head: "through the proxy",
    cell: |row| row.via.as_ref().map(|via| back(&via.seen)).unwrap_or_default(),
};
const VIA_VERDICT: Column = Column {
    head: "closecall behind it",
    cell: |row| {
        let Some(via) = &row.via else { return String::new() };
        match &via.note {
            Some(why) => why.clone(),
            None => verdict(via.verdict.as_deref(), via.evidence.as_ref()),
        }
    },
};
const DIFFERS: Column = Column {
    head: "differs: direct → through",
    cell: |row| match &row.via {
        Some(via) if via.differs.is_empty() => "no".to_owned(),
        Some(via) => via.differs.join("; "),
        None => String::new(),
    },
};

/// The columns that `report` has something for.
pub(super) fn columns(report: &Report) -> Vec<Column> {
    let wire = match report.wire {
        WireSource::Expected => EXPECTED,
        WireSource::Seen => SEEN,
    };
    // Nobody but we know our own deadlines.
    if report.server.deadline_ms.is_some() {
        return vec![ID, EXPERIMENT, CLIENT, wire, RECV_LOOP, VERDICT, EVIDENCE, OUTCOME];
    }
    let observed = report.rows.iter().any(|row| row.verdict.is_some());
    let mut columns = vec![ID, CLIENT, wire, BACK];
    columns.extend(observed.then_some([VERDICT, EVIDENCE]).into_iter().flatten());
    if report.via.is_some() {
        columns.push(VIA);
        columns.extend(observed.then_some(VIA_VERDICT));
        columns.push(DIFFERS);
    }
    columns.push(OUTCOME);
    columns
}

/// What came back, how it ended, and when.
fn back(seen: &Seen) -> String {
    let end = match seen.end {
        Some(SeenEnd::Fin) => ", FIN",
        Some(SeenEnd::Reset) => ", RST",
        None => "",
    };
    let after = match seen.end_us {
        Some(us @ ..1_000) => format!(" after 0.{:02} ms", us / 10),
        Some(us) => format!(" after {} ms", us / 1000),
        None => String::new(),
    };
    let in_vain = match &seen.in_vain {
        Some(why) => format!("; {why}"),
        None => String::new(),
    };
    format!("{} bytes{end}{after}{in_vain}", seen.bytes)
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
    let shown = |mark: &str| report.rows.iter().any(|row| row.wire.contains(mark));
    let marks = MARKS.iter().filter(|(mark, _)| shown(mark)).map(|(_, says)| *says);
    let marks: String = marks.map(|says| format!(" {says}")).collect();
    let mut text = format!(
        "→ goes to the server, ← comes from it; the handshake and acknowledgements are left \
         out.{marks}\n"
    );
    if report.rows.iter().any(|row| row.verdict.is_some()) {
        text +=
            "Statuses are the article's: 0 normal, 1 closed by the peer, 2 timeout, 3 any other.";
        text += &match report.server.deadline_ms {
            Some(ms) => format!(" No deadline is longer than {} here.\n", duration(ms)),
            None => "\n".to_owned(),
        };
    }
    text
}

/// The columns of the experiments.
pub(super) const EXPERIMENTS_HEAD: [&str; 3] = ["experiment", "the article", "here"];

/// A row of the experiments, if it is one.
pub(super) fn experiment_cells(row: &Row) -> Option<Vec<String>> {
    let article = row.article.as_ref()?;
    Some(vec![row.experiment?.to_string(), article.found.clone(), article.here.clone()])
}

/// The article's five, and what was found here; empty if none of them was played.
pub(super) fn experiments(rows: &[Vec<String>], width: Option<usize>) -> String {
    let told: String = rows.iter().map(|row| told(row, width)).collect();
    if told.is_empty() { told } else { format!("The article's experiments\n{told}") }
}

fn told(row: &[String], width: Option<usize>) -> String {
    let [number, found, here] = [0, 1, 2].map(|column| row[column].as_str());
    wrap::behind(&format!("  {number}  there: "), found, width)
        + &wrap::behind("     here:  ", here, width)
}

/// How many of each, and how the servers are.
pub(super) fn summary(report: &Report) -> String {
    let count = |outcome| report.rows.iter().filter(|row| row.outcome == outcome).count();
    let differ = match &report.via {
        None => String::new(),
        Some(_) => {
            let differs = |row: &&Row| row.via.as_ref().is_some_and(|it| !it.differs.is_empty());
            format!(", {} differ through the proxy", report.rows.iter().filter(differs).count())
        }
    };
    let mut text = format!(
        "{} rows: {} ok, {} same, {} skipped, {} failed{differ}. {}\n",
        report.rows.len(),
        count(Outcome::Ok),
        count(Outcome::Same),
        count(Outcome::Skipped),
        count(Outcome::Failed),
        health("server", &report.server),
    );
    if let Some(via) = &report.via {
        text += &(health("proxy", via) + "\n");
    }
    text
}

fn health(what: &str, server: &ServerRow) -> String {
    let ServerRow { address, alive, echoes, died_of, hung_in, .. } = server;
    let mut how = Vec::new();
    if *echoes == Some(false) {
        how.push("never echoed".to_owned());
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
        (false, _) => "does not answer any more".to_owned(),
    });
    format!("The {what} at {address} {}.", how.join(", and "))
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
