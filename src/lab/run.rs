//! Plays the scenarios, one after the other.

use std::ffi::OsString;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Looks at the wire: what is seen there is told, and has to be right.
    pub capture: Option<&'a Capture>,
    /// Set from elsewhere: play no more, and give what there is.
    pub stop: &'a AtomicBool,
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
}

/// Plays everything against servers of its own, and tells `progress` before each scenario.
///
/// # Errors
/// The system has no port, no file or no thread for the servers.
pub fn run(options: &Options<'_>, progress: &mut dyn FnMut(Progress)) -> io::Result<Report> {
    let mut embedded = Embedded::start(options)?;
    let rows = rows(options, progress, |scenario| embedded.row(scenario));
    let (server, wire) = (embedded.server(), embedded.into_wire());
    Ok(Report { server, wire: wire.source(), rows, connections: wire.connections() })
}

/// Plays one after the other. Which are called the same have to be.
fn rows(
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
    mut play: impl FnMut(&'static Scenario) -> Row,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (done, &scenario) in options.scenarios.iter().enumerate() {
        if options.is_stopped() {
            break;
        }
        progress(Progress { scenario, done });
        let mut row = play(scenario);
        let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id));
        if let (Outcome::Same, Some(first)) = (row.outcome, first)
            && let Some(difference) = judge::difference(&row, first)
        {
            (row.outcome, row.note) = (Outcome::Failed, difference);
        }
        rows.push(row);
    }
    rows
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
        outcome: Outcome::Ok,
        same_as: scenario.same_as.map(str::to_owned),
        article: None,
        race: None,
        note: String::new(),
    }
}
