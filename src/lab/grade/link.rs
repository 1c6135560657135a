//! A connection of the exercise: what it sends, what of the echo is here, and how the server ended
//! it.
//!
//! Each wait is for an event of the socket and has an end: no progress for the time of a reply, or
//! [`TOTAL`] times that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::echo::{Check, LINE_BYTES, Lead, Script, Wrong};

/// How long nothing may move before buffers count as full.
const STILL: Duration = Duration::from_millis(500);

/// The buffers of a client that reads late, in bytes: small ones are full soon.
const NARROW_BYTES: usize = 1 << 16;

/// A reply that never stops making progress has this many times the time of a pause.
const TOTAL: u32 = 20;

/// How often a wait looks whether the run was interrupted.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// What all connections of a run share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) server: SocketAddr,
    /// How long a reply may make no progress.
    pub(super) reply: Duration,
    /// How long the server may take to end a connection.
    pub(super) patience: Duration,
    pub(super) stop: &'static AtomicBool,
    pub(super) lead: Lead,
    pub(super) text: Script,
    pub(super) binary: Script,
}

impl Room {
    /// Whether the run was interrupted.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How a server ended its side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Fin,
    Reset,
}

/// What did not go as it should.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No connection: what the system said.
    NoConnection(io::Error),
    /// Nothing moved for this long; of `of` bytes `came` had come back.
    Silence { came: u64, of: u64, time: Duration },
    /// The server ended its side before the echo was whole, or with a reset.
    Ended { came: u64, of: u64, end: End },
    /// This number of bytes arrived, and they do not end with the message.
    NoEcho { bytes: u64 },
    /// A byte that was not sent, or not there.
    Wrong { behind: u64 },
    /// Not the server's doing: this machine is out of files or ports.
    Ours(io::Error),
    /// The run was interrupted.
    Stopped,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    /// Everything is sent.
    Sent,
    /// The echo is whole.
    Whole,
    /// The server's FIN, behind the whole echo.
    Fin,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    poll: Poll,
    events: Events,
    stop: &'static AtomicBool,
    reply: Duration,
    script: Script,
    check: Check,
    /// Bytes of the script that are to be sent, and those that are.
    due: u64,
    sent: u64,
    /// Bytes before the message under way: all of them were echoed.
    before: u64,
    /// The server's end, as an event or a call has told it.
    end: Option<End>,
    /// All up to its FIN is read.
    is_at_fin: bool,
}

impl Link {
    /// Connects.
    pub(super) fn new(room: &Room) -> Result<Link, Trouble> {
        Link::with(room, &room.text, None)
    }

    /// Connects with small buffers, to fill them.
    pub(super) fn narrow(room: &Room) -> Result<Link, Trouble> {
        Link::with(room, &room.text, Some(NARROW_BYTES))
    }

    /// Connects, to send bytes that are no text.
    pub(super) fn binary(room: &Room) -> Result<Link, Trouble> {
        Link::with(room, &room.binary, None)
    }

    fn with(room: &Room, script: &Script, buffers: Option<usize>) -> Result<Link, Trouble> {
        let domain = Domain::for_address(room.server);
        let socket = Socket::new(domain, Type::STREAM, None).map_err(Trouble::Ours)?;
        let poll = Poll::new().map_err(Trouble::Ours)?;
        if let Some(bytes) = buffers {
            socket.set_recv_buffer_size(bytes).map_err(Trouble::Ours)?;
            socket.set_send_buffer_size(bytes).map_err(Trouble::Ours)?;
        }
        socket.connect_timeout(&room.server.into(), room.reply).map_err(|error| {
            match error.kind() {
                ErrorKind::AddrNotAvailable => Trouble::Ours(error),
                _ => Trouble::NoConnection(error),
            }
        })?;
        let ready = socket.set_tcp_nodelay(true).and_then(|()| socket.set_nonblocking(true));
        ready.map_err(Trouble::NoConnection)?;
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(0), interest).map_err(Trouble::Ours)?;
        Ok(Link {
            stream,
            poll,
            events: Events::with_capacity(8),
            stop: room.stop,
            reply: room.reply,
            script: script.clone(),
            check: Check::new(room.lead.clone()),
            due: 0,
            sent: 0,
            before: 0,
            end: None,
            is_at_fin: false,
        })
    }

    /// Bytes that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends the next `bytes`, and waits for the whole echo.
    pub(super) fn exchanges(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.begins(bytes);
        self.goes_on(Goal::Whole, self.reply)
    }

    /// Sends the next `bytes`.
    pub(super) fn sends(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.begins(bytes);
        self.goes_on(Goal::Sent, self.reply)
    }

    /// Sends the next `bytes`, and waits a moment for the echo: a server that answers whole lines
    /// sends none yet.
    pub(super) fn sends_piece(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.begins(bytes);
        match self.goes_on(Goal::Whole, STILL) {
            Err(Trouble::Silence { .. }) => Ok(()),
            result => result,
        }
    }

    /// The next `bytes` are due. Troubles count from here if all before it was echoed.
    fn begins(&mut self, bytes: usize) {
        if self.check.is_whole(self.due) {
            self.before = self.due;
        }
        self.due += bytes as u64;
    }

    /// Completes the line that was begun, reads everything and compares it.
    pub(super) fn catches_up(&mut self) -> Result<(), Trouble> {
        self.due = self.due.next_multiple_of(LINE_BYTES as u64);
        self.goes_on(Goal::Whole, self.reply)
    }

    /// Reads to the server's FIN, which has to come behind the whole echo.
    pub(super) fn reads_to_fin(&mut self, patience: Duration) -> Result<(), Trouble> {
        self.goes_on(Goal::Fin, patience)
    }

    /// shutdown(SHUT_WR): the FIN goes out.
    pub(super) fn half_closes(&mut self) -> Result<(), Trouble> {
        self.stream.shutdown(Shutdown::Write).map_err(|_| self.ended(End::Reset))
    }

    /// Reads nothing and sends until nothing moves, or until `max` bytes are sent. Gives whether
    /// the buffers are full.
    pub(super) fn fills(&mut self, max: u64) -> Result<bool, Trouble> {
        let mut moved = Instant::now();
        while self.sent < max {
            match self.stream.write(self.script.from(self.sent)) {
                Ok(bytes) => {
                    self.sent += bytes as u64;
                    moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if moved.elapsed() >= STILL {
                        break;
                    }
                    self.looks(STILL.saturating_sub(moved.elapsed()))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.ended(End::Reset)),
            }
            self.checks_stop()?;
        }
        self.due = self.sent;
        Ok(self.sent < max)
    }

    /// Sends nothing, reads nothing and waits for the server's end, up to this moment.
    pub(super) fn awaits_end(&mut self, until: Instant) -> Result<Option<End>, Trouble> {
        while self.end.is_none() {
            // At least one look: what has happened already counts.
            let left = until.saturating_duration_since(Instant::now());
            self.looks(left)?;
            if left.is_zero() {
                break;
            }
        }
        Ok(self.end)
    }

    /// Sends `message` and reads until what has come ends with it. Gives what stands before it.
    pub(super) fn learns(&mut self, message: &[u8]) -> Result<Vec<u8>, Trouble> {
        let (mut reply, mut sent, mut moved) = (Vec::new(), 0, Instant::now());
        let mut space = [0; 4096];
        loop {
            let mut is_idle = true;
            if sent < message.len()
                && let Ok(bytes) = self.stream.write(&message[sent..])
            {
                sent += bytes;
                is_idle = false;
            }
            let (came, of) = (reply.len() as u64, message.len() as u64);
            let ended = |end| match came {
                0 => Trouble::Ended { came, of, end },
                bytes => Trouble::NoEcho { bytes },
            };
            match self.stream.read(&mut space) {
                Ok(0) => return Err(ended(End::Fin)),
                Ok(bytes) => {
                    reply.extend_from_slice(&space[..bytes]);
                    if reply.ends_with(message) {
                        reply.truncate(reply.len() - message.len());
                        return Ok(reply);
                    }
                    is_idle = false;
                }
                Err(error) if is_passing(&error) => {}
                Err(_) => return Err(ended(End::Reset)),
            }
            self.checks_stop()?;
            if is_idle {
                let left = self.reply.saturating_sub(moved.elapsed());
                if left.is_zero() || reply.len() > 1 << 16 {
                    return Err(match came {
                        0 => Trouble::Silence { came, of, time: self.reply },
                        bytes => Trouble::NoEcho { bytes },
                    });
                }
                self.looks(left)?;
            } else if reply.len() <= 1 << 16 {
                moved = Instant::now();
            }
        }
    }

    /// Sends what is due and reads what comes, until the goal is reached.
    fn goes_on(&mut self, goal: Goal, patience: Duration) -> Result<(), Trouble> {
        let begin = Instant::now();
        let mut moved = begin;
        let mut space = vec![0; 1 << 16];
        loop {
            let is_idle = !self.writes() & !self.reads(goal, &mut space)?;
            let is_reached = match goal {
                Goal::Sent => self.sent == self.due,
                Goal::Whole => self.sent == self.due && self.check.is_whole(self.sent),
                Goal::Fin => self.is_at_fin,
            };
            if is_reached {
                return Ok(());
            }
            self.checks_stop()?;
            if !is_idle {
                moved = Instant::now();
            }
            let left = patience.saturating_sub(moved.elapsed());
            if left.is_zero() || begin.elapsed() > patience * TOTAL {
                let (came, of) = (self.check.came() - self.before, self.due - self.before);
                return Err(Trouble::Silence { came, of, time: moved.elapsed() });
            }
            if is_idle {
                self.looks(left)?;
            }
        }
    }

    /// Whether something went out.
    fn writes(&mut self) -> bool {
        if self.sent == self.due {
            return false;
        }
        let bytes = self.script.from(self.sent);
        let left = usize::try_from(self.due - self.sent).unwrap_or(usize::MAX);
        match self.stream.write(&bytes[..bytes.len().min(left)]) {
            Ok(bytes) => {
                self.sent += bytes as u64;
                true
            }
            // After a reset, the next read returns it.
            Err(_) => false,
        }
    }

    /// Whether something came in.
    fn reads(&mut self, goal: Goal, space: &mut [u8]) -> Result<bool, Trouble> {
        match self.stream.read(space) {
            Ok(0) => {
                self.is_at_fin = true;
                let is_due = goal == Goal::Fin && self.check.is_whole(self.due);
                if is_due { Ok(true) } else { Err(self.ended(End::Fin)) }
            }
            Ok(bytes) => match self.check.takes(&self.script, self.sent, &space[..bytes]) {
                Ok(()) => Ok(true),
                Err(Wrong { behind }) => Err(Trouble::Wrong { behind: behind - self.before }),
            },
            Err(error) if is_passing(&error) => Ok(false),
            Err(_) => Err(self.ended(End::Reset)),
        }
    }

    fn ended(&mut self, end: End) -> Trouble {
        self.end = Some(end);
        let (came, of) = (self.check.came(), self.due.max(self.sent));
        Trouble::Ended { came: came - self.before, of: of - self.before, end }
    }

    fn checks_stop(&self) -> Result<(), Trouble> {
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Stopped) } else { Ok(()) }
    }

    /// Waits for an event, not longer than `time`, and keeps what it says of the server's end.
    fn looks(&mut self, time: Duration) -> Result<(), Trouble> {
        self.checks_stop()?;
        match self.poll.poll(&mut self.events, Some(time.min(STOP_LOOK))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(Trouble::Ours(error));
            }
            _ => {}
        }
        for event in &self.events {
            if event.is_error() {
                self.end = Some(End::Reset);
            } else if event.is_read_closed() {
                self.end.get_or_insert(End::Fin);
            }
        }
        Ok(())
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
