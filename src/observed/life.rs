//! The state of one observed stream, for all kinds of streams.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::machine::close::{Conclusion, Ending, Leftover, LocalCause, Observer, Probe};
use crate::socket;

/// Bytes per read when further input is dropped.
pub(super) const DROPPED_BYTES: usize = 16 << 10;

/// The number of connections that this process has observed.
static OBSERVED: AtomicU64 = AtomicU64::new(0);

/// The operations that a stream must have.
pub trait Stream: Sized {
    /// Its socket.
    fn socket(&self) -> SockRef<'_>;

    /// The local address.
    fn local(&self) -> Option<SocketAddr>;

    /// The system's evidence about it.
    fn probe(&self) -> impl Probe + '_;

    /// The stream is dropped, and its ending is to be reported.
    fn drop_with(self, life: Life, report: OnEnding);
}

/// What to do with an ending.
pub(super) type OnEnding = Box<dyn FnOnce(Ending) + Send>;

/// The state of one stream.
#[derive(Clone, Debug)]
pub struct Life {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<SocketAddr>,
    pub(super) seen: Observer,
    /// Bytes of a write that failed.
    unsent: u64,
    /// Whether something was written since the last read.
    has_answered: bool,
    /// Bytes that were dropped.
    pub(super) discarded: u64,
    pub(super) began: Instant,
    /// When our FIN was sent, or it was known that it cannot be sent.
    pub(super) parted: Option<Instant>,
    /// The stream was dropped, and a task finishes it: if it is dropped again, it is concluded.
    #[cfg(feature = "tokio")]
    pub(super) is_left: bool,
    /// How it ended, once known.
    pub(super) ending: Option<Ending>,
}

impl Life {
    pub(super) fn new(peer: SocketAddr, local: Option<SocketAddr>) -> Life {
        Life {
            id: OBSERVED.fetch_add(1, Ordering::Relaxed) + 1,
            peer,
            local,
            seen: Observer::new(),
            unsent: 0,
            has_answered: false,
            discarded: 0,
            began: Instant::now(),
            parted: None,
            #[cfg(feature = "tokio")]
            is_left: false,
            ending: None,
        }
    }

    /// How it ended, by what is known now.
    pub(super) fn conclude(&mut self, probe: impl Probe) -> Ending {
        let leftover = Leftover {
            unsent: self.unsent,
            reply_untouched: self.unsent > 0 && !self.has_answered,
            discarded: self.discarded,
        };
        let conclusion = self.seen.conclude_with(probe, leftover);
        self.ending_of(conclusion)
    }

    fn ending_of(&self, conclusion: Conclusion) -> Ending {
        let ms = |since: Instant| since.elapsed().as_millis() as u64;
        let waited_ms = match self.parted {
            Some(parted) if self.seen.has_sent_fin() => ms(parted),
            _ => 0,
        };
        Ending::new(self.id, (self.peer, self.local), conclusion, (ms(self.began), waited_ms))
    }

    /// Records the result of a read.
    pub(super) fn read(&mut self, result: &io::Result<usize>) {
        if matches!(result, Ok(1..)) {
            self.has_answered = false;
        }
        self.seen.read(result);
    }

    /// Records the result of a write of `bytes` bytes.
    pub(super) fn wrote(&mut self, result: &io::Result<usize>, bytes: usize) {
        let had_error = self.seen.has_error();
        self.seen.wrote(result);
        match result {
            Ok(0) => {}
            Ok(_) => self.has_answered = true,
            Err(_) if self.seen.has_error() && (!had_error || self.unsent == 0) => {
                self.unsent = bytes as u64;
            }
            Err(_) => {}
        }
    }

    /// Bytes arrived that the program will not read.
    pub(super) fn drops(&mut self, bytes: usize) {
        self.seen.received(bytes);
        self.discarded += bytes as u64;
    }

    /// Checks, before our FIN is sent, whether the peer's FIN or reset has arrived: then the peer
    /// was first, whatever the reason for our FIN. Bytes that were not read come before it. They
    /// are dropped if the stream is finished; bytes that are read later arrived later.
    pub(super) fn looks_before_fin(&mut self, socket: &SockRef<'_>, finishes: bool) {
        if self.seen.has_fin() || self.seen.has_error() || self.seen.has_sent_fin() {
            return;
        }
        let mut unread = socket::unread(&**socket).unwrap_or(0) as usize;
        // Nothing blocks here: bytes, an end of file or an error have arrived.
        if unread == 0 {
            if socket::is_read_closed(&**socket) {
                self.reads_before_fin(socket, DROPPED_BYTES);
            }
            if self.seen.has_fin() && self.seen.cause().is_some_and(LocalCause::begins_with_fin) {
                self.seen.ends(None);
            }
        }
        while finishes && unread > 0 {
            let bytes = self.reads_before_fin(socket, unread.min(DROPPED_BYTES));
            unread = if bytes == 0 { 0 } else { unread - bytes };
        }
    }

    fn reads_before_fin(&mut self, socket: &SockRef<'_>, most: usize) -> usize {
        let mut dropped = [0; DROPPED_BYTES];
        let result = (&**socket).read(&mut dropped[..most]);
        match result {
            Ok(bytes @ 1..) => self.drops(bytes),
            ref result => self.seen.read(result),
        }
        result.unwrap_or(0)
    }

    /// How long it has waited for its evidence.
    pub(super) fn waited(&self) -> Duration {
        self.parted.map_or(Duration::ZERO, |parted| parted.elapsed())
    }
}

/// The end of this patience; `None` if a clock cannot represent it.
pub(super) fn end_of(patience: Duration) -> Option<Instant> {
    Instant::now().checked_add(patience)
}

/// The time left until then.
pub(super) fn left_until(end: Option<Instant>) -> Duration {
    end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
}
