//! The facts about an ended connection, and the source of each.

use super::super::errno::{Errno, System};
use super::verdict::Certainty;

/// Which call handed out the first error.
///
/// The kernel reports an error once, to whichever asks first, so the call is part of the evidence.
/// No fourth call hands one out to a connection, so a program may match all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Via {
    /// recv(2).
    Recv,
    /// send(2).
    Send,
    /// The SO_ERROR option, asked after reading had nothing more to say.
    SoError,
}

impl Via {
    /// The name in the close log.
    pub const fn name(self) -> &'static str {
        match self {
            Via::Recv => "recv",
            Via::Send => "send",
            Via::SoError => "so_error",
        }
    }
}

/// The first error of a connection and the call that gave it. Later ones are echoes of it.
///
/// The two together are one fact, and nothing can be added to it: what else is known of the
/// connection is in [`Evidence`]. So a program may write it as a literal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FirstError {
    /// The raw number.
    pub errno: Errno,
    /// The call that got it.
    pub via: Via,
}

/// Why we ended a connection that was alive, where we did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LocalCause {
    /// The peer was silent for the whole read deadline.
    ReadDeadline,
    /// Pending output made no progress for the whole write deadline.
    WriteDeadline,
    /// The server is shutting down.
    Drain,
    /// The server has no more time to shut down: told twice to stop, or at the end of its drain.
    CutOff,
    /// A limit of ours: too many connections, or too many from one network.
    Policy,
    /// A limit of ours, and a polite end: the connection had reached its greatest age.
    MaxAge,
    /// The system would not register the socket for events.
    Resource,
    /// This program had no more to say, and sent its FIN first.
    Close,
}

impl LocalCause {
    /// All of them, in their order.
    pub const ALL: [LocalCause; 8] = {
        use LocalCause::*;
        [ReadDeadline, WriteDeadline, Drain, CutOff, Policy, MaxAge, Resource, Close]
    };

    /// Whether the peer learns of this reason by our FIN. Until it is out, an end of the peer's own
    /// may be first.
    pub(crate) const fn begins_with_fin(self) -> bool {
        use LocalCause::{Close, Drain, MaxAge, ReadDeadline};
        matches!(self, ReadDeadline | MaxAge | Drain | Close)
    }
}

/// What the operating system knows about a socket. `None` is "this system does not tell", never a
/// guess.
///
/// Begin with `SocketFacts::default()`, which knows nothing, and set what there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct SocketFacts {
    /// Bytes in the receive queue (SIOCINQ).
    pub unread: Option<u32>,
    /// From TCP_INFO.
    pub tcp: Option<TcpFacts>,
}

impl SocketFacts {
    /// What is known without asking once both FINs are in order and everything is acknowledged:
    /// nothing is left to read, to retransmit or to probe for.
    pub const SETTLED: SocketFacts = SocketFacts {
        unread: Some(0),
        tcp: Some(TcpFacts {
            closed: false,
            bytes_received: None,
            retransmits: Some(0),
            probes: Some(0),
            last_ack_ms: None,
        }),
    };
}

/// What a system says about the TCP connection of a socket, as far as it bears on an ending. The
/// names are those of Linux; what another system does not tell, or counts differently, is `None`.
///
/// Begin with `TcpFacts::default()`, a connection that is not over and of which nothing else is
/// known, and set what there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TcpFacts {
    /// The state is CLOSE: this connection is over, both ways.
    pub closed: bool,
    /// `tcpi_bytes_received`: all bytes that ever came in order, and one more for a FIN. A count
    /// that leaves the FIN out is none of this.
    pub bytes_received: Option<u64>,
    /// `tcpi_retransmits`: retransmissions under way, cleared by progress.
    pub retransmits: Option<u8>,
    /// `tcpi_probes`: unanswered probes under way, cleared by an answer.
    pub probes: Option<u8>,
    /// `tcpi_last_ack_recv`: milliseconds since the last segment with an acknowledgement came. The
    /// peer's FIN is one; its reset is none.
    pub last_ack_ms: Option<u32>,
}

/// Everything that [`classify`](fn@super::classify) may look at.
///
/// Begin with [`Evidence::nothing`], and set what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Evidence {
    /// Whose error numbers.
    pub system: System,
    /// Set when we moved first: we ended it then, whatever came after.
    pub cause: Option<LocalCause>,
    /// The first error, from whichever call got it.
    pub error: Option<FirstError>,
    /// Whether the peer's FIN came: recv returned 0 before any error, or the byte count of TCP_INFO
    /// is one higher than what could be read.
    pub fin_received: Option<bool>,
    /// Whether we sent our FIN (shutdown(2) was called and took).
    pub fin_sent: bool,
    /// Bytes that we went on sending after we knew of the peer's FIN, and the kernel took: a
    /// half-closer's reply.
    pub sent_after_fin: bool,
    /// How sure it is that the peer continued to send when its TCP had our FIN; `None` if no byte
    /// was read after our FIN beyond those in the receive queue at that moment. Likely: bytes
    /// arrived after our FIN was sent; they may have been on their way, or sent again after a loss.
    /// Unknown: the length of the queue is unknown. A view of the packets can be certain.
    pub received_after_fin: Option<Certainty>,
    /// Bytes read, all of them.
    pub rx: u64,
    /// Bytes read and dropped: they came after our FIN, or after the connection was asked to leave.
    pub discarded: u64,
    /// Bytes that the kernel took from us, prefix included.
    pub tx: u64,
    /// What of `tx` the peer's TCP has not acknowledged (SIOCOUTQ, less our FIN).
    pub undelivered: Option<u32>,
    /// Whether our FIN was acknowledged too (SIOCOUTQ is 0 and our FIN was out).
    pub fin_acknowledged: bool,
    /// Reply bytes that the kernel never took.
    pub unsent: u64,
    /// Nothing at all of the last reply was taken.
    pub reply_untouched: bool,
    /// Bytes left in the receive queue.
    pub unread: Option<u32>,
    /// Retransmissions under way at the end.
    pub retransmits: Option<u8>,
    /// Unanswered probes at the end.
    pub probes: Option<u8>,
    /// Milliseconds from the peer's last acknowledgement, which its FIN is too, to the end.
    pub last_ack_ms: Option<u32>,
}

impl Evidence {
    /// Evidence of nothing: a connection that was accepted and about which nothing else is known.
    pub const fn nothing(system: System) -> Evidence {
        Evidence {
            system,
            cause: None,
            error: None,
            fin_received: None,
            fin_sent: false,
            sent_after_fin: false,
            received_after_fin: None,
            rx: 0,
            discarded: 0,
            tx: 0,
            undelivered: None,
            fin_acknowledged: false,
            unsent: 0,
            reply_untouched: false,
            unread: None,
            retransmits: None,
            probes: None,
            last_ack_ms: None,
        }
    }
}
