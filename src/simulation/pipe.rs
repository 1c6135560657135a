//! One direction of a TCP connection, counted in bytes.

use super::agenda::Segment;

/// How far a FIN has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fin {
    None,
    /// Behind the bytes that are still queued.
    Queued,
    Flying,
    Arrived,
    Acked,
}

/// One direction: what its sender's TCP took goes out as far as the receiver's window allows.
///
/// ```text
///   send ─▶ │ queued │ ─▶ │ flying │ ─▶ │ unread │ ─▶ read
///           └───────────────── unacked, until the ACK is back ┘
///                         └──── within the window ─────┘
/// ```
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) queued: u32,
    pub(super) flying: u32,
    pub(super) unread: u32,
    pub(super) unacked: u32,
    pub(super) window: u32,
    /// The longest segment, in bytes.
    pub(super) segment: u32,
    pub(super) fin: Fin,
    /// When the last segment arrives: none overtakes another.
    last_us: u64,
}

impl Pipe {
    pub(super) fn new(window: u32, segment: u32) -> Pipe {
        Pipe {
            queued: 0,
            flying: 0,
            unread: 0,
            unacked: 0,
            window,
            segment,
            fin: Fin::None,
            last_us: 0,
        }
    }

    /// The sender's TCP takes `bytes` more.
    pub(super) fn take(&mut self, bytes: u32) {
        self.queued += bytes;
        self.unacked += bytes;
    }

    /// What goes out next, if anything may.
    pub(super) fn next_segment(&mut self) -> Option<Segment> {
        let room = self.window.saturating_sub(self.unread + self.flying);
        let bytes = self.queued.min(room).min(self.segment);
        if bytes > 0 {
            self.queued -= bytes;
            self.flying += bytes;
            return Some(Segment::Data(bytes));
        }
        if self.queued == 0 && self.fin == Fin::Queued {
            self.fin = Fin::Flying;
            return Some(Segment::Fin);
        }
        None
    }

    /// When something that leaves at `now_us` arrives.
    pub(super) fn arrival_us(&mut self, now_us: u64, delay_us: u64) -> u64 {
        self.last_us = self.last_us.max(now_us + delay_us);
        self.last_us
    }

    /// `bytes` arrive in the receiver's queue.
    pub(super) fn arrive(&mut self, bytes: u32) {
        self.flying -= bytes;
        self.unread += bytes;
    }

    pub(super) fn fin_sent(&self) -> bool {
        self.fin > Fin::None
    }

    pub(super) fn fin_arrived(&self) -> bool {
        self.fin >= Fin::Arrived
    }
}
