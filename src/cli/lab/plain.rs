//! Table of a run without a proxy: one line for each row.

use super::rows::{Column, Line, Need};
use super::{Mark, brief, text};
use crate::lab::{LabReport, Row, WireSource};

const LOST: Column = Column { head: "lost", need: Need::Wanted, at_right: true };

/// The columns, and a line for each row that was played.
pub(super) fn rows(report: &LabReport) -> (Vec<Column>, Vec<Line>) {
    let is_observed = report.rows.iter().any(|row| row.verdict.is_some());
    let is_own = report.rows.iter().any(|row| row.recv_loop.is_some());
    let mut columns = Vec::new();
    if is_own {
        columns.push(Column::new("recv loop", Need::Wanted));
    } else {
        columns.push(Column::new("the client got", Need::Shown));
    }
    if is_observed {
        columns.extend([Column::new("verdict", Need::Shown), LOST]);
        columns.push(Column::new("evidence", Need::Rest));
    } else {
        let head = match report.wire {
            WireSource::Expected => "on the wire, expected",
            WireSource::Seen => "on the wire, seen",
        };
        columns.push(Column::new(head, Need::Rest));
    }
    let line = |row: &Row| {
        let mut cells = Vec::new();
        if is_own {
            let says = row.recv_loop.as_ref().map(text::recv_brief);
            cells.push(says.unwrap_or_default().to_owned());
        } else {
            cells.push(row.seen.as_ref().map(text::back_brief).unwrap_or_default());
        }
        if is_observed {
            let evidence = row.evidence.as_ref();
            cells.push(row.verdict.clone().unwrap_or_default());
            cells.push(evidence.map(text::lost).unwrap_or_default());
            cells.push(evidence.map(text::evidence_brief).unwrap_or_default());
        } else {
            cells.push(row.wire.clone());
        }
        let (id, client) = (row.id.clone(), brief::client(row).to_owned());
        Line { mark: Mark::of(row, false), id, client, cells, below: None }
    };
    (columns, report.rows.iter().filter(|row| !super::is_left_out(row)).map(line).collect())
}

/// The legend of the table.
pub(super) fn legend(report: &LabReport) -> Vec<&'static str> {
    let any = |is: fn(&Row) -> bool| report.rows.iter().any(is);
    let mut lines =
        vec!["ok: as expected; =: as expected, same on the wire as another row; X: failed."];
    if any(|row| row.recv_loop.is_some()) {
        lines.push("recv loop: last result of a plain recv loop, 0 (an orderly end) or an errno.");
    }
    if any(|row| row.evidence.is_some()) {
        lines.push("lost: bytes of the reply that the client's TCP did not acknowledge.");
    }
    lines.push("--long shows the wire, the evidence and the reason for each verdict.");
    lines
}
