//! The facts about the kernel on which the classifier relies, each shown on a real socket. If a
//! future kernel differs, these tests fail first. docs/CLOSING.md explains them.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use closecall::kernel::mio_kernel::MioKernel;
use closecall::kernel::{Event, Io, Kernel};
use closecall::machine::connection::{Goodbye, Hints};
use closecall::machine::errno::Errno;
use socket2::SockRef;

const REQUEST: &[u8] = b"Hi,here is glp";
const REPLY: &[u8] = b"from server back[rust]:Hi,here is glp";

/// No fact takes this long to show.
const PATIENCE_MS: u64 = 20_000;

/// One connection: the server's end in the hands of the kernel that the server uses, and a client.
struct Pair {
    kernel: MioKernel,
    socket: mio::net::TcpStream,
    peer: SocketAddr,
}

impl Pair {
    fn connected() -> (Pair, TcpStream) {
        Pair::accepted_after(|client| client)
    }

    /// A connection whose client did `first` before it was accepted.
    fn accepted_after<T>(first: impl FnOnce(TcpStream) -> T) -> (Pair, T) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = first(TcpStream::connect(address).unwrap());
        let mut kernel = MioKernel::new(vec![listener]).unwrap();
        let Io::Done((mut socket, peer)) = kernel.accept(0) else {
            panic!("no connection to accept")
        };
        kernel.register(&mut socket, 0).unwrap();
        (Pair { kernel, socket, peer }, client)
    }

    /// Waits until an event reports it.
    fn until(&mut self, says: impl Fn(Hints) -> bool) {
        loop {
            let mut events = Vec::new();
            self.kernel.wait(Some(PATIENCE_MS), &mut events).unwrap();
            assert!(!events.is_empty(), "nothing happened for {PATIENCE_MS} ms");
            if events.iter().any(|it| matches!(it, Event::Socket(_, hints) if says(*hints))) {
                return;
            }
        }
    }

    /// Waits until the peer's reset has arrived.
    fn until_reset(&mut self) {
        self.until(|hints| hints.error);
    }

    fn recv(&mut self) -> Io<usize> {
        self.kernel.recv(&mut self.socket, &mut [0; 100])
    }

    fn send(&mut self) -> Io<usize> {
        self.kernel.send(&mut self.socket, REPLY)
    }

    fn so_error(&mut self) -> Option<i32> {
        self.kernel.take_error(&mut self.socket).map(|errno| errno.0)
    }

    fn unacked(&mut self) -> u32 {
        self.kernel.unacked(&mut self.socket).expect("SIOCOUTQ")
    }

    /// What TCP_INFO has received beyond what was read and what can be read.
    fn received_beyond(&mut self, read: u64) -> u64 {
        let facts = self.kernel.facts(&mut self.socket);
        let received = facts.tcp.and_then(|tcp| tcp.bytes_received).expect("TCP_INFO");
        received - read - u64::from(facts.unread.expect("SIOCINQ"))
    }
}

const fn failed<T>(errno: i32) -> Io<T> {
    Io::Failed(Errno(errno))
}

fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

/// `SHORT_READ_DRAINS` is about mio's back end, and not about the operating system: with poll(2),
/// which `tests/cross.sh poll` puts below mio, the second request would bring no event.
#[test]
fn a_short_read_drains_where_the_kernel_says_so_and_would_block_does_everywhere() {
    let (mut pair, mut client) = Pair::connected();
    for _ in 0..3 {
        client.write_all(REQUEST).unwrap();
        pair.until(|_| true);
        assert_eq!(pair.recv(), Io::Done(REQUEST.len()));
        if !MioKernel::SHORT_READ_DRAINS {
            assert_eq!(pair.recv(), Io::WouldBlock);
        }
    }
}

/// A program that embeds the server passes its own listeners, which block by default.
#[test]
fn a_listener_that_blocks_does_not_block_the_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut kernel = MioKernel::new(vec![listener]).unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(matches!(kernel.accept(0), Io::WouldBlock)));
    assert_eq!(told.recv_timeout(Duration::from_millis(PATIENCE_MS)), Ok(true));
}

#[test]
fn an_error_is_handed_out_once() {
    let (mut pair, client) = Pair::connected();
    reset(client);
    pair.until_reset();
    assert_eq!(pair.recv(), failed(libc::ECONNRESET));
    assert_eq!(pair.recv(), Io::Done(0), "a reset that was told reads as an orderly end");
    assert_eq!(pair.send(), failed(libc::EPIPE));
    assert_eq!(pair.so_error(), None);
}

#[test]
fn so_error_before_recv_turns_a_reset_into_an_end_of_file() {
    let (mut pair, client) = Pair::connected();
    reset(client);
    pair.until_reset();
    assert_eq!(pair.so_error(), Some(libc::ECONNRESET));
    assert_eq!(pair.recv(), Io::Done(0));
}

#[test]
fn a_send_takes_the_error_from_recv() {
    let (mut pair, client) = Pair::connected();
    reset(client);
    pair.until_reset();
    assert_eq!(pair.send(), failed(libc::ECONNRESET));
    assert_eq!(pair.recv(), Io::Done(0));
}

#[test]
fn what_came_before_a_reset_can_be_read() {
    let (mut pair, mut client) = Pair::connected();
    client.write_all(REQUEST).unwrap();
    reset(client);
    pair.until_reset();
    assert_eq!(pair.recv(), Io::Done(REQUEST.len()));
    assert_eq!(pair.recv(), failed(libc::ECONNRESET));
}

#[test]
fn behind_a_fin_recv_never_reports_a_reset() {
    let (mut pair, mut client) = Pair::connected();
    client.write_all(REQUEST).unwrap();
    drop(client);
    pair.until(|hints| hints.read_closed);
    assert_eq!(pair.recv(), Io::Done(REQUEST.len()));
    assert_eq!(pair.send(), Io::Done(REPLY.len()), "taken, and refused by the peer");
    pair.until_reset();
    assert_eq!(pair.recv(), Io::Done(0));
    assert_eq!(pair.recv(), Io::Done(0));
    assert_eq!(pair.so_error(), Some(libc::EPIPE), "but SO_ERROR does");
}

#[test]
fn what_a_reset_left_unacknowledged_can_be_counted() {
    let (mut pair, mut client) = Pair::connected();
    client.write_all(REQUEST).unwrap();
    drop(client);
    pair.until(|hints| hints.read_closed);
    pair.send();
    pair.until_reset();
    assert_eq!(pair.unacked(), REPLY.len() as u32);
}

#[test]
fn a_fin_counts_as_one_byte_received_and_a_reset_does_not() {
    let (mut pair, mut client) = Pair::connected();
    client.write_all(REQUEST).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    pair.until(|hints| hints.read_closed);
    assert_eq!(pair.received_beyond(0), 1);
    assert_eq!(pair.recv(), Io::Done(REQUEST.len()));
    assert_eq!(pair.received_beyond(REQUEST.len() as u64), 1, "before recv has said 0");
    reset(client);
    pair.until_reset();
    assert_eq!(pair.received_beyond(REQUEST.len() as u64), 1, "behind a reset as well");

    let (mut pair, client) = Pair::connected();
    reset(client);
    pair.until_reset();
    assert_eq!(pair.received_beyond(0), 0);
}

#[test]
fn shutdown_fails_where_a_reset_has_landed() {
    let (mut pair, client) = Pair::connected();
    reset(client);
    pair.until_reset();
    assert_eq!(pair.kernel.shutdown_write(&mut pair.socket), Err(Errno(libc::ENOTCONN)));
}

#[test]
fn one_that_was_reset_in_the_backlog_is_accepted_with_its_address() {
    let (mut pair, address) = Pair::accepted_after(|client| {
        let address = client.local_addr().unwrap();
        reset(client);
        address
    });
    assert_eq!(pair.peer, address);
    assert_eq!(pair.socket.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(pair.recv(), failed(libc::ECONNRESET));
}

#[test]
fn a_close_with_unread_input_resets_a_peer_that_has_its_reply() {
    let (mut pair, mut client) = Pair::connected();
    assert_eq!(pair.send(), Io::Done(REPLY.len()));
    let mut reply = [0; REPLY.len()];
    client.read_exact(&mut reply).unwrap();
    client.write_all(REQUEST).unwrap();
    pair.until(|_| true); // nothing but input can have made an event
    pair.kernel.close(pair.socket, Goodbye::Plain);
    assert_eq!(client.read(&mut reply).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reader_closes_with_a_fin_and_one_that_leaves_something_with_a_reset() {
    for reads in [REPLY.len(), REPLY.len() - 1, 0] {
        let (mut pair, mut client) = Pair::connected();
        pair.send();
        client.peek(&mut [0]).unwrap(); // it has arrived, or the close would be a race
        client.read_exact(&mut vec![0; reads]).unwrap();
        drop(client);
        pair.until(|hints| hints.read_closed);
        let end = if reads == REPLY.len() { Io::Done(0) } else { failed(libc::ECONNRESET) };
        assert_eq!(pair.recv(), end, "{reads} bytes read");
    }
}
