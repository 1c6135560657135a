//! Floods: of bytes beside polite clients, of connections that are reset at once.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::LINE;
use crate::service::{
    Service, at, connect, exchange, parts, reset, say, serve_everywhere, short_or_long,
};

/// Sends as much as it can and takes all that comes back, until it is told to stop.
fn floods(address: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let client = connect(address);
    let (mut reader, mut writer) = (client.try_clone().unwrap(), client);
    thread::scope(|scope| {
        let reads = scope.spawn(move || {
            let mut space = vec![0; 1 << 18];
            let mut heard = 0;
            while let Ok(count @ 1..) = reader.read(&mut space) {
                heard += count as u64;
            }
            heard
        });
        let bytes = vec![b'x'; 1 << 16];
        let mut said = 0;
        while !stop.load(Ordering::Relaxed) {
            writer.write_all(&bytes).unwrap();
            said += bytes.len() as u64;
        }
        writer.shutdown(Shutdown::Write).unwrap();
        (said, reads.join().unwrap())
    })
}

/// Ends the floods, also when a test fails beside them.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// So many exchanges, one after the other, each with the next client; how long each took, sorted.
fn exchanges(polite: &mut [TcpStream], rounds: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..rounds {
        for client in &mut *polite {
            let began = Instant::now();
            exchange(client, LINE).unwrap();
            took.push(began.elapsed());
        }
    }
    took.sort_unstable();
    took
}

fn tells(name: &str, took: &[Duration]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let [median, p99, longest] = [at(0.5), at(0.99), at(1.0)];
    say(format!("{name}: median {median:?}, p99 {p99:?}, longest {longest:?} of {}", took.len()));
}

#[test]
fn polite_clients_are_served_beside_a_flood() {
    const FLOODERS: usize = 4;
    let rounds = short_or_long(5, 20);
    // Each is silent while the others have their turn, however long that takes.
    let patient = ["--framing", "line", "--read-deadline", "off", "--write-deadline", "off"];
    let service = Service::start(&patient);
    let address = service.address;
    let mut polite: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    tells("200 polite clients alone", &exchanges(&mut polite, rounds));
    let stop = AtomicBool::new(false);
    let flooded = thread::scope(|scope| {
        let flooders = [(); FLOODERS].map(|()| scope.spawn(|| floods(address, &stop)));
        let stops = Stops(&stop);
        tells("beside a flood", &exchanges(&mut polite, rounds));
        drop(stops);
        flooders.map(|flooder| flooder.join().unwrap())
    });
    // A prefix for the one line that each flood is, and then each byte of it.
    let prefix = crate::service::PREFIX.len() as u64;
    let is_whole = |(said, heard): &(u64, u64)| *heard == said + if *said > 0 { prefix } else { 0 };
    assert!(flooded.iter().all(is_whole), "{flooded:?}");
    say(format!("the flood: {} MB", flooded.iter().map(|it| it.0).sum::<u64>() >> 20));
    polite.iter_mut().for_each(|client| parts(client).unwrap());
    let table = service.stop();
    assert_eq!(table.all_of("peer_fin."), (200 + FLOODERS) as u64, "{table:?}");
}

#[test]
fn a_storm_of_resets_leaves_nothing_behind() {
    let count = short_or_long(2_000, 20_000);
    let service = Service::of(serve_everywhere(&["--framing", "line"]));
    let mut polite = connect(service.address);
    exchange(&mut polite, LINE).unwrap();
    let files = service.files();
    for number in 0..count {
        let host = 1 + (number % 4) as u8;
        let mut client = connect(at(host, service.address));
        if number % 2 == 0 {
            client.write_all(LINE).unwrap(); // its reply meets the reset, or comes before it
        }
        reset(client);
        if number % 50 == 0 {
            exchange(&mut polite, LINE).unwrap();
        }
    }
    service.waits_for_files(files);
    parts(&mut polite).unwrap();
    let table = service.stop();
    assert_eq!(table.get("accepted"), count as u64 + 1, "{table:?}");
    assert_eq!(table.all_of("peer_reset."), count as u64, "{table:?}");
}
