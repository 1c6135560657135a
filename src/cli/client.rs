//! `closecall client`: opens connections, ends them in the chosen way, and prints each step with
//! its time.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::addresses::{Address, given, servers};
use super::args::ClientArgs;
use super::say::say;
use super::values::End;
use super::words::thousands;
use super::{EXIT_FAILED, Failure, signals};
use crate::client::{Act, Client, Did, Performed, Plan, ServerEnd, Way};

/// Set by Ctrl-C. The client then shows the steps so far.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How much of a message a line shows, in bytes.
const SHOWN_BYTES_MAX: usize = 64;

/// Plays the script and prints each step.
///
/// # Errors
/// No connection was opened: no address is given, or no server accepts.
pub(super) fn run(args: &ClientArgs) -> Result<ExitCode, Failure> {
    let End::As(way) = args.end else {
        return say(&list()).map(|()| ExitCode::SUCCESS);
    };
    let source = args.source.as_ref();
    let from = source.map(|source| (format!("--source {source}"), source.ip.is_ipv4()));
    let servers = servers(given(args.address.as_ref(), "client")?, from)?;
    // If this fails, Ctrl-C ends the process at once, which is acceptable.
    let _ = signals::on_interrupt(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let mut plan = Plan {
        message: args.message.0.clone(),
        wait: Duration::from_millis(args.wait),
        kept_bytes_max: SHOWN_BYTES_MAX + 1,
        holder: holder(),
        stop: Some(&INTERRUPTED),
        ..Plan::new(servers[0])
    };
    let (client, performed) = connect(&mut plan, &servers, source)?;
    match args.count {
        1 => once(client, &performed, &plan, way),
        count => many(client, &plan, way, count),
    }
}

/// `closecall hold`, which only closecall itself starts: keeps its stdout open until it is killed,
/// or until its stdin ends because its parent has ended.
pub(super) fn hold() -> ExitCode {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    ExitCode::SUCCESS
}

/// The command that runs [`hold`].
pub(super) fn holder() -> Vec<OsString> {
    std::env::current_exe().map_or_else(|_| Vec::new(), |it| vec![it.into(), "hold".into()])
}

/// Connects to the first server that accepts, and sets the plan to that server.
fn connect(
    plan: &mut Plan,
    servers: &[SocketAddr],
    source: Option<&Address>,
) -> Result<(Client, Performed), Failure> {
    let mut refusals = Vec::new();
    for &server in servers {
        plan.server = server;
        plan.source = source.map(|source| source.towards(server)).transpose()?;
        match Client::connect(plan) {
            Ok(connected) => return Ok(connected),
            Err(_) if is_interrupted() => {
                return Err(Failure::Unsaid(format!("interrupted while connecting to {server}")));
            }
            Err(error) => {
                refusals.push(format!("{server}: {}", refused(&error, plan.source.is_some())));
            }
        }
    }
    Err(Failure::Refused(refusals.join("; ")))
}

/// Plays one connection and prints each act. If stdout fails, the script is still played to its
/// end.
fn once(
    mut client: Client,
    connected: &Performed,
    plan: &Plan,
    way: Way,
) -> Result<ExitCode, Failure> {
    let head = format!("{} ({}): {}\n", way.name(), way.scenario(), way.says());
    let mut said = say(&(head + &line(connected, &client, plan)));
    let went_well = client.play_all(way.script(), |performed, client| {
        if said.is_ok() && (performed.act != Some(Act::Wait) || !plan.wait.is_zero()) {
            said = say(&line(performed, client, plan));
        }
    });
    said?;
    if is_interrupted() {
        return Err(Failure::Unsaid("interrupted; the connection is closed".to_owned()));
    }
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Plays `count` connections, one after the other, and prints a summary.
fn many(first: Client, plan: &Plan, way: Way, count: u32) -> Result<ExitCode, Failure> {
    let begin = Instant::now();
    let mut first = Some(first);
    let (mut played, mut sent, mut received, mut failed) = (0, 0, 0, 0);
    let mut failure = None;
    let mut hung = false;
    while played < count && !hung && !is_interrupted() {
        played += 1;
        let client = first.take().map_or_else(|| Client::connect(plan).map(|it| it.0), Ok);
        let mut client = match client {
            Ok(client) => client,
            Err(_) if is_interrupted() => {
                played -= 1;
                break;
            }
            Err(error) => {
                failed += 1;
                failure.get_or_insert_with(|| refused(&error, plan.source.is_some()));
                continue;
            }
        };
        let ok = client.play_all(way.script(), |performed, client| {
            if performed.failed() && !is_interrupted() {
                failure.get_or_insert_with(|| told(performed, client, plan));
            }
            // The next connection would time out as well, which would take too long.
            hung |= performed.at >= plan.patience && performed.failed();
        });
        sent += client.sent() as u64;
        received += client.received() as u64;
        if !ok && is_interrupted() {
            played -= 1; // it was interrupted and did not fail
            break;
        }
        failed += u32::from(!ok);
    }
    let mut summary = format!(
        "{} ({}): {} of {} connections, {} as planned, {} failed; sent {} bytes, read {}; \
         {:.3} s\n",
        way.name(),
        way.scenario(),
        thousands(played.into()),
        thousands(count.into()),
        thousands((played - failed).into()),
        thousands(failed.into()),
        thousands(sent),
        thousands(received),
        begin.elapsed().as_secs_f64()
    );
    if let Some(failure) = failure {
        // Writing to memory does not fail.
        let _ = writeln!(summary, "first failure: {failure}");
    }
    say(&summary)?;
    if is_interrupted() {
        let (played, count) = (thousands(played.into()), thousands(count.into()));
        return Err(Failure::Unsaid(format!("interrupted after {played} of {count} connections")));
    }
    Ok(if failed > 0 { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// The text of `--end list`.
fn list() -> String {
    let names = Way::all().map(|way| way.name().len()).max().unwrap_or(0);
    Way::all().fold(String::new(), |mut text, way| {
        let _ = writeln!(text, "{:names$}  {:4}  {}", way.name(), way.scenario(), way.says());
        text
    })
}

/// A line with the time, the act, and what goes over the wire.
fn line(performed: &Performed, client: &Client, plan: &Plan) -> String {
    let ms = performed.at.as_secs_f64() * 1000.0;
    let line = format!("{ms:10.3} ms  {:60}  {}", told(performed, client, plan), performed.wire());
    format!("{}\n", line.trim_end())
}

/// An act and its result, in words.
fn told(performed: &Performed, client: &Client, plan: &Plan) -> String {
    let ended = |end: &ServerEnd| match end {
        ServerEnd::Fin => "FIN",
        ServerEnd::Reset => "reset",
    };
    let did = &performed.did;
    match (performed.act, did) {
        (None, _) => format!("connected from {}", client.local()),
        (Some(act), Did::Failed(why)) => format!("{}: {why}", act.doing()),
        (Some(act), Did::GaveUp) if is_interrupted() => {
            format!("{}: interrupted", act.doing())
        }
        (Some(act), Did::GaveUp) => {
            format!("{}: timed out after {} s", act.doing(), plan.patience.as_secs())
        }
        (_, Did::Connected) => "connected".to_owned(),
        (Some(Act::Fill), Did::Sent(bytes)) => {
            format!("sent {} bytes, until all buffers were full", thousands(*bytes as u64))
        }
        (_, Did::Sent(bytes)) => {
            format!("sent {} bytes {}", thousands(*bytes as u64), shown(&plan.message))
        }
        (_, Did::Holds(bytes)) => {
            format!("received the reply, {} bytes, unread", thousands(*bytes as u64))
        }
        (_, Did::ReadPart { read, of }) => format!("read {read} of {of} bytes"),
        (_, Did::Read(bytes, None)) => {
            format!("read {} bytes {}", thousands(*bytes as u64), shown(client.kept()))
        }
        (_, Did::Read(bytes, Some(end))) => {
            format!("read {} bytes, then the server's {}", thousands(*bytes as u64), ended(end))
        }
        (_, Did::Saw(end)) => format!("the server sent its {}", ended(end)),
        (_, Did::Waited(time)) => format!("waited {} ms", time.as_millis()),
        (Some(Act::ShutDownRead), _) => "shut down the reading side".to_owned(),
        (Some(Act::ShutDownBoth), _) => "shut down both sides".to_owned(),
        (_, Did::SentFin) => "shut down the writing side".to_owned(),
        (_, Did::Quiet) => "set SO_LINGER to 0".to_owned(),
        (act, Did::Closed { unread, .. }) => {
            let how = if act == Some(Act::Die) { "was killed" } else { "closed" };
            match unread {
                0 => how.to_owned(),
                bytes => format!("{how}, {} bytes unread", thousands(*bytes as u64)),
            }
        }
    }
}

/// The beginning of a message, escaped, so that no byte of a server reaches the terminal raw.
fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii())
}

/// Why a connect failed, and the remedy.
pub(super) fn refused(error: &io::Error, has_source: bool) -> String {
    use io::ErrorKind::*;
    let remedy = match (error.kind(), has_source) {
        (ConnectionRefused, _) => "nothing listens there; start `closecall serve`",
        (ConnectionReset, _) => {
            "the server reset the connection at once; is it at its connection limit?"
        }
        (AddrNotAvailable, true) => {
            "the --source address is not one of this machine, or all of its ports are in use; give \
             another address, or leave --source out"
        }
        (AddrNotAvailable | AddrInUse, _) => {
            "no local address or port is free; wait a minute, or give a --source"
        }
        (TimedOut, _) => "no answer; check the address, and any firewall on the way",
        (NetworkUnreachable | HostUnreachable, _) => "no route to this address; check it",
        _ if is_out_of_files(error) => "raise the limit of open files (ulimit -n)",
        _ => "check the address",
    };
    format!("{error}: {remedy}")
}

#[cfg(unix)]
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_files(_error: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn of_several_addresses_the_first_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let unused = SocketAddr::from(([127, 0, 0, 1], 1)); // tcpmux, which no system runs today
        let mut plan = Plan::new(unused);
        assert!(connect(&mut plan, &[unused, there], None).is_ok());
        assert_eq!(plan.server, there, "the plan keeps this server");
        let refused = connect(&mut plan, &[unused, unused], None);
        let Err(Failure::Refused(line)) = refused else { panic!("a server listens there") };
        assert_eq!(line.matches("127.0.0.1:1: ").count(), 2, "{line}");
    }
}
