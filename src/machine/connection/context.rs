//! The settings and the current state of the server, on which a connection's decisions depend.

use crate::machine::close::LocalCause;
use crate::machine::time::Moment;

/// The settings of a server that its connections need. They never change.
///
/// It has no default (those are in `Config`) and is not `#[non_exhaustive]`: an event loop must
/// decide each setting, so a new one is a breaking change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Silence longer than this ends a connection, in milliseconds; `None` is never.
    /// [`Connection`](super::Connection#deadlines) shows the steps from here to the end.
    pub read_deadline_ms: Option<u64>,
    /// No progress of pending output for this long ends it, in milliseconds; `None` is never.
    pub write_deadline_ms: Option<u64>,
    /// How long a connection may wait for its evidence, in milliseconds.
    pub verdict_wait_ms: u64,
    /// When to try again after the system was short of memory, in milliseconds.
    pub retry_ms: u64,
    /// Whether a short read means that nothing is left (Linux and the BSDs).
    pub short_read_drains: bool,
    /// A connection older than this is asked to close, in milliseconds; up to a tenth less, by its
    /// number, so that connections of one moment do not close in one moment. `None` is never.
    pub max_age_ms: Option<u64>,
}

/// The [`Rules`] and the current state, which all connections of a server share.
///
/// The owner of the connections keeps one and passes a reference with each fact, so that no fact
/// can be reported with the rules of one moment and the time of another.
///
/// Begin with [`Context::new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The settings.
    pub rules: Rules,
    /// The clock, when it was last read.
    pub now: Moment,
    /// The end of the drain, once it has begun: every connection is asked to close, and has until
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

    /// Whether the time of the drain has passed.
    pub fn drain_is_over(&self) -> bool {
        self.drain_ends.is_some_and(|end| end <= self.now)
    }

    /// Why a connection is asked to close now.
    pub(super) fn leaving_cause(&self) -> LocalCause {
        match self.drain_ends {
            Some(_) => LocalCause::Drain,
            None => LocalCause::MaxAge,
        }
    }
}
