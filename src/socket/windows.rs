//! What Windows is told about a socket: SO_EXCLUSIVEADDRUSE.
//!
//! Source: *Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE*, and `winsock2.h` for the numbers.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawSocket, BorrowedSocket};

/// `SOL_SOCKET` of Windows.
const SOL_SOCKET: libc::c_int = 0xffff;
/// `SO_EXCLUSIVEADDRUSE`: the complement of SO_REUSEADDR, which is 4.
const SO_EXCLUSIVEADDRUSE: libc::c_int = !4;

/// Keeps every other program away from the address that the socket will be bound to. Without it a
/// program that sets SO_REUSEADDR can bind the same address and take its connections, also while we
/// listen there. It does not stand in the way of a restart: a listener that is closed leaves the
/// address free.
///
/// # Errors
/// The system refuses the option.
pub(crate) fn set_exclusive_address(socket: BorrowedSocket<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the system reads one int through the pointer, which is valid for it and as long as is
    // said. The socket is borrowed, so it is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_socket() as libc::SOCKET,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::c_int,
        )
    };
    // winsock2.h: 0 or SOCKET_ERROR, and then WSAGetLastError, which is GetLastError.
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
