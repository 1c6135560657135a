//! Error messages for a resource that a run would exhaust: files, ports, addresses.

use crate::cli::Failure;
use crate::cli::args::CommonArgs;
use crate::load::{SCOUTS, Shortage};

/// What there is not enough of, and what to do about it.
pub(super) fn short(shortage: &Shortage, args: &CommonArgs) -> Failure {
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
            "-c {connections}: {ports} ports on each of {sources} source address{} allow {} \
             connections beside the first look at the server (net.ipv4.ip_local_port_range): give \
             more addresses with --source, such as 127.0.1.0/24",
            if *sources == 1 { "" } else { "es" },
            (ports * sources).saturating_sub(SCOUTS)
        ),
        Shortage::Address(address, error) => {
            format!("--source: {address} cannot be used: {error}; give addresses of this machine")
        }
    })
}
