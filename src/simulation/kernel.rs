//! The system calls, as the loop sees them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::Rule;
use super::faults::Fault;
use super::link::Hold;
use super::pipe::Fin;
use super::trace::{NO_LINK, What};
use super::world::World;
use crate::config::Overload;
use crate::kernel::{Event, Io, Kernel};
use crate::machine::close::{LocalCause, SocketFacts, TcpFacts, Via};
use crate::machine::connection::Goodbye;
use crate::machine::errno::{Errno, Meaning, System};
use crate::machine::time::Moment;

/// A connected socket of the world. Only [`close`](Kernel::close) takes it back.
#[derive(Debug)]
pub struct SimSocket(u32);

impl<const LINUX: bool> Kernel for World<LINUX> {
    type Socket = SimSocket;
    const SYSTEM: System = if LINUX { System::Linux } else { System::Windows };
    const SHORT_READ_DRAINS: bool = LINUX;

    fn now(&mut self) -> Moment {
        self.spend();
        self.gap_us_max = self.gap_us_max.max(self.now_us - self.clock_us);
        self.clock_us = self.now_us;
        if self.is_draining() && self.stopping.since_us.is_none() {
            self.begin_drain();
        }
        Moment::from_ms(self.now_us / 1_000)
    }

    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        self.end_turn(timeout_ms);
        self.sleeping = true;
        self.spend();
        self.sleep(timeout_ms, events);
        self.sleeping = false;
        Ok(())
    }

    fn listeners(&self) -> usize {
        self.doors.len()
    }

    fn accept(&mut self, listener: usize) -> Io<(SimSocket, SocketAddr)> {
        self.spend();
        let newcomer = self.accept_now(listener);
        if let Io::Failed(errno) = newcomer {
            self.note(NO_LINK, What::AcceptFails(errno));
        }
        newcomer.map(|index| (SimSocket(index), self.welcome(index)))
    }

    fn has_newcomer(&mut self, listener: usize) -> bool {
        self.spend();
        let waits = !self.doors[listener].queue.is_empty();
        self.doors[listener].quiet |= !waits;
        self.may_give_up(waits && self.accept_fails); // it came after accept had looked
        waits
    }

    fn shed(&mut self, listener: usize) -> Io<SocketAddr> {
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

    fn stop_listening(&mut self) {
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

    fn register(&mut self, socket: &mut SimSocket, key: u32) -> Result<(), Errno> {
        let SimSocket(index) = *socket;
        self.call(index);
        let took = self.register_now(index, key);
        self.note(index, What::Register { key, took: took.is_ok() });
        took
    }

    fn register_writable(&mut self, socket: &mut SimSocket, key: u32) -> Result<(), Errno> {
        let SimSocket(index) = *socket;
        self.call(index);
        let took = self.register_writable_now(index);
        self.note(index, What::Register { key, took: took.is_ok() });
        self.owe(index);
        took
    }

    fn recv(&mut self, socket: &mut SimSocket, space: &mut [u8]) -> Io<usize> {
        let SimSocket(index) = *socket;
        self.call(index);
        let gave = self.recv_now(index, space);
        self.note(index, What::Recv { space: space.len(), gave });
        self.tell(index, Via::Recv, gave.map(drop));
        self.owe(index);
        gave
    }

    fn send(&mut self, socket: &mut SimSocket, bytes: &[u8]) -> Io<usize> {
        let SimSocket(index) = *socket;
        self.call(index);
        let took = self.send_now(index, bytes);
        if !matches!(took, Io::Done(_)) {
            self.blocked(index);
        }
        self.note(index, What::Send { offered: bytes.len(), took });
        self.tell(index, Via::Send, took.map(drop));
        self.owe(index);
        took
    }

    fn shutdown_write(&mut self, socket: &mut SimSocket) -> Result<(), Errno> {
        let SimSocket(index) = *socket;
        self.call(index);
        if self.strike(Fault::ShutdownFails) {
            self.struck_dead(index);
        }
        let took = !self.link(index).is_over();
        self.note(index, What::ShutDown { took });
        self.check_shutdown(index);
        if LINUX {
            self.signal(index); // whatever came of it (inet_shutdown)
        }
        if !took {
            self.link(index).told.dead = true;
            return Err(Self::NUMBERS.not_connected());
        }
        let clock_us = self.clock_us;
        let link = self.link(index);
        link.down.fin = link.down.fin.max(Fin::Queued);
        link.duty.shut_us = Some(clock_us);
        (link.duty.since_us, link.duty.progress_us, link.duty.acks_seen) =
            (clock_us, clock_us, true);
        self.pump_down(index);
        self.owe(index);
        Ok(())
    }

    fn unacked(&mut self, socket: &mut SimSocket) -> Option<u32> {
        let SimSocket(index) = *socket;
        if self.link(index).duty.concluding {
            self.spend();
        } else {
            self.call(index);
        }
        let tells = LINUX && self.setting.tells;
        let (clock_us, turn) = (self.clock_us, self.turn.number);
        let link = self.link(index);
        let unacked = tells.then(|| link.unacked());
        link.told.unacked = unacked;
        if !link.duty.concluding {
            link.told.unacked_alive = unacked;
            if tells && !link.duty.acks_seen {
                link.sees_progress(turn, clock_us);
            }
            link.duty.acks_seen |= tells;
            self.owe(index);
        }
        self.note(index, What::Unacked(unacked));
        unacked
    }

    fn unread(&mut self, socket: &mut SimSocket) -> Option<u32> {
        let SimSocket(index) = *socket;
        self.call(index);
        let tells = LINUX && self.setting.tells;
        let link = self.link(index);
        let unread = link.up.unread;
        // What it answers from here on is what it was told of; or, where it was not told, nothing.
        link.duty.answers_until = Some(link.model.rx + if tells { u64::from(unread) } else { 0 });
        let draining = self.is_draining();
        let leaving = if draining { LocalCause::Drain } else { LocalCause::MaxAge };
        self.link(index).duty.leaving = Some(leaving);
        let told = tells.then_some(unread);
        self.note(index, What::Unread(told));
        told
    }

    fn local(&mut self, socket: &mut SimSocket) -> Option<SocketAddr> {
        let SimSocket(index) = *socket;
        self.spend();
        let link = self.link(index);
        link.duty.concluding = true;
        link.duty.had_begun = link.told.fin || link.told.dead || link.down.fin_sent();
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 20003)))
    }

    fn facts(&mut self, socket: &mut SimSocket) -> SocketFacts {
        let SimSocket(index) = *socket;
        self.spend();
        let tells = LINUX && self.setting.tells && !self.strike(Fault::NoFacts);
        let link = self.link(index);
        let arrived = link.model.rx + u64::from(link.up.unread);
        let facts = SocketFacts {
            unread: tells.then_some(link.up.unread),
            tcp: tells.then(|| TcpFacts {
                closed: link.is_over(),
                bytes_received: Some(arrived + u64::from(link.up.fin_arrived())),
                retransmits: Some(link.retransmits),
                probes: Some(link.probes),
                last_ack_ms: Some(0), // here no FIN_WAIT_2 expires
            }),
        };
        link.told.facts = Some(facts);
        self.note(index, What::Facts);
        facts
    }

    fn take_error(&mut self, socket: &mut SimSocket) -> Option<Errno> {
        let SimSocket(index) = *socket;
        if self.link(index).duty.concluding {
            self.spend();
        } else {
            self.call(index);
        }
        self.check_take_error(index);
        let link = self.link(index);
        let errno = link.errno.take().or_else(|| link.soft.take());
        self.note(index, What::TakeError(errno));
        if let Some(errno) = errno {
            self.tell(index, Via::SoError, Io::Failed(errno));
        }
        errno
    }

    fn close(&mut self, socket: SimSocket, goodbye: Goodbye) {
        let SimSocket(index) = socket;
        self.spend();
        self.note(index, What::Close(goodbye));
        self.check_close(index, goodbye);
        if self.link(index).hold == Hold::Accepted {
            self.link(index).duty.cause.get_or_insert(LocalCause::Policy);
        }
        self.tally.discarded += self.links[index as usize].model.discarded;
        self.release(index);
        let link = self.link(index);
        if link.is_over() {
            link.buried = true;
        } else if goodbye == Goodbye::Reset || link.up.unread > 0 {
            self.bury(index);
        } else {
            link.down.fin = link.down.fin.max(Fin::Queued);
            self.pump_down(index);
        }
    }

    fn give_back_memory(&mut self) {
        self.spend();
    }
}
