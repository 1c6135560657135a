//! The stages of a run, and the transitions between them.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Conductor, Generator, Milestone, TICK, Traffic, moment};
use crate::load::connection::{Phase, Why};
use crate::load::link::Ticker;
use crate::load::pace::Pace;
use crate::load::plan::Mode;
use crate::load::proc::{OnCpu, own_time};

/// The stage of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RunPhase {
    /// Connections are opened, and each sends a message.
    Opening,
    /// All are open; the conductor decides when to begin.
    Ready,
    /// Requests are sent: those of the warm-up, then those that are measured.
    Running,
    /// No more requests are due; replies are awaited.
    Finishing,
    /// Everything is answered; the conductor decides when to close.
    Measured,
    /// Connections are closed, at the pace at which they were opened.
    Closing,
    /// The run has ended.
    Over,
}

/// The measured time, in nanoseconds of the generator's clock.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Window {
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Whether the warm-up has ended.
    pub(super) is_measured: bool,
    /// Whether the conductor knows that.
    is_told: bool,
    time_begin: Option<OnCpu>,
    /// Bytes that had been sent and received at its beginning.
    traffic_begin: Traffic,
}

impl Window {
    /// This thread's time since the beginning, in seconds: on a processor, and waiting for one.
    fn own_seconds(&self) -> Option<(f64, f64)> {
        let (end, begin) = own_time().zip(self.time_begin)?;
        let seconds = |end: u64, begin: u64| end.saturating_sub(begin) as f64 / 1e9;
        Some((seconds(end.ran, begin.ran), seconds(end.waited, begin.waited)))
    }

    /// The share of it that has passed; `None` before it.
    pub(super) fn share(&self, now: u64) -> Option<f64> {
        let length = (self.end - self.begin) as f64;
        (self.end > 0).then(|| (now.saturating_sub(self.begin) as f64 / length).min(1.0))
    }
}

impl Generator {
    /// Whether the load is running: in its warm-up, measured, or until its last reply.
    pub(super) fn is_measuring(&self) -> bool {
        matches!(self.stage, RunPhase::Running | RunPhase::Finishing)
    }

    /// When the clock alone ends the stage.
    pub(super) fn next_stage_at(&self) -> Option<u64> {
        match self.stage {
            RunPhase::Running if !self.window.is_measured => Some(self.window.begin),
            RunPhase::Running => {
                let interval = self.meter.as_ref().map_or(u64::MAX, |meter| meter.ends_at);
                Some(self.window.end.min(interval))
            }
            RunPhase::Finishing => Some(self.patience_ends()),
            _ => None,
        }
    }

    fn patience_ends(&self) -> u64 {
        self.window.end + self.plan.timeout_ms * 1_000_000
    }

    /// Advances through as many stages as possible.
    pub(super) fn advance(&mut self, conductor: &mut impl Conductor) -> io::Result<()> {
        let interrupts = self.handle.interrupts.load(Ordering::Acquire);
        if interrupts > 0 && !self.outcome.interrupted {
            self.interrupt();
        }
        match self.stage {
            RunPhase::Opening => self.open_more(),
            RunPhase::Closing => self.close_more(),
            _ => {}
        }
        loop {
            let before = self.stage;
            match self.stage {
                RunPhase::Opening if self.is_open() => {
                    self.stage = RunPhase::Ready;
                    self.closing.opened_in = self.now();
                    self.outcome.connected = self.slab.len() as u64;
                    conductor.reached(Milestone::Connected);
                }
                RunPhase::Ready if conductor.releases(Milestone::Connected) => self.begin()?,
                RunPhase::Running if self.turn_at >= self.window.begin && !self.window.is_told => {
                    self.window.is_told = true;
                    if !self.window.is_measured {
                        self.measure();
                    }
                    conductor.warmed_up();
                }
                RunPhase::Running if self.is_enough() => self.finish(),
                RunPhase::Finishing if self.is_answered() => self.measured(conductor),
                RunPhase::Measured
                    if self.outcome.interrupted || conductor.releases(Milestone::Measured) =>
                {
                    self.close_all();
                }
                RunPhase::Closing if self.is_closed() || interrupts > 1 => self.conclude(),
                _ => {}
            }
            if self.stage == before {
                return Ok(());
            }
        }
    }

    fn is_open(&self) -> bool {
        self.is_churn() || (self.opened == self.plan.connections && self.opening == 0)
    }

    /// Whether the time has passed, or no connection is left.
    fn is_enough(&self) -> bool {
        self.slab.is_empty() || self.turn_at >= self.window.end
    }

    /// Whether nothing is in flight, or what is missing is too late.
    fn is_answered(&self) -> bool {
        self.in_flight == self.kept_alive && self.owed == 0 || self.turn_at >= self.patience_ends()
    }

    /// The load begins, with the warm-up if there is one.
    fn begin(&mut self) -> io::Result<()> {
        if self.is_churn() {
            self.take_places();
        }
        let now = self.now();
        self.stage = RunPhase::Running;
        let begin = now + self.plan.warmup_ms * 1_000_000;
        let end = begin + self.plan.duration_ms * 1_000_000;
        self.window = Window { begin, end, ..Window::default() };
        for (_, entry) in &mut self.slab {
            entry.connection.begin();
        }
        if self.plan.warmup_ms == 0 {
            self.measure();
            self.window.is_told = true;
        }
        self.pace = Pace::new(&self.plan, now);
        if self.pace.is_some() {
            let ticker = Ticker::new(self.poll.registry(), TICK)?;
            ticker.set(Duration::ZERO);
            self.ticker = Some(ticker);
        }
        for key in self.keys() {
            if self.plan.mode == Mode::Hold {
                self.spread(key, now);
            } else {
                self.go_on(key, now);
            }
        }
        Ok(())
    }

    /// From here on turns are measured.
    pub(super) fn measure(&mut self) {
        self.begin_window();
        for (_, entry) in &mut self.slab {
            entry.connection.measure();
        }
    }

    fn begin_window(&mut self) {
        self.window.is_measured = true;
        self.window.time_begin = own_time();
        self.window.traffic_begin = self.traffic;
        self.begin_intervals();
    }

    /// No more requests are due.
    fn finish(&mut self) {
        self.stage = RunPhase::Finishing;
        self.outcome.held = self.slab.len() as u64;
        let own = self.window.own_seconds();
        self.outcome.cpu_seconds = own.map(|(ran, _)| ran);
        self.outcome.waited_seconds = own.map(|(_, waited)| waited);
        if !self.window.is_measured {
            // It ended in the warm-up: no turn is measured, even one that is due and not begun.
            self.begin_window();
        }
        let (all, before) = (self.traffic, self.window.traffic_begin);
        self.outcome.sent_bytes = all.sent - before.sent;
        self.outcome.received_bytes = all.received - before.received;
        let now = self.now();
        self.window.end = self.window.end.min(now);
        self.window.begin = self.window.begin.min(self.window.end);
        if let Some(pace) = &mut self.pace {
            pace.stop(now);
        }
        self.ticker = None;
        self.stay_alive();
    }

    fn measured(&mut self, conductor: &mut impl Conductor) {
        self.stage = RunPhase::Measured;
        // Until the last reply, because that is part of the work.
        self.outcome.cpu_seconds_sum = self.window.own_seconds().map(|(ran, _)| ran);
        self.outcome.seconds = (self.window.end - self.window.begin) as f64 / 1e9;
        self.tell_interval(conductor, true);
        conductor.reached(Milestone::Measured);
    }

    /// Ctrl-C: the run ends with what was measured, and waits only for connections that close in
    /// order.
    fn interrupt(&mut self) {
        self.outcome.interrupted = true;
        match self.stage {
            RunPhase::Opening | RunPhase::Ready => {
                // Connections that had a reply count as open; nothing counts them again.
                self.outcome.connected = self.standing();
                self.outcome.held = self.outcome.connected;
                if self.stage == RunPhase::Opening {
                    self.closing.opened_in = self.now();
                }
                self.stage = RunPhase::Measured;
            }
            RunPhase::Running => self.finish(),
            RunPhase::Closing => self.hurry(),
            _ => {}
        }
        if self.stage == RunPhase::Finishing {
            // Requests in flight will not be answered.
            self.plan.timeout_ms = 0;
        }
    }

    fn conclude(&mut self) {
        for key in self.keys() {
            if self.slab[key].connection.phase != Phase::Closed {
                self.end(key, Why::Interrupted);
            }
        }
        self.stage = RunPhase::Over;
        // Requests that are due in places between two cycles are never sent.
        self.keys().into_iter().for_each(|key| self.give_up(key));
        let tally = &self.tally;
        self.outcome.done = tally.done;
        self.outcome.in_time = tally.in_time;
        self.outcome.mismatches = tally.mismatches;
        self.outcome.errors = tally.errors();
        self.outcome.verdicts = tally.verdicts();
        std::mem::swap(&mut self.outcome.latency, &mut self.latency);
        std::mem::swap(&mut self.outcome.service, &mut self.service);
    }

    /// Connections that are open and have had their first reply; cycles that may be in flight.
    pub(super) fn standing(&self) -> u64 {
        self.slab.len() as u64 - u64::from(self.opening)
    }

    /// All places that are in use.
    pub(super) fn keys(&self) -> Vec<usize> {
        self.slab.iter().map(|(key, _)| key).collect()
    }

    /// Gives each connection a different first moment in the interval for its message, and never a
    /// later one than it had.
    fn spread(&mut self, key: usize, now: u64) {
        let Some(every) = self.plan.every_ms else { return };
        let share = (key as u64 + 1) * every / u64::from(self.plan.connections);
        let connection = &mut self.slab[key].connection;
        connection.wakes_at = connection.wakes_at.min(moment(now).after(share));
        self.arm(key, now);
    }
}
