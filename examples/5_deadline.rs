//! Rung 5: ten seconds without a byte, and the client is closed.
//!
//! New: one timer wheel for all clients. A client's deadline is a number, and each byte moves it
//! without touching the wheel. The wheel holds one entry for each client; an entry that comes up
//! early is armed again. Only `main` reads the clock; time is an argument everywhere else.
//!
//! Fixes: silent, stalled and vanished clients are closed.
//!
//! Still wrong: it does not know how a connection ended. `recv = 0` stands for a client that has
//! read its reply and for one that never got it; after a close nothing checks what became of the
//! bytes that were sent.
//!
//! Run it: `cargo run --example 5_deadline [ADDRESS [DEADLINE_MS]]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{env, error};

use closecall::machine::outbox::Outbox;
use closecall::machine::time::Moment;
use closecall::machine::wheel::TimerWheel;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const PREFIX: &[u8] = b"from server back[rust]:";
const LISTENER: Token = Token(usize::MAX);
const TICK_MS: u64 = 8;

struct Client {
    socket: TcpStream,
    peer: SocketAddr,
    outbox: Outbox,
    deadline: Moment,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    clients: Slab<Client>,
    wheel: TimerWheel,
    deadline_ms: u64,
    buffer: Vec<u8>,
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let deadline_ms = env::args().nth(2).map_or(Ok(10_000), |ms| ms.parse())?;
    let mut listener = TcpListener::bind(address.parse()?)?;
    println!("listening on {}", listener.local_addr()?);

    let started = Instant::now();
    let now = || Moment::from_ms(started.elapsed().as_millis() as u64);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let wheel = TimerWheel::new(TICK_MS, 0, now());
    let (clients, buffer) = (Slab::new(), vec![0; 65_536]);
    let mut server = Server { poll, listener, clients, wheel, deadline_ms, buffer };
    let mut events = Events::with_capacity(1024);
    loop {
        let sleep = server.wheel.next_due().map(|due| Duration::from_millis(due.since(now())));
        match server.poll.poll(&mut events, sleep) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept_all(now()),
                Token(key) => server.visit(key, now()),
            }
        }
        server.expire(now()); // after I/O: bytes that came in time save a client
    }
}

impl Server {
    fn accept_all(&mut self, now: Moment) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        while let Ok((mut socket, peer)) = self.listener.accept() {
            let entry = self.clients.vacant_entry();
            let key = entry.key();
            if self.poll.registry().register(&mut socket, Token(key), interest).is_ok() {
                let deadline = now.after(self.deadline_ms);
                entry.insert(Client { socket, peer, outbox: Outbox::default(), deadline });
                self.wheel.arm(key as u32, deadline);
            }
        }
    }

    /// Does everything that can be done for a client now.
    fn visit(&mut self, key: usize, now: Moment) {
        let Some(client) = self.clients.get_mut(key) else { return };
        loop {
            match client.step(&mut self.buffer) {
                Ok(true) => {
                    client.deadline = now.after(self.deadline_ms);
                    continue;
                }
                Ok(false) => println!("{}: recv = 0", client.peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => println!("{}: -1, {error}", client.peer),
            }
            self.wheel.disarm(key as u32);
            self.clients.remove(key);
            return;
        }
    }

    fn expire(&mut self, now: Moment) {
        let mut budget = u32::MAX; // as many as are due
        while let Some(key) = self.wheel.pop_due(now, &mut budget) {
            let client = &self.clients[key as usize];
            if client.deadline > now {
                self.wheel.arm(key, client.deadline); // it has moved since
                continue;
            }
            println!("{}: {} ms of silence", client.peer, self.deadline_ms);
            self.clients.remove(key as usize);
        }
    }
}

impl Client {
    /// As in rung 4.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.outbox.is_empty() {
            let taken = self.socket.write(self.outbox.pending())?;
            self.outbox.advance(taken);
            return Ok(true);
        }
        let bytes = self.socket.read(buffer)?;
        if bytes > 0 {
            self.outbox.fill(&[PREFIX, &buffer[..bytes]].concat());
        }
        Ok(bytes > 0)
    }
}
