//! What Linux tells of a TCP socket: TCP_INFO, and SIOCOUTQ.
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

/// The place of tcpi_last_ack_recv among [`TcpInfo::words`].
const LAST_ACK_RECV: usize = 12;

/// TCP_CLOSE in `include/net/tcp_states.h`.
const STATE_CLOSE: u8 = 7;

/// TCP_INFO, or `None` where the kernel does not give even its first words.
pub(super) fn tcp_facts(socket: BorrowedFd<'_>) -> Option<TcpFacts> {
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
        last_ack_ms: filled(std::mem::offset_of!(TcpInfo, words) + 4 * (LAST_ACK_RECV + 1))
            .then_some(info.words[LAST_ACK_RECV]),
    })
}

/// Bytes in the send queue that the peer has not acknowledged; a FIN of ours counts as one.
/// SIOCOUTQ is TIOCOUTQ under another name, see tcp(7).
pub(super) fn unacked(socket: BorrowedFd<'_>) -> Option<u32> {
    super::calls::queued_bytes(socket, libc::TIOCOUTQ)
}
