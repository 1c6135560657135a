//! The tables: number, name and meaning of each error, system by system.

use super::{Meaning, Row};

// ---- Linux --------------------------------------------------------------------------------------

/// An error of Linux: its name, its meaning, and its number in `asm-generic`, on MIPS and on SPARC.
type LinuxRow = (&'static str, Meaning, [i32; 3]);

const LINUX_ROWS: [LinuxRow; 33] = [
    ("ECONNRESET", Meaning::Reset, [104, 131, 54]),
    ("EPIPE", Meaning::Reset, [32, 32, 32]),
    ("ETIMEDOUT", Meaning::TimedOut, [110, 145, 60]),
    ("EHOSTUNREACH", Meaning::Unreachable, [113, 148, 65]),
    ("ENETUNREACH", Meaning::Unreachable, [101, 128, 51]),
    ("ECONNREFUSED", Meaning::Unreachable, [111, 146, 61]),
    ("EHOSTDOWN", Meaning::Unreachable, [112, 147, 64]),
    ("ENONET", Meaning::Unreachable, [64, 64, 80]),
    ("ENOPROTOOPT", Meaning::Unreachable, [92, 99, 42]),
    ("EOPNOTSUPP", Meaning::Unreachable, [95, 122, 45]), // ICMP: source route failed
    ("EPROTO", Meaning::Unreachable, [71, 71, 86]),      // ICMP: parameter problem
    ("ENETDOWN", Meaning::NetworkDown, [100, 127, 50]),
    ("ECONNABORTED", Meaning::Killed, [103, 130, 53]),
    ("EMFILE", Meaning::NoFiles, [24, 24, 24]),
    ("ENFILE", Meaning::NoFiles, [23, 23, 23]),
    ("ENOBUFS", Meaning::NoMemory, [105, 132, 55]),
    ("ENOMEM", Meaning::NoMemory, [12, 12, 12]),
    ("ENOSPC", Meaning::NoMemory, [28, 28, 28]),
    ("ENOTCONN", Meaning::NotConnected, [107, 134, 57]),
    ("ESHUTDOWN", Meaning::NotConnected, [108, 143, 58]),
    ("EPERM", Meaning::Other, [1, 1, 1]),
    ("EINTR", Meaning::Other, [4, 4, 4]),
    ("EIO", Meaning::Other, [5, 5, 5]),
    ("EBADF", Meaning::Other, [9, 9, 9]),
    ("EAGAIN", Meaning::Other, [11, 11, 11]),
    ("EACCES", Meaning::Unreachable, [13, 13, 13]), // ICMPv6: administratively prohibited
    ("EFAULT", Meaning::Other, [14, 14, 14]),
    ("EEXIST", Meaning::Other, [17, 17, 17]),
    ("EINVAL", Meaning::Other, [22, 22, 22]),
    ("ENOTSOCK", Meaning::Other, [88, 95, 38]),
    ("EMSGSIZE", Meaning::Other, [90, 97, 40]),
    ("EADDRINUSE", Meaning::Other, [98, 125, 48]),
    ("EADDRNOTAVAIL", Meaning::Other, [99, 126, 49]),
];

/// The rows with the numbers of one architecture.
const fn numbered(column: usize) -> [Row; LINUX_ROWS.len()] {
    let mut rows = [(0, "", Meaning::Other); LINUX_ROWS.len()];
    let mut index = 0;
    while index < rows.len() {
        let (name, meaning, numbers) = LINUX_ROWS[index];
        rows[index] = (numbers[column], name, meaning);
        index += 1;
    }
    rows
}

pub(super) const LINUX: [Row; LINUX_ROWS.len()] = numbered(0);
pub(super) const LINUX_MIPS: [Row; LINUX_ROWS.len()] = numbered(1);
pub(super) const LINUX_SPARC: [Row; LINUX_ROWS.len()] = numbered(2);

// ---- macOS and the BSDs -------------------------------------------------------------------------

/// What these systems inherited from 4.4BSD and share, after the rows of one of them.
macro_rules! bsd {
    ($($own:expr),*) => {
        &[
            $($own,)*
            (54, "ECONNRESET", Meaning::Reset),
            (32, "EPIPE", Meaning::Reset),
            (60, "ETIMEDOUT", Meaning::TimedOut),
            (65, "EHOSTUNREACH", Meaning::Unreachable),
            (51, "ENETUNREACH", Meaning::Unreachable),
            (61, "ECONNREFUSED", Meaning::Unreachable),
            (64, "EHOSTDOWN", Meaning::Unreachable),
            (50, "ENETDOWN", Meaning::NetworkDown),
            (53, "ECONNABORTED", Meaning::Killed),
            (24, "EMFILE", Meaning::NoFiles),
            (23, "ENFILE", Meaning::NoFiles),
            (55, "ENOBUFS", Meaning::NoMemory),
            (12, "ENOMEM", Meaning::NoMemory),
            (57, "ENOTCONN", Meaning::NotConnected),
            (58, "ESHUTDOWN", Meaning::NotConnected),
            (1, "EPERM", Meaning::Other),
            (4, "EINTR", Meaning::Other),
            (9, "EBADF", Meaning::Other),
            (13, "EACCES", Meaning::Other),
            (22, "EINVAL", Meaning::Other),
            (35, "EAGAIN", Meaning::Other),
            (48, "EADDRINUSE", Meaning::Other),
            (49, "EADDRNOTAVAIL", Meaning::Other),
        ]
    };
}

pub(super) const APPLE: &[Row] = bsd![
    (41, "EPROTOTYPE", Meaning::Reset), // a send while the connection is being torn down
    (100, "EPROTO", Meaning::Aborted)
];
pub(super) const FREE_BSD: &[Row] = bsd![(92, "EPROTO", Meaning::Aborted)];
pub(super) const NET_BSD: &[Row] = bsd![(96, "EPROTO", Meaning::Aborted)];
pub(super) const OPEN_BSD: &[Row] = bsd![(95, "EPROTO", Meaning::Aborted)];

// ---- Windows ------------------------------------------------------------------------------------

pub(super) const WINDOWS: &[Row] = &[
    (10054, "WSAECONNRESET", Meaning::Reset),
    // Our stack gave up on data that the peer no longer takes. It is no "killed" here.
    (10053, "WSAECONNABORTED", Meaning::Reset),
    (10052, "WSAENETRESET", Meaning::TimedOut), // keepalive ran out
    (10060, "WSAETIMEDOUT", Meaning::TimedOut),
    (10061, "WSAECONNREFUSED", Meaning::Unreachable),
    (10064, "WSAEHOSTDOWN", Meaning::Unreachable),
    (10065, "WSAEHOSTUNREACH", Meaning::Unreachable),
    (10051, "WSAENETUNREACH", Meaning::Unreachable),
    (10050, "WSAENETDOWN", Meaning::NetworkDown),
    (10024, "WSAEMFILE", Meaning::NoFiles),
    (10055, "WSAENOBUFS", Meaning::NoMemory),
    (8, "ERROR_NOT_ENOUGH_MEMORY", Meaning::NoMemory),
    (10057, "WSAENOTCONN", Meaning::NotConnected),
    (10058, "WSAESHUTDOWN", Meaning::NotConnected),
    (10004, "WSAEINTR", Meaning::Other),
    (10013, "WSAEACCES", Meaning::Other),
    (10022, "WSAEINVAL", Meaning::Other),
    (10035, "WSAEWOULDBLOCK", Meaning::Other),
    (10048, "WSAEADDRINUSE", Meaning::Other),
    (10049, "WSAEADDRNOTAVAIL", Meaning::Other),
];
