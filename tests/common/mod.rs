//! A server whose turns the test takes itself, and clients beside it on the same thread: every
//! order of events can be forced, and nothing sleeps to wait for the other side.
#![allow(dead_code, unreachable_pub)] // each test uses its own part of it

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use closecall::client::{Act, Client, Did, Performed, Plan, Way};
use closecall::config::Config;
use closecall::machine::close::{Certainty, Kind, Via};
use closecall::reactor::{Ending, Turn};
use closecall::server::Server;
use socket2::{Domain, SockRef, Socket, Type};

pub const MESSAGE: &[u8] = b"Hi,here is glp";
pub const REPLY: &[u8] = b"from server back[rust]:Hi,here is glp";

/// No test takes this long; one that does fails, and prints where.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server on a free port of the loopback, and what it has reported.
pub struct Bed {
    pub server: Server,
    pub endings: Vec<Ending>,
    pub last: Turn,
    /// Alarms that rang so far.
    pub alarms: u32,
    /// Visits to connections so far.
    pub visits: u32,
    watchdog: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // It holds a file, and the next test may count them.
        if let Some((alive, thread)) = self.watchdog.take() {
            drop(alive);
            thread.join().ok();
        }
    }
}

impl Bed {
    pub fn new() -> Bed {
        Bed::with(|_| ())
    }

    #[track_caller]
    pub fn with(change: impl FnOnce(&mut Config)) -> Bed {
        let mut config = Config {
            listen: vec![([127, 0, 0, 1], 0).into()],
            max_connections: 1000,
            ..Config::default()
        };
        change(&mut config);
        let server = Server::bind(config).expect("a free port on the loopback");
        let wakes = server.handle();
        let (alive, ended) = mpsc::channel();
        // The server's own way in gets a hanging turn to end, and the test to fail.
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                wakes.abort();
            }
        });
        Bed {
            server,
            endings: Vec::new(),
            last: Turn::default(),
            alarms: 0,
            visits: 0,
            watchdog: Some((alive, thread)),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// A client that is connected, as far as its kernel is concerned.
    #[track_caller]
    pub fn client(&self) -> TcpStream {
        TcpStream::connect(self.address()).expect("the backlog has room")
    }

    /// A client whose receive buffer is as small as the system makes it.
    #[track_caller]
    pub fn narrow_client(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.connect(&self.address().into()).unwrap();
        socket.into()
    }

    /// The plan of a client of this server.
    pub fn plan(&self) -> Plan {
        Plan {
            kept_bytes_max: usize::MAX,
            holder: vec!["cat".into()],
            ..Plan::new(self.address()) // its message is MESSAGE
        }
    }

    /// A client that is connected and plays scripts.
    #[track_caller]
    pub fn player(&self) -> Client {
        Client::connect(&self.plan()).expect("the backlog has room").0
    }

    /// Plays `acts`. The server takes a turn whenever the client has to wait, and at no other time.
    /// Returns the result of the last of them.
    #[track_caller]
    pub fn acts(&mut self, client: &mut Client, acts: &[Act]) -> Did {
        let mut last = Did::Quiet;
        for &act in acts {
            last = succeeded(client.play_beside(act, Some(&mut || _ = self.turn())));
        }
        last
    }

    /// The same from connect to close, in one of the ways there are.
    #[track_caller]
    pub fn plays(&mut self, way: Way) -> Client {
        let mut client = self.player();
        self.acts(&mut client, way.script());
        client
    }

    /// One turn of the server's loop.
    #[track_caller]
    pub fn turn(&mut self) -> Turn {
        assert!(!self.last.stage.is_over(), "the server is over, or hung and was ended");
        self.last = self.server.turn().expect("the poll is not broken");
        let counters = self.server.counters();
        assert_eq!(counters.accepted, counters.open + counters.ended(), "counters add up");
        self.endings.extend(self.server.endings());
        self.alarms += self.last.alarms;
        self.visits += self.last.visits;
        self.last
    }

    /// Turns until `done`.
    #[track_caller]
    pub fn turns_until(&mut self, mut done: impl FnMut(&mut Bed) -> bool) {
        while !done(self) {
            self.turn();
        }
    }

    /// Turns until the server has accepted `count` connections in all.
    #[track_caller]
    pub fn accepts(&mut self, count: u64) {
        self.turns_until(|bed| bed.server.counters().accepted >= count);
    }

    /// Turns until the server has sent its FIN to `client` or reset it; returns what it sent
    /// before.
    #[track_caller]
    pub fn reads_to_end(&mut self, client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut result = Ok(());
        self.turns_until(|_| {
            loop {
                match read_some(client, &mut bytes, usize::MAX) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(error) => {
                        result = Err(error);
                        return true;
                    }
                }
            }
        });
        result.map(|()| bytes)
    }

    /// Turns until `client` has received `count` bytes.
    #[track_caller]
    pub fn receives(&mut self, client: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.turns_until(|_| {
            while bytes.len() < count {
                match read_some(client, &mut bytes, count) {
                    Ok(0) => panic!("the server closed after {} of {count} bytes", bytes.len()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(error) => panic!("{error} after {} of {count} bytes", bytes.len()),
                }
            }
            true
        });
        bytes
    }

    /// Turns until `count` bytes lie in the client's receive queue, unread.
    #[track_caller]
    pub fn holds(&mut self, client: &TcpStream, count: usize) {
        client.set_nonblocking(true).unwrap();
        self.turns_until(|_| client.peek(&mut vec![0; count]).is_ok_and(|bytes| bytes == count));
        client.set_nonblocking(false).unwrap();
    }

    /// The article's exchange: the message goes out, its reply comes back.
    #[track_caller]
    pub fn echoes(&mut self, client: &mut TcpStream) {
        client.write_all(MESSAGE).unwrap();
        assert_eq!(self.receives(client, REPLY.len()), REPLY);
    }

    /// The same with [`Framing::Raw`](closecall::machine::reply::Framing::Raw).
    #[track_caller]
    pub fn echoes_raw(&mut self, client: &mut TcpStream) {
        client.write_all(MESSAGE).unwrap();
        assert_eq!(self.receives(client, MESSAGE.len()), MESSAGE);
    }

    /// Turns until there is one more ending, and takes it.
    #[track_caller]
    pub fn ending(&mut self) -> Ending {
        self.turns_until(|bed| !bed.endings.is_empty());
        self.endings.remove(0)
    }

    /// Turns until the next ending, which is of this kind, or says less where less is known.
    #[track_caller]
    pub fn ends_as(&mut self, kind: Kind) -> Ending {
        let ending = self.ending();
        assert_eq!(ending.verdict.kind.name(), sayable(kind).name(), "{ending:#?}");
        ending
    }
}

/// What can be said here of an ending of this kind: whether the peer has a reply is known where the
/// system tells what is unacknowledged, on Linux.
pub fn sayable(kind: Kind) -> Kind {
    match kind {
        Kind::PeerFinDelivered | Kind::PeerFinHalfCloseServed if !cfg!(target_os = "linux") => {
            Kind::PeerFinUnconfirmed
        }
        kind => kind,
    }
}

/// The result of an act that has to succeed.
#[track_caller]
pub fn succeeded(performed: Performed) -> Did {
    assert!(!performed.failed(), "{performed:?}");
    performed.did
}

/// Reads what is there, without blocking, up to `limit` bytes in all.
fn read_some(client: &mut TcpStream, bytes: &mut Vec<u8>, limit: usize) -> std::io::Result<usize> {
    let mut space = vec![0; (limit - bytes.len()).min(1 << 16)];
    client.set_nonblocking(true)?; // for its clones as well
    let result = client.read(&mut space);
    client.set_nonblocking(false)?;
    bytes.extend_from_slice(&space[..*result.as_ref().unwrap_or(&0)]);
    result
}

/// Writes until the socket takes no more, without blocking.
pub fn tops_up(client: &mut TcpStream) {
    client.set_nonblocking(true).unwrap();
    while client.write(&[b'x'; 1 << 16]).is_ok() {}
    client.set_nonblocking(false).unwrap();
}

/// The status of an ending, and how sure it is.
pub fn said(ending: &Ending) -> (u8, Certainty) {
    (ending.verdict.status, ending.verdict.certainty)
}

/// The number of an ending's first error, and the call that gave it.
pub fn error(ending: &Ending) -> Option<(i32, Via)> {
    ending.evidence.error.map(|error| (error.errno.0, error.via))
}

/// The lines of /proc/net/tcp about sockets from `local` to `peer`, both on 127.0.0.1.
pub fn sockets_between(local: SocketAddr, peer: SocketAddr) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let pair = format!("0100007F:{:04X} 0100007F:{:04X} ", local.port(), peer.port());
    table.lines().filter(|line| line.contains(&pair)).map(str::to_owned).collect()
}

/// Closes with a reset.
pub fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Sends its FIN and continues to read.
pub fn half_close(client: &TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
}
