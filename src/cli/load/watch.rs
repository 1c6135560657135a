//! Observer of a run: shows its progress, measures the server's process at the beginning and the
//! end, and reports the first error.

use std::io;

use super::screen::Screen;
use crate::cli::Failure;
use crate::cli::values::Format;
use crate::load::{
    Conductor, Interval, Lost, Milestone, Outcome, Plan, Process, Progress, ServerRow, Trouble,
};

/// Observer of one run.
pub(super) struct Watch {
    server: Option<Process>,
    rss_before: Option<u64>,
    rss_connected: Option<u64>,
    cpu_begin: Option<u64>,
    cpu_end: Option<u64>,
    screen: Screen,
    has_told: bool,
}

impl Watch {
    /// Measures the server's memory before the first connection.
    ///
    /// # Errors
    /// The system has no thread for the bar.
    pub(super) fn new(server: Option<Process>, plan: &Plan, format: Format) -> io::Result<Watch> {
        Ok(Watch {
            server,
            rss_before: server.and_then(Process::rss_bytes),
            rss_connected: None,
            cpu_begin: None,
            cpu_end: None,
            screen: Screen::start(plan, format)?,
            has_told: false,
        })
    }

    /// Removes the progress bar.
    ///
    /// # Errors
    /// An interval could not be written to stdout.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.screen.finish()
    }

    /// The outcome if a server accepts, but its prefix could not be learnt.
    pub(super) fn lost(&mut self, lost: &Lost) -> Outcome {
        self.trouble(&lost.to_string());
        let mut outcome = Outcome::default();
        match lost {
            Lost::NoReply(trouble) => outcome.trouble(*trouble),
            Lost::NoServer(_) => outcome.trouble(Trouble::Other),
            Lost::Wrong(_) => outcome.mismatches = 1,
        }
        outcome
    }

    /// The process of `--pid`, if it used no CPU.
    pub(super) fn idle_server(&self) -> Option<Process> {
        self.server.filter(|_| self.cpu_begin.is_some() && self.cpu_end == self.cpu_begin)
    }

    /// CPU and memory of the server, if its process is known.
    pub(super) fn server_row(&self, outcome: &Outcome) -> Option<ServerRow> {
        self.server?;
        let cpu_ns = self.cpu_end.zip(self.cpu_begin).map(|(end, begin)| end.saturating_sub(begin));
        let grown = self.rss_connected.zip(self.rss_before);
        Some(ServerRow {
            cpu_us_per_echo: cpu_ns
                .filter(|_| outcome.done > 0)
                .map(|ns| (ns as f64 / outcome.done as f64).round() / 1000.0),
            rss_bytes: self.rss_connected,
            bytes_per_connection: grown
                .and_then(|(now, before)| bytes_each(now, before, outcome.connected)),
        })
    }
}

impl Conductor for Watch {
    fn reached(&mut self, milestone: Milestone) {
        let Some(server) = self.server else { return };
        match milestone {
            Milestone::Connected => {
                self.rss_connected = server.rss_bytes();
                self.cpu_begin = server.cpu_ns();
            }
            Milestone::Measured => self.cpu_end = server.cpu_ns(),
        }
    }

    fn warmed_up(&mut self) {
        self.cpu_begin = self.server.and_then(Process::cpu_ns);
    }

    fn releases(&mut self, _milestone: Milestone) -> bool {
        true
    }

    fn trouble(&mut self, what: &str) {
        // Each process reports its first error; only the first of all is shown.
        if !self.has_told {
            self.has_told = true;
            self.screen.says(format!("first error: {what}"));
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.screen.shows(progress);
    }

    fn interval(&mut self, interval: Interval) -> Option<Interval> {
        self.screen.takes(interval)
    }

    fn watches(&self) -> bool {
        self.screen.has_bar()
    }
}

/// The growth in bytes for each of `connections`. `None` if the memory did not grow: then the
/// connections use memory that earlier ones have freed, and their size is unknown.
fn bytes_each(now: u64, before: u64, connections: u64) -> Option<f64> {
    let grown = now.checked_sub(before).filter(|&grown| grown > 0 && connections > 0)?;
    Some((grown as f64 / connections as f64).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_did_not_grow_gives_no_size_of_a_connection() {
        assert_eq!(bytes_each(13_000, 1_000, 100), Some(120.0));
        assert_eq!(bytes_each(1_000, 1_000, 100), None);
        assert_eq!(bytes_each(900, 1_000, 100), None);
        assert_eq!(bytes_each(2_000, 1_000, 0), None);
    }
}
