//! The third kernel, in which nothing goes wrong. Peers connect when they are told to, each sends
//! the same fourteen bytes, every reply fits, and the clock moves when it is told to.
//!
//! The [`World`](super::World) is there to find faults. For each call it keeps a trace, a model of
//! both directions and an account of what the loop owes, so at a million connections it would be
//! measured and not the loop. What this kernel knows of a connection is four bytes in the loop's
//! own table, where a descriptor lies otherwise. It is for benches and for the scale table.
//!
//! What is left of it in a measurement: a random number for each event, a copy of fourteen bytes
//! for each receive, and a list of this turn's keys, which stays in the cache. What is missing is
//! what the system calls cost, and what they do to the caches.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::choices::Choices;
use crate::kernel::{Event, Io, Kernel, Stop};
use crate::machine::close::SocketFacts;
use crate::machine::connection::{Goodbye, Hints};
use crate::machine::errno::{Errno, System};
use crate::machine::time::Moment;

/// What each peer sends, each time.
pub const MESSAGE: &[u8] = b"Hi,here is glp";

/// Which peers send something in each of the following turns. All connections that were accepted
/// must still be open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Speakers {
    /// No connection.
    #[default]
    None,
    /// This number at random, others in each turn.
    Random(u32),
    /// This number at random, the same ones in each turn.
    Same(u32),
    /// This number, until each peer has had a turn; in random order.
    InTurn(u32),
}

/// A connected socket: the key under which it is registered, and how far its end has come.
#[derive(Debug)]
pub struct CalmSocket(u32);

/// Our FIN is out.
const SHUT: u32 = 1 << 31;
/// And the peer has answered with its own.
const OVER: u32 = 1 << 30;

/// A kernel of prepared events. Between two turns it is told what comes next, through
/// [`Reactor::kernel`](crate::reactor::Reactor::kernel).
#[derive(Debug)]
pub struct Calm {
    newcomers: Cell<u32>,
    speakers: Cell<Speakers>,
    turn_ms: Cell<u64>,
    /// What the loop was asked for, and what of that it has been told.
    asked: Cell<Option<Stop>>,
    told: Option<Stop>,
    now_ms: u64,
    accepted: u32,
    open: u32,
    sent_bytes: u64,
    looks: u64,
    choices: Choices,
    /// The order of [`Speakers::InTurn`], and the place in it of the last one.
    order: Vec<u32>,
    last: usize,
    /// Connections with an event in this turn, in that order, and how many of them were served.
    events: Vec<u32>,
    heard: usize,
    /// Connections whose peer will answer our FIN in the next turn.
    leaving: Vec<u32>,
}

impl Calm {
    /// A kernel with one listener and no connection. The same seed gives the same speakers.
    pub fn new(seed: u64) -> Calm {
        Calm {
            newcomers: Cell::new(0),
            speakers: Cell::default(),
            turn_ms: Cell::new(0),
            asked: Cell::new(None),
            told: None,
            now_ms: 1 << 32,
            accepted: 0,
            open: 0,
            sent_bytes: 0,
            looks: 0,
            choices: Choices::seeded(seed),
            order: Vec::new(),
            last: 0,
            events: Vec::new(),
            heard: 0,
            leaving: Vec::new(),
        }
    }

    /// This number of peers connect.
    pub fn connect(&self, newcomers: u32) {
        self.newcomers.set(newcomers);
    }

    /// From now on these speak.
    pub fn speak(&self, speakers: Speakers) {
        self.speakers.set(speakers);
    }

    /// From now on a turn in which something happens takes `ms` milliseconds, at first 0. One in
    /// which nothing happens sleeps until the next deadline.
    pub fn turn_takes(&self, ms: u64) {
        self.turn_ms.set(ms);
    }

    /// Asks the loop to stop in this way.
    pub fn stop(&self, stop: Stop) {
        self.asked.set(self.asked.get().max(Some(stop)));
    }

    /// Connections that were accepted and not closed.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Bytes that were sent.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// How often the clock was looked at.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Chooses the speakers of a turn.
    fn choose(&mut self) {
        let open = u64::from(self.open);
        match self.speakers.get() {
            Speakers::None => {}
            Speakers::Random(count) => {
                self.events.extend(scattered(&mut self.choices, open, count));
            }
            Speakers::Same(count) => {
                self.events.extend(scattered(&mut self.choices.clone(), open, count));
            }
            Speakers::InTurn(count) => {
                if self.order.len() as u64 != open {
                    self.shuffle();
                }
                for _ in 0..count {
                    self.last = (self.last + 1) % self.order.len().max(1);
                    self.events.extend(self.order.get(self.last));
                }
            }
        }
    }

    /// Chooses the order of [`Speakers::InTurn`] (Fisher and Yates).
    fn shuffle(&mut self) {
        self.order = (0..self.open).collect();
        for place in (1..self.order.len()).rev() {
            self.order.swap(place, self.choices.below(place as u64 + 1) as usize);
        }
    }

    fn newcomer(&mut self) -> Option<SocketAddr> {
        let left = self.newcomers.get().checked_sub(1)?;
        self.newcomers.set(left);
        self.accepted = self.accepted.wrapping_add(1);
        let (host, port) = (self.accepted / 50_000, self.accepted % 50_000 + 1024);
        Some(SocketAddr::from((Ipv4Addr::from(0x0a00_0000 | host), port as u16)))
    }
}

/// `count` keys below `open`, each once, far from each other: a walk from a random place in random
/// strides that share no factor with `open`. A system tells of each socket once in a wait.
fn scattered(choices: &mut Choices, open: u64, count: u32) -> impl Iterator<Item = u32> {
    let common_factor = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = choices.below(open);
    let mut stride = choices.between(1, open.max(1));
    while common_factor(stride, open) > 1 {
        stride += 1;
    }
    (0..u64::from(count).min(open)).map(move |step| ((start + step * stride) % open) as u32)
}

impl Kernel for Calm {
    type Socket = CalmSocket;
    const SYSTEM: System = System::Linux;
    const SHORT_READ_DRAINS: bool = true;

    fn now(&mut self) -> Moment {
        self.looks += 1;
        Moment::from_ms(self.now_ms)
    }

    /// # Errors
    /// Nothing will ever happen: no speaker, no newcomer and no deadline.
    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        self.heard = 0;
        self.events.clear();
        self.events.append(&mut self.leaving);
        let fin = Hints { read_closed: true, ..Hints::default() };
        events.extend(self.events.iter().map(|&key| Event::Socket(key, fin)));
        if self.newcomers.get() > 0 {
            events.push(Event::Listener(0));
        }
        if self.told < self.asked.get() {
            self.told = self.asked.get();
            events.extend(self.told.map(Event::Stop));
        }
        let fins = self.events.len();
        self.choose();
        let said = self.events[fins..].iter().map(|&key| Event::Socket(key, Hints::default()));
        events.extend(said);
        self.now_ms += match timeout_ms {
            _ if !events.is_empty() => self.turn_ms.get(),
            Some(ms) => ms,
            None => return Err(io::ErrorKind::TimedOut.into()),
        };
        Ok(())
    }

    fn listeners(&self) -> usize {
        1
    }

    fn accept(&mut self, _listener: usize) -> Io<(CalmSocket, SocketAddr)> {
        let Some(peer) = self.newcomer() else { return Io::WouldBlock };
        self.open += 1;
        Io::Done((CalmSocket(0), peer))
    }

    fn has_newcomer(&mut self, _listener: usize) -> bool {
        self.newcomers.get() > 0
    }

    fn shed(&mut self, _listener: usize) -> Io<SocketAddr> {
        self.newcomer().map_or(Io::WouldBlock, Io::Done)
    }

    fn stop_listening(&mut self) {
        self.newcomers.set(0);
    }

    fn register(&mut self, socket: &mut CalmSocket, key: u32) -> Result<(), Errno> {
        socket.0 = key;
        Ok(())
    }

    fn register_writable(&mut self, _socket: &mut CalmSocket, _key: u32) -> Result<(), Errno> {
        Ok(())
    }

    fn recv(&mut self, socket: &mut CalmSocket, space: &mut [u8]) -> Io<usize> {
        // Those with an event are served in its order, so the next one in it has bytes.
        if self.events.get(self.heard) != Some(&(socket.0 & !(SHUT | OVER))) {
            return Io::WouldBlock;
        }
        self.heard += 1;
        if socket.0 & SHUT != 0 {
            socket.0 |= OVER;
            return Io::Done(0);
        }
        let bytes = MESSAGE.len().min(space.len());
        space[..bytes].copy_from_slice(&MESSAGE[..bytes]);
        Io::Done(bytes)
    }

    fn send(&mut self, _socket: &mut CalmSocket, bytes: &[u8]) -> Io<usize> {
        self.sent_bytes += bytes.len() as u64;
        Io::Done(bytes.len())
    }

    fn shutdown_write(&mut self, socket: &mut CalmSocket) -> Result<(), Errno> {
        self.leaving.push(socket.0);
        socket.0 |= SHUT;
        Ok(())
    }

    fn unacked(&mut self, socket: &mut CalmSocket) -> Option<u32> {
        Some(u32::from(socket.0 & (SHUT | OVER) == SHUT))
    }

    fn unread(&mut self, _socket: &mut CalmSocket) -> Option<u32> {
        Some(0)
    }

    fn local(&mut self, _socket: &mut CalmSocket) -> Option<SocketAddr> {
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 20003)))
    }

    fn facts(&mut self, _socket: &mut CalmSocket) -> SocketFacts {
        SocketFacts::SETTLED
    }

    fn take_error(&mut self, _socket: &mut CalmSocket) -> Option<Errno> {
        None
    }

    fn close(&mut self, _socket: CalmSocket, _goodbye: Goodbye) {
        self.open -= 1;
    }

    fn give_back_memory(&mut self) {}
}
