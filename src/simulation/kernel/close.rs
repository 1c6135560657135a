//! The calls that end a connection: shutdown and close.

use crate::machine::close::LocalCause;
use crate::machine::connection::Goodbye;
use crate::machine::errno::Errno;
use crate::simulation::faults::Fault;
use crate::simulation::link::Hold;
use crate::simulation::pipe::Fin;
use crate::simulation::trace::What;
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    pub(super) fn sys_shutdown_write(&mut self, index: u32) -> Result<(), Errno> {
        self.call(index);
        if self.injects(Fault::ShutdownFails) {
            self.inject_socket_error(index);
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
        let clock_us = self.clock.seen_us();
        let link = self.link(index);
        link.down.fin = link.down.fin.max(Fin::Queued);
        link.duty.shut_us = Some(clock_us);
        (link.duty.since_us, link.duty.progress_us, link.duty.acks_seen) =
            (clock_us, clock_us, true);
        self.network.pump_down(index);
        self.owe(index);
        Ok(())
    }

    pub(super) fn sys_close(&mut self, index: u32, goodbye: Goodbye) {
        self.spend();
        self.note(index, What::Close(goodbye));
        self.check_close(index, goodbye);
        if self.link(index).hold == Hold::Accepted {
            self.link(index).duty.cause.get_or_insert(LocalCause::Policy);
        }
        self.tally.discarded += self.network.link(index).model.discarded;
        self.release(index);
        let link = self.link(index);
        if link.is_over() {
            link.aborted = true;
        } else if goodbye == Goodbye::Reset || link.up.unread > 0 {
            self.network.abort(index);
        } else {
            link.down.fin = link.down.fin.max(Fin::Queued);
            self.network.pump_down(index);
        }
    }
}
