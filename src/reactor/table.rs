//! Table of the open connections, each in a slot of its own.
//!
//! A slot is freed only when the turn ends, so no event of a turn can reach a new connection in the
//! place of the connection that the event was for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use slab::Slab;

use super::queue::Queue;
use crate::machine::connection::Connection;
use crate::machine::packed_address::network;

/// What is scheduled for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheduled {
    /// Nothing: an event or its alarm will follow.
    Nothing,
    /// Another visit: a budget ended the last one, and there will be no event for it.
    Visit,
    /// It has ended and is reaped at the end of a turn.
    Reaping,
}

/// How much a connection used in its last visit, which decides in which queue it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Little: it is visited as soon as there is an event.
    Sparse,
    /// Much: it waits with other bulk senders.
    Bulk,
}

/// A connection and its socket.
#[derive(Debug)]
pub(super) struct Slot<S> {
    pub(super) socket: S,
    pub(super) connection: Connection,
    scheduled: Scheduled,
    pub(super) pace: Pace,
    /// The number of the turn of its last visit. It wraps: then a connection may be taken for one
    /// that was visited, and is visited in the next turn.
    pub(super) visited_in: u16,
}

/// The slab of connections, and the queues in which they may stand.
#[derive(Debug)]
pub(super) struct Table<S> {
    slab: Slab<Slot<S>>,
    slots: usize,
    /// Connections with a scheduled visit: sparse ones, and bulk senders. As in FQ-CoDel (RFC 8290,
    /// section 4.1), a flow that uses little does not wait behind those that use much.
    sparse: Queue,
    bulk: Queue,
    scheduled_visits: usize,
    /// Connections that wait for their evidence.
    settling: Queue,
    /// Connections that have ended, in that order.
    ended: VecDeque<u32>,
    /// Connections by address, or by /64 in IPv6, if that number has a limit.
    per_ip: Option<HashMap<IpAddr, u32>>,
}

impl<S> Table<S> {
    /// An empty table. All slots it will ever need are reserved, so it never copies itself while it
    /// serves; the memory is not touched before it is used.
    pub(super) fn new(slots: usize, counts_per_ip: bool) -> Table<S> {
        Table {
            slab: Slab::with_capacity(slots),
            slots,
            sparse: Queue::default(),
            bulk: Queue::default(),
            scheduled_visits: 0,
            settling: Queue::default(),
            ended: VecDeque::new(),
            per_ip: counts_per_ip.then(HashMap::new),
        }
    }

    /// Frees memory: of the queues, and of the slots if none is taken. Those are to be
    /// [reserved](Self::reserve) again.
    pub(super) fn shrink(&mut self) {
        if self.slab.is_empty() {
            self.slab = Slab::new();
        }
        [&mut self.sparse, &mut self.bulk, &mut self.settling].into_iter().for_each(Queue::shrink);
        self.ended.shrink_to_fit();
    }

    /// Reserves the slots again, if there is memory for them; else the table grows when needed.
    pub(super) fn reserve(&mut self) {
        if Vec::<Slot<S>>::new().try_reserve_exact(self.slots).is_ok() {
            self.slab.reserve(self.slots - self.slab.len());
        }
    }

    /// The number of slots that are taken.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The number of connections that have not ended.
    pub(super) fn open(&self) -> usize {
        self.slab.len() - self.ended.len()
    }

    /// The number of connections of `ip` and its [network], as far as that is counted.
    pub(super) fn count_of(&self, ip: IpAddr) -> u32 {
        self.per_ip.as_ref().and_then(|counts| counts.get(&network(ip)).copied()).unwrap_or(0)
    }

    /// Gives a new connection a slot, in the turn of this number.
    pub(super) fn insert(&mut self, socket: S, connection: Connection, turn: u16) -> u32 {
        if let Some(counts) = &mut self.per_ip {
            *counts.entry(network(connection.peer().ip())).or_default() += 1;
        }
        let (scheduled, pace, visited_in) =
            (Scheduled::Nothing, Pace::Sparse, turn.wrapping_sub(1));
        self.slab.insert(Slot { socket, connection, scheduled, pace, visited_in }) as u32
    }

    /// The connection with this key, unless it ended or never was: events may be stale.
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut Slot<S>> {
        self.slab.get_mut(key as usize).filter(|slot| slot.scheduled != Scheduled::Reaping)
    }

    /// The keys of all slots.
    pub(super) fn keys(&self) -> Vec<u32> {
        self.slab.iter().map(|(key, _)| key as u32).collect()
    }

    // ---- scheduled visits ----

    /// Schedules a visit to `key`; once, however often this is called.
    pub(super) fn schedule_visit(&mut self, key: u32) {
        let slot = &mut self.slab[key as usize];
        if slot.scheduled != Scheduled::Nothing {
            return;
        }
        slot.scheduled = Scheduled::Visit;
        let (pace, place) = (slot.pace, (key, slot.connection.id()));
        self.scheduled_visits += 1;
        let slab = &self.slab;
        let queue = if pace == Pace::Bulk { &mut self.bulk } else { &mut self.sparse };
        queue.push_back(place, slab.len(), |key, id| is_scheduled(slab, key, id));
    }

    /// Takes the next connection of this pace with a scheduled visit.
    pub(super) fn take_scheduled(&mut self, pace: Pace) -> Option<u32> {
        let slab = &self.slab;
        let queue = if pace == Pace::Bulk { &mut self.bulk } else { &mut self.sparse };
        let key = queue.pop_front(|key, id| is_scheduled(slab, key, id))?;
        self.slab[key as usize].scheduled = Scheduled::Nothing;
        self.scheduled_visits -= 1;
        Some(key)
    }

    /// The number of connections with a scheduled visit.
    pub(super) fn scheduled_visits(&self) -> usize {
        self.scheduled_visits
    }

    // ---- settling: our FIN was sent, and evidence is awaited ----

    /// `key` has begun to wait for its evidence.
    pub(super) fn queue_settling(&mut self, key: u32) {
        let slab = &self.slab;
        let place = (key, slab[key as usize].connection.id());
        self.settling.push_back(place, slab.len(), |key, id| is_settling_as(slab, key, id));
    }

    /// Takes the connection that has been settling longest from the queue.
    pub(super) fn take_oldest_settling(&mut self) -> Option<u32> {
        let slab = &self.slab;
        self.settling.pop_front(|key, id| is_settling_as(slab, key, id))
    }

    /// Puts `key`, just taken as the oldest, back to the front of the queue.
    pub(super) fn put_back_oldest(&mut self, key: u32) {
        self.settling.push_front(key, self.slab[key as usize].connection.id());
    }

    // ---- reaping ----

    /// The number of connections that have ended and are not reaped yet.
    pub(super) fn to_reap(&self) -> usize {
        self.ended.len()
    }

    /// `key` has ended: from now on it is not found, and its slot is free once it is reaped.
    pub(super) fn end(&mut self, key: u32) {
        let slot = &mut self.slab[key as usize];
        match std::mem::replace(&mut slot.scheduled, Scheduled::Reaping) {
            Scheduled::Nothing => {}
            Scheduled::Visit => self.scheduled_visits -= 1,
            Scheduled::Reaping => return,
        }
        self.ended.push_back(key);
        if let Some(counts) = &mut self.per_ip {
            let ip = network(slot.connection.peer().ip());
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

    /// A connection that has ended.
    pub(super) fn ended(&mut self, key: u32) -> &mut Slot<S> {
        &mut self.slab[key as usize]
    }

    /// Frees the slot of the first one that ended and returns its socket. Only at the end of a
    /// turn.
    pub(super) fn free(&mut self, key: u32) -> S {
        let first = self.ended.pop_front();
        debug_assert_eq!(first, Some(key), "slots are freed in the order of `next_ended`");
        self.slab.remove(key as usize).socket
    }
}

/// Whether connection number `id` is in the slot `key` still, and has a scheduled visit.
fn is_scheduled<S>(slab: &Slab<Slot<S>>, key: u32, id: u64) -> bool {
    slab.get(key as usize)
        .is_some_and(|slot| slot.scheduled == Scheduled::Visit && slot.connection.id() == id)
}

/// Whether connection number `id` is in the slot `key` still, and settling.
fn is_settling_as<S>(slab: &Slab<Slot<S>>, key: u32, id: u64) -> bool {
    slab.get(key as usize).is_some_and(|slot| {
        slot.scheduled != Scheduled::Reaping
            && slot.connection.id() == id
            && slot.connection.is_settling()
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::machine::connection::{Context, Rules};
    use crate::machine::time::Moment;

    /// With a socket that is a descriptor and nothing else, as mio's is in a release build.
    #[test]
    fn an_idle_connection_takes_104_bytes() {
        assert_eq!(size_of::<Slot<i32>>(), 104); // and 16 in the wheel
        assert_eq!(size_of::<Option<Slot<i32>>>(), 104, "no room for a tag");
    }

    #[test]
    fn a_connection_fits_a_line_and_a_half_of_the_cache() {
        assert_eq!(size_of::<Connection>(), 96);
    }

    /// A connection whose FIN arrived and was answered, so that it waits for its evidence.
    fn settling(id: u64) -> Connection {
        let rules = Rules {
            read_deadline_ms: None,
            write_deadline_ms: None,
            verdict_wait_ms: 2_000,
            retry_ms: 20,
            short_read_drains: true,
            max_age_ms: None,
        };
        let context = Context::new(rules, Moment::from_ms(0));
        let peer = SocketAddr::from(([192, 0, 2, 1], 50_000));
        let mut connection = Connection::new(id, peer.into(), &context);
        connection.received_fin();
        connection.shut_down(true, &context);
        connection
    }

    fn begins_to_settle(table: &mut Table<()>, id: u64) -> u32 {
        let key = table.insert((), settling(id), 0);
        table.queue_settling(key);
        key
    }

    fn ends(table: &mut Table<()>, key: u32) {
        table.end(key);
        table.free(key);
    }

    /// Slots are reused and numbers are not: the connection that stood in the queue under this key
    /// has ended.
    #[test]
    fn the_oldest_settling_connection_is_one_that_still_exists() {
        let mut table = Table::new(4, false);
        let [first, second, third] = [1, 2, 3].map(|id| begins_to_settle(&mut table, id));
        ends(&mut table, first);
        assert_eq!(begins_to_settle(&mut table, 4), first, "in its slot");
        table.end(second); // and its slot is not free yet
        assert_eq!(table.take_oldest_settling(), Some(third));
        table.put_back_oldest(third);
        let queue = [(); 3].map(|()| table.take_oldest_settling());
        assert_eq!(queue, [Some(third), Some(first), None]);
    }

    /// Limits are about open connections: an address without connections is removed.
    #[test]
    fn connections_of_an_address_are_counted_while_they_last() {
        let mut table = Table::new(4, true);
        let ip = IpAddr::from([192, 0, 2, 1]);
        let keys = [1, 2].map(|id| table.insert((), settling(id), 0));
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
    fn a_visit_is_scheduled_once_and_not_for_what_has_ended() {
        let mut table = Table::new(4, false);
        let [first, second] = [1, 2].map(|id| table.insert((), settling(id), 0));
        [first, first, second].into_iter().for_each(|key| table.schedule_visit(key));
        assert_eq!(table.scheduled_visits(), 2);
        table.end(first);
        assert_eq!(
            (table.scheduled_visits(), table.take_scheduled(Pace::Sparse)),
            (1, Some(second))
        );
        table.schedule_visit(second);
        let again = table.take_scheduled(Pace::Sparse);
        assert_eq!(again, Some(second), "another one, once it was taken");
        assert!(table.get_mut(first).is_none() && table.get_mut(second).is_some());
    }

    #[test]
    fn a_sparse_flow_does_not_stand_behind_bulk_senders() {
        let mut table = Table::new(4, false);
        let [bulk, sparse] = [1, 2].map(|id| table.insert((), settling(id), 0));
        table.get_mut(bulk).unwrap().pace = Pace::Bulk;
        [bulk, sparse].into_iter().for_each(|key| table.schedule_visit(key));
        let taken = [Pace::Sparse, Pace::Sparse, Pace::Bulk].map(|pace| table.take_scheduled(pace));
        assert_eq!((taken, table.scheduled_visits()), ([Some(sparse), None, Some(bulk)], 0));
    }

    /// Regression: each end searched the queue of scheduled visits, so a storm of resets
    /// took time with the square of their number.
    #[test]
    fn an_end_does_not_search_the_queue() {
        let mut table = Table::new(8, false);
        let keys: Vec<u32> = (0..8).map(|id| table.insert((), settling(id), 0)).collect();
        keys.iter().for_each(|&key| table.schedule_visit(key));
        keys.iter().rev().for_each(|&key| table.end(key));
        assert_eq!(
            (table.scheduled_visits(), table.sparse.len()),
            (0, 8),
            "they leave it in passing"
        );
        assert_eq!((table.take_scheduled(Pace::Sparse), table.sparse.len()), (None, 0));
    }
}
