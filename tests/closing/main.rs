//! Promise: each ending is recognized, whatever the order of events.
//!
//! The tests here start no other process: a child has, until its exec, a copy of every socket of
//! its parent, and a socket that a test closes in that moment is not closed yet.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/truth.rs"]
mod truth;

mod full;
mod local;
mod peer;
mod race;
mod slow;
