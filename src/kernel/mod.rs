//! The kernel interface: everything that a server asks of its operating system, on one page.
//!
//! The real one is [`mio_kernel::MioKernel`]; the second is the simulated world (feature
//! `simulation`), with its own clock and faults on demand. The loop cannot distinguish them, so
//! what the simulation shows about the loop holds on the real system.
//!
//! What every kernel promises:
//!
//! * Nothing blocks but [`wait`](Kernel::wait).
//! * Readiness is edge-triggered: an event reports a change since the last one, not a state. A
//!   caller that stops before [`Io::WouldBlock`] must come back by itself.
//! * EINTR is never returned. Every other error number is returned unchanged.

pub mod mio_kernel;

use std::io;
use std::net::SocketAddr;

use crate::machine::close::SocketFacts;
use crate::machine::connection::{Goodbye, Hints};
use crate::machine::errno::{Errno, System};
use crate::machine::time::Moment;

/// The result of a call that does not block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Io<T> {
    /// The call succeeded, with this result.
    Done(T),
    /// Not now: an event will follow.
    WouldBlock,
    /// It failed.
    Failed(Errno),
}

impl<T> Io<T> {
    /// Applies `into` to the value of [`Io::Done`].
    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> Io<U> {
        match self {
            Io::Done(value) => Io::Done(into(value)),
            Io::WouldBlock => Io::WouldBlock,
            Io::Failed(errno) => Io::Failed(errno),
        }
    }
}

/// An event that [`wait`](Kernel::wait) reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// New connections at the listener with this index.
    Listener(usize),
    /// The socket that is registered under this key.
    Socket(u32, Hints),
    /// The server was asked to stop, in this way.
    Stop(Stop),
}

/// How a server is asked to stop. The order is from weak to strong, and a stronger request is not
/// replaced by a weaker one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Stop {
    /// Answer what has arrived, send each connection a FIN, and stop when all have closed or when
    /// the time of the drain has passed.
    Drain = 1,
    /// End every connection at once.
    Abort = 2,
}

/// The operating system, as far as a server needs it.
pub trait Kernel {
    /// A connected socket.
    type Socket;

    /// The system whose error numbers these are.
    const SYSTEM: System;

    /// Whether a receive that gives less than was asked for means that nothing is left. It holds
    /// for epoll and kqueue; with mio's other back ends readiness returns only after "would block".
    const SHORT_READ_DRAINS: bool;

    /// The current time, on a clock that never goes back.
    fn now(&mut self) -> Moment;

    /// Sleeps until there is an event or `timeout_ms` milliseconds have passed (`None`:
    /// indefinitely), and adds the events to `events`, which is empty.
    ///
    /// # Errors
    /// The poll failed. A peer cannot cause that.
    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()>;

    /// The number of listeners; they are identified by index.
    fn listeners(&self) -> usize;

    /// Accepts the next connection, with the address that the peer had at that moment. If it is
    /// known that it could not be [registered](Self::register), this fails and the connection stays
    /// in the backlog.
    fn accept(&mut self, listener: usize) -> Io<(Self::Socket, SocketAddr)>;

    /// Whether a new connection waits at this listener; `true` on systems that do not report it.
    ///
    /// accept(2) takes a file before it looks into the backlog: out of files, it fails with an
    /// empty backlog as well.
    fn has_newcomer(&mut self, listener: usize) -> bool;

    /// Accepts the next connection and resets it, even when no file is left for it.
    fn shed(&mut self, listener: usize) -> Io<SocketAddr>;

    /// Closes every listener.
    fn stop_listening(&mut self);

    /// From now on input, a FIN and errors of `socket` are events under `key`. What has arrived
    /// already is an event as well.
    ///
    /// # Errors
    /// The system's error number: it is out of memory or of watches.
    fn register(&mut self, socket: &mut Self::Socket, key: u32) -> Result<(), Errno>;

    /// From now on room to send is an event as well; if there is room, the event follows at once.
    ///
    /// # Errors
    /// As for [`register`](Self::register).
    fn register_writable(&mut self, socket: &mut Self::Socket, key: u32) -> Result<(), Errno>;

    /// Receives into `space`; 0 is the peer's FIN.
    fn recv(&mut self, socket: &mut Self::Socket, space: &mut [u8]) -> Io<usize>;

    /// Sends as much of the beginning of `bytes` as fits. It never raises SIGPIPE.
    fn send(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> Io<usize>;

    /// Sends our FIN after everything that was sent.
    ///
    /// # Errors
    /// The connection has ended already (ENOTCONN).
    fn shutdown_write(&mut self, socket: &mut Self::Socket) -> Result<(), Errno>;

    /// The number of bytes that the peer's TCP has not acknowledged; our FIN counts as one
    /// (SIOCOUTQ).
    fn unacked(&mut self, socket: &mut Self::Socket) -> Option<u32>;

    /// The number of bytes in the receive queue (SIOCINQ).
    fn unread(&mut self, socket: &mut Self::Socket) -> Option<u32>;

    /// The local address. Asked once, when the connection has ended, before anything else.
    fn local(&mut self, socket: &mut Self::Socket) -> Option<SocketAddr>;

    /// What else the system reports: TCP_INFO, SIOCINQ.
    fn facts(&mut self, socket: &mut Self::Socket) -> SocketFacts;

    /// Takes the pending error (SO_ERROR), which the system reports only once.
    fn take_error(&mut self, socket: &mut Self::Socket) -> Option<Errno>;

    /// Closes the socket; its key gets no further events.
    fn close(&mut self, socket: Self::Socket, goodbye: Goodbye);

    /// Begins to return memory that is free in this process to the system.
    fn give_back_memory(&mut self);
}
