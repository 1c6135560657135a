//! System calls that neither mio nor socket2 has, on Unix: questions about the queues of a socket,
//! room in the table of descriptors, and memory that is returned to the system.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(any(target_os = "linux", target_os = "android"))]
type Request = libc::Ioctl;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "illumos")))]
type Request = libc::c_ulong;
#[cfg(target_os = "illumos")]
type Request = libc::c_int;

/// Bytes in the receive queue that have not been read. SIOCINQ is FIONREAD under another name, see
/// tcp(7).
pub(super) fn unread(socket: BorrowedFd<'_>) -> Option<u32> {
    queued_bytes(socket, libc::FIONREAD as Request)
}

/// The length of one of the queues, from ioctl(2).
pub(super) fn queued_bytes(socket: BorrowedFd<'_>, request: Request) -> Option<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the requests that are made here write one int through the pointer, which is valid for
    // it. The descriptor is borrowed, so it is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    if result == 0 { u32::try_from(bytes).ok() } else { None }
}

/// An option of TCP from getsockopt(2): returns how many bytes of `answer` the system filled.
///
/// # Errors
/// The system does not know this option, or the connection has ended and nothing is left of it.
#[cfg(any(
    target_os = "linux",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd"
))]
pub(super) fn tcp_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    answer: &mut [u8],
) -> std::io::Result<usize> {
    let mut length = answer.len() as libc::socklen_t;
    // SAFETY: the system writes at most `length` bytes through the pointer, which is valid for as
    // many, and the length through the other. The descriptor is borrowed, so it is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            answer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok((length as usize).min(answer.len())),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The meaning of an error of getsockopt(2) at the level of TCP: on the BSDs and macOS it is
/// ECONNRESET once the connection is dropped or in TIME_WAIT, however it ended (`tcp_ctloutput`).
/// It is not the pending error, and does not consume it.
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd"))]
pub(super) fn facts_of_error(error: &std::io::Error) -> Option<crate::machine::close::TcpFacts> {
    use crate::machine::close::TcpFacts;
    let is_gone = error.raw_os_error() == Some(libc::ECONNRESET);
    is_gone.then(|| TcpFacts { closed: true, ..TcpFacts::default() })
}

/// Whether poll(2) reports input: at a listener, a connection to accept. `true` if it fails.
pub(super) fn has_input(socket: BorrowedFd<'_>) -> bool {
    polled(socket, libc::POLLIN) != Some(0)
}

/// Whether poll(2) reports that the peer has shut down its side.
#[cfg(target_os = "linux")]
pub(super) fn is_read_closed(socket: BorrowedFd<'_>) -> bool {
    polled(socket, libc::POLLRDHUP).is_some_and(|events| events & libc::POLLRDHUP != 0)
}

/// Which of these events there are now, POLLERR and POLLHUP in any case; `None` where poll(2)
/// fails.
fn polled(socket: BorrowedFd<'_>, events: libc::c_short) -> Option<libc::c_short> {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    // SAFETY: the pointer is to one pollfd, and the count says so. The descriptor is borrowed, so
    // it is open. With a timeout of 0 nothing blocks.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    (ready >= 0).then_some(asked.revents)
}

/// Makes the kernel's table of descriptors long enough for `count` of them: it grows with the
/// highest number in use and never shrinks (`fs/file.c`). If the limit of open files is lower, the
/// table is made that long.
#[cfg(target_os = "linux")]
pub(super) fn reserve_descriptors(like: BorrowedFd<'_>, count: usize) {
    use std::os::fd::{FromRawFd, OwnedFd};

    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to one rlimit, valid for writes.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    let count = u64::try_from(count).unwrap_or(u64::MAX).min(limit.rlim_cur);
    let Ok(last) = libc::c_int::try_from(count.saturating_sub(1)) else { return };
    // SAFETY: F_DUPFD_CLOEXEC takes an int and touches no memory of ours. `like` is open.
    let copy = unsafe { libc::fcntl(like.as_raw_fd(), libc::F_DUPFD_CLOEXEC, last) };
    if copy >= 0 {
        // SAFETY: the copy is open, and nothing else has it.
        drop(unsafe { OwnedFd::from_raw_fd(copy) });
    }
}

/// Sets an option of one int at the level of IP (ip(7)); it is at this level for IPv6 sockets, too.
///
/// # Errors
/// The kernel's error: ENOPROTOOPT for an option that it does not have.
#[cfg(target_os = "linux")]
pub(super) fn set_ip_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    value: u32,
) -> std::io::Result<()> {
    // SAFETY: the kernel reads one int through the pointer, which is valid for it and as long as is
    // said. The descriptor is borrowed, so it is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Returns memory that is free in this process to the system, if the C library is glibc: it keeps
/// free memory until malloc_trim(3) is called. Other allocators do so by themselves, or cannot be
/// asked.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn give_back_memory() {
    // SAFETY: it takes a number and works on the allocator's own state, under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
