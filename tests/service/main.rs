//! Promise: the program continues to serve, and its table and its logs add up, whatever clients,
//! the system and the clock do to it. Each test starts programs of its own.
//!
//! `CLOSECALL_LONG=1` asks for the long forms; `make faults` and `make soak` do that.
#![cfg(target_os = "linux")]

#[path = "../common/interpose.rs"]
mod interpose;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/scratch.rs"]
mod scratch;
#[path = "../common/service.rs"]
mod service;

mod abuse;
mod bounds;
mod clock;
mod faults;
mod lines;
mod plateau;
mod rotation;
mod sinks;
mod soak;
mod stop;
