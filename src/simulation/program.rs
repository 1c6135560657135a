//! The programs at the other ends: they see what comes, read, and go on with their scripts.

use super::agenda::{Due, Segment};
use super::peer::{Awaiting, Fate, Move, Reading};
use super::pipe::Fin;
use super::trace::What;
use super::world::World;

impl<const LINUX: bool> World<LINUX> {
    /// Something came for the peer's program.
    pub(super) fn peer_sees(&mut self, index: u32) {
        let now_us = self.network.now_us();
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
                self.network.schedule(now_us + pause_us, index, Due::Reads);
            }
            Reading::Slow | Reading::Never => {}
        }
        if self.link(index).peer.take_awaited() {
            self.network.schedule(now_us, index, Due::Acts);
        }
    }

    /// The program of a slow peer reads a little.
    pub(super) fn reads(&mut self, index: u32) {
        let parts = self.choices.between(1, 6) as u32;
        let link = self.link(index);
        link.peer.reads = false;
        if link.peer.is_there() {
            link.down.unread -= (link.down.unread.div_ceil(parts)).max(64).min(link.down.unread);
            self.network.send_up(index, Segment::Window);
            self.peer_sees(index);
        }
    }

    /// The peer's program goes on with its script until something holds it up.
    pub(super) fn acts(&mut self, index: u32) {
        while self.link(index).peer.is_there()
            && let Some(step) = self.link(index).peer.next_step()
        {
            self.note(index, What::Peer(step));
            let pause_us = match step {
                Move::Pause => self.choose_pause_us(),
                Move::Think => self.choose_thought_us(),
                Move::AwaitReply | Move::AwaitFin => {
                    let peer = &mut self.link(index).peer;
                    peer.awaiting = match step {
                        Move::AwaitFin => Awaiting::Fin,
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
                return self.network.schedule(self.network.now_us() + pause_us, index, Due::Acts);
            }
        }
    }

    /// The peer's program takes one step that takes no time.
    pub(super) fn takes(&mut self, index: u32, step: Move) {
        let bytes_max = self.setting.sent_bytes_max;
        match step {
            Move::Send => {
                let bytes = self.choices.magnitude(1, bytes_max.min(1_500));
                self.says(index, bytes);
            }
            Move::Flood => {
                let bytes = self.choices.between(bytes_max / 4 + 1, bytes_max);
                self.says(index, bytes);
            }
            Move::Urgent => {
                let bytes = self.choices.magnitude(1, bytes_max.min(100));
                self.says(index, bytes);
                self.marks_urgent(index);
            }
            Move::HalfClose => self.half_closes(index),
            Move::ShutBoth => {
                self.link(index).peer.deaf = true;
                self.half_closes(index);
            }
            Move::Close if self.link(index).down.unread > 0 => self.resets(index),
            Move::Close => {
                self.link(index).peer.closed = true;
                self.half_closes(index);
            }
            Move::Reset => self.resets(index),
            Move::Vanish => self.vanishes(index),
            Move::Again(steps) => {
                if self.choices.below(3) > 0 {
                    self.link(index).peer.go_back(steps);
                }
            }
            Move::Pause | Move::Think | Move::AwaitReply | Move::AwaitFin => {}
        }
    }

    /// The peer sends `bytes`, or as many as it may.
    pub(super) fn says(&mut self, index: u32, bytes: u64) {
        let bytes_max = self.setting.sent_bytes_max;
        let link = self.link(index);
        if link.up.fin_sent() {
            return;
        }
        let bytes = bytes.min(bytes_max - link.peer.sent);
        link.peer.sent += bytes;
        link.up.take(bytes as u32);
        self.network.pump_up(index);
    }

    /// The last byte that the peer has sent is urgent.
    pub(super) fn marks_urgent(&mut self, index: u32) {
        let link = self.link(index);
        link.urgent = link.peer.sent.checked_sub(1).filter(|_| LINUX);
    }

    fn half_closes(&mut self, index: u32) {
        let fin = &mut self.link(index).up.fin;
        *fin = (*fin).max(Fin::Queued);
        self.network.pump_up(index);
    }

    fn resets(&mut self, index: u32) {
        let peer = &mut self.link(index).peer;
        (peer.closed, peer.gone) = (true, true);
        self.network.send_up(index, Segment::Rst);
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
            self.network.schedule(self.network.now_us() + later_us, index, Due::GivesUp);
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
