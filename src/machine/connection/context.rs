//! What a connection is decided by beside its own facts: settings, and what holds at the moment.

use crate::machine::close::LocalCause;
use crate::machine::time::Moment;

/// The settings of a server, as far as its connections need them. They never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Silence longer than this ends a connection, in milliseconds; `None` is never.
    /// [`Connection`](super::Connection#deadlines) shows its way from here to the end.
    pub read_deadline_ms: Option<u64>,
    /// No progress of pending output for this long ends it, in milliseconds; `None` is never.
    pub write_deadline_ms: Option<u64>,
    /// How long a connection may wait for its evidence, in milliseconds.
    pub verdict_wait_ms: u64,
    /// When to try again after the system was short of memory, in milliseconds.
    pub retry_ms: u64,
    /// Whether a short read means that nothing is left (Linux and the BSDs).
    pub short_read_drains: bool,
    /// A connection older than this is asked to leave, in milliseconds; up to a tenth less, by its
    /// number, so that those of one moment do not leave in one moment. `None` is never.
    pub max_age_ms: Option<u64>,
}

/// The [`Rules`], and what holds now: the state that all connections of a server share.
///
/// The owner of the connections keeps one and passes a reference with each fact, so that no fact
/// can be reported with the rules of one moment and the time of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The settings.
    pub rules: Rules,
    /// The clock, when it was last read.
    pub now: Moment,
    /// The end of the drain, once it has begun: every connection is asked to leave, and has until
    /// then.
    pub drain_ends: Option<Moment>,
    /// Whether another connection may begin to wait for its evidence: false while the table is
    /// nearly full.
    pub may_wait: bool,
}

impl Context {
    /// A server that is not draining and has room, at the moment `now`.
    pub const fn new(rules: Rules, now: Moment) -> Context {
        Context { rules, now, drain_ends: None, may_wait: true }
    }

    /// The same at another moment.
    #[must_use]
    pub const fn at(self, now: Moment) -> Context {
        Context { now, ..self }
    }

    /// Whether the drain has taken all the time it has.
    pub fn drain_is_over(&self) -> bool {
        self.drain_ends.is_some_and(|end| end <= self.now)
    }

    /// Why a connection is asked to leave now.
    pub(super) fn leaving_cause(&self) -> LocalCause {
        match self.drain_ends {
            Some(_) => LocalCause::Drain,
            None => LocalCause::MaxAge,
        }
    }
}
