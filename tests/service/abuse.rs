//! Promise: whatever clients do, the others are served, the cost has a bound, and nothing is left
//! behind.
//!
//! The real program with clients that never read, reset, flood, dribble or send garbage.
//! `CLOSECALL_LONG=1` uses ten times as many and measures the latency of polite clients beside a
//! flood.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod flood;
mod manners;
mod never_reads;

const LINE: &[u8] = b"Hi,here is glp\n";
