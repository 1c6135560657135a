//! What happens outside the server: handshakes, segments, acknowledgements, and peers that are
//! gone. TCP as Linux does it, as far as a server can see it.

use super::agenda::{Due, Segment};
use super::link::Hold;
use super::peer::Fate;
use super::pipe::Fin;
use super::trace::What;
use super::world::World;
use crate::machine::errno::Errno;

/// Unanswered retransmissions and probes, as TCP_INFO counts them while they run.
const UNANSWERED: u8 = 3;

/// SYNs that a peer sends to a listener whose backlog is full, a second apart.
const SYNS_MAX: u8 = 6;

impl<const LINUX: bool> World<LINUX> {
    /// Something happens to `link` now.
    pub(super) fn occurs(&mut self, link: u32, due: Due) {
        match due {
            Due::Connects => self.connects(link),
            Due::Acts => self.acts(link),
            Due::Reads => self.reads(link),
            Due::AtPeer(segment) => self.at_peer(link, segment),
            Due::AtServer(segment) => self.at_server(link, segment),
            Due::GivesUp => self.gives_up(link),
            Due::Room => {
                if self.link(link).no_space {
                    self.has_room_again(link);
                }
            }
            Due::Jump { by_us } => self.jumps(by_us),
            Due::Stop(stop) => self.stopping.ask(stop),
        }
    }

    /// A send that found no room would find some. On Linux that concerns only a socket that is
    /// watched for it, whatever else there is to tell (sk_stream_write_space).
    fn has_room_again(&mut self, index: u32) {
        let link = self.link(index);
        link.no_space = false;
        if link.registered_writable || !LINUX {
            self.signal(index);
        }
    }

    fn connects(&mut self, index: u32) {
        let listener = usize::from(self.link(index).listener);
        if !self.listeners.are_open() {
            let link = self.link(index);
            (link.hold, link.peer.gone) = (Hold::Closed, true);
        } else if self.listeners.waiting(listener) as i64 > i64::from(self.setting.config.backlog) {
            let peer = &mut self.link(index).peer;
            peer.syns += 1;
            if peer.syns < SYNS_MAX {
                self.network.schedule(self.network.now_us() + 1_000_000, index, Due::Connects);
            }
        } else {
            let now_us = self.network.now_us();
            let link = self.link(index);
            (link.hold, link.came_us) = (Hold::Queued, now_us);
            self.listeners.enqueue(listener, index);
            self.network.schedule(self.network.now_us(), index, Due::Acts);
        }
    }

    // ---- the wires ----------------------------------------------------------------------------

    fn at_server(&mut self, index: u32, segment: Segment) {
        self.note(index, What::AtServer(segment));
        let now_us = self.network.now_us();
        let known_us = self.clock.known_us(now_us);
        let link = self.link(index);
        match segment {
            Segment::Rst => return self.reset_arrives(index),
            _ if link.dead => {}
            // No program is left to read it: the peer gets a reset.
            Segment::Data(_) if link.hold == Hold::Closed => self.network.abort(index),
            Segment::Data(bytes) => {
                if link.up.unread == 0 {
                    link.unread_us = now_us;
                }
                link.up.arrive(bytes);
                self.wake(index);
            }
            Segment::Fin => {
                link.up.fin = Fin::Arrived;
                link.fin_us = now_us;
                self.wake(index);
            }
            Segment::Ack(bytes) => {
                link.down.unacked -= bytes;
                (link.duty.acked_us, link.duty.acks_seen) = (known_us, false);
                if link.no_space && link.has_room() {
                    self.has_room_again(index);
                }
            }
            Segment::FinAck => {
                link.down.fin = Fin::Acked;
                (link.duty.acked_us, link.duty.acks_seen) = (known_us, false);
                self.wake(index);
            }
            Segment::Window => {}
        }
        self.network.pump_down(index);
    }

    /// A reset arrives at the server (tcp_reset).
    fn reset_arrives(&mut self, index: u32) {
        let link = self.link(index);
        if link.is_over() {
            return;
        }
        let close_wait = link.up.fin_arrived() && !link.down.fin_sent();
        let errno = if close_wait { Self::NUMBERS.pipe() } else { Self::NUMBERS.reset() };
        self.socket_fails(index, errno);
    }

    /// The server's socket is dead, for the reason `errno` (tcp_done).
    pub(super) fn socket_fails(&mut self, index: u32, errno: Errno) {
        let link = self.link(index);
        link.dead = true;
        link.errno = Some(errno);
        link.down.queued = 0;
        self.signal(index);
    }

    fn at_peer(&mut self, index: u32, segment: Segment) {
        let peer = &mut self.link(index).peer;
        if peer.vanished {
            return;
        }
        let (gone, closed, deaf) = (peer.gone, peer.closed, peer.deaf);
        self.note(index, What::AtPeer(segment));
        match segment {
            Segment::Rst => self.link(index).peer.gone = true,
            Segment::Window => self.network.pump_up(index),
            _ if gone => self.network.send_up(index, Segment::Rst),
            Segment::Data(_) if closed || deaf => {
                self.link(index).peer.gone = true;
                self.network.send_up(index, Segment::Rst);
            }
            Segment::Data(bytes) => {
                let link = self.link(index);
                link.down.arrive(bytes);
                link.peer.received += u64::from(bytes);
                self.network.send_up(index, Segment::Ack(bytes));
                self.peer_sees(index);
            }
            Segment::Fin => {
                self.link(index).peer.got_fin = true;
                self.network.send_up(index, Segment::FinAck);
                self.peer_sees(index);
            }
            Segment::Ack(_) | Segment::FinAck => {}
        }
    }

    /// The server's system has waited long enough for a peer that vanished.
    fn gives_up(&mut self, index: u32) {
        self.note(index, What::GivesUp);
        let unreachable = Self::NUMBERS.unreachable(&mut self.choices);
        let link = self.link(index);
        if link.is_over() || link.hold == Hold::Closed {
            return;
        }
        let in_flight = link.unacked() > 0;
        let unanswered = if in_flight { &mut link.retransmits } else { &mut link.probes };
        *unanswered = UNANSWERED;
        match link.peer.fate {
            Fate::Silence => {}
            Fate::TimedOut => self.socket_fails(index, Self::NUMBERS.timed_out()),
            Fate::Unreachable => self.socket_fails(index, unreachable),
            Fate::Rebooted => self.reset_arrives(index),
        }
    }
}
