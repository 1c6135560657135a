//! The calls that move bytes: recv and send.

use crate::kernel::Io;
use crate::machine::close::Via;
use crate::simulation::Rule;
use crate::simulation::agenda::{Due, Segment};
use crate::simulation::faults::Fault;
use crate::simulation::model::say;
use crate::simulation::pipe::Fin;
use crate::simulation::trace::What;
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    pub(super) fn sys_recv(&mut self, index: u32, space: &mut [u8]) -> Io<usize> {
        self.call(index);
        let gave = self.recv_now(index, space);
        self.note(index, What::Recv { space: space.len(), gave });
        self.record_error(index, Via::Recv, gave.map(drop));
        self.owe(index);
        gave
    }

    fn recv_now(&mut self, index: u32, space: &mut [u8]) -> Io<usize> {
        if !self.link(index).down.fin_sent() && !self.link(index).model.pending().is_empty() {
            self.violate(Rule::Memory, Some(index), "reads on while a reply is pending");
        }
        if self.injects(Fault::RecvNoMemory) {
            self.link(index).told.recv_retries = true;
            return Io::Failed(Self::NUMBERS.no_memory(&mut self.choices));
        }
        if self.injects(Fault::RecvFails) {
            self.inject_socket_error(index);
        }
        let link = self.link(index);
        link.told.recv_retries = false;
        if link.up.unread > 0 {
            let bytes = self.take_unread(index, space);
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
    fn take_unread(&mut self, index: u32, space: &mut [u8]) -> usize {
        let (now_us, clock_us) = (self.clock.now_us(), self.clock.seen_us());
        let short = !LINUX && self.injects(Fault::ShortRecv);
        let link = self.network.link_mut(index);
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
        if link.down.fin_sent() || too_late || !self.findings.is_judged() {
            link.model.discard(bytes as u64);
        } else {
            link.model.request(self.setting.config.framing, &self.setting.config.prefix, space);
            (link.duty.since_us, link.duty.progress_us) = (clock_us, clock_us);
            (link.duty.acks_seen, link.duty.blocked_turn) = (true, 0);
        }
        link.up.unread -= bytes as u32;
        link.unread_us = now_us;
        if link.up.queued > 0 || link.up.fin == Fin::Queued {
            self.network.send_down(index, Segment::Window);
        }
        self.turn.moved = true;
        bytes
    }

    pub(super) fn sys_send(&mut self, index: u32, bytes: &[u8]) -> Io<usize> {
        self.call(index);
        let took = self.send_now(index, bytes);
        if !matches!(took, Io::Done(_)) {
            self.blocked(index);
        }
        self.note(index, What::Send { offered: bytes.len(), took });
        self.record_error(index, Via::Send, took.map(drop));
        self.owe(index);
        took
    }

    fn send_now(&mut self, index: u32, bytes: &[u8]) -> Io<usize> {
        let link = self.network.link(index);
        let next = !bytes.is_empty() && link.model.pending().starts_with(bytes);
        if self.findings.is_judged() && !next {
            let what = format!(
                "offers {} bytes which are not the next of {} pending",
                bytes.len(),
                link.model.pending().len()
            );
            self.violate(Rule::Bytes, Some(index), what);
            return Io::Failed(Self::NUMBERS.pipe());
        }
        if self.injects(Fault::SendNoMemory) {
            self.link(index).told.send_retries = true;
            return Io::Failed(Self::NUMBERS.no_memory(&mut self.choices));
        }
        if self.injects(Fault::SendFails) {
            self.inject_socket_error(index);
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
        if self.injects(Fault::SendBlocks) {
            self.asks_for_room(index);
            let later_us = self.choices.magnitude(1, 50_000);
            self.network.schedule(self.clock.now_us() + later_us, index, Due::Room);
            return Io::WouldBlock;
        }
        let mut taken = bytes.len().min(room);
        if LINUX && taken < bytes.len() {
            self.link(index).no_space = true; // it has looked for more room (tcp_sendmsg)
        }
        if self.injects(Fault::ShortSend) {
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

    /// A send took nothing. From now on progress can be told by what is acknowledged.
    fn blocked(&mut self, index: u32) {
        let turn = self.turn.number;
        let blocked_turn = &mut self.link(index).duty.blocked_turn;
        if *blocked_turn == 0 {
            *blocked_turn = turn;
        }
    }

    /// The socket takes the next `bytes` bytes of the reply.
    fn takes_bytes(&mut self, index: u32, bytes: usize) {
        let (clock_us, judged) = (self.clock.seen_us(), self.findings.is_judged());
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
        self.network.pump_down(index);
    }
}
