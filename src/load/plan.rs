//! The plan of a run: plain values that one process can pass to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use serde::{Deserialize, Serialize};

/// What the connections do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They stay open, and send a message now and then.
    Hold,
    /// They send a request, wait for the reply and send the next one.
    Echo,
    /// They connect, send a request, wait for the reply and close; then the next cycle begins.
    Churn,
}

impl Mode {
    /// The word on the command line and in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Hold => "hold",
            Mode::Echo => "echo",
            Mode::Churn => "churn",
        }
    }
}

/// When the requests of the open loop are due.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// At equal intervals.
    #[default]
    Even,
    /// At random, as from many independent clients.
    Poisson,
}

/// Source addresses: a number of consecutive ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sources {
    /// The first address.
    pub first: IpAddr,
    /// The number of addresses.
    pub count: u32,
    /// The zone of link-local addresses, as the index of its interface; 0 is none.
    pub scope: u32,
}

impl Sources {
    /// The address, with port 0, for the connection with this number; addresses are used in turn.
    pub fn of(&self, number: u32) -> SocketAddr {
        let offset = number % self.count.max(1);
        match self.first {
            IpAddr::V4(first) => (Ipv4Addr::from(u32::from(first).wrapping_add(offset)), 0).into(),
            IpAddr::V6(first) => {
                let ip = Ipv6Addr::from(u128::from(first).wrapping_add(u128::from(offset)));
                SocketAddrV6::new(ip, 0, 0, self.scope).into()
            }
        }
    }
}

/// The plan of one process in a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What the connections do.
    pub mode: Mode,
    /// The server's address.
    pub server: SocketAddr,
    /// The source addresses; without them the system chooses.
    pub sources: Option<Sources>,
    /// Connections of this process, or cycles in flight at a time.
    pub connections: u32,
    /// The number of its first connection. The number is in every message, so that a reply meant
    /// for another connection is detected.
    pub first_number: u32,
    /// The distance between the numbers of its connections: the number of processes.
    pub stride: u32,
    /// Connections of all processes.
    pub all_connections: u32,
    /// How long to measure, in milliseconds.
    pub duration_ms: u64,
    /// The open loop: requests a second of all processes. `None` is the closed loop.
    pub rate: Option<f64>,
    /// Bytes of a message.
    pub size: u32,
    /// Requests in flight on a connection at a time.
    pub depth: u32,
    /// What the server puts before each reply.
    pub prefix: Vec<u8>,
    /// An idle connection that is kept open sends a message at this interval, in milliseconds.
    pub every_ms: Option<u64>,
    /// A reply, a connect or the server's FIN that takes longer is an error, in milliseconds.
    pub timeout_ms: u64,
    /// Connects a second of all processes; `None` is as fast as possible.
    pub ramp: Option<u32>,
    /// Whether its progress is shown.
    pub watched: bool,
    /// How long the load runs before it is measured, in milliseconds.
    pub warmup_ms: u64,
    /// The open loop: when requests are due.
    pub arrivals: Arrivals,
    /// The length of an interval of `--every-report`, in milliseconds.
    pub report_ms: Option<u64>,
}

impl Plan {
    /// The number of the connection in this place.
    pub fn number(&self, place: u32) -> u32 {
        self.first_number.wrapping_add(place.wrapping_mul(self.stride))
    }

    /// The source address for the connection with this number. A link-local address without a zone
    /// gets that of the server.
    pub fn source(&self, number: u32) -> Option<SocketAddr> {
        let mut source = self.sources?.of(number);
        if let (SocketAddr::V6(source), SocketAddr::V6(server)) = (&mut source, self.server)
            && source.ip().is_unicast_link_local()
            && source.scope_id() == 0
        {
            source.set_scope_id(server.scope_id());
        }
        Some(source)
    }

    /// The plan of each of `processes` processes that share this plan.
    pub fn split(&self, processes: u32) -> Vec<Plan> {
        let processes = processes.clamp(1, self.connections.max(1));
        let mut plans = Vec::with_capacity(processes as usize);
        for index in 0..processes {
            let more = u32::from(index < self.connections % processes);
            let connections = self.connections / processes + more;
            plans.push(Plan {
                connections,
                first_number: index,
                stride: processes,
                ..self.clone()
            });
        }
        plans
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::load) fn plan() -> Plan {
        Plan {
            mode: Mode::Echo,
            server: "127.0.0.1:1".parse().unwrap(),
            sources: None,
            connections: 10,
            first_number: 0,
            stride: 1,
            all_connections: 10,
            duration_ms: 1,
            rate: None,
            size: 64,
            depth: 1,
            prefix: Vec::new(),
            every_ms: None,
            timeout_ms: 1,
            ramp: None,
            watched: false,
            warmup_ms: 0,
            arrivals: Arrivals::Even,
            report_ms: None,
        }
    }

    #[test]
    fn processes_share_connections_and_each_has_its_numbers() {
        let plan = plan();
        let plans = plan.split(3);
        let numbers = plans.iter().flat_map(|it| (0..it.connections).map(|key| it.number(key)));
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        let shares: Vec<_> = plans.iter().map(|it| it.connections).collect();
        assert_eq!(shares, [4, 3, 3]);
        assert_eq!(plan.split(99).len(), 10, "no process without a connection");
    }

    #[test]
    fn sources_are_taken_in_turn() {
        let sources = Sources { first: "127.0.0.254".parse().unwrap(), count: 3, scope: 0 };
        let taken = [0, 1, 2, 3].map(|number| sources.of(number).ip().to_string());
        assert_eq!(taken, ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.0.254"]);
        let sources = Sources { first: "fe80::ff".parse().unwrap(), count: 2, scope: 3 };
        let taken = [0, 1].map(|number| sources.of(number).to_string());
        assert_eq!(taken, ["[fe80::ff%3]:0", "[fe80::100%3]:0"]);
    }

    #[test]
    fn a_link_local_source_is_in_the_zone_of_the_server() {
        let server = "[fe80::9%7]:1".parse().unwrap();
        for (first, scope, expected) in [
            ("fe80::1", 0, "[fe80::1%7]:0"),
            ("fe80::1", 3, "[fe80::1%3]:0"),
            ("::1", 0, "[::1]:0"),
        ] {
            let sources = Some(Sources { first: first.parse().unwrap(), count: 1, scope });
            let plan = Plan { server, sources, ..plan() };
            assert_eq!(plan.source(0).unwrap().to_string(), expected);
        }
    }
}
