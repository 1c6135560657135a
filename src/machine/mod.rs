//! Pure state machines, which decide: facts in, intentions out.
//!
//! Nothing here knows a socket, a clock, a log or `unsafe`; everything can be called from a test,
//! in any order, at any time of the test's own.
//!
//! Reading order: [`time`] and [`wheel`] (time), [`reply`] and [`outbox`] (bytes), [`connection`]
//! (one life), [`errno`] and [`close`] (how it ended).

pub mod close;
pub mod connection;
pub mod errno;
pub mod outbox;
pub mod packed_address;
pub mod reply;
pub mod time;
mod u48;
pub mod wheel;
