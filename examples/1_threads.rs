//! Rung 1: a thread for each client, and in it a loop over `recv`.
//!
//! New: nothing. It is the C++ server, branch for branch. Rust removes two of its
//! bugs: `sprintf("%s")` ended a reply at its first zero byte, and wrote past its buffer if
//! the message was long.
//!
//! Still wrong: a thread for each client. An idle client holds its stack indefinitely, and the
//! first thread that cannot be started ends `main`, and with it every connection: `std::thread` in
//! C++ throws, and nothing catches it.
//!
//! Run it: `cargo run --example 1_threads [ADDRESS]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::{env, thread};

const PREFIX: &[u8] = b"from server back[rust]:";

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?; // socket, SO_REUSEADDR, bind, listen
    println!("listening on {}", listener.local_addr()?);
    loop {
        // As in the original: an error of accept ends the program.
        let (socket, peer) = listener.accept()?;
        // The handle is dropped, and that detaches the thread.
        thread::Builder::new().spawn(move || handle_client(socket, peer))?;
    }
}

/// `socket` is closed when this returns, whichever way it returns.
fn handle_client(mut socket: TcpStream, peer: SocketAddr) {
    let mut buffer = [0; 65_536];
    loop {
        let bytes = match socket.read(&mut buffer) {
            Ok(0) => return println!("{peer}: recv = 0"),
            Ok(bytes) => bytes,
            // It never comes from a socket that blocks. The next rung lives on this line.
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return println!("{peer}: recv = -1, {error}"),
        };
        let reply = [PREFIX, &buffer[..bytes]].concat();
        // The result of send is not checked. It blocks until all is in the kernel's buffer, for as
        // long as the client does not read.
        let _ = socket.write_all(&reply);
    }
}
