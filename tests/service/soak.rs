//! Promise: during a long run memory and files do not grow, and every connection is counted once.
//!
//! The real program under a mixed load of clients that send, close, reset, fall silent, flood and
//! never read, while every hundredth call fails (where there is a cc). `make soak` is
//! CLOSECALL_LONG=1: 10,000 connections for SOAK_SECONDS, 600 without it; the short form has 200
//! and 5.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::interpose;
use crate::process::Process;
use crate::service::{
    PREFIX, Seeded, Service, at, connect, connect_narrow, exchange, hears, hears_its_end, parts,
    pushes, reset, say, seed, serve_everywhere, short_or_long,
};

/// One call in this many fails.
const RATE: u64 = 100;

/// A client that has sent nothing for so long is near its read deadline.
fn silent() -> Duration {
    Duration::from_secs(short_or_long(2, 50))
}

/// How the load is spread.
const WORKERS: u64 = 4;

/// A slot of one worker.
enum Slot {
    Empty,
    /// Every exchange with it has to succeed. It spoke last at that moment.
    Talks(TcpStream, Instant),
    /// It says nothing until the read deadline.
    Silent(TcpStream),
    /// It reads nothing until the write deadline.
    Stuck(TcpStream),
}

/// A client of the load.
struct Worker {
    address: SocketAddr,
    seeded: Seeded,
    slots: Vec<Slot>,
    connected: u64,
    exchanges: u64,
}

impl Worker {
    fn new(number: u64, address: SocketAddr, slots: usize) -> Worker {
        // An address of its own for each, so that the ports of one are not the limit.
        let address = at(1 + number as u8, address);
        let slots = (0..slots).map(|_| Slot::Empty).collect();
        let seeded = Seeded::new(seed() + number);
        Worker { address, seeded, slots, connected: 0, exchanges: 0 }
    }

    fn works_until(mut self, end: Instant) -> Worker {
        while Instant::now() < end {
            let index = self.seeded.below(self.slots.len() as u64) as usize;
            let slot = std::mem::replace(&mut self.slots[index], Slot::Empty);
            self.slots[index] = match slot {
                Slot::Empty => self.comes(),
                // The machine kept it from speaking for so long: its end may have come already.
                Slot::Talks(client, spoke) if spoke.elapsed() > silent() => Slot::Silent(client),
                Slot::Talks(client, _) => self.goes_on(client),
                Slot::Silent(client) if hears_its_end(&client) => Slot::Empty,
                Slot::Stuck(client) if pushes(&client).is_some() => Slot::Empty,
                left => left,
            };
        }
        self
    }

    fn comes(&mut self) -> Slot {
        self.connected += 1;
        match self.seeded.below(100) {
            0..2 => Slot::Stuck(connect_narrow(self.address).unwrap()),
            2..4 => Slot::Silent(connect(self.address)),
            _ => Slot::Talks(connect(self.address), Instant::now()),
        }
    }

    fn goes_on(&mut self, mut client: TcpStream) -> Slot {
        match self.seeded.below(100) {
            0..6 => parts(&mut client).unwrap(),
            6..9 => reset(client),
            9..11 => client.write_all(b"and never hears the answer\n").unwrap(),
            11..13 => {
                let garbage = self.seeded.line(5_000);
                client.write_all(&garbage[..5_000]).unwrap();
                hears(&mut client, &[PREFIX, &garbage[..5_000]].concat()).unwrap();
                parts(&mut client).unwrap();
            }
            choice => {
                let bytes = if choice < 15 { 40_000 } else { self.seeded.below(200) };
                let line = self.seeded.line(bytes as usize);
                exchange(&mut client, &line).unwrap();
                self.exchanges += 1;
                return Slot::Talks(client, Instant::now());
            }
        }
        Slot::Empty
    }
}

/// Records of the close log, by verdict.
type Records = BTreeMap<String, u64>;

/// Starts it with a close log on stdout, which is counted and not kept.
fn start(mut command: Command) -> (Service, JoinHandle<Records>) {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().expect("it serves").unwrap();
    let address: SocketAddr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    let records = thread::spawn(move || {
        let mut records = Records::new();
        for line in lines.map(Result::unwrap) {
            let (_, rest) = line.split_once("\"verdict\":\"").expect("a record");
            let (verdict, _) = rest.split_once('"').unwrap();
            *records.entry(verdict.to_owned()).or_default() += 1;
        }
        records
    });
    (Service { process: Process::of(child), address: at(1, address) }, records)
}

/// Looks at the server each second until all workers are done; returns its memory at each look, in
/// kilobytes, and the workers.
fn watch(service: &Service, works: Vec<JoinHandle<Worker>>) -> (Vec<u64>, Vec<Worker>) {
    let (done, is_done) = mpsc::channel::<()>();
    let waits = thread::spawn(move || {
        let workers: Vec<_> = works.into_iter().map(|work| work.join().unwrap()).collect();
        drop(done);
        workers
    });
    let mut memory = vec![service.kilobytes("VmRSS")];
    while is_done.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
        memory.push(service.kilobytes("VmRSS"));
    }
    (memory, waits.join().unwrap())
}

#[test]
fn it_stays_as_it_is() {
    let connections = short_or_long(200, 10_000);
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|it| it.parse().ok());
    let seconds = seconds.unwrap_or(short_or_long(5, 600));
    let deadlines = ["--read-deadline", short_or_long("4s", "60s"), "--write-deadline", "2s"];
    let options = [&["--framing", "line", "--close-log", "-"], &deadlines[..]].concat();
    let mut command = serve_everywhere(&options);
    command.env("RUST_LOG", "warn");
    let report = interpose::library()
        .map(|library| interpose::stand_before(&mut command, &library, seed(), RATE, 0));
    let (mut service, records) = start(command);
    let files = service.files();

    let end = Instant::now() + Duration::from_secs(seconds);
    let works = (0..WORKERS).map(|number| {
        let worker = Worker::new(number, service.address, connections / WORKERS as usize);
        thread::spawn(move || worker.works_until(end))
    });
    let (memory, workers) = watch(&service, works.collect());
    let connected = workers.iter().map(|worker| worker.connected).sum::<u64>();
    let exchanges = workers.iter().map(|worker| worker.exchanges).sum::<u64>();
    drop(workers);
    service.waits_for_files(files);
    service.process.signal("TERM");
    let table = service.ended();
    let records = records.join().unwrap();

    say(format!(
        "{seconds} s, {connections} slots: {connected} connections, {exchanges} exchanges"
    ));
    let struck = report.map(|report| report.struck().values().sum::<u64>());
    say(format!("{} faults; {records:?}", struck.map_or("no".to_owned(), |it| it.to_string())));
    assert_eq!(table.get("accepted"), connected, "{table:?}");
    assert_eq!(table.get("close log: records lost"), 0);
    let counted: Records = table.verdicts().map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(records, counted, "the close log and the table");
    // Of 200 slots that are filled over and over, dozens are ended in each of these ways within
    // 5 seconds; the last takes 2 seconds, so SOAK_SECONDS=1 has none.
    let kinds = ["peer_fin.", "peer_reset.", "timeout.write_stall"];
    for kind in &kinds[..if seconds < 5 { 2 } else { 3 }] {
        assert!(table.all_of(kind) > 0, "no {kind} in {table:?}");
    }
    is_flat(&memory);
}

/// The second half of a run takes no more memory than the first, but for what an allocator does.
#[track_caller]
fn is_flat(memory: &[u64]) {
    let (first, second) = memory.split_at(memory.len().div_ceil(2));
    let most = |half: &[u64]| half.iter().copied().max().unwrap_or(0);
    let (first, second) = (most(first), most(second));
    say(format!("memory: {first} KB at most in the first half, {second} KB in the second"));
    assert!(second <= first + first / 10 + 2048, "it grows, in KB each second: {memory:?}");
}
