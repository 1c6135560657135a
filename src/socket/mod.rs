//! Facts that the operating system reports about one socket. All `unsafe` code is in this folder.
//!
//! A fact that a system does not report is `None`, never a guess. Nothing here consumes evidence:
//! the pending error (SO_ERROR) is asked for elsewhere, and last.

#[cfg(target_vendor = "apple")]
mod apple;
#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
mod bsd;
#[cfg(unix)]
mod calls;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(any(
    target_os = "linux",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    windows
)))]
mod other;
pub(crate) mod source;
#[cfg(any(
    test,
    target_os = "linux",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    windows
))]
mod tcp_info;
#[cfg(all(test, target_os = "linux"))]
mod tests;
#[cfg(windows)]
pub(crate) mod windows;

#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(windows)]
use std::os::windows::io::AsSocket;

use socket2::SockRef;

#[cfg(target_vendor = "apple")]
use self::apple as system;
#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
use self::bsd as system;
#[cfg(target_os = "linux")]
use self::linux as system;
#[cfg(not(any(
    target_os = "linux",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    windows
)))]
use self::other as system;
#[cfg(windows)]
use self::windows as system;
use crate::machine::close::{Probe, SocketFacts};
use crate::machine::errno::{Errno, System};

/// A socket of the operating system, for internal use: the documentation of the library names
/// `AsFd` and `AsSocket`.
#[cfg(unix)]
pub(crate) trait Socket: AsFd {}
#[cfg(unix)]
impl<S: AsFd> Socket for S {}
#[cfg(windows)]
pub(crate) trait Socket: AsSocket {}
#[cfg(windows)]
impl<S: AsSocket> Socket for S {}

macro_rules! answers_for {
    ($borrowed:ident) => {
        /// What the operating system tells of a socket that is borrowed: of std, mio, tokio or
        /// socket2.
        impl<S: $borrowed> Probe for &S {
            fn system(&self) -> System {
                System::HERE
            }

            fn unacked(&mut self) -> Option<u32> {
                unacked(*self)
            }

            fn facts(&mut self) -> SocketFacts {
                facts(*self)
            }

            fn take_error(&mut self) -> Option<Errno> {
                take_error(*self)
            }
        }
    };
}

#[cfg(unix)]
answers_for!(AsFd);
#[cfg(windows)]
answers_for!(AsSocket);

#[cfg(unix)]
fn borrow(socket: &impl Socket) -> std::os::fd::BorrowedFd<'_> {
    socket.as_fd()
}

#[cfg(windows)]
fn borrow(socket: &impl Socket) -> std::os::windows::io::BorrowedSocket<'_> {
    socket.as_socket()
}

/// Takes the pending error (SO_ERROR, socket(7)), which the system reports only once.
pub(crate) fn take_error(socket: &impl Socket) -> Option<Errno> {
    let error = SockRef::from(socket).take_error().ok()??;
    error.raw_os_error().map(Errno)
}

/// The number of bytes that the peer's TCP has not acknowledged; our FIN counts as one: SIOCOUTQ on
/// Linux (tcp(7)), the send buffer and the state on macOS, FreeBSD and NetBSD. `None` elsewhere,
/// and on these three once the connection has ended.
pub(crate) fn unacked(socket: &impl Socket) -> Option<u32> {
    system::unacked(borrow(socket))
}

/// The number of bytes in the receive queue (FIONREAD, which is SIOCINQ in tcp(7)); a FIN does not
/// count. Windows is not asked: there it is what a single receive would give, and "normally" all.
#[cfg(unix)]
pub(crate) fn unread(socket: &impl Socket) -> Option<u32> {
    calls::unread(socket.as_fd())
}

#[cfg(not(unix))]
pub(crate) fn unread(_socket: &impl Socket) -> Option<u32> {
    None
}

/// Whether the peer's FIN has arrived, read or not (POLLRDHUP, poll(2)); false if the system does
/// not report it.
#[cfg(target_os = "linux")]
pub(crate) fn is_read_closed(socket: &impl Socket) -> bool {
    calls::is_read_closed(socket.as_fd())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_read_closed(_socket: &impl Socket) -> bool {
    false
}

/// Other facts about a socket: the state of TCP and its counters, and the number of unread bytes.
pub(crate) fn facts(socket: &impl Socket) -> SocketFacts {
    // In this order: bytes that arrive in between count as unread, and not as a FIN. In the
    // opposite order they would be taken for a FIN.
    let tcp = system::tcp(borrow(socket));
    SocketFacts { unread: unread(socket), tcp }
}

/// Whether a connection waits at this listener to be accepted (poll(2)); `true` on systems that are
/// not asked.
#[cfg(unix)]
pub(crate) fn has_newcomer(listener: &impl Socket) -> bool {
    calls::has_input(listener.as_fd())
}

#[cfg(not(unix))]
pub(crate) fn has_newcomer(_listener: &impl Socket) -> bool {
    true
}

/// Makes room for this many `sockets` in the table of descriptors, and for what else a process has
/// open; `like` is any socket.
///
/// Linux doubles its table when it is full. If threads share the table, the thread that opens the
/// next descriptor then waits until no processor uses the old one any more (`synchronize_rcu`,
/// `fs/file.c`): an accept takes 5 to 20 ms at the 256th descriptor, at the 512th, and so on, and
/// every connection waits with it. The kernel may refuse: then the table grows when needed.
#[cfg(target_os = "linux")]
pub(crate) fn reserve_descriptors(like: &impl Socket, sockets: usize) {
    /// Standard streams, listeners, outputs, and some files of an embedding program.
    const OTHERS: usize = 64;
    /// The table takes 8 bytes of the kernel's memory for each: 2 MiB.
    const RESERVED_MAX: usize = 1 << 18;
    calls::reserve_descriptors(like.as_fd(), sockets.saturating_add(OTHERS).min(RESERVED_MAX));
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reserve_descriptors(_like: &impl Socket, _sockets: usize) {}

/// Returns memory that is free in this process to the system, if that must be requested. A separate
/// thread does it, because it takes a tenth of a second for half a gigabyte; if there can be no
/// thread, the memory stays.
pub(crate) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let thread = std::thread::Builder::new().name("trim".to_owned());
        let _ = thread.spawn(calls::give_back_memory);
    }
}
