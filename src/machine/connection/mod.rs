//! The life of one connection: facts in, intentions out.
//!
//! ```text
//!           peer's FIN, read deadline, drain                 shutdown(Write) took
//!   ┌──────┐ ──────────────────────────▶ ┌─────────┐ output ┌──────────┐ settled, or
//!   │ Open │                             │ Closing │ ─────▶ │ Settling │ ───────────┐
//!   └──────┘                             └─────────┘  out   └──────────┘ waited out │
//!      │      an error, write deadline, end of the drain: from anywhere             ▼
//!      └──────────────────────────────────────────────────────────────────────▶ ┌───────┐
//!                                                                               │ Ended │
//!                                                                               └───────┘
//! ```
//!
//! A [`Connection`] never does anything. Whoever owns the socket asks it for the next
//! [`step`](Connection::step), does that, and tells it what came of it; until the step is
//! [`Step::Wait`] or [`Step::End`]. [`Connection`] names the fact to report for each step.
//!
//! Three rules explain most of what is here. End of file is not the end: after our FIN the socket
//! stays until the kernel says what became of the reply. Evidence is consumed by looking: the first
//! error is latched with the call that gave it. Readiness is remembered: it is edge-triggered, so
//! what an event said holds until a call says otherwise.

mod bits;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use self::bits::{Bit, Bits};
use super::close::{Evidence, FirstError, LocalCause, SocketFacts, Via};
use super::errno::{Errno, Meaning, System};
use super::outbox::Outbox;
use super::peer::Peer;
use super::tick::Tick;

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
    /// Receive and drop: our FIN is out. Report as for `Receive`, without an answer.
    Discard,
    /// Send our FIN; report [`shut_down`](Connection::shut_down).
    ShutDown,
    /// Ask SO_ERROR; report [`error_taken`](Connection::error_taken).
    TakeError,
    /// Ask how much is unacknowledged; report [`unacked`](Connection::unacked).
    AskUnacked,
    /// Nothing until the next event or deadline.
    Wait,
    /// It is over: take the evidence, then part as [`goodbye`](Connection::goodbye) says.
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
}

/// What holds for all connections alike, now.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Silence longer than this ends a connection, in milliseconds; `None` is never.
    pub read_deadline_ms: Option<u64>,
    /// No progress of pending output for this long ends it, in milliseconds; `None` is never.
    pub write_deadline_ms: Option<u64>,
    /// How long a connection may wait for its evidence, in milliseconds.
    pub verdict_wait_ms: u64,
    /// When to try again after the system was short of memory, in milliseconds.
    pub retry_ms: u64,
    /// Whether another connection may begin to wait: false when too many do.
    pub may_wait: bool,
    /// Whether a short read means that nothing is left (Linux and the BSDs).
    pub short_read_drains: bool,
    /// Set by the drain: every connection is asked to end, and has until here.
    pub drain_ends: Option<Tick>,
}

impl Rules {
    fn read_deadline(&self, now: Tick) -> Tick {
        self.read_deadline_ms.map_or(Tick::NEVER, |ms| now.after(ms))
    }

    fn write_deadline(&self, now: Tick) -> Tick {
        self.write_deadline_ms.map_or(Tick::NEVER, |ms| now.after(ms))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Reading and answering.
    Open,
    /// Reading no more; our FIN follows the output that is pending.
    Closing,
    /// Our FIN is out; what became of the reply is still to be seen.
    Settling,
    Ended,
}

/// SIOCOUTQ was not asked yet, or the system does not tell.
const NOT_ASKED: u32 = u32::MAX;

/// One connection, from accept to verdict. It holds no socket.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    accepted_at: Tick,
    /// When silence or lack of progress is too long; what for depends on the phase.
    deadline: Tick,
    rx: u64,
    discarded: u64,
    tx: u64,
    outbox: Outbox,
    peer: Peer,
    /// The first error's number, and who got it; none while nobody did.
    errno: Errno,
    error_via: Option<Via>,
    /// SIOCOUTQ when it was last asked, to see whether it shrinks.
    unacked: u32,
    /// When our FIN went out, in milliseconds from accept; 49 days at most.
    fin_sent_after_ms: u32,
    bits: Bits,
    phase: Phase,
    cause: Option<LocalCause>,
}

impl Connection {
    /// A connection that was accepted at `now`. It is not readable before an event says so.
    pub fn new(id: u64, peer: Peer, now: Tick, rules: &Rules) -> Connection {
        Connection {
            id,
            accepted_at: now,
            deadline: rules.read_deadline(now),
            rx: 0,
            discarded: 0,
            tx: 0,
            outbox: Outbox::default(),
            peer,
            errno: Errno(0),
            error_via: None,
            unacked: NOT_ASKED,
            fin_sent_after_ms: 0,
            bits: Bits::default(),
            phase: Phase::Open,
            cause: None,
        }
    }

    // ---- what it wants ------------------------------------------------------------------------

    /// What to do next. Pure: asking twice gives the same answer.
    pub fn step(&self) -> Step {
        let readable = self.bits.has(Bit::Readable) && !self.bits.has(Bit::FinReceived);
        let asks = self.bits.has(Bit::Asks);
        match self.phase {
            Phase::Ended => Step::End,
            Phase::Open | Phase::Closing if !self.outbox.is_empty() => {
                match self.bits.has(Bit::Writable) {
                    true => Step::Send,
                    false if asks => Step::AskUnacked,
                    false => Step::Wait,
                }
            }
            Phase::Open if readable => Step::Receive,
            Phase::Open => Step::Wait,
            Phase::Closing => Step::ShutDown,
            // Whatever came before our FIN is dropped first: closing over it would reset the peer.
            Phase::Settling if readable => Step::Discard,
            Phase::Settling if asks && self.bits.has(Bit::Suspect) => Step::TakeError,
            Phase::Settling if asks => Step::AskUnacked,
            Phase::Settling => Step::Wait,
        }
    }

    /// The output to send now.
    pub fn pending(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// When this connection wants to be asked again at the latest; [`Tick::NEVER`] if it has no
    /// deadline.
    pub fn alarm(&self, now: Tick, rules: &Rules) -> Tick {
        let retry = match self.bits.has(Bit::Retries) {
            true => now.after(rules.retry_ms),
            false => Tick::NEVER,
        };
        let drain = match rules.drain_ends {
            Some(_) if self.phase == Phase::Open => now,
            Some(end) => end,
            None => Tick::NEVER,
        };
        self.deadline.min(retry).min(drain)
    }

    /// Whether [`alarm`](Self::alarm) may have become earlier since this was last asked. Reading and
    /// answering never do that, so a busy connection never touches the wheel.
    pub fn take_alarm_moved(&mut self) -> bool {
        self.bits.take(Bit::AlarmMoved)
    }

    /// Whether its time has come: its deadline, or the drain's turn to end it.
    pub fn is_due(&self, now: Tick, rules: &Rules) -> bool {
        let drained = rules.drain_ends.is_some_and(|end| self.phase == Phase::Open || end <= now);
        (self.deadline <= now || drained) && self.phase != Phase::Ended
    }

    // ---- facts: events and time ---------------------------------------------------------------

    /// An event came for this connection.
    pub fn ready(&mut self, hints: Hints) {
        // A socket that was not readable is not harmed by one more recv. A missed edge is for ever.
        self.bits.set(Bit::Readable);
        self.bits.set(Bit::Writable);
        if self.phase == Phase::Settling {
            self.bits.set(Bit::Asks);
        }
        if hints.read_closed {
            self.bits.set(Bit::FinHinted);
        }
        if hints.error {
            self.bits.set(Bit::Suspect);
        }
        // There will be no further edge for what lies behind a FIN, an error or the urgent mark.
        if hints.read_closed || hints.error || hints.priority {
            self.bits.set(Bit::ReadsOn);
        }
    }

    /// Its alarm rang. `true` if it is time indeed: then everything is tried once more before
    /// anything is decided, because bytes that came in time save a reader, and bytes that go out, or
    /// an acknowledgement, save a slow writer. `false` if the deadline has moved since.
    pub fn rang(&mut self, now: Tick, rules: &Rules) -> bool {
        let tries_again = self.bits.take(Bit::Retries) || self.is_due(now, rules);
        if tries_again {
            self.bits.set(Bit::Readable);
            self.bits.set(Bit::Writable);
            self.bits.set(Bit::Asks);
        }
        tries_again
    }

    /// Everything was tried and it [`is_due`](Self::is_due) still: its time is up.
    pub fn expire(&mut self, now: Tick, rules: &Rules) {
        let over = rules.drain_ends.is_some_and(|end| end <= now);
        let silence =
            if rules.drain_ends.is_some() { LocalCause::Drain } else { LocalCause::ReadDeadline };
        match self.phase {
            // The drain's turn: no more requests, but the reply under way goes out.
            Phase::Open if self.outbox.is_empty() || (self.deadline > now && !over) => {
                self.cause = Some(silence);
                self.phase = Phase::Closing;
            }
            Phase::Open | Phase::Closing => {
                let stall = if over { LocalCause::Drain } else { LocalCause::WriteDeadline };
                self.cause = Some(self.cause.filter(|_| over).unwrap_or(stall));
                self.phase = Phase::Ended;
            }
            Phase::Settling => self.phase = Phase::Ended,
            Phase::Ended => {}
        }
    }

    // ---- facts: what the steps came to --------------------------------------------------------

    /// A receive gave `bytes` of the `space` it was offered.
    pub fn received(&mut self, bytes: usize, space: usize, now: Tick, rules: &Rules) {
        self.rx += bytes as u64;
        if bytes < space && rules.short_read_drains && !self.bits.has(Bit::ReadsOn) {
            self.bits.clear(Bit::Readable);
        }
        match self.phase {
            Phase::Open => self.deadline = rules.read_deadline(now),
            _ => self.discarded += bytes as u64,
        }
    }

    /// Of the reply to what was received, the socket took the first `taken` bytes.
    pub fn answered(&mut self, reply: &[u8], taken: usize, now: Tick, rules: &Rules) {
        self.tx += taken as u64;
        if taken > 0 && self.bits.has(Bit::FinHinted) {
            self.bits.set(Bit::SentAfterFin);
        }
        if taken < reply.len() {
            self.outbox.fill(&reply[taken..]);
            self.bits.put(Bit::ReplyUntouched, taken == 0);
            self.bits.set(Bit::Writable); // a short write says nothing: the next one may block
            self.unacked = NOT_ASKED;
            self.deadline = rules.write_deadline(now);
            self.bits.set(Bit::AlarmMoved);
        }
    }

    /// The socket took `bytes` of the pending output.
    pub fn flushed(&mut self, bytes: usize, now: Tick, rules: &Rules) {
        self.tx += bytes as u64;
        self.outbox.advance(bytes);
        self.bits.clear(Bit::ReplyUntouched);
        self.unacked = NOT_ASKED;
        if self.bits.has(Bit::FinHinted) {
            self.bits.set(Bit::SentAfterFin);
        }
        if self.outbox.is_empty() && self.phase == Phase::Open {
            self.deadline = rules.read_deadline(now);
            self.bits.set(Bit::AlarmMoved);
        } else {
            self.deadline = rules.write_deadline(now);
        }
    }

    /// A send or receive would block: nothing until the next edge.
    pub fn blocked(&mut self, via: Via) {
        match via {
            Via::Send => {
                self.bits.clear(Bit::Writable);
                // How much lies in the socket now is what progress is measured against.
                if self.unacked == NOT_ASKED {
                    self.bits.set(Bit::Asks);
                }
            }
            Via::Recv | Via::SoError => {
                self.bits.clear(Bit::Readable);
                self.bits.clear(Bit::ReadsOn);
            }
        }
    }

    /// The peer's FIN: a receive gave 0.
    pub fn received_fin(&mut self) {
        self.bits.set(Bit::FinReceived);
        self.bits.set(Bit::FinHinted);
        match self.phase {
            Phase::Open => self.phase = Phase::Closing,
            _ => self.bits.set(Bit::Asks),
        }
    }

    /// A call failed. The first failure is the one that counts; being short of memory is none, and
    /// is tried again in a while, within the deadline.
    pub fn failed(&mut self, errno: Errno, via: Via, system: System) {
        if errno.meaning(system) == Meaning::NoMemory && via != Via::SoError {
            self.bits.clear(if via == Via::Send { Bit::Writable } else { Bit::Readable });
            self.bits.set(Bit::Retries);
            self.bits.set(Bit::AlarmMoved);
            return;
        }
        self.latch(errno, via);
        self.phase = Phase::Ended;
    }

    /// Our FIN went out, or could not: then a reset was here first, and SO_ERROR has it.
    pub fn shut_down(&mut self, took: bool, now: Tick, rules: &Rules) {
        if !took {
            self.bits.set(Bit::Suspect);
            self.phase = Phase::Ended;
            return;
        }
        self.phase = Phase::Settling;
        self.fin_sent_after_ms = now.since(self.accepted_at).try_into().unwrap_or(u32::MAX);
        self.unacked = NOT_ASKED;
        self.bits.set(Bit::FinSent);
        self.bits.set(Bit::Asks); // on a near network it is often settled by now
        self.bits.set(Bit::Readable);
        self.bits.set(Bit::AlarmMoved);
        self.deadline = match rules.drain_ends {
            Some(end) if self.cause == Some(LocalCause::Drain) => end,
            _ if rules.may_wait && rules.verdict_wait_ms > 0 => now.after(rules.verdict_wait_ms),
            _ => {
                self.bits.set(Bit::Hurries);
                now
            }
        };
    }

    /// What SO_ERROR said.
    pub fn error_taken(&mut self, errno: Option<Errno>, system: System) {
        self.bits.clear(Bit::Suspect);
        if let Some(errno) = errno {
            self.failed(errno, Via::SoError, system);
        }
    }

    /// What SIOCOUTQ said: bytes unacknowledged, our FIN counting as one; `None` where the system
    /// does not tell.
    pub fn unacked(&mut self, bytes: Option<u32>, now: Tick, rules: &Rules) {
        self.bits.clear(Bit::Asks);
        let shrank = bytes.is_some_and(|bytes| bytes < self.unacked && self.unacked != NOT_ASKED);
        self.unacked = bytes.unwrap_or(NOT_ASKED);
        if self.phase != Phase::Settling {
            if shrank {
                self.deadline = rules.write_deadline(now); // slow, but it takes what we send
            }
            return;
        }
        let fin_received = self.bits.has(Bit::FinReceived);
        let settled = bytes == Some(0);
        self.bits.put(Bit::Settled, settled);
        if self.bits.has(Bit::Hurries) || fin_received && (settled || bytes.is_none()) {
            self.phase = Phase::Ended;
        } else if shrank && !fin_received && self.cause != Some(LocalCause::Drain) {
            self.deadline = now.after(rules.verdict_wait_ms);
        }
    }

    // ---- facts about itself -------------------------------------------------------------------

    /// Our own reason to end it at once: a limit, or a socket that cannot be watched.
    pub fn refuse(&mut self, cause: LocalCause) {
        self.cause = Some(cause);
        self.phase = Phase::Ended;
    }

    /// Decides a connection that waits for its evidence now, by what is known; `false` if it does
    /// not wait.
    pub fn hurry(&mut self) -> bool {
        if self.is_settling() {
            self.bits.set(Bit::Hurries);
            self.bits.set(Bit::Asks);
        }
        self.is_settling()
    }

    /// Everything that we sent, our FIN too, is acknowledged: SIOCOUTQ said 0.
    pub fn is_settled(&self) -> bool {
        self.bits.has(Bit::Settled)
    }

    /// Our FIN is out and the verdict is not.
    pub fn is_settling(&self) -> bool {
        self.phase == Phase::Settling
    }

    /// Whether SO_ERROR may know more: an event or a failed shutdown spoke of an error, and no call
    /// has handed one out.
    pub fn is_suspect(&self) -> bool {
        self.bits.has(Bit::Suspect) && self.error_via.is_none()
    }

    /// Keeps an error, if it is the first.
    pub fn latch(&mut self, errno: Errno, via: Via) {
        if self.error_via.is_none() {
            (self.errno, self.error_via) = (errno, Some(via));
        }
    }

    /// How its socket is to be closed.
    ///
    /// A reset is for those from whom nothing is to be expected: a stalled reader, one beyond a
    /// limit, one who does not acknowledge our FIN. Everywhere else it could cut off a reply that a
    /// slow peer is still taking.
    pub fn goodbye(&self) -> Goodbye {
        let fin_received = self.bits.has(Bit::FinReceived);
        // Where the system does not tell what is acknowledged, nothing speaks for a reset.
        let settled = self.bits.has(Bit::Settled) || self.unacked == NOT_ASKED;
        match self.cause {
            _ if self.error_via.is_some() => Goodbye::Plain,
            None => Goodbye::Plain,
            Some(LocalCause::WriteDeadline | LocalCause::Policy | LocalCause::Resource) => {
                Goodbye::Reset
            }
            Some(LocalCause::Drain) if fin_received && settled => Goodbye::Plain,
            Some(LocalCause::Drain) => Goodbye::Reset,
            Some(LocalCause::ReadDeadline)
                if fin_received || settled || self.bits.has(Bit::Hurries) =>
            {
                Goodbye::Plain
            }
            Some(LocalCause::ReadDeadline) => Goodbye::Reset,
        }
    }

    /// All that is known at the end: this connection's own facts, what the system says of the socket,
    /// and how much SIOCOUTQ says is unacknowledged.
    pub fn evidence(&self, facts: &SocketFacts, unacked: Option<u32>, system: System) -> Evidence {
        let fin_sent = self.bits.has(Bit::FinSent);
        let unread = if self.bits.has(Bit::FinReceived) { Some(0) } else { facts.unread };
        let counted = facts.tcp.and_then(|tcp| tcp.bytes_received).zip(unread);
        let fin_received = match counted {
            _ if self.bits.has(Bit::FinReceived) => Some(true),
            // The FIN takes one place in the sequence, and TCP_INFO counts it as a byte.
            Some((received, unread)) => Some(received > self.rx + u64::from(unread)),
            None => None,
        };
        Evidence {
            system,
            cause: self.cause,
            error: self.error_via.map(|via| FirstError { errno: self.errno, via }),
            fin_received,
            fin_sent,
            sent_after_fin: self.bits.has(Bit::SentAfterFin),
            rx: self.rx,
            discarded: self.discarded,
            tx: self.tx,
            undelivered: unacked.map(|bytes| bytes.saturating_sub(u32::from(fin_sent))),
            fin_acknowledged: fin_sent && unacked == Some(0),
            unsent: self.outbox.len() as u64,
            reply_untouched: self.bits.has(Bit::ReplyUntouched),
            unread,
            retransmits: facts.tcp.map(|tcp| tcp.retransmits),
            probes: facts.tcp.map(|tcp| tcp.probes),
        }
    }

    /// Its number, counted from 1 in the order of accept.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The peer's address, as accept gave it.
    pub fn peer(&self) -> SocketAddr {
        self.peer.into()
    }

    /// Milliseconds since it was accepted.
    pub fn age_ms(&self, now: Tick) -> u64 {
        now.since(self.accepted_at)
    }

    /// Milliseconds since our FIN went out; 0 if it never did.
    pub fn waited_ms(&self, now: Tick) -> u64 {
        let since = u64::from(self.fin_sent_after_ms);
        if self.bits.has(Bit::FinSent) { self.age_ms(now).saturating_sub(since) } else { 0 }
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
