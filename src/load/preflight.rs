//! Checks before the first connection of a run: files, ports, addresses.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::Type;

use super::link;
use super::plan::{Mode, Plan, Sources};
use crate::socket::source::{ALL_PORTS, limit_ports};

/// Files that a process needs for itself: three standard streams, the poll, its waker, a timer, one
/// or two pipes for each other process; the rest is for inherited files.
const FILES_RESERVED: u64 = 16;

/// Addresses that are tried. A longer list is not made by hand.
const ADDRESSES_TRIED_MAX: u32 = 1024;

/// The first connection (see `scout`) uses a port as well, and leaves it in TIME_WAIT (RFC 9293,
/// section 3.6.1).
pub const SCOUTS: u64 = 1;

/// What is missing.
#[derive(Debug)]
pub enum Shortage {
    /// A process may not open that many files.
    Files {
        /// The limit.
        limit: u64,
        /// The connections that it allows in each process.
        room: u64,
        /// What each process would need.
        needed: u64,
    },
    /// There are not enough source ports.
    Ports {
        /// Ports between one address and the server.
        ports: u64,
        /// Source addresses.
        sources: u64,
    },
    /// This is not an address of this machine, or cannot be used.
    Address(IpAddr, io::Error),
}

/// Checks whether `processes` processes can carry out this plan, each with a limit of `open_files`.
///
/// # Errors
/// They cannot; the error is the first thing that is missing.
pub fn check(plan: &Plan, processes: u32, open_files: Option<u64>) -> Result<(), Shortage> {
    let connections = u64::from(plan.connections);
    let needed = connections.div_ceil(u64::from(processes.max(1))) + FILES_RESERVED;
    if let Some(limit) = open_files.filter(|limit| *limit < needed) {
        let room = limit.saturating_sub(FILES_RESERVED);
        return Err(Shortage::Files { limit, room, needed });
    }
    let sources = plan.sources.map_or(1, |sources| u64::from(sources.count));
    let ports = ports(plan.server);
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

/// The ports that connect(2) chooses from, for each pair of addresses. `None`: not known on this
/// system.
pub(super) fn port_range() -> Option<RangeInclusive<u16>> {
    // It holds for IPv6 as well (ip(7)).
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse);
    Some(ends.next()?.ok()?..=ends.next()?.ok()?)
}

/// The number of ports between one address and this server. `None`: not known on this system.
fn ports(server: SocketAddr) -> Option<u64> {
    let range = port_range()?;
    let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports");
    let mut reserved = reserved.unwrap_or_default();
    if server.ip().is_loopback() {
        // connect(2) takes no port that is bound on this machine, whatever the address.
        reserved = format!("{reserved},{}", server.port());
    }
    let takes_all = link::open(server, None, Type::STREAM)
        .is_ok_and(|socket| limit_ports(&socket, &ALL_PORTS).unwrap_or(false));
    Some(usable(range, &reserved, takes_all))
}

/// The number of ports of `range` that are not `reserved` (ip_local_reserved_ports, see the
/// kernel's `ip-sysctl.rst`): "8080,9148-9150" are four. `takes_all`: connect(2) steps by one port.
fn usable(range: RangeInclusive<u16>, reserved: &str, takes_all: bool) -> u64 {
    let ends = |part: &str| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    let reserved: Vec<(u16, u16)> = reserved.split(',').filter_map(ends).collect();
    let is_free = |port: &u16| !reserved.iter().any(|(first, last)| (first..=last).contains(&port));
    // Without IP_LOCAL_PORT_RANGE Linux tries even and odd ports in turns and rounds an odd range
    // down, so that one port is not always found (`inet_hash_connect`).
    let odd = u64::from(!takes_all && range.len() > 1 && range.len() % 2 == 1);
    (range.filter(is_free).count() as u64).saturating_sub(odd)
}

// ---- several addresses on loopback --------------------------------------------------------------

/// Cycles a second for which addresses are provided: more than one machine can do.
const CYCLES_MAX: u64 = 200_000;

/// 127.0.0.1 to 127.0.0.254.
const LOOPBACK_SOURCES_MAX: u64 = 254;

/// The default source addresses: several on IPv4 loopback, if one address does not have enough
/// ports. Linux only: other systems do not have these addresses.
pub fn default_sources(plan: &Plan) -> Option<Sources> {
    if !plan.server.is_ipv4() || !plan.server.ip().is_loopback() {
        return None;
    }
    let time_wait_s = if is_reused_on_loopback()? { 1 } else { 60 };
    let count = sources_needed(plan, ports(plan.server)?, time_wait_s);
    let sources = Sources { first: Ipv4Addr::LOCALHOST.into(), count, scope: 0 };
    let is_here = |number| link::open(plan.server, Some(sources.of(number)), Type::STREAM).is_ok();
    (count > 1 && is_here(0) && is_here(count - 1)).then_some(sources)
}

/// Whether connect(2) reuses a port in TIME_WAIT on loopback after one second instead of a minute.
/// `None`: not known on this system.
fn is_reused_on_loopback() -> Option<bool> {
    let reuse = fs::read_to_string("/proc/sys/net/ipv4/tcp_tw_reuse").ok()?;
    Some(reuse.trim() != "0")
}

/// The second after which Linux reuses a port in TIME_WAIT on loopback (`tcp_tw_reuse` in
/// `ip-sysctl.rst`), and a margin.
const RETURN_AFTER: Duration = Duration::from_millis(1100);

/// How long to wait until ports in TIME_WAIT can be reused. `None`: too long to wait for.
pub fn ports_return_after(server: SocketAddr) -> Option<Duration> {
    let is_short = server.ip().is_loopback() && is_reused_on_loopback()?;
    is_short.then_some(RETURN_AFTER)
}

/// The number of addresses with this number of ports that a run needs. Connections that stay open
/// get half of the ports: those of the run before may be in TIME_WAIT on the other half.
fn sources_needed(plan: &Plan, ports: u64, time_wait_s: u64) -> u32 {
    let connections = u64::from(plan.connections);
    let needed = match (plan.mode, plan.rate) {
        (Mode::Churn, rate) => {
            let cycles = rate.map_or(CYCLES_MAX, |rate| (rate.ceil() as u64).min(CYCLES_MAX));
            (connections + SCOUTS + cycles * time_wait_s).div_ceil(ports.max(1))
        }
        _ => {
            let half = (ports / 2).saturating_sub(SCOUTS).max(1);
            connections.div_ceil(half).max((connections + SCOUTS).div_ceil(ports.max(1)))
        }
    };
    needed.clamp(1, LOOPBACK_SOURCES_MAX) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::tests::plan;

    #[test]
    fn reserved_ports_are_not_there_to_connect_from() {
        assert_eq!(usable(32768..=60999, "\n", true), 28_232);
        assert_eq!(usable(9000..=9199, "8080,9148-9150,9199\n", true), 196);
        assert_eq!(usable(9000..=9199, "9000\n,9001", true), 198);
        assert_eq!(usable(9000..=9009, "8000-10000", true), 0);
        assert_eq!(usable(9000..=9009, "nonsense", true), 10);
        assert_eq!(usable(9000..=9008, "", false), 8, "one of an odd range is not always found");
        assert_eq!(usable(9000..=9008, "", true), 9, "it is, where connect steps by one");
    }

    #[test]
    fn as_many_addresses_are_taken_as_have_the_ports() {
        let of = |mode, connections, rate| Plan { mode, connections, rate, ..plan() };
        for (plan, ports, time_wait_s, expected) in [
            (of(Mode::Hold, 14_115, None), 28_232, 1, 1), // and the scouts of two runs
            (of(Mode::Hold, 14_116, None), 28_232, 1, 2),
            (of(Mode::Echo, 60_000, Some(1e6)), 28_232, 1, 5),
            (of(Mode::Hold, 10_000_000, None), 28_232, 1, 254),
            (of(Mode::Hold, 5, None), 0, 1, 6),
            (of(Mode::Hold, 1, None), 1, 1, 2),
            (of(Mode::Churn, 64, None), 28_232, 1, 8),
            (of(Mode::Churn, 64, Some(10_000.0)), 28_232, 1, 1),
            (of(Mode::Churn, 64, Some(10_000.0)), 28_232, 60, 22),
            (of(Mode::Churn, 64, None), 28_232, 60, 254),
        ] {
            assert_eq!(sources_needed(&plan, ports, time_wait_s), expected, "{plan:?}");
        }
    }

    #[test]
    fn only_loopback_of_ipv4_has_several_addresses_of_its_own() {
        for server in ["[::1]:1", "192.0.2.1:1", "[2001:db8::1]:1"] {
            let plan = Plan { server: server.parse().unwrap(), connections: 1 << 20, ..plan() };
            assert_eq!(default_sources(&plan), None, "{server}");
        }
    }
}
