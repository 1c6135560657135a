//! The server's process: the signals of level 7, and whether it is the right one.

use std::io;
use std::thread;
use std::time::Duration;

/// The interval at which the process is looked at until it has ended. Only its parent gets an
/// event for that.
const LOOK: Duration = Duration::from_millis(10);

/// The process of a server, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process(pub u32);

impl Process {
    /// Whether it may be sent signals.
    ///
    /// # Errors
    /// There is no such process, or it belongs to another user.
    pub fn checks(self) -> io::Result<()> {
        self.signals(None)
    }

    pub(super) fn rests(self) {
        thread::sleep(LOOK);
    }
}

#[cfg(unix)]
mod unix {
    use std::time::{Duration, Instant};
    use std::{fs, io, thread};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::Process;

    /// A thread inside a system call that cannot be interrupted is not waited for any longer.
    const STOPS: Duration = Duration::from_secs(5);
    const STOP_LOOK: Duration = Duration::from_millis(1);

    impl Process {
        /// Stops it. Returns when all of its threads stand still, where /proc tells that: one that
        /// runs on could answer a request that has to wait.
        pub(in crate::lab::grade) fn stops(self) -> io::Result<()> {
            self.signals(Some(Signal::SIGSTOP))?;
            let begin = Instant::now();
            while !self.stands_still() && begin.elapsed() < STOPS {
                thread::sleep(STOP_LOOK);
            }
            Ok(())
        }

        fn stands_still(self) -> bool {
            let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.0)) else { return true };
            tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                state(&stat).is_none_or(|state| matches!(state, 'T' | 't' | 'Z' | 'X'))
            })
        }

        pub(in crate::lab::grade) fn goes_on(self) -> io::Result<()> {
            self.signals(Some(Signal::SIGCONT))
        }

        pub(in crate::lab::grade) fn terminates(self) -> io::Result<()> {
            self.signals(Some(Signal::SIGTERM))
        }

        pub(super) fn signals(self, signal: Option<Signal>) -> io::Result<()> {
            // A number that is no process's stands for a group, or for all of them.
            let pid = i32::try_from(self.0).ok().filter(|pid| *pid > 0);
            let pid = pid.ok_or(io::ErrorKind::NotFound)?;
            Ok(kill(Pid::from_raw(pid), signal)?)
        }

        /// Whether it has ended. What its parent has not waited for is a zombie, proc(5).
        pub(in crate::lab::grade) fn is_gone(self) -> bool {
            if self.signals(None).is_err() {
                return true;
            }
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
            state(&stat).is_some_and(|state| matches!(state, 'Z' | 'X'))
        }
    }

    /// The state in a line of /proc/PID/stat, behind the name, which may have any letters.
    fn state(stat: &str) -> Option<char> {
        stat.rsplit_once(") ")?.1.chars().next()
    }
}

#[cfg(not(unix))]
impl Process {
    pub(super) fn stops(self) -> io::Result<()> {
        self.signals(None)
    }

    pub(super) fn goes_on(self) -> io::Result<()> {
        self.signals(None)
    }

    pub(super) fn terminates(self) -> io::Result<()> {
        self.signals(None)
    }

    fn signals(self, _: Option<()>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_gone(self) -> bool {
        true
    }
}

/// Whether the process listens on this port; `None` where /proc does not tell.
///
/// A signal to the wrong process would end something else.
pub(super) fn listens(process: Process, port: u16) -> Option<bool> {
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.0)).ok()?;
    let sockets: Vec<String> = files
        .flatten()
        .filter_map(|file| {
            let target = std::fs::read_link(file.path()).ok()?;
            let name = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(name.to_owned())
        })
        .collect();
    let tables = ["tcp", "tcp6"]
        .map(|name| std::fs::read_to_string(format!("/proc/{}/net/{name}", process.0)));
    let listeners: Vec<String> =
        tables.into_iter().flatten().flat_map(|table| listeners(&table, port)).collect();
    Some(listeners.iter().any(|inode| sockets.contains(inode)))
}

/// The sockets that listen on this port, in a table of /proc/net/tcp, by their inodes.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && *fields.get(3)? == LISTEN;
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when \
        retrnsmt   uid  timeout inode\n   \
        0: 0100007F:4E23 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
        4711 1 0000000000000000 100 0 0 10 0\n   \
        1: 0100007F:4E23 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 \
        4712 1 0000000000000000 20 4 30 10 -1\n";

    #[test]
    fn the_listener_is_found_by_its_port_and_state() {
        assert_eq!(listeners(TABLE, 20003), ["4711"]);
        assert_eq!(listeners(TABLE, 20004), Vec::<String>::new());
        assert_eq!(listeners("", 20003), Vec::<String>::new());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_listens_where_it_does_and_nowhere_else() {
        let this = Process(std::process::id());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listens(this, port), Some(true));
        drop(listener);
        let connected = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = connected.local_addr().unwrap().port();
        assert_ne!(other, 0);
        assert_eq!(listens(Process(1), other), std::fs::read_dir("/proc/1/fd").ok().map(|_| false));
        assert!(this.checks().is_ok() && !this.is_gone());
    }

    /// Regression: a server with several threads answered the requests before SIGTERM killed it,
    /// and was said to drain.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_is_stopped_stands_still() {
        let mut child = std::process::Command::new("sh");
        let mut child = child.args(["-c", "while :; do :; done"]).spawn().unwrap();
        let process = Process(child.id());
        let states: Vec<String> = (0..50)
            .map(|_| {
                process.stops().unwrap();
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.0)).unwrap();
                process.goes_on().unwrap();
                stat.rsplit_once(") ").unwrap().1[..1].to_owned()
            })
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(states, vec!["T"; 50]);
    }

    #[cfg(unix)]
    #[test]
    fn a_number_that_no_process_has_is_refused_and_is_never_a_group() {
        for number in [0, u32::MAX, 1 << 31] {
            assert!(Process(number).checks().is_err(), "{number}");
        }
        assert!(Process(u32::MAX).is_gone());
    }
}
