//! The error numbers of the system for which this is compiled, from libc: the table of a Unix that
//! has no table of its own, and the check of the tables that exist.
//!
//! The check runs in the compiler. A table that disagrees with libc does not compile for its
//! system, so `cargo check --target …` is enough to hold it; no machine is needed.

use super::{Meaning, Row, System, table};

/// The errors that POSIX names and that a TCP server may meet.
pub(super) const TABLE: &[Row] = &[
    (libc::ECONNRESET, "ECONNRESET", Meaning::Reset),
    (libc::EPIPE, "EPIPE", Meaning::Reset),
    (libc::ETIMEDOUT, "ETIMEDOUT", Meaning::TimedOut),
    (libc::EHOSTUNREACH, "EHOSTUNREACH", Meaning::Unreachable),
    (libc::ENETUNREACH, "ENETUNREACH", Meaning::Unreachable),
    (libc::ECONNREFUSED, "ECONNREFUSED", Meaning::Unreachable),
    (libc::ENETDOWN, "ENETDOWN", Meaning::NetworkDown),
    (libc::ECONNABORTED, "ECONNABORTED", Meaning::Killed),
    (libc::EMFILE, "EMFILE", Meaning::NoFiles),
    (libc::ENFILE, "ENFILE", Meaning::NoFiles),
    (libc::ENOBUFS, "ENOBUFS", Meaning::NoMemory),
    (libc::ENOMEM, "ENOMEM", Meaning::NoMemory),
    (libc::ENOTCONN, "ENOTCONN", Meaning::NotConnected),
    (libc::EPERM, "EPERM", Meaning::Other),
    (libc::EINTR, "EINTR", Meaning::Other),
    (libc::EBADF, "EBADF", Meaning::Other),
    (libc::EAGAIN, "EAGAIN", Meaning::Other),
    (libc::EACCES, "EACCES", Meaning::Other),
    (libc::EINVAL, "EINVAL", Meaning::Other),
    (libc::EADDRINUSE, "EADDRINUSE", Meaning::Other),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL", Meaning::Other),
    (libc::EPROTO, "EPROTO", Meaning::Aborted),
];

/// Errors that have a row in the table of the system and are not among [`TABLE`].
#[cfg(any(target_os = "linux", target_os = "android"))]
const MORE: &[(i32, &str)] = &[
    (libc::EHOSTDOWN, "EHOSTDOWN"),
    (libc::ENONET, "ENONET"),
    (libc::ENOPROTOOPT, "ENOPROTOOPT"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::ESHUTDOWN, "ESHUTDOWN"),
    (libc::EIO, "EIO"),
    (libc::EFAULT, "EFAULT"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENOTSOCK, "ENOTSOCK"),
    (libc::EMSGSIZE, "EMSGSIZE"),
];

#[cfg(target_vendor = "apple")]
const MORE: &[(i32, &str)] = &[
    (libc::EHOSTDOWN, "EHOSTDOWN"),
    (libc::ESHUTDOWN, "ESHUTDOWN"),
    (libc::EPROTOTYPE, "EPROTOTYPE"),
];

#[cfg(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
const MORE: &[(i32, &str)] = &[(libc::EHOSTDOWN, "EHOSTDOWN"), (libc::ESHUTDOWN, "ESHUTDOWN")];

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
const MORE: &[(i32, &str)] = &[];

/// The number that libc has under this name.
const fn number_in_libc(name: &str) -> Option<i32> {
    let mut index = 0;
    while index < TABLE.len() {
        if is_same(TABLE[index].1, name) {
            return Some(TABLE[index].0);
        }
        index += 1;
    }
    index = 0;
    while index < MORE.len() {
        if is_same(MORE[index].1, name) {
            return Some(MORE[index].0);
        }
        index += 1;
    }
    None
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

const _: () = {
    let here = table(System::HERE);
    let mut row = 0;
    while row < here.len() {
        match number_in_libc(here[row].1) {
            Some(number) => assert!(number == here[row].0, "an error number differs from libc's"),
            None => panic!("an error has no number of libc to be compared with"),
        }
        row += 1;
    }
};
