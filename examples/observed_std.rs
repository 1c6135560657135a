//! An echo server of std that prints how each connection ended.
//!
//! It needs no feature: `cargo run --no-default-features --example observed_std [ADDRESS]`.

#![allow(clippy::print_stdout)] // it is a program, and this is its output

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use std::{env, thread};

use closecall::Observed;

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => drop(thread::spawn(move || serve(stream, peer))),
            Err(error) => println!("accept: {error}"),
        }
    }
}

fn serve(stream: TcpStream, peer: SocketAddr) {
    let mut stream = Observed::new(stream, peer);
    // An error ends the echo. Which one it was is part of the ending.
    let _ = echo(&mut stream);
    let ending = stream.finish(Duration::from_secs(2));
    println!("{peer}: {}, {}", ending.verdict.kind.name(), ending.verdict.certainty.name());
}

fn echo(stream: &mut Observed<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes])?,
        }
    }
}
