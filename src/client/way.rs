//! The ways in which a client can end a connection, each as a script.

/// One step of a script.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Act {
    /// Sends the message.
    Send,
    /// Sends the message repeatedly until the server takes no more, and reads nothing: all buffers
    /// are full.
    Fill,
    /// Waits until the whole reply to all unanswered messages lies in the receive queue, and leaves
    /// it there.
    Hold,
    /// Waits for the whole reply, and reads it.
    Read,
    /// Waits for the whole reply, and reads half of it.
    ReadHalf,
    /// Reads until the server's FIN or reset.
    ReadToEnd,
    /// Waits for the server's FIN or reset, and reads nothing.
    AwaitEnd,
    /// Waits for the configured time.
    Wait,
    /// shutdown(SHUT_WR): sends a FIN; reading remains possible.
    ShutDownWrite,
    /// shutdown(SHUT_RD): puts nothing on the wire.
    ShutDownRead,
    /// shutdown(SHUT_RDWR): sends a FIN, and the kernel answers further data with a reset.
    ShutDownBoth,
    /// Sets SO_LINGER to 0: close(2) will send a reset.
    Linger0,
    /// close(2).
    Close,
    /// The process that holds the socket is killed (SIGKILL), and the kernel closes it.
    Die,
}

impl Act {
    /// The name of the operation, for its error: "shutdown: Transport endpoint is not connected".
    pub fn doing(self) -> &'static str {
        match self {
            Act::Send | Act::Fill => "send",
            Act::Hold | Act::Read | Act::ReadHalf => "wait for the reply",
            Act::ReadToEnd => "read to the end",
            Act::AwaitEnd => "wait for the server's end",
            Act::Wait => "wait",
            Act::ShutDownWrite | Act::ShutDownRead | Act::ShutDownBoth => "shutdown",
            Act::Linger0 => "SO_LINGER",
            Act::Close => "close",
            Act::Die => "be killed",
        }
    }

    /// Whether it waits for an action of the server.
    pub fn waits_for_server(self) -> bool {
        use Act::*;
        match self {
            Fill | Hold | Read | ReadHalf | ReadToEnd | AwaitEnd => true,
            Send | Wait | ShutDownWrite | ShutDownRead | ShutDownBoth => false,
            Linger0 | Close | Die => false,
        }
    }
}

/// A way to end a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // the table below describes each
pub enum Way {
    Close,
    CloseUnread,
    CloseAtOnce,
    CloseAtOnceTwo,
    Reset,
    CloseHalfRead,
    HalfClose,
    HalfCloseDiscard,
    HalfCloseDiscardLate,
    Probe,
    ProbeReset,
    ResetAtOnce,
    Silent,
    SilentReset,
    Killed,
    KilledUnread,
    CloseFull,
    HalfCloseFull,
    ShutDownRead,
    ShutDownBoth,
    Stall,
}

/// Name, scenario, description, and script.
type Row = (Way, &'static str, &'static str, &'static str, &'static [Act]);

const WAYS: &[Row] = {
    use Act::*;
    &[
        (Way::Close, "close", "S1", "reads the reply, closes", &[Send, Read, Wait, Close]),
        (
            Way::CloseUnread,
            "close-unread",
            "S2",
            "waits, closes with the reply unread",
            &[Send, Hold, Wait, Close],
        ),
        (Way::CloseAtOnce, "close-at-once", "S3", "sends and closes at once", &[Send, Close]),
        (
            Way::CloseAtOnceTwo,
            "close-at-once-2",
            "S3",
            "sends two requests and closes at once",
            &[Send, Send, Close],
        ),
        (
            Way::Reset,
            "reset",
            "S4",
            "reads the reply, closes with SO_LINGER 0",
            &[Send, Read, Wait, Linger0, Close],
        ),
        (
            Way::CloseHalfRead,
            "close-half-read",
            "S5",
            "reads half of the reply, closes",
            &[Send, ReadHalf, Wait, Close],
        ),
        (
            Way::HalfClose,
            "half-close",
            "S6",
            "shuts down its side, reads the rest, closes",
            &[Send, ShutDownWrite, ReadToEnd, Wait, Close],
        ),
        (
            Way::HalfCloseDiscard,
            "half-close-discard",
            "S6b",
            "shuts down its side, closes at once with the reply here and unread",
            &[Send, Send, ShutDownWrite, Hold, Close],
        ),
        (
            Way::HalfCloseDiscardLate,
            "half-close-discard-late",
            "S6c",
            "shuts down its side, closes with the reply unread when the server's FIN is here",
            &[Send, ShutDownWrite, Hold, AwaitEnd, Wait, Close],
        ),
        (Way::Probe, "probe", "S7", "connects and closes", &[Wait, Close]),
        (Way::ProbeReset, "probe-reset", "S7b", "connects and resets", &[Wait, Linger0, Close]),
        (
            Way::ResetAtOnce,
            "reset-at-once",
            "S8b",
            "sends and resets at once",
            &[Send, Linger0, Close],
        ),
        (
            Way::Silent,
            "silent",
            "S9",
            "reads the reply, is silent until the server ends it, closes",
            &[Send, Read, AwaitEnd, Wait, Close],
        ),
        (
            Way::SilentReset,
            "silent-reset",
            "S20b",
            "is silent with the reply unread until the server ends it, closes",
            &[Send, Hold, AwaitEnd, Wait, Close],
        ),
        (Way::Killed, "killed", "S13a", "reads the reply, is killed", &[Send, Read, Wait, Die]),
        (
            Way::KilledUnread,
            "killed-unread",
            "S13b",
            "is killed with the reply unread",
            &[Send, Hold, Wait, Die],
        ),
        (
            Way::CloseFull,
            "close-full",
            "S15",
            "sends and reads nothing until all buffers are full, closes",
            &[Fill, Wait, Close],
        ),
        (
            Way::HalfCloseFull,
            "half-close-full",
            "S15b",
            "fills all buffers, shuts down its side, reads everything, closes",
            &[Fill, ShutDownWrite, ReadToEnd, Wait, Close],
        ),
        (
            Way::ShutDownRead,
            "shutdown-read",
            "S16",
            "shuts down its reading side, closes with the reply unread",
            &[Send, ShutDownRead, Hold, Wait, Close],
        ),
        (
            Way::ShutDownBoth,
            "shutdown-both",
            "S16b",
            "sends and shuts down both sides, closes",
            &[Send, ShutDownBoth, Wait, Close],
        ),
        (
            Way::Stall,
            "stall",
            "S17",
            "sends and reads nothing until the server gives up",
            &[Fill, AwaitEnd, Wait, Close],
        ),
    ]
};

impl Way {
    /// All ways, in the order of their scenarios.
    pub fn all() -> impl Iterator<Item = Way> {
        WAYS.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        &WAYS[self as usize]
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The scenario that it plays, see docs/CLOSING.md.
    pub fn scenario(self) -> &'static str {
        self.row().2
    }

    /// A description in one sentence.
    pub fn says(self) -> &'static str {
        self.row().3
    }

    /// Its acts, in order.
    pub fn script(self) -> &'static [Act] {
        self.row().4
    }

    /// The way with this name.
    pub fn named(name: &str) -> Option<Way> {
        Way::all().find(|way| way.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_row_and_name_and_ends_for_good() {
        for (index, row) in WAYS.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
            assert_eq!(Way::named(row.1), Some(row.0));
            let ends = row.4.iter().filter(|act| matches!(act, Act::Close | Act::Die)).count();
            assert!(ends == 1 && matches!(row.4.last(), Some(Act::Close | Act::Die)), "{}", row.1);
            // As --help states.
            assert_eq!(row.4.contains(&Act::Wait), !row.3.contains("at once"), "{}", row.1);
        }
    }
}
