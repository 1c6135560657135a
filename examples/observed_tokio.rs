//! An echo server of tokio that prints how each connection ended.
//!
//! A program of your own needs the feature `tokio`. Here it is on:
//! `cargo run --example observed_tokio [ADDRESS]`.

#![allow(clippy::print_stdout)] // it is a program, and this is its output

use std::net::SocketAddr;
use std::time::Duration;
use std::{env, io};

use closecall::Observed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(tokio::spawn(serve(stream, peer))),
            Err(error) => println!("accept: {error}"),
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr) {
    let mut stream = Observed::new(stream, peer);
    // An error ends the echo. Which one it was is part of the ending.
    let _ = echo(&mut stream).await;
    let ending = stream.finish(Duration::from_secs(2)).await;
    println!("{peer}: {}, {}", ending.verdict.kind.name(), ending.verdict.certainty.name());
}

async fn echo(stream: &mut Observed<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes]).await?,
        }
    }
}
