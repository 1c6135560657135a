//! The results of a connection's steps: calls that return or take bytes, would block or fail.

use closecall::machine::close::{FirstError, Via};
use closecall::machine::connection::Step;
use closecall::machine::errno::{Errno, Meaning, table};
use closecall::simulation::Choices;

use super::{Life, SPACE};

impl Life {
    pub(super) fn receive(&mut self, step: Step, choices: &mut Choices) {
        assert!(!self.fin_received && self.owed.is_empty(), "nothing is to be received");
        let too_late = self.answer_limit.is_some_and(|until| self.rx >= until);
        assert_eq!(step == Step::Discard, self.wait_ms.is_some() || too_late);
        match choices.below(4) {
            0 => {
                (self.readable, self.read_until_blocked, self.retry_at) = (false, false, None);
                return self.connection.blocked(Via::Recv);
            }
            1 if choices.one_in(2) => return self.fails(Via::Recv, choices),
            1 => {
                (self.fin_received, self.retry_at) = (true, None);
                return self.connection.received_fin();
            }
            _ => {}
        }
        let space = match step {
            Step::Receive => self.connection.receive_bytes_max().min(SPACE as u64),
            _ => SPACE as u64,
        };
        let bytes = choices.between(1, space);
        self.connection.received(bytes as usize, space as usize, &self.context);
        self.rx += bytes;
        self.retry_at = None;
        let drains = self.context.rules.short_read_drains && !self.read_until_blocked;
        self.readable &= bytes == space || !drains;
        if step == Step::Discard {
            self.discarded += bytes;
            self.readable &= self.wait_ms.is_some(); // what is left is read after our FIN
            return;
        }
        // No two replies are the same, so none is sent twice or in another's place.
        let reply: Vec<u8> = (0..bytes).map(|index| (self.rx + index) as u8).collect();
        let taken = choices.between(0, bytes) as usize;
        self.connection.answered(&reply, taken, &self.context);
        self.tx += taken as u64;
        self.since = self.context.now;
        self.owed = reply[taken..].to_vec();
        self.looked_at = self.context.now;
        if taken == 0 {
            self.cannot_send(choices);
        }
    }

    pub(super) fn send(&mut self, choices: &mut Choices) {
        assert!(!self.owed.is_empty() && self.wait_ms.is_none(), "nothing is to be sent");
        let bytes = choices.between(0, self.owed.len() as u64) as usize;
        if bytes == 0 {
            return self.cannot_send(choices);
        }
        self.connection.flushed(bytes, &self.context);
        self.owed.drain(..bytes);
        self.retry_at = None;
        self.tx += bytes as u64;
        self.since = self.context.now;
    }

    fn cannot_send(&mut self, choices: &mut Choices) {
        self.writable = false;
        match choices.one_in(2) {
            true => self.fails(Via::Send, choices),
            false => {
                self.retry_at = None;
                self.connection.blocked(Via::Send);
            }
        }
    }

    pub(super) fn shut_down(&mut self, choices: &mut Choices) {
        assert!(self.owed.is_empty() && self.wait_ms.is_none(), "our FIN is out of turn");
        let took = !choices.one_in(4);
        self.connection.shut_down(took, &self.context);
        if took {
            self.since = self.context.now;
            self.wait_ms =
                Some(if self.context.may_wait { self.context.rules.verdict_wait_ms } else { 0 });
        }
    }

    pub(super) fn fails(&mut self, via: Via, choices: &mut Choices) {
        let errno = Errno(choices.pick(table(self.system)).0);
        match via {
            Via::SoError => self.connection.error_taken(Some(errno)),
            Via::Recv | Via::Send => self.connection.failed(errno, via, self.system, &self.context),
        }
        self.readable &= via != Via::Recv;
        // Being short of memory is no end, unless the socket itself ended of it.
        if via == Via::SoError || errno.meaning(self.system) != Meaning::NoMemory {
            self.error = Some(FirstError { errno, via });
        } else {
            self.retry_at = Some(self.context.now.after(self.context.rules.retry_ms));
        }
    }

    pub(super) fn register_writable(&mut self) {
        self.connection.registered_writable(self.registrable, &self.context);
        if !self.registrable {
            self.retry_at = Some(self.context.now.after(self.context.rules.retry_ms));
        }
    }

    /// At most all that was sent, our FIN being one more.
    pub(super) fn unacked(&self, choices: &mut Choices) -> Option<u32> {
        let sent = self.tx + u64::from(self.wait_ms.is_some());
        choices.one_in(2).then(|| choices.between(0, sent) as u32)
    }
}
