//! Rung 4: what a socket does not take is kept until it has room, and its client is not read
//! meanwhile.
//!
//! New: an outbox for each client, and events for room to send. Edge-triggered means that the
//! kernel reports a change once. So each ready client is served until EAGAIN: there will be no
//! second event for what is left.
//!
//! Fixes: no byte is lost, and a client that does not read stops itself. Its replies fill the
//! buffers, nothing more is read from it, and TCP tells it to wait: backpressure.
//!
//! Still wrong: a silent client stays indefinitely, and so does one that vanished without a packet.
//! And a visit does not end while the client keeps sending: the others wait for it.
//!
//! Run it: `cargo run --example 4_edges [ADDRESS]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::{env, error};

use closecall::machine::outbox::Outbox;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const PREFIX: &[u8] = b"from server back[rust]:";
const LISTENER: Token = Token(usize::MAX);

struct Client {
    socket: TcpStream,
    peer: SocketAddr,
    outbox: Outbox,
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut listener = TcpListener::bind(address.parse()?)?;
    println!("listening on {}", listener.local_addr()?);

    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut clients = Slab::new();
    let mut buffer = vec![0; 65_536];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut clients);
                continue;
            }
            let Token(key) = event.token();
            let Some(client) = clients.get_mut(key) else { continue };
            if !client.is_open(&mut buffer) {
                clients.remove(key);
            }
        }
    }
}

fn accept_all(listener: &TcpListener, poll: &Poll, clients: &mut Slab<Client>) {
    let interest = Interest::READABLE | Interest::WRITABLE;
    while let Ok((mut socket, peer)) = listener.accept() {
        let entry = clients.vacant_entry();
        if poll.registry().register(&mut socket, Token(entry.key()), interest).is_ok() {
            entry.insert(Client { socket, peer, outbox: Outbox::default() });
        }
    }
}

impl Client {
    /// Does everything that can be done now. Returns whether the client stays connected.
    fn is_open(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.step(buffer) {
                Ok(true) => continue,
                Ok(false) => println!("{}: recv = 0", self.peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => println!("{}: -1, {error}", self.peer),
            }
            return false;
        }
    }

    /// One system call: sends what is pending or, where nothing is, receives. `false` is the
    /// client's FIN.
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
