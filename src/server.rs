//! The server: a [`Config`] becomes listeners, and listeners become a running loop.
//!
//! ```
//! use closecall::{Config, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new().listen(["127.0.0.1:0".parse()?]);
//! let mut server = Server::bind(config)?;
//! println!("listening on {}", server.addresses()[0]);
//! # let client = std::net::TcpStream::connect(server.addresses()[0])?;
//! # server.handle().drain();
//! # drop(client);
//! let mut endings = 0;
//! while !server.turn()?.stage.is_over() {
//!     for ending in server.endings() {
//!         println!("{} ended as {}", ending.peer, ending.verdict.kind.name());
//!         endings += 1;
//!     }
//! }
//! assert_eq!(endings, server.counters().accepted); // none is missing
//! # assert_eq!(endings, 1);
//! # Ok(())
//! # }
//! ```
//!
//! The loop runs until another thread calls [`Handle::drain`] or [`Handle::abort`]. It reads every
//! ending, including those that the stop causes: the last turn is one in which nothing ended.

mod embed;

use std::collections::vec_deque::Drain;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use std::{fmt, io};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

pub use self::embed::CounterWatch;
use self::embed::Published;
use crate::config::Config;
use crate::kernel::mio_kernel::{Handle, MioKernel};
use crate::machine::packed_address::PackedAddress;
use crate::reactor::{Counters, Ending, Reactor, Turn};

/// An address on which the server cannot listen, or a server that cannot start. Its text does not
/// repeat its [source](std::error::Error::source).
#[derive(Debug)]
#[non_exhaustive]
pub struct BindError {
    /// The address; `None` if the error is not about one.
    pub address: Option<SocketAddr>,
    /// The system's error.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "cannot listen on {address}"),
            None => f.write_str("cannot start"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// An echo server on the real operating system.
///
/// It does nothing by itself: call [`turn`](Self::turn) in a loop, or [`run`](Self::run).
pub struct Server {
    reactor: Reactor<MioKernel>,
    addresses: Vec<SocketAddr>,
    handle: Handle,
    watch: Option<Published>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on every address of `config`. From here on the kernel queues new connections.
    ///
    /// # Errors
    /// An address is in use, is not an address of this machine or is not permitted, or the system
    /// has no file for it. Or there is not enough memory for all connections
    /// ([`io::ErrorKind::OutOfMemory`]).
    pub fn bind(mut config: Config) -> Result<Server, BindError> {
        for address in &mut config.listen {
            *address = PackedAddress::from(*address).into(); // [::ffff:127.0.0.1] is 127.0.0.1
        }
        let listen = |&address: &SocketAddr| {
            let source = match listen(address, &config) {
                Ok(listener) => return Ok(listener),
                Err(source) => source,
            };
            Err(BindError { address: Some(address), source })
        };
        let listeners = config.listen.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        Server::start(listeners, config)
    }

    /// Serves listeners that a program has created or inherited, such as those of a service
    /// manager. [`Config::listen`], [`backlog`](Config::backlog) and
    /// [`reuse_port`](Config::reuse_port) are not used. Options that connections inherit are set on
    /// the listeners, which does not affect connections that wait in a backlog already; and the
    /// listeners are made non-blocking.
    ///
    /// # Errors
    /// A socket is not a listener, or as for [`bind`](Self::bind).
    pub fn from_listeners(
        listeners: Vec<TcpListener>,
        config: Config,
    ) -> Result<Server, BindError> {
        for listener in &listeners {
            let failed = |source| BindError { address: listener.local_addr().ok(), source };
            set_inherited(&SockRef::from(listener), &config).map_err(failed)?;
        }
        Server::start(listeners, config)
    }

    fn start(listeners: Vec<TcpListener>, config: Config) -> Result<Server, BindError> {
        let failed = |source| BindError { address: None, source };
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let addresses = addresses.map_err(failed)?;
        has_memory(&config).map_err(failed)?;
        if let Some(listener) = listeners.first() {
            crate::socket::reserve_descriptors(listener, config.slots());
        }
        let kernel = MioKernel::new(listeners).map_err(failed)?;
        let handle = kernel.handle();
        let reactor = Reactor::new(kernel, config);
        Ok(Server { reactor, addresses, handle, watch: None })
    }

    /// The addresses on which the server listens, in the order of the configuration, with the real
    /// port in place of port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle that stops this server from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// One turn of the loop; it sleeps until there is something to do.
    ///
    /// # Errors
    /// The poll failed. A peer cannot cause that.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.turn_within(None)
    }

    /// The same, but it never sleeps longer than `most`, rounded down to milliseconds. With zero it
    /// does what is ready and returns.
    ///
    /// For a loop that has other work as well, or that waits for the poll's descriptor itself: the
    /// server is `AsFd` on Unix. Such a loop waits until the descriptor is readable, or until
    /// [`timeout`](Self::timeout) has passed.
    ///
    /// # Errors
    /// As for [`turn`](Self::turn).
    pub fn turn_timeout(&mut self, most: Duration) -> io::Result<Turn> {
        self.turn_within(Some(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long [`turn`](Self::turn) would sleep now, if no event came; `None` is indefinitely.
    /// Call it right before waiting: time that passes in between is not subtracted.
    pub fn timeout(&mut self) -> Option<Duration> {
        self.reactor.sleeps_ms().map(Duration::from_millis)
    }

    fn turn_within(&mut self, most_ms: Option<u64>) -> io::Result<Turn> {
        let turn = self.reactor.turn_within(most_ms)?;
        if let Some(watch) = &mut self.watch {
            watch.update(self.reactor.counters());
        }
        Ok(turn)
    }

    /// The endings since the last call, oldest first. Read them after each turn: at most
    /// [`endings_max`](Config::endings_max) are kept, and further ones are only counted.
    pub fn endings(&mut self) -> Drain<'_, Ending> {
        self.reactor.endings()
    }

    /// The numbers of connections that were accepted, are open, and have ended in each way so far.
    pub fn counters(&self) -> &Counters {
        self.reactor.counters()
    }

    /// The counters for other threads. From now on each turn in which they change updates them; a
    /// server on which this is never called has no cost for it.
    pub fn watch_counters(&mut self) -> CounterWatch {
        let watch = self.watch.get_or_insert_with(|| Published::new(self.reactor.counters()));
        watch.reader()
    }

    /// Serves until [`Handle::drain`] or [`Handle::abort`] has ended the server, and passes each
    /// ending to `report`. Returns the last turn.
    ///
    /// # Errors
    /// As for [`turn`](Self::turn).
    pub fn run(&mut self, mut report: impl FnMut(&Ending)) -> io::Result<Turn> {
        loop {
            let turn = self.turn()?;
            for ending in self.endings() {
                report(&ending);
            }
            if turn.stage.is_over() {
                return Ok(turn);
            }
        }
    }
}

/// Checks whether there is memory for what is reserved at the start, by allocating it in one piece
/// and freeing it: if the reactor itself is refused it, the allocator ends the process.
fn has_memory(config: &Config) -> io::Result<()> {
    let bytes = Reactor::<MioKernel>::bytes_reserved(config);
    let mut probe: Vec<u8> = Vec::new();
    let reserved = probe.try_reserve_exact(bytes);
    std::hint::black_box(&probe); // or the compiler removes what is not used
    reserved.map_err(|_| {
        let connections = config.max_connections;
        let text = format!("no memory for {connections} connections, which takes {bytes} bytes");
        io::Error::new(io::ErrorKind::OutOfMemory, text)
    })
}

/// Sets options on a listener that its connections inherit, so that none of them costs a system
/// call for each connection.
fn set_inherited(listener: &Socket, config: &Config) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?; // a reply is one write: waiting for more only delays it
    listener.set_out_of_band_inline(true)?; // urgent data is data, and is counted as such
    if let Some(ms) = config.keepalive_ms {
        listener.set_tcp_keepalive(&keepalive(ms))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(ms) = config.user_timeout_ms {
        listener.set_tcp_user_timeout(Some(Duration::from_millis(ms)))?;
    }
    Ok(())
}

/// A listener at `address`.
fn listen(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // We often close first, so the server's side is in TIME_WAIT: a restart must be able to bind.
    // On Windows the option allows other programs to take the address, and its opposite is needed.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(windows)]
    crate::socket::windows::set_exclusive_address(std::os::windows::io::AsSocket::as_socket(
        &socket,
    ))?;
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    socket.set_reuse_port(config.reuse_port)?;
    if address.is_ipv6() {
        // [::]:port takes IPv4 as well, unless that has a listener of its own.
        let port = address.port();
        let beside_v4 = config.listen.iter().any(|a| a.is_ipv4() && a.port() == port && port != 0);
        socket.set_only_v6(beside_v4)?;
    }
    set_inherited(&socket, config)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(config.backlog)?;
    Ok(socket.into())
}

/// Idle for `idle_ms`, then three probes at intervals of a third of it. Systems count in seconds.
/// On some, such as OpenBSD, the system chooses the probes.
fn keepalive(idle_ms: u64) -> TcpKeepalive {
    let seconds = |ms: u64| Duration::from_secs(ms.div_ceil(1000).max(1));
    let keepalive = TcpKeepalive::new().with_time(seconds(idle_ms));
    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "illumos",
        windows
    ))]
    let keepalive = keepalive.with_interval(seconds(idle_ms / 3)).with_retries(3);
    keepalive
}
