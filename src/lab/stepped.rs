//! Embedded servers of the lab: one whose turns run on the lab's own thread, so that it acts only
//! while the client waits, and one that runs freely.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::scenario::Setting;
use crate::client::Way;
use crate::config::Config;
use crate::kernel::mio_kernel::Handle;
use crate::reactor::Ending;
use crate::server::Server;

/// The message of every client, as in the article.
pub const MESSAGE: &[u8] = b"Hi,here is glp";

/// The size of a client's buffers in [`Way::HalfCloseFull`], in bytes. All of their data must be
/// transferred in the end: without a bound it is 10 MB and more, and if the system is short of
/// socket memory, the two ends wait seconds for each other's buffers.
const FILLED_BYTES: usize = 1 << 16;

/// SO_RCVBUF of a client whose buffers must be full: a small window fills up soon and stays full.
pub(super) fn receive_buffer(way: Way) -> Option<usize> {
    match way {
        Way::CloseFull | Way::Stall => Some(1),
        Way::HalfCloseFull => Some(FILLED_BYTES),
        _ => None,
    }
}

/// SO_SNDBUF of such a client.
pub(super) fn send_buffer(way: Way) -> Option<usize> {
    (way == Way::HalfCloseFull).then_some(FILLED_BYTES)
}

/// Every deadline of the server and of the recv loop, in milliseconds.
pub(super) const DEADLINE_MS: u64 = 1_000;

/// The write deadline for a client that closes while all buffers are full. The server checks
/// pending output every quarter of it, and the client waits for two checks. A window probe comes
/// after 200 ms, and another one after 600 ms that Linux does not answer: the client should have
/// closed by then.
const FULL_MS: u64 = 900;

/// The write deadline for a client that reads again after all buffers were full. If the system is
/// short of socket memory, the window opens in steps, each after a window probe, so that a second
/// or more passes without a byte.
const FILLED_MS: u64 = 4_000;

/// The time limit of a scenario. One that takes longer is stopped and has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The configuration for a setting.
fn config(setting: Setting) -> Config {
    let mut config = Config {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        max_connections: 1_000,
        read_deadline_ms: Some(DEADLINE_MS),
        write_deadline_ms: Some(DEADLINE_MS),
        verdict_wait_ms: DEADLINE_MS,
        drain_ms: DEADLINE_MS,
        ..Config::default()
    };
    match setting {
        Setting::Shared | Setting::Own => {}
        Setting::Sips => {
            config.read_buffer_bytes = MESSAGE.len();
            config.bytes_per_visit = 1;
        }
        Setting::Full => config.write_deadline_ms = Some(FULL_MS),
        Setting::Filled => config.write_deadline_ms = Some(FILLED_MS),
    }
    config
}

fn bind(setting: Setting) -> io::Result<(Server, SocketAddr)> {
    let server = Server::bind(config(setting)).map_err(|error| error.source)?;
    let address = server.addresses().first().copied().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((server, address))
}

/// Aborts a server if it is not dropped in time.
struct Watchdog {
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn start(handle: Handle) -> Watchdog {
        let (alive, ended) = mpsc::channel();
        // Without a thread a stuck server is not stopped; the other scenarios are not affected.
        let thread = thread::Builder::new().spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                handle.abort();
            }
        });
        Watchdog { alive: Some(alive), thread: thread.ok() }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A server that acts only in [`turn`](SteppedServer::turn).
pub(super) struct SteppedServer {
    server: Server,
    address: SocketAddr,
    endings: Vec<Ending>,
    over: bool,
}

impl SteppedServer {
    /// # Errors
    /// The system has no port, no file or no memory for it.
    pub(super) fn new(setting: Setting) -> io::Result<SteppedServer> {
        let (server, address) = bind(setting)?;
        Ok(SteppedServer { server, address, endings: Vec::new(), over: false })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the server has stopped.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Calls `play`, with a time limit on the server.
    pub(super) fn guarded<T>(&mut self, play: impl FnOnce(&mut SteppedServer) -> T) -> T {
        let _watchdog = Watchdog::start(self.server.handle());
        play(self)
    }

    /// Runs one turn of its loop, which sleeps until there is something to do.
    pub(super) fn turn(&mut self) {
        if self.over {
            return thread::yield_now();
        }
        self.over = !self.server.turn().is_ok_and(|turn| !turn.stage.is_over());
        self.endings.extend(self.server.endings());
    }

    /// Runs turns until the server has accepted one more connection.
    pub(super) fn accepts(&mut self) {
        let before = self.server.counters().accepted;
        while !self.over && self.server.counters().accepted == before {
            self.turn();
        }
    }

    /// Starts the drain.
    pub(super) fn drain(&self) {
        self.server.handle().drain();
    }

    /// Runs turns until the connection from `peer` has ended.
    pub(super) fn ending_of(&mut self, peer: SocketAddr) -> Option<Ending> {
        loop {
            if let Some(index) = self.endings.iter().position(|ending| ending.peer == peer) {
                return Some(self.endings.swap_remove(index));
            }
            if self.over {
                return None;
            }
            self.turn();
        }
    }
}

/// A server that runs freely, on a thread of its own, until it is dropped.
pub(super) struct FreeServer {
    address: SocketAddr,
    handle: Handle,
    endings: Receiver<Ending>,
    thread: Option<JoinHandle<()>>,
}

impl FreeServer {
    /// # Errors
    /// The system has no port, no file or no thread for it.
    pub(super) fn start() -> io::Result<FreeServer> {
        let (mut server, address) = bind(Setting::Own)?;
        let handle = server.handle();
        let (tell, endings) = mpsc::channel();
        let thread = thread::Builder::new().spawn(move || {
            // If the poll fails, the server ends, and `ending_of` sees the closed channel.
            let _ = server.run(|ending| {
                let _ = tell.send(*ending);
            });
        })?;
        Ok(FreeServer { address, handle, endings, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the connection from `peer` has ended.
    pub(super) fn ending_of(&self, peer: SocketAddr) -> Option<Ending> {
        std::iter::from_fn(|| self.endings.recv_timeout(PATIENCE).ok()).find(|it| it.peer == peer)
    }
}

impl Drop for FreeServer {
    fn drop(&mut self) {
        self.handle.drain();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
