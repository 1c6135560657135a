//! The generator: the loop of one process that opens connections, measures, and closes them.
//!
//! ```text
//!   Opening ──▶ Ready ──▶ Running ──▶ Finishing ──▶ Measured ──▶ Closing ──▶ Over
//!      │          ▲ released            │              ▲ released
//!      │ each has had a first reply     │ what was due is answered
//! ```

mod close;
mod end;
mod meter;
mod open;
mod stage;
mod visit;

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll, Token, Waker};
use serde::{Deserialize, Serialize};
use slab::Slab;
use socket2::Type;

use self::close::Closing;
use self::meter::Meter;
use self::stage::{RunPhase, Window};
use super::connection::ClientConnection;
use super::histogram::Latency;
use super::interval::Interval;
use super::link::{self, Ticker};
use super::message::Script;
use super::pace::Pace;
use super::plan::{Mode, Plan};
use super::ports::Ports;
use super::preflight::port_range;
use super::tally::{Outcome, Tally};
use crate::machine::time::Moment;
use crate::machine::wheel::TimerWheel;

const WAKE: Token = Token(usize::MAX);
const TICK: Token = Token(usize::MAX - 1);

/// The number of events taken from the kernel at once.
const EVENTS_PER_WAIT: usize = 1024;

/// The size of the receive buffer, in bytes.
const INBOX_BYTES: usize = 1 << 16;

/// The resolution of timeouts, in milliseconds.
const WHEEL_TICK_MS: u64 = 8;

/// The number of timeouts handled in a turn.
const EXPIRIES_PER_TURN: u32 = 256;

/// The interval of progress reports, in milliseconds.
const PROGRESS_MS: u64 = 100;

/// A moment at which the caller may want to inspect the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Milestone {
    /// All connections are open; only messages that keep them alive are in flight.
    Connected,
    /// Everything that was due is answered.
    Measured,
}

/// The progress of a run.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Connections that are open.
    pub connections: u64,
    /// Replies or cycles so far.
    pub done: u64,
    /// The share of the measured time that has passed; `None` before it.
    pub share: Option<f64>,
    /// Whether connections are being closed.
    pub is_closing: bool,
}

/// The caller's side of a run: it decides when to continue, and receives reports.
pub trait Conductor {
    /// The run has reached this milestone.
    fn reached(&mut self, milestone: Milestone);

    /// Whether to continue from there. After `false`, [wake](Handle::wake) the loop later.
    fn releases(&mut self, milestone: Milestone) -> bool;

    /// The first error, as text.
    fn trouble(&mut self, what: &str);

    /// The warm-up has ended; not called if its length is 0.
    fn warmed_up(&mut self) {}

    /// Called ten times a second, if [`watches`](Self::watches) returns true.
    fn progress(&mut self, _progress: &Progress) {}

    /// An interval of the measured time has ended. If there is no room for it, it is returned and
    /// continues; for the last one there is always room. Called by the thread that measures.
    fn interval(&mut self, _interval: Interval) -> Option<Interval> {
        None
    }

    /// Whether progress is displayed.
    fn watches(&self) -> bool {
        false
    }
}

/// Access from other threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    interrupts: Arc<AtomicU32>,
    waker: Arc<Waker>,
}

impl Handle {
    /// The first call ends the run: no new request is sent, every connection is closed in order,
    /// and what was measured is reported. The second call ends it at once.
    pub fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// Makes the loop ask its conductor again.
    pub fn wake(&self) {
        // It fails only if the poll no longer exists, and then there is nothing to wake.
        let _ = self.waker.wake();
    }
}

/// Payload each way, in bytes.
#[derive(Clone, Copy, Default, Debug)]
struct Traffic {
    sent: u64,
    received: u64,
}

/// A connection and its socket; none between two cycles.
struct Place {
    socket: Option<TcpStream>,
    connection: ClientConnection,
}

/// The loop, with everything that it owns.
pub struct Generator {
    plan: Plan,
    poll: Poll,
    events: Events,
    handle: Handle,
    started: Instant,
    /// The time after this turn's events: the clock is read once a turn, and for each reply.
    turn_at: u64,
    script: Script,
    /// A connection's key is its place: connections are inserted in order, once.
    slab: Slab<Place>,
    wheel: TimerWheel,
    inbox: Box<[u8]>,
    /// When each turn in flight began, `depth` of them for each place, in nanoseconds.
    begun_at: Box<[u64]>,
    stage: RunPhase,
    window: Window,
    pace: Option<Pace>,
    ticker: Option<Ticker>,
    /// Places that have been filled.
    opened: u32,
    /// Of these, connections without a reply so far.
    opening: u32,
    /// Connects that have begun: each uses the next source address, whatever its place.
    connects: u32,
    ports: Ports,
    /// Whether connect(2) may choose the server's port as a source port.
    may_meet_itself: bool,
    /// Turns in flight.
    in_flight: u64,
    /// Of these, turns that only keep a connection alive until it is closed.
    kept_alive: u64,
    closing: Closing,
    /// Turns that are due and have not begun.
    owed: u64,
    latency: Latency,
    service: Latency,
    /// The figures of the current interval.
    meter: Option<Meter>,
    /// Payload so far.
    traffic: Traffic,
    tally: Tally,
    outcome: Outcome,
    /// The first error, until it is reported.
    trouble: Option<String>,
    /// The time of the last progress report.
    told_at: u64,
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("plan", &self.plan)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Generator {
    /// A generator for this plan. It connects only in [`run`](Self::run).
    ///
    /// # Errors
    /// The system cannot create the poll or the waker.
    pub fn new(plan: Plan) -> io::Result<Generator> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let places = plan.connections as usize;
        let socket = link::open(plan.server, None, Type::STREAM)?;
        crate::socket::reserve_descriptors(&socket, places);
        let sources = plan.sources.map_or(1, |sources| sources.count);
        let retries = plan.mode == Mode::Churn;
        Ok(Generator {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            handle: Handle { interrupts: Arc::default(), waker },
            started: Instant::now(),
            turn_at: 0,
            script: Script::new(plan.size, plan.depth, &plan.prefix),
            slab: Slab::with_capacity(places),
            wheel: TimerWheel::new(WHEEL_TICK_MS, places, Moment::from_ms(0)),
            inbox: vec![0; INBOX_BYTES].into_boxed_slice(),
            begun_at: vec![0; places * plan.depth as usize].into_boxed_slice(),
            stage: RunPhase::Opening,
            window: Window::default(),
            pace: None,
            ticker: None,
            opened: 0,
            opening: 0,
            connects: 0,
            ports: Ports::new(port_range(), sources, retries),
            may_meet_itself: port_range().is_none_or(|ports| ports.contains(&plan.server.port())),
            in_flight: 0,
            kept_alive: 0,
            closing: Closing::default(),
            owed: 0,
            latency: Latency::default(),
            service: Latency::default(),
            meter: plan.report_ms.map(Meter::new),
            traffic: Traffic::default(),
            tally: Tally::default(),
            outcome: Outcome::default(),
            trouble: None,
            told_at: 0,
            plan,
        })
    }

    /// Access from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The poll failed. The server cannot cause that.
    pub fn run(mut self, conductor: &mut impl Conductor) -> io::Result<Outcome> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.advance(conductor)?;
        while self.stage != RunPhase::Over {
            let timeout = self.timeout(conductor);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => result?,
            }
            for event in &events {
                match event.token() {
                    WAKE | TICK => {}
                    Token(key) => self.ready(key, event),
                }
            }
            self.turn_at = self.now();
            self.ask_due();
            self.expire();
            self.advance(conductor)?;
            self.tell(conductor);
        }
        Ok(self.outcome)
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Nanoseconds since the generator was created.
    fn now(&self) -> u64 {
        let elapsed = self.started.elapsed();
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// How long the loop may wait.
    fn timeout(&mut self, conductor: &impl Conductor) -> Option<Duration> {
        let now = self.turn_at;
        let alarm = self.wheel.next_due().map(|tick| tick.as_ms().saturating_mul(1_000_000));
        let due = self.pace.as_ref().filter(|_| Ticker::IS_COARSE).and_then(Pace::next_due);
        let watched = conductor.watches().then(|| self.told_at + PROGRESS_MS * 1_000_000);
        let paced = [self.next_open_at(), self.next_close_at()];
        let next = [alarm, due, watched, self.next_stage_at(), paced[0], paced[1]];
        let next = next.into_iter().flatten().min()?;
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    /// Alarms that expired: late replies, and messages to send.
    fn expire(&mut self) {
        let now = moment(self.turn_at);
        let mut budget = EXPIRIES_PER_TURN;
        while let Some(key) = self.wheel.pop_due(now, &mut budget) {
            self.rang(key as usize);
        }
    }

    fn tell(&mut self, conductor: &mut impl Conductor) {
        if let Some(trouble) = self.trouble.take() {
            conductor.trouble(&trouble);
        }
        self.tell_interval(conductor, false);
        if conductor.watches() {
            let now = self.turn_at;
            if now >= self.told_at + PROGRESS_MS * 1_000_000 {
                self.told_at = now;
                conductor.progress(&Progress {
                    connections: self.standing(),
                    done: self.tally.done,
                    share: self.window.share(now),
                    is_closing: self.stage == RunPhase::Closing,
                });
            }
        }
    }

    // ---- the open loop ------------------------------------------------------------------------

    /// Begins the requests that are due.
    fn ask_due(&mut self) {
        let Some(before) = &self.pace else { return };
        let before = before.popped();
        let now = self.turn_at;
        while let Some((place, at)) = self.pace.as_mut().and_then(|pace| pace.pop_due(now)) {
            if at >= self.window.begin && !self.window.is_measured {
                self.measure();
            }
            match self.slab.get_mut(place as usize) {
                Some(entry) => {
                    entry.connection.due += 1;
                    self.owed += 1;
                    self.go_on(place as usize, now);
                }
                // Its connection could not be opened. It counts as unanswered.
                None if at < self.window.begin => {}
                None => {
                    self.outcome.unanswered += 1;
                    self.took(self.window.end.saturating_sub(now));
                }
            }
        }
        if let (Some(pace), Some(ticker)) = (&self.pace, &self.ticker)
            && (pace.popped() != before || before == 0)
            && let Some(at) = pace.next_due()
        {
            ticker.set(Duration::from_nanos(at.saturating_sub(self.now())));
        }
    }

    fn is_churn(&self) -> bool {
        self.plan.mode == Mode::Churn
    }

    /// The index of the moment at which a turn began.
    fn noted(&self, key: usize, turn: u64) -> usize {
        let depth = self.plan.depth as usize;
        key * depth + if depth == 1 { 0 } else { (turn % depth as u64) as usize }
    }
}

/// A moment of the wheel's clock.
fn moment(ns: u64) -> Moment {
    Moment::from_ms(ns / 1_000_000)
}
