//! Rung 2: no call blocks, and one thread asks every client, always.
//!
//! New: non-blocking sockets. `EAGAIN -> continue`, which was dead code in rung 1, does all the
//! work.
//!
//! Fixes: no thread for each client. A client costs a descriptor and a few bytes.
//!
//! Still wrong: it asks again at once, so it uses a whole core while all clients are idle, and a
//! thousand idle clients are a thousand system calls before one of them is asked twice. And `send`
//! has the same branch: while one client does not read, all the others wait.
//!
//! Run it: `cargo run --example 2_spinning [ADDRESS]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const PREFIX: &[u8] = b"from server back[rust]:";

struct Client {
    socket: TcpStream,
    peer: SocketAddr,
}

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let mut clients: Vec<Client> = Vec::new();
    let mut buffer = vec![0; 65_536]; // one for all: only one is served at a time
    loop {
        // An error is about one new connection, or files are short. Either way the next round tries
        // again.
        if let Ok((socket, peer)) = listener.accept()
            && socket.set_nonblocking(true).is_ok()
        {
            clients.push(Client { socket, peer });
        }
        clients.retain_mut(|client| is_open(client, &mut buffer));
    }
}

/// Serves one client once. Returns whether it stays connected.
fn is_open(Client { socket, peer }: &mut Client, buffer: &mut [u8]) -> bool {
    match socket.read(buffer) {
        Ok(0) => println!("{peer}: recv = 0"),
        Ok(bytes) => {
            let reply = [PREFIX, &buffer[..bytes]].concat();
            // An error here is reported by the next recv as well.
            let _ = send_all(socket, &reply);
            return true;
        }
        Err(error) if is_passing(&error) => return true, // the `continue`: on to the next client
        Err(error) => println!("{peer}: recv = -1, {error}"),
    }
    false
}

/// Sends until the kernel has taken everything.
fn send_all(socket: &mut TcpStream, mut reply: &[u8]) -> io::Result<()> {
    while !reply.is_empty() {
        match socket.write(reply) {
            Ok(bytes) => reply = &reply[bytes..],
            Err(error) if is_passing(&error) => continue, // and no other client is served meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// EAGAIN, or a signal came in between: nothing was done and nothing is broken.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
