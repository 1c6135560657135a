//! Plays the scenarios, one after the other.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

use super::against::{Against, Target};
use super::capture::Capture;
use super::embedded::Embedded;
use super::judge;
use super::report::{Outcome, Report, Row};
use super::scenario::Scenario;

/// What to play.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// These, in this order.
    pub scenarios: Vec<&'static Scenario>,
    /// How often a race is run.
    pub repeat: u32,
    /// A command that runs until it is killed, see [`Plan::holder`](crate::client::Plan::holder).
    pub holder: Vec<OsString>,
    /// A server elsewhere; without one the lab embeds its own.
    pub against: Option<Target>,
    /// Looks at the wire: what is seen there is told, and has to be right.
    pub capture: Option<&'a Capture>,
    /// Set from elsewhere: play no more, and give what there is.
    pub stop: &'static AtomicBool,
}

impl Options<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is played now.
    pub scenario: &'static Scenario,
    /// Rows that are done.
    pub done: usize,
    /// How often it has been run, if it is a race; 0 before.
    pub runs: u32,
}

/// Is told how often a race has been run.
pub(super) type Tell<'a> = &'a mut dyn FnMut(u32);

/// Why nothing was played.
#[derive(Debug)]
pub enum Error {
    /// The system has no port, no file or no thread for the lab's own servers.
    Servers(io::Error),
    /// Nobody can be connected to at any of these addresses.
    NoServer(Vec<(SocketAddr, io::Error)>),
    /// The close log to observe cannot be read, or is not that of the server.
    CloseLog(PathBuf, io::Error),
    /// A capture sees the loopback device only, and this address is elsewhere.
    Unseen(SocketAddr),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Servers(error) => write!(f, "the lab's servers cannot be started: {error}"),
            Error::NoServer(refusals) => {
                let each = refusals.iter().map(|(address, error)| format!("{address}: {error}"));
                let each: Vec<_> = each.collect();
                write!(f, "no server to play against at {}", each.join("; "))
            }
            Error::CloseLog(path, error) => write!(f, "close log {path:?}: {error}"),
            Error::Unseen(address) => {
                write!(f, "a capture sees the loopback device only, and {address} is elsewhere")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Plays everything, against the server that is named or against the lab's own, and tells
/// `progress` before each scenario.
///
/// # Errors
/// Nothing was played.
pub fn run(options: &Options<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    let planned = u32::try_from(options.scenarios.len()).ok();
    if let Some(target) = &options.against {
        let mut against = Against::start(options, target)?;
        let rows = rows(options, progress, |scenario, rows, tell| {
            called(against.row(scenario, tell), rows)
        });
        let (server, via, wire) = against.into_parts();
        let source = wire.source();
        let connections = wire.connections();
        return Ok(Report { server, via, wire: source, planned, rows, connections });
    }
    let mut embedded = Embedded::start(options).map_err(Error::Servers)?;
    let rows = rows(options, progress, |scenario, rows, tell| {
        compared(embedded.row(scenario, tell), rows)
    });
    let (server, wire) = (embedded.server(), embedded.into_wire());
    let source = wire.source();
    let connections = wire.connections();
    Ok(Report { server, via: None, wire: source, planned, rows, connections })
}

/// Plays one after the other, and gives each those before it.
fn rows(
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
    mut play: impl FnMut(&'static Scenario, &[Row], Tell<'_>) -> Row,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (done, &scenario) in options.scenarios.iter().enumerate() {
        if options.is_stopped() {
            break;
        }
        progress(Progress { scenario, done, runs: 0 });
        let row = play(scenario, &rows, &mut |runs| progress(Progress { scenario, done, runs }));
        // What was broken off says nothing, but for the odds of a race so far.
        if !options.is_stopped() || row.race.as_ref().is_some_and(|race| race.runs > 0) {
            rows.push(row);
        }
    }
    rows
}

/// A row that is called the same as another has to be.
fn compared(row: Row, rows: &[Row]) -> Row {
    let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id));
    match first.and_then(|first| judge::difference(&row, first)) {
        Some(note) if row.outcome == Outcome::Same => Row { outcome: Outcome::Failed, note, ..row },
        _ => row,
    }
}

/// A row against a server elsewhere is the same as another if a client sees the same.
fn called(row: Row, rows: &[Row]) -> Row {
    let sees = |row: &Row| {
        let seen = row.seen.as_ref().map(|seen| (seen.bytes, seen.end));
        (row.outcome, row.verdict.clone(), seen)
    };
    let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id));
    match first.filter(|_| row.outcome == Outcome::Ok) {
        Some(first) if sees(first) == sees(&row) => Row { outcome: Outcome::Same, ..row },
        _ => row,
    }
}

/// A row of `scenario` before it is played.
pub(super) fn blank(scenario: &Scenario) -> Row {
    Row {
        id: scenario.id.to_owned(),
        experiment: scenario.experiment.map(|it| it.number),
        client: scenario.client(),
        order: scenario.order.how().to_owned(),
        wire: String::new(),
        packets: None,
        peer: None,
        recv_loop: None,
        verdict: None,
        evidence: None,
        log: None,
        seen: None,
        via: None,
        outcome: Outcome::Ok,
        same_as: scenario.same_as.map(str::to_owned),
        article: None,
        race: None,
        note: String::new(),
    }
}
