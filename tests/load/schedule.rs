//! The warm-up, and requests at an even pace or at random. Neither costs nor hides a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::process::Process;
use crate::servers::{right, start};
use crate::{Run, assert_rising, load, number};

/// A server that counts the lines that come, and those that are the first of their connection.
fn counts() -> (SocketAddr, Arc<[AtomicU64; 2]>) {
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let counted = counts.clone();
    let address = start(move |_, turn, line: &[u8]| {
        counted[0].fetch_add(1, Ordering::Relaxed);
        counted[1].fetch_add(u64::from(turn == 0), Ordering::Relaxed);
        Some(right(line))
    });
    (address, counts)
}

#[test]
fn in_the_open_loop_exactly_what_is_due_after_the_warm_up_is_measured() {
    for arrivals in ["even", "poisson"] {
        for processes in ["1", "2"] {
            let (address, counts) = counts();
            let address = address.to_string();
            let run = ["echo", &address, "-c5", "--rate", "500", "-d300ms", "--warmup", "400ms"];
            let more = ["--arrivals", arrivals, "--processes", processes];
            let report = Run::good(&[&run[..], &more].concat());
            assert_eq!(report["echoes"], 150, "{report:#}");
            assert_eq!((&report["warmup_s"], &report["duration_s"]), (&0.4.into(), &0.3.into()));
            assert_eq!(report["arrivals"], arrivals);
            // And what each connection says when it is opened, and the scout connection.
            assert_eq!(counts[0].load(Ordering::Relaxed), 200 + 150 + 5 + 1, "{report:#}");
            assert_rising(&report["latency_us"]);
            // At most all that was sent can be of the measured time.
            let sent = number(&report["sent_bytes_per_s"]) * 0.3;
            assert!(sent > 0.0 && sent < f64::from(64 * (200 + 150)), "{report:#}");
        }
    }
}

#[test]
fn churn_measures_only_the_cycles_that_begin_after_the_warm_up() {
    for rate in [&[][..], &["--rate", "200"]] {
        let (address, counts) = counts();
        let address = address.to_string();
        let run = ["churn", &address, "-c4", "-d100ms", "--warmup", "300ms"];
        let source = ["--source", "127.0.3.0/28"];
        let report = Run::good(&[&run[..], &source, rate].concat());
        let cycles = report["cycles"].as_u64().unwrap();
        assert_eq!(report["verdicts"], serde_json::json!({ "local.done": cycles }));
        let all = counts[1].load(Ordering::Relaxed) - 1; // the scout connection
        if rate.is_empty() {
            assert!(all > cycles && cycles > 0, "{all}: {report:#}");
        } else {
            assert_eq!((all, cycles), (80, 20), "{report:#}");
        }
    }
}

/// In each mode a request of the warm-up is never answered.
#[test]
fn a_request_of_the_warm_up_is_in_no_figure_but_its_failure_is_an_error() {
    let stuck = || {
        start(|connection, turn, line: &[u8]| {
            let is_stuck = (connection, turn) == (1, 1);
            Some(if is_stuck { Vec::new() } else { right(line) })
        })
        .to_string()
    };
    let (hold, echo) = (stuck(), stuck());
    for (mode, address, more) in [("hold", &hold, &["--every", "20ms"][..]), ("echo", &echo, &[])] {
        let run = [mode, address, "-c1", "-d50ms", "--warmup", "100ms", "--timeout", "400ms"];
        let run = Run::of(load(&[&run[..], more].concat()));
        assert_eq!((run.code, run.errors("timeout")), (1, 1), "{:#}", run.report);
        assert_eq!(run.report["unanswered"], 0, "{mode}: {:#}", run.report);
        assert!(run.report["latency_us"].is_null(), "{mode}: {:#}", run.report);
    }
}

#[test]
fn a_run_that_is_interrupted_in_its_warm_up_has_measured_nothing() {
    for rate in [&[][..], &["--rate", "1000"]] {
        let (address, counts) = counts();
        let address = address.to_string();
        let run = ["echo", &address, "-c2", "-d1s", "--warmup", "1h"];
        let mut process = Process::start(load(&[&run[..], rate].concat()));
        while counts[0].load(Ordering::Relaxed) < 30 {
            thread::yield_now();
        }
        process.signal("INT");
        let run = Run::ended(&mut process);
        assert_eq!((run.code, &run.report["interrupted"]), (1, &true.into()));
        for name in ["echoes", "unanswered", "duration_s", "rate_per_s", "sent_bytes_per_s"] {
            assert_eq!(number(&run.report[name]), 0.0, "{name}: {:#}", run.report);
        }
        assert!(run.report["latency_us"].is_null(), "{:#}", run.report);
        // One of them may have been waiting for a reply.
        let ended = run.report["verdicts"].as_object().unwrap();
        assert_eq!(ended.values().map(number).sum::<f64>(), 2.0, "{:#}", run.report);
    }
}
