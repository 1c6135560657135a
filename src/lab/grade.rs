//! An exercise with a judge: seven levels that an echo server in any language can reach.
//!
//! Each level has clients of its own and sees the server from outside only. The grade is the number
//! of levels passed in order from the first. Every level is played and shown, also after a failure.
//! docs/GRADE.md describes the levels.
//!
//! A grade does not depend on speed: each wait is for an event, and its limit is long. A level that
//! this machine cannot play (too few files or ports, too slow) is skipped and not failed.

mod deadlines;
mod drain;
mod echo;
mod judge;
mod levels;
mod link;
mod process;
mod report;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::echo::Lead;
use self::judge::{Fault, Judged, Stop};
use self::link::{Link, Room, Trouble};
use super::against::side::Health;
use super::options::Error;

pub use self::process::Process;
pub use self::report::{GradeReport, LEVELS, LevelOutcome, LevelRow};

/// How long a reply may make no progress, at least.
const REPLY_MIN: Duration = Duration::from_secs(5);

/// The last level.
const LAST: u8 = LEVELS.len() as u8;

/// What to grade.
#[derive(Clone, Debug)]
pub struct Exam {
    /// The server: the first of these that can be connected to.
    pub server: Vec<SocketAddr>,
    /// Its process, for the last level, which ends it.
    pub process: Option<Process>,
    /// How long it may take to end a silent connection, and to exit. A reply may pause as long, or
    /// 5 s if that is more.
    pub patience: Duration,
    /// Set from elsewhere: play no more, and give what there is.
    pub stop: &'static AtomicBool,
}

/// Whether `process` listens on the port of one of these addresses; `None` where that cannot be
/// known. A signal to another process would end something else.
pub fn is_server(process: Process, server: &[SocketAddr]) -> Option<bool> {
    let mut known = server.iter().map(|address| process::listens(process, address.port()));
    known.try_fold(false, |any, listens| Some(any | listens?))
}

/// Plays all levels, and tells `progress` the number and the name of each before it begins.
///
/// # Errors
/// No connection is possible, or the run was interrupted before the first level.
pub fn grade(
    exam: &Exam,
    progress: &mut dyn FnMut(u8, &'static str),
) -> Result<GradeReport, Error> {
    progress(1, LEVELS[0]);
    let (room, link) = reached(exam)?;
    let server = room.server;
    let room = match levels::learns(link, &room) {
        Ok(lead) => self::room(exam, server, lead),
        Err(stop) => {
            let others =
                (2..=LAST).map(|level| judge::not_played(level, "the server does not echo"));
            return reported(server, None, [judge::row(1, Err(stop))].into_iter().chain(others));
        }
    };
    // The first client has closed already.
    let (mut judged, mut ended) = survives(1, Ok(None), &room);
    if ended.is_none() {
        (judged, ended) = survives(1, plays(1, exam, &room), &room);
    }
    let mut rows = vec![judge::row(1, judged)];
    for level in 2..=LAST {
        progress(level, LEVELS[usize::from(level) - 1]);
        rows.push(match &ended {
            _ if exam.stop.load(Ordering::Relaxed) => break,
            Some(why) => judge::not_played(level, why),
            None => {
                let (judged, why) = survives(level, plays(level, exam, &room), &room);
                ended = why;
                judge::row(level, judged)
            }
        });
    }
    let prefix = String::from_utf8_lossy(&room.lead.prefix).into_owned();
    reported(server, Some(prefix), rows)
}

/// The report. A row that was interrupted, and what is behind it, is left out.
fn reported(
    server: SocketAddr,
    prefix: Option<String>,
    rows: impl IntoIterator<Item = Option<LevelRow>>,
) -> Result<GradeReport, Error> {
    let levels: Vec<LevelRow> = rows.into_iter().map_while(|row| row).collect();
    if levels.is_empty() {
        return Err(Error::Interrupted);
    }
    Ok(GradeReport {
        server: server.to_string(),
        grade: judge::grade(&levels),
        highest: judge::highest(&levels),
        prefix,
        levels,
    })
}

/// The first address that can be connected to, and that connection. Level 1 goes on with it: to
/// connect and close would be an end already, and some servers do not survive one.
fn reached(exam: &Exam) -> Result<(Room, Link), Error> {
    let mut refusals = Vec::new();
    for &server in &exam.server {
        let room = room(exam, server, Lead::default());
        match Link::new(&room) {
            Ok(link) => return Ok((room, link)),
            Err(Trouble::NoConnection(error)) => refusals.push((server, error)),
            Err(Trouble::Ours(error)) => return Err(Error::Servers(error)),
            Err(_) => break,
        }
    }
    match exam.stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Err(Error::NoServer(refusals)),
    }
}

fn room(exam: &Exam, server: SocketAddr, lead: Lead) -> Room {
    let (text, binary) = levels::scripts(&lead);
    Room {
        server,
        reply: exam.patience.max(REPLY_MIN),
        patience: exam.patience,
        stop: exam.stop,
        lead,
        text,
        binary,
    }
}

fn plays(level: u8, exam: &Exam, room: &Room) -> Judged {
    match level {
        1 => levels::echoes(room),
        2 => levels::many(room),
        3 => levels::resets(room),
        4 => levels::half_closes(room),
        5 => levels::slow_readers(room),
        6 => deadlines::deadlines(room).map_err(|stop| with_patience(stop, exam.patience)),
        _ => drain::drains(room, exam.process),
    }
}

/// A scenario that shows a fault of level 6 again waits as long as the level did.
fn with_patience(stop: Stop, patience: Duration) -> Stop {
    match stop {
        Stop::Fault(fault) if fault.replay.starts_with("closecall lab") => {
            let replay = format!("{} --patience {}ms", fault.replay, patience.as_millis());
            Stop::Fault(Fault { replay, ..fault })
        }
        stop => stop,
    }
}

/// A level is passed only by a server that serves the next client. Gives why the levels after it
/// are not played, if it does not.
fn survives(level: u8, judged: Judged, room: &Room) -> (Judged, Option<String>) {
    // The last one ends the server, and an interrupted look says nothing.
    if level == LAST || matches!(judged, Err(Stop::Interrupted)) {
        return (judged, None);
    }
    let (why, observed) = match levels::healthy(room) {
        Health::Answers => return (judged, None),
        Health::Gone => ("is gone", "nothing listened any more"),
        // A server that was held up goes on when its clients have left.
        Health::Silent => match levels::healthy(room) {
            _ if room.is_stopped() => return (Err(Stop::Interrupted), None),
            Health::Answers => return (judged, None),
            _ => ("hangs", "the next client got no echo"),
        },
    };
    let change = "The end of a connection is the end of that connection only: close its \
                  socket, and go on accepting.";
    let judged = match judged {
        Err(Stop::Fault(fault)) => {
            let observed = format!("{} Then {observed}.", fault.observed);
            Err(Stop::Fault(Fault { observed, ..fault }))
        }
        Err(stop) => Err(stop),
        Ok(_) => {
            let observed = format!("The clients got their replies and closed. Then {observed}.");
            let replay = format!("closecall client {}", room.server);
            Err(Stop::Fault(Fault { observed, change, replay }))
        }
    };
    (judged, Some(format!("the server {why} since level {level}")))
}
