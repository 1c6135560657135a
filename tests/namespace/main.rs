//! Promise: each ending is recognized on a real network path: peers that vanish, routers that
//! refuse, and a round trip during which everything can still happen.
//!
//! These tests need root, iproute2 and nftables, and say so where they are skipped. With
//! CLOSECALL_NAMESPACES=required a skip is a failure.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub)] // nothing of a test can be reached from outside

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/skip.rs"]
mod skip;
#[path = "../common/truth.rs"]
mod truth;

mod last_ack;
mod line;
mod net;
mod packet;
mod race;
mod refuse;
mod room;
mod vanish;
