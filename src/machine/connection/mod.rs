//! The life of one connection: facts in, intentions out.
//!
//! ```text
//!           peer's FIN, read deadline                        shutdown(Write) took
//!   ┌──────┐ ──────────────────────────▶ ┌─────────┐ output ┌──────────┐ settled, or
//!   │ Open │                             │ Closing │ ─────▶ │ Settling │ ───────────┐
//!   └──────┘                             └─────────┘  out   └──────────┘ waited out │
//!      │ drain, or too old ┌─────────┐        ▲                                     ▼
//!      ├─────────────────▶ │ Leaving │ ───────┘ what had arrived was answered  ┌───────┐
//!      │                   └─────────┘                                          │ Ended │
//!      │      an error, write deadline, end of the drain: from anywhere         └───────┘
//!      └────────────────────────────────────────────────────────────────────────────▲
//! ```
//!
//! A [`Connection`] does no I/O. The owner of the socket asks it for the next
//! [`step`](Connection::step), does that, and reports the result; until the step is [`Step::Wait`]
//! or [`Step::End`]. [`Connection`] names the fact to report for each step.
//!
//! Three rules explain most of the code. End of file is not the end: after our FIN the socket stays
//! open until the kernel reports what became of the reply. Reading evidence consumes it: the first
//! error is kept with the call that returned it. Readiness is remembered: it is edge-triggered, so
//! what an event reported holds until a call contradicts it.

mod bits;
mod context;
mod deadline;
mod end;
mod reports;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use self::bits::{Bit, Bits, Phase};
pub use self::context::{Context, Rules};
use super::close::Observer;
use super::outbox::Outbox;
use super::packed_address::PackedAddress;
use super::time::{Moment, Span};
use super::u48::U48;

/// The next step of a connection.
///
/// It is not `#[non_exhaustive]`: an event loop must perform every step, so a new one is a breaking
/// change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send [`pending`](Connection::pending); report [`flushed`](Connection::flushed),
    /// [`blocked`](Connection::blocked) or [`failed`](Connection::failed).
    Send,
    /// Receive and answer; report [`received`](Connection::received) and
    /// [`answered`](Connection::answered), or [`received_fin`](Connection::received_fin),
    /// `blocked` or `failed`.
    Receive,
    /// Receive and drop: our FIN was sent, or everything that is answered was received. Report as
    /// for `Receive`, without an answer.
    Discard,
    /// Ask how many bytes are in the receive queue (SIOCINQ); report
    /// [`unread`](Connection::unread).
    AskUnread,
    /// Send our FIN; report [`shut_down`](Connection::shut_down).
    ShutDown,
    /// Register for events when there is room to send; report
    /// [`registered_writable`](Connection::registered_writable).
    RegisterWritable,
    /// Ask SO_ERROR; report [`error_taken`](Connection::error_taken).
    TakeError,
    /// Ask how many bytes are unacknowledged; report [`unacked`](Connection::unacked).
    AskUnacked,
    /// Nothing until the next event or deadline.
    Wait,
    /// It has ended: read the evidence, then close the socket as [`goodbye`](Connection::goodbye)
    /// returns.
    End,
}

/// How a socket is closed. TCP has no third way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goodbye {
    /// close(2): the kernel continues to deliver what is not acknowledged yet.
    Plain,
    /// With SO_LINGER 0: a reset, and nothing lingers.
    Reset,
}

/// What an event reported. These are hints: a call finds out what is true.
///
/// Begin with `Hints::default()` and set the fields that the event reported.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Hints {
    /// The peer has shut down its side (or the connection has ended): EPOLLRDHUP.
    pub read_closed: bool,
    /// Urgent data: EPOLLPRI.
    pub priority: bool,
    /// The socket has an error: EPOLLERR.
    pub error: bool,
    /// There is certainly no room to send. On Windows, and where mio uses poll(2), a send that
    /// blocks registers for all events again: tried at an event for input that stays unread, it
    /// would cause that event again, indefinitely.
    pub no_room: bool,
}

/// All input is answered.
const NO_ANSWER_LIMIT: u64 = u64::MAX;

/// One connection, from accept to verdict. It holds no socket.
///
/// # Deadlines
///
/// A connection has one deadline. What it limits depends on the phase (see the [module](self)):
///
/// | phase | output pending | the deadline is | and counts from |
/// |---|---|---|---|
/// | Open, Leaving | no | the read deadline | accept, the last byte received or sent |
/// | Open, Leaving, Closing | yes | the write deadline | the last progress |
/// | Closing | no | none: our FIN is sent at once | |
/// | Settling | no | the verdict wait | our FIN, the last progress before the peer's FIN |
/// | Settling, because of the drain | no | the end of the drain | |
///
/// In addition, an [`alarm`](Self::alarm) comes for a retry, for progress of pending output, for
/// the greatest age and for the drain. The path of the read deadline, from the setting to the end:
///
/// ```text
///   Config::read_deadline_ms    the setting: --read-deadline
///      │ Reactor::new
///      ▼
///   Rules::read_deadline_ms     the same, as a connection sees it
///      │ new, received, flushed: each sets the deadline anew
///      ▼
///   the deadline                a moment, in the connection; each byte moves it on
///      │ alarm: the earliest moment at which the connection must be asked
///      ▼
///   TimerWheel                  one entry for each connection; a byte does not touch it
///      │ pop_due: the moment of the entry has passed
///      ▼
///   alarm_rang ─── false ─────▶ bytes have moved the deadline on: armed for alarm again
///      │ true: one last read, because bytes that came in time save the connection
///      ▼
///   is_due ─────── false ─────▶ bytes had come in time: armed for alarm again
///      │ true
///      ▼
///   expire                      our FIN is sent, and the verdict wait begins
/// ```
///
/// ```
/// use closecall::machine::connection::{Connection, Context, Hints, Rules, Step};
/// use closecall::machine::time::Moment;
///
/// let rules = Rules {
///     read_deadline_ms: Some(10_000),
///     write_deadline_ms: Some(10_000),
///     verdict_wait_ms: 2_000,
///     retry_ms: 20,
///     short_read_drains: true,
///     max_age_ms: None,
/// };
/// let mut context = Context::new(rules, Moment::from_ms(0));
/// let peer = "192.0.2.1:7".parse::<std::net::SocketAddr>().unwrap();
/// let mut connection = Connection::new(1, peer.into(), &context);
/// assert_eq!(connection.step(), Step::Wait);
/// connection.ready(Hints::default()); // an event: there may be something
/// assert_eq!(connection.step(), Step::Receive);
/// context.now = Moment::from_ms(5);
/// connection.received(2, 1024, &context);
/// connection.answered(b"back:Hi", 7, &context); // the socket took all of it
/// assert_eq!(connection.step(), Step::Wait);
/// context.now = Moment::from_ms(10_004); // ten seconds from the last byte, less a millisecond
/// assert!(!connection.is_due(&context));
/// context.now = Moment::from_ms(10_005);
/// assert!(connection.is_due(&context));
/// ```
#[derive(Debug)]
pub struct Connection {
    id: U48,
    accepted_at: Moment,
    /// Counted from accept. What it limits depends on the phase: see the table above.
    deadline_after: Span,
    /// When everything is tried again before the deadline, counted from accept. It counts while
    /// output is pending or [`Bit::RetryLater`] is set.
    try_after: Span,
    /// The results of calls and events.
    seen: Observer,
    /// The position in the input up to which it is answered; what is received beyond it is dropped.
    answer_limit: u64,
    outbox: Outbox,
    peer: PackedAddress,
    /// When our FIN was sent, counted from accept.
    fin_sent_after: Span,
    bits: Bits,
}

impl Connection {
    /// A connection that was accepted now. It is not readable before an event reports it.
    ///
    /// Its number is kept in 48 bits: at 100,000 connections a second they last for 89 years.
    pub fn new(id: u64, peer: PackedAddress, context: &Context) -> Connection {
        let mut connection = Connection {
            id: U48::new(id),
            accepted_at: context.now,
            deadline_after: Span::ENDLESS,
            try_after: Span::ENDLESS,
            seen: Observer::new(),
            answer_limit: NO_ANSWER_LIMIT,
            outbox: Outbox::default(),
            peer,
            fin_sent_after: Span::default(),
            bits: Bits::OPEN,
        };
        connection.set_read_deadline(context);
        connection
    }

    fn phase(&self) -> Phase {
        self.bits.phase()
    }

    // ---- the next step -------------------------------------------------------------------------

    /// The next step. Pure: a second call returns the same.
    pub fn step(&self) -> Step {
        let readable = self.bits.has(Bit::Readable) && !self.seen.has_fin();
        let asks = self.bits.has(Bit::AskUnacked);
        match self.phase() {
            Phase::Ended => Step::End,
            Phase::Leaving if self.answer_limit == NO_ANSWER_LIMIT => Step::AskUnread,
            Phase::Open | Phase::Leaving | Phase::Closing if !self.outbox.is_empty() => {
                if self.bits.has(Bit::Writable) {
                    Step::Send
                } else if asks {
                    Step::AskUnacked
                } else if self.bits.has(Bit::RegisteredWritable) || self.bits.has(Bit::RetryLater) {
                    Step::Wait
                } else {
                    Step::RegisterWritable
                }
            }
            Phase::Open | Phase::Leaving if readable && self.seen.rx() < self.answer_limit => {
                Step::Receive
            }
            // One more receive before our FIN: the peer's FIN may lie behind what was answered.
            Phase::Leaving if readable => Step::Discard,
            Phase::Leaving if self.bits.has(Bit::RetryLater) => Step::Wait,
            Phase::Open => Step::Wait,
            Phase::Leaving | Phase::Closing => Step::ShutDown,
            // Whatever came before our FIN is dropped first: closing over it would reset the peer.
            Phase::Settling if readable => Step::Discard,
            Phase::Settling if asks && self.seen.is_suspect() => Step::TakeError,
            Phase::Settling if asks => Step::AskUnacked,
            Phase::Settling => Step::Wait,
        }
    }

    /// Whether SIOCOUTQ is to be asked even if input must be dropped first: a peer that continues
    /// to send may be taking the reply meanwhile, and the wait for its evidence depends on that.
    pub fn should_ask_unacked(&self) -> bool {
        let blocked = self.seen.is_suspect() || self.bits.has(Bit::MayNotWait);
        self.phase() == Phase::Settling && self.bits.has(Bit::AskUnacked) && !blocked
    }

    /// The number of further bytes that are answered: no receive may take more.
    pub fn receive_bytes_max(&self) -> u64 {
        self.answer_limit.saturating_sub(self.seen.rx())
    }

    /// The output to send now.
    pub fn pending(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// The memory that the output uses, in bytes.
    pub fn output_bytes(&self) -> usize {
        self.outbox.held()
    }

    // ---- identity ------------------------------------------------------------------------------

    /// Its number, counted from 1 in the order of accept.
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// The peer's address, as accept returned it.
    pub fn peer(&self) -> SocketAddr {
        self.peer.into()
    }

    /// Milliseconds since it was accepted.
    pub fn age_ms(&self, now: Moment) -> u64 {
        now.since(self.accepted_at)
    }

    /// Milliseconds since our FIN was sent; 0 if it was not.
    pub fn waited_ms(&self, now: Moment) -> u64 {
        let since = self.fin_sent_after.as_ms();
        if self.seen.has_sent_fin() { self.age_ms(now).saturating_sub(since) } else { 0 }
    }

    /// The connection's position in its stream, for the framing.
    pub fn inside_line(&self) -> bool {
        self.bits.has(Bit::InsideLine)
    }

    /// Updates that position.
    pub fn set_inside_line(&mut self, inside: bool) {
        self.bits.put(Bit::InsideLine, inside);
    }
}
