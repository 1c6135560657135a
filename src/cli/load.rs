//! `closecall load`: options, run and report of the load generator.

mod conditions;
mod find;
mod hdr;
mod interrupts;
mod merge;
mod screen;
mod shortage;
mod text;
mod watch;

use std::ffi::OsString;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use self::hdr::Hdr;
use self::interrupts::Interrupts;
use self::shortage::{no_port, no_port_left, possible};
use self::watch::Watch;
use super::addresses::{Endpoint, given, servers};
use super::args::{CommonArgs, Load, RunArgs};
use super::client::refused;
use super::say::{json, json_line, say, warn};
use super::values::Format;
use super::values::load::Network;
use super::{EXIT_FAILED, Failure, limits, signals};
use crate::load::{
    Conductor, Fleet, Generator, LoadReport, Lost, Mode, Outcome, Plan, Process, child, scout,
};

/// The default of `--every`: how often an idle connection sends a message.
const EVERY_MS: u64 = 5000;

/// Runs the command, and returns the exit code.
///
/// # Errors
/// Nothing was measured: the options contradict each other, no server accepts, or the system does
/// not allow the run.
pub(super) fn run(what: &Load) -> Result<ExitCode, Failure> {
    match what {
        Load::Hold(args) => measure(&args.run()),
        Load::Echo(args) => measure(&args.run()),
        Load::Churn(args) => measure(&args.run()),
        Load::Merge(args) => merge::run(args),
        Load::Process => process(),
    }
}

/// `closecall load process`, which only closecall itself starts. The parent handles the signals and
/// passes them on.
fn process() -> Result<ExitCode, Failure> {
    limits::raise_open_files();
    let ignore_signals = || drop(signals::on_interrupt(|| ()));
    let done = child(BufReader::new(io::stdin()), io::stdout(), ignore_signals);
    Ok(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// The default read deadline of `closecall serve`, in milliseconds.
const SILENT_MS: u64 = 10_000;

/// Threads besides the generator: for signals, for the first connection, and for the progress.
const THREADS: usize = 3;

fn measure(run: &RunArgs<'_>) -> Result<ExitCode, Failure> {
    let args = run.common;
    let from = args.source.as_ref().map(|source| ("--source".to_owned(), source.is_ipv4()));
    let started_at = format!("{:.3}", jiff::Timestamp::now());
    let servers = servers(usable(run)?, from)?;
    let plans = possible(&plan(run, servers[0])?, &servers, args)?;
    let mut plan = plans[0].clone();
    let server = args.pid.map(Process);
    if let Some(Process(pid)) = server.filter(|server| !server.is_there()) {
        return Err(Failure::Refused(format!(
            "--pid {pid}: no such process, or no permission to read it; give the process id of \
             the server"
        )));
    }
    let mut hdr = args.hdr.as_deref().map(Hdr::create).transpose()?;
    // With `--every off` silent connections are intended.
    if let (Mode::Echo, Some(rate), Some(_)) = (run.mode, run.rate(), every_ms(run))
        && u64::from(args.connections) * 1000 / u64::from(rate) >= SILENT_MS
    {
        warn(
            "at this rate each connection is silent for 10 s or longer, and a server with a read \
             deadline closes it; give a higher --rate, or a lower -c",
        );
    }
    limits::memory_for_threads(THREADS + args.processes as usize)?;
    let interrupts = Interrupts::caught();
    let mut watch = Watch::new(server, &plan, args.format).map_err(not_started)?;
    let mut ports_lacked = None;
    let looked = look(plans, args, &interrupts)?;
    if let Some(objective) = run.find_rate() {
        if let Some(Err(lost)) = &looked {
            watch.lost(lost);
        }
        watch.finish()?;
        return find::run(run, objective, looked, &interrupts);
    }
    let outcome = match looked {
        None => Outcome { interrupted: true, ..Outcome::default() },
        Some(Err(lost)) => watch.lost(&lost),
        Some(Ok(found)) => {
            plan = Plan { watched: watch.watches(), ..found };
            let outcome = conduct(&plan, args, &interrupts, &mut watch)?;
            ports_lacked = no_port(&plan, &outcome);
            outcome
        }
    };
    let told = watch.finish();
    let mut report = LoadReport::new(&plan, args.processes, started_at, &outcome);
    report.server = watch.server_row(&outcome);
    let code = show(&report, args, &outcome, &watch, &mut hdr);
    ports_lacked.iter().for_each(|line| warn(line));
    told.and(code)
}

/// Runs the plan, in this process or in several. Only output follows.
fn conduct(
    plan: &Plan,
    args: &CommonArgs,
    interrupts: &Interrupts,
    conductor: &mut impl Conductor,
) -> Result<Outcome, Failure> {
    let outcome = generate(plan, args, interrupts, conductor);
    interrupts.bound_output();
    outcome
}

fn generate(
    plan: &Plan,
    args: &CommonArgs,
    interrupts: &Interrupts,
    conductor: &mut impl Conductor,
) -> Result<Outcome, Failure> {
    if args.processes == 1 {
        let generator = Generator::new(plan.clone()).map_err(not_started)?;
        let handle = generator.handle();
        interrupts.reach(move || handle.interrupt());
        return generator.run(conductor).map_err(not_started);
    }
    let program = std::env::current_exe().map_err(not_started)?;
    let program: [OsString; 3] = [program.into(), "load".into(), "process".into()];
    let fleet = Fleet::start(&program, &plan.split(args.processes)).map_err(not_started)?;
    let count = fleet.interrupts();
    interrupts.reach(move || _ = count.fetch_add(1, Ordering::AcqRel));
    Ok(fleet.run(conductor))
}

/// The error for a run without a process, a thread or a file.
fn not_started(error: io::Error) -> Failure {
    Failure::Refused(format!(
        "cannot start the load: {error}; raise the limits of open files (ulimit -n), threads \
         (ulimit -u) and memory (ulimit -v)"
    ))
}

/// Prints the report and the warnings, saves the histogram, and returns the exit code.
fn show(
    report: &LoadReport,
    args: &CommonArgs,
    outcome: &Outcome,
    watch: &Watch,
    hdr: &mut Option<Hdr>,
) -> Result<ExitCode, Failure> {
    let said = say(&match args.format {
        Format::Json if args.every_report.is_some() => json_line(report),
        Format::Json => json(report),
        _ => text::report(report),
    });
    let mut failed = outcome.has_failed();
    if let Some(hdr) = hdr
        && let Err(error) = hdr.save(&outcome.latency)
    {
        warn(&error);
        failed = true;
    }
    remark(report, outcome, watch);
    failed |= conditions::are_met(&args.fail_if, outcome);
    said?;
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// Warnings about the figures of the report.
fn remark(report: &LoadReport, outcome: &Outcome, watch: &Watch) {
    if report.generator_was_the_limit() {
        warn(
            "the generator was at its limit: the figures describe the generator, not the server; \
             give more --processes, or a lower --rate",
        );
    } else if report.machine_was_the_limit() {
        warn(
            "the machine was at its limit: the generator was always busy and had to wait for a \
             processor, which adds to the latencies; leave a processor free, or lower --rate",
        );
    }
    if let Some(Process(pid)) = watch.idle_server().filter(|_| outcome.done > 0) {
        warn(&format!("--pid {pid}: this process used no CPU during the run; is it the server?"));
    }
    if outcome.interrupted {
        warn("interrupted: the report covers the time until then");
    } else if report.warmup_s > 0.0 && outcome.connected > 0 && outcome.seconds == 0.0 {
        warn("ended during the warm-up: no connection was left");
    } else if outcome.seconds > 0.0 && report.ended_early() {
        let (real, target) = (report.duration_s, report.target_duration_s);
        warn(&format!("ended after {real:.1} s of {target:.1} s: no connection was left"));
    }
}

// ---- from options to a plan -------------------------------------------------------------------

/// The server to connect to, if the options are consistent.
fn usable<'a>(run: &RunArgs<'a>) -> Result<&'a Endpoint, Failure> {
    let args = run.common;
    if args.processes > args.connections {
        let (processes, connections) = (args.processes, args.connections);
        return Err(Failure::Usage(format!(
            "--processes {processes}: expected at most -c, which is {connections}"
        )));
    }
    if run.rate().is_none()
        && run.find_rate().is_none()
        && run.open_loop.is_some_and(|options| options.arrivals.is_some())
    {
        return Err(Failure::Usage(
            "--arrivals needs --rate or --find-rate (the open loop)".to_owned(),
        ));
    }
    given(args.address.as_ref(), &format!("load {}", run.mode.name()))
}

fn plan(run: &RunArgs<'_>, server: SocketAddr) -> Result<Plan, Failure> {
    let args = run.common;
    Ok(Plan {
        mode: run.mode,
        server,
        sources: args.source.as_ref().map(Network::resolve).transpose()?,
        connections: args.connections,
        first_number: 0,
        stride: 1,
        all_connections: args.connections,
        duration_ms: args.duration,
        rate: run.rate().map(f64::from),
        size: args.size,
        depth: run.depth,
        prefix: args.prefix.clone().into_bytes(),
        every_ms: every_ms(run),
        timeout_ms: args.timeout,
        ramp: run.idle.and_then(|idle| idle.ramp),
        watched: false,
        warmup_ms: args.warmup.unwrap_or(0),
        report_ms: args.every_report,
        arrivals: run.open_loop.and_then(|options| options.arrivals).unwrap_or_default(),
    })
}

/// The interval of an idle connection's messages, in milliseconds; `None` is never.
fn every_ms(run: &RunArgs<'_>) -> Option<u64> {
    run.idle.and_then(|idle| idle.every).map_or(Some(EVERY_MS), |every| every.0)
}

/// How often the wait for the first connection checks for an interrupt.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The plan for the first server that accepts, or why its prefix could not be learnt; `None` after
/// an interrupt. A thread of its own connects, because a thread that waits for a server cannot
/// react to Ctrl-C.
///
/// # Errors
/// No server accepts, or the system has no thread.
fn look(
    plans: Vec<Plan>,
    args: &CommonArgs,
    interrupts: &Interrupts,
) -> Result<Option<Result<Plan, Lost>>, Failure> {
    let learns = args.prefix == AUTO;
    let (tell, found) = mpsc::sync_channel(1);
    // After an interrupt the receiver is gone, and the result is dropped.
    let scout = thread::Builder::new();
    scout.spawn(move || tell.send(find(&plans, learns)).is_ok()).map_err(not_started)?;
    loop {
        match found.recv_timeout(LOOK_UP) {
            Ok(Err((server, Lost::NoServer(error)))) => {
                let why = match error.kind() {
                    // The addresses are valid: `possible` has bound them.
                    io::ErrorKind::AddrNotAvailable => no_port_left(server),
                    _ => refused(&error, args.source.is_some()),
                };
                return Err(Failure::Refused(format!("{server}: {why}")));
            }
            Ok(result) => return Ok(Some(result.map_err(|(_, lost)| lost))),
            Err(RecvTimeoutError::Timeout) if !interrupts.is_one() => {}
            Err(_) => return Ok(None),
        }
    }
}

/// Finds the first server that accepts, and learns the prefix of its replies.
fn find(plans: &[Plan], learns: bool) -> Result<Plan, (SocketAddr, Lost)> {
    let mut last = (plans[0].server, Lost::NoServer(io::ErrorKind::AddrNotAvailable.into()));
    for plan in plans {
        match scout(plan, learns) {
            Ok(prefix) => return Ok(Plan { prefix, ..plan.clone() }),
            Err(lost @ Lost::NoServer(_)) => last = (plan.server, lost),
            Err(lost) => return Err((plan.server, lost)),
        }
    }
    Err(last)
}

/// The value of `--prefix` that learns the prefix from the first reply.
const AUTO: &str = "auto";
