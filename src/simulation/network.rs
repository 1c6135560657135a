//! What happens outside: handshakes, segments, acknowledgements, peers that act and peers that are
//! gone. TCP as Linux does it, as far as a server can see it.

use super::agenda::{Due, Segment};
use super::link::Hold;
use super::peer::{Awaiting, Fate, Reading, Step};
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
                if std::mem::take(&mut self.link(link).no_space) {
                    self.signal(link);
                }
            }
            Due::Stop => self.stopping.asked += 1,
        }
    }

    /// Something came for the server's socket. There will be an event, unless the last one is still
    /// to be answered with a read, where that is the rule.
    pub(super) fn wake(&mut self, index: u32) {
        if self.link(index).armed {
            self.signal(index);
        }
    }

    /// There will be an event for the server's socket, if it is watched.
    pub(super) fn signal(&mut self, index: u32) {
        let link = self.link(index);
        if link.is_watched() && !link.ready {
            link.ready = true;
            self.ready.push_back(index);
        }
    }

    fn connects(&mut self, index: u32) {
        let door = usize::from(self.link(index).door);
        if !self.listening {
            let link = self.link(index);
            (link.hold, link.peer.gone) = (Hold::Closed, true);
        } else if self.doors[door].queue.len() as i64 >= i64::from(self.setting.config.backlog) {
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
    fn sends_up(&mut self, index: u32, segment: Segment) {
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
                    link.no_space = false;
                    self.signal(index);
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
        let (gone, closed) = (peer.gone, peer.closed);
        self.note(index, What::AtPeer(segment));
        match segment {
            Segment::Rst => self.link(index).peer.gone = true,
            Segment::Window => self.pump_up(index),
            _ if gone => self.sends_up(index, Segment::Rst),
            Segment::Data(_) if closed => {
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

    // ---- the peer's program -------------------------------------------------------------------

    /// Something came for the peer's program.
    fn peer_sees(&mut self, index: u32) {
        let now_us = self.moment_us;
        let all_slow = self.setting.all_slow;
        let link = self.link(index);
        let reading = match link.peer.reading() {
            Reading::Eager if all_slow => Reading::Slow,
            reading => reading,
        };
        match reading {
            _ if !link.peer.is_there() => {}
            Reading::Eager => link.down.unread = 0,
            Reading::Slow if !link.peer.reads && link.down.unread > 0 => {
                link.peer.reads = true;
                let pause_us = self.choices.below(self.setting.pace_us_max);
                self.agenda.add(now_us + pause_us, index, Due::Reads);
            }
            Reading::Slow | Reading::Never => {}
        }
        if self.link(index).peer.take_awaited() {
            self.agenda.add(now_us, index, Due::Acts);
        }
    }

    /// The program of a slow peer reads a little.
    fn reads(&mut self, index: u32) {
        let parts = self.choices.between(1, 6) as u32;
        let link = self.link(index);
        link.peer.reads = false;
        if link.peer.is_there() {
            link.down.unread -= (link.down.unread.div_ceil(parts)).max(64).min(link.down.unread);
            self.sends_up(index, Segment::Window);
            self.peer_sees(index);
        }
    }

    /// The peer's program goes on with its script until something holds it up.
    fn acts(&mut self, index: u32) {
        while self.link(index).peer.is_there()
            && let Some(step) = self.link(index).peer.next_step()
        {
            self.note(index, What::Peer(step));
            let pause_us = match step {
                Step::Pause => self.choose_pause_us(),
                Step::Think => self.choose_thought_us(),
                Step::AwaitReply | Step::AwaitFin => {
                    let peer = &mut self.link(index).peer;
                    peer.awaiting = match step {
                        Step::AwaitFin => Awaiting::Fin,
                        _ => Awaiting::Reply(peer.received),
                    };
                    if !peer.take_awaited() {
                        return;
                    }
                    0
                }
                _ => {
                    self.takes(index, step);
                    0
                }
            };
            if pause_us > 0 {
                return self.agenda.add(self.moment_us + pause_us, index, Due::Acts);
            }
        }
    }

    /// The peer's program takes one step that takes no time.
    fn takes(&mut self, index: u32, step: Step) {
        let bytes_max = self.setting.sent_bytes_max;
        match step {
            Step::Send => {
                let bytes = self.choices.magnitude(1, bytes_max.min(1_500));
                self.says(index, bytes);
            }
            Step::Flood => {
                let bytes = self.choices.between(bytes_max / 4 + 1, bytes_max);
                self.says(index, bytes);
            }
            Step::Urgent => {
                let bytes = self.choices.magnitude(1, bytes_max.min(100));
                self.says(index, bytes);
                let link = self.link(index);
                link.urgent = link.peer.sent.checked_sub(1).filter(|_| LINUX);
            }
            Step::HalfClose => self.half_closes(index),
            Step::Close if self.link(index).down.unread > 0 => self.resets(index),
            Step::Close => {
                self.link(index).peer.closed = true;
                self.half_closes(index);
            }
            Step::Reset => self.resets(index),
            Step::Vanish => self.vanishes(index),
            Step::Again(steps) => {
                if self.choices.below(3) > 0 {
                    self.link(index).peer.go_back(steps);
                }
            }
            Step::Pause | Step::Think | Step::AwaitReply | Step::AwaitFin => {}
        }
    }

    /// The peer sends `bytes`, or as many as it may.
    fn says(&mut self, index: u32, bytes: u64) {
        let bytes_max = self.setting.sent_bytes_max;
        let link = self.link(index);
        if link.up.fin_sent() {
            return;
        }
        let bytes = bytes.min(bytes_max - link.peer.sent);
        link.peer.sent += bytes;
        link.up.take(bytes as u32);
        self.pump_up(index);
    }

    fn half_closes(&mut self, index: u32) {
        let fin = &mut self.link(index).up.fin;
        *fin = (*fin).max(Fin::Queued);
        self.pump_up(index);
    }

    fn resets(&mut self, index: u32) {
        let peer = &mut self.link(index).peer;
        (peer.closed, peer.gone) = (true, true);
        self.sends_up(index, Segment::Rst);
    }

    fn vanishes(&mut self, index: u32) {
        let fate =
            self.choices.pick(&[Fate::Silence, Fate::TimedOut, Fate::Unreachable, Fate::Rebooted]);
        let soft = Self::NUMBERS.unreachable(&mut self.choices);
        let link = self.link(index);
        link.peer.vanished = true;
        link.peer.fate = fate;
        if fate == Fate::Unreachable {
            link.soft = Some(soft); // reported, and no end yet
        }
        if fate != Fate::Silence {
            let later_us = 1_000 * self.choices.magnitude(1, 8_000);
            self.agenda.add(self.moment_us + later_us, index, Due::GivesUp);
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

    /// A moment, or none.
    fn choose_pause_us(&mut self) -> u64 {
        let longest_us = self.choices.pick(&[1, 100, 10_000, 300_000]);
        self.choices.below(longest_us)
    }

    /// About as long as one of the server's deadlines: a little less, a little more, or anything.
    fn choose_thought_us(&mut self) -> u64 {
        let config = &self.setting.config;
        let deadlines = [config.read_deadline_ms, config.write_deadline_ms, Some(50)];
        let tick_us = config.tick_ms * 1_000;
        let about_us = 1_000 * self.choices.pick(&deadlines).unwrap_or(1_000);
        match self.choices.below(4) {
            0 => self.choices.below(2 * about_us),
            1 => self.choices.below(about_us),
            _ => (about_us + 3 * tick_us).saturating_sub(self.choices.below(4 * tick_us)),
        }
    }
}
