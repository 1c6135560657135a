//! Errors are counted by kind, the first one is reported, and the run ends with 1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::{Process, closecall, closecall_after};
use crate::servers::{right, start};
use crate::{Run, load, serve};

#[test]
fn one_wrong_byte_in_many_replies_is_found() {
    let address = start(|connection, turn, line: &[u8]| {
        let mut reply = right(line);
        if (connection, turn) == (2, 20) {
            reply[30] ^= 1;
        }
        Some(reply)
    });
    let run = Run::of(load(&["echo", &address.to_string(), "-c3", "-d1s", "--rate", "300"]));
    assert_eq!((run.code, &run.report["mismatches"]), (1, &1.into()), "{:#}", run.report);
    // Another one came in its place.
    assert_eq!(run.report["verdicts"], serde_json::json!({"local.done": 3, "local.policy": 1}));
    assert_eq!(run.report["unanswered"], 300 - run.report["echoes"].as_u64().unwrap());
    assert_eq!(run.stderr.matches("first error: connection 1: a wrong reply").count(), 1);
}

/// A server that is restarted is late with what came due meanwhile, and is asked all of it.
#[test]
fn in_the_open_loop_a_lost_connection_is_opened_again() {
    let address =
        start(|connection, turn, line: &[u8]| (connection == 0 || turn < 5).then(|| right(line)));
    for processes in ["1", "2"] {
        let run = ["echo", &address.to_string(), "-c2", "-d500ms", "--rate", "200"];
        let run = Run::of(load(&[&run[..], &["--processes", processes]].concat()));
        let (echoes, lost) = (&run.report["echoes"], run.errors("closed") + run.errors("reset"));
        let echoes = echoes.as_u64().unwrap();
        assert_eq!((run.code, &run.report["unanswered"]), (1, &lost.into()), "{:#}", run.report);
        assert_eq!(echoes + lost, 100, "{:#}", run.report);
        assert!(echoes >= 4 * lost && lost > 0, "{:#}", run.report);
    }
}

/// Regression: until its timeout was over it was tried to connect, long after the run's end.
#[test]
fn a_server_that_is_gone_at_the_end_is_not_waited_for() {
    for (mode, done) in [("churn", "cycles"), ("echo", "echoes")] {
        let mut server = closecall(&["serve", "--listen", "127.0.0.1:0"]);
        server.env("RUST_LOG", "closecall::echo=debug");
        let server = Process::start(server);
        let address = server.address().to_string();
        let run = [mode, &address, "-c1", "-d1s", "--rate", "50", "--timeout", "1h"];
        let mut process = Process::start(load(&run));
        // The scout connection is one of them.
        server.stderr.wait_until(|text| text.matches("read client").count() >= 3);
        server.signal("KILL");
        let run = Run::ended(&mut process);
        let due = [&run.report["unanswered"], &run.report[done]].map(|count| count.as_u64());
        assert_eq!(due[0].unwrap() + due[1].unwrap(), 50, "{:#}", run.report);
    }
}

/// The open loop hides nothing: what came due is answered or it is not.
#[test]
fn what_came_due_for_a_cycle_and_was_not_answered_is_counted() {
    let address = start(|connection, _, line: &[u8]| {
        Some(if connection == 0 { right(line) } else { Vec::new() })
    });
    let address = address.to_string();
    let options = ["-c1", "-d300ms", "--rate", "100", "--timeout", "1s"];
    let run = Run::of(load(&[&["churn", &address], &options[..]].concat()));
    assert_eq!((run.code, &run.report["cycles"]), (1, &0.into()), "{:#}", run.report);
    assert_eq!(run.report["unanswered"], 30, "{:#}", run.report);
}

#[test]
fn more_than_was_asked_for_is_wrong() {
    let address = start(|connection, turn, line: &[u8]| {
        let twice = connection > 0 && turn > 0;
        Some(if twice { [right(line), right(line)].concat() } else { right(line) })
    });
    for mode in ["echo", "churn"] {
        let run = Run::of(load(&[mode, &address.to_string(), "-c2", "-d200ms"]));
        let wrong = if mode == "echo" { 2 } else { 0 }; // a cycle has one turn
        assert_eq!(run.report["mismatches"], wrong, "{mode}: {:#}", run.report);
    }
}

#[test]
fn a_wrong_prefix_is_wrong_at_once() {
    let (_server, address) = serve(&[]);
    for (prefix, mode) in [("from server", "echo"), ("", "hold"), ("From", "echo")] {
        let run = [mode, &address.to_string(), "-c4", "-d1h", "--prefix", prefix];
        let run = Run::of(load(&run));
        assert_eq!((run.code, &run.report["mismatches"]), (1, &4.into()), "{:#}", run.report);
    }
    let right = "from server back[rust]:";
    Run::good(&["echo", &address.to_string(), "-c4", "-d50ms", "--prefix", right]);
}

#[test]
fn a_server_that_never_answers_is_waited_for_as_long_as_was_said() {
    let address = start(|_, _, _: &[u8]| Some(Vec::new())).to_string();
    let options = ["-c3", "-d1h", "--timeout", "100ms"];
    for mode in ["hold", "echo"] {
        let known = Run::of(load(&[&[mode, &address, "--prefix", ""], &options[..]].concat()));
        assert_eq!((known.code, known.errors("timeout")), (1, 3), "{:#}", known.report);
        assert_eq!(known.report["verdicts"], serde_json::json!({"timeout.read": 3}));
    }
    let many = ["hold", &address, "--prefix", "", "-c600", "-d1h", "--timeout", "100ms"];
    let many = Run::of(load(&many));
    // On a busy machine some do not even get through the handshake in that time.
    let late = many.errors("timeout") + many.errors("connect_timeout");
    assert!((256..600).contains(&late), "it gave up: {:#}", many.report);
    let learns = Run::of(load(&[&["echo", &address], &options[..]].concat()));
    assert_eq!((learns.code, learns.errors("timeout")), (1, 1), "{:#}", learns.report);
    assert!(learns.stderr.contains("--timeout"), "{}", learns.stderr);
}

#[test]
fn a_reply_that_is_not_what_was_sent_teaches_no_prefix() {
    let address = start(|_, _, _: &[u8]| Some(b"220 ready\r\n".to_vec()));
    let run = Run::of(load(&["echo", &address.to_string(), "--timeout", "2s"]));
    assert_eq!((run.code, &run.report["mismatches"]), (1, &1.into()), "{:#}", run.report);
    assert!(run.stderr.contains("220 ready\\r\\n"), "{}", run.stderr);
}

#[test]
fn a_server_that_dies_in_between_ends_the_run() {
    for options in [&["-c6"][..], &["-c6", "--processes", "2"]] {
        let (server, address) = serve(&[]);
        let heard = start_counting(&address.to_string(), options);
        server.signal("KILL");
        let mut process = heard;
        let run = Run::ended(&mut process);
        assert_eq!(run.code, 1);
        assert_eq!(run.errors("closed") + run.errors("reset"), 6, "{:#}", run.report);
        assert_eq!(run.stderr.matches("first error: ").count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("of 3600.0 s: no connection was left"), "{}", run.stderr);
        assert_eq!(run.report["target_duration_s"], 3600.0);
    }
}

/// Regression: the table had "0.0 s after 1h of warm-up", and nothing said that the run was over.
#[test]
fn a_server_that_dies_in_the_warm_up_ends_the_run() {
    let (server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["load", "echo", &address, "-c6", "-d1h", "--warmup", "1h"];
    let mut process = Process::start(closecall(&run));
    while !handles_sigint(process.id()) || established(&address) < 6 {
        std::thread::yield_now();
    }
    server.signal("KILL");
    assert_eq!(process.exit_code(), 1);
    let (table, stderr) = (process.stdout.text(), process.stderr.text());
    assert!(table.contains(" was not completed)"), "{table}");
    assert!(stderr.contains("ended during the warm-up: no connection was left"), "{stderr}");
}

/// A run without end against the server there, which has answered by now.
#[track_caller]
fn start_counting(address: &str, options: &[&str]) -> Process {
    let all = [&["echo", address, "-d1h"], options].concat();
    let process = Process::start(load(&all));
    while !handles_sigint(process.id()) || established(address) < 6 {
        std::thread::yield_now();
    }
    process
}

/// How many connections of this server neither side has closed.
fn established(address: &str) -> usize {
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_there = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(local.as_str()) && fields.nth(1) == Some("01")
    };
    table.lines().filter(is_there).count()
}

#[test]
fn churn_goes_on_when_connections_are_refused_and_counts_them() {
    let address = start(|connection, _, line: &[u8]| (connection < 3).then(|| right(line)));
    let run = Run::of(load(&["churn", &address.to_string(), "-c2", "-d1s"]));
    assert_eq!((run.code, &run.report["cycles"]), (1, &2.into()), "{:#}", run.report);
    assert!(run.errors("closed") + run.errors("reset") >= 2, "{:#}", run.report);
}

/// Whether the process handles SIGINT by now.
pub(crate) fn handles_sigint(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (libc::SIGINT - 1) != 0
}

#[test]
fn an_interrupt_leaves_what_was_measured() {
    for options in [&[][..], &["--processes", "2"]] {
        let heard = Arc::new(AtomicUsize::new(0));
        let counts = heard.clone();
        let address = start(move |_, _, line: &[u8]| {
            counts.fetch_add(1, Ordering::Relaxed);
            Some(right(line))
        });
        let run = ["echo", &address.to_string(), "-c5", "-d1h", "--rate", "1000"];
        let mut process = Process::start(load(&[&run, options].concat()));
        while !handles_sigint(process.id()) || heard.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        process.signal("INT");
        let run = Run::ended(&mut process);
        assert_eq!((run.code, &run.report["interrupted"]), (1, &true.into()), "{:#}", run.report);
        assert!(run.report["echoes"].as_u64().unwrap() > 0, "{:#}", run.report);
        assert!(run.stderr.contains("interrupted"), "{}", run.stderr);
        let ended = run.report["verdicts"].as_object().unwrap();
        assert_eq!(ended.values().filter_map(|count| count.as_u64()).sum::<u64>(), 5);
    }
}

/// Regression: connections that had failed counted as held.
#[test]
fn an_interrupt_while_connecting_leaves_those_that_stand() {
    let heard = Arc::new(AtomicUsize::new(0));
    let counts = heard.clone();
    // Of connections 1 to 20 the odd ones are closed, and the last one is never answered.
    let address = start(move |connection, _, line: &[u8]| {
        counts.fetch_add(1, Ordering::Relaxed);
        match connection {
            20 => Some(Vec::new()),
            _ => (connection % 2 == 0).then(|| right(line)),
        }
    });
    let run = ["hold", &address.to_string(), "-c20", "-d1h", "--every", "off", "--timeout", "1h"];
    let mut process = Process::start(load(&run));
    while !handles_sigint(process.id()) || heard.load(Ordering::Relaxed) < 21 {
        std::thread::yield_now();
    }
    process.signal("INT");
    let run = Run::ended(&mut process);
    // The replies to the last of them may still be on their way.
    let held = run.report["held"].as_u64().unwrap();
    assert!((1..=9).contains(&held), "{:#}", run.report);
}

/// Regression: a request that was never answered was in no percentile, so that a server that loses
/// requests looked faster than one that is slow.
#[test]
fn a_request_that_is_given_up_on_counts_with_its_age() {
    let address =
        start(|_, turn, line: &[u8]| Some(if turn < 3 { right(line) } else { Vec::new() }));
    for options in [&[][..], &["--rate", "100"]] {
        let run = ["echo", &address.to_string(), "-c2", "-d1s", "--timeout", "200ms"];
        let run = Run::of(load(&[&run, options].concat()));
        assert!(run.report["unanswered"].as_u64().unwrap() >= 2, "{:#}", run.report);
        let slowest = run.report["latency_us"]["max"].as_f64().unwrap();
        assert!(slowest >= 200_000.0, "{:#}", run.report);
    }
}

/// The same where the connection that should ask was lost before the measurement began.
#[test]
fn a_request_without_a_connection_counts_with_its_age() {
    let address = start(|connection, _, line: &[u8]| (connection != 1).then(|| right(line)));
    let run = ["echo", &address.to_string(), "-c2", "-d1s", "--rate", "100"];
    let run = Run::of(load(&run));
    assert_eq!((run.errors("closed"), &run.report["unanswered"]), (1, &50.into()));
    let slowest = run.report["latency_us"]["max"].as_f64().unwrap();
    assert!(slowest >= 900_000.0, "{:#}", run.report);
}

#[test]
fn an_interrupt_is_heard_while_the_server_is_looked_at() {
    let address = start(|_, _, _: &[u8]| Some(Vec::new())).to_string();
    let mut process = Process::start(load(&["echo", &address, "-d1h", "--timeout", "1h"]));
    while !handles_sigint(process.id()) || established(&address) == 0 {
        std::thread::yield_now();
    }
    process.signal("INT");
    let run = Run::ended(&mut process);
    assert_eq!((run.code, &run.report["interrupted"]), (1, &true.into()), "{:#}", run.report);
    assert!(run.report["latency_us"].is_null() && run.report["verdicts"] == serde_json::json!({}));
}

#[test]
fn a_process_that_did_nothing_is_hardly_the_server() {
    let (_server, address) = serve(&[]);
    let mut idle = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = idle.id().to_string();
    let run = ["echo", &address.to_string(), "-d50ms", "--pid", &pid];
    let run = Run::of(load(&run));
    idle.kill().unwrap();
    idle.wait().unwrap();
    assert_eq!(run.code, 0, "{:#}", run.report);
    assert!(run.stderr.contains(&format!("--pid {pid}: this process used no CPU")));
}

#[test]
fn a_ramp_is_one_for_all_processes() {
    let (_server, address) = serve(&[]);
    let begin = std::time::Instant::now();
    let run = ["hold", &address.to_string(), "-c4", "-d1ms", "--ramp", "10", "--processes", "4"];
    Run::good(&run);
    let least = std::time::Duration::from_millis(600);
    assert!(begin.elapsed() >= least, "ten a second, not forty, opened and closed");
}

#[test]
fn processes_carry_what_one_may_not() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["load", "hold", &address, "-c100", "-d100ms", "--processes", "3"];
    let run = [&run[..], &["--format", "json"]].concat();
    let run = Run::of(closecall_after("ulimit -n 64", &run));
    assert_eq!((run.code, &run.report["held"]), (0, &100.into()), "{:#}", run.report);
}
