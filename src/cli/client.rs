//! `closecall client`: one connection, or many, ended in a way of your choice, and what happened
//! when.

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

/// Ctrl-C came: what happened so far is shown.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How much of a message a line shows, in bytes.
const SHOWN_BYTES_MAX: usize = 64;

/// Plays the script and tells it.
///
/// # Errors
/// Nothing was played: no address was given, or nobody is there.
pub(super) fn run(args: &ClientArgs) -> Result<ExitCode, Failure> {
    let End::As(way) = args.end else {
        return say(&list()).map(|()| ExitCode::SUCCESS);
    };
    let source = args.source.as_ref();
    let from = source.map(|source| (format!("--source {source}"), source.ip.is_ipv4()));
    let servers = servers(given(args.address.as_ref(), "client")?, from)?;
    // Without it Ctrl-C ends the process at once, and that is no reason not to begin.
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

/// `closecall hold`, for nobody to type: keeps its stdout open until it is killed, or until its
/// stdin ends, for its parent is gone then.
pub(super) fn hold() -> ExitCode {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    ExitCode::SUCCESS
}

pub(super) fn holder() -> Vec<OsString> {
    std::env::current_exe().map_or_else(|_| Vec::new(), |it| vec![it.into(), "hold".into()])
}

/// The first of them that is there; the plan is for that one from then on.
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
                return Err(Failure::Unsaid(format!("interrupted, not connected to {server}")));
            }
            Err(error) => {
                refusals.push(format!("{server}: {}", refused(&error, plan.source.is_some())));
            }
        }
    }
    Err(Failure::Refused(refusals.join("; ")))
}

/// One connection, told act by act. It is played to its end, whoever can be told.
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
        return Err(Failure::Unsaid("interrupted, and closed".to_owned()));
    }
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Many, one after the other, and a summary.
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
            // The next one would hang as well, and nobody has that much time.
            hung |= performed.at >= plan.patience && performed.failed();
        });
        sent += client.sent() as u64;
        received += client.received() as u64;
        if !ok && is_interrupted() {
            played -= 1; // it was broken off, and has not failed
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
        let _ = writeln!(summary, "the first failure: {failure}");
    }
    say(&summary)?;
    if is_interrupted() {
        let (played, count) = (thousands(played.into()), thousands(count.into()));
        return Err(Failure::Unsaid(format!("interrupted after {played} of {count} connections")));
    }
    Ok(if failed > 0 { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// `--end list`.
fn list() -> String {
    let names = Way::all().map(|way| way.name().len()).max().unwrap_or(0);
    Way::all().fold(String::new(), |mut text, way| {
        let _ = writeln!(text, "{:names$}  {:4}  {}", way.name(), way.scenario(), way.says());
        text
    })
}

/// Time, what was done, what goes over the wire.
fn line(performed: &Performed, client: &Client, plan: &Plan) -> String {
    let ms = performed.at.as_secs_f64() * 1000.0;
    let line = format!("{ms:10.3} ms  {:60}  {}", told(performed, client, plan), performed.wire());
    format!("{}\n", line.trim_end())
}

/// An act and what came of it, in words.
fn told(performed: &Performed, client: &Client, plan: &Plan) -> String {
    let ended = |end: &ServerEnd| match end {
        ServerEnd::Fin => "its FIN",
        ServerEnd::Reset => "its reset",
    };
    let did = &performed.did;
    match (performed.act, did) {
        (None, _) => format!("connected from {}", client.local()),
        (Some(act), Did::Failed(why)) => format!("{}: {why}", act.doing()),
        (Some(act), Did::GaveUp) if is_interrupted() => {
            format!("{}: interrupted", act.doing())
        }
        (Some(act), Did::GaveUp) => {
            format!("{}: not within {} s, gave up", act.doing(), plan.patience.as_secs())
        }
        (_, Did::Connected) => "connected".to_owned(),
        (Some(Act::Fill), Did::Sent(bytes)) => {
            format!("sent {} bytes, until no more were taken", thousands(*bytes as u64))
        }
        (_, Did::Sent(bytes)) => {
            format!("sent {} bytes {}", thousands(*bytes as u64), shown(&plan.message))
        }
        (_, Did::Holds(bytes)) => {
            format!("the reply is here, {} bytes, unread", thousands(*bytes as u64))
        }
        (_, Did::ReadPart { read, of }) => format!("read {read} of {of} bytes"),
        (_, Did::Read(bytes, None)) => {
            format!("read {} bytes {}", thousands(*bytes as u64), shown(client.kept()))
        }
        (_, Did::Read(bytes, Some(end))) => {
            format!("read {} bytes, and then {}", thousands(*bytes as u64), ended(end))
        }
        (_, Did::Saw(end)) => format!("the server ended it: {}", ended(end)),
        (_, Did::Waited(time)) => format!("waited {} ms", time.as_millis()),
        (Some(Act::ShutDownRead), _) => "shut down its reading side".to_owned(),
        (Some(Act::ShutDownBoth), _) => "shut down both sides".to_owned(),
        (_, Did::SentFin) => "shut down its writing side".to_owned(),
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

/// The beginning of a message, escaped: what a server sends never reaches a terminal raw.
fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii())
}

/// Why there is no connection, and what to do about it.
pub(super) fn refused(error: &io::Error, has_source: bool) -> String {
    use io::ErrorKind::*;
    let remedy = match (error.kind(), has_source) {
        (ConnectionRefused, _) => "nothing listens there; start `closecall serve`",
        (ConnectionReset, _) => {
            "a server listens there and resets new connections; is it at a limit?"
        }
        (AddrNotAvailable, true) => {
            "--source is no address of this machine, or all of its ports are taken; give another \
             one, or leave it out"
        }
        (AddrNotAvailable | AddrInUse, _) => {
            "no address or port is left to connect from; wait a minute, or give a --source"
        }
        (TimedOut, _) => "no answer; is the address right, is a firewall between?",
        (NetworkUnreachable | HostUnreachable, _) => {
            "there is no way to it from here; is the address right?"
        }
        _ if is_out_of_files(error) => "raise the limit of open files, see ulimit -n",
        _ => "is the address right?",
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
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1)); // nobody has listened there for decades
        let mut plan = Plan::new(nobody);
        assert!(connect(&mut plan, &[nobody, there], None).is_ok());
        assert_eq!(plan.server, there, "and is asked first from then on");
        let refused = connect(&mut plan, &[nobody, nobody], None);
        let Err(Failure::Refused(line)) = refused else { panic!("somebody is there") };
        assert_eq!(line.matches("127.0.0.1:1: ").count(), 2, "{line}");
    }
}
