//! `closecall client`: one connection, or many, ended in a way of your choice, and what happened
//! when.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::args::ClientArgs;
use super::values::End;
use super::words::thousands;
use super::{EXIT_FAILED, Failure};
use crate::client::{Act, Client, Did, Moment, Plan, ServerEnd, Way};

/// Longer than any server's deadline is by default, and some more.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a message a line shows, in bytes.
const SHOWN_BYTES_MAX: usize = 64;

/// Plays the script and tells it.
///
/// # Errors
/// Nothing was played: no address was given, or nobody is there.
pub(super) fn run(args: &ClientArgs) -> Result<ExitCode, Failure> {
    let End::As(way) = args.end else {
        say(&list());
        return Ok(ExitCode::SUCCESS);
    };
    let Some(server) = args.address.as_ref().and_then(|addresses| addresses.0.first()) else {
        return Err(Failure::Usage(
            "ADDR is missing: expected whom to connect to, such as 127.0.0.1:20003; see closecall \
             client --help"
                .to_owned(),
        ));
    };
    let plan = Plan {
        server: *server,
        source: args.source,
        message: args.message.clone().into_bytes(),
        wait: Duration::from_millis(args.wait),
        patience: PATIENCE,
        receive_buffer: None,
        holder: std::env::current_exe()
            .into_iter()
            .map(|it| it.into())
            .chain(["hold".into()])
            .collect(),
    };
    match args.count {
        1 => once(&plan, way),
        count => many(&plan, way, count),
    }
}

/// `closecall hold`, for nobody to type: keeps its stdin open until it is killed.
pub(super) fn hold() -> ! {
    loop {
        std::thread::park();
    }
}

/// One connection, told act by act.
fn once(plan: &Plan, way: Way) -> Result<ExitCode, Failure> {
    say(&format!("{} ({}): {}\n", way.name(), way.scenario(), way.says()));
    let (mut client, moment) = Client::connect(plan).map_err(|error| refused(plan, &error))?;
    let mut failed = false;
    say(&line(&moment, &client, plan));
    for &act in way.script() {
        let moment = client.play(act);
        failed |= moment.failed();
        if act != Act::Wait || !plan.wait.is_zero() {
            say(&line(&moment, &client, plan));
        }
    }
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// Many, one after the other, and a summary.
fn many(plan: &Plan, way: Way, count: u32) -> Result<ExitCode, Failure> {
    let begin = Instant::now();
    let (mut sent, mut received, mut failed) = (0, 0, 0);
    let mut first_failure = None;
    for number in 0..count {
        let mut client = match Client::connect(plan) {
            Ok((client, _)) => client,
            Err(error) if number == 0 => return Err(refused(plan, &error)),
            Err(error) => {
                failed += 1;
                first_failure.get_or_insert(format!("connect: {error}"));
                continue;
            }
        };
        let failure = way.script().iter().map(|&act| client.play(act)).find(Moment::failed);
        sent += client.sent() as u64;
        received += client.received() as u64;
        if let Some(moment) = failure {
            failed += 1;
            first_failure.get_or_insert_with(|| told(&moment, &client, plan));
        }
    }
    say(&format!(
        "{} ({}): {} connections, {} as planned, {} failed; sent {} bytes, read {}; {:.3} s\n",
        way.name(),
        way.scenario(),
        thousands(count.into()),
        thousands(u64::from(count) - failed),
        thousands(failed),
        thousands(sent),
        thousands(received),
        begin.elapsed().as_secs_f64()
    ));
    if let Some(failure) = first_failure {
        say(&format!("the first failure: {failure}\n"));
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

/// Whoever closed stdout does not want it.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Time, what was done, what goes over the wire.
fn line(moment: &Moment, client: &Client, plan: &Plan) -> String {
    let ms = moment.at.as_secs_f64() * 1000.0;
    let line = format!("{ms:10.3} ms  {:60}  {}", told(moment, client, plan), moment.wire());
    format!("{}\n", line.trim_end())
}

/// An act and what came of it, in words.
fn told(moment: &Moment, client: &Client, plan: &Plan) -> String {
    let ended = |end: &ServerEnd| match end {
        ServerEnd::Fin => "its FIN",
        ServerEnd::Reset => "its reset",
    };
    let did = &moment.did;
    match (moment.act, did) {
        (None, _) => format!("connected from {}", client.local()),
        (Some(act), Did::Failed(why)) => format!("{}: {why}", doing(act)),
        (Some(act), Did::GaveUp) => {
            format!("{}: nothing for {} s, gave up", doing(act), plan.patience.as_secs())
        }
        (_, Did::Connected) => "connected".to_owned(),
        (Some(Act::Fill), Did::Sent(bytes)) => {
            format!("sent {} bytes, until nobody took more", thousands(*bytes as u64))
        }
        (_, Did::Sent(bytes)) => format!("sent {bytes} bytes {}", shown(&plan.message)),
        (_, Did::Holds(bytes)) => format!("the reply is here, {bytes} bytes, unread"),
        (_, Did::ReadPart { read, of }) => format!("read {read} of {of} bytes"),
        (_, Did::Read(bytes, None)) => format!("read {bytes} bytes {}", shown(client.kept())),
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

/// What was tried, for acts that failed.
fn doing(act: Act) -> &'static str {
    match act {
        Act::Send | Act::Fill => "send",
        Act::Hold | Act::Read | Act::ReadHalf => "wait for the reply",
        Act::ReadToEnd => "read to the end",
        Act::AwaitEnd => "wait for the server's end",
        Act::Wait => "wait",
        Act::ShutDownWrite | Act::ShutDownRead | Act::ShutDownBoth => "shutdown",
        Act::Linger0 => "SO_LINGER",
        Act::Close => "close",
        Act::Die => "be killed",
    }
}

/// The beginning of a message, escaped: what a server sends never reaches a terminal raw.
fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii())
}

/// Why there is no connection, and what to do about it.
fn refused(plan: &Plan, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there; start `closecall serve`",
        io::ErrorKind::AddrNotAvailable => {
            "no such source address, or no port left; leave out --source or wait a minute"
        }
        io::ErrorKind::TimedOut => "nobody answers; is the address right?",
        _ => "is the address right?",
    };
    Failure::Refused(format!("{}: {error}: {remedy}", SocketAddr::to_string(&plan.server)))
}
