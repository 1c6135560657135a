//! Log of endings: in each second the first 20 of each verdict are logged, and the rest is counted.
//!
//! So a new user sees each ending, and a busy server stays quiet and fast: beyond the twentieth, an
//! ending costs an addition; if the log level excludes its verdict, it costs a comparison.
//!
//! ```text
//!   serving thread: first 20 ──▶ a line each
//!                   others ────▶ suppressed[verdict] += 1 ──unpark──▶ summary thread:
//!                                              at its end: "… 4,812 more in the last second"
//! ```
//!
//! The summary has a thread of its own, because the serving thread may sleep for long when the
//! traffic stops. The summary thread is parked while there is nothing to sum up, so that an idle
//! server never wakes.

use std::array;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use log::log_enabled;

use super::close_log::{RecordSink, Reported};
use super::words::thousands;
use crate::machine::close::{Certainty, Kind, Level};
use crate::reactor::Ending;

/// The log's target for endings.
const TARGET: &str = "closecall::close";

/// The most lines of one verdict in a second.
const LINES_PER_SECOND: u32 = 20;

/// Logs the endings of each turn, and queues them for the close log.
pub(super) struct EndingLog {
    started: Instant,
    windows: [Window; Kind::COUNT],
    suppressed: Arc<Suppressed>,
    summary: Thread,
    close_log: Option<RecordSink>,
}

/// The lines of one verdict in the current second.
#[derive(Clone, Copy, Default)]
struct Window {
    /// Whether the log level includes this verdict.
    logged: bool,
    second: u64,
    lines: u32,
}

impl Window {
    /// Whether another line may be written in this second.
    fn admits(&mut self, second: u64) -> bool {
        if self.second != second {
            *self = Window { second, lines: 0, ..*self };
        }
        self.lines += 1;
        self.lines <= LINES_PER_SECOND
    }
}

/// Endings that were counted instead of logged, and are not summed up yet.
struct Suppressed {
    counts: [AtomicU64; Kind::COUNT],
    /// Whether the summary thread is awake or about to wake.
    pending: AtomicBool,
}

impl EndingLog {
    /// Starts a report to the log, which must be set up by now, and to the close log.
    ///
    /// # Errors
    /// The system has no thread for the summary.
    pub(super) fn start(close_log: Option<RecordSink>) -> io::Result<EndingLog> {
        let started = Instant::now();
        let suppressed = Arc::new(Suppressed {
            counts: array::from_fn(|_| AtomicU64::new(0)),
            pending: AtomicBool::new(false),
        });
        let shared = Arc::clone(&suppressed);
        let summary = thread::Builder::new()
            .name("summary".to_owned())
            .spawn(move || sum_up_each_second(&shared, started))?;
        let mut windows = [Window::default(); Kind::COUNT];
        for kind in Kind::all() {
            windows[kind as usize].logged = log_enabled!(target: TARGET, level(kind));
        }
        let summary = summary.thread().clone();
        Ok(EndingLog { started, windows, suppressed, summary, close_log })
    }

    /// Reports the endings of one turn.
    pub(super) fn take(&mut self, endings: impl Iterator<Item = Ending>) {
        let second = self.started.elapsed().as_secs();
        let time = self.close_log.as_ref().map(|_| SystemTime::now());
        for ending in endings {
            if let (Some(close_log), Some(time)) = (&self.close_log, time) {
                close_log.push(Reported { time, ending });
            }
            self.log(&ending, second);
        }
    }

    /// Logs the last summary: no more endings will come.
    pub(super) fn finish(&self) {
        self.suppressed.sum_up();
    }

    fn log(&mut self, ending: &Ending, second: u64) {
        let kind = ending.verdict.kind;
        let window = &mut self.windows[kind as usize];
        if !window.logged {
            return;
        }
        if window.admits(second) {
            log::log!(target: TARGET, level(kind), "{}", Line(ending));
            return;
        }
        self.suppressed.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        // At most once a second: the flag stays set until the summary thread begins to count.
        if !self.suppressed.pending.load(Ordering::Relaxed)
            && !self.suppressed.pending.swap(true, Ordering::AcqRel)
        {
            self.summary.unpark();
        }
    }
}

impl Suppressed {
    /// Logs the counts since the last summary. Each ending is in exactly one summary.
    fn sum_up(&self) {
        for kind in Kind::all() {
            let more = self.counts[kind as usize].swap(0, Ordering::AcqRel);
            if more > 0 {
                let (name, more) = (kind.name(), thousands(more));
                log::log!(target: TARGET, level(kind), "{name}: {more} more in the last second");
            }
        }
    }
}

fn sum_up_each_second(suppressed: &Suppressed, started: Instant) {
    loop {
        while !suppressed.pending.load(Ordering::Acquire) {
            thread::park();
        }
        // Sleeps to the end of the windows' current second.
        let elapsed = started.elapsed();
        thread::sleep(Duration::from_secs(elapsed.as_secs() + 1).saturating_sub(elapsed));
        // The flag is cleared before the counts are read: an ending in between starts another
        // round.
        suppressed.pending.store(false, Ordering::Release);
        suppressed.sum_up();
    }
}

fn level(kind: Kind) -> log::Level {
    match kind.level() {
        Level::Error => log::Level::Error,
        Level::Warn => log::Level::Warn,
        Level::Info => log::Level::Info,
        Level::Debug => log::Level::Debug,
    }
}

/// `peer_fin.delivered 127.0.0.1:50000 #1 status=1 rx=14 tx=37 12ms`, and its other notable facts.
struct Line<'a>(&'a Ending);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ending { id, peer, verdict, evidence, duration_ms, .. } = self.0;
        let (name, status) = (verdict.kind.name(), verdict.status);
        let (rx, tx) = (evidence.rx, evidence.tx);
        write!(f, "{name} {peer} #{id} status={status} rx={rx} tx={tx} {duration_ms}ms")?;
        let notable = [
            ("undelivered", evidence.undelivered.map_or(0, u64::from)),
            ("unsent", evidence.unsent),
            ("discarded", evidence.discarded),
            ("unread", evidence.unread.map_or(0, u64::from)),
        ];
        for (name, bytes) in notable.into_iter().filter(|(_, bytes)| *bytes > 0) {
            write!(f, " {name}={bytes}")?;
        }
        if let Some(error) = evidence.error {
            match error.errno.name(evidence.system) {
                Some(name) => write!(f, " errno={name}")?,
                None => write!(f, " errno={}", error.errno.0)?,
            }
            write!(f, " via={}", error.via.name())?;
        }
        if verdict.certainty != Certainty::Certain {
            write!(f, " certainty={}", verdict.certainty.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::close::{Evidence, FirstError, Verdict, Via};
    use crate::machine::errno::{Errno, System};

    #[test]
    fn twenty_lines_a_second_are_written() {
        let mut window = Window { logged: true, ..Window::default() };
        let mut written = |second| (0..100).filter(|_| window.admits(second)).count();
        assert_eq!([written(0), written(0), written(1), written(7)], [20, 0, 20, 20]);
    }

    #[test]
    fn a_line_shows_the_notable_facts() {
        let mut ending = Ending {
            id: 2,
            peer: "[::1]:50000".parse().unwrap(),
            local: None,
            verdict: Verdict {
                kind: Kind::PeerResetReplyUndelivered,
                status: 1,
                certainty: Certainty::Likely,
            },
            evidence: Evidence { rx: 14, tx: 37, ..Evidence::nothing(System::Linux) },
            duration_ms: 1002,
            verdict_wait_ms: 0,
        };
        let plain = "peer_reset.reply_undelivered [::1]:50000 #2 status=1 rx=14 tx=37 1002ms";
        assert_eq!(Line(&ending).to_string(), format!("{plain} certainty=likely"));
        ending.verdict.certainty = Certainty::Certain;
        ending.evidence.undelivered = Some(37);
        ending.evidence.unsent = 5;
        ending.evidence.error = Some(FirstError { errno: Errno(104), via: Via::Recv });
        let rest = "undelivered=37 unsent=5 errno=ECONNRESET via=recv";
        assert_eq!(Line(&ending).to_string(), format!("{plain} {rest}"));
    }
}
