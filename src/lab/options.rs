//! What the lab is asked to play, how far it has come, and why it cannot begin.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io};

use super::capture::Capture;
use super::scenario::Scenario;

/// What to play.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// These, in this order.
    pub scenarios: Vec<&'static Scenario>,
    /// How often a race is run.
    pub repeat: u32,
    /// A command that runs until it is killed, see [`Plan::holder`](crate::client::Plan::holder).
    pub holder: Vec<OsString>,
    /// A server elsewhere; without one the lab embeds its own.
    pub against: Option<Target>,
    /// Looks at the wire: what is seen there is told, and has to be right.
    pub capture: Option<&'a Capture>,
    /// Set from elsewhere: play no more, and give what there is.
    pub stop: &'static AtomicBool,
}

impl Options<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Whom to play against.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server: the first of these that can be connected to.
    pub server: Vec<SocketAddr>,
    /// A proxy or balancer before it, likewise: each scenario is played through that as well.
    pub via: Option<Vec<SocketAddr>>,
    /// The close log of the server, a file here that grows.
    pub observe: Option<PathBuf>,
    /// How long to wait for the server's end, and for a line of its close log; for a reply a
    /// quarter of it, or 3 s if that is more.
    pub patience: Duration,
    /// What each client sends. With `observe` something is added, so that each connection has a
    /// length of its own.
    pub message: Vec<u8>,
    /// Whatever bytes come are the reply: the server need not echo.
    pub any_reply: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is played now.
    pub scenario: &'static Scenario,
    /// Rows that are done.
    pub done: usize,
    /// How often it has been run, if it is a race; 0 before.
    pub runs: u32,
}

/// Is told how often a race has been run.
pub(super) type Tell<'a> = &'a mut dyn FnMut(u32);

/// Why nothing was played.
#[derive(Debug)]
pub enum Error {
    /// The system has no port, no file or no thread for the lab's own servers.
    Servers(io::Error),
    /// No connection is possible to any of these addresses of the server.
    NoServer(Vec<(SocketAddr, io::Error)>),
    /// The same for the proxy.
    NoProxy(Vec<(SocketAddr, io::Error)>),
    /// It was stopped before the first scenario.
    Interrupted,
    /// The close log to observe cannot be read, or is not that of the server.
    CloseLog(PathBuf, io::Error),
    /// A capture sees the loopback device only, and this address is elsewhere.
    Unseen(SocketAddr),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Servers(error) => write!(f, "the lab's servers cannot be started: {error}"),
            Error::NoServer(refusals) => {
                write!(f, "no server to play against at {}", joined(refusals))
            }
            Error::NoProxy(refusals) => write!(f, "no proxy at {}", joined(refusals)),
            Error::Interrupted => f.write_str("interrupted before the first row"),
            Error::CloseLog(path, error) => write!(f, "close log {path:?}: {error}"),
            Error::Unseen(address) => {
                write!(f, "a capture sees the loopback device only, and {address} is elsewhere")
            }
        }
    }
}

impl std::error::Error for Error {}

fn joined(refusals: &[(SocketAddr, io::Error)]) -> String {
    let each = refusals.iter().map(|(address, error)| format!("{address}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}
