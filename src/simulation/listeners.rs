//! The server's listeners with their backlogs, and what keeps the loop from accepting.

use std::collections::VecDeque;

/// A listener.
#[derive(Debug)]
struct Listener {
    /// Connections whose handshake is complete, in order.
    backlog: VecDeque<u32>,
    /// A connection has come since the last event.
    edge: bool,
    /// The last accept said "would block", or there was no event yet.
    quiet: bool,
    /// The last event, or the last accept that failed for another reason than the connection at
    /// the head of the backlog.
    since_us: u64,
}

/// All listeners of the server. They are opened and closed together, and a pause concerns all.
#[derive(Debug)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    open: bool,
    /// Until when accept is out of files or memory.
    exhausted_until_us: u64,
    /// When a slot or a file was last freed.
    freed_us: u64,
    /// Before this moment of the loop's clock accept cannot succeed, unless a slot is freed.
    paused_until_ms: Option<u64>,
    accept_failed: bool,
}

impl Listeners {
    /// This number of listeners, open.
    pub(super) fn new(count: usize) -> Listeners {
        let listener =
            || Listener { backlog: VecDeque::new(), edge: false, quiet: true, since_us: 0 };
        Listeners {
            all: std::iter::repeat_with(listener).take(count).collect(),
            open: true,
            exhausted_until_us: 0,
            freed_us: 0,
            paused_until_ms: None,
            accept_failed: false,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn are_open(&self) -> bool {
        self.open
    }

    // ---- the backlogs -------------------------------------------------------------------------

    /// How many connections wait at `listener`.
    pub(super) fn waiting(&self, listener: usize) -> usize {
        self.all[listener].backlog.len()
    }

    /// The handshake of `link` is complete.
    pub(super) fn enqueue(&mut self, listener: usize, link: u32) {
        let listener = &mut self.all[listener];
        listener.backlog.push_back(link);
        listener.edge = true;
    }

    /// An accept takes the first connection; `None` is "would block".
    pub(super) fn dequeue(&mut self, listener: usize) -> Option<u32> {
        let listener = &mut self.all[listener];
        let first = listener.backlog.pop_front();
        listener.quiet = first.is_none();
        first
    }

    /// An accept fails because of the first connection, which is lost, or of the network.
    pub(super) fn lose(&mut self, listener: usize, now_us: u64) -> Option<u32> {
        self.failed_at(now_us);
        self.all[listener].backlog.pop_front()
    }

    /// The loop asks whether a connection waits.
    pub(super) fn ask(&mut self, listener: usize) -> bool {
        let listener = &mut self.all[listener];
        listener.quiet |= listener.backlog.is_empty();
        !listener.backlog.is_empty()
    }

    /// The connections at the heads of the backlogs.
    pub(super) fn heads(&self) -> impl Iterator<Item = u32> {
        self.all.iter().filter_map(|listener| listener.backlog.front().copied())
    }

    /// Closes all listeners; these are the connections that were not accepted.
    pub(super) fn close(&mut self) -> Vec<u32> {
        self.open = false;
        let mut left = Vec::new();
        for listener in &mut self.all {
            listener.quiet = true;
            left.extend(listener.backlog.drain(..));
        }
        left
    }

    // ---- events -------------------------------------------------------------------------------

    pub(super) fn has_edge(&self, listener: usize) -> bool {
        self.all[listener].edge
    }

    /// Takes the edge; whether it is an event: the connection may be gone again.
    pub(super) fn take_edge(&mut self, listener: usize, now_us: u64) -> bool {
        let listener = &mut self.all[listener];
        listener.edge = false;
        let is_event = !listener.backlog.is_empty();
        if is_event {
            (listener.quiet, listener.since_us) = (false, now_us);
        }
        is_event
    }

    /// There is an event although nothing has happened.
    pub(super) fn spurious_event(&mut self, listener: usize, now_us: u64) {
        if self.open {
            let listener = &mut self.all[listener];
            (listener.quiet, listener.since_us) = (false, now_us);
        }
    }

    /// Whether nothing was left at any listener when the loop last looked.
    pub(super) fn are_quiet(&self) -> bool {
        self.all.iter().all(|listener| listener.quiet)
    }

    // ---- out of files or memory ---------------------------------------------------------------

    /// An accept begins.
    pub(super) fn begin_accept(&mut self) {
        self.accept_failed = false;
    }

    /// The last accept failed.
    pub(super) fn accept_failed(&self) -> bool {
        self.accept_failed
    }

    /// An accept fails, and no connection was there.
    pub(super) fn fail_idle(&mut self) {
        self.accept_failed = true;
    }

    fn failed_at(&mut self, now_us: u64) {
        self.accept_failed = true;
        self.all.iter_mut().for_each(|listener| listener.since_us = now_us);
    }

    /// The loop is to leave accept alone until `until_ms` of its clock; all listeners pause.
    pub(super) fn pause(&mut self, until_ms: u64, now_us: u64) {
        self.paused_until_ms = Some(until_ms);
        self.failed_at(now_us);
    }

    /// The loop may accept again before the pause has passed.
    pub(super) fn end_pause(&mut self) {
        self.paused_until_ms = None;
    }

    pub(super) fn paused_until_ms(&self) -> Option<u64> {
        self.paused_until_ms
    }

    /// Accept is out of files or memory until then.
    pub(super) fn exhaust(&mut self, until_us: u64) {
        self.exhausted_until_us = until_us;
    }

    pub(super) fn are_exhausted(&self, now_us: u64) -> bool {
        now_us < self.exhausted_until_us
    }

    /// A slot or a file is free again.
    pub(super) fn freed(&mut self, now_us: u64) {
        self.freed_us = now_us;
    }

    /// The first listener at which a connection waits and no event is to come, although accept
    /// could have taken it for longer than `patience_us` at `wake_ms`.
    pub(super) fn kept_waiting(&self, wake_ms: u64, patience_us: u64) -> Option<usize> {
        let able_us = self.freed_us.max(self.exhausted_until_us);
        self.all.iter().position(|listener| {
            let since_us = listener.since_us.max(able_us);
            let waits = !(listener.backlog.is_empty() || listener.edge);
            waits && wake_ms > (since_us + patience_us) / 1_000 + 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_one_event_and_none_once_the_backlog_is_empty() {
        let mut listeners = Listeners::new(2);
        listeners.enqueue(1, 7);
        listeners.enqueue(1, 8);
        assert!(listeners.has_edge(1) && !listeners.has_edge(0) && listeners.are_quiet());
        assert!(listeners.take_edge(1, 50) && !listeners.has_edge(1) && !listeners.are_quiet());
        assert_eq!([(); 3].map(|()| listeners.dequeue(1)), [Some(7), Some(8), None]);
        assert!(listeners.are_quiet());
        listeners.enqueue(1, 9);
        assert_eq!(listeners.lose(1, 60), Some(9));
        assert!(!listeners.take_edge(1, 70) && listeners.are_quiet());
    }

    #[test]
    fn patience_begins_when_accept_could_succeed() {
        let mut listeners = Listeners::new(1);
        listeners.enqueue(0, 7);
        assert_eq!(listeners.kept_waiting(9_999, 1_000), None, "an event is to come");
        listeners.take_edge(0, 0);
        assert_eq!(listeners.kept_waiting(2, 1_000), None);
        assert_eq!(listeners.kept_waiting(3, 1_000), Some(0));
        listeners.freed(5_000);
        assert_eq!(listeners.kept_waiting(7, 1_000), None);
        assert_eq!(listeners.kept_waiting(8, 1_000), Some(0));
    }
}
