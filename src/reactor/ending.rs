//! What the loop reports: each ending as a plain value, and counts that add up.

use std::net::SocketAddr;

use crate::machine::close::{Conclusion, Evidence, Kind, Verdict};
use crate::machine::connection::Connection;
use crate::machine::tick::Tick;

/// How one connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Ending {
    /// The connection's number, counted from 1 in the order of accept.
    pub id: u64,
    /// The peer's address, as accept gave it.
    pub peer: SocketAddr,
    /// Our own, where the system could still tell.
    pub local: Option<SocketAddr>,
    /// What is said about it.
    pub verdict: Verdict,
    /// And why.
    pub evidence: Evidence,
    /// From accept to verdict, in milliseconds.
    pub duration_ms: u64,
    /// From our FIN to the verdict, in milliseconds.
    pub verdict_wait_ms: u64,
}

impl Ending {
    /// What is said of `connection`, and why.
    pub(super) fn new(
        connection: &Connection,
        local: Option<SocketAddr>,
        Conclusion { verdict, evidence }: Conclusion,
        now: Tick,
    ) -> Ending {
        Ending {
            id: connection.id(),
            peer: connection.peer(),
            local,
            verdict,
            evidence,
            duration_ms: connection.age_ms(now),
            verdict_wait_ms: connection.waited_ms(now),
        }
    }
}

/// What happened so far. At every moment `accepted` is the number of open connections and of all
/// verdicts together.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted, those included that were reset at once.
    pub accepted: u64,
    /// Connections that have not ended, those included that wait for their evidence.
    pub open: u64,
    /// Endings by [`Kind`], in its order.
    pub(crate) verdicts: [u64; Kind::COUNT],
    /// Endings that found the list full and were counted only.
    pub endings_missed: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { accepted: 0, open: 0, verdicts: [0; Kind::COUNT], endings_missed: 0 }
    }
}

impl Counters {
    /// How many ended in this way.
    pub fn of(&self, kind: Kind) -> u64 {
        self.verdicts[kind as usize]
    }

    /// All verdicts together.
    pub fn ended(&self) -> u64 {
        self.verdicts.iter().sum()
    }
}
