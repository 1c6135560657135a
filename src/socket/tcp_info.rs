//! Parsers for the facts of one TCP connection: TCP_INFO of Linux and the BSDs, TCP_CONNECTION_INFO
//! of macOS, SIO_TCP_INFO of Windows.
//!
//! Pure functions of bytes in the byte order of this machine, compiled for tests on every system. A
//! field that a system does not fill, or that means something else there, is `None`.
//!
//! Only Linux reports `bytes_received`. It must count the peer's FIN, and no other system does:
//! macOS counts payload, duplicates included, and no FIN (`rxbytes` in `bsd/netinet/tcp_input.c`),
//! FreeBSD gives `tcpi_rcv_nxt` as a raw sequence number without the first one, and Microsoft
//! documents `BytesIn` as "the total number of bytes received" without mentioning a FIN.

#[cfg(test)]
mod tests;

use crate::machine::close::TcpFacts;

/// The bytes of one field, or `None` where the system's answer ends before it.
fn field<const N: usize>(answer: &[u8], at: usize) -> Option<[u8; N]> {
    answer.get(at..)?.first_chunk().copied()
}

/// `struct tcp_info` of Linux, up to the last field that is used here.
///
/// Source: tcp(7), and `include/uapi/linux/tcp.h` for the layout, which only ever grows at its end.
/// The kernel fills as much as it knows and as fits, and returns that length; a field beyond it was
/// not filled.
#[cfg(any(test, target_os = "linux"))]
pub(super) mod linux {
    use super::*;

    /// Up to the end of tcpi_bytes_received.
    pub(in super::super) const LENGTH: usize = BYTES_RECEIVED + size_of::<u64>();

    const STATE: usize = 0;
    const RETRANSMITS: usize = 2;
    const PROBES: usize = 3;
    /// Eight bytes come first, and then tcpi_rto, the first of 24 words.
    const LAST_ACK_RECV: usize = 8 + 12 * size_of::<u32>();
    /// After the words: tcpi_pacing_rate, tcpi_max_pacing_rate, tcpi_bytes_acked.
    const BYTES_RECEIVED: usize = 8 + 24 * size_of::<u32>() + 3 * size_of::<u64>();

    /// TCP_CLOSE in `include/net/tcp_states.h`.
    const STATE_CLOSE: u8 = 7;

    /// `None` where the kernel did not fill even the first bytes.
    pub(in super::super) fn facts(answer: &[u8]) -> Option<TcpFacts> {
        let [state] = field(answer, STATE)?;
        let byte = |at| field(answer, at).map(|[byte]| byte);
        Some(TcpFacts {
            closed: state == STATE_CLOSE,
            bytes_received: field(answer, BYTES_RECEIVED).map(u64::from_ne_bytes),
            retransmits: byte(RETRANSMITS),
            probes: byte(PROBES),
            last_ack_ms: field(answer, LAST_ACK_RECV).map(u32::from_ne_bytes),
        })
    }
}

/// The states of BSD's TCP, which macOS has as well (`netinet/tcp_fsm.h`).
#[cfg(any(test, target_vendor = "apple", target_os = "freebsd", target_os = "netbsd"))]
pub(super) mod bsd {
    use super::*;

    const CLOSED: u8 = 0;
    const ESTABLISHED: u8 = 4;
    const CLOSE_WAIT: u8 = 5;
    const FIN_WAIT_1: u8 = 6;
    const CLOSING: u8 = 7;
    const LAST_ACK: u8 = 8;
    const FIN_WAIT_2: u8 = 9;
    const TIME_WAIT: u8 = 10;

    /// The place of tcpi_state in `struct tcp_info` of FreeBSD and NetBSD and in `struct
    /// tcp_connection_info` of macOS.
    const STATE: usize = 0;

    /// `struct tcp_info` of FreeBSD and NetBSD (`netinet/tcp.h`): the state alone is of use. The
    /// fields of retransmissions, probes and acknowledgements have names and are not filled, and
    /// tcpi_snd_rexmitpack counts for the whole connection.
    pub(in super::super) fn facts(answer: &[u8]) -> Option<TcpFacts> {
        let [state] = field(answer, STATE)?;
        Some(TcpFacts { closed: state == CLOSED, ..TcpFacts::default() })
    }

    /// The number of bytes that the peer's TCP has not acknowledged, our FIN as one, if `queued`
    /// bytes are in the send buffer. BSD keeps bytes there until they are acknowledged; the FIN is
    /// not one of them, so the state decides about it.
    ///
    /// Nothing is known in the state CLOSED: whichever way a connection ended, its send buffer was
    /// emptied (`soisdisconnected`), and in LAST_ACK some kernels take a reset for an orderly end
    /// (xnu, `bsd/netinet/tcp_input.c`).
    pub(in super::super) fn unacked(answer: &[u8], queued: u32) -> Option<u32> {
        match field(answer, STATE)? {
            [ESTABLISHED | CLOSE_WAIT] => Some(queued),
            [FIN_WAIT_1 | CLOSING | LAST_ACK] => Some(queued.saturating_add(1)),
            // Our FIN is acknowledged, and it was the last.
            [FIN_WAIT_2 | TIME_WAIT] => Some(0),
            _ => None,
        }
    }
}

/// `struct tcp_connection_info` of macOS (`bsd/netinet/tcp.h`; `tcp_connection_fill_info` in
/// `bsd/netinet/tcp_usrreq.c` fills it under the socket's lock, so its fields are of one moment).
#[cfg(any(test, target_vendor = "apple"))]
pub(super) mod apple {
    use super::*;

    /// Up to the end of tcpi_snd_sbbytes.
    pub(in super::super) const LENGTH: usize = SND_SBBYTES + size_of::<u32>();

    pub(in super::super) const FLAGS: usize = 8;
    /// Bytes in the send buffer, those in flight included: what SO_NWRITE gives as well.
    pub(in super::super) const SND_SBBYTES: usize = 32;

    /// TCPCI_FLAG_LOSSRECOVERY: a retransmission timeout has struck (`t_rxtshift`), or duplicate
    /// acknowledgements have started a fast recovery.
    const LOSS_RECOVERY: u32 = 1;

    pub(in super::super) fn facts(answer: &[u8]) -> Option<TcpFacts> {
        let flags = u32::from_ne_bytes(field(answer, FLAGS)?);
        // In a fast recovery the peer is there, so the flag alone does not show retransmissions
        // without an answer. If it is not set there are none.
        let retransmits = if flags & LOSS_RECOVERY == 0 { Some(0) } else { None };
        Some(TcpFacts { retransmits, ..bsd::facts(answer)? })
    }

    pub(in super::super) fn unacked(answer: &[u8]) -> Option<u32> {
        bsd::unacked(answer, u32::from_ne_bytes(field(answer, SND_SBBYTES)?))
    }
}

/// `TCP_INFO_v0` of Windows (`mstcpip.h`, since Windows 10 1703 and Server 2016): the state alone
/// is of use.
///
/// BytesInFlight leaves out what was not sent yet, so it is not what is unacknowledged.
/// BytesRetrans and TimeoutEpisodes count for the whole connection.
#[cfg(any(test, windows))]
pub(super) mod windows {
    use super::*;

    /// The whole structure: the system refuses less room.
    pub(in super::super) const LENGTH: usize = 88;

    /// TCPSTATE_CLOSED, the first of an enumeration.
    const CLOSED: u32 = 0;

    pub(in super::super) fn facts(answer: &[u8]) -> Option<TcpFacts> {
        let state = u32::from_ne_bytes(field(answer, 0)?);
        Some(TcpFacts { closed: state == CLOSED, ..TcpFacts::default() })
    }
}
