//! Collector of the evidence about one connection: what to keep, what to ask, and in which order.
//!
//! Evidence is consumed by looking. An error is reported once, by whichever of recv(2), send(2) and
//! SO_ERROR comes first, so the first one is kept with the call that gave it. SO_ERROR is asked
//! last, and only where there is a reason: it also hands out errors of the network that ended
//! nothing. End of file is not the end: what became of the last bytes is known only when the peer's
//! TCP has acknowledged them, which is asked (SIOCOUTQ) and not awaited.

mod after_fin;
mod bits;
mod error;
mod probe;
mod settle;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use self::bits::{Bit, Bits};
use self::error::PackedError;
pub use self::probe::{Answers, Probe};
use super::super::errno::{Errno, Meaning, System};
use super::{Evidence, LocalCause, Verdict, Via};

/// SIOCOUTQ was not asked yet, or the system does not tell.
const NOT_ASKED: u32 = u32::MAX;

/// What one program knows of one TCP connection: it is told what each call came to, asks the
/// system what became of the last bytes, and says how the connection ended.
///
/// It is pure: it holds no socket and reads no clock.
///
/// # What it relies on
///
/// * It is told of every read and write from the moment of accept or connect on: it counts bytes
///   and compares its count with the system's. Bytes that are read past it make a FIN where there
///   was none.
/// * Nothing else asks the socket for SO_ERROR (`take_error` of std, mio, tokio and socket2):
///   the error is given to the first call that asks.
/// * Urgent bytes (MSG_OOB) are in the stream: SO_OOBINLINE is set, or the peer sends none. Else
///   the count is off by one.
/// * "Reply" is what this side has sent, whichever side it is.
/// * A program that shuts down its side first and reads on calls
///   [`before_shut_down`](Self::before_shut_down).
///
/// One connection in a loop over mio, which echoes until the peer's FIN:
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
/// use std::time::{Duration, Instant};
///
/// use closecall::machine::close::{Observer, Settling};
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// # client.write_all(b"Hi")?;
/// # client.shutdown(Shutdown::Write)?;
/// # let (socket, _) = listener.accept()?;
/// # socket.set_nonblocking(true)?;
/// # let mut socket = mio::net::TcpStream::from_std(socket);
/// # let (mut poll, mut events, mut buffer) = (Poll::new()?, Events::with_capacity(16), [0; 1024]);
/// poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
/// let mut seen = Observer::new();
/// let (mut parted, mut timeout) = (None, None);
/// let conclusion = loop {
///     poll.poll(&mut events, timeout)?;
///     if events.iter().any(|event| event.is_read_closed()) {
///         seen.hints_fin(); // what is written from here on goes to a half-closer
///     }
///     while !seen.has_fin() && !seen.has_error() {
///         let result = socket.read(&mut buffer);
///         seen.read(&result);
///         let Ok(bytes @ 1..) = result else { break };
///         seen.wrote(&socket.write(&buffer[..bytes])); // a server keeps what was not taken
///     }
///     if seen.has_fin() || seen.has_error() {
///         let since = *parted.get_or_insert_with(|| {
///             seen.shut_down(&socket.shutdown(Shutdown::Write));
///             Instant::now()
///         });
///         match seen.settle(&socket, since.elapsed()) {
///             Settling::Done(conclusion) => break conclusion,
///             _ if since.elapsed() > Duration::from_secs(2) => break seen.conclude(&socket),
///             Settling::AskAgain { after, .. } => timeout = Some(after),
///         }
///     }
/// };
/// assert_eq!(conclusion.verdict.kind.name(), "peer_fin.half_close_served");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Observer {
    rx: u64,
    tx: u64,
    /// SIOCOUTQ when it was last asked, to see whether it shrinks.
    unacked: u32,
    error: PackedError,
    bits: Bits,
}

/// What a connection came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Conclusion {
    /// What is said about it.
    pub verdict: Verdict,
    /// And why.
    pub evidence: Evidence,
}

/// Whether there is something left to learn. A loop must deal with both answers, so a third one
/// would have to break it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settling {
    /// No: it ended like this.
    Done(Conclusion),
    /// Yes.
    #[non_exhaustive]
    AskAgain {
        /// Ask again when so much time has passed, or at the socket's next event, whichever comes
        /// first.
        after: Duration,
        /// The peer has acknowledged something since the last time: it is slow, and there.
        progress: bool,
    },
}

/// What SIOCOUTQ has told. A count is all there, more than before, or neither: a program may match
/// all three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledged {
    /// Everything, and both FINs are seen: there is nothing left to ask.
    Settled,
    /// More than the last time, and not everything.
    More,
    /// No more than the last time; or the system does not tell.
    NoMore,
}

/// What only the owner of a connection knows, beside what calls came to. Begin with
/// `Leftover::default()`, and set what there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Leftover {
    /// Bytes that were to be sent and that the kernel never took.
    pub unsent: u64,
    /// Nothing at all of the last reply was taken.
    pub reply_untouched: bool,
    /// Bytes that were read and dropped: after our FIN, or after the connection was to leave.
    pub discarded: u64,
}

impl Default for Observer {
    fn default() -> Observer {
        Observer::new()
    }
}

impl Observer {
    /// Nothing is known yet: the connection was just accepted, or has just connected.
    pub const fn new() -> Observer {
        let (error, bits) = (PackedError::NONE, Bits::NONE);
        Observer { rx: 0, tx: 0, unacked: NOT_ASKED, error, bits }
    }

    // ---- what the calls of a program came to ------------------------------------------------

    /// What a read gave. 0 is the peer's FIN, so do not tell of a read into an empty buffer.
    /// "Would block" and EINTR say nothing.
    pub fn read(&mut self, result: &io::Result<usize>) {
        match result {
            Ok(0) => self.received_fin(),
            Ok(bytes) => self.received(*bytes),
            Err(error) => self.read_failed(error),
        }
    }

    /// A read gave this error.
    pub fn read_failed(&mut self, error: &io::Error) {
        self.call_failed(error, Via::Recv);
    }

    /// What a write gave.
    pub fn wrote(&mut self, result: &io::Result<usize>) {
        match result {
            Ok(bytes) => self.sent(*bytes),
            // What a write after our own shutdown gives: it says nothing of the peer, whose reset
            // has another number then.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.has(Bit::FinSent) => {}
            Err(error) => self.call_failed(error, Via::Send),
        }
    }

    /// What shutting down the writing side gave. Where the peer's FIN was not seen before, this
    /// side has moved first; what lies unread then is told by
    /// [`before_shut_down`](Self::before_shut_down).
    pub fn shut_down(&mut self, result: &io::Result<()>) {
        if result.is_err() {
            return self.suspects(); // a reset was here first, and SO_ERROR has it
        }
        if !self.has(Bit::FinReceived) && !self.has_error() {
            self.ends(self.cause().or(Some(LocalCause::Close)));
        }
        self.sent_fin();
    }

    fn call_failed(&mut self, error: &io::Error, via: Via) {
        if let Some(errno) = error.raw_os_error().map(Errno)
            && !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            && errno.meaning(System::HERE) != Meaning::NoMemory
        {
            self.failed(errno, via);
        }
    }

    // ---- the same in plain values -----------------------------------------------------------

    /// Bytes were received.
    pub fn received(&mut self, bytes: usize) {
        self.rx = self.rx.saturating_add(bytes as u64);
        if bytes > 0 && self.has(Bit::FinSent) {
            self.received_after_fin(bytes);
        } else if bytes > 0 {
            self.read_from_queue(bytes); // measured before our FIN, and read before it
        }
    }

    /// A receive gave 0.
    pub fn received_fin(&mut self) {
        self.set(Bit::FinReceived);
        self.set(Bit::FinHinted);
    }

    /// The kernel took bytes of ours.
    pub fn sent(&mut self, bytes: usize) {
        self.tx = self.tx.saturating_add(bytes as u64);
        self.unacked = NOT_ASKED;
        self.clear(Bit::BytesAcknowledged);
        if bytes > 0 && self.has(Bit::FinHinted) {
            self.set(Bit::SentAfterFin);
        }
    }

    /// Our FIN went out.
    pub fn sent_fin(&mut self) {
        self.set(Bit::FinSent);
        self.unacked = NOT_ASKED;
    }

    /// A call failed for good. The first error is the one that counts.
    pub fn failed(&mut self, errno: Errno, via: Via) {
        if !self.has_error() {
            self.error = PackedError::of(errno, via);
        }
    }

    /// An event said that the peer has shut down its side (EPOLLRDHUP). What is sent from here on
    /// goes to a half-closer.
    pub fn hints_fin(&mut self) {
        self.set(Bit::FinHinted);
    }

    /// An event or a failed shutdown spoke of an error that no call has handed out.
    pub fn suspects(&mut self) {
        self.set(Bit::Suspect);
    }

    /// A call would block, or SO_ERROR was asked: so there is no such error.
    pub fn suspects_nothing(&mut self) {
        self.clear(Bit::Suspect);
    }

    /// This side ends it for a reason of its own.
    pub fn ends(&mut self, cause: Option<LocalCause>) {
        self.bits.set_cause(cause);
    }

    // ---- what is known ----------------------------------------------------------------------

    /// Bytes received so far.
    pub const fn rx(&self) -> u64 {
        self.rx
    }

    /// Bytes sent so far.
    pub const fn tx(&self) -> u64 {
        self.tx
    }

    /// Whether a receive gave 0.
    pub const fn has_fin(&self) -> bool {
        self.has(Bit::FinReceived)
    }

    /// Whether a receive or an event spoke of the peer's FIN.
    pub const fn has_fin_hint(&self) -> bool {
        self.has(Bit::FinHinted)
    }

    /// Whether our FIN is out.
    pub const fn has_sent_fin(&self) -> bool {
        self.has(Bit::FinSent)
    }

    /// Whether a call has handed out an error.
    pub const fn has_error(&self) -> bool {
        !self.error.is_none()
    }

    /// Whether SO_ERROR may know of one.
    pub const fn is_suspect(&self) -> bool {
        self.has(Bit::Suspect)
    }

    /// Why this side ended it, if it did.
    pub const fn cause(&self) -> Option<LocalCause> {
        self.bits.cause()
    }

    /// Whether nothing of ours is on its way as far as the system tells: all is acknowledged, or it
    /// was not asked since the last send, or does not tell.
    pub const fn owes_nothing(&self) -> bool {
        self.has(Bit::AllAcknowledged) || self.unacked == NOT_ASKED
    }

    /// Whether SIOCOUTQ was asked since the last send, and has told.
    pub const fn knows_unacked(&self) -> bool {
        self.unacked != NOT_ASKED
    }

    /// Both FINs are in order and everything that we sent, ours too, is acknowledged: there is
    /// nothing left to ask.
    pub const fn is_settled(&self) -> bool {
        self.has(Bit::AllAcknowledged) && self.has(Bit::FinReceived) && !self.has_error()
    }

    const fn has(&self, bit: Bit) -> bool {
        self.bits.has(bit)
    }

    fn set(&mut self, bit: Bit) {
        self.bits.set(bit);
    }

    fn put(&mut self, bit: Bit, value: bool) {
        self.bits.put(bit, value);
    }

    fn clear(&mut self, bit: Bit) {
        self.bits.clear(bit);
    }
}
