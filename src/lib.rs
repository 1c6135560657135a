#![doc = include_str!("../README.md")]
//!
//! # The map of the house
//!
//! `machine/` decides, `reactor/` serves, `kernel/` acts, `cli/` asks.
//!
//! | layer | what it is | what it may know |
//! |---|---|---|
//! | [`machine`] | pure state machines: time, bytes, one connection's life, how it ended | nothing of ours, no socket, no clock, no log |
//! | [`kernel`] | one trait: all that is asked of the operating system; mio behind it | plain types of `machine` |
//! | [`reactor`] | one turn of the loop, the table, the listeners | `kernel`, `machine`, [`config`] |
//! | `simulation` | the second kernel: a seeded world with a virtual clock, and the loop run in it (feature `simulation`) | everything above |
//! | [`server`] | a configuration becomes a loop on the real kernel | everything above but `simulation` |
//! | `record` | an ending in the words of the close log (feature `cli`) | `machine`, `reactor` |
//! | [`client`] | the other side: every way to end a connection, as a script | nothing of ours |
//! | `lab` | every ending, played against our server and a bare recv loop, and judged (feature `cli`) | everything above but `simulation` |
//! | `load` | many clients in one loop: how fast, how many, and is every reply right (feature `cli`) | `kernel`, `machine` |
//! | `cli` | text becomes a configuration, endings become lines | everything above but `simulation` |
//!
//! Imports point up in this table only. `tests/tidy.rs` keeps that law.
//!
//! Reading order: [`kernel::Kernel`] (one page), [`reactor::Reactor::turn`] (one turn),
//! [`machine::connection`] (one life), [`machine::close`] (how it ended).

#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod config;
pub mod kernel;
#[cfg(feature = "cli")]
pub mod lab;
#[cfg(feature = "cli")]
pub mod load;
pub mod machine;
pub mod reactor;
#[cfg(feature = "cli")]
pub mod record;
pub mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
