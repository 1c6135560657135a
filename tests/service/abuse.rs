//! Promise: whatever clients do, the others are served, what it costs has a bound, and nothing is
//! left behind.
//!
//! The real program under those who never read, who reset, who flood, who dribble and who send
//! garbage. `CLOSECALL_LONG=1` comes with ten times as many and measures the latency of polite
//! clients beside a flood.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod flood;
mod manners;
mod never_reads;

const LINE: &[u8] = b"Hi,here is glp\n";
