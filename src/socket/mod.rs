//! What the operating system tells of one socket. The one room with unsafe code.
//!
//! A fact that a system does not tell is `None`, never a guess. Nothing here consumes evidence: the
//! pending error (SO_ERROR) is asked for elsewhere, and last.

#[cfg(unix)]
mod calls;
#[cfg(target_os = "linux")]
mod tcp_info;
#[cfg(windows)]
pub(crate) mod windows;

#[cfg(unix)]
use std::os::fd::AsFd;

use crate::machine::close::SocketFacts;

/// A socket of the operating system.
#[cfg(unix)]
pub(crate) trait Socket: AsFd {}
#[cfg(unix)]
impl<S: AsFd> Socket for S {}
#[cfg(not(unix))]
pub(crate) trait Socket {}
#[cfg(not(unix))]
impl<S> Socket for S {}

/// How many bytes the peer's TCP has not acknowledged; our FIN counts as one (SIOCOUTQ, tcp(7)).
#[cfg(target_os = "linux")]
pub(crate) fn unacked(socket: &impl Socket) -> Option<u32> {
    tcp_info::unacked(socket.as_fd())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn unacked(_socket: &impl Socket) -> Option<u32> {
    None
}

/// How many bytes lie in the receive queue (SIOCINQ, tcp(7)); a FIN does not count.
#[cfg(unix)]
pub(crate) fn unread(socket: &impl Socket) -> Option<u32> {
    calls::unread(socket.as_fd())
}

#[cfg(not(unix))]
pub(crate) fn unread(_socket: &impl Socket) -> Option<u32> {
    None
}

/// What else the system knows about a socket: TCP_INFO, SIOCINQ.
#[cfg(target_os = "linux")]
pub(crate) fn facts(socket: &impl Socket) -> SocketFacts {
    SocketFacts { unread: unread(socket), tcp: tcp_info::tcp_facts(socket.as_fd()) }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn facts(_socket: &impl Socket) -> SocketFacts {
    SocketFacts::default()
}

/// Whether a connection waits at this listener to be accepted (poll(2)). Where the system is not
/// asked, one may.
#[cfg(unix)]
pub(crate) fn has_newcomer(listener: &impl Socket) -> bool {
    calls::has_input(listener.as_fd())
}

#[cfg(not(unix))]
pub(crate) fn has_newcomer(_listener: &impl Socket) -> bool {
    true
}

/// Gives memory that is free in this process back to the system, where that must be asked for, but
/// for `keep_bytes` of it.
pub(crate) fn give_back_memory(keep_bytes: usize) {
    #[cfg(unix)]
    calls::give_back_memory(keep_bytes);
    #[cfg(not(unix))]
    let _ = keep_bytes;
}
