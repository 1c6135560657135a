//! Accepting new connections: within a budget; beyond a limit they are reset or stay in the
//! backlog.

use std::net::SocketAddr;

use super::listener::{AcceptError, Pause, accept_error};
use super::reap::ending;
use super::{Reactor, Stage};
use crate::config::Overload;
use crate::kernel::{Io, Kernel};
use crate::machine::close::{Answers, LocalCause};
use crate::machine::connection::{Connection, Goodbye};
use crate::machine::errno::{Errno, Meaning};

/// Whether to continue accepting in this turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Continue,
    Stop,
}

impl<K: Kernel> Reactor<K> {
    /// Accepts from whichever listener is ready, in turn, until none is or the budget is spent.
    pub(super) fn accept(&mut self) {
        let budget = self.config.accepts_per_turn.max(1).max(self.share_of_serving(4));
        let mut failure = None;
        let mut failures = 0;
        for _ in 0..budget {
            let Some(listener) = self.listeners.next_ready(self.context.now) else { break };
            let before = self.turn.accepted;
            let newcomer = self.next_newcomer(listener);
            if self.turn.accepted > before {
                self.listeners.count_accepted(listener);
            }
            let then = match newcomer {
                Io::Done(then) => then,
                Io::WouldBlock => {
                    self.listeners.would_block(listener);
                    Then::Continue
                }
                Io::Failed(errno) if self.failed_on_empty_backlog(listener, errno) => {
                    self.listeners.would_block(listener);
                    Then::Continue
                }
                Io::Failed(errno) => {
                    failures += 1;
                    failure = Some(errno);
                    self.accept_failed(errno)
                }
            };
            if then == Then::Stop {
                break;
            }
        }
        // An error is usually about one new connection. If every call fails, the cause is more
        // general: try less often, and log it.
        if failures == budget
            && let Some(errno) = failure
        {
            self.pause(Pause::Failing(errno));
        }
        if self.stage == Stage::Draining && self.last_accepts_are_done() {
            self.kernel.stop_listening();
            self.listeners.close();
        }
    }

    /// Whether the drain has accepted everything in the backlog, or as much as the backlog can
    /// hold, or has no time left.
    fn last_accepts_are_done(&self) -> bool {
        let over = self.context.drain_is_over();
        over || !self.listeners.any_ready()
    }

    /// Takes one new connection from `listener`, or refuses one.
    fn next_newcomer(&mut self, listener: usize) -> Io<Then> {
        if self.table.len() >= self.config.slots() {
            return Io::Done(Then::Stop); // there is room, as soon as this turn ends
        }
        if self.table.open() < self.config.max_connections {
            return match self.kernel.accept(listener) {
                Io::Failed(errno) if self.sheds_on(errno) => {
                    if !self.kernel.has_newcomer(listener) {
                        return Io::WouldBlock;
                    }
                    self.report_shedding(Pause::Exhausted(errno));
                    self.shed(listener)
                }
                newcomer => newcomer.map(|(socket, peer)| self.admit(socket, peer)),
            };
        }
        match self.config.overload {
            Overload::Shed => self.shed(listener),
            Overload::Wait => match self.table.take_oldest_settling() {
                None if !self.kernel.has_newcomer(listener) => Io::WouldBlock,
                None => {
                    self.pause(Pause::Full);
                    Io::Done(Then::Stop)
                }
                // Only when there is a new connection to make room for, and it will not be refused.
                Some(oldest) => {
                    let newcomer = self.kernel.accept(listener);
                    match &newcomer {
                        Io::Done((_, peer)) if !self.is_beyond_ip_limit(*peer) => {
                            self.decide_now(oldest);
                        }
                        _ => self.table.put_back_oldest(oldest),
                    }
                    newcomer.map(|(socket, peer)| self.admit(socket, peer))
                }
            },
        }
    }

    /// Ends a connection that only waits for its evidence, with the verdict that is known now. Its
    /// slot and its file are free when this turn ends.
    fn decide_now(&mut self, key: u32) {
        if let Some(slot) = self.table.get_mut(key) {
            slot.connection.decide_now();
            // None is served twice in a turn, and one that was is asked for its evidence only.
            let was_visited = slot.visited_in == self.turn_number;
            self.visit_within(key, if was_visited { 0 } else { self.bytes_per_visit() });
        }
        // Its budget stopped it: whatever else its peer sends is not waited for.
        if let Some(slot) = self.table.get_mut(key) {
            slot.connection.expire(&self.context);
            self.visit_within(key, 0);
        }
    }

    /// Whether this peer's network has reached its limit of connections.
    fn is_beyond_ip_limit(&self, peer: SocketAddr) -> bool {
        let limit = self.config.max_per_ip;
        limit.is_some_and(|limit| self.table.count_of(peer.ip()) >= limit)
    }

    /// Gives a new connection a slot and a deadline, unless its address has too many already.
    fn admit(&mut self, socket: K::Socket, peer: SocketAddr) -> Then {
        self.read_clock(); // its deadline counts from here
        self.counters.accepted += 1;
        self.turn.accepted += 1;
        let id = self.counters.accepted;
        let mut connection = Connection::new(id, peer.into(), &self.context);
        if self.is_beyond_ip_limit(peer) {
            connection.refuse(LocalCause::Policy);
            self.kernel.close(socket, Goodbye::Reset);
            self.report_refused(connection);
            return Then::Continue;
        }
        let key = self.table.insert(socket, connection, self.turn_number);
        let Some(slot) = self.table.get_mut(key) else { return Then::Continue };
        match self.kernel.register(&mut slot.socket, key) {
            Ok(()) => {
                self.wheel.arm(key, slot.connection.alarm(&self.context));
                Then::Continue
            }
            Err(errno) => {
                slot.connection.refuse(LocalCause::Resource);
                self.table.end(key);
                let pause = Pause::Unregistered(errno);
                if self.config.overload == Overload::Shed {
                    self.report_shedding(pause);
                    return Then::Continue; // the next ones are reset like this one
                }
                self.pause(pause);
                Then::Stop
            }
        }
    }

    /// Reports a connection that never had a slot: all that is known is that we refused it.
    fn report_refused(&mut self, mut connection: Connection) {
        let conclusion = connection.conclude(Answers::nothing(K::SYSTEM));
        self.report(ending(&connection, None, conclusion, self.context.now));
    }

    /// Whether new connections are reset when the system lacks a resource.
    fn sheds_on(&self, errno: Errno) -> bool {
        self.config.overload == Overload::Shed
            && accept_error(errno, K::SYSTEM) == AcceptError::Exhausted
    }

    /// Accepts one new connection and resets it.
    fn shed(&mut self, listener: usize) -> Io<Then> {
        self.kernel.shed(listener).map(|peer| {
            self.read_clock();
            self.counters.accepted += 1;
            self.turn.accepted += 1;
            let id = self.counters.accepted;
            let mut connection = Connection::new(id, peer.into(), &self.context);
            connection.refuse(LocalCause::Policy);
            self.report_refused(connection);
            Then::Continue
        })
    }

    /// Whether accept has failed for lack of a file or memory while no new connection waits. It
    /// fails in either case; if none waits, nothing is logged and nothing is given up.
    fn failed_on_empty_backlog(&mut self, listener: usize, errno: Errno) -> bool {
        accept_error(errno, K::SYSTEM) == AcceptError::Exhausted
            && !self.kernel.has_newcomer(listener)
    }

    fn accept_failed(&mut self, errno: Errno) -> Then {
        match accept_error(errno, K::SYSTEM) {
            AcceptError::Next => Then::Continue,
            AcceptError::Exhausted => {
                self.pause(Pause::Exhausted(errno));
                if let Some(oldest) = self.table.take_oldest_settling() {
                    self.decide_now(oldest);
                }
                Then::Stop
            }
        }
    }

    /// Stops accepting for a while, and logs that once per episode.
    fn pause(&mut self, pause: Pause) {
        let retry_ms = self.config.accept_retry_ms;
        let retry_at = (pause != Pause::Full).then(|| self.context.now.after(retry_ms));
        if self.listeners.pause(pause, self.context.now, retry_at) {
            self.report_pause(pause);
        }
    }

    /// Logs why new connections are reset, once per episode.
    fn report_shedding(&mut self, pause: Pause) {
        if self.listeners.is_to_be_reported(self.context.now) {
            self.report_pause(pause);
        }
    }

    /// Logs why new connections wait, or are reset, and what to do about it.
    fn report_pause(&self, pause: Pause) {
        let retry_ms = self.config.accept_retry_ms;
        let sheds = self.config.overload == Overload::Shed;
        let name = |errno: Errno| errno.name(K::SYSTEM).unwrap_or("an unknown error");
        let remedy = |errno: Errno| match errno.name(K::SYSTEM) {
            Some("ENOSPC") => "raise fs.epoll.max_user_watches",
            _ => "the system is short of memory for sockets",
        };
        let open = self.table.open();
        let then = match sheds {
            true => "new connections are reset".to_owned(),
            false => {
                let next = format!("the next attempt is in {retry_ms} ms");
                format!("new connections wait in the backlog, and {next}")
            }
        };
        match pause {
            Pause::Full => log::warn!(
                "{open} connections, which is the limit: new connections wait in the backlog until \
                 one ends (see --max-connections and --overload)"
            ),
            Pause::Exhausted(errno) => log::warn!(
                "accept: {} with {open} connections open; {then} ({})",
                name(errno),
                match errno.meaning(K::SYSTEM) {
                    Meaning::NoFiles => "raise the open-file limit or lower --max-connections",
                    _ => remedy(errno),
                }
            ),
            Pause::Unregistered(errno) => log::warn!(
                "a new connection was reset, because the system cannot watch it ({}) beside \
                 {open} others; {then} ({})",
                name(errno),
                remedy(errno),
            ),
            Pause::Failing(errno) => log::error!(
                "accept: {} (error {}) at every call; the next attempt is in {retry_ms} ms",
                name(errno),
                errno.0,
            ),
        }
    }
}
