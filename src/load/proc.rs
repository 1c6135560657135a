//! CPU time and memory of a process, from /proc. Other systems than Linux report nothing.
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

    /// Whether there is such a process whose figures can be read.
    pub fn is_there(self) -> bool {
        self.cpu_ns().is_some() && self.rss_bytes().is_some()
    }

    /// CPU time so far, user and system, of all its threads, including those that have ended.
    ///
    /// The process's own clock (clock_getcpuclockid(3)) counts nanoseconds;
    /// `/proc/PID/stat` has the same in hundredths of a second.
    #[cfg(target_os = "linux")]
    pub fn cpu_ns(self) -> Option<u64> {
        use nix::time::{clock_getcpuclockid, clock_gettime};
        use nix::unistd::Pid;

        let pid = Pid::from_raw(self.0.try_into().ok()?);
        let time = clock_gettime(clock_getcpuclockid(pid).ok()?).ok()?;
        let seconds = u64::try_from(time.tv_sec()).ok()?;
        Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
    }

    #[cfg(not(target_os = "linux"))]
    pub fn cpu_ns(self) -> Option<u64> {
        None
    }

    /// Resident memory. smaps_rollup is exact; status has a tolerance of some pages, but any user
    /// can read it.
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
    /// Ready to run, while others ran.
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_threads_that_have_ended_counts() {
        const BURNT_NS: u64 = 20_000_000;
        let this = Process(std::process::id());
        let before = this.cpu_ns().unwrap();
        std::thread::spawn(|| while own_time().unwrap().ran < BURNT_NS {}).join().unwrap();
        assert!(this.cpu_ns().unwrap() - before >= BURNT_NS);
    }
}
