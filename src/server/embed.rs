//! What a program needs that embeds a server: the poll's descriptor, and counters for its other
//! threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::reactor::Counters;

/// The counters of a running server, for other threads. A clone is a reference to the same.
///
/// They are those of the end of its last turn, all of one moment, so they add up.
#[derive(Clone, Debug, Default)]
pub struct CounterWatch(Arc<Mutex<Counters>>);

impl CounterWatch {
    /// What happened up to the end of the last turn. The server's thread may wait while this makes
    /// a copy of about 300 bytes.
    pub fn get(&self) -> Counters {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        // No panic leaves them half written: they are plain numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's side of it.
#[derive(Debug)]
pub(super) struct Published {
    watch: CounterWatch,
    /// Numbers that change whenever any of the counters does.
    seen: (u64, u64),
}

impl Published {
    pub(super) fn new(counters: &Counters) -> Published {
        let watch = CounterWatch::default();
        watch.lock().clone_from(counters);
        Published { watch, seen: (counters.accepted, counters.open) }
    }

    pub(super) fn reader(&self) -> CounterWatch {
        self.watch.clone()
    }

    /// After a turn: a lock that is free as a rule, and only where something changed.
    pub(super) fn update(&mut self, counters: &Counters) {
        let seen = (counters.accepted, counters.open);
        if self.seen != seen {
            self.seen = seen;
            self.watch.lock().clone_from(counters);
        }
    }
}

// As mio has it: where its poll is poll(2), there is no descriptor to wait for.
#[cfg(all(
    unix,
    not(mio_unsupported_force_poll_poll),
    not(any(
        target_os = "aix",
        target_os = "cygwin",
        target_os = "espidf",
        target_os = "fuchsia",
        target_os = "haiku",
        target_os = "hermit",
        target_os = "horizon",
        target_os = "hurd",
        target_os = "nto",
        target_os = "nuttx",
        target_os = "vita",
    ))
))]
mod descriptor {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use super::super::Server;

    /// The poll's descriptor (epoll, kqueue). It is readable when a turn has something to do that
    /// is not a deadline; those are in [`timeout`](Server::timeout). It is to be waited for and
    /// nothing else.
    impl AsFd for Server {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.reactor.kernel().registry().as_fd()
        }
    }

    /// As [`AsFd`].
    impl AsRawFd for Server {
        fn as_raw_fd(&self) -> RawFd {
            self.as_fd().as_raw_fd()
        }
    }
}
