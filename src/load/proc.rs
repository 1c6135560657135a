//! What /proc knows about a process: its time on processors and its memory. Elsewhere nothing.
//!
//! Source: proc(5), and `Documentation/scheduler/sched-stats.rst` for schedstat.

use std::fs;
use std::path::PathBuf;

/// A process by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process(pub u32);

impl Process {
    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// Whether there is such a process, and it tells how it does.
    pub fn is_there(self) -> bool {
        self.cpu_ns().is_some() && self.rss_bytes().is_some()
    }

    /// Time on processors so far, user and system, of all its threads.
    pub fn cpu_ns(self) -> Option<u64> {
        let threads = fs::read_dir(self.path("task")).ok()?;
        let mut sum = 0;
        for thread in threads {
            // A thread may end while it is looked at.
            let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
                continue;
            };
            sum += first_number(&text)?;
        }
        Some(sum)
    }

    /// Resident memory. smaps_rollup is exact; status is kept with a tolerance of some pages, and
    /// is there for everybody.
    pub fn rss_bytes(self) -> Option<u64> {
        let line = |name: &str, field: &str| {
            let text = fs::read_to_string(self.path(name)).ok()?;
            let rest = text.lines().find_map(|line| line.strip_prefix(field).map(str::to_owned))?;
            Some(first_number(&rest)? * 1024)
        };
        line("smaps_rollup", "Rss:").or_else(|| line("status", "VmRSS:"))
    }
}

/// A thread's time so far, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OnCpu {
    /// On a processor.
    pub(super) ran: u64,
    /// Ready to run, and others did.
    pub(super) waited: u64,
}

/// This thread's time so far.
pub(super) fn own_time() -> Option<OnCpu> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(OnCpu { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
