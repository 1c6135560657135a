//! The event loop of the server, on one thread. This is one turn of it:
//!
//! ```text
//!   wait      until an event or a deadline, or not at all while a visit is scheduled
//!   schedule  a visit to each connection with an event
//!   ring      the alarms that were deferred, because their connections had been served already
//!   serve     connections with a scheduled visit, the oldest first, each once and within a budget,
//!             until the budget of the turn is spent; those that are stopped are scheduled again
//!   accept    within a budget; after those that are closing, so that none is refused for them
//!   expire    deadlines, within a budget; after I/O, so bytes that came in time save a connection
//!   reap      each ending, once, within a budget; only now are slots free again
//! ```
//!
//! So a turn is bounded whatever the peers do. There are two queues, as in FQ-CoDel (RFC 8290): a
//! connection that used much of its last visit is a bulk sender and waits with other bulk senders,
//! so that a small request never waits behind them; and each queue has a budget, so that neither
//! starves. The budgets of accept, expire and reap grow with the work of serving, so that new
//! connections, deadlines and endings keep their share however busy the peers are.
//!
//! What happens to one connection is a verdict and never an `Err`, so no peer can stop the loop:
//! [`Reactor::turn`] fails only if the poll fails.

mod accept;
mod counters;
mod listener;
mod memory;
mod queue;
mod reap;
mod reserve;
mod serve;
mod table;
mod visit;

use std::collections::VecDeque;
use std::collections::vec_deque::Drain;
use std::fmt;
use std::io;

pub use self::counters::Counters;
use self::listener::Listeners;
use self::memory::OutputMemory;
use self::table::Table;
use crate::config::Config;
use crate::kernel::{Event, Kernel, Stop};
pub use crate::machine::close::Ending;
use crate::machine::connection::{Context, Rules};
use crate::machine::reply::Replier;
use crate::machine::time::Moment;
use crate::machine::wheel::TimerWheel;

/// The stage of the server's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Asked to drain: what has arrived is answered, then our FIN is sent on each connection. Or
    /// asked to abort, while the last endings are still to be reported.
    Draining,
    /// Ended: every connection has ended, and each ending was returned.
    Stopped,
    /// The same, after connections were reset.
    Forced,
}

impl Stage {
    /// Whether the server has ended: no connection is left, and every ending was in the list after
    /// an earlier turn.
    pub fn is_over(self) -> bool {
        matches!(self, Stage::Stopped | Stage::Forced)
    }
}

/// A report on one turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Turn {
    /// The server's stage after it.
    pub stage: Stage,
    /// Events that the kernel reported.
    pub events: u32,
    /// Connections accepted, including those that were reset at once.
    pub accepted: u32,
    /// Visits to connections.
    pub visits: u32,
    /// What these visits were charged for, in bytes: received or sent, and something for each call.
    pub bytes: u64,
    /// Alarms that expired.
    pub alarms: u32,
    /// Connections that ended and were reaped: each has an [`Ending`].
    pub ended: u32,
    /// Connections that have ended and are not reaped yet.
    pub unreaped: u32,
}

/// The loop with everything that it owns: the kernel, the table, the wheel, the shared buffer.
///
/// Call [`turn`](Self::turn) until its stage [is over](Stage::is_over); after each turn take the
/// [`endings`](Self::endings). The last turn is one in which nothing ended, so a loop `while
/// !turn.stage.is_over()` has seen every ending.
pub struct Reactor<K: Kernel> {
    kernel: K,
    config: Config,
    /// The settings, and what holds now: when the clock was last read, the end of the drain.
    context: Context,
    /// Visits since the clock was read.
    visits_since_clock: u32,
    events: Vec<Event>,
    listeners: Listeners,
    table: Table<K::Socket>,
    wheel: TimerWheel,
    replier: Replier,
    output: OutputMemory,
    stage: Stage,
    /// Asked to abort: nothing is waited for any more.
    forced: bool,
    /// Asked to abort in this turn: the connections are still to be cut off.
    cut_off_pending: bool,
    turn: Turn,
    /// The number of the turn; it wraps.
    turn_number: u16,
    /// Connections whose alarm was due in a turn in which they were visited: it rings in the next.
    /// No alarm is deferred before all of these have rung, so none is here twice. Where one has
    /// ended meanwhile, its slot's new connection is asked whether it is due, and is not.
    deferred_alarms: VecDeque<u32>,
    /// What those cost in this turn, in bytes.
    alarm_bytes: u64,
    endings: VecDeque<Ending>,
    counters: Counters,
}

impl<K: Kernel> fmt::Debug for Reactor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("stage", &self.stage)
            .field("now", &self.context.now)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl<K: Kernel> Reactor<K> {
    /// A reactor that serves the kernel's listeners.
    pub fn new(mut kernel: K, config: Config) -> Reactor<K> {
        let now = kernel.now();
        let slots = config.slots();
        let rules = Rules {
            read_deadline_ms: config.read_deadline_ms,
            write_deadline_ms: config.write_deadline_ms,
            verdict_wait_ms: config.verdict_wait_ms,
            retry_ms: config.retry_ms,
            short_read_drains: K::SHORT_READ_DRAINS,
            max_age_ms: config.max_age_ms,
        };
        Reactor {
            context: Context::new(rules, now),
            visits_since_clock: 0,
            events: Vec::new(),
            listeners: Listeners::new(kernel.listeners()),
            table: Table::new(slots, config.max_per_ip.is_some()),
            wheel: TimerWheel::new(config.tick_ms, slots, now),
            replier: Replier::new(config.framing, &config.prefix, config.read_buffer_bytes),
            output: OutputMemory::new(config.output_memory_bytes),
            stage: Stage::Serving,
            forced: false,
            cut_off_pending: false,
            turn: Turn::default(),
            turn_number: 0,
            deferred_alarms: VecDeque::new(),
            alarm_bytes: 0,
            endings: VecDeque::new(),
            counters: Counters::default(),
            kernel,
            config,
        }
    }

    /// One turn of the loop. After the server has ended, it returns at once, however often it is
    /// called.
    ///
    /// # Errors
    /// The poll is broken. What happens to a connection is an [`Ending`], never an error.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.turn_within(None)
    }

    /// The same, but it sleeps for at most `most_ms` milliseconds, if that is not `None`.
    ///
    /// # Errors
    /// As for [`turn`](Self::turn).
    pub fn turn_within(&mut self, most_ms: Option<u64>) -> io::Result<Turn> {
        self.turn = Turn::default();
        if !self.has_stopped() {
            self.turn_number = self.turn_number.wrapping_add(1);
            self.wait(most_ms)?;
            self.schedule_ready();
            self.cut_off();
            self.ring_deferred();
            self.serve();
            self.accept();
            self.expire();
            self.reap();
            self.give_back_memory();
        }
        self.turn.stage = self.stage;
        Ok(self.turn)
    }

    /// Whether the server has ended: nothing was left after the turn before.
    fn has_stopped(&mut self) -> bool {
        let nothing_left = !self.listeners.is_open() && self.table.len() == 0;
        if self.stage == Stage::Draining && nothing_left {
            self.stage = if self.forced { Stage::Forced } else { Stage::Stopped };
        }
        self.stage.is_over()
    }

    /// The endings since the last call, oldest first.
    pub fn endings(&mut self) -> Drain<'_, Ending> {
        self.endings.drain(..)
    }

    /// The totals since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The kernel, for the program that owns both: the simulated world reads its own state.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    // ---- waiting --------------------------------------------------------------------------------

    fn wait(&mut self, most_ms: Option<u64>) -> io::Result<()> {
        self.events.clear();
        let timeout_ms = self.timeout_ms().into_iter().chain(most_ms).min();
        self.kernel.wait(timeout_ms, &mut self.events)?;
        self.read_clock();
        self.wheel.skip_to(self.context.now);
        self.turn.events = self.events.len() as u32;
        for index in 0..self.events.len() {
            match self.events[index] {
                Event::Listener(listener) => self.listeners.edge(listener),
                // Before any connection is served: the drain's time counts from this moment.
                Event::Stop(stop) => self.stop(stop),
                Event::Socket(..) => {}
            }
        }
        Ok(())
    }

    /// How long a turn would sleep now, in milliseconds, if no event came; `None` is indefinitely.
    pub fn sleeps_ms(&mut self) -> Option<u64> {
        if self.has_stopped() { Some(0) } else { self.timeout_ms() }
    }

    /// How long the loop may sleep: not at all while a visit, an accept or a reaping is due.
    fn timeout_ms(&mut self) -> Option<u64> {
        let due_now =
            self.table.scheduled_visits() + self.table.to_reap() + self.deferred_alarms.len();
        if due_now > 0 || self.listeners.is_unfinished() {
            return Some(0);
        }
        let last_accepts_end = self.context.drain_ends.filter(|_| self.listeners.is_open());
        let next_step_at = self.output.next_step_at();
        let alarm =
            [self.wheel.next_due(), self.listeners.retry_at(), last_accepts_end, next_step_at];
        let alarm = alarm.into_iter().flatten().min();
        alarm.map(|alarm| {
            self.read_clock(); // the turn took its time, and the next alarm does not wait for it
            alarm.since(self.context.now)
        })
    }

    fn read_clock(&mut self) {
        self.context.now = self.kernel.now();
        self.visits_since_clock = 0;
    }

    // ---- stopping -------------------------------------------------------------------------------

    /// Both begin the drain, once. After an abort every connection has ended, and is reaped like
    /// any other, within the budget of each turn.
    fn stop(&mut self, stop: Stop) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Draining;
            self.context.drain_ends = Some(self.context.now.after(self.config.drain_ms));
            self.listeners.begin_last_accepts(self.config.backlog.max(1).unsigned_abs());
            // All are due at once: the expiry path does the rest, within its budget.
            for key in self.table.keys() {
                self.wheel.arm(key, Moment::from_ms(0));
            }
        }
        if stop == Stop::Abort && self.stage == Stage::Draining && !self.forced {
            (self.forced, self.cut_off_pending) = (true, true);
            self.kernel.stop_listening();
            self.listeners.close();
        }
    }

    /// Ends every connection, once the hints that came with the abort are known.
    fn cut_off(&mut self) {
        if !std::mem::take(&mut self.cut_off_pending) {
            return;
        }
        for key in self.table.keys() {
            if let Some(slot) = self.table.get_mut(key) {
                slot.connection.cut_off();
                self.table.end(key);
            }
        }
    }
}
