//! One loop of one process: opens its connections, measures, and closes them.
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

/// Events taken from the kernel at once.
const EVENTS_PER_WAIT: usize = 1024;

/// Bytes received at once.
const INBOX_BYTES: usize = 1 << 16;

/// The grain of timeouts, in milliseconds.
const WHEEL_TICK_MS: u64 = 8;

/// Timeouts looked at in a turn.
const EXPIRIES_PER_TURN: u32 = 256;

/// How often somebody who watches is told, in milliseconds.
const PROGRESS_MS: u64 = 100;

/// A moment at which somebody may want to look at the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Milestone {
    /// All connections are open, and nothing is under way but what keeps them alive.
    Connected,
    /// All that was due is answered.
    Measured,
}

/// How far a run is.
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

/// Who decides when to go on, and hears what happens.
pub trait Conductor {
    /// It has come to this.
    fn reached(&mut self, milestone: Milestone);

    /// Whether to go on from there; who says no has to [wake](Handle::wake) the loop later.
    fn releases(&mut self, milestone: Milestone) -> bool;

    /// The first thing that went wrong, in words.
    fn trouble(&mut self, what: &str);

    /// The warm-up, which had a length, is over.
    fn warmed_up(&mut self) {}

    /// Told ten times a second, if [`watches`](Self::watches) says so.
    fn progress(&mut self, _progress: &Progress) {}

    /// A part of the measured time is over. What there is no room for is given back, and goes on;
    /// for the last one there is always room. Called by the thread that measures.
    fn interval(&mut self, _interval: Interval) -> Option<Interval> {
        None
    }

    /// Whether anybody looks at the progress.
    fn watches(&self) -> bool {
        false
    }
}

/// The way in from other threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    interrupts: Arc<AtomicU32>,
    waker: Arc<Waker>,
}

impl Handle {
    /// The first call ends the run: nothing more is asked, everybody is closed, and what was
    /// measured is told. The second does not wait for anybody.
    pub fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// Makes the loop ask its conductor again.
    pub fn wake(&self) {
        // It fails only where the poll is gone, and then there is nothing left to wake.
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

/// The loop, and all that it owns.
pub struct Generator {
    plan: Plan,
    poll: Poll,
    events: Events,
    handle: Handle,
    started: Instant,
    /// When this turn's events had been seen to: the clock is read once a turn, and for each reply.
    turn_at: u64,
    script: Script,
    /// A connection's key is its place: they are put in one after the other, and none again.
    slab: Slab<Place>,
    wheel: TimerWheel,
    inbox: Box<[u8]>,
    /// When each turn under way was begun, `depth` of them for each place, in nanoseconds.
    begun_at: Box<[u64]>,
    stage: RunPhase,
    window: Window,
    pace: Option<Pace>,
    ticker: Option<Ticker>,
    /// Places that were filled.
    opened: u32,
    /// Of these, connections that nobody has heard from.
    opening: u32,
    /// Connects that were begun: each takes the next source address, whatever its place is.
    connects: u32,
    ports: Ports,
    /// Whether the server's port is one that connect(2) chooses from.
    may_meet_itself: bool,
    /// Turns under way.
    in_flight: u64,
    /// Of these, turns that only keep a connection alive until it is closed.
    kept_alive: u64,
    closing: Closing,
    /// Turns that are due and not begun.
    owed: u64,
    latency: Latency,
    service: Latency,
    /// What is measured for the interval under way.
    meter: Option<Meter>,
    /// Payload so far.
    traffic: Traffic,
    tally: Tally,
    outcome: Outcome,
    /// The first thing that went wrong, until it was told.
    trouble: Option<String>,
    /// When progress was told.
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
    /// A generator for this plan. Nothing is connected before [`run`](Self::run).
    ///
    /// # Errors
    /// The system has no poll or no waker.
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

    /// The way in from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The poll is broken. Nothing that the server does leads here.
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

    /// Nanoseconds since the generator was made.
    fn now(&self) -> u64 {
        let elapsed = self.started.elapsed();
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// How long there is nothing to do.
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

    /// Alarms that rang: who is too late, and who wants to say something.
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

    /// Begins what has come due.
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

    /// Where it is noted when a turn was begun.
    fn noted(&self, key: usize, turn: u64) -> usize {
        let depth = self.plan.depth as usize;
        key * depth + if depth == 1 { 0 } else { (turn % depth as u64) as usize }
    }
}

/// A moment in the wheel's time.
fn moment(ns: u64) -> Moment {
    Moment::from_ms(ns / 1_000_000)
}
