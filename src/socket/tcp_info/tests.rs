//! Answers as bytes, and what is read from them.

use super::*;

/// An answer of `length` bytes with these at their places, and something else everywhere else.
fn answer(length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut answer = vec![0xa5; length];
    for (at, bytes) in fields {
        answer[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    answer
}

#[test]
fn linux_fills_what_it_knows_and_the_rest_is_unknown() {
    // Offsets by hand, from include/uapi/linux/tcp.h.
    let whole = answer(
        136,
        &[
            (0, &[7]),
            (2, &[3, 4]),
            (56, &60_001_u32.to_ne_bytes()),
            (128, &5_000_000_015_u64.to_ne_bytes()),
        ],
    );
    let facts = TcpFacts {
        closed: true,
        bytes_received: Some(5_000_000_015),
        retransmits: Some(3),
        probes: Some(4),
        last_ack_ms: Some(60_001),
    };
    assert_eq!(linux::LENGTH, 136);
    assert_eq!(linux::facts(&whole), Some(facts));
    assert_eq!(linux::facts(&whole[..135]), Some(TcpFacts { bytes_received: None, ..facts }));
    let short = TcpFacts { bytes_received: None, last_ack_ms: None, ..facts };
    assert_eq!(linux::facts(&whole[..59]), Some(short));
    let first = TcpFacts { closed: true, ..TcpFacts::default() };
    assert_eq!(linux::facts(&whole[..1]), Some(first));
    assert_eq!(linux::facts(&[]), None);
    for state in (1..=12).filter(|&state| state != 7) {
        assert!(!linux::facts(&[state]).unwrap().closed, "{state}");
    }
}

#[test]
fn bsd_tells_the_state_and_nothing_that_it_does_not_fill() {
    for state in 0..=10 {
        let told = bsd::facts(&answer(236, &[(0, &[state])]));
        assert_eq!(told, Some(TcpFacts { closed: state == 0, ..TcpFacts::default() }), "{state}");
    }
    assert_eq!(bsd::facts(&[]), None);
}

#[test]
fn the_state_says_whether_our_fin_is_among_the_unacknowledged() {
    // netinet/tcp_fsm.h: CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT,
    // FIN_WAIT_1, CLOSING, LAST_ACK, FIN_WAIT_2, TIME_WAIT.
    let none = [None; 4];
    let some = [37, 37, 38, 38, 38, 0, 0].map(Some);
    for (state, unacked) in (0..).zip(none.into_iter().chain(some)) {
        assert_eq!(bsd::unacked(&[state], 37), unacked, "{state}");
    }
    assert_eq!(bsd::unacked(&[11], 37), None);
    assert_eq!(bsd::unacked(&[], 37), None);
    assert_eq!(bsd::unacked(&[6], u32::MAX), Some(u32::MAX));
}

#[test]
fn apple_tells_of_the_send_buffer_and_of_calm() {
    let told = |state: u8, flags: u32, queued: u32| {
        answer(36, &[(0, &[state]), (8, &flags.to_ne_bytes()), (32, &queued.to_ne_bytes())])
    };
    assert_eq!(apple::LENGTH, 36);
    let calm = TcpFacts { retransmits: Some(0), ..TcpFacts::default() };
    assert_eq!(apple::facts(&told(4, 0, 37)), Some(calm));
    assert_eq!(apple::facts(&told(4, 2, 37)), Some(calm)); // reordering is none
    assert_eq!(apple::facts(&told(4, 1, 37)), Some(TcpFacts::default()));
    assert_eq!(apple::facts(&told(0, 0, 0)), Some(TcpFacts { closed: true, ..calm }));
    assert_eq!(apple::unacked(&told(4, 0, 37)), Some(37));
    assert_eq!(apple::unacked(&told(8, 1, 0)), Some(1));
    assert_eq!(apple::unacked(&told(0, 0, 0)), None); // the buffer was emptied
    assert_eq!(apple::unacked(&told(4, 0, 37)[..35]), None);
    assert_eq!(apple::facts(&told(4, 0, 37)[..11]), None);
}

#[test]
fn windows_tells_the_state() {
    for state in 0..=10_u32 {
        let told = windows::facts(&answer(windows::LENGTH, &[(0, &state.to_ne_bytes())]));
        assert_eq!(told, Some(TcpFacts { closed: state == 0, ..TcpFacts::default() }), "{state}");
    }
    assert_eq!(windows::facts(&[0; 3]), None);
}

/// The parser meets the kernel that runs this test.
#[cfg(target_os = "linux")]
#[test]
fn this_kernel_tells_all_of_it() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"fourteen bytes").unwrap();
    server.read_exact(&mut [0; 14]).unwrap();
    let told = crate::socket::linux::tcp(server.as_fd()).unwrap();
    assert!(!told.closed && told.last_ack_ms.is_some());
    assert_eq!((told.bytes_received, told.retransmits, told.probes), (Some(14), Some(0), Some(0)));
    drop(client); // its FIN counts as one
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    let told = crate::socket::linux::tcp(server.as_fd()).unwrap();
    assert_eq!(told.bytes_received, Some(15));
}
