//! Promise: a run closes its connections at a pace, each of them in order, and always comes to its
//! end.

use std::sync::{Arc, Condvar, Mutex};

use crate::process::{PATIENCE, Process};
use crate::servers::{Answers, PREFIX, right, start};
use crate::trouble::handles_sigint;
use crate::{Run, load, serve};

/// FINs of one process that are unanswered at a time, at most.
const UNDER_WAY_MAX: usize = 256;

/// More connections than that.
const MANY: usize = 600;

/// A server that has the client's FINs wait for its own.
#[derive(Default)]
struct Fins {
    /// No FIN is ever answered.
    is_mute: bool,
    counts: Mutex<Counts>,
    more: Condvar,
    /// One of the FINs may be answered.
    answered: Condvar,
}

#[derive(Default, Clone, Copy, Debug)]
struct Counts {
    /// FINs that came.
    came: usize,
    unanswered: usize,
    /// The most that were unanswered at a time.
    most: usize,
    /// FINs that may be answered.
    may: usize,
}

impl Fins {
    fn wait_for(&self, came: usize) {
        let counts = self.counts.lock().unwrap();
        let waits = self.more.wait_timeout_while(counts, PATIENCE, |it| it.came < came);
        assert!(!waits.unwrap().1.timed_out(), "{came} FINs did not come");
    }
}

/// Each message of a connection that is still open allows the answer to one FIN; when all have
/// come, all are answered.
impl Answers for Arc<Fins> {
    fn answer(&self, _: usize, _: usize, line: &[u8]) -> Option<Vec<u8>> {
        let mut counts = self.counts.lock().unwrap();
        if counts.came > 0 {
            counts.may += 1;
            self.answered.notify_one();
        }
        Some(right(line))
    }

    fn client_closed(&self, connection: usize) {
        if connection == 0 {
            return; // the scout connection
        }
        let mut counts = self.counts.lock().unwrap();
        counts.came += 1;
        counts.unanswered += 1;
        counts.most = counts.most.max(counts.unanswered);
        self.more.notify_all();
        if counts.came == MANY {
            self.answered.notify_all();
        }
        let waits = |it: &mut Counts| self.is_mute || (it.may == 0 && it.came < MANY);
        let mut counts = self.answered.wait_while(counts, waits).unwrap();
        counts.may = counts.may.saturating_sub(1);
        counts.unanswered -= 1;
    }
}

/// `-c 600`, for no longer than it takes; each connection sends a message in 200 ms while it waits.
fn hold(address: &str) -> Vec<&str> {
    ["hold", address, "-c600", "-d1ms", "--every", "200ms", "--prefix", PREFIX].to_vec()
}

/// Regression: all connections were closed at once, and of two million most FINs found no memory.
#[test]
fn closing_is_paced_and_those_that_wait_for_it_stay_alive() {
    let fins = Arc::new(Fins::default());
    let address = start(fins.clone()).to_string();
    let run = Run::of(load(&[&hold(&address)[..], &["--timeout", "1m"]].concat()));
    let counts = *fins.counts.lock().unwrap();
    assert!(counts.most <= UNDER_WAY_MAX, "{counts:?}: {:#}", run.report);
    assert_eq!((run.code, &run.report["held"]), (0, &MANY.into()), "{:#}", run.report);
    assert_eq!(run.report["verdicts"], serde_json::json!({"local.done": MANY}));
}

#[test]
fn more_connections_than_may_be_closed_at_a_time_end_in_order_on_both_sides() {
    for mode in ["hold", "echo"] {
        let (mut server, address) = serve(&["--read-deadline", "1m"]);
        let report = Run::good(&[mode, &address.to_string(), "-c600", "-d1ms"]);
        assert_eq!(report["verdicts"], serde_json::json!({"local.done": MANY}));
        server.signal("TERM");
        assert_eq!(server.exit_code(), 0);
        let table = server.stderr.text();
        let row = table.lines().find(|line| line.starts_with("peer_fin.delivered"));
        // And the scout connection.
        assert!(row.is_some_and(|row| row.ends_with(" 601")), "{table}");
    }
}

#[test]
fn a_server_that_never_closes_is_waited_for_with_an_end() {
    let address = start(Arc::new(Fins { is_mute: true, ..Fins::default() })).to_string();
    let run = Run::of(load(&[&hold(&address)[..], &["--timeout", "1s"]].concat()));
    // On a busy machine a handshake or a message that keeps a connection alive may be late, too.
    let late = ["no_fin", "timeout", "connect_timeout"].map(|kind| run.errors(kind));
    assert_eq!((run.code, late.iter().sum()), (1, MANY as u64), "{:#}", run.report);
}

/// The timeout is an hour: an interrupt makes that a second, and another one none.
#[test]
fn an_interrupt_while_connections_are_closed_ends_the_run() {
    for (interrupts, processes) in [(1, "1"), (2, "1"), (1, "2"), (2, "2")] {
        let fins = Arc::new(Fins { is_mute: true, ..Fins::default() });
        let address = start(fins.clone()).to_string();
        let options = ["--timeout", "1h", "--processes", processes];
        let mut process = Process::start(load(&[&hold(&address)[..], &options].concat()));
        fins.wait_for(UNDER_WAY_MAX);
        assert!(handles_sigint(process.id()));
        for _ in 0..interrupts {
            process.signal("INT");
        }
        let run = Run::ended(&mut process);
        assert_eq!((run.code, &run.report["interrupted"]), (1, &true.into()), "{:#}", run.report);
        let ended = run.report["verdicts"].as_object().unwrap();
        let ended = ended.values().filter_map(|count| count.as_u64()).sum::<u64>();
        assert_eq!(ended, MANY as u64, "{:#}", run.report);
    }
}
