//! Serving: connections with a scheduled visit, and connections whose deadline has passed.

use super::Reactor;
use super::table::Pace;
use super::visit::{CALL_COSTS_BYTES, Visit, VisitEnd};
use crate::kernel::{Event, Kernel};
use crate::machine::connection::Context;
use crate::machine::time::Moment;

/// A connection that moved more than this in a visit, in bytes, is a bulk sender until it moves
/// less. It is what one small request is charged for. Where no sparse flow waits, the queue of the
/// bulk senders costs nothing.
const SPARSE_BYTES_MAX: usize = CALL_COSTS_BYTES;

impl<K: Kernel> Reactor<K> {
    /// Sets the hints of the connections with an event. Each gets one visit.
    pub(super) fn schedule_ready(&mut self) {
        for index in 0..self.events.len() {
            if let Event::Socket(key, hints) = self.events[index]
                && let Some(slot) = self.table.get_mut(key)
            {
                slot.connection.ready(hints);
                self.table.schedule_visit(key);
            }
        }
    }

    /// Serves connections with a scheduled visit, the oldest first: sparse flows within one budget,
    /// then bulk senders within another. A connection that is stopped again waits for the next
    /// turn.
    pub(super) fn serve(&mut self) {
        let budget = self.config.bytes_per_turn.max(1);
        self.serve_queue(Pace::Sparse, self.turn.bytes.saturating_add(budget));
        self.serve_queue(Pace::Bulk, self.turn.bytes.saturating_add(budget));
    }

    /// Serves one queue until the turn has been charged for `bytes_max`.
    fn serve_queue(&mut self, pace: Pace, bytes_max: u64) {
        for _ in 0..self.table.scheduled_visits() {
            if self.turn.bytes >= bytes_max {
                break;
            }
            let Some(key) = self.table.take_scheduled(pace) else { break };
            let Some(slot) = self.table.get_mut(key) else { continue };
            if slot.visited_in == self.turn_number {
                self.table.schedule_visit(key);
            } else {
                self.visit_within(key, self.bytes_per_visit());
            }
        }
    }

    /// Handles the alarms that were put off in an earlier turn, before anything is served: a
    /// connection that always has something to do would put them off indefinitely.
    pub(super) fn ring_deferred(&mut self) {
        let before = self.turn.bytes;
        let bytes_max = before.saturating_add(self.config.bytes_per_turn.max(1));
        for _ in 0..self.deferred_alarms.len() {
            if self.turn.bytes >= bytes_max {
                break;
            }
            let Some(key) = self.deferred_alarms.pop_front() else { break };
            self.alarm_rings(key);
        }
        self.alarm_bytes = self.turn.bytes - before;
    }

    /// Handles the deadlines that are due, and ends the connections whose time has passed. The
    /// alarms that were put off use the same budget of bytes.
    pub(super) fn expire(&mut self) {
        let mut looks = self.config.expiries_per_turn.max(1).max(self.share_of_serving(2));
        let budget = self.config.bytes_per_turn.max(1).saturating_sub(self.alarm_bytes);
        let bytes_max = self.turn.bytes.saturating_add(budget);
        debug_assert!(
            self.deferred_alarms.is_empty() || budget == 0,
            "an alarm may be deferred twice"
        );
        while self.turn.bytes < bytes_max
            && let Some(key) = self.wheel.pop_due(self.context.now, &mut looks)
        {
            self.alarm_rings(key);
        }
    }

    /// The alarm of `key` rings: everything is tried once more before anything is decided. This is
    /// the last part of the path of each deadline, which is drawn on
    /// [`Connection`](crate::machine::connection::Connection#deadlines).
    fn alarm_rings(&mut self, key: u32) {
        let context = self.deadline_context();
        let turn = self.turn_number;
        let Some(slot) = self.table.get_mut(key) else { return };
        let mut budget = self.config.bytes_per_visit.max(1);
        // A connection is served once in a turn: its alarm is put off to the next.
        if slot.visited_in == turn && slot.connection.alarm_is_due(&context) {
            return self.deferred_alarms.push_back(key);
        }
        self.turn.alarms += 1;
        if slot.connection.alarm_rang(&context) {
            budget = self.visit_within(key, budget);
        }
        let context = self.deadline_context();
        if let Some(slot) = self.table.get_mut(key)
            && slot.connection.is_due(&context)
        {
            slot.connection.expire(&context);
            self.visit_within(key, budget);
        }
        if let Some(slot) = self.table.get_mut(key) {
            self.wheel.arm(key, slot.connection.alarm(&self.context));
        }
    }

    /// One part in `parts` of what serving cost in this turn, counted in visits, or in deadlines,
    /// which cost about the same.
    pub(super) fn share_of_serving(&self, parts: u32) -> u32 {
        const BYTES_LIKE_A_VISIT: u64 = 16 << 10;
        let visits = u64::from(self.turn.visits) + self.turn.bytes / BYTES_LIKE_A_VISIT;
        u32::try_from(visits).unwrap_or(u32::MAX) / parts
    }

    /// The time by which deadlines are decided. The clock rounds down, so a deadline of this very
    /// millisecond may still lie ahead: the last moment that has certainly passed is the
    /// millisecond before it.
    fn deadline_context(&self) -> Context {
        self.context.at(Moment::from_ms(self.context.now.as_ms().saturating_sub(1)))
    }

    /// What one visit may be charged, in bytes.
    pub(super) fn bytes_per_visit(&self) -> usize {
        self.config.bytes_per_visit.max(1)
    }

    /// Does what a connection needs, within `budget` bytes, and puts it into the right queue
    /// afterwards. Returns what is left of the budget.
    pub(super) fn visit_within(&mut self, key: u32, budget: usize) -> usize {
        if self.visits_since_clock >= self.config.clock_interval {
            self.read_clock();
        }
        self.visits_since_clock += 1;
        self.turn.visits += 1;
        self.context.may_wait = self.table.open() <= self.config.settles_up_to();
        let Some(slot) = self.table.get_mut(key) else { return budget };
        slot.visited_in = self.turn_number;
        let was_settling = slot.connection.is_settling();
        let output_bytes = slot.connection.output_bytes();
        let mut visit = Visit {
            kernel: &mut self.kernel,
            replier: &mut self.replier,
            context: &self.context,
            budget,
            charged: 0,
            reply_bytes: self.output.reply_bytes(),
            asks_kernel: self.config.asks_kernel,
        };
        let outcome = visit.run(key, slot);
        let (left, spent) = (visit.budget, visit.charged);
        self.turn.bytes += spent.max(CALL_COSTS_BYTES) as u64;
        self.output.changed(output_bytes, slot.connection.output_bytes());
        let is_bulk = outcome == VisitEnd::Unfinished || spent > SPARSE_BYTES_MAX;
        slot.pace = if is_bulk { Pace::Bulk } else { Pace::Sparse };
        if slot.connection.take_alarm_moved() && outcome != VisitEnd::Ended {
            self.wheel.arm(key, slot.connection.alarm(&self.context));
        }
        if !was_settling && slot.connection.is_settling() {
            self.table.queue_settling(key);
            self.listeners.room_can_be_made(); // a connection that only waits for its evidence
        }
        match outcome {
            VisitEnd::Idle => {}
            VisitEnd::Unfinished => self.table.schedule_visit(key),
            VisitEnd::Ended => self.table.end(key),
        }
        left
    }
}
