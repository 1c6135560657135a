//! An HTTP/1 server of hyper that prints how each connection ended.
//!
//! hyper owns the stream and drops it when it has finished with the connection. The report is made
//! then, after a task of its own has waited for the evidence.
//!
//! Run it with `cargo run --example hyper_server [ADDRESS]`, and ask it with `curl`.

#![allow(clippy::print_stdout)] // it is a program, and this is its output

use std::convert::Infallible;
use std::{env, io};

use closecall::Observed;
use closecall::machine::close::Ending;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                println!("accept: {error}");
                continue;
            }
        };
        let stream = TokioIo::new(Observed::new(stream, peer).reports(print));
        tokio::spawn(async move {
            // hyper's error is about HTTP; the ending of the connection is printed.
            let _ = http1::Builder::new().serve_connection(stream, service_fn(hello)).await;
        });
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(format!("You asked for {}\n", request.uri().path())))
}

fn print(ending: Ending) {
    println!(
        "{}: {}, {}, {} bytes in, {} out",
        ending.peer,
        ending.verdict.kind.name(),
        ending.verdict.certainty.name(),
        ending.evidence.rx,
        ending.evidence.tx,
    );
}
