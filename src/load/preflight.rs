//! What would stop a run, found before its first connection: files, ports, addresses.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use socket2::Type;

use super::link;
use super::plan::Plan;

/// Files that a process needs for itself: three standard streams, the poll, its waker, a timer, a
/// pipe or two for each other process; the rest is for what was inherited.
const FILES_RESERVED: u64 = 16;

/// Addresses that are tried. More of them would not be chosen one by one.
const ADDRESSES_TRIED_MAX: u32 = 1024;

/// The first look at the server takes a port as well, and leaves it in TIME_WAIT (RFC 9293, section
/// 3.6.1).
pub const SCOUTS: u64 = 1;

/// What there is not enough of.
#[derive(Debug)]
pub enum Shortage {
    /// A process may not open so many files.
    Files {
        /// The limit.
        limit: u64,
        /// Connections that it leaves room for, in each process.
        room: u64,
        /// What each process would need.
        needed: u64,
    },
    /// There are not so many ports to connect from.
    Ports {
        /// Ports between one address and the server.
        ports: u64,
        /// Addresses.
        sources: u64,
    },
    /// This is no address of this machine, or cannot be used.
    Address(IpAddr, io::Error),
}

/// Looks whether `processes` processes can carry this plan out, each with a limit of `open_files`.
///
/// # Errors
/// They cannot, and this is the first thing that is missing.
pub fn check(plan: &Plan, processes: u32, open_files: Option<u64>) -> Result<(), Shortage> {
    let connections = u64::from(plan.connections);
    let needed = connections.div_ceil(u64::from(processes.max(1))) + FILES_RESERVED;
    if let Some(limit) = open_files.filter(|limit| *limit < needed) {
        let room = limit.saturating_sub(FILES_RESERVED);
        return Err(Shortage::Files { limit, room, needed });
    }
    let sources = plan.sources.map_or(1, |sources| u64::from(sources.count));
    let ports = port_range().map(|range| {
        let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports");
        usable(range, &reserved.unwrap_or_default())
    });
    let is_short = |ports: &u64| ports.saturating_mul(sources) < connections + SCOUTS;
    if let Some(ports) = ports.filter(is_short) {
        return Err(Shortage::Ports { ports, sources });
    }
    let Some(all) = plan.sources else { return Ok(()) };
    for number in 0..all.count.min(plan.connections).min(ADDRESSES_TRIED_MAX) {
        link::open(plan.server, plan.source(number), Type::STREAM)
            .map_err(|error| Shortage::Address(all.of(number).ip(), error))?;
    }
    Ok(())
}

/// The ports that connect(2) chooses from, for each pair of addresses. `None`: the system does not
/// tell.
pub(super) fn port_range() -> Option<RangeInclusive<u16>> {
    // It is for IPv6, too (ip(7)).
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse);
    Some(ends.next()?.ok()?..=ends.next()?.ok()?)
}

/// How many ports of `range` are not `reserved` (ip_local_reserved_ports, see the kernel's
/// `ip-sysctl.rst`): "8080,9148-9150" are four.
fn usable(range: RangeInclusive<u16>, reserved: &str) -> u64 {
    let ends = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    let reserved: Vec<(u16, u16)> = reserved.split(',').filter_map(ends).collect();
    let is_free = |port: &u16| !reserved.iter().any(|(first, last)| (first..=last).contains(&port));
    // Linux takes even and odd ports in turns and rounds an odd range down, so that one port is not
    // always found (`inet_hash_connect`).
    let odd = u64::from(range.len() > 1 && range.len() % 2 == 1);
    (range.filter(is_free).count() as u64).saturating_sub(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_not_there_to_connect_from() {
        assert_eq!(usable(32768..=60999, "\n"), 28_232);
        assert_eq!(usable(9000..=9199, "8080,9148-9150,9199\n"), 196);
        assert_eq!(usable(9000..=9009, "8000-10000"), 0);
        assert_eq!(usable(9000..=9009, "nonsense"), 10);
        assert_eq!(usable(9000..=9008, ""), 8, "one of an odd range is not always found");
    }
}
