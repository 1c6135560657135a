//! A library before libc, by a seed: errors, short reads and writes, batches of events cut and
//! shuffled, all at once and again and again. What it does and may do is in
//! `tests/interpose/faults.c`.
//!
//! The seed decides which calls fail, and how. Whom that meets is up to the kernel: a run is like
//! another with its seed, and not the same.

use std::path::Path;
use std::time::Instant;

use crate::crowd::{self, Met};
use crate::interpose::{self, Struck};
use crate::service::{Seeded, Service, Table, say, seed, serve, short_or_long};

/// How one run goes.
#[derive(Clone, Copy, Debug)]
struct Run {
    seed: u64,
    /// One call in so many fails.
    rate: u64,
    /// One in so many ends its connection; 0 is none.
    deadly: u64,
}

/// Without deadlines: whoever is forgotten by the server is not found again by an alarm.
const PATIENT: &[&str] =
    &["--framing", "line", "--read-deadline", "off", "--write-deadline", "off"];

/// Serves two crowds at once, and two who have no room.
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

fn sum_up(all: &mut Struck, one: &Struck) {
    one.iter().for_each(|(name, count)| *all.entry(name.clone()).or_default() += count);
}

/// Those faults that end a connection.
const DEADLY: &[&str] = &["recv_dies", "send_dies", "shutdown_fails"];

/// Those of which a run without deadly ones has none: TCP_INFO is asked only about the dead.
const OF_THE_DEADLY: &[&str] = &["recv_dies", "send_dies", "shutdown_fails", "no_facts"];

#[test]
fn what_may_be_tried_again_costs_nobody_a_byte() {
    let Some(library) = interpose::library() else { return };
    let began = Instant::now();
    let mut all = Struck::new();
    for n in 0..short_or_long(6, 200) {
        let it = Run { seed: seed() + n, rate: [5, 12, 40][(n % 3) as usize], deadly: 0 };
        let (met, table, struck) = run(library, it);
        assert_eq!(met.trouble, [""; 0], "{it:?} {table:?} {struck:?}");
        let served = (table.get("accepted"), table.all_of("peer_fin."));
        assert_eq!(served, (met.connected, met.connected), "{it:?} {table:?} {struck:?}");
        sum_up(&mut all, &struck);
    }
    let silent = |name: &&String| all[*name] == 0 && !OF_THE_DEADLY.contains(&name.as_str());
    assert_eq!(all.keys().find(silent), None, "it never struck: {all:?}");
    say(format!("{all:?} in {:.0} s", began.elapsed().as_secs_f32()));
}

#[test]
fn what_ends_a_connection_ends_no_other() {
    let Some(library) = interpose::library() else { return };
    let mut all = Struck::new();
    for n in 0..short_or_long(6, 200) {
        let it = Run { seed: seed() + n, rate: 12, deadly: [30, 100][(n % 2) as usize] };
        let (met, table, struck) = run(library, it);
        // Each connection of this run dies of one of these at most once.
        let deadly = DEADLY.iter().map(|name| struck[*name]).sum::<u64>();
        let may_suffer = deadly + table.get("local.resource");
        let told = format!("{it:?} {met:?} {table:?} {struck:?}");
        assert!(met.trouble.len() as u64 <= may_suffer, "{told}");
        assert!(table.get("accepted") - table.all_of("peer_fin.") <= may_suffer, "{told}");
        assert_eq!(table.get("accepted"), met.connected, "{told}");
        sum_up(&mut all, &struck);
    }
    assert_eq!(
        OF_THE_DEADLY.iter().find(|name| all[**name] == 0),
        None,
        "it never struck: {all:?}"
    );
}
