//! The close log of a server elsewhere: which line is about a connection of ours.
//!
//! On the direct way a line has the client's port. Behind a proxy it has a port of the proxy, so
//! that other facts must agree: it must have begun after our connect, and its length must be the
//! one that was sent, which no other connection of ours has. Where the length says nothing, a line
//! is ours only if it is the only candidate.
//!
//! It comes from another program and maybe from another machine: no line is waited for without end.

mod line;
mod tail;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io, thread};

use self::line::Line;
use self::tail::Tail;
use super::judge::ServerAccount;
use super::words::span;
use crate::machine::close::Kind;

/// How often the file is looked at. Nothing portable tells that a file has grown.
const LOOK: Duration = Duration::from_millis(2);

/// So many lines of others are kept, the newest: a busy server writes many.
const LINES_MAX: usize = 10_000;

/// After this many direct connections in a row without a line, the lab no longer waits for lines.
const MISSED_MAX: u32 = 2;

/// How much earlier than our connect a line may say that it began: its clock has milliseconds, and
/// the two clocks were compared by a connection that was maybe accepted late.
const TOLERANCE: Duration = Duration::from_millis(50);

/// How long after the client has gone a proxy may connect, where nothing else tells whose line it
/// is; and how long a second candidate is waited for.
const LATE: Duration = Duration::from_millis(250);

/// How long lines of others are looked out for before a line counts as the only candidate: longer
/// than balancers wait between two health checks, as a rule.
const LOOK_OUT: Duration = Duration::from_millis(2_500);

/// More bytes than this came from a client that fills buffers: no request of ours and no health
/// check is that long.
const FILLED_BYTES_MIN: u64 = 4_096;

/// A connection of ours.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// The client's own address.
    pub(super) peer: SocketAddr,
    /// Before it connected.
    pub(super) connected: SystemTime,
    /// When the client was done with it.
    pub(super) closed: SystemTime,
    /// How long its message is, in bytes. No other connection of this time has one of that length.
    pub(super) message: u64,
    /// Bytes that it sent, all messages together.
    pub(super) sent: u64,
}

impl Ours {
    /// Whether the server read what was sent, or whole messages of it: then the line is ours.
    fn is_length(&self, rx: u64) -> bool {
        let is_part = rx < self.sent && !self.is_filled() && rx.is_multiple_of(self.message.max(1));
        rx > 0 && (rx == self.sent || is_part)
    }

    /// Whether it may be what the server read of it, as far as others are not told apart by that.
    fn may_be(&self, rx: u64) -> bool {
        match self.is_filled() {
            true => (FILLED_BYTES_MIN..=self.sent).contains(&rx),
            false => rx <= self.sent,
        }
    }

    /// Its line, in words.
    fn which(&self) -> String {
        match self.sent {
            0 => "of a connection without a byte".to_owned(),
            _ if self.is_filled() => "of a client that fills its buffers".to_owned(),
            sent => format!("with the {sent} bytes that were sent"),
        }
    }

    fn is_filled(&self) -> bool {
        self.sent > FILLED_BYTES_MIN && self.sent > 2 * self.message
    }

    /// Whether the length cannot say which line it is.
    fn is_nameless(&self) -> bool {
        self.sent == 0 || self.is_filled()
    }
}

/// Why the server's verdict is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Untold {
    /// No line came in time: the connection may be open there still.
    NoLineYet(String),
    /// The server never accepted it.
    NeverSeen(String),
    /// Lines came, and whose they are, or what they say, cannot be told.
    Unclear(String),
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Untold::NoLineYet(why) | Untold::NeverSeen(why) | Untold::Unclear(why)) = self;
        f.write_str(why)
    }
}

/// The end of a close log that another program writes.
pub(super) struct CloseLog {
    tail: Tail,
    /// Set from elsewhere: nothing more is waited for.
    stop: &'static AtomicBool,
    patience: Duration,
    opened: Instant,
    /// Lines that no connection has asked for.
    lines: Vec<Line>,
    /// Lines that are none of a close log.
    strange: u64,
    /// Lines in a row that did not come on the direct way.
    missed: u32,
    /// How much later than ours the server's clock is, in milliseconds, once that is known.
    skew_ms: Option<i64>,
    /// The numbers of all connections that have their line, the newest.
    ids: BTreeSet<u64>,
    /// Two lines had one number: several processes write this log, or one was started again.
    ids_repeat: bool,
    /// Lengths that were never ours.
    others: BTreeSet<u64>,
    /// Lengths that were ours.
    own: BTreeSet<u64>,
}

impl CloseLog {
    /// Begins at the end: what is there already is of others. A line is waited for until
    /// `patience` is over.
    ///
    /// # Errors
    /// It is no file, or cannot be read.
    pub(super) fn open(
        path: &Path,
        patience: Duration,
        stop: &'static AtomicBool,
    ) -> io::Result<CloseLog> {
        Ok(CloseLog {
            tail: Tail::open(path)?,
            stop,
            patience,
            opened: Instant::now(),
            lines: Vec::new(),
            strange: 0,
            missed: 0,
            skew_ms: None,
            ids: BTreeSet::new(),
            ids_repeat: false,
            others: BTreeSet::new(),
            own: BTreeSet::new(),
        })
    }

    /// Whether a message of this length would be taken for that of others.
    pub(super) fn is_of_others(&self, message: u64) -> bool {
        self.others.contains(&message)
    }

    /// A connection of ours will send this many bytes.
    pub(super) fn expects(&mut self, sent: u64) {
        self.own.insert(sent);
    }

    /// Drops the lines that no connection has asked for, and gives the highest number of a
    /// connection that has its line: one that is accepted from now on has a higher one.
    pub(super) fn clear(&mut self) -> Option<u64> {
        while self.reads() {}
        for line in self.lines.drain(..) {
            let rx = line.rx();
            if !self.own.contains(&rx) && self.others.len() < LINES_MAX {
                self.others.insert(rx);
            }
        }
        self.ids.last().copied()
    }

    /// The line of a connection that went to the server directly: by its port, for its address may
    /// have been translated on the way.
    pub(super) fn direct(&mut self, ours: &Ours) -> Result<(u64, ServerAccount), Untold> {
        let patience = match self.missed {
            0..MISSED_MAX => self.patience,
            _ => Duration::ZERO,
        };
        let earliest = self.earliest(ours);
        let line = self.waited(patience, |lines| {
            let mine = |line: &Line| {
                let after = earliest.is_none_or(|earliest| line.began() >= earliest);
                line.peer.port() == ours.peer.port() && line.rx() <= ours.sent && after
            };
            let is_exact = |line: &Line| mine(line) && line.peer.ip() == ours.peer.ip();
            let index = lines.iter().position(is_exact).or_else(|| lines.iter().position(mine))?;
            Some(lines.remove(index))
        });
        self.missed = if line.is_some() { 0 } else { self.missed + 1 };
        let Some(line) = line else {
            let port = ours.peer.port();
            return Err(self.missing(&format!("with port {port}"), patience));
        };
        let skew_ms = millis_between(ours.connected, line.began());
        self.skew_ms = Some(self.skew_ms.map_or(skew_ms, |known| known.min(skew_ms)));
        Ok((line.id, told(line)?))
    }

    /// The line of a connection that went to the server through a proxy, which has ports of its
    /// own.
    pub(super) fn through(&mut self, ours: &Ours) -> Result<ServerAccount, Untold> {
        let earliest = self.earliest(ours).unwrap_or(SystemTime::UNIX_EPOCH);
        let life = ours.closed.duration_since(ours.connected).unwrap_or_default();
        let window = earliest..=earliest + TOLERANCE + life + LATE;
        let is_exact = |line: &Line| line.began() >= earliest && ours.is_length(line.rx());
        let may_be = |line: &Line| window.contains(&line.began()) && ours.may_be(line.rx());
        let (opened, nameless) = (self.opened, ours.is_nameless());
        let mut first = None;
        let found = self.waited(self.patience, |lines| {
            if let Some(index) = lines.iter().position(is_exact) {
                return Some(index);
            }
            // The only candidate counts when a second one could have come.
            let index = lines.iter().position(may_be).filter(|_| nameless)?;
            let seen = *first.get_or_insert_with(Instant::now);
            (opened.elapsed() >= LOOK_OUT && seen.elapsed() >= LATE).then_some(index)
        });
        // Or the patience was too short for that.
        let last = || self.lines.iter().position(may_be).filter(|_| nameless);
        let Some(index) = found.or_else(last) else {
            return Err(self.missing(&ours.which(), self.patience));
        };
        if found.is_none() && opened.elapsed() < LOOK_OUT {
            return Err(Untold::Unclear(format!(
                "a line of the close log may be ours, and {} are too short to know that it is not \
                 that of another connection",
                span(self.patience)
            )));
        }
        let line = self.lines.remove(index);
        let exact = is_exact(&line);
        let others = self.lines.iter().filter(|other| match exact {
            true => is_exact(other),
            false => ours.may_be(other.rx()),
        });
        match others.count() {
            0 if exact || !self.others.contains(&line.rx()) => told(line),
            0 => Err(Untold::Unclear(
                "other connections at the server send as little, such as health checks of the \
                 proxy: whose line is ours cannot be told"
                    .to_owned(),
            )),
            more => Err(Untold::Unclear(format!(
                "{} lines of the close log may be ours, and which one is cannot be told",
                more + 1
            ))),
        }
    }

    /// Whether a line has come that may be that of `ours`, as far as its length goes.
    pub(super) fn has_candidate(&self, ours: &Ours) -> bool {
        self.lines.iter().any(|line| ours.may_be(line.rx()))
    }

    /// Whether all connections that were accepted between these two numbers have their lines.
    pub(super) fn has_all_between(&self, before: u64, after: u64) -> bool {
        let between = before.saturating_add(1)..after;
        let wanted = after.saturating_sub(before).saturating_sub(1);
        !self.ids_repeat && before < after && self.ids.range(between).count() as u64 == wanted
    }

    /// The earliest moment, by the server's clock, at which a connection of ours can have been
    /// accepted; `None` while that clock is not known.
    fn earliest(&self, ours: &Ours) -> Option<SystemTime> {
        let skew = Duration::from_millis(self.skew_ms?.unsigned_abs());
        let connected = match self.skew_ms? < 0 {
            true => ours.connected.checked_sub(skew)?,
            false => ours.connected.checked_add(skew)?,
        };
        connected.checked_sub(TOLERANCE)
    }

    fn missing(&self, which: &str, patience: Duration) -> Untold {
        let strange = match self.strange {
            0 => String::new(),
            strange => format!(", and {strange} that are none of a close log"),
        };
        Untold::NoLineYet(match self.missed > MISSED_MAX {
            true => format!("the close log has no lines of our connections any more{strange}"),
            false => format!("no line of the close log {which} within {}{strange}", span(patience)),
        })
    }

    /// Reads on until `take` gives something.
    fn waited<T>(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(&mut Vec<Line>) -> Option<T>,
    ) -> Option<T> {
        let give_up = Instant::now() + patience;
        loop {
            self.reads();
            if let Some(taken) = take(&mut self.lines) {
                return Some(taken);
            }
            if Instant::now() > give_up || self.stop.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Takes what has been added; `false` if that is nothing.
    fn reads(&mut self) -> bool {
        let CloseLog { tail, lines, strange, ids, ids_repeat, .. } = self;
        let more = tail.reads(|text| match Line::parse(text) {
            Some(line) => {
                *ids_repeat |= !ids.insert(line.id);
                lines.push(line);
            }
            None => *strange += 1,
        });
        while ids.len() > LINES_MAX {
            ids.pop_first();
        }
        lines.drain(..lines.len().saturating_sub(LINES_MAX));
        more
    }
}

/// From one moment to the other; negative if that is earlier.
fn millis_between(from: SystemTime, to: SystemTime) -> i64 {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(time) => millis(time),
        Err(error) => -millis(error.duration()),
    }
}

fn told(line: Line) -> Result<ServerAccount, Untold> {
    match Kind::named(&line.verdict) {
        Some(kind) => Ok(ServerAccount { kind, evidence: line.evidence }),
        None => Err(Untold::Unclear(format!(
            "the close log says {:?}, which is no verdict here",
            line.verdict
        ))),
    }
}

#[cfg(test)]
mod tests;
