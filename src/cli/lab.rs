//! `closecall lab`: every way in which a connection can end, played and shown.

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
    let screen = Screen::of_stdout();
    if args.grade || args.pid.is_some() {
        return grade::run(args, &screen);
    }
    if args.long && args.format == Format::Json {
        return Err(Failure::Usage(
            "--long is for a table or markdown: --format json has everything; leave one out".into(),
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

/// Shows a report that was written.
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
    // Without it Ctrl-C leaves nothing, and that is no reason not to begin.
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
fn is_unwanted(report: &LabReport, fail_on: Option<FailOn>) -> bool {
    let least = match fail_on {
        None => return false,
        Some(FailOn::Differs) => Change::Differs,
        Some(FailOn::Lost) => Change::Lost,
    };
    report.change() >= least
}

/// What `--only` means, in the order of the table.
fn chosen(only: &[String]) -> Vec<&'static Scenario> {
    let named: Vec<_> = only.iter().flat_map(|word| lab::named(word)).map(|it| it.id).collect();
    lab::all().iter().filter(|it| only.is_empty() || named.contains(&it.id)).collect()
}

/// The rows of these scenarios. That others were played is no interruption.
fn only(mut report: LabReport, scenarios: &[&Scenario]) -> LabReport {
    report.rows.retain(|row| scenarios.iter().any(|scenario| scenario.id == row.id));
    report.planned = None;
    report
}

/// Whether a row was not played, for a reason that was known before: a number says that there are
/// such, and `--list` says why.
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

/// What to do about a connect that failed; `absent` where nothing listens.
fn remedy(refusals: &[(SocketAddr, io::Error)], absent: &'static str) -> &'static str {
    match refusals.last().map(|(_, error)| error.kind()) {
        Some(io::ErrorKind::ConnectionReset) => "it resets new connections: is it at a limit?",
        Some(io::ErrorKind::TimedOut) => {
            "no answer: is the address right, is its backlog full, is a firewall between?"
        }
        _ => absent,
    }
}

/// One line that names the remedy.
fn refused(error: lab::Error) -> Failure {
    let remedy = match &error {
        lab::Error::Interrupted => return Failure::Unsaid(error.to_string()),
        lab::Error::Servers(_) => "raise the limits (ulimit -n, ulimit -u, for memory ulimit -v)",
        lab::Error::NoServer(refusals) => remedy(refusals, "start one"),
        lab::Error::NoProxy(refusals) => remedy(refusals, "start it, or leave --via out"),
        lab::Error::CloseLog(..) => {
            "--observe needs the file that the server at ADDR writes with --close-log"
        }
        lab::Error::Unseen(_) => "leave --capture and --pcap out",
    };
    Failure::Refused(format!("{error}; {remedy}"))
}
