//! Rung 7: the library in a program of your own.
//!
//! New: a [`Config`] and a [`Server`]. What rung 6 did by hand is [`Server::turn`], with a budget
//! for each visit and each turn, limits, pauses when files run out, and an orderly stop.
//!
//! Fixes: new connections are accepted again as soon as there are files, and Enter ends the program
//! without cutting off a reply. The loop below sees every ending, including those of the last
//! turns.
//!
//! Still wrong: nothing that this page could change. It is one loop on one thread, on purpose, and
//! your report runs on it: a report that blocks, as `println!` does when its output is not read,
//! blocks every connection. `closecall serve` writes from another thread.
//!
//! It needs no feature. Run it:
//! `cargo run --no-default-features --example 7_embed [ADDRESS [DEADLINE_MS]]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::error::Error;
use std::{env, io, thread};

use closecall::config::Config;
use closecall::machine::close::Certainty;
use closecall::server::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let deadline_ms = env::args().nth(2).map_or(Ok(10_000), |ms| ms.parse())?;
    let config = Config {
        listen: vec![address.parse()?],
        prefix: b"from server back[rust]:".to_vec(), // as by default; yours goes here
        read_deadline_ms: Some(deadline_ms),
        write_deadline_ms: Some(deadline_ms),
        ..Config::default()
    };
    let mut server = Server::bind(config)?;
    println!("listening on {}", server.addresses()[0]);
    println!("Enter ends it");

    let handle = server.handle();
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        handle.drain(); // `abort` would end it at once
    });

    // `server.run(report)` is this loop in one call. Here is the place for work of your own.
    while !server.turn()?.stage.is_over() {
        for ending in server.endings() {
            let certain = ending.verdict.certainty == Certainty::Certain;
            println!(
                "{}: {}{}: {} bytes in, {} out",
                ending.peer,
                ending.verdict.kind.name(),
                if certain { "" } else { ", it seems" },
                ending.evidence.rx,
                ending.evidence.tx,
            );
        }
    }
    println!("served {} in all", server.counters().accepted);
    Ok(())
}
