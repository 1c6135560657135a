//! Listeners: which of them may accept, the meaning of an accept error, and pauses.
//!
//! A listener is edge-triggered: once it was ready it stays ready here until accept returns "would
//! block", whatever stopped us in between.
//!
//! ```text
//!             edge                         out of files, memory or slots
//!   ┌───────┐ ─────▶ ┌───────┐ ─────────────────────────────────────────▶ ┌────────┐
//!   │ Quiet │        │ Ready │                                            │ Paused │
//!   └───────┘ ◀───── └───────┘ ◀───────────────────────────────────────── └────────┘
//!          would block         the cause has ended, or the retry time has come
//! ```

use crate::machine::errno::{Errno, Meaning, System};
use crate::machine::time::Moment;

/// What to do about an error of accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AcceptError {
    /// The error was about one new connection, or came from the network: take the next.
    Next,
    /// This process or the system lacks a resource: pause.
    Exhausted,
}

/// The meaning of an error of accept. accept(2): pending errors of the network are reported by
/// accept and are to be treated like "try again".
///
/// An unknown error is taken to be about one new connection. If it continues, the budget of the
/// turn ends and the listener pauses.
pub(super) fn accept_error(errno: Errno, system: System) -> AcceptError {
    match errno.meaning(system) {
        Meaning::NoFiles | Meaning::NoMemory => AcceptError::Exhausted,
        _ => AcceptError::Next,
    }
}

/// Why no new connection is accepted for now. Each cause has its own end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pause {
    /// Every slot is taken. It ends when one is freed, or when a connection only waits for its
    /// evidence and can make room.
    Full,
    /// The system has no file, or no memory, for another connection. It ends when a connection has
    /// freed its own, or after a time.
    Exhausted(Errno),
    /// The system has no memory, or no watch, for the connection that was accepted last and was
    /// reset. It ends in the same way.
    Unregistered(Errno),
    /// accept failed at every call for other reasons. It ends after a time.
    Failing(Errno),
}

/// Readiness of all listeners, and the pause that they share.
#[derive(Debug)]
pub(super) struct Listeners {
    ready: Vec<bool>,
    /// How many more connections each may give: without limit, until the last sweep of its backlog.
    allowance: Vec<u32>,
    /// The listener with which the next round begins, so that a busy one does not starve the
    /// others.
    next: usize,
    pause: Option<Pause>,
    /// When to try again, if that can help.
    retry_at: Option<Moment>,
    /// When the current or last episode of overload was logged.
    reported_at: Option<Moment>,
}

/// An episode of overload is logged when it begins, at most once in this time, in milliseconds.
const REPORT_EVERY_MS: u64 = 10_000;

impl Listeners {
    pub(super) fn new(count: usize) -> Listeners {
        Listeners {
            ready: vec![false; count],
            allowance: vec![u32::MAX; count],
            next: 0,
            pause: None,
            retry_at: None,
            reported_at: None,
        }
    }

    /// A readiness event of this listener.
    pub(super) fn edge(&mut self, listener: usize) {
        if let Some(ready) = self.ready.get_mut(listener) {
            *ready = self.allowance[listener] > 0;
        }
    }

    /// Begins the last sweep: each listener may have as many new connections as a backlog holds.
    /// Without that limit, connections that arrive meanwhile could continue the sweep indefinitely.
    pub(super) fn begin_last_accepts(&mut self, backlog: u32) {
        self.ready.fill(true);
        self.allowance.fill(backlog.saturating_add(1)); // Linux keeps one more than was asked for
    }

    /// A connection from `listener` was accepted or refused.
    pub(super) fn count_accepted(&mut self, listener: usize) {
        let left = &mut self.allowance[listener];
        *left = left.saturating_sub(u32::from(*left != u32::MAX));
        if *left == 0 {
            self.would_block(listener);
        }
    }

    /// The next listener to accept from, in turn; `None` if all are quiet or paused.
    pub(super) fn next_ready(&mut self, now: Moment) -> Option<usize> {
        if self.pause.is_some() && self.retry_at.is_none_or(|at| now < at) {
            return None;
        }
        self.end_pause();
        let count = self.ready.len();
        let found = (0..count).map(|step| (self.next + step) % count).find(|&i| self.ready[i])?;
        self.next = found + 1;
        Some(found)
    }

    /// Accept returned "would block": quiet until the next edge.
    pub(super) fn would_block(&mut self, listener: usize) {
        self.ready[listener] = false;
    }

    /// Stops accepting until the cause of the pause has ended or, with `retry_at`, until then.
    /// Returns whether that is to be logged, which is once per episode.
    pub(super) fn pause(&mut self, pause: Pause, now: Moment, retry_at: Option<Moment>) -> bool {
        self.pause = Some(pause);
        self.retry_at = retry_at;
        self.is_to_be_reported(now)
    }

    /// Whether an episode of overload is to be logged now: once, when it begins.
    pub(super) fn is_to_be_reported(&mut self, now: Moment) -> bool {
        let due = self.reported_at.is_none_or(|at| now.since(at) >= REPORT_EVERY_MS);
        if due {
            self.reported_at = Some(now);
        }
        due
    }

    /// A connection now waits only for its evidence: a new connection can have its place.
    pub(super) fn room_can_be_made(&mut self) {
        if self.pause == Some(Pause::Full) {
            self.end_pause();
        }
    }

    /// A connection has freed its slot, its file, its memory and its watch.
    pub(super) fn resources_are_back(&mut self) {
        if !matches!(self.pause, Some(Pause::Failing(_))) {
            self.end_pause();
        }
    }

    fn end_pause(&mut self) {
        self.pause = None;
        self.retry_at = None;
    }

    /// Whether accept must be called now, without an event.
    pub(super) fn is_unfinished(&self) -> bool {
        self.pause.is_none() && self.any_ready()
    }

    /// Whether new connections may be waiting, paused or not.
    pub(super) fn any_ready(&self) -> bool {
        self.ready.contains(&true)
    }

    /// When to try again; `None` unless the system caused the pause.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Whether any listener is open.
    pub(super) fn is_open(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Closes all listeners: none is ready after this.
    pub(super) fn close(&mut self) {
        self.ready.clear();
        self.end_pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_stays_ready_until_accept_would_block() {
        let mut listeners = Listeners::new(2);
        let now = Moment::from_ms(0);
        assert_eq!(listeners.next_ready(now), None);
        listeners.edge(1);
        assert_eq!([listeners.next_ready(now), listeners.next_ready(now)], [Some(1), Some(1)]);
        listeners.would_block(1);
        assert_eq!((listeners.next_ready(now), listeners.is_unfinished()), (None, false));
    }

    #[test]
    fn a_busy_listener_does_not_starve_the_other() {
        let mut listeners = Listeners::new(2);
        (0..2).for_each(|listener| listeners.edge(listener));
        let turns = [0; 4].map(|_| listeners.next_ready(Moment::from_ms(0)).unwrap());
        assert_eq!(turns, [0, 1, 0, 1]);
    }

    #[test]
    fn a_pause_ends_by_its_cause_or_in_time_and_never_spins() {
        const ENOSPC: Errno = Errno(28);
        let mut listeners = Listeners::new(1);
        listeners.edge(0);
        let now = Moment::from_ms(5_000);
        let retry_at = Some(now.after(100));
        assert!(listeners.pause(Pause::Unregistered(ENOSPC), now, retry_at), "it is reported");
        assert_eq!((listeners.next_ready(now), listeners.is_unfinished()), (None, false));
        listeners.room_can_be_made();
        assert_eq!(listeners.next_ready(now), None, "a place is not what is short");
        assert_eq!(listeners.next_ready(now.after(100)), Some(0));
        assert!(!listeners.pause(Pause::Full, now.after(100), None), "once");
        assert_eq!(listeners.next_ready(now.after(900)), None, "only a slot helps");
        listeners.room_can_be_made();
        assert!(listeners.is_unfinished());
        listeners.pause(Pause::Exhausted(ENOSPC), now, retry_at);
        listeners.resources_are_back();
        assert!(listeners.is_unfinished());
        listeners.pause(Pause::Failing(ENOSPC), now, retry_at);
        listeners.resources_are_back();
        assert_eq!((listeners.next_ready(now), listeners.retry_at()), (None, retry_at));
    }

    #[test]
    fn the_last_accepts_take_a_backlog_from_each_and_no_more() {
        let mut listeners = Listeners::new(2);
        listeners.begin_last_accepts(1);
        for listener in [0, 1, 0, 1] {
            assert!(listeners.any_ready());
            listeners.count_accepted(listener);
        }
        listeners.edge(0);
        assert!(!listeners.any_ready(), "a backlog of one, and the one more that Linux keeps");
    }

    #[test]
    fn only_exhaustion_pauses() {
        for number in [24, 23, 105, 12] {
            assert_eq!(accept_error(Errno(number), System::Linux), AcceptError::Exhausted);
        }
        for number in [103, 71, 100, 112, 64, 113, 101, 92, 1] {
            assert_eq!(accept_error(Errno(number), System::Linux), AcceptError::Next);
        }
    }
}
