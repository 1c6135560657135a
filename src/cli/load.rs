//! `closecall load`: from options to a run, and to what it came to.

mod merge;
mod text;
mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use self::watch::Watch;
use super::args::{Load, RunArgs};
use super::client::{refused, say};
use super::values::{Addresses, Format};
use super::{EXIT_FAILED, Failure, limits};
use crate::load::{
    Fleet, Generator, Lost, Mode, Outcome, Plan, Process, Report, Shortage, check, child, scout,
};

/// How often idle connections say something, where nothing else is asked for.
const EVERY_MS: u64 = 5000;

/// Carries out what was asked for, and gives the exit code.
///
/// # Errors
/// Nothing was measured: the options contradict each other, nobody is there, or the machine does
/// not let us.
pub(super) fn run(what: &Load) -> Result<ExitCode, Failure> {
    match what {
        Load::Hold(args) => measure(Mode::Hold, args),
        Load::Echo(args) => measure(Mode::Echo, args),
        Load::Churn(args) => measure(Mode::Churn, args),
        Load::Merge(args) => merge::run(args),
        Load::Process => process(),
    }
}

/// `closecall load process`, for nobody to type. Signals are the parent's: it tells us.
fn process() -> Result<ExitCode, Failure> {
    limits::raise_open_files();
    let deaf = || drop(ctrlc::set_handler(|| ()));
    let done = child(BufReader::new(io::stdin()), io::stdout(), deaf);
    Ok(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// The read deadline that servers like ours have by default, in milliseconds.
const SILENT_MS: u64 = 10_000;

fn measure(mode: Mode, args: &RunArgs) -> Result<ExitCode, Failure> {
    let mut plan = plan(mode, args)?;
    let servers = servers(args)?;
    let open_files = limits::raise_open_files();
    check(&plan, args.processes, open_files).map_err(|shortage| short(&shortage, args))?;
    let server = args.pid.map(Process);
    if let Some(Process(pid)) = server.filter(|server| !server.is_there()) {
        return Err(Failure::Refused(format!(
            "--pid {pid}: there is no such process, or it may not be looked at; give the server's"
        )));
    }
    let mut hdr = args.hdr.as_deref().map(merge::create).transpose()?;
    if let (Mode::Echo, Some(rate)) = (mode, args.rate)
        && u64::from(args.connections) * 1000 / u64::from(rate) >= SILENT_MS
    {
        complain(
            "at this rate a connection is silent for 10 s and more: a server with a read deadline \
             will close it; ask more often with --rate, or open fewer with -c",
        );
    }
    let mut watch = Watch::new(server, &plan);
    let outcome = match find(&mut plan, &servers, args) {
        Err(Lost::NoServer(error)) => {
            let why = refused(&error, args.source.is_some());
            return Err(Failure::Refused(format!("{}: {why}", plan.server)));
        }
        Err(lost) => watch.lost(&lost),
        Ok(()) => conduct(&plan, args, &mut watch)?,
    };
    watch.finish();
    show(mode, args, &outcome, &watch, &mut hdr)
}

/// Runs the plan, here or in several processes.
fn conduct(plan: &Plan, args: &RunArgs, watch: &mut Watch) -> Result<Outcome, Failure> {
    let refused = |error: io::Error| {
        Failure::Refused(format!(
            "the load cannot be started: {error}; raise the limits (ulimit -n, ulimit -u)"
        ))
    };
    // Without the handler Ctrl-C leaves nothing, and that is no reason not to begin.
    if args.processes == 1 {
        let generator = Generator::new(plan.clone()).map_err(refused)?;
        let handle = generator.handle();
        let _ = ctrlc::set_handler(move || handle.interrupt());
        return generator.run(watch).map_err(refused);
    }
    let program = std::env::current_exe().map_err(refused)?;
    let program: [OsString; 3] = [program.into(), "load".into(), "process".into()];
    let fleet = Fleet::start(&program, &plan.split(args.processes)).map_err(refused)?;
    let interrupts = fleet.interrupts();
    let _ = ctrlc::set_handler(move || _ = interrupts.fetch_add(1, Ordering::AcqRel));
    Ok(fleet.run(watch))
}

/// Tells what it came to.
fn show(
    mode: Mode,
    args: &RunArgs,
    outcome: &Outcome,
    watch: &Watch,
    hdr: &mut Option<(File, String)>,
) -> Result<ExitCode, Failure> {
    let rate = args.rate.map(f64::from);
    let mut report = Report::new(mode, (args.connections, args.processes), rate, outcome);
    report.server = watch.server_row(outcome);
    let said = say(&match args.format {
        Format::Json => json(&report),
        _ => text::report(&report, args),
    });
    let mut failed = outcome.has_failed();
    if let Some((file, path)) = hdr
        && let Err(error) = merge::save(file, &outcome.latency)
    {
        complain(&format!("--hdr {path}: {error}"));
        failed = true;
    }
    if report.generator_was_the_limit() {
        complain(
            "the generator was at its limit: these are figures about it, and not about the \
             server; give it more --processes, or ask less with --rate",
        );
    }
    if outcome.interrupted {
        complain("interrupted: this is what there was until then");
    }
    said?;
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// A line on stderr. Whoever closed that does not want it.
fn complain(line: &str) {
    let _ = io::stderr().write_all(format!("closecall: {line}\n").as_bytes());
}

fn json(value: &impl serde::Serialize) -> String {
    // Names, numbers and null: nothing of it can fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

// ---- from options to a plan -------------------------------------------------------------------

fn plan(mode: Mode, args: &RunArgs) -> Result<Plan, Failure> {
    let usage = |line: String| Err(Failure::Usage(line));
    let name = mode.name();
    match mode {
        Mode::Hold if args.rate.is_some() => {
            return usage("--rate: expected with echo or churn; hold has --every".to_owned());
        }
        Mode::Churn if args.ramp.is_some() => {
            return usage(
                "--ramp: expected with hold or echo; churn opens as fast as the server answers, \
                 or at its --rate"
                    .to_owned(),
            );
        }
        Mode::Churn if args.every.is_some() => {
            return usage(
                "--every: expected with hold or echo; in churn nobody is idle".to_owned(),
            );
        }
        Mode::Hold | Mode::Churn if args.depth > 1 => {
            let depth = args.depth;
            return usage(format!("--depth {depth}: expected 1 with {name}; more are for echo"));
        }
        _ => {}
    }
    if args.processes > args.connections {
        let (processes, connections) = (args.processes, args.connections);
        return usage(format!(
            "--processes {processes}: expected at most -c, which is {connections}"
        ));
    }
    let Some(Addresses(addresses)) = &args.address else {
        return usage(format!(
            "ADDR is missing: expected whom to connect to, such as 127.0.0.1:20003; see closecall \
             load {name} --help"
        ));
    };
    Ok(Plan {
        mode,
        server: addresses[0],
        sources: args.source,
        connections: args.connections,
        first_number: 0,
        stride: 1,
        all_connections: args.connections,
        duration_ms: args.duration,
        rate: args.rate.map(f64::from),
        size: args.size,
        depth: args.depth,
        prefix: args.prefix.clone().into_bytes(),
        every_ms: args.every.map_or(Some(EVERY_MS), |every| every.0),
        timeout_ms: args.timeout,
        ramp: args.ramp,
    })
}

/// Whom to connect to: all addresses that `--source` can go to.
fn servers(args: &RunArgs) -> Result<Vec<SocketAddr>, Failure> {
    let Some(Addresses(all)) = &args.address else { return Ok(Vec::new()) };
    let Some(sources) = args.source else { return Ok(all.clone()) };
    let fits = |server: &&SocketAddr| sources.first.is_ipv4() == server.is_ipv4();
    let fitting: Vec<_> = all.iter().filter(fits).copied().collect();
    if fitting.is_empty() {
        let version = if all[0].is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(Failure::Usage(format!(
            "--source: expected {version} addresses, as {} is one",
            all[0]
        )));
    }
    Ok(fitting)
}

/// Finds the first server that is there, and learns what its replies begin with.
fn find(plan: &mut Plan, servers: &[SocketAddr], args: &RunArgs) -> Result<(), Lost> {
    let learns = args.prefix == AUTO;
    let mut last = None;
    for &server in servers {
        plan.server = server;
        match scout(plan, learns) {
            Ok(prefix) => {
                plan.prefix = prefix;
                return Ok(());
            }
            Err(Lost::NoServer(error)) => last = Some(Lost::NoServer(error)),
            Err(lost) => return Err(lost),
        }
    }
    Err(last.unwrap_or_else(|| Lost::NoServer(io::ErrorKind::AddrNotAvailable.into())))
}

/// What `--prefix` is where it is to be learnt.
const AUTO: &str = "auto";

/// What there is not enough of, and what to do about it.
fn short(shortage: &Shortage, args: &RunArgs) -> Failure {
    let connections = args.connections;
    Failure::Refused(match shortage {
        Shortage::Files { limit, room, needed } => {
            let remedy = match u64::from(connections).div_ceil((*room).max(1)) {
                processes if *room > 0 => format!("give --processes {processes}, or "),
                _ => String::new(),
            };
            format!(
                "-c {connections}: the limit of {limit} open files allows {room} connections a \
                 process: {remedy}raise it (ulimit -n {needed})"
            )
        }
        Shortage::Ports { ports, sources } => format!(
            "-c {connections}: {ports} ports on each of {sources} source address{} allow {} \
             connections (net.ipv4.ip_local_port_range): give more addresses with --source, such \
             as 127.0.1.0/24",
            if *sources == 1 { "" } else { "es" },
            ports * sources
        ),
        Shortage::Address(address, error) => {
            format!("--source: {address} cannot be used: {error}; give addresses of this machine")
        }
    })
}
