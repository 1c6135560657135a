//! Path to the server, direct or through a proxy, and the server's health on it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::client::{Act, Client, Did, Plan};
use crate::lab::observe::Ours;
use crate::lab::options::{Options, Target};
use crate::lab::report::ServerRow;

/// The addresses that did not accept, with their errors.
pub(super) type Refusals = Vec<(SocketAddr, io::Error)>;

/// How long a reply or a connect may take, unless a quarter of the patience is longer.
const REPLY: Duration = Duration::from_secs(3);

/// A dying server may take a moment to end. The health check holds its connection open for this
/// long, because the server's end also ends that connection.
const GRACE: Duration = Duration::from_millis(100);

/// The most health checks in a row of a server that ends each connection, and the time between
/// them.
const ASKED_MAX: u32 = 12;
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A server is dead if nothing has listened for this long.
const GONE: Duration = Duration::from_secs(1);

/// The most checks in a row for a restart of the server.
const TRIES_MAX: u32 = 3;

/// Health of a server, from bad to good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::lab) enum Health {
    /// Nothing listens, and nothing has listened for [`GONE`].
    Gone,
    /// The server or its kernel accepts, and no echo arrives; or it resets new connections, or its
    /// backlog is full.
    Silent,
    /// The server echoes.
    Answers,
}

/// A path to the server: direct, or through the proxy.
pub(super) struct Side {
    pub(super) address: SocketAddr,
    /// The health at the beginning.
    healthy: Health,
    /// The health at the last check.
    health: Health,
    /// The length of the server's prefix before an echo, in bytes; `None` if it did not echo.
    prefix_bytes: Option<u64>,
    /// Whether the first check was completed, and not interrupted.
    is_known: bool,
    /// The last scenario after which the server was healthy.
    last: Option<&'static str>,
    /// The number of failed checks for a restart in a row.
    tries: u32,
    died_of: Vec<String>,
    hung_in: Vec<String>,
}

impl Side {
    /// The path to the first of `addresses` that accepts, and the connection of that check.
    ///
    /// # Errors
    /// None of them accepts; the errors of all.
    pub(super) fn find(
        addresses: &[SocketAddr],
        look: &Look<'_>,
        message: &[u8],
    ) -> Result<(Side, Ours), Refusals> {
        let mut refused = Vec::new();
        for &address in addresses {
            let connected = SystemTime::now();
            match Client::connect(&look.plan(address, message.to_vec())) {
                Ok((mut client, _)) => {
                    let health = echoes(&mut client);
                    let more = client.received().saturating_sub(client.sent()) as u64;
                    let side = Side {
                        address,
                        healthy: health,
                        health,
                        prefix_bytes: (health == Health::Answers && !look.target.any_reply)
                            .then_some(more),
                        is_known: !look.options.is_stopped(),
                        last: None,
                        tries: 0,
                        died_of: Vec::new(),
                        hung_in: Vec::new(),
                    };
                    return Ok((side, ours(&client, connected, message.len())));
                }
                Err(error) => refused.push((address, error)),
            }
        }
        Err(refused)
    }

    /// The length of the whole reply to `sent` bytes; `None` where no reply is expected.
    pub(super) fn reply_bytes(&self, sent: u64) -> Option<u64> {
        self.prefix_bytes.filter(|_| sent > 0).map(|prefix| prefix + sent)
    }

    /// Whether a connection from `client`, an address of this machine, stays on this machine.
    pub(super) fn is_here(&self, client: SocketAddr) -> bool {
        self.address.ip().is_loopback() || self.address.ip() == client.ip()
    }

    /// Whether the health is as at the beginning.
    pub(super) fn is_well(&self) -> bool {
        self.health >= self.healthy
    }

    /// How long to wait for a restart: `full` the first time, then only for one more check, and
    /// finally not at all.
    pub(super) fn patience_left(&mut self, full: Duration) -> Option<Duration> {
        if self.is_well() {
            return Some(full);
        }
        self.tries += 1;
        match self.tries {
            1 => Some(full),
            2..=TRIES_MAX => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// Checks the health.
    pub(super) fn asks(&mut self, look: &Look<'_>, message: Vec<u8>) {
        let plan = Plan { end_patience: GRACE, ..look.plan(self.address, message) };
        let health = asked(&plan, self.healthy);
        // A check that was interrupted has no result.
        if !look.options.is_stopped() {
            self.health = health;
            self.tries = if self.is_well() { 0 } else { self.tries };
        }
    }

    /// Records the health after `scenario`.
    pub(super) fn played(&mut self, scenario: &'static str) {
        match self.health {
            _ if self.is_well() => self.last = Some(scenario),
            Health::Gone => self.died_of.push(scenario.to_owned()),
            _ => self.hung_in.push(scenario.to_owned()),
        }
    }

    /// Records that the server failed between two scenarios.
    pub(super) fn found_unwell(&mut self) {
        let after = self.last.unwrap_or("the first look");
        let list = match self.health {
            Health::Gone => &mut self.died_of,
            _ => &mut self.hung_in,
        };
        list.push(format!("something after {after}"));
    }

    /// What is wrong with the server, in words.
    pub(super) fn says(&self) -> &'static str {
        match self.health {
            Health::Gone => "it no longer listens",
            _ => "it does not answer the next connection in time, or resets it",
        }
    }

    /// The effect of the last scenario, in words.
    pub(super) fn fate(&self) -> &'static str {
        if self.health == Health::Gone { "did not survive this" } else { "hangs after this" }
    }

    pub(super) fn row(&self) -> ServerRow {
        ServerRow {
            address: self.address.to_string(),
            alive: self.is_well(),
            echoes: self.is_known.then_some(self.healthy == Health::Answers),
            died_of: self.died_of.clone(),
            hung_in: self.hung_in.clone(),
            deadline_ms: None,
        }
    }
}

/// Options for all checks of a server.
pub(super) struct Look<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) target: &'a Target,
}

impl Look<'_> {
    /// The plan of a client. A reply may take a quarter of the patience.
    pub(super) fn plan(&self, server: SocketAddr, message: Vec<u8>) -> Plan {
        let patience = self.target.patience;
        Plan {
            message,
            patience: patience.min(REPLY.max(patience / 4)),
            end_patience: patience,
            any_reply: self.target.any_reply,
            holder: self.options.holder.clone(),
            stop: Some(self.options.stop),
            ..Plan::new(server)
        }
    }
}

/// The connection of `client`, for the close log.
pub(super) fn ours(client: &Client, connected: SystemTime, message_bytes: usize) -> Ours {
    Ours {
        peer: client.local(),
        connected,
        closed: SystemTime::now(),
        message: message_bytes as u64,
        sent: client.sent() as u64,
    }
}

/// Checks a server's health. If the server ends the connection of the check, the check is repeated:
/// the server may be dying, and its listener is closed last. A server that never echoed is not
/// expected to reply.
pub(in crate::lab) fn asked(plan: &Plan, healthy: Health) -> Health {
    let mut health = Health::Gone;
    for _ in 0..ASKED_MAX {
        let mut client = match connected(plan) {
            Ok(client) => client,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Health::Gone,
            // A server listens, and its backlog is full, or it resets new connections.
            Err(_) => return Health::Silent,
        };
        health = match healthy {
            Health::Answers => echoes(&mut client),
            _ => Health::Silent,
        };
        // Only a wait that took its whole time shows that the connection lives: one that was reset
        // during the send has no end to be seen any more.
        if client.server_end().is_none() && client.play(Act::AwaitEnd).did == Did::GaveUp {
            break;
        }
        thread::sleep(ASK_AGAIN);
    }
    health
}

/// Connects to the server. If nothing listens or the connection is reset, it tries again for
/// [`GONE`], because the server may be dying, or be restarted.
///
/// # Errors
/// The last error of the system.
fn connected(plan: &Plan) -> io::Result<Client> {
    let give_up = Instant::now() + GONE;
    loop {
        let error = match Client::connect(plan) {
            Ok((client, _)) => return Ok(client),
            Err(error) => error,
        };
        let stopped = plan.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        // A dying server also resets a connection that is being set up; only silence is final.
        let is_silent = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
        if is_silent || stopped || Instant::now() > give_up {
            return Err(error);
        }
        thread::sleep(ASK_AGAIN);
    }
}

/// Whether the server echoes a message.
fn echoes(client: &mut Client) -> Health {
    let asked = client.play(Act::Send);
    match asked.failed() || client.play(Act::Read).failed() {
        true => Health::Silent,
        false => Health::Answers,
    }
}
