//! The first connection of a run: whether a server answers, and the prefix of its replies.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::link;
use super::message::Script;
use super::plan::Plan;
use super::tally::Trouble;
use crate::kernel::mio_kernel::errno;

/// How long the server may take to close its side after our FIN.
const PARTING: Duration = Duration::from_secs(1);

/// The longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 4096;

/// This much of a longer message is sent: no server reads it in two pieces.
const SAID_BYTES_MAX: u32 = 64;

/// Why the first connection failed.
#[derive(Debug)]
pub enum Lost {
    /// No connection was established.
    NoServer(io::Error),
    /// A connection was established, and no reply arrived.
    NoReply(Trouble),
    /// The reply does not end with the message that was sent; this is its beginning.
    Wrong(Vec<u8>),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::NoServer(error) => write!(f, "{error}"),
            Lost::NoReply(trouble) => write!(f, "the first connection: {}", trouble.says()),
            Lost::Wrong(bytes) => write!(
                f,
                "the first reply does not end with the message that was sent: \"{}\"",
                bytes[..bytes.len().min(64)].escape_ascii()
            ),
        }
    }
}

/// Connects; if `learns`, also sends a message and returns what the reply begins with. Connecting
/// and the reply have the plan's timeout each.
///
/// # Errors
/// No connection, no reply, or a wrong reply.
pub fn scout(plan: &Plan, learns: bool) -> Result<Vec<u8>, Lost> {
    let patience = Duration::from_millis(plan.timeout_ms);
    let mut stream = link::connect_within(plan, patience).map_err(Lost::NoServer)?;
    let prefix = if learns { learn(&mut stream, plan, patience)? } else { plan.prefix.clone() };
    // The server has closed it before the others connect, or its time has passed.
    let end = Instant::now() + patience.min(PARTING);
    if stream.shutdown(Shutdown::Write).is_ok() {
        while let Ok(1..) = read_until(&mut stream, end, &mut [0; 1024]) {}
    }
    Ok(prefix)
}

fn learn(
    stream: &mut std::net::TcpStream,
    plan: &Plan,
    patience: Duration,
) -> Result<Vec<u8>, Lost> {
    let lost = |error: &io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::NoReply(Trouble::Timeout),
        _ => Lost::NoReply(Trouble::of(errno(error))),
    };
    let mut script = Script::new(plan.size.min(SAID_BYTES_MAX), 1, b"");
    let message = script.message(u32::MAX, 0);
    let end = Instant::now() + patience;
    stream.set_write_timeout(Some(patience)).map_err(|error| lost(&error))?;
    stream.write_all(message).map_err(|error| lost(&error))?;
    let mut reply = Vec::new();
    while !reply.ends_with(message) {
        if reply.len() > PREFIX_BYTES_MAX + message.len() {
            return Err(Lost::Wrong(reply));
        }
        let mut space = [0; 1024];
        match read_until(stream, end, &mut space) {
            Ok(0) if reply.is_empty() => return Err(Lost::NoReply(Trouble::Closed)),
            Ok(0) => return Err(Lost::Wrong(reply)),
            Ok(bytes) => reply.extend_from_slice(&space[..bytes]),
            Err(error) if reply.is_empty() => return Err(lost(&error)),
            Err(_) => return Err(Lost::Wrong(reply)),
        }
    }
    reply.truncate(reply.len() - message.len());
    Ok(reply)
}

/// Reads until `end`.
fn read_until(
    stream: &mut std::net::TcpStream,
    end: Instant,
    space: &mut [u8],
) -> io::Result<usize> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(space) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => return result,
        }
    }
}
