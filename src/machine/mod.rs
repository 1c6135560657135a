//! The machine: pure state machines, with facts as input and intentions as output.
//!
//! Nothing here uses a socket, a clock, a log or `unsafe`; everything can be called from a test, in
//! any order and at any time of the test's own.
//!
//! Reading order: [`time`] and [`wheel`] (time), [`reply`] and [`outbox`] (bytes), [`connection`]
//! (the life of one connection), [`errno`] and [`close`] (how it ended).

pub mod close;
pub mod connection;
pub mod errno;
pub mod outbox;
pub mod packed_address;
pub mod reply;
pub mod time;
mod u48;
pub mod wheel;
