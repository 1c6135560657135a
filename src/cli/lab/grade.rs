//! `closecall lab ADDR --grade`: the exercise, and its result on a screen.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{INTERRUPTED, Mark, PATIENCE, Screen, refused};
use crate::cli::args::LabArgs;
use crate::cli::say::{bar, json, say, warn};
use crate::cli::values::Format;
use crate::cli::{EXIT_FAILED, Failure, fit, signals};
use crate::lab::grade::{
    Exam, GradeReport, LEVELS, LevelOutcome, LevelRow, Process, grade, is_server,
};

/// Columns of a level before its name: the number and the outcome.
const OUTCOME_COLUMNS: usize = 10;

/// Plays all levels, and gives the exit code.
///
/// # Errors
/// No server is there, the process is not the server's, or the report cannot be written.
pub(super) fn run(args: &LabArgs, screen: &Screen) -> Result<ExitCode, Failure> {
    let exam = exam(args)?;
    // Without it Ctrl-C leaves nothing, and that is no reason not to begin.
    let _ = signals::on_interrupt(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let bar = bar(LEVELS.len() as u64, "{pos}/{len}");
    let report = grade(&exam, &mut |level, name| {
        bar.set_position(u64::from(level) - 1);
        bar.set_message(format!("level {level}: {name}"));
    });
    bar.finish_and_clear();
    let report = report.map_err(refused)?;
    say(&match args.format {
        Format::Json => json(&report),
        Format::Table | Format::Markdown => table(&report, screen),
    })?;
    if INTERRUPTED.load(Ordering::Relaxed) {
        warn(&format!("interrupted after {} of {} levels", report.levels.len(), LEVELS.len()));
    }
    Ok(if report.is_passed() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn exam(args: &LabArgs) -> Result<Exam, Failure> {
    let usage = |why: &str| Err(Failure::Usage(format!("{why}; see closecall lab --help")));
    let server = match &args.address {
        _ if !args.grade => return usage("--pid needs --grade, whose last level ends the process"),
        None => return usage("--grade needs ADDR, the server to grade"),
        Some(_) if args.format == Format::Markdown => {
            return usage("--grade has --format table and json, and no markdown");
        }
        Some(address) => address.resolve("ADDR")?,
    };
    let process = args.pid.map(Process);
    if let Some(process @ Process(pid)) = process {
        let refused = |why: String| Failure::Refused(format!("--pid {pid}: {why}"));
        process.checks().map_err(|error| refused(error.to_string()))?;
        if is_server(process, &server) == Some(false) {
            let why = "this process does not listen on the port of ADDR; give the server's own";
            return Err(refused(why.to_owned()));
        }
    }
    let patience = args.patience.map_or(PATIENCE, Duration::from_millis);
    Ok(Exam { server, process, patience, stop: &INTERRUPTED })
}

/// The grade, and each level below it.
fn table(report: &GradeReport, screen: &Screen) -> String {
    let GradeReport { server, grade, highest, .. } = report;
    let head = match report.levels.len() == LEVELS.len() {
        true => format!("{server} has grade {grade} of {highest}."),
        false => format!("{server} has no grade yet: the run was interrupted."),
    };
    let mut text = screen.behind("", &head, Mark::None);
    text += "\n";
    for row in &report.levels {
        text += &level(row, screen);
    }
    text
}

fn level(row: &LevelRow, screen: &Screen) -> String {
    let mark = mark(row.outcome);
    let before = format!("  {} {}  ", row.level, fit::pad(row.outcome.name(), OUTCOME_COLUMNS));
    let why = row.observed.as_ref().filter(|_| row.outcome != LevelOutcome::Failed);
    let name = why.map_or(row.name.clone(), |why| format!("{}: {why}", row.name));
    let mut text = screen.behind(&before, &name, mark);
    let indent = " ".repeat(4);
    let mut part = |name: &str, words: &Option<String>| {
        if let Some(words) = words {
            text += &screen.behind(&format!("{indent}{name}"), words, Mark::None);
        }
    };
    part("note      ", &row.note);
    if row.outcome == LevelOutcome::Failed {
        part("observed  ", &row.observed);
    }
    part("change    ", &row.change);
    part("replay    ", &row.replay);
    text
}

fn mark(outcome: LevelOutcome) -> Mark {
    match outcome {
        LevelOutcome::Passed => Mark::Ok,
        LevelOutcome::Failed => Mark::Failed,
        LevelOutcome::Skipped | LevelOutcome::NotPlayed => Mark::Skipped,
    }
}
