//! Opening connections: all of them at the beginning, or one after another in the same place.

use std::io;

use mio::{Interest, Token};

use super::stage::RunPhase;
use super::{Generator, Place, moment};
use crate::kernel::mio_kernel::errno;
use crate::load::connection::{ClientConnection, Phase};
use crate::load::link;
use crate::load::tally::Trouble;
use crate::machine::errno::Errno;
use crate::machine::time::Moment;

/// Handshakes and first replies that are awaited at a time. It is far below any backlog: a
/// connection that does not fit into the backlog is not refused but dropped, and retried after a
/// second.
pub(super) const OPENING_MAX: u32 = 256;

/// The pause of a place after a failed connect, in milliseconds: a server that does not answer is
/// tried again indefinitely, but not in a busy loop.
const RETRY_MS: u64 = 100;

impl Generator {
    /// Opens as many connections as the limit and the ramp allow.
    pub(super) fn open_more(&mut self) {
        if self.is_churn() {
            return;
        }
        let failed = self.opened - self.slab.len() as u32;
        if failed >= OPENING_MAX && self.slab.len() as u32 == self.opening {
            // No connection had a reply, and timeouts in a row would take too long.
            self.opened = self.plan.connections;
            return;
        }
        while self.opened < self.plan.connections && self.opening < OPENING_MAX {
            let now = self.now();
            if self.next_open_at().is_some_and(|at| at > now) {
                return;
            }
            let key = self.take_place();
            self.opening += 1;
            self.connect(key, now);
        }
    }

    /// When the ramp allows the next one; at once without a ramp. `None` if none is to be opened by
    /// the clock.
    pub(super) fn next_open_at(&self) -> Option<u64> {
        let opens = self.stage == RunPhase::Opening && self.opened < self.plan.connections;
        let ramp = self.plan.ramp.filter(|_| opens && self.opening < OPENING_MAX)?;
        // Processes take turns, by their numbers.
        let number = self.plan.number(self.opened);
        Some(u64::from(number) * 1_000_000_000 / u64::from(ramp))
    }

    /// Churn: a place for each cycle that may be in flight.
    pub(super) fn take_places(&mut self) {
        while self.opened < self.plan.connections {
            let key = self.take_place();
            self.slab[key].connection.is_new = false;
        }
    }

    fn take_place(&mut self) -> usize {
        self.opened += 1;
        let connection = ClientConnection::new(self.script.begin(true));
        self.slab.insert(Place { socket: None, connection })
    }

    /// Begins the handshake. An event reports its result.
    pub(super) fn connect(&mut self, key: usize, now: u64) {
        let number = self.plan.number(self.connects);
        self.connects = self.connects.wrapping_add(1);
        let asked = self.slab[key].connection.asked;
        let noted = self.noted(key, asked);
        self.begun_at[noted] = now;
        self.slab[key].connection.connects(self.script.begin(true));
        let opened = self.open_socket(key, number, now);
        if self.is_churn() {
            self.begins(key);
        }
        match opened {
            Ok(()) => self.arm(key, now),
            Err(error) => self.connect_failed(key, errno(&error)),
        }
    }

    fn open_socket(&mut self, key: usize, number: u32, now: u64) -> io::Result<()> {
        let mut socket = link::connect(&self.plan, &mut self.ports, number, now)?;
        // Writable interest reports the end of the handshake. Later it costs nothing, because a
        // socket whose buffer was never full has no such event.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(key), interest)?;
        self.slab[key].socket = Some(socket);
        Ok(())
    }

    /// The connect failed, so there is no connection and no verdict.
    pub(super) fn connect_failed(&mut self, key: usize, errno: Errno) {
        let trouble = Trouble::of_connect(errno);
        self.note_errno(key, trouble, errno);
        self.never_came(key);
    }

    /// Frees the place of a connect that failed, or pauses it.
    pub(super) fn never_came(&mut self, key: usize) {
        self.lose_turns(key);
        let now = self.now();
        let reopens = self.reopens();
        let connection = &mut self.slab[key].connection;
        if !reopens {
            self.opening -= u32::from(connection.is_new);
            return self.remove(key);
        }
        connection.phase = Phase::Closed;
        connection.wakes_at = moment(now).after(RETRY_MS);
        self.slab[key].socket = None;
        if self.stage == RunPhase::Finishing {
            self.give_up(key); // the time has passed: the server is not waited for
        }
        self.wheel.arm(key as u32, moment(now).after(RETRY_MS));
    }

    /// The handshake has finished.
    pub(super) fn connected(&mut self, key: usize, now: u64) {
        let socket = self.slab[key].socket.as_ref().filter(|_| self.may_meet_itself);
        if socket.is_some_and(|it| link::is_itself(it.local_addr(), it.peer_addr())) {
            self.note(key, Trouble::Refused); // nothing listens at this address
            return self.never_came(key);
        }
        let is_churn = self.is_churn();
        let connection = &mut self.slab[key].connection;
        connection.phase = Phase::Open;
        connection.wakes_at = self.plan.every_ms.map_or(Moment::NEVER, |ms| moment(now).after(ms));
        if is_churn {
            connection.says(self.plan.size);
            return self.flush(key);
        }
        self.arm(key, now);
        if self.is_measuring() {
            self.go_on(key, now); // it replaces a lost connection: it sends what is due
        } else {
            self.ask(key, now);
        }
    }

    /// Whether the next connection takes the place of one that has ended: the next cycle of churn;
    /// and in the open loop, because requests become late while it is missing.
    pub(super) fn reopens(&self) -> bool {
        self.is_churn() || (self.pace.is_some() && self.is_measuring())
    }

    /// Opens the next connection in this place, if one is needed.
    pub(super) fn reopen(&mut self, key: usize, now: u64) {
        let connection = &self.slab[key].connection;
        let rests = connection.wakes_at != Moment::NEVER && connection.wakes_at > moment(now);
        let wanted = match self.stage {
            RunPhase::Running | RunPhase::Finishing if self.plan.rate.is_some() => {
                connection.owed() > 0
            }
            RunPhase::Running => now < self.window.end,
            _ => false,
        };
        if wanted && connection.phase == Phase::Closed && !rests {
            self.connect(key, now);
        }
    }
}
