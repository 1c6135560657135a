//! One connection: the server's socket, the network between, and the peer at the other end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::choices::{Choices, spread};
use super::duty::Duty;
use super::model::Model;
use super::peer::{CHARACTERS, Peer};
use super::pipe::{Fin, Pipe};
use super::setting::WorldSetting;
use crate::machine::close::{FirstError, SocketFacts};
use crate::machine::connection::Hints;
use crate::machine::errno::Errno;

/// Where the server's socket is.
///
/// ```text
///   Coming ─▶ Queued ─▶ Accepted ─▶ Registered ─▶ Closed
///                └──────────┴───────────────────▲
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    /// The handshake is not over.
    Coming,
    /// In the backlog of its listener.
    Queued,
    /// The loop has it.
    Accepted,
    /// The loop has it, and gets events under this key.
    Registered(u32),
    /// The loop has closed it, or it was never accepted.
    Closed,
}

/// What the loop was told about a connection, call by call.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// A receive gave 0.
    pub(super) fin: bool,
    /// A call handed out an error, or refused because of one.
    pub(super) dead: bool,
    pub(super) error: Option<FirstError>,
    /// The last answer about what is unacknowledged, and the last before the evidence was taken.
    pub(super) unacked: Option<u32>,
    pub(super) unacked_alive: Option<u32>,
    /// The last receive or send was short of memory: nothing is owed before a retry.
    pub(super) recv_retries: bool,
    pub(super) send_retries: bool,
    /// What TCP_INFO and SIOCINQ said, if they were asked.
    pub(super) facts: Option<SocketFacts>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) seed: u64,
    ip: u8,
    port: u16,
    pub(super) listener: u8,
    pub(super) hold: Hold,
    /// When it came to its listener.
    pub(super) came_us: u64,
    pub(super) delay_us: u32,
    /// Peer to server, and server to peer.
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// How much the server's socket holds unacknowledged, in buffers of so many bytes: one is freed
    /// when all of it is acknowledged.
    pub(super) send_space: u32,
    send_unit: u32,
    pub(super) errno: Option<Errno>,
    pub(super) soft: Option<Errno>,
    /// State CLOSE through an error or a reset.
    pub(super) dead: bool,
    /// The server's end is gone, and its system sends no further reset.
    pub(super) aborted: bool,
    pub(super) retransmits: u8,
    pub(super) probes: u8,
    /// A send said "would block", and the event that ends that is still to come.
    pub(super) no_space: bool,
    /// Room to send is an event, too.
    pub(super) registered_writable: bool,
    /// It stands in the list of those with an event.
    pub(super) ready: bool,
    /// Events come only after "would block" (Windows).
    pub(super) armed: bool,
    /// Where a read stops: the urgent byte's place.
    pub(super) urgent: Option<u64>,
    /// When the first byte in the receive queue, or the FIN, came.
    pub(super) unread_us: u64,
    pub(super) fin_us: u64,
    pub(super) model: Model,
    pub(super) told: Told,
    pub(super) duty: Duty,
    pub(super) peer: Peer,
}

impl Link {
    pub(super) fn new(index: u32, setting: &WorldSetting, choices: &mut Choices) -> Link {
        let bytes = setting.sent_bytes_max;
        let up_window = choices.magnitude(bytes.div_ceil(100).min(60_000), setting.up_window_max);
        let send_space = choices.magnitude(150, setting.send_space_max) as u32;
        let down_window = choices.magnitude(150, setting.window_max);
        Link {
            seed: spread(u64::from(index) + 1),
            ip: choices.below(setting.addresses) as u8,
            port: index as u16,
            listener: choices.below(setting.config.listen.len() as u64) as u8,
            hold: Hold::Coming,
            came_us: 0,
            delay_us: choices.between(0, setting.delay_us_max) as u32,
            up: Pipe::new(
                up_window as u32,
                choices.magnitude(up_window.div_ceil(8), 65_536) as u32,
            ),
            down: Pipe::new(down_window as u32, choices.magnitude(100, 65_536) as u32),
            send_space,
            send_unit: choices.between(1, u64::from(send_space) / 2) as u32,
            errno: None,
            soft: None,
            dead: false,
            aborted: false,
            retransmits: 0,
            probes: 0,
            no_space: false,
            registered_writable: false,
            ready: false,
            armed: true,
            urgent: None,
            unread_us: 0,
            fin_us: 0,
            model: Model::default(),
            told: Told::default(),
            duty: Duty::new(),
            peer: Peer::new(&CHARACTERS[usize::from(choices.pick(&setting.kinds))]),
        }
    }

    /// Gives the server's socket this room to send, exact to the byte.
    pub(super) fn set_send_space(&mut self, bytes: u32) {
        (self.send_space, self.send_unit) = (bytes, 1);
    }

    /// The peer's address, as accept gives it: IPv4 seen through an IPv6 socket at every other
    /// listener.
    pub(super) fn address(&self) -> SocketAddr {
        let ip = Ipv4Addr::new(192, 0, 2, self.ip);
        let seen: IpAddr = match self.listener % 2 {
            0 => ip.into(),
            _ => ip.to_ipv6_mapped().into(),
        };
        SocketAddr::new(seen, self.port)
    }

    /// Which peer machine it comes from.
    pub(super) fn machine(&self) -> usize {
        usize::from(self.ip)
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self.hold, Hold::Registered(_))
    }

    /// State CLOSE: over in both directions.
    pub(super) fn is_over(&self) -> bool {
        self.dead || (self.down.fin == Fin::Acked && self.up.fin_arrived())
    }

    /// SIOCOUTQ: our FIN counts as a byte.
    pub(super) fn unacked(&self) -> u32 {
        let fin = self.down.fin_sent() && self.down.fin != Fin::Acked;
        self.down.unacked + u32::from(fin)
    }

    /// The loop has asked, and some was acknowledged since it asked before, or since it sent. It
    /// may take that as progress; it must, where it has asked before.
    pub(super) fn sees_progress(&mut self, turn: u64, clock_us: u64) {
        let pending = !self.model.pending().is_empty();
        let (may, must) = match self.down.fin_sent() {
            true => (!self.told.fin, !self.told.fin),
            false => (pending, pending && (1..turn).contains(&self.duty.blocked_turn)),
        };
        if may {
            self.duty.since_us = clock_us;
        }
        if must {
            let seen_us = self.duty.acked_us.min(clock_us);
            self.duty.progress_us = self.duty.progress_us.max(seen_us);
        }
    }

    /// How much a send can take now.
    pub(super) fn room(&self) -> u32 {
        let held = self.down.unacked.next_multiple_of(self.send_unit);
        self.send_space.saturating_sub(held)
    }

    /// Whether EPOLLOUT is due: a third of the send buffer is free.
    pub(super) fn has_room(&self) -> bool {
        self.room() >= self.send_space / 3
    }

    /// Whether a receive has something to say that it has not said.
    pub(super) fn has_input(&self) -> bool {
        self.up.unread > 0 || (self.up.fin_arrived() && !self.told.fin) || self.errno.is_some()
    }

    /// Whether an event says that there is no room: a send has blocked, and nothing came of it yet.
    pub(super) fn is_full(&self) -> bool {
        self.no_space && !self.dead && self.errno.is_none()
    }

    /// What an event says of this socket now; `None` if there is nothing to say (tcp_poll).
    pub(super) fn poll(&self) -> Option<Hints> {
        let read_closed = self.up.fin_arrived() || self.dead;
        let readable = self.up.unread > 0 || read_closed;
        let writable = self.registered_writable && (self.down.fin_sent() || self.has_room());
        let arrived = self.model.rx + u64::from(self.up.unread);
        (readable || writable).then(|| Hints {
            read_closed,
            priority: self.urgent.is_some_and(|mark| (self.model.rx..arrived).contains(&mark)),
            error: self.errno.is_some(),
            no_room: false,
        })
    }
}
