//! What a raw error number means, by operating system.
//!
//! By number, not by text, which differs between systems and languages, and not by
//! [`std::io::ErrorKind`] alone: EMFILE has no kind of its own, and `ConnectionAborted` is two
//! things (on Linux somebody here killed the socket, on Windows the peer is gone). The tables hold
//! literal numbers and the system is an argument, so each of them is tested everywhere.
//!
//! Sources: errno(3) and `asm-generic/errno.h` for Linux, `sys/errno.h` of macOS and FreeBSD,
//! *Windows Sockets Error Codes* for Windows.

/// A raw error number, as the operating system gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(pub i32);

/// Whose error numbers these are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum System {
    /// Linux and Android.
    Linux,
    /// macOS and the BSDs.
    Bsd,
    /// Windows.
    Windows,
}

impl System {
    /// The system that this was compiled for.
    pub const HERE: System = if cfg!(any(target_os = "linux", target_os = "android")) {
        System::Linux
    } else if cfg!(windows) {
        System::Windows
    } else {
        System::Bsd
    };
}

/// What an error number says about a connection or a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Meaning {
    /// The peer's reset arrived, or the connection is gone because of it.
    Reset,
    /// Nobody answered: retransmissions, keepalive probes or TCP_USER_TIMEOUT ran out.
    TimedOut,
    /// The network says that the peer cannot be reached.
    Unreachable,
    /// The network on this side is down.
    NetworkDown,
    /// Somebody on this machine ended the socket (`ss -K`).
    Killed,
    /// This process or system is out of files.
    NoFiles,
    /// This system is out of memory or buffers, for now.
    NoMemory,
    /// A newcomer was gone before it was accepted: take the next one.
    Aborted,
    /// The socket is not connected, or shut down on our side.
    NotConnected,
    /// Anything else.
    Other,
}

impl Errno {
    /// What this number says on `system`.
    pub fn meaning(self, system: System) -> Meaning {
        table(system).iter().find(|row| row.0 == self.0).map_or(Meaning::Other, |row| row.2)
    }

    /// The number's name on `system`, as in the manual: "ECONNRESET". `None` where the table does
    /// not know it.
    pub fn name(self, system: System) -> Option<&'static str> {
        table(system).iter().find(|row| row.0 == self.0).map(|row| row.1)
    }
}

type Row = (i32, &'static str, Meaning);

/// Every error number of a system that a TCP server may meet and wants to tell apart or to name.
pub fn table(system: System) -> &'static [Row] {
    match system {
        System::Linux => LINUX,
        System::Bsd => BSD,
        System::Windows => WINDOWS,
    }
}

const LINUX: &[Row] = &[
    (104, "ECONNRESET", Meaning::Reset),
    (32, "EPIPE", Meaning::Reset),
    (110, "ETIMEDOUT", Meaning::TimedOut),
    (113, "EHOSTUNREACH", Meaning::Unreachable),
    (101, "ENETUNREACH", Meaning::Unreachable),
    (111, "ECONNREFUSED", Meaning::Unreachable),
    (112, "EHOSTDOWN", Meaning::Unreachable),
    (64, "ENONET", Meaning::Unreachable),
    (92, "ENOPROTOOPT", Meaning::Unreachable),
    (95, "EOPNOTSUPP", Meaning::Unreachable), // ICMP: source route failed
    (71, "EPROTO", Meaning::Unreachable),     // ICMP: parameter problem
    (100, "ENETDOWN", Meaning::NetworkDown),
    (103, "ECONNABORTED", Meaning::Killed),
    (24, "EMFILE", Meaning::NoFiles),
    (23, "ENFILE", Meaning::NoFiles),
    (105, "ENOBUFS", Meaning::NoMemory),
    (12, "ENOMEM", Meaning::NoMemory),
    (28, "ENOSPC", Meaning::NoMemory),
    (107, "ENOTCONN", Meaning::NotConnected),
    (108, "ESHUTDOWN", Meaning::NotConnected),
    (1, "EPERM", Meaning::Other),
    (4, "EINTR", Meaning::Other),
    (5, "EIO", Meaning::Other),
    (9, "EBADF", Meaning::Other),
    (11, "EAGAIN", Meaning::Other),
    (13, "EACCES", Meaning::Unreachable), // ICMPv6: administratively prohibited
    (14, "EFAULT", Meaning::Other),
    (17, "EEXIST", Meaning::Other),
    (22, "EINVAL", Meaning::Other),
    (88, "ENOTSOCK", Meaning::Other),
    (90, "EMSGSIZE", Meaning::Other),
    (98, "EADDRINUSE", Meaning::Other),
    (99, "EADDRNOTAVAIL", Meaning::Other),
];

const BSD: &[Row] = &[
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
    (41, "EPROTOTYPE", Meaning::Reset), // macOS: a send while the connection is being torn down
    (100, "EPROTO", Meaning::Aborted),  // macOS
    (92, "EPROTO", Meaning::Aborted),   // FreeBSD
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
];

const WINDOWS: &[Row] = &[
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_in_its_table_once() {
        for system in [System::Linux, System::Bsd, System::Windows] {
            let mut numbers: Vec<i32> = table(system).iter().map(|row| row.0).collect();
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{system:?}: {numbers:?}");
        }
    }

    #[test]
    fn the_same_name_is_not_the_same_thing_everywhere() {
        assert_eq!(Errno(103).meaning(System::Linux), Meaning::Killed);
        assert_eq!(Errno(10053).meaning(System::Windows), Meaning::Reset);
        assert_eq!(Errno(54).meaning(System::Bsd), Meaning::Reset);
        assert_eq!(Errno(54).meaning(System::Linux), Meaning::Other);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_linux_table_agrees_with_libc() {
        let libc = [
            (libc::ECONNRESET, "ECONNRESET"),
            (libc::EPIPE, "EPIPE"),
            (libc::ETIMEDOUT, "ETIMEDOUT"),
            (libc::EHOSTUNREACH, "EHOSTUNREACH"),
            (libc::ENETUNREACH, "ENETUNREACH"),
            (libc::ECONNREFUSED, "ECONNREFUSED"),
            (libc::EHOSTDOWN, "EHOSTDOWN"),
            (libc::ENONET, "ENONET"),
            (libc::ENOPROTOOPT, "ENOPROTOOPT"),
            (libc::ENETDOWN, "ENETDOWN"),
            (libc::ECONNABORTED, "ECONNABORTED"),
            (libc::EMFILE, "EMFILE"),
            (libc::ENFILE, "ENFILE"),
            (libc::ENOBUFS, "ENOBUFS"),
            (libc::ENOMEM, "ENOMEM"),
            (libc::ENOSPC, "ENOSPC"),
            (libc::EPROTO, "EPROTO"),
            (libc::ENOTCONN, "ENOTCONN"),
            (libc::ESHUTDOWN, "ESHUTDOWN"),
            (libc::EPERM, "EPERM"),
            (libc::EINTR, "EINTR"),
            (libc::EIO, "EIO"),
            (libc::EBADF, "EBADF"),
            (libc::EAGAIN, "EAGAIN"),
            (libc::EACCES, "EACCES"),
            (libc::EFAULT, "EFAULT"),
            (libc::EEXIST, "EEXIST"),
            (libc::EINVAL, "EINVAL"),
            (libc::ENOTSOCK, "ENOTSOCK"),
            (libc::EMSGSIZE, "EMSGSIZE"),
            (libc::EOPNOTSUPP, "EOPNOTSUPP"),
            (libc::EADDRINUSE, "EADDRINUSE"),
            (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        ];
        assert_eq!(libc.len(), LINUX.len(), "all of it");
        for (number, name) in libc {
            assert_eq!(Errno(number).name(System::HERE), Some(name));
        }
    }

    /// Compiled for macOS or FreeBSD it is checked already: no machine is needed to run it.
    #[cfg(any(target_os = "macos", target_os = "freebsd"))]
    const _: () = {
        let foreign = if cfg!(target_os = "macos") { 92 } else { 100 };
        let libc = [
            libc::ECONNRESET,
            libc::EPIPE,
            libc::ETIMEDOUT,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ECONNREFUSED,
            libc::EHOSTDOWN,
            libc::ENETDOWN,
            libc::ECONNABORTED,
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EPROTOTYPE,
            libc::EPROTO,
            libc::EPROTO,
            libc::ENOTCONN,
            libc::ESHUTDOWN,
            libc::EPERM,
            libc::EINTR,
            libc::EBADF,
            libc::EACCES,
            libc::EINVAL,
            libc::EAGAIN,
            libc::EADDRINUSE,
            libc::EADDRNOTAVAIL,
        ];
        assert!(libc.len() == BSD.len());
        let mut row = 0;
        while row < libc.len() {
            assert!(BSD[row].0 == libc[row] || BSD[row].0 == foreign);
            row += 1;
        }
    };

    #[test]
    fn macos_and_freebsd_have_their_own_numbers() {
        for (number, name, meaning) in [
            (54, "ECONNRESET", Meaning::Reset),
            (32, "EPIPE", Meaning::Reset),
            (41, "EPROTOTYPE", Meaning::Reset),
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
            (100, "EPROTO", Meaning::Aborted), // macOS
            (92, "EPROTO", Meaning::Aborted),  // FreeBSD
            (57, "ENOTCONN", Meaning::NotConnected),
            (58, "ESHUTDOWN", Meaning::NotConnected),
        ] {
            let errno = Errno(number);
            let said = (errno.name(System::Bsd), errno.meaning(System::Bsd));
            assert_eq!(said, (Some(name), meaning), "{number}");
        }
        for number in [104, 110, 111, 113, 10054] {
            assert_eq!(Errno(number).meaning(System::Bsd), Meaning::Other, "{number}");
        }
    }

    /// Where Windows differs from what a Unix table would lead one to expect.
    #[test]
    fn windows_has_its_own_numbers_and_its_own_meanings() {
        for (number, meaning) in [
            (10053, Meaning::Reset), // after our send: the peer is gone
            (10054, Meaning::Reset),
            (10052, Meaning::TimedOut), // keepalive, and not the network
            (10060, Meaning::TimedOut),
            (10050, Meaning::NetworkDown),
            (10051, Meaning::Unreachable),
            (10061, Meaning::Unreachable),
            (10064, Meaning::Unreachable),
            (10065, Meaning::Unreachable),
            (10024, Meaning::NoFiles),
            (10055, Meaning::NoMemory),
            (8, Meaning::NoMemory),
            (10057, Meaning::NotConnected),
            (10058, Meaning::NotConnected),
            (104, Meaning::Other), // a number of Linux
            (54, Meaning::Other),  // and of BSD
        ] {
            assert_eq!(Errno(number).meaning(System::Windows), meaning, "{number}");
        }
        let foreign = |row: &&Row| !(10_000..11_000).contains(&row.0) && row.0 != 8;
        assert_eq!(WINDOWS.iter().find(foreign), None, "no number of another system");
    }
}
