//! What happens outside: handshakes, segments, acknowledgements, peers that act and peers that are
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

/// How often a peer knocks at a listener whose backlog is full, a second apart.
const SYNS_MAX: u8 = 6;

impl<const LINUX: bool> World<LINUX> {
    pub(super) fn happen(&mut self, link: u32, due: Due) {
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
            Due::Stop(stop) => self.stopping.asked = self.stopping.asked.max(Some(stop)),
        }
    }

    /// Something came for the server's socket. There will be an event, unless the last one is still
    /// to be answered with a read, where that is the rule.
    pub(super) fn wake(&mut self, index: u32) {
        if self.link(index).armed {
            self.signal(index);
        }
    }

    /// There will be an event for the server's socket, if it is registered.
    pub(super) fn signal(&mut self, index: u32) {
        let link = self.link(index);
        if link.is_registered() && !link.ready {
            link.ready = true;
            self.ready.push_back(index);
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
        let door = usize::from(self.link(index).door);
        if !self.listening {
            let link = self.link(index);
            (link.hold, link.peer.gone) = (Hold::Closed, true);
        } else if self.doors[door].queue.len() as i64 > i64::from(self.setting.config.backlog) {
            let peer = &mut self.link(index).peer;
            peer.syns += 1;
            if peer.syns < SYNS_MAX {
                self.agenda.add(self.moment_us + 1_000_000, index, Due::Connects);
            }
        } else {
            let now_us = self.moment_us;
            let link = self.link(index);
            (link.hold, link.came_us) = (Hold::Queued, now_us);
            self.doors[door].queue.push_back(index);
            self.doors[door].edge = true;
            self.agenda.add(self.moment_us, index, Due::Acts);
        }
    }

    // ---- the wires ----------------------------------------------------------------------------

    /// Sends one segment to the server.
    pub(super) fn sends_up(&mut self, index: u32, segment: Segment) {
        let now_us = self.moment_us;
        let link = self.link(index);
        let at_us = link.up.arrival_us(now_us, u64::from(link.delay_us));
        self.agenda.add(at_us, index, Due::AtServer(segment));
    }

    /// Sends one segment to the peer.
    pub(super) fn sends_down(&mut self, index: u32, segment: Segment) {
        let now_us = self.moment_us;
        let link = self.link(index);
        let at_us = link.down.arrival_us(now_us, u64::from(link.delay_us));
        self.agenda.add(at_us, index, Due::AtPeer(segment));
    }

    /// The server's TCP sends what it may.
    pub(super) fn pump_down(&mut self, index: u32) {
        while !self.link(index).dead
            && let Some(segment) = self.link(index).down.next_segment()
        {
            self.sends_down(index, segment);
        }
    }

    /// The peer's TCP sends what it may.
    pub(super) fn pump_up(&mut self, index: u32) {
        while !(self.link(index).peer.gone || self.link(index).peer.vanished)
            && let Some(segment) = self.link(index).up.next_segment()
        {
            self.sends_up(index, segment);
        }
    }

    fn at_server(&mut self, index: u32, segment: Segment) {
        self.note(index, What::AtServer(segment));
        let now_us = self.moment_us;
        let known_us = if self.sleeping { now_us } else { self.clock_us };
        let link = self.link(index);
        match segment {
            Segment::Rst => return self.reset_arrives(index),
            _ if link.dead => {}
            // Nobody is there to read: the peer is told.
            Segment::Data(_) if link.hold == Hold::Closed => self.bury(index),
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
        self.pump_down(index);
    }

    /// A reset arrives at the server (tcp_reset).
    fn reset_arrives(&mut self, index: u32) {
        let link = self.link(index);
        if link.is_over() {
            return;
        }
        let close_wait = link.up.fin_arrived() && !link.down.fin_sent();
        let errno = if close_wait { Self::NUMBERS.pipe() } else { Self::NUMBERS.reset() };
        self.die(index, errno);
    }

    /// The server's socket is dead, for the reason `errno` (tcp_done).
    pub(super) fn die(&mut self, index: u32, errno: Errno) {
        let link = self.link(index);
        link.dead = true;
        link.errno = Some(errno);
        link.down.queued = 0;
        self.signal(index);
    }

    /// The server's end is no more, and the peer hears of it.
    pub(super) fn bury(&mut self, index: u32) {
        let link = self.link(index);
        if !link.buried {
            (link.dead, link.buried) = (true, true);
            link.down.queued = 0;
            self.sends_down(index, Segment::Rst);
        }
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
            Segment::Window => self.pump_up(index),
            _ if gone => self.sends_up(index, Segment::Rst),
            Segment::Data(_) if closed || deaf => {
                self.link(index).peer.gone = true;
                self.sends_up(index, Segment::Rst);
            }
            Segment::Data(bytes) => {
                let link = self.link(index);
                link.down.arrive(bytes);
                link.peer.received += u64::from(bytes);
                self.sends_up(index, Segment::Ack(bytes));
                self.peer_sees(index);
            }
            Segment::Fin => {
                self.link(index).peer.got_fin = true;
                self.sends_up(index, Segment::FinAck);
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
            Fate::TimedOut => self.die(index, Self::NUMBERS.timed_out()),
            Fate::Unreachable => self.die(index, unreachable),
            Fate::Rebooted => self.reset_arrives(index),
        }
    }
}
