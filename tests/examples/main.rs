//! Promise: each rung of the ladder in examples/ gives the same client the same bytes, whoever left
//! before; and what a rung says is still wrong with it is so, and the next one has mended it.
#![cfg(all(unix, feature = "cli"))]

#[path = "../common/process.rs"]
mod process;

#[cfg(target_os = "linux")]
mod flaws;
mod observed;
mod rung;
mod same;
