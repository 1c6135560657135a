//! Facts about a TCP socket on Windows (SIO_TCP_INFO), and one option, SO_EXCLUSIVEADDRUSE.
//!
//! Source: *Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE*, *SIO_TCP_INFO control code*, and
//! `winsock2.h` and `mstcpip.h` for the numbers.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawSocket, BorrowedSocket};

use super::tcp_info;
use crate::machine::close::TcpFacts;

/// `_WSAIORW(IOC_VENDOR, 39)`.
const SIO_TCP_INFO: u32 = 0xd800_0027;

#[link(name = "ws2_32")]
unsafe extern "system" {
    /// The last two are for calls that overlap, and null here.
    fn WSAIoctl(
        socket: libc::SOCKET,
        code: u32,
        input: *const u32,
        input_bytes: u32,
        output: *mut u8,
        output_bytes: u32,
        returned: *mut u32,
        overlapped: *mut libc::c_void,
        completion: *const libc::c_void,
    ) -> libc::c_int;
}

/// SIO_TCP_INFO, or `None` where the system does not have it: before Windows 10 1703 and Server
/// 2016.
pub(super) fn tcp(socket: BorrowedSocket<'_>) -> Option<TcpFacts> {
    let mut answer = [0; tcp_info::windows::LENGTH];
    let (version, mut filled) = (0_u32, 0_u32);
    // SAFETY: the system reads one u32, the version of the structure, writes at most as many bytes
    // as `answer` has, and their number to `filled`; all three outlive the call, which does not
    // overlap. The socket is borrowed, so it is open.
    let result = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as libc::SOCKET,
            SIO_TCP_INFO,
            &raw const version,
            size_of::<u32>() as u32,
            answer.as_mut_ptr(),
            answer.len() as u32,
            &raw mut filled,
            std::ptr::null_mut(),
            std::ptr::null(),
        )
    };
    let filled = (filled as usize).min(answer.len());
    if result == 0 { tcp_info::windows::facts(&answer[..filled]) } else { None }
}

/// Not available on Windows: its count of bytes in flight leaves out what was not sent yet.
pub(super) fn unacked(_socket: BorrowedSocket<'_>) -> Option<u32> {
    None
}

/// `SOL_SOCKET` of Windows.
const SOL_SOCKET: libc::c_int = 0xffff;
/// `SO_EXCLUSIVEADDRUSE`: the complement of SO_REUSEADDR, which is 4.
const SO_EXCLUSIVEADDRUSE: libc::c_int = !4;

/// Keeps every other program away from the address that the socket will be bound to. Without it a
/// program that sets SO_REUSEADDR can bind the same address and take its connections, even while we
/// listen there. It does not prevent a restart: a listener that is closed frees the address.
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
