//! `closecall lab`: every way in which a connection can end, played and shown.

mod grid;
mod text;
mod wire;
mod wrap;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::LabArgs;
use super::client::{holder, say};
use super::values::{FailOn, Format};
use super::words::thousands;
use super::{EXIT_FAILED, Failure, limits, signals};
use crate::lab::{self, Change, Options, Report, Row, Scenario, Target};

/// Ctrl-C came: what has been played is shown.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// `--patience`, if it is not given.
const PATIENCE: Duration = Duration::from_secs(12);

/// Threads that run at a time beside the one that plays: two servers, a capture, its reader.
const THREADS: usize = 4;

/// Plays, shows, and gives the exit code.
///
/// # Errors
/// Nothing was played: the servers or the capture cannot be started, or the file cannot be written.
/// Or it was, and the report cannot be written.
pub(super) fn run(args: &LabArgs) -> Result<ExitCode, Failure> {
    let scenarios = chosen(&args.only);
    if args.list {
        return say(&list(&scenarios, args.format)).map(|()| ExitCode::SUCCESS);
    }
    let against = against(args)?;
    limits::memory_for_threads(THREADS)?;
    let wire = wire::open(args)?;
    // Without it Ctrl-C leaves nothing, and that is no reason not to begin.
    let _ = signals::on_interrupt(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let bar = bar(scenarios.len());
    let wanted = scenarios.len();
    let options = Options {
        scenarios,
        repeat: args.repeat,
        holder: holder(),
        against,
        capture: wire.as_ref().map(|wire| &wire.capture),
        stop: &INTERRUPTED,
    };
    let report = lab::run(&options, &mut |progress| {
        bar.set_position(progress.done as u64);
        let runs = match progress.runs {
            0 => String::new(),
            runs => format!("{} of {}: ", thousands(runs.into()), thousands(args.repeat.into())),
        };
        let scenario = progress.scenario;
        bar.set_message(format!("{} {runs}{}", scenario.id, scenario.client()));
    });
    bar.finish_and_clear();
    let report = report.map_err(refused)?;
    let said = say(&shown(&report, args.format));
    let wire_is_whole = wire.is_none_or(|wire| wire.finish(&report.connections));
    let interrupted = INTERRUPTED.load(Ordering::Relaxed);
    if interrupted {
        warn(&format!("interrupted after {} of {wanted} rows", report.rows.len()));
    }
    said?;
    let unwanted = is_unwanted(&report, args.fail_on);
    let is_well = report.is_well() && wire_is_whole && !interrupted && !unwanted;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// The server elsewhere, if one is named.
fn against(args: &LabArgs) -> Result<Option<Target>, Failure> {
    let needs = |option: &str, what: &str| {
        Err(Failure::Usage(format!("{option} needs {what}; see closecall lab --help")))
    };
    let Some(server) = &args.address else {
        let given = [
            ("--observe", args.observe.is_some()),
            ("--via", args.via.is_some()),
            ("--patience", args.patience.is_some()),
            ("--message", args.message.is_some()),
            ("--any-reply", args.any_reply),
            ("--fail-on", args.fail_on.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            None => Ok(None),
            Some((option, _)) => needs(option, "ADDR, the server to play against"),
        };
    };
    if args.fail_on.is_some() && args.via.is_none() {
        return needs("--fail-on", "--via, the proxy whose changes are looked for");
    }
    let message = args.message.as_ref().map_or(lab::MESSAGE, |message| &message.0);
    Ok(Some(Target {
        server: server.resolve("ADDR")?,
        via: args.via.as_ref().map(|via| via.resolve("--via")).transpose()?,
        observe: args.observe.clone(),
        patience: args.patience.map_or(PATIENCE, Duration::from_millis),
        message: message.to_vec(),
        any_reply: args.any_reply,
    }))
}

/// Whether `--fail-on` calls it a failure.
fn is_unwanted(report: &Report, fail_on: Option<FailOn>) -> bool {
    let least = match fail_on {
        None => return false,
        Some(FailOn::Differs) => Change::Differs,
        Some(FailOn::Lost) => Change::Lost,
    };
    report.change() >= least
}

/// A line on stderr. Whoever closed that does not want it.
fn warn(text: &str) {
    let _ = io::stderr().write_all(format!("closecall: {text}\n").as_bytes());
}

/// What `--only` means, in the order of the table.
fn chosen(only: &[String]) -> Vec<&'static Scenario> {
    let named: Vec<_> = only.iter().flat_map(|word| lab::named(word)).map(|it| it.id).collect();
    lab::all().iter().filter(|it| only.is_empty() || named.contains(&it.id)).collect()
}

/// On stderr, if that is a terminal.
fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:20} {pos}/{len} {wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn shown(report: &Report, format: Format) -> String {
    let columns = text::columns(report);
    let head: Vec<_> = columns.iter().map(|column| column.head).collect();
    let cells = |row: &Row| columns.iter().map(|column| (column.cell)(row)).collect();
    let rows: Vec<Vec<String>> = report.rows.iter().map(cells).collect();
    let experiments: Vec<_> = report.rows.iter().filter_map(text::experiment_cells).collect();
    let width = if format == Format::Table { grid::terminal() } else { None };
    let (table, experiments) = match format {
        Format::Json => return json(report),
        Format::Table => {
            let outcomes: Vec<_> = report.rows.iter().map(|row| Some(row.outcome)).collect();
            (grid::table(&head, &rows, &outcomes), text::experiments(&experiments, width))
        }
        Format::Markdown if experiments.is_empty() => (grid::markdown(&head, &rows), String::new()),
        Format::Markdown => {
            let experiments = grid::markdown(&text::EXPERIMENTS_HEAD, &experiments);
            (grid::markdown(&head, &rows), experiments)
        }
    };
    let [legend, summary] =
        [text::legend(report), text::summary(report)].map(|text| wrap::paragraphs(&text, width));
    let sections = [table, legend, experiments, summary];
    let sections = sections.into_iter().filter(|section| !section.is_empty());
    sections.collect::<Vec<_>>().join("\n")
}

fn list(scenarios: &[&Scenario], format: Format) -> String {
    let rows: Vec<_> = scenarios.iter().map(|scenario| text::listed(scenario)).collect();
    match format {
        Format::Table => grid::table(&text::LIST_HEAD, &rows, &[]),
        Format::Markdown => grid::markdown(&text::LIST_HEAD, &rows),
        Format::Json => {
            let rows: Vec<_> = scenarios.iter().map(|it| text::ListRow::of(it)).collect();
            json(&rows)
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    // Names, numbers and null: nothing of it can fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Whether stdout takes colours, and wants them.
fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !unwanted
}

/// One line that names the remedy.
fn refused(error: lab::Error) -> Failure {
    let remedy = match &error {
        lab::Error::Interrupted => return Failure::Unsaid(error.to_string()),
        lab::Error::Servers(_) => "raise the limits (ulimit -n, ulimit -u, for memory ulimit -v)",
        lab::Error::NoServer(_) => "start one",
        lab::Error::NoProxy(_) => "start it, or leave --via out",
        lab::Error::CloseLog(..) => {
            "--observe needs the file that the server at ADDR writes with --close-log"
        }
        lab::Error::Unseen(_) => "leave --capture and --pcap out",
    };
    Failure::Refused(format!("{error}; {remedy}"))
}
