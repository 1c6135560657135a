//! Rung 6: the server prints how each connection ended.
//!
//! New: the library's [`Connection`] decides what to do, and its [`Kernel`] does it. After a FIN
//! the socket stays open until the kernel has reported what became of the reply; then [`classify`]
//! has the evidence that it needs. The `match` in `visit` is all of it: it asks for a step, does
//! it, and reports the result.
//!
//! Fixes: `recv = 0` becomes `peer_fin.delivered` or `peer_fin.reply_refused`, whichever is true.
//!
//! Still wrong: it has no limits. Out of files it stops accepting, and does not start again when
//! there are files; a client that keeps sending occupies the loop; there is no orderly stop.
//!
//! Run it: `cargo run --example 6_verdicts [ADDRESS [DEADLINE_MS]]`.

#![allow(clippy::print_stdout)] // it is a program, and this is what it says

use std::env;
use std::error::Error;
use std::net::TcpListener;

use closecall::kernel::mio_kernel::MioKernel;
use closecall::kernel::{Event, Io, Kernel};
use closecall::machine::close::{Conclusion, Via};
use closecall::machine::connection::{Connection, Context, Rules, Step};
use closecall::machine::errno::System;
use closecall::machine::reply::{Framing, Replier};
use closecall::machine::wheel::TimerWheel;
use mio::net::TcpStream;
use slab::Slab;

struct Server {
    kernel: MioKernel,
    context: Context,
    wheel: TimerWheel,
    replier: Replier,
    entries: Slab<(TcpStream, Connection)>,
    accepted: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let deadline_ms = env::args().nth(2).map_or(Ok(10_000), |ms| ms.parse())?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let mut kernel = MioKernel::new(vec![listener])?;
    let rules = Rules {
        read_deadline_ms: Some(deadline_ms),
        write_deadline_ms: Some(deadline_ms),
        verdict_wait_ms: 2_000,
        retry_ms: 20,
        short_read_drains: MioKernel::SHORT_READ_DRAINS,
        max_age_ms: None,
    };
    let mut server = Server {
        context: Context::new(rules, kernel.now()),
        wheel: TimerWheel::new(8, 0, kernel.now()),
        replier: Replier::new(Framing::Chunk, b"from server back[rust]:", 65_536),
        entries: Slab::new(),
        accepted: 0,
        kernel,
    };
    let mut events = Vec::new();
    loop {
        let now = server.kernel.now();
        let sleep_ms = server.wheel.next_due().map(|due| due.since(now));
        server.kernel.wait(sleep_ms, &mut events)?;
        server.turn(&mut events);
    }
}

impl Server {
    fn turn(&mut self, events: &mut Vec<Event>) {
        self.context.now = self.kernel.now();
        let mut newcomers = false;
        for event in events.drain(..) {
            match event {
                Event::Socket(key, hints) => {
                    if let Some((_, connection)) = self.entries.get_mut(key as usize) {
                        connection.ready(hints);
                        self.visit(key);
                    }
                }
                Event::Listener(_) => newcomers = true,
                Event::Stop(_) => {} // nothing here has the handle
            }
        }
        if newcomers {
            self.accept_all(); // last: no event of this turn is meant for a new connection
        }
        self.expire();
    }

    fn accept_all(&mut self) {
        while let Io::Done((mut socket, peer)) = self.kernel.accept(0) {
            self.accepted += 1;
            let connection = Connection::new(self.accepted, peer.into(), &self.context);
            let alarm = connection.alarm(&self.context);
            let entry = self.entries.vacant_entry();
            let key = entry.key() as u32;
            if self.kernel.register(&mut socket, key).is_ok() {
                entry.insert((socket, connection));
                self.wheel.arm(key, alarm);
            }
        }
    }

    /// Does the steps of a connection until there is none or it has ended.
    fn visit(&mut self, key: u32) {
        let (kernel, context) = (&mut self.kernel, &self.context);
        let (socket, connection) = &mut self.entries[key as usize];
        loop {
            match connection.step() {
                Step::Wait => break,
                Step::End => return self.conclude(key),
                step @ (Step::Receive | Step::Discard) => {
                    let bytes_max = match step {
                        Step::Receive => connection.receive_bytes_max(),
                        _ => u64::MAX,
                    };
                    let space = self.replier.space_within(bytes_max, usize::MAX);
                    let space_bytes = space.len();
                    match kernel.recv(socket, space) {
                        Io::Done(0) => connection.received_fin(),
                        Io::Done(bytes) => {
                            connection.received(bytes, space_bytes, context);
                            if step == Step::Receive {
                                // None of it is sent yet: the next step does.
                                let reply = self.replier.reply(bytes, &mut false);
                                connection.answered(reply, 0, context);
                            }
                        }
                        Io::WouldBlock => connection.blocked(Via::Recv),
                        Io::Failed(errno) => {
                            connection.failed(errno, Via::Recv, System::HERE, context);
                        }
                    }
                }
                Step::Send => match kernel.send(socket, connection.pending()) {
                    Io::Done(bytes) => connection.flushed(bytes, context),
                    Io::WouldBlock => connection.blocked(Via::Send),
                    Io::Failed(errno) => connection.failed(errno, Via::Send, System::HERE, context),
                },
                Step::ShutDown => {
                    connection.shut_down(kernel.shutdown_write(socket).is_ok(), context);
                }
                Step::RegisterWritable => {
                    let took = kernel.register_writable(socket, key).is_ok();
                    connection.registered_writable(took, context);
                }
                Step::TakeError => connection.error_taken(kernel.take_error(socket)),
                Step::AskUnread => connection.unread(kernel.unread(socket)),
                Step::AskUnacked => connection.unacked(kernel.unacked(socket), context),
            }
        }
        if connection.take_alarm_moved() {
            self.wheel.arm(key, connection.alarm(context));
        }
    }

    fn expire(&mut self) {
        let mut budget = u32::MAX; // as many as are due
        while let Some(key) = self.wheel.pop_due(self.context.now, &mut budget) {
            let (_, connection) = &mut self.entries[key as usize];
            if connection.alarm_rang(&self.context) {
                self.visit(key); // one more try: what came in time counts
            }
            if let Some((_, connection)) = self.entries.get_mut(key as usize)
                && connection.is_due(&self.context)
            {
                connection.expire(&self.context);
                self.visit(key);
            }
            if let Some((_, connection)) = self.entries.get_mut(key as usize) {
                self.wheel.arm(key, connection.alarm(&self.context));
            }
        }
    }

    /// Reads the evidence, prints how the connection ended, and closes the socket.
    fn conclude(&mut self, key: u32) {
        self.wheel.disarm(key);
        let (socket, mut connection) = self.entries.remove(key as usize);
        // In the order in which evidence is not lost: an error is reported once.
        let Conclusion { verdict, .. } = connection.conclude(&socket);
        println!("{}: {}", connection.peer(), verdict.kind.name());
        self.kernel.close(socket, connection.goodbye());
    }
}
