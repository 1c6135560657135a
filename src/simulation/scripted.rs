//! A world in which a test takes the place of both the loop and the peers, so that it can be held
//! against a real system call by call.

use super::World;
use super::agenda::{Due, Segment};
use super::choices::Choices;
use super::link::Link;
use super::peer::{Move, PUPPET, Peer};
use super::pipe::Pipe;
use super::setting::WorldSetting;

/// What a peer's program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Send this number of bytes.
    Send(u32),
    /// Send this number of bytes; the last one is urgent.
    Urgent(u32),
    /// Read at most this number of bytes.
    Read(u32),
    /// `shutdown(SHUT_WR)`.
    HalfClose,
    /// `shutdown(SHUT_RDWR)`.
    ShutBoth,
    /// `close`.
    Close,
    /// `close` with SO_LINGER 0.
    Reset,
}

/// What a read of a peer's program would give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// Nothing yet.
    Nothing,
    /// This number of bytes.
    Bytes(u32),
    /// The server's FIN.
    Fin,
    /// A reset.
    Reset,
}

/// When the server would be asked to stop, in microseconds: later than any script ends.
const NEVER_US: u64 = 1 << 60;

/// How far a script looks ahead for what is under way, in microseconds.
const UNDER_WAY_US: u64 = 1_000_000;

/// What the server's sockets hold unacknowledged, in bytes: so much more than a window that a full
/// window leaves no third of it free.
const SEND_SPACE: u32 = 400_000;

/// The window of each direction, in bytes.
const WINDOW: u32 = 65_536;

/// A world as Linux is, without faults and without a judge. Its peers are numbered from 0 in the
/// order in which they connect, and do what [`act`](Scripted::act) tells them.
///
/// Nothing happens by itself but what is under way on the wires; [`settle`](Scripted::settle) lets
/// all of it arrive. The server's part is played through [`kernel`](Scripted::kernel).
#[derive(Debug)]
pub struct Scripted {
    world: World<true>,
    delays: Choices,
}

impl Scripted {
    /// A world with one listener and no connections. `seed` decides the wires' delays.
    pub fn new(seed: u64) -> Scripted {
        let mut quiet = Choices::from_bytes(&[]);
        let mut setting = WorldSetting::choose(&mut quiet);
        setting.config.backlog = 128;
        setting.peers = 0;
        setting.stop_us = NEVER_US;
        setting.sent_bytes_max = u64::from(u32::MAX);
        setting.files = usize::MAX;
        let mut world = World::new(setting, quiet, 0);
        world.findings.stop_judging();
        Scripted { world, delays: Choices::seeded(seed) }
    }

    /// Its system calls.
    pub fn kernel(&mut self) -> &mut World<true> {
        &mut self.world
    }

    /// Sets the listener's backlog, at first 128.
    pub fn set_backlog(&mut self, backlog: i32) {
        self.world.setting.config.backlog = backlog;
    }

    /// A peer connects. Whether it gets through depends on the backlog.
    pub fn connect(&mut self) -> u32 {
        let index = self.world.network.links().len() as u32;
        let mut link = Link::new(index, &self.world.setting, &mut self.world.choices);
        link.up = Pipe::new(WINDOW, WINDOW);
        link.down = Pipe::new(WINDOW, WINDOW);
        link.set_send_space(SEND_SPACE);
        link.delay_us = self.delays.below(500) as u32;
        link.peer = Peer::new(&PUPPET);
        self.world.network.add(link);
        self.world.network.schedule(self.world.clock.now_us(), index, Due::Connects);
        self.settle();
        index
    }

    /// Everything that is under way arrives, and what follows from it.
    pub fn settle(&mut self) {
        while let Some(next_us) = self.world.network.next_us()
            && next_us <= self.world.clock.now_us() + UNDER_WAY_US
        {
            self.world.clock.pass_until(next_us);
            self.world.run_due();
        }
    }

    /// The program of `peer` does something, and what follows from it happens. A program that has
    /// closed its socket does nothing; one whose connection was reset only reads and closes.
    pub fn act(&mut self, peer: u32, act: Act) {
        let there = self.is_there(peer);
        match act {
            Act::Read(bytes) => self.read(peer, bytes),
            Act::Close if !there => self.world.link(peer).peer.closed = true,
            _ if !there => {}
            Act::Send(bytes) => self.world.says(peer, u64::from(bytes)),
            Act::Urgent(bytes) => {
                self.world.says(peer, u64::from(bytes));
                self.world.marks_urgent(peer);
            }
            Act::HalfClose => self.world.takes(peer, Move::HalfClose),
            Act::ShutBoth => self.world.takes(peer, Move::ShutBoth),
            Act::Close => self.world.takes(peer, Move::Close),
            Act::Reset => self.world.takes(peer, Move::Reset),
        }
        self.settle();
    }

    fn read(&mut self, peer: u32, bytes: u32) {
        let link = self.world.link(peer);
        let bytes = bytes.min(link.down.unread);
        if bytes > 0 && !link.peer.closed {
            link.down.unread -= bytes;
            self.world.network.send_up(peer, Segment::Window);
        }
    }

    /// Whether the program of `peer` has a socket with a connection.
    pub fn is_there(&self, peer: u32) -> bool {
        self.world.network.link(peer).peer.is_there()
    }

    /// What the program of `peer` would read next.
    pub fn sight(&self, peer: u32) -> Sight {
        let link = self.world.network.link(peer);
        match (link.down.unread, link.peer.got_fin, link.peer.gone) {
            (0, true, _) => Sight::Fin,
            (0, _, true) => Sight::Reset,
            (0, ..) => Sight::Nothing,
            (bytes, ..) => Sight::Bytes(bytes),
        }
    }
}
