//! strace makes one call of a kind fail, the first or the fortieth, and the program meets an error
//! that the kernel could give there. The call itself is not made.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::crowd;
use crate::process::PATIENCE;
use crate::service::{
    Seeded, Service, connect, exchange, hears_fin, hears_nothing_for, say, seed, serve,
    short_or_long, under,
};

/// What may fail, with what, and how many connections that may cost. Sources: the manual page of
/// each call, and tcp(7) for the errors that a connection brings.
const FAULTS: &[(&str, &[&str], u64)] = &[
    // No connection is lost: strace leaves it in the backlog, and accept is called again.
    (
        "accept4",
        &[
            "EMFILE",
            "ENFILE",
            "ENOBUFS",
            "ENOMEM",
            "ECONNABORTED",
            "EINTR",
            "EPROTO",
            "EPERM",
            "ENETDOWN",
            "EHOSTUNREACH",
        ],
        0,
    ),
    // Which of the two libc makes depends on the machine.
    ("?epoll_wait,?epoll_pwait", &["EINTR"], 0),
    // A new connection that cannot be watched waits, or is reset.
    ("epoll_ctl", &["ENOMEM", "ENOSPC", "EPERM"], 1),
    ("recvfrom", &["EINTR", "ENOMEM", "ENOBUFS"], 0),
    ("recvfrom", &["ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"], 1),
    ("sendto", &["EINTR", "ENOMEM", "ENOBUFS"], 0),
    ("sendto", &["EPIPE", "ECONNRESET", "ETIMEDOUT", "EPERM"], 1),
    ("shutdown", &["ENOTCONN", "ENOBUFS"], 1),
    // The descriptor stays open, which is strace's doing; Linux has closed it in either case.
    ("close", &["EINTR", "EIO"], 0),
    // What became of the reply is not to be had.
    ("ioctl", &["EINVAL"], 0),
];

/// The calls at which a fault strikes: the first of its kind to the fortieth.
const CALLS: u64 = 40;

/// So many clients make forty calls of each kind.
const CLIENTS: usize = 42;

/// One fault at one place.
#[derive(Clone, Debug)]
struct Fault {
    call: &'static str,
    error: &'static str,
    /// The call of its kind that fails, counted from 1.
    when: u64,
    costs_max: u64,
}

/// In the short form each error strikes at so many of these calls.
const CALLS_SHORT: u64 = 4;

/// Every error at every call, or at some of them.
fn faults() -> Vec<Fault> {
    let mut seeded = Seeded::new(seed());
    let mut faults = Vec::new();
    for &(call, errors, costs_max) in FAULTS {
        for &error in errors {
            let stride = CALLS / short_or_long(CALLS_SHORT, CALLS);
            let numbers = (0..CALLS).step_by(stride as usize);
            let whens = numbers.map(|first| 1 + first + seeded.below(stride));
            faults.extend(whens.map(|when| Fault { call, error, when, costs_max }));
        }
    }
    faults
}

/// Where a strace writes what it did; a file that is gone with it.
struct Log(PathBuf);

impl Log {
    fn new() -> Log {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{count}-strace", std::process::id());
        Log(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// The result of one fault.
#[derive(Debug, Default)]
struct Came {
    /// How often it struck.
    struck: usize,
    /// It did not start: the fault met its own sockets, or its loader.
    refused: bool,
}

/// `command` with strace beside it: of the calls of this kind those that `when` names fail. What
/// strace has to tell goes to `log`.
fn traced(call: &str, error: &str, when: &str, log: &Path, command: &Command) -> Command {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:error={error}:when={when}");
    // With -D the program is our child, and strace its companion.
    let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-o", log.to_str().unwrap()];
    under(&[&strace[..], &["-e", &trace, "-e", &inject]].concat(), command)
}

/// Whether there is a strace, and it may trace.
fn may_trace() -> bool {
    let log = Log::new();
    let mut tried = traced("accept4", "EPERM", "1", &log.0, &Command::new("true"));
    let may = tried.output().is_ok_and(|output| output.status.success());
    if !may {
        say("skipped: needs strace, and that it may trace");
    }
    may
}

/// Without deadlines: no connection is found or ended by an alarm.
const PATIENT: &[&str] =
    &["--framing", "line", "--read-deadline", "off", "--write-deadline", "off"];

/// Serves a crowd while `fault` strikes.
#[track_caller]
fn strike(fault: &Fault, number: usize) -> Came {
    let log = Log::new();
    let serve = serve(PATIENT);
    let command = traced(fault.call, fault.error, &fault.when.to_string(), &log.0, &serve);
    let came = match Service::start_or_refusal(command) {
        // Before the server serves its first client it may refuse, in one line; or its loader does,
        // which is not ours.
        Err((code, stderr)) => {
            let refused = code == 3 && stderr.lines().count() == 1;
            let never_began = code == 127 && stderr.contains("loading shared libraries");
            assert!(refused || never_began, "{fault:?}: exit code {code}: {stderr}");
            Came { struck: 0, refused: true }
        }
        Ok(service) => {
            serves_all_but(service, fault, number);
            Came::default()
        }
    };
    let text = std::fs::read_to_string(&log.0).unwrap();
    Came { struck: text.matches("(INJECTED)").count(), ..came }
}

#[track_caller]
fn serves_all_but(service: Service, fault: &Fault, number: usize) {
    let mut seeded = Seeded::new(seed() + number as u64);
    let met = crowd::come_and_go(service.address, CLIENTS, &mut seeded).and(crowd::takes_its_time(
        service.address,
        300_000,
        &mut seeded,
    ));
    let table = service.stop();
    let told = format!("{fault:?}, CLOSECALL_SEED={}: {met:?} {table:?}", seed());
    assert!(met.trouble.len() as u64 <= fault.costs_max, "{told}");
    assert_eq!(table.get("accepted"), met.connected, "{told}");
    let others = table.get("accepted") - table.all_of("peer_fin.");
    assert!(others <= fault.costs_max, "{told}");
}

/// Strikes with all of them, on as many threads as there are cores, and returns the result of each.
fn strike_all(faults: &[Fault]) -> Vec<(Fault, Came)> {
    let next = Mutex::new(faults.iter().enumerate());
    let came = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some((number, fault)) = next.lock().unwrap().next() else { return };
                    let it = strike(fault, number);
                    came.lock().unwrap().push((fault.clone(), it));
                }
            });
        }
    });
    came.into_inner().unwrap()
}

#[test]
fn one_failed_call_costs_one_connection_at_most() {
    if !may_trace() {
        return;
    }
    let began = Instant::now();
    let came = strike_all(&faults());
    // A fault that never strikes proves nothing.
    for (fault, came) in &came {
        assert!(came.struck > 0 || came.refused, "it never struck: {fault:?}");
        assert!(!came.refused || ["epoll_ctl", "close"].contains(&fault.call), "{fault:?}");
    }
    let struck: usize = came.iter().map(|(_, came)| came.struck).sum();
    let refused = came.iter().filter(|(_, came)| came.refused).count();
    say(format!(
        "{} runs, {struck} faults, {refused} starts refused, {:.0} s",
        came.len(),
        began.elapsed().as_secs_f32()
    ));
}

/// Out of files for a while, repeatedly: one line is logged, and every client is served.
#[test]
fn an_episode_is_one_line_and_costs_no_connection() {
    if !may_trace() {
        return;
    }
    for error in short_or_long(&["EMFILE"][..], &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]) {
        let log = Log::new();
        let serve = serve(PATIENT);
        let service = Service::of(traced("accept4", error, "4..9", &log.0, &serve));
        let met = crowd::come_and_go(service.address, 20, &mut Seeded::new(seed()));
        assert_eq!(met.trouble, [""; 0], "{error}");
        let stderr = service.process.stderr.clone();
        assert_eq!(service.stop().all_of("peer_fin."), 20);
        let text = stderr.text();
        let about = format!("{error} with ");
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&about)).collect();
        assert_eq!(lines.len(), 1, "{text}");
    }
}

/// accept that never works again: open connections are served, the loop sleeps between its tries,
/// and a drain ends in time.
#[test]
fn an_accept_that_fails_for_good_stops_no_open_connection() {
    if !may_trace() {
        return;
    }
    for error in ["EMFILE", "ECONNABORTED"] {
        let log = Log::new();
        let serve = serve(&["--framing", "line", "--drain", "1s", "--read-deadline", "off"]);
        let mut service = Service::of(traced("accept4", error, "3+", &log.0, &serve));
        let started = Instant::now();
        let mut inside = connect(service.address);
        exchange(&mut inside, b"one\n").unwrap();
        let mut newcomer = connect(service.address);
        newcomer.write_all(b"two\n").unwrap();
        service.process.stderr.wait_for(error);
        let (began, before) = (Instant::now(), service.cpu());
        hears_nothing_for(&mut newcomer, Duration::from_secs(short_or_long(1, 10)));
        let share = (service.cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64();
        say(format!("accept gives {error} and nothing else: {:.1} % of a CPU", share * 100.0));
        assert!(share < 0.5, "it spins: {share:.2} of a CPU");
        exchange(&mut inside, b"three\n").unwrap();
        let lines = service.process.stderr.text().matches(error).count();
        let most = 1 + started.elapsed().as_secs() as usize / 10;
        assert!(lines <= most, "a line in ten seconds: {lines}");
        service.process.signal("TERM");
        hears_fin(&mut inside).unwrap();
        drop(inside);
        assert_eq!(service.ended().get("accepted"), 1);
    }
}

/// Events for room to send that cannot be had, ever: it is tried now and then, and nothing is lost.
#[test]
fn room_that_cannot_be_watched_is_looked_for() {
    if !may_trace() {
        return;
    }
    let log = Log::new();
    // The waker, the listener, the reserve and the client are watched; then nothing more is.
    let serve = serve(&["--framing", "line", "--read-deadline", "off"]);
    let service = Service::of(traced("epoll_ctl", "ENOMEM", "5+", &log.0, &serve));
    // More than all buffers take, and the client does not read before the server's call has failed.
    let tried = || std::fs::read_to_string(&log.0).unwrap().matches("(INJECTED)").count();
    let give_up = Instant::now() + PATIENCE;
    let met = crowd::reads_after(service.address, 12_000_000, &mut Seeded::new(seed()), || {
        while tried() == 0 && Instant::now() < give_up {
            std::thread::yield_now();
        }
    });
    assert_eq!(met.trouble, [""; 0]);
    let cpu = service.cpu();
    assert_eq!(service.stop().all_of("peer_fin."), 1);
    let tried = tried();
    assert!(tried > 0, "there was always room");
    say(format!("asked for events {tried} times in vain, with {cpu:?} of CPU"));
}
