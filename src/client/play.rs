//! A client that plays a script, act by act.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Act, Did, Moment, Plan, ServerEnd};

/// How much of what was received is kept, in bytes. The rest is counted.
const KEPT_BYTES: usize = 4096;

/// So many of the message's last bytes tell that the reply is complete.
const TAIL_BYTES: usize = 16;

/// What [`Act::Fill`] sends at a time, about.
const FILL_BYTES: usize = 1 << 16;

/// How long nothing may move before buffers count as full.
const STILL: Duration = Duration::from_millis(250);

/// How a client waits: for whom, and until when.
struct Pause<'a> {
    meanwhile: Option<&'a mut dyn FnMut()>,
    deadline: Instant,
}

/// One client and its connection.
pub struct Client {
    plan: Plan,
    started: Instant,
    local: SocketAddr,
    poll: Poll,
    events: Events,
    /// `None` once it is closed.
    stream: Option<TcpStream>,
    sent: usize,
    received: usize,
    kept: Vec<u8>,
    /// What events have said of the server's end so far.
    end: Option<ServerEnd>,
    fin_sent: bool,
    linger0: bool,
    /// Its own shutdown(SHUT_RD) looks like the server's FIN.
    reads_no_more: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the system says: refused, unreachable, no such source address, out of files or ports.
    pub fn connect(plan: &Plan) -> io::Result<(Client, Moment)> {
        let started = Instant::now();
        let socket = Socket::new(Domain::for_address(plan.server), Type::STREAM, None)?;
        if let Some(bytes) = plan.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = plan.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&plan.server.into(), plan.patience)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        let client = Client {
            plan: plan.clone(),
            started,
            local: stream.local_addr()?,
            poll,
            events: Events::with_capacity(8),
            stream: Some(stream),
            sent: 0,
            received: 0,
            kept: Vec::new(),
            end: None,
            fin_sent: false,
            linger0: false,
            reads_no_more: false,
        };
        let moment = Moment { at: client.started.elapsed(), act: None, did: Did::Connected };
        Ok((client, moment))
    }

    /// The client's own address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What was received so far, or the beginning of it.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// How many bytes were read so far.
    pub fn received(&self) -> usize {
        self.received
    }

    /// How many bytes were sent so far.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Does `act`, alone: what it has to wait for comes from elsewhere.
    pub fn play(&mut self, act: Act) -> Moment {
        self.play_beside(act, None)
    }

    /// Does `act`, and calls `meanwhile` whenever it has to wait: whoever is waited for acts there
    /// and nowhere else.
    pub fn play_beside(&mut self, act: Act, meanwhile: Option<&mut dyn FnMut()>) -> Moment {
        let deadline = Instant::now() + self.plan.patience;
        let mut pause = Pause { meanwhile, deadline };
        let did = self.does(act, &mut pause).unwrap_or_else(|error| match error.kind() {
            ErrorKind::TimedOut => Did::GaveUp,
            _ => Did::Failed(error.to_string()),
        });
        Moment { at: self.started.elapsed(), act: Some(act), did }
    }

    fn does(&mut self, act: Act, pause: &mut Pause<'_>) -> io::Result<Did> {
        match act {
            Act::Send => self.send(pause),
            Act::Fill => self.fill(pause),
            Act::Hold => self.hold(pause).map(Did::Holds),
            Act::Read => {
                let bytes = self.hold(pause)?;
                self.read(bytes).map(|bytes| Did::Read(bytes, None))
            }
            Act::ReadHalf => {
                let bytes = self.hold(pause)?;
                self.read(bytes.div_ceil(2)).map(|read| Did::ReadPart { read, of: bytes })
            }
            Act::ReadToEnd => self.read_to_end(pause),
            Act::AwaitEnd => loop {
                if let Some(end) = self.end {
                    return Ok(Did::Saw(end));
                }
                self.pause(pause)?;
            },
            Act::Wait => {
                std::thread::sleep(self.plan.wait);
                Ok(Did::Waited(self.plan.wait))
            }
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

    // ---- the acts -----------------------------------------------------------------------------

    fn send(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        let message = std::mem::take(&mut self.plan.message);
        let mut sent = 0;
        let result = loop {
            if sent == message.len() {
                break Ok(Did::Sent(sent));
            }
            match self.stream()?.write(&message[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Err(error) = self.pause(pause) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.plan.message = message;
        self.sent += sent;
        result
    }

    /// Sends until nothing has moved for a while.
    fn fill(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        let copies = FILL_BYTES.div_ceil(self.plan.message.len().max(1));
        let block = self.plan.message.repeat(copies);
        let (mut sent, mut looks, mut moved) = (0, 0, Instant::now());
        // At least two looks: one may have been all that the other side needed.
        while !block.is_empty() && (looks < 2 || moved.elapsed() < STILL) {
            match self.stream()?.write(&block) {
                Ok(bytes) => {
                    sent += bytes;
                    (looks, moved) = (0, Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    looks += 1;
                    self.pause_until(pause, moved + STILL)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.sent += sent;
        Ok(Did::Sent(sent))
    }

    /// Waits until the whole reply lies in the receive queue, and says how long it is.
    fn hold(&mut self, pause: &mut Pause<'_>) -> io::Result<usize> {
        let mut space = vec![0; 1 << 16];
        while self.sent > 0 {
            match self.stream()?.peek(&mut space) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) if self.is_reply(&space[..bytes]) => return Ok(bytes),
                Ok(bytes) if bytes == space.len() => space.resize(2 * bytes, 0),
                Ok(_) => self.pause(pause)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(pause)?,
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// Whether these bytes are the whole reply to all that was sent: what lies before the echo is
    /// the server's business.
    fn is_reply(&self, bytes: &[u8]) -> bool {
        let tail = &self.plan.message[self.plan.message.len().saturating_sub(TAIL_BYTES)..];
        bytes.len() >= self.sent && bytes.ends_with(tail)
    }

    /// Reads so many bytes, which are there.
    fn read(&mut self, bytes: usize) -> io::Result<usize> {
        let mut space = vec![0; bytes];
        let read = if bytes == 0 { 0 } else { self.stream()?.read(&mut space)? };
        self.keep(&space[..read]);
        Ok(read)
    }

    fn read_to_end(&mut self, pause: &mut Pause<'_>) -> io::Result<Did> {
        let mut space = vec![0; 1 << 16];
        let before = self.received;
        loop {
            let end = match self.stream()?.read(&mut space) {
                Ok(0) => ServerEnd::Fin,
                Ok(bytes) => {
                    self.keep(&space[..bytes]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pause(pause)?;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => ServerEnd::Reset,
                Err(error) => return Err(error),
            };
            self.end.get_or_insert(end);
            return Ok(Did::Read(self.received - before, Some(end)));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
        let room = KEPT_BYTES - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn shut_down(&mut self, side: Shutdown) -> io::Result<Did> {
        self.stream()?.shutdown(side)?;
        self.reads_no_more |= side != Shutdown::Write;
        if side == Shutdown::Read {
            return Ok(Did::Quiet);
        }
        self.fin_sent = true;
        Ok(Did::SentFin)
    }

    /// What closing the socket now does on the wire.
    fn closing(&mut self) -> io::Result<Did> {
        self.look(Duration::ZERO)?;
        let mut space = vec![0; 1 << 20];
        let unread = self.stream()?.peek(&mut space).unwrap_or(0);
        // Behind both FINs, or a reset, there is nothing left to end.
        let gone = match self.end {
            Some(ServerEnd::Reset) => true,
            Some(ServerEnd::Fin) => self.fin_sent,
            None => false,
        };
        let reset = !gone && (self.linger0 || unread > 0);
        let fin = !gone && !reset && !self.fin_sent;
        Ok(Did::Closed { unread, reset, fin })
    }

    // ---- waiting -------------------------------------------------------------------------------

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Waits until something may have happened.
    fn pause(&mut self, pause: &mut Pause<'_>) -> io::Result<()> {
        if Instant::now() >= pause.deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        self.pause_until(pause, pause.deadline)
    }

    fn pause_until(&mut self, pause: &mut Pause<'_>, moment: Instant) -> io::Result<()> {
        match &mut pause.meanwhile {
            None => self.look(moment.saturating_duration_since(Instant::now())),
            Some(meanwhile) => {
                meanwhile();
                self.look(Duration::ZERO)
            }
        }
    }

    /// Takes the events that come within `timeout`, and keeps what they say of the server's end.
    fn look(&mut self, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if event.is_error() {
                self.end.get_or_insert(ServerEnd::Reset);
            } else if event.is_read_closed() && !self.reads_no_more {
                self.end.get_or_insert(ServerEnd::Fin);
            }
        }
        Ok(())
    }
}

/// Gives the socket to a process and kills that: then nobody but the kernel can close it.
#[cfg(unix)]
fn dies_holding(stream: TcpStream, holder: &[OsString]) -> io::Result<()> {
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    let Some((program, arguments)) = holder.split_first() else {
        return Err(io::Error::other("there is no process to be killed"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    child.kill()?;
    child.wait().map(|_| ())
}

#[cfg(not(unix))]
fn dies_holding(_stream: TcpStream, _holder: &[OsString]) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
