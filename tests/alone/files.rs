//! Promise: out of open files, new connections wait or are reset, and the loop sleeps between its
//! tries.
//!
//! One test at a time: the limit belongs to the whole process.
//! Linux only: it counts in /proc and lowers RLIMIT_NOFILE.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::net::TcpStream;

use crate::alone;
use crate::common::{Bed, MESSAGE, REPLY};
use closecall::config::Overload;
use closecall::machine::close::Kind;
use rlimit::Resource;

/// Runs with no file left to open, and returns the limit back.
fn without_files<T>(run: impl FnOnce() -> T) -> T {
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str().unwrap().parse::<u64>().unwrap()
    });
    let highest = open.max().unwrap();
    // The descriptor of the listing itself is free again: fill the holes below the highest one.
    let fill: Vec<_> = (0..=highest).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    let top = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    Resource::NOFILE.set(top.min(soft) - 1, hard).unwrap();
    let result = run();
    Resource::NOFILE.set(soft, hard).unwrap();
    drop(fill);
    result
}

#[test]
fn out_of_files() {
    let _alone = alone();
    waits_and_goes_on();
    sheds_with_the_reserve();
}

fn waits_and_goes_on() {
    let mut bed = Bed::new();
    let mut first = bed.client();
    bed.echoes(&mut first);
    let mut second = bed.client();
    second.write_all(MESSAGE).unwrap();
    without_files(|| {
        let mut turns = 0;
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_millis(500) {
            bed.turn();
            turns += 1;
        }
        assert!(turns <= 10, "{turns} turns in half a second of waiting for a file");
        assert_eq!(bed.server.counters().accepted, 1, "there was a file after all");
        bed.echoes(&mut first);
    });
    assert_eq!(bed.receives(&mut second, REPLY.len()), REPLY, "taken once there are files again");
}

fn sheds_with_the_reserve() {
    let mut bed = Bed::with(|config| config.overload = Overload::Shed);
    let mut first = bed.client();
    bed.echoes(&mut first);
    let mut newcomers: Vec<TcpStream> = (0..3).map(|_| bed.client()).collect();
    without_files(|| {
        for newcomer in &mut newcomers {
            bed.ends_as(Kind::LocalPolicy);
            assert!(bed.reads_to_end(newcomer).is_err(), "reset, and not closed");
        }
        bed.echoes(&mut first);
    });
}
