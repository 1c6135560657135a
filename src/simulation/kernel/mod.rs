//! The simulated kernel's system calls, behind the page of the [`Kernel`] trait.
//!
//! One rule for all of them: this page only takes the socket apart; what method `NAME` of the trait
//! does is `sys_NAME`, beside its siblings:
//!
//! | file | calls |
//! |---|---|
//! | `accept` | accept, has_newcomer, shed, stop_listening, register, register_writable |
//! | `transfer` | recv, send |
//! | `close` | shutdown_write, close |
//! | `questions` | unacked, unread, local, facts, take_error |
//! | `wait` | now, wait |
//!
//! A call begins with the time that it takes, in which the world goes on ([`World::call`] for one
//! about a connection, [`World::spend`] for any other). Then faults are injected, and the call does
//! its work. At the end its result goes to the trace, and the deadline that the loop owes the
//! connection from now on is computed anew.

mod accept;
mod close;
mod questions;
mod transfer;
mod wait;

use std::io;
use std::net::SocketAddr;

use super::Rule;
use super::agenda::Segment;
use super::world::World;
use crate::kernel::{Event, Io, Kernel};
use crate::machine::close::{FirstError, SocketFacts, Via};
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
        self.sys_now()
    }

    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        self.sys_wait(timeout_ms, events);
        Ok(())
    }

    fn listeners(&self) -> usize {
        self.listeners.count()
    }

    fn accept(&mut self, listener: usize) -> Io<(SimSocket, SocketAddr)> {
        self.sys_accept(listener).map(|(index, peer)| (SimSocket(index), peer))
    }

    fn has_newcomer(&mut self, listener: usize) -> bool {
        self.sys_has_newcomer(listener)
    }

    fn shed(&mut self, listener: usize) -> Io<SocketAddr> {
        self.sys_shed(listener)
    }

    fn stop_listening(&mut self) {
        self.sys_stop_listening();
    }

    fn register(&mut self, socket: &mut SimSocket, key: u32) -> Result<(), Errno> {
        self.sys_register(socket.0, key)
    }

    fn register_writable(&mut self, socket: &mut SimSocket, key: u32) -> Result<(), Errno> {
        self.sys_register_writable(socket.0, key)
    }

    fn recv(&mut self, socket: &mut SimSocket, space: &mut [u8]) -> Io<usize> {
        self.sys_recv(socket.0, space)
    }

    fn send(&mut self, socket: &mut SimSocket, bytes: &[u8]) -> Io<usize> {
        self.sys_send(socket.0, bytes)
    }

    fn shutdown_write(&mut self, socket: &mut SimSocket) -> Result<(), Errno> {
        self.sys_shutdown_write(socket.0)
    }

    fn unacked(&mut self, socket: &mut SimSocket) -> Option<u32> {
        self.sys_unacked(socket.0)
    }

    fn unread(&mut self, socket: &mut SimSocket) -> Option<u32> {
        self.sys_unread(socket.0)
    }

    fn local(&mut self, socket: &mut SimSocket) -> Option<SocketAddr> {
        self.sys_local(socket.0)
    }

    fn facts(&mut self, socket: &mut SimSocket) -> SocketFacts {
        self.sys_facts(socket.0)
    }

    fn take_error(&mut self, socket: &mut SimSocket) -> Option<Errno> {
        self.sys_take_error(socket.0)
    }

    fn close(&mut self, socket: SimSocket, goodbye: Goodbye) {
        self.sys_close(socket.0, goodbye);
    }

    fn give_back_memory(&mut self) {
        self.spend();
    }
}

/// What the calls have in common.
impl<const LINUX: bool> World<LINUX> {
    /// A system call about `link` begins.
    fn call(&mut self, link: u32) {
        self.spend();
        let (clock_us, turn) = (self.clock.seen_us(), self.turn.number);
        let duty = &mut self.link(link).duty;
        (duty.touched_us, duty.touched_turn) = (clock_us, turn);
        let owed_until = duty.owed_until.take();
        self.turn.touched.push(link);
        if let Some(until) = owed_until.filter(|&until| until < turn) {
            let what = format!("its visit is {} turns late", turn - until);
            self.violate(Rule::Fair, Some(link), what);
        }
    }

    /// The socket fails just before the call, for any reason.
    fn inject_socket_error(&mut self, index: u32) {
        if !self.link(index).is_over() {
            let mut errno = Self::NUMBERS.deadly(&mut self.choices);
            let link = self.link(index);
            if link.up.fin_arrived() && !link.down.fin_sent() && errno == Self::NUMBERS.reset() {
                errno = Self::NUMBERS.pipe();
            }
            self.socket_fails(index, errno);
            self.network.send_down(index, Segment::Rst);
        }
    }

    /// Records the error that a call returned, unless it was only short of memory.
    fn record_error(&mut self, index: u32, via: Via, result: Io<()>) {
        let Io::Failed(errno) = result else { return };
        if via != Via::SoError && errno.meaning(Self::SYSTEM) == Meaning::NoMemory {
            return;
        }
        let told = &mut self.link(index).told;
        told.dead = true;
        told.error.get_or_insert(FirstError { errno, via });
    }
}
