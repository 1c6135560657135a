//! Signals that the program handles, and what each one does.
//!
//! | signal | `serve` | `client`, `lab`, `load` |
//! |---|---|---|
//! | SIGINT, SIGTERM | drain; the second one stops the server at once | stop and show results |
//! | SIGHUP | reopen the close log | like SIGINT |
//! | SIGUSR1 | print the table of verdicts so far | not handled |
//! | SIGXFSZ | a write fails with EFBIG | the same |
//!
//! A SIGHUP that was ignored when the program started (`nohup`) stays ignored. The handled signals
//! are unblocked, because a signal mask is inherited and a blocked SIGTERM never arrives. A thread
//! acts on the signals, because a signal handler may call few functions.
//!
//! Windows has Ctrl-C only, which is treated as SIGINT.

use std::io;

/// What a signal asks the server to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Drain, or stop at once if the server is draining already.
    Stop,
    /// Reopen the close log.
    #[cfg_attr(windows, allow(dead_code))]
    Reopen,
    /// Print the table of verdicts so far.
    #[cfg_attr(windows, allow(dead_code))]
    Table,
}

pub(super) use system::{Signals, on_interrupt, prepare};

#[cfg(unix)]
mod system {
    use std::ffi::c_int;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use nix::sys::signal::{SigSet, Signal};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
    use signal_hook::flag;

    use super::{Asked, io};

    /// Every command calls this once, at its start. From then on a write beyond the limit of file
    /// sizes (RLIMIT_FSIZE) fails with EFBIG, as a write to a full disk fails with ENOSPC. Without
    /// it SIGXFSZ would end the process.
    pub(in crate::cli) fn prepare() {
        // A handler that only sets a flag works like SIG_IGN, but child processes do not inherit
        // it. Registration fails on systems without SIGXFSZ.
        let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }

    /// The signals of a server, caught from the moment that this value exists.
    pub(in crate::cli) struct Signals(signal_hook::iterator::Signals);

    impl Signals {
        /// Catches the signals of a server.
        ///
        /// # Errors
        /// The system has no file for the pipe behind it.
        pub(in crate::cli) fn of_server() -> io::Result<Signals> {
            caught(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1]).map(Signals)
        }

        /// Calls `to` for each signal, in a thread of its own, also for those that came before this
        /// call.
        ///
        /// # Errors
        /// The system has no thread for it.
        pub(in crate::cli) fn deliver(
            mut self,
            mut to: impl FnMut(Asked) + Send + 'static,
        ) -> io::Result<()> {
            let deliver = move || {
                for signal in self.0.forever() {
                    to(match signal {
                        SIGHUP => Asked::Reopen,
                        SIGUSR1 => Asked::Table,
                        _ => Asked::Stop,
                    });
                }
            };
            thread::Builder::new().name("signals".to_owned()).spawn(deliver).map(drop)
        }
    }

    /// Calls `interrupted` for each SIGINT, SIGTERM and SIGHUP, in a thread of its own.
    ///
    /// # Errors
    /// The system has no thread or no file for it. Then these signals end the process.
    pub(in crate::cli) fn on_interrupt(
        mut interrupted: impl FnMut() + Send + 'static,
    ) -> io::Result<()> {
        let mut signals = caught(&[SIGINT, SIGTERM, SIGHUP])?;
        let deliver = move || signals.forever().for_each(|_| interrupted());
        thread::Builder::new().name("signals".to_owned()).spawn(deliver).map(drop)
    }

    /// Catches `signals`, except for an ignored SIGHUP, and unblocks them in this thread and in the
    /// threads that it starts afterwards.
    fn caught(signals: &[c_int]) -> io::Result<signal_hook::iterator::Signals> {
        let is_wanted = |&signal: &c_int| signal != SIGHUP || !is_ignored(SIGHUP);
        let wanted: Vec<c_int> = signals.iter().copied().filter(is_wanted).collect();
        let caught = signal_hook::iterator::Signals::new(&wanted)?;
        // This comes last, so that a blocked signal that is pending finds its handler.
        let known = wanted.iter().filter_map(|&signal| Signal::try_from(signal).ok());
        known.collect::<SigSet>().thread_unblock()?;
        Ok(caught)
    }

    /// Whether this process ignores `signal`; `false` on systems without the /proc of Linux. There
    /// a SIGHUP under `nohup` is handled, which does not stop a server either.
    fn is_ignored(signal: c_int) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignored(&status).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    /// The mask of ignored signals, signal 1 in the lowest bit. Source: proc_pid_status(5).
    fn ignored(status: &str) -> Option<u64> {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_mask_of_ignored_signals_is_hexadecimal() {
            let status = "Name:\tclosecall\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
            assert_eq!(ignored(status), Some(0x1001), "SIGHUP and SIGPIPE");
            assert_eq!((ignored(""), ignored("SigIgn:\tnone\n")), (None, None));
        }
    }
}

#[cfg(windows)]
mod system {
    use std::sync::mpsc;
    use std::thread;

    use super::{Asked, io};

    /// Does nothing: Windows has no limit of file sizes.
    pub(in crate::cli) fn prepare() {}

    /// Ctrl-C, caught from the moment that this value exists.
    pub(in crate::cli) struct Signals(mpsc::Receiver<()>);

    impl Signals {
        /// Catches Ctrl-C.
        ///
        /// # Errors
        /// The console has no room for another handler.
        pub(in crate::cli) fn of_server() -> io::Result<Signals> {
            let (sender, receiver) = mpsc::channel();
            on_interrupt(move || _ = sender.send(()))?;
            Ok(Signals(receiver))
        }

        /// Calls `to` for each Ctrl-C, in a thread of its own, also for those that came before this
        /// call.
        ///
        /// # Errors
        /// The system has no thread for it.
        pub(in crate::cli) fn deliver(
            self,
            mut to: impl FnMut(Asked) + Send + 'static,
        ) -> io::Result<()> {
            let deliver = move || self.0.iter().for_each(|()| to(Asked::Stop));
            thread::Builder::new().name("signals".to_owned()).spawn(deliver).map(drop)
        }
    }

    /// Calls `interrupted` for each Ctrl-C, in a thread of its own.
    ///
    /// # Errors
    /// The console has no room for another handler.
    pub(in crate::cli) fn on_interrupt(
        interrupted: impl FnMut() + Send + 'static,
    ) -> io::Result<()> {
        ctrlc::set_handler(interrupted).map_err(io::Error::other)
    }
}
