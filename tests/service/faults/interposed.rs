//! A library before libc, by a seed: errors, short reads and writes, batches of events cut and
//! shuffled, all at once and again and again. What it does and may do is in
//! `tests/interpose/faults.c`.
//!
//! The seed decides which calls fail, and how. Which connection a failure meets depends on the
//! kernel: two runs with one seed are similar, not the same.

use std::path::Path;
use std::time::Instant;

use super::crowd::{self, Met};
use crate::interpose::{self, Struck};
use crate::service::{Seeded, Service, Table, say, seed, serve, short_or_long};

/// How one run goes.
#[derive(Clone, Copy, Debug)]
struct Run {
    seed: u64,
    /// One call in this many fails.
    rate: u64,
    /// One in this many ends its connection; 0 is none.
    deadly: u64,
}

/// Without deadlines, so that no alarm finds a connection that the server forgets.
const PATIENT: &[&str] =
    &["--framing", "line", "--read-deadline", "off", "--write-deadline", "off"];

/// Serves two crowds at once, and two clients for which there is no room.
fn run(library: &Path, run: Run) -> (Met, Table, Struck) {
    let mut command = serve(PATIENT);
    let report = interpose::stand_before(&mut command, library, run.seed, run.rate, run.deadly);
    let service = Service::of(command);
    let address = service.address;
    let met = std::thread::scope(|scope| {
        let crowds = [1, 2].map(|number| {
            scope.spawn(move || {
                let mut seeded = Seeded::new(run.seed * 4 + number);
                crowd::come_and_go(address, 30, &mut seeded).and(crowd::takes_its_time(
                    address,
                    200_000,
                    &mut seeded,
                ))
            })
        });
        crowds.map(|crowd| crowd.join().unwrap()).into_iter().fold(Met::default(), Met::and)
    });
    let table = service.stop();
    (met, table, report.struck())
}

/// Runs in the short form, and in the long one.
const RUNS: [u64; 2] = [6, 200];

/// The maximum: a fault that has not struck by then never does. A fault of a rare call may not
/// strike in a few runs, and in which depends on the kernel.
const RUNS_MAX: u64 = 300;

/// Runs one after the other, each with the next number, until each of `faults` has struck.
#[track_caller]
fn until_struck(faults: &[&str], mut run: impl FnMut(u64) -> Struck) -> Struck {
    let mut all = Struck::new();
    let runs = short_or_long(RUNS[0], RUNS[1]);
    for n in 0..RUNS_MAX {
        if n >= runs && faults.iter().all(|name| all[*name] > 0) {
            return all;
        }
        for (name, count) in run(n) {
            *all.entry(name).or_default() += count;
        }
    }
    panic!("one never struck: {all:?}");
}

/// Those faults that end a connection.
const DEADLY: &[&str] = &["recv_dies", "send_dies", "shutdown_fails"];

/// Those of which a run without deadly ones has none: TCP_INFO is asked only about the dead.
const OF_THE_DEADLY: &[&str] = &["recv_dies", "send_dies", "shutdown_fails", "no_facts"];

/// Those that end nothing.
const HARMLESS: &[&str] = &[
    "accept_fails",
    "close_fails",
    "ctl_fails",
    "recv_fails",
    "recv_short",
    "send_blocks",
    "send_fails",
    "send_short",
    "wait_cut",
    "wait_interrupted",
    "wait_shuffled",
    "wait_spurious",
];

#[test]
fn what_may_be_tried_again_costs_no_client_a_byte() {
    let Some(library) = interpose::library() else { return };
    let began = Instant::now();
    let all = until_struck(HARMLESS, |n| {
        let it = Run { seed: seed() + n, rate: [5, 12, 40][(n % 3) as usize], deadly: 0 };
        let (met, table, struck) = run(&library, it);
        assert_eq!(met.trouble, [""; 0], "{it:?} {table:?} {struck:?}");
        let served = (table.get("accepted"), table.all_of("peer_fin."));
        assert_eq!(served, (met.connected, met.connected), "{it:?} {table:?} {struck:?}");
        struck
    });
    say(format!("{all:?} in {:.0} s", began.elapsed().as_secs_f32()));
}

#[test]
fn what_ends_a_connection_ends_no_other() {
    let Some(library) = interpose::library() else { return };
    let all = until_struck(OF_THE_DEADLY, |n| {
        let it = Run { seed: seed() + n, rate: 12, deadly: [30, 100][(n % 2) as usize] };
        let (met, table, struck) = run(&library, it);
        // Each connection of this run dies of one of these at most once.
        let deadly = DEADLY.iter().map(|name| struck[*name]).sum::<u64>();
        let may_suffer = deadly + table.get("local.resource");
        let told = format!("{it:?} {met:?} {table:?} {struck:?}");
        assert!(met.trouble.len() as u64 <= may_suffer, "{told}");
        assert!(table.get("accepted") - table.all_of("peer_fin.") <= may_suffer, "{told}");
        assert_eq!(table.get("accepted"), met.connected, "{told}");
        struck
    });
    say(format!("{all:?}"));
}
