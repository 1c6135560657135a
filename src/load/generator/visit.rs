//! Events and alarms of one connection.

use std::io::{Read, Write};

use super::stage::RunPhase;
use super::{Generator, moment};
use crate::kernel::mio_kernel::{MioKernel, uninterrupted};
use crate::kernel::{Io, Kernel};
use crate::load::connection::Phase;
use crate::load::message::Heard;
use crate::load::plan::Mode;
use crate::machine::close::Via;
use crate::machine::errno::Errno;
use crate::machine::time::Moment;
use crate::socket::take_error;

impl Generator {
    // ---- events -------------------------------------------------------------------------------

    /// An event of the connection in this place.
    pub(super) fn ready(&mut self, key: usize, event: &mio::event::Event) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let Some(socket) = &entry.socket else { return };
        let phase = entry.connection.phase;
        if phase == Phase::Connecting {
            // The observer is not used here: there is no connection yet, so the order of SO_ERROR
            // and read does not matter. SO_ERROR has the result of connect(2).
            if event.is_error() {
                let errno = take_error(socket).unwrap_or(Errno(0));
                return self.connect_failed(key, errno);
            }
            if !event.is_writable() {
                return;
            }
            let now = self.now();
            self.connected(key, now);
        } else if event.is_writable() && entry.connection.unsent > 0 {
            self.flush(key);
        }
        if event.is_readable() || event.is_error() {
            self.hear(key, event.is_read_closed() || event.is_error());
        }
    }

    /// Reads what has arrived. `reads_on`: continue to the end, because no further edge will come.
    fn hear(&mut self, key: usize, reads_on: bool) {
        loop {
            let Some(entry) = self.slab.get_mut(key) else { return };
            let Some(socket) = &mut entry.socket else { return };
            if entry.connection.phase == Phase::Connecting {
                return; // this is already the next cycle
            }
            match uninterrupted(|| socket.read(&mut self.inbox)) {
                Io::Done(0) => return self.heard_fin(key),
                Io::Done(bytes) => {
                    entry.connection.seen.received(bytes);
                    self.traffic.received += bytes as u64;
                    if !self.feed(key, bytes)
                        || !(reads_on || may_hold_more(bytes, self.inbox.len(), DRAINS))
                    {
                        return;
                    }
                }
                Io::WouldBlock => return,
                Io::Failed(errno) => return self.failed(key, errno, Via::Recv),
            }
        }
    }

    /// Compares what was read, and continues. `false` if the connection ended.
    fn feed(&mut self, key: usize, bytes: usize) -> bool {
        let now = self.now();
        let number = self.plan.number(key as u32);
        let mut at = 0;
        while at < bytes {
            let connection = &mut self.slab[key].connection;
            // More than was asked for is a wrong reply as well.
            let heard = if connection.in_flight() == 0 || connection.phase == Phase::Closing {
                Heard::Wrong
            } else {
                let turn = (number, connection.answered);
                self.script.check(turn, &mut connection.cursor, &self.inbox[at..bytes])
            };
            match heard {
                Heard::Part => return true,
                Heard::Whole(used) if !self.is_churn() => {
                    at += used;
                    self.answered(key, now);
                }
                // The cycle ends with the server's FIN.
                Heard::Whole(used) if at + used == bytes => {
                    self.shut_down(key);
                    return true;
                }
                Heard::Whole(_) | Heard::Wrong => {
                    self.mismatch(key, at, bytes);
                    return false;
                }
            }
        }
        self.go_on(key, now);
        self.leave(key);
        self.slab.contains(key)
    }

    /// A complete and right reply has arrived.
    fn answered(&mut self, key: usize, now: u64) {
        let connection = &mut self.slab[key].connection;
        let turn = connection.answered;
        connection.answered = turn + 1;
        connection.cursor = self.script.begin(false);
        self.in_flight -= 1;
        self.kept_alive -= u64::from(turn >= connection.cool);
        self.opening -= u32::from(connection.is_new);
        connection.is_new = false;
        self.count(key, turn, now);
    }

    /// Counts a turn that has ended.
    pub(super) fn count(&mut self, key: usize, turn: u64, now: u64) {
        if self.is_measuring() && self.slab[key].connection.measures(turn) {
            self.tally.done += 1;
            self.tally.in_time += u64::from(now <= self.window.end);
            self.record(key, turn, now);
        }
    }

    /// Records how long a measured turn took, or its age if it was abandoned.
    pub(super) fn record(&mut self, key: usize, turn: u64, now: u64) {
        let connection = &self.slab[key].connection;
        let begun_at = self.begun_at[self.noted(key, turn)];
        let service = (turn < connection.asked).then(|| now.saturating_sub(begun_at));
        match (&self.pace, service) {
            (Some(pace), service) => {
                let due_at = pace.due_at(key as u32, turn - connection.first);
                self.took(now.saturating_sub(due_at));
                service.into_iter().for_each(|ns| self.service.record(ns));
            }
            (None, Some(service)) => self.took(service),
            (None, None) => {}
        }
    }

    // ---- requests ------------------------------------------------------------------------------

    /// Sends as many requests as are allowed now.
    pub(super) fn go_on(&mut self, key: usize, now: u64) {
        if self.slab.get(key).is_some_and(|entry| entry.connection.phase == Phase::Closed) {
            return self.reopen(key, now);
        }
        while self.wants_to_ask(key, now) {
            self.ask(key, now);
        }
    }

    fn wants_to_ask(&self, key: usize, now: u64) -> bool {
        let Some(entry) = self.slab.get(key) else { return false };
        let connection = &entry.connection;
        let may = connection.phase == Phase::Open
            && connection.unsent == 0
            && connection.in_flight() < u64::from(self.plan.depth);
        let asks = self.plan.mode == Mode::Echo;
        may && asks
            && match self.stage {
                RunPhase::Running if self.pace.is_none() => now < self.window.end,
                RunPhase::Running | RunPhase::Finishing => {
                    self.pace.is_some() && connection.owed() > 0
                }
                _ => false,
            }
    }

    /// Sends a message.
    pub(super) fn ask(&mut self, key: usize, now: u64) {
        let noted = self.noted(key, self.slab[key].connection.asked);
        self.begun_at[noted] = now;
        self.begins(key);
        self.slab[key].connection.says(self.plan.size);
        self.flush(key);
    }

    /// A turn begins.
    pub(super) fn begins(&mut self, key: usize) {
        let connection = &mut self.slab[key].connection;
        if self.pace.is_some() && connection.owed() > 0 {
            self.owed -= 1;
        }
        self.kept_alive += u64::from(connection.asked >= connection.cool);
        connection.asked += 1;
        self.in_flight += 1;
    }

    /// Sends the rest of the message in progress, as much as the socket takes.
    pub(super) fn flush(&mut self, key: usize) {
        let number = self.plan.number(key as u32);
        let entry = &mut self.slab[key];
        let Some(socket) = &mut entry.socket else { return };
        let connection = &mut entry.connection;
        let message = self.script.message(number, connection.asked.saturating_sub(1));
        while connection.unsent > 0 {
            match uninterrupted(|| socket.write(&message[connection.taken()..])) {
                Io::Done(bytes) => {
                    connection.took(bytes);
                    self.traffic.sent += bytes as u64;
                }
                Io::WouldBlock => return,
                Io::Failed(errno) => return self.failed(key, errno, Via::Send),
            }
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Its alarm expired: it is late, or has a message to send, or its time has changed.
    pub(super) fn rang(&mut self, key: usize) {
        let now = self.now();
        let Some(entry) = self.slab.get(key) else { return };
        let connection = &entry.connection;
        let past = Moment::from_ms(moment(now).as_ms().saturating_sub(1));
        if self.deadline(key).is_some_and(|deadline| deadline <= past) {
            return self.too_late(key);
        }
        if connection.wakes_at <= moment(now) {
            match connection.phase {
                Phase::Closed => {
                    self.slab[key].connection.wakes_at = Moment::NEVER;
                    return self.reopen(key, now);
                }
                Phase::Open if self.keeps_alive() => self.says_something(key, now),
                _ => {}
            }
        }
        if self.slab.contains(key) {
            self.arm(key, now);
        }
    }

    /// Whether idle connections send a message now and then.
    fn keeps_alive(&self) -> bool {
        match self.stage {
            RunPhase::Opening | RunPhase::Ready => true,
            RunPhase::Running => self.plan.mode == Mode::Hold,
            RunPhase::Finishing | RunPhase::Measured | RunPhase::Closing => !self.is_churn(),
            RunPhase::Over => false,
        }
    }

    /// Sends a message, if nothing is in flight.
    fn says_something(&mut self, key: usize, now: u64) {
        let every = self.plan.every_ms.unwrap_or(0);
        let connection = &mut self.slab[key].connection;
        // Counted from when it was due, so that the spread remains.
        connection.wakes_at = connection.wakes_at.after(every).max(moment(now).after(every / 2));
        if connection.in_flight() == 0 {
            if !matches!(self.stage, RunPhase::Opening | RunPhase::Ready | RunPhase::Running) {
                connection.cools();
            }
            self.ask(key, now);
        }
    }

    /// When the turn in flight, or the server's FIN, is too late.
    fn deadline(&self, key: usize) -> Option<Moment> {
        let connection = &self.slab[key].connection;
        let waits = match connection.phase {
            Phase::Closed => false,
            Phase::Connecting | Phase::Closing => true,
            Phase::Open => connection.in_flight() > 0,
        };
        let turn = if connection.in_flight() > 0 { connection.answered } else { connection.asked };
        let since = moment(self.begun_at[self.noted(key, turn)]);
        waits.then(|| since.after(self.plan.timeout_ms))
    }

    /// Sets the alarm to the earliest moment at which anything can be due. An idle connection is
    /// checked once in a timeout, so a request that begins later never touches the wheel.
    pub(super) fn arm(&mut self, key: usize, now: u64) {
        let timeout = self.plan.timeout_ms;
        let deadline = self.deadline(key).unwrap_or_else(|| moment(now).after(timeout));
        let connection = &self.slab[key].connection;
        let wakes_at = match connection.phase {
            Phase::Open if self.keeps_alive() => connection.wakes_at,
            Phase::Closed => connection.wakes_at,
            // It has nothing to send. An alarm in the past would ring in each turn.
            Phase::Open | Phase::Connecting | Phase::Closing => Moment::NEVER,
        };
        self.wheel.arm(key as u32, deadline.min(wakes_at));
    }
}

/// Whether a short read means that nothing is left: not with mio's poll on Windows.
const DRAINS: bool = MioKernel::SHORT_READ_DRAINS;

/// Whether there may be more to read after a read of `bytes` into room for `room`, without a
/// further event.
const fn may_hold_more(bytes: usize, room: usize, short_read_drains: bool) -> bool {
    bytes >= room || !short_read_drains
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: on Windows, data behind a short read was never read.
    #[test]
    fn a_short_read_is_the_last_only_where_the_system_says_so() {
        assert!(may_hold_more(64, 64, true));
        assert!(!may_hold_more(63, 64, true));
        assert!(may_hold_more(63, 64, false));
        assert_eq!(DRAINS, cfg!(any(target_os = "linux", target_os = "macos")));
    }
}
