//! Streams that know how they ended: a wrapper for TCP streams in your own program.
//!
//! [`Observed`] is read and written like the stream that it holds, counts the bytes, and keeps the
//! first error. [`finish`](Observed::finish) sends our FIN, reads to the peer's, waits for the
//! evidence of the system, and returns the [`Ending`]: how the connection ended, and what became of
//! the last bytes that were written.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpListener;
//! use std::time::Duration;
//!
//! use closecall::observed::Observed;
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # client.write_all(b"Hi")?;
//! let (stream, peer) = listener.accept()?;
//! let mut stream = Observed::new(stream, peer);
//! let mut request = [0; 1024];
//! let bytes = stream.read(&mut request)?;
//! stream.write_all(&request[..bytes])?;
//! # client.read_exact(&mut [0; 2])?;
//! # drop(client);
//! # while stream.read(&mut request)? > 0 {}
//! let ending = stream.finish(Duration::from_secs(2));
//! println!("{} ended as {}", ending.peer, ending.verdict.kind.name());
//! assert_eq!(ending.verdict.kind.name(), "peer_fin.delivered");
//! # Ok(())
//! # }
//! ```
//!
//! # Which side closed first
//!
//! Read until 0 or an error before `finish`, and a peer that closes first is recognized. If
//! `finish` is called earlier, our FIN is sent first, and the verdict is one of `local_fin.*`,
//! which also include what became of the last bytes. If a FIN or a reset of the peer arrived before
//! that, `finish` finds it, and the peer was first, unless requests that were not read lie before
//! it.
//!
//! Report a limit of your own (a deadline, a shutdown) with [`ends`](Observed::ends) before.
//!
//! # Dropped without `finish`
//!
//! The ending is decided by what is known at that moment, without waiting, and passed to the report
//! of [`reports`](Observed::reports) if there is one. Less is known then: a reply whose
//! acknowledgement has not arrived yet is `unconfirmed`. With tokio, within a runtime, a task of
//! its own finishes the stream and waits for the evidence.
//!
//! # Requirements
//!
//! Only this wrapper reads, writes and shuts the stream down, from accept or connect on, and
//! nothing asks the socket for SO_ERROR (`take_error`): see [`Observer`]. It sets SO_OOBINLINE, so
//! that urgent bytes are counted.

mod blocking;
mod life;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::life::{Life, OnEnding};
use crate::machine::close::{Ending, LocalCause, Observer, Settling};

/// A stream that can be observed: `std::net::TcpStream`, and with the feature `tokio` also
/// `tokio::net::TcpStream`. No other type can be one.
pub trait Stream: life::Stream {}

/// A stream that counts the bytes through it, keeps the first error, and knows how it ended.
///
/// See [the module](self) for its requirements.
pub struct Observed<S: Stream> {
    /// `None` only while it is dropped.
    stream: Option<S>,
    life: Life,
    /// In a mutex so that a stream can be shared between threads; it is never locked.
    report: Mutex<Option<OnEnding>>,
}

impl<S: Stream> Observed<S> {
    /// Observes a stream that was just accepted from `peer`, or has just connected to it. Nothing
    /// may have been read or written yet.
    pub fn new(stream: S, peer: SocketAddr) -> Observed<S> {
        // If the option is refused, the socket has ended, and no byte will arrive.
        let _ = stream.socket().set_out_of_band_inline(true);
        let life = Life::new(peer, stream.local());
        Observed { stream: Some(stream), life, report: Mutex::new(None) }
    }

    /// The same, with a `report` that receives the ending when [`finish`](Observed::finish) has it
    /// or when the stream is dropped, for streams that belong to a library that drops them. It is
    /// called once.
    #[must_use]
    pub fn reports(mut self, report: impl FnOnce(Ending) + Send + 'static) -> Observed<S> {
        self.report = Mutex::new(Some(Box::new(report)));
        self
    }

    /// The stream. Reading, writing or shutting it down directly spoils the evidence.
    pub fn get_ref(&self) -> &S {
        self.stream.as_ref().expect("it is there until it is dropped")
    }

    /// The evidence so far.
    pub fn seen(&self) -> &Observer {
        &self.life.seen
    }

    /// This side ends the connection for this reason: call it before our FIN is sent. If the peer's
    /// FIN was read before, the peer was first, and a reason that begins with our FIN changes
    /// nothing: a deadline, a drain.
    pub fn ends(&mut self, cause: LocalCause) {
        if !(self.life.seen.has_fin() && cause.begins_with_fin()) {
            self.life.seen.ends(Some(cause));
        }
    }

    /// How it ended, by what is known now. It does not wait, and can be called again: later calls
    /// know more.
    pub fn conclude(&mut self) -> Ending {
        let probe = self.stream.as_ref().expect("it is there until it is dropped").probe();
        self.life.conclude(probe)
    }

    /// Sends our FIN, unless it was sent or cannot be sent any more.
    fn part(&mut self) {
        if self.life.parted.is_none() {
            self.looks_before_fin(true);
            if !self.life.seen.has_error() && !self.life.seen.has_sent_fin() {
                let result = self.get_ref().socket().shutdown(Shutdown::Write);
                self.life.shut_down(&result);
            }
            self.life.parted = Some(Instant::now());
        }
    }

    fn looks_before_fin(&mut self, finishes: bool) {
        let stream = self.stream.as_ref().expect("it is there until it is dropped");
        self.life.looks_before_fin(&stream.socket(), finishes);
        self.life.seen.before_shut_down(stream.probe());
    }

    /// Checks whether the evidence is complete. Returns how long to wait until the next check;
    /// `None` if there is nothing left to ask, or no time until `end`.
    fn asks(&mut self, end: Option<Instant>) -> Option<Duration> {
        let (left, waited) = (life::left_until(end), self.life.waited());
        match self.life.seen.settle(self.stream.as_ref()?.probe(), waited) {
            Settling::Done(_) => None,
            Settling::AskAgain { after, .. } => Some(after.min(left)).filter(|it| !it.is_zero()),
        }
    }

    fn take_report(&mut self) -> Option<OnEnding> {
        self.report.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The ending is known: it is reported, once.
    fn done(&mut self) -> Ending {
        let ending = self.conclude();
        self.life.ending = Some(ending);
        if let Some(report) = self.take_report() {
            report(ending);
        }
        ending
    }
}

impl<S: Stream> Drop for Observed<S> {
    fn drop(&mut self) {
        let (Some(stream), Some(report)) = (self.stream.take(), self.take_report()) else { return };
        let life = self.life.clone();
        stream.drop_with(life, report);
    }
}

impl<S: Stream + fmt::Debug> fmt::Debug for Observed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("stream", self.get_ref())
            .field("id", &self.life.id)
            .field("peer", &self.life.peer)
            .field("seen", &self.life.seen)
            .finish_non_exhaustive()
    }
}
