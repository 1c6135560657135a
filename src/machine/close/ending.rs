//! The ending of a connection: addresses, verdict, evidence and times.

use std::net::SocketAddr;

use super::{Conclusion, Evidence, Verdict};

/// How one connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Ending {
    /// The connection's number, counted from 1: in a server in the order of accept, elsewhere in
    /// the order in which a process began to observe.
    pub id: u64,
    /// The peer's address, as accept gave it.
    pub peer: SocketAddr,
    /// Our own, where the system could still tell.
    pub local: Option<SocketAddr>,
    /// How it ended.
    pub verdict: Verdict,
    /// The facts behind the verdict.
    pub evidence: Evidence,
    /// From accept to verdict, in milliseconds.
    pub duration_ms: u64,
    /// From our FIN to the verdict, in milliseconds.
    pub verdict_wait_ms: u64,
}

impl Ending {
    /// The ending of connection number `id` between these addresses, which took so long and waited
    /// so long for its evidence, in milliseconds.
    pub fn new(
        id: u64,
        (peer, local): (SocketAddr, Option<SocketAddr>),
        Conclusion { verdict, evidence }: Conclusion,
        (duration_ms, verdict_wait_ms): (u64, u64),
    ) -> Ending {
        Ending { id, peer, local, verdict, evidence, duration_ms, verdict_wait_ms }
    }
}
