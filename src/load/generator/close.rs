//! Closing all connections at the end of a run, at the pace at which they were opened.
//!
//! A million FINs at once take more of the kernel's memory for TCP (`net.ipv4.tcp_mem`) than there
//! is, and what does not fit is dropped. So at most [`OPENING_MAX`] of our FINs are unanswered at a
//! time, and `--ramp` also limits the closing. A connection that waits to be closed still sends its
//! message (`--every`), or the server's read deadline would end it.
//!
//! The pace has a time limit, because a server may never answer a FIN: after twice the time that
//! opening took, plus a timeout, all remaining connections are closed at once. An interrupt
//! shortens the timeout and removes the ramp.

use super::open::OPENING_MAX;
use super::stage::RunPhase;
use super::{Generator, moment};
use crate::load::connection::{Phase, Why};
use crate::load::plan::Mode;
use crate::load::tally::Trouble;

/// The progress of closing.
#[derive(Default, Debug)]
pub(super) struct Closing {
    /// How long opening took, in nanoseconds.
    pub(super) opened_in: u64,
    /// Connections that are to close and have not ended: our FIN was sent, or waits for a reply.
    pub(super) under_way: u32,
    /// The next place to close.
    next: u32,
    /// Connections that are to close, including those that have ended.
    begun: u32,
    /// When it began, in nanoseconds of the generator's clock.
    begin: u64,
    /// After this time all remaining connections are closed at once.
    paced_until: u64,
}

impl Generator {
    /// Begins to close. A connection whose reply is late ends at once.
    pub(super) fn close_all(&mut self) {
        self.stage = RunPhase::Closing;
        let now = self.now();
        self.closing.begin = now;
        if self.outcome.interrupted {
            self.plan.timeout_ms = CLOSING_MS_INTERRUPTED;
        }
        self.closing.paced_until = self.paced_until(now);
        for key in self.keys() {
            let Some(entry) = self.slab.get_mut(key) else { continue };
            let connection = &entry.connection;
            let is_late = match connection.phase {
                Phase::Closed | Phase::Closing => false,
                Phase::Connecting => true,
                Phase::Open => connection.answered < connection.asked.min(connection.cool),
            };
            match is_late {
                true if self.outcome.interrupted => self.end(key, Why::Interrupted),
                true => {
                    self.note(key, Trouble::Timeout);
                    self.end(key, Why::Timeout);
                }
                false => self.arm(key, now),
            }
        }
        self.close_more();
    }

    fn paced_until(&self, now: u64) -> u64 {
        now + 2 * self.closing.opened_in + self.plan.timeout_ms * 1_000_000
    }

    /// Closes as many connections as the limit and the ramp allow.
    pub(super) fn close_more(&mut self) {
        let now = self.now();
        let is_paced = now < self.closing.paced_until;
        while self.closing.next < self.opened {
            let waits = self.closing.under_way >= OPENING_MAX
                || self.ramp_allows_at().is_some_and(|at| at > now);
            if is_paced && waits {
                return;
            }
            let key = self.closing.next as usize;
            self.closing.next += 1;
            let Some(entry) = self.slab.get_mut(key) else { continue };
            if entry.connection.phase == Phase::Open {
                entry.connection.is_leaving = true;
                self.closing.under_way += 1;
                self.closing.begun += 1;
                self.leave(key);
            }
        }
    }

    /// Sends our FIN, if the connection is to close and no reply is in flight.
    pub(super) fn leave(&mut self, key: usize) {
        let Some(entry) = self.slab.get(key) else { return };
        let connection = &entry.connection;
        if connection.is_leaving && connection.phase == Phase::Open && connection.in_flight() == 0 {
            self.shut_down(key);
        }
    }

    /// When the next one may be closed by the clock, in nanoseconds: by the ramp, or at the time
    /// limit. `None` if it depends on the server.
    pub(super) fn next_close_at(&self) -> Option<u64> {
        if self.stage != RunPhase::Closing || self.closing.next >= self.opened {
            return None;
        }
        let end = self.closing.paced_until;
        let is_free = self.closing.under_way < OPENING_MAX;
        Some(self.ramp_allows_at().filter(|_| is_free).map_or(end, |at| at.min(end)))
    }

    /// When the ramp allows the next one; `None` without a ramp.
    fn ramp_allows_at(&self) -> Option<u64> {
        let ramp = self.plan.ramp.filter(|_| !self.outcome.interrupted)?;
        // Processes take turns, as they did when they opened.
        let number = u64::from(self.plan.number(self.closing.begun));
        Some(self.closing.begin + number * 1_000_000_000 / u64::from(ramp))
    }

    pub(super) fn is_closed(&self) -> bool {
        let is_closed = |phase| phase == Phase::Closed;
        self.closing.next >= self.opened
            && self.slab.iter().all(|(_, entry)| is_closed(entry.connection.phase))
    }

    /// An interrupt while connections are closed: the server gets less time for its FINs.
    pub(super) fn hurry(&mut self) {
        let now = self.now();
        self.plan.timeout_ms = self.plan.timeout_ms.min(CLOSING_MS_INTERRUPTED);
        self.closing.paced_until = self.closing.paced_until.min(self.paced_until(now));
        for key in self.keys() {
            self.arm(key, now);
        }
    }

    /// From here on connections only wait to be closed, and send a message every `every_ms`
    /// milliseconds, as those of hold have done from the beginning.
    pub(super) fn stay_alive(&mut self) {
        let Some(every) = self.plan.every_ms.filter(|_| self.plan.mode == Mode::Echo) else {
            return;
        };
        let now = self.now();
        for key in self.keys() {
            let connection = &self.slab[key].connection;
            let last = self.begun_at[self.noted(key, connection.asked.saturating_sub(1))];
            if connection.phase == Phase::Open {
                self.slab[key].connection.wakes_at = moment(last).after(every);
                self.arm(key, now);
            }
        }
    }
}

/// How long an interrupted run waits for a server's FIN, in milliseconds.
const CLOSING_MS_INTERRUPTED: u64 = 1000;
