//! The calls that only ask: what is unacknowledged, what is unread, the local address, TCP_INFO and
//! SO_ERROR.

use std::net::{Ipv4Addr, SocketAddr};

use crate::kernel::Io;
use crate::machine::close::{LocalCause, SocketFacts, TcpFacts, Via};
use crate::machine::errno::Errno;
use crate::simulation::faults::Fault;
use crate::simulation::trace::What;
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    pub(super) fn sys_unacked(&mut self, index: u32) -> Option<u32> {
        if self.link(index).duty.concluding {
            self.spend();
        } else {
            self.call(index);
        }
        let tells = LINUX && self.setting.tells;
        let (clock_us, turn) = (self.clock.seen_us(), self.turn.number);
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

    pub(super) fn sys_unread(&mut self, index: u32) -> Option<u32> {
        self.call(index);
        let tells = LINUX && self.setting.tells;
        let link = self.link(index);
        let unread = link.up.unread;
        // What it answers from here on is what it was told of; or, where it was not told, nothing.
        link.duty.answers_until = Some(link.model.rx + if tells { u64::from(unread) } else { 0 });
        let draining = self.stopping.is_draining();
        let leaving = if draining { LocalCause::Drain } else { LocalCause::MaxAge };
        self.link(index).duty.leaving = Some(leaving);
        let told = tells.then_some(unread);
        self.note(index, What::Unread(told));
        told
    }

    pub(super) fn sys_local(&mut self, index: u32) -> Option<SocketAddr> {
        self.spend();
        let link = self.link(index);
        link.duty.concluding = true;
        link.duty.had_begun = link.told.fin || link.told.dead || link.down.fin_sent();
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 20003)))
    }

    pub(super) fn sys_facts(&mut self, index: u32) -> SocketFacts {
        self.spend();
        let tells = LINUX && self.setting.tells && !self.injects(Fault::NoFacts);
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

    pub(super) fn sys_take_error(&mut self, index: u32) -> Option<Errno> {
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
            self.record_error(index, Via::SoError, Io::Failed(errno));
        }
        errno
    }
}
