//! Verdicts about an ended connection: stable names, statuses and certainty.

/// How a connection ended. The names are stable: they may grow, they are never renamed. What each
/// may mean to its reader, and what to do about it, is in `docs/CLOSING.md`.
///
/// Sources: RFC 9293, sections 3.5.2 (resets), 3.6 (closing) and 3.8.3 (giving up); what else is
/// behind one is named there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// The peer's FIN came, and its TCP acknowledged every byte of ours.
    PeerFinDelivered,
    /// The peer sent its FIN, and after that took our reply (RFC 9293, 3.6.1: half-closed).
    PeerFinHalfCloseServed,
    /// The peer connected, said nothing and closed.
    PeerFinProbe,
    /// The peer's FIN came, and its reset in answer to our reply: it was not read.
    PeerFinReplyRefused,
    /// The peer half-closed, its TCP acknowledged the reply, and then it reset: most likely with
    /// the reply unread (RFC 1122, 4.2.2.13).
    PeerFinReplyDiscarded,
    /// The peer's FIN came, and no word about the last of our reply.
    PeerFinUnconfirmed,
    /// The peer connected, said nothing and reset.
    PeerResetProbe,
    /// A reset after the whole reply was acknowledged: the peer closed with bytes unread (RFC 1122,
    /// 4.2.2.13), or aborted (SO_LINGER 0, socket(7)).
    PeerResetReplyAcked,
    /// A reset with a part of the reply unacknowledged.
    PeerResetReplyUndelivered,
    /// A reset before a byte of the reply was sent.
    PeerResetBeforeReply,
    /// A reset in answer to a retransmission or a probe: the peer knows nothing of the connection
    /// any more.
    PeerResetStale,
    /// Nothing came for the whole read deadline, and we closed.
    TimeoutRead,
    /// The peer took nothing for the whole write deadline, and we reset.
    TimeoutWriteStall,
    /// Keep-alive probes went unanswered (RFC 9293, 3.8.4).
    TimeoutKeepalive,
    /// What we sent was not acknowledged until the system gave up (RFC 9293, 3.8.3; for
    /// TCP_USER_TIMEOUT tcp(7) and RFC 5482).
    TimeoutRetransmit,
    /// The same, and the network said that there is no way (ICMP; RFC 9293, 3.9.2.2).
    TimeoutUnreachable,
    /// Our FIN came first, and the peer's TCP acknowledged every byte of ours.
    LocalFinDelivered,
    /// Our FIN came first, and the peer, whose TCP had it, went on sending until its own (RFC 9293,
    /// 3.6.1).
    LocalFinHalfCloseServed,
    /// Our FIN came first, and the peer answered with a reset.
    LocalFinRefused,
    /// Our FIN came first, and no word about the last of what we had sent.
    LocalFinUnconfirmed,
    /// We were shutting down.
    LocalDrain,
    /// A client of ours had all that it came for, and both sides closed.
    LocalDone,
    /// A limit of ours.
    LocalPolicy,
    /// A program on this machine ended the socket (`ss --kill`, tcp(7): ECONNABORTED).
    LocalKilled,
    /// This machine had no file, memory or watch for it.
    LocalResource,
    /// This machine's network went away.
    LocalNetwork,
    /// Any other error of a call of ours.
    LocalIo,
    /// Our side reset after data that its program most likely had not read (RFC 1122, 4.2.2.13).
    LocalResetUnread,
    /// Our side reset, and its program had answered everything: SO_LINGER 0, or it was killed.
    LocalResetAborted,
    /// Our side answered a segment of a connection that it did not know any more (RFC 9293, 3.5.2).
    LocalResetStale,
    /// Our side reset before it sent a byte.
    LocalResetBeforeReply,
    /// The SYN was answered by a reset: no program listened, or it rejected the connection.
    HandshakeRefused,
    /// The SYN was answered by nothing.
    HandshakeUnanswered,
    /// The SYN was answered, and the end that had sent it never acknowledged that, or reset.
    HandshakeAbandoned,
    /// The connection was open when the observation ended.
    Open,
    /// Too little of the connection was seen to say how it ended.
    Unseen,
}

/// A row for each [`Kind`], in its order: name, the article's status, level of its log line.
const ROWS: [(Kind, &str, u8, Level); Kind::COUNT] = [
    (Kind::PeerFinDelivered, "peer_fin.delivered", 1, Level::Info),
    (Kind::PeerFinHalfCloseServed, "peer_fin.half_close_served", 1, Level::Info),
    (Kind::PeerFinProbe, "peer_fin.probe", 1, Level::Debug),
    (Kind::PeerFinReplyRefused, "peer_fin.reply_refused", 1, Level::Info),
    (Kind::PeerFinReplyDiscarded, "peer_fin.reply_discarded", 1, Level::Info),
    (Kind::PeerFinUnconfirmed, "peer_fin.unconfirmed", 1, Level::Info),
    (Kind::PeerResetProbe, "peer_reset.probe", 1, Level::Debug),
    (Kind::PeerResetReplyAcked, "peer_reset.reply_acked", 1, Level::Info),
    (Kind::PeerResetReplyUndelivered, "peer_reset.reply_undelivered", 1, Level::Info),
    (Kind::PeerResetBeforeReply, "peer_reset.before_reply", 1, Level::Info),
    (Kind::PeerResetStale, "peer_reset.stale", 1, Level::Info),
    (Kind::TimeoutRead, "timeout.read", 2, Level::Info),
    (Kind::TimeoutWriteStall, "timeout.write_stall", 2, Level::Info),
    (Kind::TimeoutKeepalive, "timeout.keepalive", 2, Level::Info),
    (Kind::TimeoutRetransmit, "timeout.retransmit", 2, Level::Warn),
    (Kind::TimeoutUnreachable, "timeout.unreachable", 3, Level::Warn),
    (Kind::LocalFinDelivered, "local_fin.delivered", 0, Level::Info),
    (Kind::LocalFinHalfCloseServed, "local_fin.half_close_served", 0, Level::Info),
    (Kind::LocalFinRefused, "local_fin.refused", 0, Level::Info),
    (Kind::LocalFinUnconfirmed, "local_fin.unconfirmed", 0, Level::Info),
    (Kind::LocalDrain, "local.drain", 0, Level::Info),
    (Kind::LocalDone, "local.done", 0, Level::Info),
    (Kind::LocalPolicy, "local.policy", 3, Level::Info),
    (Kind::LocalKilled, "local.killed", 3, Level::Warn),
    (Kind::LocalResource, "local.resource", 3, Level::Error),
    (Kind::LocalNetwork, "local.network", 3, Level::Error),
    (Kind::LocalIo, "local.io", 3, Level::Error),
    (Kind::LocalResetUnread, "local_reset.unread", 3, Level::Info),
    (Kind::LocalResetAborted, "local_reset.aborted", 3, Level::Info),
    (Kind::LocalResetStale, "local_reset.stale", 3, Level::Info),
    (Kind::LocalResetBeforeReply, "local_reset.before_reply", 3, Level::Info),
    (Kind::HandshakeRefused, "handshake.refused", 3, Level::Info),
    (Kind::HandshakeUnanswered, "handshake.unanswered", 2, Level::Info),
    (Kind::HandshakeAbandoned, "handshake.abandoned", 1, Level::Info),
    (Kind::Open, "open", 3, Level::Debug),
    (Kind::Unseen, "unseen", 3, Level::Debug),
];

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Kind::Unseen as usize + 1;

    /// Every kind, in the order of the table of verdicts.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.0)
    }

    /// The stable name: "peer_fin.delivered".
    pub const fn name(self) -> &'static str {
        ROWS[self as usize].1
    }

    /// The kind with this stable name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::all().find(|kind| kind.name() == name)
    }

    /// A coarse status: 0 normal, 1 closed by the peer, 2 timeout, 3 any other.
    pub const fn status(self) -> u8 {
        ROWS[self as usize].2
    }

    /// The level of its line in the log.
    pub const fn level(self) -> Level {
        ROWS[self as usize].3
    }

    /// Whether only a view from outside the program gives it: a capture, or the kernel's events.
    /// [`classify`](fn@super::classify) never does.
    pub const fn is_from_outside(self) -> bool {
        self as u8 >= Kind::LocalResetUnread as u8
    }

    /// Which side moved first. For a handshake that did not complete this is
    /// [`Initiator::Unknown`] here, because it depends on the side that is ours.
    pub const fn initiator(self) -> Initiator {
        use Kind::*;
        match self {
            PeerFinDelivered
            | PeerFinHalfCloseServed
            | PeerFinProbe
            | PeerFinReplyRefused
            | PeerFinReplyDiscarded
            | PeerFinUnconfirmed
            | PeerResetProbe
            | PeerResetReplyAcked
            | PeerResetReplyUndelivered
            | PeerResetBeforeReply
            | PeerResetStale => Initiator::Peer,
            TimeoutKeepalive | TimeoutRetransmit | TimeoutUnreachable | HandshakeUnanswered => {
                Initiator::Network
            }
            TimeoutRead
            | TimeoutWriteStall
            | LocalFinDelivered
            | LocalFinHalfCloseServed
            | LocalFinRefused
            | LocalFinUnconfirmed
            | LocalDrain
            | LocalDone
            | LocalPolicy
            | LocalKilled
            | LocalResource
            | LocalNetwork
            | LocalResetUnread
            | LocalResetAborted
            | LocalResetStale
            | LocalResetBeforeReply => Initiator::Local,
            LocalIo | HandshakeRefused | HandshakeAbandoned | Open | Unseen => Initiator::Unknown,
        }
    }
}

/// A number for each [`Kind`], by its place: `counts[kind as usize]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KindCounts([u64; Kind::COUNT]);

// There are more kinds than the longest array that has a default.
impl Default for KindCounts {
    fn default() -> KindCounts {
        KindCounts([0; Kind::COUNT])
    }
}

impl From<[u64; Kind::COUNT]> for KindCounts {
    fn from(counts: [u64; Kind::COUNT]) -> KindCounts {
        KindCounts(counts)
    }
}

impl std::ops::Deref for KindCounts {
    type Target = [u64; Kind::COUNT];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for KindCounts {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Which side ended a connection. There is no fourth answer, so a program may match all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Initiator {
    /// The other side.
    Peer,
    /// This side: a deadline, a limit, the drain, another program on this machine.
    Local,
    /// Neither: the peer does not answer, or a router says that it cannot be reached.
    Network,
    /// It cannot be told.
    Unknown,
}

impl Initiator {
    /// All of them.
    pub const ALL: [Initiator; 4] =
        [Initiator::Peer, Initiator::Local, Initiator::Network, Initiator::Unknown];

    /// The name in the close log.
    pub const fn name(self) -> &'static str {
        match self {
            Initiator::Peer => "peer",
            Initiator::Local => "local",
            Initiator::Network => "network",
            Initiator::Unknown => "unknown",
        }
    }
}

/// How far the evidence carries a verdict. The order is from weak to strong; another degree would
/// change the meaning of these three, so a program may match all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Certainty {
    /// What became of the last reply is not known.
    Unknown,
    /// The evidence fits, and something else would look the same.
    Likely,
    /// Nothing else looks like this.
    Certain,
}

impl Certainty {
    /// All of them, from weak to strong.
    pub const ALL: [Certainty; 3] = [Certainty::Unknown, Certainty::Likely, Certainty::Certain];

    /// The name in the close log.
    pub const fn name(self) -> &'static str {
        match self {
            Certainty::Unknown => "unknown",
            Certainty::Likely => "likely",
            Certainty::Certain => "certain",
        }
    }
}

/// How loud a verdict's line in the log is. These are levels that every log has, so a program may
/// match all of them to those of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// Something is wrong on this machine.
    Error,
    /// Something is wrong between the machines.
    Warn,
    /// An ending like any other.
    Info,
    /// No byte was sent either way: health checks and port scans.
    Debug,
}

/// What [`classify`](fn@super::classify) says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// How it ended.
    pub kind: Kind,
    /// A coarse status: 0 normal, 1 closed by the peer, 2 timeout, 3 any other. It is that of the
    /// [kind](Kind::status), except for an unconfirmed reply whose wait ended with ETIMEDOUT: 2.
    pub status: u8,
    /// How sure that is.
    pub certainty: Certainty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_row_and_name() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
            assert_eq!(Kind::named(row.1), Some(row.0));
        }
        let mut names: Vec<_> = Kind::all().map(Kind::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::COUNT);
    }
}
