//! Options, progress and errors of the lab.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io};

use super::capture::Capture;
use super::scenario::Scenario;

/// Options of a run.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The scenarios to play, in this order.
    pub scenarios: Vec<&'static Scenario>,
    /// The number of runs of a race.
    pub repeat: u32,
    /// A command that runs until it is killed, see [`Plan::holder`](crate::client::Plan::holder).
    pub holder: Vec<OsString>,
    /// An external server; without one the lab starts its own.
    pub against: Option<Target>,
    /// Captures the packets; each row is then compared with them.
    pub capture: Option<&'a Capture>,
    /// Set by another thread to stop the lab; it then returns the rows so far.
    pub stop: &'static AtomicBool,
}

impl Options<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// An external server, and how to test it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Addresses of the server; the first that accepts a connection is used.
    pub server: Vec<SocketAddr>,
    /// Addresses of a proxy or balancer before it: each scenario is played through it as well.
    pub via: Option<Vec<SocketAddr>>,
    /// The close log of the server, a file on this machine.
    pub observe: Option<PathBuf>,
    /// How long to wait for the server's FIN or reset, and for a line of its close log; for a reply
    /// a quarter of it, or 3 s if that is more.
    pub patience: Duration,
    /// The message of each client. With `observe` it is padded, so that each connection sends a
    /// different number of bytes.
    pub message: Vec<u8>,
    /// Accept any bytes as the reply: the server need not echo.
    pub any_reply: bool,
}

/// Progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The scenario that is played now.
    pub scenario: &'static Scenario,
    /// The number of finished rows.
    pub done: usize,
    /// The number of finished runs, if the scenario is a race.
    pub runs: u32,
}

/// Called with the number of finished runs of a race.
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
    /// The lab was stopped before the first scenario.
    Interrupted,
    /// The close log to observe cannot be read, or is not that of the server.
    CloseLog(PathBuf, io::Error),
    /// A capture sees only the loopback device, and this address is not on this machine.
    Unseen(SocketAddr),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Servers(error) => write!(f, "cannot start the lab's servers: {error}"),
            Error::NoServer(refusals) => {
                write!(f, "no server at {}", joined(refusals))
            }
            Error::NoProxy(refusals) => write!(f, "no proxy at {}", joined(refusals)),
            Error::Interrupted => f.write_str("interrupted before the first row"),
            Error::CloseLog(path, error) => write!(f, "close log {path:?}: {error}"),
            Error::Unseen(address) => {
                write!(
                    f,
                    "a capture sees only the loopback device, and {address} is not on this machine"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

fn joined(refusals: &[(SocketAddr, io::Error)]) -> String {
    let each = refusals.iter().map(|(address, error)| format!("{address}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}
