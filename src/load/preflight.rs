//! What would stop a run, found before its first connection: files, ports, addresses.

use std::fs;
use std::io;
use std::net::IpAddr;

use socket2::Type;

use super::link;
use super::plan::Plan;

/// Files that a process needs for itself: three standard streams, the poll, its waker, a timer, a
/// pipe or two for each other process; the rest is for what was inherited.
const FILES_RESERVED: u64 = 16;

/// Addresses that are tried. More of them would not be chosen one by one.
const ADDRESSES_TRIED_MAX: u32 = 1024;

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
    if let Some(ports) = ports().filter(|ports| ports.saturating_mul(sources) < connections) {
        return Err(Shortage::Ports { ports, sources });
    }
    let Some(all) = plan.sources else { return Ok(()) };
    for number in 0..all.count.min(plan.connections).min(ADDRESSES_TRIED_MAX) {
        link::open(plan.server, plan.source(number), Type::STREAM)
            .map_err(|error| Shortage::Address(all.of(number).ip(), error))?;
    }
    Ok(())
}

/// How many ports connect(2) has to choose from, for each pair of addresses. `None`: the system
/// does not tell.
fn ports() -> Option<u64> {
    // It is for IPv6, too (ip(7)).
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some((high + 1).saturating_sub(low))
}
