//! The other ends: programs that send, read, wait and leave, each in its own way.

/// How a peer's program reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// At once, all there is.
    Eager,
    /// A little, every so often.
    Slow,
    Never,
}

/// One step of a peer's script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// Send a message.
    Send,
    /// Send as much as a peer may.
    Flood,
    /// Send a message that ends with an urgent byte.
    Urgent,
    /// Do nothing for a moment, or not even that.
    Pause,
    /// Do nothing for about as long as the server's deadlines.
    Think,
    /// Wait until something comes.
    AwaitReply,
    /// Wait until the server shuts down its side.
    AwaitFin,
    /// shutdown(Write).
    HalfClose,
    /// shutdown(Both): a FIN, and what comes from now on is answered with a reset.
    ShutBoth,
    /// close(): a FIN, or a reset where something is unread.
    Close,
    /// close() with SO_LINGER 0.
    Reset,
    /// Answer no more, as if the machine were gone.
    Vanish,
    /// Go back this many steps, more often than not.
    Again(u8),
}

/// What a peer is waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Awaiting {
    Nothing,
    /// More bytes than these.
    Reply(u64),
    Fin,
}

/// How a peer's system ends for good, as its server sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It stays silent.
    Silence,
    /// The server's system gives up: ETIMEDOUT.
    TimedOut,
    /// A router reports that the host is unreachable.
    Unreachable,
    /// It is back, knows of nothing, and says so.
    Rebooted,
}

/// How a peer's program reads, and what else it does.
pub(super) type Character = (Reading, &'static [Move]);

/// A peer that does what a test tells it and nothing else.
pub(super) const PUPPET: Character = (Reading::Never, &[]);

use Move::{
    Again, AwaitFin, AwaitReply, Close, Flood, HalfClose, Pause, Reset, Send, ShutBoth, Think,
    Urgent, Vanish,
};
use Reading::{Eager, Never, Slow};

/// Every kind of peer. A script that has ended does nothing more.
pub(super) const CHARACTERS: &[Character] = &[
    // Those that take leave properly.
    (Eager, &[Send, AwaitReply, Pause, Again(3), Close]),
    (Eager, &[Send, Send, Pause, Again(2), AwaitReply, Close]),
    (Eager, &[Send, Think, Again(2), AwaitFin, Close]),
    (Eager, &[Think, Send, Think, Send, AwaitReply, Close]),
    (Eager, &[Send, HalfClose, AwaitFin, Close]),
    (Eager, &[Flood, HalfClose, AwaitFin, Close]),
    (Slow, &[Flood, HalfClose, AwaitFin, Close]),
    (Slow, &[Flood, AwaitFin, Pause, Close]),
    (Slow, &[Send, AwaitReply, Again(2), Close]),
    (Eager, &[Send, Urgent, Pause, Again(3), Close]),
    (Eager, &[Urgent, Again(1), HalfClose, AwaitFin, Close]),
    // Those that are silent.
    (Eager, &[AwaitFin, Pause, Close]),
    (Eager, &[]),
    (Eager, &[Send, AwaitReply]),
    (Eager, &[Close]),
    (Eager, &[Pause, Close]),
    // Those in a hurry.
    (Eager, &[Send, Close]),
    (Eager, &[Send, Pause, Close]),
    (Eager, &[Send, Pause, Send, Close]),
    (Never, &[Send, HalfClose, Pause, Close]),
    (Never, &[Send, HalfClose, AwaitFin, Close]),
    // Those that do not read.
    (Never, &[Send, Think, Close]),
    (Never, &[Send, AwaitReply, Pause, Close]),
    (Never, &[Flood, Again(1), AwaitFin, Close]),
    (Never, &[Flood, Flood, Flood, Think, Think, Reset]),
    (Slow, &[Flood, Flood, Think, Again(2), Close]),
    // Those that reset.
    (Eager, &[Reset]),
    (Eager, &[Pause, Reset]),
    (Eager, &[Send, Reset]),
    (Eager, &[Send, AwaitReply, Pause, Reset]),
    (Never, &[Flood, Pause, Reset]),
    // Those that flood, our FIN or not.
    (Eager, &[Flood, Pause, Again(2), AwaitFin, Close]),
    (Eager, &[AwaitFin, Flood, Pause, Again(2), Close]),
    (Never, &[AwaitFin, Send, Pause, Again(2), Vanish]),
    // Those that have much to say.
    (Eager, &[Flood, Flood, AwaitReply, Again(3), HalfClose, AwaitFin, Close]),
    (Slow, &[Flood, Flood, Flood, Flood, HalfClose, AwaitFin, Pause, Close]),
    (Never, &[Flood, Flood, Pause, Again(3), Close]),
    // Those that close one side, or both sides, first.
    (Never, &[Send, AwaitReply, HalfClose, Close]),
    (Never, &[Send, Pause, HalfClose, Pause, Close]),
    (Eager, &[Send, ShutBoth, Pause, Close]),
    (Eager, &[Send, AwaitReply, Pause, ShutBoth, AwaitFin, Close]),
    (Never, &[Flood, ShutBoth, Pause, Close]),
    // Those that vanish.
    (Eager, &[Vanish]),
    (Eager, &[Send, Vanish]),
    (Eager, &[Send, AwaitReply, Pause, Vanish]),
    (Eager, &[Send, HalfClose, Vanish]),
    (Never, &[Flood, Think, Vanish]),
    (Eager, &[AwaitFin, Vanish]),
];

/// One peer: its program and what its system knows.
#[derive(Debug)]
pub(super) struct Peer {
    character: &'static Character,
    step: u8,
    /// SYNs that found the backlog full.
    pub(super) syns: u8,
    pub(super) awaiting: Awaiting,
    pub(super) fate: Fate,
    /// It does not answer any more.
    pub(super) vanished: bool,
    /// Its program has closed the socket; its system goes on.
    pub(super) closed: bool,
    /// Its program has shut down both directions: its system resets on data.
    pub(super) deaf: bool,
    /// Its system knows of no connection: it was reset, by either side.
    pub(super) gone: bool,
    pub(super) got_fin: bool,
    /// A slow read is under way.
    pub(super) reads: bool,
    /// Bytes that its program has sent.
    pub(super) sent: u64,
    /// Bytes that its system has received.
    pub(super) received: u64,
}

impl Peer {
    pub(super) fn new(character: &'static Character) -> Peer {
        Peer {
            character,
            step: 0,
            syns: 0,
            awaiting: Awaiting::Nothing,
            fate: Fate::Silence,
            vanished: false,
            closed: false,
            deaf: false,
            gone: false,
            got_fin: false,
            reads: false,
            sent: 0,
            received: 0,
        }
    }

    pub(super) fn reading(&self) -> Reading {
        self.character.0
    }

    /// Whether its program can still do something.
    pub(super) fn is_there(&self) -> bool {
        !(self.vanished || self.closed || self.gone)
    }

    /// The next step of its script.
    pub(super) fn next_step(&mut self) -> Option<Move> {
        let step = self.character.1.get(self.step as usize).copied();
        self.step = self.step.saturating_add(1);
        step
    }

    /// Goes back in its script, over the step in hand.
    pub(super) fn go_back(&mut self, steps: u8) {
        self.step = self.step.saturating_sub(steps + 1);
    }

    /// Whether what it waits for is here now; then it waits no more.
    pub(super) fn take_awaited(&mut self) -> bool {
        let here = match self.awaiting {
            Awaiting::Nothing => false,
            Awaiting::Reply(bytes) => self.received > bytes || self.got_fin,
            Awaiting::Fin => self.got_fin,
        };
        if here {
            self.awaiting = Awaiting::Nothing;
        }
        here
    }
}
