//! Source addresses and ports of a socket.
//!
//! Two options of Linux make the whole range of ports usable. A kernel that lacks one of them
//! returns ENOPROTOOPT, and the socket then works as it did before the option existed.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use socket2::Socket;

/// Every port. connect(2) takes what of this lies in net.ipv4.ip_local_port_range.
pub(crate) const ALL_PORTS: RangeInclusive<u16> = 1..=u16::MAX;

/// Binds a socket that will connect to the address `source`, and to no port.
///
/// A port that bind(2) takes is taken for all destinations. With IP_BIND_ADDRESS_NO_PORT (Linux
/// 4.2, ip(7)) connect(2) finds a port that is free for this pair of addresses, so each source has
/// the whole range for each destination. Elsewhere bind(2) takes a port.
///
/// # Errors
/// `source` is no address of this machine, or has no port left.
pub(crate) fn bind_source(socket: &Socket, source: SocketAddr) -> io::Result<()> {
    is_known(leave_port_to_connect(socket))?;
    socket.bind(&source.into())
}

/// Lets connect(2) choose from `ports` only, and from even and odd ones alike
/// (IP_LOCAL_PORT_RANGE, Linux 6.3, ip(7)). `false`: the system does not know this.
///
/// Without this option Linux searches the ports of one parity first, and then the others: a
/// connect beyond half of the range visits thousands of ports that are taken (`inet_hash_connect`).
pub(crate) fn limit_ports(socket: &Socket, ports: &RangeInclusive<u16>) -> io::Result<bool> {
    is_known(set_port_range(socket, ports))
}

/// Whether an option was set. `false`: the system does not have it.
fn is_known(set: io::Result<()>) -> io::Result<bool> {
    match set {
        Ok(()) => Ok(true),
        Err(error) if is_no_option(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_no_option(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOPROTOOPT)
}

#[cfg(not(unix))]
fn is_no_option(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

#[cfg(target_os = "linux")]
fn leave_port_to_connect(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsFd;
    super::calls::set_ip_option(socket.as_fd(), libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

#[cfg(target_os = "linux")]
fn set_port_range(socket: &Socket, ports: &RangeInclusive<u16>) -> io::Result<()> {
    use std::os::fd::AsFd;
    /// `include/uapi/linux/in.h`; libc does not have it. The upper half of the value is the last
    /// port, the lower half the first one.
    const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
    let value = u32::from(*ports.end()) << 16 | u32::from(*ports.start());
    super::calls::set_ip_option(socket.as_fd(), IP_LOCAL_PORT_RANGE, value)
}

#[cfg(not(target_os = "linux"))]
fn leave_port_to_connect(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn set_port_range(_socket: &Socket, _ports: &RangeInclusive<u16>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_system_lacks_is_no_error() {
        let error = |number| Err(io::Error::from_raw_os_error(number));
        assert!(is_known(Ok(())).unwrap());
        assert!(!is_known(error(libc::ENOPROTOOPT)).unwrap());
        let other = is_known(error(libc::EINVAL)).unwrap_err();
        assert_eq!(other.raw_os_error(), Some(libc::EINVAL));
    }
}
