//! The network: every link with both of its ends, and what is under way between them.

use super::agenda::{Agenda, Due, Segment};
use super::link::Link;

/// All links, and what is still to happen to them, in the order of time.
#[derive(Debug)]
pub(super) struct Network {
    /// The time of what is happening now, which may lag behind a long system call.
    now_us: u64,
    agenda: Agenda,
    links: Vec<Link>,
}

impl Network {
    pub(super) fn new(start_us: u64, agenda: Agenda, links: Vec<Link>) -> Network {
        Network { now_us: start_us, agenda, links }
    }

    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    pub(super) fn link(&self, index: u32) -> &Link {
        &self.links[index as usize]
    }

    pub(super) fn link_mut(&mut self, index: u32) -> &mut Link {
        &mut self.links[index as usize]
    }

    /// Adds a link, to which nothing happens yet.
    pub(super) fn add(&mut self, link: Link) {
        self.links.push(link);
    }

    // ---- time ---------------------------------------------------------------------------------

    /// The time of what is happening now, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// At `at_us`, `due` happens to `link`.
    pub(super) fn schedule(&mut self, at_us: u64, link: u32, due: Due) {
        self.agenda.add(at_us, link, due);
    }

    /// When the next thing happens.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.agenda.next_us()
    }

    /// Takes the next thing that is due at `until_us`: its time is now. When there is none, now is
    /// `until_us`.
    pub(super) fn take_due(&mut self, until_us: u64) -> Option<(u32, Due)> {
        let due = self.agenda.take(until_us);
        self.now_us = due.map_or(until_us, |(at_us, ..)| at_us);
        due.map(|(_, link, due)| (link, due))
    }

    // ---- segments -----------------------------------------------------------------------------

    /// Sends one segment to the server.
    pub(super) fn send_up(&mut self, index: u32, segment: Segment) {
        let link = &mut self.links[index as usize];
        let at_us = link.up.arrival_us(self.now_us, u64::from(link.delay_us));
        self.agenda.add(at_us, index, Due::AtServer(segment));
    }

    /// Sends one segment to the peer.
    pub(super) fn send_down(&mut self, index: u32, segment: Segment) {
        let link = &mut self.links[index as usize];
        let at_us = link.down.arrival_us(self.now_us, u64::from(link.delay_us));
        self.agenda.add(at_us, index, Due::AtPeer(segment));
    }

    /// The server's TCP sends what it may.
    pub(super) fn pump_down(&mut self, index: u32) {
        while !self.link(index).dead
            && let Some(segment) = self.link_mut(index).down.next_segment()
        {
            self.send_down(index, segment);
        }
    }

    /// The peer's TCP sends what it may.
    pub(super) fn pump_up(&mut self, index: u32) {
        while !(self.link(index).peer.gone || self.link(index).peer.vanished)
            && let Some(segment) = self.link_mut(index).up.next_segment()
        {
            self.send_up(index, segment);
        }
    }

    /// The server's end is gone, and its system tells the peer so with a reset, once.
    pub(super) fn abort(&mut self, index: u32) {
        let link = self.link_mut(index);
        if !link.aborted {
            (link.dead, link.aborted) = (true, true);
            link.down.queued = 0;
            self.send_down(index, Segment::Rst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::choices::Choices;
    use super::super::setting::WorldSetting;
    use super::*;

    fn network() -> Network {
        let mut quiet = Choices::from_bytes(&[]);
        let setting = WorldSetting::choose(&mut quiet);
        let link = Link::new(0, &setting, &mut quiet);
        Network::new(1_000, Agenda::default(), vec![link])
    }

    #[test]
    fn what_is_due_happens_at_its_own_time_and_then_it_is_now() {
        let mut network = network();
        network.schedule(1_500, 0, Due::Acts);
        network.schedule(1_200, 0, Due::Reads);
        assert_eq!(network.next_us(), Some(1_200));
        assert_eq!((network.take_due(1_900), network.now_us()), (Some((0, Due::Reads)), 1_200));
        assert_eq!((network.take_due(1_900), network.now_us()), (Some((0, Due::Acts)), 1_500));
        assert_eq!((network.take_due(1_900), network.now_us()), (None, 1_900));
    }

    #[test]
    fn no_segment_overtakes_another_and_a_reset_is_sent_once() {
        let mut network = network();
        network.link_mut(0).delay_us = 300;
        network.send_down(0, Segment::Data(5));
        network.link_mut(0).delay_us = 10;
        network.abort(0);
        network.abort(0);
        let data = Due::AtPeer(Segment::Data(5));
        assert_eq!((network.take_due(1_300), network.now_us()), (Some((0, data)), 1_300));
        assert_eq!(network.take_due(1_300), Some((0, Due::AtPeer(Segment::Rst))));
        assert_eq!(network.take_due(9_999), None);
    }
}
