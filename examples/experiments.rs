//! Writes docs/EXPERIMENTS.md: plays the whole lab with a packet capture, and inserts the results
//! into docs/EXPERIMENTS.template.md, whose text and diagrams are written by hand.
//!
//! `make experiments` runs it. It needs Linux and CAP_NET_RAW. As an example it is compiled by
//! `cargo test`, uses only the public library, and is not part of the installed program.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use closecall::lab::capture::{Capture, Packet};
use closecall::lab::{self, LabReport, Options, Race, Row, RowOutcome};
use closecall::record::EvidenceRecord;

/// Of a long connection the first and the last packets are shown.
const FIRST_PACKETS: usize = 14;
const LAST_PACKETS: usize = 10;

/// How often the race is run, as `closecall lab` does.
const REPEAT: u32 = 200;

#[allow(clippy::print_stderr)] // it is a program, and this is what it says
fn main() -> ExitCode {
    match written() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docs/EXPERIMENTS.md is left as it is: {error}");
            ExitCode::FAILURE
        }
    }
}

fn written() -> Result<(), Box<dyn Error>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let template = std::fs::read_to_string(docs.join("EXPERIMENTS.template.md"))?;
    let report = played()?;
    let text = filled(&template, &report)?;
    std::fs::write(docs.join("EXPERIMENTS.md"), text)?;
    Ok(())
}

/// The whole lab, with nothing wrong in it and no packet missing.
fn played() -> Result<LabReport, Box<dyn Error>> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    let capture =
        Capture::start().map_err(|error| format!("no capture (Linux, CAP_NET_RAW): {error}"))?;
    let options = Options {
        scenarios: lab::all().iter().collect(),
        repeat: REPEAT,
        holder: vec![OsString::from("cat")],
        capture: Some(&capture),
        against: None,
        stop: &NEVER,
    };
    let report = lab::run(&options, &mut |_| ())?;
    if !capture.losses().is_none() {
        return Err(capture.losses().to_string().into());
    }
    match report.rows.iter().find(|row| row.outcome == RowOutcome::Failed) {
        Some(failed) => Err(format!("{} failed: {}", failed.id, failed.note).into()),
        None => Ok(report),
    }
}

/// The template, with something in each place.
fn filled(template: &str, report: &LabReport) -> Result<String, Box<dyn Error>> {
    let mut text = String::with_capacity(2 * template.len());
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, behind) = behind.split_once("}}").ok_or("{{ without }}")?;
        text += before;
        text += &match name {
            "made" => made()?,
            "skipped" => skipped(&report.rows),
            id => {
                let row = report.rows.iter().find(|row| row.id == id);
                told(row.ok_or_else(|| format!("the template has {id}, and the lab has not"))?)
            }
        };
        rest = behind;
    }
    Ok(text + rest)
}

/// The date and the kernel's version, without the distribution's suffix.
fn made() -> Result<String, Box<dyn Error>> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let linux = release.trim().split('-').next().unwrap_or_default();
    let (version, day) = (env!("CARGO_PKG_VERSION"), jiff::Timestamp::now().strftime("%Y-%m-%d"));
    Ok(format!(
        "Everything below is from one run of closecall {version}, on {day}, on Linux {linux}. Times, \
         windows, the\namount of data that fills a buffer, and the results of the race differ \
         between runs; the rest does not."
    ))
}

fn told(row: &Row) -> String {
    let mut lines: Vec<(&str, String)> = vec![("the client", row.client.clone())];
    lines.push(("how its order is forced", row.order.clone()));
    if let Some(article) = &row.article {
        lines.push(("the article", article.found.clone()));
    }
    let recv = row.recv_loop.as_ref().map(|says| match says.status {
        Some(status) => format!("`{}`, status {status}", says.recv),
        None => format!("`{}`", says.recv),
    });
    lines.extend(recv.map(|recv| ("the recv loop", recv)));
    lines.push(("closecall", verdict(row)));
    lines.extend(row.evidence.as_ref().map(|it| ("evidence", evidence(it))));
    lines.push(("why", row.note.clone()));
    lines.push(("on the wire", row.wire.clone()));
    lines.extend(row.race.as_ref().map(|race| ("the odds", odds(race))));
    let table: String = lines.iter().map(|(name, text)| format!("| {name} | {text} |\n")).collect();
    let packets = packets(row.packets.as_deref().unwrap_or_default());
    format!("| | |\n|---|---|\n{table}\n```text\n{packets}```")
}

fn verdict(row: &Row) -> String {
    let name = row.verdict.as_deref().unwrap_or("no verdict");
    let sure = row.evidence.as_ref().map(|it| format!(", status {}, {}", it.status, it.certainty));
    format!("`{name}`{}", sure.unwrap_or_default())
}

/// The fields of the close log on which a verdict rests, if they have a value.
fn evidence(evidence: &EvidenceRecord) -> String {
    let EvidenceRecord { errno, via, fin_received, rx, tx, undelivered, unsent, .. } = evidence;
    let mut text = String::new();
    if let Some(fin) = fin_received {
        let _ = write!(text, "`fin_received: {fin}`, ");
    }
    if let (Some(errno), Some(via)) = (errno, via) {
        let _ = write!(text, "`errno: {errno}`, `via: {via}`, ");
    }
    // The lab's own server has the socket, and knows all three.
    if let (Some(rx), Some(tx)) = (rx, tx) {
        let _ = write!(text, "`rx: {rx}`, `tx: {tx}`");
    }
    if let Some(undelivered) = undelivered {
        let _ = write!(text, ", `undelivered: {undelivered}`");
    }
    if let Some(unsent) = unsent {
        let _ = write!(text, ", `unsent: {unsent}`");
    }
    text
}

fn odds(race: &Race) -> String {
    let counts = |counts: &std::collections::BTreeMap<String, u32>| {
        let texts: Vec<_> =
            counts.iter().map(|(name, count)| format!("`{name}` {count}")).collect();
        texts.join(", ")
    };
    let Race { runs, verdicts, recv_loop } = race;
    format!("of {runs} runs each: closecall {}; recv {}", counts(verdicts), counts(recv_loop))
}

/// One line for each; of many only the first and the last.
fn packets(packets: &[Packet]) -> String {
    let lines = |packets: &[Packet]| -> String {
        packets.iter().map(|packet| format!("{packet}\n")).collect()
    };
    match packets.len().checked_sub(FIRST_PACKETS + LAST_PACKETS) {
        None | Some(0) => lines(packets),
        Some(more) => {
            let (first, last) = (&packets[..FIRST_PACKETS], &packets[FIRST_PACKETS + more..]);
            format!("{}{:>13}  {more} more …\n{}", lines(first), "…", lines(last))
        }
    }
}

fn skipped(rows: &[Row]) -> String {
    let skipped = rows.iter().filter(|row| row.outcome == RowOutcome::Skipped);
    let lines: Vec<_> = skipped
        .map(|row| format!("* **{}**: the client {}; {}.", row.id, row.client, row.note))
        .collect();
    lines.join("\n")
}
