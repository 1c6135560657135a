//! Promise: each ending is told apart where a network lies between: peers who vanish, routers that
//! say no, a round trip in which everything can still happen.
//!
//! These tests need root, iproute2 and nftables, and say so where they are skipped. With
//! CLOSECALL_NAMESPACES=required a skip is a failure.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub)] // nothing of a test can be reached from outside

mod common;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/truth.rs"]
mod truth;

#[path = "namespace/last_ack.rs"]
mod last_ack;
#[path = "namespace/line.rs"]
mod line;
#[path = "namespace/net.rs"]
mod net;
#[path = "namespace/packet.rs"]
mod packet;
#[path = "namespace/race.rs"]
mod race;
#[path = "namespace/refuse.rs"]
mod refuse;
#[path = "namespace/room.rs"]
mod room;
#[path = "namespace/vanish.rs"]
mod vanish;
