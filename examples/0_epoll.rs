//! Rung 0: rung 3 without mio, the same loop on Linux's own system calls.
//!
//! New: nothing is hidden. `mio::Poll` is `epoll_create`, `register` is `epoll_ctl`, `poll` is
//! `epoll_wait`. An event is two numbers: what is ready, and the number given at registration.
//! `diff examples/0_epoll.rs examples/3_readiness.rs` shows what mio does. Read it after rung 2.
//!
//! Fixes: an idle server sleeps, as on rung 3.
//!
//! Still wrong: level-triggered epoll reports a socket for as long as it is ready. When the process
//! has no descriptor left for a waiting client, `accept` fails, the listener stays ready, and the
//! loop burns a core. mio registers edge-triggered, so rung 3 sleeps there. Both lose what a full
//! socket does not take.
//!
//! Run it on Linux: `cargo run --example 0_epoll [ADDRESS]`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program and its output

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("0_epoll needs Linux; 3_readiness is the same loop on mio");
    std::process::ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::{env, mem::MaybeUninit};

    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use slab::Slab;

    const PREFIX: &[u8] = b"from server back[rust]:";

    /// Clients have the slab's keys: 0, 1, 2 and so on.
    const LISTENER: u64 = u64::MAX;

    struct Client {
        socket: TcpStream,
        peer: SocketAddr,
    }

    pub(super) fn main() -> io::Result<()> {
        let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?; // a client may be gone between its event and `accept`
        println!("listening on {}", listener.local_addr()?);

        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let mut events = [MaybeUninit::uninit(); 1024]; // the kernel fills as many as it has
        let mut clients = Slab::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let (events, _) = match epoll::wait(&epoll, &mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            };
            for event in events {
                if event.data.u64() == LISTENER {
                    accept(&listener, &epoll, &mut clients);
                    continue;
                }
                let key = event.data.u64() as usize;
                // One wait reports a socket at most once, and a client is removed only in its own
                // event, so the key is valid.
                if !serves_once(&mut clients[key], &mut buffer) {
                    clients.remove(key); // its descriptor is closed, and epoll forgets it
                }
            }
        }
    }

    /// Accepts one connection. If more wait, the next `epoll_wait` reports the listener again.
    fn accept(listener: &TcpListener, epoll: &OwnedFd, clients: &mut Slab<Client>) {
        // Out of descriptors this fails, and the next `epoll_wait` returns at once.
        let Ok((socket, peer)) = listener.accept() else { return };
        let entry = clients.vacant_entry();
        let data = EventData::new_u64(entry.key() as u64);
        // Edge-triggered would be `IN | ET`, which mio asks for: each arrival is reported once, and
        // `accept` and `serves_once` must loop until EAGAIN. Rung 3 does.
        if socket.set_nonblocking(true).is_ok()
            && epoll::add(epoll, &socket, data, EventFlags::IN).is_ok()
        {
            entry.insert(Client { socket, peer });
        }
    }

    /// Reads once from a ready client. Returns whether it stays connected.
    fn serves_once(Client { socket, peer }: &mut Client, buffer: &mut [u8]) -> bool {
        match socket.read(buffer) {
            Ok(0) => println!("{peer}: recv = 0"),
            Ok(bytes) => {
                let reply = [PREFIX, &buffer[..bytes]].concat();
                let _ = socket.write(&reply); // what the socket does not take is lost
                return true; // if more is queued, the next `epoll_wait` reports it again
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(error) => println!("{peer}: recv = -1, {error}"),
        }
        false
    }
}
