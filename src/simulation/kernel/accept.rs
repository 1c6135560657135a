//! The calls that bring a connection in: accept and its siblings, and the two that register.

use std::net::SocketAddr;

use crate::config::{LEAVING_MAX, Overload};
use crate::kernel::Io;
use crate::machine::close::LocalCause;
use crate::machine::errno::{Errno, Meaning};
use crate::simulation::Rule;
use crate::simulation::faults::Fault;
use crate::simulation::link::Hold;
use crate::simulation::trace::{NO_LINK, What};
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    pub(super) fn sys_accept(&mut self, listener: usize) -> Io<(u32, SocketAddr)> {
        self.spend();
        let newcomer = self.accept_now(listener);
        if let Io::Failed(errno) = newcomer {
            self.note(NO_LINK, What::AcceptFails(errno));
        }
        newcomer.map(|index| (index, self.welcome(index)))
    }

    fn accept_now(&mut self, listener: usize) -> Io<u32> {
        self.turn.accept_calls += 1;
        self.listeners.begin_accept();
        if !self.listeners.are_open() {
            self.violate(Rule::Accept, None, "accepts from a listener that is closed");
            return Io::WouldBlock;
        }
        let paused_until_ms = self.listeners.paused_until_ms();
        if paused_until_ms.is_some_and(|until_ms| self.clock.seen_us() / 1_000 < until_ms) {
            let what = "accepts again, and neither time nor a slot has come";
            self.violate(Rule::Accept, None, what);
        }
        let full = self.is_full();
        // A connection that has ended in this turn is closed at its end, and counts until then.
        if self.sockets.open() >= self.setting.config.max_connections + LEAVING_MAX {
            self.violate(Rule::Memory, None, "accepts beyond max_connections");
        }
        if self.injects(Fault::AcceptEpisode) {
            let lasts_us = 1_000 * self.choices.magnitude(1, 3_000);
            self.listeners.exhaust(self.clock.now_us() + lasts_us);
        }
        if self.is_exhausted() || self.injects(Fault::AcceptExhausted) {
            let files = self.sockets.open() >= self.setting.files || self.choices.below(2) == 0;
            let why = if files { Meaning::NoFiles } else { Meaning::NoMemory };
            return Io::Failed(self.out_of(why, listener));
        }
        if self.listeners.waiting(listener) > 0 && self.injects(Fault::AcceptLoses) {
            if let Some(index) = self.listeners.lose(listener, self.clock.now_us()) {
                self.link(index).hold = Hold::Closed;
                self.network.abort(index);
            }
            return Io::Failed(Self::NUMBERS.lost(&mut self.choices));
        }
        match self.listeners.dequeue(listener) {
            None => Io::WouldBlock,
            Some(index) => {
                self.may_give_up(full);
                self.tally.made_room += u64::from(full);
                Io::Done(index)
            }
        }
    }

    pub(super) fn sys_has_newcomer(&mut self, listener: usize) -> bool {
        self.spend();
        let waits = self.listeners.ask(listener);
        // It came after accept had looked.
        self.may_give_up(waits && self.listeners.accept_failed());
        waits
    }

    pub(super) fn sys_shed(&mut self, listener: usize) -> Io<SocketAddr> {
        self.spend();
        let full = self.is_full();
        if self.setting.config.overload == Overload::Wait
            || !(full || self.listeners.accept_failed())
        {
            self.violate(Rule::Accept, None, "sheds a newcomer for no reason");
        }
        self.turn.accept_calls += 1;
        self.listeners.end_pause();
        if self.injects(Fault::ShedFails) {
            return Io::Failed(self.out_of(Meaning::NoFiles, listener));
        }
        let Some(index) = self.listeners.dequeue(listener) else { return Io::WouldBlock };
        let peer = self.welcome(index);
        self.link(index).duty.cause = Some(LocalCause::Policy);
        self.note(index, What::Shed { id: self.sockets.accepted().len() as u64 });
        self.release(index);
        self.network.abort(index);
        Io::Done(peer)
    }

    /// The loop has `index` now, and its address.
    fn welcome(&mut self, index: u32) -> SocketAddr {
        let id = self.sockets.accept(index);
        self.turn.moved = true;
        let link = self.link(index);
        link.hold = Hold::Accepted;
        let address = link.address();
        self.note(index, What::Accept { id });
        self.turn.touched.push(index);
        address
    }

    /// In this turn one more connection may be decided early, if `allowed`.
    fn may_give_up(&mut self, allowed: bool) {
        if allowed {
            self.early_ends.allow(self.turn.number);
            self.turn.early_ends += 1;
        }
    }

    /// Accept is out of files or memory, which it says whether a newcomer waits or not.
    fn out_of(&mut self, why: Meaning, listener: usize) -> Errno {
        if self.listeners.waiting(listener) == 0 {
            self.listeners.fail_idle();
            return match why {
                Meaning::NoFiles => Self::NUMBERS.no_files(&mut self.choices),
                _ => Self::NUMBERS.no_memory(&mut self.choices),
            };
        }
        self.exhaust(why)
    }

    /// Accept, or register, is out of files or memory: the loop is to leave it alone for a while.
    fn exhaust(&mut self, why: Meaning) -> Errno {
        self.tally.pauses += 1;
        let retry_ms = self.setting.config.accept_retry_ms;
        self.listeners.pause(self.clock.seen_us() / 1_000 + retry_ms, self.clock.now_us());
        self.may_give_up(true);
        match why {
            Meaning::NoFiles => Self::NUMBERS.no_files(&mut self.choices),
            _ => Self::NUMBERS.no_memory(&mut self.choices),
        }
    }

    pub(super) fn sys_stop_listening(&mut self) {
        self.spend();
        self.check_sweep();
        self.turn.moved |= self.listeners.are_open();
        for index in self.listeners.close() {
            self.link(index).hold = Hold::Closed;
            self.network.abort(index);
        }
    }

    pub(super) fn sys_register(&mut self, index: u32, key: u32) -> Result<(), Errno> {
        self.call(index);
        let took = self.register_now(index, key);
        self.note(index, What::Register { key, took: took.is_ok() });
        took
    }

    fn register_now(&mut self, index: u32, key: u32) -> Result<(), Errno> {
        self.readiness.make_room(key);
        if self.readiness.was_used(key, self.turn.number) {
            let what = format!("key {key} had another socket when this turn began");
            self.violate(Rule::SlotReuse, Some(index), what);
        }
        if self.injects(Fault::RegisterFails) {
            self.link(index).duty.cause = Some(LocalCause::Resource);
            if self.setting.config.overload == Overload::Shed {
                return Err(Self::NUMBERS.no_memory(&mut self.choices)); // the next is taken, too
            }
            return Err(self.exhaust(Meaning::NoMemory));
        }
        let clock_us = self.clock.seen_us();
        self.readiness.register(key, index);
        let link = self.link(index);
        link.hold = Hold::Registered(key);
        link.duty.accepted_us = clock_us;
        (link.duty.since_us, link.duty.progress_us) = (clock_us, clock_us);
        let machine = link.machine();
        self.sockets.register(machine);
        self.wake(index);
        self.owe(index);
        Ok(())
    }

    pub(super) fn sys_register_writable(&mut self, index: u32, key: u32) -> Result<(), Errno> {
        self.call(index);
        let took = self.register_writable_now(index);
        self.note(index, What::Register { key, took: took.is_ok() });
        self.owe(index);
        took
    }

    fn register_writable_now(&mut self, index: u32) -> Result<(), Errno> {
        if self.injects(Fault::RegisterFails) {
            self.link(index).told.send_retries = true;
            return Err(Self::NUMBERS.no_memory(&mut self.choices));
        }
        let link = self.link(index);
        link.registered_writable = true;
        let writable = link.has_room() || link.is_over();
        if writable {
            link.no_space = false;
        }
        if writable || LINUX {
            self.signal(index); // what is there already is an event anew (EPOLL_CTL_MOD)
        }
        Ok(())
    }
}
