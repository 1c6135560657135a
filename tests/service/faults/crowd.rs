//! The clients of a server with faults: polite ones, some of which send more than there is room
//! for. Everything that each sends and receives is known byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use crate::process::PATIENCE;
use crate::service::{Seeded, connect_narrow, exchange, parts, reply_to};

/// Lines that one client says, one after the other.
const LINES: usize = 2;

/// What the clients of one run met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// Those whose handshake was completed.
    pub(crate) connected: u64,
    /// What went wrong, and with which client.
    pub(crate) trouble: Vec<String>,
}

impl Met {
    pub(crate) fn and(mut self, other: Met) -> Met {
        self.connected += other.connected;
        self.trouble.extend(other.trouble);
        self
    }
}

/// When so many have met trouble, the rest need not wait for theirs.
const TROUBLE_MAX: usize = 3;

/// `count` clients, ten at a time, so that new connections arrive beside active ones.
pub(crate) fn come_and_go(address: SocketAddr, count: usize, seeded: &mut Seeded) -> Met {
    let mut met = Met::default();
    for batch in 0..count.div_ceil(10) {
        let mut clients: Vec<(usize, TcpStream)> = Vec::new();
        for number in batch * 10..count.min((batch + 1) * 10) {
            match connect(address) {
                Ok(client) => clients.push((number, client)),
                Err(error) => met.trouble.push(format!("client {number}: connect: {error}")),
            }
        }
        met.connected += clients.len() as u64;
        let lines: Vec<Vec<u8>> = (0..LINES).map(|_| line(seeded)).collect();
        for (number, client) in &mut clients {
            if met.trouble.len() > TROUBLE_MAX {
                return met;
            }
            let talk = lines.iter().try_for_each(|line| exchange(client, line));
            if let Err(trouble) = talk.and_then(|()| parts(client)) {
                met.trouble.push(format!("client {number}: {trouble}"));
            }
        }
    }
    met
}

/// Most lines are short, some are longer than a read.
fn line(seeded: &mut Seeded) -> Vec<u8> {
    let bytes = match seeded.below(8) {
        0 => 1 + seeded.below(60_000),
        _ => seeded.below(200),
    };
    seeded.line(bytes as usize)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// A client that has no room: the server's socket is full again and again, and it has to wait for
/// room to send.
pub(crate) fn takes_its_time(address: SocketAddr, bytes: usize, seeded: &mut Seeded) -> Met {
    reads_after(address, bytes, seeded, || ())
}

/// The same, and it reads nothing before `waits` returns.
pub(crate) fn reads_after(
    address: SocketAddr,
    bytes: usize,
    seeded: &mut Seeded,
    waits: impl FnOnce(),
) -> Met {
    let mut client = match connect_narrow(address) {
        Ok(client) => client,
        Err(error) => return Met { connected: 0, trouble: vec![format!("narrow: {error}")] },
    };
    let line = seeded.line(bytes);
    let mut writer = client.try_clone().unwrap();
    let expected = reply_to(&line);
    let mut heard = Vec::new();
    let result = thread::scope(|scope| {
        let written = scope
            .spawn(move || writer.write_all(&line).and_then(|()| writer.shutdown(Shutdown::Write)));
        waits();
        let read = client.read_to_end(&mut heard);
        written.join().unwrap().and(read)
    });
    let trouble = match result {
        Ok(_) if heard == expected => Vec::new(),
        Ok(_) => vec![format!("narrow: {} bytes of {}", heard.len(), expected.len())],
        Err(error) => vec![format!("narrow: {error} after {} bytes", heard.len())],
    };
    Met { connected: 1, trouble }
}
