//! Waiting in a client, during which it notices the server's end.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

use super::ServerEnd;

/// The interval at which a waiting client checks whether to stop. Nothing wakes it for that.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// How long an act waits, and what acts meanwhile.
pub(super) struct Pause<'a> {
    pub(super) meanwhile: Option<&'a mut dyn FnMut()>,
    pub(super) deadline: Instant,
    /// Ends it early.
    pub(super) stop: Option<&'static AtomicBool>,
}

impl Pause<'_> {
    fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// When to check again, at the latest.
    fn next_look(&self) -> Instant {
        match self.stop {
            Some(_) => self.deadline.min(Instant::now() + STOP_LOOK),
            None => self.deadline,
        }
    }

    /// Waits for this time, or less if it is stopped; returns the time that has passed.
    pub(super) fn rests(&self, time: Duration) -> Duration {
        let (begin, end) = (Instant::now(), Instant::now() + time);
        while !self.is_stopped() && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            thread::sleep(if self.stop.is_some() { left.min(STOP_LOOK) } else { left });
        }
        if self.is_stopped() { begin.elapsed().min(time) } else { time }
    }

    /// The time limit for an act that never has to wait.
    pub(super) fn check(&self) -> io::Result<()> {
        match !self.is_stopped() && Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(ErrorKind::TimedOut.into()),
        }
    }
}

/// The events of one socket.
pub(super) struct Watch {
    poll: Poll,
    events: Events,
    /// The first end of the server's, and when it was seen.
    pub(super) end: Option<(ServerEnd, Instant)>,
    /// Its FIN has arrived.
    pub(super) fin: bool,
    /// The connection has ended, whichever side ended it.
    pub(super) gone: bool,
}

impl Watch {
    pub(super) fn new() -> io::Result<Watch> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(8));
        Ok(Watch { poll, events, end: None, fin: false, gone: false })
    }

    /// Connects, without delaying a stop.
    ///
    /// # Errors
    /// The system's error, or that the patience has passed, or that it was stopped.
    pub(super) fn connects(
        &mut self,
        socket: &Socket,
        server: SocketAddr,
        pause: &mut Pause<'_>,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        match socket.connect(&server.into()) {
            Ok(()) => return Ok(()),
            Err(error) if is_in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        // A duplicate of the socket: what is registered here is not the one that remains.
        let mut stream = TcpStream::from_std(socket.try_clone()?.into());
        self.add(&mut stream)?;
        let connected = loop {
            let left = pause.next_look().saturating_duration_since(Instant::now());
            match self.poll.poll(&mut self.events, Some(left)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => break Err(error),
                _ => {}
            }
            // The observer is not used here: there is no connection yet, and SO_ERROR has the
            // result of connect(2).
            match (stream.take_error()?, stream.peer_addr()) {
                (Some(error), _) => break Err(error),
                (None, Ok(_)) => break Ok(()),
                (None, Err(_)) if pause.is_stopped() => break Err(ErrorKind::Interrupted.into()),
                (None, Err(_)) => {}
            }
            if let Err(error) = pause.check() {
                break Err(error);
            }
        };
        self.poll.registry().deregister(&mut stream)?;
        connected
    }

    /// The server has ended its side.
    pub(super) fn sees(&mut self, end: ServerEnd) {
        self.end.get_or_insert_with(|| (end, Instant::now()));
    }

    pub(super) fn add(&self, stream: &mut TcpStream) -> io::Result<()> {
        self.poll.registry().register(stream, Token(0), Interest::READABLE | Interest::WRITABLE)
    }

    /// Waits until something may have happened. `shut` is what we have shut down ourselves.
    pub(super) fn pause(&mut self, pause: &mut Pause<'_>, shut: Shut) -> io::Result<()> {
        pause.check()?;
        let moment = pause.next_look();
        self.pause_until(pause, moment, shut)
    }

    /// The same, but not longer than to this moment.
    pub(super) fn pause_until(
        &mut self,
        pause: &mut Pause<'_>,
        moment: Instant,
        shut: Shut,
    ) -> io::Result<()> {
        match &mut pause.meanwhile {
            None => self.look(moment.saturating_duration_since(Instant::now()), shut),
            Some(meanwhile) => {
                meanwhile();
                self.look(Duration::ZERO, shut)
            }
        }
    }

    /// Takes the events that arrive within `timeout`, and records the server's end.
    pub(super) fn look(&mut self, timeout: Duration, shut: Shut) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let (mut fin, mut reset) = (false, false);
        for event in &self.events {
            reset |= event.is_error();
            fin |= !event.is_error() && event.is_read_closed() && !shut.read;
        }
        self.fin |= fin;
        self.gone |= reset;
        if fin {
            self.sees(ServerEnd::Fin);
        }
        // After a shutdown of both sides, our own kernel resets the connection when a reply
        // arrives.
        if reset && !(shut.read && shut.write) {
            self.sees(ServerEnd::Reset);
        }
        Ok(())
    }
}

/// A connect that does not block has begun.
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == ErrorKind::WouldBlock
}

/// What the client has shut down itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Shut {
    /// This looks like the server's FIN, and hides it.
    pub(super) read: bool,
    pub(super) write: bool,
}
