//! Reaping: what is left of a connection that has ended becomes an ending, and its slot is free.

use super::table::Entry;
use super::{Ending, Reactor};
use crate::kernel::Kernel;
use crate::machine::close::{LocalCause, SocketFacts, Via, classify};

impl<K: Kernel> Reactor<K> {
    /// Reaps those that have ended, the oldest first, within a budget; and no more than fit the
    /// list of endings, so that a caller who reads it after each turn misses none.
    pub(super) fn reap(&mut self) {
        let room = self.config.endings_max.saturating_sub(self.endings.len()).max(1);
        let budget = self.config.reaps_per_turn.max(1).max(self.share(2));
        for _ in 0..room.min(budget as usize) {
            let Some(key) = self.table.next_ended() else { break };
            self.wheel.disarm(key);
            self.conclude(key);
        }
        self.turn.unreaped = self.table.to_reap() as u32;
        self.counters.open = self.table.len() as u64;
    }

    /// Collects the evidence, reports how the connection ended and parts with the socket.
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
        self.output.changed(connection.output_bytes(), 0);
        let ending = Ending::new(connection, local, evidence, verdict, self.now);
        self.report(ending);
        let socket = self.table.free(key);
        self.kernel.close(socket, goodbye);
        // One that could not be watched gives back only what it had taken itself.
        if evidence.cause != Some(LocalCause::Resource) {
            self.listeners.resources_are_back();
        }
    }

    /// Counts an ending, and keeps it until it is asked for.
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
