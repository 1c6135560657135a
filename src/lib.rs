//! How a TCP connection ended: which side closed it, how, and what became of the last bytes, with
//! the evidence.
//!
//! For a stream of your own program there is [`Observed`] (std, and tokio with the feature
//! `tokio`); for a socket in a loop of your own, [`Observer`]. Both are in the [first two
//! sections](#how-did-this-connection-end). [`Server`] is an echo server that says it of every
//! connection, on one thread with one readiness-driven loop. The README of the repository shows the
//! command line, and `docs/` tells the rest.
//!
//! # How did this connection end?
//!
//! A stream of std. With tokio it is the same, and `finish` is `async`.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use closecall::Observed;
//!
//! fn serve(stream: TcpStream, peer: std::net::SocketAddr) -> closecall::Ending {
//!     let mut stream = Observed::new(stream, peer);
//!     let mut buffer = [0; 1024];
//!     while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
//!         if stream.write_all(&buffer[..bytes]).is_err() {
//!             break;
//!         }
//!     }
//!     stream.finish(Duration::from_secs(2)) // .verdict.kind: peer_fin.delivered, …
//! }
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
//! # drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
//! # let (stream, peer) = listener.accept().unwrap();
//! # assert_eq!(serve(stream, peer).verdict.kind, closecall::Kind::PeerFinProbe);
//! ```
//!
//! Any other socket: [`Observer`] is told what each call came to, and asks the socket through
//! everything that is `AsFd` or `AsSocket`.
//!
//! ```
//! use closecall::{Observer, Settling};
//!
//! # use std::io::{Read, Write};
//! # use std::time::Duration;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
//! # let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
//! # client.write_all(b"Hi").unwrap();
//! # let (mut socket, _) = listener.accept().unwrap();
//! # let mut buffer = [0; 64];
//! let mut seen = Observer::new();
//! seen.read(&socket.read(&mut buffer)); // each read and write is told
//! seen.wrote(&socket.write(b"reply"));
//! # drop(client);
//! # loop {
//! #     let result = socket.read(&mut buffer);
//! #     seen.read(&result);
//! #     if !matches!(result, Ok(1..)) { break; }
//! # }
//! # let waited = Duration::ZERO;
//! match seen.settle(&socket, waited) {
//!     Settling::Done(conclusion) => println!("{}", conclusion.verdict.kind.name()),
//!     Settling::AskAgain { after, .. } => println!("ask again in {after:?}, or at an event"),
//! }
//! ```
//!
//! # The map of the house
//!
//! `machine/` decides, `reactor/` serves, `kernel/` acts, `cli/` asks.
//!
//! | layer | what it is | what it may know |
//! |---|---|---|
//! | [`machine`] | pure state machines: time, bytes, one connection's life, how it ended | nothing of ours, no socket, no clock, no log |
//! | `socket` | what the operating system tells of one socket; all `unsafe` code there is | plain types of `machine` |
//! | [`kernel`] | one trait: all that is asked of the operating system; mio behind it | plain types of `machine`, `socket` |
//! | [`config`] | every limit and every duration, with its default | `machine` |
//! | [`reactor`] | one turn of the loop: lines and budgets, the table, the listeners, output memory | `kernel`, `machine`, [`config`] |
//! | `simulation` | the second kernel: a seeded world with a virtual clock, and the loop run in it (feature `simulation`) | everything above |
//! | [`server`] | a configuration becomes a loop on the real kernel | everything above but `simulation` |
//! | `record` | an ending in the words of the close log (feature `serde`) | `machine` |
//! | `wire` | connections seen from outside: packets, sequence numbers, and a verdict from them (feature `cli`) | `machine` |
//! | [`observed`] | a TCP stream of your own program that knows how it ended: std, and tokio (feature `tokio`) | `machine`, `socket` |
//! | [`client`] | the other side: every way to end a connection, as a script | nothing of ours |
//! | `lab` | every ending, played against our server and a bare recv loop, and judged (feature `cli`) | everything above but `simulation` |
//! | `load` | many clients in one loop: how fast, how many, and is every reply right (feature `cli`) | `kernel`, `machine` |
//! | `cli` | text becomes a configuration, endings become lines | everything above but `simulation` |
//!
//! Imports point towards [`machine`] only, which is up in this table. `tests/tidy.rs` keeps that
//! law.
//!
//! # Reading order
//!
//! 1. [`kernel::Kernel`]: one page, everything a server asks of its operating system.
//! 2. [`reactor::Reactor::turn`]: one turn of the loop.
//! 3. [`machine::connection`]: one life, without any I/O.
//! 4. [`machine::wheel`], [`machine::reply`], [`machine::outbox`]: what a turn needs on the way.
//! 5. [`machine::close`]: how it ended; from [`Evidence`] through
//!    [`classify`](fn@machine::close::classify) to [`Kind`].
//! 6. [`server`]: the same on real sockets, for a program of your own.
//! 7. [`client`], then `lab` and `load`: the other side.
//! 8. `simulation`: the world in which the loop is held to its promises.
//!
//! # What is stable
//!
//! For programs of your own: [`server`] with its [`Handle`], [`config`] with
//! [`Framing`], and what comes out of them, which is [`reactor::Turn`],
//! [`reactor::Counters`], [`reactor::Ending`] and in it [`machine::close`] and
//! [`machine::errno`]. The names at the root are these. Names of verdicts and fields of the close
//! log may grow and are never renamed. [`kernel::Kernel`] and the rest of [`machine`] are open so
//! that they can be read, tested and put to other uses; they change with a new minor version until
//! 1.0. The modules of the feature `cli` are the program's own, public for its tests and benches,
//! and no interface.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod client;
pub mod config;
pub mod kernel;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod lab;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod load;
pub mod machine;
pub mod observed;
pub mod reactor;
#[cfg(feature = "serde")]
pub mod record;
pub mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
mod socket;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod wire;

pub use self::config::{Config, ConfigError, Overload};
pub use self::kernel::mio_kernel::Handle;
pub use self::machine::close::{
    Certainty, Conclusion, Ending, Evidence, Initiator, Kind, LocalCause, Observer, Settling,
    UnknownName, Verdict,
};
pub use self::machine::errno::Errno;
pub use self::machine::reply::Framing;
pub use self::observed::Observed;
pub use self::reactor::{Counters, Stage, Turn};
#[cfg(feature = "serde")]
pub use self::record::Record;
pub use self::server::{BindError, CounterWatch, Server};
