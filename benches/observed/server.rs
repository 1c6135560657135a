//! A tokio echo server with and without `Observed`, to measure what that costs.
//!
//! `echo_tokio plain|finishing|observed`: `plain` drops each stream at its end, `finishing` shuts
//! down and reads to the peer's FIN, `observed` waits for the evidence and gives a verdict. One
//! thread, as every server that is measured here.

#![allow(clippy::print_stdout)] // it is a program, and this is its output

use std::time::Duration;
use std::{env, io};

use closecall::Observed;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// What the generator expects before each reply; it lies in front of the data.
const PREFIX: &[u8] = b"from server back[rust]:";

fn main() -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(listens())
}

async fn listens() -> io::Result<()> {
    let kind = env::args().nth(1).unwrap_or_default();
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener: TcpListener = socket.listen(4096)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (mut stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match &*kind {
            "observed" => drop(tokio::spawn(async move {
                let mut stream = Observed::new(stream, peer);
                let _ = echoes(&mut stream).await;
                std::hint::black_box(stream.finish(Duration::from_secs(2)).await);
            })),
            "finishing" => drop(tokio::spawn(async move {
                let _ = echoes(&mut stream).await;
                let _ = finishes(stream).await;
            })),
            _ => drop(tokio::spawn(async move { echoes(&mut stream).await })),
        }
    }
}

async fn echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = [PREFIX, &[0; 4096]].concat();
    loop {
        match stream.read(&mut buffer[PREFIX.len()..]).await? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..PREFIX.len() + bytes]).await?,
        }
    }
}

/// Our FIN, and the peer's.
async fn finishes(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}
