//! Rung 3: the kernel is asked once which sockets are ready, and the thread sleeps until one is.
//!
//! New: `mio::Poll`, which is epoll, kqueue or IOCP. Each socket is registered under a token, and
//! an event names the token.
//!
//! Fixes: an idle server does nothing at all. And a client that does not read does not block the
//! others.
//!
//! Still wrong: one `send` for each reply, and what the socket does not take is lost. A client that
//! reads slowly loses bytes out of the middle of its stream without notice; nor does anything stop
//! such a client from sending more.
//!
//! Run it: `cargo run --example 3_readiness [ADDRESS]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::{env, error};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const PREFIX: &[u8] = b"from server back[rust]:";

/// Clients are numbered from 0 on, as the slab has room.
const LISTENER: Token = Token(usize::MAX);

struct Client {
    socket: TcpStream,
    peer: SocketAddr,
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
            // A client that ended in this round may have an event left.
            let Some(client) = clients.get_mut(key) else { continue };
            if !is_open(client, &mut buffer) {
                clients.remove(key); // its socket is closed, and epoll forgets it
            }
        }
    }
}

/// There is one event for each change, so connections are accepted until there are no more.
fn accept_all(listener: &TcpListener, poll: &Poll, clients: &mut Slab<Client>) {
    while let Ok((mut socket, peer)) = listener.accept() {
        let entry = clients.vacant_entry();
        let token = Token(entry.key());
        if poll.registry().register(&mut socket, token, Interest::READABLE).is_ok() {
            entry.insert(Client { socket, peer });
        }
    }
}

/// Serves a client until its input is empty. Returns whether it stays connected.
fn is_open(Client { socket, peer }: &mut Client, buffer: &mut [u8]) -> bool {
    loop {
        match socket.read(buffer) {
            Ok(0) => println!("{peer}: recv = 0"),
            Ok(bytes) => {
                let reply = [PREFIX, &buffer[..bytes]].concat();
                let _ = socket.write(&reply); // here the bytes get lost
                continue;
            }
            // Rung 2 would ask again here; this rung goes back to sleep.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => println!("{peer}: recv = -1, {error}"),
        }
        return false;
    }
}
