//! Promise: each rung of the ladder in examples/ gives the same client the same bytes, whatever
//! clients closed before; and each flaw that a rung lists is real, and the next rung does not have
//! it.
#![cfg(all(unix, feature = "cli"))]

#[path = "../common/process.rs"]
mod process;

#[cfg(target_os = "linux")]
mod flaws;
mod observed;
mod rung;
mod same;
