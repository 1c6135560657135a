//! The server: a [`Config`] becomes listeners, listeners become a loop that serves.
//!
//! ```
//! use closecall::config::Config;
//! use closecall::server::Server;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() };
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
//! ending, also those that the stop makes: the server is over in a turn in which nothing ended.

use std::collections::vec_deque::Drain;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use std::{fmt, io};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::config::Config;
use crate::kernel::mio::{Handle, MioKernel};
use crate::machine::peer::Peer;
use crate::reactor::{Counters, Ending, Reactor, Turn};

/// An address that could not be listened on, or a server that could not start. Its text does not
/// repeat its [source](std::error::Error::source).
#[derive(Debug)]
#[non_exhaustive]
pub struct BindError {
    /// Which one; `None` if it was not about an address.
    pub address: Option<SocketAddr>,
    /// Why.
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
    /// Listens on every address of `config`. From here on newcomers are queued.
    ///
    /// # Errors
    /// An address is in use, not ours or not permitted, or the system has no file for it. Or there
    /// is no memory for so many connections ([`io::ErrorKind::OutOfMemory`]).
    pub fn bind(mut config: Config) -> Result<Server, BindError> {
        for address in &mut config.listen {
            *address = Peer::from(*address).into(); // [::ffff:127.0.0.1] is 127.0.0.1
        }
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for &address in &config.listen {
            let failed = |source| BindError { address: Some(address), source };
            let listener = listen(address, &config).map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let failed = |source| BindError { address: None, source };
        has_memory(&config).map_err(failed)?;
        if let Some(listener) = listeners.first() {
            crate::socket::reserve_descriptors(listener, config.slots());
        }
        let kernel = MioKernel::new(listeners).map_err(failed)?;
        let handle = kernel.handle();
        Ok(Server { reactor: Reactor::new(kernel, config), addresses, handle })
    }

    /// The addresses that are listened on, in the order of the configuration, with the ports that
    /// port 0 became.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The way in from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// One turn of the loop; it sleeps until there is something to do.
    ///
    /// # Errors
    /// The poll is broken. No peer can cause that.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.reactor.turn()
    }

    /// The endings since this was last called, oldest first. Read them after each turn: at most
    /// [`endings_max`](Config::endings_max) are kept, and more are counted and not kept.
    pub fn endings(&mut self) -> Drain<'_, Ending> {
        self.reactor.endings()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        self.reactor.counters()
    }

    /// Serves until [`Handle::drain`] or [`Handle::abort`] has ended the server, and hands each
    /// ending to `report`. Gives the last turn.
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

/// Whether there is memory for what is reserved at the start. It is asked for in one piece and
/// given back: where the reactor itself is refused it, the allocator ends the process.
fn has_memory(config: &Config) -> io::Result<()> {
    let bytes = Reactor::<MioKernel>::bytes_reserved(config);
    let mut probe: Vec<u8> = Vec::new();
    let reserved = probe.try_reserve_exact(bytes);
    std::hint::black_box(&probe); // or the compiler leaves out what is not used
    reserved.map_err(|_| {
        let connections = config.max_connections;
        let text = format!("no memory for {connections} connections, which takes {bytes} bytes");
        io::Error::new(io::ErrorKind::OutOfMemory, text)
    })
}

/// A listener with everything set on it that its connections inherit, so that none of it costs a
/// system call for each of them.
fn listen(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // We often close first, and our side of the address is in TIME_WAIT then: a restart must bind.
    // On Windows the option lets other programs take the address over, and its opposite is wanted.
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
    socket.set_tcp_nodelay(true)?; // a reply is one write: waiting for more only delays it
    socket.set_out_of_band_inline(true)?; // urgent data is data, and is counted as such
    if let Some(ms) = config.keepalive_ms {
        socket.set_tcp_keepalive(&keepalive(ms))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(ms) = config.user_timeout_ms {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(ms)))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(config.backlog)?;
    Ok(socket.into())
}

/// Idle for `idle_ms`, then three probes a third of it apart. Systems count in seconds. On some,
/// OpenBSD among them, the system chooses the probes.
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
