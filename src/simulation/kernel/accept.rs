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
use crate::simulation::world::{Key, World};

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
        self.accept_fails = false;
        if !self.listening {
            self.violate(Rule::Accept, None, "accepts from a listener that is closed");
            return Io::WouldBlock;
        }
        if self.paused_until_ms.is_some_and(|until_ms| self.clock_us / 1_000 < until_ms) {
            let what = "accepts again, and neither time nor a slot has come";
            self.violate(Rule::Accept, None, what);
        }
        let full = self.open >= self.setting.config.max_connections;
        // Who has ended in this turn is closed at its end, and holds a place till then.
        if self.open >= self.setting.config.max_connections + LEAVING_MAX {
            self.violate(Rule::Memory, None, "accepts beyond max_connections");
        }
        if self.strike(Fault::AcceptEpisode) {
            self.exhausted_until_us = self.now_us + 1_000 * self.choices.magnitude(1, 3_000);
        }
        if self.is_exhausted() || self.strike(Fault::AcceptExhausted) {
            let files = self.open >= self.setting.files || self.choices.below(2) == 0;
            let why = if files { Meaning::NoFiles } else { Meaning::NoMemory };
            return Io::Failed(self.out_of(why, listener));
        }
        if !self.doors[listener].queue.is_empty() && self.strike(Fault::AcceptLoses) {
            self.doors.iter_mut().for_each(|door| door.since_us = self.now_us);
            if let Some(index) = self.doors[listener].queue.pop_front() {
                self.link(index).hold = Hold::Closed;
                self.bury(index);
            }
            self.accept_fails = true;
            return Io::Failed(Self::NUMBERS.lost(&mut self.choices));
        }
        match self.next_in_line(listener) {
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
        let waits = !self.doors[listener].queue.is_empty();
        self.doors[listener].quiet |= !waits;
        self.may_give_up(waits && self.accept_fails); // it came after accept had looked
        waits
    }

    pub(super) fn sys_shed(&mut self, listener: usize) -> Io<SocketAddr> {
        self.spend();
        let full = self.open >= self.setting.config.max_connections;
        if self.setting.config.overload == Overload::Wait || !(full || self.accept_fails) {
            self.violate(Rule::Accept, None, "sheds a newcomer for no reason");
        }
        self.turn.accept_calls += 1;
        self.paused_until_ms = None;
        if self.strike(Fault::ShedFails) {
            return Io::Failed(self.out_of(Meaning::NoFiles, listener));
        }
        let Some(index) = self.next_in_line(listener) else { return Io::WouldBlock };
        let peer = self.welcome(index);
        self.link(index).duty.cause = Some(LocalCause::Policy);
        self.note(index, What::Shed { id: self.accepted.len() as u64 });
        self.release(index);
        self.bury(index);
        Io::Done(peer)
    }

    /// The first in the queue; none is "would block".
    fn next_in_line(&mut self, listener: usize) -> Option<u32> {
        let next = self.doors[listener].queue.pop_front();
        self.doors[listener].quiet = next.is_none();
        next
    }

    /// The loop has `index` now, and its address.
    fn welcome(&mut self, index: u32) -> SocketAddr {
        self.accepted.push(index);
        self.open += 1;
        self.turn.moved = true;
        let id = self.accepted.len() as u64;
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
            *self.given_up.entry(self.turn.number).or_default() += 1;
            self.turn.given_up += 1;
        }
    }

    /// Accept is out of files or memory, which it says whether a newcomer waits or not.
    fn out_of(&mut self, why: Meaning, listener: usize) -> Errno {
        if self.doors[listener].queue.is_empty() {
            self.accept_fails = true;
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
        self.paused_until_ms = Some(self.clock_us / 1_000 + retry_ms);
        self.accept_fails = true;
        self.may_give_up(true);
        self.doors.iter_mut().for_each(|door| door.since_us = self.now_us); // they pause together
        match why {
            Meaning::NoFiles => Self::NUMBERS.no_files(&mut self.choices),
            _ => Self::NUMBERS.no_memory(&mut self.choices),
        }
    }

    pub(super) fn sys_stop_listening(&mut self) {
        self.spend();
        self.check_sweep();
        self.turn.moved |= self.listening;
        self.listening = false;
        for door in 0..self.doors.len() {
            self.doors[door].quiet = true;
            while let Some(index) = self.doors[door].queue.pop_front() {
                self.link(index).hold = Hold::Closed;
                self.bury(index);
            }
        }
    }

    pub(super) fn sys_register(&mut self, index: u32, key: u32) -> Result<(), Errno> {
        self.call(index);
        let took = self.register_now(index, key);
        self.note(index, What::Register { key, took: took.is_ok() });
        took
    }

    fn register_now(&mut self, index: u32, key: u32) -> Result<(), Errno> {
        if self.keys.len() <= key as usize {
            self.keys.resize(key as usize + 1, Key::default());
        }
        let slot = self.keys[key as usize];
        if slot.link.is_some() || slot.closed_turn == self.turn.number {
            let what = format!("key {key} had another socket when this turn began");
            self.violate(Rule::SlotReuse, Some(index), what);
        }
        if self.strike(Fault::RegisterFails) {
            self.link(index).duty.cause = Some(LocalCause::Resource);
            if self.setting.config.overload == Overload::Shed {
                return Err(Self::NUMBERS.no_memory(&mut self.choices)); // the next is taken, too
            }
            return Err(self.exhaust(Meaning::NoMemory));
        }
        let clock_us = self.clock_us;
        self.keys[key as usize].link = Some(index);
        let link = self.link(index);
        link.hold = Hold::Registered(key);
        link.duty.accepted_us = clock_us;
        (link.duty.since_us, link.duty.progress_us) = (clock_us, clock_us);
        let machine = link.machine();
        self.by_machine[machine] += 1;
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
        if self.strike(Fault::RegisterFails) {
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
