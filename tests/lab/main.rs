//! Promise: `closecall lab` plays every ending, against itself and against other servers, and shows
//! what was there to be seen.

#[path = "../common/process.rs"]
mod process;
#[cfg(target_os = "linux")]
#[path = "../common/schema.rs"]
mod schema;
#[cfg(target_os = "linux")]
#[path = "../common/skip.rs"]
mod skip;

mod against;
mod capture;
mod experiments;
mod grade;
mod read;
mod scenarios;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod shown;
mod terminal;
