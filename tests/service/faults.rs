//! Promise: a system call that fails costs at most the connection that it was for. All others are
//! served byte for byte, the server goes on, and its table adds up.
//!
//! The real program in a real kernel that is made to fail: by strace, one call of one kind at a
//! time, and by a library of the test's own that stands before libc and does everything at once.
//! `CLOSECALL_LONG=1` (`make faults`) tries every error at each of the calls 1 to 40, and 200 seeds
//! of the library; the short form tries each at four of the 40, chosen by CLOSECALL_SEED, and takes
//! 6 seeds.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod crowd;
mod interposed;
mod traced;
