//! Two namespaces, a line between them, a server in one and clients in the other.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use closecall::config::Config;
use socket2::{Domain, Socket, Type};

use super::common::{Bed, MESSAGE, REPLY};
use super::line::{Line, To};
use super::room::{self, Namespace};
use super::skip::skips;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

/// A client that hears nothing for so long fails, and so does its test.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test here works with. Each has its own, and nothing of it outlives the test.
pub struct Net {
    pub line: Line,
    server: Namespace,
    client: Namespace,
}

impl Net {
    /// `None` where this machine does not let us: the reason is said. A failure with
    /// CLOSECALL_NAMESPACES=required.
    pub fn new() -> Option<Net> {
        let missing = missing();
        if !missing.is_empty() {
            skips(&missing.join(", "));
            return None;
        }
        let [server, client] = [(); 2].map(|()| Namespace::new().expect("it was tried just now"));
        let tuns = [device(&server, SERVER), device(&client, CLIENT)];
        let [server_tun, client_tun] = tuns;
        Some(Net { line: Line::new(server_tun, client_tun, ROUTER), server, client })
    }

    /// A server that no deadline of its own disturbs.
    #[track_caller]
    pub fn bed(&self, change: impl FnOnce(&mut Config)) -> Bed {
        self.server.within(|| {
            Bed::with(|config| {
                config.listen = vec![(SERVER, 0).into()];
                config.read_deadline_ms = None;
                config.verdict_wait_ms = 20_000;
                change(config);
            })
        })
    }

    /// A client, connected.
    #[track_caller]
    pub fn client(&self, bed: &Bed) -> TcpStream {
        self.client_from(0, bed.address()).expect("the backlog has room")
    }

    /// A client with this port, or with any if it is 0.
    pub fn client_from(&self, port: u16, server: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self.client.within(|| Socket::new(Domain::IPV4, Type::STREAM, None))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.bind(&SocketAddr::from((CLIENT, port)).into())?;
        socket.connect(&server.into())?;
        Ok(socket.into())
    }

    /// Changes one of the settings of TCP in the server's namespace: "tcp_retries2".
    #[track_caller]
    pub fn server_setting(&self, name: &str, value: &str) {
        self.server.within(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap());
    }

    /// The same in the clients' namespace.
    #[track_caller]
    pub fn client_setting(&self, name: &str, value: &str) {
        self.client.within(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap());
    }

    /// Waits until the kernel of the clients' namespace knows nothing any more of this port.
    #[track_caller]
    pub fn client_has_forgotten(&self, port: u16) {
        let end = Instant::now() + PATIENCE;
        let sockets = format!("ss -Htan sport = {port}");
        while !self.client.within(|| run(&sockets)).is_empty() {
            assert!(Instant::now() < end, "it has not forgotten {port}");
            std::thread::yield_now();
        }
    }

    /// Runs `command` in the server's namespace.
    #[track_caller]
    pub fn at_server(&self, command: &str) {
        self.server.within(|| _ = run(command));
    }

    /// Runs `command` in the clients' namespace.
    #[track_caller]
    pub fn at_client(&self, command: &str) {
        self.client.within(|| _ = run(command));
    }
}

/// Turns until the server has received something, and answered it.
#[track_caller]
pub fn answers(bed: &mut Bed) {
    while bed.turn().bytes == 0 {}
}

/// The article's exchange: the message goes out, its reply comes back.
#[track_caller]
pub fn echoes(bed: &mut Bed, client: &mut TcpStream) {
    client.write_all(MESSAGE).unwrap();
    answers(bed);
    hears(client);
}

/// Waits for the reply and reads it.
#[track_caller]
pub fn hears(client: &mut TcpStream) {
    let mut reply = [0; REPLY.len()];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, REPLY);
}

/// Its request is in the server's receive queue, and the server has not read it yet.
#[track_caller]
pub fn asks(net: &Net, client: &mut TcpStream) {
    client.write_all(MESSAGE).unwrap();
    net.line.has_brought(To::Server, port(client), |it| it.payload_bytes > 0);
}

/// Its port; no other connection here has the same.
pub fn port(client: &TcpStream) -> u16 {
    client.local_addr().unwrap().port()
}

/// A device in `namespace` with this address, and the whole network behind it.
fn device(namespace: &Namespace, address: Ipv4Addr) -> File {
    namespace.within(|| {
        let tun = room::tun().expect("it was tried just now");
        run(&format!("ip address add {address}/24 dev tun"));
        run("ip link set tun up txqueuelen 10000");
        tun
    })
}

/// What of our needs is not here.
fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    match Namespace::new() {
        Err(_) => missing.push("root"),
        Ok(namespace) => {
            if namespace.within(room::tun).is_err() {
                missing.push("/dev/net/tun");
            }
        }
    }
    for (tool, version, name) in [
        ("ip", "-V", "ip (iproute2)"),
        ("ss", "-V", "ss (iproute2)"),
        ("nft", "-v", "nft (nftables)"),
    ] {
        if Command::new(tool).arg(version).output().is_err() {
            missing.push(name);
        }
    }
    missing
}

/// Runs `command` and returns what it says.
#[track_caller]
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
