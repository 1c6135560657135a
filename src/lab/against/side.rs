//! A way to the server, direct or through a proxy, and how the server is at its end.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::client::{Act, Client, Plan};
use crate::lab::observe::Ours;
use crate::lab::options::{Options, Target};
use crate::lab::report::ServerRow;

/// What each address said that is not there.
pub(super) type Refusals = Vec<(SocketAddr, io::Error)>;

/// How long a reply may take, or a connect, where the patience is not much longer.
const REPLY: Duration = Duration::from_secs(3);

/// A server that dies of something may take a moment to do so. Whoever asks how it is stays on the
/// line for that long: its end is the end of that line as well.
const GRACE: Duration = Duration::from_millis(100);

/// So often is asked, at most, who ends the connection each time, and so long after the last time.
const ASKED_MAX: u32 = 4;
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A server is gone when nothing has listened for this long.
const GONE: Duration = Duration::from_secs(1);

/// So often in a row is looked whether somebody has started it again.
const TRIES_MAX: u32 = 3;

/// How a server is, from bad to good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::lab) enum Health {
    /// Nothing listens, and that stays so.
    Gone,
    /// It accepts, or its kernel does, and no echo comes; or it resets new connections, or has no
    /// room for them.
    Silent,
    /// It echoes.
    Answers,
}

/// A way to the server: the direct one, or the one through the proxy.
pub(super) struct Side {
    pub(super) address: SocketAddr,
    /// How it was in the beginning.
    healthy: Health,
    /// How it was last.
    health: Health,
    /// What the server lays before an echo, in bytes; `None` if it did not echo.
    prefix_bytes: Option<u64>,
    /// Nobody broke off the first look.
    is_known: bool,
    /// The scenario that it was last well after.
    last: Option<&'static str>,
    /// Looked in vain so often in a row whether it is well again.
    tries: u32,
    died_of: Vec<String>,
    hung_in: Vec<String>,
}

impl Side {
    /// The way to the first of `addresses` that is there, and the connection by which it was tried.
    ///
    /// # Errors
    /// None of them is there: what each of them said.
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

    /// Whether `client`, an address of this machine, gets there without leaving it.
    pub(super) fn is_here(&self, client: SocketAddr) -> bool {
        self.address.ip().is_loopback() || self.address.ip() == client.ip()
    }

    /// Whether it is as in the beginning.
    pub(super) fn is_well(&self) -> bool {
        self.health >= self.healthy
    }

    /// How long to wait for it to become well: once in full, then just for one more look, and then
    /// not at all.
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

    /// Asks how it is.
    pub(super) fn asks(&mut self, look: &Look<'_>, message: Vec<u8>) {
        let plan = Plan { end_patience: GRACE, ..look.plan(self.address, message) };
        let health = asked(&plan, self.healthy);
        // Who was told to stop did not wait for the answer.
        if !look.options.is_stopped() {
            self.health = health;
            self.tries = if self.is_well() { 0 } else { self.tries };
        }
    }

    /// What is known after `scenario`, which it was played.
    pub(super) fn played(&mut self, scenario: &'static str) {
        match self.health {
            _ if self.is_well() => self.last = Some(scenario),
            Health::Gone => self.died_of.push(scenario.to_owned()),
            _ => self.hung_in.push(scenario.to_owned()),
        }
    }

    /// It was not well before the next scenario could begin, and well after the last one.
    pub(super) fn found_unwell(&mut self) {
        let after = self.last.unwrap_or("the first look");
        let list = match self.health {
            Health::Gone => &mut self.died_of,
            _ => &mut self.hung_in,
        };
        list.push(format!("something after {after}"));
    }

    /// What is wrong with it, in words.
    pub(super) fn says(&self) -> &'static str {
        match self.health {
            Health::Gone => "nothing listens any more",
            _ => "it does not serve the next connection in time, or resets it",
        }
    }

    /// What that means for what was played before.
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

/// What all looks at a server need.
pub(super) struct Look<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) target: &'a Target,
}

impl Look<'_> {
    /// What a client of this lab has to know. A reply may take a quarter of the patience.
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

/// How a server is now. Who ends the connection on which it is asked is asked once more: it may be
/// its own end, and its listener goes last. Who never echoed is not waited for.
pub(in crate::lab) fn asked(plan: &Plan, healthy: Health) -> Health {
    let mut health = Health::Gone;
    for _ in 0..ASKED_MAX {
        let mut client = match connected(plan) {
            Ok(client) => client,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Health::Gone,
            // Something listens, and its queue is full, or it resets newcomers.
            Err(_) => return Health::Silent,
        };
        health = match healthy {
            Health::Answers => echoes(&mut client),
            _ => Health::Silent,
        };
        if client.server_end().is_none() {
            client.play(Act::AwaitEnd);
        }
        if client.server_end().is_none() {
            break;
        }
        thread::sleep(ASK_AGAIN);
    }
    health
}

/// A connection to it. Where nothing listens, that has to stay so for a while: a server may be
/// started again.
///
/// # Errors
/// What the system said last.
fn connected(plan: &Plan) -> io::Result<Client> {
    let give_up = Instant::now() + GONE;
    loop {
        let error = match Client::connect(plan) {
            Ok((client, _)) => return Ok(client),
            Err(error) => error,
        };
        let stopped = plan.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        if error.kind() != ErrorKind::ConnectionRefused || stopped || Instant::now() > give_up {
            return Err(error);
        }
        thread::sleep(ASK_AGAIN);
    }
}

/// Whether an echo comes.
fn echoes(client: &mut Client) -> Health {
    let asked = client.play(Act::Send);
    match asked.failed() || client.play(Act::Read).failed() {
        true => Health::Silent,
        false => Health::Answers,
    }
}
