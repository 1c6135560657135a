//! The life of one client connection, and its counters. It holds no socket.
//!
//! ```text
//!              connected              done with it           the server's FIN
//!   ┌────────────┐      ┌──────┐ our FIN     ┌─────────┐
//!   │ Connecting │ ───▶ │ Open │ ──────────▶ │ Closing │ ───────────────▶ local.done
//!   └────────────┘      └──────┘             └─────────┘
//!         ▲   churn: the next cycle takes the same place   │
//!         └────────────────── Closed ◀─────────────────────┘
//! ```
//!
//! At the end of every life we shut down our side and wait for the server's FIN before we close the
//! socket. The side that sends the first FIN keeps TIME_WAIT, and that is us: nothing of a cycle
//! remains at the server, as with any orderly client. Waiting shows that the server closed as well
//! and did not reset. And a socket that is still open acknowledges that FIN even if the kernel's
//! table of TIME_WAIT is full; a socket that was closed at once would answer it with a reset.

use std::ops::Range;

use super::message::Cursor;
use crate::machine::close::Observer;
use crate::machine::time::Moment;

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No socket: between two cycles.
    Closed,
    /// The handshake is in progress.
    Connecting,
    /// Requests and replies.
    Open,
    /// Our FIN was sent; the server's has not arrived.
    Closing,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// All replies arrived, and both sides closed.
    Done,
    /// A reply, or the server's FIN, did not come in time.
    Timeout,
    /// A reply was wrong.
    Mismatch,
    /// An interrupt ended the run.
    Interrupted,
    /// The server or the network ended it.
    Server,
}

/// One connection, or one place in which one cycle follows another.
#[derive(Debug)]
pub(super) struct ClientConnection {
    pub(super) phase: Phase,
    /// No reply has arrived yet: it counts as open from its first reply on.
    pub(super) is_new: bool,
    /// Turns that have begun: requests, or cycles. The number of a turn is in its message.
    pub(super) asked: u64,
    /// Turns that have ended.
    pub(super) answered: u64,
    /// Turns from this one on belong to the load; those before it kept the connection alive.
    pub(super) first: u64,
    /// Turns from this one on are measured; those before it belong to the warm-up.
    pub(super) warm: u64,
    /// Turns from this one on only keep the connection alive until it is closed.
    pub(super) cool: u64,
    /// It is to be closed; a reply in flight is received first.
    pub(super) is_leaving: bool,
    /// The open loop: turns of the load that are due.
    pub(super) due: u64,
    /// Bytes of the message in progress that the socket has not taken.
    pub(super) unsent: u32,
    /// Bytes of it that the socket has taken.
    taken: u32,
    /// How far the reply has been compared.
    pub(super) cursor: Cursor,
    /// What its calls returned, in this life.
    pub(super) seen: Observer,
    /// When it next sends a message to stay open, or tries again to connect.
    pub(super) wakes_at: Moment,
}

impl ClientConnection {
    /// A connection that has not begun.
    pub(super) fn new(cursor: Cursor) -> ClientConnection {
        ClientConnection {
            phase: Phase::Closed,
            is_new: true,
            asked: 0,
            answered: 0,
            first: 0,
            warm: 0,
            cool: u64::MAX,
            is_leaving: false,
            due: 0,
            unsent: 0,
            taken: 0,
            cursor,
            seen: Observer::new(),
            wakes_at: Moment::NEVER,
        }
    }

    /// The handshake begins, of the first socket in this place or of the next one.
    pub(super) fn connects(&mut self, cursor: Cursor) {
        self.phase = Phase::Connecting;
        self.cursor = cursor;
        (self.unsent, self.taken, self.seen) = (0, 0, Observer::new());
        self.wakes_at = Moment::NEVER;
    }

    /// Turns in flight.
    pub(super) fn in_flight(&self) -> u64 {
        self.asked - self.answered
    }

    /// Turns that are due and have not begun.
    pub(super) fn owed(&self) -> u64 {
        (self.first + self.due).saturating_sub(self.asked)
    }

    /// Drops the turns that are due and have not begun, and returns them.
    pub(super) fn gives_up(&mut self) -> Range<u64> {
        let owed = self.asked..self.asked + self.owed();
        self.due -= owed.end - owed.start;
        owed
    }

    /// Whether the turn with this number is measured.
    pub(super) fn measures(&self, turn: u64) -> bool {
        (self.warm..self.cool).contains(&turn)
    }

    /// The next turn is not measured, and neither is any after it.
    pub(super) fn cools(&mut self) {
        self.cool = self.cool.min(self.asked);
    }

    /// The load begins. No turn of it is measured before [`measure`](Self::measure).
    pub(super) fn begin(&mut self) {
        self.first = self.asked;
        self.warm = u64::MAX;
        self.due = 0;
    }

    /// From here on turns are measured, except those that were due before.
    pub(super) fn measure(&mut self) {
        self.warm = self.asked + self.owed();
    }

    /// A message of `size` bytes is to be sent.
    pub(super) fn says(&mut self, size: u32) {
        (self.unsent, self.taken) = (size, 0);
    }

    /// The socket took this many bytes of it.
    pub(super) fn took(&mut self, bytes: usize) {
        self.unsent -= bytes as u32;
        self.taken += bytes as u32;
        self.seen.sent(bytes);
    }

    /// Bytes of the message in progress that the socket has taken.
    pub(super) fn taken(&self) -> usize {
        self.taken as usize
    }

    /// Whether a message was sent in part.
    pub(super) fn is_partly_sent(&self) -> bool {
        self.unsent > 0 && self.taken > 0
    }
}
