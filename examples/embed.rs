//! The library in a program of your own: serve on any free port, and say how each connection ended.
//!
//! It needs no feature: `cargo run --example embed --no-default-features`. Connect to the address it
//! prints, in any way you like; ten silent seconds end you with `timeout.read`. Enter ends the server.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::error::Error;
use std::io;

use closecall::config::Config;
use closecall::machine::close::Certainty;
use closecall::server::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse()?],
        prefix: b"embedded: ".to_vec(),
        ..Config::default()
    };
    let mut server = Server::bind(config)?;
    println!("listening on {}; Enter ends it", server.addresses()[0]);

    let handle = server.handle();
    std::thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        handle.stop(); // the first call drains, a second would end it at once
    });

    server.run(|ending| {
        let sure = if ending.verdict.certainty == Certainty::Certain { "" } else { ", it seems" };
        println!(
            "{} ended as {}{sure}: {} bytes in, {} out",
            ending.peer,
            ending.verdict.kind.name(),
            ending.evidence.rx,
            ending.evidence.tx,
        );
    })?;
    println!("served {} in all", server.counters().accepted);
    Ok(())
}
