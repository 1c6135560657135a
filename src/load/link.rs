//! Connecting without blocking, and a timer that is finer than milliseconds.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::plan::Plan;
use super::ports::Ports;
use crate::socket::source::{ALL_PORTS, bind_source, limit_ports};

/// A message longer than this may be sent as several segments. With Nagle's algorithm (RFC 896) the
/// last one would wait for the acknowledgement of the others.
const ONE_SEGMENT_BYTES: u32 = 536;

/// Begins to connect. `number` chooses the source address where there are several; `now` is in
/// nanoseconds.
///
/// # Errors
/// The system has no file, no port or no route.
pub(super) fn connect(
    plan: &Plan,
    ports: &mut Ports,
    number: u32,
    now: u64,
) -> io::Result<TcpStream> {
    let source = plan.source(number);
    #[cfg(target_os = "linux")] // one system call; elsewhere two
    let socket = open(plan.server, source, Type::STREAM.nonblocking())?;
    #[cfg(not(target_os = "linux"))]
    let socket = open(plan.server, source, Type::STREAM)?;
    #[cfg(not(target_os = "linux"))]
    socket.set_nonblocking(true)?;
    if plan.depth > 1 || plan.size > ONE_SEGMENT_BYTES {
        socket.set_tcp_nodelay(true)?;
    }
    let mut is_known = true;
    ports.connect(number, now, |range| {
        if let Some(range) = range.filter(|_| is_known) {
            is_known = limit_ports(&socket, range).unwrap_or(false);
        }
        begin(&socket, plan.server)?;
        let searched = range.is_some_and(|range| is_known && range.len() > 1);
        Ok(searched.then(|| port_of(&socket)).flatten())
    })?;
    if !is_known {
        ports.leave();
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn begin(socket: &Socket, server: SocketAddr) -> io::Result<()> {
    match socket.connect(&server.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(()),
    }
}

fn port_of(socket: &Socket) -> Option<u16> {
    socket.local_addr().ok()?.as_socket().map(|local| local.port())
}

/// Connects, and waits until the handshake ends.
pub(super) fn connect_within(plan: &Plan, patience: Duration) -> io::Result<std::net::TcpStream> {
    let source = plan.source(0);
    let socket = open(plan.server, source, Type::STREAM)?;
    let _ = limit_ports(&socket, &ALL_PORTS); // without it connect may be slower
    socket.connect_timeout(&plan.server.into(), patience)?;
    let stream = std::net::TcpStream::from(socket);
    if is_itself(stream.local_addr(), stream.peer_addr()) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Whether a socket is connected to itself. If client and server are on the same machine,
/// connect(2) may choose the server's port as the source port; if nothing listens on it, the socket
/// answers itself (simultaneous open, RFC 9293, section 3.5). It then occupies the port, so that
/// the server cannot start again.
pub(super) fn is_itself(local: io::Result<SocketAddr>, peer: io::Result<SocketAddr>) -> bool {
    matches!((local, peer), (Ok(local), Ok(peer)) if local == peer)
}

/// A socket that is bound to `source`, and to no port.
///
/// # Errors
/// The system has no file, or `source` is no address of this machine.
pub(super) fn open(
    server: SocketAddr,
    source: Option<SocketAddr>,
    kind: Type,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(server), kind, Some(Protocol::TCP))?;
    if let Some(source) = source {
        bind_source(&socket, source)?;
    }
    Ok(socket)
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = error.raw_os_error() == Some(libc::EINPROGRESS);
    #[cfg(not(unix))]
    let in_progress = false;
    in_progress || error.kind() == io::ErrorKind::WouldBlock
}

/// A timer that is finer than the milliseconds in which a poll can wait.
///
/// It is a timerfd. Without one the open loop is as fine as the poll.
pub(super) struct Ticker {
    #[cfg(target_os = "linux")]
    timer: nix::sys::timerfd::TimerFd,
}

/// The shortest delay: 20,000 expirations a second cost a few percent of a processor. Requests of a
/// faster schedule are sent several at a time, none of them later than this.
#[cfg(target_os = "linux")]
const TICK_MIN: Duration = Duration::from_micros(50);

impl Ticker {
    /// Whether the poll needs a timeout as well.
    pub(super) const IS_COARSE: bool = !cfg!(target_os = "linux");

    /// A timer that makes the poll report `token` when it expires.
    #[cfg(target_os = "linux")]
    pub(super) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Ticker> {
        use std::os::fd::{AsFd, AsRawFd};

        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let descriptor = timer.as_fd().as_raw_fd();
        let mut source = mio::unix::SourceFd(&descriptor);
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Ticker { timer })
    }

    /// Expires once, after `delay`. It is never read: setting it clears the last expiration.
    #[cfg(target_os = "linux")]
    pub(super) fn set(&self, delay: Duration) {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};

        let expiration = Expiration::OneShot(delay.max(TICK_MIN).into());
        // It fails only for an invalid time, and this one is valid.
        let _ = self.timer.set(expiration, TimerSetTimeFlags::empty());
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn new(_registry: &mio::Registry, _token: mio::Token) -> io::Result<Ticker> {
        Ok(Ticker {})
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn set(&self, _delay: Duration) {}
}
