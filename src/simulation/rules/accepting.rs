//! Rules for accept: soon where it can succeed, and not at all where it cannot.

use crate::config::Overload;
use crate::simulation::Rule;
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    /// Whether a newcomer could be taken, or shed, now.
    fn can_accept(&self) -> bool {
        let shed = self.setting.config.overload == Overload::Shed;
        let full = self.is_full();
        (!full || shed) && !self.is_exhausted()
    }

    /// Whether accept would say that files or memory are short.
    pub(in crate::simulation) fn is_exhausted(&self) -> bool {
        self.listeners.are_exhausted(self.clock.now_us())
            || self.sockets.open() >= self.setting.files
    }

    /// The listeners are to be closed: each connection that came before the stop was accepted,
    /// unless that was impossible.
    pub(in crate::simulation) fn check_sweep(&mut self) {
        let Some(stopped_us) = self.stopping.since_us() else { return };
        let over =
            self.stopping.ends_us().is_some_and(|ends_us| ends_us < self.clock.seen_us() + 1_000);
        if self.stopping.is_forced() || over || self.listeners.accept_failed() || !self.can_accept()
        {
            return;
        }
        let came_us = |index| self.network.link(index).came_us;
        let left = self.listeners.heads().map(came_us).min();
        if left.is_some_and(|came_us| came_us < stopped_us) {
            self.violate(Rule::Stop, None, "closes a listener, and its backlog is not empty");
        }
    }

    /// The loop is about to sleep until `wake_ms`: no connection that could be accepted waits long.
    pub(in crate::simulation) fn check_backlogs(&mut self, wake_ms: u64) {
        const PATIENCE_US: u64 = 200_000;
        if !self.listeners.are_open() || !self.can_accept() {
            return;
        }
        if let Some(listener) = self.listeners.kept_waiting(wake_ms, PATIENCE_US) {
            let what = format!("sleeps on, and a connection waits at listener {listener}");
            self.violate(Rule::Accept, None, what);
        }
    }

    /// Without connections there is no timer; in a drain there is no listener, unless accept is
    /// impossible for now.
    pub(in crate::simulation) fn check_listeners(&mut self, timeout_ms: Option<u64>) {
        let quiet = self.listeners.are_quiet();
        if timeout_ms.is_some() && self.sockets.open() == 0 && quiet && !self.stopping.is_draining()
        {
            self.violate(
                Rule::BusyLoop,
                None,
                "no connection is open, and it sleeps with a timeout",
            );
        }
        let full = self.is_full();
        let held_up =
            full || self.listeners.accept_failed() || self.listeners.paused_until_ms().is_some();
        let over = self.stopping.ends_us().is_some_and(|ends_us| ends_us <= self.clock.seen_us());
        if timeout_ms != Some(0)
            && self.stopping.is_draining()
            && self.listeners.are_open()
            && (over || !held_up)
        {
            self.violate(Rule::Stop, None, "a drain sleeps, and its listeners are open");
        }
    }
}
