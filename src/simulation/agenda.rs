//! What is still to happen in the world, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::kernel::Stop;

/// What goes over the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Segment {
    /// This number of bytes.
    Data(u32),
    /// This number of bytes arrived.
    Ack(u32),
    /// No more bytes from this side.
    Fin,
    /// The FIN arrived.
    FinAck,
    /// There is room again.
    Window,
    /// A reset.
    Rst,
}

/// Something that happens to a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// The peer's handshake completes.
    Connects,
    /// The peer takes the next step of its script.
    Acts,
    /// The peer's program reads.
    Reads,
    /// A segment arrives at the peer.
    AtPeer(Segment),
    /// A segment arrives at the server.
    AtServer(Segment),
    /// The server's system has tried for long enough to reach a peer that is gone.
    GivesUp,
    /// A socket that had no room for reasons of its own has some again.
    Room,
    /// The clock jumps: the process, or its machine, stood still. It concerns no link.
    Jump { by_us: u64 },
    /// The server is asked to stop. It concerns no link.
    Stop(Stop),
}

/// A queue of what is due, by time; in the order of scheduling where the time is the same.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, u32, Due)>>,
    scheduled: u64,
}

impl Agenda {
    /// At `at_us`, `due` happens to `link`.
    pub(super) fn add(&mut self, at_us: u64, link: u32, due: Due) {
        self.scheduled += 1;
        self.heap.push(Reverse((at_us, self.scheduled, link, due)));
    }

    /// When the next thing happens.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_us, ..))| *at_us)
    }

    /// Takes the next thing that has happened by `now_us`, with its time.
    pub(super) fn take(&mut self, now_us: u64) -> Option<(u64, u32, Due)> {
        if self.next_us()? > now_us {
            return None;
        }
        self.heap.pop().map(|Reverse((at_us, _, link, due))| (at_us, link, due))
    }
}
