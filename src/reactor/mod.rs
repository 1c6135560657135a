//! Serves. One thread, one loop, and this is one turn of it:
//!
//! ```text
//!   wait      until something happens, a deadline comes, or not at all if somebody is owed a visit
//!   serve     whoever is ready, each within a budget; who is stopped by it is owed a visit
//!   serve     whoever was owed a visit
//!   accept    within a budget; after those who are leaving, so that nobody is refused for them
//!   expire    deadlines, within a budget; after I/O, so bytes that came in time save a connection
//!   reap      each ending, once; only now are slots free again
//! ```
//!
//! The budgets of accept and expire grow with the work of serving, so that however busy the peers
//! are, newcomers and deadlines keep their share of the turn.
//!
//! What happens to one connection is a verdict and never an `Err`, so no peer can stop the loop:
//! the type of [`Reactor::turn`] knows of a broken poll and of nothing else.

mod accept;
mod ending;
mod listener;
mod reserve;
mod table;
mod visit;

use std::collections::VecDeque;
use std::collections::vec_deque::Drain;
use std::io;

pub use self::ending::{Counters, Ending};
use self::listener::Listeners;
use self::table::{Entry, Table};
use self::visit::{Outcome, Visit};
use crate::config::Config;
use crate::kernel::{Event, Kernel};
use crate::machine::close::{LocalCause, SocketFacts, Via, classify};
use crate::machine::connection::Rules;
use crate::machine::reply::Replier;
use crate::machine::tick::Tick;
use crate::machine::wheel::TimerWheel;

/// Where the server is in its own life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Asked to stop: what has arrived is answered, everybody is sent a FIN.
    Draining,
    /// Over: every connection had its end.
    Stopped,
    /// Over, by force: connections were reset.
    Forced,
}

impl Stage {
    /// Whether there is nothing more to do.
    pub fn is_over(self) -> bool {
        matches!(self, Stage::Stopped | Stage::Forced)
    }
}

/// What one turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Turn {
    /// Where the server is after it.
    pub stage: Stage,
    /// Events that the kernel gave.
    pub events: u32,
    /// Newcomers, those included that were reset at once.
    pub accepted: u32,
    /// Visits to connections.
    pub visits: u32,
    /// What these visits were charged for, in bytes: received or sent, and something for each call.
    pub bytes: u64,
    /// Alarms that rang.
    pub alarms: u32,
    /// Connections that ended.
    pub ended: u32,
}

/// The loop, and all that it owns: the kernel, the table, the wheel, the shared buffer.
///
/// Call [`turn`](Self::turn) until its stage [is over](Stage::is_over); after each turn take the
/// [`endings`](Self::endings).
pub struct Reactor<K: Kernel> {
    kernel: K,
    config: Config,
    rules: Rules,
    now: Tick,
    /// Visits since the clock was read.
    visits_since_clock: u32,
    events: Vec<Event>,
    listeners: Listeners,
    table: Table<K::Socket>,
    wheel: TimerWheel,
    replier: Replier,
    stage: Stage,
    turn: Turn,
    endings: VecDeque<Ending>,
    counters: Counters,
}

impl<K: Kernel> Reactor<K> {
    /// A reactor that serves the kernel's listeners.
    pub fn new(mut kernel: K, config: Config) -> Reactor<K> {
        let now = kernel.now();
        let slots = config.max_connections.saturating_add(accept::LEAVING_MAX);
        Reactor {
            rules: Rules {
                read_deadline_ms: config.read_deadline_ms,
                write_deadline_ms: config.write_deadline_ms,
                verdict_wait_ms: config.verdict_wait_ms,
                retry_ms: config.retry_ms,
                may_wait: true,
                short_read_drains: K::SHORT_READ_DRAINS,
                drain_ends: None,
            },
            now,
            visits_since_clock: 0,
            events: Vec::new(),
            listeners: Listeners::new(kernel.listeners()),
            table: Table::new(slots, config.max_per_ip.is_some()),
            wheel: TimerWheel::new(config.tick_ms, slots, now),
            replier: Replier::new(config.framing, &config.prefix, config.read_buffer_bytes),
            stage: Stage::Serving,
            turn: Turn::default(),
            endings: VecDeque::new(),
            counters: Counters::default(),
            kernel,
            config,
        }
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// The poll is broken. What happens to a connection is an [`Ending`], never an error.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.turn = Turn::default();
        self.wait()?;
        self.serve_ready();
        self.serve_unfinished();
        self.accept();
        self.expire();
        self.reap();
        self.turn.stage = self.stage;
        Ok(self.turn)
    }

    /// The endings since this was last called, oldest first.
    pub fn endings(&mut self) -> Drain<'_, Ending> {
        self.endings.drain(..)
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The kernel, for whoever owns both: the simulated world asks its own.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    // ---- the parts of a turn, in their order --------------------------------------------------

    fn wait(&mut self) -> io::Result<()> {
        self.events.clear();
        let timeout_ms = self.timeout_ms();
        self.kernel.wait(timeout_ms, &mut self.events)?;
        self.read_clock();
        self.turn.events = self.events.len() as u32;
        for index in 0..self.events.len() {
            match self.events[index] {
                Event::Listener(listener) => self.listeners.edge(listener),
                // Before anybody is served: the drain ends so long after this moment.
                Event::Stop(calls) => self.stop(calls),
                Event::Socket(..) => {}
            }
        }
        Ok(())
    }

    /// How long there is nothing to do: not at all while somebody is owed a visit.
    fn timeout_ms(&mut self) -> Option<u64> {
        if self.table.unfinished() > 0 || self.listeners.is_unfinished() {
            return Some(0);
        }
        let sweep_ends = self.rules.drain_ends.filter(|_| self.listeners.is_open());
        let alarm = [self.wheel.next_due(), self.listeners.retry_at(), sweep_ends];
        let alarm = alarm.into_iter().flatten().min();
        alarm.map(|alarm| {
            self.read_clock(); // the turn took its time, and the next alarm does not wait for it
            alarm.since(self.now)
        })
    }

    fn serve_ready(&mut self) {
        for index in 0..self.events.len() {
            if let Event::Socket(key, hints) = self.events[index]
                && let Some(entry) = self.table.get_mut(key)
            {
                entry.connection.ready(hints);
                self.visit(key);
            }
        }
    }

    fn serve_unfinished(&mut self) {
        // Those that are stopped once more stand behind these and wait for the next turn.
        for _ in 0..self.table.unfinished() {
            if let Some(key) = self.table.take_unfinished() {
                self.visit(key);
            }
        }
    }

    fn expire(&mut self) {
        let mut budget = self.config.expiries_per_turn.max(1).max(self.share(2));
        while let Some(key) = self.wheel.pop_due(self.now, &mut budget) {
            self.turn.alarms += 1;
            let past = self.past();
            let Some(entry) = self.table.get_mut(key) else { continue };
            if entry.connection.rang(past, &self.rules) {
                self.visit(key);
            }
            let past = self.past();
            if let Some(entry) = self.table.get_mut(key)
                && entry.connection.is_due(past, &self.rules)
            {
                entry.connection.expire(past, &self.rules);
                self.visit(key);
            }
            if let Some(entry) = self.table.get_mut(key) {
                self.wheel.arm(key, entry.connection.alarm(self.now, &self.rules));
            }
        }
    }

    fn reap(&mut self) {
        while let Some(key) = self.table.next_ended() {
            self.wheel.disarm(key);
            self.conclude(key);
            self.listeners.resume();
        }
        self.counters.open = self.table.len() as u64;
        let listening = self.listeners.is_open();
        if self.stage == Stage::Draining && !listening && self.table.len() == 0 {
            self.stage = Stage::Stopped;
        }
    }

    // ---- leaves -------------------------------------------------------------------------------

    /// One part in `parts` of what serving cost in this turn, counted in visits, or in deadlines,
    /// which cost about the same.
    fn share(&self, parts: u32) -> u32 {
        const BYTES_LIKE_A_VISIT: u64 = 16 << 10;
        let visits = u64::from(self.turn.visits) + self.turn.bytes / BYTES_LIKE_A_VISIT;
        u32::try_from(visits).unwrap_or(u32::MAX) / parts
    }

    /// The last moment that has passed for sure. The clock rounds down: a deadline of this very
    /// millisecond may lie ahead still.
    fn past(&self) -> Tick {
        Tick::from_ms(self.now.as_ms().saturating_sub(1))
    }

    fn read_clock(&mut self) {
        self.now = self.kernel.now();
        self.visits_since_clock = 0;
    }

    /// Does what a connection wants done, and puts it where it belongs afterwards.
    fn visit(&mut self, key: u32) {
        if self.visits_since_clock >= self.config.clock_interval {
            self.read_clock();
        }
        self.visits_since_clock += 1;
        self.turn.visits += 1;
        self.rules.may_wait = self.table.open() <= self.config.settles_up_to();
        let Some(entry) = self.table.get_mut(key) else { return };
        let was_settling = entry.connection.is_settling();
        let budget = self.config.bytes_per_visit.max(1);
        let mut visit = Visit {
            kernel: &mut self.kernel,
            replier: &mut self.replier,
            rules: &self.rules,
            now: self.now,
            budget,
            probes: self.config.probes,
        };
        let outcome = visit.run(key, entry);
        self.turn.bytes += (budget - visit.budget) as u64;
        if entry.connection.take_alarm_moved() && outcome != Outcome::Ended {
            self.wheel.arm(key, entry.connection.alarm(self.now, &self.rules));
        }
        if !was_settling && entry.connection.is_settling() {
            self.table.settles(key);
            self.listeners.resume(); // who only waits for its evidence can make room
        }
        match outcome {
            Outcome::Idle => {}
            Outcome::Unfinished => self.table.owe_visit(key),
            Outcome::Ended => self.table.end(key),
        }
    }

    /// Collects the evidence, says how it ended and parts with the socket.
    fn conclude(&mut self, key: u32) {
        let Entry { socket, connection, .. } = self.table.ended(key);
        let local = self.kernel.local(socket);
        let (facts, unacked) = match connection.is_settled() {
            true => (SocketFacts::SETTLED, Some(0)),
            false if self.config.probes => (self.kernel.facts(socket), self.kernel.unacked(socket)),
            false => (SocketFacts::default(), None),
        };
        // SO_ERROR last, and only where there is reason: it also hands out errors of the network
        // that ended nothing.
        let closed = facts.tcp.is_some_and(|tcp| tcp.closed);
        if !connection.has_error()
            && (connection.is_suspect() || closed)
            && let Some(errno) = self.kernel.take_error(socket)
        {
            connection.latch(errno, Via::SoError);
        }
        let goodbye = connection.goodbye();
        let evidence = connection.evidence(&facts, unacked, K::SYSTEM);
        let verdict = classify(&evidence);
        let ending = Ending::new(connection, local, evidence, verdict, self.now);
        self.report(ending);
        let socket = self.table.free(key);
        self.kernel.close(socket, goodbye);
    }

    fn report(&mut self, ending: Ending) {
        self.turn.ended += 1;
        self.counters.verdicts[ending.verdict.kind as usize] += 1;
        if self.endings.len() < self.config.endings_max {
            self.endings.push_back(ending);
        } else {
            self.counters.endings_missed += 1;
        }
    }

    /// The first call drains, the second ends at once.
    fn stop(&mut self, calls: u32) {
        match self.stage {
            Stage::Serving | Stage::Draining if calls >= 2 => {
                self.kernel.stop_listening();
                self.listeners.close();
                for key in self.table.keys() {
                    if let Some(entry) = self.table.get_mut(key) {
                        entry.connection.refuse(LocalCause::Drain);
                        self.table.end(key);
                    }
                }
                self.stage = Stage::Forced;
            }
            Stage::Serving => {
                self.stage = Stage::Draining;
                self.rules.drain_ends = Some(self.now.after(self.config.drain_ms));
                self.listeners.sweep(self.config.backlog.max(1).unsigned_abs());
                // Everybody is due at once: the expiry path does the rest, within its budget.
                for key in self.table.keys() {
                    self.wheel.arm(key, Tick::from_ms(0));
                }
            }
            _ => {}
        }
    }
}
