//! Every function of this module on real descriptors in every state, and on descriptors that are no
//! TCP socket. `tests/sanitize/run` runs these tests under sanitizers.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{Domain, SockRef, Type};

use super::*;
use crate::machine::close::TcpFacts;

const LOCAL: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Our side and the peer's, over IPv4 and, where the system has it, over IPv6.
fn pairs() -> Vec<(TcpStream, TcpStream)> {
    let listeners = LOCAL.iter().filter_map(|address| TcpListener::bind(address).ok());
    let pairs = listeners.map(|listener| {
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, peer)
    });
    let pairs: Vec<_> = pairs.collect();
    assert!(!pairs.is_empty());
    pairs
}

/// What is known without TCP_INFO: unacknowledged, unread, whether the peer's FIN is here.
fn queues(socket: &impl AsFd) -> (Option<u32>, Option<u32>, bool) {
    (unacked(socket), unread(socket), is_read_closed(socket))
}

fn tcp(socket: &impl AsFd) -> TcpFacts {
    let facts = facts(socket);
    assert_eq!(facts.unread, unread(socket));
    facts.tcp.unwrap()
}

/// Waits until the other side has something for us, without taking it.
fn waits_for_input(socket: &TcpStream) {
    socket.peek(&mut [0]).unwrap();
}

fn resets(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_connection_tells_what_is_unread_and_then_its_fin() {
    for (mut ours, mut peer) in pairs() {
        assert_eq!(queues(&ours), (Some(0), Some(0), false));
        assert!(!has_newcomer(&ours));
        peer.write_all(b"bytes").unwrap();
        waits_for_input(&ours);
        assert_eq!(queues(&ours), (Some(0), Some(5), false));
        assert!(has_newcomer(&ours));
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.read(&mut [0; 5]).unwrap(), 5);
        assert_eq!(ours.read(&mut [0; 5]).unwrap(), 0);
        assert_eq!(queues(&ours), (Some(0), Some(0), true));
        let told = tcp(&ours);
        assert_eq!((told.closed, told.bytes_received), (false, Some(6)));
        assert_eq!(take_error(&ours), None);
    }
}

#[test]
fn what_the_peer_has_no_room_for_is_unacknowledged_and_our_fin_as_well() {
    for (mut ours, peer) in pairs() {
        ours.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(bytes) = ours.write(&[7; 1 << 16]) {
            sent += bytes as u32;
        }
        let first = unacked(&ours).unwrap();
        assert!(0 < first && first <= sent, "{first} of {sent}");
        ours.shutdown(Shutdown::Write).unwrap();
        // The peer's TCP may have acknowledged some in between; its program reads nothing.
        assert!(unacked(&ours).unwrap() <= first + 1);
        assert!(unacked(&ours).unwrap() > 0);
        assert!(!tcp(&ours).closed);
        assert!(unread(&peer).unwrap() > 0);
    }
}

#[test]
fn a_reset_leaves_the_state_closed_and_one_error() {
    for (ours, peer) in pairs() {
        resets(peer);
        waits_for_the_error(&ours);
        assert!(tcp(&ours).closed);
        assert_eq!(queues(&ours), (Some(0), Some(0), true));
        assert_eq!(take_error(&ours), Some(Errno(libc::ECONNRESET)));
        assert_eq!(take_error(&ours), None);
        assert!(tcp(&ours).closed);
    }
}

/// Waits until poll(2) reports anything; the pending error is not taken.
fn waits_for_the_error(socket: &TcpStream) {
    while !has_newcomer(socket) {
        std::thread::yield_now();
    }
}

#[test]
fn a_listener_and_a_socket_that_never_connected_have_no_queues() {
    for listener in LOCAL.iter().filter_map(|address| TcpListener::bind(address).ok()) {
        assert_eq!(queues(&listener), (None, None, false));
        assert!(!tcp(&listener).closed);
        assert!(!has_newcomer(&listener));
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(has_newcomer(&listener));
        drop(client);
        assert_eq!(take_error(&listener), None);
    }
    let idle = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    assert_eq!(queues(&idle), (Some(0), Some(0), false));
    assert!(tcp(&idle).closed);
}

/// Each function answers `None` where the descriptor has no such queue.
#[test]
fn what_is_no_tcp_socket_has_no_facts_of_tcp() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (unix, other) = UnixStream::pair().unwrap();
    (&other).write_all(b"four").unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a piped").unwrap();
    let program = File::open("/proc/self/exe").unwrap();
    let length = u32::try_from(program.metadata().unwrap().len()).unwrap();
    // EBADF is the answer for this one, as for a descriptor that is not open (open(2), O_PATH).
    let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/").unwrap();
    let expected = [
        (udp.as_fd(), Some(0), Some(0)),
        (unix.as_fd(), Some(0), Some(4)),
        (reader.as_fd(), None, Some(7)),
        (program.as_fd(), None, Some(length)),
        (path.as_fd(), None, None),
    ];
    for (descriptor, unacked, unread) in expected {
        assert_eq!(facts(&descriptor), SocketFacts { unread, tcp: None }, "{descriptor:?}");
        assert_eq!(queues(&descriptor), (unacked, unread, false), "{descriptor:?}");
        assert_eq!(take_error(&descriptor), None);
    }
    assert!(has_newcomer(&path), "poll(2) cannot tell, so there may be one");
    assert!(!has_newcomer(&udp));
}

#[test]
fn a_source_is_bound_and_keeps_to_its_ports() {
    for address in LOCAL {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let there = listener.local_addr().unwrap();
        let socket = socket2::Socket::new(Domain::for_address(there), Type::STREAM, None).unwrap();
        source::bind_source(&socket, SocketAddr::new(there.ip(), 0)).unwrap();
        let known = source::limit_ports(&socket, &source::ALL_PORTS).unwrap();
        socket.connect(&there.into()).unwrap();
        assert_ne!(socket.local_addr().unwrap().as_socket().unwrap().port(), 0);
        let reversed = source::limit_ports(&socket, &(there.port()..=1));
        assert_eq!(reversed.is_err(), known, "{reversed:?}"); // EINVAL, where it is looked at
    }
    let unix = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let refused = source::limit_ports(&unix, &source::ALL_PORTS).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EOPNOTSUPP));
}

/// How many descriptors the kernel's table has room for now.
fn table_length() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn the_table_of_descriptors_grows_once_and_none_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = open_files_max();
    for sockets in [0, 1, 1000, usize::MAX] {
        reserve_descriptors(&listener, sockets);
        let wanted = (sockets as u64).saturating_add(64).min(1 << 18).min(limit);
        assert!(table_length() >= wanted, "{sockets}: {} of {wanted}", table_length());
        let last = format!("/proc/self/fd/{}", wanted - 1);
        assert!(std::fs::symlink_metadata(&last).is_err(), "{last} is open");
    }
    calls::reserve_descriptors(listener.as_fd(), 0);
}

/// The soft limit of open files.
fn open_files_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(u64::MAX)
}

/// Memory in use keeps its content.
#[cfg(target_env = "gnu")]
#[test]
fn memory_that_is_given_back_was_free() {
    let kept: Vec<Vec<u8>> = (0..64).map(|byte| vec![byte; 1 << 14]).collect();
    drop(vec![1_u8; 1 << 22]);
    calls::give_back_memory();
    give_back_memory();
    for (byte, piece) in (0..).zip(&kept) {
        assert!(piece.iter().all(|it| *it == byte));
    }
}

/// The answer of getsockopt(2) ends where the room for it ends, at every length.
#[test]
fn the_kernel_fills_the_room_and_no_more() {
    for (ours, _peer) in pairs() {
        let whole = option(ours.as_fd(), 512);
        assert!(whole >= tcp_info::linux::LENGTH, "{whole}");
        for room in 0..=512 {
            assert_eq!(option(ours.as_fd(), room), room.min(whole));
        }
    }
}

/// How many of `room` bytes TCP_INFO fills. They are an allocation of their own, so that a
/// sanitizer sees a write beyond them.
fn option(socket: BorrowedFd<'_>, room: usize) -> usize {
    let mut answer = vec![0xa5; room].into_boxed_slice();
    calls::tcp_option(socket, libc::TCP_INFO, &mut answer).unwrap()
}
