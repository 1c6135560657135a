//! Promise: the program handles what affects a whole process: its limits, its children, its
//! captures.
//!
//! One test at a time: each holds [`alone`], because it lowers a limit of the process, or starts a
//! child, which has a copy of every socket of its parent until its exec.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // of the servers of `observed` it needs a part
#[path = "../observed/sides.rs"]
mod sides;
#[cfg(all(target_os = "linux", feature = "cli"))]
#[path = "../common/skip.rs"]
mod skip;

mod capture;
mod files;
mod killed;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No other test of this process runs while this is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
