//! Packet filter (BPF): which packets the kernel passes on, and how much of each. Source:
//! `Documentation/networking/filter.rst` of the kernel.

use libc::{BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA};
use libc::{BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_MSH, BPF_RET, BPF_RSH};
use libc::{BPF_W, BPF_X, SKF_AD_IFINDEX, SKF_AD_OFF, SKF_AD_PKTTYPE};
use socket2::SockFilter;

/// The loopback device has this number in every network namespace.
const LOOPBACK: u32 = 1;

/// PACKET_HOST: an incoming packet. The loopback device also shows each packet as outgoing.
const TO_US: u32 = 0;

const TCP: u32 = 6;
const UDP: u32 = 17;

const ETHERNET_BYTES: u32 = 14;
const IPV6_BYTES: u32 = 40;

/// Offsets from the beginning of the frame.
const ETHER_TYPE_AT: u32 = 12;
const IP_AT: u32 = ETHERNET_BYTES;
const IPV4_PROTOCOL_AT: u32 = IP_AT + 9;
const IPV6_NEXT_HEADER_AT: u32 = IP_AT + 6;
const UDP_TARGET_PORT_AT: u32 = IP_AT + 20 + 2;

/// Offset to which the length of the IP header is added.
const TCP_LENGTH_AT: u32 = ETHERNET_BYTES + 12;

/// A frame longer than this is kept without payload. If one byte of payload is kept, the kernel
/// counts all of its 64 KB against the buffer of the socket.
const LONG_BYTES: u32 = 2048;

/// Accepts TCP on the loopback device, and UDP over IPv4 to `mark_port`: `snap_bytes` of each
/// frame, or all headers of a long one.
pub(super) fn filter(mark_port: u16, snap_bytes: u32) -> Vec<SockFilter> {
    let line = |code: u32, k: u32| SockFilter::new(code as u16, 0, 0, k);
    // A jump in line `at`, to one of two lines.
    let jump = |at: u8, test: u32, k: u32, yes: u8, no: u8| {
        SockFilter::new((BPF_JMP | test | BPF_K) as u16, yes - at - 1, no - at - 1, k)
    };
    let about = |what: i32| (SKF_AD_OFF + what) as u32;
    const DROP: u8 = 26;
    vec![
        /*  0 */ line(BPF_LD | BPF_W | BPF_ABS, about(SKF_AD_PKTTYPE)),
        /*  1 */ jump(1, BPF_JEQ, TO_US, 2, DROP),
        /*  2 */ line(BPF_LD | BPF_W | BPF_ABS, about(SKF_AD_IFINDEX)),
        /*  3 */ jump(3, BPF_JEQ, LOOPBACK, 4, DROP),
        /*  4 */ line(BPF_LD | BPF_H | BPF_ABS, ETHER_TYPE_AT),
        /*  5 */ jump(5, BPF_JEQ, libc::ETH_P_IPV6 as u32, 6, 10),
        // IPv6: X becomes the length of its header.
        /*  6 */
        line(BPF_LD | BPF_B | BPF_ABS, IPV6_NEXT_HEADER_AT),
        /*  7 */ jump(7, BPF_JEQ, TCP, 8, DROP),
        /*  8 */ line(BPF_LDX | BPF_IMM, IPV6_BYTES),
        /*  9 */ line(BPF_JMP | BPF_JA, 17 - 9 - 1),
        // IPv4: the same, or a mark, behind a header without options.
        /* 10 */
        jump(10, BPF_JEQ, libc::ETH_P_IP as u32, 11, DROP),
        /* 11 */ line(BPF_LD | BPF_B | BPF_ABS, IPV4_PROTOCOL_AT),
        /* 12 */ jump(12, BPF_JEQ, TCP, 16, 13),
        /* 13 */ jump(13, BPF_JEQ, UDP, 14, DROP),
        /* 14 */ line(BPF_LD | BPF_H | BPF_ABS, UDP_TARGET_PORT_AT),
        /* 15 */ jump(15, BPF_JEQ, u32::from(mark_port), 25, DROP),
        /* 16 */ line(BPF_LDX | BPF_B | BPF_MSH, IP_AT),
        // TCP: a short one, or A becomes the length of all headers.
        /* 17 */
        line(BPF_LD | BPF_W | BPF_LEN, 0),
        /* 18 */ jump(18, BPF_JGT, LONG_BYTES, 19, 25),
        /* 19 */
        line(BPF_LD | BPF_B | BPF_IND, TCP_LENGTH_AT), // in its upper half, in words
        /* 20 */ line(BPF_ALU | BPF_RSH | BPF_K, 2),
        /* 21 */ line(BPF_ALU | BPF_AND | BPF_K, 0x3c),
        /* 22 */ line(BPF_ALU | BPF_ADD | BPF_X, 0),
        /* 23 */ line(BPF_ALU | BPF_ADD | BPF_K, ETHERNET_BYTES),
        /* 24 */ line(BPF_RET | BPF_A, 0),
        /* 25 */ line(BPF_RET | BPF_K, snap_bytes),
        /* 26 */ line(BPF_RET | BPF_K, 0),
    ]
}
