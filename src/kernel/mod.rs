//! Everything that a server asks of its operating system, on one page.
//!
//! The real one is [`mio_kernel::MioKernel`]; the second is the simulated world (feature
//! `simulation`), with a clock of its own and faults on demand. The loop cannot tell them apart, so
//! what is proven of it in the one holds in the other.
//!
//! What every kernel promises:
//!
//! * Nothing blocks but [`wait`](Kernel::wait).
//! * Readiness is edge-triggered: an event says that something changed since the last one, not that
//!   something is there. A caller that stops before [`Io::WouldBlock`] must come back by itself.
//! * EINTR never comes out of here. Every other error number does, as it is.

pub mod mio_kernel;

use std::io;
use std::net::SocketAddr;

use crate::machine::close::SocketFacts;
use crate::machine::connection::{Goodbye, Hints};
use crate::machine::errno::{Errno, System};
use crate::machine::time::Moment;

/// What came of a call that does not block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Io<T> {
    /// It did this.
    Done(T),
    /// Not now: an event will tell when.
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

/// What a [`wait`](Kernel::wait) reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Newcomers at the listener with this index.
    Listener(usize),
    /// The socket that is registered under this key.
    Socket(u32, Hints),
    /// The server was asked to stop, in this way.
    Stop(Stop),
}

/// How a server is asked to stop. The order is from weak to strong, and a server that was asked for
/// the stronger does not go back to the weaker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Stop {
    /// Answer what has arrived, send each connection a FIN, and end when all have closed or when
    /// the time of the drain has passed.
    Drain = 1,
    /// End every connection at once.
    Abort = 2,
}

/// The operating system, as far as a server needs it.
pub trait Kernel {
    /// A connected socket.
    type Socket;

    /// Whose error numbers these are.
    const SYSTEM: System;

    /// Whether a receive that gives less than was asked for means that nothing is left. It holds
    /// for epoll and kqueue; with mio's other back ends readiness returns only after "would block".
    const SHORT_READ_DRAINS: bool;

    /// The moment it is now, on a clock that never goes back.
    fn now(&mut self) -> Moment;

    /// Sleeps until something happens or `timeout_ms` milliseconds have passed (`None`: without
    /// end), and adds what happened to `events`, which is empty.
    ///
    /// # Errors
    /// A broken poll. Nothing that a peer does leads here.
    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()>;

    /// How many listeners there are; they are known by index.
    fn listeners(&self) -> usize;

    /// Takes the next newcomer, with the address that the peer had at that moment. Where it is
    /// known before that it could not be [registered](Self::register), this fails and the newcomer
    /// waits.
    fn accept(&mut self, listener: usize) -> Io<(Self::Socket, SocketAddr)>;

    /// Whether a newcomer waits at this listener. Where the system does not tell, one may.
    ///
    /// accept(2) takes a file before it looks: out of files it says so to an empty backlog, too.
    fn has_newcomer(&mut self, listener: usize) -> bool;

    /// Takes the next newcomer and resets it, even when no file is left for it.
    fn shed(&mut self, listener: usize) -> Io<SocketAddr>;

    /// Closes every listener.
    fn stop_listening(&mut self);

    /// From now on input, a FIN and errors of `socket` are events under `key`. What is there
    /// already is an event, too.
    ///
    /// # Errors
    /// The system's error number: it is out of memory or of watches.
    fn register(&mut self, socket: &mut Self::Socket, key: u32) -> Result<(), Errno>;

    /// From now on room to send is an event as well, and an event now if it is there.
    ///
    /// # Errors
    /// As for [`register`](Self::register).
    fn register_writable(&mut self, socket: &mut Self::Socket, key: u32) -> Result<(), Errno>;

    /// Receives into `space`; 0 is the peer's FIN.
    fn recv(&mut self, socket: &mut Self::Socket, space: &mut [u8]) -> Io<usize>;

    /// Sends the beginning of `bytes`, as much as fits. It never raises SIGPIPE.
    fn send(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> Io<usize>;

    /// Sends our FIN after everything that was sent.
    ///
    /// # Errors
    /// The connection is gone already (ENOTCONN).
    fn shutdown_write(&mut self, socket: &mut Self::Socket) -> Result<(), Errno>;

    /// How many bytes the peer's TCP has not acknowledged; our FIN counts as one (SIOCOUTQ).
    fn unacked(&mut self, socket: &mut Self::Socket) -> Option<u32>;

    /// How many bytes lie in the receive queue (SIOCINQ).
    fn unread(&mut self, socket: &mut Self::Socket) -> Option<u32>;

    /// Our own end's address. Asked once, when the connection has ended, before anything else.
    fn local(&mut self, socket: &mut Self::Socket) -> Option<SocketAddr>;

    /// What else the system knows: TCP_INFO, SIOCINQ.
    fn facts(&mut self, socket: &mut Self::Socket) -> SocketFacts;

    /// Takes the pending error (SO_ERROR), which the system reports only once.
    fn take_error(&mut self, socket: &mut Self::Socket) -> Option<Errno>;

    /// Closes the socket; its key gets no further events.
    fn close(&mut self, socket: Self::Socket, goodbye: Goodbye);

    /// Begins to give memory that is free in this process back to the system.
    fn give_back_memory(&mut self);
}
