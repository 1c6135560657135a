//! Reaping: a connection that has ended becomes an ending, and its slot is free.

use std::net::SocketAddr;

use super::table::Slot;
use super::{Ending, Reactor};
use crate::kernel::Kernel;
use crate::machine::close::{Conclusion, LocalCause, Probe, SocketFacts};
use crate::machine::connection::Connection;
use crate::machine::errno::{Errno, System};
use crate::machine::time::Moment;

/// The kernel, as a source of evidence about one socket.
struct SocketProbe<'a, K: Kernel> {
    kernel: &'a mut K,
    socket: &'a mut K::Socket,
    /// Whether the kernel is asked what became of the last reply.
    asks_kernel: bool,
}

impl<K: Kernel> Probe for SocketProbe<'_, K> {
    fn system(&self) -> System {
        K::SYSTEM
    }

    fn unacked(&mut self) -> Option<u32> {
        if self.asks_kernel { self.kernel.unacked(self.socket) } else { None }
    }

    fn facts(&mut self) -> SocketFacts {
        if self.asks_kernel { self.kernel.facts(self.socket) } else { SocketFacts::default() }
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.kernel.take_error(self.socket)
    }
}

impl<K: Kernel> Reactor<K> {
    /// Reaps connections that have ended, the oldest first, within a budget; and no more than fit
    /// the list of endings, so that a caller that reads it after each turn misses none.
    pub(super) fn reap(&mut self) {
        let room = self.config.endings_max.saturating_sub(self.endings.len()).max(1);
        let budget = self.config.reaps_per_turn.max(1).max(self.share_of_serving(2));
        for _ in 0..room.min(budget as usize) {
            let Some(key) = self.table.next_ended() else { break };
            self.wheel.disarm(key);
            self.conclude(key);
        }
        self.turn.unreaped = self.table.to_reap() as u32;
        self.counters.open = self.table.len() as u64;
    }

    /// Collects the evidence, reports how the connection ended and closes the socket.
    fn conclude(&mut self, key: u32) {
        let Slot { socket, connection, .. } = self.table.ended(key);
        let local = self.kernel.local(socket);
        let probe =
            SocketProbe { kernel: &mut self.kernel, socket, asks_kernel: self.config.asks_kernel };
        let conclusion = connection.conclude(probe);
        let goodbye = connection.goodbye();
        self.output.changed(connection.output_bytes(), 0);
        let ending = ending(connection, local, conclusion, self.context.now);
        self.report(ending);
        let socket = self.table.free(key);
        self.kernel.close(socket, goodbye);
        // A connection that could not be registered gives back only what it had taken itself.
        if conclusion.evidence.cause != Some(LocalCause::Resource) {
            self.listeners.resources_are_back();
        }
    }

    /// Counts an ending, and keeps it until it is read.
    pub(super) fn report(&mut self, ending: Ending) {
        self.turn.ended += 1;
        self.counters.verdicts[ending.verdict.kind as usize] += 1;
        if self.endings.len() < self.config.endings_max {
            self.endings.push_back(ending);
        } else {
            self.counters.endings_missed += 1;
        }
    }
}

/// The ending of `connection`.
pub(super) fn ending(
    connection: &Connection,
    local: Option<SocketAddr>,
    conclusion: Conclusion,
    now: Moment,
) -> Ending {
    let addresses = (connection.peer(), local);
    let times_ms = (connection.age_ms(now), connection.waited_ms(now));
    Ending::new(connection.id(), addresses, conclusion, times_ms)
}
