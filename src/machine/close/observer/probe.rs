//! Trait for the questions that a socket is asked.

use crate::machine::close::SocketFacts;
use crate::machine::errno::{Errno, System};

/// What an operating system tells about one socket. `None` means that it does not tell.
///
/// The library implements it for everything that is `AsFd` or `AsSocket`: a
/// [`TcpStream`](std::net::TcpStream), mio's, tokio's, a `socket2::Socket`.
pub trait Probe {
    /// Whose error numbers it gives.
    fn system(&self) -> System;

    /// How many bytes the peer's TCP has not acknowledged; our FIN counts as one (SIOCOUTQ).
    fn unacked(&mut self) -> Option<u32>;

    /// What else there is to know: TCP_INFO, SIOCINQ. The first is asked before the second: bytes
    /// that come in between are unread then, and are not taken for a FIN.
    fn facts(&mut self) -> SocketFacts;

    /// Takes the pending error (SO_ERROR), which the system reports only once.
    fn take_error(&mut self) -> Option<Errno>;
}

/// Answers that are known beforehand: of a socket that is gone, or in a test.
///
/// Begin with [`Answers::nothing`], and set what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Answers {
    /// Whose error numbers.
    pub system: System,
    /// See [`Probe::unacked`].
    pub unacked: Option<u32>,
    /// See [`Probe::facts`].
    pub facts: SocketFacts,
    /// See [`Probe::take_error`]; given once.
    pub error: Option<Errno>,
}

impl Answers {
    /// The system tells nothing.
    pub const fn nothing(system: System) -> Answers {
        let facts = SocketFacts { unread: None, tcp: None };
        Answers { system, unacked: None, facts, error: None }
    }
}

impl Probe for Answers {
    fn system(&self) -> System {
        self.system
    }

    fn unacked(&mut self) -> Option<u32> {
        self.unacked
    }

    fn facts(&mut self) -> SocketFacts {
        self.facts
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }
}
