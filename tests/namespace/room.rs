//! Network namespaces and TUN devices. The only unsafe code of the tests.
//!
//! A namespace has no name here: it lives as long as a descriptor, a socket or a thread holds it.
//! So nothing is left over, even if the test is killed. Source: network_namespaces(7), setns(2),
//! and `Documentation/networking/tuntap.rst` of the kernel.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The namespace that the calling thread is in.
const HERE: &str = "/proc/thread-self/ns/net";

/// A network namespace of the test's own, with nothing in it but a loopback that is down.
pub struct Namespace(File);

impl Namespace {
    /// A fresh one. It needs CAP_SYS_ADMIN.
    pub fn new() -> io::Result<Namespace> {
        let here = File::open(HERE)?;
        // SAFETY: it takes no pointer; it changes what this thread's next sockets belong to, and
        // `Back` undoes that.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let _back = Back(here);
        File::open(HERE).map(Namespace)
    }

    /// Does something inside. A socket, device or process belongs to the namespace in which it was
    /// made, whichever thread uses it afterwards, so one thread can play both sides of a
    /// connection.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let _back = Back(File::open(HERE).expect("every thread is in a namespace"));
        enter(&self.0).expect("a namespace that is held can be entered");
        act()
    }
}

/// Takes the thread back to where it was, also when what it does there panics.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        enter(&self.0).expect("it was there before");
    }
}

fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: it takes no pointer, and the descriptor is open: the file is borrowed.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct ifreq` as TUNSETIFF reads it: a name, flags, and padding up to its 40 bytes.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    padding: [u8; 22],
}

/// A TUN device called `tun` in the namespace of the calling thread: what is routed to it is read
/// here, a packet at a time, and what is written here arrives from it. It does not block. It is
/// gone with its file.
pub fn tun() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags, padding: [0; 22] };
    request.name[..3].copy_from_slice(b"tun");
    // SAFETY: the request reads and writes one `struct ifreq` through the pointer; it is as long as
    // that, and plain bytes. The descriptor is open: the file is ours.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}

/// Waits until one of them can be read, or for so long.
pub fn wait_readable(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) {
    let poll =
        |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut polls: Vec<libc::pollfd> = descriptors.iter().map(poll).collect();
    // Rounded up: a wait that ends early would be repeated at once.
    let ms = timeout.map_or(-1, |it| it.as_micros().div_ceil(1000).try_into().unwrap_or(1000));
    // SAFETY: the pointer and the length are those of one vector, whose elements poll(2) reads and
    // writes. The descriptors are borrowed, so they are open.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, ms) };
}
