//! The output of a run never delays the run.

use std::io::{BufRead, BufReader, PipeReader, Read, Write, pipe};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use crate::trouble::handles_sigint;

use crate::process::{PATIENCE, Process, closecall};
use crate::servers::{right, start};
use crate::{Run, load};

/// What a pipe takes before a writer has to wait, see pipe(7).
const PIPE_BYTES: usize = 65_536;

/// Regression: the thread that measures wrote to stderr, and to a terminal that was stopped: three
/// seconds of Ctrl-S were three seconds in every percentile.
#[test]
fn a_stderr_that_takes_nothing_does_not_stop_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                let mut line = Vec::new();
                while let Ok(1..) = lines.read_until(b'\n', &mut line) {
                    // The first line of connection 1 is answered wrongly: that is told on stderr.
                    let reply = if connection == 1 { b"wrong\n".to_vec() } else { right(&line) };
                    if stream.write_all(&reply).is_err() {
                        break;
                    }
                    line.clear();
                }
                let _ = tell.send(connection);
            });
        }
    });

    let (mut stderr, mut full) = pipe().unwrap();
    full.write_all(&vec![b' '; PIPE_BYTES]).unwrap();
    let mut command = load(&["echo", &address, "-c2", "-d100ms"]);
    command.stderr(Stdio::from(full)).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut process = Process::of(command.spawn().unwrap());
    drop(command); // and with it our end of the pipe
    let mut all = [(); 3].map(|()| ended.recv_timeout(PATIENCE).expect("it stands still"));
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2], "the first look and both connections are over");

    let mut told = String::new();
    stderr.read_to_string(&mut told).unwrap();
    let run = Run::ended(&mut process);
    assert!(told.contains("first error: connection 0: a wrong reply"), "{told}");
    assert_eq!((run.code, &run.report["mismatches"]), (1, &1.into()), "{:#}", run.report);
}

/// A run with a stdout or stderr that takes nothing, and the other end of that pipe. Its server
/// gives a wrong reply to the first request of connection 1, which is reported on stderr.
fn blocked(name: &str, options: &[&str]) -> (Process, PipeReader) {
    let address = start(|connection, turn, line: &[u8]| match (connection, turn) {
        (1, 0) => Some(b"wrong\n".to_vec()),
        _ => Some(right(line)),
    });
    let (reader, mut full) = pipe().unwrap();
    full.write_all(&vec![b' '; PIPE_BYTES]).unwrap();
    let address = address.to_string();
    let mut command = closecall(&[&["load", "echo", &address, "-c2", "-d1h"], options].concat());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match name {
        "stdout" => command.stdout(Stdio::from(full)),
        _ => command.stderr(Stdio::from(full)),
    };
    (Process::of(command.spawn().unwrap()), reader)
}

/// Regression: the end of the run waited for its output, and only SIGKILL ended that.
#[test]
fn the_second_signal_ends_a_run_whose_output_is_blocked() {
    let single = ["--rate", "100", "--every-report", "10ms", "--format", "json"];
    let search = ["--find-rate", "p99<1s"];
    for (name, options) in [("stdout", &single[..]), ("stderr", &single), ("stdout", &search)] {
        let (mut process, reader) = blocked(name, options);
        while !handles_sigint(process.id()) {
            thread::yield_now();
        }
        // Two of a kind at the same time may be delivered as one.
        process.signal("INT");
        process.signal("TERM");
        assert_eq!(process.exit_code(), 1, "{name} {options:?}");
        drop(reader);
    }
}
