//! CPU time of this thread: on a machine with other work it is what can be trusted. The scale table
//! reads it, and criterion measures with it.

use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// Reads the CPU time of the thread that made it; where /proc does not tell (anywhere but on
/// Linux), the time on the wall instead.
pub(crate) struct Cpu {
    began: Instant,
    source: Source,
    /// What a reading costs, which lies between two of them.
    reading: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Schedstat,
    Wall,
}

impl Cpu {
    pub(crate) fn new() -> Cpu {
        let source = if schedstat().is_some() { Source::Schedstat } else { Source::Wall };
        let mut cpu = Cpu { began: Instant::now(), source, reading: Duration::ZERO };
        let mut empty: Vec<_> = (0..99).map(|_| cpu.of(|| ()).0).collect();
        empty.sort_unstable();
        cpu.reading = empty[empty.len() / 2];
        cpu
    }

    /// Whether it is CPU time indeed.
    pub(crate) fn is_cpu_time(&self) -> bool {
        self.source == Source::Schedstat
    }

    /// What `work` takes, and what it gives.
    pub(crate) fn of<T>(&self, work: impl FnOnce() -> T) -> (Duration, T) {
        let before = self.now();
        let result = work();
        ((self.now() - before).saturating_sub(self.reading), result)
    }

    fn now(&self) -> Duration {
        // The account is brought up to date when the thread offers its core to others.
        thread::yield_now();
        match self.source {
            Source::Schedstat => schedstat().unwrap_or_default(),
            Source::Wall => self.began.elapsed(),
        }
    }
}

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        (self.now() - start).saturating_sub(self.reading)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter() // nanoseconds are nanoseconds
    }
}

/// Criterion by CPU time, with so many samples of each bench in about `ms` milliseconds.
pub(crate) fn criterion(samples: usize, ms: u64) -> Criterion<Cpu> {
    Criterion::default()
        .with_measurement(Cpu::new())
        .sample_size(samples)
        .warm_up_time(Duration::from_millis(ms / 4))
        .measurement_time(Duration::from_millis(ms))
}

/// Time on a core, the first field, in nanoseconds.
fn schedstat() -> Option<Duration> {
    let mut text = [0; 64];
    let bytes = File::open("/proc/thread-self/schedstat").ok()?.read(&mut text).ok()?;
    let first = text[..bytes].split(|&byte| byte == b' ').next()?;
    Some(Duration::from_nanos(std::str::from_utf8(first).ok()?.parse().ok()?))
}
