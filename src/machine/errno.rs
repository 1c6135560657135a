//! Meanings of raw error numbers, for each operating system.
//!
//! Errors are distinguished by number: texts differ between systems and languages, and
//! [`std::io::ErrorKind`] is too coarse (EMFILE has no kind of its own, and `ConnectionAborted` is
//! two things: on Linux a program here destroyed the socket, on Windows the peer is gone). The
//! tables hold literal numbers and the system is an argument, so each of them is tested everywhere.
//!
//! Sources: errno(3); `asm-generic/errno.h` and the `asm/errno.h` of MIPS and SPARC for Linux;
//! `sys/errno.h` of macOS, FreeBSD, NetBSD and OpenBSD; *Windows Sockets Error Codes* for Windows.
//! The table of the system that the crate is compiled for is compared with the constants of libc
//! during compilation (`posix`).

#[cfg(unix)]
mod posix;
mod tables;
#[cfg(test)]
mod tests;

/// A raw error number, as the operating system returned it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(pub i32);

/// The system that an error number belongs to.
///
/// Linux on Alpha and on PA-RISC has numbers of its own, too. Rust has no target for either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum System {
    /// Linux and Android with the numbers of `asm-generic`, which most architectures use.
    Linux,
    /// Linux on MIPS, of 32 or 64 bits.
    LinuxMips,
    /// Linux on SPARC, of 32 or 64 bits.
    LinuxSparc,
    /// macOS, iOS and their siblings.
    Apple,
    /// FreeBSD and DragonFly BSD.
    FreeBsd,
    /// NetBSD.
    NetBsd,
    /// OpenBSD.
    OpenBsd,
    /// Windows.
    Windows,
    /// Any other Unix. Its numbers are those that libc has for the system that this was compiled
    /// for, and their meanings are those of POSIX, which leaves room: a verdict that rests on them
    /// is never certain. Where this was compiled for Windows the table is empty.
    OtherUnix,
}

impl System {
    /// All of them.
    pub const ALL: [System; 9] = [
        System::Linux,
        System::LinuxMips,
        System::LinuxSparc,
        System::Apple,
        System::FreeBsd,
        System::NetBsd,
        System::OpenBsd,
        System::Windows,
        System::OtherUnix,
    ];

    /// The system that this was compiled for.
    pub const HERE: System = if cfg!(any(target_os = "linux", target_os = "android")) {
        if cfg!(any(
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6"
        )) {
            System::LinuxMips
        } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
            System::LinuxSparc
        } else {
            System::Linux
        }
    } else if cfg!(target_vendor = "apple") {
        System::Apple
    } else if cfg!(any(target_os = "freebsd", target_os = "dragonfly")) {
        System::FreeBsd
    } else if cfg!(target_os = "netbsd") {
        System::NetBsd
    } else if cfg!(target_os = "openbsd") {
        System::OpenBsd
    } else if cfg!(windows) {
        System::Windows
    } else {
        System::OtherUnix
    };

    /// Whether it is Linux, on whichever architecture.
    pub const fn is_linux(self) -> bool {
        matches!(self, System::Linux | System::LinuxMips | System::LinuxSparc)
    }
}

/// The meaning of an error number for a connection or a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Meaning {
    /// The peer's reset arrived, or the connection has ended because of it.
    Reset,
    /// No answer came: retransmissions, keepalive probes or TCP_USER_TIMEOUT ran out.
    TimedOut,
    /// The network reported that the peer cannot be reached.
    Unreachable,
    /// The network on this side is down.
    NetworkDown,
    /// A program on this machine destroyed the socket (`ss -K`). Only Linux keeps the number for
    /// that alone; on macOS and the BSDs it can have another cause.
    Killed,
    /// This process or system is out of files.
    NoFiles,
    /// This system is out of memory or buffers, for now.
    NoMemory,
    /// A new connection ended before it was accepted: take the next one.
    Aborted,
    /// The socket is not connected, or shut down on our side.
    NotConnected,
    /// Anything else.
    Other,
}

impl Errno {
    /// The meaning of this number on `system`.
    pub fn meaning(self, system: System) -> Meaning {
        table(system).iter().find(|row| row.0 == self.0).map_or(Meaning::Other, |row| row.2)
    }

    /// The number's name on `system`, as in the manual: "ECONNRESET". `None` if it is not in the
    /// table.
    pub fn name(self, system: System) -> Option<&'static str> {
        table(system).iter().find(|row| row.0 == self.0).map(|row| row.1)
    }
}

/// A number, its name and its meaning.
pub type Row = (i32, &'static str, Meaning);

/// Every error number of a system that a TCP server may meet and must distinguish or name.
pub const fn table(system: System) -> &'static [Row] {
    match system {
        System::Linux => &tables::LINUX,
        System::LinuxMips => &tables::LINUX_MIPS,
        System::LinuxSparc => &tables::LINUX_SPARC,
        System::Apple => tables::APPLE,
        System::FreeBsd => tables::FREE_BSD,
        System::NetBsd => tables::NET_BSD,
        System::OpenBsd => tables::OPEN_BSD,
        System::Windows => tables::WINDOWS,
        #[cfg(unix)]
        System::OtherUnix => posix::TABLE,
        #[cfg(not(unix))]
        System::OtherUnix => &[],
    }
}
