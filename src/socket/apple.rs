//! Facts about a TCP socket on macOS: TCP_CONNECTION_INFO, which includes the length of the send
//! buffer (SO_NWRITE).

use std::mem::offset_of;
use std::os::fd::BorrowedFd;

use super::{calls, tcp_info::apple};
use crate::machine::close::TcpFacts;

const _: () = assert!(offset_of!(libc::tcp_connection_info, tcpi_state) == 0);
const _: () = assert!(offset_of!(libc::tcp_connection_info, tcpi_flags) == apple::FLAGS);
const _: () =
    assert!(offset_of!(libc::tcp_connection_info, tcpi_snd_sbbytes) == apple::SND_SBBYTES);

/// `None` where the system does not know this option.
pub(super) fn tcp(socket: BorrowedFd<'_>) -> Option<TcpFacts> {
    let mut answer = [0; apple::LENGTH];
    match calls::tcp_option(socket, libc::TCP_CONNECTION_INFO, &mut answer) {
        Ok(length) => apple::facts(&answer[..length]),
        Err(error) => calls::facts_of_error(&error),
    }
}

/// The number of bytes that the peer's TCP has not acknowledged; our FIN counts as one.
pub(super) fn unacked(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut answer = [0; apple::LENGTH];
    let length = calls::tcp_option(socket, libc::TCP_CONNECTION_INFO, &mut answer).ok()?;
    apple::unacked(&answer[..length])
}
