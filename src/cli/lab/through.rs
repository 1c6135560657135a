//! Table of a run through a proxy: a summary of the changes, then one line for each row.

use std::time::Duration;

use super::rows::{self, Column, Line, Need};
use super::{Mark, Screen, brief, text};
use crate::cli::fit;
use crate::lab::summary::{Claims, Summary, is_compared};
use crate::lab::words::{counted, span};
use crate::lab::{Change, LabReport, Log, Row, Via};

/// The changes by the proxy, one line for each kind: its name, its count, and its scenarios.
pub(super) fn groups(summary: &Summary) -> Vec<(String, String)> {
    let names = summary.groups.iter().map(|group| fit::width(group.effect.says())).max();
    let line = |group: &crate::lab::summary::Group| {
        let name = fit::pad(group.effect.says(), names.unwrap_or(0));
        let count = format!("{} of {}", group.ids.len(), group.of);
        (format!("{name}  {}", fit::pad(&count, 8)), group.ids.join(", "))
    };
    summary.groups.iter().map(line).collect()
}

/// The heading of the groups.
pub(super) fn heading(summary: &Summary) -> String {
    match (summary.compared, summary.groups.is_empty()) {
        (0, _) => "No row could be compared with the direct connection.".to_owned(),
        (compared, true) => {
            let rows = counted(compared as u64, "row");
            format!("Through this proxy nothing changes ({rows} compared).")
        }
        (compared, false) => {
            let changed = compared - summary.same;
            let rows = counted(compared as u64, "row");
            let lost = match summary.lost {
                0 => String::new(),
                1 => ", 1 loses a reply".to_owned(),
                lost => format!(", {lost} lose a reply"),
            };
            format!("Through this proxy ({changed} of {rows} changed{lost}):")
        }
    }
}

/// The sentence about replies that the server reports as delivered and that the client did not
/// read.
pub(super) fn claims(claims: Claims) -> Option<String> {
    let Claims { direct, via } = claims;
    let connections = counted(via as u64, "connection");
    let directly = match direct {
        0 => String::new(),
        direct => format!(" (directly: {direct})"),
    };
    (via > 0).then(|| {
        format!(
            "The server reports \"delivered\" for {connections} whose client had not read the \
             reply{directly}."
        )
    })
}

/// The columns, a line for each row that was played, and whether the verdicts are without "peer_".
pub(super) fn rows(report: &LabReport, screen: &Screen) -> (Vec<Column>, Vec<Line>, bool) {
    let is_observed = report.rows.iter().any(|row| row.verdict.is_some());
    let columns = vec![
        Column::new(if is_observed { "server, direct" } else { "client, direct" }, Need::Shown),
        Column::new("through the proxy", Need::Shown),
        Column::new("differences", Need::Rest),
    ];
    let lines = |is_brief: bool| -> Vec<Line> {
        let played = report.rows.iter().filter(|row| !super::is_left_out(row));
        played.map(|row| line(row, is_observed, is_brief)).collect()
    };
    let whole = lines(false);
    if rows::fit(&columns, &whole, screen.columns) {
        return (columns, whole, false);
    }
    (columns, lines(true), is_observed)
}

fn line(row: &Row, is_observed: bool, is_brief: bool) -> Line {
    let short = |verdict: &str| match verdict.strip_prefix("peer_").filter(|_| is_brief) {
        Some(short) => short.to_owned(),
        None => verdict.to_owned(),
    };
    let direct = match (is_observed, &row.verdict, &row.seen) {
        (true, Some(verdict), _) => short(verdict),
        (false, _, Some(seen)) => text::back_brief(seen),
        _ => String::new(),
    };
    let through = match &row.via {
        Some(via) if is_compared(row) => {
            let through = match (is_observed, &via.verdict) {
                (true, Some(verdict)) => short(verdict),
                (true, None) if via.log == Some(Log::NeverSeen) => "never accepted".to_owned(),
                _ => text::back_brief(&via.seen),
            };
            match (through == direct, via.change) {
                (true, Change::Differs) => otherwise(row, via),
                (true, _) => "=".to_owned(),
                (false, _) => through,
            }
        }
        _ => "not compared".to_owned(),
    };
    let differences = row.via.as_ref().map(|via| differences(via).join("; ")).unwrap_or_default();
    let below = row.via.as_ref().filter(|via| via.change == Change::Lost).map(|via| lost(row, via));
    Line {
        mark: Mark::of(row, true),
        id: row.id.clone(),
        client: brief::client(row).to_owned(),
        cells: vec![direct, through, differences],
        below,
    }
}

/// The difference in few words, if the server's verdict is the same.
fn otherwise(row: &Row, via: &Via) -> String {
    let Some(direct) = &row.seen else { return "=".to_owned() };
    match (direct.end == via.seen.end, via.seen.end_us) {
        (false, _) => format!("client sees {}", text::end(&via.seen)),
        (true, Some(us)) if direct.bytes == via.seen.bytes => {
            format!("ends after {}", span(Duration::from_micros(us)))
        }
        _ => format!("client got {}", text::came(&via.seen)),
    }
}

/// The differences without the verdicts, which have their own columns.
fn differences(via: &Via) -> Vec<&str> {
    let is_verdict = |difference: &&str| {
        via.verdict.as_ref().is_none_or(|verdict| !difference.ends_with(verdict.as_str()))
    };
    via.differs.iter().map(String::as_str).filter(is_verdict).collect()
}

/// How much of the reply the client received.
fn lost(row: &Row, via: &Via) -> String {
    match (via.seen.reply, &row.seen) {
        (Some(reply), _) if reply.missing() > 0 => {
            format!("the client got {}", text::of_reply(reply.got, reply.of))
        }
        (_, Some(direct)) if direct.bytes > via.seen.bytes => {
            format!("the client got {} bytes, directly {}", via.seen.bytes, direct.bytes)
        }
        _ => via.differs.join("; "),
    }
}

/// The legend of the table.
pub(super) fn legend(report: &LabReport, is_brief: bool) -> Vec<&'static str> {
    let mut lines =
        vec!["=: the same; !: different; !!: a reply is lost; no mark: both are correct."];
    if is_brief {
        lines.push("The verdicts are shown without \"peer_\".");
    }
    if report.rows.iter().all(|row| row.verdict.is_none()) {
        lines.push("--observe FILE adds the verdicts of the server behind the proxy.");
    }
    lines.push("--long shows the wire, the evidence and all differences.");
    lines
}
