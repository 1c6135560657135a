//! What the loop is held to: each [`Rule`], and where it is checked.
//!
//! | file | when | rules |
//! |---|---|---|
//! | `deadlines` | the loop begins to wait | late |
//! | `endings` | shutdown | bytes, early, in time, stop |
//! | | close | early, goodbye, verdict |
//! | | SO_ERROR | evidence |
//! | `accepting` | the loop begins to wait, or closes its listeners | accept, busy loop, stop |
//! | `visits` | each receive | fair |
//! | | the loop begins to wait | lost edge |
//! | `judge` | after each turn | count, memory, busy loop, fair, stop, liveness |
//! | `truth` | after each turn, for each ending in it | evidence, verdict |
//!
//! What one call can break by itself is checked where the call is, in `kernel/`: bytes (send),
//! memory (recv, accept), slot reuse (register), accept, fair, liveness (wait).

mod accepting;
mod deadlines;
mod endings;
mod judge;
mod truth;
mod visits;

pub(in crate::simulation) use self::judge::Judge;

/// What the loop is held to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// Every reply is what the framing says, in order, whole, and to the right peer.
    Bytes,
    /// No deadline is early: read, write, verdict wait, end of the drain.
    Early,
    /// None is more than two ticks late, the turn under way not counted.
    Late,
    /// No deadline ends a peer whose bytes, or whose FIN, had come in time.
    InTime,
    /// What an event said is not forgotten: there is another edge to come, a timer, or another
    /// visit.
    LostEdge,
    /// Accepted = open + verdicts, and each connection is closed once and reported once.
    Count,
    /// Evidence is what the calls said.
    Evidence,
    /// No verdict contradicts what happened.
    Verdict,
    /// No connection is reset that could still be served, and none lingers that is stuck.
    Goodbye,
    /// No more connections than allowed, and one pending reply for each.
    Memory,
    /// No turn without work, no work without reason.
    BusyLoop,
    /// No connection is served twice in a turn, a turn stays within its budgets, and none that is
    /// owed a visit waits for more turns than there are connections.
    Fair,
    /// A key that was in use when a turn began gets no other connection before the turn ends.
    SlotReuse,
    /// New connections are accepted soon where that is possible, and accept is not called over and
    /// over where it is not.
    Accept,
    /// Asked to stop, it stops, and what had arrived by then is answered.
    Stop,
    /// The server stops in the end.
    Liveness,
    /// It does not panic.
    Panic,
}
