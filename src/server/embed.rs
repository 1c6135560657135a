//! Parts for programs that embed a server: the poll's descriptor, and counters for other threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::reactor::Counters;

/// The counters of a running server, for other threads. A clone refers to the same counters.
///
/// They are those at the end of its last turn, all of one moment, so they add up.
#[derive(Clone, Debug, Default)]
pub struct CounterWatch(Arc<Mutex<Counters>>);

impl CounterWatch {
    /// The totals up to the end of the last turn. The server's thread may wait while this copies
    /// about 300 bytes.
    pub fn get(&self) -> Counters {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        // A panic cannot leave them inconsistent: they are plain numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's side of the counters.
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

    /// Updates them after a turn: a lock that is usually free, and only if something changed.
    pub(super) fn update(&mut self, counters: &Counters) {
        let seen = (counters.accepted, counters.open);
        if self.seen != seen {
            self.seen = seen;
            self.watch.lock().clone_from(counters);
        }
    }
}

// As in mio: if its poll is poll(2), there is no descriptor to wait for.
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

    /// The poll's descriptor (epoll, kqueue). It is readable when a turn has something to do other
    /// than a deadline; deadlines are in [`timeout`](Server::timeout). It may be waited for and
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
