//! How a client carries out each act.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::SockRef;

use super::die::dies_holding;
use super::play::{Client, is_reset};
use super::reply::{but_not_whole, early};
use super::wait::Pause;
use super::{Act, Did, ServerEnd};

/// About how much [`Act::Fill`] sends at a time, in bytes.
const FILL_BYTES: usize = 1 << 16;

/// A server that takes more than this while its answers are not read has no limit.
const FILL_BYTES_MAX: usize = 64 << 20;

/// A reply longer than this is not read to its end.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A server that sends more than this has no end. The echo of the longest fill fits.
const READ_BYTES_MAX: usize = 2 * FILL_BYTES_MAX;

/// How long nothing may move before the buffers count as full.
const STILL: Duration = Duration::from_millis(250);

impl Client {
    pub(super) fn does(&mut self, act: Act, pause: &mut Pause<'_>) -> io::Result<Did> {
        match act {
            Act::Send => self.send(pause),
            Act::Fill => self.fill(pause),
            Act::Hold => self.hold(pause).map(Did::Holds),
            Act::Read => self.read_reply(pause).map(|bytes| Did::Read(bytes, None)),
            Act::ReadHalf => {
                let bytes = self.hold(pause)?;
                self.read(bytes.div_ceil(2)).map(|read| Did::ReadPart { read, of: bytes })
            }
            Act::ReadToEnd => self.read_to_end(pause),
            Act::AwaitEnd => self.await_end(pause),
            Act::Wait => Ok(Did::Waited(pause.rests(self.plan.wait))),
            Act::ShutDownWrite => self.shut_down(Shutdown::Write),
            Act::ShutDownRead => self.shut_down(Shutdown::Read),
            Act::ShutDownBoth => self.shut_down(Shutdown::Both),
            Act::Linger0 => {
                self.linger0 = true;
                SockRef::from(&*self.stream()?).set_linger(Some(Duration::ZERO))?;
                Ok(Did::Quiet)
            }
            Act::Close => {
                let closed = self.closing()?;
                self.stream = None;
                Ok(closed)
            }
            Act::Die => {
                let closed = self.closing()?;
                let stream = self.stream.take().ok_or(ErrorKind::NotConnected)?;
                dies_holding(stream, &self.plan.holder)?;
                Ok(closed)
            }
        }
    }

    fn send(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        (self.owed, self.held) = (self.owed + 1, false);
        let mut sent = 0;
        while sent < self.plan.message.len() {
            let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
            match stream.write(&self.plan.message[sent..]) {
                Ok(bytes) => {
                    sent += bytes;
                    self.sent += bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(pause)?,
                Err(error) => return Err(error),
            }
        }
        Ok(Did::Sent(sent))
    }

    /// Sends until nothing has moved for a while.
    fn fill(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        let copies = FILL_BYTES.div_ceil(self.plan.message.len().max(1));
        let block = self.plan.message.repeat(copies);
        let (mut sent, mut looks, mut moved) = (0, 0, Instant::now());
        // At least two checks: one may have been all that the other side needed.
        while !block.is_empty() && (looks < 2 || moved.elapsed() < STILL) {
            match self.stream()?.write(&block[sent % block.len()..]) {
                Ok(bytes) => {
                    sent += bytes;
                    self.sent += bytes;
                    (looks, moved) = (0, Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    looks += 1;
                    self.watch.pause_until(pause, moved + STILL, self.shut)?;
                }
                Err(error) => return Err(error),
            }
            pause.check()?;
            if sent > FILL_BYTES_MAX {
                let mib = FILL_BYTES_MAX >> 20;
                return Err(io::Error::other(format!("the server took {mib} MiB without an end")));
            }
        }
        Ok(Did::Sent(sent))
    }

    /// Waits until the whole reply lies in the receive queue, and returns its length.
    fn hold(&mut self, pause: &mut Pause<'_>) -> io::Result<usize> {
        let expected = self.plan.message.repeat(self.owed);
        let mut space = vec![0; 4096];
        while self.owed > 0 {
            // First, because nothing can arrive in the queue after the end.
            let mut end = self.watch.end.map(|(end, _)| end);
            let here = match self.stream()?.peek(&mut space) {
                Ok(bytes) if bytes == space.len() => {
                    space.resize(4 * bytes, 0);
                    continue;
                }
                Ok(0) if !self.shut.read => {
                    self.watch.sees(ServerEnd::Fin);
                    end.get_or_insert(ServerEnd::Fin);
                    0
                }
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if self.is_reply(&expected, &space[..here]) {
                self.held = true;
                return Ok(here);
            }
            let waited = match end {
                Some(end) => Err(early(end)),
                None => self.pause(pause),
            };
            waited.map_err(|error| but_not_whole(error, here))?;
        }
        Ok(0)
    }

    /// The same, but reads the reply: a long one may not fit into the receive queue.
    fn read_reply(&mut self, pause: &mut Pause<'_>) -> io::Result<usize> {
        let expected = self.plan.message.repeat(self.owed);
        let mut space = vec![0; 1 << 16];
        let mut reply = Vec::new();
        while self.owed > 0 && !self.is_reply(&expected, &reply) {
            let next = match self.stream()?.read(&mut space) {
                Ok(0) => {
                    self.watch.sees(ServerEnd::Fin);
                    Err(early(ServerEnd::Fin))
                }
                Ok(_) if reply.len() > REPLY_BYTES_MAX => Err(ErrorKind::TimedOut.into()),
                Ok(bytes) => {
                    self.keep(&space[..bytes]);
                    reply.extend_from_slice(&space[..bytes]);
                    // What has arrived counts, although the time has passed.
                    if self.is_reply(&expected, &reply) { Ok(()) } else { pause.check() }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(pause),
                Err(error) => Err(error),
            };
            next.map_err(|error| but_not_whole(error, reply.len()))?;
        }
        (self.owed, self.held) = (0, false);
        Ok(reply.len())
    }

    fn await_end(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        loop {
            match self.watch.end.map(|(end, _)| end) {
                None => self.pause(pause)?,
                Some(ServerEnd::Fin) => return Ok(Did::Saw(ServerEnd::Fin)),
                // The network may have caused it. Nothing more is read, so asking does no harm. The
                // observer is not used here: the client is what the classifier is compared with,
                // and must not know machine/ (tests/tidy.rs).
                Some(ServerEnd::Reset) => match self.stream()?.take_error()? {
                    Some(error) if !is_reset(&error) => return Err(error),
                    _ => return Ok(Did::Saw(ServerEnd::Reset)),
                },
            }
        }
    }

    /// Reads this many bytes, which have arrived.
    fn read(&mut self, bytes: usize) -> io::Result<usize> {
        let mut space = vec![0; bytes];
        let read = if bytes == 0 { 0 } else { self.stream()?.read(&mut space)? };
        self.keep(&space[..read]);
        (self.owed, self.held) = (0, false);
        Ok(read)
    }

    fn read_to_end(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        let mut space = vec![0; 1 << 16];
        let before = self.received;
        loop {
            let end = match self.stream()?.read(&mut space) {
                Ok(0) => ServerEnd::Fin,
                Ok(_) if self.received - before > READ_BYTES_MAX => {
                    return Err(io::Error::other(format!(
                        "the server sent {} MiB without an end",
                        READ_BYTES_MAX >> 20
                    )));
                }
                Ok(bytes) => {
                    self.keep(&space[..bytes]);
                    pause.check()?;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pause(pause)?;
                    continue;
                }
                Err(error) if is_reset(&error) => ServerEnd::Reset,
                Err(error) => return Err(error),
            };
            (self.owed, self.held) = (0, false);
            self.watch.sees(end);
            self.watch.fin |= end == ServerEnd::Fin && !self.shut.read;
            self.watch.gone |= end == ServerEnd::Reset;
            return Ok(Did::Read(self.received - before, Some(end)));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
        let room = self.plan.kept_bytes_max.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn shut_down(&mut self, side: Shutdown) -> io::Result<Did> {
        self.stream()?.shutdown(side)?;
        self.shut.read |= side != Shutdown::Write;
        self.shut.write |= side != Shutdown::Read;
        Ok(if side == Shutdown::Read { Did::Quiet } else { Did::SentFin })
    }

    /// The effect of closing the socket now on the wire. It takes no time, because the script may
    /// be in a race.
    fn closing(&mut self) -> io::Result<Did> {
        self.watch.look(Duration::ZERO, self.shut)?;
        let unread = self.unread()?;
        // After both FINs, or a reset, there is nothing left to end.
        let gone = self.watch.gone || (self.watch.fin && self.shut.write);
        let reset = !gone && (self.linger0 || unread > 0);
        let fin = !gone && !reset && !self.shut.write;
        let late = !gone && !reset && !self.watch.fin && self.owed > 0 && !self.held;
        Ok(Did::Closed { unread, reset, fin, late })
    }

    fn unread(&mut self) -> io::Result<usize> {
        let few = &mut [0; 2048];
        let mut unread = match self.stream()?.peek(few) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.watch.gone |= error.kind() != ErrorKind::WouldBlock;
                0
            }
        };
        let mut space = Vec::new();
        while unread >= few.len() && unread >= space.len() {
            space.resize((4 * unread).max(1 << 20), 0);
            unread = self.stream()?.peek(&mut space).unwrap_or(0);
        }
        Ok(unread)
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn pause(&mut self, pause: &mut Pause<'_>) -> io::Result<()> {
        self.watch.pause(pause, self.shut)
    }
}
