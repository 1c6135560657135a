//! Facts about a TCP socket on FreeBSD and NetBSD: the state in TCP_INFO, and the length of the
//! send buffer (FIONWRITE).

use std::mem::offset_of;
use std::os::fd::BorrowedFd;

use super::{calls, tcp_info::bsd};
use crate::machine::close::TcpFacts;

const _: () = assert!(offset_of!(libc::tcp_info, tcpi_state) == 0);

/// `None` where the system does not know this option.
pub(super) fn tcp(socket: BorrowedFd<'_>) -> Option<TcpFacts> {
    let mut answer = [0; 1]; // the kernel copies as much as there is room for
    match calls::tcp_option(socket, libc::TCP_INFO, &mut answer) {
        Ok(length) => bsd::facts(&answer[..length]),
        Err(error) => calls::facts_of_error(&error),
    }
}

/// The number of bytes that the peer's TCP has not acknowledged; our FIN counts as one.
pub(super) fn unacked(socket: BorrowedFd<'_>) -> Option<u32> {
    // In this order: when the state is CLOSED, the buffer has been emptied already. In the opposite
    // order a reset in between would make all of it delivered.
    let queued = calls::queued_bytes(socket, libc::FIONWRITE)?;
    let mut answer = [0; 1];
    let length = calls::tcp_option(socket, libc::TCP_INFO, &mut answer).ok()?;
    bsd::unacked(&answer[..length], queued)
}
