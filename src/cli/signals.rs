//! Signals: which ones the program handles, and what each one asks for.
//!
//! | signal | `serve` | `client`, `lab`, `load` |
//! |---|---|---|
//! | SIGINT, SIGTERM | drain; the second one ends the server at once | show what there is so far |
//! | SIGHUP | reopen the close log | as SIGINT |
//! | SIGUSR1 | print the table of verdicts so far | not handled |
//! | SIGXFSZ | a write fails with EFBIG | the same |
//!
//! A SIGHUP that was ignored when the program started (`nohup`) stays ignored. The signals that are
//! handled are unblocked, because a signal mask is inherited and a blocked SIGTERM never arrives.
//! What a signal asks for is done in a thread, where nothing is forbidden, and not in a handler.
//!
//! Windows has Ctrl-C only: it is delivered as SIGINT is.

use std::io;

/// What a signal asks the server for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Drain, or end at once if it was asked for before.
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

    /// To be called once, at the start of every command: from here on a write beyond the limit of
    /// file sizes (RLIMIT_FSIZE) fails with EFBIG, as a full disk fails with ENOSPC. Without it
    /// SIGXFSZ ends the process.
    pub(in crate::cli) fn prepare() {
        // A handler that does next to nothing serves as well as SIG_IGN, and a program that is
        // started from here does not inherit it. It fails for signals that do not exist.
        let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }

    /// The signals of a server. They are caught from the moment that this exists.
    pub(in crate::cli) struct Signals(signal_hook::iterator::Signals);

    impl Signals {
        /// Catches the signals of a server.
        ///
        /// # Errors
        /// The system has no file for the pipe behind it.
        pub(in crate::cli) fn of_server() -> io::Result<Signals> {
            caught(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1]).map(Signals)
        }

        /// Hands over each signal, in a thread of its own, those included that came before this
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

    /// Calls `told` for each SIGINT, SIGTERM and SIGHUP, in a thread of its own.
    ///
    /// # Errors
    /// The system has no thread or no file for it: then these signals end the process.
    pub(in crate::cli) fn on_interrupt(mut told: impl FnMut() + Send + 'static) -> io::Result<()> {
        let mut signals = caught(&[SIGINT, SIGTERM, SIGHUP])?;
        let deliver = move || signals.forever().for_each(|_| told());
        thread::Builder::new().name("signals".to_owned()).spawn(deliver).map(drop)
    }

    /// Catches `signals`, but for a SIGHUP that is ignored, and unblocks them in this thread and in
    /// those that it starts from now on.
    fn caught(signals: &[c_int]) -> io::Result<signal_hook::iterator::Signals> {
        let is_wanted = |&signal: &c_int| signal != SIGHUP || !is_ignored(SIGHUP);
        let wanted: Vec<c_int> = signals.iter().copied().filter(is_wanted).collect();
        let caught = signal_hook::iterator::Signals::new(&wanted)?;
        // Last: one that has been blocked and pending until now finds its handler.
        let known = wanted.iter().filter_map(|&signal| Signal::try_from(signal).ok());
        known.collect::<SigSet>().thread_unblock()?;
        Ok(caught)
    }

    /// Whether this process ignores `signal`. `false` where there is no /proc as Linux has it: then
    /// a SIGHUP under `nohup` is handled, which does not stop a server either.
    fn is_ignored(signal: c_int) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignored(&status).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    /// The signals that are ignored, signal 1 in the lowest bit. Source: proc_pid_status(5).
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

    /// There is no limit of file sizes.
    pub(in crate::cli) fn prepare() {}

    /// Ctrl-C, from the moment that this exists.
    pub(in crate::cli) struct Signals(mpsc::Receiver<()>);

    impl Signals {
        /// Catches Ctrl-C.
        ///
        /// # Errors
        /// The console has no room for another handler.
        pub(in crate::cli) fn of_server() -> io::Result<Signals> {
            let (tell, told) = mpsc::channel();
            on_interrupt(move || _ = tell.send(()))?;
            Ok(Signals(told))
        }

        /// Hands over each Ctrl-C, in a thread of its own, those included that came before this
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

    /// Calls `told` for each Ctrl-C, in a thread of its own.
    ///
    /// # Errors
    /// The console has no room for another handler.
    pub(in crate::cli) fn on_interrupt(told: impl FnMut() + Send + 'static) -> io::Result<()> {
        ctrlc::set_handler(told).map_err(io::Error::other)
    }
}
