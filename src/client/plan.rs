//! The plan of a client, and the results of its acts.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Act;

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's address.
    pub server: SocketAddr,
    /// The source address; port 0 and `None` leave the choice to the system.
    pub source: Option<SocketAddr>,
    /// What to send.
    pub message: Vec<u8>,
    /// The length of [`Act::Wait`].
    pub wait: Duration,
    /// How long an act may take before it is abandoned.
    pub patience: Duration,
    /// The same for acts that wait for the server's end.
    pub end_patience: Duration,
    /// Set from elsewhere: no act waits any longer.
    pub stop: Option<&'static AtomicBool>,
    /// SO_RCVBUF, in bytes; `None` leaves it to the system. A small buffer is full soon.
    pub receive_buffer: Option<usize>,
    /// SO_SNDBUF, in bytes; `None` leaves it to the system, which lets it grow.
    pub send_buffer: Option<usize>,
    /// Any bytes count as the reply: the server need not echo.
    pub any_reply: bool,
    /// How much of what is received is kept, in bytes. The rest is only counted.
    pub kept_bytes_max: usize,
    /// A command that prints nothing and runs until its stdin ends, such as `cat`: [`Act::Die`]
    /// gives it the socket as its stdout, and kills it.
    pub holder: Vec<OsString>,
}

impl Plan {
    /// The article's client, with its message and without waiting.
    pub fn new(server: SocketAddr) -> Plan {
        Plan {
            server,
            source: None,
            message: b"Hi,here is glp".to_vec(),
            wait: Duration::ZERO,
            patience: Duration::from_secs(30),
            end_patience: Duration::from_secs(30),
            stop: None,
            receive_buffer: None,
            send_buffer: None,
            any_reply: false,
            kept_bytes_max: 4096,
            holder: Vec::new(),
        }
    }
}

/// How the server ended its side, as a client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerEnd {
    /// Its FIN.
    Fin,
    /// Its reset.
    Reset,
}

/// The result of an act.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    /// The connection was established.
    Connected,
    /// This many bytes were sent.
    Sent(usize),
    /// This many bytes arrived and are unread.
    Holds(usize),
    /// This many bytes were read, and then the server's end, if the act waits for it.
    Read(usize, Option<ServerEnd>),
    /// Some of the bytes that had arrived were read.
    ReadPart {
        /// Bytes that were read.
        read: usize,
        /// Bytes that had arrived.
        of: usize,
    },
    /// The server ended its side.
    Saw(ServerEnd),
    /// Time passed.
    Waited(Duration),
    /// Our FIN was sent.
    SentFin,
    /// Something was set or shut down that puts nothing on the wire.
    Quiet,
    /// The socket was closed. The kernel decides what it sends; this is what could be known just
    /// before: data that arrives in the same moment can turn a FIN into a reset.
    Closed {
        /// Bytes that were unread.
        unread: usize,
        /// Whether that puts a reset on the wire: for unread bytes, or for SO_LINGER 0.
        reset: bool,
        /// Whether that sends a FIN, because none was sent before.
        fin: bool,
        /// Whether a reply is still to arrive: the kernel will answer it with a reset.
        late: bool,
    },
    /// It did not happen within the patience.
    GaveUp,
    /// A system call failed, or the server did not act as expected.
    Failed(String),
}

/// An act and its result.
#[derive(Clone, Debug)]
pub struct Performed {
    /// When it finished, from the beginning of connect.
    pub at: Duration,
    /// The act; `None` is the connect.
    pub act: Option<Act>,
    /// Its result.
    pub did: Did,
}

impl Performed {
    /// Whether it did not succeed.
    pub fn failed(&self) -> bool {
        matches!(self.did, Did::GaveUp | Did::Failed(_))
    }

    /// The packets that are expected for it: `→` goes to the server, `←` comes from it;
    /// acknowledgements are left out.
    pub fn wire(&self) -> String {
        let end = |end: &ServerEnd| match end {
            ServerEnd::Fin => "← FIN",
            ServerEnd::Reset => "← RST",
        };
        match &self.did {
            Did::Connected => "→ SYN ← SYN → ACK".to_owned(),
            // The last of them may be in our own buffer.
            Did::Sent(bytes) if self.act == Some(Act::Fill) => format!("→ {bytes} bytes at most"),
            Did::Sent(bytes) => format!("→ {bytes} bytes"),
            Did::Holds(0) | Did::Read(0, None) => String::new(),
            Did::Holds(bytes) | Did::ReadPart { of: bytes, .. } | Did::Read(bytes, None) => {
                format!("← {bytes} bytes")
            }
            Did::Read(0, Some(it)) | Did::Saw(it) => end(it).to_owned(),
            Did::Read(bytes, Some(it)) => format!("← {bytes} bytes {}", end(it)),
            Did::SentFin => "→ FIN".to_owned(),
            Did::Closed { reset: true, .. } => "→ RST".to_owned(),
            // A server that sends no reply gets no reset.
            Did::Closed { fin: true, late: true, .. } => "→ FIN, → RST if a reply comes".to_owned(),
            Did::Closed { fin: true, .. } => "→ FIN".to_owned(),
            Did::Closed { late: true, .. } => "→ RST if a reply comes".to_owned(),
            Did::Closed { .. } | Did::Waited(_) | Did::Quiet => String::new(),
            Did::GaveUp | Did::Failed(_) => String::new(),
        }
    }
}
