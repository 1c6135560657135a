//! Error messages for a resource that a run would exhaust: files, ports, addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::cli::args::CommonArgs;
use crate::cli::{Failure, limits};
use crate::load::{Outcome, Plan, SCOUTS, Shortage, Trouble, check, default_sources};

/// The plans that this machine can carry out: at most one for each address of the server.
///
/// # Errors
/// There is none. The line has what the first plan lacks, and the remedy.
pub(super) fn possible(
    plan: &Plan,
    servers: &[SocketAddr],
    args: &CommonArgs,
) -> Result<Vec<Plan>, Failure> {
    let open_files = limits::raise_open_files();
    let mut plans = Vec::new();
    let mut lacking = None;
    for &server in servers {
        let server = if plan.sources.is_none() { in_effect(server) } else { server };
        let mut plan = Plan { server, ..plan.clone() };
        plan.sources = plan.sources.or_else(|| default_sources(&plan));
        match check(&plan, args.processes, open_files) {
            Ok(()) => plans.push(plan),
            Err(shortage) => {
                lacking.get_or_insert_with(|| short(&shortage, server, args));
            }
        }
    }
    lacking.filter(|_| plans.is_empty()).map_or(Ok(plans), Err)
}

/// An unspecified address stands for the loopback address when a client connects to it.
fn in_effect(server: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match server.ip() {
        ip if !ip.is_unspecified() => return server,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (loopback, server.port()).into()
}

/// The line about connects that found no free port, if there were any.
pub(super) fn no_port(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let count = outcome.errors.get(Trouble::NoPort.name())?;
    let why = no_port_left(plan.server);
    Some(format!("ports were the limit, {count} connects failed: {why}"))
}

/// Why no connection to this server can be opened, and the remedy.
pub(super) fn no_port_left(server: SocketAddr) -> String {
    format!(
        "no local port is free; each is in use or in TIME_WAIT (1 s on loopback, otherwise a \
         minute): {}",
        remedy(server)
    )
}

/// How to get more local ports.
fn remedy(server: SocketAddr) -> &'static str {
    match (server.ip().is_loopback(), server.is_ipv4()) {
        (true, true) => "give more addresses with --source, such as 127.0.1.0/24",
        (true, false) => {
            "connect to 127.0.0.1 instead, because ::1 is the only IPv6 loopback address, or widen \
             net.ipv4.ip_local_port_range"
        }
        (false, _) => {
            "give more addresses of this machine with --source, or widen \
             net.ipv4.ip_local_port_range"
        }
    }
}

/// "1 port", "2 ports"
fn counted(count: u64, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// The error for a shortage, with the remedy.
fn short(shortage: &Shortage, server: SocketAddr, args: &CommonArgs) -> Failure {
    let connections = args.connections;
    Failure::Refused(match shortage {
        Shortage::Files { limit, room, needed } => {
            let remedy = match u64::from(connections).div_ceil((*room).max(1)) {
                processes if *room > 0 => format!("give --processes {processes}, or "),
                _ => String::new(),
            };
            format!(
                "-c {connections}: the limit of {limit} open files allows {room} connections a \
                 process: {remedy}raise it (ulimit -n {needed})"
            )
        }
        Shortage::Ports { ports, sources } => format!(
            "-c {connections}: {} on each of {sources} source address{} allow{} {} besides the \
             first connection to the server (net.ipv4.ip_local_port_range): {}",
            counted(*ports, "port"),
            if *sources == 1 { "" } else { "es" },
            if *ports == 1 { "s" } else { "" },
            counted((ports * sources).saturating_sub(SCOUTS), "connection"),
            remedy(server)
        ),
        Shortage::Address(address, error) => {
            format!("--source: {address} cannot be used: {error}; give addresses of this machine")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_loopback() {
        for (server, expected) in [
            ("0.0.0.0:9", "127.0.0.1:9"),
            ("[::]:9", "[::1]:9"),
            ("192.0.2.1:9", "192.0.2.1:9"),
            ("[fe80::1%5]:9", "[fe80::1%5]:9"),
        ] {
            assert_eq!(in_effect(server.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn the_remedy_is_one_for_this_server() {
        for (server, expected) in [
            ("127.0.0.1:1", "--source, such as 127.0.1.0/24"),
            ("[::1]:1", "connect to 127.0.0.1 instead"),
            ("192.0.2.1:1", "more addresses of this machine with --source, or widen net."),
            ("[2001:db8::1]:1", "more addresses of this machine with --source, or widen net."),
        ] {
            assert!(remedy(server.parse().unwrap()).contains(expected), "{server}");
        }
    }
}
