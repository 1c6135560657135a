//! The connections that are open, each in a slot of its own.
//!
//! A slot is freed only when the turn ends, so no event of a turn can reach a newcomer in the place
//! of whoever the event was for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use slab::Slab;

use crate::machine::connection::Connection;
use crate::machine::peer::network;

/// What the loop owes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    /// Nothing: an event or its alarm will come.
    Nothing,
    /// Another visit: its budget ended the last one, and there will be no event for it.
    Visit,
    /// Its slot, at the end of this turn.
    Reaping,
}

/// A connection and its socket.
#[derive(Debug)]
pub(super) struct Entry<S> {
    pub(super) socket: S,
    pub(super) connection: Connection,
    owed: Owed,
}

/// The slab of connections, and the three lines in which one of them may stand.
#[derive(Debug)]
pub(super) struct Table<S> {
    slab: Slab<Entry<S>>,
    /// Who was stopped by its budget and is owed another visit.
    unfinished: VecDeque<u32>,
    /// Who waits for its evidence, oldest first, with its number. One that is decided stays until
    /// it comes to the front or the line is tidied.
    settling: VecDeque<(u32, u64)>,
    /// Who ended in this turn, in that order.
    ended: VecDeque<u32>,
    /// Connections by address, or by /64 in IPv6, where there is a limit on them.
    per_ip: Option<HashMap<IpAddr, u32>>,
}

impl<S> Table<S> {
    /// An empty table. All slots it will ever need are reserved, so it never copies itself while it
    /// serves; the memory is not touched before it is used.
    pub(super) fn new(slots: usize, counts_per_ip: bool) -> Table<S> {
        Table {
            slab: Slab::with_capacity(slots),
            unfinished: VecDeque::new(),
            settling: VecDeque::new(),
            ended: VecDeque::new(),
            per_ip: counts_per_ip.then(HashMap::new),
        }
    }

    /// How many slots are taken.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many of them have not ended.
    pub(super) fn open(&self) -> usize {
        self.slab.len() - self.ended.len()
    }

    /// How many connections `ip` and its [network] have, as far as that is counted.
    pub(super) fn count_of(&self, ip: IpAddr) -> u32 {
        self.per_ip.as_ref().and_then(|counts| counts.get(&network(ip)).copied()).unwrap_or(0)
    }

    /// Gives a newcomer a slot.
    pub(super) fn insert(&mut self, socket: S, connection: Connection) -> u32 {
        if let Some(counts) = &mut self.per_ip {
            *counts.entry(network(connection.peer().ip())).or_default() += 1;
        }
        self.slab.insert(Entry { socket, connection, owed: Owed::Nothing }) as u32
    }

    /// The connection with this key, unless it ended or never was: events may be stale.
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut Entry<S>> {
        self.slab.get_mut(key as usize).filter(|entry| entry.owed != Owed::Reaping)
    }

    /// The keys of all slots.
    pub(super) fn keys(&self) -> Vec<u32> {
        self.slab.iter().map(|(key, _)| key as u32).collect()
    }

    // ---- owed another visit ----

    /// Owes `key` another visit; once, however often this is said.
    pub(super) fn owe_visit(&mut self, key: u32) {
        let entry = &mut self.slab[key as usize];
        if entry.owed == Owed::Nothing {
            entry.owed = Owed::Visit;
            self.unfinished.push_back(key);
        }
    }

    /// The next one that is owed a visit, which is taken as paid.
    pub(super) fn take_unfinished(&mut self) -> Option<u32> {
        let key = self.unfinished.pop_front()?;
        self.slab[key as usize].owed = Owed::Nothing;
        Some(key)
    }

    /// How many are owed a visit.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    // ---- settling: our FIN is out, and its evidence is waited for ----

    /// `key` has begun to wait for its evidence.
    pub(super) fn settles(&mut self, key: u32) {
        // Those that were decided meanwhile are thrown out when they may be more than half.
        if self.settling.len() >= 64 + 2 * self.slab.len() {
            let slab = &self.slab;
            self.settling.retain(|&(key, id)| is_settling_as(slab, key, id));
        }
        self.settling.push_back((key, self.slab[key as usize].connection.id()));
    }

    /// The one that has been settling longest, which leaves the line.
    pub(super) fn take_oldest_settling(&mut self) -> Option<u32> {
        while let Some((key, id)) = self.settling.pop_front() {
            if is_settling_as(&self.slab, key, id) {
                return Some(key);
            }
        }
        None
    }

    /// Puts `key`, just taken as the oldest, back to the front of the line.
    pub(super) fn settles_first(&mut self, key: u32) {
        self.settling.push_front((key, self.slab[key as usize].connection.id()));
    }

    // ---- reaping ----

    /// `key` is over: from now on it cannot be found, and its slot is free when the turn ends.
    pub(super) fn end(&mut self, key: u32) {
        let entry = &mut self.slab[key as usize];
        match std::mem::replace(&mut entry.owed, Owed::Reaping) {
            Owed::Nothing => {}
            Owed::Visit => self.unfinished.retain(|&other| other != key),
            Owed::Reaping => return,
        }
        self.ended.push_back(key);
        if let Some(counts) = &mut self.per_ip {
            let ip = network(entry.connection.peer().ip());
            if let Some(count) = counts.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&ip);
                }
            }
        }
    }

    /// The next of those that ended, until it is [freed](Self::free).
    pub(super) fn next_ended(&mut self) -> Option<u32> {
        self.ended.front().copied()
    }

    /// One that ended.
    pub(super) fn ended(&mut self, key: u32) -> &mut Entry<S> {
        &mut self.slab[key as usize]
    }

    /// Frees the slot of the first that ended and gives its socket. Only at the end of a turn.
    pub(super) fn free(&mut self, key: u32) -> S {
        let first = self.ended.pop_front();
        debug_assert_eq!(first, Some(key), "slots are freed in the order of `next_ended`");
        self.slab.remove(key as usize).socket
    }
}

/// Whether connection number `id` is in the slot `key` still, and settling.
fn is_settling_as<S>(slab: &Slab<Entry<S>>, key: u32, id: u64) -> bool {
    slab.get(key as usize).is_some_and(|entry| {
        entry.owed != Owed::Reaping && entry.connection.id() == id && entry.connection.is_settling()
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::machine::connection::Rules;
    use crate::machine::tick::Tick;

    /// With a socket that is a descriptor and nothing else, as mio's is in a release build.
    #[test]
    fn an_idle_connection_takes_104_bytes() {
        assert_eq!(size_of::<Entry<i32>>(), 104); // and 16 in the wheel
        assert_eq!(size_of::<Option<Entry<i32>>>(), 104, "no room for a tag");
    }

    #[test]
    fn a_connection_fits_a_line_and_a_half_of_the_cache() {
        assert_eq!(size_of::<Connection>(), 96);
    }

    /// One whose FIN came and was answered, so that it waits for its evidence.
    fn settling(id: u64) -> Connection {
        let rules = Rules {
            read_deadline_ms: None,
            write_deadline_ms: None,
            verdict_wait_ms: 2_000,
            retry_ms: 20,
            may_wait: true,
            short_read_drains: true,
            drain_ends: None,
        };
        let (now, peer) = (Tick::from_ms(0), SocketAddr::from(([192, 0, 2, 1], 50_000)));
        let mut connection = Connection::new(id, peer.into(), now, &rules);
        connection.received_fin();
        connection.shut_down(true, now, &rules);
        connection
    }

    fn begins_to_settle(table: &mut Table<()>, id: u64) -> u32 {
        let key = table.insert((), settling(id));
        table.settles(key);
        key
    }

    fn ends(table: &mut Table<()>, key: u32) {
        table.end(key);
        table.free(key);
    }

    /// Slots are used again and numbers are not: whoever stood in the line under this key is gone.
    #[test]
    fn the_oldest_who_waits_is_one_who_is_there_still() {
        let mut table = Table::new(4, false);
        let [first, second, third] = [1, 2, 3].map(|id| begins_to_settle(&mut table, id));
        ends(&mut table, first);
        assert_eq!(begins_to_settle(&mut table, 4), first, "in its slot");
        table.end(second); // and its slot is not free yet
        assert_eq!(table.take_oldest_settling(), Some(third));
        table.settles_first(third);
        let line = [(); 3].map(|()| table.take_oldest_settling());
        assert_eq!(line, [Some(third), Some(first), None]);
    }

    /// A line of which nobody is ever taken would grow with each connection there has been.
    #[test]
    fn who_was_decided_meanwhile_leaves_the_line_in_time() {
        let mut table = Table::new(4, false);
        let there: Vec<u32> = (0..2).map(|id| begins_to_settle(&mut table, id)).collect();
        let mut longest = 0;
        for id in 2..1_000 {
            let key = begins_to_settle(&mut table, id);
            longest = longest.max(table.settling.len());
            ends(&mut table, key);
        }
        assert_eq!(longest, 64 + 2 * 3, "three slots were taken when it was tidied");
        assert_eq!(
            [(); 3].map(|()| table.take_oldest_settling()),
            [Some(there[0]), Some(there[1]), None]
        );
    }

    /// Limits are about who is there: an address that nobody uses any more is forgotten.
    #[test]
    fn connections_of_an_address_are_counted_while_they_last() {
        let mut table = Table::new(4, true);
        let ip = IpAddr::from([192, 0, 2, 1]);
        let keys = [1, 2].map(|id| table.insert((), settling(id)));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!((table.count_of(ip), table.count_of(mapped)), (2, 2));
        for (key, left) in keys.into_iter().zip([1, 0]) {
            table.end(key);
            table.end(key); // twice is once
            assert_eq!((table.count_of(ip), table.open()), (left, left as usize));
        }
        assert_eq!((table.len(), table.per_ip), (2, Some(HashMap::new())));
    }

    #[test]
    fn a_visit_is_owed_once_and_not_to_who_has_ended() {
        let mut table = Table::new(4, false);
        let [first, second] = [1, 2].map(|id| table.insert((), settling(id)));
        [first, first, second].into_iter().for_each(|key| table.owe_visit(key));
        assert_eq!(table.unfinished(), 2);
        table.end(first);
        assert_eq!((table.unfinished(), table.take_unfinished()), (1, Some(second)));
        table.owe_visit(second);
        assert_eq!(table.take_unfinished(), Some(second), "another one, once it is paid");
        assert!(table.get_mut(first).is_none() && table.get_mut(second).is_some());
    }
}
