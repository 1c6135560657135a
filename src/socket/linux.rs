//! What Linux knows about a TCP socket: TCP_INFO, SIOCOUTQ, SIOCINQ.
//!
//! Source: tcp(7), and `include/uapi/linux/tcp.h` for the layout, which only ever grows at its end.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::machine::close::TcpFacts;

/// `struct tcp_info` up to the last field that is used here.
///
/// Its own layout and not libc's, which may end earlier than the kernel's. The kernel fills as much
/// as it knows and as fits, and returns that length; a field beyond it was not filled.
#[repr(C)]
#[derive(Default)]
struct TcpInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scales: u8,
    rate_flags: u8,
    /// tcpi_rto to tcpi_total_retrans.
    words: [u32; 24],
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
}

/// TCP_CLOSE in `include/net/tcp_states.h`.
const STATE_CLOSE: u8 = 7;

/// TCP_INFO, or `None` where the kernel does not give even its first words.
pub(crate) fn tcp_facts(socket: BorrowedFd<'_>) -> Option<TcpFacts> {
    let mut info = TcpInfo::default();
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: `info` is plain integers, valid for every bit pattern, and `length` bytes long; the
    // kernel writes no more than that. The descriptor is borrowed, so it is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    let filled = |end: usize| result == 0 && length as usize >= end;
    filled(std::mem::offset_of!(TcpInfo, words)).then(|| TcpFacts {
        closed: info.state == STATE_CLOSE,
        bytes_received: filled(size_of::<TcpInfo>()).then_some(info.bytes_received),
        retransmits: info.retransmits,
        probes: info.probes,
    })
}

/// Bytes in the send queue that the peer has not acknowledged; a FIN of ours counts as one.
pub(crate) fn unacked(socket: BorrowedFd<'_>) -> Option<u32> {
    queue(socket, libc::TIOCOUTQ)
}

/// Bytes in the receive queue that nobody has read.
pub(crate) fn unread(socket: BorrowedFd<'_>) -> Option<u32> {
    queue(socket, libc::FIONREAD)
}

/// SIOCOUTQ and SIOCINQ are TIOCOUTQ and FIONREAD under other names, see tcp(7).
fn queue(socket: BorrowedFd<'_>, request: libc::Ioctl) -> Option<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int through the pointer, which is valid for it. The
    // descriptor is borrowed, so it is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    if result == 0 { u32::try_from(bytes).ok() } else { None }
}
