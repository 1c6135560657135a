//! Report as text: for a terminal, or as Markdown for an issue.

use super::rows;
use super::summary::{self, Reason};
use super::{Mark, Screen, long, markdown, plain, through};
use crate::cli::fit::{behind, paragraphs};
use crate::cli::say;
use crate::cli::values::Format;
use crate::lab::{LabReport, summary as changes};

/// The report in this format; with all details of each row if `is_long`.
pub(super) fn shown(report: &LabReport, format: Format, is_long: bool, screen: &Screen) -> String {
    let sections = match format {
        Format::Json => return say::json(report),
        Format::Table => table(report, is_long, screen),
        Format::Markdown => issue(report, is_long),
    };
    let sections = sections.into_iter().filter(|section| !section.is_empty());
    sections.collect::<Vec<_>>().join("\n")
}

/// The sections of the table. The changes by a proxy come first; without a proxy, the summary.
fn table(report: &LabReport, is_long: bool, screen: &Screen) -> Vec<String> {
    let end = end(report, screen);
    let Some(changes) = changes::changes(report) else {
        let (columns, lines) = plain::rows(report);
        let rows = match (is_long, lines.is_empty()) {
            (true, _) => long::blocks(report, screen),
            (false, true) => return vec![end],
            (false, false) => rows::table(&columns, &lines, screen),
        };
        let legend = if is_long { long::legend(report) } else { plain::legend(report) };
        return vec![end, rows, legend_of(&legend, screen)];
    };
    let mut head = paragraphs(&through::heading(&changes), screen.columns);
    for (name, ids) in through::groups(&changes) {
        head += &behind(&format!("  {name}  "), &ids, screen.columns);
    }
    let claims = changes.claims.and_then(through::claims);
    head += &claims.map(|claims| paragraphs(&claims, screen.columns)).unwrap_or_default();
    if is_long {
        let legend = legend_of(&long::legend(report), screen);
        return vec![head, long::blocks(report, screen), legend, end];
    }
    let (columns, lines, is_brief) = through::rows(report, screen);
    let rows = match lines.is_empty() {
        true => String::new(),
        false => rows::table(&columns, &lines, screen),
    };
    let legend = legend_of(&through::legend(report, is_brief), screen);
    vec![head, rows, legend, end]
}

fn legend_of(lines: &[&str], screen: &Screen) -> String {
    lines.iter().map(|line| behind("", line, screen.columns)).collect()
}

/// The summary: counts by outcome, failures with reasons, and the state of the servers.
fn end(report: &LabReport, screen: &Screen) -> String {
    let lines = sentences(report);
    let mut text: String = lines.iter().map(|line| paragraphs(line, screen.columns)).collect();
    let told = |what: &str, reason: Reason, mark: Mark| {
        let says = format!("{}: {}", reason.ids.join(", "), reason.note);
        screen.behind(&format!("{what}  "), &says, mark)
    };
    text.extend(summary::failures(report).into_iter().map(|it| told("FAILED ", it, Mark::Failed)));
    text.extend(summary::skips(report).into_iter().map(|it| told("skipped", it, Mark::Skipped)));
    text
}

fn sentences(report: &LabReport) -> Vec<String> {
    let mut lines: Vec<String> = summary::interrupted(report).into_iter().collect();
    lines.push(summary::counts(report));
    lines.extend(summary::servers(report));
    lines.extend(summary::capture(report));
    lines.extend(summary::experiments(report));
    lines
}

/// The sections in Markdown: lists, and a table with one line for each row.
fn issue(report: &LabReport, is_long: bool) -> Vec<String> {
    let mut sections = Vec::new();
    if let Some(changes) = changes::changes(report) {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let group = |(name, ids): (String, String)| format!("{}: {ids}", squeezed(&name));
        let groups: Vec<_> = through::groups(&changes).into_iter().map(group).collect();
        sections.push(through::heading(&changes) + "\n");
        sections.push(markdown::list(&groups));
        let claims = changes.claims.and_then(through::claims);
        sections.push(claims.map(|claims| claims + "\n").unwrap_or_default());
    }
    let mut lines = sentences(report);
    let told = |what, reason: Reason| format!("{what} {}: {}", reason.ids.join(", "), reason.note);
    lines.extend(summary::failures(report).into_iter().map(|it| told("FAILED", it)));
    lines.extend(summary::skips(report).into_iter().map(|it| told("skipped", it)));
    sections.push(markdown::list(&lines));
    sections.push(if is_long { long::markdown(report) } else { one_line_a_row(report) });
    sections
}

/// The table in Markdown, which is never cut.
fn one_line_a_row(report: &LabReport) -> String {
    let endless = Screen { columns: usize::MAX, has_colours: false };
    let (columns, lines) = match report.via {
        None => plain::rows(report),
        Some(_) => {
            let (columns, lines, _) = through::rows(report, &endless);
            (columns, lines)
        }
    };
    if lines.is_empty() {
        return String::new();
    }
    let heads = ["", "id", "the client"].into_iter().chain(columns.iter().map(|it| it.head));
    let row = |line: &rows::Line| {
        let client = report.rows.iter().find(|row| row.id == line.id).map(|row| &row.client);
        let client = client.unwrap_or(&line.client).clone();
        let mut cells = vec![line.mark.text().to_owned(), line.id.clone(), client];
        cells.extend(line.cells.iter().cloned());
        // Markdown rows have no second line.
        if let (Some(below), Some(last)) = (&line.below, cells.last_mut()) {
            *last = if last.is_empty() { below.clone() } else { format!("{below}; {last}") };
        }
        cells
    };
    markdown::table(&heads.collect::<Vec<_>>(), &lines.iter().map(row).collect::<Vec<_>>())
}
