//! Promise: the simulated kernel does what Linux does. What the loop is proven to do in the
//! simulated world, it does in the real one.
//!
//! Seeded scripts are played step by step on both: on the simulated kernel and, over loopback, on
//! the machine's own. After each step the results of calls, SIOCOUTQ, SIOCINQ, TCP_INFO, the events
//! and what the peer sees are the same. Only the number of bytes in a full buffer is not compared.
//!
//! * `CLOSECALL_SEEDS=n` raises the number of scripts.
//! * `CLOSECALL_SEED=n cargo test --test simulation differential::replay -- --nocapture` tells one
//!   of them.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr)] // a replay is there to be read

mod host;
mod script;
mod side;

use std::env;
use std::time::{Duration, Instant};

use closecall::kernel::Io;
use closecall::simulation::Act;

use host::{Answer, Heard, Host};
use script::Step::*;
use script::{Book, Line, Step, script};
use side::{Real, Side, Simulated, buffers_are_large_enough};

/// Scripts, unless CLOSECALL_SEEDS asks for more.
const SEEDS: u64 = 1_500;

/// How long the real kernel may take to arrive where the simulated one is. Nothing waits for it
/// but a difference.
const PATIENCE: Duration = Duration::from_secs(1);

/// A difference is one if it shows this many times in a row: another program may keep this one from
/// the processor longer than its patience lasts.
const TIMES: usize = 3;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Asks until `matches` or out of patience; returns the last answer.
fn patiently<T>(mut ask: impl FnMut() -> T, matches: impl Fn(&T) -> bool) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if matches(&answer) || Instant::now() >= until {
            return answer;
        }
    }
}

/// Both worlds under one script.
struct Pair {
    simulated: Host<Simulated>,
    real: Host<Real>,
    book: Book,
    tells: bool,
}

impl Pair {
    fn new(seed: u64, tells: bool) -> Pair {
        let real = Real::new(128).expect("a listener on loopback");
        let (simulated, real) = (Host::new(Simulated::new(seed)), Host::new(real));
        Pair { simulated, real, book: Book::default(), tells }
    }

    /// Takes one step in both and compares.
    fn step(&mut self, line: Line) -> Result<(), String> {
        if let (Step::Peer(_) | Step::Flood, about) = line
            && !self.book.pages.is_empty()
            && !self.simulated.side.is_there(about % self.book.pages.len())
            && !matches!(line.0, Step::Peer(Act::Read(_)))
        {
            return Ok(()); // what a program gets for writing to a dead socket is not the server's
        }
        let Some((step, about)) = self.book.admit(line) else { return Ok(()) };
        let expected = self.simulated.play((step, about));
        let mut found = self.real.play((step, about));
        if found == Answer::Bytes(Io::WouldBlock) && found != expected {
            let real = &mut self.real;
            found = patiently(|| real.play((step, about)), |found| *found == expected);
        }
        if self.tells {
            eprintln!("{step:?} [{about}]: {expected:?}, {found:?}");
        }
        if expected != found {
            return Err(format!("{step:?} [{about}]: simulated {expected:?}, Linux {found:?}"));
        }
        if step == Step::PeerReadsAll {
            self.simulated.peer_reads_all(about);
        }
        self.look(step, about)?;
        if step == Step::Wait { self.hear() } else { Ok(()) }
    }

    /// Compares what can be seen of all connections.
    fn look(&mut self, step: Step, about: usize) -> Result<(), String> {
        for (index, page) in self.book.pages.iter().enumerate() {
            self.simulated.side.settle();
            let expected = self.simulated.look(index, page);
            let ask = || {
                if step == Step::PeerReadsAll {
                    self.real.peer_reads_all(about);
                }
                self.real.side.settle();
                self.real.look(index, page)
            };
            let found = patiently(ask, |found| *found == expected);
            if self.tells {
                eprintln!("    [{index}] {found:?}");
            }
            if expected != found {
                return Err(format!(
                    "after {step:?} [{about}], [{index}]\n  simulated {expected:?}\n  Linux     \
                     {found:?}"
                ));
            }
        }
        Ok(())
    }

    /// Compares the events of one wait: what Linux gives in two, the simulated kernel may give in
    /// one.
    fn hear(&mut self) -> Result<(), String> {
        let (mut expected, mut found) = (Heard::new(), Heard::new());
        self.simulated.hear(&mut expected);
        let mut vary = Vec::new();
        for (key, page) in (0..).zip(&mut self.book.pages) {
            if std::mem::replace(&mut page.events_vary, page.flooded) {
                vary.push(Some(key));
            }
        }
        expected.retain(|key, _| !vary.contains(key));
        let real = &mut self.real;
        let ask = || {
            real.hear(&mut found);
            found.retain(|key, _| !vary.contains(key));
            found.clone()
        };
        let found = patiently(ask, |found| *found == expected);
        if self.tells {
            eprintln!("    {found:?}");
        }
        match expected == found {
            true => Ok(()),
            false => Err(format!("events\n  simulated {expected:?}\n  Linux     {found:?}")),
        }
    }
}

/// The first difference of a script.
fn differs(lines: &[Line], seed: u64) -> Option<String> {
    let mut pair = Pair::new(seed, false);
    lines.iter().find_map(|&line| pair.step(line).err())
}

/// The first difference of a script, if it shows every time.
fn differs_surely(lines: &[Line], seed: u64) -> Option<String> {
    (0..TIMES).try_fold(String::new(), |_, _| differs(lines, seed))
}

/// The script without the steps that make no difference.
fn shrunk(lines: &[Line], seed: u64) -> Vec<Line> {
    let mut lines = lines.to_vec();
    let mut length = lines.len().next_power_of_two() / 2;
    while length > 0 {
        let mut start = 0;
        while start < lines.len() {
            let mut fewer = lines.clone();
            fewer.drain(start..(start + length).min(lines.len()));
            match differs_surely(&fewer, seed) {
                Some(_) => lines = fewer,
                None => start += length,
            }
        }
        length /= 2;
    }
    lines
}

#[test]
fn the_simulated_kernel_does_what_linux_does() {
    if !buffers_are_large_enough() {
        return;
    }
    for seed in 0..number("CLOSECALL_SEEDS").unwrap_or(SEEDS) {
        let lines = script(seed);
        if differs_surely(&lines, seed).is_some() {
            let lines = shrunk(&lines, seed);
            let what = differs(&lines, seed).unwrap_or_default();
            panic!(
                "\n{lines:?}\n{what}\nseed {seed}; replay with: CLOSECALL_SEED={seed} cargo test \
                 --test simulation differential::replay -- --nocapture\n"
            );
        }
    }
}

/// What the two once did differently, and what needs more luck than a thousand seeds have.
const KNOWN: &[(&str, &[Step])] = &[
    (
        "a shutdown is an event where the peer's FIN has come",
        &[Connect, Accept, Peer(Act::HalfClose), Wait, Shutdown, Wait],
    ),
    (
        "a shutdown is an event even if it fails",
        &[Connect, Accept, Peer(Act::Reset), Wait, Shutdown, Wait],
    ),
    (
        "a FIN that waits behind a full window is one byte more",
        &[Connect, Accept, Fill, Shutdown, Wait, Shutdown, PeerReadsAll, Wait],
    ),
    (
        "a send that finds no room is followed by an event when there is some",
        &[Connect, Accept, SendMost, RegisterWritable, Wait, PeerReadsAll, Wait],
    ),
    (
        "input that lies there is an event when the socket is registered for more, room or not",
        &[Connect, Accept, Peer(Act::Send(9)), Wait, SendMuch, RegisterWritable, Wait],
    ),
    (
        "a send that took a part only brings an event when there is room again",
        &[Connect, Accept, RegisterWritable, Wait, SendMuch, Wait, PeerReadsAll, Wait],
    ),
    (
        "room is no event for a socket that is not watched for it, whatever else there is",
        &[Connect, Accept, Peer(Act::Send(9)), Fill, Wait, PeerReadsAll, Wait],
    ),
    (
        "bytes that come after shutdown(Both) are answered with a reset",
        &[Connect, Accept, Peer(Act::ShutBoth), Wait, Send(9), Wait, Recv(9), TakeError],
    ),
];

#[test]
fn known_differences_are_none_any_more() {
    if !buffers_are_large_enough() {
        return;
    }
    for (what, steps) in KNOWN {
        let lines: Vec<Line> = steps.iter().map(|&step| (step, 0)).collect();
        if let Some(difference) = differs_surely(&lines, 0) {
            panic!("\n{what}\n{steps:?}\n{difference}\n");
        }
    }
}

/// A backlog of n holds n + 1 (sk_acceptq_is_full).
#[test]
fn the_backlog_holds_one_more_than_its_number() {
    let mut real = Host::new(Real::new(1).expect("a listener on loopback"));
    let mut simulated = Host::new(Simulated::with_backlog(1));
    for _ in 0..2 {
        real.play((Step::Connect, 0));
        simulated.play((Step::Connect, 0));
    }
    simulated.play((Step::Connect, 0)); // Linux would try this one again, a second later
    let accept = (Step::Accept, 0);
    for index in 0..2 {
        let found = patiently(|| real.play(accept), |found| *found == Answer::Bytes(Io::Done(1)));
        assert_eq!((found, simulated.play(accept)), (found, Answer::Bytes(Io::Done(1))), "{index}");
        assert_ne!(found, Answer::Bytes(Io::WouldBlock), "Linux, {index}");
    }
    assert_eq!(simulated.play(accept), Answer::Bytes(Io::WouldBlock));
}

/// With CLOSECALL_SEED: tells that script, and fails if it does.
#[test]
fn replay_one_script() {
    let Some(seed) = number("CLOSECALL_SEED") else {
        eprintln!("CLOSECALL_SEED is not set: there is nothing to replay");
        return;
    };
    let mut pair = Pair::new(seed, false);
    for line in script(seed) {
        if let Err(what) = pair.step(line) {
            panic!("\n{what}\n");
        }
    }
}
