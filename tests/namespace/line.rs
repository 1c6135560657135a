//! The line between two namespaces: a thread that reads packets from one TUN device, holds them for
//! 20 ms and writes them to the other. It can hold them longer, lose them, answer them as a router
//! would, and it remembers what it has brought.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::packet::{Icmp, Packet};
use super::room;

/// One way; there and back is twice that.
const DELAY: Duration = Duration::from_millis(20);

/// Nothing that is waited for takes this long; if it does, the test fails and says where.
const PATIENCE: Duration = Duration::from_secs(30);

/// An end of the line, and the direction towards it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    Server,
    Client,
}

/// A packet that the line has brought to one of its ends, or has lost.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    pub to: To,
    /// The client's port, whichever side sent the packet.
    pub port: u16,
    /// [`FIN`](super::packet::FIN) and its like.
    pub flags: u8,
    pub payload_bytes: usize,
    lost: bool,
}

impl Brought {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What of one direction stays in the line until further notice. What stands behind it waits, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Nothing,
    /// Packets with one of these flags.
    Flags(u8),
    Everything,
}

struct Direction {
    queue: VecDeque<(Instant, Packet)>,
    held: Held,
}

struct State {
    directions: [Direction; 2],
    /// Clients whose packets get lost, both ways.
    gone: HashSet<u16>,
    /// Clients that cannot be reached, and what the router reports about it.
    unreachable: HashMap<u16, Icmp>,
    /// The last packet that each client sent, for a reset in its name.
    last: HashMap<u16, Packet>,
    /// Where the stream that each client has ends so far, and how much of it it acknowledged.
    received: HashMap<u16, u32>,
    acknowledged: HashMap<u16, u32>,
    /// What is to be written without further delay: the line's own packets.
    forged: Vec<(To, Vec<u8>)>,
    brought: Vec<Brought>,
    over: bool,
}

struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    /// A test that failed while it held the lock is no reason for the line to fail.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The line. It is cut when it is dropped.
pub struct Line {
    shared: Arc<Shared>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// A line between these two devices. What it says itself comes from `router`.
    pub fn new(server: File, client: File, router: Ipv4Addr) -> Line {
        let direction = || Direction { queue: VecDeque::new(), held: Held::Nothing };
        let state = State {
            directions: [direction(), direction()],
            gone: HashSet::new(),
            unreachable: HashMap::new(),
            last: HashMap::new(),
            received: HashMap::new(),
            acknowledged: HashMap::new(),
            forged: Vec::new(),
            brought: Vec::new(),
            over: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new() });
        let (waker, woken) = UnixStream::pair().unwrap();
        woken.set_nonblocking(true).unwrap();
        let carrier = Carrier { shared: shared.clone(), tuns: [server, client], woken, router };
        let thread = Some(std::thread::spawn(move || carrier.carries()));
        Line { shared, waker, thread }
    }

    /// Holds every packet in this direction.
    pub fn holds(&self, to: To) {
        self.changes(|state| state.directions[to as usize].held = Held::Everything);
    }

    /// Holds packets with this flag in this direction, and what comes behind them.
    pub fn holds_flag(&self, to: To, flag: u8) {
        self.changes(|state| state.directions[to as usize].held = Held::Flags(flag));
    }

    /// Holds nothing any more.
    pub fn releases(&self, to: To) {
        self.changes(|state| state.directions[to as usize].held = Held::Nothing);
    }

    /// From now on the packets from and to this client get lost, those under way as well.
    pub fn loses(&self, port: u16) {
        self.changes(|state| {
            state.gone.insert(port);
        });
    }

    /// The client is there again.
    pub fn finds(&self, port: u16) {
        self.changes(|state| {
            state.gone.remove(&port);
            state.unreachable.remove(&port);
        });
    }

    /// From now on packets to this client are answered with an ICMP error, and its own get lost.
    pub fn cannot_reach(&self, port: u16, icmp: Icmp) {
        self.changes(|state| {
            state.unreachable.insert(port, icmp);
        });
    }

    /// Resets the connection towards the server, in the name of the client.
    pub fn resets(&self, port: u16) {
        self.changes(|state| {
            let reset = state.last[&port].reset_behind();
            state.forged.push((To::Server, reset));
        });
    }

    /// Waits until the line has brought such a packet of this client's connection.
    #[track_caller]
    pub fn has_brought(&self, to: To, port: u16, which: impl Fn(&Brought) -> bool) {
        let fits = |it: &Brought| it.to == to && it.port == port && !it.lost && which(it);
        self.waits(|state| state.brought.iter().any(fits));
    }

    /// Waits until the line has lost such a packet.
    #[track_caller]
    pub fn has_lost(&self, to: To, port: u16, which: impl Fn(&Brought) -> bool) {
        let fits = |it: &Brought| it.to == to && it.port == port && it.lost && which(it);
        self.waits(|state| state.brought.iter().any(fits));
    }

    /// Waits until the server has heard that this client has all that was brought to it.
    #[track_caller]
    pub fn has_acknowledged(&self, port: u16) {
        self.waits(|state| state.acknowledged.get(&port) == Some(&state.received[&port]));
    }

    #[track_caller]
    fn waits(&self, done: impl Fn(&State) -> bool) {
        let state = self.shared.lock();
        let result = self.shared.news.wait_timeout_while(state, PATIENCE, |it| !done(it));
        let (state, result) = result.unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!result.timed_out(), "it has not come to that: {:?}", state.brought);
    }

    /// All that it has brought so far.
    pub fn brought(&self) -> Vec<Brought> {
        self.shared.lock().brought.iter().filter(|it| !it.lost).copied().collect()
    }

    fn changes(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        (&self.waker).write_all(&[0]).expect("the carrier lives as long as the line");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        drop((&self.waker).write_all(&[0]));
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking(), "the line's own thread failed");
        }
    }
}

/// The thread behind a line.
struct Carrier {
    shared: Arc<Shared>,
    /// By [`To`].
    tuns: [File; 2],
    woken: UnixStream,
    router: Ipv4Addr,
}

impl Carrier {
    fn carries(mut self) {
        loop {
            let due = {
                let state = self.shared.lock();
                if state.over {
                    return;
                }
                let heads = state.directions.iter().filter_map(|it| {
                    it.queue.front().filter(|(_, packet)| !it.held.has(packet)).map(|head| head.0)
                });
                heads.min()
            };
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            let [server, client] = &self.tuns;
            room::wait_readable(&[server.as_fd(), client.as_fd(), self.woken.as_fd()], timeout);
            while self.woken.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
            self.takes(To::Client);
            self.takes(To::Server);
            self.brings();
        }
    }

    /// Reads what is on its way in this direction.
    fn takes(&mut self, to: To) {
        let mut space = [0; 2048];
        let from = &mut self.tuns[1 - to as usize];
        while let Ok(bytes) = from.read(&mut space) {
            let Some(packet) = Packet::new(&space[..bytes]) else { continue };
            let mut state = self.shared.lock();
            if to == To::Server {
                state.last.insert(packet.source_port(), packet.clone());
            }
            state.directions[to as usize].queue.push_back((Instant::now() + DELAY, packet));
        }
    }

    /// Writes what is due.
    fn brings(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        for to in [To::Server, To::Client] {
            while let Some(packet) = state.directions[to as usize].pop_due(now) {
                let port =
                    if to == To::Server { packet.source_port() } else { packet.target_port() };
                let icmp = state.unreachable.get(&port).copied();
                let lost = icmp.is_some() || state.gone.contains(&port);
                if !lost {
                    match to {
                        To::Server => state.acknowledged.insert(port, packet.acknowledged()),
                        To::Client => state.received.insert(port, packet.end()),
                    };
                    write(&mut self.tuns[to as usize], packet.bytes());
                }
                if let (To::Client, Some(icmp)) = (to, icmp) {
                    state.forged.push((To::Server, packet.icmp(self.router, icmp)));
                }
                let (flags, payload_bytes) = (packet.flags(), packet.payload_bytes());
                state.brought.push(Brought { to, port, flags, payload_bytes, lost });
            }
        }
        for (to, bytes) in state.forged.drain(..) {
            write(&mut self.tuns[to as usize], &bytes);
        }
        self.shared.news.notify_all();
    }
}

/// A write returns when the kernel there has worked on the packet: what the test does next finds
/// it done.
fn write(tun: &mut File, packet: &[u8]) {
    let taken = tun.write(packet).expect("a device that is up takes a packet");
    assert_eq!(taken, packet.len());
}

impl Direction {
    fn pop_due(&mut self, now: Instant) -> Option<Packet> {
        let (due, packet) = self.queue.front()?;
        let stays = *due > now || self.held.has(packet);
        if stays { None } else { self.queue.pop_front().map(|head| head.1) }
    }
}

impl Held {
    fn has(self, packet: &Packet) -> bool {
        match self {
            Held::Nothing => false,
            Held::Flags(flags) => packet.flags() & flags != 0,
            Held::Everything => true,
        }
    }
}
