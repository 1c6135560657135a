//! A client that plays a script, act by act.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::{Domain, SockRef, Socket, Type};

use super::die::dies_holding;
use super::reply::{but_not_whole, early, is_whole};
use super::wait::{Pause, Shut, Watch};
use super::{Act, Did, Moment, Plan, ServerEnd};

/// What [`Act::Fill`] sends at a time, about.
const FILL_BYTES: usize = 1 << 16;

/// Whoever takes more than this without an answer is read will take anything.
const FILL_BYTES_MAX: usize = 64 << 20;

/// Whatever is longer than this is not read to its end for a reply.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// How long nothing may move before buffers count as full.
const STILL: Duration = Duration::from_millis(250);

/// One client and its connection.
pub struct Client {
    plan: Plan,
    started: Instant,
    local: SocketAddr,
    watch: Watch,
    /// `None` once it is closed.
    stream: Option<TcpStream>,
    sent: usize,
    received: usize,
    kept: Vec<u8>,
    /// Messages whose replies were not read yet.
    owed: usize,
    /// Those replies lie in the receive queue.
    held: bool,
    shut: Shut,
    linger0: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the system says: refused, unreachable, no such source address, out of files or ports.
    pub fn connect(plan: &Plan) -> io::Result<(Client, Moment)> {
        let started = Instant::now();
        let watch = Watch::new()?; // first: when files run out, nobody shall be bothered
        let socket = Socket::new(Domain::for_address(plan.server), Type::STREAM, None)?;
        if let Some(bytes) = plan.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = plan.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&plan.server.into(), plan.patience)?;
        let client = Client::new(plan, watch, socket, started)?;
        let moment = Moment { at: client.started.elapsed(), act: None, did: Did::Connected };
        Ok((client, moment))
    }

    /// Takes over a connection that is there already.
    ///
    /// # Errors
    /// Out of files, or the connection is gone.
    pub fn over(plan: &Plan, stream: std::net::TcpStream) -> io::Result<Client> {
        Client::new(plan, Watch::new()?, stream.into(), Instant::now())
    }

    fn new(plan: &Plan, watch: Watch, socket: Socket, started: Instant) -> io::Result<Client> {
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        watch.add(&mut stream)?;
        Ok(Client {
            plan: plan.clone(),
            started,
            local: stream.local_addr()?,
            watch,
            stream: Some(stream),
            sent: 0,
            received: 0,
            kept: Vec::new(),
            owed: 0,
            held: false,
            shut: Shut::default(),
            linger0: false,
        })
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
        let did = self.does(act, &mut pause).unwrap_or_else(|error| {
            // Whoever is told first is the only one who is told.
            self.watch.gone |= is_reset(&error) && !self.shut.write;
            match error.kind() {
                // The system's own timeout has a number.
                ErrorKind::TimedOut if error.raw_os_error().is_none() => Did::GaveUp,
                _ => Did::Failed(error.to_string()),
            }
        });
        Moment { at: self.started.elapsed(), act: Some(act), did }
    }

    fn does(&mut self, act: Act, pause: &mut Pause<'_>) -> io::Result<Did> {
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
        // At least two looks: one may have been all that the other side needed.
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
                return Err(io::Error::other(format!("the server took {mib} MiB and takes more")));
            }
        }
        Ok(Did::Sent(sent))
    }

    /// Waits until the whole reply lies in the receive queue, and says how long it is.
    fn hold(&mut self, pause: &mut Pause<'_>) -> io::Result<usize> {
        let expected = self.plan.message.repeat(self.owed);
        let mut space = vec![0; 4096];
        while self.owed > 0 {
            // First: what lies in the queue then is all that will ever be there.
            let mut end = self.watch.end;
            let here = match self.stream()?.peek(&mut space) {
                Ok(bytes) if bytes == space.len() => {
                    space.resize(4 * bytes, 0);
                    continue;
                }
                Ok(0) if !self.shut.read => {
                    end.get_or_insert(ServerEnd::Fin);
                    0
                }
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if is_whole(&expected, &space[..here]) {
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

    /// The same, but reads what comes: a long reply may not fit into the receive queue.
    fn read_reply(&mut self, pause: &mut Pause<'_>) -> io::Result<usize> {
        let expected = self.plan.message.repeat(self.owed);
        let mut space = vec![0; 1 << 16];
        let mut reply = Vec::new();
        while self.owed > 0 && !is_whole(&expected, &reply) {
            let next = match self.stream()?.read(&mut space) {
                Ok(0) => Err(early(ServerEnd::Fin)),
                Ok(_) if reply.len() > REPLY_BYTES_MAX => Err(ErrorKind::TimedOut.into()),
                Ok(bytes) => {
                    self.keep(&space[..bytes]);
                    reply.extend_from_slice(&space[..bytes]);
                    pause.check()
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
            match self.watch.end {
                None => self.pause(pause)?,
                Some(ServerEnd::Fin) => return Ok(Did::Saw(ServerEnd::Fin)),
                // Or the network's doing. Nobody reads any more, so that it does no harm to ask.
                Some(ServerEnd::Reset) => match self.stream()?.take_error()? {
                    Some(error) if !is_reset(&error) => return Err(error),
                    _ => return Ok(Did::Saw(ServerEnd::Reset)),
                },
            }
        }
    }

    /// Reads so many bytes, which are there.
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
            self.watch.end.get_or_insert(end);
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

    /// What closing the socket now does on the wire. It takes no time: somebody may be in a race.
    fn closing(&mut self) -> io::Result<Did> {
        self.watch.look(Duration::ZERO, self.shut)?;
        let unread = self.unread()?;
        // Behind both FINs, or a reset, there is nothing left to end.
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

/// A reset behind a FIN is called a broken pipe.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
