//! A visit to one connection: its steps are carried out until there is none or the budget is spent.

use crate::kernel::{Io, Kernel};
use crate::machine::close::Via;
use crate::machine::connection::{Context, Step};
use crate::machine::reply::Replier;

use super::table::Slot;

/// How a visit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VisitEnd {
    /// Nothing to do until an event or its alarm.
    Idle,
    /// Its budget stopped it: it needs another visit, because no event will come.
    Unfinished,
    /// It has ended.
    Ended,
}

/// A read or write costs its visit at least this many bytes: a system call is not free.
pub(super) const CALL_COSTS_BYTES: usize = 4096;

/// What a visit needs in addition to the connection.
pub(super) struct Visit<'a, K: Kernel> {
    pub(super) kernel: &'a mut K,
    pub(super) replier: &'a mut Replier,
    pub(super) context: &'a Context,
    /// What is left to receive or send in this visit, in bytes.
    pub(super) budget: usize,
    /// What it has been charged for so far, in bytes. The last call may pass the budget.
    pub(super) charged: usize,
    /// The longest reply that may be left over, as far as it can be kept so short, in bytes.
    pub(super) reply_bytes: usize,
    /// Whether the kernel is asked what became of the reply.
    pub(super) asks_kernel: bool,
}

impl<K: Kernel> Visit<'_, K> {
    /// Serves one connection.
    pub(super) fn run(&mut self, key: u32, slot: &mut Slot<K::Socket>) -> VisitEnd {
        loop {
            match slot.connection.step() {
                Step::Wait => return VisitEnd::Idle,
                Step::End => return VisitEnd::Ended,
                Step::Receive | Step::Discard | Step::Send if self.budget == 0 => {
                    if slot.connection.should_ask_unacked() {
                        self.ask_unacked(slot);
                    }
                    return VisitEnd::Unfinished;
                }
                Step::Receive => self.receive(slot),
                Step::Discard => self.discard(slot),
                Step::Send => self.send(slot),
                Step::ShutDown => {
                    let took = self.kernel.shutdown_write(&mut slot.socket).is_ok();
                    slot.connection.shut_down(took, self.context);
                }
                Step::RegisterWritable => {
                    let took = self.kernel.register_writable(&mut slot.socket, key).is_ok();
                    slot.connection.registered_writable(took, self.context);
                }
                Step::TakeError => {
                    let errno = self.kernel.take_error(&mut slot.socket);
                    slot.connection.error_taken(errno);
                }
                Step::AskUnacked => self.ask_unacked(slot),
                Step::AskUnread => {
                    let bytes = self.kernel.unread(&mut slot.socket);
                    slot.connection.unread(bytes);
                }
            }
        }
    }

    fn ask_unacked(&mut self, slot: &mut Slot<K::Socket>) {
        let bytes = if self.asks_kernel { self.kernel.unacked(&mut slot.socket) } else { None };
        slot.connection.unacked(bytes, self.context);
    }

    /// Receives into the shared buffer and answers from it.
    fn receive(&mut self, slot: &mut Slot<K::Socket>) {
        let connection = &mut slot.connection;
        let space = self.replier.space_within(connection.receive_bytes_max(), self.reply_bytes);
        let space_bytes = space.len();
        let bytes = match self.kernel.recv(&mut slot.socket, space) {
            Io::Done(0) => return connection.received_fin(),
            Io::Done(bytes) => bytes,
            Io::WouldBlock => return connection.blocked(Via::Recv),
            Io::Failed(errno) => {
                return connection.failed(errno, Via::Recv, K::SYSTEM, self.context);
            }
        };
        connection.received(bytes, space_bytes, self.context);
        log_bytes("read", self.replier.request(bytes));

        let mut inside_line = connection.inside_line();
        let reply = self.replier.reply(bytes, &mut inside_line);
        connection.set_inside_line(inside_line);
        let sent = self.kernel.send(&mut slot.socket, reply);
        let taken = if let Io::Done(taken) = sent { taken } else { 0 };
        log_bytes("send", &reply[..taken]);
        let reply_bytes = reply.len();
        connection.answered(reply, taken, self.context);
        match sent {
            Io::Done(_) => {}
            Io::WouldBlock => connection.blocked(Via::Send),
            Io::Failed(errno) => connection.failed(errno, Via::Send, K::SYSTEM, self.context),
        }
        self.charge(bytes.max(reply_bytes)); // in lines, a byte may have a reply of thousands
    }

    /// Sends what a full socket left over.
    fn send(&mut self, slot: &mut Slot<K::Socket>) {
        let connection = &mut slot.connection;
        match self.kernel.send(&mut slot.socket, connection.pending()) {
            Io::Done(bytes) => {
                log_bytes("send", &connection.pending()[..bytes]);
                connection.flushed(bytes, self.context);
                self.charge(bytes);
            }
            Io::WouldBlock => connection.blocked(Via::Send),
            Io::Failed(errno) => connection.failed(errno, Via::Send, K::SYSTEM, self.context),
        }
    }

    /// Receives what came too late to be answered, and drops it.
    fn discard(&mut self, slot: &mut Slot<K::Socket>) {
        let connection = &mut slot.connection;
        let space = self.replier.space();
        let space_bytes = space.len();
        match self.kernel.recv(&mut slot.socket, space) {
            Io::Done(0) => connection.received_fin(),
            Io::Done(bytes) => {
                connection.received(bytes, space_bytes, self.context);
                self.charge(bytes);
            }
            Io::WouldBlock => connection.blocked(Via::Recv),
            Io::Failed(errno) => connection.failed(errno, Via::Recv, K::SYSTEM, self.context),
        }
    }

    fn charge(&mut self, bytes: usize) {
        let charge = bytes.max(CALL_COSTS_BYTES);
        self.charged += charge;
        self.budget = self.budget.saturating_sub(charge);
    }
}

/// How much of a message a log line shows, in bytes.
const LOGGED_BYTES_MAX: usize = 256;

/// A line as in the article's log, escaped: what a client sends never reaches a terminal raw.
fn log_bytes(what: &str, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    log::debug!(
        target: "closecall::echo",
        "{what} client [{}]=\"{}\"{}",
        bytes.len(),
        bytes[..bytes.len().min(LOGGED_BYTES_MAX)].escape_ascii(),
        if bytes.len() > LOGGED_BYTES_MAX { "…" } else { "" }
    );
}
