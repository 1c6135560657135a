//! The connections that a capture is in the middle of, by their two ends.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use slab::Slab;

use super::flow::Flow;
use super::segment::{Flags, Segment};

/// A connection that is over is kept for this long, in nanoseconds of the capture: what still comes
/// of it (a repeated FIN, a second reset) does not look like another connection.
const LINGER_NS: u64 = 5_000_000_000;

/// No neighbour in the list of idle connections.
const NONE: usize = usize::MAX;

/// A connection that left the table.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The connection.
    pub flow: Flow,
    /// How far the capture had come by then, in nanoseconds since 1970.
    pub until_ns: u64,
    /// It was the one that had been idle for the longest time, and there was no room for more.
    pub is_let_go: bool,
}

/// Both ends, the lower first: each direction has the same key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key([(u128, u16); 2]);

// In one piece: a keyed hash takes longer for many small ones.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [(a, a_port), (b, b_port)] = self.0;
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&a.to_ne_bytes());
        bytes[16..32].copy_from_slice(&b.to_ne_bytes());
        bytes[32..34].copy_from_slice(&a_port.to_ne_bytes());
        bytes[34..36].copy_from_slice(&b_port.to_ne_bytes());
        state.write(&bytes);
    }
}

impl Key {
    fn of(segment: &Segment) -> Key {
        let [a, b] = [segment.source, segment.target].map(plain);
        Key(if a <= b { [a, b] } else { [b, a] })
    }
}

/// An IPv4 address as IPv6 has it.
fn plain(end: SocketAddr) -> (u128, u16) {
    let address = match end.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    (address.to_bits(), end.port())
}

/// Where a segment belongs.
enum Belongs {
    /// To this connection.
    Here(usize),
    /// To none yet: a SYN between the ends of this connection, which is alive.
    Aside(usize),
    /// To a new one.
    Nowhere,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    flow: Flow,
    /// A SYN between ends that are connected. It begins another connection if it is answered.
    asks_again: Option<Box<(Segment, u64)>>,
    /// Which connection at this place of the slab this is.
    serial: u64,
    /// Neighbours in the order of the last segment: the one before, the one after.
    before: usize,
    after: usize,
}

/// All connections that are open, and those that have just ended. Memory is bounded by the number
/// of connections; each has a bounded size.
#[derive(Debug)]
pub struct Table {
    flows: Slab<Entry>,
    by_key: HashMap<Key, usize>,
    /// Those that are over: since when, where, which.
    over: VecDeque<(u64, usize, u64)>,
    /// The one that has been idle for the longest time, and the one that had the last segment.
    oldest: usize,
    newest: usize,
    flows_max: usize,
    serial: u64,
    /// The time of the last segment. The clock of a capture may go back; this does not.
    now_ns: u64,
}

impl Table {
    /// A table of at most `flows_max` connections, at least 1.
    #[must_use]
    pub fn new(flows_max: usize) -> Table {
        Table {
            flows: Slab::new(),
            by_key: HashMap::new(),
            over: VecDeque::new(),
            oldest: NONE,
            newest: NONE,
            flows_max: flows_max.max(1),
            serial: 0,
            now_ns: 0,
        }
    }

    /// Takes a segment that was seen at `at_ns`. Connections that leave the table are added to
    /// `ended`.
    pub fn takes(&mut self, segment: &Segment, at_ns: u64, ended: &mut Vec<Ended>) {
        self.now_ns = self.now_ns.max(at_ns);
        self.lets_go_of_those_over(ended);
        let key = Key::of(segment);
        let belongs = match self.by_key.get(&key) {
            Some(&place) => self.belongs(place, segment, ended),
            None => Belongs::Nowhere,
        };
        let place = match belongs {
            Belongs::Here(place) => place,
            Belongs::Aside(place) => return self.touches(place),
            Belongs::Nowhere => self.admits(key, segment, ended),
        };
        let now_ns = self.now_ns;
        let entry = &mut self.flows[place];
        let was_over = entry.flow.is_over();
        entry.flow.takes(segment, now_ns);
        if entry.flow.is_over() && !was_over {
            self.over.push_back((now_ns, place, entry.serial));
            // Ends whose ports were used again have left their places here. One that is forgotten
            // stays in the table until the end, or until there is no room.
            if self.over.len() > 2 * self.flows_max {
                self.over.pop_front();
            }
        }
        self.touches(place);
    }

    /// Ends all connections: the capture has no more. They come in the order of their last segment.
    pub fn finish(&mut self, ended: &mut Vec<Ended>) {
        while self.oldest != NONE {
            self.removes(self.oldest, false, ended);
        }
        self.over.clear();
    }

    /// How many connections are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether the segment is of the connection at `place`, which has the same ends.
    fn belongs(&mut self, place: usize, segment: &Segment, ended: &mut Vec<Ended>) -> Belongs {
        let now_ns = self.now_ns;
        let entry = &mut self.flows[place];
        let flow = &entry.flow;
        if !segment.flags.has(Flags::SYN) {
            return Belongs::Here(place);
        }
        let from = usize::from(segment.source != flow.ends()[0]);
        let is_another = flow.is_another(segment, from);
        let is_answer = segment.flags.has(Flags::ACK);
        if is_another && (flow.is_over() || !(is_answer || flow.is_established())) {
            self.removes(place, false, ended);
            return Belongs::Nowhere;
        }
        if !is_answer && is_another {
            // A connection that is alive answers it with an acknowledgement (RFC 5961, section 4).
            entry.asks_again = Some(Box::new((*segment, now_ns)));
            return Belongs::Aside(place);
        }
        if !is_answer {
            return Belongs::Here(place);
        }
        let asks_again = entry.asks_again.take();
        let Some(answered) = asks_again.filter(|asked| segment.ack == asked.0.seq.plus(1)) else {
            return Belongs::Here(place);
        };
        let (syn, at_ns) = *answered;
        let key = entry.key;
        self.removes(place, false, ended);
        let place = self.admits(key, &syn, ended);
        self.flows[place].flow.takes(&syn, at_ns);
        Belongs::Here(place)
    }

    fn admits(&mut self, key: Key, segment: &Segment, ended: &mut Vec<Ended>) -> usize {
        if self.flows.len() >= self.flows_max {
            let is_open = !self.flows[self.oldest].flow.is_over();
            self.removes(self.oldest, is_open, ended);
        }
        self.serial += 1;
        let flow = Flow::new(segment, self.now_ns);
        let (serial, before) = (self.serial, self.newest);
        let entry = Entry { key, flow, asks_again: None, serial, before, after: NONE };
        let place = self.flows.insert(entry);
        self.by_key.insert(key, place);
        match self.flows.get_mut(before) {
            Some(newest) => newest.after = place,
            None => self.oldest = place,
        }
        self.newest = place;
        place
    }

    fn removes(&mut self, place: usize, is_let_go: bool, ended: &mut Vec<Ended>) {
        self.unlinks(place);
        let Entry { key, flow, .. } = self.flows.remove(place);
        self.by_key.remove(&key);
        ended.push(Ended { flow, until_ns: self.now_ns, is_let_go });
    }

    fn unlinks(&mut self, place: usize) {
        let Entry { before, after, .. } = self.flows[place];
        match self.flows.get_mut(before) {
            Some(it) => it.after = after,
            None => self.oldest = after,
        }
        match self.flows.get_mut(after) {
            Some(it) => it.before = before,
            None => self.newest = before,
        }
    }

    /// Makes it the one that had the last segment.
    fn touches(&mut self, place: usize) {
        if self.newest == place {
            return;
        }
        self.unlinks(place);
        let newest = self.newest;
        (self.flows[place].before, self.flows[place].after) = (newest, NONE);
        match self.flows.get_mut(newest) {
            Some(it) => it.after = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn lets_go_of_those_over(&mut self, ended: &mut Vec<Ended>) {
        while let Some(&(since_ns, place, serial)) = self.over.front() {
            if since_ns.saturating_add(LINGER_NS) > self.now_ns {
                return;
            }
            self.over.pop_front();
            if self.flows.get(place).is_some_and(|entry| entry.serial == serial) {
                self.removes(place, false, ended);
            }
        }
    }
}

#[cfg(test)]
mod tests;
