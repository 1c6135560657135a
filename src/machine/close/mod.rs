//! The close classifier: facts about an ended connection in, a verdict out.
//!
//! ```text
//! calls, events ──▶ Observer ──┐
//!                              ├──▶ Evidence ──▶ classify ──▶ Verdict (name, status, certainty)
//! SocketFacts ◀── Probe ───────┘
//! ```
//!
//! Reading order: [`Observer`] (how evidence is gathered), [`Evidence`] (what can be known, and
//! from where), [`Verdict`] (what can be said), [`classify`](fn@classify) (the decision table
//! between the two).
//!
//! # What an `io::Error` means, and after which call
//!
//! | call | gives | it may mean | what tells the cases apart |
//! |---|---|---|---|
//! | read | `Ok(0)` | the peer's FIN: it closed, or shut down its side; what it did with the last reply is open | `peer_fin.*`, once everything is acknowledged |
//! | read | `Ok(0)` | a read after a reset that another call has reported: the end of the stream, and no FIN | the first error, which [`Observer`] keeps |
//! | read | `ConnectionReset` | the peer closed with unread bytes, aborted, or a middlebox reset the connection | `peer_reset.*`, by what is acknowledged |
//! | read | `TimedOut` | keepalive or retransmission gave up (a timeout of `set_read_timeout` is `WouldBlock` on Unix) | `timeout.keepalive`, `timeout.retransmit` |
//! | read | `HostUnreachable`, `NetworkUnreachable` | the network said so until the retries ended | `timeout.unreachable` |
//! | read | `ConnectionAborted` | Linux: a program on this machine destroyed the socket; Windows: the peer is gone | `local.killed`; on Windows as a reset |
//! | write | `Ok(n)` | the kernel has the bytes, and nothing more | [`Evidence::undelivered`] |
//! | write | `BrokenPipe` | the peer's FIN and then its reset came before | `peer_fin.reply_refused`, `peer_fin.reply_discarded` |
//! | write | `BrokenPipe` | a write after this side's own shutdown, or after an error that was reported before | the first error |
//! | write | `ConnectionReset` | a reset came, and no FIN was known before it | `peer_reset.before_reply`, `peer_reset.reply_undelivered` |
//! | shutdown | `NotConnected` | a reset was here first | SO_ERROR, which [`Observer`] asks then |
//! | any | `WouldBlock`, `Interrupted`, ENOBUFS, ENOMEM | nothing about the connection | |
//!
//! `ErrorKind` does not name every number and differs between systems, so the decision is made by
//! number: see [`errno`](super::errno).
//!
//! # What each platform tells
//!
//! | | Linux | macOS | FreeBSD, NetBSD | other Unix | Windows |
//! |---|---|---|---|---|---|
//! | first error | yes | yes | yes | yes | yes |
//! | [pending error](Probe::take_error) | SO_ERROR | SO_ERROR | SO_ERROR | SO_ERROR | SO_ERROR |
//! | [bytes unacknowledged](Probe::unacked) | SIOCOUTQ | TCP_CONNECTION_INFO¹ | FIONWRITE, TCP_INFO¹ | no | no |
//! | [bytes unread](SocketFacts::unread) | SIOCINQ | FIONREAD | FIONREAD | FIONREAD | no |
//! | [connection over](TcpFacts::closed) | TCP_INFO | TCP_CONNECTION_INFO | TCP_INFO | no | SIO_TCP_INFO² |
//! | [FIN behind a reset](TcpFacts::bytes_received) | TCP_INFO | no | no | no | no |
//! | [retransmissions](TcpFacts::retransmits) | TCP_INFO | only that there are none | no | no | no |
//! | [probes](TcpFacts::probes), [last acknowledgement](TcpFacts::last_ack_ms) | TCP_INFO | no | no | no | no |
//!
//! ¹ While the connection lives. Once it has ended the send buffer is empty, whatever became of its
//! bytes. What was acknowledged before that is remembered, so a reply that was seen to arrive is
//! delivered, likely; otherwise `unconfirmed`. ² Since Windows 10 1703 and Server 2016.
//!
//! What a system does not tell is `None` in the [`Evidence`], and costs certainty: a verdict about
//! a reply is [`Certainty::Unknown`] where it is not known what was acknowledged. The column of
//! Linux is tested on Linux. The others are compiled for their systems, and their parsers are
//! tested with answers written by hand from the systems' headers; they have not run there.

mod classify;
mod ending;
mod evidence;
mod name;
mod observer;
mod verdict;

pub use classify::classify;
pub use ending::Ending;
pub use evidence::{Evidence, FirstError, LocalCause, SocketFacts, TcpFacts, Via};
pub use name::UnknownName;
pub use observer::{Acknowledged, Answers, Conclusion, Leftover, Observer, Probe, Settling};
pub use verdict::{Certainty, Initiator, Kind, KindCounts, Level, Verdict};
