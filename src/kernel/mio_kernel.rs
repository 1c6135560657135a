//! The kernel interface on the real operating system, through mio and socket2.
//!
//! Tokens, the waker, EINTR and the reserve descriptor stay in this file.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Event, Io, Kernel, Stop};
use crate::machine::close::SocketFacts;
use crate::machine::connection::{Goodbye, Hints};
use crate::machine::errno::{Errno, Meaning, System};
use crate::machine::packed_address::PackedAddress;
use crate::machine::time::Moment;
use crate::socket;

/// The waker's token, and below it the listeners', from the top down. Keys come from the bottom up
/// and stay below 2^31, so the two do not meet.
const STOP: Token = Token(usize::MAX);

/// The token of the reserve. It never has an event.
const RESERVE: Token = Token(1 << 31);

/// Whether the system may run out of watches while it has files: Linux limits them for each user,
/// `fs.epoll.max_user_watches` (epoll(7)).
const WATCHES_RUN_OUT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether mio's readiness comes from epoll or kqueue, which report a socket again when something
/// new happens to it. Its other back ends (poll(2), event ports, Windows) report a socket again
/// only after a call on it would have blocked, and then everything that holds for it. Which systems
/// have which: mio's `src/sys/unix/mod.rs`.
const HAS_EDGES: bool = cfg!(all(
    not(mio_unsupported_force_poll_poll),
    any(
        target_os = "android",
        target_os = "emscripten",
        target_os = "illumos",
        target_os = "linux",
        target_os = "redox",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "ios",
        target_os = "macos",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "tvos",
        target_os = "visionos",
        target_os = "watchos",
    )
));

/// The number of events taken from the kernel at once. The rest follow with the next wait.
const EVENTS_PER_WAIT: usize = 256;

/// The longest sleep in one wait, in milliseconds: a day. epoll_wait(2) takes the milliseconds as
/// an `int`, which ends after 24 days; the loop goes back to sleep if it was too early.
const SLEEP_MS_MAX: u64 = 24 * 3_600_000;

/// Stops a server from another thread, such as one that receives signals. A clone costs two
/// reference counts. A handle may outlive its server; its calls do nothing then.
///
/// ```
/// use closecall::{Config, Server};
/// let config = Config::new().listen(["127.0.0.1:0".parse().unwrap()]);
/// let mut server = Server::bind(config).unwrap();
/// let handle = server.handle();
/// let serves = std::thread::spawn(move || server.run(|ending| println!("{ending:?}")));
/// handle.drain();
/// assert!(serves.join().unwrap().unwrap().stage.is_over());
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    /// 0 while the server serves; else a [`Stop`]. It only grows.
    asked: Arc<AtomicU8>,
    waker: Arc<Waker>,
}

impl Handle {
    /// Drains the server: what had arrived by then is answered, each connection is sent a FIN, and
    /// the server ends when all have closed or after
    /// [`drain_ms`](crate::config::Config::drain_ms). Further calls, and a call after
    /// [`abort`](Self::abort), change nothing.
    pub fn drain(&self) {
        self.ask(Stop::Drain);
    }

    /// Ends the server at once, whether it drains or not: every connection is ended in its current
    /// state, and each has its ending. Further calls change nothing.
    pub fn abort(&self) {
        self.ask(Stop::Abort);
    }

    fn ask(&self, stop: Stop) {
        if self.asked.fetch_max(stop as u8, Ordering::AcqRel) < stop as u8 {
            // It fails only if the poll no longer exists, and then there is nothing left to stop.
            let _ = self.waker.wake();
        }
    }

    /// The request so far.
    fn asked(&self) -> Option<Stop> {
        match self.asked.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Stop::Drain),
            _ => Some(Stop::Abort),
        }
    }
}

/// mio's poll, the listeners, and the clock.
pub struct MioKernel {
    poll: Poll,
    events: Events,
    listeners: Vec<TcpListener>,
    /// The local address of every connection, if there is one listener and it is not for all
    /// addresses: it saves a system call for each ending.
    only_address: Option<SocketAddr>,
    handle: Handle,
    started: Instant,
    /// An open file that is closed when no other is left, so that a new connection can be accepted
    /// and reset.
    reserve: Option<UdpSocket>,
    /// Whether the reserve has a watch, for when there is no other. A connection is accepted only
    /// while it has one: a connection that cannot be registered would have to be reset.
    reserve_is_registered: bool,
}

impl fmt::Debug for MioKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MioKernel")
            .field("listeners", &self.listeners)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl MioKernel {
    /// Registers `listeners`, which listen already. They are made non-blocking here: accept is
    /// called until it would block, so a listener that blocks would stop the loop.
    ///
    /// # Errors
    /// The system has no poll, no waker or no file for them.
    pub fn new(listeners: Vec<std::net::TcpListener>) -> io::Result<MioKernel> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (index, listener) in listeners.iter_mut().enumerate() {
            let token = Token(STOP.0 - 1 - index);
            poll.registry().register(listener, token, Interest::READABLE)?;
        }
        let only_address = match listeners.as_slice() {
            [only] => {
                let address = only.local_addr().ok().filter(|it| !it.ip().is_unspecified());
                address.map(canonical)
            }
            _ => None,
        };
        Ok(MioKernel {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            listeners,
            only_address,
            handle: Handle { asked: Arc::default(), waker },
            started: Instant::now(),
            reserve: reserve(),
            reserve_is_registered: false,
        })
    }

    /// A handle that stops the server on this kernel from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The registry of the poll: it gives access to its descriptor and its readiness.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Accepts the next connection, whether there is a watch for it or not.
    fn take_newcomer(&mut self, listener: usize) -> Io<(TcpStream, SocketAddr)> {
        uninterrupted(|| self.listeners[listener].accept())
    }

    /// Ensures that a new connection can be registered.
    ///
    /// # Errors
    /// There is no watch.
    fn reserve_watch(&mut self) -> Result<(), Errno> {
        let Some(reserve) = &mut self.reserve else { return Ok(()) };
        if WATCHES_RUN_OUT && !self.reserve_is_registered {
            register(self.poll.registry(), reserve, RESERVE, Interest::READABLE)?;
            self.reserve_is_registered = true;
        }
        Ok(())
    }

    /// Removes the watch that is reserved for this. Returns whether there was one.
    fn give_up_watch(&mut self) -> bool {
        let Some(reserve) = &mut self.reserve else { return false };
        let had_watch = std::mem::take(&mut self.reserve_is_registered);
        had_watch && self.poll.registry().deregister(reserve).is_ok()
    }
}

/// A descriptor whose only purpose is to be closed; it never has an event.
fn reserve() -> Option<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    Some(UdpSocket::from_std(socket.into()))
}

/// Repeats a call until no signal interrupts it.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> Io<T> {
    loop {
        return match call() {
            Ok(value) => Io::Done(value),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Io::WouldBlock,
            Err(error) => Io::Failed(errno(&error)),
        };
    }
}

/// The raw number; an error that Rust itself created has none and becomes 0, which is in no table.
pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(0))
}

/// Without the prefix `::ffff:`, which is not shown.
fn canonical(address: SocketAddr) -> SocketAddr {
    PackedAddress::from(address).into()
}

/// Registers `source`; on failure it remains as it was.
fn register(
    registry: &Registry,
    source: &mut impl Source,
    token: Token,
    interest: Interest,
) -> Result<(), Errno> {
    registry.register(source, token, interest).map_err(|error| {
        // In debug builds mio regards it as registered after a failure, and refuses the next
        // attempt.
        let _ = registry.deregister(source);
        errno(&error)
    })
}

/// What every socket is registered for.
fn input() -> Interest {
    let interest = Interest::READABLE;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let interest = interest | Interest::PRIORITY; // urgent data splits a read, and is reported
    interest
}

impl Kernel for MioKernel {
    type Socket = TcpStream;
    const SYSTEM: System = System::HERE;
    const SHORT_READ_DRAINS: bool = HAS_EDGES;

    fn now(&mut self) -> Moment {
        let elapsed = self.started.elapsed();
        Moment::from_ms(elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis()))
    }

    fn wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.min(SLEEP_MS_MAX)));
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let Token(token) = event.token();
            if token == STOP.0 {
                events.extend(self.handle.asked().map(Event::Stop));
                continue;
            }
            events.push(if token >= STOP.0 - self.listeners.len() {
                Event::Listener(STOP.0 - 1 - token)
            } else {
                let hints = Hints {
                    read_closed: event.is_read_closed(),
                    priority: event.is_priority(),
                    error: event.is_error(),
                    no_room: !(HAS_EDGES || event.is_writable() || event.is_error()),
                };
                Event::Socket(token as u32, hints)
            });
        }
        Ok(())
    }

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> Io<(TcpStream, SocketAddr)> {
        match self.reserve_watch() {
            Ok(()) => self.take_newcomer(listener),
            Err(errno) => Io::Failed(errno),
        }
    }

    fn has_newcomer(&mut self, listener: usize) -> bool {
        socket::has_newcomer(&self.listeners[listener])
    }

    fn shed(&mut self, listener: usize) -> Io<SocketAddr> {
        let mut newcomer = self.take_newcomer(listener);
        if let Io::Failed(errno) = newcomer
            && errno.meaning(System::HERE) == Meaning::NoFiles
            && self.reserve.take().is_some()
        {
            self.reserve_is_registered = false;
            newcomer = self.take_newcomer(listener);
        }
        let shed = newcomer.map(|(socket, peer)| {
            self.close(socket, Goodbye::Reset);
            peer
        });
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        shed
    }

    fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    fn register(&mut self, socket: &mut TcpStream, key: u32) -> Result<(), Errno> {
        let token = Token(key as usize);
        match register(self.registry(), socket, token, input()) {
            Err(_) if self.give_up_watch() => register(self.registry(), socket, token, input()),
            registered => registered,
        }
    }

    fn register_writable(&mut self, socket: &mut TcpStream, key: u32) -> Result<(), Errno> {
        let (token, interest) = (Token(key as usize), input() | Interest::WRITABLE);
        self.registry().reregister(socket, token, interest).map_err(|error| errno(&error))
    }

    fn recv(&mut self, socket: &mut TcpStream, space: &mut [u8]) -> Io<usize> {
        uninterrupted(|| socket.read(space))
    }

    fn send(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> Io<usize> {
        uninterrupted(|| socket.write(bytes))
    }

    fn shutdown_write(&mut self, socket: &mut TcpStream) -> Result<(), Errno> {
        socket.shutdown(Shutdown::Write).map_err(|error| errno(&error))
    }

    fn unacked(&mut self, socket: &mut TcpStream) -> Option<u32> {
        socket::unacked(socket)
    }

    fn unread(&mut self, socket: &mut TcpStream) -> Option<u32> {
        socket::unread(socket)
    }

    fn local(&mut self, socket: &mut TcpStream) -> Option<SocketAddr> {
        self.only_address.or_else(|| socket.local_addr().ok().map(canonical))
    }

    fn facts(&mut self, socket: &mut TcpStream) -> SocketFacts {
        socket::facts(socket)
    }

    fn take_error(&mut self, socket: &mut TcpStream) -> Option<Errno> {
        socket::take_error(socket)
    }

    fn close(&mut self, socket: TcpStream, goodbye: Goodbye) {
        if goodbye == Goodbye::Reset {
            // It fails only if the connection has ended already, and then nothing lingers.
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
        drop(socket);
    }

    fn give_back_memory(&mut self) {
        socket::give_back_memory();
    }
}
