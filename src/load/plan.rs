//! What is asked of a run: plain values that one process can hand to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use serde::{Deserialize, Serialize};

/// What the connections do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They stay open, and say something now and then.
    Hold,
    /// They ask, wait for the reply and ask again.
    Echo,
    /// They connect, ask, wait for the reply and close; and again.
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
    /// Each the same time after the one before it.
    #[default]
    Even,
    /// At random, as from many clients that know nothing of each other.
    Poisson,
}

/// Addresses to connect from: so many, in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sources {
    /// The first of them.
    pub first: IpAddr,
    /// How many.
    pub count: u32,
    /// The zone of link-local ones, by the number of its interface; 0 is none.
    pub scope: u32,
}

impl Sources {
    /// The address for the connection with this number, and port 0; they are taken in turn.
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

/// One run of one process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What the connections do.
    pub mode: Mode,
    /// Whom to connect to.
    pub server: SocketAddr,
    /// The addresses to connect from; without them the system chooses.
    pub sources: Option<Sources>,
    /// Connections of this process, or cycles under way at a time.
    pub connections: u32,
    /// The number of its first connection: it is in every message, so that a reply that was meant
    /// for another one is found out.
    pub first_number: u32,
    /// From one of its connections' numbers to the next: how many processes there are.
    pub stride: u32,
    /// Connections of all processes.
    pub all_connections: u32,
    /// How long to measure, in milliseconds.
    pub duration_ms: u64,
    /// The open loop: requests a second of all processes. Without it the loop is closed.
    pub rate: Option<f64>,
    /// Bytes of a message.
    pub size: u32,
    /// Requests under way on a connection at a time.
    pub depth: u32,
    /// What the server lays before each reply.
    pub prefix: Vec<u8>,
    /// An idle connection that is kept open says something so often, in milliseconds.
    pub every_ms: Option<u64>,
    /// A reply, a connection or the server's FIN that takes longer is an error, in milliseconds.
    pub timeout_ms: u64,
    /// Connects a second of all processes; without it as fast as it goes.
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

    /// The address to connect from for the connection with this number. A link-local one without a
    /// zone is in that of the server.
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

    /// The plan of each of `processes` processes that share this one.
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
