//! A library that reports how a TCP connection ended: which side closed it, how, and what became of
//! the last bytes, with the evidence.
//!
//! | to observe | use |
//! |---|---|
//! | a `TcpStream` of your program: std, or tokio with the feature `tokio` | [`Observed`] |
//! | any other socket, in a loop of your own | [`Observer`] |
//! | an echo server that reports the ending of every connection, on one thread with one readiness loop | [`Server`] |
//!
//! The result is an [`Ending`]. Its [`Verdict`] has a [`Kind`], such as `peer_fin.delivered`, and a
//! [`Certainty`]; its [`Evidence`] contains the facts behind them. `docs/CLOSING.md` in the
//! repository explains each verdict, and the README shows the command line.
//!
//! # How did this connection end?
//!
//! A stream of std; with tokio the only difference is that `finish` is `async`:
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
//! For any other socket, report the result of each call to an [`Observer`]. It asks the socket for
//! its evidence through `AsFd` or `AsSocket`:
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
//! seen.read(&socket.read(&mut buffer)); // each read and write is reported
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
//! # Layers
//!
//! `machine/` decides, `reactor/` serves, `kernel/` acts, `cli/` is the command line.
//!
//! | layer | contents | may depend on |
//! |---|---|---|
//! | [`machine`] | pure state machines: time, bytes, one connection's life, how it ended | no other layer, no socket, no clock, no log |
//! | `socket` | what the operating system reports about one socket; all `unsafe` code | plain types of `machine` |
//! | [`kernel`] | one trait with all operations of the operating system, and its implementation on mio | plain types of `machine`, `socket` |
//! | [`config`] | every limit and every duration, with its default | `machine` |
//! | [`reactor`] | one turn of the loop: queues and budgets, the table, the listeners, output memory | `kernel`, `machine`, [`config`] |
//! | `simulation` | the second kernel: a seeded world with a virtual clock, in which the loop is tested (feature `simulation`) | everything above |
//! | [`server`] | the loop on the real kernel, created from a configuration | everything above but `simulation` |
//! | `record` | an ending as a record of the close log (feature `serde`) | `machine` |
//! | `wire` | connections seen from outside: packets, sequence numbers, and a verdict (feature `cli`) | `machine` |
//! | [`observed`] | a wrapper for the TCP streams of your own program: std, and tokio (feature `tokio`) | `machine`, `socket` |
//! | [`client`] | every way in which a client can end a connection, as a script | no other layer |
//! | `lab` | every ending, played against our server and a plain recv loop, and compared with what is expected (feature `cli`) | everything above but `simulation` |
//! | `load` | the load generator: many clients in one loop, every reply compared (feature `cli`) | `kernel`, `machine` |
//! | `cli` | the command line: options become a configuration, endings become log lines | everything above but `simulation` |
//!
//! Imports point towards [`machine`] only, which is upwards in this table. `tests/tidy.rs` checks
//! that.
//!
//! # Reading order
//!
//! 1. [`kernel::Kernel`]: one page, everything that a server asks of its operating system.
//! 2. [`reactor::Reactor::turn`]: one turn of the loop.
//! 3. [`machine::connection`]: the life of one connection, without any I/O.
//! 4. [`machine::wheel`], [`machine::reply`], [`machine::outbox`]: the parts that a turn uses.
//! 5. [`machine::close`]: how it ended; from [`Evidence`] through
//!    [`classify`](fn@machine::close::classify) to [`Kind`].
//! 6. [`server`]: the same on real sockets, for your own program.
//! 7. [`client`], then `lab` and `load`: the clients.
//! 8. `simulation`: the world in which the loop is tested.
//!
//! # Stability
//!
//! For your own programs: [`server`] with its [`Handle`], [`config`] with [`Framing`], and their
//! results, which are [`reactor::Turn`], [`reactor::Counters`] and [`reactor::Ending`] with the
//! types of [`machine::close`] and [`machine::errno`] in it. The names at the root are these.
//! Verdicts and fields of the close log may be added and are never renamed. [`kernel::Kernel`] and
//! the rest of [`machine`] are public so that they can be read, tested and used elsewhere; they
//! change with a new minor version until 1.0. The modules of the feature `cli` belong to the
//! program; they are public for its tests and benches, and are not an interface.

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
