//! What the benches share: a loop that holds connections on a calm kernel, and a way to read the
//! CPU time of this thread.
#![allow(dead_code)] // each bench takes its part

pub(crate) mod cpu;
pub(crate) mod held;

/// The sizes at which everything is measured.
pub(crate) const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
