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
//! A [`Connection`] never does anything. The owner of the socket asks it for the next
//! [`step`](Connection::step), does that, and reports what came of it, until the step is
//! [`Step::Wait`] or [`Step::End`]. [`Connection`] names the fact to report for each step.
//!
//! Three rules explain most of what is here. End of file is not the end: after our FIN the socket
//! stays until the kernel says what became of the reply. Evidence is consumed by looking: the first
//! error is latched with the call that gave it. Readiness is remembered: it is edge-triggered, so
//! what an event said holds until a call says otherwise.

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

/// What a connection wants done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send [`pending`](Connection::pending); report [`flushed`](Connection::flushed),
    /// [`blocked`](Connection::blocked) or [`failed`](Connection::failed).
    Send,
    /// Receive and answer; report [`received`](Connection::received) and
    /// [`answered`](Connection::answered), or [`received_fin`](Connection::received_fin),
    /// `blocked` or `failed`.
    Receive,
    /// Receive and drop: our FIN is out, or all that is answered was received. Report as for
    /// `Receive`, without an answer.
    Discard,
    /// Ask how much lies in the receive queue (SIOCINQ); report [`unread`](Connection::unread).
    AskUnread,
    /// Send our FIN; report [`shut_down`](Connection::shut_down).
    ShutDown,
    /// Ask for events when there is room to send, too; report
    /// [`registered_writable`](Connection::registered_writable).
    RegisterWritable,
    /// Ask SO_ERROR; report [`error_taken`](Connection::error_taken).
    TakeError,
    /// Ask how much is unacknowledged; report [`unacked`](Connection::unacked).
    AskUnacked,
    /// Nothing until the next event or deadline.
    Wait,
    /// It has ended: take the evidence, then close as [`goodbye`](Connection::goodbye) says.
    End,
}

/// How a socket is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goodbye {
    /// close(2): what is not acknowledged yet, the kernel goes on delivering.
    Plain,
    /// With SO_LINGER 0: a reset, and nothing lingers.
    Reset,
}

/// What an event said. Hints, each of them: a call finds out what is true.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hints {
    /// The peer has shut down its side (or all is over): EPOLLRDHUP.
    pub read_closed: bool,
    /// Urgent data: EPOLLPRI.
    pub priority: bool,
    /// The socket has an error: EPOLLERR.
    pub error: bool,
    /// There is no room to send, for sure. On Windows, and where mio uses poll(2), a send that
    /// blocks asks for all events anew: tried at an event for input that stays unread, it would
    /// bring that event again, indefinitely.
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
/// | Closing | no | none: our FIN goes out at once | |
/// | Settling | no | the verdict wait | our FIN, the last progress before the peer's FIN |
/// | Settling, because of the drain | no | the end of the drain | |
///
/// Beside it an [`alarm`](Self::alarm) comes for a retry, for a look at pending output, for the
/// greatest age and for the drain. The path of the read deadline, from the setting to the end:
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
///   expire                      our FIN goes out, and the verdict wait begins
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
    /// What calls and events came to.
    seen: Observer,
    /// The position in the input up to which it is answered; what is received beyond it is dropped.
    answer_limit: u64,
    outbox: Outbox,
    peer: PackedAddress,
    /// When our FIN went out, counted from accept.
    fin_sent_after: Span,
    bits: Bits,
}

impl Connection {
    /// A connection that was accepted now. It is not readable before an event says so.
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

    // ---- what it wants ------------------------------------------------------------------------

    /// What to do next. Pure: asking twice gives the same answer.
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
            // One more look before we move first: the peer's FIN may lie behind what was answered.
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

    /// Whether SIOCOUTQ is to be asked even if input is left to be dropped first: a peer that goes
    /// on sending may be taking the reply all the while, and the wait for its evidence is measured
    /// against that.
    pub fn should_ask_unacked(&self) -> bool {
        let blocked = self.seen.is_suspect() || self.bits.has(Bit::MayNotWait);
        self.phase() == Phase::Settling && self.bits.has(Bit::AskUnacked) && !blocked
    }

    /// The most that the next [`Step::Receive`] may take, in bytes: more is not answered.
    pub fn receive_bytes_max(&self) -> u64 {
        self.answer_limit.saturating_sub(self.seen.rx())
    }

    /// The output to send now.
    pub fn pending(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// How much memory the output takes, in bytes.
    pub fn output_bytes(&self) -> usize {
        self.outbox.held()
    }

    // ---- what it is ----------------------------------------------------------------------------

    /// Its number, counted from 1 in the order of accept.
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// The peer's address, as accept gave it.
    pub fn peer(&self) -> SocketAddr {
        self.peer.into()
    }

    /// Milliseconds since it was accepted.
    pub fn age_ms(&self, now: Moment) -> u64 {
        now.since(self.accepted_at)
    }

    /// Milliseconds since our FIN went out; 0 if it never did.
    pub fn waited_ms(&self, now: Moment) -> u64 {
        let since = self.fin_sent_after.as_ms();
        if self.seen.has_sent_fin() { self.age_ms(now).saturating_sub(since) } else { 0 }
    }

    /// The connection's place in its stream, for the framing.
    pub fn inside_line(&self) -> bool {
        self.bits.has(Bit::InsideLine)
    }

    /// Moves that place along.
    pub fn set_inside_line(&mut self, inside: bool) {
        self.bits.put(Bit::InsideLine, inside);
    }
}
