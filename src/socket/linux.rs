//! Facts about a TCP socket on Linux: TCP_INFO, and SIOCOUTQ.

use std::os::fd::BorrowedFd;

use super::{calls, tcp_info::linux};
use crate::machine::close::TcpFacts;

/// TCP_INFO, or `None` if the kernel does not return even its first bytes.
pub(super) fn tcp(socket: BorrowedFd<'_>) -> Option<TcpFacts> {
    let mut answer = [0; linux::LENGTH];
    let length = calls::tcp_option(socket, libc::TCP_INFO, &mut answer).ok()?;
    linux::facts(&answer[..length])
}

/// Bytes in the send queue that the peer has not acknowledged; a FIN of ours counts as one.
/// SIOCOUTQ is TIOCOUTQ under another name, see tcp(7).
pub(super) fn unacked(socket: BorrowedFd<'_>) -> Option<u32> {
    calls::queued_bytes(socket, libc::TIOCOUTQ)
}
