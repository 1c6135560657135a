//! The trace: the last things that happened, for the report of a failure.

use std::collections::VecDeque;
use std::fmt;

use super::agenda::Segment;
use super::peer::Move;
use crate::kernel::{Io, Stop};
use crate::machine::connection::{Goodbye, Hints};
use crate::machine::errno::Errno;

/// No link: an entry is about the listeners or the loop.
pub(super) const NO_LINK: u32 = u32::MAX;

/// Entries of one failure's report.
const REPORTED_MAX: usize = 60;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "fields are read through Debug")]
pub(super) enum What {
    Wait { timeout_ms: Option<u64> },
    Woke { events: u32 },
    Stop(Stop),
    ListenerEvent { listener: usize },
    Event(Hints),
    Spurious(Hints),
    AcceptFails(Errno),
    Accept { id: u64 },
    Shed { id: u64 },
    Register { key: u32, took: bool },
    Recv { space: usize, gave: Io<usize> },
    Send { offered: usize, took: Io<usize> },
    ShutDown { took: bool },
    Unacked(Option<u32>),
    Unread(Option<u32>),
    Facts,
    TakeError(Option<Errno>),
    Close(Goodbye),
    Peer(Move),
    AtPeer(Segment),
    AtServer(Segment),
    GivesUp,
    Jump { by_us: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Happening {
    turn: u64,
    at_us: u64,
    clock_us: u64,
    link: u32,
    what: What,
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, us) = (self.at_us / 1000, self.at_us % 1000);
        write!(
            f,
            "turn {:<5} {ms:>8}.{us:03} ms (clock {:>8} ms) ",
            self.turn,
            self.clock_us / 1000
        )?;
        match self.link {
            NO_LINK => write!(f, "        {:?}", self.what),
            link => write!(f, "[{link:>5}] {:?}", self.what),
        }
    }
}

/// The last entries, as many as are kept.
#[derive(Debug)]
pub(super) struct Trace {
    kept: VecDeque<Happening>,
    kept_max: usize,
}

impl Trace {
    pub(super) fn new(kept_max: usize) -> Trace {
        Trace { kept: VecDeque::new(), kept_max }
    }

    /// Keeps one entry and forgets the oldest. Times are counted from the world's beginning.
    pub(super) fn add(&mut self, turn: u64, times_us: [u64; 2], link: u32, what: What) {
        if self.kept_max == 0 {
            return;
        }
        if self.kept.len() >= self.kept_max {
            self.kept.pop_front();
        }
        let [at_us, clock_us] = times_us;
        self.kept.push_back(Happening { turn, at_us, clock_us, link, what });
    }

    /// All that is kept, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.kept.iter().map(Happening::to_string).collect()
    }

    /// The last entries about `link`, or the last of all.
    pub(super) fn lines_about(&self, link: Option<u32>) -> Vec<String> {
        let concerns = |entry: &&Happening| link.is_none_or(|link| entry.link == link);
        let mut lines: Vec<_> = self
            .kept
            .iter()
            .rev()
            .filter(concerns)
            .take(REPORTED_MAX)
            .map(Happening::to_string)
            .collect();
        lines.reverse();
        lines
    }
}
