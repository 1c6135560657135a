//! A way to the server, direct or through a proxy, and how the server is at its end.

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{Client, Plan, Way};
use crate::lab::report::ServerRow;
use crate::lab::run::{Error, Options};
use crate::lab::stage::MESSAGE;

/// How long a reply may take, or a connect.
const REPLY: Duration = Duration::from_secs(3);

/// How a server is, from bad to good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Health {
    /// Nobody can be connected to.
    Gone,
    /// It accepts, or its kernel does, and no echo comes.
    Silent,
    /// It echoes.
    Answers,
}

/// A way to the server: the direct one, or the one through the proxy.
pub(super) struct Side {
    pub(super) address: SocketAddr,
    /// How it was in the beginning.
    pub(super) healthy: Health,
    /// How it was last.
    pub(super) health: Health,
    pub(super) died_of: Vec<String>,
}

impl Side {
    /// Whether `client`, an address of this machine, gets there without leaving it.
    pub(super) fn is_here(&self, client: SocketAddr) -> bool {
        self.address.ip().is_loopback() || self.address.ip() == client.ip()
    }

    pub(super) fn is_well(&self) -> bool {
        self.health >= self.healthy
    }

    pub(super) fn row(&self) -> ServerRow {
        ServerRow {
            address: self.address.to_string(),
            alive: self.is_well(),
            died_of: self.died_of.clone(),
            deadline_ms: None,
        }
    }
}

/// The way to the first of `addresses` that is there, and the port from which it was tried.
pub(super) fn side(
    addresses: &[SocketAddr],
    patience: Duration,
    options: &Options<'_>,
) -> Result<(Side, SocketAddr), Error> {
    let mut refused = Vec::new();
    for &address in addresses {
        match Client::connect(&plan(address, patience, options)) {
            Ok((client, _)) => {
                let peer = client.local();
                let health = answers(client);
                let side = Side { address, healthy: health, health, died_of: Vec::new() };
                return Ok((side, peer));
            }
            Err(error) => refused.push((address, error)),
        }
    }
    Err(Error::NoServer(refused))
}

pub(super) fn plan(server: SocketAddr, patience: Duration, options: &Options<'_>) -> Plan {
    Plan {
        message: MESSAGE.to_vec(),
        patience: REPLY.min(patience),
        end_patience: patience,
        holder: options.holder.clone(),
        stop: Some(options.stop),
        ..Plan::new(server)
    }
}

/// How a server is now, and the port from which it was asked. Who never answered is not waited for.
pub(super) fn health(plan: &Plan, healthy: Health) -> (Health, Option<SocketAddr>) {
    let Ok((client, _)) = Client::connect(plan) else { return (Health::Gone, None) };
    let peer = Some(client.local());
    match healthy {
        Health::Answers => (answers(client), peer),
        _ => (Health::Silent, peer),
    }
}

/// Whether an echo comes.
fn answers(mut client: Client) -> Health {
    match client.play_all(Way::Close.script(), |_, _| ()) {
        true => Health::Answers,
        false => Health::Silent,
    }
}
