//! What the system calls do, once they have taken their time: faults strike, bytes move, and what
//! the loop does wrong is written down.

use std::net::SocketAddr;

use super::Rule;
use super::agenda::{Due, Segment};
use super::faults::Fault;
use super::link::Hold;
use super::model::say;
use super::pipe::Fin;
use super::trace::What;
use super::world::{Key, World};
use crate::config::{LEAVING_MAX, Overload};
use crate::kernel::{Io, Kernel};
use crate::machine::close::{FirstError, LocalCause, Via};
use crate::machine::errno::{Errno, Meaning};

/// What the calls do, once they have taken their time.
impl<const LINUX: bool> World<LINUX> {
    pub(super) fn accept_now(&mut self, listener: usize) -> Io<u32> {
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

    /// In this turn one more connection may be decided early, if `allowed`.
    pub(super) fn may_give_up(&mut self, allowed: bool) {
        if allowed {
            *self.given_up.entry(self.turn.number).or_default() += 1;
            self.turn.given_up += 1;
        }
    }

    /// The first in the queue; none is "would block".
    pub(super) fn next_in_line(&mut self, listener: usize) -> Option<u32> {
        let next = self.doors[listener].queue.pop_front();
        self.doors[listener].quiet = next.is_none();
        next
    }

    /// Accept is out of files or memory, which it says whether a newcomer waits or not.
    pub(super) fn out_of(&mut self, why: Meaning, listener: usize) -> Errno {
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
    pub(super) fn exhaust(&mut self, why: Meaning) -> Errno {
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

    /// The loop has `index` now, and its address.
    pub(super) fn welcome(&mut self, index: u32) -> SocketAddr {
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

    pub(super) fn register_now(&mut self, index: u32, key: u32) -> Result<(), Errno> {
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

    pub(super) fn register_writable_now(&mut self, index: u32) -> Result<(), Errno> {
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

    pub(super) fn recv_now(&mut self, index: u32, space: &mut [u8]) -> Io<usize> {
        if !self.link(index).down.fin_sent() && !self.link(index).model.pending().is_empty() {
            self.violate(Rule::Memory, Some(index), "reads on while a reply is pending");
        }
        if self.strike(Fault::RecvNoMemory) {
            self.link(index).told.recv_retries = true;
            return Io::Failed(Self::NUMBERS.no_memory(&mut self.choices));
        }
        if self.strike(Fault::RecvFails) {
            self.struck_dead(index);
        }
        let link = self.link(index);
        link.told.recv_retries = false;
        if link.up.unread > 0 {
            let bytes = self.hand_out(index, space);
            self.check_visit(index, bytes);
            return Io::Done(bytes);
        }
        link.armed = true;
        if link.up.fin_arrived() {
            link.told.fin = true;
            return Io::Done(0);
        }
        match (link.errno.take(), link.dead) {
            (Some(errno), _) => Io::Failed(errno),
            (None, true) => Io::Done(0),
            (None, false) => Io::WouldBlock,
        }
    }

    /// Gives what is in the receive queue, up to the urgent mark.
    fn hand_out(&mut self, index: u32, space: &mut [u8]) -> usize {
        let (now_us, clock_us) = (self.now_us, self.clock_us);
        let short = !LINUX && self.strike(Fault::ShortRecv);
        let link = &mut self.links[index as usize];
        let mut bytes = (link.up.unread as usize).min(space.len());
        if short {
            bytes = self.choices.between(1, bytes as u64) as usize;
        }
        let ahead = link.urgent.and_then(|mark| mark.checked_sub(link.model.rx));
        if let Some(ahead @ 1..) = ahead
            && ahead < bytes as u64
        {
            bytes = ahead as usize;
            self.tally.urgent_splits += 1;
        }
        let space = &mut space[..bytes];
        say(link.seed, link.model.rx, space);
        let too_late = link.duty.answers_until.is_some_and(|until| link.model.rx >= until);
        if link.down.fin_sent() || too_late || !self.judged {
            link.model.discard(bytes as u64);
        } else {
            link.model.request(self.setting.config.framing, &self.setting.config.prefix, space);
            (link.duty.since_us, link.duty.progress_us) = (clock_us, clock_us);
            (link.duty.acks_seen, link.duty.blocked_turn) = (true, 0);
        }
        link.up.unread -= bytes as u32;
        link.unread_us = now_us;
        if link.up.queued > 0 || link.up.fin == Fin::Queued {
            self.sends_down(index, Segment::Window);
        }
        self.turn.moved = true;
        bytes
    }

    /// A send took nothing. From now on progress can be told by what is acknowledged.
    pub(super) fn blocked(&mut self, index: u32) {
        let turn = self.turn.number;
        let blocked_turn = &mut self.link(index).duty.blocked_turn;
        if *blocked_turn == 0 {
            *blocked_turn = turn;
        }
    }

    pub(super) fn send_now(&mut self, index: u32, bytes: &[u8]) -> Io<usize> {
        let link = &self.links[index as usize];
        let next = !bytes.is_empty() && link.model.pending().starts_with(bytes);
        if self.judged && !next {
            let what = format!(
                "offers {} bytes which are not the next of {} pending",
                bytes.len(),
                link.model.pending().len()
            );
            self.violate(Rule::Bytes, Some(index), what);
            return Io::Failed(Self::NUMBERS.pipe());
        }
        if self.strike(Fault::SendNoMemory) {
            self.link(index).told.send_retries = true;
            return Io::Failed(Self::NUMBERS.no_memory(&mut self.choices));
        }
        if self.strike(Fault::SendFails) {
            self.struck_dead(index);
        }
        let link = self.link(index);
        link.told.send_retries = false;
        if link.dead || link.down.fin_sent() {
            return Io::Failed(link.errno.take().unwrap_or(Self::NUMBERS.pipe()));
        }
        let room = link.room() as usize;
        if room == 0 {
            self.asks_for_room(index);
            return Io::WouldBlock;
        }
        if self.strike(Fault::SendBlocks) {
            self.asks_for_room(index);
            let later_us = self.choices.magnitude(1, 50_000);
            self.agenda.add(self.now_us + later_us, index, Due::Room);
            return Io::WouldBlock;
        }
        let mut taken = bytes.len().min(room);
        if LINUX && taken < bytes.len() {
            self.link(index).no_space = true; // it has looked for more room (tcp_sendmsg)
        }
        if self.strike(Fault::ShortSend) {
            taken = self.choices.between(1, taken as u64) as usize;
        }
        self.takes_bytes(index, taken);
        Io::Done(taken)
    }

    /// A send would block. Where only that brings further events, it asks for all of them: input
    /// that was left unread is one at once.
    fn asks_for_room(&mut self, index: u32) {
        let link = self.link(index);
        link.no_space = true;
        if !LINUX {
            link.armed = true;
            if link.has_input() {
                self.signal(index);
            }
        }
    }

    /// The socket takes the next `bytes` bytes of the reply.
    fn takes_bytes(&mut self, index: u32, bytes: usize) {
        let (clock_us, judged) = (self.clock_us, self.judged);
        let link = self.link(index);
        match judged {
            true => link.model.took(bytes),
            false => link.model.tx += bytes as u64,
        }
        link.down.take(bytes as u32);
        (link.duty.since_us, link.duty.progress_us) = (clock_us, clock_us);
        (link.duty.acks_seen, link.duty.blocked_turn) = (true, 0);
        let left = !link.model.pending().is_empty();
        self.tally.leftovers += u64::from(left);
        self.turn.moved = true;
        self.pump_down(index);
    }

    /// The socket dies in the hands of the loop, for any reason.
    pub(super) fn struck_dead(&mut self, index: u32) {
        if !self.link(index).is_over() {
            let mut errno = Self::NUMBERS.deadly(&mut self.choices);
            let link = self.link(index);
            if link.up.fin_arrived() && !link.down.fin_sent() && errno == Self::NUMBERS.reset() {
                errno = Self::NUMBERS.pipe();
            }
            self.die(index, errno);
            self.sends_down(index, Segment::Rst);
        }
    }

    /// A call handed out an error, unless it was only short of memory.
    pub(super) fn tell(&mut self, index: u32, via: Via, result: Io<()>) {
        let Io::Failed(errno) = result else { return };
        if via != Via::SoError && errno.meaning(Self::SYSTEM) == Meaning::NoMemory {
            return;
        }
        let told = &mut self.link(index).told;
        told.dead = true;
        told.error.get_or_insert(FirstError { errno, via });
    }
}
