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
    // In this order: bytes that come in between are unread, and no FIN. Counted the other way round
    // they would be taken for one.
    let tcp = tcp_info::tcp_facts(socket.as_fd());
    SocketFacts { unread: unread(socket), tcp }
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

/// Gives memory that is free in this process back to the system, where that must be asked for. A
/// thread of its own does it: it takes a tenth of a second for half a gigabyte, and where there can
/// be no thread the memory stays.
pub(crate) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let thread = std::thread::Builder::new().name("trim".to_owned());
        let _ = thread.spawn(calls::give_back_memory);
    }
}
