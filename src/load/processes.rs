//! A run in several processes with one clock, because a process has one thread and a limit of open
//! files.
//!
//! ```text
//!   parent                      child
//!     plan, as JSON  ──────────▶        a line on its stdin, a line on its stdout
//!                    ◀──────────  "connected"
//!     go             ──────────▶        when all of them are
//!                    ◀──────────  "warm", if there is a warm-up
//!                    ◀──────────  {"progress": …}, if it is shown
//!                    ◀──────────  {"interval": …}, if the plan says so
//!                    ◀──────────  "measured"
//!     close          ──────────▶        when all of them have
//!                    ◀──────────  {"result": …}
//! ```
//!
//! A child whose stdin ends has lost its parent, and exits at once. If a child exits early, that is
//! an error of the run, and the others continue.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::generator::{Conductor, Generator, Handle, Milestone, Progress};
use super::interval::{Gathered, Interval};
use super::plan::Plan;
use super::tally::{Outcome, Trouble};

const GO: &str = "go";
const CLOSE: &str = "close";
const STOP: &str = "stop";

/// The interval at which the parent checks for an interrupt.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A message from a child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Connected,
    Measured,
    /// The warm-up has ended.
    Warm,
    Trouble(String),
    Progress(Progress),
    Interval(Box<Interval>),
    Result(Box<Outcome>),
}

// ---- the child ----------------------------------------------------------------------------------

/// Runs the plan in the first line of `input`, and obeys the lines after it.
///
/// # Errors
/// There is no plan, or the system has no poll or thread.
pub fn child(
    mut input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line)?;
    let watched = plan.watched;
    let generator = Generator::new(plan)?;
    let released = Arc::new(AtomicU32::new(0));
    let (handle, releases) = (generator.handle(), released.clone());
    thread::Builder::new().spawn(move || obey(input, &handle, &releases))?;
    ready();
    let (queue, said) = mpsc::sync_channel(UNSAID_MAX);
    let writer = thread::Builder::new().spawn(move || write(output, &said))?;
    let mut conductor = Obeys { queue, released, watched };
    let outcome = generator.run(&mut conductor)?;
    conductor.say(Said::Result(Box::new(outcome)));
    drop(conductor);
    // It panics only if a histogram cannot be serialized; nothing was written then.
    writer.join().map_err(|_| io::Error::other("the result could not be written"))
}

/// Messages that are not written yet. If the parent is slow, it receives less progress, and longer
/// intervals.
const UNSAID_MAX: usize = 16;

/// Writes the messages, so that the thread that measures neither serializes nor waits.
fn write(mut output: impl Write, said: &Receiver<Said>) {
    for said in said {
        let line = serde_json::to_string(&said).unwrap_or_default() + "\n";
        // A parent that does not read any more has exited; the end of stdin shows it.
        let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
    }
}

fn obey(input: impl BufRead, handle: &Handle, released: &AtomicU32) {
    for line in input.lines().map_while(Result::ok) {
        match line.as_str() {
            STOP => handle.interrupt(),
            _ => {
                released.fetch_add(1, Ordering::AcqRel);
                handle.wake();
            }
        }
    }
    handle.interrupt();
    handle.interrupt();
}

/// Reports to the parent, and waits for its commands.
struct Obeys {
    queue: SyncSender<Said>,
    released: Arc<AtomicU32>,
    watched: bool,
}

impl Obeys {
    /// Sends it, and waits for room: nothing is measured at such a moment.
    fn say(&mut self, said: Said) {
        let _ = self.queue.send(said);
    }

    /// Sends it if there is room, else returns it.
    fn try_say(&mut self, said: Said) -> Option<Said> {
        match self.queue.try_send(said) {
            Err(TrySendError::Full(said)) => Some(said),
            _ => None,
        }
    }
}

impl Conductor for Obeys {
    fn reached(&mut self, milestone: Milestone) {
        self.say(match milestone {
            Milestone::Connected => Said::Connected,
            Milestone::Measured => Said::Measured,
        });
    }

    fn releases(&mut self, milestone: Milestone) -> bool {
        self.released.load(Ordering::Acquire) > milestone as u32
    }

    fn warmed_up(&mut self) {
        self.say(Said::Warm);
    }

    fn trouble(&mut self, what: &str) {
        self.say(Said::Trouble(what.to_owned()));
    }

    fn progress(&mut self, progress: &Progress) {
        let _ = self.try_say(Said::Progress(*progress));
    }

    fn interval(&mut self, interval: Interval) -> Option<Interval> {
        if interval.is_last {
            self.say(Said::Interval(Box::new(interval)));
            return None;
        }
        match self.try_say(Said::Interval(Box::new(interval))) {
            Some(Said::Interval(interval)) => Some(*interval),
            _ => None,
        }
    }

    fn watches(&self) -> bool {
        self.watched
    }
}

// ---- the parent ---------------------------------------------------------------------------------

/// Processes that share a plan.
pub struct Fleet {
    children: Vec<Kept>,
    /// A message from the child with this index; `None` is its end.
    said: Receiver<(usize, Option<Said>)>,
    interrupts: Arc<AtomicU32>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("processes", &self.children.len()).finish_non_exhaustive()
    }
}

/// A child process, killed when this is dropped.
struct Kept {
    child: Child,
    stdin: Option<ChildStdin>,
    /// The stage that it has reached; 0 before the first.
    moments: u32,
    /// Its warm-up has ended.
    is_warm: bool,
    progress: Progress,
    result: Option<Outcome>,
}

const CONNECTED: u32 = 1;
const MEASURED: u32 = 2;
const OVER: u32 = 3;

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // After its result it has nothing left to do; without one it is of no use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Fleet {
    /// Starts a process of `program` for each plan.
    ///
    /// # Errors
    /// The system cannot create the process, the thread or the pipe.
    pub fn start(program: &[OsString], plans: &[Plan]) -> io::Result<Fleet> {
        let (tell, said) = mpsc::channel();
        let mut children = Vec::new();
        let [program, arguments @ ..] = program else { return Err(io::ErrorKind::NotFound.into()) };
        for (index, plan) in plans.iter().enumerate() {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn()?;
            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
            let mut kept = Kept::new(child, stdin);
            kept.tell(&serde_json::to_string(plan).unwrap_or_default());
            children.push(kept);
            let tell = tell.clone();
            let Some(stdout) = stdout else { continue };
            thread::Builder::new().spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // An unknown message ends the child's part in the run, as its exit would.
                    let Ok(said) = serde_json::from_str(&line) else { break };
                    if tell.send((index, Some(said))).is_err() {
                        return;
                    }
                }
                let _ = tell.send((index, None));
            })?;
        }
        Ok(Fleet { children, said, interrupts: Arc::default() })
    }

    /// Add 1 to interrupt: at 1 the run ends with what was measured, at 2 it ends at once.
    pub fn interrupts(&self) -> Arc<AtomicU32> {
        self.interrupts.clone()
    }

    /// Runs them to the end, and adds up their outcomes.
    pub fn run(mut self, conductor: &mut impl Conductor) -> Outcome {
        let mut outcome = Outcome::default();
        let mut stops = 0;
        let mut reached = 0;
        let mut is_warm = false;
        let mut intervals = Gathered::new(self.children.len());
        while self.children.iter().any(|child| child.moments < OVER) {
            match self.said.recv_timeout(LOOK_UP) {
                Ok((index, said)) => {
                    self.hear(index, said, &mut outcome, &mut intervals, conductor);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let all = self.children.iter().map(|child| child.moments).min().unwrap_or(OVER);
            if reached < CONNECTED && (CONNECTED..OVER).contains(&all) {
                reached = CONNECTED;
                conductor.reached(Milestone::Connected);
                self.tell_all(GO);
            }
            if !is_warm && self.children.iter().any(|it| it.is_warm) && self.are_warm() {
                is_warm = true;
                conductor.warmed_up();
            }
            if reached == CONNECTED && (MEASURED..OVER).contains(&all) {
                reached = MEASURED;
                conductor.reached(Milestone::Measured);
                self.tell_all(CLOSE);
            }
            while stops < self.interrupts.load(Ordering::Acquire) {
                stops += 1;
                self.tell_all(STOP);
            }
            while let Some(interval) = intervals.next() {
                if let Some(kept) = conductor.interval(interval) {
                    intervals.returned(kept);
                    break;
                }
            }
            if conductor.watches() {
                conductor.progress(&self.progress());
            }
        }
        for child in &mut self.children {
            if let Some(result) = child.result.take() {
                outcome.add(&result);
            }
        }
        outcome.interrupted |= stops > 0;
        outcome
    }

    fn hear(
        &mut self,
        index: usize,
        said: Option<Said>,
        outcome: &mut Outcome,
        intervals: &mut Gathered,
        conductor: &mut impl Conductor,
    ) {
        let child = &mut self.children[index];
        match said {
            Some(Said::Connected) => child.moments = child.moments.max(CONNECTED),
            Some(Said::Measured) => child.moments = child.moments.max(MEASURED),
            Some(Said::Warm) => child.is_warm = true,
            Some(Said::Trouble(what)) => conductor.trouble(&what),
            Some(Said::Progress(progress)) => child.progress = progress,
            Some(Said::Interval(interval)) => intervals.came(index, *interval),
            Some(Said::Result(result)) => {
                child.result = Some(*result);
                intervals.ended(index);
                child.moments = OVER;
            }
            None if child.result.is_none() => {
                intervals.ended(index);
                child.moments = OVER;
                outcome.trouble(Trouble::Process);
                conductor.trouble(&format!("process {index}: {}", Trouble::Process.says()));
            }
            None => {}
        }
    }

    /// Whether the warm-up has ended for all that are left.
    fn are_warm(&self) -> bool {
        self.children.iter().all(|child| child.is_warm || child.moments == OVER)
    }

    fn tell_all(&mut self, word: &str) {
        for child in &mut self.children {
            child.tell(word);
        }
    }

    /// The progress of all of them: they measure the same period.
    fn progress(&self) -> Progress {
        let mut all = Progress::default();
        for progress in self.children.iter().map(|it| it.progress) {
            all.connections += progress.connections;
            all.done += progress.done;
            all.share = all.share.or(progress.share);
            all.is_closing |= progress.is_closing;
        }
        all
    }
}

impl Kept {
    fn new(child: Child, stdin: Option<ChildStdin>) -> Kept {
        let progress = Progress::default();
        Kept { child, stdin, moments: 0, is_warm: false, progress, result: None }
    }

    /// Writes a line to its stdin. A child that has exited does not read it; its end is noticed
    /// elsewhere.
    fn tell(&mut self, word: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{word}\n").as_bytes());
        }
    }
}
