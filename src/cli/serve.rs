//! `closecall serve`: options, start, and stop of the server.
//!
//! The steps that may fail come first, before the server listens or logs, so that a failed start
//! prints one line.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::args::ServeArgs;
use super::close_log::{self, RecordSink};
use super::logging::{self, LineSink};
use super::report::EndingLog;
use super::signals::{Asked, Signals};
use super::sink::Descriptor;
use super::table::{self, Records, SoFar};
use super::words::{duration, thousands};
use super::{EXIT_FAILED, Failure, addresses, limits, memory};
use crate::config::Config;
use crate::machine::errno::{Errno, Meaning, System};
use crate::reactor::{Stage, Turn};
use crate::server::{BindError, Server};

/// How long the exit waits for the close log and stdout, and then again for stderr: four seconds in
/// all if no process reads them. A live reader needs a moment, and longer on a busy machine.
const FINISH: Duration = Duration::from_secs(2);

/// Threads besides the loop: one writer each for stderr, stdout and the close log, one for signals,
/// and one for the summary lines.
const THREADS: usize = 5;

/// Serves until a signal stops the server, and returns the exit code.
///
/// # Errors
/// The server did not start: the options contradict each other, or the system does not allow it.
pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let machine = Machine { open_files: limits::raise_open_files(), memory_bytes: memory::bytes() };
    let listen = listen(args)?;
    let config = config(args, listen.concat(), machine)?;
    let to_stdout = args.close_log.as_deref() == Some(Path::new("-"));
    let file = match &args.close_log {
        Some(path) if !to_stdout => Some(close_log::open(path)?),
        _ => None,
    };
    let mut server = addresses::bind(config.clone(), &listen).map_err(|error| refused(&error))?;
    limits::memory_for_threads(THREADS)?;

    let stderr = Descriptor::of(&io::stderr()).and_then(logging::start_sink).map_err(no_sink)?;
    logging::start(stderr.clone());
    let signals = Signals::of_server().map_err(no_sink)?;
    let path = args.close_log.as_deref();
    let file = file
        .map(|file| close_log::start_sink("close log", file, path, String::new()))
        .transpose()
        .map_err(no_sink)?;
    let stdout = Descriptor::of(&io::stdout())
        .and_then(|out| {
            let path = path.filter(|_| to_stdout);
            close_log::start_sink("stdout", out, path, listening(server.addresses()))
        })
        .map_err(no_sink)?;
    let close_log = if to_stdout { Some(stdout.clone()) } else { file.clone() };
    let mut report = EndingLog::start(close_log.clone()).map_err(no_sink)?;
    let so_far = SoFar::default();
    let (handle, sinks) = (server.handle(), (close_log.clone(), stderr.clone()));
    let counters = so_far.clone();
    let mut drains = false;
    let obey = move |asked| match asked {
        Asked::Stop if drains => handle.abort(),
        Asked::Stop => {
            drains = true;
            handle.drain();
        }
        Asked::Reopen => file.iter().for_each(RecordSink::reopen),
        Asked::Table => say_so_far(&counters, sinks.0.as_ref(), &sinks.1),
    };
    signals.deliver(obey).map_err(no_sink)?;

    log::info!(target: "closecall", "{}", limits::line(&config, machine.open_files));
    let last = serve(&mut server, &mut report, &so_far, &config);
    report.finish();
    finish(&server, &stdout, close_log.as_ref(), &stderr);
    Ok(match last {
        Ok(turn) if turn.stage == Stage::Stopped => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_FAILED),
    })
}

/// Runs the event loop until the server has stopped.
fn serve(
    server: &mut Server,
    report: &mut EndingLog,
    so_far: &SoFar,
    config: &Config,
) -> io::Result<Turn> {
    let mut stage = Stage::Serving;
    loop {
        let turn = server.turn().inspect_err(|error| {
            log::error!(target: "closecall", "cannot wait for events: {error}; the server stops");
        })?;
        let counted = so_far.set(server.counters());
        if turn.ended > 0 {
            report.take(server.endings());
        }
        drop(counted);
        if turn.stage != stage {
            stage = turn.stage;
            say_stage(stage, server.counters().open, config);
        }
        if stage.is_over() {
            return Ok(turn);
        }
    }
}

/// Prints the table of verdicts to stderr, whatever RUST_LOG is.
fn finish(server: &Server, stdout: &RecordSink, close_log: Option<&RecordSink>, stderr: &LineSink) {
    let counters = server.counters();
    let end = Instant::now() + FINISH;
    let patience = || end.saturating_duration_since(Instant::now());
    // An ending that did not fit into the list of a turn never reached the close log.
    let lost = close_log.map_or(0, |sink| sink.finish(patience()) + counters.endings_missed);
    stdout.finish(patience());
    let records = Records { lost, waiting: 0 };
    stderr.push_last(table::text(counters, records).into_bytes());
    stderr.finish(FINISH);
}

/// Prints the table of verdicts so far to stderr (SIGUSR1), whatever RUST_LOG is.
fn say_so_far(so_far: &SoFar, close_log: Option<&RecordSink>, stderr: &LineSink) {
    let (counters, records) = so_far.look(|counters| {
        let (lost, waiting) = close_log.map_or((0, 0), RecordSink::so_far);
        let lost = lost + close_log.map_or(0, |_| counters.endings_missed);
        (counters.clone(), Records { lost, waiting })
    });
    stderr.push(table::text_so_far(&counters, records).into_bytes());
}

/// Resolves each `--listen` to its addresses.
fn listen(args: &ServeArgs) -> Result<Vec<Vec<SocketAddr>>, Failure> {
    args.listen.iter().map(|endpoint| endpoint.resolve("--listen")).collect()
}

/// Resources of this machine; `None` if unknown.
#[derive(Clone, Copy, Default)]
struct Machine {
    open_files: Option<u64>,
    memory_bytes: Option<u64>,
}

/// Builds the configuration from the options.
fn config(args: &ServeArgs, listen: Vec<SocketAddr>, machine: Machine) -> Result<Config, Failure> {
    for (index, address) in listen.iter().enumerate() {
        if address.port() != 0 && listen[..index].contains(address) {
            return Err(Failure::Usage(format!(
                "--listen {address} is given more than once; give it once"
            )));
        }
    }
    available("--user-timeout", args.user_timeout.0.is_some(), HAS_USER_TIMEOUT)?;
    available("--reuse-port", args.reuse_port, HAS_REUSE_PORT)?;
    Ok(Config {
        max_connections: limits::connections(
            args.max_connections,
            machine.open_files,
            listen.len(),
        )?,
        listen,
        prefix: args.prefix.clone().into_bytes(),
        framing: args.framing,
        read_buffer_bytes: args.read_buffer,
        read_deadline_ms: args.read_deadline.0,
        write_deadline_ms: args.write_deadline.0,
        verdict_wait_ms: args.verdict_wait,
        drain_ms: args.drain,
        user_timeout_ms: args.user_timeout.0,
        keepalive_ms: args.keepalive.0,
        max_per_ip: args.max_per_ip.0,
        max_age_ms: args.max_age.0,
        output_memory_bytes: limits::output_memory(args.output_memory, machine.memory_bytes),
        overload: args.overload,
        backlog: args.backlog,
        reuse_port: args.reuse_port,
        asks_kernel: !args.no_probes,
        ..Config::default()
    })
}

const HAS_REUSE_PORT: bool =
    cfg!(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))));

const HAS_USER_TIMEOUT: bool = cfg!(any(target_os = "linux", target_os = "android"));

fn available(option: &str, asked: bool, available: bool) -> Result<(), Failure> {
    if asked && !available {
        return Err(Failure::Refused(format!(
            "{option} is not available on this system; leave it out"
        )));
    }
    Ok(())
}

// ---- log lines and errors ---------------------------------------------------------------------

/// One line for each address.
fn listening(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| format!("listening on {address}\n")).collect()
}

fn say_stage(stage: Stage, open: u64, config: &Config) {
    match stage {
        Stage::Serving => {}
        Stage::Draining => log::info!(
            target: "closecall",
            "draining: {} open, for at most {}; a second signal resets them at once",
            thousands(open),
            duration(config.drain_ms)
        ),
        Stage::Stopped => log::info!(target: "closecall", "drained"),
        Stage::Forced => {
            log::warn!(target: "closecall", "stopped: connections that were still open were reset");
        }
    }
}

/// The error for an address that the server cannot listen on, with the remedy.
fn refused(error: &BindError) -> Failure {
    let meaning = error.source.raw_os_error().map(|number| Errno(number).meaning(System::HERE));
    let remedy = match error.source.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the program that uses it, or choose another port with --listen (0: any free port)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "use an address of this machine, such as 127.0.0.1, or 0.0.0.0 or [::] for all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port above 1023, or run as root or with CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::OutOfMemory => {
            "raise the memory limit (ulimit -v), or lower --max-connections or --read-buffer"
        }
        _ if meaning == Some(Meaning::NoFiles) => "raise the limit of open files (ulimit -n)",
        _ => "choose another address with --listen",
    };
    Failure::Refused(format!("{error}: {}: {remedy}", error.source))
}

fn no_sink(error: io::Error) -> Failure {
    Failure::Refused(format!(
        "cannot start the threads for signals and output: {error}; raise the limits of threads \
         (ulimit -u), open files (ulimit -n) and memory (ulimit -v)"
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    #[test]
    fn serve_without_options_has_the_default_configuration() {
        let cli = Cli::try_parse_from(["closecall", "serve"]).unwrap();
        let Command::Serve(args) = cli.command else { panic!("{cli:?}") };
        let listen = listen(&args).unwrap().concat();
        let config = config(&args, listen, Machine::default()).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_refused_address_has_a_remedy() {
        for (kind, remedy) in [
            (io::ErrorKind::AddrInUse, "another port"),
            (io::ErrorKind::AddrNotAvailable, "an address of this machine"),
            (io::ErrorKind::PermissionDenied, "above 1023"),
        ] {
            let address = "192.0.2.1:80".parse().ok();
            let error = BindError { address, source: kind.into() };
            let Failure::Refused(line) = refused(&error) else { panic!("{error}") };
            assert_eq!(line.matches(&error.source.to_string()).count(), 1, "{line}");
            assert!(line.starts_with("cannot listen on 192.0.2.1:80: "), "{line}");
            assert!(line.contains("192.0.2.1:80") && line.contains(remedy), "{line}");
        }
    }
}
