//! A server in this process and a client beside it, over loopback: one echo, and one life from
//! connect to verdict. The server's turns are taken on the client's own thread, when there is
//! something for it to do: so neither waits for a scheduler, and the time is what both ends and the
//! kernel need for computing. Most of it is the kernel's; it is here to show a change, and `make
//! bench` to compare servers.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use closecall::config::Config;
use closecall::machine::close::Kind;
use closecall::server::Server;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use common::cpu::{Cpu, criterion};

const MESSAGE: &[u8] = b"Hi,here is glp";
const REPLY: &[u8] = b"from server back[rust]:Hi,here is glp";

/// A server and where it listens.
struct Home {
    server: Server,
    address: SocketAddr,
}

impl Home {
    fn new() -> Home {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let server = Server::bind(Config { listen, ..Config::default() });
        let server = server.expect("a free port on loopback");
        let address = server.addresses()[0];
        Home { server, address }
    }

    fn turn(&mut self) {
        self.server.turn().expect("a poll that works");
    }

    /// A client that the server has accepted.
    fn connect(&mut self) -> TcpStream {
        let accepted = self.server.counters().accepted;
        let client = TcpStream::connect(self.address).expect("a port of its own");
        client.set_nodelay(true).expect("a socket option");
        while self.server.counters().accepted == accepted {
            self.turn();
        }
        client
    }

    /// One message and its reply. The event is there when the write returns: that is how loopback
    /// works.
    fn echo(&mut self, client: &mut TcpStream) {
        client.write_all(MESSAGE).expect("the server is there");
        self.turn();
        let mut reply = [0; REPLY.len()];
        client.read_exact(&mut reply).expect("a reply of 37 bytes");
        assert_eq!(reply, REPLY);
    }

    /// Connect, one echo, close, and the server's verdict on it.
    fn life(&mut self) {
        let mut client = self.connect();
        self.echo(&mut client);
        drop(client);
        loop {
            self.turn();
            if let Some(ending) = self.server.endings().next() {
                assert_eq!(ending.verdict.kind, Kind::PeerFinDelivered);
                return;
            }
        }
    }
}

fn bench(criterion: &mut Criterion<Cpu>) {
    let mut group = criterion.benchmark_group("loopback");
    group.throughput(Throughput::Elements(1));
    group.bench_function("echo", |bencher| {
        let mut home = Home::new();
        let mut client = home.connect();
        bencher.iter(|| home.echo(&mut client));
    });
    // Each life leaves a pair of addresses in TIME_WAIT, so there are few of them.
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    group.sample_size(20);
    group.bench_function("churn", |bencher| {
        let mut home = Home::new();
        bencher.iter(|| home.life());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion(50, 3000);
    targets = bench
}
criterion_main!(benches);
