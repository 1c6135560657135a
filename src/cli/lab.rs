//! `closecall lab`: plays the scenarios and prints the report.

mod brief;
mod from;
mod grade;
mod list;
mod long;
mod markdown;
mod plain;
mod rows;
mod screen;
mod summary;
mod text;
mod through;
mod view;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::screen::{Mark, Screen};
use super::args::LabArgs;
use super::client::holder;
use super::say::{bar, say, warn};
use super::values::{FailOn, Format};
use super::words::thousands;
use super::{EXIT_FAILED, Failure, limits, signals};
use crate::lab::{self, Change, Elsewhere, LabReport, Options, Row, RowOutcome, Scenario, Target};

/// Set by Ctrl-C. The lab then shows the rows so far.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The default of `--patience`.
const PATIENCE: Duration = Duration::from_secs(12);

/// Threads at a time besides the playing one: two servers, a capture, its reader.
const THREADS: usize = 4;

/// Plays the scenarios, prints the report, and returns the exit code.
///
/// # Errors
/// Nothing was played, because the servers or the capture cannot start or a file cannot be written;
/// or the report cannot be written.
pub(super) fn run(args: &LabArgs) -> Result<ExitCode, Failure> {
    let scenarios = chosen(&args.only);
    let screen = Screen::of_stdout();
    if args.grade || args.pid.is_some() {
        return grade::run(args, &screen);
    }
    if args.long && args.format == Format::Json {
        return Err(Failure::Usage(
            "--long is for table and markdown, --format json has all details; leave one out".into(),
        ));
    }
    if args.list {
        let list = list::list(&scenarios, args.address.is_some(), args.format, &screen);
        return say(&list).map(|()| ExitCode::SUCCESS);
    }
    if let Some(path) = &args.from {
        return again(path, args, &scenarios, &screen);
    }
    play(args, scenarios, &screen)
}

/// Shows a stored report.
fn again(
    path: &Path,
    args: &LabArgs,
    scenarios: &[&Scenario],
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    let report = from::read(path)?;
    if args.fail_on.is_some() && report.via.is_none() {
        let why = "--fail-on needs --via, and this report is of a run without a proxy";
        return Err(Failure::Usage(why.to_owned()));
    }
    let report = if args.only.is_empty() { report } else { only(report, scenarios) };
    say(&view::shown(&report, args.format, args.long, screen))?;
    let code = if is_unwanted(&report, args.fail_on) { EXIT_FAILED } else { 0 };
    Ok(ExitCode::from(code))
}

fn play(
    args: &LabArgs,
    scenarios: Vec<&'static Scenario>,
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    let against = against(args)?;
    limits::memory_for_threads(THREADS)?;
    let wire = wire::open(args)?;
    // If this fails, Ctrl-C ends the process without a report, which is acceptable.
    let _ = signals::on_interrupt(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let bar = bar(scenarios.len() as u64, "{pos}/{len}");
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
    let said = say(&view::shown(&report, args.format, args.long, screen));
    let wire_is_whole = wire.is_none_or(|wire| wire.finish(&report.connections));
    let interrupted = INTERRUPTED.load(Ordering::Relaxed);
    if interrupted {
        let wanted = report.planned.map_or(wanted, |planned| planned as usize);
        warn(&format!("interrupted after {} of {wanted} rows", report.rows.len()));
    }
    said?;
    let unwanted = is_unwanted(&report, args.fail_on);
    let is_well = report.is_well() && wire_is_whole && !interrupted && !unwanted;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// The external server, if ADDR is given.
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
            Some((option, _)) => needs(option, "ADDR, the server to test"),
        };
    };
    if args.fail_on.is_some() && args.via.is_none() {
        return needs("--fail-on", "--via, the proxy to compare with");
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

/// Whether `--fail-on` makes this report a failure.
fn is_unwanted(report: &LabReport, fail_on: Option<FailOn>) -> bool {
    let least = match fail_on {
        None => return false,
        Some(FailOn::Differs) => Change::Differs,
        Some(FailOn::Lost) => Change::Lost,
    };
    report.change() >= least
}

/// The scenarios of `--only`, in the order of the table.
fn chosen(only: &[String]) -> Vec<&'static Scenario> {
    let named: Vec<_> = only.iter().flat_map(|word| lab::named(word)).map(|it| it.id).collect();
    lab::all().iter().filter(|it| only.is_empty() || named.contains(&it.id)).collect()
}

/// The rows of these scenarios. The report then no longer counts as interrupted.
fn only(mut report: LabReport, scenarios: &[&Scenario]) -> LabReport {
    report.rows.retain(|row| scenarios.iter().any(|scenario| scenario.id == row.id));
    report.planned = None;
    report
}

/// Whether a row was skipped for a reason that is known before the run. The summary only counts
/// such rows; `--list` has the reasons.
fn is_left_out(row: &Row) -> bool {
    let Some(scenario) = lab::all().iter().find(|scenario| scenario.id == row.id) else {
        return false;
    };
    let needs = match scenario.elsewhere() {
        Elsewhere::Skip(needs) => needs,
        Elsewhere::Forced(_) | Elsewhere::Race(_) => return false,
    };
    row.outcome == RowOutcome::Skipped && row.note.strip_prefix("needs ") == Some(needs)
}

/// The remedy for a failed connect; `absent` if nothing listens there.
fn remedy(refusals: &[(SocketAddr, io::Error)], absent: &'static str) -> &'static str {
    match refusals.last().map(|(_, error)| error.kind()) {
        Some(io::ErrorKind::ConnectionReset) => {
            "it reset the connection at once; is it at its connection limit?"
        }
        Some(io::ErrorKind::TimedOut) => {
            "no answer; check the address, the server's backlog, and any firewall on the way"
        }
        _ => absent,
    }
}

/// The error as one line with its remedy.
fn refused(error: lab::Error) -> Failure {
    let remedy = match &error {
        lab::Error::Interrupted => return Failure::Unsaid(error.to_string()),
        lab::Error::Servers(_) => {
            "raise the limits of open files (ulimit -n), threads (ulimit -u) and memory (ulimit -v)"
        }
        lab::Error::NoServer(refusals) => remedy(refusals, "start the server"),
        lab::Error::NoProxy(refusals) => remedy(refusals, "start the proxy, or leave --via out"),
        lab::Error::CloseLog(..) => {
            "--observe needs the file that the server at ADDR writes with --close-log"
        }
        lab::Error::Unseen(_) => "leave --capture and --pcap out",
    };
    Failure::Refused(format!("{error}; {remedy}"))
}
