//! What a client is told before it begins, and what it tells.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Act;

/// What a client has to know before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to connect to.
    pub server: SocketAddr,
    /// From which address; port 0 and `None` leave it to the system.
    pub source: Option<SocketAddr>,
    /// What to send.
    pub message: Vec<u8>,
    /// How long [`Act::Wait`] is.
    pub wait: Duration,
    /// How long an act may take before it is given up.
    pub patience: Duration,
    /// The same for acts that wait for the server's end.
    pub end_patience: Duration,
    /// Set from elsewhere: nothing more is waited for, whatever the patience.
    pub stop: Option<&'static AtomicBool>,
    /// SO_RCVBUF, in bytes; `None` leaves it to the system. A small one is full soon.
    pub receive_buffer: Option<usize>,
    /// SO_SNDBUF, in bytes; `None` leaves it to the system, which lets it grow.
    pub send_buffer: Option<usize>,
    /// Whatever bytes come are the reply: the server need not echo.
    pub any_reply: bool,
    /// How much of what is received is kept, in bytes. The rest is counted.
    pub kept_bytes_max: usize,
    /// A command that says nothing and runs until its stdin ends, such as `cat`: [`Act::Die`] gives
    /// it the socket as its stdout, and kills it.
    pub holder: Vec<OsString>,
}

impl Plan {
    /// The article's client: its message, and no waiting.
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

/// How the server ended its side, as far as a client can see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerEnd {
    /// Its FIN.
    Fin,
    /// Its reset.
    Reset,
}

/// What came of an act.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    /// The connection is there.
    Connected,
    /// So many bytes went out.
    Sent(usize),
    /// So many bytes came and lie unread.
    Holds(usize),
    /// So many bytes were read, and then the server's end, if that was waited for.
    Read(usize, Option<ServerEnd>),
    /// Some of the bytes that are there were read.
    ReadPart {
        /// Bytes that were read.
        read: usize,
        /// Bytes that had come.
        of: usize,
    },
    /// The server ended its side.
    Saw(ServerEnd),
    /// Time passed.
    Waited(Duration),
    /// Our FIN went out.
    SentFin,
    /// Something was set or shut down that puts nothing on the wire.
    Quiet,
    /// The socket is gone. What that does on the wire is the kernel's doing, and told as far as it
    /// could be known just before: what arrives in the same moment can make a reset of a FIN.
    Closed {
        /// Bytes that nobody had read.
        unread: usize,
        /// Whether that puts a reset on the wire: for unread bytes, or for SO_LINGER 0.
        reset: bool,
        /// Whether it puts a FIN there, because none went before.
        fin: bool,
        /// Whether a reply is still to come: the kernel will answer it with a reset.
        late: bool,
    },
    /// It did not happen within the patience.
    GaveUp,
    /// The system said no, or the server did not play its part.
    Failed(String),
}

/// An act, and what came of it.
#[derive(Clone, Debug)]
pub struct Performed {
    /// When it was over, from the beginning of connect.
    pub at: Duration,
    /// What was to be done; `None` is to connect.
    pub act: Option<Act>,
    /// What came of it.
    pub did: Did,
}

impl Performed {
    /// Whether it did not come as it was meant to.
    pub fn failed(&self) -> bool {
        matches!(self.did, Did::GaveUp | Did::Failed(_))
    }

    /// What is expected on the wire for it: `→` goes to the server, `←` comes from it, and
    /// acknowledgements are not shown.
    pub fn wire(&self) -> String {
        let end = |end: &ServerEnd| match end {
            ServerEnd::Fin => "← FIN",
            ServerEnd::Reset => "← RST",
        };
        match &self.did {
            Did::Connected => "→ SYN ← SYN → ACK".to_owned(),
            // The last of them may lie in our own buffer.
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
