//! The two worlds behind one face: a kernel, peers on its other side, and a way to let everything
//! arrive that is under way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use closecall::kernel::Kernel;
use closecall::kernel::mio_kernel::MioKernel;
use closecall::simulation::{Act, Scripted, Sight, World};
use socket2::{Domain, SockRef, Socket, Type};

/// A world with a server's kernel and its peers, which are numbered as they connect.
pub(crate) trait Side {
    type Kernel: Kernel;
    fn kernel(&mut self) -> &mut Self::Kernel;
    fn connect(&mut self);
    fn act(&mut self, peer: usize, act: Act);
    /// Sends until no room is left.
    fn flood(&mut self, peer: usize);
    /// Bytes that the peer's system has taken from its program.
    fn sent(&self, peer: usize) -> u64;
    fn sight(&mut self, peer: usize) -> Sight;
    /// Lets everything arrive that is under way, or gives it time to.
    fn settle(&mut self);
}

/// The simulated kernel.
pub(crate) struct Simulated {
    scripted: Scripted,
    sent: Vec<u64>,
}

/// More than a window holds, so that the rest waits in the peer's system.
const FLOOD: u32 = 400_000;

impl Simulated {
    pub(crate) fn new(seed: u64) -> Simulated {
        Simulated { scripted: Scripted::new(seed), sent: Vec::new() }
    }

    pub(crate) fn with_backlog(backlog: i32) -> Simulated {
        let mut simulated = Simulated::new(0);
        simulated.scripted.set_backlog(backlog);
        simulated
    }

    pub(crate) fn is_there(&self, peer: usize) -> bool {
        self.scripted.is_there(peer as u32)
    }
}

impl Side for Simulated {
    type Kernel = World<true>;

    fn kernel(&mut self) -> &mut World<true> {
        self.scripted.kernel()
    }

    fn connect(&mut self) {
        self.scripted.connect();
        self.sent.push(0);
    }

    fn act(&mut self, peer: usize, act: Act) {
        if let Act::Send(bytes) | Act::Urgent(bytes) = act
            && self.is_there(peer)
        {
            self.sent[peer] += u64::from(bytes);
        }
        self.scripted.act(peer as u32, act);
    }

    fn flood(&mut self, peer: usize) {
        self.act(peer, Act::Send(FLOOD));
    }

    fn sent(&self, peer: usize) -> u64 {
        self.sent[peer]
    }

    fn sight(&mut self, peer: usize) -> Sight {
        self.scripted.sight(peer as u32)
    }

    fn settle(&mut self) {
        self.scripted.settle();
    }
}

/// The machine's own kernel, over loopback.
pub(crate) struct Real {
    kernel: MioKernel,
    address: SocketAddr,
    peers: Vec<RealPeer>,
}

struct RealPeer {
    stream: Option<TcpStream>,
    sent: u64,
    /// An error that a call has handed out is not handed out again.
    reset: bool,
}

/// What the sockets' buffers are asked to hold, in bytes. The server's send buffer is much larger
/// than the peer's receive buffer, so less than a third of it is free when both are full.
const BUFFER: usize = 32 << 10;
const SERVER_SEND_BUFFER: usize = 200 << 10;

/// Whether this machine gives a socket that much; Linux keeps twice of what it is asked for.
pub(crate) fn buffers_are_large_enough() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_send_buffer_size(SERVER_SEND_BUFFER).expect("its option");
    let large = socket.send_buffer_size().is_ok_and(|bytes| bytes >= 2 * SERVER_SEND_BUFFER);
    if !large {
        eprintln!("skipped: needs net.core.wmem_max of {SERVER_SEND_BUFFER} or more");
    }
    large
}

/// Without delays of TCP's own making, and with buffers that are soon full.
fn tune(socket: &Socket, send_buffer: usize) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(send_buffer)
}

/// Whether a call handed out the reset. After a FIN it does not: there it is EPIPE.
fn is_reset(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

impl Real {
    pub(crate) fn new(backlog: i32) -> io::Result<Real> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        tune(&listener, SERVER_SEND_BUFFER)?;
        listener.set_out_of_band_inline(true)?; // as the server does
        listener.set_nonblocking(true)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(backlog)?;
        let listener = TcpListener::from(listener);
        let address = listener.local_addr()?;
        Ok(Real { kernel: MioKernel::new(vec![listener])?, address, peers: Vec::new() })
    }

    fn write(&mut self, peer: usize, bytes: u32, urgent: bool) -> bool {
        let zeros = vec![0; bytes as usize];
        let peer = &mut self.peers[peer];
        let Some(mut stream) = peer.stream.as_ref() else { return false };
        let sent = match urgent {
            true => SockRef::from(stream).send_out_of_band(&zeros),
            false => stream.write(&zeros),
        };
        peer.reset |= is_reset(&sent);
        peer.sent += *sent.as_ref().unwrap_or(&0) as u64;
        sent.is_ok()
    }
}

impl Side for Real {
    type Kernel = MioKernel;

    fn kernel(&mut self) -> &mut MioKernel {
        &mut self.kernel
    }

    fn connect(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        tune(&socket, BUFFER).expect("its options");
        let patience = Duration::from_secs(30);
        socket.connect_timeout(&self.address.into(), patience).expect("a connection");
        socket.set_nonblocking(true).expect("a socket that does not block");
        let stream = Some(TcpStream::from(socket));
        self.peers.push(RealPeer { stream, sent: 0, reset: false });
    }

    fn act(&mut self, peer: usize, act: Act) {
        match act {
            Act::Send(bytes) => drop(self.write(peer, bytes, false)),
            Act::Urgent(bytes) => drop(self.write(peer, bytes, true)),
            Act::Read(bytes) => {
                let peer = &mut self.peers[peer];
                let Some(mut stream) = peer.stream.as_ref() else { return };
                let got = stream.read(&mut vec![0; bytes as usize]);
                peer.reset |= is_reset(&got);
            }
            Act::HalfClose | Act::ShutBoth => {
                let how = match act {
                    Act::HalfClose => std::net::Shutdown::Write,
                    _ => std::net::Shutdown::Both,
                };
                if let Some(stream) = &self.peers[peer].stream {
                    let _ = stream.shutdown(how); // the connection may have ended
                }
            }
            Act::Close => self.peers[peer].stream = None,
            Act::Reset => {
                if let Some(stream) = self.peers[peer].stream.take() {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            }
        }
    }

    fn flood(&mut self, peer: usize) {
        while self.write(peer, 1 << 16, false) {}
    }

    fn sent(&self, peer: usize) -> u64 {
        self.peers[peer].sent
    }

    fn sight(&mut self, peer: usize) -> Sight {
        let peer = &mut self.peers[peer];
        let Some(stream) = &peer.stream else { return Sight::Nothing };
        match stream.peek(&mut vec![0; 8 * BUFFER]) {
            Ok(bytes @ 1..) => Sight::Bytes(bytes as u32),
            got if peer.reset || is_reset(&got) => {
                peer.reset = true;
                Sight::Reset
            }
            Ok(_) => Sight::Fin,
            Err(_) => Sight::Nothing,
        }
    }

    /// Acknowledgements that are held back go out at once.
    fn settle(&mut self) {
        for stream in self.peers.iter().flat_map(|peer| &peer.stream) {
            let _ = SockRef::from(stream).set_tcp_quickack(true);
        }
        std::thread::yield_now();
    }
}
