//! The clock jumps by days and years, as it does for a server that sleeps for so long. A library
//! before libc does that (`tests/interpose/jump.c`); it needs glibc and cc.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{LINE, number};
use crate::interpose::{library_named, scratch};
use crate::service::{Service, connect, exchange, hears_fin, parts, say, serve};

const DAY_S: i64 = 24 * 3_600;
const DAY_MS: u64 = 24 * 3_600_000;

/// Work is bounded, not time: to walk through 30 days in steps of 8 ms took 13 s of a CPU.
const CPU_MAX: Duration = Duration::from_secs(1);

/// A server whose clock can be moved on.
struct Jumping {
    service: Service,
    ahead_s: i64,
    file: File,
    path: PathBuf,
}

impl Jumping {
    /// `None` where that is not available, which is printed.
    fn start(options: &[&str]) -> Option<Jumping> {
        let library = library_named("jump")?;
        let path = scratch("jump");
        let file = File::create(&path).unwrap();
        file.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        let mut command = serve(options);
        command.env("LD_PRELOAD", library).env("JUMP", &path);
        Some(Jumping { service: Service::of(command), ahead_s: 0, file, path })
    }

    fn jumps(&mut self, seconds: i64) {
        self.ahead_s += seconds;
        self.file.write_all_at(&self.ahead_s.to_ne_bytes(), 0).unwrap();
    }

    fn stop(self) -> (crate::service::Table, String) {
        let stdout = self.service.process.stdout.clone();
        let table = self.service.stop();
        std::fs::remove_file(self.path).ok();
        (table, stdout.text())
    }
}

/// Regression: the wheel stepped through the time in which it was idle. After 30 days the deadlines
/// of 10 s of new connections came after 23 s, after a year never.
#[test]
fn after_any_idle_time_deadlines_are_deadlines_and_no_cpu_was_spent_on_it() {
    let Some(mut server) = Jumping::start(&["--read-deadline", "200ms", "--close-log", "-"]) else {
        return;
    };
    const NEWCOMERS: usize = 20;
    let come = |server: &Jumping| {
        let mut newcomers: Vec<TcpStream> =
            (0..NEWCOMERS).map(|_| connect(server.service.address)).collect();
        newcomers.iter_mut().for_each(|client| hears_fin(client).unwrap());
        let files = server.service.files() - NEWCOMERS;
        drop(newcomers);
        server.service.waits_for_files(files); // it is idle again
    };
    come(&server);
    let jumps = [("a day", 1), ("30 days", 30), ("a year", 365), ("10 years", 3_653)];
    for (name, days) in jumps {
        let before = server.service.cpu();
        server.jumps(days * DAY_S);
        come(&server);
        let cpu = server.service.cpu() - before;
        say(format!("{name}: {cpu:?} of CPU"));
        assert!(cpu < CPU_MAX, "{name} took {cpu:?} of CPU");
    }
    let (table, log) = server.stop();
    let count = (jumps.len() + 1) * NEWCOMERS;
    assert_eq!(table.get("timeout.read"), count as u64, "{table:?}");
    for line in log.lines().filter(|line| line.contains("timeout.read")) {
        let silence = number(line, "\"duration_ms\":") - number(line, "\"verdict_wait_ms\":");
        assert!((200..DAY_MS).contains(&silence), "a new connection's own time: {line}");
    }
}

/// Regression: the moment of our FIN was kept as 32 bits of milliseconds since accept, which end
/// after 49 days: a FIN after 60 days was said to have waited for 10.
#[test]
fn a_life_of_months_and_its_last_wait_are_told_apart() {
    let Some(mut server) = Jumping::start(&[
        "--framing",
        "line",
        "--read-deadline",
        "off",
        "--verdict-wait",
        "1m",
        "--close-log",
        "-",
    ]) else {
        return;
    };
    let mut old: Vec<TcpStream> = (0..3).map(|_| connect(server.service.address)).collect();
    old.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    for (client, days) in old.iter_mut().zip([61, 300, 3_600]) {
        server.jumps(days * DAY_S);
        exchange(client, LINE).unwrap();
        parts(client).unwrap();
    }
    drop(old);
    let (table, log) = server.stop();
    assert_eq!(table.all_of("peer_fin."), 3, "{table:?}");
    let lines = log.lines().filter(|line| line.contains("peer_fin."));
    for (line, days) in lines.zip([61, 361, 3_961]) {
        let duration = number(line, "\"duration_ms\":");
        assert!((days * DAY_MS..(days + 1) * DAY_MS).contains(&duration), "{days} days: {line}");
        assert!(number(line, "\"verdict_wait_ms\":") <= 60_000, "{line}");
    }
}
